"""The row of a pod: kubectl's one word for what it is doing, and its restarts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from agents.cluster.objects import K8sObject, integer, is_sidecar, mapping, mappings, moment, text
from agents.cluster.serve.shown import NONE, Cell, age, duration


def pod(obj: K8sObject, now: datetime) -> list[Cell]:
    statuses = mappings(obj.status, "containerStatuses")
    sidecars = {text(c, "name") for c in mappings(obj.spec, "initContainers") if is_sidecar(c)}
    counted = statuses + [s for s in mappings(obj.status, "initContainerStatuses") if text(s, "name") in sidecars]
    ready = sum(1 for s in counted if s.get("ready") is True)
    total = len(mappings(obj.spec, "containers")) + len(sidecars)
    gates = [text(g, "conditionType") for g in mappings(obj.spec, "readinessGates")]
    met = sum(1 for g in gates if obj.condition(g).get("status") == "True")
    return [
        f"{ready}/{total}",
        pod_status(obj),
        _restarts(obj, counted, now),
        age(obj.created, now),
        text(obj.status, "podIP") or NONE,
        text(obj.spec, "nodeName") or NONE,
        text(obj.status, "nominatedNodeName") or NONE,
        f"{met}/{len(gates)}" if gates else NONE,
    ]


def _restarts(obj: K8sObject, counted: Sequence[Mapping[str, Any]], now: datetime) -> str:
    found = counted
    if init_status(obj):  # while init containers run, theirs are the restarts that matter
        found = mappings(obj.status, "initContainerStatuses")
    count = sum(integer(s, "restartCount") or 0 for s in found)
    ends = [moment(s, "lastState", "terminated", "finishedAt") for s in found]
    newest = max((e for e in ends if e is not None), default=None)
    return f"{count} ({duration(now - newest)} ago)" if count and newest else str(count)


def init_status(obj: K8sObject) -> str:
    """`Init:…` while an init container has not done its work, else ""."""
    declared = mappings(obj.spec, "initContainers")
    sidecars = {text(c, "name") for c in declared if is_sidecar(c)}
    for index, status in enumerate(mappings(obj.status, "initContainerStatuses")):
        ended = mapping(status, "state", "terminated")
        if ended and (integer(ended, "exitCode") or 0) == 0:
            continue
        if text(status, "name") in sidecars and status.get("started") is True:
            continue
        if ended:
            code, sign = integer(ended, "exitCode"), integer(ended, "signal")
            return "Init:" + (text(ended, "reason") or (f"Signal:{sign}" if sign else f"ExitCode:{code}"))
        waiting = text(status, "state", "waiting", "reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{len(declared)}"
    return ""


def pod_status(obj: K8sObject) -> str:
    """The STATUS column: kubectl's one word for what a pod is doing, from its containers and its deletion."""
    status = text(obj.status, "reason") or text(obj.status, "phase")
    if obj.condition("PodScheduled").get("reason") == "SchedulingGated":
        status = "SchedulingGated"
    waiting_for_init = init_status(obj)
    if waiting_for_init:
        status = waiting_for_init
    else:
        status = _container_word(obj) or status
    if obj.deleting_since is not None and text(obj.status, "reason") == "NodeLost":
        return "Unknown"
    if obj.deleting_since is not None and text(obj.status, "phase") not in ("Succeeded", "Failed"):
        return "Terminating"
    return status


def _container_word(obj: K8sObject) -> str:
    word, running = "", False
    for status in reversed(mappings(obj.status, "containerStatuses")):
        ended = mapping(status, "state", "terminated")
        if waiting := text(status, "state", "waiting", "reason"):
            word = waiting
        elif ended:
            sign = integer(ended, "signal")
            word = text(ended, "reason") or (f"Signal:{sign}" if sign else f"ExitCode:{integer(ended, 'exitCode')}")
        elif status.get("ready") is True and "running" in mapping(status, "state"):
            running = True
    if word == "Completed" and running:
        return "Running" if obj.condition("Ready").get("status") == "True" else "NotReady"
    return word
