"""What NetworkPolicies let through: the effective rules of a pod, computed as the API defines them.

A pod is isolated in a direction as soon as one policy of that direction selects it; then a connection is allowed when
any rule of any such policy allows it. Policies only add. Pods on the host's network are not subject to policies.
Promise: pure; what a policy says that cannot be read (a malformed CIDR) allows nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Any, Literal

from agents.analyzers.backing import declared_ports
from agents.cluster.objects import K8sObject, integer, mapping, mappings, moment, pod_spec, strings, text
from agents.cluster.selectors import label_selector
from agents.cluster.view import ClusterView

Direction = Literal["ingress", "egress"]


@dataclass(frozen=True, slots=True)
class Peer:
    """One end of a connection: a pod (namespace and labels) or a bare address, with the IPs that a policy may see."""

    namespace: str = ""
    namespace_labels: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None
    addresses: tuple[str, ...] = ()

    @property
    def is_pod(self) -> bool:
        return self.labels is not None


@dataclass(frozen=True, slots=True)
class Door:
    """The port that is knocked at: its number on the receiving pod, the protocol, and the names it has there."""

    number: int
    protocol: str = "TCP"
    names: tuple[str, ...] = ()


def policy_types(policy: K8sObject) -> frozenset[str]:
    """Ingress and Egress, as defaulted by the API: Ingress always, Egress when there are egress rules."""
    declared = strings(policy.spec, "policyTypes")
    if declared:
        return frozenset(declared)
    return frozenset({"Ingress", "Egress"} if mappings(policy.spec, "egress") else {"Ingress"})


def policies_for(view: ClusterView, pod: K8sObject, direction: Direction) -> tuple[K8sObject, ...]:
    """The policies that isolate a pod in a direction; none for pods on the host's network."""
    policies = view.in_namespace("NetworkPolicy", pod.namespace)
    if not policies or pod_spec(pod).get("hostNetwork") is True:
        return ()
    known = view.derived(_known_selections)
    key = (pod.namespace, direction, frozenset(pod.labels.items()))
    if key not in known:
        wanted = direction.capitalize()
        known[key] = tuple(
            p
            for p in policies
            if wanted in policy_types(p) and label_selector(mapping(p.spec, "podSelector")).matches(pod.labels)
        )
    return known[key]


def _known_selections(view: ClusterView) -> dict[tuple[str, str, frozenset[tuple[str, str]]], tuple[K8sObject, ...]]:
    """What has been asked already: pods of one template bear the same labels."""
    return {}


def allowed(policies: Iterable[K8sObject], direction: Direction, peer: Peer, door: Door) -> bool:
    """Whether any rule of these policies lets a connection to (egress) or from (ingress) the peer through."""
    return any(_rule_allows(p, rule, direction, peer, door) for p in policies for rule in mappings(p.spec, direction))


def _rule_allows(policy: K8sObject, rule: Mapping[str, Any], direction: Direction, peer: Peer, door: Door) -> bool:
    return port_allowed(rule, door) and peer_allowed(policy, rule, direction, peer)


def port_allowed(rule: Mapping[str, Any], door: Door) -> bool:
    """Whether a rule's ports include this one; a rule without ports is for all."""
    entries = mappings(rule, "ports")
    return not entries or any(_port_matches(entry, door) for entry in entries)


def _port_matches(entry: Mapping[str, Any], door: Door) -> bool:
    if (text(entry, "protocol") or "TCP") != door.protocol:
        return False
    port = text(entry, "port")
    if not port:
        return True
    if not port.isdigit():
        return port in door.names
    last = integer(entry, "endPort") or int(port)
    return int(port) <= door.number <= last


def peer_allowed(policy: K8sObject, rule: Mapping[str, Any], direction: Direction, peer: Peer) -> bool:
    """Whether a rule's peers include this one; a rule without peers is for all."""
    entries = mappings(rule, "from" if direction == "ingress" else "to")
    return not entries or any(_peer_matches(policy, entry, peer) for entry in entries)


def _peer_matches(policy: K8sObject, entry: Mapping[str, Any], peer: Peer) -> bool:
    block = mapping(entry, "ipBlock")
    if block:
        return any(_in_block(block, address) for address in peer.addresses)
    if not peer.is_pod:
        return False
    if "namespaceSelector" in entry:
        if not label_selector(mapping(entry, "namespaceSelector")).matches(peer.namespace_labels or {}):
            return False
    elif peer.namespace != policy.namespace:
        return False
    return "podSelector" not in entry or label_selector(mapping(entry, "podSelector")).matches(peer.labels or {})


def _in_block(block: Mapping[str, Any], address: str) -> bool:
    try:
        ip = ip_address(address)
        inside = ip in ip_network(text(block, "cidr"), strict=False)
        return inside and not any(ip in ip_network(e, strict=False) for e in strings(block, "except"))
    except ValueError:
        return False


def namespace_labels(view: ClusterView, name: str) -> Mapping[str, str]:
    """The labels of a namespace; the API server gives each its name as one."""
    found = view.get("Namespace", "", name)
    labels = dict(found.labels) if found is not None else {}
    labels.setdefault("kubernetes.io/metadata.name", name)
    return labels


def pod_peer(view: ClusterView, pod: K8sObject) -> Peer:
    """A pod as the peer of a rule."""
    ips = [text(entry, "ip") for entry in mappings(pod.status, "podIPs")] or [text(pod.status, "podIP")]
    return Peer(pod.namespace, namespace_labels(view, pod.namespace), pod.labels, tuple(i for i in ips if i))


def door_of(pod: K8sObject, number: int, protocol: str = "TCP") -> Door:
    """A port of a pod with the names that its containers give it."""
    names = [
        text(p, "name")
        for _, p in declared_ports(pod)
        if integer(p, "containerPort") == number and (text(p, "protocol") or "TCP") == protocol
    ]
    return Door(number, protocol, tuple(n for n in names if n))


def newest(policies: Sequence[K8sObject], direction: Direction, oldest: datetime) -> K8sObject:
    """The policy to look at first: the one changed last (the change that broke it), then the one with fewest rules."""

    def order(policy: K8sObject) -> tuple[datetime, int, str]:
        times = [policy.created, *(moment(f, "time") for f in mappings(policy.metadata, "managedFields"))]
        changed = max((t for t in times if t is not None), default=oldest)
        return changed, -len(mappings(policy.spec, direction)), policy.name

    return max(policies, key=order)


def isolated_namespaces(view: ClusterView) -> Mapping[str, tuple[K8sObject, ...]]:
    """namespace -> its policies, for the namespaces that have any."""
    return view.derived(_by_namespace)


def _by_namespace(view: ClusterView) -> Mapping[str, tuple[K8sObject, ...]]:
    index: dict[str, list[K8sObject]] = defaultdict(list)
    for policy in view.of_kind("NetworkPolicy"):
        index[policy.namespace].append(policy)
    return {namespace: tuple(found) for namespace, found in index.items()}


def show_rules(policy: K8sObject, direction: Direction) -> str:
    """The rules of one direction in a line: `to app=db on TCP 5432; to 0.0.0.0/0 on TCP 443`, or that there is none."""
    rules = mappings(policy.spec, direction)
    if not rules:
        return f"no {direction} rule (all denied)"
    word = "from" if direction == "ingress" else "to"
    return "; ".join(f"{word} {_show_peers(r, word)} on {_show_ports(r)}" for r in rules[:8])


def _show_peers(rule: Mapping[str, Any], word: str) -> str:
    shown = []
    for entry in mappings(rule, word):
        if block := mapping(entry, "ipBlock"):
            excluded = strings(block, "except")
            shown.append(text(block, "cidr") + (f" except {', '.join(excluded)}" if excluded else ""))
            continue
        parts = []
        if "namespaceSelector" in entry:
            selector = str(label_selector(mapping(entry, "namespaceSelector")))
            parts.append(f"namespaces with {selector}" if selector else "all namespaces")
        if "podSelector" in entry:
            selector = str(label_selector(mapping(entry, "podSelector")))
            parts.append(f"pods with {selector}" if selector else "all pods")
        shown.append(", ".join(reversed(parts)))
    return " or ".join(shown) or "anywhere"


def _show_ports(rule: Mapping[str, Any]) -> str:
    shown = []
    for entry in mappings(rule, "ports"):
        last = text(entry, "endPort")
        port = text(entry, "port") or "all ports"
        shown.append(f"{text(entry, 'protocol') or 'TCP'} {port}" + (f"-{last}" if last else ""))
    return ", ".join(shown) or "all ports"
