"""What an object needs in order to work: the edges along which a cause reaches what the user sees.

`dependencies` gives the direct ones; `reach` walks them breadth-first, so that the nearest cause is found first. An
edge reads "A needs B": a Service needs its pods, a pod its claim, a claim its class. Policies, quotas and roles that
act upon an object count as needed by it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from agents.analyzers.backing import workloads_behind
from agents.cluster.objects import WORKLOAD_KINDS, K8sObject, mapping, pod_template, string_map
from agents.cluster.selectors import label_selector, map_selector
from agents.cluster.view import ClusterView
from agents.evidence import ObjectRef

MAX_DISTANCE = 6
_MANY = 50  # an object with more dependants than this says little about each of them

_REFERENCE_WORDS: Mapping[str, str] = {
    "env": "takes its environment from",
    "volume": "mounts",
    "class": "is of class",
    "backend": "sends traffic to",
    "tls": "serves the certificate of",
    "scale-target": "scales",
    "service-account": "runs as",
    "pull-secret": "pulls its image with",
    "node": "runs on",
    "headless-service": "gets its names from",
    "webhook": "calls",
    "api-backend": "is served by",
    "parent": "is attached to",
    "claim": "is bound to",
    "priority-class": "has the priority of",
    "runtime-class": "runs under",
    "role": "grants",
}
_FOLLOWED_ROLES = frozenset(_REFERENCE_WORDS)


@dataclass(frozen=True, slots=True)
class Reached:
    """An object that is needed, how many edges away, and the edges in words, from the symptom on."""

    ref: ObjectRef
    distance: int
    how: str


def dependencies(view: ClusterView, obj: K8sObject) -> Iterator[tuple[ObjectRef, str]]:
    """(what is needed, in which way) for one object, directly."""
    for reference in view.references(obj):
        if reference.role in _FOLLOWED_ROLES:
            yield reference.target, _REFERENCE_WORDS[reference.role]
    extra = _FURTHER.get(obj.kind)
    if extra is not None:
        yield from extra(view, obj)


def _workload(view: ClusterView, obj: K8sObject) -> Iterator[tuple[ObjectRef, str]]:
    for child in view.owned_by(obj):
        if child.kind != "ReplicaSet" or view.pods_of(child):
            yield child.ref, "is made of"
    yield from _acting_upon(view, obj)


def _pod(view: ClusterView, obj: K8sObject) -> Iterator[tuple[ObjectRef, str]]:
    yield from _acting_upon(view, obj)
    if (owner := view.owner_of(obj)) is not None:
        yield owner.ref, "is made by"


def _service(view: ClusterView, obj: K8sObject) -> Iterator[tuple[ObjectRef, str]]:
    selector = map_selector(obj.spec.get("selector"))
    if not selector.empty:
        pods = view.select("Pod", obj.namespace, selector)[:_MANY]
        for pod in pods:
            yield view.top_owner(pod).ref, "selects the pods of"
        if not pods:  # a workload whose pods cannot even be created
            for workload in workloads_behind(view, obj)[:_MANY]:
                yield workload.ref, "selects the pods of"


def _account(view: ClusterView, obj: K8sObject) -> Iterator[tuple[ObjectRef, str]]:
    for binding, reference in view.referrers(obj.ref):
        if reference.role == "subject":
            yield binding.ref, "has the rights of"


def _acting_upon(view: ClusterView, obj: K8sObject) -> Iterator[tuple[ObjectRef, str]]:
    """Policies and quotas of the namespace that act on the pods of this object."""
    labels = obj.labels if obj.kind == "Pod" else string_map(pod_template(obj), "metadata", "labels")
    for policy in view.in_namespace("NetworkPolicy", obj.namespace):
        if label_selector(mapping(policy.spec, "podSelector")).matches(labels):
            yield policy.ref, "is restricted by"
    for quota in view.in_namespace("ResourceQuota", obj.namespace):
        yield quota.ref, "is limited by"


def _scraped(view: ClusterView, obj: K8sObject) -> Iterator[tuple[ObjectRef, str]]:
    selector = label_selector(mapping(obj.spec, "selector"))
    kind = "Service" if obj.kind == "ServiceMonitor" else "Pod"
    names = mapping(obj.spec, "namespaceSelector").get("matchNames")
    namespaces = [n for n in names if isinstance(n, str)] if isinstance(names, list) else [obj.namespace]
    for namespace in namespaces:
        for target in view.select(kind, namespace, selector)[:_MANY]:
            yield target.ref, "scrapes"


_FURTHER: Mapping[str, Callable[[ClusterView, K8sObject], Iterator[tuple[ObjectRef, str]]]] = {
    **dict.fromkeys(WORKLOAD_KINDS, _workload),
    "Pod": _pod,
    "Service": _service,
    "ServiceMonitor": _scraped,
    "PodMonitor": _scraped,
    "ServiceAccount": _account,
}


def reach(view: ClusterView, start: ObjectRef) -> dict[tuple[str, str, str], Reached]:
    """Everything an object needs, directly or not, up to `MAX_DISTANCE` edges, by key. The start is in it at distance
    0.
    """
    found = {start.key: Reached(start, 0, "")}
    queue = deque([start])
    while queue:
        ref = queue.popleft()
        here = found[ref.key]
        obj = view.resolve(ref)
        if obj is None or here.distance >= MAX_DISTANCE:
            continue
        for target, word in dependencies(view, obj):
            if target.key in found or not target.name:
                continue
            step = f"{ref} {word} {target}"
            found[target.key] = Reached(target, here.distance + 1, f"{here.how}; {step}" if here.how else step)
            queue.append(target)
    return found
