"""Containers that end again and again: out of memory, evicted, ended cleanly by mistake, or crashing.

A crash counts while it happens (see `pods.crashing`); an old restart of a pod that is ready since is history and no
finding. `crash-loop` is the symptom that is left when nothing more telling was seen; what the log says about it is in
`crash_logs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from agents.analyzers.base import Analyzer, Code, Role, finding, missing_field, seen_event, seen_field, seen_log
from agents.analyzers.environment import command_line, environment
from agents.analyzers.pods import (
    Case,
    Container,
    crashing,
    events_of,
    is_ready,
    last_words,
    per_workload,
    state_evidence,
    template_field,
    unwell_containers,
)
from agents.cluster.objects import K8sObject, containers, integer, moment, pod_spec, quantity, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_E, _C, _S = Severity.ERROR, Role.CAUSE, Role.SYMPTOM
_P, _T = Domain.PERFORMANCE, Domain.TROUBLESHOOTING
_EDIT = "`kubectl -n {ns} edit {kind} {name}`"

OOM_KILLED = Code(
    "oom-killed", _P, _E, _C, "The container needs more memory than its limit and is killed",
    "See what it uses: `kubectl -n {ns} top pod {pod} --containers`\nRaise the limit, or lower the heap so that it "
    "fits with room for the rest (heap ≤ 75 % of the limit): `kubectl -n {ns} set resources {kind}/{name} -c "
    "{container} --limits=memory=SIZE`", 0.95,
)  # fmt: skip
NODE_OOM = Code(
    "killed-by-node-memory", _P, _E, _C, "The container has no memory limit and the node ran out of memory",
    "See who uses the memory of node {node}: `kubectl top pod -A --sort-by=memory`\nGive the pods of that node memory "
    "requests and limits: `kubectl -n {ns} set resources {kind}/{name} -c {container} --requests=memory=SIZE "
    "--limits=memory=SIZE`", 0.85,
)  # fmt: skip
STORAGE_EVICTED = Code(
    "ephemeral-storage-exceeded", Domain.STORAGE, _E, _C, "The pod fills its local disk beyond its limit",
    "See what fills it (logs, caches, emptyDir): `kubectl -n {ns} exec {pod} -- du -xsh /tmp /var/log`\nRaise "
    "`ephemeral-storage` or the emptyDir's `sizeLimit`: " + _EDIT + ", or write to a volume.", 0.93,
)  # fmt: skip
EVICTED = Code(
    "pod-evicted", _T, _E, _S, "Pods are evicted because their node runs short",
    "See the node's pressure: `kubectl describe node {node}`\nGive the pods requests that cover what they use: " + _EDIT
    + "\nRemove the remains: `kubectl -n {ns} delete pods --field-selector=status.phase=Failed`", 0.85,
)  # fmt: skip
CLEAN_EXIT = Code(
    "container-exits-cleanly-in-loop", _T, _E, _C, "The program ends without an error and is started again for ever",
    "Let the command stay in the foreground (no daemon mode, no one-shot script), or make it a Job: " + _EDIT, 0.88,
)  # fmt: skip
CRASH_LOOP = Code(
    "crash-loop", _T, _E, _S, "The container crashes again and again",
    "Read the run that ended: `kubectl -n {ns} logs {pod} -c {container} --previous`\nIf it came with the last "
    "release: `kubectl -n {ns} rollout undo {kind}/{name}`", 0.8,
)  # fmt: skip

_EXIT_CODES: Mapping[int, str] = {
    1: "a general error of the program",
    2: "wrong use of a shell built-in, or an error of the program",
    126: "the command cannot be executed",
    127: "the command was not found",
    128: "the runtime could not start it",
    129: "SIGHUP",
    130: "SIGINT",
    132: "SIGILL: an instruction that this processor does not know",
    134: "SIGABRT: the program aborted itself",
    135: "SIGBUS",
    136: "SIGFPE",
    137: "SIGKILL: killed from outside (out of memory, a failed liveness probe, or the grace period ran out)",
    139: "SIGSEGV: a memory fault in the program",
    143: "SIGTERM: it was asked to stop",
    255: "an error outside the usual range, or the node went away",
}
_HEAP = re.compile(
    r"(?P<setting>-Xmx(?P<java>\d+)(?P<unit>[kKmMgGtT]?)\b|-XX:MaxRAMPercentage=(?P<percent>[\d.]+)|"
    r"-XX:MaxHeapSize=(?P<size>\d+)(?P<sunit>[kKmMgG]?)\b|--max[-_]old[-_]space[-_]size[= ](?P<node>\d+))"
)
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_LOCAL_DISK = re.compile(
    r"ephemeral local storage usage exceeds|exceeded its local ephemeral storage limit|"
    r"Usage of EmptyDir volume .* exceeds the limit", re.IGNORECASE,
)  # fmt: skip
_EVICTION_RECENT = timedelta(minutes=60)


def oom_kills(view: ClusterView) -> Iterator[Finding]:
    """Containers that the kernel kills for memory, now and again."""
    hits = ((c.pod, c.name, c) for c in unwell_containers(view) if _is_oom(c) and crashing(view, c))
    for case in per_workload(view, hits):
        yield _oom_finding(view, case)


def _is_oom(container: Container) -> bool:
    return text(container.ended, "reason") == "OOMKilled" or "OOM-killed" in text(container.ended, "message")


@dataclass(frozen=True, slots=True)
class Heap:
    """A setting of a language runtime's heap: how it is written, its size in bytes (None: a share), and where it
    stands."""

    setting: str
    size: float | None
    source: K8sObject
    path: str


def heap_settings(view: ClusterView, holder: K8sObject, spec: Mapping[str, object]) -> list[Heap]:
    """The heap settings in a container's command, arguments and readable variables."""
    found: list[Heap] = []
    for variable in environment(view, holder, spec).values():
        if variable.value is None:
            continue
        if variable.name == "GOMEMLIMIT":
            size = quantity({"v": variable.value.removesuffix("B")}, "v")
            found.append(Heap(f"GOMEMLIMIT={variable.value}", size, variable.source, variable.path))
        found += [
            _heap(m, f"{variable.name}: ", variable.source, variable.path) for m in _HEAP.finditer(variable.value)
        ]
    path = next((p for p, c in containers(pod_spec(holder)) if c is spec), "containers[0]")
    found += [_heap(m, "", holder, f"{path}.command") for m in _HEAP.finditer(command_line(spec))]
    return found


def _heap(match: re.Match[str], where: str, source: K8sObject, path: str) -> Heap:
    size: float | None = None
    if match["java"]:
        size = int(match["java"]) * _UNITS[match["unit"].lower()]
    elif match["size"]:
        size = int(match["size"]) * _UNITS[match["sunit"].lower()]
    elif match["node"]:
        size = int(match["node"]) * 2**20
    return Heap(where + match["setting"], size, source, path)


def _oom_finding(view: ClusterView, case: Case[Container]) -> Finding:
    container, pod = case.fact, case.pod
    limit_text = text(container.spec, "resources", "limits", "memory")
    limit = quantity(container.spec, "resources", "limits", "memory")
    where = f"Container {container.name} of {case.count}"
    times = f"{container.restarts} restarts" if container.restarts else "ended"
    if limit is None:
        message = (
            f"{where} was OOMKilled (out of memory, exit code {container.exit_code}, {times}) although it has no "
            f"memory limit: node {text(pod.spec, 'nodeName')} itself ran out of memory."
        )
        evidence = [*state_evidence(container), missing_field(pod, f"{container.path}.resources.limits.memory")]
        node = ObjectRef("v1", "Node", "", text(pod.spec, "nodeName"))
        return finding(
            NODE_OOM, case.workload, message, evidence, related=(*case.related, node), node=node.name,
            container=container.name,
        )  # fmt: skip
    holder, path = template_field(case.workload, pod, container, "resources.limits.memory")
    evidence = [seen_field(holder, path, limit_text), *state_evidence(container)[::-1]]
    killed = f"is OOMKilled (out of memory, exit code {container.exit_code}, {times})"
    message = f"{where} {killed}: its memory limit is {limit_text}."
    for heap in heap_settings(view, pod, container.spec)[:2]:
        evidence.insert(1, seen_field(heap.source, heap.path, heap.setting))
        message += " " + _heap_words(heap, limit, limit_text)
    before = _limit_before(view, case, limit_text)
    if before:
        message += f" The revision before had the limit {before[0]}."
        evidence.append(before[1])
    return finding(
        OOM_KILLED, case.workload, message, evidence[:5], related=case.related, pod=pod.name, container=container.name
    )  # fmt: skip


def _heap_words(heap: Heap, limit: float, limit_text: str) -> str:
    if heap.size is None:
        return f"The runtime's heap is set by {heap.setting} (a share of the limit)."
    megabytes = f"{heap.size / 2**20:.0f} MiB"
    if heap.size >= limit:
        return f"The runtime may grow its heap to {megabytes} ({heap.setting}), above the limit {limit_text}."
    if heap.size > 0.8 * limit:
        return (
            f"The heap may grow to {megabytes} ({heap.setting}), which leaves too little of {limit_text} for the rest."
        )
    return f"The heap is bounded at {megabytes} ({heap.setting})."


def _limit_before(view: ClusterView, case: Case[Container], now: str) -> tuple[str, Evidence] | None:
    """The memory limit of the newest earlier revision, where it was another one."""
    revisions = sorted(
        view.owned_by(case.workload, "ReplicaSet"),
        key=lambda r: integer(r.annotations, "deployment.kubernetes.io/revision") or 0,
    )
    own = view.owner_of(case.pod)
    earlier = [r for r in revisions if own is not None and r.ref != own.ref]
    for replica_set in reversed(earlier):
        for path, spec in containers(pod_spec(replica_set)):
            limit = text(spec, "resources", "limits", "memory")
            if text(spec, "name") == case.fact.name and limit and limit != now:
                return limit, seen_field(replica_set, f"spec.template.spec.{path}.resources.limits.memory", limit)
    return None


def evictions(view: ClusterView) -> Iterator[Finding]:
    """Pods that the kubelet evicted lately, where their workload has not recovered or it keeps happening."""
    evicted = [p for p in view.of_kind("Pod") if _evicted(view, p)]
    rows = [(p, _LOCAL_DISK.search(text(p.status, "message")) is not None, p) for p in evicted]
    for case in per_workload(view, rows):
        others = [p for p in view.pods_of(case.workload) if text(p.status, "phase") not in ("Failed", "Succeeded")]
        recovered = bool(others) and all(is_ready(p) for p in others)
        if recovered and len(case.pods) < 2:
            continue
        said = text(case.pod.status, "message").strip()
        local = _LOCAL_DISK.search(said) is not None
        node = text(case.pod.spec, "nodeName")
        message = f"{case.count[0].upper()}{case.count[1:]} was evicted from node {node}: {said[:300]}"
        evidence = [seen_field(case.pod, "status", {"reason": "Evicted", "message": said})]
        evidence += [seen_event(e) for e in list(events_of(view, case.pod.ref, "Evicted"))[:1]]
        related = [*case.related, *([] if local else [ObjectRef("v1", "Node", "", node)])]
        # others of it run again; but a pod that outgrows its own limit will do so again, and has done so twice
        passed = recovered and not local
        yield finding(
            STORAGE_EVICTED if local else EVICTED, case.workload, message, evidence, related=related,
            severity=Severity.WARNING if passed else None, node=node or "NODE", pod=case.pod.name,
        )  # fmt: skip


def _evicted(view: ClusterView, pod: K8sObject) -> bool:
    if text(pod.status, "reason") != "Evicted" or text(pod.status, "phase") != "Failed":
        return False
    condition = pod.condition("DisruptionTarget")
    when = moment(condition, "lastTransitionTime") or moment(pod.condition("Ready"), "lastTransitionTime")
    age = view.age(when or moment(pod.status, "startTime"))
    return age is not None and age <= _EVICTION_RECENT


def crash_loops(view: ClusterView) -> Iterator[Finding]:
    """Containers (init containers aside) that crash, where neither memory nor the start is the reason."""
    hits = ((c.pod, c.name, c) for c in unwell_containers(view) if not c.init and _crashes(view, c))
    for case in per_workload(view, hits):
        container = case.fact
        clean = container.exit_code == 0 and not _killed_by_probe(view, container)
        yield _clean_exit(view, case) if clean else _crash_loop(view, case)


def _crashes(view: ClusterView, container: Container) -> bool:
    ended = crashing(view, container)
    if not ended:
        return container.waiting == "CrashLoopBackOff"
    if text(container.pod.status, "phase") == "Failed":
        return False  # a pod of a Job: the Job's failure tells it
    if _is_oom(container) or text(ended, "reason") in ("StartError", "ContainerCannotRun"):
        return False
    job = text(container.pod.spec, "restartPolicy") in ("Never", "OnFailure")
    return not (job and container.exit_code == 0)


def _killed_by_probe(view: ClusterView, container: Container) -> bool:
    return any(
        "iveness probe" in e.message or "tartup probe" in e.message
        for e in events_of(view, container.pod.ref, "Unhealthy", "Killing")
    )


def _clean_exit(view: ClusterView, case: Case[Container]) -> Finding:
    container = case.fact
    line = command_line(container.spec)
    message = (
        f"Container {container.name} of {case.count} ends with exit code 0 (Completed) and is started again and again "
        f"({container.restarts} restarts): its command "
        f"{f'`{line[:200]}`' if line else '(the entry point of the image)'} does not keep running."
    )
    evidence = state_evidence(container)
    for field in ("command", "args"):
        if container.spec.get(field):
            holder, path = template_field(case.workload, case.pod, container, field)
            evidence.append(seen_field(holder, path, container.spec[field]))
    return finding(CLEAN_EXIT, case.workload, message, evidence[:5], related=case.related)


def _crash_loop(view: ClusterView, case: Case[Container]) -> Finding:
    container = case.fact
    code = container.exit_code
    known = None if code is None else _EXIT_CODES.get(code)
    meaning = f" ({known})" if known else ""
    evidence = state_evidence(container)
    previous, number, lines = last_words(view, container)
    said = ""
    if lines:
        evidence.append(seen_log(case.pod, container.name, lines, previous=previous, number=number))
        said = f" Its last words: {lines[-1].strip()[:200]}"
    elif not evidence:
        evidence = [seen_field(case.pod, f"{container.status_path}.restartCount", container.restarts)]
    exit_words = f"with exit code {code}{meaning}" if code is not None else "(its exit code was not kept)"
    again = f"ends again and again {exit_words}, {container.restarts} restarts"
    message = f"Container {container.name} of {case.count} {again}.{said}"
    return finding(
        CRASH_LOOP, case.workload, message, evidence, related=case.related, pod=case.pod.name, container=container.name
    )  # fmt: skip


CODES: tuple[Code, ...] = (OOM_KILLED, NODE_OOM, STORAGE_EVICTED, EVICTED, CLEAN_EXIT, CRASH_LOOP)
ANALYZERS: tuple[Analyzer, ...] = (oom_kills, evictions, crash_loops)
