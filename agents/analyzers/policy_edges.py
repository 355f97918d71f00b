"""NetworkPolicies at the edge of the cluster: Ingress controllers kept from what they publish, external hosts out of
reach.

An Ingress whose controller may not reach the published pods is reported without a further symptom, for no pod status
ever shows it. An external host is reported only when the log says that it cannot be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agents.analyzers.address_book import addresses, meaning
from agents.analyzers.backing import grep, pods_behind, service_ports, target_number, workload_pods
from agents.analyzers.base import Analyzer, Code, finding, seen_field
from agents.analyzers.failing_calls import log_failures, speaks_of, unreached
from agents.analyzers.network_policies import BLOCKS_EGRESS, BLOCKS_INGRESS
from agents.analyzers.policy_model import (
    Door,
    Peer,
    allowed,
    door_of,
    isolated_namespaces,
    namespace_labels,
    newest,
    pod_peer,
    policies_for,
    show_rules,
)
from agents.cluster.objects import K8sObject, mappings, pod_spec, text
from agents.cluster.view import ClusterView
from agents.evidence import Finding, ObjectRef

_CONTROLLER_NAMES = (
    "ingress-nginx",
    "nginx-ingress",
    "traefik",
    "haproxy-ingress",
    "kubernetes-ingress",
    "kong",
    "contour",
)


def blocked_publishing(view: ClusterView) -> Iterator[Finding]:
    """Pods that an Ingress publishes and that the policies hide from the Ingress controller."""
    controllers = view.derived(_controllers)
    if not controllers:
        return
    reported: set[tuple[ObjectRef, ObjectRef]] = set()
    for ingress in view.of_kind("Ingress"):
        if ingress.namespace not in isolated_namespaces(view):
            continue
        for reference in view.references(ingress):
            service = view.resolve(reference.target) if reference.role == "backend" else None
            pods = pods_behind(view, service) if service is not None else ()
            if service is None or not pods or (ingress.ref, service.ref) in reported:
                continue
            policies = policies_for(view, pods[0], "ingress")
            number = next((n for p in service_ports(service) if (n := target_number(pods[0], p)) is not None), None)
            if not policies or number is None:
                continue
            door = door_of(pods[0], number)
            if any(allowed(policies, "ingress", pod_peer(view, c), door) for c in controllers):
                continue
            reported.add((ingress.ref, service.ref))
            policy = newest(policies, "ingress", view.taken_at.replace(year=1970))
            yield _publishing_finding(view, policy, ingress, service, pods[0], door, controllers[0])


def _publishing_finding(
    view: ClusterView,
    policy: K8sObject,
    ingress: K8sObject,
    service: K8sObject,
    pod: K8sObject,
    door: Door,
    controller: K8sObject,
) -> Finding:
    spaces = ",".join(f"{k}={v}" for k, v in namespace_labels(view, controller.namespace).items())
    space = view.get("Namespace", "", controller.namespace)
    about: Callable[[str], bool] = speaks_of(service.name, text(pod.status, "podIP"))
    logs = grep(view, controller, about)
    evidence = [
        seen_field(policy, "spec.ingress", show_rules(policy, "ingress")),
        seen_field(controller, "metadata.labels", dict(controller.labels)),
    ]
    if space is not None:
        evidence.append(seen_field(space, "metadata.labels", dict(space.labels)))
    top = view.top_owner(pod)
    return finding(
        BLOCKS_INGRESS,
        policy,
        f"Ingress {ingress.name} publishes Service {service.name}, but NetworkPolicy {policy.name} lets only this "
        f"reach its pods: {show_rules(policy, 'ingress')}. The Ingress controller runs in namespace "
        f"{controller.namespace} "
        f"({spaces}) and is not allowed on {door.protocol} {door.number}, so requests time out (504).",
        [*evidence, *logs][:5],
        confidence=0.95 if logs else 0.8,
        related=[ingress.ref, service.ref, top.ref, view.top_owner(controller).ref],
        client=f"namespace {controller.namespace}",
        port=f"{door.protocol} {door.number}",
    )


def _controllers(view: ClusterView) -> tuple[K8sObject, ...]:
    """Pods of Ingress controllers; empty when one of them is on the host's network, which policies see as the node."""
    found = [
        pod
        for pod in view.of_kind("Pod")
        if _is_controller(pod)
        and pod.labels.get("app.kubernetes.io/component", "controller") == "controller"
        and text(pod.status, "phase") == "Running"
    ]
    return () if any(pod_spec(p).get("hostNetwork") is True for p in found) else tuple(found[:5])


def _is_controller(pod: K8sObject) -> bool:
    """By its label, or by the repository of its image (`…/ingress-nginx/controller`, `traefik`)."""
    if pod.labels.get("app.kubernetes.io/name", pod.labels.get("app", "")) in _CONTROLLER_NAMES:
        return True
    images = [text(c, "image").partition("@")[0].split("/") for c in mappings(pod_spec(pod), "containers")]
    return any(part.partition(":")[0] in _CONTROLLER_NAMES for parts in images for part in parts)


def blocked_outside(view: ClusterView) -> Iterator[Finding]:
    """External hosts that a workload is told to call, cannot reach by its log, and may not call by policy."""
    reported: set[tuple[ObjectRef, str]] = set()
    guarded = isolated_namespaces(view)
    for address in addresses(view):
        workload = address.workload
        if workload.namespace not in guarded or (workload.ref, address.host) in reported:
            continue
        port = address.port
        if (
            port is None
            or meaning(view, address.host, workload.namespace).outcome != "external"
            or "." not in address.host
        ):
            continue
        pods = workload_pods(view, workload)
        policies = policies_for(view, pods[0], "egress") if pods else ()
        if not policies or allowed(policies, "egress", _anywhere(address.host), Door(port)):
            continue
        logs = log_failures(view, workload, unreached(address.host))
        if not logs:
            continue
        reported.add((workload.ref, address.host))
        policy = newest(policies, "egress", view.taken_at.replace(year=1970))
        yield finding(
            BLOCKS_EGRESS,
            policy,
            f"NetworkPolicy {policy.name} restricts the egress of {workload.kind} {workload.name} and allows only: "
            f"{show_rules(policy, 'egress')}. It needs the external host {address.label}, which no rule allows.",
            [
                seen_field(policy, "spec.egress", show_rules(policy, "egress")),
                seen_field(address.holder, address.path, address.shown),
                *logs,
            ],
            related=[workload.ref, *(p.ref for p in pods[:10])],
            target=address.host,
            port=f"TCP {port}",
        )


def _anywhere(host: str) -> Peer:
    """An external address: the host itself when it is one, else some public address that stands for all."""
    return Peer(addresses=(host if host.replace(".", "").isdigit() else "8.8.8.8",))


CODES: tuple[Code, ...] = ()  # the codes of network_policies, seen from the edge
ANALYZERS: tuple[Analyzer, ...] = (blocked_publishing, blocked_outside)
