"""Logs that hold no secret, an environment that reports to nobody, and a clock for a turn's own time.

Promise: a log line holds only what our code wrote into it. Of an exception it holds the type and the places it passed;
its text only when it is an error of ours (which is safe by construction), because a foreign text may quote a request
with its key. Every string passes through `mask` when one is given. Logging never raises into the caller.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TextIO

import structlog

from assistant.errors import KubeChatError

Mask = Callable[[str], str]

# Foreign libraries log requests and connection strings at INFO and DEBUG; only what is wrong with them is of interest.
_FOREIGN_LEVEL = logging.WARNING
_OWN_LOGGERS = ("kubechat", "assistant", "agents", "knowledge", "ui")
_MAX_FRAMES = 20


@dataclass(frozen=True, slots=True)
class Cleared:
    """One row of what is taken out of the environment: a name, or a prefix where it ends in "_"."""

    name: str
    reason: str


TRACING_VARIABLES: tuple[Cleared, ...] = (
    Cleared("LANGSMITH_", "langsmith and langchain send every run's raw state there, or calls through their gateway"),
    Cleared("LANGCHAIN_", "the older names of the same switches; langsmith reads both"),
    Cleared("LITERAL_", "Chainlit stores every thread and message at Literal AI when a key is exported"),
    Cleared("DATABASE_URL", "Chainlit stores raw messages and steps in that database, past our record"),
    Cleared("BUCKET_NAME", "Chainlit uploads elements there"),
    Cleared("APP_AWS_", "Chainlit uploads elements to that S3 account"),
    Cleared("APP_AZURE_", "Chainlit uploads elements to that Azure account"),
    Cleared("APP_GCS_", "Chainlit uploads elements to that Google account"),
    Cleared("SLACK_", "Chainlit opens a second door for questions, without our sign-in"),
    Cleared("DISCORD_BOT_TOKEN", "Chainlit opens a second door for questions, without our sign-in"),
    Cleared("TEAMS_APP_", "Chainlit opens a second door for questions, without our sign-in"),
    Cleared("TRACELOOP_", "literalai brings traceloop, which exports prompts and answers as spans"),
    Cleared("OTEL_EXPORTER", "an exporter of spans and logs that other libraries may fill with prompts"),
    Cleared("OTEL_TRACES_EXPORTER", "chooses such an exporter"),
    Cleared("OTEL_LOGS_EXPORTER", "chooses such an exporter"),
    Cleared("OTEL_METRICS_EXPORTER", "chooses such an exporter"),
    Cleared("OTEL_ENDPOINT", "litellm's own name for the address of such an exporter"),
    Cleared("OTEL_TRACES_ENDPOINT", "litellm's own name for the address of such an exporter"),
    Cleared("OTEL_HEADERS", "litellm's own name for the key of such an exporter"),
    Cleared("OTEL_CONFIG_FILE", "configures exporters from a file"),
    Cleared("OTEL_INSTRUMENTATION_GENAI_", "puts the text of messages into spans"),
    Cleared("LITELLM_LOG", "at DEBUG litellm prints whole requests"),
    Cleared("LITELLM_PRINT_STANDARD_LOGGING_PAYLOAD", "litellm prints whole requests and answers"),
    Cleared("LITELLM_DISABLE_REDACT_SECRETS", "litellm then logs keys as they are"),
    Cleared("LITELLM_OTEL_", "switches litellm's own span exporter"),
    Cleared("LITELLM_DD_", "litellm's Datadog callback"),
    Cleared("LANGFUSE_", "litellm's Langfuse callback"),
    Cleared("LANGTRACE_", "litellm's Langtrace callback"),
    Cleared("HELICONE_", "litellm's Helicone callback"),
    Cleared("LOGFIRE_TOKEN", "litellm's Logfire callback"),
    Cleared("BRAINTRUST_", "litellm's Braintrust callback"),
    Cleared("LUNARY_", "litellm's Lunary callback"),
    Cleared("ARIZE_", "litellm's Arize callback"),
    Cleared("OPIK_", "litellm's Opik callback"),
    Cleared("POSTHOG_", "litellm's PostHog callback"),
    Cleared("GALILEO_", "litellm's Galileo callback"),
    Cleared("GENERIC_LOGGER_", "litellm's generic HTTP callback"),
)

# Said outright, so that a `.env` file which a library reads later cannot switch them on.
_FIRM_VALUES: Mapping[str, str] = {
    "LANGSMITH_TRACING": "false",
    "LANGSMITH_TRACING_V2": "false",
    "CHAINLIT_ENV_FILE": os.devnull,
}


def clear_tracing_variables(environment: MutableMapping[str, str]) -> tuple[str, ...]:
    """Take out of `environment` what would send raw text past the gateway; the names (never values) that were there.

    Call it before langchain, litellm or chainlit is imported: they remember what they read.
    """
    cleared = tuple(
        sorted(
            name
            for name, value in environment.items()
            if _FIRM_VALUES.get(name) != value and any(_matches(row, name) for row in TRACING_VARIABLES)
        )
    )
    for name in cleared:
        del environment[name]
    environment.update(_FIRM_VALUES)
    return cleared


def _matches(row: Cleared, name: str) -> bool:
    return name == row.name or (row.name.endswith(("_", "EXPORTER")) and name.upper().startswith(row.name))


def configure_logging(level: str = "info", *, stream: TextIO | None = None, mask: Mask | None = None) -> None:
    """Send our log lines, and the warnings of libraries, to `stream` (standard error): JSON unless it is a terminal.

    `level` is debug, info, warning or error. Call it once, at start; calling it again replaces the set-up.
    """
    out = sys.stderr if stream is None else stream
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _describe_exception,
    ]
    if mask is not None:
        shared.append(_masking(mask))
    terminal = out.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer(colors=terminal) if terminal else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_FOREIGN_LEVEL)
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for a module: `get_logger(__name__).info("turn done", thread=…, milliseconds=…)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def _describe_exception(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace `exc_info` by types, our own messages, and places; drop what a library formatted into its record."""
    given = event.pop("exc_info", None)
    event.pop("stack_info", None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = described(error)
    return {key: described(value) if isinstance(value, BaseException) else value for key, value in event.items()}


def described(error: BaseException) -> str:
    """An exception as a log may hold it: `Type: our text` or `Type`, where it was raised, then its cause likewise."""
    parts = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        text = f": {current.message}" if isinstance(current, KubeChatError) else ""
        frames = traceback.extract_tb(current.__traceback__)[-_MAX_FRAMES:]
        places = ", ".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
        parts.append(
            f"{type(current).__module__}.{type(current).__qualname__}{text}" + (f" ({places})" if places else "")
        )
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return " <- ".join(parts)


def _masking(mask: Mask) -> Callable[[Any, str, MutableMapping[str, Any]], MutableMapping[str, Any]]:
    def masked(value: Any) -> Any:
        if isinstance(value, str):
            return mask(value)
        if isinstance(value, Mapping):
            return {key: masked(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [masked(item) for item in value]
        return value if value is None or isinstance(value, (bool, int, float)) else mask(repr(value))

    def process(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        # keys that start with "_" are structlog's own and carry the record, which is not rendered
        return {key: value if key.startswith("_") else masked(value) for key, value in event.items()}

    return process


class StepClock:
    """How long each step of a turn took, and how much of that was waiting on foreign sockets; milliseconds throughout.

    Waits that overlap (two specialists at once) count once. One clock serves one turn on one event loop; `now` gives
    seconds and never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.steps: dict[str, float] = {}
        self.waits: dict[str, float] = {}
        self._now = now
        self._started = now()
        self._open_waits = 0
        self._wait_began = 0.0
        self._waited = 0.0

    @contextmanager
    def running(self) -> Iterator[StepClock]:
        """Make this the clock that `waiting_on` finds in this task and in those it starts."""
        token = _CLOCK.set(self)
        try:
            yield self
        finally:
            _CLOCK.reset(token)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step; its own time (without waits) is added to `steps[name]`, also when it fails."""
        began, waited = self._now(), self.waited
        try:
            yield
        finally:
            own = (self._now() - began) * 1000 - (self.waited - waited)
            self.steps[name] = self.steps.get(name, 0.0) + max(0.0, own)

    @contextmanager
    def waiting(self, name: str) -> Iterator[None]:
        """Mark waiting on a socket that is not ours: "provider" or "kubernetes"."""
        began = self._now()
        if self._open_waits == 0:
            self._wait_began = began
        self._open_waits += 1
        try:
            yield
        finally:
            ended = self._now()
            self._open_waits -= 1
            if self._open_waits == 0:
                self._waited += (ended - self._wait_began) * 1000
            self.waits[name] = self.waits.get(name, 0.0) + (ended - began) * 1000

    @property
    def waited(self) -> float:
        """Time in which at least one wait was open."""
        return self._waited + ((self._now() - self._wait_began) * 1000 if self._open_waits else 0.0)

    @property
    def own(self) -> float:
        """Wall time since the clock was made, less `waited`."""
        return (self._now() - self._started) * 1000 - self.waited


_CLOCK: ContextVar[StepClock | None] = ContextVar("kubechat_step_clock", default=None)


@contextmanager
def waiting_on(name: str) -> Iterator[None]:
    """`StepClock.waiting` on the clock of the turn that runs here; does nothing outside a turn."""
    clock = _CLOCK.get()
    if clock is None:
        yield
        return
    with clock.waiting(name):
        yield
