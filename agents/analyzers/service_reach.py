"""Services beyond selector and ports: load balancers that never come, names that point nowhere, stale endpoints, and
the Service that a StatefulSet needs for its pods' names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from agents.analyzers.address_book import meaning
from agents.analyzers.backing import (
    is_headless,
    is_selecting,
    is_troubled,
    pods_behind,
    ref,
    selector_of,
    slices_of,
    template_labels,
    workload_pods,
)
from agents.analyzers.base import Analyzer, Code, Role, finding, missing_field, not_listed, seen_event, seen_field
from agents.analyzers.nearness import listing, nearest
from agents.analyzers.pods import events_of, is_ready
from agents.cluster.objects import K8sObject, mapping, mappings, moment, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Finding, Severity

LOAD_BALANCER_PATIENCE = timedelta(minutes=10)
SLICE_PATIENCE = timedelta(minutes=2)

HEADLESS_MISSING = Code(
    "statefulset-service-missing",
    Domain.NETWORKING,
    Severity.WARNING,
    Role.CAUSE,
    "The Service that names a StatefulSet's pods does not exist",
    "Create the headless Service `{service}` (clusterIP: None, selector {labels}), or make one with:\n"
    "`kubectl -n {ns} create service clusterip {service} --clusterip=None`\n"
    "then set its selector: `kubectl -n {ns} edit service {service}`. "
    "(`serviceName` of a StatefulSet cannot be changed.)",
)
EXTERNAL_NAME = Code(
    "service-external-name-dangling",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A Service is an alias for a name that does not exist",
    "Point the alias at a name that exists ({hint}):\n`kubectl -n {ns} edit service {name}`",
    0.85,
)
LOAD_BALANCER = Code(
    "load-balancer-pending",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A Service of type LoadBalancer never got an address",
    "See what the controller says, then mend what it names (quota, subnets, annotations), or install one "
    "(bare metal: MetalLB):\n"
    "`kubectl -n {ns} describe service {name}`\n"
    "`kubectl get pods -A | grep -i -E 'cloud-controller|load-balancer|metallb'`",
    0.85,
)
STALE = Code(
    "endpoint-slice-stale",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "The endpoints of a Service do not follow its pods",
    "Look at the controller that writes the slices, then let it write this one anew:\n"
    "`kubectl -n kube-system get pods -l component=kube-controller-manager`\n"
    "`kubectl -n {ns} get endpointslices -l kubernetes.io/service-name={service} -o wide`",
    0.75,
)


def governing_services(view: ClusterView) -> Iterator[Finding]:
    """StatefulSets whose `serviceName` names a Service that does not exist."""
    for workload in view.of_kind("StatefulSet"):
        name = text(workload.spec, "serviceName")
        if not name or workload.spec.get("replicas") == 0 or not view.listed("Service", workload.namespace):
            continue
        if view.get("Service", workload.namespace, name) is not None:
            continue
        labels = template_labels(workload)
        serving = [
            s.name
            for s in view.in_namespace("Service", workload.namespace)
            if is_selecting(s) and selector_of(s).matches(labels)
        ]
        near = list(dict.fromkeys([*serving, *nearest(name, _names(view, workload.namespace))]))
        troubled = [p for p in workload_pods(view, workload) if is_troubled(view, p)]
        yield finding(
            HEADLESS_MISSING,
            workload,
            f"StatefulSet {workload.name} names Service {name} for the DNS names of its pods, but namespace "
            f"{workload.namespace} has no such Service (there: {listing(near)}), so {workload.name}-0.{name} does not "
            "resolve.",
            [
                seen_field(workload, "spec.serviceName", name),
                not_listed(view, ref("Service", workload.namespace, name), near),
            ],
            severity=Severity.ERROR if troubled else None,
            confidence=0.7 if troubled else None,
            related=[p.ref for p in troubled[:10]],
            service=name,
            labels=",".join(f"{k}={v}" for k, v in labels.items()),
        )


def _names(view: ClusterView, namespace: str) -> list[str]:
    return [s.name for s in view.in_namespace("Service", namespace)]


def external_names(view: ClusterView) -> Iterator[Finding]:
    """Services of type ExternalName whose target is a cluster name that does not exist, or an IP address."""
    for service in view.of_kind("Service"):
        if text(service.spec, "type") != "ExternalName":
            continue
        target = text(service.spec, "externalName")
        if re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:]+", target):
            wrong, hint = "an IP address, which DNS cannot be an alias for", "a host name, or a Service with Endpoints"
        elif "." not in target:
            continue
        else:
            meant = meaning(view, target, service.namespace)
            if meant.outcome not in ("no-namespace", "no-service"):
                continue
            if meant.outcome == "no-namespace":
                near = nearest(meant.namespace, view.namespaces)
                wrong, hint = f"but there is no namespace {meant.namespace}", f"near: {listing(near)}"
            else:
                near = nearest(meant.name, _names(view, meant.namespace))
                wrong = f"but namespace {meant.namespace} has no Service {meant.name}"
                hint = f"near: {listing(near)}"
        yield finding(
            EXTERNAL_NAME,
            service,
            f"Service {service.name} is an alias (ExternalName) for {target}, {wrong} ({hint}).",
            [seen_field(service, "spec.externalName", target)],
            hint=hint,
        )


def load_balancers(view: ClusterView) -> Iterator[Finding]:
    """Services of type LoadBalancer that have waited for an address for longer than any provider takes."""
    for service in view.of_kind("Service"):
        if text(service.spec, "type") != "LoadBalancer" or service.deleting_since is not None:
            continue
        if mappings(service.status, "loadBalancer", "ingress"):
            continue
        age = view.age(service.created)
        if age is None or age < LOAD_BALANCER_PATIENCE:
            continue
        events = [e for e in events_of(view, service.ref) if e.warning][:2]
        said = f"the controller says: {events[0].message}" if events else "no controller has answered"
        yield finding(
            LOAD_BALANCER,
            service,
            f"Service {service.name} of type LoadBalancer has had no external address since it was created "
            f"{_hours(age)} ago (pending): {said}.",
            [missing_field(service, "status.loadBalancer.ingress", "EXTERNAL-IP is pending"), *map(seen_event, events)],
            confidence=0.95 if events else 0.7,
        )


def _hours(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours" if minutes < 2880 else f"{age.days} days"


def stale_slices(view: ClusterView) -> Iterator[Finding]:
    """Slices that name pods which no longer exist, or that leave out pods which have been ready for minutes."""
    for service in view.of_kind("Service"):
        if not is_selecting(service) or not view.listed("Pod", service.namespace):
            continue
        slices = [s for s in slices_of(view, service) if _is_managed(s)]
        if not slices or any(_just_changed(view, s) for s in slices):
            continue
        named: set[str] = set()
        gone: set[str] = set()
        for found in slices:
            for endpoint in mappings(found.raw, "endpoints"):
                target = mapping(endpoint, "targetRef")
                name = text(target, "name") if text(target, "kind") == "Pod" else ""
                if not name:
                    continue
                named.add(name)
                if view.get("Pod", service.namespace, name) is None:
                    gone.add(name)
        left_out = [p for p in pods_behind(view, service) if p.name not in named and _ready_for_long(view, p)]
        if (gone and gone == named) or left_out:
            yield _stale_finding(view, service, slices[0], sorted(gone), left_out)


def _is_managed(found: K8sObject) -> bool:
    manager = found.labels.get("endpointslice.kubernetes.io/managed-by", "")
    return manager == "endpointslice-controller.k8s.io" and text(found.raw, "addressType") != "IPv6"


def _just_changed(view: ClusterView, found: K8sObject) -> bool:
    """Pods and slices are listed one after the other: what changed in between looks stale and is not."""
    age = view.age(moment(found.metadata, "annotations", "endpoints.kubernetes.io/last-change-trigger-time"))
    return age is not None and age < SLICE_PATIENCE


def _ready_for_long(view: ClusterView, pod: K8sObject) -> bool:
    age = view.age(moment(pod.condition("Ready"), "lastTransitionTime"))
    return is_ready(pod) and bool(text(pod.status, "podIP")) and age is not None and age > SLICE_PATIENCE


def _stale_finding(
    view: ClusterView, service: K8sObject, found: K8sObject, gone: list[str], left_out: list[K8sObject]
) -> Finding:
    parts = []
    if gone:
        parts.append(f"they name pods that do not exist ({listing(gone[:3])})")
    if left_out:
        parts.append(f"ready pods are missing from them ({listing(p.name for p in left_out[:3])})")
    endpoints = [text(mapping(e, "targetRef"), "name") for e in mappings(found.raw, "endpoints")]
    return finding(
        STALE,
        found,
        f"The endpoints of Service {service.name} do not follow its pods: {' and '.join(parts)}.",
        [
            seen_field(found, "endpoints[*].targetRef.name", ", ".join(endpoints) or "none"),
            seen_field(service, "spec.selector", str(selector_of(service))),
            *(not_listed(view, ref("Pod", service.namespace, name)) for name in gone[:1]),
            *(seen_field(p, "status.podIP", text(p.status, "podIP")) for p in left_out[:1]),
        ],
        severity=STALE.severity if gone or not is_headless(service) else Severity.WARNING,
        related=[service.ref, *(p.ref for p in left_out[:10])],
        service=service.name,
    )


CODES: tuple[Code, ...] = (HEADLESS_MISSING, EXTERNAL_NAME, LOAD_BALANCER, STALE)
ANALYZERS: tuple[Analyzer, ...] = (governing_services, external_names, load_balancers, stale_slices)
