"""Faults of batch, rollouts, autoscaling and disruption, and risks before a maintenance."""
# ruff: noqa: E501  # messages of kubelet, scheduler and controllers stand as they are written, in one piece
# A state reads as a table, one fact a line:
# fmt: off

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.support.healthy import cron_job, database, job
from tests.support.judging import Expected
from tests.support.kubelet import crash, set_condition, status_of, unready, unschedulable, waiting
from tests.support.scene import Scene
from tests.support.simulation import DAY, Raw


def _failed_job(s: Scene, name: str, reason: str, said: str, *, owner: str = "") -> tuple[Raw, Raw]:
    made, pod = job(s.sim, s.ns, name, "Failed", hours=0.6, owner=owner)
    for condition in made["status"]["conditions"]:
        condition |= {"reason": reason, "message": said}
    s.sim.event(made, reason, said, first=30, last=30, by="job-controller")
    return made, pod


def job_fails(s: Scene) -> Expected:
    made, pod = _failed_job(s, "import-parcels", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    name = pod["spec"]["containers"][0]["name"]
    s.sim.logs[s.ns, pod["metadata"]["name"], name, False] = s.log("importing", "ValueError: column weight_kg missing in parcels-0611.csv")
    del made
    return s.cause("weight_kg", "backoff|BackoffLimitExceeded", of=(f"Job/{s.ns}/import-parcels",))


def job_deadline(s: Scene) -> Expected:
    made, pod = _failed_job(s, "reindex-all", "DeadlineExceeded", "Job was active longer than specified deadline")
    made["spec"]["activeDeadlineSeconds"] = 600
    s.sim.drop("Pod", s.ns, pod["metadata"]["name"])
    return s.cause("deadline|DeadlineExceeded", "600", of=(f"Job/{s.ns}/reindex-all",))


def cron_job_fails(s: Scene) -> Expected:
    """Each run of the CronJob fails since its image was changed."""
    cron_job(s.sim, s.ns, "tariff-sync", status={"lastScheduleTime": s.sim.ago(36), "lastSuccessfulTime": s.sim.ago(3 * DAY)}, schedule="*/30 * * * *")
    _, pod = _failed_job(s, "tariff-sync-29570400", "BackoffLimitExceeded", "Job has reached the specified backoff limit", owner="tariff-sync")
    name = pod["spec"]["containers"][0]["name"]
    s.sim.logs[s.ns, pod["metadata"]["name"], name, False] = s.log("starting", "requests.exceptions.HTTPError: 403 Client Error: Forbidden for url: https://tariffs.fern.example/v2")
    return s.cause("403|Forbidden", of=(f"CronJob/{s.ns}/tariff-sync", f"Job/{s.ns}/tariff-sync-29570400"))


def job_image_missing(s: Scene) -> Expected:
    from tests.support.kubelet import pull_failure

    made, pod = job(s.sim, s.ns, "seed-data", "Complete", hours=0.5)
    made["status"] = {"active": 1, "ready": 0, "startTime": s.sim.ago(30)}
    image = f"{s.sim.registry}/seed-data:99"
    for spec in (pod["spec"], made["spec"]["template"]["spec"]):
        spec["containers"][0]["image"] = image
    chosen = status_of(pod)
    chosen["image"] = image
    for condition in pod["status"]["conditions"]:
        condition.pop("reason", None)
    pull_failure(s.sim, pod, f'rpc error: code = NotFound desc = failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found')
    return s.cause("seed-data:99", "not found|does not exist", of=(f"Job/{s.ns}/seed-data",))


def cron_job_stuck_run(s: Scene) -> Expected:
    """concurrencyPolicy Forbid and a run that never ends: the next runs are skipped."""
    cron = cron_job(s.sim, s.ns, "ledger-close", schedule="*/10 * * * *", status={"lastScheduleTime": s.sim.ago(400), "active": [{"kind": "Job", "namespace": s.ns, "name": "ledger-close-29570000"}]})
    made, pod = job(s.sim, s.ns, "ledger-close-29570000", "Complete", hours=6.7, owner="ledger-close")
    made["status"] = {"active": 1, "ready": 1, "startTime": s.sim.ago(400)}
    pod["status"]["phase"] = "Running"
    status_of(pod).update(ready=True, started=True, state={"running": {"startedAt": s.sim.ago(400)}})
    for condition in pod["status"]["conditions"]:
        condition["status"] = "True"
        condition.pop("reason", None)
    s.sim.events_kept = s.rng.random() < 0.5
    said = "Not starting job because prior execution is running and concurrency policy is Forbid"
    s.sim.event(cron, "JobAlreadyActive", said, count=40, first=390, last=3, by="cronjob-controller")
    return s.cause("Forbid", "ledger-close-29570000|still run|prior", of=(f"CronJob/{s.ns}/ledger-close", f"Job/{s.ns}/ledger-close-29570000"))


def cron_job_late(s: Scene) -> Expected:
    """No run is started any more; the deadline for a start is shorter than the controller's period."""
    cron_job(s.sim, s.ns, "rate-refresh", schedule="*/20 * * * *", startingDeadlineSeconds=5, status={"lastScheduleTime": s.sim.ago(190), "lastSuccessfulTime": s.sim.ago(189)})
    return s.cause("*/20 * * * *", "startingDeadlineSeconds|miss", of=(f"CronJob/{s.ns}/rate-refresh",))


def rollout_paused(s: Scene) -> Expected:
    """A new template that nobody lets out: no ReplicaSet has been made of it."""
    s.workload(("Deployment",))
    template = copy.deepcopy(s.work.template)
    template["spec"]["containers"][0]["image"] += "-rc1"
    s.work.extra["spec"] = {"paused": True, "template": template}
    said = {"reason": "DeploymentPaused", "message": "Deployment is paused", "lastTransitionTime": s.sim.ago(50)}
    available = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}
    conditions = [available, {"type": "Progressing", "status": "Unknown", **said}]
    s.work.extra["status"] = {"updatedReplicas": 0, "conditions": conditions}
    return s.cause("paused", of=(s.ref(s.work),))


def no_room_for_surge(s: Scene) -> Expected:
    """maxUnavailable 0: the new pod has no place and no old one may go."""
    s.workload(("Deployment",), replicas=3, container={"resources": {"requests": {"cpu": "2500m", "memory": "96Mi"}}})
    for index, pod in enumerate(s.sim.pods(s.ns, s.work.name)):
        pod["spec"]["nodeName"] = s.sim.nodes()[index % len(s.sim.nodes())]
    while len(s.sim.nodes()) > 3:
        s.sim.get("Node", "", s.sim.nodes()[-1])["spec"] |= {"unschedulable": True, "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    s.work.extra["spec"] = {"strategy": strategy}
    for pod in s.sim.release(s.work, lambda p: p["containers"][0].update(image="ghcr.io/fernhill/x:8"), minutes=24, fresh=False):
        unschedulable(s.sim, pod, "0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 3 Insufficient cpu. preemption: 0/4 nodes are available: 1 Preemption is not helpful for scheduling, 3 No preemption victims found for incoming pod.")
    return s.cause("cpu", "2500m|2.5")


def ordinal_blocks(s: Scene) -> Expected:
    """db-1 cannot attach; db-2 is never created."""
    s._work = database(s.sim, s.ns, "route-db", replicas=3)
    s._work.extra["was_ready"] = True
    pods = list(s.sim.pods(s.ns, "route-db"))
    s.sim.drop("Pod", s.ns, pods[2]["metadata"]["name"])
    crash(s.sim, pods[1], 1, "FATAL:  database files are incompatible with server\nDETAIL:  The data directory was initialized by PostgreSQL version 15, which is not compatible with this version 16.4.")
    return s.cause("incompatible|version 15", of=(s.ref(s._work),))


def _hpa(s: Scene, conditions: list[tuple[str, str, str, str]], **spec: Any) -> Raw:
    metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}]
    body: Raw = {"minReplicas": 2, "maxReplicas": 6, "metrics": metrics}
    body["scaleTargetRef"] = {"apiVersion": "apps/v1", "kind": "Deployment", "name": s.work.name}
    shown = [{"type": t, "status": v, "reason": r, "message": m, "lastTransitionTime": s.sim.ago(50)} for t, v, r, m in conditions]
    status: Raw = {"currentReplicas": 2, "desiredReplicas": 2, "conditions": shown}
    return s.sim.add("autoscaling/v2", "HorizontalPodAutoscaler", s.work.name, s.ns, age=55, spec=body | spec, status=status)


ABLE = ("AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")


def hpa_without_requests(s: Scene) -> Expected:
    s.workload(("Deployment",), container={"resources": {"limits": {"memory": "256Mi"}, "requests": {"memory": "256Mi"}}})
    pod = next(s.sim.pods(s.ns, s.work.name))
    said = f"the HPA was unable to compute the replica count: failed to get cpu utilization: missing request for cpu in container {status_of(pod)['name']} of Pod {pod['metadata']['name']}"
    hpa = _hpa(s, [ABLE, ("ScalingActive", "False", "FailedGetResourceMetric", said)])
    s.sim.event(hpa, "FailedGetResourceMetric", said.split(": ", 1)[1], count=90, first=50, last=0.3, by="horizontal-pod-autoscaler")
    return s.cause("cpu", "request", of=(s.ref(s.work), f"HorizontalPodAutoscaler/{s.ns}/{s.work.name}"))


def hpa_target_missing(s: Scene) -> Expected:
    s.workload(("Deployment",))
    said = f'the HPA controller was unable to get the target\'s current scale: deployments.apps "{s.work.name}-v2" not found'
    hpa = _hpa(s, [("AbleToScale", "False", "FailedGetScale", said)], scaleTargetRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{s.work.name}-v2"})
    s.sim.event(hpa, "FailedGetScale", said, count=90, first=50, last=0.3, by="horizontal-pod-autoscaler")
    return s.cause(f"{s.work.name}-v2", "not found|does not exist|no Deployment|missing", of=(f"HorizontalPodAutoscaler/{s.ns}/{s.work.name}",))


def metrics_api_down(s: Scene) -> Expected:
    """metrics-server crashes: the autoscaler is blind."""
    server = s.sim.workload("Deployment", "kube-system", "metrics-server", replicas=1, style=2)
    server.extra["was_ready"] = True
    for pod in s.sim.pods("kube-system", "metrics-server"):
        unready(s.sim, pod, "HTTP probe failed with statuscode: 500", since=45, log='E0611 scraper.go:149] "Failed to scrape node" err="Get \\"https://10.58.16.42:10250/metrics/resource\\": tls: failed to verify certificate: x509: cannot validate certificate for 10.58.16.42 because it doesn\'t contain any IP SANs" node="worker-1"')
    s.sim.add("apiregistration.k8s.io/v1", "APIService", "v1beta1.metrics.k8s.io", spec={"group": "metrics.k8s.io", "version": "v1beta1", "service": {"name": "metrics-server", "namespace": "kube-system", "port": 443}},
        status={"conditions": [{"type": "Available", "status": "False", "reason": "MissingEndpoints", "message": "endpoints for service/metrics-server in \"kube-system\" have no addresses with port name \"https\"", "lastTransitionTime": s.sim.ago(45)}]})  # fmt: skip
    s.workload(("Deployment",))
    said = "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server is currently unable to handle the request (get pods.metrics.k8s.io)"
    _hpa(s, [ABLE, ("ScalingActive", "False", "FailedGetResourceMetric", said)])
    return s.cause("metrics-server", of=("Deployment/kube-system/metrics-server", "APIService//v1beta1.metrics.k8s.io"))


def hpa_at_maximum(s: Scene) -> Expected:
    s.workload(("Deployment",), replicas=3)
    limited = ("ScalingLimited", "True", "TooManyReplicas", "the desired replica count is more than the maximum replica count")
    active = ("ScalingActive", "True", "ValidMetricFound", "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)")
    hpa = _hpa(s, [ABLE, active, limited], maxReplicas=3)
    hpa["status"] |= {"currentReplicas": 3, "desiredReplicas": 3, "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 188, "averageValue": "94m"}}}]}
    return s.cause("maximum|maxReplicas", "3", of=(f"HorizontalPodAutoscaler/{s.ns}/{s.work.name}", s.ref(s.work)))


def budget_blocks_drain(s: Scene) -> Expected:
    s.workload(("Deployment",), replicas=2)
    budget = s.sim.get("PodDisruptionBudget", s.ns, s.work.name)
    budget["spec"]["minAvailable"] = 2
    s.expected.risk = True
    return s.cause("minAvailable|PodDisruptionBudget|PDB", "2", of=(f"PodDisruptionBudget/{s.ns}/{s.work.name}", s.ref(s.work)))


def single_replica(s: Scene) -> Expected:
    s.workload(("Deployment",), replicas=1)
    s.expected.risk = True
    return s.cause("replica", "PodDisruptionBudget|PDB")


def stuck_terminating(s: Scene) -> Expected:
    """A pod with a finalizer that nobody removes."""
    s.workload(("StatefulSet",), replicas=1)
    pod = next(s.sim.pods(s.ns, s.work.name))
    pod["metadata"] |= {"deletionTimestamp": s.sim.ago(95), "deletionGracePeriodSeconds": 30, "finalizers": ["storage.fern.example/flush"]}
    set_condition(pod, "Ready", "False", reason="PodCompleted")
    set_condition(pod, "ContainersReady", "False", reason="PodCompleted")
    status_of(pod).update(ready=False, state={"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": s.sim.ago(94)}})
    s.work.extra["was_ready"] = True
    return s.cause("storage.fern.example/flush", "finalizer", of=(s.ref(s.work), f"Pod/{s.ns}/{pod['metadata']['name']}"))


def native_sidecar_blocks(s: Scene) -> Expected:
    """The sidecar's startup probe never passes, so the program itself is never started."""
    from tests.support.simulation import probe

    sidecar = {"name": "vault-agent", "image": "hashicorp/vault:1.18.3", "restartPolicy": "Always", "resources": {}, "startupProbe": probe({"httpGet": {"path": "/agent/v1/up", "port": 8100, "scheme": "HTTP"}}, period=5, failures=60)}
    for pod in s.release(lambda p: p.update(initContainers=[sidecar]), kinds=("Deployment",), events=True):
        for other in pod["status"]["containerStatuses"]:
            waiting(s.sim, pod, "PodInitializing", container=other["name"])
        chosen = status_of(pod, "vault-agent")
        chosen |= {"ready": False, "started": False, "restartCount": 4, "state": {"running": {"startedAt": s.sim.ago(3)}}}
        s.sim.event(pod, "Unhealthy", 'Startup probe failed: Get "http://10.244.2.3:8100/agent/v1/up": dial tcp 10.244.2.3:8100: connect: connection refused', count=200, first=14, last=0.1)
        s.sim.logs[s.ns, pod["metadata"]["name"], "vault-agent", False] = "Error: error authenticating: Put https://vault.fern.example/v1/auth/kubernetes/login: 403 permission denied, role parcels unknown"
    return s.cause("vault-agent")


MUTATIONS: tuple[Callable[[Scene], Expected], ...] = (
    job_fails, job_deadline, cron_job_fails, job_image_missing, cron_job_stuck_run, cron_job_late, rollout_paused,
    no_room_for_surge, ordinal_blocks, hpa_without_requests, hpa_target_missing, metrics_api_down, hpa_at_maximum,
    budget_blocks_drain, single_replica, stuck_terminating, native_sidecar_blocks,
)  # fmt: skip
