"""Links findings into root causes and the symptoms they explain; says what is healthy and what could not be looked at.

How it thinks. A *symptom* is explained by the nearest *cause* on something that its object needs
(`agents.dependencies`), or that names it as related. A cause that nothing explains is a root cause; so is a fault
symptom that no cause explains (then it is the deepest thing known), and the deepest of symptoms that only explain each
other. A *risk* explains nothing; risks, and warnings that explain nothing, become root causes only where nothing is
broken in what was asked about, so that the answer to "is there anything to worry about?" is never buried, and never
alarms. Everything is ordered and numbered deterministically: the same view gives the same diagnosis, to the letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agents.analyzers.base import Code, Role
from agents.cluster.objects import K8sObject, integer
from agents.cluster.view import ClusterView
from agents.dependencies import reach
from agents.evidence import (
    Diagnosis,
    Evidence,
    Explained,
    Finding,
    Healthy,
    NotChecked,
    ObjectRef,
    RootCause,
    Severity,
)
from agents.linking import SURFACE, Linked, link_all

MAX_EVIDENCE = 8
MAX_HEALTHY = 20
MAX_RISKS = 8
ASKED_DISTANCE = 4
_SERVING = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True, slots=True)
class Attention:
    """What the question is about: namespaces and objects. Both empty means the whole cluster."""

    namespaces: frozenset[str] = frozenset()
    objects: tuple[ObjectRef, ...] = ()


def diagnose(
    view: ClusterView,
    findings: Iterable[Finding],
    codes: Mapping[str, Code],
    *,
    attention: Attention | None = None,
    failed: Sequence[NotChecked] = (),
) -> Diagnosis:
    """The diagnosis of a view from the findings of all analyzers.

    `failed` names analyzers that could not run. Evidence is numbered from E1; a conversation renumbers it.
    """
    attention = attention or Attention(view.focus)
    merged = _merged(findings)
    linked = [Linked(f, codes[f.code].role) for f in merged]
    link_all(view, linked)
    roots = _roots(view, linked, attention)
    return _numbered(view, linked, roots, failed)


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """One finding per code and object, evidence united, the most severe first."""
    by_key: dict[tuple[str, tuple[str, str, str], str], Finding] = {}
    for item in findings:
        key = (item.code, item.object.key, item.message)
        by_key.setdefault(key, item)
    return sorted(by_key.values(), key=_order)


def _order(item: Finding) -> tuple[object, ...]:
    return (
        -item.severity.rank,
        -item.confidence,
        item.object.namespace,
        item.object.kind,
        item.object.name,
        item.code,
        item.message,
    )


def _roots(view: ClusterView, linked: list[Linked], attention: Attention) -> list[Linked]:
    """The root causes in order: what was asked about first, then by severity and by how much they explain."""
    asked = _asked(view, attention)
    roots = [link for link in linked if _is_root(link)]
    concerned = _concerned(linked, roots, attention, asked)
    if not any(_severity(linked, link).is_fault for link in concerned):
        risks = [link for link in linked if _is_warning(link) and link not in concerned]
        concerned += _concerned(linked, risks, attention, asked)[:MAX_RISKS]
    for link in roots:
        link.in_focus = link in concerned
    elsewhere = [link for link in roots if not link.in_focus and _severity(linked, link).is_fault]

    def order(link: Linked) -> tuple[object, ...]:
        return _root_order(linked, link, asked)

    return sorted(concerned, key=order) + sorted(elsewhere, key=order)


def _asked(view: ClusterView, attention: Attention) -> set[tuple[str, str, str]]:
    """What was asked about by name, what shares its name, and all that it needs."""
    keys: set[tuple[str, str, str]] = set()
    for ref in attention.objects:
        keys |= {key for key, node in reach(view, ref).items() if node.distance <= ASKED_DISTANCE}
        keys |= {(kind, ref.namespace, ref.name) for kind in view.kinds}
    return keys


def _concerned(
    linked: list[Linked], links: list[Linked], attention: Attention, asked: set[tuple[str, str, str]]
) -> list[Linked]:
    """Those that have to do with the objects asked about; where there are none, those of the namespaces asked about."""
    if not attention.namespaces and not attention.objects:
        return list(links)
    touching = [link for link in links if {ref.key for ref in _touched(linked, link)} & asked]
    return touching or [
        link
        for link in links
        if any(
            ref.namespace in attention.namespaces or (ref.kind == "Namespace" and ref.name in attention.namespaces)
            for ref in _touched(linked, link)
        )
    ]


def _touched(linked: list[Linked], link: Linked) -> list[ObjectRef]:
    """The object of a finding, what it names as concerned, and where what it explains shows."""
    explained = [linked[place].finding.object for place, _ in link.explains]
    return [link.finding.object, *link.finding.related, *explained]


def _is_root(link: Linked) -> bool:
    if link.role is Role.RISK or link.explained:
        return False
    return link.finding.severity.is_fault or bool(link.explains)


def _is_warning(link: Linked) -> bool:
    """What nothing has come of yet: a risk, or a cause that explains no symptom."""
    warned = link.finding.severity.rank >= Severity.WARNING.rank
    return warned and link.role is not Role.SYMPTOM and not link.explained


def _severity(linked: list[Linked], link: Linked) -> Severity:
    """A root cause is as severe as the worst that it explains."""
    severities = [link.finding.severity, *(linked[place].finding.severity for place, _ in link.explains)]
    return max(severities, key=lambda s: s.rank)


def _root_order(linked: list[Linked], link: Linked, asked: set[tuple[str, str, str]]) -> tuple[object, ...]:
    return (
        not ({ref.key for ref in _touched(linked, link)} & asked),
        -_severity(linked, link).rank,
        link.role is Role.SYMPTOM,
        -len(link.explains),
        *_order(link.finding),
    )


def _numbered(view: ClusterView, linked: list[Linked], roots: list[Linked], failed: Sequence[NotChecked]) -> Diagnosis:
    """Gives ids in reading order: root causes and their evidence first."""
    numbers: dict[tuple[object, ...], str] = {}

    def numbered(items: Iterable[Evidence]) -> tuple[Evidence, ...]:
        unique: dict[str, Evidence] = {}
        for item in items:
            key = (item.kind, item.object.key, item.locator, item.excerpt)
            evidence_id = numbers.setdefault(key, f"E{len(numbers) + 1}")
            unique.setdefault(evidence_id, item.model_copy(update={"id": evidence_id}))
        return tuple(unique.values())

    order = {id(link): f"F{number}" for number, link in enumerate(_reading_order(linked, roots), 1)}
    causes = []
    for number, link in enumerate(roots, 1):
        own = link.finding
        symptoms = [linked[place].finding for place, _ in link.explains]
        evidence = numbered([*own.evidence, *(e for s in symptoms for e in s.evidence[:1])][:MAX_EVIDENCE])
        causes.append(
            RootCause(
                id=f"R{number}",
                code=own.code,
                severity=_severity(linked, link),
                domain=own.domain,
                object=own.object,
                cause=own.message,
                remedy=own.remedy,
                evidence=evidence,
                explains=tuple(
                    Explained(finding=order[id(linked[p])], object=linked[p].finding.object, how=how)
                    for p, how in link.explains
                ),
                confidence=own.confidence,
                in_focus=link.in_focus,
            )
        )
    findings = tuple(
        link.finding.model_copy(
            update={
                "id": order[id(link)],
                "evidence": numbered(link.finding.evidence),
                "severity": _felt_severity(view, link),
            }
        )
        for link in _reading_order(linked, roots)
    )
    return Diagnosis(
        root_causes=tuple(causes),
        findings=findings,
        healthy=_healthy(view, findings),
        not_checked=_not_checked(view, failed),
    )


def _felt_severity(view: ClusterView, link: Linked) -> Severity:
    """A workload that lost some pods to a fault elsewhere still does its work with the others: that is a warning."""
    own = link.finding
    if link.explained and own.code in SURFACE and own.severity.is_fault:
        obj = view.resolve(own.object)
        counts = _ready_counts(obj) if obj is not None and obj.kind in _SERVING else None
        if counts is not None and counts[0] > 0:
            return Severity.WARNING
    return own.severity


def _reading_order(linked: list[Linked], roots: list[Linked]) -> list[Linked]:
    first = {id(link): place for place, link in enumerate(roots)}
    return sorted(linked, key=lambda link: (first.get(id(link), len(roots)), _order(link.finding)))


def _healthy(view: ClusterView, findings: Sequence[Finding]) -> tuple[Healthy, ...]:
    """Workloads in focus that have all the pods they want, and no fault."""
    faulty = {f.object.key for f in findings if f.severity.is_fault}
    healthy = []
    for obj in view.of_kind(*_SERVING):
        counts = _ready_counts(obj)
        if counts is None or obj.ref.key in faulty or not view.in_focus(obj.ref):
            continue
        ready, wanted = counts
        if wanted and ready >= wanted:
            healthy.append(Healthy(object=obj.ref, detail=f"{ready} of {wanted} pods ready"))
    return tuple(healthy[:MAX_HEALTHY])


def _ready_counts(obj: K8sObject) -> tuple[int, int] | None:
    if obj.kind == "DaemonSet":
        wanted, ready = integer(obj.status, "desiredNumberScheduled"), integer(obj.status, "numberReady")
    else:
        replicas = integer(obj.spec, "replicas")
        wanted, ready = 1 if replicas is None else replicas, integer(obj.status, "readyReplicas")
    return None if wanted is None else (ready or 0, wanted)


def _not_checked(view: ClusterView, failed: Sequence[NotChecked]) -> tuple[NotChecked, ...]:
    unread = [NotChecked(what=what, reason=missing.reason, detail=missing.detail) for what, missing in view.missing]
    return tuple(dict.fromkeys((*failed, *unread)))
