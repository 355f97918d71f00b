"""The supervisor: the steps of a turn in order. Code, not a model: scope, examine, route, consult, join.

Each step takes the turn's working memory from the graph's context, does one thing, and says on the stream what it did.
Specialists are consulted at the same time; their parts are released in order, the first one live. Joining is done by
code, since each cause belongs to one speaker: a question costs as many model conversations as it has speakers, and no
more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from agents.diagnosis import Attention
from agents.events import DiagnosisEvent, EvidenceEvent, FindingEvent, Handoff, Notice, Route, Step, Token
from agents.evidence import Diagnosis, Domain, Evidence, Finding, ObjectRef, RootCause, RouteTaken
from agents.examination import analyse_aside, require_namespaces
from agents.report import closing, details, heading, opening, shares
from agents.scope import MAX_QUESTION, needs_no_cluster, read_question, resolve
from agents.specialists.loop import Consultation, consult
from agents.specialists.rows import SPECIALISTS
from agents.state import PartState, TurnWork
from agents.tools.lookups import asked_for
from knowledge.search import Passage

MAX_DOCUMENTS = 3
SHOWN_FINDINGS = 30


async def find_scope(work: TurnWork) -> None:
    """What the question is about; reads the list of names unless the words alone show a general question."""
    started = time.perf_counter()
    await work.stream.emit(Step, name="scope", status="started")
    mentions = read_question(work.question[:MAX_QUESTION])
    if needs_no_cluster(mentions) and not _names_something(work, mentions.tokens):
        work.scope = resolve(mentions, ())
    else:
        inventory = await work.services.source.inventory()
        work.scope = resolve(mentions, inventory.objects, namespace=work.context.namespace, previous=work.previous)
    await work.stream.step("scope", work.scope.sentence(), _milliseconds(started))


def _names_something(work: TurnWork, tokens: Sequence[str]) -> bool:
    """Whether a general-sounding question is about what the conversation was about ("how do I fix checkout?")."""
    names = {ref.name for ref in work.previous.objects} if work.previous is not None else set()
    return bool(names & set(tokens))


async def examine(work: TurnWork) -> None:
    """Reads the view, runs all analyzers, links the diagnosis, and looks at what was asked for by name."""
    if not work.scope.needs_cluster:
        return
    started = time.perf_counter()
    await work.stream.emit(Step, name="read", status="started", detail=work.identity.label)
    source = work.services.source
    work.view = await source.view(work.scope.namespaces)
    require_namespaces(work.view, work.scope.namespaces)
    read = f"{len(work.view)} objects and {len(work.view.logs)} logs of {work.identity.label}"
    await work.stream.step("read", read, _milliseconds(started))
    started = time.perf_counter()
    await work.stream.emit(Step, name="checks", status="started")
    attention = Attention(work.scope.namespaces, work.scope.objects)
    diagnosis = await analyse_aside(work.view, attention, work.services.mask)
    work.diagnosis = renumbered(diagnosis, await work.number(len(diagnosis.all_evidence())))
    work.details = await work.add_evidence(await asked_for(work.view, source.reader, work.scope))
    await work.stream.step("checks", _checked(work.diagnosis), _milliseconds(started))
    for item in work.diagnosis.findings[:SHOWN_FINDINGS]:
        await work.stream.emit(FindingEvent, finding=item)
    for evidence in work.details:
        await work.stream.emit(EvidenceEvent, evidence=evidence)
    await work.stream.emit(DiagnosisEvent, diagnosis=work.diagnosis)


def _checked(diagnosis: Diagnosis) -> str:
    faults = sum(1 for c in diagnosis.root_causes if c.severity.is_fault)
    risks = len(diagnosis.root_causes) - faults
    parts = [f"{faults} root cause{'s' if faults != 1 else ''}"]
    if risks:
        parts.append(f"{risks} risk{'s' if risks != 1 else ''}")
    parts.append(f"{len(diagnosis.findings)} findings")
    if diagnosis.not_checked:
        parts.append(f"{len(diagnosis.not_checked)} not checked")
    return ", ".join(parts)


async def choose(work: TurnWork) -> tuple[Domain, ...]:
    """Who speaks: words, scope and findings decide; a change of speaker is a visible hand-over."""
    started = time.perf_counter()
    concerned = [c.domain for c in work.diagnosis.root_causes if c.in_focus]
    route = await asyncio.to_thread(  # milliseconds, but the first question loads the sentence model
        work.services.router.route,
        work.question[:MAX_QUESTION],
        finding_domains=concerned,
        scope_kinds=work.scope.kinds,
        current=work.current,
        forced=work.forced,
    )
    work.route = RouteTaken(domains=route.domains, scores=dict(route.scores), reason=route.reason)
    if not work.scope.needs_cluster:
        await _find_documents(work)
    await work.stream.emit(Route, route=work.route, cluster=work.identity)
    first = route.domains[0]
    if work.current is not None and work.current not in route.domains:
        await work.stream.emit(Handoff, source=work.current, target=first, reason=route.reason)
    names = " and ".join(SPECIALISTS[d].title for d in route.domains)
    await work.stream.step("route", f"{names}: {route.reason}", _milliseconds(started))
    return route.domains


async def _find_documents(work: TurnWork) -> None:
    """Runbook passages for a question that needs no cluster."""
    passages = await asyncio.to_thread(work.services.runbooks.search, work.question[:MAX_QUESTION], limit=MAX_DOCUMENTS)
    work.documents = await work.add_evidence([_passage(p) for p in passages])
    for item in work.documents:
        await work.stream.emit(EvidenceEvent, evidence=item)


def _passage(passage: Passage) -> Evidence:
    subject = ObjectRef("", "Runbook", "", passage.path)
    locator = f"{passage.path}, {passage.section}" if passage.section else passage.path
    return Evidence(kind="document", object=subject, locator=locator, excerpt=passage.text)


@dataclass(slots=True)
class Floor:
    """Who may speak: parts are written at the same time and released in order, the first one live."""

    work: TurnWork
    domains: tuple[Domain, ...]
    waiting: dict[Domain, list[str]] = field(default_factory=dict)
    done: set[Domain] = field(default_factory=set)
    speaking: int = 0

    async def say(self, domain: Domain, text: str) -> None:
        """Releases text of the one who has the floor; keeps that of the others."""
        if self.speaking < len(self.domains) and self.domains[self.speaking] is domain:
            await self.work.stream.emit(Token, text=text, specialist=domain)
        else:
            self.waiting.setdefault(domain, []).append(text)

    async def finish(self, domain: Domain) -> None:
        """This part is complete; the floor goes to the next one, with what it has written so far."""
        self.done.add(domain)
        while self.speaking < len(self.domains) and self.domains[self.speaking] in self.done:
            self.speaking += 1
            if self.speaking < len(self.domains):
                upcoming = self.domains[self.speaking]
                for text in self.waiting.pop(upcoming, []):
                    await self.work.stream.emit(Token, text=text, specialist=upcoming)


async def speak(work: TurnWork, floor: Floor, domain: Domain) -> PartState:
    """One specialist's part, released through the floor."""
    started = time.perf_counter()
    causes, findings = _share(work, floor.domains, domain)

    async def sink(text: str) -> None:
        await floor.say(domain, text)

    if len(floor.domains) > 1:
        await sink(heading(domain))
    try:
        part = await consult(Consultation(work, SPECIALISTS[domain], floor.domains, causes, findings, sink))
    finally:
        await floor.finish(domain)
    await work.stream.step(f"specialist:{domain.value}", SPECIALISTS[domain].title, _milliseconds(started))
    return part


def _share(work: TurnWork, domains: tuple[Domain, ...], domain: Domain) -> tuple[list[RootCause], list[Finding]]:
    return shares(work.diagnosis, domains)[domain]


async def open_answer(work: TurnWork) -> None:
    """What comes before anybody speaks."""
    for text in opening(work.scope):
        await work.stream.emit(Token, text=text)
    for unknown in work.scope.unknown:
        code = "namespace-not-found" if unknown.kind == "Namespace" else "object-not-found"
        await work.stream.emit(Notice, code=code, message=str(unknown))
    if work.services.model is None:
        for text in details(work.details):  # what was asked to see by name comes before what else is known
            await work.stream.emit(Token, text=text)
        message = "No model is configured: this answer is rendered from the evidence alone."
        await work.stream.emit(Notice, code="evidence-only", message=message)


async def close_answer(work: TurnWork, parts: Sequence[PartState]) -> None:
    """What comes after a report: runbook passages, what is healthy, what could not be checked."""
    if any(part["used_model"] for part in parts):
        return
    asked = details(work.details) if work.services.model is not None else ()  # the model that should have, failed
    for text in (*asked, *closing(work.diagnosis, work.documents)):
        await work.stream.emit(Token, text=text)


def renumbered(diagnosis: Diagnosis, first: int) -> Diagnosis:
    """The diagnosis with its evidence numbered from `first` on (it is made with numbers from 1)."""
    if first == 1:
        return diagnosis
    shift = first - 1

    def moved(items: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
        return tuple(e.model_copy(update={"id": f"E{int(e.id[1:]) + shift}"}) for e in items)

    causes = tuple(c.model_copy(update={"evidence": moved(c.evidence)}) for c in diagnosis.root_causes)
    findings = tuple(f.model_copy(update={"evidence": moved(f.evidence)}) for f in diagnosis.findings)
    return diagnosis.model_copy(update={"root_causes": causes, "findings": findings})


def _milliseconds(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
