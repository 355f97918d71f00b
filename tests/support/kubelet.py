"""Makes pods of a simulation unwell, in the words of kubelet and scheduler; and `settle`, what controllers then show."""
# ruff: noqa: E501  # messages of kubelet, scheduler and controllers stand as they are written, in one piece

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.support.simulation import Raw, Simulation, Workload


def status_of(pod: Raw, container: str = "") -> Raw:
    """The status of a container (the first without a name), init containers too."""
    every = [*pod["status"].get("containerStatuses", []), *pod["status"].get("initContainerStatuses", [])]
    found: Raw = next(s for s in every if not container or s["name"] == container)
    return found


def set_condition(pod: Raw, kind: str, status: str, **more: Any) -> None:
    for condition in pod["status"]["conditions"]:
        if condition["type"] == kind:
            condition.update(status=status, **more)


def not_ready(sim: Simulation, pod: Raw, names: Sequence[str], since: float) -> None:
    """Conditions of a pod with containers that are not ready."""
    said = {"reason": "ContainersNotReady", "message": f"containers with unready status: [{' '.join(names)}]"}
    for kind in ("Ready", "ContainersReady"):
        set_condition(pod, kind, "False", lastTransitionTime=sim.ago(since), **said)


def _age(sim: Simulation, pod: Raw) -> float:
    work = next((w for w in sim.workloads if w.labels.items() <= pod["metadata"]["labels"].items()), None)
    return work.released if work else 20.0


def waiting(sim: Simulation, pod: Raw, reason: str, message: str = "", *, container: str = "") -> None:
    """A container that has not started (image, configuration, volumes)."""
    pod["status"]["phase"] = "Pending"
    chosen = status_of(pod, container)
    chosen |= {"ready": False, "started": False, "imageID": "", "restartCount": 0, "lastState": {}}
    chosen.pop("containerID", None)
    chosen["state"] = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
    not_ready(sim, pod, [chosen["name"]], _age(sim, pod))
    sim.logs.pop((pod["metadata"]["namespace"], pod["metadata"]["name"], chosen["name"], False), None)


def creating(sim: Simulation, pod: Raw, reason: str, message: str, *, count: int = 9) -> None:
    """A pod whose containers wait for volumes or a sandbox."""
    init = pod["status"].get("initContainerStatuses", [])
    for status in [*init, *pod["status"]["containerStatuses"]]:
        waiting(sim, pod, "PodInitializing" if init else "ContainerCreating", container=status["name"])
    set_condition(pod, "PodReadyToStartContainers", "False")
    if init:
        set_condition(
            pod, "Initialized", "False", reason="ContainersNotInitialized", message="containers with incomplete status"
        )
    pod["status"].pop("podIP", None)
    pod["status"].pop("podIPs", None)
    not_ready(sim, pod, [s["name"] for s in pod["status"]["containerStatuses"]], _age(sim, pod))
    by = "attachdetach-controller" if reason == "FailedAttachVolume" else "kubelet"
    sim.event(pod, reason, message, count=count, first=_age(sim, pod), last=1, by=by)


def pull_failure(sim: Simulation, pod: Raw, error: str, *, reason: str = "ErrImagePull", container: str = "") -> None:
    """A failing pull: kubelet's three events, and one of the two waiting reasons by turns."""
    chosen = status_of(pod, container)
    image = chosen["image"]
    if reason == "ErrImagePull" and sim.rng.random() < 0.7:
        waiting(
            sim,
            pod,
            "ImagePullBackOff",
            f'Back-off pulling image "{image}": ErrImagePull: {error}',
            container=chosen["name"],
        )
    else:
        waiting(sim, pod, reason, error, container=chosen["name"])
    age = _age(sim, pod)
    sim.event(pod, "Failed", f'Failed to pull image "{image}": {error}', count=5, first=age, last=age - 3)
    sim.event(pod, "Failed", "Error: ErrImagePull", count=5, first=age, last=age - 3)
    sim.event(pod, "BackOff", f'Back-off pulling image "{image}"', count=60, first=age, last=0.3)


def crash(
    sim: Simulation,
    pod: Raw,
    code: int,
    log: str = "",
    *,
    reason: str = "Error",
    message: str = "",
    container: str = "",
    ran: float = 0.1,
) -> None:
    """A container that ends again and again; `ran`: minutes that it lived; a failing start has reason StartError."""
    meta = pod["metadata"]
    chosen = status_of(pod, container)
    name, age = chosen["name"], _age(sim, pod)
    restarts = max(3, int(min(age, 60) / 4))
    ended: Raw = {"exitCode": code, "reason": reason, "startedAt": sim.ago(2 + ran), "finishedAt": sim.ago(2)}
    if reason == "StartError":
        ended["startedAt"] = "1970-01-01T00:00:00Z"
    if message:
        ended["message"] = message
    chosen |= {"ready": False, "started": False, "restartCount": restarts, "lastState": {"terminated": ended}}
    back_off = f"back-off 5m0s restarting failed container={name} pod={meta['name']}_{meta['namespace']}({meta['uid']})"
    chosen["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": back_off}}
    init = name in {c["name"] for c in pod["spec"].get("initContainers", [])}
    if init:
        pod["status"]["phase"] = "Pending"
        said = {"reason": "ContainersNotInitialized", "message": f"containers with incomplete status: [{name}]"}
        set_condition(pod, "Initialized", "False", **said)
        for other in pod["status"]["containerStatuses"]:
            waiting(sim, pod, "PodInitializing", container=other["name"])
    not_ready(sim, pod, [s["name"] for s in pod["status"]["containerStatuses"]] if init else [name], age)
    again = f"Back-off restarting failed container {name} in pod {meta['name']}_{meta['namespace']}({meta['uid']})"
    sim.event(pod, "BackOff", again, count=40, first=age, last=0.5)
    if reason == "StartError":
        sim.event(pod, "Failed", f"Error: {message}", count=restarts, first=age, last=2)
    for previous in (False, True):
        sim.logs.pop((meta["namespace"], meta["name"], name, previous), None)
        if log:
            sim.logs[meta["namespace"], meta["name"], name, previous] = log


def unready(sim: Simulation, pod: Raw, message: str, *, log: str = "", since: float = 0, container: str = "") -> None:
    """A container that runs and does not answer its readiness probe."""
    chosen = status_of(pod, container)
    chosen["ready"] = False
    age = since or _age(sim, pod)
    not_ready(sim, pod, [chosen["name"]], age)
    sim.event(pod, "Unhealthy", f"Readiness probe failed: {message}", count=int(age * 6), first=age, last=0.1)
    if log:
        meta = pod["metadata"]
        sim.logs[meta["namespace"], meta["name"], chosen["name"], False] = log


def killed_by_liveness(sim: Simulation, pod: Raw, message: str, *, kind: str = "Liveness", log: str = "") -> None:
    """A container that kubelet kills for its liveness or startup probe."""
    chosen = status_of(pod)
    age = _age(sim, pod)
    crash(sim, pod, 137, log, ran=1.5)
    sim.event(pod, "Unhealthy", f"{kind} probe failed: {message}", count=18, first=age, last=2)
    said = f"Container {chosen['name']} failed {kind.lower()} probe, will be restarted"
    sim.event(pod, "Killing", said, count=6, first=age, last=2)


def unschedulable(sim: Simulation, pod: Raw, message: str) -> None:
    """A pod that the scheduler cannot place."""
    pod["spec"].pop("nodeName", None)
    said = {"reason": "Unschedulable", "message": message}
    when = sim.ago(_age(sim, pod))
    condition = {"type": "PodScheduled", "status": "False", "lastTransitionTime": when, **said}
    pod["status"] = {"phase": "Pending", "conditions": [condition], "qosClass": "Burstable"}
    sim.event(pod, "FailedScheduling", message, count=5, first=_age(sim, pod), last=1.5, by="default-scheduler")
    for container in pod["spec"]["containers"]:
        sim.logs.pop((pod["metadata"]["namespace"], pod["metadata"]["name"], container["name"], False), None)


def refused(sim: Simulation, work: Workload, message: str, *, created: int = 0) -> None:
    """Pods that admission refuses: the controller shows it in its condition and events; `created` of them exist."""
    for pod in list(sim.pods(work.ns, work.name))[created:]:
        sim.drop("Pod", work.ns, pod["metadata"]["name"])
    work.extra["refused"] = message


def is_ready(pod: Raw) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
