"""Pods that are refused before they exist: quota, limit ranges, Pod Security, webhooks, missing classes.

Who makes the pods (a ReplicaSet, StatefulSet, DaemonSet or Job) tells it in FailedCreate events, a ReplicaSet also in
its ReplicaFailure condition, which stays when the events are gone. A refusal counts while the maker still has fewer
pods than it should.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agents.analyzers.base import Analyzer, Code, Role, finding, not_listed, seen_event, seen_field
from agents.analyzers.environment import served_by
from agents.analyzers.nearness import listing, near_or_all
from agents.analyzers.pods import current
from agents.cluster.objects import (
    WORKLOAD_KINDS,
    K8sObject,
    containers,
    integer,
    mapping,
    mappings,
    pod_spec,
    pod_spec_path,
    text,
)
from agents.cluster.view import ClusterView, EventRecord
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_D, _E, _C = Domain.DEPLOYMENT, Severity.ERROR, Role.CAUSE
_EDIT = "`kubectl -n {ns} edit {kind} {name}`"

QUOTA = Code(
    "quota-exceeded", _D, _E, _C, "The namespace's quota is used up, so pods are not created",
    "See what uses it: `kubectl -n {ns} describe resourcequota {name}` and `kubectl -n {ns} top pods`\n"
    "Free some (fewer replicas, smaller requests), or raise the quota: `kubectl -n {ns} edit resourcequota {name}`\n"
    "The controller tries again by itself.", 0.97,
)  # fmt: skip
QUOTA_NEEDS = Code(
    "quota-needs-requests", _D, _E, _C, "The namespace's quota demands requests or limits that the pods do not set",
    "Set them: `kubectl -n {ns} set resources {workload} --requests=cpu=SIZE,memory=SIZE --limits=cpu=SIZE,"
    "memory=SIZE`\nor give the namespace defaults with a LimitRange.", 0.96,
)  # fmt: skip
LIMIT_RANGE = Code(
    "limit-range-violated", _D, _E, _C, "The pods ask for more or less than the namespace's LimitRange allows",
    "See the limits: `kubectl -n {ns} describe limitrange`\nBring the pod template inside them: " + _EDIT, 0.96,
)  # fmt: skip
POD_SECURITY = Code(
    "pod-security-rejected", Domain.SECURITY, _E, _C, "Pod Security admission refuses the pods",
    "See the level of the namespace: `kubectl get namespace {ns} --show-labels`\nTake what it forbids out of the pod "
    "template: " + _EDIT + "\nOnly where the workload truly needs it (a node agent): give it a namespace of its own "
    "with `pod-security.kubernetes.io/enforce=privileged`.", 0.97,
)  # fmt: skip
WEBHOOK_DENIED = Code(
    "webhook-denied", Domain.SECURITY, _E, _C, "An admission webhook or policy refuses the pods",
    "Read what it demands (above), and bring the pod template in line: " + _EDIT + "\nSee who it is: `kubectl get "
    "validatingwebhookconfigurations,mutatingwebhookconfigurations`", 0.93,
)  # fmt: skip
WEBHOOK_DOWN = Code(
    "webhook-unavailable", _D, _E, Role.SYMPTOM, "An admission webhook does not answer, so the pods are refused",
    "Check what serves it: `kubectl -n {service_ns} get pods,endpointslices`\nIf it cannot be mended at once and is "
    "not needed for safety, let it be skipped: set `failurePolicy: Ignore` in `kubectl edit {hook}`", 0.92,
)  # fmt: skip
PRIORITY_CLASS = Code(
    "priority-class-missing", _D, _E, _C, "The PriorityClass that the pods name does not exist",
    "See which there are: `kubectl get priorityclasses`\nCorrect `priorityClassName`: " + _EDIT, 0.97,
)  # fmt: skip
RUNTIME_CLASS = Code(
    "runtime-class-missing", _D, _E, _C, "The RuntimeClass that the pods name does not exist",
    "See which there are: `kubectl get runtimeclasses`\nCorrect `runtimeClassName`: " + _EDIT, 0.97,
)  # fmt: skip
CREATE_REFUSED = Code(
    "pod-creation-refused", _D, _E, _C, "The API server refuses to create the pods",
    "Read why: `kubectl -n {ns} get events --field-selector reason=FailedCreate`\nCorrect the pod template: " + _EDIT,
    0.85,
)  # fmt: skip

_QUOTA = re.compile(r"exceeded quota: ([^,\s]+), requested: (.*?), used: (.*?), limited: ([^\n]*)")
_QUOTA_NEEDS = re.compile(r"failed quota: ([^:\s]+): must specify ([^\n]*)")
_LIMIT_RANGE = re.compile(
    r"((?:minimum|maximum) \S+ usage per (?:Container|Pod|PersistentVolumeClaim) is [^\n]*|"
    r"\S+ max limit to request ratio per \w+ is [^\n]*)"
)
_POD_SECURITY = re.compile(r"violates PodSecurity \"([^\"]+)\": ([^\n]*)")
_DENIED = re.compile(r"admission webhook \"([^\"]+)\" denied the request:?\s*(.*)", re.DOTALL)
_POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']+)'.*denied request: (.*)", re.DOTALL)
_DOWN = re.compile(r"failed calling webhook \"([^\"]+)\":?\s*(.*)", re.DOTALL)
_HOOK_SERVICE = re.compile(r"https?://([a-z0-9-]+)\.([a-z0-9-]+)\.svc")
_SERVICE_ACCOUNT = re.compile(r"serviceaccount \"[^\"]+\" not found|error looking up service account", re.IGNORECASE)
_NO_PRIORITY = re.compile(r"no PriorityClass with name (\S+) was found")
_NO_RUNTIME = re.compile(r"RuntimeClass \"?([^\"\s]+)\"? not found|pod rejected: RuntimeClass \"?([^\"\s]+)\"?")
_REFUSED = re.compile(r"is forbidden|is invalid|admission|denied|failed calling webhook")
_MAKERS = ("ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController")
_CONFIGURATIONS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What the API server answered to the maker of some pods, and where it was seen."""

    maker: K8sObject
    top: K8sObject
    said: str
    seen: Evidence


def refused_pods(view: ClusterView) -> Iterator[Finding]:
    """Workloads whose pods the API server does not let in."""
    told: set[tuple[object, ...]] = set()
    for maker in view.of_kind(*_MAKERS):
        refusal = _refusal(view, maker)
        found = _judge(view, refusal) if refusal is not None else None
        if refusal is not None and found is not None:
            key = (found.code, found.object.key, refusal.top.ref.key)
            if key not in told:
                told.add(key)
                yield found


def _refusal(view: ClusterView, maker: K8sObject) -> _Refusal | None:
    if not _short_of_pods(view, maker):
        return None
    top = view.top_owner(maker)
    condition = maker.condition("ReplicaFailure")
    event = next(_creates(view, maker), None)
    if condition.get("status") == "True" and _REFUSED.search(text(condition, "message")):
        said = text(condition, "message")
        shown = f"{text(condition, 'reason')}: {said}"
        seen = seen_event(event) if event else seen_field(maker, "status.conditions[ReplicaFailure]", shown)
        return _Refusal(maker, top, said, seen)
    return _Refusal(maker, top, event.message, seen_event(event)) if event is not None else None


def _creates(view: ClusterView, maker: K8sObject) -> Iterator[EventRecord]:
    for event in view.events(maker.ref):
        if event.reason in ("FailedCreate", "FailedDaemonPod") and event.warning and current(view, event):
            yield event


def _short_of_pods(view: ClusterView, maker: K8sObject) -> bool:
    """Whether the maker still has fewer pods than it should, so that the refusal is not history."""
    match maker.kind:
        case "DaemonSet":
            wanted = integer(maker.status, "desiredNumberScheduled")
            have = integer(maker.status, "currentNumberScheduled")
        case "Job":
            over = any(maker.condition(c).get("status") == "True" for c in ("Complete", "Failed"))
            return not over and not view.pods_of(maker)
        case _:
            replicas = integer(maker.spec, "replicas")
            wanted, have = 1 if replicas is None else replicas, integer(maker.status, "replicas")
    return (wanted or 0) > (have or 0)


def _judge(view: ClusterView, refusal: _Refusal) -> Finding | None:
    said, namespace = refusal.said, refusal.maker.namespace
    if found := _QUOTA.search(said):
        return _quota(view, refusal, found)
    if found := _QUOTA_NEEDS.search(said):
        why = f"quota {found[1]} demands that every container sets {found[2].strip()}"
        return _on_workload(
            refusal, QUOTA_NEEDS, why, _resources(refusal), [ObjectRef("v1", "ResourceQuota", namespace, found[1])]
        )
    if found := _POD_SECURITY.search(said):
        return _pod_security(view, refusal, found)
    if found := _DENIED.search(said) or _POLICY.search(said):
        why = f"{found[1]} denied them: {found[2].strip()[:400]}"
        return _on_workload(refusal, WEBHOOK_DENIED, why, [], [c.ref for c in _hooks(view, found[1])])
    if found := _DOWN.search(said):
        return _webhook_down(view, refusal, found[1], found[2])
    if found := _LIMIT_RANGE.search(said):
        ranges = view.in_namespace("LimitRange", namespace)
        more = [seen_field(r, "spec.limits", mappings(r.spec, "limits")) for r in ranges[:1]]
        evidence = [*_resources(refusal), *more]
        return _on_workload(refusal, LIMIT_RANGE, found[1].strip(), evidence, [r.ref for r in ranges])
    if found := _NO_PRIORITY.search(said):
        return _class_missing(view, refusal.top, "PriorityClass", found[1], refusal.seen)
    if found := _NO_RUNTIME.search(said):
        return _class_missing(view, refusal.top, "RuntimeClass", found[1] or found[2], refusal.seen)
    if _SERVICE_ACCOUNT.search(said) or not _REFUSED.search(said):
        return None  # a missing ServiceAccount is told by config_references
    return _on_workload(refusal, CREATE_REFUSED, said.partition(": ")[2][:400] or said[:400], [], [])


def _who(refusal: _Refusal) -> str:
    return f"Pods of {refusal.top.kind} {refusal.top.name} are not created"


def _on_workload(
    refusal: _Refusal, code: Code, why: str, more: list[Evidence], related: list[ObjectRef], **facts: Any
) -> Finding:
    workload = f"{refusal.top.kind.lower()}/{refusal.top.name}"
    return finding(
        code, refusal.top, f"{_who(refusal)}: {why}.", [refusal.seen, *more][:5],
        related=[*related, refusal.maker.ref], workload=workload, **facts,
    )  # fmt: skip


def _resources(refusal: _Refusal) -> list[Evidence]:
    """What the containers of the workload ask for."""
    holder = refusal.top if pod_spec(refusal.top) else refusal.maker
    base = pod_spec_path(holder.kind)
    return [
        seen_field(holder, f"{base}.{path}.resources", mapping(c, "resources") or "{}")
        for path, c in containers(pod_spec(holder))
    ][:2]


def _quota(view: ClusterView, refusal: _Refusal, found: re.Match[str]) -> Finding:
    name, requested, used, limited = (found[n].strip() for n in (1, 2, 3, 4))
    namespace = refusal.maker.namespace
    quota = view.get("ResourceQuota", namespace, name)
    wanted, have = integer(refusal.top.spec, "replicas"), integer(refusal.maker.status, "replicas")
    counts = f" ({have or 0} of {wanted} pods exist)" if wanted and refusal.maker.kind != "DaemonSet" else ""
    message = (
        f"{_who(refusal)}{counts}: quota {name} of namespace {namespace} is exceeded. A pod requests {requested}; used "
        f"are {used} of {limited}."
    )
    evidence = [refusal.seen]
    if quota is not None:
        evidence.append(seen_field(quota, "spec.hard", mapping(quota.spec, "hard")))
        evidence.append(seen_field(quota, "status.used", mapping(quota.status, "used")))
    evidence += _resources(refusal)[:1]
    target = quota.ref if quota is not None else ObjectRef("v1", "ResourceQuota", namespace, name)
    return finding(QUOTA, target, message, evidence, related=[refusal.top.ref, refusal.maker.ref])


def _pod_security(view: ClusterView, refusal: _Refusal, found: re.Match[str]) -> Finding:
    namespace = view.get("Namespace", "", refusal.maker.namespace)
    more = []
    if namespace is not None:
        labels = {k: v for k, v in namespace.labels.items() if k.startswith("pod-security.kubernetes.io/")}
        more.append(seen_field(namespace, "metadata.labels", labels))
    holder = refusal.top if pod_spec(refusal.top) else refusal.maker
    for path, container in containers(pod_spec(holder)):
        context = mapping(container, "securityContext")
        if context:
            more.append(seen_field(holder, f"{pod_spec_path(holder.kind)}.{path}.securityContext", context))
    where = f"namespace {refusal.maker.namespace} enforces Pod Security level {found[1]}"
    why = f"{where}, and the pods violate it: {found[2].strip().rstrip('.')}"
    related = [ObjectRef("v1", "Namespace", "", refusal.maker.namespace)]
    return _on_workload(refusal, POD_SECURITY, why, more[:3], related)


def _hooks(view: ClusterView, name: str) -> list[K8sObject]:
    """The webhook configurations that hold a webhook of this name."""
    return [
        c for c in view.of_kind(*_CONFIGURATIONS) if any(text(h, "name") == name for h in mappings(c.raw, "webhooks"))
    ]


def _webhook_down(view: ClusterView, refusal: _Refusal, name: str, why: str) -> Finding:
    """The workload is what it shows on; the configuration, its Service and what is behind it are related."""
    config = next(iter(_hooks(view, name)), None)
    evidence, related = [refusal.seen], [refusal.maker.ref]
    service: ObjectRef | None = None
    if config is not None:
        hook = next(h for h in mappings(config.raw, "webhooks") if text(h, "name") == name)
        client = mapping(hook, "clientConfig", "service")
        evidence.append(seen_field(config, f"webhooks[{name}].clientConfig.service", client))
        evidence.append(seen_field(config, f"webhooks[{name}].failurePolicy", text(hook, "failurePolicy") or "Fail"))
        related.append(config.ref)
        service = ObjectRef("v1", "Service", text(client, "namespace"), text(client, "name"))
    elif found := _HOOK_SERVICE.search(why):
        service = ObjectRef("v1", "Service", found[2], found[1])
    note = ""
    if service is not None and service.name:
        there = view.resolve(service)
        related += served_by(view, there) if there is not None else [service]
        note = f" Its Service is {service.namespace}/{service.name}."
    message = f"{_who(refusal)}: admission webhook {name} does not answer ({why.strip()[:250]}).{note}"
    hook_name = f"{config.kind.lower()}/{config.name}" if config is not None else "validatingwebhookconfiguration/NAME"
    return finding(
        WEBHOOK_DOWN, refusal.top, message, evidence, related=related, hook=hook_name,
        service_ns=service.namespace if service else "NAMESPACE",
    )  # fmt: skip


_CLASSES = {"PriorityClass": (PRIORITY_CLASS, "priorityClassName"), "RuntimeClass": (RUNTIME_CLASS, "runtimeClassName")}


def _class_missing(
    view: ClusterView, workload: K8sObject, kind: str, name: str, seen: Evidence | None = None
) -> Finding:
    code, field = _CLASSES[kind]
    names = [o.name for o in view.of_kind(kind)]
    evidence = [seen] if seen is not None else []
    evidence.append(seen_field(workload, f"{pod_spec_path(workload.kind)}.{field}", name))
    target = ObjectRef("", kind, "", name)
    listed = view.listed(kind)
    if listed:
        evidence.append(not_listed(view, target, near_or_all(name, names)))
    has = f" There are: {listing(near_or_all(name, names), 'none')}." if listed else ""
    message = f"{workload.kind} {workload.name} names the {kind} {name}, which does not exist.{has}"
    stopped = seen is not None or not view.pods_of(workload)
    return finding(
        code, workload, message, evidence, related=[target], severity=None if stopped else Severity.WARNING
    )  # fmt: skip


def missing_classes(view: ClusterView) -> Iterator[Finding]:
    """Workloads that name a PriorityClass or RuntimeClass that does not exist (the built-in ones always do)."""
    for kind, (_, field) in _CLASSES.items():
        if not view.listed(kind):
            continue
        for workload in view.of_kind(*WORKLOAD_KINDS):
            name = text(pod_spec(workload), field)
            if not name or name.startswith("system-") or view.get(kind, "", name) is not None:
                continue
            if (
                view.owner_of(workload) is None
                and integer(workload.spec, "replicas") != 0
                and not _told(view, workload)
            ):
                yield _class_missing(view, workload, kind, name)


def _told(view: ClusterView, workload: K8sObject) -> bool:
    """Whether the refusal itself was seen, so that `refused_pods` tells it."""
    events = (e for maker in (workload, *view.owned_by(workload)) for e in _creates(view, maker))
    return any(_NO_PRIORITY.search(e.message) or _NO_RUNTIME.search(e.message) for e in events)


CODES: tuple[Code, ...] = (
    QUOTA, QUOTA_NEEDS, LIMIT_RANGE, POD_SECURITY, WEBHOOK_DENIED, WEBHOOK_DOWN, PRIORITY_CLASS, RUNTIME_CLASS,
    CREATE_REFUSED,
)  # fmt: skip
ANALYZERS: tuple[Analyzer, ...] = (refused_pods, missing_classes)
