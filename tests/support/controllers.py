"""What controllers write once the pods stand: statuses, ReplicaSets, EndpointSlices, disruption budgets, quotas."""
# ruff: noqa: E501  # messages of kubelet, scheduler and controllers stand as they are written, in one piece

from __future__ import annotations

from typing import Any

from tests.support.kubelet import is_ready
from tests.support.simulation import Raw, Simulation, Workload


def settle(sim: Simulation) -> None:
    """Writes all that follows from workloads and pods."""
    for work in sim.workloads:
        {"Deployment": _deployment, "StatefulSet": _stateful_set, "DaemonSet": _daemon_set}[work.kind](sim, work)
    for service in sim.of("Service"):
        _endpoints(sim, service)
    for budget in sim.of("PodDisruptionBudget"):
        if "status" not in budget:
            _budget(sim, budget)


def _refusal(sim: Simulation, work: Workload, about: Raw) -> list[Raw]:
    message = work.extra.get("refused", "")
    if not message:
        return []
    sim.event(about, "FailedCreate", f"Error creating: {message}", count=14, first=work.released, last=3,
              by={"ReplicaSet": "replicaset-controller"}.get(about["kind"], f"{about['kind'].lower()}-controller"))  # fmt: skip
    when = sim.ago(work.released)
    return [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message,
             "lastTransitionTime": when}]  # fmt: skip


def _pods(sim: Simulation, work: Workload) -> list[Raw]:
    owner = {w.kind for w in (work,)} | {"ReplicaSet"}
    return [p for p in sim.pods(work.ns, work.name) if p["metadata"]["ownerReferences"][0]["kind"] in owner]


def _common(work: Workload) -> Raw:
    template = work.template
    return {"selector": {"matchLabels": dict(work.labels)}, "template": template, "revisionHistoryLimit": 10}


def _deployment(sim: Simulation, work: Workload) -> None:
    pods = _pods(sim, work)
    ready = sum(map(is_ready, pods))
    current = sim.hash_of(work, work.template)
    failure: list[Raw] = []
    updated = updated_ready = 0
    for revision, template in enumerate([t for t in (work.old_template, work.template) if t], 1):
        hashed = sim.hash_of(work, template)
        own = [p for p in pods if p["metadata"]["labels"].get("pod-template-hash") == hashed]
        wanted = len(own)
        if template is work.template:
            updated, updated_ready = len(own), sum(map(is_ready, own))
            wanted = max(wanted, 1 if work.old_template else work.replicas) if work.replicas else 0
        labels = template["metadata"]["labels"] | {"pod-template-hash": hashed}
        inner = {"metadata": {"labels": labels}, "spec": template["spec"]}
        count = sum(map(is_ready, own))
        made = sim.add("apps/v1", "ReplicaSet", f"{work.name}-{hashed}", work.ns,
            age=work.released if template is work.template else work.age,
            meta={"labels": labels, "ownerReferences": sim.owner("Deployment", work.ns, work.name),
                  "annotations": {"deployment.kubernetes.io/revision": str(revision)}},
            spec={"replicas": wanted, "selector": {"matchLabels": labels}, "template": inner},
            status={"replicas": len(own), "fullyLabeledReplicas": len(own), "readyReplicas": count,
                    "availableReplicas": count, "observedGeneration": 1})  # fmt: skip
        if template is work.template and (failure := _refusal(sim, work, made)):
            made["status"]["conditions"] = failure
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    spec = {"replicas": work.replicas, "strategy": strategy, "progressDeadlineSeconds": 600} | _common(work)
    enough = ready >= max(0, work.replicas - work.replicas // 4)
    since = sim.ago(work.released)
    available = {"type": "Available", "status": "True" if enough else "False", "lastTransitionTime": since,
        "reason": "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        "message": f"Deployment {'has' if enough else 'does not have'} minimum availability."}  # fmt: skip
    done = updated_ready >= work.replicas or work.extra.get("was_ready")
    late = not done and work.released > 10
    reason = "NewReplicaSetAvailable" if done else "ProgressDeadlineExceeded" if late else "ReplicaSetUpdated"
    said = "has successfully progressed." if done else "has timed out progressing." if late else "is progressing."
    progressing = {"type": "Progressing", "status": "False" if late else "True", "reason": reason,
        "lastTransitionTime": sim.ago(max(0.5, work.released - 10)) if late else since,
        "message": f'ReplicaSet "{work.name}-{current}" {said}'}  # fmt: skip
    status = {"observedGeneration": 2, "replicas": len(pods), "updatedReplicas": updated, "readyReplicas": ready,
        "availableReplicas": ready, "unavailableReplicas": max(0, max(work.replicas, len(pods)) - ready),
        "conditions": [available, progressing, *failure]} | work.extra.get("status", {})  # fmt: skip
    meta = {
        "labels": dict(work.labels),
        "generation": 2,
        "annotations": {"deployment.kubernetes.io/revision": "2" if work.old_template else "1"},
    }
    made = sim.add("apps/v1", "Deployment", work.name, work.ns, age=work.age, meta=meta,
                   spec=spec | work.extra.get("spec", {}), status=status)  # fmt: skip
    if work.released < 60:
        sim.normal(made, "ScalingReplicaSet", f"Scaled up replica set {work.name}-{current} from 0 to {max(1, updated)}",
                   at=work.released, by="deployment-controller")  # fmt: skip


def _stateful_set(sim: Simulation, work: Workload) -> None:
    pods = _pods(sim, work)
    ready = sum(map(is_ready, pods))
    revision = f"{work.name}-{sim.hash_of(work, work.template)}"
    old = f"{work.name}-{sim.hash_of(work, work.old_template)}" if work.old_template else revision
    updated = sum(p["metadata"]["labels"]["controller-revision-hash"] == revision for p in pods)
    claims = [
        {"metadata": {"name": c}, "spec": work.extra["claim_spec"], "status": {"phase": "Pending"}}
        for c in work.extra.get("claims", ())
    ]
    spec: dict[str, Any] = _common(work) | {
        "replicas": work.replicas,
        "serviceName": work.name,
        "podManagementPolicy": "OrderedReady",
    }
    spec |= {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}
    spec |= {"volumeClaimTemplates": claims} if claims else {}
    status = {"observedGeneration": 1, "replicas": len(pods), "readyReplicas": ready, "availableReplicas": ready,
        "currentReplicas": len(pods) - updated if old != revision else updated, "updatedReplicas": updated,
        "currentRevision": old, "updateRevision": revision, "collisionCount": 0}  # fmt: skip
    made = sim.add(
        "apps/v1",
        "StatefulSet",
        work.name,
        work.ns,
        age=work.age,
        meta={"labels": dict(work.labels)},
        spec=spec,
        status=status,
    )
    if message := work.extra.get("refused"):
        said = f"create Pod {work.name}-{len(pods)} in StatefulSet {work.name} failed error: {message}"
        sim.event(made, "FailedCreate", said, count=14, first=work.released, last=3, by="statefulset-controller")


def _daemon_set(sim: Simulation, work: Workload) -> None:
    pods = _pods(sim, work)
    ready = sum(map(is_ready, pods))
    wanted = work.extra.get("desired", sim.wanted(work))
    revision = f"{work.name}-{sim.hash_of(work, work.template)}"
    updated = sum(p["metadata"]["labels"]["controller-revision-hash"] == revision for p in pods)
    status = {"currentNumberScheduled": len(pods), "desiredNumberScheduled": wanted, "numberMisscheduled": 0,
        "numberReady": ready, "numberAvailable": ready, "updatedNumberScheduled": updated, "observedGeneration": 1}  # fmt: skip
    if wanted > ready:
        status["numberUnavailable"] = wanted - ready
    spec = _common(work) | {
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    }
    made = sim.add(
        "apps/v1",
        "DaemonSet",
        work.name,
        work.ns,
        age=work.age,
        meta={"labels": dict(work.labels)},
        spec=spec,
        status=status,
    )
    _refusal(sim, work, made)


def _endpoints(sim: Simulation, service: Raw) -> None:
    """One EndpointSlice for each set of resolved ports; none of a port that the pods do not have."""
    ns, name = service["metadata"].get("namespace", ""), service["metadata"]["name"]
    selector = service["spec"].get("selector")
    if not selector or service["spec"].get("type") == "ExternalName":
        return
    groups: dict[tuple[tuple[str, int, str], ...], list[Raw]] = {}
    for pod in sim.of("Pod", ns):
        if not selector.items() <= pod["metadata"].get("labels", {}).items() or "podIP" not in pod["status"]:
            continue
        if pod["status"]["phase"] in ("Succeeded", "Failed"):
            continue
        ready = is_ready(pod)
        conditions = {"ready": ready, "serving": ready, "terminating": False}
        target = {"kind": "Pod", "namespace": ns, "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        endpoint = {"addresses": [pod["status"]["podIP"]], "conditions": conditions, "targetRef": target,
                    "nodeName": pod["spec"].get("nodeName", "")}  # fmt: skip
        groups.setdefault(tuple(_resolved(service, pod)), []).append(endpoint)
    for number, (ports, endpoints) in enumerate(groups.items() or [((), [])]):
        sim.add("discovery.k8s.io/v1", "EndpointSlice", f"{name}-{sim.uid(name)[:5]}{number or ''}", ns, addressType="IPv4",
            endpoints=endpoints if ports or service["spec"].get("clusterIP") == "None" else [],
            ports=[{"name": n, "port": p, "protocol": proto} for n, p, proto in ports] or None,
            meta={"labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by":
                  "endpointslice-controller.k8s.io"}, "ownerReferences": sim.owner("Service", ns, name)})  # fmt: skip


def _resolved(service: Raw, pod: Raw) -> list[tuple[str, int, str]]:
    found = []
    for port in service["spec"]["ports"]:
        target, protocol = port.get("targetPort", port["port"]), port.get("protocol", "TCP")
        if isinstance(target, str):
            named = [
                p["containerPort"]
                for c in pod["spec"]["containers"]
                for p in c.get("ports", [])
                if p.get("name") == target and p.get("protocol", "TCP") == protocol
            ]
            if not named:
                continue
            target = named[0]
        found.append((port.get("name", ""), target, protocol))
    return found


def _budget(sim: Simulation, budget: Raw) -> None:
    ns = budget["metadata"]["namespace"]
    labels = budget["spec"]["selector"]["matchLabels"]
    pods = [p for p in sim.of("Pod", ns) if labels.items() <= p["metadata"].get("labels", {}).items()]
    ready = sum(map(is_ready, pods))
    if "minAvailable" in budget["spec"]:
        desired = int(budget["spec"]["minAvailable"])
    else:
        desired = len(pods) - int(budget["spec"]["maxUnavailable"])
    allowed = max(0, ready - desired) if pods else 0
    condition = {"type": "DisruptionAllowed", "status": "True" if allowed else "False", "message": "",
        "reason": "SufficientPods" if allowed else "InsufficientPods", "lastTransitionTime": sim.ago(30)}  # fmt: skip
    budget["status"] = {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": ready,
        "desiredHealthy": desired, "expectedPods": len(pods), "conditions": [condition]}  # fmt: skip
