"""The entry to KubeChat: ask a question, follow its events, cancel it. It names the steps of a turn and does none of
them.

Promise: a question is recorded before anything is done about it, and its turn ends in exactly one `done` or `error`
event, which is recorded, whatever fails. A reader that goes away does not stop the turn; `cancel` does. The answer of
a turn is the text of its stream, collected.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from agents.events import Done, ErrorEvent, Event
from agents.evidence import ClusterIdentity, Domain, Evidence
from agents.focus import focus_from_json
from agents.record import Thread, Turn
from agents.scope import MAX_QUESTION
from agents.state import Exchange, Services, TurnWork
from agents.stream import TurnStream
from agents.turn import run_and_record
from assistant.errors import (
    ClusterMismatch,
    InternalError,
    QuestionEmpty,
    QuestionTooLong,
)
from assistant.types import LOCAL_PRINCIPAL, Principal, TurnContext

TURN_SECONDS = 300.0
REMEMBERED_TURNS = 4
REMEMBERED_CHARACTERS = 3_000

Past = tuple[Sequence[Turn], Mapping[str, Evidence]]  # the last turns of a thread, and all its evidence


@dataclass(frozen=True, slots=True)
class Ask:
    """One question. `agent` forces a specialist; `confirm_cluster` continues a conversation on another cluster."""

    question: str
    thread_id: str | None = None
    namespace: str | None = None
    agent: Domain | None = None
    confirm_cluster: bool = False
    principal: Principal = LOCAL_PRINCIPAL


@dataclass(frozen=True, slots=True)
class TurnHandle:
    """A turn under way."""

    thread_id: str
    turn_id: str
    stream: TurnStream
    task: asyncio.Task[None]

    def events(self, after: int = 0) -> AsyncIterator[Event]:
        """The turn's events from a number on, until it ends."""
        return self.stream.follow(after)

    async def outcome(self) -> Done | ErrorEvent:
        """The last event of the turn."""
        last: Event | None = None
        async for event in self.events():
            last = event
        if not isinstance(last, Done | ErrorEvent):
            raise InternalError("A turn ended without an answer.")
        return last


class Conversation:
    """Conversations about one cluster, over its services."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._running: dict[str, TurnHandle] = {}

    @property
    def services(self) -> Services:
        return self._services

    async def ask(self, ask: Ask) -> TurnHandle:
        """Starts a turn. Raises BadInput for a question that is empty or too long, ThreadNotFound, ClusterMismatch,
        StorageUnavailable: then nothing was started."""
        question = self._services.mask(checked_question(ask.question))
        identity = await self._services.source.identity()
        thread = await self._thread(ask, question, identity)
        past = await self._past(thread)  # before the turn is recorded: nothing may fail between its record and its run
        turn = await self._services.record.start_turn(thread.id, question)
        stream = TurnStream(turn.id, self._services.record)
        work = self._work(ask, thread, identity, stream, (question, past))
        task = asyncio.create_task(run_and_record(work, TURN_SECONDS), name=f"turn-{turn.id}")
        handle = TurnHandle(thread.id, turn.id, stream, task)
        self._running[turn.id] = handle
        task.add_done_callback(lambda _: self._running.pop(turn.id, None))
        await asyncio.sleep(0)  # a task that is cancelled before its first step would never record its end
        return handle

    async def follow(self, turn_id: str, after: int = 0) -> AsyncIterator[Event]:
        """The events of a turn that runs, or that is recorded, from a number on."""
        handle = self._running.get(turn_id)
        if handle is not None:
            async for event in handle.events(after):
                yield event
        else:
            for event in await self._services.record.events(turn_id, after):
                yield event

    async def cancel(self, turn_id: str) -> bool:
        """Stops a turn that runs here; what was said so far is kept. False when none runs."""
        handle = self._running.get(turn_id)
        if handle is None:
            return False
        handle.task.cancel()
        await asyncio.wait([handle.task])
        return True

    async def close(self) -> None:
        """Cancels what runs and waits for its record."""
        handles = list(self._running.values())
        for handle in handles:
            handle.task.cancel()
        if handles:
            await asyncio.wait([h.task for h in handles])

    async def _thread(self, ask: Ask, question: str, identity: ClusterIdentity) -> Thread:
        record = self._services.record
        if ask.thread_id is None:
            return await record.create_thread(
                cluster_id=identity.id, cluster_name=identity.label, title=question, principal=ask.principal.id
            )
        thread = await record.get_thread(ask.thread_id, ask.principal.id)
        if thread.cluster_id != identity.id:
            if not ask.confirm_cluster:
                raise ClusterMismatch(
                    f"This conversation was held about {thread.cluster_name}; KubeChat now looks at {identity.label}. "
                    "Confirm that it shall go on there (--confirm-cluster), or start a new conversation."
                )
            await record.move_to_cluster(thread.id, identity.id, identity.label)
        return thread

    async def _past(self, thread: Thread) -> Past:
        if not thread.turn_count:
            return (), {}
        record = self._services.record
        return await record.history(thread.id, limit=REMEMBERED_TURNS), await record.evidence(thread.id)

    def _work(
        self, ask: Ask, thread: Thread, identity: ClusterIdentity, stream: TurnStream, asked: tuple[str, Past]
    ) -> TurnWork:
        question, (turns, known_evidence) = asked
        same_cluster = thread.cluster_id == identity.id
        context = TurnContext(
            thread_id=thread.id,
            cluster_id=identity.id,
            principal=ask.principal,
            namespace=ask.namespace,
            deadline=time.monotonic() + TURN_SECONDS,
        )
        return TurnWork(
            context=context,
            services=self._services,
            stream=stream,
            identity=identity,
            question=question,
            forced=ask.agent,
            current=thread.domain,
            previous=focus_from_json(thread.focus) if same_cluster else None,
            history=[Exchange(t.question, t.answer[:REMEMBERED_CHARACTERS]) for t in turns if t.answer],
            known_evidence=known_evidence,
        )


def checked_question(question: str) -> str:
    """The question without surrounding space. Raises QuestionEmpty and QuestionTooLong."""
    stripped = question.replace("\x00", "").strip()
    if not stripped:
        raise QuestionEmpty("The question is empty. Ask in plain words, for example: why is checkout not ready?")
    if len(stripped) > MAX_QUESTION:
        raise QuestionTooLong(
            f"The question has {len(stripped):,} characters; at most {MAX_QUESTION:,} are read. "
            "Ask in a sentence or two, and name the pod whose log you would have pasted."
        )
    return stripped
