"""Scheduled pods whose sandbox or volumes cannot be made ready: what the kubelet says before any container exists.

Causes of a volume that a claim, a volume or a driver explains are told by the storage checks; what is here names the
symptom, or a fault of the pod's own spec.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from agents.analyzers.base import Analyzer, Code, Role, finding, seen_event, seen_field
from agents.analyzers.nearness import listing
from agents.analyzers.pods import (
    Case,
    containers_of,
    events_of,
    is_scheduled,
    per_workload,
    unwell_pods,
)
from agents.cluster.objects import K8sObject, mapping, mappings, text
from agents.cluster.view import ClusterView, EventRecord
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_E, _C, _S = Severity.ERROR, Role.CAUSE, Role.SYMPTOM
_EDIT = "`kubectl -n {ns} edit {kind} {name}`"
_DESCRIBE = "Read what the kubelet says: `kubectl -n {ns} describe pod {pod}`"

MOUNT_FAILED = Code(
    "volume-mount-failed", Domain.STORAGE, _E, _S, "A volume of the pod cannot be mounted",
    _DESCRIBE + "\nand look at the claims: `kubectl -n {ns} get pvc,events --sort-by=.lastTimestamp`", 0.85,
)  # fmt: skip
HOST_PATH = Code(
    "host-path-wrong", Domain.STORAGE, _E, _C, "A hostPath volume is not there on the node, or is of another type",
    "Look on the node: `kubectl debug node/{node} -it --image=busybox -- ls -ld /host{path}`\n"
    "Correct `hostPath.path` or `hostPath.type`: " + _EDIT, 0.94,
)  # fmt: skip
SANDBOX_FAILED = Code(
    "sandbox-failed", Domain.NETWORKING, _E, _C, "The pod's sandbox (its network) cannot be set up on the node",
    _DESCRIBE + "\nLook at the network plugin's pod on node {node}: `kubectl -n kube-system get pods -o wide "
    "--field-selector spec.nodeName={node}`", 0.85,
)  # fmt: skip
NO_ADDRESS = Code(
    "pod-addresses-exhausted", Domain.NETWORKING, _E, _C, "The network plugin has no address left for the pod",
    "Count the pods of node {node}: `kubectl get pods -A -o wide --field-selector spec.nodeName={node}`\n"
    "Free addresses (finished pods, leaked ones in the plugin's store), or widen the pod range of the node.", 0.92,
)  # fmt: skip
NOT_STARTING = Code(
    "pod-not-starting", Domain.TROUBLESHOOTING, _E, _S, "The pod is on a node and its containers are not created",
    _DESCRIBE + "\nand on node {node}: `journalctl -u kubelet --since -15min`", 0.7,
)  # fmt: skip

_PATIENCE = timedelta(minutes=5)
_ADDRESSES = re.compile(
    r"no (?:available )?IP addresses|no available IPs?|failed to assign an IP|failed to allocate for range|"
    r"IP address(?:es)? (?:exhausted|pool)|no addresses available|range is full",
    re.IGNORECASE,
)
_HOST_PATH = re.compile(r"hostPath type check failed: (\S+) is not (?:an? )?(.+)", re.IGNORECASE)
_TOLD_ELSEWHERE = re.compile(
    r"(?:configmap|secret)s? \"[^\"]+\" not found|references non-existent|Multi-Attach|not registered", re.IGNORECASE
)


def sandboxes(view: ClusterView) -> Iterator[Finding]:
    """Pods whose sandbox could not be made; the node is the object when it happens to several workloads there."""
    hits = [(pod, "", event) for pod, event in _stuck(view, "FailedCreatePodSandBox", "FailedCreatePodContainer")]
    by_node: dict[str, set[tuple[str, str, str]]] = {}
    for pod, _, _ in hits:
        by_node.setdefault(text(pod.spec, "nodeName"), set()).add(view.top_owner(pod).ref.key)
    shared = {name for name, tops in by_node.items() if len(tops) > 1}
    told: set[str] = set()
    for case in per_workload(view, hits):
        name = text(case.pod.spec, "nodeName")
        node = view.get("Node", "", name) if name in shared else None
        if node is not None and name in told:
            continue
        told.add(name)
        code = NO_ADDRESS if _ADDRESSES.search(case.fact.message) else SANDBOX_FAILED
        hurt = [p for p, _, _ in hits if text(p.spec, "nodeName") == name] if node else list(case.pods)
        who = f"{len(hurt)} pods on node {name}" if node else f"{case.count} on node {name}"
        message = f"The sandbox of {who} cannot be made: {case.fact.message.strip()[-300:]}"
        related = [*(p.ref for p in hurt[:20]), *(view.top_owner(p).ref for p in hurt[:20])]
        if node is None and name:
            related.append(ObjectRef("v1", "Node", "", name))
        yield finding(
            code, node or case.workload, message, [seen_event(case.fact)], related=related, pod=case.pod.name, node=name
        )  # fmt: skip


def _stuck(view: ClusterView, *reasons: str) -> Iterator[tuple[K8sObject, EventRecord]]:
    """(pod, newest event) of pods on a node that have no running container yet, with an event of these reasons."""
    for pod in unwell_pods(view):
        if not is_scheduled(pod) or text(pod.status, "phase") not in ("Pending", ""):
            continue
        if any(c.running or c.ended for c in containers_of(pod)):
            continue
        event = next(events_of(view, pod.ref, *reasons), None)
        if event is not None:
            yield pod, event


def mounts(view: ClusterView) -> Iterator[Finding]:
    """Pods that wait for a volume."""
    rows: list[tuple[K8sObject, str, EventRecord]] = []
    for pod, newest in _stuck(view, "FailedMount", "FailedAttachVolume", "FailedMapVolume"):
        told = list(events_of(view, pod.ref, "FailedMount", "FailedAttachVolume", "FailedMapVolume"))
        # "timed out waiting" repeats that a volume is missing; the other message says why
        telling = next((e for e in told if "unmounted volumes" not in e.message), newest)
        if not any(_TOLD_ELSEWHERE.search(e.message) for e in told):
            rows.append((pod, "", telling))
    for case in per_workload(view, rows):
        yield _mount_finding(view, case)


def _mount_finding(view: ClusterView, case: Case[EventRecord]) -> Finding:
    event, pod = case.fact, case.pod
    evidence: list[Evidence] = [seen_event(event)]
    wrong = _HOST_PATH.search(event.message)
    node = text(pod.spec, "nodeName")
    if wrong:
        for index, volume in enumerate(mappings(pod.spec, "volumes")):
            if text(volume, "hostPath", "path") == wrong[1]:
                evidence.append(seen_field(pod, f"spec.volumes[{index}].hostPath", mapping(volume, "hostPath")))
        message = (
            f"{case.count[0].upper()}{case.count[1:]} cannot start on node {node}: hostPath {wrong[1]} is not "
            f"{wrong[2].strip()} there."
        )
        return finding(
            HOST_PATH, case.workload, message, evidence, related=case.related, node=node, path=wrong[1]
        )  # fmt: skip
    claims = [r.target for r in view.references(pod) if r.role == "volume" and r.target.kind == "PersistentVolumeClaim"]
    volume_names = {text(c.spec, "volumeName") for c in map(view.resolve, claims) if c is not None} - {""}
    related = [*case.related, *claims, *(ObjectRef("v1", "PersistentVolume", "", n) for n in sorted(volume_names))]
    about = f" (claims: {listing(c.name for c in claims[:3])})" if claims else ""
    message = (
        f"{case.count[0].upper()}{case.count[1:]} waits for a volume on node {node}{about}: "
        f"{event.message.strip()[:300]}"
    )
    return finding(MOUNT_FAILED, case.workload, message, evidence, related=related, pod=pod.name)


def silent_starts(view: ClusterView) -> Iterator[Finding]:
    """Pods on a node whose containers are not created, without a word of why."""
    rows = []
    for pod in unwell_pods(view):
        age = view.age(pod.created)
        if age is None or age < _PATIENCE or not is_scheduled(pod) or text(pod.status, "phase") != "Pending":
            continue
        found = list(containers_of(pod))
        idle = all(c.waiting in ("", "ContainerCreating", "PodInitializing") and not c.running for c in found)
        spoken = any(e.warning or e.reason == "Pulling" for e in events_of(view, pod.ref))  # a large image takes long
        if idle and not spoken and not any(c.ended for c in found):
            rows.append((pod, "", int(age.total_seconds() // 60)))
    for case in per_workload(view, rows):
        node = text(case.pod.spec, "nodeName")
        message = (
            f"{case.count[0].upper()}{case.count[1:]} is on node {node} for {case.fact} minutes and its containers are "
            "not created; there is no event that says why."
        )
        evidence = [seen_field(case.pod, "status.phase", "Pending"), seen_field(case.pod, "spec.nodeName", node)]
        related = [*case.related, ObjectRef("v1", "Node", "", node)]
        yield finding(
            NOT_STARTING, case.workload, message, evidence, related=related, pod=case.pod.name, node=node
        )  # fmt: skip


CODES: tuple[Code, ...] = (MOUNT_FAILED, HOST_PATH, SANDBOX_FAILED, NO_ADDRESS, NOT_STARTING)
ANALYZERS: tuple[Analyzer, ...] = (sandboxes, mounts, silent_starts)
