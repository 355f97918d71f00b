"""Use as the metrics API measures it, beside what was asked for: containers at their limits, nodes without air.

A reading is one moment (a window of 15 s or so), so high use alone is a warning; it is an error only where pods of the
same workload fail their probes by time-outs at the same time. Without PodMetrics and NodeMetrics in the view nothing
is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.analyzers.base import Analyzer, Code, Role, finding, seen_event, seen_field
from agents.analyzers.ownership import is_platform_namespace, manual_change_note
from agents.analyzers.pods import events_of, is_ready
from agents.analyzers.resources import pod_request, show
from agents.cluster.objects import K8sObject, containers, mappings, moment, pod_spec, quantity, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, Severity

_D, _W = Domain.PERFORMANCE, Severity.WARNING

MEMORY_NEAR_LIMIT = Code(
    "memory-near-limit", _D, _W, Role.RISK, "A container uses nearly all of its memory limit: the next peak kills it",
    "See whether it grows or is steady: `kubectl -n {ns} top pods --containers`\n"
    "Raise the limit, or give the runtime less (heap, cache sizes):\n"
    "`kubectl -n {ns} set resources {kind}/{name} -c {container} --limits=memory={suggested}`{gitops}", 0.88,
)  # fmt: skip
CPU_AT_LIMIT = Code(
    "cpu-at-limit", _D, _W, Role.CAUSE, "A container runs at its CPU limit: it is throttled",
    "Raise or remove the CPU limit (keep the request), or add replicas:\n"
    "`kubectl -n {ns} set resources {kind}/{name} -c {container} --limits=cpu={suggested}`\n"
    "`kubectl -n {ns} top pods --containers`{gitops}", 0.88,
)  # fmt: skip
NODE_OVERLOADED = Code(
    "node-overloaded", _D, _W, Role.CAUSE, "A node uses nearly all of its CPU or memory",
    "Find what uses it, and move or bound it:\n`kubectl top pods -A --sort-by=cpu | head`\n"
    "`kubectl describe node {name}`\nKeep new pods away meanwhile: `kubectl cordon {name}`", 0.88,
)  # fmt: skip
ABOVE_REQUEST = Code(
    "usage-far-above-request", _D, Severity.INFO, Role.RISK,
    "A workload uses several times what it requests: nodes are fuller than the scheduler knows",
    "Set the request to what it normally uses:\n"
    "`kubectl -n {ns} set resources {kind}/{name} -c {container} --requests={resource}={suggested}`{gitops}", 0.85,
)  # fmt: skip

_AT_LIMIT = 0.9
_CPU_AT_LIMIT = 0.95  # the scheduler of the kernel throttles well before an average reaches the limit itself
_OVERLOADED = 0.9
_FAR_ABOVE = 3.0
_WORTH_SAYING = {"cpu": 0.5, "memory": 512 * 2**20}  # cores and bytes above the request


@dataclass(frozen=True, slots=True)
class _Reading:
    """One container of one pod: use beside request and limit, in cores or bytes; None where not set."""

    pod: K8sObject
    container: str
    resource: str
    used: float
    request: float | None
    limit: float | None
    path: str
    metrics: K8sObject
    locator: str

    @property
    def evidence(self) -> Evidence:
        return _measured(self.metrics, self.locator, f"container {self.container}: {show(self.resource, self.used)}")

    @property
    def share(self) -> float:
        return self.used / self.limit if self.limit else 0.0


def _readings(view: ClusterView) -> Iterator[_Reading]:
    for metrics in view.of_kind("PodMetrics"):
        pod = view.get("Pod", metrics.namespace, metrics.name)
        if pod is None or is_platform_namespace(pod.namespace):
            continue
        specs = {text(c, "name"): (path, c) for path, c in containers(pod_spec(pod))}
        for index, entry in enumerate(mappings(metrics.raw, "containers")):
            name = text(entry, "name")
            if name not in specs:
                continue
            path, spec = specs[name]
            for resource in ("cpu", "memory"):
                used = quantity(entry, "usage", resource)
                if used is not None:
                    yield _reading(pod, metrics, (index, name, path), spec, (resource, used))


def _reading(
    pod: K8sObject,
    metrics: K8sObject,
    where: tuple[int, str, str],
    spec: Mapping[str, Any],
    measured: tuple[str, float],
) -> _Reading:
    index, name, path = where
    resource, used = measured
    return _Reading(
        pod=pod,
        container=name,
        resource=resource,
        used=used,
        request=quantity(spec, "resources", "requests", resource),
        limit=quantity(spec, "resources", "limits", resource),
        path=f"spec.{path}.resources",
        metrics=metrics,
        locator=f"containers[{index}].usage.{resource}",
    )


def _measured(metrics: K8sObject, locator: str, excerpt: str) -> Evidence:
    return Evidence(
        kind="metric",
        object=metrics.ref,
        locator=locator,
        excerpt=excerpt,
        observed_at=moment(metrics.raw, "timestamp"),
    )


def busy_containers(view: ClusterView) -> Iterator[Finding]:
    """Containers near their limits or far above their requests; one finding per workload, container and resource."""
    worst: dict[tuple[Any, ...], tuple[K8sObject, list[_Reading]]] = {}
    for reading in _readings(view):
        if not (reading.limit or reading.request):
            continue
        top = view.top_owner(reading.pod)
        worst.setdefault((top.ref.key, reading.container, reading.resource), (top, []))[1].append(reading)
    for top, readings in worst.values():
        readings.sort(key=lambda r: -r.used)
        first = readings[0]
        if first.resource == "memory" and first.share >= _AT_LIMIT:
            yield _near_limit(top, readings)
        elif first.resource == "cpu" and first.share >= _CPU_AT_LIMIT:
            yield _throttled(view, top, readings)
        elif _far_above(first):
            yield _above_request(top, readings)


def _far_above(reading: _Reading) -> bool:
    if not reading.request:
        return False
    above = reading.used - reading.request
    return reading.used >= _FAR_ABOVE * reading.request and above >= _WORTH_SAYING[reading.resource]


def _facts(top: K8sObject, reading: _Reading, suggested: float) -> dict[str, Any]:
    return {
        "container": reading.container,
        "resource": reading.resource,
        "suggested": show(reading.resource, _round(reading.resource, suggested)),
        "gitops": manual_change_note(top),
    }


def _round(resource: str, amount: float) -> float:
    """Up to a number that a person would write: 50 millicores, 64 mebibytes."""
    step = 0.05 if resource == "cpu" else 64 * 2**20
    return round(-(-amount // step) * step, 3)


def _limits(reading: _Reading) -> Evidence:
    limit = show(reading.resource, reading.limit or 0.0)
    return seen_field(reading.pod, f"{reading.path}.limits.{reading.resource}", limit)


def _near_limit(top: K8sObject, readings: list[_Reading]) -> Finding:
    first = readings[0]
    limit = first.limit or 0.0
    many = [r for r in readings if r.share >= _AT_LIMIT]
    return finding(
        MEMORY_NEAR_LIMIT,
        top,
        f"Container {first.container} of {top.kind} {top.name} uses {show('memory', first.used)} of its memory limit "
        "of "
        f"{show('memory', limit)} ({first.share:.0%}) in {len(many)} of {len(readings)} pods: at the limit it is "
        "OOMKilled.",
        [first.evidence, _limits(first)],
        related=[r.pod.ref for r in many[:10]],
        **_facts(top, first, limit * 1.5),
    )


def _throttled(view: ClusterView, top: K8sObject, readings: list[_Reading]) -> Finding:
    first = readings[0]
    limit = first.limit or 0.0
    many = [r for r in readings if r.share >= _CPU_AT_LIMIT]
    slow = [
        event
        for reading in many
        for event in events_of(view, reading.pod.ref, "Unhealthy")
        if "deadline exceeded" in event.message or "imeout" in event.message
    ]
    hurt = bool(slow) and any(not is_ready(r.pod) for r in many)
    failing = " Its probes time out meanwhile." if slow else ""
    return finding(
        CPU_AT_LIMIT,
        top,
        f"Container {first.container} of {top.kind} {top.name} uses {show('cpu', first.used)} of its CPU limit of "
        f"{show('cpu', limit)} ({first.share:.0%}) in {len(many)} of {len(readings)} pods, so it is "
        f"throttled.{failing}",
        [first.evidence, _limits(first), *[seen_event(e) for e in slow[:1]]],
        severity=Severity.ERROR if hurt else None,
        related=[r.pod.ref for r in many[:10]],
        **_facts(top, first, limit * 2),
    )


def _above_request(top: K8sObject, readings: list[_Reading]) -> Finding:
    first = readings[0]
    request = first.request or 0.0
    return finding(
        ABOVE_REQUEST,
        top,
        f"Container {first.container} of {top.kind} {top.name} uses {show(first.resource, first.used)} "
        f"{first.resource} and "
        f"requests {show(first.resource, request)}.",
        [
            first.evidence,
            seen_field(first.pod, f"{first.path}.requests.{first.resource}", show(first.resource, request)),
        ],
        **_facts(top, first, first.used),
    )


def overloaded_nodes(view: ClusterView) -> Iterator[Finding]:
    """Nodes whose measured use is 90 % or more of what is allocatable, with the pods that use most of it."""
    heavy: dict[tuple[str, str], list[tuple[float, K8sObject]]] = {}
    hot: list[tuple[K8sObject, K8sObject, str, float, float]] = []
    for metrics in view.of_kind("NodeMetrics"):
        node = view.get("Node", "", metrics.name)
        for resource in ("cpu", "memory"):
            used = quantity(metrics.raw, "usage", resource)
            room = quantity(node.status, "allocatable", resource) if node is not None else None
            if node is not None and used is not None and room and used / room >= _OVERLOADED:
                hot.append((node, metrics, resource, used, room))
                heavy[(node.name, resource)] = []
    if not hot:
        return
    for pod_metrics in view.of_kind("PodMetrics"):
        pod = view.get("Pod", pod_metrics.namespace, pod_metrics.name)
        if pod is None:
            continue
        for resource in ("cpu", "memory"):
            rows = heavy.get((text(pod.spec, "nodeName"), resource))
            if rows is not None:
                total = sum(quantity(c, "usage", resource) or 0.0 for c in mappings(pod_metrics.raw, "containers"))
                rows.append((total, pod))
    for node, metrics, resource, used, room in hot:
        rows = sorted(heavy[(node.name, resource)], key=lambda row: -row[0])[:3]
        users = ", ".join(f"{p.namespace}/{p.name} {show(resource, total)} {_asked(p, resource)}" for total, p in rows)
        yield finding(
            NODE_OVERLOADED,
            node,
            f"Node {node.name} uses {show(resource, used)} of {show(resource, room)} {resource} ({used / room:.0%})."
            + (f" Most of it: {users}." if users else ""),
            [
                _measured(metrics, f"usage.{resource}", show(resource, used)),
                seen_field(node, f"status.allocatable.{resource}", show(resource, room)),
            ],
            related=[view.top_owner(p).ref for _, p in rows],
        )


def _asked(pod: K8sObject, resource: str) -> str:
    request = pod_request(pod, resource)
    return f"(requests {show(resource, request)})" if request else "(requests nothing)"


ANALYZERS: tuple[Analyzer, ...] = (busy_containers, overloaded_nodes)
CODES: tuple[Code, ...] = (MEMORY_NEAR_LIMIT, CPU_AT_LIMIT, NODE_OVERLOADED, ABOVE_REQUEST)
