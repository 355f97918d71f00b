"""Volumes that one node only can have, wanted on a second one: rollouts that wait for themselves, dead nodes.

The attach controller's own words are taken where they are still there (it speaks once, and events last an hour); else
the attachment on the one node and the waiting pod on the other tell the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agents.analyzers.base import Analyzer, Code, Role, finding, seen_event, seen_field
from agents.analyzers.pods import Case, containers_of, events_of, per_workload, unwell_pods
from agents.analyzers.remedies import Composed, word
from agents.cluster.objects import K8sObject, integer, mappings, pod_spec, strings, text
from agents.cluster.view import ClusterView, EventRecord
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_S, _E, _C = Domain.STORAGE, Severity.ERROR, Role.CAUSE
MULTI_ATTACH = Code(
    "volume-multi-attach", _S, _E, _C, "A volume for one node is wanted on a second one",
    "{advice}\n`kubectl -n {ns} get pods -o wide`\n`kubectl get volumeattachments | grep {volume}`", 0.96,
)  # fmt: skip
HELD_BY_NODE = Code(
    "volume-held-by-unready-node", _S, _E, Role.SYMPTOM, "A volume stays attached to a node that is not ready",
    "{advice}\n`kubectl get nodes`\n`kubectl get volumeattachments | grep {volume}`", 0.95,
)  # fmt: skip
VOLUME_NAME = re.compile(r'volume "([^"\s]+)"')


@dataclass(frozen=True, slots=True)
class Heard:
    """What the kubelet or the attach controller said about a pod's volume."""

    event: EventRecord | None
    volume: str
    message: str


def claims_of(view: ClusterView, pod: K8sObject) -> list[K8sObject]:
    found = (view.resolve(r.target) for r in view.references(pod) if r.target.kind == "PersistentVolumeClaim")
    return [c for c in found if c is not None]


def claim_of(view: ClusterView, pod: K8sObject, volume: str) -> K8sObject | None:
    """The claim that is bound to a volume (by the volume's, or the pod volume's, name); the only claim of the pod."""
    claims = claims_of(view, pod)
    for claim in claims:
        if volume and volume == text(claim.spec, "volumeName"):
            return claim
    for entry in mappings(pod_spec(pod), "volumes"):
        if volume and text(entry, "name") == volume:
            name = text(entry, "persistentVolumeClaim", "claimName")
            return next((c for c in claims if c.name == name), None)
    return claims[0] if len(claims) == 1 else None


def multi_attach(view: ClusterView) -> Iterator[Finding]:
    """Pods that wait for a volume which another node holds."""
    hits = []
    for pod in unwell_pods(view):
        for event in events_of(view, pod.ref, "FailedAttachVolume", "FailedMount"):
            if "Multi-Attach" in event.message or "already exclusively attached" in event.message:
                found = VOLUME_NAME.search(event.message)
                name = found[1] if found else ""
                hits.append((pod, name, Heard(event, name, event.message)))
                break
        else:
            name = _held_elsewhere(view, pod)
            if name:
                hits.append((pod, name, Heard(None, name, "")))
    for case in per_workload(view, hits):
        yield _multi_attach_finding(view, case)


def _held_elsewhere(view: ClusterView, pod: K8sObject) -> str:
    """The ReadWriteOnce volume that a pod waits for while a pod on another node has it: the attach controller says so
    once only, and the event is forgotten after an hour."""
    here = text(pod.spec, "nodeName")
    if not here or any(c.waiting not in ("ContainerCreating", "PodInitializing") for c in containers_of(pod)):
        return ""
    for claim in claims_of(view, pod):
        modes = strings(claim.spec, "accessModes")
        volume = text(claim.spec, "volumeName")
        if not volume or set(modes) - {"ReadWriteOnce", "ReadWriteOncePod"}:
            continue
        nodes = [text(a.spec, "nodeName") for a in view.derived(_attachments).get(volume, ())]
        if nodes and here not in nodes and _holder(view, pod, claim, "") is not None:
            return volume
    return ""


def _attachments(view: ClusterView) -> Mapping[str, tuple[K8sObject, ...]]:
    index: dict[str, list[K8sObject]] = {}
    for attachment in view.of_kind("VolumeAttachment"):
        index.setdefault(text(attachment.spec, "source", "persistentVolumeName"), []).append(attachment)
    return {name: tuple(found) for name, found in index.items()}


def _multi_attach_finding(view: ClusterView, case: Case[Heard]) -> Finding:
    workload, pod, heard = case.workload, case.pod, case.fact
    claim = claim_of(view, pod, heard.volume)
    volume = heard.volume or (text(claim.spec, "volumeName") if claim is not None else "")
    attached = view.derived(_attachments).get(volume, ())
    here = text(pod.spec, "nodeName")
    held = next((a for a in attached if text(a.spec, "nodeName") != here), None)
    holder = _holder(view, pod, claim, heard.message)
    there = text(held.spec, "nodeName") if held is not None else text(holder.spec, "nodeName") if holder else ""
    strategy = text(workload.spec, "strategy", "type") or ("RollingUpdate" if workload.kind == "Deployment" else "")
    modes = strings(claim.spec, "accessModes") if claim is not None else []
    replicas = integer(workload.spec, "replicas") or 1
    evidence: list[Evidence] = [seen_event(heard.event)] if heard.event is not None else []
    if claim is not None:
        evidence.append(seen_field(claim, "spec.accessModes", ", ".join(modes)))
    if held is not None:
        evidence.append(seen_field(held, "spec.nodeName", f"{there} (attached: {held.status.get('attached')})"))
    if strategy and workload.kind == "Deployment":
        evidence.append(seen_field(workload, "spec.strategy.type", strategy))
    evidence.append(seen_field(pod, "spec.nodeName", here))
    node = view.get("Node", "", there)
    dead = node is not None and node.condition("Ready").get("status") in ("False", "Unknown")
    why, advice = _advice(workload, strategy, replicas, holder, dead, there)
    name = claim.name if claim is not None else volume
    mode = f" ({', '.join(modes)})" if modes else ""
    by = f", used by pod {holder.name}" if holder is not None else ""
    related: list[ObjectRef] = [*case.related]
    for found in (claim, held, holder, view.get("PersistentVolume", "", volume), node):
        if found is not None:
            related.append(found.ref)
    return finding(
        HELD_BY_NODE if dead else MULTI_ATTACH,
        workload,
        f"Multi-Attach error: {case.count} of {workload.kind} {workload.name} on node {here or 'unknown'} waits for "
        f"claim "
        f"{name}{mode}, which is attached to node {there or 'another one'}{by}. {why}",
        evidence[:5],
        related=related,
        volume=volume or name,
        advice=Composed(advice),
    )


def _holder(view: ClusterView, pod: K8sObject, claim: K8sObject | None, message: str) -> K8sObject | None:
    """The pod that has the volume: the one the message names, else another one of the claim with a node."""
    named = re.search(r"used by pod\(s\) ([^\s,]+)", message)
    if named and (found := view.get("Pod", pod.namespace, named[1])) is not None:
        return found
    if claim is None:
        return None
    others = [o for o, _ in view.referrers(claim.ref) if o.kind == "Pod" and o.ref != pod.ref]
    return next((o for o in others if text(o.spec, "nodeName") not in ("", text(pod.spec, "nodeName"))), None)


def _advice(
    workload: K8sObject, strategy: str, replicas: int, holder: K8sObject | None, dead: bool, there: str
) -> tuple[str, str]:
    """(why it cannot come free by itself, what to do)."""
    if dead:
        return (
            f"Node {there} is not ready, so nobody detaches the volume there.",
            (
                f"When the machine {word(there)} is certainly off, say so, and the volume is detached: "
                f"`kubectl taint node {word(there)} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`"
            ),
        )
    if workload.kind == "Deployment" and replicas > 1:
        return (
            f"The Deployment wants {replicas} replicas of one ReadWriteOnce volume, which one node only can have.",
            (
                "Use one replica with strategy Recreate, a StatefulSet with a claim for each replica, or a "
                "ReadWriteMany "
                "volume."
            ),
        )
    if workload.kind == "Deployment" and strategy != "Recreate":
        return (
            (
                f"The strategy {strategy} starts the new pod before it stops the old one, and the old one keeps the "
                f"volume: "
                "with a ReadWriteOnce volume the strategy has to be Recreate."
            ),
            (
                f"Let the old pod stop first: `kubectl -n {word(workload.namespace)} patch deployment "
                f"{word(workload.name)} --type merge -p "
                '\'{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}\'`'
            ),
        )
    other = (
        f"Pod {word(holder.name)} has to stop first."
        if holder is not None
        else "The other node has to let it go first."
    )
    return other, "Stop what uses the volume on the other node, or let both pods run on one node (pod affinity)."


CODES: tuple[Code, ...] = (MULTI_ATTACH, HELD_BY_NODE)
ANALYZERS: tuple[Analyzer, ...] = (multi_attach,)
