"""Addresses that lead nowhere: a host name without a Service or namespace, a port that the Service does not have.

A wrong address is a fault only when it shows: the workload that uses it struggles, or its log says that this host
cannot be reached. Otherwise it is worth knowing and no more, for configuration outlives what it was written for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agents.analyzers.address_book import (
    Address,
    Meaning,
    addresses,
    aliases,
    cluster_domain,
    homes_of,
    meaning,
    uses_cluster_dns,
)
from agents.analyzers.backing import (
    at_rest,
    declared_ports,
    has_log,
    is_headless,
    is_troubled,
    pods_behind,
    ref,
    service_ports,
    workload_pods,
    workloads_behind,
)
from agents.analyzers.base import Analyzer, Code, Role, finding, not_listed, seen_field
from agents.analyzers.failing_calls import log_failures, speaks_of, unresolved
from agents.analyzers.nearness import listing, nearest
from agents.cluster.objects import K8sObject, integer, pod_spec, pod_spec_path, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

NO_SERVICE = Code(
    "address-names-no-service",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A workload is told to use a host name that no Service has",
    "Correct `{key}` in {holder} (it says `{address}`; {hint}), then restart what reads it:\n"
    "`kubectl -n {holder_ns} edit {holder_kind} {holder_name}`\n"
    "`kubectl -n {workload_ns} rollout restart {workload_kind} {workload_name}`\n"
    "See which Services there are: `kubectl get services -A`",
)
WRONG_PORT = Code(
    "address-wrong-port",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A workload is told to use a port that the Service does not have",
    "Set the port in `{key}` of {holder} to one that Service {service_ns}/{service} has ({ports}):\n"
    "`kubectl -n {holder_ns} edit {holder_kind} {holder_name}`\n"
    "`kubectl -n {workload_ns} rollout restart {workload_kind} {workload_name}`",
    0.85,
)
AT_REST = Code(
    "needed-workload-scaled-to-zero",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A workload that others need has been scaled to zero",
    "Ask who scaled it down and why, then start it again: `kubectl -n {ns} scale {kind}/{name} --replicas=1`\n"
    "If it is meant to be off, stop what needs it: `kubectl -n {user_ns} scale {user_kind}/{user_name} --replicas=0`",
    0.9,
)
DNS_POLICY = Code(
    "dns-policy-skips-cluster-dns",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "Pods that need Service names do not ask the cluster's DNS",
    "Let the pods ask the cluster's DNS: set `dnsPolicy: {wanted}` in the pod template:\n"
    "`kubectl -n {ns} patch {kind} {name} --type merge -p "
    '\'{{"spec":{{"template":{{"spec":{{"dnsPolicy":"{wanted}"}}}}}}}}\'`',
    0.85,
)


@dataclass(frozen=True, slots=True)
class _Use:
    """One wrong address with all workloads that use it, and what shows of it."""

    first: Address
    meant: Meaning
    users: tuple[K8sObject, ...]


def _weigh(
    view: ClusterView, use: _Use, logs: list[Evidence], troubled: list[K8sObject]
) -> tuple[Severity, float] | None:
    """(severity, confidence) of a wrong address by what shows of it; None when it is not worth a word."""
    if logs and troubled:
        return Severity.ERROR, 0.95
    if logs:
        return (Severity.ERROR, 0.85) if sum(e.excerpt.count("\n") + 1 for e in logs) >= 2 else (Severity.WARNING, 0.6)
    if troubled and use.first.sure:
        unread = not any(has_log(view, pod) for pod in troubled)
        return (Severity.ERROR, 0.7) if unread else (Severity.WARNING, 0.5)
    return (Severity.INFO, 0.5) if use.first.sure and use.first.port is not None else None


def _symptoms(
    view: ClusterView, users: tuple[K8sObject, ...], matches: Callable[[str], bool]
) -> tuple[list[Evidence], list[K8sObject]]:
    logs: list[Evidence] = []
    troubled: list[K8sObject] = []
    for user in users[:20]:
        logs.extend(log_failures(view, user, matches))
        troubled.extend(p for p in workload_pods(view, user) if is_troubled(view, p))
    return logs[:2], troubled


def _used_at(view: ClusterView, address: Address) -> list[Evidence]:
    """Where the workload takes the ConfigMap in which the address stands."""
    if address.holder.ref == address.workload.ref:
        return []
    for reference in view.references(address.workload):
        if reference.target == address.holder.ref:
            return [seen_field(address.workload, reference.path, f"ConfigMap {address.holder.name}")]
    return []


def _grouped(view: ClusterView, wanted: Callable[[Address, Meaning], bool]) -> Iterator[_Use]:
    groups: dict[object, tuple[Address, Meaning, dict[ObjectRef, K8sObject]]] = {}
    for address in addresses(view):
        if address.host in aliases(address.workload) or not uses_cluster_dns(address.workload):
            continue
        meant = meaning(view, address.host, address.workload.namespace)
        if not wanted(address, meant):
            continue
        key = (address.holder.ref.key, address.host, address.port, meant.namespace)
        group = groups.setdefault(key, (address, meant, {}))
        group[2][address.workload.ref] = address.workload
    for address, meant, users in groups.values():
        yield _Use(address, meant, tuple(users.values()))


def _facts(address: Address) -> dict[str, object]:
    holder, workload = address.holder, address.workload
    return {
        "key": address.key or address.path,
        "holder": f"{holder.kind} {holder.namespace}/{holder.name}",
        "holder_kind": holder.kind.lower(),
        "holder_ns": holder.namespace,
        "holder_name": holder.name,
        "workload_kind": workload.kind.lower(),
        "workload_ns": workload.namespace,
        "workload_name": workload.name,
        "address": address.shown,
    }


def _related(use: _Use, troubled: list[K8sObject], *more: ObjectRef) -> list[ObjectRef]:
    found = [u.ref for u in use.users[:10]] + [use.first.holder.ref] + list(more) + [p.ref for p in troubled[:10]]
    return list(dict.fromkeys(r for r in found if r != use.first.holder.ref or use.first.holder.kind != "ConfigMap"))


def dangling_addresses(view: ClusterView) -> Iterator[Finding]:
    """Host names in configuration that look like a Service's and are none."""
    bad = ("no-namespace", "no-service", "wrong-domain")
    for use in _grouped(view, lambda a, m: m.outcome in bad):
        address, meant = use.first, use.meant
        logs, troubled = _symptoms(view, use.users, speaks_of(address.host))
        weight = _weigh(view, use, logs, troubled)
        if weight is None:
            continue
        wrong, hint, absent, targets = _what_is_wrong(view, meant, address)
        message = (
            f"{_who(use)} is told by {_holder(address)} to use the address {address.shown} "
            f"({address.key or address.path}), but {wrong}{f': {hint}' if hint else ''}."
        )
        evidence = [seen_field(address.holder, address.path, address.shown), *logs, *absent, *_used_at(view, address)]
        yield finding(
            NO_SERVICE,
            address.holder,
            message,
            evidence[:5],
            severity=weight[0],
            confidence=weight[1],
            related=_related(use, troubled, *targets),
            hint=hint or "no similar name exists",
            **_facts(address),
        )


def _what_is_wrong(
    view: ClusterView, meant: Meaning, address: Address
) -> tuple[str, str, list[Evidence], list[ObjectRef]]:
    """(what is wrong, the nearest right one, evidence of the absence, objects probably meant)."""
    name, namespace = meant.name, meant.namespace
    homes = homes_of(view, name)
    if meant.outcome == "wrong-domain":
        right = f"{name}.{namespace}.svc.{cluster_domain(view)}"
        found = [ref("Service", namespace, name)] if meant.service is not None else []
        return f"the cluster's DNS domain is {cluster_domain(view)}", f"the name would be {right}", [], found
    if meant.outcome == "no-namespace":
        near = list(dict.fromkeys([*nearest(namespace, homes), *homes[:3], *nearest(namespace, view.namespaces)]))[:4]
        hint = f"Service {name} exists in namespace {listing(homes[:4])}" if homes else ""
        if not homes and near:
            hint = f"the nearest namespaces are {listing(near)}"
        absent = [not_listed(view, ref("Namespace", "", namespace), near)]
        return f"there is no namespace {namespace}", hint, absent, [ref("Service", home, name) for home in homes[:3]]
    there = [s.name for s in view.in_namespace("Service", namespace)]
    near = nearest(name, there)
    hint = f"the nearest Services there are {listing(near)}" if near else ""
    if homes:
        hint = f"a Service {name} exists in namespace {listing(homes[:4])} (reach it as {name}.{homes[0]})"
    absent = [not_listed(view, ref("Service", namespace, name), near or sorted(there))]
    targets = [ref("Service", home, name) for home in homes[:3]] or [ref("Service", namespace, n) for n in near[:1]]
    return f"namespace {namespace} has no Service {name}", hint, absent, targets


def _holder(address: Address) -> str:
    if address.holder.ref == address.workload.ref:
        return "its own pod template"
    return f"{address.holder.kind} {address.holder.namespace}/{address.holder.name}"


def _who(use: _Use) -> str:
    names = [f"{u.kind} {u.name}" for u in use.users]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more workloads"


def wrong_ports(view: ClusterView) -> Iterator[Finding]:
    """Addresses of existing Services with a port that the Service does not have."""
    for use in _grouped(view, lambda a, m: m.outcome == "found" and _port_is_wrong(view, a, m.service)):
        address, service = use.first, use.meant.service
        if service is None:
            continue
        host, ip = address.host, text(service.spec, "clusterIP")
        logs, troubled = _symptoms(view, use.users, speaks_of(host, f"{ip}:{address.port}" if ip else ""))
        weight = _weigh(view, use, logs, troubled)
        if weight is None:
            continue
        ports = ", ".join(p.label for p in service_ports(service)) or "none"
        where = f"Service {service.namespace}/{service.name}"
        evidence = [
            seen_field(address.holder, address.path, f"{address.shown} (port {address.port})"),
            seen_field(service, "spec.ports", service.spec.get("ports") or []),
            *logs,
            *_used_at(view, address),
        ]
        yield finding(
            WRONG_PORT,
            address.holder,
            f"{_who(use)} is told by {_holder(address)} to use {address.host} on port {address.port} "
            f"({address.key or address.path}), but {where} has only {ports}.",
            evidence[:5],
            severity=weight[0],
            confidence=min(weight[1], 0.9),
            related=_related(use, troubled, service.ref),
            service=service.name,
            service_ns=service.namespace,
            ports=ports,
            **_facts(address),
        )


def _port_is_wrong(view: ClusterView, address: Address, service: K8sObject | None) -> bool:
    if service is None or address.port is None or text(service.spec, "type") == "ExternalName":
        return False
    ports = service_ports(service)
    if not ports or address.port in {p.port for p in ports}:
        return False
    if not is_headless(service):
        return True
    # a headless name leads to the pods themselves, whatever ports the Service lists
    declared = {integer(p, "containerPort") for pod in pods_behind(view, service) for _, p in declared_ports(pod)}
    return bool(declared) and address.port not in declared


def needed_at_rest(view: ClusterView) -> Iterator[Finding]:
    """Workloads without pods on purpose, whose Service others are told to use and complain that they cannot reach."""
    for use in _grouped(view, lambda a, m: m.outcome == "found" and _sleeps(view, m.service)):
        address, service = use.first, use.meant.service
        if service is None:
            continue
        ip = text(service.spec, "clusterIP")
        logs, troubled = _symptoms(view, use.users, speaks_of(address.host, ip if ip != "None" else ""))
        weight = _weigh(view, use, logs, troubled)
        if weight is None or weight[0] is Severity.INFO:
            continue
        sleeper = workloads_behind(view, service)[0]
        user = use.users[0]
        yield finding(
            AT_REST,
            sleeper,
            f"{sleeper.kind} {sleeper.name} is scaled to zero (0 replicas), and {_who(use)} needs it: "
            f"{_holder(address)} names {address.shown}, which leads to Service {service.namespace}/{service.name}, "
            "and that has no endpoints.",
            [
                seen_field(sleeper, "spec.replicas", sleeper.spec.get("replicas", 0)),
                seen_field(address.holder, address.path, address.shown),
                *logs,
            ],
            severity=weight[0],
            confidence=min(weight[1], 0.9),
            related=_related(use, troubled, service.ref),
            user_ns=user.namespace,
            user_kind=user.kind.lower(),
            user_name=user.name,
        )


def _sleeps(view: ClusterView, service: K8sObject | None) -> bool:
    if service is None or pods_behind(view, service):
        return False
    behind = [w for w in workloads_behind(view, service) if w.kind in ("Deployment", "StatefulSet", "ReplicaSet")]
    return bool(behind) and all(at_rest(w) for w in behind)


def dns_policies(view: ClusterView) -> Iterator[Finding]:
    """Workloads that are given Service names but do not ask the cluster's DNS, and whose logs show it."""
    seen: set[ObjectRef] = set()
    for address in addresses(view):
        workload = address.workload
        if workload.ref in seen or uses_cluster_dns(workload):
            continue
        meant = meaning(view, address.host, workload.namespace)
        if meant.outcome != "found" or text(pod_spec(workload), "dnsPolicy") == "None":
            continue
        logs = log_failures(view, workload, unresolved(address.host))
        if not logs:
            continue
        seen.add(workload.ref)
        spec, base = pod_spec(workload), pod_spec_path(workload.kind)
        host_network = spec.get("hostNetwork") is True
        policy = text(spec, "dnsPolicy") or "ClusterFirst"
        wanted = "ClusterFirstWithHostNet" if host_network else "ClusterFirst"
        why = "hostNetwork: true, which makes ClusterFirst fall back to the node's resolver" if host_network else ""
        yield finding(
            DNS_POLICY,
            workload,
            f"{workload.kind} {workload.name} uses the Service name {address.host}, but its pods have "
            f"dnsPolicy {policy}{f' with {why}' if why else ''}, so the name is asked of the node's resolver; "
            f"{wanted} is needed.",
            [
                seen_field(workload, f"{base}.dnsPolicy", policy),
                *logs,
                seen_field(address.holder, address.path, address.shown),
            ],
            related=[p.ref for p in workload_pods(view, workload)[:10]],
            wanted=wanted,
        )


CODES: tuple[Code, ...] = (NO_SERVICE, WRONG_PORT, AT_REST, DNS_POLICY)
ANALYZERS: tuple[Analyzer, ...] = (dangling_addresses, wrong_ports, needed_at_rest, dns_policies)
