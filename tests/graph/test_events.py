"""The stream of a turn: numbers, readers that come late or go away, cancelling, and the one last event."""

import asyncio
from pathlib import Path

from agents.conversation import Ask
from agents.events import Done, ErrorEvent, Event, Token
from agents.evidence import Domain
from tests.support.app import as_lines, asked, running_app
from tests.support.scripted_provider import ScriptedProvider, text
from ui.container import App

QUESTION = "Why is checkout in namespace shop down?"
SENTENCE = "The tag 2.18.O is not in the registry [E1].\n\n"


async def _recorded(app: App, turn_id: str, after: int = 0) -> list[Event]:
    return [event async for event in app.conversation.follow(turn_id, after)]


async def test_events_are_numbered_without_a_gap_and_end_in_exactly_one_last_event(
    database_url: str, tmp_path: Path
) -> None:
    async with running_app(database_url, tmp_path) as app:
        told = await asked(app, "Is checkout secure, and why is it slow?")

    assert [e.sequence for e in told.events] == list(range(1, len(told.events) + 1))
    assert [isinstance(e, Done | ErrorEvent) for e in told.events].count(True) == 1
    assert {e.turn_id for e in told.events} == {told.turn_id}
    assert "".join(t.text for t in told.of(Token)).strip() == told.answer.text


async def test_a_reader_may_begin_at_any_number_live_and_from_the_record(database_url: str, tmp_path: Path) -> None:
    async with (
        ScriptedProvider([text(SENTENCE * 20, chunk_chars=45, chunk_delay_s=0.01)]) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        handle = await app.conversation.ask(Ask(QUESTION, agent=Domain.DEPLOYMENT))
        early, late = await asyncio.gather(_recorded(app, handle.turn_id), _recorded(app, handle.turn_id, 12))
        await handle.task
        whole = await _recorded(app, handle.turn_id)
        rest = await _recorded(app, handle.turn_id, 12)

    assert late == early[12:]
    assert as_lines(whole) == as_lines(early)
    assert as_lines(rest) == as_lines(early[12:])


async def test_a_reader_that_goes_away_does_not_stop_the_turn(database_url: str, tmp_path: Path) -> None:
    async with (
        ScriptedProvider([text(SENTENCE * 5, chunk_chars=45, chunk_delay_s=0.02)]) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        handle = await app.conversation.ask(Ask(QUESTION, agent=Domain.DEPLOYMENT))
        async for event in handle.events():
            if event.type == "token":
                break
        reader = asyncio.create_task(_recorded(app, handle.turn_id))
        await asyncio.sleep(0)
        reader.cancel()
        await handle.task
        turn = await app.services.record.get_turn(handle.turn_id)

    assert turn is not None
    assert turn.status == "done"
    assert turn.answer.count("2.18.O") == 5


async def test_cancelling_keeps_what_was_said_and_closes_the_call(database_url: str, tmp_path: Path) -> None:
    async with (
        ScriptedProvider([text(SENTENCE * 200, chunk_chars=45, chunk_delay_s=0.02)]) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        handle = await app.conversation.ask(Ask(QUESTION, agent=Domain.DEPLOYMENT))
        async for event in handle.events():
            if event.type == "token":
                break
        # whoever presses twice must not cut the record of the end short
        assert all(await asyncio.gather(*(app.conversation.cancel(handle.turn_id) for _ in range(3))))
        last = await handle.outcome()
        turn = await app.services.record.get_turn(handle.turn_id)
        whole = await _recorded(app, handle.turn_id)
        assert await provider.requests[0].client_left()
        after = await asked(app, "And its events?", thread_id=handle.thread_id, agent=Domain.GENERAL)

    assert isinstance(last, ErrorEvent)
    assert (last.code, last.retryable) == ("cancelled", True)
    assert turn is not None
    assert turn.status == "cancelled"
    assert "2.18.O" in turn.answer
    assert whole[-1].type == "error"
    assert after.answer.text


async def test_a_turn_that_is_cancelled_at_once_ends_too(database_url: str, tmp_path: Path) -> None:
    async with running_app(database_url, tmp_path) as app:
        handle = await app.conversation.ask(Ask(QUESTION))
        assert await app.conversation.cancel(handle.turn_id)
        last = await asyncio.wait_for(handle.outcome(), 5)
        turn = await app.services.record.get_turn(handle.turn_id)
        assert not await app.conversation.cancel(handle.turn_id)

    assert isinstance(last, ErrorEvent)
    assert turn is not None
    assert turn.status == "cancelled"


async def test_closing_the_application_ends_what_runs(database_url: str, tmp_path: Path) -> None:
    async with ScriptedProvider([text(SENTENCE * 200, chunk_chars=45, chunk_delay_s=0.02)]) as provider:
        async with running_app(database_url, tmp_path, provider=provider) as app:
            handle = await app.conversation.ask(Ask(QUESTION, agent=Domain.DEPLOYMENT))
            async for event in handle.events():
                if event.type == "token":
                    break
        last = await handle.outcome()
        async with running_app(database_url, tmp_path) as app:
            turn = await app.services.record.get_turn(handle.turn_id)

    assert isinstance(last, ErrorEvent)
    assert turn is not None
    assert turn.status == "cancelled"
