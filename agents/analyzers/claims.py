"""Claims that stay Pending, each for its own reason: the class, the provisioner, or no volume that fits.

A claim that waits for its first consumer is right as it is. The reason is taken from what the claim asks and what
exists, and in the words of the controller where it has spoken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from agents.analyzers.backing import ref
from agents.analyzers.base import Analyzer, Code, Role, finding, missing_field, not_listed, seen_event, seen_field
from agents.analyzers.nearness import listing, near_or_all
from agents.analyzers.pods import unwell_pods
from agents.analyzers.volume_match import (
    NO_PROVISIONER,
    claim_events,
    claim_refs,
    class_name,
    class_of,
    is_default,
    misfits,
    requested,
    users_of,
    volumes_of_class,
    who_waits,
)
from agents.cluster.objects import K8sObject, strings, text
from agents.cluster.view import ClusterView, EventRecord
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

PATIENCE = timedelta(minutes=2)
PROVISIONER_PATIENCE = timedelta(minutes=5)
_BLOCK_ONLY = {
    "ebs.csi.aws.com": "an EBS disk",
    "pd.csi.storage.gke.io": "a persistent disk",
    "disk.csi.azure.com": "an Azure disk",
    "rancher.io/local-path": "a directory of one node",
    "cinder.csi.openstack.org": "a Cinder disk",
    "csi.hetzner.cloud": "a cloud disk",
    "dobs.csi.digitalocean.com": "a cloud disk",
}
_SHARED = ("ReadWriteMany", "ReadOnlyMany")
_S, _E, _C = Domain.STORAGE, Severity.ERROR, Role.CAUSE
_SEE = "`kubectl -n {ns} describe pvc {name}`\n"
_REMAKE = (
    "The class of a claim cannot be changed: delete the claim (nothing is on it yet) and make it anew; for a "
    "StatefulSet "
    "correct `volumeClaimTemplates` (delete with `--cascade=orphan`, apply again)."
)

CLASS_MISSING = Code(
    "storage-class-missing", _S, _E, _C, "A claim asks for a StorageClass that does not exist",
    "Use a class that exists ({classes}), or create {storage_class}:\n`kubectl get storageclass`\n" + _SEE + _REMAKE,
    0.97,
)  # fmt: skip
NO_DEFAULT = Code(
    "no-default-storage-class", _S, _E, _C, "A claim names no StorageClass and there is no default one",
    "Make a class the default, or name one in the claim (there: {classes}):\n"
    "`kubectl patch storageclass {first} -p '{{\"metadata\":{{\"annotations\":"
    "{{\"storageclass.kubernetes.io/is-default-class\":\"true\"}}}}}}'`\n" + _SEE, 0.95,
)  # fmt: skip
ACCESS_MODE = Code(
    "claim-access-mode-unsupported", _S, _E, _C, "A claim asks for an access mode that its storage cannot give",
    "Ask for a mode the storage offers (ReadWriteOnce for disks), or use a shared file system (NFS, EFS, CephFS, Azure "
    "Files) for ReadWriteMany:\n" + _SEE + _REMAKE,
)  # fmt: skip
CAPACITY = Code(
    "claim-capacity-unmatched", _S, _E, _C, "No volume is as large as a claim asks",
    "Ask for no more than a free volume has, or create a larger volume:\n`kubectl get pv`\n" + _SEE,
)  # fmt: skip
SELECTOR = Code(
    "claim-selector-unmatched", _S, _E, _C, "No volume has the labels that a claim selects",
    "Make the claim's selector and the volume's labels agree (a claim with a selector is never provisioned):\n"
    "`kubectl get pv --show-labels`\n" + _SEE,
)  # fmt: skip
NO_VOLUME = Code(
    "claim-without-volume", _S, _E, _C, "No volume is free for a claim that nobody provisions",
    "Create a volume that fits (class {storage_class}, {modes}, at least {size}), or use a class with a provisioner:\n"
    "`kubectl get pv,storageclass`\n" + _SEE,
)  # fmt: skip
PROVISIONER = Code(
    "provisioner-missing", _S, _E, _C, "The provisioner of a StorageClass does not answer",
    "See that the provisioner {provisioner} is installed and runs:\n`kubectl get csidrivers`\n"
    "`kubectl get pods -A | grep -i -E 'csi|provisioner'`\n" + _SEE, 0.85,
)  # fmt: skip
FAILED = Code(
    "provisioning-failed", _S, _E, _C, "The provisioner cannot make the volume that a claim asks for",
    "Mend what the provisioner names (rights, quota, zone, parameters of the class):\n" + _SEE
    + "`kubectl get storageclass {storage_class} -o yaml`",
)  # fmt: skip
NAMED_VOLUME = Code(
    "claim-volume-unavailable", _S, _E, _C, "The volume that a claim names cannot be bound to it",
    "Name a volume that is Available and fits, or free the named one:\n`kubectl get pv {volume} -o yaml`\n" + _SEE,
)  # fmt: skip
WAITING = Code(
    "claim-waits-for-consumer", _S, Severity.INFO, Role.RISK, "A claim waits for the first pod that uses it",
    "Nothing to do: the volume is made when a pod that uses the claim is scheduled. Delete the claim if none ever "
    "will.",
)  # fmt: skip
PENDING = Code(
    "claim-pending", _S, _E, Role.SYMPTOM, "A claim is not bound",
    "See what the controllers say:\n" + _SEE + "`kubectl get events -n {ns} --field-selector "
    "involvedObject.name={name}`",
)  # fmt: skip
_BY_MISFIT = {"access-mode": ACCESS_MODE, "capacity": CAPACITY, "selector": SELECTOR}


def pending(view: ClusterView) -> Iterator[Finding]:
    """One finding for each claim that has been Pending for longer than binding takes."""
    for claim in view.of_kind("PersistentVolumeClaim"):
        age = view.age(claim.created)
        if text(claim.status, "phase") != "Pending" or claim.deleting_since is not None:
            continue
        if age is not None and age < PATIENCE:
            continue
        yield from _explain(view, claim)


def _explain(view: ClusterView, claim: K8sObject) -> Iterator[Finding]:
    name = class_name(claim)
    found = class_of(view, claim)
    events = claim_events(view, claim, "ProvisioningFailed", "FailedBinding", "VolumeMismatch", "ClaimMisbound")
    says_missing = [e for e in events if "storageclass" in e.message.lower() and "not found" in e.message.lower()]
    fixed = text(claim.spec, "volumeName")
    if fixed:
        yield _named_volume(view, claim, fixed, events)
    elif name and found is None and (says_missing or view.listed("StorageClass")) and not volumes_of_class(view, name):
        yield _class_missing(view, claim, name, says_missing)
    elif name is None and found is None and (view.listed("StorageClass") or _says_no_class(events)):
        yield _no_default(view, claim, events)
    elif found is None or text(found.raw, "provisioner") == NO_PROVISIONER:
        yield _unmatched(view, claim, name or (found.name if found is not None else ""), events)
    else:
        yield from _unprovisioned(view, claim, found, events)


def _says_no_class(events: Sequence[EventRecord]) -> bool:
    return any("no storage class is set" in e.message for e in events)


def _asks(claim: K8sObject) -> str:
    return f"{requested(claim) or 'no size'}, {', '.join(strings(claim.spec, 'accessModes'))}"


def _make(
    view: ClusterView,
    code: Code,
    claim: K8sObject,
    why: str,
    evidence: Sequence[Evidence],
    *related: ObjectRef,
    **facts: object,
) -> Finding:
    users = who_waits(view, claim)
    waits = f"; {users} waits for it" if users else ""
    values: dict[str, Any] = {"storage_class": class_name(claim) or "", "size": requested(claim)}
    values |= {"modes": ", ".join(strings(claim.spec, "accessModes")), **facts}
    return finding(
        code,
        claim,
        f"Claim {claim.name} ({_asks(claim)}) is Pending: {why}{waits}.",
        list(evidence)[:5],
        related=[*claim_refs(view, claim), *related],
        **values,
    )


def _phase(claim: K8sObject) -> Evidence:
    return seen_field(claim, "status.phase", text(claim.status, "phase") or "Pending")


def _class_missing(view: ClusterView, claim: K8sObject, name: str, events: list[EventRecord]) -> Finding:
    there = [c.name for c in view.of_kind("StorageClass")]
    near = near_or_all(name, there)
    defaults = [c.name for c in view.of_kind("StorageClass") if is_default(c)]
    shown = listing(f"{n} (default)" if n in defaults else n for n in near)
    target = ref("StorageClass", "", name)
    evidence = [seen_field(claim, "spec.storageClassName", name), *map(seen_event, events[:1])]
    if view.listed("StorageClass"):
        evidence.append(not_listed(view, target, near))
    why = f"StorageClass {name} does not exist (not found; there: {shown})"
    return _make(view, CLASS_MISSING, claim, why, [*evidence, _phase(claim)], target, classes=shown)


def _no_default(view: ClusterView, claim: K8sObject, events: list[EventRecord]) -> Finding:
    there = sorted(c.name for c in view.of_kind("StorageClass"))
    why = f"it names no StorageClass and none is marked as the default (there: {listing(there)})"
    note = f"no default class; there: {listing(there)}"
    evidence = [missing_field(claim, "spec.storageClassName", note), *map(seen_event, events[:1])]
    evidence.extend(
        missing_field(c, "metadata.annotations[storageclass.kubernetes.io/is-default-class]")
        for c in list(view.of_kind("StorageClass"))[:1]
    )
    return _make(
        view, NO_DEFAULT, claim, why, [*evidence, _phase(claim)], classes=listing(there), first=(there or ["CLASS"])[0]
    )


def _named_volume(view: ClusterView, claim: K8sObject, name: str, events: list[EventRecord]) -> Finding:
    volume = view.get("PersistentVolume", "", name)
    evidence = [seen_field(claim, "spec.volumeName", name), *map(seen_event, events[:1])]
    if volume is None:
        there = near_or_all(name, [v.name for v in view.of_kind("PersistentVolume")])
        if view.listed("PersistentVolume"):
            evidence.append(not_listed(view, ref("PersistentVolume", "", name), there))
        why = f"it names PersistentVolume {name}, which does not exist (there: {listing(there)})"
    else:
        reasons = [text for _, text in misfits(claim, volume)]
        wanted, offered = class_name(claim) or "", text(volume.spec, "storageClassName")
        if wanted != offered:
            reasons.append(f"is of class {offered or 'none'}, the claim of class {wanted or 'none'}")
        why = f"it names PersistentVolume {name}, which {listing(reasons, 'has not been bound to it')}"
        shown = {
            k: volume.spec[k] for k in ("capacity", "accessModes", "storageClassName", "claimRef") if k in volume.spec
        }
        evidence += [
            seen_field(volume, "spec", shown),
            seen_field(volume, "status.phase", text(volume.status, "phase")),
        ]
    return _make(view, NAMED_VOLUME, claim, why, evidence, ref("PersistentVolume", "", name), volume=name)


def _unmatched(view: ClusterView, claim: K8sObject, name: str, events: list[EventRecord]) -> Finding:
    """No provisioner makes volumes of this class: which of those that exist come nearest, and what they lack."""
    candidates = volumes_of_class(view, name)
    ranked = sorted(candidates, key=lambda v: (len(list(misfits(claim, v))), v.name))
    free = [v for v in ranked if all(aspect != "taken" for aspect, _ in misfits(claim, v))]
    evidence = [seen_field(claim, "spec.storageClassName", name or '""'), *map(seen_event, events[:1])]
    for volume in (free or ranked)[:2]:
        reasons = "; ".join(text for _, text in misfits(claim, volume))
        evidence.append(seen_field(volume, "spec", _shown_volume(volume)))
        if reasons and volume is (free or ranked)[0]:
            code = next((_BY_MISFIT[a] for a, _ in misfits(claim, volume) if a in _BY_MISFIT), NO_VOLUME)
            why = f"PersistentVolume {volume.name} of class {name or 'none'} comes nearest but {reasons}"
            code = code if free else NO_VOLUME
            finding_evidence = [*evidence, seen_field(claim, "spec", _shown_claim(claim)), _phase(claim)]
            return _make(view, code, claim, why, finding_evidence, volume.ref)
    if free and not any(True for _ in misfits(claim, free[0])):
        users, _ = users_of(view, claim)
        why = f"PersistentVolume {free[0].name} would fit and is not bound yet"
        return _make(view, PENDING if users else WAITING, claim, why, [*evidence, _phase(claim)], free[0].ref)
    why = f"class {name or 'none'} has no provisioner and there is no PersistentVolume of that class"
    evidence.append(seen_field(claim, "spec", _shown_claim(claim)))
    return _make(view, NO_VOLUME, claim, why, [*evidence, _phase(claim)])


def _shown_volume(volume: K8sObject) -> dict[str, object]:
    shown = {k: volume.spec[k] for k in ("capacity", "accessModes", "storageClassName", "claimRef") if k in volume.spec}
    return {**shown, "phase": text(volume.status, "phase"), "labels": dict(volume.labels)}


def _shown_claim(claim: K8sObject) -> dict[str, object]:
    return {k: claim.spec[k] for k in ("accessModes", "resources", "selector", "volumeMode") if k in claim.spec}


def _unprovisioned(
    view: ClusterView, claim: K8sObject, storage_class: K8sObject, events: list[EventRecord]
) -> Iterator[Finding]:
    provisioner = text(storage_class.raw, "provisioner")
    failed = [e for e in events if e.reason == "ProvisioningFailed"]
    wanted = [m for m in strings(claim.spec, "accessModes") if m in _SHARED]
    facts = {"storage_class": storage_class.name, "provisioner": provisioner}
    base = [seen_field(storage_class, "provisioner", provisioner), _phase(claim)]
    if wanted and text(claim.spec, "volumeMode") != "Block" and (provisioner in _BLOCK_ONLY or _speaks_of_mode(failed)):
        what = _BLOCK_ONLY.get(provisioner, "this storage")
        why = (
            f"it wants {', '.join(wanted)}, but class {storage_class.name} ({provisioner}) makes {what}, which only "
            f"one "
            "node can mount (ReadWriteOnce)"
        )
        evidence = [seen_field(claim, "spec.accessModes", ", ".join(wanted)), *map(seen_event, failed[:1]), *base]
        yield _make(view, ACCESS_MODE, claim, why, evidence, storage_class.ref, **facts)
        return
    if failed:
        why = f"provisioner {provisioner} of class {storage_class.name} says: {failed[0].message}"
        evidence = [*map(seen_event, failed[:2]), *base]
        if "parameters" in storage_class.raw:
            evidence.append(seen_field(storage_class, "parameters", storage_class.raw.get("parameters")))
        yield _make(view, FAILED, claim, why, evidence, storage_class.ref, **facts)
        return
    if strings(claim.spec, "selector", "matchExpressions") or claim.spec.get("selector"):
        why = "it has a selector, and claims with a selector are bound to existing volumes only, never provisioned"
        evidence = [seen_field(claim, "spec.selector", claim.spec.get("selector")), *base]
        yield _make(view, SELECTOR, claim, why, evidence, storage_class.ref, **facts)
        return
    yield from _silent(view, claim, storage_class, base, facts)


def _speaks_of_mode(events: Sequence[EventRecord]) -> bool:
    pattern = r"access ?mode|multi[_ -]?(?:node|writer)|ReadWriteMany|only supports|not supported.*writer"
    return any(re.search(pattern, e.message, re.IGNORECASE) for e in events)


def _silent(
    view: ClusterView, claim: K8sObject, storage_class: K8sObject, base: list[Evidence], facts: dict[str, str]
) -> Iterator[Finding]:
    """Nobody has spoken: the claim waits for a consumer, or for a provisioner that is not there."""
    provisioner = facts["provisioner"]
    pods, _ = users_of(view, claim)
    waits = text(storage_class.raw, "volumeBindingMode") == "WaitForFirstConsumer"
    asked = claim_events(view, claim, "ExternalProvisioning", "Provisioning")
    selected = "volume.kubernetes.io/selected-node" in claim.annotations
    if waits and not asked and not selected:
        if not pods:
            why = f"class {storage_class.name} binds when a pod uses the claim (WaitForFirstConsumer), and no pod does"
            evidence = [seen_field(storage_class, "volumeBindingMode", "WaitForFirstConsumer"), _phase(claim)]
            yield _make(view, WAITING, claim, why, evidence, storage_class.ref, **facts)
        return  # the pod that uses it is not scheduled: that is told there
    age = view.age(claim.created)
    if age is None or age < PROVISIONER_PATIENCE or text(storage_class.raw, "provisioner") == "":
        return
    driver = view.get("CSIDriver", "", provisioner)
    unwell = [p for p in unwell_pods(view) if re.search(r"csi|provisioner", p.name) and p.namespace != claim.namespace]
    if driver is None and view.listed("CSIDriver"):
        why = f"provisioner {provisioner} of class {storage_class.name} does not answer: no CSIDriver has that name"
    else:
        why = f"provisioner {provisioner} of class {storage_class.name} has not answered"
        why += f" (its pods are not well: {listing(p.name for p in unwell[:3])})" if unwell else ""
    evidence = [*map(seen_event, asked[:1]), *base]
    if driver is None and view.listed("CSIDriver"):
        names = [d.name for d in view.of_kind("CSIDriver")]
        evidence.append(not_listed(view, ref("CSIDriver", "", provisioner), near_or_all(provisioner, names)))
    related = [storage_class.ref, *(p.ref for p in unwell[:5]), *(view.top_owner(p).ref for p in unwell[:5])]
    yield _make(view, PROVISIONER, claim, why, evidence, *related, **facts)


CODES: tuple[Code, ...] = (
    CLASS_MISSING,
    NO_DEFAULT,
    ACCESS_MODE,
    CAPACITY,
    SELECTOR,
    NO_VOLUME,
    PROVISIONER,
    FAILED,
    NAMED_VOLUME,
    WAITING,
    PENDING,
)
ANALYZERS: tuple[Analyzer, ...] = (pending,)
