"""Claims and volumes in a state that needs somebody: missing, lost, being deleted, growing without end, left over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from agents.analyzers.backing import at_rest, ref
from agents.analyzers.base import Analyzer, Code, Role, finding, not_listed, seen_event, seen_field
from agents.analyzers.nearness import listing, near_or_all
from agents.analyzers.pods import event_evidence, is_ready, is_scheduled
from agents.analyzers.remedies import Composed, word
from agents.analyzers.volume_match import claim_events, claim_refs, requested, users_of
from agents.cluster.objects import K8sObject, mapping, moment, quantity, strings, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

DELETION_PATIENCE = timedelta(minutes=15)
RESIZE_PATIENCE = timedelta(minutes=10)
_S, _C = Domain.STORAGE, Role.CAUSE
_SEE = "`kubectl -n {ns} describe pvc {name}`\n"

MISSING = Code(
    "claim-missing", _S, Severity.ERROR, _C, "Pods name a claim that does not exist",
    "Name an existing claim ({near}) in the pod template, or create {claim}:\n`kubectl -n {ns} get pvc`\n"
    "`kubectl -n {ns} edit {kind} {name}`", 0.96,
)  # fmt: skip
LOST = Code(
    "claim-lost", _S, Severity.CRITICAL, _C, "The volume of a claim is gone",
    "The volume {volume} no longer exists: see whether the disk behind it does, make a PersistentVolume for it by "
    "hand, or "
    "restore from a backup into a new claim:\n" + _SEE + "`kubectl get pv`", 0.97,
)  # fmt: skip
DELETING = Code(
    "claim-deletion-blocked", _S, Severity.ERROR, _C, "A claim is marked for deletion while pods still use it",
    "Its data goes as soon as the last pod that uses it stops ({users}). Back it up now if it is needed; if not, "
    "stop the "
    "pods:\n" + _SEE + "`kubectl -n {ns} get pods -o wide`",
)  # fmt: skip
STUCK = Code(
    "storage-finalizer-stuck", _S, Severity.ERROR, _C, "A claim or volume cannot finish its deletion",
    "Find who should take the finalizer away ({finalizers}) and whether it runs; remove it by hand only when the disk "
    "behind it is dealt with:\n`kubectl get {kind} {name} {scope} -o jsonpath='{{.metadata.finalizers}}'`",
    0.8,
)  # fmt: skip
RESIZE = Code(
    "claim-resize-stuck", _S, Severity.ERROR, _C, "A claim does not grow to the size that was asked",
    "Mend what the resizer names; when only the file system is to grow, restart the pod that uses it:\n" + _SEE
    + "`kubectl get storageclass -o custom-columns=NAME:.metadata.name,EXPANDS:.allowVolumeExpansion`", 0.9,
)  # fmt: skip
RESIZE_RESTART = Code(
    "claim-resize-needs-restart", _S, Severity.WARNING, _C, "A claim has grown, its file system only grows at a "
    "restart",
    "Restart the pod that uses the claim:\n" + _SEE + "`kubectl -n {ns} rollout restart {user}`",
)  # fmt: skip
VOLUME_FAILED = Code(
    "volume-failed", _S, Severity.WARNING, _C, "A PersistentVolume has failed",
    "See why (mostly the disk behind it could not be deleted), then delete disk and volume by hand:\n"
    "`kubectl describe pv {name}`",
)  # fmt: skip
RELEASED = Code(
    "volume-released", _S, Severity.INFO, Role.RISK, "A volume is kept after its claim is gone",
    "Its data is still there and it costs; nobody can claim it until its `claimRef` is removed:\n"
    "`kubectl patch pv {name} --type json -p '[{{\"op\":\"remove\",\"path\":\"/spec/claimRef\"}}]'` to use it again, "
    "or\n"
    "`kubectl delete pv {name}` and delete the disk behind it.", 0.95,
)  # fmt: skip


def missing(view: ClusterView) -> Iterator[Finding]:
    """Claims that pods or templates name and that do not exist, once for each workload and claim."""
    seen: set[tuple[ObjectRef, ObjectRef]] = set()
    for obj in view.of_kind("Pod", "Deployment", "StatefulSet", "DaemonSet"):
        if obj.kind == "Pod" and (is_ready(obj) or obj.deleting_since is not None or _has_ended(obj)):
            continue
        for reference in view.references(obj):
            target = reference.target
            ephemeral = reference.path.endswith(".ephemeral")
            if target.kind != "PersistentVolumeClaim" or ephemeral or view.resolve(target) is not None:
                continue
            if not view.listed("PersistentVolumeClaim", obj.namespace):
                continue
            top = view.top_owner(obj)
            if (top.ref, target) in seen or (obj.kind != "Pod" and at_rest(obj)):
                continue
            seen.add((top.ref, target))
            yield _missing_finding(view, top, obj, reference.path, target)


def _has_ended(pod: K8sObject) -> bool:
    return text(pod.status, "phase") in ("Succeeded", "Failed")


def _missing_finding(view: ClusterView, top: K8sObject, obj: K8sObject, path: str, target: ObjectRef) -> Finding:
    there = [c.name for c in view.in_namespace("PersistentVolumeClaim", target.namespace)]
    near = near_or_all(target.name, there)
    elsewhere = [c.namespace for c in view.of_kind("PersistentVolumeClaim") if c.name == target.name]
    other = (
        f"; one of that name is in namespace {elsewhere[0]}, and pods use claims of their own only" if elsewhere else ""
    )
    pods = [p for p in view.pods_of(top) if not is_scheduled(p) or not is_ready(p)]
    heard = [e for p in pods[:5] for e in event_evidence(view, p.ref, target.name, "FailedScheduling", "FailedMount")]
    return finding(
        MISSING,
        top,
        f"{top.kind} {top.name} mounts claim {target.name}, which does not exist (not found) in namespace "
        f"{target.namespace} (claims there: {listing(near)}){other}. Its pods stay Pending.",
        [seen_field(obj, path, target.name), not_listed(view, target, near), *heard[:1]],
        related=[target, *(p.ref for p in pods[:10])],
        claim=target.name,
        near=listing(near),
    )


def lost(view: ClusterView) -> Iterator[Finding]:
    """Claims in phase Lost: their volume was deleted under them."""
    for claim in view.of_kind("PersistentVolumeClaim"):
        if text(claim.status, "phase") != "Lost":
            continue
        volume = text(claim.spec, "volumeName")
        target = ref("PersistentVolume", "", volume)
        gone = volume and view.listed("PersistentVolume") and view.resolve(target) is None
        evidence = [seen_field(claim, "status.phase", "Lost"), seen_field(claim, "spec.volumeName", volume)]
        evidence += [not_listed(view, target)] if gone else []
        evidence += [seen_event(e) for e in claim_events(view, claim, "ClaimLost")[:1]]
        yield finding(
            LOST,
            claim,
            f"Claim {claim.name} is Lost: PersistentVolume {volume}, which it was bound to, does not exist any more.",
            evidence,
            related=[target, *claim_refs(view, claim)],
            volume=volume,
        )


def deletions(view: ClusterView) -> Iterator[Finding]:
    """Claims and volumes whose deletion has been waiting for long: for pods that use them, or for a finalizer."""
    for obj in view.of_kind("PersistentVolumeClaim", "PersistentVolume"):
        age = view.age(obj.deleting_since)
        if age is None or age < DELETION_PATIENCE:
            continue
        finalizers = strings(obj.metadata, "finalizers")
        since = f"{obj.deleting_since:%Y-%m-%d %H:%M} UTC"
        evidence = [
            seen_field(obj, "metadata.deletionTimestamp", since),
            seen_field(obj, "metadata.finalizers", ", ".join(finalizers)),
        ]
        pods, tops = users_of(view, obj) if obj.kind == "PersistentVolumeClaim" else ([], [])
        if pods:
            users = listing(f"{t.kind} {t.name}" for t in tops[:3])
            yield finding(
                DELETING,
                obj,
                f"Claim {obj.name} has been marked for deletion since {since} and is kept only because {users} still "
                f"uses "
                "it; when the last pod stops its volume is deleted, and new pods cannot use it (it is being deleted).",
                [*evidence, seen_field(pods[0], "spec.volumes", f"claim {obj.name}")],
                related=claim_refs(view, obj),
                users=users,
            )
            continue
        bound = text(obj.status, "phase") == "Bound" and obj.kind == "PersistentVolume"
        if bound and finalizers == ["kubernetes.io/pv-protection"]:
            continue  # goes when its claim goes
        yield finding(
            STUCK,
            obj,
            f"{obj.kind} {obj.name} has been terminating since {since}; the finalizers {listing(finalizers)} hold it "
            f"and "
            "nothing uses it any more.",
            evidence,
            finalizers=listing(finalizers),
            scope=Composed(f"-n {word(obj.namespace)}" if obj.namespace else ""),
        )


def resizes(view: ClusterView) -> Iterator[Finding]:
    """Claims that ask for more than they have, and what keeps them from growing."""
    for claim in view.of_kind("PersistentVolumeClaim"):
        wanted = quantity(claim.spec, "resources", "requests", "storage")
        has = quantity(claim.status, "capacity", "storage")
        if wanted is None or has is None or wanted <= has or text(claim.status, "phase") != "Bound":
            continue
        shown = text(claim.status, "capacity", "storage")
        evidence = [
            seen_field(claim, "spec.resources.requests.storage", requested(claim)),
            seen_field(claim, "status.capacity.storage", shown),
        ]
        waiting = claim.condition("FileSystemResizePending")
        _, tops = users_of(view, claim)
        if waiting.get("status") == "True":
            user = f"{tops[0].kind.lower()}/{tops[0].name}" if tops else "WORKLOAD"
            yield finding(
                RESIZE_RESTART,
                claim,
                f"Claim {claim.name} asks for {requested(claim)} and its disk has grown, but its file system still has "
                f"{shown}: it grows when the pod that uses it is started again.",
                [*evidence, seen_field(claim, "status.conditions[FileSystemResizePending]", dict(waiting))],
                related=claim_refs(view, claim),
                user=user,
            )
            continue
        yield from _stuck_resize(view, claim, shown, evidence)


def _stuck_resize(view: ClusterView, claim: K8sObject, shown: str, evidence: list[Evidence]) -> Iterator[Finding]:
    failed = claim_events(view, claim, "VolumeResizeFailed", "FileSystemResizeFailed", "ExternalExpanding")
    failed = [e for e in failed if e.warning]
    condition = next((c for k in ("ControllerResizeError", "NodeResizeError") if (c := claim.condition(k))), {})
    statuses = mapping(claim.status, "allocatedResourceStatuses")
    infeasible = [v for v in statuses.values() if isinstance(v, str) and "Infeasible" in v]
    storage_class = view.get("StorageClass", "", text(claim.spec, "storageClassName"))
    fixed = storage_class is not None and storage_class.raw.get("allowVolumeExpansion") is not True
    resizing = claim.condition("Resizing")
    age = view.age(moment(resizing, "lastTransitionTime"))
    slow = bool(resizing) and age is not None and age > RESIZE_PATIENCE
    if not (failed or condition or infeasible or fixed or slow):
        return
    pieces = [*evidence, *map(seen_event, failed[:1])]
    why = "the resize goes on without an end"
    if failed:
        why = f"the resizer says: {failed[0].message}"
    elif condition:
        why = text(condition, "message")
        pieces.append(seen_field(claim, f"status.conditions[{text(condition, 'type')}]", dict(condition)))
    elif infeasible:
        why = f"the resize is infeasible ({infeasible[0]})"
        pieces.append(seen_field(claim, "status.allocatedResourceStatuses", dict(statuses)))
    if fixed and storage_class is not None:
        why += f"; class {storage_class.name} does not allow expansion"
        pieces.append(seen_field(storage_class, "allowVolumeExpansion", storage_class.raw.get("allowVolumeExpansion")))
    yield finding(
        RESIZE,
        claim,
        f"Claim {claim.name} asks for {requested(claim)} and still has {shown}: {why}.",
        pieces[:5],
        severity=RESIZE.severity if failed or condition or infeasible else Severity.WARNING,
        related=claim_refs(view, claim),
    )


def volumes(view: ClusterView) -> Iterator[Finding]:
    """Volumes that failed, and those that were kept after their claim."""
    for volume in view.of_kind("PersistentVolume"):
        phase = text(volume.status, "phase")
        holder = mapping(volume.spec, "claimRef")
        claim = f"{text(holder, 'namespace')}/{text(holder, 'name')}"
        if phase == "Failed":
            said = text(volume.status, "message") or text(volume.status, "reason")
            yield finding(
                VOLUME_FAILED,
                volume,
                f"PersistentVolume {volume.name} (of claim {claim}) is in phase Failed: {said or 'no reason given'}.",
                [
                    seen_field(
                        volume, "status", {"phase": phase, "reason": text(volume.status, "reason"), "message": said}
                    )
                ],
                related=[ref("PersistentVolumeClaim", text(holder, "namespace"), text(holder, "name"))],
            )
        elif phase == "Released" and volume.deleting_since is None:
            policy = text(volume.spec, "persistentVolumeReclaimPolicy")
            yield finding(
                RELEASED,
                volume,
                f"PersistentVolume {volume.name} ({text(volume.spec, 'capacity', 'storage')}) is Released: its claim "
                f"{claim} "
                f"is gone, and the reclaim policy {policy} keeps it. No other claim can have it.",
                [
                    seen_field(volume, "status.phase", phase),
                    seen_field(volume, "spec.claimRef", claim),
                    seen_field(volume, "spec.persistentVolumeReclaimPolicy", policy),
                ],
            )


CODES: tuple[Code, ...] = (MISSING, LOST, DELETING, STUCK, RESIZE, RESIZE_RESTART, VOLUME_FAILED, RELEASED)
ANALYZERS: tuple[Analyzer, ...] = (missing, lost, deletions, resizes, volumes)
