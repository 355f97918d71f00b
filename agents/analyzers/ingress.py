"""Ingresses: backends and their ports, classes, conflicts over one host and path, and what controllers reject.

Each fault of an Ingress is a finding of its own. A backend whose pods are not ready is a symptom; the pods' fault is
found elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from agents.analyzers.backing import (
    at_rest,
    is_selecting,
    pods_behind,
    ready_addresses,
    ref,
    service_ports,
    slices_of,
    workloads_behind,
)
from agents.analyzers.base import Analyzer, Code, Role, finding, missing_field, not_listed, seen_event, seen_field
from agents.analyzers.nearness import listing, near_or_all
from agents.analyzers.pods import events_of, is_ready
from agents.cluster.objects import K8sObject, mapping, mappings, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Finding, ObjectRef, Severity

PATIENCE = timedelta(minutes=5)
_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"

BACKEND_MISSING = Code(
    "ingress-backend-service-missing",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "An Ingress sends requests to a Service that does not exist",
    "Name an existing Service in the backend (there: {near}), or create the missing one:\n"
    "`kubectl -n {ns} get services`\n"
    "`kubectl -n {ns} edit ingress {name}`",
    0.97,
)
BACKEND_PORT = Code(
    "ingress-backend-port-wrong",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "An Ingress sends requests to a port that the Service does not have",
    "Set the backend's port to one that Service {service} has ({ports}):\n"
    "`kubectl -n {ns} get service {service} -o jsonpath='{{.spec.ports}}'`\n"
    "`kubectl -n {ns} edit ingress {name}`",
    0.97,
)
CLASS_MISSING = Code(
    "ingress-class-missing",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "No controller takes an Ingress, for its class does not exist",
    "Set `ingressClassName` to a class that exists ({classes}):\n"
    "`kubectl get ingressclass`\n"
    '`kubectl -n {ns} patch ingress {name} --type merge -p \'{{"spec":{{"ingressClassName":"{right}"}}}}\'`',
)
CONFLICT = Code(
    "ingress-host-path-conflict",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "Two Ingresses claim the same host and path for different backends",
    "Decide which Ingress serves {where} and take the rule out of the other (mostly the older one wins):\n"
    "`kubectl get ingress -A | grep {host}`\n"
    "`kubectl -n {ns} edit ingress {name}`",
    0.8,
)
REJECTED = Code(
    "ingress-rejected-by-controller",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "The Ingress controller says that it cannot apply an Ingress",
    "Mend what the controller names; its full text:\n`kubectl -n {ns} describe ingress {name}`",
    0.8,
)
BACKEND_DOWN = Code(
    "ingress-backend-down",
    Domain.NETWORKING,
    Severity.CRITICAL,
    Role.SYMPTOM,
    "An Ingress has no ready backend: users get 503",
    "Mend the pods behind Service {service}; the Ingress follows by itself:\n"
    "`kubectl -n {ns} get endpointslices -l kubernetes.io/service-name={service}`\n"
    "`kubectl -n {ns} get pods -o wide`",
)


@dataclass(frozen=True, slots=True)
class Backend:
    """One backend of an Ingress: which host and path lead to which Service and port (a number or a name)."""

    path: str
    host: str
    url_path: str
    path_type: str
    service: str
    port: str

    @property
    def where(self) -> str:
        return f"{self.host or '*'}{self.url_path or '/'}"


def backends_of(ingress: K8sObject) -> Iterator[Backend]:
    """Every backend that is a Service, the default one first; also in the form of old API versions."""
    default = mapping(ingress.spec, "defaultBackend") or mapping(ingress.spec, "backend")
    if default:
        yield from _backend("spec.defaultBackend", "", "", "", default)
    for i, rule in enumerate(mappings(ingress.spec, "rules")):
        for j, entry in enumerate(mappings(rule, "http", "paths")):
            path = f"spec.rules[{i}].http.paths[{j}].backend"
            backend = mapping(entry, "backend")
            yield from _backend(path, text(rule, "host"), text(entry, "path"), text(entry, "pathType"), backend)


def _backend(path: str, host: str, url_path: str, path_type: str, raw: Mapping[str, Any]) -> Iterator[Backend]:
    service = text(raw, "service", "name") or text(raw, "serviceName")
    port = text(raw, "service", "port", "number") or text(raw, "service", "port", "name") or text(raw, "servicePort")
    if service:
        yield Backend(path, host, url_path, path_type, service, port)


def backends(view: ClusterView) -> Iterator[Finding]:
    """Backends whose Service or port does not exist, and those behind which nothing is ready; one finding for each."""
    for ingress in view.of_kind("Ingress"):
        seen: set[tuple[str, str]] = set()
        for backend in backends_of(ingress):
            if (backend.service, backend.port) in seen:
                continue
            seen.add((backend.service, backend.port))
            service = view.get("Service", ingress.namespace, backend.service)
            if service is None:
                if view.listed("Service", ingress.namespace) and not _is_pseudo(ingress, backend):
                    yield _missing(view, ingress, backend)
                continue
            if _has_port(service, backend.port):
                yield from _down(view, ingress, backend, service)
            else:
                yield _wrong_port(view, ingress, backend, service)


def _is_pseudo(ingress: K8sObject, backend: Backend) -> bool:
    """A backend that is an action in an annotation (AWS load balancer controller), not a Service."""
    return backend.port == "use-annotation" or any(
        key.endswith(f"/actions.{backend.service}") for key in ingress.annotations
    )


def _has_port(service: K8sObject, port: str) -> bool:
    ports = service_ports(service)
    if not port or not ports or text(service.spec, "type") == "ExternalName":
        return True
    return any(port in (str(p.port), p.name) for p in ports)


def _missing(view: ClusterView, ingress: K8sObject, backend: Backend) -> Finding:
    near = near_or_all(backend.service, [s.name for s in view.in_namespace("Service", ingress.namespace)])
    homes = [s.namespace for s in view.of_kind("Service") if s.name == backend.service][:3]
    elsewhere = (
        f"; a Service of that name exists in namespace {listing(homes)}, out of an Ingress's reach" if homes else ""
    )
    target = ref("Service", ingress.namespace, backend.service)
    return finding(
        BACKEND_MISSING,
        ingress,
        f"Ingress {ingress.name} sends {backend.where} to Service {backend.service}, which does not exist in namespace "
        f"{ingress.namespace} (there: {listing(near)}){elsewhere}. Users get 503.",
        [
            seen_field(ingress, f"{backend.path}.service.name", backend.service),
            not_listed(view, target, near),
            *_complaints(view, ingress),
        ],
        related=[target],
        near=listing(near),
    )


def _complaints(view: ClusterView, ingress: K8sObject) -> list[Any]:
    return [seen_event(e) for e in events_of(view, ingress.ref) if e.warning][:1]


def _wrong_port(view: ClusterView, ingress: K8sObject, backend: Backend, service: K8sObject) -> Finding:
    ports = ", ".join(p.label for p in service_ports(service))
    return finding(
        BACKEND_PORT,
        ingress,
        f"Ingress {ingress.name} sends {backend.where} to port {backend.port} of Service {service.name}, but that "
        f"Service "
        f"has only port {ports}. Users get 503.",
        [
            seen_field(ingress, f"{backend.path}.service.port", backend.port),
            seen_field(service, "spec.ports", service.spec.get("ports") or []),
            *_complaints(view, ingress),
        ],
        related=[service.ref],
        service=service.name,
        ports=ports,
    )


def _down(view: ClusterView, ingress: K8sObject, backend: Backend, service: K8sObject) -> Iterator[Finding]:
    pods = pods_behind(view, service)
    behind = workloads_behind(view, service)
    if not is_selecting(service) or ready_addresses(view, service) or any(is_ready(p) for p in pods):
        return
    if not pods and (not behind or all(at_rest(w) for w in behind)):
        return
    ages = [view.age(p.created) for p in pods]
    if ages and all(a is not None and a < timedelta(minutes=3) for a in ages):
        return
    tops = {view.top_owner(p).ref: None for p in pods} or {w.ref: None for w in behind}
    evidence = [seen_field(ingress, f"{backend.path}.service.name", service.name)]
    for found in slices_of(view, service)[:1]:
        shown = [
            {"addresses": e.get("addresses"), "conditions": e.get("conditions")}
            for e in mappings(found.raw, "endpoints")
        ]
        evidence.append(seen_field(found, "endpoints", shown[:4] or "none"))
    if pods:
        evidence.append(
            seen_field(pods[0], "status.conditions[Ready]", pods[0].condition("Ready").get("message") or "False")
        )
    yield finding(
        BACKEND_DOWN,
        ingress,
        f"Ingress {ingress.name} sends {backend.where} to Service {service.name}, which has no ready pod "
        f"({len(pods)} selected): users get 503.",
        evidence,
        related=[service.ref, *tops, *(p.ref for p in pods[:10])],
        service=service.name,
    )


def classes(view: ClusterView) -> Iterator[Finding]:
    """Ingresses of a class that does not exist, or of none where there is no default."""
    known = [c.name for c in view.of_kind("IngressClass")]
    if not view.listed("IngressClass"):
        return
    defaults = [c for c in view.of_kind("IngressClass") if c.annotations.get(_DEFAULT_CLASS) == "true"]
    for ingress in view.of_kind("Ingress"):
        name = text(ingress.spec, "ingressClassName")
        if name:
            if name not in known:
                yield _class_finding(view, ingress, name, known)
            continue
        taken = bool(mappings(ingress.status, "loadBalancer", "ingress"))
        age = view.age(ingress.created)
        young = age is not None and age < PATIENCE
        if defaults or taken or young or not known or ingress.annotations.get(_CLASS_ANNOTATION):
            continue
        yield _class_finding(view, ingress, "", known)


def _class_finding(view: ClusterView, ingress: K8sObject, name: str, known: list[str]) -> Finding:
    near = near_or_all(name, known)
    there = listing(near, "there is none at all")
    if name:
        message = f"names class {name}, but no IngressClass {name} exists (there: {there}); no controller serves it."
        evidence = [
            seen_field(ingress, "spec.ingressClassName", name),
            not_listed(view, ref("IngressClass", "", name), near),
        ]
    else:
        message = f"names no class and no IngressClass is the default (there: {there}); no controller serves it."
        evidence = [missing_field(ingress, "spec.ingressClassName", f"no default class; there: {there}")]
    return finding(
        CLASS_MISSING,
        ingress,
        f"Ingress {ingress.name} {message}",
        evidence,
        severity=None if name else Severity.WARNING,
        related=[ref("IngressClass", "", n) for n in near[:1]],
        classes=there,
        right=near[0] if near else "CLASS",
    )


def conflicts(view: ClusterView) -> Iterator[Finding]:
    """The same host, path and class in two Ingresses with different backends (canaries and merged ones aside)."""
    claims: dict[tuple[str, str, str, str], list[tuple[K8sObject, Backend]]] = defaultdict(list)
    for ingress in view.of_kind("Ingress"):
        name = text(ingress.spec, "ingressClassName") or ingress.annotations.get(_CLASS_ANNOTATION, "")
        if _is_variant(ingress):
            continue
        for backend in backends_of(ingress):
            if backend.host:
                claims[(name, backend.host, backend.url_path or "/", backend.path_type)].append((ingress, backend))
    reported: set[tuple[ObjectRef, ObjectRef]] = set()
    for (_, host, url_path, _), found in claims.items():
        found.sort(key=lambda claim: (claim[0].created or view.taken_at, claim[0].namespace, claim[0].name))
        (first, kept), *others = found
        for ingress, lost in others:
            same = (ingress.namespace, lost.service, lost.port) == (first.namespace, kept.service, kept.port)
            if same or ingress.ref == first.ref or (ingress.ref, first.ref) in reported:
                continue
            reported.add((ingress.ref, first.ref))
            yield finding(
                CONFLICT,
                ingress,
                f"Ingress {ingress.namespace}/{ingress.name} and the older {first.namespace}/{first.name} both claim "
                f"{host}{url_path}: the one sends it to {lost.service}:{lost.port}, the other to "
                f"{kept.service}:{kept.port}.",
                [
                    seen_field(ingress, lost.path, f"{host}{url_path} -> {lost.service}:{lost.port}"),
                    seen_field(first, kept.path, f"{host}{url_path} -> {kept.service}:{kept.port}"),
                ],
                related=[first.ref],
                where=f"{host}{url_path}",
                host=host,
            )


def _is_variant(ingress: K8sObject) -> bool:
    """Canaries, mergeable minions and header-matched variants share host and path on purpose."""
    return any(
        "canary" in key or key.endswith(("/mergeable-ingress-type", "/group.name", "/conditions"))
        for key in ingress.annotations
    )


def rejections(view: ClusterView) -> Iterator[Finding]:
    """Warnings that a controller wrote about an Ingress within the last hour."""
    for ingress in view.of_kind("Ingress"):
        events = [e for e in events_of(view, ingress.ref) if e.warning]
        events = [e for e in events if not _is_about_known(view, ingress, e.message)]
        if not events:
            continue
        newest = events[0]
        later = [e for e in events_of(view, ingress.ref) if not e.warning and e.last and newest.last]
        if any(e.last and newest.last and e.last > newest.last for e in later):
            continue  # synced again since
        yield finding(
            REJECTED,
            ingress,
            f"The controller of Ingress {ingress.name} says {newest.reason}: {newest.message}",
            [seen_event(e) for e in events[:3]],
        )


def _is_about_known(view: ClusterView, ingress: K8sObject, message: str) -> bool:
    """Whether the warning is about a Service that is missing, which is reported with what it should be."""
    return any(
        backend.service in message and view.get("Service", ingress.namespace, backend.service) is None
        for backend in backends_of(ingress)
    )


CODES: tuple[Code, ...] = (BACKEND_MISSING, BACKEND_PORT, CLASS_MISSING, CONFLICT, REJECTED, BACKEND_DOWN)
ANALYZERS: tuple[Analyzer, ...] = (backends, classes, conflicts, rejections)
