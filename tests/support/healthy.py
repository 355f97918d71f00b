"""A healthy cluster for generated states: rich in what looks like trouble and is none."""
# ruff: noqa: E501  # messages of kubelet, scheduler and controllers stand as they are written, in one piece

from __future__ import annotations

import base64
from typing import Any

from tests.support.kubelet import status_of
from tests.support.simulation import DAY, Raw, Simulation, Workload, probe

NAMESPACES = ("billing", "crm", "media-prod", "search", "field-ops", "identity", "analytics", "team-rocket")
FOCUS = ("parcels", "checkout", "fleet-prod", "ledger", "bookings", "claims-eu", "tickets", "inventory-v2")
APPS = ("route-planner", "tariff-api", "label-printer", "seat-broker", "ledger-sync", "parcel-web", "score-engine")
NEIGHBOURS = ("quota-view", "mail-sorter", "shape-cache", "audit-feed", "lumen-web")
VERSION = "v1.34.2"


def healthy(seed: int) -> tuple[Simulation, str]:
    """A healthy cluster and the namespace that will be asked about, which holds two workloads."""
    sim = Simulation(seed)
    _platform(sim)
    focus = FOCUS[seed % len(FOCUS)]
    others = sim.rng.sample(NAMESPACES, 5)
    for name in (*others, focus, "ingress-nginx", "monitoring"):
        namespace(sim, name)
    _ingress_controller(sim)
    _prometheus(sim)
    for index, ns in enumerate(others):
        _furnish(sim, ns, index)
    return sim, focus


def namespace(sim: Simulation, name: str, labels: dict[str, str] | None = None) -> None:
    meta = {"labels": {"kubernetes.io/metadata.name": name} | (labels or {})}
    sim.add("v1", "Namespace", name, meta=meta, spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})
    sim.add("v1", "ServiceAccount", "default", name)
    sim.add("v1", "ConfigMap", "kube-root-ca.crt", name, data={"ca.crt": "-----BEGIN CERTIFICATE-----"})


def secret(sim: Simulation, ns: str, name: str, kind: str = "Opaque", **values: str) -> Raw:
    data = {k.replace("__", "."): base64.b64encode(v.encode()).decode() for k, v in values.items()}
    return sim.add("v1", "Secret", name, ns, type=kind, data=data)


def node(sim: Simulation, name: str, zone: str, *, control_plane: bool = False) -> Raw:
    role = {"node-role.kubernetes.io/control-plane": ""} if control_plane else {}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
              "topology.kubernetes.io/zone": f"eu-central-1{zone}", "topology.kubernetes.io/region": "eu-central-1"}  # fmt: skip
    spec: Raw = {"podCIDR": "10.244.0.0/24"}
    if control_plane:
        spec["taints"] = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
    good = (("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("Ready", "True", "KubeletReady", "kubelet is posting ready status"))  # fmt: skip
    conditions = [
        {
            "type": t,
            "status": s,
            "reason": r,
            "message": m,
            "lastHeartbeatTime": sim.ago(2),
            "lastTransitionTime": sim.ago(90 * DAY),
        }
        for t, s, r, m in good
    ]
    room = {"cpu": "4", "memory": "16190013Ki", "pods": "110", "ephemeral-storage": "81106868Ki"}
    info = {"kubeletVersion": VERSION, "containerRuntimeVersion": "containerd://2.1.5", "architecture": "amd64",
            "osImage": "Ubuntu 24.04.3 LTS", "operatingSystem": "linux", "kernelVersion": "6.8.0-87-generic"}  # fmt: skip
    status = {"capacity": room, "allocatable": room | {"cpu": "3920m", "memory": "15490621Ki"}, "conditions": conditions,
              "nodeInfo": info, "addresses": [{"type": "InternalIP", "address": f"10.58.16.{40 + len(sim.of('Node'))}"}]}  # fmt: skip
    sim.add("coordination.k8s.io/v1", "Lease", name, "kube-node-lease",
            spec={"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": sim.ago(0.1).replace("Z", ".000000Z")})  # fmt: skip
    return sim.add("v1", "Node", name, age=90 * DAY, meta={"labels": labels | role}, spec=spec, status=status)


def _platform(sim: Simulation) -> None:
    node(sim, "control-plane-1", "a", control_plane=True)
    prefix = sim.rng.choice(("worker", "ip-10-4-b", "std"))
    for index, zone in enumerate("abca"[: 3 + sim.seed % 2], 1):
        node(sim, f"{prefix}-{index}", zone)
    for ns in ("kube-system", "default", "kube-public", "kube-node-lease"):
        namespace(sim, ns)
    bare: Raw = {"livenessProbe": None, "readinessProbe": None, "ports": [], "resources": {}}
    bare["securityContext"] = {"privileged": True}
    for name, image in (
        ("kube-proxy", f"registry.k8s.io/kube-proxy:{VERSION}"),
        ("cilium", "quay.io/cilium/cilium:v1.17.2"),
    ):
        sim.add("v1", "ServiceAccount", name, "kube-system")
        sim.workload("DaemonSet", "kube-system", name, style=2, service=False, image=image, age=90 * DAY,
            container=bare,
            pod={"hostNetwork": True, "priorityClassName": "system-node-critical", "tolerations": [{"operator": "Exists"}],
                 "serviceAccountName": name, "securityContext": {}})  # fmt: skip
    dns_ports = [{"name": n, "containerPort": 53, "protocol": p} for n, p in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    sim.add("v1", "ServiceAccount", "coredns", "kube-system")
    dns = sim.workload("Deployment", "kube-system", "coredns", labels={"k8s-app": "kube-dns"}, image="registry.k8s.io/coredns/coredns:v1.12.1",
        age=90 * DAY, service=False, pod={"serviceAccountName": "coredns", "securityContext": {}},
        container={"ports": dns_ports, "livenessProbe": probe({"httpGet": {"path": "/health", "port": 8080}}, delay=60),
                   "readinessProbe": probe({"httpGet": {"path": "/ready", "port": 8181}})})  # fmt: skip
    for pod in sim.pods("kube-system", dns.name):
        name = pod["spec"]["containers"][0]["name"]
        sim.logs["kube-system", pod["metadata"]["name"], name, False] = ".:53\nCoreDNS-1.12.1"
    sim.get("PodDisruptionBudget", "kube-system", dns.name)["spec"]["selector"]["matchLabels"] = dict(dns.labels)
    ports = [{"name": n, "port": 53, "protocol": p, "targetPort": 53} for n, p in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    sim.add("v1", "Service", "kube-dns", "kube-system", meta={"labels": {"k8s-app": "kube-dns"}},
        spec={"selector": {"k8s-app": "kube-dns"}, "ports": ports, "clusterIP": "10.96.0.10", "type": "ClusterIP"})  # fmt: skip
    sim.add(
        "v1",
        "ConfigMap",
        "coredns",
        "kube-system",
        data={"Corefile": ".:53 {\n    errors\n    kubernetes cluster.local\n    forward . /etc/resolv.conf\n}\n"},
    )
    sim.add("v1", "Service", "kubernetes", "default", spec={"clusterIP": "10.96.0.1", "type": "ClusterIP",
        "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]})  # fmt: skip
    sim.add("discovery.k8s.io/v1", "EndpointSlice", "kubernetes", "default", addressType="IPv4",
        meta={"labels": {"kubernetes.io/service-name": "kubernetes"}},
        endpoints=[{"addresses": ["10.58.16.41"], "conditions": {"ready": True}}],
        ports=[{"name": "https", "port": 6443, "protocol": "TCP"}])  # fmt: skip
    for name, default in (("gp3", "true"), ("io2-retain", "false")):
        sim.add("storage.k8s.io/v1", "StorageClass", name, provisioner="ebs.csi.aws.com", allowVolumeExpansion=True,
            reclaimPolicy="Delete", volumeBindingMode="WaitForFirstConsumer",
            meta={"annotations": {"storageclass.kubernetes.io/is-default-class": default}})  # fmt: skip


def _ingress_controller(sim: Simulation) -> None:
    sim.add("networking.k8s.io/v1", "IngressClass", "nginx", spec={"controller": "k8s.io/ingress-nginx"})
    work = sim.workload("Deployment", "ingress-nginx", "ingress-nginx-controller", port=8080, style=1,
                        image="registry.k8s.io/ingress-nginx/controller:v1.12.1")  # fmt: skip
    service = sim.get("Service", "ingress-nginx", work.name)
    service["spec"]["type"] = "LoadBalancer"
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}]}}


def _prometheus(sim: Simulation) -> None:
    sim.add("v1", "ServiceAccount", "prometheus", "monitoring")
    verbs = ["get", "list", "watch"]
    rules = [{"apiGroups": [""], "resources": ["pods", "services", "endpoints", "nodes"], "verbs": verbs}]
    sim.add("rbac.authorization.k8s.io/v1", "ClusterRole", "prometheus", rules=rules)
    sim.add("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "prometheus",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "prometheus"},
        subjects=[{"kind": "ServiceAccount", "name": "prometheus", "namespace": "monitoring"}])  # fmt: skip
    sim.workload("Deployment", "monitoring", "prometheus", port=9090, image="quay.io/prometheus/prometheus:v3.5.0",
                 pod={"serviceAccountName": "prometheus"})  # fmt: skip


def claim(sim: Simulation, ns: str, name: str, *, mode: str = "ReadWriteOnce", on: str = "", size: str = "20Gi") -> Raw:
    """A bound claim with its volume and, where a node is given, the attachment."""
    volume = f"pvc-{sim.uid('PersistentVolumeClaim', ns, name)}"
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": size}}, "storageClassName": "gp3",
            "volumeMode": "Filesystem"}  # fmt: skip
    uid = sim.uid("PersistentVolumeClaim", ns, name)
    sim.add("v1", "PersistentVolume", volume, spec={"capacity": {"storage": size}, "accessModes": [mode],
        "claimRef": {"kind": "PersistentVolumeClaim", "namespace": ns, "name": name, "uid": uid, "apiVersion": "v1"},
        "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "gp3", "volumeMode": "Filesystem",
        "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": f"vol-{uid[:8]}"}}, status={"phase": "Bound"})  # fmt: skip
    if on:
        sim.add("storage.k8s.io/v1", "VolumeAttachment", f"csi-{uid.replace('-', '')}", status={"attached": True},
            spec={"attacher": "ebs.csi.aws.com", "source": {"persistentVolumeName": volume}, "nodeName": on})  # fmt: skip
    return sim.add("v1", "PersistentVolumeClaim", name, ns, spec=spec | {"volumeName": volume},
        meta={"finalizers": ["kubernetes.io/pvc-protection"]},
        status={"phase": "Bound", "accessModes": [mode], "capacity": {"storage": size}})  # fmt: skip


def database(sim: Simulation, ns: str, name: str, *, replicas: int = 1) -> Workload:
    """A StatefulSet with bound claims and a password from a Secret."""
    secret(sim, ns, name, password="n0t-a-real-one", username="app")
    check = {"exec": {"command": ["pg_isready", "-U", "postgres"]}}
    work = sim.workload("StatefulSet", ns, name, replicas=replicas, image="postgres:16.4", port=5432, claims=("data",),
        claim_spec={"accessModes": ["ReadWriteOnce"], "storageClassName": "gp3", "resources": {"requests": {"storage": "20Gi"}}},
        container={"ports": [{"name": "postgres", "containerPort": 5432, "protocol": "TCP"}],
            "env": [{"name": "POSTGRES_PASSWORD", "valueFrom": {"secretKeyRef": {"name": name, "key": "password"}}}],
            "volumeMounts": [{"name": "data", "mountPath": "/var/lib/postgresql/data"}],
            "livenessProbe": probe(check, delay=30), "readinessProbe": probe(check, delay=5)})  # fmt: skip
    service = sim.get("Service", ns, name)
    service["spec"]["ports"] = [{"name": "postgres", "port": 5432, "targetPort": "postgres", "protocol": "TCP"}]
    for pod in sim.pods(ns, name):
        claim(sim, ns, f"data-{pod['metadata']['name']}", on=pod["spec"]["nodeName"])
    return work


def job(sim: Simulation, ns: str, name: str, ended: str, *, hours: float, owner: str = "") -> tuple[Raw, Raw]:
    """A finished Job (`Complete` or `Failed`) with its last pod."""
    work = sim.describe("Job", ns, name, style=0, age=hours * 60, pod={"restartPolicy": "Never"},
                        container={"livenessProbe": None, "readinessProbe": None, "ports": []})  # fmt: skip
    at = sim.ago(hours * 60 - 1)
    failed = ended == "Failed"
    reason, said = ("BackoffLimitExceeded", "Job has reached the specified backoff limit") if failed else (
        "CompletionsReached", "Reached expected number of succeeded pods")  # fmt: skip
    status: Raw = {"startTime": sim.ago(hours * 60), "conditions": [{"type": ended, "status": "True", "reason": reason,
        "message": said, "lastTransitionTime": at, "lastProbeTime": at}]} | ({"failed": 1} if failed else {"succeeded": 1, "completionTime": at})  # fmt: skip
    labels = work.labels | {"batch.kubernetes.io/job-name": name, "job-name": name}
    work.template["metadata"]["labels"] = labels
    meta: Raw = {"ownerReferences": sim.owner("CronJob", ns, owner)} if owner else {}
    spec = {"parallelism": 1, "completions": 1, "backoffLimit": 0 if failed else 2, "template": work.template}
    made = sim.add("batch/v1", "Job", name, ns, age=hours * 60, meta=meta, spec=spec, status=status)
    pod = sim.pod(work, 0, hours * 60)
    pod["metadata"]["ownerReferences"] = sim.owner("Job", ns, name)
    pod["status"]["phase"] = "Failed" if failed else "Succeeded"
    for condition in pod["status"]["conditions"]:
        if condition["type"] in ("Ready", "ContainersReady"):
            condition |= {"status": "False", "reason": "PodFailed" if failed else "PodCompleted"}
    chosen = status_of(pod)
    chosen |= {"ready": False, "started": False}
    chosen["state"] = {"terminated": {"exitCode": int(failed), "reason": "Error" if failed else "Completed",
                                      "startedAt": sim.ago(hours * 60), "finishedAt": at}}  # fmt: skip
    sim.logs[ns, pod["metadata"]["name"], chosen["name"], False] = f"{at} INFO job: started\n{at} INFO job: done"
    return made, pod


def cron_job(sim: Simulation, ns: str, name: str, **more: Any) -> Raw:
    work = sim.describe("Job", ns, name, style=0, pod={"restartPolicy": "Never"})
    for key in ("livenessProbe", "readinessProbe", "ports"):
        work.container.pop(key)
    status = more.pop("status", {"lastScheduleTime": sim.ago(300), "lastSuccessfulTime": sim.ago(299)})
    at = sim.now.hour * 60 + sim.now.minute - 300
    spec = {"schedule": f"{at % 60} {at // 60 % 24} * * *", "concurrencyPolicy": "Forbid", "suspend": False,
            "jobTemplate": {"spec": {"backoffLimit": 2, "template": work.template}}}  # fmt: skip
    return sim.add("batch/v1", "CronJob", name, ns, spec=spec | more, status=status)


def _furnish(sim: Simulation, ns: str, index: int) -> None:
    """Workloads of one namespace; each namespace has its own things that look odd and are fine."""
    sim.workload("Deployment", ns, f"{ns}-api", replicas=3)
    sim.workload("Deployment", ns, f"{sim.rng.choice(('comet', 'gauge', 'raven'))}-gateway")
    {0: _with_database, 1: _with_jobs, 2: _with_policies, 3: _with_ingress, 4: _with_oddities}[index](sim, ns)


def _with_database(sim: Simulation, ns: str) -> None:
    database(sim, ns, "store-db", replicas=2)
    hard = {"requests.cpu": "8", "pods": "40"}
    sim.add(
        "v1",
        "ResourceQuota",
        "team",
        ns,
        spec={"hard": hard},
        status={"hard": hard, "used": {"requests.cpu": "350m", "pods": "7"}},
    )
    sim.objects["Node", "", sim.nodes()[-1]]["spec"]["unschedulable"] = True
    sim.objects["Node", "", sim.nodes()[-1]]["spec"]["taints"] = [
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": sim.ago(3 * DAY)}
    ]


def _with_jobs(sim: Simulation, ns: str) -> None:
    cron_job(sim, ns, "nightly-report")
    job(sim, ns, "nightly-report-29570400", "Complete", hours=5, owner="nightly-report")
    cron_job(sim, ns, "old-export", suspend=True, status={"lastScheduleTime": sim.ago(60 * DAY)})
    job(sim, ns, "migrate-0611", "Failed", hours=30)
    job(sim, ns, "migrate-0611-retry", "Complete", hours=29)


def allow(sim: Simulation, ns: str, name: str, selector: Raw, **rules: Any) -> Raw:
    kinds = [k.title() for k in ("ingress", "egress") if k in rules]
    return sim.add(
        "networking.k8s.io/v1", "NetworkPolicy", name, ns, spec={"podSelector": selector, "policyTypes": kinds} | rules
    )


def dns_rule() -> Raw:
    """The egress rule that every default deny needs."""
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    return {"to": [where], "ports": [{"protocol": p, "port": 53} for p in ("UDP", "TCP")]}


def _with_policies(sim: Simulation, ns: str) -> None:
    sim.add(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "default-deny",
        ns,
        spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    )
    allow(sim, ns, "allow-dns", {}, egress=[dns_rule()])
    allow(
        sim, ns, "allow-inside", {}, ingress=[{"from": [{"podSelector": {}}]}], egress=[{"to": [{"podSelector": {}}]}]
    )
    work = sim.find(ns, f"{ns}-api")
    status = {"currentReplicas": 3, "desiredReplicas": 3, "conditions": [
        {"type": "AbleToScale", "status": "True", "reason": "ReadyForNewScale", "message": "recommended size matches current size"},
        {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)"},
        {"type": "ScalingLimited", "status": "False", "reason": "DesiredWithinRange", "message": "the desired count is within the acceptable range"}],
        "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 41, "averageValue": "20m"}}}]}  # fmt: skip
    target = {"type": "Utilization", "averageUtilization": 70}
    sim.add("autoscaling/v2", "HorizontalPodAutoscaler", work.name, ns, spec={"minReplicas": 2, "maxReplicas": 8,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": work.name},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]}, status=status)  # fmt: skip


def ingress(sim: Simulation, ns: str, name: str, service: str, *, tls: str = "", **spec: Any) -> Raw:
    host = f"{name}.{ns}.example.com"
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}
    body: Raw = {"ingressClassName": "nginx", "rules": [{"host": host, "http": {"paths": [path]}}]}
    if tls:
        body["tls"] = [{"hosts": [host], "secretName": tls}]
    status = {"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}]}}
    return sim.add("networking.k8s.io/v1", "Ingress", name, ns, spec=body | spec, status=status)


def _with_ingress(sim: Simulation, ns: str) -> None:
    ingress(sim, ns, "front", f"{ns}-api")
    sim.add(
        "v1",
        "ConfigMap",
        "front-settings",
        ns,
        data={"LOG_LEVEL": "info", "UPSTREAM": f"http://{ns}-api.{ns}.svc.cluster.local"},
    )
    reference = [{"configMapRef": {"name": "front-settings"}}]
    work = sim.workload("Deployment", ns, "front-web", container={"envFrom": reference}, age=2 * DAY)
    work.released = 35  # a rolling update that went through: complaints of the first seconds are left in the events
    for pod in sim.pods(ns, work.name):
        pod["metadata"]["creationTimestamp"] = sim.ago(35)
        sim.event(
            pod,
            "Unhealthy",
            'Readiness probe failed: Get "http://10.244.1.9:8080/readyz": dial tcp 10.244.1.9:8080: connect: connection refused',
            count=2,
            first=34.7,
            last=34.5,
        )


def _with_oddities(sim: Simulation, ns: str) -> None:
    sim.workload("Deployment", ns, "legacy-sync", replicas=0, age=200 * DAY)
    work = sim.workload("Deployment", ns, "report-builder", replicas=2)
    pod = next(sim.pods(ns, work.name))
    chosen = status_of(pod)
    chosen["restartCount"] = 1
    chosen["state"] = {"running": {"startedAt": sim.ago(6 * 60)}}
    chosen["lastState"] = {
        "terminated": {
            "exitCode": 137,
            "reason": "OOMKilled",
            "startedAt": sim.ago(3 * DAY),
            "finishedAt": sim.ago(6 * 60),
        }
    }
    sidecar = {"name": "log-shipper", "image": "fluent/fluent-bit:3.2.4", "restartPolicy": "Always",
               "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}}  # fmt: skip
    sim.workload("Deployment", ns, "meter-reader", pod={"initContainers": [sidecar]}, style=0)
