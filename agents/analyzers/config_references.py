"""ConfigMaps, Secrets, their keys and ServiceAccounts that a workload names and that do not exist.

Two sources meet: the specs, where the kind was completely listed, and what the kubelet and the controllers said. A
missing object that pods already started with is a warning (they do not survive a restart); one that keeps pods from
starting is an error. Optional references are nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from agents.analyzers.base import Analyzer, Code, Role, finding, not_listed, seen_event, seen_field
from agents.analyzers.nearness import listing, near_or_all, nearest
from agents.analyzers.pods import current, events_of, is_ready, state_evidence, unwell_containers, unwell_pods
from agents.cluster.objects import (
    WORKLOAD_KINDS,
    K8sObject,
    containers,
    flag,
    integer,
    mapping,
    mappings,
    pod_spec,
    text,
)
from agents.cluster.references import Reference
from agents.cluster.secrets import secret_keys
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_D, _E, _C = Domain.DEPLOYMENT, Severity.ERROR, Role.CAUSE
_NAMES = "See what is there: `kubectl -n {ns} get {what}`\n"

CONFIGMAP_MISSING = Code(
    "configmap-missing", _D, _E, _C, "A ConfigMap that the pods need does not exist",
    _NAMES + "Make it: `kubectl -n {ns} create configmap {target} --from-literal=KEY=VALUE`, or name the right one: "
    "`kubectl -n {ns} edit {kind} {name}`", 0.96,
)  # fmt: skip
CONFIGMAP_KEY_MISSING = Code(
    "configmap-key-missing", _D, _E, _C, "A ConfigMap does not hold a key that the pods need",
    "See its keys: `kubectl -n {ns} get configmap {target} -o yaml`\n"
    "Add the key: `kubectl -n {ns} patch configmap {target} --type merge -p '{{\"data\":{{\"{key}\":\"VALUE\"}}}}'`\n"
    "or correct the key in `kubectl -n {ns} edit {kind} {name}`", 0.97,
)  # fmt: skip
SECRET_MISSING = Code(
    "secret-missing", _D, _E, _C, "A Secret that the pods need does not exist",
    _NAMES + "Make it: `kubectl -n {ns} create secret generic {target} --from-literal=KEY=VALUE`, or name the right "
    "one: `kubectl -n {ns} edit {kind} {name}`", 0.96,
)  # fmt: skip
SECRET_KEY_MISSING = Code(
    "secret-key-missing", _D, _E, _C, "A Secret does not hold a key that the pods need",
    "See its keys (not the values): `kubectl -n {ns} describe secret {target}`\n"
    "Add the key {key} where the Secret is made, or correct the key in `kubectl -n {ns} edit {kind} {name}`", 0.97,
)  # fmt: skip
ACCOUNT_MISSING = Code(
    "service-account-missing", _D, _E, _C, "The ServiceAccount of the pods does not exist",
    _NAMES + "Make it: `kubectl -n {ns} create serviceaccount {target}`, or name the right one: "
    "`kubectl -n {ns} edit {kind} {name}`", 0.97,
)  # fmt: skip

_ROW = {
    ("ConfigMap", False): CONFIGMAP_MISSING,
    ("ConfigMap", True): CONFIGMAP_KEY_MISSING,
    ("Secret", False): SECRET_MISSING,
    ("Secret", True): SECRET_KEY_MISSING,
    ("ServiceAccount", False): ACCOUNT_MISSING,
}
_RESOURCE = {"ConfigMap": "configmaps", "Secret": "secrets", "ServiceAccount": "serviceaccounts"}
_PUBLISHED = frozenset({"kube-root-ca.crt", "openshift-service-ca.crt"})  # a controller puts them everywhere

_ABSENT = re.compile(r"\b(configmap|secret|serviceaccount)s? \"([^\"]+)\" not found", re.IGNORECASE)
_NO_KEY = re.compile(r"couldn't find key (\S+) in (ConfigMap|Secret) (?:([^/\s]+)/)?([^\s,\"]+)")
_NO_ITEM = re.compile(r"volume \"([^\"]+)\".*references non-existent (config|secret) key: ?(\S*)", re.DOTALL)
_KINDS = {"configmap": "ConfigMap", "secret": "Secret", "serviceaccount": "ServiceAccount", "config": "ConfigMap"}
_ENV = re.compile(r"\.(initContainers|containers)\[(\d+)\]\.env\[(\d+)\]")


@dataclass(slots=True)
class _Gap:
    """Something named and not there: who names it, what was seen of it, and the pods that it keeps from starting."""

    holder: K8sObject
    target: ObjectRef
    key: str
    seen: list[Evidence] = field(default_factory=list)
    pods: list[K8sObject] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    told: bool = False


_Gaps = dict[tuple[tuple[str, str, str], tuple[str, str, str], str], _Gap]


def missing_references(view: ClusterView) -> Iterator[Finding]:
    """What workloads name and what does not exist."""
    gaps: _Gaps = {}
    _from_specs(view, gaps)
    _from_kubelet(view, gaps)
    _from_controllers(view, gaps)
    for gap in gaps.values():
        yield _finding(view, gap)


def _gap(gaps: _Gaps, holder: K8sObject, target: ObjectRef, key: str = "") -> _Gap:
    return gaps.setdefault((holder.ref.key, target.key, key), _Gap(holder, target, key))


# -- from the specs ------------------------------------------------------------------------------------------------


def _from_specs(view: ClusterView, gaps: _Gaps) -> None:
    for obj in view.of_kind("Pod", *WORKLOAD_KINDS):
        if not _wants_pods(view, obj):
            continue
        for reference in view.references(obj):
            kind, target = reference.target.kind, reference.target
            if reference.optional or kind not in _RESOURCE or not view.listed(kind, obj.namespace):
                continue
            if target.name in _PUBLISHED or (kind == "ServiceAccount" and target.name == "default"):
                continue
            if not _absent(view, target, reference.key):
                continue
            if reference.key and view.resolve(target) is None:  # the whole object is missing, and so are all its keys
                if reference.role == "env":
                    _note_spec(gaps, obj, Reference(reference.path, target, reference.role), reference.key)
            else:
                _note_spec(gaps, obj, reference)


def _absent(view: ClusterView, target: ObjectRef, key: str) -> bool:
    """Whether the object, or this key of it, is not there now as far as was read."""
    there = view.resolve(target)
    return there is None or bool(key and key not in _keys(there))


def _wants_pods(view: ClusterView, obj: K8sObject) -> bool:
    """Whether this object is at the top of its owners and is to run pods now."""
    if view.owner_of(obj) is not None or obj.deleting_since is not None:
        return False
    match obj.kind:
        case "Pod":
            return text(obj.status, "phase") in ("Pending", "Running")
        case "Job":
            done = obj.condition("Complete").get("status") == "True" or obj.condition("Failed").get("status") == "True"
            return not done and flag(obj.spec, "suspend") is not True
        case "CronJob":
            return flag(obj.spec, "suspend") is not True
    return integer(obj.spec, "replicas") != 0


def _note_spec(gaps: _Gaps, obj: K8sObject, reference: Reference, wanted: str = "") -> None:
    gap = _gap(gaps, obj, reference.target, reference.key)
    shown = reference.target.name + (f", key {reference.key or wanted}" if reference.key or wanted else "")
    variable = _variable(obj, reference.path)
    if len(gap.seen) < 2:
        gap.seen.append(seen_field(obj, reference.path, f"{shown} (variable {variable})" if variable else shown))
    user = f"variable {variable}" if variable else _mount_user(reference)
    if user not in gap.users:
        gap.users.append(user)


def _mount_user(reference: Reference) -> str:
    if reference.role == "volume":
        return "a volume"
    return "envFrom" if ".envFrom[" in reference.path else "serviceAccountName"


def _variable(obj: K8sObject, path: str) -> str:
    found = _ENV.search(path)
    if found is None:
        return ""
    specs = [c for p, c in containers(pod_spec(obj)) if p == f"{found[1]}[{found[2]}]"]
    entries = mappings(specs[0], "env") if specs else []
    return text(entries[int(found[3])], "name") if int(found[3]) < len(entries) else ""


def _keys(obj: K8sObject) -> list[str]:
    if obj.kind == "Secret":
        return list(secret_keys(obj.raw))
    return [*map(str, mapping(obj.raw, "data")), *map(str, mapping(obj.raw, "binaryData"))]


# -- from what was said --------------------------------------------------------------------------------------------


def _from_kubelet(view: ClusterView, gaps: _Gaps) -> None:
    for container in unwell_containers(view):
        if container.waiting == "CreateContainerConfigError":
            for target, key in _named(container.waiting_message, container.pod):
                if not _absent(view, target, key):
                    continue  # it was made a moment ago; the kubelet will try again
                gap = _gap(gaps, view.top_owner(container.pod), target, key)
                _note_pod(gap, container.pod, state_evidence(container)[:1])
                _add_users(gap, container.spec, target, key)
    for pod in unwell_pods(view):
        for event in events_of(view, pod.ref, "FailedMount"):
            for target, key in _named(event.message, pod):
                if _absent(view, target, key):
                    _note_pod(_gap(gaps, view.top_owner(pod), target, key), pod, [seen_event(event)])


def _note_pod(gap: _Gap, pod: K8sObject, seen: list[Evidence]) -> None:
    if not gap.pods:
        gap.seen[:0] = seen
    if all(p.ref != pod.ref for p in gap.pods):
        gap.pods.append(pod)
    gap.told = True


def _add_users(gap: _Gap, spec: object, target: ObjectRef, key: str) -> None:
    source = "configMapKeyRef" if target.kind == "ConfigMap" else "secretKeyRef"
    for entry in mappings(spec, "env"):
        entry_ref = mapping(entry, "valueFrom", source)
        if text(entry_ref, "name") == target.name and (not key or text(entry_ref, "key") == key):
            user = f"variable {text(entry, 'name')}"
            if user not in gap.users:
                gap.users.append(user)


def _named(message: str, pod: K8sObject) -> Iterator[tuple[ObjectRef, str]]:
    """(object, key) that the kubelet says it did not find."""
    if found := _NO_KEY.search(message):
        yield ObjectRef("v1", found[2], found[3] or pod.namespace, found[4]), found[1]
    elif found := _NO_ITEM.search(message):
        kind = _KINDS[found[2]]
        for volume in mappings(pod.spec, "volumes"):
            source = mapping(volume, "configMap") if kind == "ConfigMap" else mapping(volume, "secret")
            name = text(source, "name") or text(source, "secretName")
            if text(volume, "name") == found[1] and name:
                yield ObjectRef("v1", kind, pod.namespace, name), found[3].strip('"')
    else:
        for kind, name in _ABSENT.findall(message):
            yield ObjectRef("v1", _KINDS[kind.lower()], pod.namespace, name), ""


def _from_controllers(view: ClusterView, gaps: _Gaps) -> None:
    """Pods that could not be created because their ServiceAccount does not exist."""
    for maker in view.of_kind("ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"):
        for event in view.events(maker.ref):
            found = _ABSENT.search(event.message) if event.reason == "FailedCreate" else None
            if found is None or found[1].lower() != "serviceaccount" or not current(view, event):
                continue
            target = ObjectRef("v1", "ServiceAccount", maker.namespace, found[2])
            if view.resolve(target) is not None:
                continue  # it was made since; the controller will notice
            gap = _gap(gaps, view.top_owner(maker), target)
            if not gap.told:
                gap.seen.insert(0, seen_event(event))
            gap.told = True


# -- what to say ---------------------------------------------------------------------------------------------------


def _finding(view: ClusterView, gap: _Gap) -> Finding:
    target, holder = gap.target, gap.holder
    there = view.resolve(target)
    code = _ROW[(target.kind, bool(gap.key) and target.kind != "ServiceAccount")]
    used = f" (used by {listing(gap.users[:4])})" if gap.users else ""
    evidence = gap.seen[:4]
    if gap.key:
        keys = _keys(there) if there is not None else []
        near = nearest(gap.key, keys, 1)
        hint = f"; the nearest is {near[0]}" if near else ""
        has = (
            f" It holds the keys {listing(near_or_all(gap.key, keys, 10), 'none')}{hint}." if there is not None else ""
        )
        what = f"{target.kind} {target.name} in namespace {target.namespace} has no key {gap.key}{used}.{has}"
        if there is not None:
            path = "keys" if target.kind == "Secret" else "data"
            evidence.append(seen_field(there, path, "keys: " + listing(near_or_all(gap.key, keys, 12))))
    else:
        names = [o.name for o in view.in_namespace(target.kind, target.namespace) if o.name not in _PUBLISHED]
        similar = near_or_all(target.name, names, 6)
        near_names = nearest(target.name, names, 1)
        what = f"{target.kind} {target.name} does not exist in namespace {target.namespace}{used}."
        what += f" The nearest name there is {near_names[0]}." if near_names else ""
        what += _elsewhere(view, target)
        if there is None and view.listed(target.kind, target.namespace):
            evidence.append(not_listed(view, target, similar))
    running = bool(view.pods_of(holder)) and all(is_ready(p) for p in view.pods_of(holder))
    calm = running and not gap.told
    effect = (
        "The running pods started before; they will not start again after a restart."
        if calm
        else f"Pods of {holder.kind} {holder.name} cannot start."
    )
    related = [target, *(p.ref for p in gap.pods[:20] if p.ref != holder.ref)]
    return finding(
        code, holder, f"{what} {effect}", evidence, related=related, target=target.name, key=gap.key,
        severity=Severity.WARNING if calm else None, what=_RESOURCE[target.kind],
    )  # fmt: skip


def _elsewhere(view: ClusterView, target: ObjectRef) -> str:
    others = [ns for ns in view.namespaces if ns != target.namespace and view.get(target.kind, ns, target.name)]
    return f" One of that name is in namespace {listing(others[:3])}; pods cannot use it from there." if others else ""


CODES: tuple[Code, ...] = (
    CONFIGMAP_MISSING, CONFIGMAP_KEY_MISSING, SECRET_MISSING, SECRET_KEY_MISSING, ACCOUNT_MISSING,
)  # fmt: skip
ANALYZERS: tuple[Analyzer, ...] = (missing_references,)
