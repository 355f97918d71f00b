"""The record of conversations: threads, their turns, each turn's events and the evidence that marks point at.

Text arrives masked: the caller masks questions, answers, events and evidence before they come here, and nothing in this
module can mask or unmask. Evidence is numbered through a whole thread (E1, E2, …), so that a mark in a later answer
still means one thing. A turn is `running` until `finish_turn`; the process that runs it holds a lock that dies with it,
so `recover_interrupted` can tell a turn that still runs elsewhere from one whose process was killed.

Fails with `ThreadNotFound` for a thread that does not exist or is somebody else's, `StorageUnavailable` when the
database cannot be asked, `InternalError` for a turn or evidence that was never recorded.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from agents.events import EVENT_ADAPTER, SCHEMA_VERSION, Event
from agents.evidence import Domain, Evidence, RouteTaken, Usage
from assistant.errors import InternalError, KubeChatError, ThreadNotFound
from assistant.storage.database import LOCK_CLASS, Database, Presence, Row, jsonb
from assistant.storage.migrations import Migration, load_migrations
from assistant.types import Mode

TurnStatus = Literal["running", "done", "failed", "cancelled"]

MAX_TITLE_CHARACTERS = 100
MAX_PAGE = 200
INTERRUPTED = {
    "code": "interrupted",
    "message": "KubeChat was stopped while it worked on this question; ask it again.",
    "retryable": True,
}


def record_migrations() -> tuple[Migration, ...]:
    """The schema of the record, for `assistant.storage.migrations.migrate`."""
    return load_migrations("agents")


@dataclass(frozen=True, slots=True)
class Thread:
    """One conversation. `domain` is who spoke last; `focus` is what "it" means to the next question (plain JSON)."""

    id: str
    principal: str
    cluster_id: str
    cluster_name: str
    title: str
    domain: Domain | None
    focus: dict[str, Any]
    turn_count: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ThreadPage:
    """Some threads, newest first; `more` says whether others follow after the last of them."""

    threads: tuple[Thread, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and what came of it; `cost` is US dollars, None where unknown; `error` is an error's `as_json()`."""

    id: str
    thread_id: str
    number: int
    schema_number: int
    status: TurnStatus
    cluster_id: str
    question: str
    answer: str
    mode: Mode | None
    route: RouteTaken | None
    model: str | None
    usage: Usage | None
    cost: float | None
    error: dict[str, Any] | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """How a turn ended: what `finish_turn` writes. A failed or cancelled turn keeps the text that was already shown."""

    status: Literal["done", "failed", "cancelled"]
    answer: str = ""
    mode: Mode | None = None
    route: RouteTaken | None = None
    model: str | None = None
    usage: Usage | None = None
    cost: float | None = None
    error: KubeChatError | None = None
    focus: Mapping[str, Any] | None = None


class Record:
    """The record in one database. One per process: it carries the process's proof of life."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._presence: Presence | None = None
        self._presence_lock = asyncio.Lock()

    async def close(self) -> None:
        """Give up the proof of life; turns of this process that still run count as interrupted from now on."""
        if self._presence is not None:
            await self._presence.close()
            self._presence = None

    async def create_thread(
        self, *, cluster_id: str, cluster_name: str, title: str, principal: str, thread_id: str | None = None
    ) -> Thread:
        """Begin a conversation. The title (masked) is cut at 100 characters; an id that exists is left as it is."""
        identity = thread_id or uuid.uuid4().hex
        await self._database.execute(
            "INSERT INTO threads (id, principal, cluster_id, cluster_name, title) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT (id) DO NOTHING",
            (identity, principal, cluster_id, cluster_name, _title(title)),
            repeatable=True,
        )
        return await self.get_thread(identity, principal)

    async def get_thread(self, thread_id: str, principal: str | None = None) -> Thread:
        """The thread; with a `principal`, only when it is theirs, else `ThreadNotFound` as if it did not exist."""
        row = await self._database.fetch_one(
            "SELECT * FROM threads WHERE id = %s AND (%s::text IS NULL OR principal = %s)",
            (thread_id, principal, principal),
        )
        return _thread(_found(row, thread_id))

    async def list_threads(
        self, principal: str, *, limit: int = 20, after: str | None = None, search: str | None = None
    ) -> ThreadPage:
        """Threads of a person, last used first; `after` is the id of the last thread of the page before.

        `search` finds the text, in any case, in titles, questions and answers. At most 200 threads a page.
        """
        pattern = None if not search else f"%{_like(search)}%"
        wanted = max(1, min(limit, MAX_PAGE))
        rows = await self._database.fetch_all(
            """
            SELECT * FROM threads
            WHERE principal = %(principal)s
              AND (%(after)s::text IS NULL
                   OR (updated_at, id) < (SELECT updated_at, id FROM threads WHERE id = %(after)s))
              AND (%(pattern)s::text IS NULL OR title ILIKE %(pattern)s OR EXISTS (
                  SELECT 1 FROM turns WHERE thread_id = threads.id
                  AND (question ILIKE %(pattern)s OR answer ILIKE %(pattern)s)))
            ORDER BY updated_at DESC, id DESC LIMIT %(limit)s
            """,
            {"principal": principal, "after": after, "pattern": pattern, "limit": wanted + 1},
        )
        return ThreadPage(tuple(_thread(row) for row in rows[:wanted]), more=len(rows) > wanted)

    async def rename(self, thread_id: str, title: str, principal: str | None = None) -> None:
        """Give the thread another title (masked); its place in the list stays."""
        row = await self._database.fetch_one(
            "UPDATE threads SET title = %s WHERE id = %s AND (%s::text IS NULL OR principal = %s) RETURNING id",
            (_title(title), thread_id, principal, principal),
            repeatable=True,
        )
        _found(row, thread_id)

    async def move_to_cluster(self, thread_id: str, cluster_id: str, cluster_name: str) -> None:
        """Continue the thread on another cluster, after the person confirmed it; what "it" meant is forgotten."""
        row = await self._database.fetch_one(
            "UPDATE threads SET cluster_id = %s, cluster_name = %s, focus = '{}'::jsonb WHERE id = %s RETURNING id",
            (cluster_id, cluster_name, thread_id),
            repeatable=True,
        )
        _found(row, thread_id)

    async def delete(self, thread_id: str, principal: str | None = None) -> None:
        """Delete the thread with its turns, events and evidence. Raises `ThreadNotFound`."""
        row = await self._database.fetch_one(
            "DELETE FROM threads WHERE id = %s AND (%s::text IS NULL OR principal = %s) RETURNING id",
            (thread_id, principal, principal),
        )
        _found(row, thread_id)

    async def start_turn(self, thread_id: str, question: str, *, turn_id: str | None = None) -> Turn:
        """Record a question (masked) as running; the next number of its thread, also when two are asked at once."""
        runner = await self._runner()
        row = await self._database.fetch_one(
            """
            WITH thread AS (
                UPDATE threads SET turn_count = turn_count + 1, updated_at = clock_timestamp() WHERE id = %s
                RETURNING id, turn_count, cluster_id
            )
            INSERT INTO turns (id, thread_id, number, schema_number, status, runner, cluster_id, question)
            SELECT %s, id, turn_count, %s, 'running', %s, cluster_id, %s FROM thread RETURNING *
            """,
            (thread_id, turn_id or uuid.uuid4().hex, SCHEMA_VERSION, runner, question),
        )
        return _turn(_found(row, thread_id))

    async def append_events(self, events: Sequence[Event]) -> None:
        """Add events (masked), of one turn or several, in one round trip; an event that is there already is kept."""
        if not events:
            return
        await self._database.execute(
            # one JSON array: an array of JSON values is quoted by the driver character by character
            "INSERT INTO turn_events (turn_id, sequence, type, payload) "
            "SELECT payload->>'turn_id', (payload->>'sequence')::int, payload->>'type', payload "
            "FROM jsonb_array_elements(%s) AS payload ON CONFLICT DO NOTHING",
            (jsonb([event.model_dump(mode="json") for event in events]),),
            repeatable=True,
        )

    async def finish_turn(self, turn_id: str, outcome: TurnOutcome) -> Turn:
        """Record how a turn ended, and who spoke and what it was about on its thread. Repeating it does no harm."""
        domain = outcome.route.domains[0] if outcome.route and outcome.route.domains else None
        row = await self._database.fetch_one(
            """
            WITH turn AS (
                UPDATE turns SET status = %(status)s, answer = %(answer)s, mode = %(mode)s, route = %(route)s,
                    model = %(model)s, usage = %(usage)s, cost = %(cost)s, error = %(error)s,
                    ended_at = clock_timestamp()
                WHERE id = %(turn)s RETURNING *
            ), thread AS (
                UPDATE threads SET domain = coalesce(%(domain)s, threads.domain),
                    focus = coalesce(%(focus)s::jsonb, threads.focus), updated_at = clock_timestamp()
                FROM turn WHERE threads.id = turn.thread_id
            )
            SELECT * FROM turn
            """,
            {
                "turn": turn_id,
                "status": outcome.status,
                "answer": outcome.answer,
                "mode": outcome.mode,
                "route": _dumped(outcome.route),
                "model": outcome.model,
                "usage": _dumped(outcome.usage),
                "cost": outcome.cost,
                "error": None if outcome.error is None else jsonb(outcome.error.as_json()),
                "domain": domain,
                "focus": None if outcome.focus is None else jsonb(dict(outcome.focus)),
            },
            repeatable=True,
        )
        if row is None:
            raise InternalError("A turn was finished that was never recorded; its thread may have been deleted.")
        return _turn(row)

    async def history(self, thread_id: str, *, limit: int = MAX_PAGE) -> tuple[Turn, ...]:
        """The last `limit` turns of a thread, oldest first; () for a thread without turns or that does not exist."""
        rows = await self._database.fetch_all(
            "SELECT * FROM turns WHERE thread_id = %s ORDER BY number DESC LIMIT %s", (thread_id, limit)
        )
        return tuple(_turn(row) for row in reversed(rows))

    async def get_turn(self, turn_id: str) -> Turn | None:
        """One turn, None where it was never recorded."""
        row = await self._database.fetch_one("SELECT * FROM turns WHERE id = %s", (turn_id,))
        return None if row is None else _turn(row)

    async def events(self, turn_id: str, after: int = 0) -> tuple[Event, ...]:
        """The events of a turn with a sequence number above `after`, in order."""
        rows = await self._database.fetch_all(
            "SELECT payload FROM turn_events WHERE turn_id = %s AND sequence > %s ORDER BY sequence", (turn_id, after)
        )
        with _readable("events of this turn"):
            return tuple(EVENT_ADAPTER.validate_python(row["payload"]) for row in rows)

    async def reserve_evidence(self, thread_id: str, count: int) -> int:
        """Take `count` evidence numbers of a thread; the first of them. Two turns at once never get the same."""
        row = await self._database.fetch_one(
            "UPDATE threads SET evidence_count = evidence_count + %s WHERE id = %s RETURNING evidence_count",
            (count, thread_id),
        )
        return int(_found(row, thread_id)["evidence_count"]) - count + 1

    async def save_evidence(self, turn_id: str, evidence: Sequence[Evidence]) -> None:
        """Keep evidence (masked) under its ids E<n> for the turn's thread; ids come from `reserve_evidence`.

        Saving the same again does no harm. Raises `InternalError` for an id that another turn has already used.
        """
        if not evidence:
            return
        numbers = [_evidence_number(item.id) for item in evidence]
        kept = await self._database.fetch_one(
            """
            WITH given AS (
                SELECT thread_id, substr(payload->>'id', 2)::int AS number, turns.id AS turn_id, payload
                FROM turns, jsonb_array_elements(%s) AS payload WHERE turns.id = %s
            ), saved AS (
                INSERT INTO evidence (thread_id, number, turn_id, payload) SELECT * FROM given
                ON CONFLICT (thread_id, number) DO UPDATE SET payload = excluded.payload
                WHERE evidence.turn_id = excluded.turn_id RETURNING number
            ), raised AS (
                UPDATE threads SET evidence_count = greatest(evidence_count, %s)
                WHERE id = (SELECT thread_id FROM given LIMIT 1)
            )
            SELECT count(*) AS number FROM saved
            """,
            (jsonb([item.model_dump(mode="json") for item in evidence]), turn_id, max(numbers)),
            repeatable=True,
        )
        if kept is None or kept["number"] != len(numbers):
            raise InternalError("Evidence was numbered twice in one conversation, or belongs to a turn not recorded.")

    async def evidence(self, thread_id: str) -> dict[str, Evidence]:
        """All evidence of a thread by id, in the order of its numbers."""
        rows = await self._database.fetch_all(
            "SELECT payload FROM evidence WHERE thread_id = %s ORDER BY number", (thread_id,)
        )
        with _readable("evidence of this conversation"):
            items = [Evidence.model_validate(row["payload"]) for row in rows]
        return {item.id: item for item in items}

    async def recover_interrupted(self) -> int:
        """Mark running turns of dead processes as failed with the code "interrupted"; how many. Call it at start."""
        return await self._database.execute(
            """
            UPDATE turns SET status = 'failed', error = %s, ended_at = clock_timestamp()
            WHERE status = 'running' AND NOT EXISTS (
                SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = %s
                AND objid = turns.runner::oid
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
            """,
            (jsonb(INTERRUPTED), LOCK_CLASS),
            repeatable=True,
        )

    async def _runner(self) -> int:
        """The number of the lock that says this process lives; taken at the first turn, again when it was lost."""
        async with self._presence_lock:
            if self._presence is None or not await self._presence.is_held():
                number = self._presence.number if self._presence else secrets.randbelow(2**31 - 1) + 1
                self._presence = await self._database.presence(number)
            return self._presence.number


def _found(row: Row | None, thread_id: str) -> Row:
    if row is None:
        raise ThreadNotFound(f"There is no conversation {thread_id[:64]!r}.")
    return row


def _title(title: str) -> str:
    plain = " ".join(title.split())
    return plain if len(plain) <= MAX_TITLE_CHARACTERS else plain[: MAX_TITLE_CHARACTERS - 1].rstrip() + "…"


def _like(search: str) -> str:
    return search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _evidence_number(identity: str) -> int:
    if not (identity.startswith("E") and identity[1:].isdecimal()):
        raise InternalError("Evidence was saved before it was numbered.")
    return int(identity[1:])


def _dumped(value: RouteTaken | Usage | None) -> Any:
    return None if value is None else jsonb(value.model_dump(mode="json"))


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise InternalError(f"The {what} were recorded in a form that this KubeChat cannot read.") from error


def _thread(row: Row) -> Thread:
    read = {field.name: row[field.name] for field in fields(Thread)}
    return Thread(**read | {"domain": None if row["domain"] is None else Domain(row["domain"])})


def _turn(row: Row) -> Turn:
    read = {field.name: row[field.name] for field in fields(Turn)}
    with _readable("circumstances of this turn"):
        read |= {
            "mode": None if row["mode"] is None else Mode(row["mode"]),
            "route": None if row["route"] is None else RouteTaken.model_validate(row["route"]),
            "usage": None if row["usage"] is None else Usage.model_validate(row["usage"]),
        }
    return Turn(**read)
