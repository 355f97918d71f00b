"""Rarer faults of start, scheduling, admission and storage."""
# ruff: noqa: E501  # messages of kubelet, scheduler and controllers stand as they are written, in one piece
# A state reads as a table, one fact a line:
# fmt: off

from __future__ import annotations

from collections.abc import Callable

from tests.support.healthy import claim
from tests.support.judging import Expected
from tests.support.kubelet import crash, creating, not_ready, refused, status_of, unschedulable, waiting
from tests.support.mutations_platform import PREEMPTION, SIZE, _pending_claim, _quota, _refuse, _unfit, _webhook
from tests.support.scene import Scene
from tests.support.simulation import Raw


def clean_exit_loop(s: Scene) -> Expected:
    for pod in s.container(lambda c: c.update(command=["/bin/sh", "-c"], args=["start-server --daemon"])):
        crash(s.sim, pod, 0, "server started in background, pid 12", reason="Completed")
    return s.cause("exit|Completed", "start-server --daemon")


def init_out_of_memory(s: Scene) -> Expected:
    init = {"name": "warm-cache", "image": f"{s.sim.registry}/warm:1", "resources": {"limits": {"memory": "48Mi"}}}
    for pod in s.release(lambda p: p.update(initContainers=[init])):
        crash(s.sim, pod, 137, "loading index", reason="OOMKilled", container="warm-cache")
    return s.cause("OOM", "48Mi", "warm-cache")


def post_start_hook_fails(s: Scene) -> Expected:
    hook = {"postStart": {"exec": {"command": ["/hooks/register", "--zone=a"]}}}
    for pod in s.container(lambda c: c.update(lifecycle=hook), events=True):
        crash(s.sim, pod, 137, "listening on :8080")
        s.sim.event(pod, "FailedPostStartHook", "PostStartHook failed", count=6, last=2)
    return s.cause("/hooks/register", "postStart|PostStart|lifecycle")


def host_path_wrong_type(s: Scene) -> Expected:
    def patch(p: Raw) -> None:
        p["volumes"] = [{"name": "certs", "hostPath": {"path": "/etc/fern/certs", "type": "Directory"}}]
        p["containers"][0]["volumeMounts"] = [{"name": "certs", "mountPath": "/certs"}]

    for pod in s.release(patch, events=True):
        creating(s.sim, pod, "FailedMount", 'MountVolume.SetUp failed for volume "certs" : hostPath type check failed: /etc/fern/certs is not a directory')
    return s.cause("/etc/fern/certs", "not a directory")


def csi_driver_missing(s: Scene) -> Expected:
    def patch(p: Raw) -> None:
        p["volumes"] = [{"name": "vault", "csi": {"driver": "secrets-store.csi.k8s.io", "volumeAttributes": {"secretProviderClass": "planner"}}}]
        p["containers"][0]["volumeMounts"] = [{"name": "vault", "mountPath": "/vault"}]

    for pod in s.release(patch, events=True):
        creating(s.sim, pod, "FailedMount", 'MountVolume.SetUp failed for volume "vault" : kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name secrets-store.csi.k8s.io not found in the list of registered CSI drivers')
    return s.cause("secrets-store.csi.k8s.io", "not found|registered")


def addresses_exhausted(s: Scene) -> Expected:
    for pod in s.release(lambda p: p.update(terminationGracePeriodSeconds=22), kinds=("Deployment",), events=True):
        creating(s.sim, pod, "FailedCreatePodSandBox", 'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "ab12": plugin type="aws-cni" name="aws-cni" failed (add): add cmd: failed to assign an IP address to container')
    return s.cause("IP address", "assign|exhaust|no free")


def admission_by_kubelet(s: Scene) -> Expected:
    """A pod bound by hand to a node that does not exist."""
    def patch(p: Raw) -> None:
        p["nodeName"] = "gpu-node-99"

    for pod in s.release(patch, kinds=("Deployment",)):
        pod["spec"]["nodeName"] = "gpu-node-99"
        pod["status"] = {"phase": "Pending", "qosClass": "Burstable", "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": s.sim.ago(20)}]}
        name = pod["spec"]["containers"][0]["name"]
        s.sim.logs.pop((s.ns, pod["metadata"]["name"], name, False), None)
    return s.cause("gpu-node-99")


def wrong_scheduler(s: Scene) -> Expected:
    for pod in s.release(lambda p: p.update(schedulerName="fern-scheduler"), kinds=("Deployment", "StatefulSet")):
        pod["spec"].pop("nodeName", None)
        pod["status"] = {"phase": "Pending", "qosClass": "Burstable"}
        name = pod["spec"]["containers"][0]["name"]
        s.sim.logs.pop((s.ns, pod["metadata"]["name"], name, False), None)
    return s.cause("fern-scheduler", "schedulerName|scheduler")


def gated(s: Scene) -> Expected:
    for pod in s.release(lambda p: p.update(schedulingGates=[{"name": "fern.example/quota-check"}]), kinds=("Deployment",)):
        pod["spec"].pop("nodeName", None)
        said = {"reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates"}
        pod["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", **said}]}
    return s.cause("fern.example/quota-check", "gate")


def spread_unmet(s: Scene) -> Expected:
    rule = {"maxSkew": 1, "topologyKey": "topology.fern.example/rack", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"x": "y"}}}
    return _unfit(s, lambda p: p.update(topologySpreadConstraints=[rule]), "{n} node(s) didn't match pod topology spread constraints (missing required label)", "topology.fern.example/rack", "spread")


def pod_affinity_unmet(s: Scene) -> Expected:
    term = {"labelSelector": {"matchLabels": {"app": "ledger-cache"}}, "topologyKey": "kubernetes.io/hostname"}
    rule = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return _unfit(s, lambda p: p.update(affinity=rule), "{n} node(s) didn't match pod affinity rules", "ledger-cache", "affinity")


def dedicated_taint(s: Scene) -> Expected:
    """The only nodes with the wanted label are tainted for others."""
    node = s.sim.nodes()[0]
    raw = s.sim.get("Node", "", node)
    pods = s.release(lambda p: p.update(nodeSelector={"pool": "analytics"}), kinds=("Deployment",))
    raw["metadata"]["labels"]["pool"] = "analytics"
    raw["spec"]["taints"] = [{"key": "pool", "value": "analytics-only", "effect": "NoSchedule"}]
    for pod in pods:
        unschedulable(s.sim, pod, f"0/4 nodes are available: 1 node(s) had untolerated taint {{pool: analytics-only}}, 3 node(s) didn't match Pod's node affinity/selector.{PREEMPTION}")
    return s.cause("analytics-only", "taint|tolerat")


def volume_in_other_zone(s: Scene) -> Expected:
    made = claim(s.sim, s.ns, "archive")
    volume = s.sim.get("PersistentVolume", "", made["spec"]["volumeName"])
    term = {"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["eu-central-1f"]}]}
    volume["spec"]["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    for pod in s.release(lambda p: p.update(volumes=[{"name": "a", "persistentVolumeClaim": {"claimName": "archive"}}]), kinds=("Deployment",)):
        unschedulable(s.sim, pod, f"0/4 nodes are available: 1 node(s) had untolerated taint {{node-role.kubernetes.io/control-plane: }}, 3 node(s) didn't match PersistentVolume's node affinity.{PREEMPTION}")
    return s.cause("eu-central-1f", of=(s.ref(s.work), f"PersistentVolumeClaim/{s.ns}/archive", f"PersistentVolume//{volume['metadata']['name']}"))


def claim_over_quota(s: Scene) -> Expected:
    _quota(s, {"requests.storage": "60Gi"}, {"requests.storage": "40Gi"})
    work = s.workload(("StatefulSet",), claims=("data",), replicas=1, claim_spec={"accessModes": ["ReadWriteOnce"], "resources": SIZE})
    work.age = work.released = 40
    said = f'persistentvolumeclaims "data-{work.name}-0" is forbidden: exceeded quota: team-cap, requested: requests.storage=50Gi, used: requests.storage=40Gi, limited: requests.storage=60Gi'
    refused(s.sim, work, said)
    return s.cause("team-cap", "requests.storage", of=(s.ref(work), f"ResourceQuota/{s.ns}/team-cap"))


def webhook_times_out(s: Scene) -> Expected:
    """The webhook's pods run and do not answer in time."""
    _webhook(s, "guardrails")
    said = 'Internal error occurred: failed calling webhook "pods.guardrails.example": failed to call webhook: Post "https://policy-hook.guardrails.svc:443/validate?timeout=10s": context deadline exceeded'
    return _refuse(s, said, "pods.guardrails.example", "deadline|time", of=("ValidatingWebhookConfiguration//guardrails", "Deployment/guardrails/policy-hook", "Service/guardrails/policy-hook"))


def webhook_service_missing(s: Scene) -> Expected:
    _webhook(s, "guardrails")
    for kind in ("Service", "PodDisruptionBudget"):
        s.sim.drop(kind, "guardrails", "policy-hook")
    said = 'Internal error occurred: failed calling webhook "pods.guardrails.example": failed to call webhook: Post "https://policy-hook.guardrails.svc:443/validate?timeout=10s": service "policy-hook" not found'
    return _refuse(s, said, "policy-hook", "not found|does not exist|no Service|missing", of=("ValidatingWebhookConfiguration//guardrails",))


def limit_range_ratio(s: Scene) -> Expected:
    s.sim.add("v1", "LimitRange", "sizes", s.ns, spec={"limits": [{"type": "Container", "maxLimitRequestRatio": {"memory": "2"}}]})
    return _refuse(s, 'pods "POD" is forbidden: memory max limit to request ratio per Container is 2, but provided ratio is 2.666667', "ratio", "sizes|LimitRange", of=("LimitRange/{ns}/sizes",))


def claim_lost(s: Scene) -> Expected:
    """The volume behind a bound claim has been deleted."""
    made = claim(s.sim, s.ns, "archive")
    s.sim.drop("PersistentVolume", "", made["spec"]["volumeName"])
    made["status"]["phase"] = "Lost"
    s.sim.event(made, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!", first=30, last=30, by="persistentvolume-controller")
    for pod in s.release(lambda p: p.update(volumes=[{"name": "a", "persistentVolumeClaim": {"claimName": "archive"}}]), kinds=("Deployment",)):
        unschedulable(s.sim, pod, f'0/4 nodes are available: persistentvolumeclaim "archive" bound to non-existent persistentvolume "{made["spec"]["volumeName"]}".{PREEMPTION}')
    return s.cause("archive", "Lost|lost", of=(f"PersistentVolumeClaim/{s.ns}/archive",))


def attach_fails(s: Scene) -> Expected:
    made = claim(s.sim, s.ns, "archive")
    for pod in s.release(lambda p: p.update(volumes=[{"name": "a", "persistentVolumeClaim": {"claimName": "archive"}}]), kinds=("Deployment",), events=True):
        creating(s.sim, pod, "FailedAttachVolume", f'AttachVolume.Attach failed for volume "{made["spec"]["volumeName"]}" : rpc error: code = NotFound desc = Volume "vol-0aa" not found')
    return s.cause("vol-0aa", "not found|attach", of=(s.ref(s.work), f"PersistentVolumeClaim/{s.ns}/archive", f"PersistentVolume//{made['spec']['volumeName']}"))


def resize_fails(s: Scene) -> Expected:
    s.workload(("Deployment",), replicas=1, pod={"volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "archive"}}]})
    made = claim(s.sim, s.ns, "archive", on=next(s.sim.pods(s.ns, s.work.name))["spec"]["nodeName"])
    made["spec"]["resources"]["requests"]["storage"] = "80Gi"
    made["status"]["conditions"] = [{"type": "Resizing", "status": "True", "lastTransitionTime": s.sim.ago(90)}]
    said = 'resize volume "x" by resizer "ebs.csi.aws.com" failed: rpc error: code = Internal desc = Could not resize volume: VolumeModificationRateExceeded: You have reached the maximum modification rate per volume limit. Wait at least 6 hours between modifications'
    s.sim.event(made, "VolumeResizeFailed", said, count=20, last=2, by="external-resizer ebs.csi.aws.com")
    return s.cause("80Gi", "20Gi|VolumeModificationRateExceeded", of=(f"PersistentVolumeClaim/{s.ns}/archive",))


def shared_mode_unsupported(s: Scene) -> Expected:
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": "gp3", "resources": SIZE}
    said = 'failed to provision volume with StorageClass "gp3": rpc error: code = InvalidArgument desc = Volume capabilities MULTI_NODE_MULTI_WRITER not supported. Only AccessModes[ReadWriteOnce] supported.'
    _pending_claim(s, spec, "ProvisioningFailed", said, by="ebs.csi.aws.com_ebs-csi-controller-0")
    return s.cause("ReadWriteMany|MULTI_NODE", "not supported|support", of=(f"PersistentVolumeClaim/{s.ns}/data-{s.work.name}-0", s.ref(s.work)))


def empty_dir_overflows(s: Scene) -> Expected:
    volume = {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}
    s.workload(("Deployment",), replicas=2, pod={"volumes": [volume]})
    for index, pod in enumerate(list(s.sim.pods(s.ns, s.work.name))):
        said = 'Usage of EmptyDir volume "tmp" exceeds the limit "64Mi". '
        pod["status"] |= {"phase": "Failed", "reason": "Evicted", "message": said}
        not_ready(s.sim, pod, [status_of(pod)["name"]], 9 + index)
        ended = {"exitCode": 137, "reason": "Error", "finishedAt": s.sim.ago(9)}
        status_of(pod).update(ready=False, state={"terminated": ended})
        s.sim.event(pod, "Evicted", said, first=9, last=9)
    for index in (5, 6):
        pod = s.sim.pod(s.work, index, 8)
        status_of(pod)["ready"] = True
    s.work.extra["was_ready"] = True
    return s.cause("64Mi", "tmp|emptyDir|EmptyDir")


def image_pull_slow_disk(s: Scene) -> Expected:
    from tests.support.kubelet import pull_failure

    for pod in s.container(lambda c: c.update(image=f"{s.sim.registry}/huge:5")):
        pull_failure(s.sim, pod, f'rpc error: code = Unknown desc = failed to pull and unpack image "{status_of(pod)["image"]}": failed to extract layer sha256:aa: write /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/9/fs/x: no space left on device')
    return s.cause("no space left", of=(s.ref(s.work), *(f"Node//{n}" for n in s.sim.nodes())))


def seccomp_profile_missing(s: Scene) -> Expected:
    profile = {"type": "Localhost", "localhostProfile": "profiles/tight.json"}
    for pod in s.container(lambda c: c["securityContext"].update(seccompProfile=profile)):
        said = 'failed to create containerd container: failed to generate container spec opts: cannot load seccomp profile "/var/lib/kubelet/seccomp/profiles/tight.json": open /var/lib/kubelet/seccomp/profiles/tight.json: no such file or directory'
        waiting(s.sim, pod, "CreateContainerError", said)
        s.sim.event(pod, "Failed", f"Error: {said}", count=30)
    return s.cause("profiles/tight.json", "seccomp")


def not_root_by_name(s: Scene) -> Expected:
    for pod in s.release(lambda p: p.update(securityContext={"runAsNonRoot": True}), kinds=("Deployment",)):
        meta = pod["metadata"]
        said = f'container has runAsNonRoot and image has non-numeric user (appuser), cannot verify user is non-root (pod: "{meta["name"]}_{s.ns}({meta["uid"]})", container: {status_of(pod)["name"]})'
        waiting(s.sim, pod, "CreateContainerConfigError", said)
    return s.cause("appuser", "runAsNonRoot")


def liveness_too_early(s: Scene) -> Expected:
    from tests.support.kubelet import killed_by_liveness
    from tests.support.simulation import probe

    early = probe({"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}}, delay=5, period=5, failures=2)
    for pod in s.container(lambda c: c.update(livenessProbe=early), events=True):
        killed_by_liveness(s.sim, pod, f'Get "http://10.244.1.7:{s.work.port}/healthz": dial tcp 10.244.1.7:{s.work.port}: connect: connection refused', log=f"{s.sim.ago(2.3)} INFO compiling templates 10 %")
        ended = status_of(pod)["lastState"]["terminated"]
        ended["startedAt"] = s.sim.ago(2.4)
    return s.cause("liveness", "initialDelaySeconds|startupProbe|startup")


def terminating_namespace(s: Scene) -> Expected:
    """The namespace cannot be deleted: a resource of it keeps a finalizer."""
    s.workload(("Deployment",))
    raw = s.sim.get("Namespace", "", s.ns)
    raw["metadata"]["deletionTimestamp"] = s.sim.ago(200)
    raw["status"] = {"phase": "Terminating", "conditions": [
        {"type": "NamespaceFinalizersRemaining", "status": "True", "reason": "SomeFinalizersRemain", "message": "Some content in the namespace has finalizers remaining: queues.fern.example/cleanup in 1 resource instances", "lastTransitionTime": s.sim.ago(199)},
        {"type": "NamespaceContentRemaining", "status": "True", "reason": "SomeResourcesRemain", "message": "Some resources are remaining: queues.fern.example has 1 resource instances", "lastTransitionTime": s.sim.ago(199)}]}  # fmt: skip
    return s.cause("queues.fern.example/cleanup", of=(f"Namespace//{s.ns}",))


MUTATIONS: tuple[Callable[[Scene], Expected], ...] = (
    clean_exit_loop, init_out_of_memory, post_start_hook_fails, host_path_wrong_type, csi_driver_missing,
    addresses_exhausted, admission_by_kubelet, wrong_scheduler, gated, spread_unmet, pod_affinity_unmet,
    dedicated_taint, volume_in_other_zone, claim_over_quota, webhook_times_out, webhook_service_missing,
    limit_range_ratio, claim_lost, attach_fails, resize_fails, shared_mode_unsupported, empty_dir_overflows,
    image_pull_slow_disk, seccomp_profile_missing, not_root_by_name, liveness_too_early, terminating_namespace,
)  # fmt: skip
