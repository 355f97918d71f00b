"""Gateway API: classes, Gateways and their certificates, routes and their parents and backends.

What a field names is checked against what exists; what only the controller can know is read from its conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from agents.analyzers.backing import ref, service_ports
from agents.analyzers.base import Analyzer, Code, Role, finding, not_listed, seen_field
from agents.analyzers.nearness import listing, near_or_all
from agents.cluster.objects import K8sObject, mapping, mappings, moment, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Finding, Severity

PATIENCE = timedelta(minutes=2)
_ROUTES = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")

CLASS_MISSING = Code(
    "gateway-class-missing",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A Gateway names a class that does not exist",
    "Set `gatewayClassName` to an existing class ({near}):\n"
    "`kubectl get gatewayclass`\n`kubectl -n {ns} edit gateway {name}`",
)
CERTIFICATE_MISSING = Code(
    "gateway-certificate-missing",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A listener of a Gateway names a certificate that does not exist",
    "Name an existing TLS Secret ({near}) or create it; one of another namespace needs a ReferenceGrant there:\n"
    "`kubectl -n {secret_ns} get secrets --field-selector type=kubernetes.io/tls`\n"
    "`kubectl -n {ns} edit gateway {name}`",
)
NOT_READY = Code(
    "gateway-not-programmed",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "The controller of a Gateway does not accept or cannot program it",
    "Mend what the condition names, and see that the controller runs:\n"
    "`kubectl -n {ns} describe gateway {name}`\n`kubectl get gatewayclass -o wide`",
    0.85,
)
PARENT_MISSING = Code(
    "route-parent-missing",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A route hangs on a Gateway or listener that does not exist",
    "Name an existing Gateway and listener in `parentRefs` ({near}):\n"
    "`kubectl get gateways -A`\n`kubectl -n {ns} edit {kind} {name}`",
    0.95,
)
BACKEND_MISSING = Code(
    "route-backend-missing",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A route sends requests to a Service or port that does not exist",
    "Name an existing Service and port in `backendRefs` ({near}):\n"
    "`kubectl -n {backend_ns} get services`\n`kubectl -n {ns} edit {kind} {name}`",
    0.95,
)
NOT_ACCEPTED = Code(
    "route-not-accepted",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A Gateway does not accept a route",
    "Mend what the condition names (host names that no listener has, namespaces the listener does not allow, a missing "
    "ReferenceGrant):\n`kubectl -n {ns} describe {kind} {name}`",
)


def gateways(view: ClusterView) -> Iterator[Finding]:
    """Classes and certificates of Gateways, and what their conditions say."""
    classes = [c.name for c in view.of_kind("GatewayClass")]
    for gateway in view.of_kind("Gateway"):
        if gateway.group != "gateway.networking.k8s.io":
            continue
        name = text(gateway.spec, "gatewayClassName")
        if name and name not in classes and view.listed("GatewayClass"):
            near = near_or_all(name, classes)
            yield finding(
                CLASS_MISSING,
                gateway,
                f"Gateway {gateway.name} names GatewayClass {name}, which does not exist (there: {listing(near)}); no "
                "controller serves it.",
                [
                    seen_field(gateway, "spec.gatewayClassName", name),
                    not_listed(view, ref("GatewayClass", "", name), near),
                ],
                near=listing(near),
            )
            continue
        missing = list(_missing_certificates(view, gateway))
        yield from missing
        if not missing:
            yield from _unprogrammed(view, gateway)


def _missing_certificates(view: ClusterView, gateway: K8sObject) -> Iterator[Finding]:
    for reference in view.references(gateway):
        target = reference.target
        if reference.role != "tls" or target.kind != "Secret" or not view.listed("Secret", target.namespace):
            continue
        if view.resolve(target) is not None:
            continue
        there = [
            s.name for s in view.in_namespace("Secret", target.namespace) if text(s.raw, "type") == "kubernetes.io/tls"
        ]
        near = near_or_all(target.name, there)
        yield finding(
            CERTIFICATE_MISSING,
            gateway,
            f"A listener of Gateway {gateway.name} takes its certificate from Secret {target.namespace}/{target.name}, "
            f"which does not exist (TLS Secrets there: {listing(near)}).",
            [seen_field(gateway, reference.path, target.name), not_listed(view, target, near)],
            related=[target],
            near=listing(near),
            secret_ns=target.namespace,
        )


def _bad(view: ClusterView, conditions: list[Mapping[str, Any]], *kinds: str) -> Mapping[str, Any] | None:
    """The first of these conditions that has been False for longer than a controller needs."""
    for condition in conditions:
        if condition.get("type") in kinds and condition.get("status") == "False":
            age = view.age(moment(condition, "lastTransitionTime"))
            if age is None or age >= PATIENCE:
                return condition
    return None


def _unprogrammed(view: ClusterView, gateway: K8sObject) -> Iterator[Finding]:
    places = [("status.conditions", mappings(gateway.status, "conditions"))]
    for index, listener in enumerate(mappings(gateway.status, "listeners")):
        places.append((f"status.listeners[{index}].conditions", mappings(listener, "conditions")))
    for path, conditions in places:
        bad = _bad(view, conditions, "Accepted", "Programmed", "ResolvedRefs", "Ready")
        if bad is None:
            continue
        kind, reason, said = text(bad, "type"), text(bad, "reason"), text(bad, "message")
        yield finding(
            NOT_READY,
            gateway,
            f"Gateway {gateway.name} is not {kind}: {reason}: {said}",
            [seen_field(gateway, f"{path}[{kind}]", {k: bad[k] for k in ("status", "reason", "message") if k in bad})],
            related=[ref("GatewayClass", "", text(gateway.spec, "gatewayClassName"))],
        )
        return


def routes(view: ClusterView) -> Iterator[Finding]:
    """Parents and backends of routes, and what the Gateways say of them."""
    for route in view.of_kind(*_ROUTES):
        found = [*_parents(view, route), *_backends(view, route)]
        yield from found
        if not found:
            yield from _refused(view, route)


def _parents(view: ClusterView, route: K8sObject) -> Iterator[Finding]:
    for index, parent in enumerate(mappings(route.spec, "parentRefs")):
        if (text(parent, "kind") or "Gateway") != "Gateway":
            continue
        namespace, name = text(parent, "namespace") or route.namespace, text(parent, "name")
        gateway = view.get("Gateway", namespace, name)
        section = text(parent, "sectionName")
        path = f"spec.parentRefs[{index}]"
        if gateway is None:
            if not view.listed("Gateway", namespace):
                continue
            near = near_or_all(name, [f"{g.namespace}/{g.name}" for g in view.of_kind("Gateway")])
            wrong = f"Gateway {namespace}/{name}, which does not exist (there: {listing(near)})"
            evidence = [seen_field(route, path, name), not_listed(view, ref("Gateway", namespace, name), near)]
        else:
            listeners = [text(entry, "name") for entry in mappings(gateway.spec, "listeners")]
            if not section or section in listeners:
                continue
            near = listeners
            wrong = f"listener {section} of Gateway {namespace}/{name}, which has only {listing(listeners)}"
            evidence = [
                seen_field(route, f"{path}.sectionName", section),
                seen_field(gateway, "spec.listeners[*].name", ", ".join(listeners)),
            ]
        yield finding(
            PARENT_MISSING,
            route,
            f"{route.kind} {route.name} hangs on {wrong}; it serves nothing.",
            evidence,
            related=[ref("Gateway", namespace, name)],
            near=listing(near),
        )


def _backends(view: ClusterView, route: K8sObject) -> Iterator[Finding]:
    seen: set[tuple[str, str, str]] = set()
    for i, rule in enumerate(mappings(route.spec, "rules")):
        for j, backend in enumerate(mappings(rule, "backendRefs")):
            if (text(backend, "kind") or "Service") != "Service":
                continue
            namespace, name = text(backend, "namespace") or route.namespace, text(backend, "name")
            port = text(backend, "port")
            if (namespace, name, port) in seen or not view.listed("Service", namespace):
                continue
            seen.add((namespace, name, port))
            yield from _backend(view, route, f"spec.rules[{i}].backendRefs[{j}]", namespace, mapping(backend))


def _backend(
    view: ClusterView, route: K8sObject, path: str, namespace: str, backend: Mapping[str, Any]
) -> Iterator[Finding]:
    name, port = text(backend, "name"), text(backend, "port")
    service = view.get("Service", namespace, name)
    target = ref("Service", namespace, name)
    if service is None:
        near = near_or_all(name, [s.name for s in view.in_namespace("Service", namespace)])
        wrong = f"Service {name}, which does not exist in namespace {namespace} (there: {listing(near)})"
        evidence = [seen_field(route, f"{path}.name", name), not_listed(view, target, near)]
    else:
        ports = service_ports(service)
        if not port or not ports or any(port == str(p.port) for p in ports):
            return
        near = [p.label for p in ports]
        wrong = f"port {port} of Service {name}, which has only port {listing(near)}"
        evidence = [
            seen_field(route, f"{path}.port", port),
            seen_field(service, "spec.ports", service.spec.get("ports") or []),
        ]
    yield finding(
        BACKEND_MISSING,
        route,
        f"{route.kind} {route.name} sends requests to {wrong}. Users get 500 or 503.",
        evidence,
        related=[target],
        near=listing(near),
        backend_ns=namespace,
    )


def _refused(view: ClusterView, route: K8sObject) -> Iterator[Finding]:
    for index, parent in enumerate(mappings(route.status, "parents")):
        bad = _bad(view, mappings(parent, "conditions"), "Accepted", "ResolvedRefs", "Programmed")
        if bad is None:
            continue
        where = text(parent, "parentRef", "name")
        kind, reason, said = text(bad, "type"), text(bad, "reason"), text(bad, "message")
        namespace = text(parent, "parentRef", "namespace") or route.namespace
        gateway = view.get("Gateway", namespace, where)
        evidence = [
            seen_field(
                route,
                f"status.parents[{index}].conditions[{kind}]",
                {k: bad[k] for k in ("status", "reason", "message") if k in bad},
            ),
            seen_field(route, "spec.hostnames", route.spec.get("hostnames") or "all"),
        ]
        if gateway is not None:
            shown = [
                {k: entry.get(k) for k in ("name", "hostname", "port", "allowedRoutes") if k in entry}
                for entry in mappings(gateway.spec, "listeners")
            ]
            evidence.append(seen_field(gateway, "spec.listeners", shown))
        yield finding(
            NOT_ACCEPTED,
            route,
            f"Gateway {where} says of {route.kind} {route.name} that it is not {kind}: {reason}: {said}",
            evidence,
            related=[ref("Gateway", namespace, where)],
        )


CODES: tuple[Code, ...] = (
    CLASS_MISSING,
    CERTIFICATE_MISSING,
    NOT_READY,
    PARENT_MISSING,
    BACKEND_MISSING,
    NOT_ACCEPTED,
)
ANALYZERS: tuple[Analyzer, ...] = (gateways, routes)
