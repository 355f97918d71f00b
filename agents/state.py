"""What a turn carries: its working memory in this process, and the small state that the graph passes between steps.

The working memory (`TurnWork`) holds what must never be checkpointed or stored unmasked: the view, the readers, the
port to the model. The graph's state holds ids and masked text only.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypedDict

from agents.cluster.source import ViewSource
from agents.cluster.view import ClusterView
from agents.evidence import ClusterIdentity, Diagnosis, Domain, Evidence, RouteTaken
from agents.record import Record
from agents.routing import Router
from agents.scope import Scope
from agents.stream import TurnStream
from assistant.models.request import ModelPort
from assistant.types import TurnContext
from knowledge.search import RunbookSearch

STATE_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ModelAccess:
    """The one model of this process: its port, its name, and where its text goes (for people)."""

    port: ModelPort
    name: str
    destination: str
    timeout_s: float = 60.0
    max_steps: int = 8


@dataclass(frozen=True, slots=True)
class Services:
    """What turns need from outside, passed in by the composition root. `model` None: evidence-only."""

    source: ViewSource
    record: Record
    router: Router
    mask: Callable[[str], str]
    runbooks: RunbookSearch
    model: ModelAccess | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """An earlier question of the conversation and its answer, masked and cut."""

    question: str
    answer: str


class PartState(TypedDict):
    """What one specialist contributed."""

    domain: str
    text: str
    used_model: bool
    unbacked: list[str]


class TurnState(TypedDict, total=False):
    """The graph's state: ids and masked text."""

    schema: int
    turn_id: str
    question: str
    domains: list[str]
    parts: Annotated[list[PartState], operator.add]


@dataclass(slots=True)
class TurnWork:
    """The working memory of one turn. Steps fill it in order; a later step finds what the earlier ones put there."""

    context: TurnContext
    services: Services
    stream: TurnStream
    identity: ClusterIdentity
    question: str
    forced: Domain | None = None
    current: Domain | None = None
    previous: Scope | None = None
    history: Sequence[Exchange] = ()
    known_evidence: Mapping[str, Evidence] = field(default_factory=dict)
    scope: Scope = field(default_factory=Scope)
    view: ClusterView | None = None
    diagnosis: Diagnosis = field(default_factory=Diagnosis)
    details: tuple[Evidence, ...] = ()
    documents: tuple[Evidence, ...] = ()
    route: RouteTaken | None = None
    added: dict[str, Evidence] = field(default_factory=dict)

    async def number(self, count: int) -> int:
        """Takes `count` evidence numbers of the conversation; the first of them."""
        return await self.services.record.reserve_evidence(self.context.thread_id, count)

    async def add_evidence(self, items: Sequence[Evidence]) -> tuple[Evidence, ...]:
        """Numbers and masks evidence that came up during the turn, and keeps it for marks to point at."""
        if not items:
            return ()
        first = await self.number(len(items))
        mask = self.services.mask
        numbered = tuple(
            item.model_copy(update={"id": f"E{first + offset}", "excerpt": mask(item.excerpt)})
            for offset, item in enumerate(items)
        )
        self.added.update({item.id: item for item in numbered})
        return numbered

    def all_evidence(self) -> dict[str, Evidence]:
        """Everything a mark may point at: this turn's evidence and that of the conversation so far."""
        found = dict(self.known_evidence)
        found.update({e.id: e for e in self.diagnosis.all_evidence()})
        found.update({e.id: e for e in (*self.details, *self.documents)})
        found.update(self.added)
        return found
