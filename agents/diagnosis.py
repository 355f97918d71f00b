"""Links findings into root causes and the symptoms they explain; says what is healthy and what could not be looked at.

How it thinks. A *symptom* is explained by the nearest *cause* on something that its object needs
(`agents.dependencies`), or that names it as related. A cause that nothing explains is a root cause; so is a fault
symptom that no cause explains (then it is the deepest thing known), and the deepest of symptoms that only explain each
other. A *risk* explains nothing; risks, and warnings that explain nothing, become root causes only where nothing is
broken in what was asked about, so that the answer to "is there anything to worry about?" is never buried, and never
alarms. Everything is ordered and numbered deterministically: the same view gives the same diagnosis, to the letter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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

MAX_EVIDENCE = 8
MAX_HEALTHY = 20
MAX_RISKS = 8
ASKED_DISTANCE = 4
_RELATED_PENALTY = 0.5  # a cause that merely names an object is a little farther than one that stands on it

# Symptoms of availability: any other fault on the same object says more than they do. The number says how far such a
# symptom is from the cause: one of them is explained by a deeper one, never the other way round.
_SURFACE: Mapping[str, int] = {
    "ingress-backend-down": 4,
    "service-without-ready-endpoints": 3,
    "rollout-stuck": 2,
    "replicas-missing": 2,
    "pods-not-ready": 2,
    "statefulset-blocked-by-ordinal": 2,
    "daemonset-pods-missing": 2,
    "crash-loop": 1,
    "readiness-probe-failing": 1,
}


@dataclass(frozen=True, slots=True)
class Attention:
    """What the question is about: namespaces and objects. Both empty means the whole cluster."""

    namespaces: frozenset[str] = frozenset()
    objects: tuple[ObjectRef, ...] = ()


@dataclass(slots=True)
class _Linked:
    """A finding on its way to be a root cause, with what it explains: (symptom's place, how)."""

    finding: Finding
    role: Role
    explains: list[tuple[int, str]] = field(default_factory=list)
    explained: bool = False
    in_focus: bool = True


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
    linked = [_Linked(f, codes[f.code].role) for f in merged]
    _link(view, linked)
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


def _link(view: ClusterView, linked: list[_Linked]) -> None:
    """Attaches each symptom to the causes that explain it best."""
    standing: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    naming: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place, link in enumerate(linked):
        if link.role is Role.RISK or link.finding.severity is Severity.INFO:
            continue
        standing[link.finding.object.key].append(place)
        for ref in link.finding.related:
            naming[ref.key].append(place)
    for place, link in enumerate(linked):
        if link.role is Role.SYMPTOM and link.finding.severity.rank >= Severity.WARNING.rank:
            for cause, how in _best_causes(view, linked, place, standing, naming):
                linked[cause].explains.append((place, how))
                link.explained = True
    _break_circles(linked)


def _best_causes(
    view: ClusterView,
    linked: list[_Linked],
    place: int,
    standing: Mapping[tuple[str, str, str], list[int]],
    naming: Mapping[tuple[str, str, str], list[int]],
) -> list[tuple[int, str]]:
    """(place of the cause, how) of the nearest causes of one symptom; several when they are equally near."""
    symptom = linked[place].finding
    reached = reach(view, symptom.object)
    candidates: dict[int, tuple[float, str]] = {}

    def offer(cause: int, distance: float, how: str) -> None:
        if cause == place or not _may_explain(linked[cause], linked[place], distance):
            return
        if cause not in candidates or distance < candidates[cause][0]:
            candidates[cause] = (distance, how)

    for key, node in reached.items():
        for cause in standing.get(key, ()):
            offer(cause, node.distance, node.how or f"both show on {symptom.object}")
        for cause in naming.get(key, ()) if node.distance <= 2 else ():
            other = linked[cause].finding.object
            how = f"{other} acts on {node.ref}" + (f"; {node.how}" if node.how else "")
            offer(cause, node.distance + _RELATED_PENALTY, how)
    for ref in symptom.related:
        for cause in standing.get(ref.key, ()):
            offer(cause, _RELATED_PENALTY, f"{symptom.object} needs {ref}")
    causes = [c for c in candidates if linked[c].role is Role.CAUSE] or list(candidates)
    if not causes:
        return []
    nearest = min(candidates[c][0] for c in causes)
    return sorted((c, candidates[c][1]) for c in causes if candidates[c][0] <= nearest + _RELATED_PENALTY)


def _may_explain(cause: _Linked, symptom: _Linked, distance: float) -> bool:
    """A fault explains; a mere warning only what it stands on or names; a symptom only a more superficial one."""
    if not cause.finding.severity.is_fault and distance > 1:
        return False
    if cause.role is Role.CAUSE:
        return True
    if symptom.finding.code not in _SURFACE:
        return False
    if cause.finding.code in _SURFACE:  # along a real dependency only: on one object two such symptoms say the same
        return distance >= 1 and _SURFACE[cause.finding.code] <= _SURFACE[symptom.finding.code]
    return True


def _break_circles(linked: list[_Linked]) -> None:
    """Symptoms that explain each other in a circle would all be explained and none be told: the deepest becomes a root.

    A symptom is told when a chain of explanations leads to it from a finding that nothing explains.
    """
    told: set[int] = set()

    def tell(start: int) -> None:
        pending = [start]
        while pending:
            place = pending.pop()
            if place not in told:
                told.add(place)
                pending.extend(symptom for symptom, _ in linked[place].explains)

    for place, link in enumerate(linked):
        if not link.explained:
            tell(place)
    circular = [place for place, link in enumerate(linked) if place not in told]
    for place in sorted(circular, key=lambda p: (_SURFACE.get(linked[p].finding.code, 0), p)):
        if place not in told:
            linked[place].explained = False
            tell(place)


def _roots(view: ClusterView, linked: list[_Linked], attention: Attention) -> list[_Linked]:
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

    def order(link: _Linked) -> tuple[object, ...]:
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
    linked: list[_Linked], links: list[_Linked], attention: Attention, asked: set[tuple[str, str, str]]
) -> list[_Linked]:
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


def _touched(linked: list[_Linked], link: _Linked) -> list[ObjectRef]:
    """The object of a finding, what it names as concerned, and where what it explains shows."""
    explained = [linked[place].finding.object for place, _ in link.explains]
    return [link.finding.object, *link.finding.related, *explained]


def _is_root(link: _Linked) -> bool:
    if link.role is Role.RISK or link.explained:
        return False
    return link.finding.severity.is_fault or bool(link.explains)


def _is_warning(link: _Linked) -> bool:
    """What nothing has come of yet: a risk, or a cause that explains no symptom."""
    warned = link.finding.severity.rank >= Severity.WARNING.rank
    return warned and link.role is not Role.SYMPTOM and not link.explained


def _severity(linked: list[_Linked], link: _Linked) -> Severity:
    """A root cause is as severe as the worst that it explains."""
    severities = [link.finding.severity, *(linked[place].finding.severity for place, _ in link.explains)]
    return max(severities, key=lambda s: s.rank)


def _root_order(linked: list[_Linked], link: _Linked, asked: set[tuple[str, str, str]]) -> tuple[object, ...]:
    return (
        not ({ref.key for ref in _touched(linked, link)} & asked),
        -_severity(linked, link).rank,
        link.role is Role.SYMPTOM,
        -len(link.explains),
        *_order(link.finding),
    )


def _numbered(
    view: ClusterView, linked: list[_Linked], roots: list[_Linked], failed: Sequence[NotChecked]
) -> Diagnosis:
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
        link.finding.model_copy(update={"id": order[id(link)], "evidence": numbered(link.finding.evidence)})
        for link in _reading_order(linked, roots)
    )
    return Diagnosis(
        root_causes=tuple(causes),
        findings=findings,
        healthy=_healthy(view, findings),
        not_checked=_not_checked(view, failed),
    )


def _reading_order(linked: list[_Linked], roots: list[_Linked]) -> list[_Linked]:
    first = {id(link): place for place, link in enumerate(roots)}
    return sorted(linked, key=lambda link: (first.get(id(link), len(roots)), _order(link.finding)))


def _healthy(view: ClusterView, findings: Sequence[Finding]) -> tuple[Healthy, ...]:
    """Workloads in focus that have all the pods they want, and no fault."""
    faulty = {f.object.key for f in findings if f.severity.is_fault}
    healthy = []
    for obj in view.of_kind("Deployment", "StatefulSet", "DaemonSet"):
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
