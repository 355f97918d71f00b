"""Pods that are not well, container by container: what every check of workloads starts from.

A pod is unwell when it should serve and does not: not yet started, not ready, or restarting again and again. Pods
that are being deleted, have ended as they should, or are ready and calm are left out. Everything here is computed once
per view and never raises on shape.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from agents.analyzers.base import clip, seen_event, seen_field
from agents.cluster.objects import (
    K8sObject,
    container_statuses,
    containers,
    integer,
    is_sidecar,
    mapping,
    mappings,
    moment,
    pod_spec,
    pod_spec_path,
    text,
)
from agents.cluster.view import ClusterView, EventRecord
from agents.evidence import Evidence, ObjectRef

T = TypeVar("T")

STALE_EVENT = timedelta(minutes=75)  # the API server forgets events after an hour
CRASH_RECENT = timedelta(minutes=30)
CRASH_JUST_NOW = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Container:
    """One container of one pod: what was asked for (`spec`) beside what became of it (`status`).

    `path` and `status_path` are field paths in the pod, such as `spec.containers[0]`.
    """

    pod: K8sObject
    name: str
    spec: Mapping[str, Any]
    path: str
    status: Mapping[str, Any]
    status_path: str

    @property
    def init(self) -> bool:
        """An init container that has to end (a native sidecar is none)."""
        return self.path.startswith("spec.initContainers") and not self.sidecar

    @property
    def sidecar(self) -> bool:
        return is_sidecar(self.spec) and self.path.startswith("spec.initContainers")

    @property
    def waiting(self) -> str:
        """The reason it waits for, such as CrashLoopBackOff; "" when it does not wait."""
        return text(self.status, "state", "waiting", "reason")

    @property
    def waiting_message(self) -> str:
        return text(self.status, "state", "waiting", "message")

    @property
    def running_since(self) -> datetime | None:
        return moment(self.status, "state", "running", "startedAt")

    @property
    def running(self) -> bool:
        return bool(mapping(self.status, "state").get("running") is not None)

    @property
    def ready(self) -> bool:
        return self.status.get("ready") is True

    @property
    def restarts(self) -> int:
        return integer(self.status, "restartCount") or 0

    @property
    def ended(self) -> Mapping[str, Any]:
        """The newest end of this container: the current state when it has ended, else the last one; may be empty."""
        now = mapping(self.status, "state", "terminated")
        return now or mapping(self.status, "lastState", "terminated")

    @property
    def ended_path(self) -> str:
        state = "state" if mapping(self.status, "state", "terminated") else "lastState"
        return f"{self.status_path}.{state}.terminated"

    @property
    def exit_code(self) -> int | None:
        return integer(self.ended, "exitCode")

    @property
    def image(self) -> str:
        return text(self.spec, "image")


def containers_of(pod: K8sObject) -> Iterator[Container]:
    """Init containers, then containers, each with its status (an empty one before the kubelet wrote it)."""
    statuses = {text(s, "name"): (path, s) for path, s in container_statuses(pod)}
    for path, spec in containers(pod_spec(pod)):
        name = text(spec, "name")
        status_path, status = statuses.get(name, (f"status.containerStatuses[{name}]", {}))
        yield Container(pod, name, spec, f"spec.{path}", status, status_path)


def crashing(view: ClusterView, container: Container) -> Mapping[str, Any]:
    """The end of a container that is crashing now: in back-off, ended though it should run, or restarted again and
    again until minutes ago. Empty when it is not (an old restart is history)."""
    ended = container.ended
    if container.waiting == "CrashLoopBackOff":
        return ended
    if not ended:
        return {}
    finished = view.age(moment(ended, "finishedAt"))
    if mapping(container.status, "state", "terminated"):
        completed = container.init and container.exit_code == 0
        return {} if completed or text(container.pod.status, "phase") == "Succeeded" else ended
    if finished is None:
        return {}
    recent, just_now = finished <= CRASH_RECENT, finished <= CRASH_JUST_NOW
    again = (container.restarts >= 3 and recent) or (container.restarts >= 2 and just_now)
    return ended if again or (recent and not container.ready) else {}


def is_ready(pod: K8sObject) -> bool:
    return pod.condition("Ready").get("status") == "True"


def is_over(pod: K8sObject) -> bool:
    """Whether the pod has ended for good."""
    return text(pod.status, "phase") in ("Succeeded", "Failed")


def is_scheduled(pod: K8sObject) -> bool:
    return bool(text(pod.spec, "nodeName")) or pod.condition("PodScheduled").get("status") == "True"


def unwell_pods(view: ClusterView) -> tuple[K8sObject, ...]:
    """The pods that should serve and do not, the newest first; see the module's docstring."""
    return view.derived(_unwell_pods)


def _unwell_pods(view: ClusterView) -> tuple[K8sObject, ...]:
    found = [pod for pod in view.of_kind("Pod") if _is_unwell(view, pod)]
    epoch = view.taken_at - timedelta(days=36500)
    return tuple(sorted(found, key=lambda p: (p.created or epoch, p.name), reverse=True))


def _is_unwell(view: ClusterView, pod: K8sObject) -> bool:
    if pod.deleting_since is not None:
        return False
    phase = text(pod.status, "phase")
    if phase == "Succeeded":
        return False
    if phase == "Failed":
        job = view.owner_of(pod)
        return job is not None and job.kind == "Job" and failed_now(view, job)
    if not is_ready(pod):
        return True
    return any(integer(s, "restartCount") for _, s in container_statuses(pod)) and any(
        crashing(view, c) for c in containers_of(pod)
    )


def unwell_containers(view: ClusterView) -> tuple[Container, ...]:
    """The containers of unwell pods, in the order of `unwell_pods`."""
    return view.derived(_unwell_containers)


def _unwell_containers(view: ClusterView) -> tuple[Container, ...]:
    return tuple(c for pod in unwell_pods(view) for c in containers_of(pod))


@dataclass(frozen=True, slots=True)
class Case(Generic[T]):
    """One fault of one workload: `pod` and `fact` are the newest pod's, `pods` are all that show it."""

    workload: K8sObject
    pod: K8sObject
    pods: tuple[K8sObject, ...]
    fact: T

    @property
    def related(self) -> tuple[ObjectRef, ...]:
        """The pods hurt, at most 20 of them."""
        return tuple(p.ref for p in self.pods[:20] if p.ref != self.workload.ref)

    @property
    def count(self) -> str:
        """`pod NAME` or `3 pods (NAME, …)`."""
        if len(self.pods) == 1:
            return f"pod {self.pod.name}"
        return f"{len(self.pods)} pods ({self.pod.name}, …)"


def per_workload(view: ClusterView, hits: Iterable[tuple[K8sObject, Hashable, T]]) -> Iterator[Case[T]]:
    """One case per workload and key from (pod, key, fact) rows; the first row's pod and fact stand for all."""
    groups: dict[Hashable, tuple[K8sObject, list[tuple[K8sObject, T]]]] = {}
    for pod, key, fact in hits:
        top = view.top_owner(pod)
        groups.setdefault((top.ref.key, key), (top, []))[1].append((pod, fact))
    for top, rows in groups.values():
        pods = tuple({p.ref.key: p for p, _ in rows}.values())
        yield Case(top, rows[0][0], pods, rows[0][1])


def current(view: ClusterView, event: EventRecord) -> bool:
    """Whether an event is young enough to be about the present."""
    age = view.age(event.last)
    return age is not None and age <= STALE_EVENT


def events_of(view: ClusterView, ref: ObjectRef, *reasons: str) -> Iterator[EventRecord]:
    """The current events about an object with one of these reasons (all without any), the newest first."""
    for event in view.events(ref):
        if (not reasons or event.reason in reasons) and current(view, event):
            yield event


def event_evidence(view: ClusterView, ref: ObjectRef, needle: str, *reasons: str, limit: int = 1) -> list[Evidence]:
    """Evidence of the newest current events whose message contains `needle`."""
    found = [e for e in events_of(view, ref, *reasons) if needle in e.message]
    return [seen_event(e) for e in found[:limit]]


def state_evidence(container: Container) -> list[Evidence]:
    """Evidence of why a container waits, and of how it last ended."""
    found = []
    if container.waiting:
        said = f"{container.waiting}: {container.waiting_message}" if container.waiting_message else container.waiting
        path = f"{container.status_path}.state.waiting"
        found.append(seen_field(container.pod, path, said))
    if container.ended:
        shown = {
            k: container.ended[k]
            for k in ("reason", "exitCode", "signal", "message", "startedAt", "finishedAt")
            if k in container.ended
        }
        found.append(seen_field(container.pod, container.ended_path, shown))
    return found


def last_words(view: ClusterView, container: Container) -> tuple[bool, int, tuple[str, ...]]:
    """(previous run?, number of the first line, last lines) of the log of the run that ended; no lines if not read."""
    runs = (True, False) if container.running or container.waiting == "" else (False, True)
    for previous in runs:
        lines = view.log(container.pod, container.name, previous=previous)
        if lines:
            tail = lines[-6:]
            return previous, len(lines) - len(tail) + 1, tuple(clip(line[:300]) for line in tail)
    return False, 0, ()


def template_field(workload: K8sObject, pod: K8sObject, container: Container, field: str) -> tuple[K8sObject, str]:
    """(object, path) where a container's field is set: in the workload's template, or in the pod where nothing made
    it."""

    holder = workload if pod_spec(workload) else pod
    for path, spec in containers(pod_spec(holder)):
        if text(spec, "name") == container.name:
            return holder, f"{pod_spec_path(holder.kind)}.{path}.{field}"
    return pod, f"{container.path}.{field}"


def template_container(view: ClusterView, container: Container) -> Mapping[str, Any]:
    """The container as the workload's present template has it, which may differ from the pod's."""
    top = view.top_owner(container.pod)
    return next((s for _, s in containers(pod_spec(top)) if text(s, "name") == container.name), container.spec)


def failed_now(view: ClusterView, job: K8sObject) -> bool:
    """Whether a Job has failed or keeps failing, and nothing has made up for it since: a later run of the same CronJob
    or of the same name prefix that succeeded, or a day that went by."""
    condition = job.condition("Failed")
    failing = condition.get("status") == "True"
    if not failing and not (
        job.condition("Complete").get("status") != "True"
        and (integer(job.status, "failed") or 0) > 0
        and not integer(job.status, "succeeded")
    ):
        return False
    age = view.age(moment(condition, "lastTransitionTime") or job.created)
    if failing and age is not None and age > timedelta(hours=24):
        return False
    return not succeeded_later(view, job)


def succeeded_later(view: ClusterView, job: K8sObject) -> bool:
    """Whether a younger Job of the same owner, or of the same name up to its last part, has succeeded."""
    owner, stem = job.controller, job.name.rpartition("-")[0]
    for other in view.derived(_jobs_by_family).get((job.namespace, owner.name if owner else stem), ()):
        if other.ref == job.ref or (other.created or view.taken_at) <= (job.created or view.taken_at):
            continue
        if other.condition("Complete").get("status") == "True" or (integer(other.status, "succeeded") or 0) > 0:
            return True
    return False


def _jobs_by_family(view: ClusterView) -> Mapping[tuple[str, str], list[K8sObject]]:
    families: dict[tuple[str, str], list[K8sObject]] = {}
    for job in view.of_kind("Job"):
        owner, stem = job.controller, job.name.rpartition("-")[0]
        for name in {owner.name if owner else stem, stem}:
            if name:
                families.setdefault((job.namespace, name), []).append(job)
    return families


def claim_of_mount(container: Container, path: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """(mount, volume) that a path of the container's file system lies on: the mount with the longest matching path."""
    best: Mapping[str, Any] = {}
    for mount in mappings(container.spec, "volumeMounts"):
        at = text(mount, "mountPath").rstrip("/") or "/"
        inside = path == at or path.startswith(at if at == "/" else at + "/")
        if inside and len(at) > len(text(best, "mountPath")):
            best = mount
    volumes = {text(v, "name"): v for v in mappings(pod_spec(container.pod), "volumes")}
    return best, volumes.get(text(best, "name"), {})


def owners_of(view: ClusterView, kind: str, namespace: str) -> tuple[K8sObject, ...]:
    """The objects of a workload kind that no other object in the view controls."""
    return tuple(o for o in view.in_namespace(kind, namespace) if view.owner_of(o) is None)
