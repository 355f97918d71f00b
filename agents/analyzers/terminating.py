"""Pods that are being deleted and do not go away: a finalizer, a silent node, or a process that cannot be killed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from agents.analyzers.base import Analyzer, Code, Role, finding, seen_event, seen_field
from agents.analyzers.nearness import listing
from agents.analyzers.pods import events_of
from agents.cluster.objects import strings, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

TERMINATING = Code(
    "pod-stuck-terminating", Domain.TROUBLESHOOTING, Severity.ERROR, Role.SYMPTOM,
    "A pod that is deleted does not go away",
    "See what holds it: `kubectl -n {ns} get pod {pod} -o jsonpath='{{.metadata.finalizers}} {{.spec.nodeName}}'`\nIf "
    "its node is gone for good: `kubectl -n {ns} delete pod {pod} --force --grace-period=0` (not for a StatefulSet's "
    "pod whose node may still run).", 0.85,
)  # fmt: skip


_TERMINATION = timedelta(minutes=5)


def terminating_pods(view: ClusterView) -> Iterator[Finding]:
    """Pods whose deletion should be over for minutes."""
    for pod in view.of_kind("Pod"):
        if pod.deleting_since is None:
            continue
        late = view.age(pod.deleting_since)  # the deletion timestamp already includes the grace period
        if late is None or late < _TERMINATION:
            continue
        finalizers = strings(pod.metadata, "finalizers")
        node = text(pod.spec, "nodeName")
        why = f"finalizers {listing(finalizers)} are not removed" if finalizers else f"node {node} does not confirm it"
        message = f"Pod {pod.name} should be gone for {int(late.total_seconds() // 60)} minutes: {why}."
        evidence: list[Evidence] = [
            seen_field(pod, "metadata.deletionTimestamp", str(pod.metadata["deletionTimestamp"]))
        ]
        evidence.append(seen_field(pod, "metadata.finalizers", finalizers) if finalizers
                        else seen_field(pod, "spec.nodeName", node))  # fmt: skip
        evidence += [seen_event(e) for e in list(events_of(view, pod.ref, "FailedKillPod", "KillPodSandboxError"))[:1]]
        related: list[ObjectRef] = [view.top_owner(pod).ref, *([ObjectRef("v1", "Node", "", node)] if node else [])]
        yield finding(TERMINATING, pod, message, evidence, related=related, pod=pod.name)


CODES: tuple[Code, ...] = (TERMINATING,)
ANALYZERS: tuple[Analyzer, ...] = (terminating_pods,)
