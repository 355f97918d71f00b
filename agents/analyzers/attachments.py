"""Volumes that do not come to the pod: refused by the cloud, unreachable, of the wrong kind, in another place.

The kubelet's and the attach controller's own words decide. A pod that got its volume in the end is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from agents.analyzers.backing import ref
from agents.analyzers.base import Analyzer, Code, Role, finding, seen_event, seen_field
from agents.analyzers.multi_attach import VOLUME_NAME, Heard, claim_of, claims_of
from agents.analyzers.nearness import listing
from agents.analyzers.pods import Case, events_of, per_workload, unwell_pods
from agents.analyzers.volume_match import node_terms
from agents.cluster.objects import K8sObject, mapping, mappings, moment, pod_spec, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Finding, Severity

_S, _E, _C = Domain.STORAGE, Severity.ERROR, Role.CAUSE
_DESCRIBE = "`kubectl -n {ns} describe pod {pod}`\n"

ATTACH_FAILED = Code(
    "volume-attach-failed", _S, _E, _C, "A volume cannot be attached to the node of its pod",
    "Mend what the driver names (rights of the driver, limits of the machine, zone, the disk itself):\n" + _DESCRIBE
    + "`kubectl get volumeattachments -o wide | grep {volume}`",
)  # fmt: skip
DRIVER_MISSING = Code(
    "volume-driver-not-on-node", _S, _E, _C, "The storage driver does not run on the node of the pod",
    "See that the driver's node pods run on {node}, then let the pod be made again:\n"
    "`kubectl get csinode {node} -o yaml`\n`kubectl get pods -A -o wide --field-selector spec.nodeName={node} | grep "
    "-i csi`",
)  # fmt: skip
SERVER = Code(
    "volume-server-unreachable", _S, _E, _C, "The file server of a volume does not answer or refuses",
    "Check server, export and firewall from the node; correct server or path in the volume:\n" + _DESCRIBE
    + "on the node: `showmount -e {server}`, `mount -t nfs {server}:{export} /mnt`",
)  # fmt: skip
FILE_SYSTEM = Code(
    "volume-file-system-wrong", _S, _E, _C, "The file system of a volume cannot be mounted",
    "Compare `fsType` and `mountOptions` of volume and class with what is on the disk; check a broken file system "
    "from a "
    "rescue pod before anything is formatted:\n" + _DESCRIBE + "`kubectl get pv {volume} -o yaml`",
)  # fmt: skip
NODE_AFFINITY = Code(
    "volume-node-affinity-conflict", _S, _E, _C, "The volume of a pod is in another place than the nodes it may run on",
    "Let the pod run where its volume is ({where}), or move the data to a volume where the pod may run; classes with "
    "`volumeBindingMode: WaitForFirstConsumer` avoid this:\n"
    "`kubectl get pv {volume} -o jsonpath='{{.spec.nodeAffinity}}'`\n`kubectl get nodes --show-labels`",
)  # fmt: skip
_KINDS: tuple[tuple[str, Code], ...] = (
    (
        r"driver name \S+ not found in the list of registered CSI drivers|CSINode \S+ does not contain driver",
        DRIVER_MISSING,
    ),
    (
        (
            r"wrong fs type|bad superblock|unknown filesystem|fsck|structure needs cleaning|unrecognized mount option|"
            r"bad option|already mounted or mount point busy|invalid argument.*mount|fsType"
        ),
        FILE_SYSTEM,
    ),
    (
        (
            r"mount\.nfs|\bnfs\b|access denied by server|no route to host|connection timed out|connection refused|"
            r"host is down|mount\.cifs|mount error\(|failed to resolve server"
        ),
        SERVER,
    ),
)


def failures(view: ClusterView) -> Iterator[Finding]:
    """Attach and mount failures with a reason that a driver, a server or a file system gives."""
    hits = []
    for pod in unwell_pods(view):
        heard = _telling(view, pod)
        if heard is not None:
            hits.append((pod, heard[0].name, heard))
    for case in per_workload(view, [(pod, key, (code, fact)) for pod, key, (code, fact) in hits]):
        code, fact = case.fact
        yield _failure_finding(view, code, Case(case.workload, case.pod, case.pods, fact))


def _telling(view: ClusterView, pod: K8sObject) -> tuple[Code, Heard] | None:
    for event in events_of(view, pod.ref, "FailedAttachVolume", "FailedMount", "FailedMapVolume"):
        message = event.message
        if "Multi-Attach" in message or "already exclusively attached" in message or "unmounted volumes=" in message:
            continue
        if re.search(r"(?:configmap|secret|object) \S+ not (?:found|registered)|references non-existent", message):
            continue
        found = VOLUME_NAME.search(message)
        heard = Heard(event, found[1] if found else "", message)
        for pattern, code in _KINDS:
            if re.search(pattern, message, re.IGNORECASE) and _has_storage(pod, heard.volume):
                return code, heard
        if event.reason == "FailedAttachVolume":
            return ATTACH_FAILED, heard
    return None


def _has_storage(pod: K8sObject, volume: str) -> bool:
    """Whether the message is about a real volume: one with a claim, a server or a driver."""
    kinds = {"persistentVolumeClaim", "nfs", "csi", "ephemeral", "iscsi", "cephfs", "rbd", "glusterfs", "fc"}
    entries = mappings(pod_spec(pod), "volumes")
    named = [e for e in entries if text(e, "name") == volume] or entries
    return any(kinds & set(e) for e in named)


def _failure_finding(view: ClusterView, code: Code, case: Case[Heard]) -> Finding:
    pod, heard = case.pod, case.fact
    claim = claim_of(view, pod, heard.volume)
    name = text(claim.spec, "volumeName") if claim is not None else heard.volume
    volume = view.get("PersistentVolume", "", name)
    source = _server_of(pod, volume)
    target = case.workload
    if volume is not None and code in (SERVER, FILE_SYSTEM):
        target = volume  # the volume says where the server is and what is on the disk
    evidence = [seen_event(heard.event)] if heard.event is not None else []
    if source:
        holder = volume if volume is not None else pod
        evidence.append(seen_field(holder, "spec.nfs" if volume is not None else "spec.volumes[*].nfs", dict(source)))
    if claim is not None:
        evidence.append(seen_field(claim, "spec.volumeName", name))
    if volume is not None and code is FILE_SYSTEM:
        shown = {k: volume.spec[k] for k in ("mountOptions", "csi", "volumeMode") if k in volume.spec}
        evidence.append(seen_field(volume, "spec", shown))
    node = text(pod.spec, "nodeName")
    about = f"claim {claim.name}" if claim is not None else f"volume {heard.volume or 'of the pod'}"
    related = [case.workload.ref, *case.related, *([claim.ref] if claim is not None else [])]
    related += [volume.ref] if volume is not None else []
    related += [ref("Node", "", node)] if code in (DRIVER_MISSING, ATTACH_FAILED) and node else []
    return finding(
        code,
        target,
        f"{case.count} of {case.workload.kind} {case.workload.name} cannot get {about} on node {node or 'unknown'}: "
        f"{heard.message}",
        evidence,
        related=[r for r in related if r != target.ref],
        pod=pod.name,
        node=node or "NODE",
        volume=name or "VOLUME",
        server=text(source, "server") or "SERVER",
        export=text(source, "path") or "/EXPORT",
    )


def _server_of(pod: K8sObject, volume: K8sObject | None) -> Mapping[str, object]:
    if volume is not None:
        return mapping(volume.spec, "nfs") or mapping(volume.spec, "csi", "volumeAttributes")
    return next((n for e in mappings(pod_spec(pod), "volumes") if (n := mapping(e, "nfs"))), {})


def node_affinity(view: ClusterView) -> Iterator[Finding]:
    """Pods that no node may take because their volume is bound to another place."""
    hits = []
    for pod in unwell_pods(view):
        for event in events_of(view, pod.ref, "FailedScheduling"):
            if "volume node affinity conflict" in event.message:
                hits.append((pod, "", event))
            break  # only the scheduler's last word counts
    for case in per_workload(view, hits):
        bound = [
            (claim, volume)
            for claim in claims_of(view, case.pod)
            if (volume := view.get("PersistentVolume", "", text(claim.spec, "volumeName"))) is not None
        ]
        tied = [(c, v) for c, v in bound if node_terms(v)]
        evidence = [seen_event(case.fact)]
        claim, volume = tied[0] if tied else (None, None)
        where = node_terms(volume) if volume is not None else "unknown"
        if claim is not None and volume is not None:
            evidence.append(seen_field(volume, "spec.nodeAffinity", where))
            evidence.append(seen_field(claim, "spec.volumeName", volume.name))
        wants = mapping(pod_spec(case.pod), "nodeSelector")
        if wants:
            evidence.append(seen_field(case.pod, "spec.nodeSelector", dict(wants)))
        about = f"claim {claim.name} is bound to volume {volume.name}, which" if claim and volume else "its volume"
        limits = f"; the pod itself wants nodes with {listing(f'{k}={v}' for k, v in wants.items())}" if wants else ""
        yield finding(
            NODE_AFFINITY,
            case.workload,
            f"{case.count} of {case.workload.kind} {case.workload.name} cannot be scheduled: {about} can be reached "
            f"only "
            f"from nodes with {where}, and no such node can take the pod{limits}. The scheduler says: "
            f"{case.fact.message}",
            evidence,
            related=[*case.related, *([claim.ref] if claim else []), *([volume.ref] if volume else [])],
            where=where,
            volume=volume.name if volume is not None else "VOLUME",
        )


def attached_elsewhere(view: ClusterView) -> Iterator[Finding]:
    """Attachments that the driver reports as failed, where no event tells it any more."""
    for attachment in view.of_kind("VolumeAttachment"):
        error = mapping(attachment.status, "attachError")
        if attachment.status.get("attached") is True or not error or attachment.deleting_since is not None:
            continue
        volume = view.get("PersistentVolume", "", text(attachment.spec, "source", "persistentVolumeName"))
        holder = mapping(volume.spec, "claimRef") if volume is not None else {}
        claim = view.get("PersistentVolumeClaim", text(holder, "namespace"), text(holder, "name"))
        if volume is None or claim is None or _is_told(view, claim):
            continue
        node, message = text(attachment.spec, "nodeName"), text(error, "message")
        at = moment(error, "time")
        yield finding(
            ATTACH_FAILED,
            claim,
            f"Volume {volume.name} of claim {claim.name} cannot be attached to node {node}: {message}",
            [seen_field(attachment, "status.attachError", message, observed_at=at)],
            related=[volume.ref, ref("Node", "", node), *(o.ref for o, _ in view.referrers(claim.ref))][:20],
            pod="POD",
            volume=volume.name,
        )


def _is_told(view: ClusterView, claim: K8sObject) -> bool:
    """Whether a pod of the claim is well, or has an event that tells of the attachment."""
    unwell = {p.ref for p in unwell_pods(view)}
    users = [o for o, _ in view.referrers(claim.ref) if o.kind == "Pod"]
    waiting = [p for p in users if p.ref in unwell]
    return not waiting or any(_telling(view, p) or list(events_of(view, p.ref, "FailedAttachVolume")) for p in waiting)


CODES: tuple[Code, ...] = (
    ATTACH_FAILED,
    DRIVER_MISSING,
    SERVER,
    FILE_SYSTEM,
    NODE_AFFINITY,
)
ANALYZERS: tuple[Analyzer, ...] = (failures, node_affinity, attached_elsewhere)
