"""Services that lead nowhere by what they say: selectors that match nothing, ports that no container has.

A Service that selects a workload which is scaled to zero or suspended is right as it is; whether its pods are well is
not asked here.
"""

from __future__ import annotations

from collections.abc import Iterator

from agents.analyzers.address_book import clients_of
from agents.analyzers.backing import (
    ServicePort,
    declared_ports,
    is_headless,
    is_selecting,
    pods_behind,
    ready_addresses,
    selector_of,
    service_ports,
    show_ports,
    slices_of,
    target_number,
    template_labels,
    workloads_behind,
    workloads_in,
)
from agents.analyzers.base import Analyzer, Code, Role, finding, seen_field
from agents.analyzers.nearness import likeness, nearest
from agents.analyzers.pods import Container, containers_of, is_ready
from agents.analyzers.remedies import Composed, word
from agents.cluster.objects import K8sObject, integer, mappings, pod_spec, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

SELECTOR = Code(
    "service-selector-matches-nothing",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A Service selects labels that no pod has",
    "Make the selector of the Service and the labels of the pods agree (pods of {near} have: {labels}):\n"
    "`kubectl -n {ns} get pods --show-labels`\n"
    "`kubectl -n {ns} edit service {name}`",
)
TARGET_PORT = Code(
    "service-target-port-missing",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A Service sends traffic to a port that its pods do not have",
    "Point `targetPort` of the Service at a port that the containers declare ({ports}), for example:\n"
    "`kubectl -n {ns} patch service {name} --type json -p "
    '\'[{{"op":"replace","path":"/spec/ports/{index}/targetPort","value":{value}}}]\'`\n'
    "`kubectl -n {ns} get endpointslices -l kubernetes.io/service-name={name}`",
)
PROTOCOL = Code(
    "service-protocol-mismatch",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A Service forwards a protocol that the container's port does not speak",
    "Set the protocol of the Service's port to the container's ({right}):\n`kubectl -n {ns} edit service {name}`",
    0.85,
)
TOO_BROAD = Code(
    "service-selector-too-broad",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A Service also selects pods that do not serve its port",
    "Narrow the selector so that only the pods that serve the port are selected:\n"
    "`kubectl -n {ns} get endpointslices -l kubernetes.io/service-name={name} -o yaml`\n"
    "`kubectl -n {ns} edit service {name}`",
    0.8,
)


def _is_used(view: ClusterView, service: K8sObject) -> bool:
    """Whether anything we can see wants this Service: an outside address, an Ingress, a route, a client's address."""
    outside = text(service.spec, "type") in ("LoadBalancer", "NodePort")
    return outside or bool(view.referrers(service.ref)) or bool(clients_of(view, service))


def _faces_users(view: ClusterView, service: K8sObject) -> bool:
    named_by = {obj.kind for obj, _ in view.referrers(service.ref)}
    return text(service.spec, "type") == "LoadBalancer" or bool(named_by & {"Ingress", "HTTPRoute", "GRPCRoute"})


def client_refs(view: ClusterView, service: K8sObject) -> list[ObjectRef]:
    """The workloads that are known to call this Service, at most ten."""
    return list(dict.fromkeys(a.workload.ref for a in clients_of(view, service)))[:10]


def selectors(view: ClusterView) -> Iterator[Finding]:
    """Services whose selector matches no pod and no workload's template."""
    for service in view.of_kind("Service"):
        if not is_selecting(service) or not view.listed("Pod", service.namespace):
            continue
        selector = selector_of(service)
        if view.select("Pod", service.namespace, selector) or workloads_behind(view, service):
            continue
        if ready_addresses(view, service):  # endpoints written by hand or by an operator
            continue
        near = _nearest_workload(view, service)
        served = near is not None and _is_served(view, near, service)
        severity = SELECTOR.severity
        if near is None or served:
            severity = Severity.ERROR if _is_used(view, service) and near is not None else Severity.INFO
            if near is None and _is_used(view, service):
                severity = Severity.WARNING
        evidence = [seen_field(service, "spec.selector", str(selector))]
        difference = "no workload of the namespace has similar labels"
        labels = ""
        if near is not None:
            labels = ",".join(f"{k}={v}" for k, v in template_labels(near).items())
            difference = _difference(service, near)
            path = "metadata.labels" if near.kind == "Pod" else "spec.template.metadata.labels"
            evidence.append(seen_field(near, path, labels))
        evidence.extend(_empty_slices(view, service))
        yield finding(
            SELECTOR,
            service,
            f"Service {service.name} selects {selector}, which matches no pod in namespace {service.namespace}: "
            f"{difference}. The Service has no endpoints.",
            evidence,
            severity=severity,
            confidence=0.95 if near is not None else 0.6,
            related=[*([near.ref] if near is not None else []), *client_refs(view, service)],
            near=f"{near.kind} {near.name}" if near is not None else "the workload",
            labels=labels or "unknown",
        )


def _is_served(view: ClusterView, workload: K8sObject, service: K8sObject) -> bool:
    """Whether another Service already leads to this workload, so that this one may be a left-over."""
    labels = template_labels(workload)
    others = (s for s in view.in_namespace("Service", service.namespace) if s.ref != service.ref and is_selecting(s))
    return any(selector_of(s).matches(labels) for s in others)


def _nearest_workload(view: ClusterView, service: K8sObject) -> K8sObject | None:
    """The workload whose labels come nearest to the selector, if any comes near."""
    wanted = selector_of(service).equal
    best: tuple[float, str, K8sObject] | None = None
    for workload in workloads_in(view, service.namespace):
        labels = template_labels(workload)
        score = max(likeness(service.name, workload.name) - 0.3, 0.0)
        for key, value in wanted.items():
            if labels.get(key) == value:
                score += 1.0
            elif key in labels:
                alike = likeness(labels[key], value)
                score += alike if alike >= 0.6 else 0.0
            elif value in labels.values():
                score += 0.9
        if score >= 0.6 and (best is None or (score, workload.name) > best[:2]):
            best = (score, workload.name, workload)
    return None if best is None else best[2]


def _difference(service: K8sObject, workload: K8sObject) -> str:
    labels = template_labels(workload)
    parts = []
    for key, value in selector_of(service).equal.items():
        if labels.get(key) == value:
            continue
        if key in labels:
            parts.append(f"pods of {workload.kind} {workload.name} have {key}={labels[key]}, not {key}={value}")
            continue
        other = [k for k, v in labels.items() if v == value] or nearest(key, labels)
        have = f" (they have {other[0]}={labels[other[0]]})" if other else ""
        parts.append(f"pods of {workload.kind} {workload.name} have no label {key}{have}")
    return "; ".join(parts)


def _empty_slices(view: ClusterView, service: K8sObject) -> list[Evidence]:
    return [
        seen_field(s, "endpoints", "none") for s in slices_of(view, service)[:1] if not mappings(s.raw, "endpoints")
    ]


def target_ports(view: ClusterView) -> Iterator[Finding]:
    """Ports of Services that lead to no port of the selected pods."""
    for service in view.of_kind("Service"):
        pods = pods_behind(view, service)
        if not pods or is_headless(service):  # a headless name bypasses the Service's ports
            continue
        for index, port in enumerate(service_ports(service)):
            yield from _check_port(view, service, pods, index, port)


def _check_port(
    view: ClusterView, service: K8sObject, pods: tuple[K8sObject, ...], index: int, port: ServicePort
) -> Iterator[Finding]:
    ordered = sorted(pods, key=lambda p: not is_ready(p))
    # pods of one owner are alike: one of each is enough
    sample = list({p.controller.key if p.controller else p.ref.key: p for p in reversed(ordered)}.values())[:50]
    wrong_protocol = [p for p in sample if _other_protocol(p, port)]
    if len(wrong_protocol) == len(sample):
        yield _protocol_finding(view, service, sample[0], port)
        return
    lacking = [p for p in sample if _lacks(p, port)]
    if not lacking:
        return
    if len(lacking) < len(sample):
        yield from _too_broad(view, service, port, lacking, [p for p in sample if p not in lacking])
        return
    pod = sample[0]
    spare = _untargeted(service, pod)
    severity = Severity.ERROR if port.named or spare else Severity.INFO
    top = view.top_owner(pod)
    if severity is Severity.ERROR and _faces_users(view, service) and len(service_ports(service)) == 1:
        severity = Severity.CRITICAL
    right = spare[0] if spare else ""
    what = f"port name {port.target}" if port.named else f"port {port.target}"
    declared = "declares" if port.named else "listens on"
    yield finding(
        TARGET_PORT,
        service,
        f"Service {service.name} forwards port {port.label} to targetPort {port.target}, but no container of its pods "
        f"({top.kind} {top.name}) {declared} {what}; they declare {show_ports(pod)}.",
        [
            seen_field(service, f"{port.path}.targetPort", port.target),
            seen_field(pod, "spec.containers[*].ports", show_ports(pod)),
            *_portless_slices(view, service, port),
        ],
        severity=severity,
        confidence=0.97 if port.named else 0.85,
        related=[top.ref, *(p.ref for p in pods[:10]), *client_refs(view, service)],
        ports=show_ports(pod),
        index=index,
        value=right if right.isdigit() else Composed(f'"{right if right and word(right) == right else "NAME"}"'),
    )


def _other_protocol(pod: K8sObject, port: ServicePort) -> bool:
    """Whether the pod declares the target, but only for other protocols."""
    protocols = {
        text(p, "protocol") or "TCP"
        for _, p in declared_ports(pod)
        if port.target in (text(p, "name"), text(p, "containerPort"))
    }
    return bool(protocols) and port.protocol not in protocols


def _lacks(pod: K8sObject, port: ServicePort) -> bool:
    """Whether a pod certainly does not serve the target. A number is only lacking when every container declares its
    ports and none is that number: what a container declares is a hint, not a rule."""
    if port.named:
        return target_number(pod, port) is None
    serving: list[Container] = [c for c in containers_of(pod) if not c.init]
    if not serving or any(not mappings(c.spec, "ports") for c in serving) or pod_spec(pod).get("hostNetwork") is True:
        return False
    return all(integer(p, "containerPort") != int(port.target) for _, p in declared_ports(pod))


def _untargeted(service: K8sObject, pod: K8sObject) -> list[str]:
    """The declared ports that no port of the Service leads to: what was probably meant (name, else number)."""
    targets = {p.target for p in service_ports(service)}
    found = []
    for _, declared in declared_ports(pod):
        name, number = text(declared, "name"), text(declared, "containerPort")
        if not {name, number} & targets:
            found.append(name or number)
    return found


def _portless_slices(view: ClusterView, service: K8sObject, port: ServicePort) -> list[Evidence]:
    """Evidence from the endpoints themselves: a name that no pod declares leaves the slice without that port."""
    if not port.named:
        return []
    for found in slices_of(view, service):
        names = [text(p, "name") for p in mappings(found.raw, "ports") if p.get("port")]
        if port.name not in names and mappings(found.raw, "endpoints"):
            return [seen_field(found, "ports", found.raw.get("ports") or "none")]
    return []


def _protocol_finding(view: ClusterView, service: K8sObject, pod: K8sObject, port: ServicePort) -> Finding:
    protocols = sorted(
        {
            text(p, "protocol") or "TCP"
            for _, p in declared_ports(pod)
            if port.target in (text(p, "name"), text(p, "containerPort"))
        }
    )
    right = ", ".join(protocols)
    return finding(
        PROTOCOL,
        service,
        f"Service {service.name} forwards port {port.label} as {port.protocol} to targetPort {port.target}, but the "
        f"containers declare that port for {right} only ({show_ports(pod)}).",
        [
            seen_field(service, f"{port.path}.protocol", port.protocol),
            seen_field(pod, "spec.containers[*].ports", show_ports(pod)),
        ],
        related=[view.top_owner(pod).ref, pod.ref],
        right=right,
    )


def _too_broad(
    view: ClusterView, service: K8sObject, port: ServicePort, lacking: list[K8sObject], serving: list[K8sObject]
) -> Iterator[Finding]:
    """Some pods serve the port and others of another workload do not: requests to those are refused."""
    good = {view.top_owner(p).ref: view.top_owner(p) for p in serving}
    bad = {view.top_owner(p).ref: view.top_owner(p) for p in lacking}
    strangers = [w for r, w in bad.items() if r not in good and w.kind not in ("Job", "CronJob")]
    if port.named or not strangers or not any(is_ready(p) for p in lacking):
        return  # pods without the named port get no traffic for it; a rollout that renames a port mends itself
    stranger, right = strangers[0], next(iter(good.values()))
    yield finding(
        TOO_BROAD,
        service,
        f"Service {service.name} selects {selector_of(service)}, which matches pods of {right.kind} {right.name} and "
        f"also of {stranger.kind} {stranger.name}, whose containers do not serve targetPort {port.target} "
        f"({show_ports(lacking[0])}): a share of the requests is refused.",
        [
            seen_field(service, "spec.selector", str(selector_of(service))),
            seen_field(lacking[0], "metadata.labels", dict(lacking[0].labels)),
            seen_field(lacking[0], "spec.containers[*].ports", show_ports(lacking[0])),
        ],
        related=[stranger.ref, right.ref],
    )


CODES: tuple[Code, ...] = (SELECTOR, TARGET_PORT, PROTOCOL, TOO_BROAD)
ANALYZERS: tuple[Analyzer, ...] = (selectors, target_ports)
