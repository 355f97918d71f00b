"""Logs without secrets, an environment that reports to nobody, and a turn's own time."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from assistant.errors import ModelTimeout
from assistant.telemetry import (
    TRACING_VARIABLES,
    StepClock,
    clear_tracing_variables,
    configure_logging,
    get_logger,
    waiting_on,
)

KEY = "sk-very-secret"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Log into memory at info with a mask over the key; call it for the lines so far."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("info", stream=stream, mask=lambda text: text.replace(KEY, "[key]"))
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_is_json_with_level_logger_and_time(lines: Lines) -> None:
    get_logger("agents.conversation").info("turn done", thread="t1", milliseconds=12.5, model=None)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "turn done", "level": "info", "logger": "agents.conversation",
        "thread": "t1", "milliseconds": 12.5, "model": None,
    }  # fmt: skip


def test_every_string_is_masked_however_deep_it_lies(lines: Lines) -> None:
    class Odd:
        def __repr__(self) -> str:
            return f"<Odd {KEY}>"

    get_logger("ui.server").warning(f"with {KEY}", a=KEY, b={"c": [KEY, (KEY, 1)]}, d=Odd(), e=KEY.encode())
    logging.getLogger("litellm").warning("calling with %s", KEY)
    shown = json.dumps(lines())
    assert KEY not in shown
    assert shown.count("[key]") == 7


def test_an_exception_is_logged_without_its_foreign_text(lines: Lines) -> None:
    def call() -> None:
        try:
            raise ValueError("password=hunter2")
        except ValueError as foreign:
            raise ModelTimeout("The model took too long.") from foreign

    try:
        call()
    except ModelTimeout as error:
        get_logger("agents").exception("turn failed")
        get_logger("agents").error("turn failed", cause=error)
        logging.getLogger("foreign").warning("failed", exc_info=True)
    for line in lines():
        told = line.get("exception") or line["cause"]
        assert told.startswith("assistant.errors.ModelTimeout: The model took too long. (")
        assert "<- builtins.ValueError (" in told
        assert "in call" in told
        assert "hunter2" not in json.dumps(line)
    assert len(lines()) == 3


def test_debug_lines_and_the_chatter_of_libraries_are_not_logged(lines: Lines) -> None:
    get_logger("agents").debug("details")
    logging.getLogger("httpx").info("GET https://user:pw@host")
    assert lines() == []


def test_the_variables_that_would_report_elsewhere_are_taken_out() -> None:
    environment = {
        "PATH": "/bin", "OPENAI_API_KEY": KEY, "OTEL_SERVICE_NAME": "shop", "LITELLM_MODE": "PRODUCTION",
        "LANGSMITH_TRACING": "true", "LANGSMITH_API_KEY": KEY,
        "LANGCHAIN_TRACING_V2": "true", "LANGCHAIN_ENDPOINT": "x",
        "LITERAL_API_KEY": KEY, "DATABASE_URL": "postgres://x", "TRACELOOP_API_KEY": KEY, "LITELLM_LOG": "DEBUG",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector", "OTEL_TRACES_EXPORTER": "otlp", "SLACK_BOT_TOKEN": KEY,
    }  # fmt: skip
    cleared = clear_tracing_variables(environment)
    assert set(cleared) == {
        "DATABASE_URL", "LANGCHAIN_ENDPOINT", "LANGCHAIN_TRACING_V2", "LANGSMITH_API_KEY", "LANGSMITH_TRACING",
        "LITELLM_LOG", "LITERAL_API_KEY", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER", "SLACK_BOT_TOKEN",
        "TRACELOOP_API_KEY",
    }  # fmt: skip
    assert environment == {
        "PATH": "/bin", "OPENAI_API_KEY": KEY, "OTEL_SERVICE_NAME": "shop", "LITELLM_MODE": "PRODUCTION",
        "LANGSMITH_TRACING": "false", "LANGSMITH_TRACING_V2": "false", "CHAINLIT_ENV_FILE": os.devnull,
    }  # fmt: skip
    assert clear_tracing_variables(environment) == ()


def test_every_cleared_variable_has_its_reason() -> None:
    assert len({row.name for row in TRACING_VARIABLES}) == len(TRACING_VARIABLES)
    assert all(row.reason for row in TRACING_VARIABLES)


@pytest.mark.parametrize(
    "switch", ["LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"]
)
@pytest.mark.parametrize("cleared", [True, False])
def test_langsmith_traces_nothing_once_its_switches_are_cleared(switch: str, cleared: bool) -> None:
    script = (
        "import os\nfrom assistant.telemetry import clear_tracing_variables\n"
        f"{'clear_tracing_variables(os.environ)' if cleared else ''}\n"
        "from langsmith.utils import tracing_is_enabled\nprint(bool(tracing_is_enabled()))"
    )
    environment = {**os.environ, switch: "true", "LANGSMITH_API_KEY": KEY}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(not cleared)


class Time:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds

    def passes(self, milliseconds: float) -> None:
        self.seconds += milliseconds / 1000


def test_own_time_leaves_out_waiting_on_foreign_sockets() -> None:
    now = Time()
    clock = StepClock(now)
    with clock.running(), clock.step("diagnosis"):
        now.passes(20)
        with waiting_on("kubernetes"):
            now.passes(50)
        now.passes(5)
    now.passes(1)
    assert clock.steps == {"diagnosis": pytest.approx(25)}
    assert clock.waits == {"kubernetes": pytest.approx(50)}
    assert clock.own == pytest.approx(26)


async def test_waits_that_overlap_count_once_also_across_tasks() -> None:
    now = Time()
    clock = StepClock(now)
    both = asyncio.Barrier(2)

    async def specialist() -> None:
        with waiting_on("provider"):
            await both.wait()
            now.passes(25)

    with clock.running(), clock.step("specialists"):
        await asyncio.gather(specialist(), specialist())
        now.passes(7)
    assert clock.waited == pytest.approx(50)
    assert clock.waits["provider"] > 50
    assert clock.steps == {"specialists": pytest.approx(7)}


def test_a_failed_step_is_timed_and_repeated_ones_add_up() -> None:
    now = Time()
    clock = StepClock(now)

    def fail() -> None:
        with clock.step("route"):
            now.passes(10)
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fail()
    assert clock.steps == {"route": pytest.approx(20)}


def test_waiting_outside_a_turn_is_nobodys() -> None:
    with waiting_on("provider"):
        pass
