"""A turn's working memory over a snapshot folder, without a database: for tests of tools and prompts alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from agents.cluster.snapshot import SnapshotReader, load_snapshot
from agents.cluster.source import ViewSource
from agents.diagnosis import Attention
from agents.events import Event
from agents.examination import examine
from agents.record import Record
from agents.routing import Router
from agents.scope import read_question, resolve
from agents.state import Services, TurnWork
from agents.stream import TurnStream
from assistant.guardrails.credentials import CREDENTIAL_RULES
from assistant.guardrails.masking import Masker
from assistant.types import TurnContext
from knowledge.search import RunbookSearch

MASKER = Masker(b"t" * 32, CREDENTIAL_RULES)


class Numbers:
    """The record's part in a turn: it hands out evidence numbers, and takes events."""

    def __init__(self) -> None:
        self.taken = 0
        self.events: list[Event] = []

    async def reserve_evidence(self, _thread_id: str, count: int) -> int:
        self.taken += count
        return self.taken - count + 1

    async def append_events(self, events: Sequence[Event]) -> None:
        self.events.extend(events)


def mask(text: str) -> str:
    """The text without credentials."""
    return MASKER.mask(text).text


async def turn_over(folder: Path, question: str, masking: Callable[[str], str] = mask) -> TurnWork:
    """A turn that has read the cluster and knows its scope and diagnosis, as a specialist finds it."""
    numbers = Numbers()
    record = cast(Record, numbers)
    source = ViewSource(SnapshotReader(load_snapshot(folder)))
    inventory = await source.inventory()
    scope = resolve(read_question(question), inventory.objects)
    found = await examine(source, Attention(scope.namespaces, scope.objects), masking)
    numbers.taken = len(found.diagnosis.all_evidence())
    # a tool and a prompt need neither router nor runbooks
    services = Services(source, record, cast(Router, None), masking, cast(RunbookSearch, None))
    return TurnWork(
        context=TurnContext(thread_id="thread", cluster_id=inventory.identity.id),
        services=services,
        stream=TurnStream("turn", record),
        identity=inventory.identity,
        question=question,
        scope=scope,
        view=found.view,
        diagnosis=found.diagnosis,
    )
