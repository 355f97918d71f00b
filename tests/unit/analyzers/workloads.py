"""A Deployment with one pod, written as YAML texts: what tests of workload checks vary is the pod's spec and status."""

from __future__ import annotations

from datetime import timedelta
from textwrap import dedent
from typing import Any

import yaml

from tests.support.views import TAKEN_AT

NS = "shop"


def ago(**kwargs: float) -> str:
    """An RFC 3339 time before the view was taken, such as `ago(minutes=5)`."""
    return (TAKEN_AT - timedelta(**kwargs)).isoformat().replace("+00:00", "Z")


def _read(text: str) -> Any:
    return yaml.safe_load(dedent(text)) if text.strip() else {}


def deployment(pod_spec: str, status: str = "", *, replicas: int = 1, spec: str = "") -> str:
    """Deployment `web` with this pod spec; by default none of its pods is ready since half an hour."""
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": NS, "uid": "d1", "creationTimestamp": ago(minutes=30)},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": _read(pod_spec)},
            **_read(spec),
        },
        "status": _read(status) or {"replicas": replicas, "updatedReplicas": replicas},
    }
    return yaml.safe_dump(document)


def replica_set(pod_spec: str, *, name: str = "web-1", revision: int = 1, status: str = "", replicas: int = 1) -> str:
    """A ReplicaSet of Deployment `web`."""
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d1", "controller": True}
    document = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": NS,
            "uid": name,
            "ownerReferences": [owner],
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
        },
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": "web"}}, "spec": _read(pod_spec)}},
        "status": _read(status) or {"replicas": replicas},
    }
    return yaml.safe_dump(document)


def pod(
    pod_spec: str,
    container_status: str = "",
    *,
    name: str = "web-1-a",
    owner: str = "web-1",
    owner_kind: str = "ReplicaSet",
    phase: str = "Running",
    ready: bool = False,
    status: str = "",
    age_minutes: float = 30,
    metadata: str = "",
) -> str:
    """A pod of ReplicaSet `web-1`; `container_status` is a list of container statuses."""
    statuses = _read(container_status) or []
    own: dict[str, Any] = {
        "name": name,
        "namespace": NS,
        "uid": name,
        "labels": {"app": "web"},
        "creationTimestamp": ago(minutes=age_minutes),
    }
    if owner:
        own["ownerReferences"] = [
            {"apiVersion": "v1", "kind": owner_kind, "name": owner, "uid": owner, "controller": True}
        ]
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**own, **_read(metadata)},
        "spec": {"nodeName": "node-1", **_read(pod_spec)},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False", "reason": "ContainersNotReady"}],
            "containerStatuses": statuses,
            **_read(status),
        },
    }
    return yaml.safe_dump(document)


def event(
    reason: str,
    message: str,
    *,
    kind: str = "Pod",
    name: str = "web-1-a",
    count: int = 5,
    minutes: float = 1,
    warning: bool = True,
) -> str:
    """An event about an object of the namespace, `minutes` before the view was taken."""
    document = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{abs(hash((reason, message))) % 10**8}", "namespace": NS},
        "involvedObject": {"kind": kind, "namespace": NS, "name": name},
        "reason": reason,
        "message": message,
        "type": "Warning" if warning else "Normal",
        "count": count,
        "lastTimestamp": ago(minutes=minutes),
    }
    return yaml.safe_dump(document)


def workload(pod_spec: str, container_status: str = "", **kwargs: Any) -> list[str]:
    """Deployment, ReplicaSet and pod of one spec."""
    return [deployment(pod_spec), replica_set(pod_spec), pod(pod_spec, container_status, **kwargs)]


def crashed(exit_code: int = 1, reason: str = "Error", *, lived: int = 2, restarts: int = 7, message: str = "") -> str:
    """The status of container `app` in CrashLoopBackOff; its last run ended a minute ago after `lived` seconds."""
    said = f", message: {message!r}" if message else ""
    return f"""
    - name: app
      ready: false
      restartCount: {restarts}
      state: {{waiting: {{reason: CrashLoopBackOff, message: back-off 5m0s restarting failed container}}}}
      lastState: {{terminated: {{exitCode: {exit_code}, reason: {reason}, startedAt: "{ago(seconds=60 + lived)}",
                  finishedAt: "{ago(seconds=60)}"{said}}}}}
    """


def waiting(reason: str, message: str = "") -> str:
    """The status of container `app` that waits."""
    said = yaml.safe_dump(message, default_style='"', width=10000).strip()
    return f"""
    - name: app
      ready: false
      restartCount: 0
      state: {{waiting: {{reason: {reason}, message: {said}}}}}
    """


RUNNING = f"""
- name: app
  ready: true
  restartCount: 0
  state: {{running: {{startedAt: "{ago(minutes=29)}"}}}}
"""
UNREADY = RUNNING.replace("ready: true", "ready: false")
SIMPLE = "containers: [{name: app, image: registry.example/team/web:1.0}]"
