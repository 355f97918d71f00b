"""Workloads that do not reach the pods they should have: stuck rollouts, missing replicas, blocked ordinals.

Most codes here are symptoms: what keeps the pods from being ready has its own code and explains them. A rollout that
is under way and younger than its deadline is nothing; neither is a workload scaled to zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from agents.analyzers.base import Analyzer, Code, Role, finding, seen_field
from agents.analyzers.fit import is_node_ready, matches_labels, untolerated
from agents.analyzers.nearness import likeness, listing
from agents.analyzers.pods import containers_of, crashing, unwell_pods
from agents.analyzers.probes import startup_allowance
from agents.cluster.objects import (
    K8sObject,
    flag,
    integer,
    mapping,
    mappings,
    moment,
    pod_template,
    string_map,
    text,
)
from agents.cluster.selectors import label_selector
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_D, _E, _C, _S = Domain.DEPLOYMENT, Severity.ERROR, Role.CAUSE, Role.SYMPTOM
_WATCH = "`kubectl -n {ns} rollout status {kind}/{name}`"

STUCK = Code(
    "rollout-stuck", _D, _E, _S, "The rollout does not get on",
    "See which pods hold it up: `kubectl -n {ns} get pods` and " + _WATCH + "\nGo back to what worked: `kubectl -n "
    "{ns} rollout undo {kind}/{name}`", 0.9,
)  # fmt: skip
MISSING = Code(
    "replicas-missing", _D, _E, _S, "There are fewer pods than there should be",
    "See why none is made: `kubectl -n {ns} describe {kind} {name}` and `kubectl -n {ns} get events "
    "--field-selector reason=FailedCreate`", 0.88,
)  # fmt: skip
NOT_READY = Code(
    "pods-not-ready", _D, _E, _S, "Fewer pods are ready than there should be",
    "See which are not, and why: `kubectl -n {ns} get pods` and `kubectl -n {ns} describe pod {pod}`", 0.85,
)  # fmt: skip
PAUSED = Code(
    "rollout-paused", _D, Severity.WARNING, _C, "The rollout is paused, so the change in the template does not go out",
    "If the pause is over: `kubectl -n {ns} rollout resume {kind}/{name}`", 0.93,
)  # fmt: skip
NO_ROOM = Code(
    "rollout-without-room", _D, _E, _C, "The rollout may neither add a pod nor remove one",
    "Allow one of the two: `kubectl -n {ns} patch {kind} {name} -p '{{\"spec\":{{\"strategy\":{{\"rollingUpdate\":"
    "{{\"maxSurge\":1}}}}}}}}'`", 0.93,
)  # fmt: skip
BLOCKED = Code(
    "statefulset-blocked-by-ordinal", _D, _E, _S, "An earlier pod of the StatefulSet is not ready, so later ones wait",
    "Mend pod {pod} first: `kubectl -n {ns} describe pod {pod}`\nA broken revision that never was ready has to be "
    "deleted after the template is corrected: `kubectl -n {ns} delete pod {pod}`", 0.88,
)  # fmt: skip
ON_DELETE = Code(
    "update-waits-for-deletion", _D, Severity.WARNING, _C, "The update waits until somebody deletes the old pods",
    "updateStrategy is OnDelete (or a partition holds pods back): delete pods one by one, `kubectl -n {ns} delete pod "
    "{pod}`, or set `updateStrategy.type: RollingUpdate` with partition 0.", 0.9,
)  # fmt: skip
DAEMON_MISSING = Code(
    "daemonset-pods-missing", _D, _E, _S, "The DaemonSet lacks pods on some of its nodes",
    "See where: `kubectl -n {ns} get pods -o wide` and `kubectl -n {ns} describe {kind} {name}`", 0.85,
)  # fmt: skip
DAEMON_NOWHERE = Code(
    "daemonset-not-on-nodes", _D, Severity.WARNING, _C, "The DaemonSet fits on no node, or not on all that it should",
    "Compare its `nodeSelector` and tolerations with the nodes: `kubectl get nodes --show-labels` and `kubectl -n {ns} "
    "edit {kind} {name}`", 0.82,
)  # fmt: skip
SELECTOR = Code(
    "workload-selector-mismatch", _D, _E, _C, "The selector of the workload does not match the labels of its own pods",
    "Make `spec.selector` and the template's labels equal (a Deployment's selector cannot be changed: delete and make "
    "it anew with `kubectl -n {ns} delete {kind} {name} --cascade=orphan`).", 0.95,
)  # fmt: skip
_GRACE = timedelta(minutes=3)


def _wanted(workload: K8sObject) -> int:
    replicas = integer(workload.spec, "replicas")
    return 1 if replicas is None else replicas


def _count(workload: K8sObject, field: str) -> int:
    return integer(workload.status, field) or 0


def _late_by_top(view: ClusterView) -> dict[tuple[str, str, str], list[K8sObject]]:
    found: dict[tuple[str, str, str], list[K8sObject]] = {}
    for pod in unwell_pods(view):
        if not _is_starting(view, pod):
            found.setdefault(view.top_owner(pod).ref.key, []).append(pod)
    return found


def _newest_is_young(view: ClusterView, workload: K8sObject) -> bool:
    """Whether a pod of this workload was made a moment ago: it is moving."""
    ages = [view.age(p.created) for p in view.pods_of(workload)]
    return any(a is not None and a < _GRACE for a in ages)


def _is_starting(view: ClusterView, pod: K8sObject) -> bool:
    """Whether a pod that is not ready yet is still within the time that its own probes give it to start."""
    age = view.age(pod.created)
    found = list(containers_of(pod))
    if age is None or any(crashing(view, c) for c in found):
        return False
    allowed = max((startup_allowance(c) for c in found), default=0.0)
    return age < max(_GRACE, timedelta(seconds=allowed))


def _refs(pods: Sequence[K8sObject]) -> list[ObjectRef]:
    return [p.ref for p in pods[:20]]


def _status(workload: K8sObject, *fields: str) -> Evidence:
    shown = {f: workload.status[f] for f in fields if f in workload.status}
    return seen_field(workload, "status", shown)


def deployments(view: ClusterView) -> Iterator[Finding]:
    """Deployments that are stuck, short of pods, paused or without room to move."""
    by_top = view.derived(_late_by_top)
    for deployment in view.of_kind("Deployment"):
        if deployment.deleting_since is not None or _wanted(deployment) == 0:
            continue
        if flag(deployment.spec, "paused") is True:
            yield from _paused(view, deployment)
        unwell = by_top.get(deployment.ref.key, [])
        progressing = deployment.condition("Progressing")
        if text(progressing, "reason") == "ProgressDeadlineExceeded":
            yield _stuck(deployment, unwell)
            yield from _without_room(deployment)
        elif _count(deployment, "replicas") < _wanted(deployment) and _settled(view, deployment):
            yield _missing(deployment)
        elif unwell and _count(deployment, "readyReplicas") < _wanted(deployment) and _settled(view, deployment):
            yield _not_ready(deployment, unwell)


def _settled(view: ClusterView, workload: K8sObject) -> bool:
    """Whether the workload has had time since its last change, and no rollout within its deadline is under way."""
    progressing = workload.condition("Progressing")
    if text(progressing, "reason") in ("ReplicaSetUpdated", "NewReplicaSetCreated", "FoundNewReplicaSet"):
        since = view.age(moment(progressing, "lastUpdateTime"))
        deadline = integer(workload.spec, "progressDeadlineSeconds") or 600
        if since is not None and since < timedelta(seconds=deadline):
            return False
    changes = [workload.created, moment(workload.condition("Progressing"), "lastUpdateTime")]
    changes += [moment(workload.condition("Available"), "lastTransitionTime")]
    newest = max((c for c in changes if c is not None), default=None)
    age = view.age(newest)
    return age is None or age >= _GRACE


def _stuck(deployment: K8sObject, unwell: list[K8sObject]) -> Finding:
    progressing = deployment.condition("Progressing")
    ready, updated = _count(deployment, "readyReplicas"), _count(deployment, "updatedReplicas")
    message = (
        f"The rollout of Deployment {deployment.name} is stuck (ProgressDeadlineExceeded): {updated} of "
        f"{_wanted(deployment)} pods are of the new revision, {ready} pods are ready."
    )
    shown = f"{text(progressing, 'reason')}: {text(progressing, 'message')}"
    evidence = [
        seen_field(deployment, "status.conditions[Progressing]", shown),
        _status(deployment, "replicas", "updatedReplicas", "readyReplicas", "unavailableReplicas"),
    ]
    return finding(STUCK, deployment, message, evidence, related=_refs(unwell))


def _without_room(deployment: K8sObject) -> Iterator[Finding]:
    rolling = mapping(deployment.spec, "strategy", "rollingUpdate")
    surge, away = text(rolling, "maxSurge"), text(rolling, "maxUnavailable")
    if _is_none(surge) and _is_none(away) and rolling:
        message = (
            f"Deployment {deployment.name} has maxSurge {surge} and maxUnavailable {away}: no pod may be replaced."
        )
        evidence = [seen_field(deployment, "spec.strategy.rollingUpdate", rolling)]
        yield finding(NO_ROOM, deployment, message, evidence)


def _is_none(amount: str) -> bool:
    return amount in ("0", "0%")


def _missing(workload: K8sObject) -> Finding:
    message = (
        f"{workload.kind} {workload.name} should have {_wanted(workload)} pods and has {_count(workload, 'replicas')}: "
        "the others are not created."
    )
    evidence = [
        seen_field(workload, "spec.replicas", _wanted(workload)),
        _status(workload, "replicas", "readyReplicas", "unavailableReplicas"),
    ]
    failure = workload.condition("ReplicaFailure")
    if failure:
        shown = f"{text(failure, 'reason')}: {text(failure, 'message')}"
        evidence.append(seen_field(workload, "status.conditions[ReplicaFailure]", shown))
    return finding(MISSING, workload, message, evidence)


def _not_ready(workload: K8sObject, unwell: list[K8sObject]) -> Finding:
    ready, wanted = _count(workload, "readyReplicas"), _wanted(workload)
    message = (
        f"{ready} of {wanted} pods of {workload.kind} {workload.name} are ready; not ready: "
        f"{listing(p.name for p in unwell[:4])}."
    )
    evidence = [_status(workload, "replicas", "readyReplicas", "availableReplicas", "unavailableReplicas")]
    for pod in unwell[:2]:
        condition = pod.condition("Ready")
        shown = f"{text(condition, 'reason')}: {text(condition, 'message')}"
        evidence.append(seen_field(pod, "status.conditions[Ready]", shown if condition else "not set"))
    return finding(NOT_READY, workload, message, evidence, related=_refs(unwell), pod=unwell[0].name)


def _paused(view: ClusterView, deployment: K8sObject) -> Iterator[Finding]:
    """Only a pause that holds a change back: the newest ReplicaSet is not what the template says."""
    waiting = _count(deployment, "updatedReplicas") < _wanted(deployment)
    message = (
        f"Deployment {deployment.name} is paused: {_count(deployment, 'updatedReplicas')} of {_wanted(deployment)} "
        "pods have the newest template; changes go out only when it is resumed."
    )
    evidence = [seen_field(deployment, "spec.paused", "true"), _status(deployment, "replicas", "updatedReplicas")]
    pods = [p for p in view.pods_of(deployment) if p.deleting_since is None]
    severity = Severity.ERROR if waiting else Severity.INFO  # whoever released a change expects it to go out
    yield finding(
        PAUSED, deployment, message, evidence, related=_refs(pods), severity=severity
    )  # fmt: skip


def stateful_sets(view: ClusterView) -> Iterator[Finding]:
    """StatefulSets whose pods wait for an earlier one, for a deletion, or are missing."""
    by_top = view.derived(_late_by_top)
    for workload in view.of_kind("StatefulSet"):
        wanted = _wanted(workload)
        if workload.deleting_since is not None or wanted == 0:
            continue
        unwell = sorted(by_top.get(workload.ref.key, []), key=_ordinal)
        ready = _count(workload, "readyReplicas")
        if ready < wanted and _settled(view, workload):
            ordered = text(workload.spec, "podManagementPolicy") != "Parallel"
            if (
                unwell
                and ordered
                and (_count(workload, "replicas") < wanted or _count(workload, "updatedReplicas") < wanted)
            ):
                yield _blocked(workload, unwell)
            elif unwell:
                yield _not_ready(workload, unwell)
            elif _count(workload, "replicas") < wanted and not _newest_is_young(view, workload):
                yield _missing(workload)
        elif not unwell and ready >= wanted:
            yield from _held_back(view, workload)


def _ordinal(pod: K8sObject) -> tuple[int, str]:
    tail = pod.name.rpartition("-")[2]
    return (int(tail) if tail.isdigit() else 0, pod.name)


def _blocked(workload: K8sObject, unwell: list[K8sObject]) -> Finding:
    pod = unwell[0]
    message = (
        f"StatefulSet {workload.name} has {_count(workload, 'replicas')} of {_wanted(workload)} pods "
        f"({_count(workload, 'updatedReplicas')} of the newest revision): pod {pod.name} is not ready, and the pods "
        "after it wait for it (OrderedReady)."
    )
    evidence = [
        _status(workload, "replicas", "readyReplicas", "updatedReplicas", "currentRevision", "updateRevision"),
        seen_field(pod, "status.phase", text(pod.status, "phase") or "Pending"),
    ]
    return finding(BLOCKED, workload, message, evidence, related=_refs(unwell), pod=pod.name)


def _held_back(view: ClusterView, workload: K8sObject) -> Iterator[Finding]:
    current, update = text(workload.status, "currentRevision"), text(workload.status, "updateRevision")
    if not current or not update or current == update:
        return
    strategy = mapping(workload.spec, "updateStrategy")
    partition = integer(strategy, "rollingUpdate", "partition") or 0
    old = [p for p in view.pods_of(workload) if p.labels.get("controller-revision-hash") == current]
    if not old or (text(strategy, "type") != "OnDelete" and partition == 0):
        return
    why = "updateStrategy is OnDelete" if text(strategy, "type") == "OnDelete" else f"partition is {partition}"
    message = (
        f"{len(old)} pods of {workload.kind} {workload.name} still run the revision {current} although {update} is the "
        f"newest: {why}."
    )
    evidence = [
        seen_field(workload, "spec.updateStrategy", strategy),
        _status(workload, "currentRevision", "updateRevision"),
    ]
    yield finding(ON_DELETE, workload, message, evidence, related=_refs(old), severity=Severity.INFO, pod=old[0].name)


def daemon_sets(view: ClusterView) -> Iterator[Finding]:
    """DaemonSets without a pod where one should be, or that fit on no node at all."""
    by_top = view.derived(_late_by_top)
    nodes = list(view.of_kind("Node"))
    for workload in view.of_kind("DaemonSet"):
        if workload.deleting_since is not None or not _settled(view, workload):
            continue
        desired, ready = _count(workload, "desiredNumberScheduled"), _count(workload, "numberReady")
        unwell = by_top.get(workload.ref.key, [])
        if ready < desired and (unwell or not _newest_is_young(view, workload)):
            yield _daemon_missing(workload, unwell, desired, ready)
        elif nodes and ready >= desired:
            yield from _daemon_nowhere(workload, nodes, desired)


def _daemon_missing(workload: K8sObject, unwell: list[K8sObject], desired: int, ready: int) -> Finding:
    current = _count(workload, "currentNumberScheduled")
    message = (
        f"DaemonSet {workload.name} should run on {desired} nodes; {current} pods exist and {ready} are ready."
        + (f" Not ready: {listing(p.name for p in unwell[:4])}." if unwell else "")
    )
    fields = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberUnavailable")
    return finding(DAEMON_MISSING, workload, message, [_status(workload, *fields)], related=_refs(unwell))


def _daemon_nowhere(workload: K8sObject, nodes: list[K8sObject], desired: int) -> Iterator[Finding]:
    """Selector that no node matches (warning); or ready worker nodes left out by a taint (info)."""
    spec = mapping(pod_template(workload), "spec")
    fitting = [n for n in nodes if matches_labels(spec, n)]
    if desired == 0 and not fitting:
        selector = mapping(spec, "nodeSelector") or mapping(spec, "affinity")
        message = f"DaemonSet {workload.name} runs nowhere: no node has the labels that it asks for."
        evidence = [
            seen_field(workload, "spec.template.spec.nodeSelector", selector),
            seen_field(nodes[-1], "metadata.labels", dict(nodes[-1].labels)),
        ]
        on_purpose = any(
            "non-existing" in k or "disabled" in k or "never" in k for k in string_map(spec, "nodeSelector")
        )
        severity = Severity.INFO if on_purpose else Severity.ERROR if _nearly_fits(spec, nodes) else None
        yield finding(DAEMON_NOWHERE, workload, message, evidence, severity=severity)
        return
    left_out = [n for n in fitting if is_node_ready(n) and untolerated(spec, n)]
    workers = [
        n for n in left_out if not any("node-role.kubernetes.io/" in text(t, "key") for t in mappings(n.spec, "taints"))
    ]
    if workers and desired < len(fitting):
        names = listing(n.name for n in workers[:5])
        message = f"DaemonSet {workload.name} has no pod on {names}: it does not tolerate the taints there."
        evidence = [seen_field(workers[0], "spec.taints", mappings(workers[0].spec, "taints")),
                    _status(workload, "desiredNumberScheduled")]  # fmt: skip
        yield finding(
            DAEMON_NOWHERE, workload, message, evidence, related=[n.ref for n in workers[:10]], severity=Severity.INFO
        )  # fmt: skip


def _nearly_fits(spec: Mapping[str, Any], nodes: list[K8sObject]) -> bool:
    """Whether nodes have every label key that the selector asks for, or nearly: then a slip, not a missing pool."""
    keys = {key for node in nodes for key in node.labels}
    wanted = string_map(spec, "nodeSelector")
    return bool(wanted) and all(key in keys or any(likeness(key, k) >= 0.8 for k in keys) for key in wanted)


def selectors(view: ClusterView) -> Iterator[Finding]:
    """Workloads whose selector does not match their own template (old API versions and operators allow it)."""
    for workload in view.of_kind("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        selector = label_selector(mapping(workload.spec, "selector"))
        labels = string_map(pod_template(workload), "metadata", "labels")
        if view.owner_of(workload) is not None or selector.empty or selector.matches(labels):
            continue
        message = (
            f"{workload.kind} {workload.name} selects {selector}, but its pods are labelled "
            f"{listing(f'{k}={v}' for k, v in labels.items())}."
        )
        evidence = [
            seen_field(workload, "spec.selector", mapping(workload.spec, "selector")),
            seen_field(workload, "spec.template.metadata.labels", dict(labels)),
        ]
        yield finding(SELECTOR, workload, message, evidence)


CODES: tuple[Code, ...] = (
    STUCK, MISSING, NOT_READY, PAUSED, NO_ROOM, BLOCKED, ON_DELETE, DAEMON_MISSING, DAEMON_NOWHERE, SELECTOR,
)  # fmt: skip
ANALYZERS: tuple[Analyzer, ...] = (deployments, stateful_sets, daemon_sets, selectors)
