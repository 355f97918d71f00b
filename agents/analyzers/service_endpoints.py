"""Services without a single pod that is ready: the symptom that users feel.

A Service is empty on purpose when the workload that it selects is scaled to zero or suspended; then nothing is said.
What is wrong with the pods themselves is another check's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from agents.analyzers.backing import (
    at_rest,
    is_headless,
    is_selecting,
    pods_behind,
    ready_addresses,
    selector_of,
    slices_of,
    workloads_behind,
)
from agents.analyzers.base import Analyzer, Code, Role, finding, missing_field, seen_field
from agents.analyzers.pods import containers_of, is_ready
from agents.cluster.objects import K8sObject, mappings, moment
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Finding, ObjectRef, Severity

START_UP = timedelta(minutes=3)

NO_ENDPOINTS = Code(
    "service-without-ready-endpoints",
    Domain.NETWORKING,
    Severity.CRITICAL,
    Role.SYMPTOM,
    "A Service has no pod that is ready to serve",
    "Mend the pods; the Service follows by itself:\n"
    "`kubectl -n {ns} get pods -l '{selector}' -o wide`\n"
    "`kubectl -n {ns} describe pod {pod}`",
)


def endpoints(view: ClusterView) -> Iterator[Finding]:
    """Services that select pods of which none is ready."""
    for service in view.of_kind("Service"):
        if not is_selecting(service) or service.spec.get("publishNotReadyAddresses") is True:
            continue
        pods = pods_behind(view, service)
        behind = workloads_behind(view, service)
        awake = [w for w in behind if not at_rest(w)]
        if not (pods or awake) or any(is_ready(p) for p in pods) or ready_addresses(view, service):
            continue
        if pods and all(view.top_owner(p).kind in ("Job", "CronJob") for p in pods):
            continue
        if not pods and all(w.kind in ("Job", "CronJob", "DaemonSet") for w in awake):
            continue
        if _is_starting(view, service, pods, awake):
            continue
        if is_headless(service) and any(_same_pods(view, service, other) for other in _siblings(view, service)):
            continue
        yield _empty_finding(view, service, pods, behind)


def _is_starting(
    view: ClusterView, service: K8sObject, pods: tuple[K8sObject, ...], workloads: list[K8sObject]
) -> bool:
    """Whether everything here is so young that not being ready is no news."""
    ages = [view.age(o.created) for o in (pods or workloads)]
    young = all(age is not None and age < START_UP for age in ages)
    never_restarted = not any(c.restarts for p in pods for c in containers_of(p))
    return bool(ages) and young and never_restarted


def _siblings(view: ClusterView, service: K8sObject) -> Iterator[K8sObject]:
    return (s for s in view.in_namespace("Service", service.namespace) if s.ref != service.ref and not is_headless(s))


def _same_pods(view: ClusterView, one: K8sObject, other: K8sObject) -> bool:
    return is_selecting(other) and {p.name for p in pods_behind(view, one)} == {
        p.name for p in pods_behind(view, other)
    }


def _empty_finding(
    view: ClusterView, service: K8sObject, pods: tuple[K8sObject, ...], workloads: tuple[K8sObject, ...]
) -> Finding:
    selector = str(selector_of(service))
    evidence = [seen_field(service, "spec.selector", selector)]
    since = max((m for p in pods if (m := moment(p.condition("Ready"), "lastTransitionTime"))), default=None)
    for pod in pods[:2]:
        condition = pod.condition("Ready")
        if condition:
            shown = {k: condition[k] for k in ("status", "reason", "message") if k in condition}
            evidence.append(seen_field(pod, "status.conditions[Ready]", shown))
    for found in slices_of(view, service)[:1]:
        addresses = mappings(found.raw, "endpoints")
        shown_slice = [{"addresses": e.get("addresses"), "conditions": e.get("conditions")} for e in addresses[:4]]
        evidence.append(seen_field(found, "endpoints", shown_slice or "none"))
    if not pods and workloads:
        evidence.append(missing_field(workloads[0], "status.readyReplicas", "no pod exists"))
    what = f"none of its {len(pods)} pods is ready" if pods else "no pod exists that it could select"
    tops = {view.top_owner(p).ref: None for p in pods} or {w.ref: None for w in workloads}
    clock = f" since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    related: list[ObjectRef] = [*tops, *(p.ref for p in pods[:20])]
    return finding(
        NO_ENDPOINTS,
        service,
        f"Service {service.name} has no ready endpoints{clock}: {what} (selector {selector}).",
        evidence,
        severity=Severity.ERROR if is_headless(service) else NO_ENDPOINTS.severity,
        related=related,
        selector=selector,
        pod=pods[0].name if pods else "POD",
    )


CODES: tuple[Code, ...] = (NO_ENDPOINTS,)
ANALYZERS: tuple[Analyzer, ...] = (endpoints,)
