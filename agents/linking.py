"""Linking: which findings explain which. A symptom gets the nearest causes on what its object needs, or that name it.

Promise: every symptom is told: explained by a finding that nothing explains, or itself unexplained; never in a circle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.analyzers.base import Role
from agents.cluster.view import ClusterView
from agents.dependencies import reach
from agents.evidence import Finding, ObjectRef, Severity

_NAMED_WITHIN = 3  # a Deployment, its ReplicaSet, a pod, and what that needs itself
_RELATED_PENALTY = 0.5  # a cause that merely names an object is a little farther than one that stands on it

# Symptoms of availability: any other fault on the same object says more than they do. The number says how far such a
# symptom is from the cause: one of them is explained by a deeper one, never the other way round.
SURFACE: Mapping[str, int] = {
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

# What acts on everything in its namespace: a fault of it explains what it names as hurt, not whatever is there.
_ACTING = frozenset({"ResourceQuota", "LimitRange", "NetworkPolicy"})


@dataclass(slots=True)
class Linked:
    """A finding on its way to be a root cause, with what it explains: (symptom's place, how)."""

    finding: Finding
    role: Role
    explains: list[tuple[int, str]] = field(default_factory=list)
    explained: bool = False
    in_focus: bool = True


def link_all(view: ClusterView, linked: list[Linked]) -> None:
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
    linked: list[Linked],
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
            if node.ref.kind in _ACTING and linked[cause].finding.related:
                continue  # it says itself whom it hurts, and is found by that
            offer(cause, node.distance, node.how or f"both show on {symptom.object}")
        for cause in naming.get(key, ()) if node.distance <= _NAMED_WITHIN else ():
            other = linked[cause].finding.object
            if not _acts_upon(linked[cause].finding, node.ref, symptom):
                continue
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


def _may_explain(cause: Linked, symptom: Linked, distance: float) -> bool:
    """A fault explains; a mere warning only what it stands on or names; a symptom only a more superficial one."""
    if not cause.finding.severity.is_fault and distance > 1:
        return False
    if cause.role is Role.CAUSE:
        return True
    if symptom.finding.code not in SURFACE:
        return False
    if cause.finding.code in SURFACE:  # along a real dependency only: on one object two such symptoms say the same
        return distance >= 1 and SURFACE[cause.finding.code] <= SURFACE[symptom.finding.code]
    return True


def _acts_upon(cause: Finding, named: ObjectRef, symptom: Finding) -> bool:
    """Whether a cause that merely names an object may do something to what needs that object.

    A pod that finds no place names nodes and quotas too, and does nothing to others there. An agent that is broken on a
    node (kube-proxy, a network plugin) brings pods there trouble of its own domain, and what is only the surface; it is
    not why a program complains about itself.
    """
    if named.kind in _ACTING:
        return False
    if named.kind != "Node" or cause.object.kind == "Node":
        return True
    return cause.object.kind == "DaemonSet" and (symptom.domain is cause.domain or symptom.code in SURFACE)


def _break_circles(linked: list[Linked]) -> None:
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
    for place in sorted(circular, key=lambda p: (SURFACE.get(linked[p].finding.code, 0), p)):
        if place not in told:
            linked[place].explained = False
            tell(place)
