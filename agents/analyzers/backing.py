"""What stands behind a Service: the pods it selects, the addresses that take traffic, the workloads that make them.

Promise: every question is answered from the view alone, indexed once per view; a Service that is empty on purpose
(its workload is scaled to zero) is told from one whose pods are gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.analyzers.base import clip, seen_log
from agents.analyzers.pods import Container, containers_of, is_over, is_ready
from agents.cluster.objects import (
    WORKLOAD_KINDS,
    K8sObject,
    integer,
    mapping,
    mappings,
    pod_template,
    string_map,
    strings,
    text,
)
from agents.cluster.selectors import Selector, map_selector
from agents.cluster.view import ClusterView
from agents.evidence import Evidence, ObjectRef


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service. `target` is a number or a name; `path` is its field path."""

    path: str
    name: str
    port: int
    target: str
    protocol: str

    @property
    def named(self) -> bool:
        return not self.target.isdigit()

    @property
    def label(self) -> str:
        return f"{self.port} ({self.name})" if self.name else str(self.port)


def service_ports(service: K8sObject) -> list[ServicePort]:
    """The ports of a Service; a missing targetPort means the port itself, as the API server fills it in."""
    found = []
    for index, entry in enumerate(mappings(service.spec, "ports")):
        port = integer(entry, "port") or 0
        target = text(entry, "targetPort") or str(port)
        found.append(
            ServicePort(f"spec.ports[{index}]", text(entry, "name"), port, target, text(entry, "protocol") or "TCP")
        )
    return found


def selector_of(service: K8sObject) -> Selector:
    return map_selector(mapping(service.spec, "selector"))


def is_selecting(service: K8sObject) -> bool:
    """Whether the control plane finds this Service's endpoints by a selector."""
    return not selector_of(service).empty and text(service.spec, "type") != "ExternalName"


def is_headless(service: K8sObject) -> bool:
    return text(service.spec, "clusterIP") == "None"


def pods_behind(view: ClusterView, service: K8sObject) -> tuple[K8sObject, ...]:
    """The living pods that a Service selects: neither ended nor being deleted."""
    if not is_selecting(service):
        return ()
    found = view.select("Pod", service.namespace, selector_of(service))
    return tuple(p for p in found if not is_over(p) and p.deleting_since is None)


def slices_of(view: ClusterView, service: K8sObject) -> tuple[K8sObject, ...]:
    """The EndpointSlices of a Service."""
    return view.derived(_slices).get((service.namespace, service.name), ())


def _slices(view: ClusterView) -> Mapping[tuple[str, str], tuple[K8sObject, ...]]:
    index: dict[tuple[str, str], list[K8sObject]] = defaultdict(list)
    for found in view.of_kind("EndpointSlice"):
        index[(found.namespace, found.labels.get("kubernetes.io/service-name", ""))].append(found)
    return {key: tuple(slices) for key, slices in index.items()}


def ready_addresses(view: ClusterView, service: K8sObject) -> int | None:
    """How many addresses take traffic now; None where neither slices nor Endpoints nor pods can tell.

    An endpoint without a `ready` condition is ready, as the API says (unknown is to be read as ready).
    """
    slices = slices_of(view, service)
    if slices:
        return sum(
            len(strings(endpoint, "addresses"))
            for found in slices
            for endpoint in mappings(found.raw, "endpoints")
            if mapping(endpoint, "conditions").get("ready") is not False
        )
    endpoints = view.get("Endpoints", service.namespace, service.name)
    if endpoints is not None:
        return sum(len(mappings(subset, "addresses")) for subset in mappings(endpoints.raw, "subsets"))
    if is_selecting(service) and view.listed("Pod", service.namespace):
        return sum(is_ready(p) for p in pods_behind(view, service))
    return None


def workloads_in(view: ClusterView, namespace: str) -> tuple[K8sObject, ...]:
    """The workloads of a namespace that nothing else controls, old ReplicaSets and finished Jobs left out."""
    return view.derived(_workloads).get(namespace, ())


def _workloads(view: ClusterView) -> Mapping[str, tuple[K8sObject, ...]]:
    index: dict[str, list[K8sObject]] = defaultdict(list)
    for obj in view.of_kind(*WORKLOAD_KINDS):
        if obj.controller is None and not (obj.kind == "Job" and obj.condition("Complete").get("status") == "True"):
            index[obj.namespace].append(obj)
    for pod in view.of_kind("Pod"):
        if pod.controller is None and not is_over(pod):
            index[pod.namespace].append(pod)
    return {namespace: tuple(found) for namespace, found in index.items()}


def template_labels(workload: K8sObject) -> Mapping[str, str]:
    """The labels that pods of this workload get (a Pod's own labels)."""
    return string_map(pod_template(workload), "metadata", "labels")


def workloads_behind(view: ClusterView, service: K8sObject) -> tuple[K8sObject, ...]:
    """The workloads whose pods this Service would select, whether or not there are any now."""
    if not is_selecting(service):
        return ()
    selector = selector_of(service)
    return tuple(w for w in workloads_in(view, service.namespace) if selector.matches(template_labels(w)))


def at_rest(workload: K8sObject) -> bool:
    """Whether a workload has no pods on purpose: scaled to zero, suspended, or a CronJob between its runs."""
    if workload.kind == "CronJob" or workload.spec.get("suspend") is True:
        return True
    if workload.kind == "DaemonSet":
        return integer(workload.status, "desiredNumberScheduled") == 0
    return workload.kind not in ("Pod", "Job") and integer(workload.spec, "replicas") == 0


def workload_pods(view: ClusterView, workload: K8sObject) -> tuple[K8sObject, ...]:
    """The living pods of a workload."""
    return tuple(p for p in view.pods_of(workload) if not is_over(p) and p.deleting_since is None)


def declared_ports(pod: K8sObject) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(container name, port) for every port that a pod's containers (native sidecars too) declare."""
    for container in containers_of(pod):
        if not container.init:
            for port in mappings(container.spec, "ports"):
                yield container.name, port


def show_ports(pod: K8sObject) -> str:
    """`http-api=8080 (container shelf-api), metrics=9090 (container shelf-api)`."""
    shown = []
    for name, port in declared_ports(pod):
        label, number = text(port, "name"), text(port, "containerPort")
        protocol = text(port, "protocol")
        number += f"/{protocol}" if protocol not in ("", "TCP") else ""
        shown.append(f"{label}={number} (container {name})" if label else f"{number} (container {name})")
    return ", ".join(shown[:8]) or "none"


def target_number(pod: K8sObject, port: ServicePort) -> int | None:
    """The number a Service port reaches in this pod, or None for a name that the pod does not declare."""
    if not port.named:
        return int(port.target)
    for _, declared in declared_ports(pod):
        if text(declared, "name") == port.target and (text(declared, "protocol") or "TCP") == port.protocol:
            return integer(declared, "containerPort")
    return None


def is_troubled(view: ClusterView, pod: K8sObject) -> bool:
    """Whether a pod's program ran and does not do its work: crashing, running but not ready, or stuck in an init
    container. Pods that wait for a node, an image or a volume are not: nothing they are told about has been tried."""
    if pod.deleting_since is not None or is_ready(pod) or text(pod.status, "phase") == "Succeeded":
        return False
    return any(_struggles(c) for c in containers_of(pod))


def _struggles(container: Container) -> bool:
    if container.waiting:
        return container.waiting in ("CrashLoopBackOff", "Error") or bool(container.ended)
    if container.running:
        return not container.ready
    return bool(container.ended) and container.exit_code != 0


def grep(view: ClusterView, pod: K8sObject, matches: Any, limit: int = 3) -> list[Evidence]:
    """Evidence of the last log lines of a pod that `matches` (a predicate over one line) accepts, one per container."""
    found: list[Evidence] = []
    if not has_log(view, pod):
        return found
    for container in containers_of(pod):
        for previous in (False, True):
            hits = [
                (number, line)
                for number, line in enumerate(view.log(pod, container.name, previous=previous), 1)
                if matches(line)
            ]
            if hits:
                tail = hits[-limit:]
                lines = [clip(line[:300]) for _, line in tail]
                found.append(seen_log(pod, container.name, lines, previous=previous, number=tail[0][0]))
                break
    return found


def has_log(view: ClusterView, pod: K8sObject) -> bool:
    """Whether any log of this pod was read."""
    return (pod.namespace, pod.name) in view.derived(_logged)


def _logged(view: ClusterView) -> frozenset[tuple[str, str]]:
    return frozenset((key.namespace, key.pod) for key, lines in view.logs.items() if lines)


def ref(kind: str, namespace: str, name: str) -> ObjectRef:
    """A reference to an object that may not exist."""
    return ObjectRef("", kind, namespace, name)
