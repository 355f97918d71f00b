"""A model that fails, in every way that one can: a sentence with a code, the part from the evidence, the turn saved."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.events import Notice
from agents.evidence import Domain
from assistant.telemetry import configure_logging
from assistant.types import Mode
from tests.support.app import KEY, as_lines, asked, running_app
from tests.support.scripted_provider import (
    Reply,
    ScriptedProvider,
    broken_stream,
    html_page,
    http_error,
    nonsense_body,
    slow,
    text,
)

QUESTION = "Why is checkout in namespace shop down?"
TRACES = ("Traceback", 'File "', "litellm", "Exception", "scripted failure")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged during the test."""
    stream = io.StringIO()
    configure_logging("debug", stream=stream)
    yield stream
    logging.getLogger().handlers.clear()


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        pytest.param(html_page(), "model-unavailable", id="html-page"),
        pytest.param(html_page(502), "model-unavailable", id="html-page-502"),
        pytest.param(nonsense_body(), "model-unavailable", id="nonsense-body"),
        pytest.param(broken_stream(3), "model-stream-broken", id="stream-ends-early"),
        pytest.param(broken_stream(3, drop=True), "model-stream-broken", id="connection-cut"),
        pytest.param(http_error(401, message=f"wrong key {KEY}"), "model-credentials-rejected", id="401"),
        pytest.param(http_error(429), "model-rate-limited", id="429"),
        pytest.param(http_error(500), "model-unavailable", id="500"),
        pytest.param(http_error(400), "model-request-rejected", id="400"),
        pytest.param(slow(3), "model-timeout", id="time-out"),
        pytest.param(text(""), "model-silent", id="empty-text"),
        pytest.param(text(" \n\n "), "model-silent", id="blank-text"),
    ],
)
async def test_a_failing_model_costs_its_words_only(
    reply: Reply, code: str, database_url: str, tmp_path: Path, log: io.StringIO
) -> None:
    patience = "1.5" if code == "model-timeout" else "20"
    async with (
        ScriptedProvider([reply]) as provider,
        running_app(database_url, tmp_path, provider=provider, KUBECHAT_MODEL_TIMEOUT=patience) as app,
    ):
        told = await asked(app, QUESTION, agent=Domain.DEPLOYMENT)
        (turn,) = await app.services.record.history(told.thread_id)
        recorded = await app.services.record.events(told.turn_id)

    assert told.codes == [code]
    (notice,) = told.of(Notice)
    assert notice.message.endswith("This part is rendered from the evidence alone, without a model.")
    assert told.answer.mode is Mode.EVIDENCE_ONLY
    assert "2.18.O" in told.answer.text
    assert "No model is configured" not in told.answer.text
    assert turn.status == "done"
    assert turn.question == QUESTION
    assert turn.answer.strip() == told.answer.text
    assert as_lines(recorded) == as_lines(told.events)
    everything = "".join(e.model_dump_json() for e in told.events) + log.getvalue()
    assert KEY not in everything
    assert not [trace for trace in TRACES if trace in everything.replace("openai/scripted", "")]


async def test_what_was_said_before_the_stream_broke_is_kept_and_closed(database_url: str, tmp_path: Path) -> None:
    words = "Deployment shop/checkout asks for a tag that is not there [E1]. And then it says"
    async with (
        ScriptedProvider([broken_stream(19, words=words)]) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        told = await asked(app, QUESTION, agent=Domain.DEPLOYMENT)

    begun, rest = told.answer.text.split("_The model broke off here; what follows is rendered from the evidence._")
    assert begun.startswith("Deployment shop/checkout asks for a tag")
    assert "**Evidence**" in rest


async def test_a_refused_connection_is_said_and_the_next_question_is_answered(
    database_url: str, tmp_path: Path
) -> None:
    provider = ScriptedProvider([text("Deployment shop/checkout asks for a tag that is not there [E1].")])
    provider.start()
    async with running_app(database_url, tmp_path, provider=provider) as app:
        before = await asked(app, QUESTION, agent=Domain.DEPLOYMENT)
        provider.stop()
        told = await asked(app, "And its logs?", thread_id=before.thread_id)
        turns = await app.services.record.history(before.thread_id)

    assert before.answer.mode is Mode.MODEL
    assert told.codes == ["model-unavailable"]
    assert told.answer.mode is Mode.EVIDENCE_ONLY
    assert [t.status for t in turns] == ["done", "done"]


async def test_a_general_question_says_that_the_model_failed_not_that_there_is_none(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        ScriptedProvider([http_error(401)]) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        told = await asked(app, "What is a headless service?")

    assert "The model did not answer" in told.answer.text
    assert "No model is configured" not in told.answer.text


async def test_without_a_model_a_general_question_says_so_and_gives_the_runbooks(
    database_url: str, tmp_path: Path
) -> None:
    async with running_app(database_url, tmp_path) as app:
        told = await asked(app, "What is a headless service?")

    assert told.codes == ["evidence-only"]
    assert "No model is configured" in told.answer.text
    assert told.answer.model is None
    assert told.answer.text_went_to is None
