"""The record of conversations over a real PostgreSQL: what was said comes back, to its owner alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from agents.events import Event, FindingEvent, Notice, Token
from agents.evidence import Domain, Evidence, Finding, ObjectRef, RouteTaken, Severity, Usage
from agents.record import Record, Thread, TurnOutcome, record_migrations
from assistant.errors import InternalError, ModelTimeout, ThreadNotFound
from assistant.storage.database import Database
from assistant.storage.migrations import migrate
from assistant.types import Mode

POD = ObjectRef("v1", "Pod", "shop", "checkout-1", "uid-1")
ROUTE = RouteTaken(
    domains=(Domain.STORAGE,), scores={Domain.STORAGE: 0.9, Domain.GENERAL: 0.1}, reason="a claim is pending"
)


@pytest.fixture
async def record(database: Database) -> AsyncIterator[Record]:
    await migrate(database, record_migrations())
    record = Record(database)
    yield record
    await record.close()


@pytest.fixture
async def thread(record: Record) -> Thread:
    return await record.create_thread(
        cluster_id="uid-a", cluster_name="prod", title="Why is checkout down?", principal="ada"
    )


def seen(number: int, excerpt: str = "phase: Pending") -> Evidence:
    return Evidence(
        id=f"E{number}", kind="field", object=POD, locator="status.phase", excerpt=excerpt,
        observed_at=datetime(2026, 5, 4, 12, 0, tzinfo=UTC),
    )  # fmt: skip


async def test_a_finished_turn_comes_back_as_it_was(record: Record, thread: Thread) -> None:
    turn = await record.start_turn(thread.id, "why is checkout down?")
    assert (turn.number, turn.status, turn.answer, turn.cost) == (1, "running", "", None)
    finished = await record.finish_turn(
        turn.id,
        TurnOutcome(
            status="done", answer="The claim is pending [E1].", mode=Mode.MODEL, route=ROUTE, model="openai/gpt",
            usage=Usage(calls=2, prompt_tokens=100, completion_tokens=20), cost=None, focus={"namespace": "shop"},
        ),
    )  # fmt: skip
    assert await record.history(thread.id) == (finished,)
    assert await record.get_turn(turn.id) == finished
    assert finished.route == ROUTE
    assert finished.usage == Usage(calls=2, prompt_tokens=100, completion_tokens=20)
    assert finished.cost is None  # unknown is not free
    assert finished.ended_at is not None
    assert finished.ended_at >= finished.started_at
    after = await record.get_thread(thread.id)
    assert (after.domain, after.focus, after.turn_count) == (Domain.STORAGE, {"namespace": "shop"}, 1)


async def test_a_failed_turn_keeps_what_was_shown_and_says_why(record: Record, thread: Thread) -> None:
    turn = await record.start_turn(thread.id, "why?")
    error = ModelTimeout("The model took too long.")
    failed = await record.finish_turn(turn.id, TurnOutcome(status="failed", answer="So far", error=error))
    assert (failed.status, failed.answer, failed.error) == ("failed", "So far", error.as_json())
    assert (await record.get_thread(thread.id)).focus == {}


async def test_events_are_replayed_from_a_number_with_their_types(record: Record, thread: Thread) -> None:
    turn = await record.start_turn(thread.id, "why?")
    finding = Finding(
        id="F1", code="PVC001", severity=Severity.ERROR, domain=Domain.STORAGE, object=POD, message="pending",
        evidence=(seen(1),), remedy="make a class", confidence=0.9,
    )  # fmt: skip
    events: list[Event] = [
        Notice(turn_id=turn.id, sequence=1, code="masked", message="1 token masked"),
        FindingEvent(turn_id=turn.id, sequence=2, finding=finding),
        Token(turn_id=turn.id, sequence=3, text="Because …", specialist=Domain.STORAGE),
    ]
    await record.append_events(events[:2])
    await record.append_events(events)  # a batch that is sent again after a lost connection
    assert await record.events(turn.id) == tuple(events)
    assert await record.events(turn.id, after=2) == (events[2],)
    assert await record.events(turn.id, after=3) == ()


async def test_text_from_logs_that_postgres_cannot_hold_is_kept_as_far_as_it_can_be(
    record: Record, thread: Thread
) -> None:
    turn = await record.start_turn(thread.id, "what is \x00 and \ud800?")
    assert turn.question == "what is \ufffd and \ufffd?"
    await record.append_events([Token(turn_id=turn.id, sequence=1, text="raw \x00 bytes \udfff, ✓ \\u0000")])
    (event,) = await record.events(turn.id)
    assert isinstance(event, Token)
    assert event.text == "raw \ufffd bytes \ufffd, ✓ \\u0000"
    await record.save_evidence(turn.id, [seen(1, "GET /\x00")])
    assert (await record.evidence(thread.id))["E1"].excerpt == "GET /\ufffd"


async def test_evidence_is_numbered_through_the_thread(record: Record, thread: Thread) -> None:
    first = await record.start_turn(thread.id, "one")
    start = await record.reserve_evidence(thread.id, 2)
    await record.save_evidence(first.id, [seen(start), seen(start + 1)])
    second = await record.start_turn(thread.id, "two")
    start = await record.reserve_evidence(thread.id, 1)
    assert start == 3
    await record.save_evidence(second.id, [seen(start, "other")])
    assert list(await record.evidence(thread.id)) == ["E1", "E2", "E3"]
    assert (await record.evidence(thread.id))["E3"] == seen(3, "other")


async def test_an_evidence_number_never_changes_its_meaning(record: Record, thread: Thread) -> None:
    first = await record.start_turn(thread.id, "one")
    await record.save_evidence(first.id, [seen(1)])
    await record.save_evidence(first.id, [seen(1)])
    second = await record.start_turn(thread.id, "two")
    with pytest.raises(InternalError, match="numbered twice"):
        await record.save_evidence(second.id, [seen(1, "something else")])
    assert (await record.evidence(thread.id))["E1"] == seen(1)
    assert await record.reserve_evidence(thread.id, 1) == 2  # numbers saved without a reservation count too


async def test_two_questions_at_once_get_different_numbers_and_evidence(record: Record, thread: Thread) -> None:
    turns = await asyncio.gather(*(record.start_turn(thread.id, f"q{n}") for n in range(6)))
    starts = await asyncio.gather(*(record.reserve_evidence(thread.id, 10) for _ in range(6)))
    assert sorted(turn.number for turn in turns) == [1, 2, 3, 4, 5, 6]
    assert sorted(starts) == [1, 11, 21, 31, 41, 51]


async def test_a_thread_is_nobody_elses(record: Record, thread: Thread) -> None:
    assert (await record.get_thread(thread.id, "ada")).id == thread.id
    for attempt in (
        record.get_thread(thread.id, "eve"),
        record.rename(thread.id, "mine", "eve"),
        record.delete(thread.id, "eve"),
        record.get_thread("no-such-thread", "ada"),
    ):
        with pytest.raises(ThreadNotFound):
            await attempt
    assert (await record.get_thread(thread.id)).title == "Why is checkout down?"
    with pytest.raises(ThreadNotFound):  # nor can an id be taken over by creating it again
        await record.create_thread(cluster_id="c", cluster_name="n", title="t", principal="eve", thread_id=thread.id)


async def test_deleting_a_thread_leaves_nothing_of_it(record: Record, thread: Thread, database: Database) -> None:
    turn = await record.start_turn(thread.id, "why?")
    await record.append_events([Token(turn_id=turn.id, sequence=1, text="x")])
    await record.save_evidence(turn.id, [seen(1)])
    await record.delete(thread.id, "ada")
    for table in ("threads", "turns", "turn_events", "evidence"):
        assert await database.fetch_all(f"SELECT * FROM {table}") == []
    with pytest.raises(InternalError, match="never recorded"):
        await record.finish_turn(turn.id, TurnOutcome(status="done"))
    with pytest.raises(ThreadNotFound):
        await record.start_turn(thread.id, "again")


async def test_threads_are_listed_by_last_use_in_pages(record: Record) -> None:
    made = [
        await record.create_thread(cluster_id="c", cluster_name="n", title=f"t{n}", principal="ada") for n in range(5)
    ]
    await record.create_thread(cluster_id="c", cluster_name="n", title="not hers", principal="eve")
    await record.start_turn(made[0].id, "back to the first")
    first = await record.list_threads("ada", limit=3)
    assert ([t.title for t in first.threads], first.more) == (["t0", "t4", "t3"], True)
    second = await record.list_threads("ada", limit=3, after=first.threads[-1].id)
    assert ([t.title for t in second.threads], second.more) == (["t2", "t1"], False)


async def test_threads_are_found_by_what_was_said_in_them(record: Record, thread: Thread) -> None:
    other = await record.create_thread(cluster_id="c", cluster_name="n", title="100% CPU", principal="ada")
    turn = await record.start_turn(other.id, "who eats the nodes?")
    await record.finish_turn(turn.id, TurnOutcome(status="done", answer="The Indexer does."))

    async def found(search: str) -> list[str]:
        return [t.title for t in (await record.list_threads("ada", search=search)).threads]

    assert await found("CHECKOUT") == ["Why is checkout down?"]
    assert await found("indexer") == ["100% CPU"]
    assert await found("eats") == ["100% CPU"]
    assert await found("100%") == ["100% CPU"]
    assert await found("1_0") == []  # no wildcard
    assert await found("\\") == []
    assert (await record.list_threads("eve", search="checkout")).threads == ()


async def test_titles_are_one_line_of_at_most_a_hundred_characters(record: Record, thread: Thread) -> None:
    await record.rename(thread.id, "why\n is  " + "x" * 200, "ada")
    title = (await record.get_thread(thread.id)).title
    assert title.startswith("why is xxx")
    assert (len(title), title[-1]) == (100, "…")


async def test_moving_to_another_cluster_forgets_what_it_meant(record: Record, thread: Thread) -> None:
    turn = await record.start_turn(thread.id, "why?")
    await record.finish_turn(turn.id, TurnOutcome(status="done", focus={"namespace": "shop"}))
    await record.move_to_cluster(thread.id, "uid-b", "staging")
    moved = await record.get_thread(thread.id)
    assert (moved.cluster_id, moved.cluster_name, moved.focus) == ("uid-b", "staging", {})
    later = await record.start_turn(thread.id, "and here?")
    assert [t.cluster_id for t in await record.history(thread.id)] == ["uid-a", "uid-b"]
    assert later.number == 2


RUN_A_TURN = """
import asyncio, sys
from agents.record import Record
from assistant.storage.database import Database

async def main(url, thread):
    database = await Database.connect(url)
    record = Record(database)
    turn = await record.start_turn(thread, "asked by a process that dies")
    print(turn.id, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_turns_of_a_killed_process_are_recovered_and_running_ones_are_left_alone(
    record: Record, thread: Thread, database: Database, database_url: str
) -> None:
    mine = await record.start_turn(thread.id, "still running here")
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN_A_TURN, database_url, thread.id, stdout=asyncio.subprocess.PIPE
    )
    assert other.stdout is not None
    theirs = (await other.stdout.readline()).decode().strip()
    second_process = Record(database)
    assert await second_process.recover_interrupted() == 0

    other.kill()
    await other.wait()
    for _ in range(100):  # the server notices the dead connection within moments
        if await second_process.recover_interrupted():
            break
        await asyncio.sleep(0.02)

    lost = await record.get_turn(theirs)
    assert lost is not None
    assert (lost.status, (lost.error or {}).get("code"), (lost.error or {}).get("retryable")) == (
        "failed", "interrupted", True,
    )  # fmt: skip
    kept = await record.get_turn(mine.id)
    assert kept is not None
    assert kept.status == "running"


async def test_a_lost_proof_of_life_is_renewed_by_the_next_turn(
    record: Record, thread: Thread, database: Database
) -> None:
    await record.start_turn(thread.id, "one")
    await database.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    second = await record.start_turn(thread.id, "two")
    assert await Record(database).recover_interrupted() == 0
    assert (await record.history(thread.id))[-1] == second


async def test_closing_the_record_gives_its_running_turns_up(record: Record, thread: Thread) -> None:
    await record.start_turn(thread.id, "never finished")
    await record.close()
    for _ in range(100):
        if await record.recover_interrupted():
            break
        await asyncio.sleep(0.02)
    assert [turn.status for turn in await record.history(thread.id)] == ["failed"]


async def test_events_of_another_version_are_refused_with_a_sentence(
    record: Record, thread: Thread, database: Database
) -> None:
    turn = await record.start_turn(thread.id, "why?")
    await record.append_events([Token(turn_id=turn.id, sequence=1, text="x")])
    await database.execute("UPDATE turn_events SET payload = payload || '{\"from the future\": 1}'")
    with pytest.raises(InternalError, match="cannot read"):
        await record.events(turn.id)
    assert len(await record.history(thread.id)) == 1
