"""The live stream of one turn: numbers events, keeps them for late readers, and hands them to the record in batches.

Promise: sequence numbers start at 1 and have no gap; any number of readers may follow from any number, during the turn
and shortly after; what a reader has seen is also what the record gets. A reader that goes away costs the turn nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from agents.events import Done, ErrorEvent, Event, Step, TurnEvent
from agents.evidence import Usage
from agents.record import Record

FLUSH_EVERY = 64
EventT = TypeVar("EventT", bound=TurnEvent)


class TurnStream:
    """The events of one turn, as they come."""

    def __init__(self, turn_id: str, record: Record) -> None:
        self.turn_id = turn_id
        self._record = record
        self._events: list[Event] = []
        self._flushed = 0
        self._changed = asyncio.Condition()
        self._closed = False
        self._flush_lock = asyncio.Lock()

    async def emit(self, kind: type[EventT], **fields: Any) -> EventT:
        """Adds an event and wakes the readers."""
        async with self._changed:  # the number is taken where the event is added: two may be emitted at once
            event = kind(turn_id=self.turn_id, sequence=len(self._events) + 1, **fields)
            self._events.append(event)  # type: ignore[arg-type]  # every subclass of TurnEvent is a member of the union
            self._changed.notify_all()
        if len(self._events) - self._flushed >= FLUSH_EVERY:
            await self.flush()
        return event

    async def step(self, name: str, detail: str = "", milliseconds: float | None = None) -> None:
        """A step that is done, with what it found."""
        await self.emit(Step, name=name, status="done", detail=detail, milliseconds=milliseconds)

    async def flush(self) -> None:
        """Writes what the record does not have yet. Raises StorageUnavailable; nothing is lost by trying again."""
        async with self._flush_lock:
            batch = self._events[self._flushed :]
            await self._record.append_events(batch)
            self._flushed += len(batch)

    async def close(self) -> None:
        """No event will follow; readers end after the last one."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def text(self) -> str:
        """The answer's text as far as it was released."""
        return "".join(e.text for e in self._events if e.type == "token")

    def usage(self) -> tuple[Usage, float | None]:
        """(calls and tokens of the turn, their cost in US dollars: None without a call or where a price is unknown)."""
        calls = [e for e in self._events if e.type == "usage"]
        usage = Usage(
            calls=len(calls),
            prompt_tokens=sum(c.prompt_tokens for c in calls),
            completion_tokens=sum(c.completion_tokens for c in calls),
        )
        costs = [c.cost for c in calls]
        known = [c for c in costs if c is not None]
        return usage, sum(known) if calls and len(known) == len(costs) else None

    @property
    def ended(self) -> bool:
        """Whether the last event is there: an answer or an error."""
        return bool(self._events) and isinstance(self._events[-1], Done | ErrorEvent)

    async def follow(self, after: int = 0) -> AsyncIterator[Event]:
        """The events with a number above `after`: those that are there, then those that come, until the turn ends."""
        position = after
        while True:
            async with self._changed:
                while len(self._events) <= position and not self._closed:
                    await self._changed.wait()
                batch = self._events[position:]
            for event in batch:
                yield event
            position += len(batch)
            if not batch:
                return
