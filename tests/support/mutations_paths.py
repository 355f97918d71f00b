"""Rarer faults of paths between workloads, of nodes and of the control plane."""
# ruff: noqa: E501  # messages of kubelet, scheduler and controllers stand as they are written, in one piece
# A state reads as a table, one fact a line:
# fmt: off

from __future__ import annotations

import copy
from collections.abc import Callable

from tests.support.healthy import allow, database, dns_rule, ingress, namespace
from tests.support.judging import Expected
from tests.support.kubelet import crash, not_ready, set_condition, status_of, unready, unschedulable
from tests.support.mutations_platform import PREEMPTION
from tests.support.scene import Scene
from tests.support.simulation import Raw


def _timing_out(s: Scene, host: str, port: int, *, since: float = 25) -> None:
    """The workload, well before, cannot reach something any more."""
    for pod in s.degrade():
        unready(s.sim, pod, "HTTP probe failed with statuscode: 503", since=since,
            log=s.log("ready", f"could not connect to {host}:{port}: dial tcp 10.96.41.2:{port}: i/o timeout"))  # fmt: skip


def policy_allows_other_port(s: Scene) -> Expected:
    """The database's policy names the right clients and a wrong port."""
    db = database(s.sim, s.ns, "route-db")
    s.workload(("Deployment",), container={"env": [{"name": "DB_HOST", "value": "route-db"}, {"name": "DB_PORT", "value": "5432"}]})
    rule = {"from": [{"podSelector": {"matchLabels": s.work.labels}}], "ports": [{"protocol": "TCP", "port": 5433}]}
    allow(s.sim, s.ns, "db-access", {"matchLabels": db.labels}, ingress=[rule])
    _timing_out(s, "route-db", 5432)
    s.expected.innocent.append(s.ref(db))
    return s.cause("db-access", "5433", "5432", of=(f"NetworkPolicy/{s.ns}/db-access",))


def policy_allows_service_port(s: Scene) -> Expected:
    """The policy allows the Service's port 80, but policies act on the pods' port."""
    backend = s.sim.workload("Deployment", s.ns, "fare-engine", port=8080)
    s.workload(("Deployment",), container={"env": [{"name": "FARES_URL", "value": "http://fare-engine:80"}]})
    allow(s.sim, s.ns, "fares-in", {"matchLabels": backend.labels}, ingress=[{"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": 80}]}])
    _timing_out(s, "fare-engine", 80)
    s.expected.innocent.append(s.ref(backend))
    return s.cause("fares-in", "80", "8080", of=(f"NetworkPolicy/{s.ns}/fares-in",))


def policy_wrong_namespace_label(s: Scene) -> Expected:
    """Clients of another namespace are admitted by a label that it does not have."""
    namespace(s.sim, "core-data")
    db = database(s.sim, "core-data", "route-db")
    rule = {"from": [{"namespaceSelector": {"matchLabels": {"team": "routing"}}}]}
    allow(s.sim, "core-data", "only-routing", {"matchLabels": db.labels}, ingress=[rule])
    s.workload(("Deployment",), container={"env": [{"name": "DB_HOST", "value": "route-db.core-data"}, {"name": "DB_PORT", "value": "5432"}]})
    _timing_out(s, "route-db.core-data", 5432)
    s.expected.innocent.append(s.ref(db))
    return s.cause("only-routing", "team=routing|routing", of=("NetworkPolicy/core-data/only-routing",))


def policy_cuts_egress_to_namespace(s: Scene) -> Expected:
    namespace(s.sim, "core-data")
    db = database(s.sim, "core-data", "route-db")
    s.workload(("Deployment",), container={"env": [{"name": "DB_HOST", "value": "route-db.core-data.svc"}, {"name": "DB_PORT", "value": "5432"}]})
    allow(s.sim, s.ns, "outbound", {"matchLabels": s.work.labels}, egress=[dns_rule(), {"to": [{"podSelector": {"matchLabels": db.labels}}]}])
    _timing_out(s, "route-db.core-data.svc", 5432)
    s.expected.innocent.append(s.ref(db))
    return s.cause("outbound", "core-data|namespace", of=(f"NetworkPolicy/{s.ns}/outbound",))


def policy_blocks_ingress_controller(s: Scene) -> Expected:
    s.workload(("Deployment",))
    ingress(s.sim, s.ns, "front-door", s.work.name)
    allow(s.sim, s.ns, "inside-only", {"matchLabels": s.work.labels}, ingress=[{"from": [{"podSelector": {}}]}])
    for pod in s.sim.pods("ingress-nginx", "ingress-nginx-controller"):
        name = pod["spec"]["containers"][0]["name"]
        line = f'2026/06/11 07:16:40 [error] 31#31: *9921 upstream timed out (110: Operation timed out) while connecting to upstream, server: front-door.{s.ns}.example.com, upstream: "http://10.244.1.7:{s.work.port}/"'
        s.sim.logs["ingress-nginx", pod["metadata"]["name"], name, False] += "\n" + line
    s.expected.innocent += [s.ref(s.work), "Deployment/ingress-nginx/ingress-nginx-controller"]
    return s.cause("inside-only", "ingress-nginx|ingress controller", of=(f"NetworkPolicy/{s.ns}/inside-only",))


def external_name_dangling(s: Scene) -> Expected:
    s.sim.add("v1", "Service", "legacy-billing", s.ns, spec={"type": "ExternalName", "externalName": "billing-core.old-billing.svc.cluster.local"})
    s.workload(("Deployment",), container={"env": [{"name": "BILLING_URL", "value": "http://legacy-billing"}]})
    for pod in s.degrade():
        unready(s.sim, pod, "HTTP probe failed with statuscode: 503", since=25, log=s.log("ready", "lookup legacy-billing on 10.96.0.10:53: no such host"))
    return s.cause("billing-core.old-billing", of=(f"Service/{s.ns}/legacy-billing",))


def ingress_port_name_missing(s: Scene) -> Expected:
    s.workload(("Deployment",))
    made = ingress(s.sim, s.ns, "front-door", s.work.name)
    made["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] = {"name": "web"}
    s.expected.innocent.append(s.ref(s.work))
    return s.cause("web", "http", of=(f"Ingress/{s.ns}/front-door",))


def ingress_without_class(s: Scene) -> Expected:
    s.workload(("Deployment",))
    made = ingress(s.sim, s.ns, "front-door", s.work.name)
    del made["spec"]["ingressClassName"]
    made["status"] = {"loadBalancer": {}}
    s.expected.risk = True
    return s.cause("class", of=(f"Ingress/{s.ns}/front-door",))


def ingress_conflict(s: Scene) -> Expected:
    s.workload(("Deployment",))
    for name, service in (("front-door", s.work.name), ("front-door-v2", s.neighbour.name)):
        made = ingress(s.sim, s.ns, name, service)
        made["spec"]["rules"][0]["host"] = "fares.example.com"
    return s.cause("fares.example.com", of=(f"Ingress/{s.ns}/front-door", f"Ingress/{s.ns}/front-door-v2"))


def selector_too_broad(s: Scene) -> Expected:
    s.workload(("Deployment",), port=8080, labels={"part-of": "fares", "tier": "web"})
    other = s.sim.workload("Deployment", s.ns, "fare-worker", port=9100, labels={"part-of": "fares", "tier": "worker"})
    s.sim.get("Service", s.ns, s.work.name)["spec"] |= {"selector": {"part-of": "fares"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}
    s.expected.innocent += [s.ref(other), s.ref(s.work)]
    return s.cause("fare-worker", "part-of", of=(f"Service/{s.ns}/{s.work.name}",))


def gateway_backend_wrong(s: Scene) -> Expected:
    s.workload(("Deployment",))
    s.sim.add("gateway.networking.k8s.io/v1", "GatewayClass", "cilium", spec={"controllerName": "io.cilium/gateway-controller"})
    s.sim.add("gateway.networking.k8s.io/v1", "Gateway", "edge", s.ns, spec={"gatewayClassName": "cilium", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
        status={"conditions": [{"type": "Programmed", "status": "True"}, {"type": "Accepted", "status": "True"}]})  # fmt: skip
    refs = {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound", "message": f'Service "{s.work.name}-svc" not found'}
    parent = {"parentRef": {"name": "edge"}, "controllerName": "io.cilium/gateway-controller", "conditions": [{"type": "Accepted", "status": "True"}, refs]}
    s.sim.add("gateway.networking.k8s.io/v1", "HTTPRoute", "fares", s.ns, status={"parents": [parent]},
        spec={"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": f"{s.work.name}-svc", "port": 80}]}]})  # fmt: skip
    return s.cause(f"{s.work.name}-svc", of=(f"HTTPRoute/{s.ns}/fares",))


def kube_proxy_down(s: Scene) -> Expected:
    """On one node kube-proxy cannot start: Services do not work from there."""
    db = database(s.sim, s.ns, "route-db")
    s.workload(("Deployment",), replicas=2, container={"env": [{"name": "DB_HOST", "value": "route-db"}]})
    victim = next(s.sim.pods(s.ns, s.work.name))["spec"]["nodeName"]
    s.sim.find("kube-system", "kube-proxy").extra["was_ready"] = True
    for pod in s.sim.pods("kube-system", "kube-proxy"):
        if pod["spec"]["nodeName"] == victim:
            crash(s.sim, pod, 1, 'E0611 07:16:01.1 1 run.go:72] "command failed" err="failed complete: open /var/lib/kube-proxy/config.conf: no such file or directory"')
    for pod in s.degrade():
        if pod["spec"]["nodeName"] == victim:
            unready(s.sim, pod, "HTTP probe failed with statuscode: 503", since=25, log=s.log("ready", "dial tcp 10.96.41.2:5432: connect: connection timed out"))
    s.expected.innocent.append(s.ref(db))
    return s.cause("kube-proxy", of=("DaemonSet/kube-system/kube-proxy", f"Node//{victim}"))


def kubelet_runtime_down(s: Scene) -> Expected:
    s.workload(("Deployment",), replicas=2)
    pods = list(s.sim.pods(s.ns, s.work.name))
    name = pods[0]["spec"]["nodeName"]
    node = s.sim.get("Node", "", name)
    said = "[container runtime is down, PLEG is not healthy: pleg was last seen active 8m12s ago; threshold is 3m0s]"
    node["status"]["conditions"][3] |= {"status": "False", "reason": "KubeletNotReady", "message": said, "lastTransitionTime": s.sim.ago(8)}
    node["spec"]["taints"] = [{"key": "node.kubernetes.io/not-ready", "effect": e} for e in ("NoSchedule", "NoExecute")]
    for work in s.sim.workloads:
        work.extra["was_ready"] = True
    for pod in s.sim.of("Pod"):
        if pod["spec"].get("nodeName") == name:
            set_condition(pod, "Ready", "False", lastTransitionTime=s.sim.ago(8), reason="NodeNotReady")
    s.expected.innocent.clear()
    return s.cause(name, "runtime|PLEG", of=(f"Node//{name}",))


def memory_pressure(s: Scene) -> Expected:
    """A node short of memory evicts a pod without requests; its replacement waits for that node."""
    s.workload(("Deployment",), replicas=1, container={"resources": {}})
    pod = next(s.sim.pods(s.ns, s.work.name))
    name = pod["spec"]["nodeName"]
    node = s.sim.get("Node", "", name)
    node["status"]["conditions"][0] |= {"status": "True", "reason": "KubeletHasInsufficientMemory", "message": "kubelet has insufficient memory available", "lastTransitionTime": s.sim.ago(12)}
    node["spec"]["taints"] = [{"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}]
    selector = {"kubernetes.io/hostname": name}
    s.work.template["spec"]["nodeSelector"] = selector
    low = f"The node was low on resource: memory. Threshold quantity: 100Mi, available: 62Mi. Container {status_of(pod)['name']} was using 900Mi, request is 0, has larger consumption of memory. "
    pod["status"] |= {"phase": "Failed", "reason": "Evicted", "message": low}
    not_ready(s.sim, pod, [status_of(pod)["name"]], 11)
    status_of(pod).update(ready=False, state={"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": s.sim.ago(11)}})
    s.sim.event(pod, "Evicted", low, first=11, last=11)
    new = s.sim.pod(s.work, 9, 11)
    new["spec"]["nodeSelector"] = selector
    unschedulable(s.sim, new, f"0/4 nodes are available: 1 node(s) had untolerated taint {{node.kubernetes.io/memory-pressure: }}, 3 node(s) didn't match Pod's node affinity/selector.{PREEMPTION}")
    s.work.extra["was_ready"] = True
    return s.cause(name, "memory", of=(f"Node//{name}",))


def daemon_selector_typo(s: Scene) -> Expected:
    s.workload(("DaemonSet",))
    s.work.template["spec"]["nodeSelector"] = {"kubernetes.io/os": "linuks"}
    for pod in list(s.sim.pods(s.ns, s.work.name)):
        s.sim.drop("Pod", s.ns, pod["metadata"]["name"])
    s.work.extra["desired"] = 0
    return s.cause("linuks", "kubernetes.io/os")


def autoscalers_fight(s: Scene) -> Expected:
    s.workload(("Deployment",))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": s.work.name}
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
    said = f"pods by selector are controlled by multiple HPAs: [{s.ns}/by-cpu {s.ns}/by-cpu-old]"
    conditions = [{"type": "AbleToScale", "status": "True", "reason": "SucceededGetScale"}, {"type": "ScalingActive", "status": "False", "reason": "AmbiguousSelector", "message": said}]
    for name in ("by-cpu", "by-cpu-old"):
        s.sim.add("autoscaling/v2", "HorizontalPodAutoscaler", name, s.ns, spec={"minReplicas": 2, "maxReplicas": 6, "scaleTargetRef": target, "metrics": [metric]},
            status={"currentReplicas": 2, "desiredReplicas": 2, "conditions": copy.deepcopy(conditions)})  # fmt: skip
    return s.cause("by-cpu", "by-cpu-old", of=tuple(f"HorizontalPodAutoscaler/{s.ns}/{n}" for n in ("by-cpu", "by-cpu-old")))


def claim_deletion_blocked(s: Scene) -> Expected:
    s._work = database(s.sim, s.ns, "route-db")
    claim = s.sim.get("PersistentVolumeClaim", s.ns, "data-route-db-0")
    claim["metadata"] |= {"deletionTimestamp": s.sim.ago(70), "deletionGracePeriodSeconds": 0}
    return s.cause("data-route-db-0", "delet|terminat", "pvc-protection|use", of=(f"PersistentVolumeClaim/{s.ns}/data-route-db-0",))


def annotation_port_wrong(s: Scene) -> Expected:
    s.workload(("Deployment",))
    notes = {"prometheus.io/scrape": "true", "prometheus.io/port": "9797", "prometheus.io/path": "/metrics"}
    s.work.template["metadata"]["annotations"] = notes
    for pod in s.sim.pods(s.ns, s.work.name):
        pod["metadata"]["annotations"] = dict(notes)
        pod["metadata"]["labels"]["pod-template-hash"] = s.sim.hash_of(s.work, s.work.template)
    return s.cause("9797", str(s.work.port))


def api_service_down(s: Scene) -> Expected:
    s.workload(("Deployment",))
    said = 'failing or missing response from https://10.96.9.9:443/apis/custom.metrics.k8s.io/v1beta1: Get "https://10.96.9.9:443/apis/custom.metrics.k8s.io/v1beta1": dial tcp 10.96.9.9:443: connect: connection refused'
    condition: Raw = {"type": "Available", "status": "False", "reason": "FailedDiscoveryCheck", "message": said, "lastTransitionTime": s.sim.ago(90)}
    s.sim.add("apiregistration.k8s.io/v1", "APIService", "v1beta1.custom.metrics.k8s.io", status={"conditions": [condition]},
        spec={"group": "custom.metrics.k8s.io", "version": "v1beta1", "service": {"name": "prometheus-adapter", "namespace": "monitoring", "port": 443}})  # fmt: skip
    metric = {"type": "Pods", "pods": {"metric": {"name": "queue_depth"}, "target": {"type": "AverageValue", "averageValue": "20"}}}
    broken = "the HPA was unable to compute the replica count: unable to get metric queue_depth: unable to fetch metrics from custom metrics API: the server is currently unable to handle the request (get pods.custom.metrics.k8s.io)"
    s.sim.add("autoscaling/v2", "HorizontalPodAutoscaler", s.work.name, s.ns, spec={"minReplicas": 2, "maxReplicas": 6, "metrics": [metric],
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": s.work.name}},
        status={"currentReplicas": 2, "desiredReplicas": 0, "conditions": [{"type": "ScalingActive", "status": "False", "reason": "FailedGetPodsMetric", "message": broken}]})  # fmt: skip
    return s.cause("custom.metrics.k8s.io", "prometheus-adapter", of=("APIService//v1beta1.custom.metrics.k8s.io", "Service/monitoring/prometheus-adapter", "Deployment/monitoring/prometheus-adapter"))


MUTATIONS: tuple[Callable[[Scene], Expected], ...] = (
    policy_allows_other_port, policy_allows_service_port, policy_wrong_namespace_label, policy_cuts_egress_to_namespace,
    policy_blocks_ingress_controller, external_name_dangling, ingress_port_name_missing, ingress_without_class,
    ingress_conflict, selector_too_broad, gateway_backend_wrong, kube_proxy_down, kubelet_runtime_down,
    memory_pressure, daemon_selector_typo, autoscalers_fight, claim_deletion_blocked, annotation_port_wrong,
    api_service_down,
)  # fmt: skip
