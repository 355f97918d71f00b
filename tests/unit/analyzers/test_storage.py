"""Claims, volumes and attachments: each reason is told from the others, and waiting that is right is left alone."""

from __future__ import annotations

import pytest

from agents.analyzers.attachments import attached_elsewhere, failures, node_affinity
from agents.analyzers.claim_states import deletions, lost, missing, resizes, volumes
from agents.analyzers.claims import pending
from agents.analyzers.multi_attach import multi_attach
from agents.evidence import Finding, Severity
from tests.support.views import codes_of, view_of

DISKS = """
kind: StorageClass
apiVersion: storage.k8s.io/v1
metadata: {name: disks, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: ebs.csi.aws.com
volumeBindingMode: WaitForFirstConsumer
"""
FILES = """
kind: StorageClass
apiVersion: storage.k8s.io/v1
metadata: {name: files}
provisioner: nfs.example.io/provisioner
"""
LOCAL = """
kind: StorageClass
apiVersion: storage.k8s.io/v1
metadata: {name: local}
provisioner: kubernetes.io/no-provisioner
"""
USER = """
kind: Pod
apiVersion: v1
metadata: {name: db-0, namespace: shop, creationTimestamp: "2026-05-04T11:00:00Z"}
spec:
  containers: [{name: db, volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
status: {phase: Pending}
"""


def claim(spec: str, phase: str = "Pending", more: str = "", created: str = "2026-05-04T11:00:00Z") -> str:
    return f"""
kind: PersistentVolumeClaim
apiVersion: v1
metadata: {{name: data, namespace: shop, creationTimestamp: "{created}"{more}}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 10Gi}}}}, {spec}}}
status: {{phase: {phase}}}
"""


def volume(name: str = "pv-1", spec: str = "", phase: str = "Available", labels: str = "{}") -> str:
    return f"""
kind: PersistentVolume
apiVersion: v1
metadata: {{name: {name}, labels: {labels}}}
spec: {{capacity: {{storage: 20Gi}}, accessModes: [ReadWriteOnce], storageClassName: local{spec}}}
status: {{phase: {phase}}}
"""


def event(kind: str, name: str, reason: str, message: str, at: str = "11:58:00", warning: str = "Warning") -> str:
    return f"""
kind: Event
apiVersion: v1
metadata: {{name: "{name}.{reason}.{at}", namespace: shop}}
involvedObject: {{kind: {kind}, namespace: shop, name: {name}}}
type: {warning}
reason: {reason}
message: '{message}'
lastTimestamp: "2026-05-04T{at}Z"
"""


def one(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [f.message for f in findings]
    return findings[0]


def waits(*documents: str) -> Finding:
    return one(list(pending(view_of(*documents))))


def test_class_that_does_not_exist_lists_those_that_do() -> None:
    said = event("PersistentVolumeClaim", "data", "ProvisioningFailed", 'storageclass.storage.k8s.io "disk" not found')
    hit = waits(DISKS, FILES, USER, said, claim("storageClassName: disk"))
    assert hit.code == "storage-class-missing"
    assert "disk does not exist" in hit.message
    assert "disks (default)" in hit.message
    assert "db-0" in [r.name for r in hit.related]


def test_class_without_object_still_binds_volumes_of_its_name() -> None:
    hit = waits(
        DISKS,
        claim("storageClassName: manual"),
        volume(spec=", claimRef: {namespace: x, name: y}").replace("local", "manual"),
    )
    assert hit.code == "claim-without-volume"
    assert "belongs to claim x/y" in hit.message


def test_no_class_and_no_default() -> None:
    assert waits(FILES, claim("volumeMode: Filesystem")).code == "no-default-storage-class"
    assert codes_of(pending, view_of(DISKS, USER, claim("volumeMode: Filesystem"))) == []


TAKEN = volume(spec=", claimRef: {namespace: a, name: b}", phase="Bound")
OTHER_CLASS = volume().replace("local", "other")


@pytest.mark.parametrize(
    ("change", "offered", "code", "words"),
    [
        ("accessModes: [ReadWriteMany]", volume(), "claim-access-mode-unsupported", "ReadWriteMany"),
        ("resources: {requests: {storage: 50Gi}}", volume(), "claim-capacity-unmatched", "has 20Gi"),
        (
            "selector: {matchLabels: {disk: fast}}",
            volume(labels="{disk: slow}"),
            "claim-selector-unmatched",
            "disk=slow",
        ),
        ("volumeMode: Filesystem", TAKEN, "claim-without-volume", "belongs to claim a/b"),
        ("volumeMode: Filesystem", OTHER_CLASS, "claim-without-volume", "no PersistentVolume of that class"),
    ],
)
def test_why_no_volume_fits(change: str, offered: str, code: str, words: str) -> None:
    asked = claim("storageClassName: local")
    for field in ("accessModes: [ReadWriteOnce]", "resources: {requests: {storage: 10Gi}}"):
        if field.partition(":")[0] == change.partition(":")[0]:
            asked = asked.replace(field, change)
    if change not in asked:
        asked = claim(f"storageClassName: local, {change}")
    hit = waits(LOCAL, offered, asked)
    assert hit.code == code
    assert words in hit.message


def test_shared_access_from_a_disk() -> None:
    asked = claim("storageClassName: disks").replace("ReadWriteOnce", "ReadWriteMany")
    hit = waits(DISKS, USER, asked)
    assert hit.code == "claim-access-mode-unsupported"
    assert "ReadWriteMany" in hit.message


def test_words_of_the_provisioner_are_quoted() -> None:
    said = event("PersistentVolumeClaim", "data", "ProvisioningFailed", "failed to provision: UnauthorizedOperation")
    hit = waits(FILES, USER, said, claim("storageClassName: files"))
    assert hit.code == "provisioning-failed"
    assert "UnauthorizedOperation" in hit.message


def test_provisioner_that_never_answers() -> None:
    said = event("PersistentVolumeClaim", "data", "ExternalProvisioning", "Waiting for a volume", warning="Normal")
    hit = waits(FILES, USER, said, claim("storageClassName: files"))
    assert hit.code == "provisioner-missing"
    assert "nfs.example.io/provisioner" in hit.message


def test_claim_that_waits_for_its_first_consumer_is_right() -> None:
    hit = waits(DISKS, claim("storageClassName: disks"))
    assert (hit.code, hit.severity) == ("claim-waits-for-consumer", Severity.INFO)
    assert codes_of(pending, view_of(DISKS, USER, claim("storageClassName: disks"))) == []


def test_named_volume_that_is_gone_or_taken() -> None:
    hit = waits(DISKS, claim("volumeName: pv-9"), volume())
    assert hit.code == "claim-volume-unavailable"
    assert "pv-9, which does not exist" in hit.message
    held = volume("pv-9", ", claimRef: {namespace: a, name: b}", "Bound")
    assert "belongs to claim a/b" in waits(DISKS, claim("volumeName: pv-9, storageClassName: local"), held).message


def test_volume_that_fits_and_is_not_bound_yet_is_a_symptom() -> None:
    assert waits(LOCAL, USER, volume(), claim("storageClassName: local")).code == "claim-pending"


def test_young_and_bound_claims_are_silent() -> None:
    young = claim("storageClassName: nope", created="2026-05-04T11:59:00Z")
    assert codes_of(pending, view_of(DISKS, young)) == []
    assert codes_of(pending, view_of(DISKS, claim("storageClassName: nope", "Bound"))) == []


def test_claim_that_does_not_exist_is_the_workload_s_fault() -> None:
    other = claim("volumeName: pv-1", "Bound").replace("name: data,", "name: data-1,")
    hit = one(list(missing(view_of(USER, other))))
    assert (hit.code, str(hit.object)) == ("claim-missing", "Pod shop/db-0")
    assert "claims there: data-1" in hit.message
    assert list(missing(view_of(USER, claim("", "Bound")))) == []


def test_lost_claim() -> None:
    hit = one(list(lost(view_of(claim("volumeName: pv-9", "Lost"), volume()))))
    assert (hit.code, hit.severity) == ("claim-lost", Severity.CRITICAL)
    assert list(lost(view_of(claim("volumeName: pv-1", "Bound"), volume()))) == []


def test_deletion_that_waits_for_pods_or_for_a_finalizer() -> None:
    gone = ', deletionTimestamp: "2026-05-04T11:00:00Z", finalizers: [kubernetes.io/pvc-protection]'
    assert one(list(deletions(view_of(USER, claim("", "Bound", gone))))).code == "claim-deletion-blocked"
    assert one(list(deletions(view_of(claim("", "Bound", gone))))).code == "storage-finalizer-stuck"
    assert list(deletions(view_of(claim("", "Bound", gone.replace("11:00", "11:55"))))) == []


GROWING = claim("storageClassName: files, volumeName: pv-1", "Bound").replace(
    "status: {phase: Bound}", "status: {phase: Bound, capacity: {storage: 5Gi}, conditions: [CONDITION]}"
)


def test_resize_that_waits_for_a_restart_or_fails() -> None:
    restart = GROWING.replace("CONDITION", '{type: FileSystemResizePending, status: "True"}')
    assert one(list(resizes(view_of(FILES, restart)))).code == "claim-resize-needs-restart"
    failed = event("PersistentVolumeClaim", "data", "VolumeResizeFailed", "quota exceeded")
    hit = one(list(resizes(view_of(FILES, GROWING.replace("CONDITION", ""), failed))))
    assert (hit.code, hit.severity) == ("claim-resize-stuck", Severity.ERROR)
    assert "quota exceeded" in hit.message


def test_claim_that_has_what_it_asks_is_silent() -> None:
    assert list(resizes(view_of(FILES, GROWING.replace("CONDITION", "").replace("5Gi", "10Gi")))) == []


def test_failed_and_released_volumes() -> None:
    holder = ", claimRef: {namespace: shop, name: old}, persistentVolumeReclaimPolicy: Retain"
    assert codes_of(volumes, view_of(volume(spec=holder, phase="Released"))) == ["volume-released"]
    assert codes_of(volumes, view_of(volume(spec=holder, phase="Failed"))) == ["volume-failed"]
    assert codes_of(volumes, view_of(volume(spec=holder, phase="Bound"))) == []


def rollout(strategy: str = "RollingUpdate") -> str:
    spec = "volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]"
    pods = ""
    for name, node, ready in (("wiki-old", "n1", "True"), ("wiki-new", "n2", "False")):
        state = "running: {}" if ready == "True" else "waiting: {reason: ContainerCreating}"
        pods += f"""
---
kind: Pod
apiVersion: v1
metadata: {{name: {name}, namespace: shop, ownerReferences: [{{kind: ReplicaSet, name: wiki-1, controller: true}}]}}
spec: {{nodeName: {node}, containers: [{{name: wiki}}], {spec}}}
status:
  phase: Running
  conditions: [{{type: Ready, status: "{ready}"}}]
  containerStatuses: [{{name: wiki, ready: {ready.lower()}, state: {{{state}}}}}]
"""
    return f"""
kind: Deployment
apiVersion: apps/v1
metadata: {{name: wiki, namespace: shop}}
spec: {{replicas: 1, strategy: {{type: {strategy}}}, template: {{spec: {{{spec}}}}}}}
---
kind: ReplicaSet
apiVersion: apps/v1
metadata: {{name: wiki-1, namespace: shop, ownerReferences: [{{kind: Deployment, name: wiki, controller: true}}]}}
{pods}"""


ATTACHED = """
kind: VolumeAttachment
apiVersion: storage.k8s.io/v1
metadata: {name: csi-1}
spec: {attacher: ebs.csi.aws.com, nodeName: n1, source: {persistentVolumeName: pv-1}}
status: {attached: true}
"""
HELD = claim("volumeName: pv-1, storageClassName: disks", "Bound")


def test_rolling_update_over_a_disk_waits_for_itself() -> None:
    said = event("Pod", "wiki-new", "FailedAttachVolume",
                 'Multi-Attach error for volume "pv-1" Volume is already used by pod(s) wiki-old')  # fmt: skip
    hit = one(list(multi_attach(view_of(rollout(), HELD, ATTACHED, said))))
    assert (hit.code, str(hit.object)) == ("volume-multi-attach", "Deployment shop/wiki")
    for word in ("Multi-Attach", "ReadWriteOnce", "RollingUpdate", "Recreate", "n1", "n2", "wiki-old"):
        assert word in hit.message
    assert {"wiki-new", "data", "csi-1"} <= {r.name for r in hit.related}


def test_multi_attach_is_seen_after_its_event_is_forgotten() -> None:
    assert codes_of(multi_attach, view_of(rollout(), HELD, ATTACHED)) == ["volume-multi-attach"]
    here = ATTACHED.replace("nodeName: n1", "nodeName: n2")
    assert codes_of(multi_attach, view_of(rollout(), HELD, here)) == []
    shared = HELD.replace("ReadWriteOnce", "ReadWriteMany")
    assert codes_of(multi_attach, view_of(rollout(), shared, ATTACHED)) == []


def test_volume_on_a_node_that_died_is_a_symptom_of_the_node() -> None:
    dead = "{kind: Node, apiVersion: v1, metadata: {name: n1}, status: {conditions: [{type: Ready, status: Unknown}]}}"
    hit = one(list(multi_attach(view_of(rollout(), HELD, ATTACHED, dead))))
    assert hit.code == "volume-held-by-unready-node"
    assert "n1" in [r.name for r in hit.related if r.kind == "Node"]


UNREGISTERED = "not found in the list of registered CSI drivers"
NFS = volume(spec=", nfs: {server: files.example, path: /export}")


@pytest.mark.parametrize(
    ("reason", "message", "code", "kind"),
    [
        (
            "FailedMount",
            "mount failed: mount.nfs: Connection timed out",
            "volume-server-unreachable",
            "PersistentVolume",
        ),
        ("FailedMount", "wrong fs type, bad option, bad superblock", "volume-file-system-wrong", "PersistentVolume"),
        ("FailedMount", f"driver name x.csi {UNREGISTERED}", "volume-driver-not-on-node", "Pod"),
        ("FailedAttachVolume", "rpc error: attachment limit exceeded", "volume-attach-failed", "Pod"),
    ],
)
def test_why_a_volume_does_not_come(reason: str, message: str, code: str, kind: str) -> None:
    user = USER.replace("spec:\n", "spec:\n  nodeName: n1\n", 1)
    bound = claim("volumeName: pv-1", "Bound")
    said = event("Pod", "db-0", reason, f'operation failed for volume "pv-1": {message}')
    hit = one(list(failures(view_of(user, bound, NFS, said))))
    assert (hit.code, hit.object.kind) == (code, kind)
    assert message in hit.message


def test_mounts_of_config_maps_and_pods_that_got_their_volume_are_not_judged() -> None:
    said = event("Pod", "db-0", "FailedMount", 'MountVolume.SetUp failed for volume "cfg": configmap "x" not found')
    assert list(failures(view_of(USER, claim("volumeName: pv-1", "Bound"), NFS, said))) == []
    ready = USER.replace(
        "status: {phase: Pending}", 'status: {phase: Running, conditions: [{type: Ready, status: "True"}]}'
    )
    late = event("Pod", "db-0", "FailedMount", 'volume "pv-1": mount.nfs: Connection timed out')
    assert list(failures(view_of(ready, claim("volumeName: pv-1", "Bound"), NFS, late))) == []


def test_volume_in_another_zone_than_the_pod_may_run() -> None:
    zone = (
        ", nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: "
        "[{key: topology.kubernetes.io/zone, operator: In, values: [eu-1a]}]}]}}"
    )
    said = event(
        "Pod", "db-0", "FailedScheduling", "0/3 nodes are available: 3 node(s) had volume node affinity conflict."
    )
    documents = USER, claim("volumeName: pv-1", "Bound"), volume(spec=zone, phase="Bound")
    hit = one(list(node_affinity(view_of(*documents, said))))
    assert hit.code == "volume-node-affinity-conflict"
    assert "eu-1a" in hit.message
    later = event("Pod", "db-0", "FailedScheduling", "0/3 nodes are available: 3 Insufficient cpu.", "11:59:00")
    assert list(node_affinity(view_of(*documents, said, later))) == []


def test_attachment_that_failed_without_an_event() -> None:
    error = "status: {attached: false, attachError: {message: no such disk}}"
    failed = ATTACHED.replace("status: {attached: true}", error)
    holder = volume(spec=", claimRef: {namespace: shop, name: data}")
    documents = USER, claim("volumeName: pv-1", "Bound"), holder
    hit = one(list(attached_elsewhere(view_of(*documents, failed))))
    assert hit.code == "volume-attach-failed"
    assert "no such disk" in hit.message
    assert list(attached_elsewhere(view_of(*documents, ATTACHED))) == []
