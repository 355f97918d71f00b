"""Who may go on with a conversation, about which cluster, and with which words."""

from pathlib import Path

import pytest

from agents.conversation import Ask
from agents.scope import MAX_QUESTION
from assistant.errors import ClusterMismatch, QuestionEmpty, QuestionTooLong, ThreadNotFound
from assistant.types import Principal
from tests.support.app import asked, running_app

ORCHARD = Path(__file__).parents[1] / "scenarios" / "path-orchard"


async def test_another_cluster_is_asked_about_first_and_taken_after_a_yes(database_url: str, tmp_path: Path) -> None:
    async with running_app(database_url, tmp_path) as app:
        first = await asked(app, "Why is checkout in namespace shop down?")
    async with running_app(database_url, tmp_path, snapshot=ORCHARD) as app:
        with pytest.raises(ClusterMismatch, match="held about snapshot meadow") as caught:
            await app.conversation.ask(Ask("and its logs?", thread_id=first.thread_id))
        assert "snapshot orchard" in caught.value.message
        assert len(await app.services.record.history(first.thread_id)) == 1
        told = await asked(app, "Is press down?", thread_id=first.thread_id, confirm_cluster=True)
        thread = await app.services.record.get_thread(first.thread_id)
        again = await asked(app, "and its logs?", thread_id=first.thread_id)

    assert told.answer.cluster.name == "orchard"
    assert thread.cluster_id == told.answer.cluster.id
    assert again.answer.thread_id == first.thread_id


async def test_after_the_move_it_no_longer_means_what_it_meant(database_url: str, tmp_path: Path) -> None:
    async with running_app(database_url, tmp_path) as app:
        first = await asked(app, "Why is checkout in namespace shop down?")
    async with running_app(database_url, tmp_path, snapshot=ORCHARD) as app:
        told = await asked(app, "and its logs?", thread_id=first.thread_id, confirm_cluster=True)

    assert not [s for s in told.events if s.type == "step" and "(as before)" in s.detail]


async def test_a_conversation_of_somebody_else_does_not_exist(database_url: str, tmp_path: Path) -> None:
    async with running_app(database_url, tmp_path) as app:
        first = await asked(app, "Is anything broken?", principal=Principal("anna"))
        for wanted in (first.thread_id, "no-such-thread"):
            with pytest.raises(ThreadNotFound):
                await app.conversation.ask(Ask("and its logs?", thread_id=wanted, principal=Principal("bert")))
        again = await asked(app, "and its logs?", thread_id=first.thread_id, principal=Principal("anna"))

    assert again.thread_id == first.thread_id


@pytest.mark.parametrize(
    ("question", "error"),
    [("", QuestionEmpty), (" \n\x00 ", QuestionEmpty), ("why " * 12_500, QuestionTooLong)],
)
async def test_words_that_cannot_be_asked_start_nothing(
    question: str, error: type[Exception], database_url: str, tmp_path: Path
) -> None:
    async with running_app(database_url, tmp_path) as app:
        with pytest.raises(error):
            await app.conversation.ask(Ask(question))
        assert (await app.services.record.list_threads("local")).threads == ()


async def test_the_longest_question_is_answered(database_url: str, tmp_path: Path) -> None:
    question = "Why is checkout in namespace shop down? ".ljust(MAX_QUESTION, "x")
    async with running_app(database_url, tmp_path) as app:
        told = await asked(app, question)

    assert "2.18.O" in told.answer.text


async def test_a_conversation_goes_on_after_a_restart(database_url: str, tmp_path: Path) -> None:
    async with running_app(database_url, tmp_path) as app:
        first = await asked(app, "Why is checkout in namespace shop down?")
    async with running_app(database_url, tmp_path) as app:
        told = await asked(app, "and its events?", thread_id=first.thread_id)
        turns = await app.services.record.history(first.thread_id)

    assert [t.question for t in turns] == ["Why is checkout in namespace shop down?", "and its events?"]
    assert any("(as before)" in s.detail for s in told.events if s.type == "step")
