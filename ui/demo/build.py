"""Writes the demo snapshot: a made-up cluster with a few honest faults. `python -m ui.demo.build` makes it anew.

The cluster belongs to no one; every name in it is invented. Its faults are of the everyday kind, one per specialist,
so that each of the greeting's questions has an answer worth reading, and most of the cluster is healthy, as clusters
are.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import yaml

from ui.demo.parts import NODES, NOW, REGISTRY, Raw, Workload, ago, deployment, event, obj, owned_by, pod, uid

FOLDER = Path(__file__).parent / "snapshot"
_PULL_MESSAGE = (
    'Back-off pulling image "{image}": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image '
    '"{image}": failed to resolve reference "{image}": {image}: not found'
)


def nodes() -> list[Raw]:
    """Three healthy nodes."""
    conditions = [("MemoryPressure", "False"), ("DiskPressure", "False"), ("PIDPressure", "False"), ("Ready", "True")]
    allocatable = {"cpu": "4", "memory": "16Gi", "pods": "110", "ephemeral-storage": "90Gi"}
    return [
        obj(
            "v1",
            "Node",
            name,
            spec={"podCIDR": f"10.42.{index}.0/24"},
            status={
                "allocatable": allocatable,
                "capacity": allocatable,
                "conditions": [
                    {"type": t, "status": s, "lastHeartbeatTime": ago(seconds=20), "lastTransitionTime": ago(days=40)}
                    for t, s in conditions
                ],
                "nodeInfo": {"kubeletVersion": "v1.35.2", "architecture": "amd64", "operatingSystem": "linux"},
            },
            meta_more={
                "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{'abc'[index]}"}
            },
        )
        for index, name in enumerate(NODES)
    ]


def checkout() -> list[Raw]:
    """Deployment: a release whose image tag has a letter for a digit."""
    image = f"{REGISTRY}/shop/checkout:2.18.O"
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": _PULL_MESSAGE.format(image=image)}}
    work = Workload(
        "shop",
        "checkout",
        "shop/checkout:2.18.O",
        replicas=3,
        old_image="shop/checkout:2.17.3",
        broken={"state": waiting, "phase": "Pending"},
    )
    objects = deployment(work)
    new = next(o for o in objects if o["kind"] == "Pod" and o["spec"]["containers"][0]["image"].endswith("2.18.O"))
    failed = f'Failed to pull image "{image}": rpc error: code = NotFound desc = {image}: not found'
    return [*objects, event(new, "Failed", failed, count=6, first=ago(minutes=26), last=ago(minutes=3))]


def ledger() -> list[Raw]:
    """Performance: a heap that is larger than the memory limit."""
    killed = {
        "terminated": {
            "reason": "OOMKilled",
            "exitCode": 137,
            "startedAt": ago(minutes=9),
            "finishedAt": ago(minutes=6),
        }
    }
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container=ledger"}}
    work = Workload(
        "payments",
        "ledger",
        "payments/ledger:5.2.0",
        container={
            "env": [{"name": "JAVA_TOOL_OPTIONS", "value": "-Xms256m -Xmx1536m"}],
            "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        },
        broken={"state": waiting, "lastState": killed, "restartCount": 14},
        age=timedelta(hours=3),
    )
    objects = deployment(work)
    message = "Back-off restarting failed container ledger in pod"
    pods = [o for o in objects if o["kind"] == "Pod"]
    return [
        *objects,
        *(event(p, "BackOff", message, count=61, first=ago(hours=2.8), last=ago(minutes=1)) for p in pods),
    ]


def catalog() -> list[Raw]:
    """Networking: a Service whose named target port no container has."""
    objects = deployment(Workload("shop", "catalog", "shop/catalog:1.9.4"))
    for item in objects:
        if item["kind"] == "Service":
            item["spec"]["ports"][0]["targetPort"] = "web"
        if item["kind"] == "EndpointSlice":
            item["ports"] = []
            item["endpoints"] = []
    rule = {"host": "shop.meadow.example", "http": {"paths": [_path("/catalog", "catalog"), _path("/", "storefront")]}}
    ingress = obj(
        "networking.k8s.io/v1", "Ingress", "shop", "shop", spec={"ingressClassName": "nginx", "rules": [rule]}
    )
    return [
        *objects,
        ingress,
        obj("networking.k8s.io/v1", "IngressClass", "nginx", spec={"controller": "k8s.io/ingress-nginx"}),
    ]


def _path(path: str, service: str) -> Raw:
    return {"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}


def archive() -> list[Raw]:
    """Storage: a claim of a class that does not exist, and the StatefulSet that waits for it."""
    claim_spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast-nvme",
        "resources": {"requests": {"storage": "50Gi"}},
    }
    claim = obj(
        "v1",
        "PersistentVolumeClaim",
        "data-archive-0",
        "platform",
        spec=claim_spec,
        status={"phase": "Pending"},
        age=timedelta(hours=3),
        meta_more={"labels": {"app": "archive"}},
    )
    failed = event(
        claim,
        "ProvisioningFailed",
        'storageclass.storage.k8s.io "fast-nvme" not found',
        count=720,
        first=ago(hours=3),
        last=ago(seconds=15),
        component="persistentvolume-controller",
    )
    return [*_archive_workload(claim_spec), claim, *_storage_classes(), failed]


def _archive_workload(claim_spec: Raw) -> list[Raw]:
    template = Workload("platform", "archive", "platform/archive:0.8.1").template("platform/archive:0.8.1")
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data-archive-0"}}
    scheduling = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    waiting = pod(
        "archive-0",
        "platform",
        spec=template["spec"] | {"volumes": [volume]},
        labels={"app": "archive"},
        owners=owned_by("StatefulSet", "archive", "platform"),
        age=timedelta(hours=3),
        broken={"state": {}, "scheduled": scheduling},
    )
    spec = {
        "replicas": 1,
        "serviceName": "archive",
        "selector": {"matchLabels": {"app": "archive"}},
        "template": template,
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim_spec}],
    }
    status = {"replicas": 1, "readyReplicas": 0, "observedGeneration": 1}
    stateful = obj("apps/v1", "StatefulSet", "archive", "platform", age=timedelta(hours=3), spec=spec, status=status)
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    headless = {"clusterIP": "None", "selector": {"app": "archive"}, "ports": ports}
    return [stateful, waiting, obj("v1", "Service", "archive", "platform", spec=headless)]


def _storage_classes() -> list[Raw]:
    return [
        obj(
            "storage.k8s.io/v1",
            "StorageClass",
            name,
            provisioner="csi.meadow.example",
            reclaimPolicy="Delete",
            volumeBindingMode="WaitForFirstConsumer",
            meta_more={"annotations": {"storageclass.kubernetes.io/is-default-class": default}},
        )
        for name, default in (("standard", "true"), ("fast-ssd", "false"))
    ]


def metrics() -> list[Raw]:
    """Monitoring: a ServiceMonitor that names a port which the Service does not have."""
    endpoint = [{"port": "http-metrics", "interval": "30s"}]
    monitor = obj(
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        "storefront",
        "shop",
        spec={"selector": {"matchLabels": {"app": "storefront"}}, "endpoints": endpoint},
        meta_more={"labels": {"release": "prometheus"}},
    )
    objects = deployment(Workload("shop", "storefront", "shop/storefront:7.0.2", replicas=3))
    for item in objects:
        if item["kind"] == "Service":
            item["metadata"]["labels"] = {"app": "storefront"}
    return [*objects, monitor]


def runner() -> list[Raw]:
    """Security: a build runner that is privileged and bound to cluster-admin."""
    work = Workload(
        "platform",
        "ci-runner",
        "platform/ci-runner:16.4",
        container={
            "securityContext": {"privileged": True},
            "volumeMounts": [{"name": "docker", "mountPath": "/var/run/docker.sock"}],
        },
        pod={
            "serviceAccountName": "ci-runner",
            "securityContext": {},
            "volumes": [{"name": "docker", "hostPath": {"path": "/var/run/docker.sock", "type": "Socket"}}],
        },
    )
    binding = obj(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        "ci-runner-admin",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        subjects=[{"kind": "ServiceAccount", "name": "ci-runner", "namespace": "platform"}],
    )
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    role = obj("rbac.authorization.k8s.io/v1", "ClusterRole", "cluster-admin", rules=everything)
    return [*deployment(work), obj("v1", "ServiceAccount", "ci-runner", "platform"), binding, role]


def healthy() -> list[Raw]:
    """What works, as most of a cluster does."""
    works = (
        Workload("shop", "basket", "shop/basket:3.4.1"),
        Workload("shop-staging", "checkout", "shop/checkout:2.17.3"),
        Workload("payments", "gateway", "payments/gateway:4.0.9", replicas=3),
        Workload("platform", "mailer", "platform/mailer:1.2.0"),
    )
    objects = [item for work in works for item in deployment(work)]
    for index, node in enumerate(NODES[:2]):
        template = Workload("kube-system", "coredns", "coredns/coredns:v1.12.4").template("coredns/coredns:v1.12.4")
        objects.append(
            pod(
                f"coredns-6f6b679f8f-{'kx'[index]}2q9z",
                "kube-system",
                spec=template["spec"] | {"nodeName": node},
                labels={"k8s-app": "kube-dns"},
                owners=[],
                age=timedelta(days=40),
            )
        )
    return objects


def build() -> list[Raw]:
    """All objects of the demo cluster."""
    namespaces = ("default", "kube-system", "shop", "shop-staging", "payments", "platform")
    objects = [
        obj("v1", "Namespace", n, status={"phase": "Active"}, meta_more={"labels": {"kubernetes.io/metadata.name": n}})
        for n in namespaces
    ]
    objects += [obj("v1", "ServiceAccount", "default", n) for n in namespaces]
    for part in (nodes, checkout, ledger, catalog, archive, metrics, runner, healthy):
        objects += part()
    return objects


def logs(objects: list[Raw]) -> dict[str, str]:
    """Log files by their path in the snapshot."""
    found = {}
    for item in objects:
        if item["kind"] == "Pod" and item["metadata"]["name"].startswith("ledger-"):
            folder = f"logs/payments/{item['metadata']['name']}"
            lines = [
                f"{ago(minutes=9)} INFO  Picked up JAVA_TOOL_OPTIONS: -Xms256m -Xmx1536m",
                f"{ago(minutes=8)} INFO  ledger 5.2.0: loading 412,006 open postings",
                f"{ago(minutes=7)} INFO  391,120 postings in memory",
            ]
            found[f"{folder}/ledger.previous.log"] = "\n".join(lines) + "\n"
    return found


def write(folder: Path) -> None:
    """Writes the snapshot: one YAML file per namespace, the cluster's own objects in `cluster.yaml`."""
    objects = build()
    files: dict[str, list[Raw]] = {}
    for item in objects:
        files.setdefault(item["metadata"].get("namespace", "cluster"), []).append(item)
    folder.mkdir(parents=True, exist_ok=True)
    for name, items in sorted(files.items()):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(items, sort_keys=False, width=120))
    for path, content in logs(objects).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    kinds = sorted(
        {o["kind"] for o in objects}
        | {"ConfigMap", "Secret", "NetworkPolicy", "PersistentVolume", "Role", "RoleBinding"}
    )
    kinds += [
        "DaemonSet",
        "Job",
        "CronJob",
        "HorizontalPodAutoscaler",
        "ResourceQuota",
        "LimitRange",
        "VolumeAttachment",
    ]
    described = {
        "captured_at": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cluster": {"id": uid("Namespace", "", "kube-system"), "name": "meadow", "version": "v1.35.2"},
        "read": sorted(kinds),
        "not_read": [],
    }
    (folder / "snapshot.json").write_text(json.dumps(described, indent=2) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
