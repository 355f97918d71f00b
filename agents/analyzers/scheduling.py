"""Pods that find no node: told apart by the scheduler's words, and checked against the nodes themselves.

The scheduler names, for each node, the first filter that it fails. A node that fails on a late filter (resources,
spread, volumes) has passed the early ones (cordon, taints, labels), so the late reasons say what is nearest to fitting.
Where only early reasons are left, the nodes' labels and taints are compared with the pod here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from agents.analyzers.base import Analyzer, Code, finding, seen_event, seen_field
from agents.analyzers.fit import is_cordoned, matches_labels, only_sick_nodes, untolerated
from agents.analyzers.pods import events_of, is_scheduled, per_workload, unwell_pods
from agents.analyzers.scheduling_codes import (
    AFFINITY,
    ANTI_AFFINITY,
    CLAIM,
    CORDONED,
    GATED,
    HOST_PORT,
    INSUFFICIENT_CPU,
    INSUFFICIENT_MEMORY,
    INSUFFICIENT_OTHER,
    NO_SCHEDULER,
    SCHEDULING_CODES,
    SELECTOR,
    SPREAD,
    TAINTS,
    TOO_MANY_PODS,
    UNSCHEDULABLE,
    VOLUME_COUNT,
)
from agents.analyzers.scheduling_reports import REPORTS, Report, Unplaced
from agents.cluster.objects import K8sObject, text
from agents.cluster.view import ClusterView
from agents.evidence import Evidence, Finding

_PATIENCE = timedelta(seconds=60)
_NO_SCHEDULER_AFTER = timedelta(minutes=2)

# from the earliest filter to the latest, as the scheduler's default plugins run
_FILTERS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(r"(\d+) " + pattern))
    for name, pattern in (
        ("cordoned", r"node\(s\) were unschedulable"),
        ("taint", r"node\(s\) had (?:untolerated taints?|taints? )"),
        ("selector", r"node\(s\) didn't match (?:Pod's )?node (?:affinity|selector)"),
        ("ports", r"node\(s\) didn't have free ports"),
        ("too-many-pods", r"Too many pods"),
        ("resource", r"Insufficient [^\s,.]+"),
        ("volume-count", r"node\(s\) exceed max volume count"),
        ("volume-affinity", r"node\(s\) (?:had volume node affinity conflict|had no available volume zone)"),
        ("spread", r"node\(s\) didn't match pod topology spread"),
        ("affinity", r"node\(s\) didn't match pod affinity"),
        ("anti-affinity", r"node\(s\) didn't (?:match pod|satisfy existing pods) anti-affinity"),
    )
)
_EARLY = ("cordoned", "taint", "selector")
_LATE = tuple(name for name, _ in _FILTERS if name not in _EARLY)
_INSUFFICIENT = re.compile(r"(\d+) Insufficient ([^\s,]+?)[,.]?(?=\s|$)")
_CLAIM = re.compile(
    r"unbound immediate PersistentVolumeClaims|persistentvolumeclaim \"?[^\s\"]+\"? (?:not found|is being del|bound)|"
    r"didn't find available persistent volumes|storageclass\S* \"?[^\s\"]+\"? not found|ephemeral volume controller|"
    r"did not have enough free storage|PersistentVolume's node affinity|unbound PersistentVolumeClaim",
    re.IGNORECASE,
)


def unschedulable_pods(view: ClusterView) -> Iterator[Finding]:
    """Pods that the scheduler cannot place, and pods that no scheduler looks at."""
    rows = [(u.pod, u.code.name, u) for pod in unwell_pods(view) if (u := _unplaced(view, pod)) is not None]
    for case in per_workload(view, rows):
        unplaced = case.fact
        report = Report([], list(case.related), {})
        why = REPORTS[unplaced.code.name](view, case, report) if unplaced.code.name in REPORTS else ""
        who = f"{case.count[0].upper()}{case.count[1:]} of {case.workload.kind} {case.workload.name}"
        said = f" The scheduler says: {unplaced.said[:400]}" if unplaced.said else ""
        message = f"{who} is not scheduled: {why or unplaced.code.title.lower()}.{said}"
        evidence = [*_scheduler_evidence(view, unplaced), *report.evidence]
        facts: dict[str, Any] = {
            "pod": case.pod.name,
            "selector": "KEY=VALUE",
            "label": "KEY=VALUE",
            "resource": "cpu",
            "claim": "CLAIM",
            "node": "NODE",
            "taint": "",
            **report.facts,
        }
        yield finding(
            unplaced.code, report.object or case.workload, message, evidence[:5],
            related=[*report.related, case.workload.ref], **facts,
        )  # fmt: skip


def _scheduler_evidence(view: ClusterView, unplaced: Unplaced) -> list[Evidence]:
    pod = unplaced.pod
    events = list(events_of(view, pod.ref, "FailedScheduling", "SchedulingGated"))
    if events and (not unplaced.said or events[0].message == unplaced.said):
        return [seen_event(events[0])]
    condition = pod.condition("PodScheduled")
    if condition:
        shown = ": ".join(filter(None, (text(condition, "reason"), text(condition, "message"))))
        return [seen_field(pod, "status.conditions[PodScheduled]", shown)]
    return [seen_field(pod, "status.phase", text(pod.status, "phase") or "Pending")]


def _unplaced(view: ClusterView, pod: K8sObject) -> Unplaced | None:
    if text(pod.status, "phase") not in ("Pending", "") or is_scheduled(pod):
        return None
    condition = pod.condition("PodScheduled")
    age = view.age(pod.created)
    if text(condition, "reason") == "SchedulingGated" or pod.spec.get("schedulingGates"):
        return Unplaced(pod, GATED, text(condition, "message"), {})
    said = text(condition, "message")
    if not said:
        said = next((e.message for e in events_of(view, pod.ref, "FailedScheduling")), "")
    if not said and not condition:
        quiet = age is not None and age >= _NO_SCHEDULER_AFTER and not list(events_of(view, pod.ref))
        return Unplaced(pod, NO_SCHEDULER, "", {}) if quiet else None
    if age is not None and age < _PATIENCE:
        return None
    return Unplaced(pod, *_judge(view, pod, said))


def _judge(view: ClusterView, pod: K8sObject, said: str) -> tuple[Code, str, Mapping[str, int]]:
    main = re.split(r"\.? preemption:", said)[0]
    if _CLAIM.search(main):
        return CLAIM, said, {}
    counts = {name: int(m[1]) for name, pattern in _FILTERS if (m := pattern.search(main)) is not None}
    resources = {m[2]: int(m[1]) for m in _INSUFFICIENT.finditer(main)}
    late = [name for name in _LATE if name in counts]
    if late:
        primary = max(late, key=lambda name: (counts[name], _LATE.index(name)))
        if primary != "resource":
            return _CODE_OF[primary], said, resources
        return _resource_code(resources), said, resources
    nodes = list(view.of_kind("Node"))
    fitting = [n for n in nodes if matches_labels(pod.spec, n)]
    if nodes and not fitting and "selector" in counts:
        return SELECTOR, said, {}
    if fitting and "cordoned" in counts and all(is_cordoned(n) for n in fitting):
        return CORDONED, said, {}
    if "taint" in counts and (not fitting or any(untolerated(pod.spec, n) for n in fitting)):
        # a taint that the node controller sets is no setting of anybody: the node's condition is the cause
        return (UNSCHEDULABLE if only_sick_nodes(pod.spec, fitting) else TAINTS), said, {}
    primary = next((name for name in ("selector", "taint", "cordoned") if name in counts), "")
    return (_CODE_OF[primary] if primary else UNSCHEDULABLE), said, {}


def _resource_code(resources: Mapping[str, int]) -> Code:
    most = max(resources, key=lambda name: resources[name], default="cpu")
    return {"cpu": INSUFFICIENT_CPU, "memory": INSUFFICIENT_MEMORY}.get(most, INSUFFICIENT_OTHER)


_CODE_OF: Mapping[str, Code] = {
    "cordoned": CORDONED,
    "taint": TAINTS,
    "selector": SELECTOR,
    "ports": HOST_PORT,
    "too-many-pods": TOO_MANY_PODS,
    "volume-count": VOLUME_COUNT,
    "volume-affinity": CLAIM,
    "spread": SPREAD,
    "affinity": AFFINITY,
    "anti-affinity": ANTI_AFFINITY,
}

CODES: tuple[Code, ...] = SCHEDULING_CODES
ANALYZERS: tuple[Analyzer, ...] = (unschedulable_pods,)
