"""Builds consistent Kubernetes objects for the demo: a workload brings its ReplicaSets, pods, Service and endpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 10, 14, 2, 40, tzinfo=UTC)
RELEASED = timedelta(days=6)
NODES = ("worker-1", "worker-2", "worker-3")
REGISTRY = "registry.meadow.example"

Raw = dict[str, Any]


def ago(**parts: float) -> str:
    """A time before the record, as Kubernetes writes it."""
    return (NOW - timedelta(**parts)).strftime("%Y-%m-%dT%H:%M:%SZ")


def uid(*parts: str) -> str:
    """A stable uid for an object."""
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def meta(kind: str, name: str, namespace: str = "", *, age: timedelta = timedelta(days=40), **more: Any) -> Raw:
    """Metadata with uid and creation time."""
    found: Raw = {
        "name": name,
        "uid": uid(kind, namespace, name),
        "creationTimestamp": ago(seconds=age.total_seconds()),
    }
    if namespace:
        found["namespace"] = namespace
    return found | more


def obj(api_version: str, kind: str, name: str, namespace: str = "", **rest: Any) -> Raw:
    """One object; `meta_more` and `age` go into its metadata."""
    more = rest.pop("meta_more", {})
    age = rest.pop("age", timedelta(days=40))
    return {"apiVersion": api_version, "kind": kind, "metadata": meta(kind, name, namespace, age=age, **more), **rest}


def owned_by(kind: str, name: str, namespace: str, api_version: str = "apps/v1") -> list[Raw]:
    """The owner reference of a controller."""
    return [
        {
            "apiVersion": api_version,
            "kind": kind,
            "name": name,
            "uid": uid(kind, namespace, name),
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


@dataclass(slots=True)
class Workload:
    """A Deployment with its pods. `container` overrides fields of the container, `pod` of the pod spec.

    `broken` says of each pod how it is unwell: a container status and the pod's phase; None is a healthy pod.
    """

    namespace: str
    name: str
    image: str
    replicas: int = 2
    port: int = 8080
    container: Raw = field(default_factory=dict)
    pod: Raw = field(default_factory=dict)
    age: timedelta = RELEASED
    broken: Raw | None = None
    old_image: str = ""

    def template(self, image: str) -> Raw:
        """The pod template."""
        container = {
            "name": self.name.split("-")[0],
            "image": f"{REGISTRY}/{image}",
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"name": "http", "containerPort": self.port, "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "192Mi"}},
            "livenessProbe": {
                "httpGet": {"path": "/healthz", "port": "http"},
                "periodSeconds": 20,
                "failureThreshold": 3,
            },
            "readinessProbe": {
                "httpGet": {"path": "/readyz", "port": "http"},
                "periodSeconds": 10,
                "failureThreshold": 3,
            },
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        spec: Raw = {
            "serviceAccountName": "default",
            "containers": [container | self.container],
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
        }
        return {"metadata": {"labels": {"app": self.name}}, "spec": spec | self.pod}


def deployment(work: Workload) -> list[Raw]:
    """The Deployment, its ReplicaSets and pods, its Service, endpoints and disruption budget."""
    ready = 0 if work.broken is not None and not work.old_image else work.replicas
    objects = [_deployment_object(work, ready)]
    revisions = [(work.old_image, "1", False), (work.image, "2", True)] if work.old_image else [(work.image, "1", True)]
    pods: list[Raw] = []
    for image, revision, current in revisions:
        broken = work.broken if current else None
        count = 1 if broken is not None and work.old_image else work.replicas
        age = timedelta(minutes=26) if revision == "2" else work.age
        hashed = hashlib.sha256(f"{work.name}{image}".encode()).hexdigest()[:9]
        objects.append(
            _replica_set(work, image, hashed, revision, count, age, ready=0 if broken is not None else count)
        )
        pods += [_pod(work, image, hashed, index, age, broken) for index in range(count)]
    objects += pods
    objects += service(work.namespace, work.name, [(p, p["status"]) for p in pods], port=80, target="http")
    if work.replicas > 1:
        budget = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": work.name}}}
        status = {"currentHealthy": ready, "desiredHealthy": work.replicas - 1, "expectedPods": work.replicas}
        allowed = {"disruptionsAllowed": max(0, ready - work.replicas + 1)}
        objects.append(
            obj("policy/v1", "PodDisruptionBudget", work.name, work.namespace, spec=budget, status=status | allowed)
        )
    return objects


def _deployment_object(work: Workload, ready: int) -> Raw:
    stuck = work.broken is not None
    available = {"type": "Available", "status": "True" if ready else "False", "reason": "MinimumReplicasAvailable"}
    if not ready:
        available |= {
            "reason": "MinimumReplicasUnavailable",
            "message": "Deployment does not have minimum availability.",
        }
    progressing = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    if stuck and work.old_image:
        progressing = {
            "type": "Progressing",
            "status": "False",
            "reason": "ProgressDeadlineExceeded",
            "message": f'ReplicaSet for image "{work.image}" has timed out progressing.',
            "lastTransitionTime": ago(minutes=16),
        }
    status = {
        "observedGeneration": 2,
        "replicas": work.replicas + (1 if stuck and work.old_image else 0),
        "updatedReplicas": 1 if stuck and work.old_image else work.replicas,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "conditions": [available, progressing],
    }
    spec = {
        "replicas": work.replicas,
        "selector": {"matchLabels": {"app": work.name}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "progressDeadlineSeconds": 600,
        "template": work.template(work.image),
    }
    return obj(
        "apps/v1",
        "Deployment",
        work.name,
        work.namespace,
        spec=spec,
        status=status,
        age=timedelta(days=40),
        meta_more={"labels": {"app": work.name}, "generation": 2},
    )


def _replica_set(
    work: Workload, image: str, hashed: str, revision: str, count: int, age: timedelta, *, ready: int
) -> Raw:
    template = work.template(image)
    template["metadata"]["labels"] |= {"pod-template-hash": hashed}
    return obj(
        "apps/v1",
        "ReplicaSet",
        f"{work.name}-{hashed}",
        work.namespace,
        age=age,
        spec={
            "replicas": count,
            "selector": {"matchLabels": {"app": work.name, "pod-template-hash": hashed}},
            "template": template,
        },
        status={"replicas": count, "readyReplicas": ready, "availableReplicas": ready, "observedGeneration": 1},
        meta_more={
            "labels": {"app": work.name, "pod-template-hash": hashed},
            "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": owned_by("Deployment", work.name, work.namespace),
        },
    )


def _pod(work: Workload, image: str, hashed: str, index: int, age: timedelta, broken: Raw | None) -> Raw:
    name = f"{work.name}-{hashed}-{hashlib.sha256(f'{hashed}{index}'.encode()).hexdigest()[:5]}"
    template = work.template(image)
    node = NODES[(index + len(work.name)) % len(NODES)]
    return pod(
        name,
        work.namespace,
        spec=template["spec"] | {"nodeName": node},
        labels={"app": work.name, "pod-template-hash": hashed},
        owners=owned_by("ReplicaSet", f"{work.name}-{hashed}", work.namespace),
        age=age,
        broken=broken,
    )


def pod(
    name: str,
    namespace: str,
    *,
    spec: Raw,
    labels: Mapping[str, str],
    owners: list[Raw],
    age: timedelta,
    broken: Raw | None = None,
) -> Raw:
    """A pod; `broken` holds `state`, and optionally `lastState`, `restartCount`, `phase`, `scheduled`."""
    container = spec["containers"][0]
    started = ago(seconds=age.total_seconds() - 4)
    state = {"running": {"startedAt": started}} if broken is None else broken["state"]
    ready = "True" if broken is None else "False"
    status: Raw = {
        "phase": "Running" if broken is None else broken.get("phase", "Running"),
        "podIP": f"10.42.{len(namespace) % 4}.{int(uid(name)[:2], 16)}",
        "startTime": ago(seconds=age.total_seconds()),
        "conditions": [
            {"type": "Initialized", "status": "True", "lastTransitionTime": started},
            {"type": "Ready", "status": ready, "lastTransitionTime": started if broken is None else ago(minutes=5)},
            {"type": "ContainersReady", "status": ready, "lastTransitionTime": started},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": started},
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": ""
                if broken and "waiting" in state and "Image" in str(state)
                else f"{container['image']}@sha256:{uid(name)}",
                "ready": broken is None,
                "started": broken is None,
                "restartCount": 0 if broken is None else broken.get("restartCount", 0),
                "state": state,
                "lastState": {} if broken is None else broken.get("lastState", {}),
            }
        ],
    }
    if broken is not None and broken.get("scheduled"):
        unscheduled = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": broken["scheduled"],
        }
        status = {"phase": "Pending", "conditions": [unscheduled | {"lastTransitionTime": ago(hours=3)}]}
        spec = {k: v for k, v in spec.items() if k != "nodeName"}
    more = {"labels": dict(labels), "ownerReferences": owners}
    return obj("v1", "Pod", name, namespace, spec=spec, status=status, age=age, meta_more=more)


def service(
    namespace: str, name: str, pods: Iterable[tuple[Raw, Raw]], *, port: int, target: str | int, listening: int = 8080
) -> list[Raw]:
    """A Service and its EndpointSlice over these pods."""
    endpoints = [
        {
            "addresses": [status["podIP"]],
            "conditions": {"ready": all(c["status"] == "True" for c in status["conditions"])},
            "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod_["metadata"]["name"]},
            "nodeName": pod_["spec"].get("nodeName", ""),
        }
        for pod_, status in pods
        if "podIP" in status
    ]
    ports = [{"name": "http", "protocol": "TCP", "port": port, "targetPort": target}]
    slice_more = {
        "labels": {"kubernetes.io/service-name": name},
        "ownerReferences": owned_by("Service", name, namespace, "v1"),
    }
    return [
        obj("v1", "Service", name, namespace, spec={"type": "ClusterIP", "selector": {"app": name}, "ports": ports}),
        obj(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            f"{name}-x7k2p",
            namespace,
            addressType="IPv4",
            endpoints=endpoints,
            ports=[{"name": "http", "port": listening, "protocol": "TCP"}],
            meta_more=slice_more,
        ),
    ]


def event(
    about: Raw, reason: str, message: str, *, count: int, first: str, last: str, component: str = "kubelet"
) -> Raw:
    """A warning about an object."""
    target = about["metadata"]
    name = f"{target['name']}.{uid(reason, target['name'])[:8]}"
    involved = {"kind": about["kind"], "namespace": target["namespace"], "name": target["name"], "uid": target["uid"]}
    return obj(
        "v1",
        "Event",
        name,
        target["namespace"],
        involvedObject=involved | {"apiVersion": about["apiVersion"]},
        reason=reason,
        message=message,
        type="Warning",
        count=count,
        firstTimestamp=first,
        lastTimestamp=last,
        source={"component": component},
    )
