"""What a pod asks of a node and what nodes have left: the scheduler's arithmetic, redone from the objects.

Covers what most unschedulable pods fail on: labels (nodeSelector and required node affinity), taints, cordons, and
resources (allocatable minus the requests of the pods there). Nothing here reads messages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from agents.analyzers.pods import is_over
from agents.cluster.objects import (
    K8sObject,
    integer,
    is_sidecar,
    mapping,
    mappings,
    quantity,
    string_map,
    strings,
    text,
)
from agents.cluster.view import ClusterView

Amounts = Mapping[str, float]

_SICK_TAINTS = frozenset(
    f"node.kubernetes.io/{name}"
    for name in (
        "not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "network-unavailable",
        "out-of-service",
    )
)  # fmt: skip


def pod_requests(spec: Mapping[str, Any]) -> dict[str, float]:
    """What the scheduler counts for a pod: containers and sidecars together, or its largest init container, plus
    overhead; `pods` is 1. Base units."""
    total: dict[str, float] = defaultdict(float)
    for container in mappings(spec, "containers"):
        _add(total, mapping(container, "resources", "requests") or mapping(container, "resources", "limits"))
    started: dict[str, float] = defaultdict(float)
    largest: dict[str, float] = defaultdict(float)
    for container in mappings(spec, "initContainers"):
        requests = mapping(container, "resources", "requests")
        if is_sidecar(container):
            _add(total, requests)
            _add(started, requests)
        else:
            for name in requests:
                largest[name] = max(largest[name], (quantity(requests, name) or 0.0) + started[name])
    for name, amount in largest.items():
        total[name] = max(total[name], amount)
    _add(total, mapping(spec, "overhead"))
    total["pods"] = 1.0
    return dict(total)


def _add(total: dict[str, float], amounts: Mapping[str, Any]) -> None:
    for name in amounts:
        total[name] += quantity(amounts, name) or 0.0


def allocatable(node: K8sObject) -> dict[str, float]:
    """resource -> what the node offers to pods, in base units."""
    offered = mapping(node.status, "allocatable")
    return {name: amount for name in offered if (amount := quantity(offered, name)) is not None}


def requested_by_node(view: ClusterView) -> Mapping[str, Amounts]:
    """node name -> what its pods request together."""
    return view.derived(_requested_by_node)


def _requested_by_node(view: ClusterView) -> Mapping[str, Amounts]:
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for pod in view.of_kind("Pod"):
        node = text(pod.spec, "nodeName")
        if node and not is_over(pod):
            for name, amount in pod_requests(pod.spec).items():
                sums[node][name] += amount
    return sums


def free(view: ClusterView, node: K8sObject) -> dict[str, float]:
    """resource -> what is left of the node's allocatable."""
    taken = requested_by_node(view).get(node.name, {})
    return {name: amount - taken.get(name, 0.0) for name, amount in allocatable(node).items()}


def matches_labels(spec: Mapping[str, Any], node: K8sObject) -> bool:
    """Whether a node satisfies the pod's nodeSelector and its required node affinity."""
    wanted = string_map(spec, "nodeSelector")
    if any(node.labels.get(key) != value for key, value in wanted.items()):
        return False
    required = mapping(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    terms = mappings(required, "nodeSelectorTerms")
    return not terms or any(_term_matches(term, node) for term in terms)


def _term_matches(term: Mapping[str, Any], node: K8sObject) -> bool:
    fields = {"metadata.name": node.name}
    expressions = mappings(term, "matchExpressions")
    on_fields = mappings(term, "matchFields")
    if not expressions and not on_fields:
        return False  # an empty term matches no node
    return all(_expression_matches(e, node.labels) for e in expressions) and all(
        _expression_matches(e, fields) for e in on_fields
    )


def _expression_matches(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = text(expression, "key"), strings(expression, "values")
    have = labels.get(key)
    match text(expression, "operator"):
        case "In":
            return have in values
        case "NotIn":
            return have not in values
        case "Exists":
            return have is not None
        case "DoesNotExist":
            return have is None
        case "Gt" | "Lt" as operator:
            number = integer({"v": have}, "v")
            limit = integer({"v": values[0]}, "v") if values else None
            if number is None or limit is None:
                return False
            return number > limit if operator == "Gt" else number < limit
    return False


def label_wishes(spec: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """(label key, operator, values) that the pod wants of a node; a nodeSelector entry is an `In` with one value."""
    wishes = [(key, "In", [value]) for key, value in string_map(spec, "nodeSelector").items()]
    required = mapping(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    for term in mappings(required, "nodeSelectorTerms"):
        for expression in mappings(term, "matchExpressions"):
            wishes.append((text(expression, "key"), text(expression, "operator"), strings(expression, "values")))
    return wishes


def untolerated(spec: Mapping[str, Any], node: K8sObject) -> list[Mapping[str, Any]]:
    """The NoSchedule and NoExecute taints of a node that the pod does not tolerate."""
    tolerations = mappings(spec, "tolerations")
    taints = [t for t in mappings(node.spec, "taints") if text(t, "effect") in ("NoSchedule", "NoExecute")]
    return [t for t in taints if not any(_tolerates(toleration, t) for toleration in tolerations)]


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    effect, key = text(toleration, "effect"), text(toleration, "key")
    if effect and effect != text(taint, "effect"):
        return False
    if key and key != text(taint, "key"):
        return False
    if text(toleration, "operator") == "Exists":
        return True
    return bool(key) and text(toleration, "value") == text(taint, "value")


def only_sick_nodes(spec: Mapping[str, Any], nodes: list[K8sObject]) -> bool:
    """Whether all that keeps a pod from these nodes (control-plane nodes aside) are taints that the node controller
    sets by itself for what is wrong with a node: disk-pressure, unreachable and the like."""
    blocked = [[text(t, "key") for t in untolerated(spec, node)] for node in nodes]
    ordinary = [keys for keys in blocked if not any(k.startswith("node-role.kubernetes.io/") for k in keys)]
    return bool(ordinary) and all(any(k in _SICK_TAINTS for k in keys) for keys in ordinary)


def taint_words(taint: Mapping[str, Any]) -> str:
    """A taint as `kubectl taint` writes it."""
    value = text(taint, "value")
    return f"{text(taint, 'key')}{f'={value}' if value else ''}:{text(taint, 'effect')}"


def is_cordoned(node: K8sObject) -> bool:
    return node.spec.get("unschedulable") is True


def is_node_ready(node: K8sObject) -> bool:
    return node.condition("Ready").get("status") == "True"


def amount_words(resource: str, amount: float) -> str:
    """An amount as people write it: cores as millicores, bytes as Mi or Gi."""
    if resource in ("cpu", "requests.cpu", "limits.cpu"):
        return f"{amount:g}" if amount >= 1 and float(amount).is_integer() else f"{amount * 1000:.0f}m"
    if "memory" in resource or "storage" in resource:
        return f"{amount / 2**30:.3g}Gi" if amount >= 2**30 else f"{amount / 2**20:.0f}Mi"
    return f"{amount:g}"
