"""Faults of scheduling, admission, storage, nodes, batch, autoscaling, rights and monitoring."""
# ruff: noqa: E501  # messages of kubelet, scheduler and controllers stand as they are written, in one piece
# A state reads as a table, one fact a line:
# fmt: off

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.healthy import database, namespace
from tests.support.judging import Expected
from tests.support.kubelet import crash, creating, not_ready, refused, set_condition, status_of, unschedulable
from tests.support.scene import Scene
from tests.support.simulation import Raw

PREEMPTION = " preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."


def _unfit(s: Scene, patch: Callable[[Raw], Any], why: str, *words: str, kinds: tuple[str, ...] = ("Deployment", "StatefulSet")) -> Expected:
    total = len(s.sim.of("Node"))
    for pod in s.release(patch, kinds=kinds):
        taint = "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }"
        unschedulable(s.sim, pod, f"0/{total} nodes are available: {taint}, {why.format(n=total - 1)}.{PREEMPTION.replace('4', str(total))}")
    return s.cause(*words)


def cpu_too_large(s: Scene) -> Expected:
    return _unfit(s, lambda p: p["containers"][0].update(resources={"requests": {"cpu": "12", "memory": "1Gi"}}), "{n} Insufficient cpu", "cpu", "12")


def memory_too_large(s: Scene) -> Expected:
    return _unfit(s, lambda p: p["containers"][0].update(resources={"requests": {"memory": "96Gi"}}), "{n} Insufficient memory", "memory", "96Gi")


def gpu_missing(s: Scene) -> Expected:
    want = {"nvidia.com/gpu": "1"}
    return _unfit(s, lambda p: p["containers"][0].update(resources={"requests": want, "limits": want}), "{n} Insufficient nvidia.com/gpu", "nvidia.com/gpu")


def node_selector_unknown(s: Scene) -> Expected:
    return _unfit(s, lambda p: p.update(nodeSelector={"disktype": "nvme-fast"}), "{n} node(s) didn't match Pod's node affinity/selector", "disktype", "nvme-fast")


def anti_affinity_unmet(s: Scene) -> Expected:
    """More replicas than nodes, each on its own node."""
    s.workload(("Deployment",), replicas=6)
    term = {"labelSelector": {"matchLabels": dict(s.work.labels)}, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    pods = s.sim.release(s.work, lambda p: p.update(affinity=affinity), minutes=25, fresh=True)
    nodes = s.sim.nodes()
    for index, pod in enumerate(pods):
        if index < len(nodes):
            pod["spec"]["nodeName"] = nodes[index]
        else:
            unschedulable(s.sim, pod, f"0/{len(s.sim.of('Node'))} nodes are available: 1 node(s) had untolerated taint {{node-role.kubernetes.io/control-plane: }}, {len(nodes)} node(s) didn't match pod anti-affinity rules.{PREEMPTION}")
    return s.cause("anti-affinity|podAntiAffinity|antiAffinity", "kubernetes.io/hostname|node")


def host_port_taken(s: Scene) -> Expected:
    def patch(p: Raw) -> None:
        p["containers"][0]["ports"][0]["hostPort"] = 9443

    s.workload(("Deployment",), replicas=5)
    pods = s.sim.release(s.work, patch, minutes=25, fresh=True)
    nodes = s.sim.nodes()
    for index, pod in enumerate(pods):
        if index < len(nodes):
            pod["spec"]["nodeName"] = nodes[index]
        else:
            unschedulable(s.sim, pod, f"0/{len(s.sim.of('Node'))} nodes are available: 1 node(s) had untolerated taint {{node-role.kubernetes.io/control-plane: }}, {len(nodes)} node(s) didn't have free ports for the requested pod ports.{PREEMPTION}")
    return s.cause("9443", "hostPort|free ports")


def claim_not_found(s: Scene) -> Expected:
    def patch(p: Raw) -> None:
        p["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "archive-data"}}]

    for pod in s.release(patch, kinds=("Deployment",)):
        unschedulable(s.sim, pod, f'0/4 nodes are available: persistentvolumeclaim "archive-data" not found.{PREEMPTION}')
    return s.cause("archive-data", "not found|does not exist|missing|no claim")


# --- admission


def _refuse(s: Scene, message: str, *words: str, of: tuple[str, ...] = (), patch: Callable[[Raw], Any] = lambda p: None) -> Expected:
    work = s.workload(("Deployment", "StatefulSet", "DaemonSet"), replicas=3)
    patch(work.template["spec"])
    keep = 0 if work.kind == "DaemonSet" or s.rng.random() < 0.5 else 1
    if not keep:
        work.age = work.released = 40
    s.expected.innocent = [i for i in s.expected.innocent if "coredns" in i]
    message = message.replace("POD", f"{work.name}-1" if work.kind == "StatefulSet" else f"{work.name}-7f9c4-x2x4z")
    refused(s.sim, work, message, created=keep)
    if keep:
        work.extra["was_ready"] = True
    return s.cause(*words, of=[o.format(ns=s.ns) for o in of] + [s.ref(work)])


def _quota(s: Scene, hard: dict[str, str], used: dict[str, str]) -> None:
    s.sim.add("v1", "ResourceQuota", "team-cap", s.ns, spec={"hard": hard}, status={"hard": hard, "used": used})


def quota_pods(s: Scene) -> Expected:
    _quota(s, {"pods": "3"}, {"pods": "3"})
    return _refuse(s, 'pods "POD" is forbidden: exceeded quota: team-cap, requested: pods=1, used: pods=3, limited: pods=3', "team-cap", "pods", "exceeded|quota", of=("ResourceQuota/{ns}/team-cap",))


def quota_memory(s: Scene) -> Expected:
    _quota(s, {"limits.memory": "1Gi"}, {"limits.memory": "896Mi"})
    return _refuse(s, 'pods "POD" is forbidden: exceeded quota: team-cap, requested: limits.memory=256Mi, used: limits.memory=896Mi, limited: limits.memory=1Gi', "team-cap", "limits.memory", "exceeded|quota", of=("ResourceQuota/{ns}/team-cap",))


def quota_needs_limits(s: Scene) -> Expected:
    _quota(s, {"limits.cpu": "8"}, {"limits.cpu": "0"})
    return _refuse(s, 'pods "POD" is forbidden: failed quota: team-cap: must specify limits.cpu for: app', "team-cap", "limits.cpu", of=("ResourceQuota/{ns}/team-cap",))


def limit_range_exceeded(s: Scene) -> Expected:
    s.sim.add("v1", "LimitRange", "sizes", s.ns, spec={"limits": [{"type": "Container", "max": {"memory": "128Mi"}}]})
    return _refuse(s, 'pods "POD" is forbidden: maximum memory usage per Container is 128Mi, but limit is 256Mi', "128Mi", "256Mi", of=("LimitRange/{ns}/sizes",))


def pod_security_rejects(s: Scene) -> Expected:
    s.sim.get("Namespace", "", s.ns)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "restricted"
    return _refuse(s, 'pods "POD" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "app" must set securityContext.allowPrivilegeEscalation=false), runAsNonRoot != true (pod or container "app" must set securityContext.runAsNonRoot=true)', "restricted", "runAsNonRoot", of=("Namespace//{ns}",),
        patch=lambda p: (p.update(securityContext={}), p["containers"][0].pop("securityContext")))  # fmt: skip


def account_missing(s: Scene) -> Expected:
    return _refuse(s, f'pods "POD" is forbidden: error looking up service account {s.ns}/planner-sa: serviceaccount "planner-sa" not found', "planner-sa", "not found|does not exist|missing|no ServiceAccount",
        patch=lambda p: p.update(serviceAccountName="planner-sa", serviceAccount="planner-sa"))  # fmt: skip


def priority_class_missing(s: Scene) -> Expected:
    return _refuse(s, 'pods "POD" is forbidden: no PriorityClass with name gold-tier was found', "gold-tier", "PriorityClass", patch=lambda p: p.update(priorityClassName="gold-tier"))


def runtime_class_missing(s: Scene) -> Expected:
    return _refuse(s, 'pods "POD" is forbidden: pod rejected: RuntimeClass "kata-qemu" not found', "kata-qemu", "RuntimeClass", patch=lambda p: p.update(runtimeClassName="kata-qemu"))


def _webhook(s: Scene, name: str) -> None:
    client = {"service": {"namespace": "guardrails", "name": "policy-hook", "path": "/validate", "port": 443}, "caBundle": "eA=="}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], "scope": "*"}
    hook = {"name": "pods.guardrails.example", "clientConfig": client, "rules": [rule], "failurePolicy": "Fail", "timeoutSeconds": 10, "sideEffects": "None", "admissionReviewVersions": ["v1"]}
    s.sim.add("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", name, webhooks=[hook])
    namespace(s.sim, "guardrails")
    s.sim.workload("Deployment", "guardrails", "policy-hook")
    s.sim.get("Service", "guardrails", "policy-hook")["spec"]["ports"][0] |= {"port": 443}


def webhook_denies(s: Scene) -> Expected:
    _webhook(s, "guardrails")
    return _refuse(s, 'admission webhook "pods.guardrails.example" denied the request: images must come from registry.approved.example', "pods.guardrails.example", "registry.approved.example", of=("ValidatingWebhookConfiguration//guardrails",))


def webhook_backend_dead(s: Scene) -> Expected:
    _webhook(s, "guardrails")
    hook = s.sim.find("guardrails", "policy-hook")
    hook.extra["was_ready"] = True
    for pod in s.sim.pods("guardrails", "policy-hook"):
        crash(s.sim, pod, 1, "Error: open /certs/tls.crt: no such file or directory")
    said = 'Internal error occurred: failed calling webhook "pods.guardrails.example": failed to call webhook: Post "https://policy-hook.guardrails.svc:443/validate?timeout=10s": dial tcp 10.96.3.9:443: connect: connection refused'
    return _refuse(s, said, "policy-hook|tls.crt", of=("ValidatingWebhookConfiguration//guardrails", "Deployment/guardrails/policy-hook", "Service/guardrails/policy-hook"))


# --- storage


def _pending_claim(s: Scene, spec: Raw, reason: str, message: str, *, by: str = "persistentvolume-controller") -> None:
    """A new StatefulSet whose first claim stays Pending."""
    s.workload(("StatefulSet",), claims=("data",), claim_spec=spec, container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]})
    for pod in s.sim.release(s.work, lambda p: None, minutes=33, fresh=True):
        name = f"data-{pod['metadata']['name']}"
        claim = s.sim.add("v1", "PersistentVolumeClaim", name, s.ns, age=33, spec=spec | {"volumeMode": "Filesystem"}, status={"phase": "Pending"}, meta={"finalizers": ["kubernetes.io/pvc-protection"]})
        if reason:
            s.sim.event(claim, reason, message, count=90, first=33, last=0.2, by=by)
        unschedulable(s.sim, pod, f"0/4 nodes are available: pod has unbound immediate PersistentVolumeClaims.{PREEMPTION}")


def _claim_ref(s: Scene) -> tuple[str, str]:
    return (f"PersistentVolumeClaim/{s.ns}/data-{s.work.name}-0", s.ref(s.work))


SIZE = {"requests": {"storage": "50Gi"}}


def class_missing(s: Scene) -> Expected:
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "premium-rwo", "resources": SIZE}
    _pending_claim(s, spec, "ProvisioningFailed", 'storageclass.storage.k8s.io "premium-rwo" not found')
    return s.cause("premium-rwo", "not found|does not exist|no such|no StorageClass", of=_claim_ref(s))


def no_default_class(s: Scene) -> Expected:
    for storage in s.sim.of("StorageClass"):
        storage["metadata"]["annotations"] = {}
    _pending_claim(s, {"accessModes": ["ReadWriteOnce"], "resources": SIZE}, "FailedBinding", "no persistent volumes available for this claim and no storage class is set")
    return s.cause("default|no storage class", of=_claim_ref(s))


def static_volume_too_small(s: Scene) -> Expected:
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": SIZE, "volumeName": "nfs-archive"}
    s.sim.add("v1", "PersistentVolume", "nfs-archive", spec={"capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"],
        "nfs": {"server": "10.9.9.9", "path": "/x"}, "persistentVolumeReclaimPolicy": "Retain"}, status={"phase": "Available"})  # fmt: skip
    _pending_claim(s, spec, "VolumeMismatch", 'Cannot bind to requested volume "nfs-archive": requested PV is too small')
    return s.cause("nfs-archive", "50Gi", "10Gi", of=_claim_ref(s))


def static_volume_mode_differs(s: Scene) -> Expected:
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": SIZE, "volumeName": "local-archive"}
    s.sim.add("v1", "PersistentVolume", "local-archive", spec={"capacity": {"storage": "100Gi"}, "accessModes": ["ReadWriteOnce"],
        "nfs": {"server": "10.9.9.9", "path": "/x"}, "persistentVolumeReclaimPolicy": "Retain"}, status={"phase": "Available"})  # fmt: skip
    _pending_claim(s, spec, "VolumeMismatch", 'Cannot bind to requested volume "local-archive": incompatible accessMode')
    return s.cause("ReadWriteMany", "ReadWriteOnce", "local-archive", of=_claim_ref(s))


def volume_released(s: Scene) -> Expected:
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": SIZE, "volumeName": "kept-data"}
    old = {"kind": "PersistentVolumeClaim", "namespace": s.ns, "name": "former-claim", "uid": "11111111-2222-4333-8444-555555555555"}
    s.sim.add("v1", "PersistentVolume", "kept-data", spec={"capacity": {"storage": "100Gi"}, "accessModes": ["ReadWriteOnce"], "claimRef": old,
        "nfs": {"server": "10.9.9.9", "path": "/x"}, "persistentVolumeReclaimPolicy": "Retain"}, status={"phase": "Released"})  # fmt: skip
    _pending_claim(s, spec, "FailedBinding", 'volume "kept-data" already bound to a different claim.')
    return s.cause("kept-data", "Released|claimRef|former-claim", of=(*_claim_ref(s), "PersistentVolume//kept-data"))


def provisioner_absent(s: Scene) -> Expected:
    s.sim.add("storage.k8s.io/v1", "StorageClass", "ceph-block", provisioner="rook-ceph.rbd.csi.ceph.com", volumeBindingMode="Immediate", reclaimPolicy="Delete")
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "ceph-block", "resources": SIZE}
    _pending_claim(s, spec, "ExternalProvisioning", "Waiting for a volume to be created either by the external provisioner 'rook-ceph.rbd.csi.ceph.com' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.")
    return s.cause("rook-ceph.rbd.csi.ceph.com", of=(*_claim_ref(s), "StorageClass//ceph-block"))


def provisioning_quota(s: Scene) -> Expected:
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "gp3", "resources": SIZE}
    said = 'failed to provision volume with StorageClass "gp3": rpc error: code = ResourceExhausted desc = VolumeLimitExceeded: You have exceeded your maximum gp3 storage limit of 50 TiB in this region'
    _pending_claim(s, spec, "ProvisioningFailed", said, by="ebs.csi.aws.com_ebs-csi-controller-0")
    return s.cause("VolumeLimitExceeded|limit", of=_claim_ref(s))


def multi_attach(s: Scene) -> Expected:
    from tests.support.healthy import claim

    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "uploads"}}
    s.workload(("Deployment",), replicas=1, pod={"volumes": [volume]}, container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]})
    old = next(s.sim.pods(s.ns, s.work.name))
    made = claim(s.sim, s.ns, "uploads", on=old["spec"]["nodeName"])
    other = next(n for n in s.sim.nodes() if n != old["spec"]["nodeName"])
    for pod in s.sim.release(s.work, lambda p: p["containers"][0].update(image="ghcr.io/fernhill/x:9"), minutes=23, fresh=False):
        pod["spec"]["nodeName"] = other
        creating(s.sim, pod, "FailedAttachVolume", f'Multi-Attach error for volume "{made["spec"]["volumeName"]}" Volume is already used by pod(s) {old["metadata"]["name"]}')
    return s.cause("Multi-Attach", "ReadWriteOnce|RWO", "RollingUpdate|Recreate", of=(s.ref(s.work), f"PersistentVolumeClaim/{s.ns}/uploads"))


def volume_full(s: Scene) -> Expected:
    s._work = database(s.sim, s.ns, "route-db")
    s._work.extra["was_ready"] = True
    for pod in s.sim.pods(s.ns, "route-db"):
        crash(s.sim, pod, 1, 'PANIC:  could not write to file "pg_wal/xlogtemp.29": No space left on device')
    return s.cause("no space left", "data-route-db-0|pg_wal", of=(s.ref(s._work), f"PersistentVolumeClaim/{s.ns}/data-route-db-0"))


def nfs_unreachable(s: Scene) -> Expected:
    def patch(p: Raw) -> None:
        p["volumes"] = [{"name": "share", "nfs": {"server": "nfs-7.fern.example", "path": "/exports/scans"}}]
        p["containers"][0]["volumeMounts"] = [{"name": "share", "mountPath": "/scans"}]

    for pod in s.release(patch, kinds=("Deployment",), events=True):
        creating(s.sim, pod, "FailedMount", 'MountVolume.SetUp failed for volume "share" : mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs nfs-7.fern.example:/exports/scans /var/lib/kubelet/pods/x/volumes/kubernetes.io~nfs/share\nOutput: mount.nfs: Connection timed out')
    return s.cause("nfs-7.fern.example", "timed out")


def volume_permission(s: Scene) -> Expected:
    s._work = database(s.sim, s.ns, "route-db")
    for pod in s.sim.release(s._work, lambda p: p.update(securityContext={"runAsUser": 1701}), minutes=20, fresh=False):
        crash(s.sim, pod, 1, 'mkdir: cannot create directory \'/var/lib/postgresql/data/pgdata\': Permission denied')
    return s.cause("permission denied", "/var/lib/postgresql/data", "1701|fsGroup", of=(s.ref(s._work),))


# --- nodes


def _fail_node(s: Scene, name: str, message: str) -> None:
    node = s.sim.get("Node", "", name)
    for condition in node["status"]["conditions"]:
        condition |= {"status": "Unknown", "reason": "NodeStatusUnknown", "message": message, "lastTransitionTime": s.sim.ago(18), "lastHeartbeatTime": s.sim.ago(19)}
    node["spec"]["taints"] = [{"key": "node.kubernetes.io/unreachable", "effect": e, "timeAdded": s.sim.ago(18)} for e in ("NoSchedule", "NoExecute")]
    s.sim.get("Lease", "kube-node-lease", name)["spec"]["renewTime"] = s.sim.ago(19).replace("Z", ".000000Z")
    for pod in s.sim.of("Pod"):
        if pod["spec"].get("nodeName") == name:
            for kind in ("Ready",):
                set_condition(pod, kind, "False", lastTransitionTime=s.sim.ago(18), reason="NodeNotReady")
            s.sim.event(pod, "NodeNotReady", "Node is not ready", first=18, last=18, by="node-controller")
    for work in s.sim.workloads:
        work.extra["was_ready"] = True


def node_lost(s: Scene) -> Expected:
    s.workload(("Deployment",), replicas=2)
    name = next(s.sim.pods(s.ns, s.work.name))["spec"]["nodeName"]
    for pod in s.sim.pods(s.ns, s.work.name):
        pod["spec"]["nodeName"] = name
    _fail_node(s, name, "Kubelet stopped posting node status.")
    s.expected.innocent.clear()
    return s.cause(name, "stopped posting|NotReady|Unknown|heartbeat", of=(f"Node//{name}",))


def disk_pressure(s: Scene) -> Expected:
    """A node runs out of disk and evicts pods that may run nowhere else."""
    s.workload(("Deployment",), replicas=2)
    pods = list(s.sim.pods(s.ns, s.work.name))
    name = pods[0]["spec"]["nodeName"]
    node = s.sim.get("Node", "", name)
    said = {"reason": "KubeletHasDiskPressure", "message": "kubelet has disk pressure"}
    node["status"]["conditions"][1] |= {"status": "True", "lastTransitionTime": s.sim.ago(14)} | said
    node["spec"]["taints"] = [{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]
    s.work.template["spec"]["nodeSelector"] = {"kubernetes.io/hostname": name}
    for pod in pods:
        low = "The node was low on resource: ephemeral-storage. Threshold quantity: 8110686, available: 5321904Ki. "
        pod["spec"] |= {"nodeName": name, "nodeSelector": {"kubernetes.io/hostname": name}}
        pod["status"] |= {"phase": "Failed", "reason": "Evicted", "message": low}
        not_ready(s.sim, pod, [status_of(pod)["name"]], 13)
        ended = {"exitCode": 137, "reason": "Error", "finishedAt": s.sim.ago(13)}
        status_of(pod).update(ready=False, state={"terminated": ended})
        s.sim.event(pod, "Evicted", low, first=13, last=13)
    others = len(s.sim.nodes())
    for index in (7, 8):
        unfit = f"1 node(s) had untolerated taint {{node.kubernetes.io/disk-pressure: }}, {others} node(s) didn't match Pod's node affinity/selector"
        pod = s.sim.pod(s.work, index, 12)
        pod["spec"]["nodeSelector"] = {"kubernetes.io/hostname": name}
        unschedulable(s.sim, pod, f"0/{others + 1} nodes are available: {unfit}.{PREEMPTION}")
    s.work.extra["was_ready"] = True
    return s.cause(name, "disk pressure|DiskPressure|disk-pressure", of=(f"Node//{name}",))


def all_cordoned(s: Scene) -> Expected:
    s.workload(("Deployment",))
    s.sim.of("Node")
    pods = s.sim.release(s.work, lambda p: p.update(terminationGracePeriodSeconds=31), minutes=25, fresh=True)
    for node in s.sim.of("Node"):
        if "control-plane" not in node["metadata"]["name"]:
            node["spec"] |= {"unschedulable": True, "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}
    total = len(s.sim.of("Node"))
    for pod in pods:
        unschedulable(s.sim, pod, f"0/{total} nodes are available: 1 node(s) had untolerated taint {{node-role.kubernetes.io/control-plane: }}, {total - 1} node(s) were unschedulable.{PREEMPTION}")
    return s.cause("cordon|unschedulable", of=(s.ref(s.work), *(f"Node//{n['metadata']['name']}" for n in s.sim.of("Node"))))


MUTATIONS: tuple[Callable[[Scene], Expected], ...] = (
    cpu_too_large, memory_too_large, gpu_missing, node_selector_unknown, anti_affinity_unmet, host_port_taken,
    claim_not_found, quota_pods, quota_memory, quota_needs_limits, limit_range_exceeded, pod_security_rejects,
    account_missing, priority_class_missing, runtime_class_missing, webhook_denies, webhook_backend_dead,
    class_missing, no_default_class, static_volume_too_small, static_volume_mode_differs, volume_released,
    provisioner_absent, provisioning_quota, multi_attach, volume_full, nfs_unreachable, volume_permission,
    node_lost, disk_pressure, all_cordoned,
)  # fmt: skip
