"""The read-only tools that a model may call: typed arguments, capped results, every result numbered as evidence.

Promise: no tool changes anything, none reaches beyond the cluster of the turn, and text from the cluster comes back
inside a data fence that says so. Arguments that make no sense end in a sentence that says what would, for the model to
read; nothing is raised for them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field

from agents.cluster.objects import K8sObject, container_statuses, containers, mapping, pod_spec, text
from agents.cluster.reader import LogRequest
from agents.cluster.selectors import parse_selector
from agents.cluster.similar import nearest
from agents.cluster.view import ClusterView
from agents.events import EvidenceEvent
from agents.evidence import Evidence, ObjectRef
from agents.state import TurnWork
from agents.tools.fence import fenced
from agents.tools.lookups import (
    MAX_EXCERPT,
    cut,
    event_evidence,
    matching_lines,
    pods_for,
    search_view,
    summary_evidence,
)
from assistant.errors import ClusterError

MAX_LISTED = 60


class Risk(StrEnum):
    """What a tool can do to a cluster. Everything here reads."""

    READ = "read"


class ObjectArguments(BaseModel):
    kind: Annotated[str, Field(description="Kind as Kubernetes writes it, such as Deployment or PersistentVolumeClaim")]
    name: Annotated[str, Field(description="Name of the object")]
    namespace: Annotated[str, Field(description="Namespace; empty for cluster-scoped kinds")] = ""


class ListArguments(BaseModel):
    kind: Annotated[str, Field(description="Kind as Kubernetes writes it")]
    namespace: Annotated[str, Field(description="Namespace; empty for all")] = ""
    label_selector: Annotated[str, Field(description="Selector as kubectl -l takes it; empty for all")] = ""
    name_contains: Annotated[str, Field(description="Only names that contain this text")] = ""


class LogArguments(BaseModel):
    name: Annotated[str, Field(description="Pod, or a workload or Service whose pods are meant")]
    namespace: Annotated[str, Field(description="Namespace of the pod")]
    container: Annotated[str, Field(description="Container; empty for each of the pod")] = ""
    previous: Annotated[bool, Field(description="The run before the last restart")] = False
    contains: Annotated[str, Field(description="Only lines that contain this text, case-insensitive")] = ""
    since_minutes: Annotated[int | None, Field(description="Only the last so many minutes", ge=1, le=100_000)] = None
    lines: Annotated[int, Field(description="At most so many lines", ge=1, le=500)] = 60


class SearchArguments(BaseModel):
    wanted: Annotated[str, Field(description="Text to look for in names, labels, specs and ConfigMaps", min_length=2)]
    kinds: Annotated[list[str], Field(description="Only these kinds; empty for all")] = []


@dataclass(frozen=True, slots=True)
class ToolRow:
    """One tool: what the model is told, what it may pass, what it can do, and what runs."""

    name: str
    description: str
    arguments: type[BaseModel]
    run: Callable[[TurnWork, Any], Awaitable[list[Evidence] | str]]
    risk: Risk = Risk.READ


async def _get_object(work: TurnWork, asked: ObjectArguments) -> list[Evidence] | str:
    view = _view(work)
    ref = _find(view, asked.kind, asked.namespace, asked.name)
    return ref if isinstance(ref, str) else [summary_evidence(view, ref)]


async def _describe(work: TurnWork, asked: ObjectArguments) -> list[Evidence] | str:
    view = _view(work)
    ref = _find(view, asked.kind, asked.namespace, asked.name)
    if isinstance(ref, str):
        return ref
    pods = [_pod_line(p) for p in pods_for(view, ref)[:10]]
    found = [summary_evidence(view, ref), event_evidence(view, ref)]
    if pods and ref.kind != "Pod":
        found.append(Evidence(kind="field", object=ref, locator="pods", excerpt="\n".join(pods)))
    return found


async def _events(work: TurnWork, asked: ObjectArguments) -> list[Evidence] | str:
    view = _view(work)
    ref = _find(view, asked.kind, asked.namespace, asked.name)
    return ref if isinstance(ref, str) else [event_evidence(view, ref)]


async def _list_objects(work: TurnWork, asked: ListArguments) -> list[Evidence] | str:
    view = _view(work)
    known = _kind(view, asked.kind)
    if known is None:
        return _unread_kind(view, asked.kind)
    try:
        selector = parse_selector(asked.label_selector)
    except ValueError:
        return f"{asked.label_selector!r} is no label selector; write it as for kubectl -l: app=web,tier!=cache."
    objects = [
        o
        for o in view.of_kind(known)
        if (not asked.namespace or o.namespace == asked.namespace)
        and asked.name_contains in o.name
        and selector.matches(o.labels)
    ]
    where = f"in namespace {asked.namespace}" if asked.namespace else "in all namespaces"
    lines = [f"{len(objects)} {known} {where}"] + [_line(o) for o in objects[:MAX_LISTED]]
    if len(objects) > MAX_LISTED:
        lines.append(f"… and {len(objects) - MAX_LISTED} more")
    subject = ObjectRef("", known, asked.namespace, "*")
    return [Evidence(kind="field", object=subject, locator="list", excerpt=cut("\n".join(lines)))]


async def _logs(work: TurnWork, asked: LogArguments) -> list[Evidence] | str:
    view = _view(work)
    pod = _pod_behind(view, asked.namespace, asked.name)
    if pod is None:
        similar = nearest(asked.name, (p.name for p in view.in_namespace("Pod", asked.namespace)))
        hint = f" Similar: {', '.join(similar)}." if similar else ""
        return f"There is no pod, and no workload with pods, named {asked.namespace}/{asked.name}.{hint}"
    names = [text(c, "name") for _, c in containers(pod_spec(pod))]
    if asked.container and asked.container not in names:
        return f"Pod {pod.name} has no container {asked.container}; it has {', '.join(names)}."
    return [await _log(work, view, pod, each, asked) for each in ([asked.container] if asked.container else names[:4])]


async def _log(work: TurnWork, view: ClusterView, pod: K8sObject, container: str, asked: LogArguments) -> Evidence:
    since = view.taken_at - timedelta(minutes=asked.since_minutes) if asked.since_minutes else None
    # a filter looks through more lines than it returns
    tail = max(asked.lines, 500) if asked.contains else asked.lines
    request = LogRequest(pod.namespace, pod.name, container, asked.previous, tail=tail, since=since)
    log = await work.services.source.reader.logs(request)
    where = f"log of container {container}" + (" (previous run)" if asked.previous else "")
    if log.missing is not None:
        why = log.missing.detail or log.missing.reason
        return Evidence(kind="absence", object=pod.ref, locator=where, excerpt=f"no log could be read: {why}")
    empty = f"no line contains {asked.contains!r}" if asked.contains else "the log is empty"
    shown = matching_lines(log.lines, asked.contains, asked.lines) or empty
    return Evidence(kind="log", object=pod.ref, locator=where, excerpt=cut(shown))


async def _search(work: TurnWork, asked: SearchArguments) -> list[Evidence] | str:
    view = _view(work)
    refs = search_view(view, asked.wanted, [k for k in (_kind(view, kind) for kind in asked.kinds) if k])
    excerpt = "\n".join(str(ref) for ref in refs) or f"nothing that was read contains {asked.wanted!r}"
    subject = ObjectRef("", "Search", "", asked.wanted[:80])
    return [Evidence(kind="field", object=subject, locator="search of the view", excerpt=cut(excerpt))]


TOOLS: tuple[ToolRow, ...] = (
    ToolRow("get_object", "One object as YAML, without bookkeeping fields.", ObjectArguments, _get_object),
    ToolRow("list_objects", "Objects of one kind with their state, one line each.", ListArguments, _list_objects),
    ToolRow("describe", "An object's YAML, its events and its pods.", ObjectArguments, _describe),
    ToolRow("events", "The newest events of an object and of its pods.", ObjectArguments, _events),
    ToolRow("logs", "Log lines of a pod, or of the most unwell pod of a workload or Service.", LogArguments, _logs),
    ToolRow("search_view", "Objects whose name, labels, spec or data contain a text.", SearchArguments, _search),
)


def tools_for(work: TurnWork, names: Sequence[str]) -> list[BaseTool]:
    """The tools of these names, bound to one turn."""
    return [_bound(work, row) for row in TOOLS if row.name in names]


def _bound(work: TurnWork, row: ToolRow) -> BaseTool:
    async def call(**arguments: object) -> str:
        try:
            result = await row.run(work, row.arguments.model_validate(arguments))
        except ClusterError as error:  # the evidence is there already: the model goes on with what it has
            return f"The cluster could not be asked: {error.message}"
        if isinstance(result, str):
            return result
        numbered = await work.add_evidence(result)
        for item in numbered:
            await work.stream.emit(EvidenceEvent, evidence=item)
        return "\n".join(fenced(item, MAX_EXCERPT) for item in numbered)

    return StructuredTool.from_function(
        coroutine=call, name=row.name, description=row.description, args_schema=row.arguments, infer_schema=False
    )


def _view(work: TurnWork) -> ClusterView:
    if work.view is None:  # a specialist with tools is only consulted after the view was read
        raise RuntimeError("a tool was called in a turn that read no cluster")
    return work.view


def _kind(view: ClusterView, kind: str) -> str | None:
    """The kind as the view has it, whatever its case or number."""
    wanted = kind.lower()
    return next(
        (k for k in view.kinds if k.lower() in (wanted, wanted.removesuffix("s"), wanted.removesuffix("es"))), None
    )


def _unread_kind(view: ClusterView, kind: str) -> str:
    return f"No {kind} was read. Kinds that were: {', '.join(sorted(view.kinds))}."


def _find(view: ClusterView, kind: str, namespace: str, name: str) -> ObjectRef | str:
    known = _kind(view, kind)
    if known is None:
        return _unread_kind(view, kind)
    obj = view.get(known, namespace, name) or view.get(known, "", name)
    if obj is not None:
        return obj.ref
    elsewhere = [o for o in view.of_kind(known) if o.name == name]
    if elsewhere:
        return f"There is no {known} {namespace}/{name}, but there is {', '.join(str(o.ref) for o in elsewhere[:4])}."
    similar = nearest(name, (o.name for o in view.of_kind(known) if not namespace or o.namespace == namespace))
    hint = f" Similar: {', '.join(similar)}." if similar else ""
    return f"There is no {known} named {name}" + (f" in namespace {namespace}." if namespace else ".") + hint


def _pod_behind(view: ClusterView, namespace: str, name: str) -> K8sObject | None:
    pod = view.get("Pod", namespace, name)
    if pod is not None:
        return pod
    for kind in ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicaSet", "Service"):
        obj = view.get(kind, namespace, name)
        if obj is not None and (pods := pods_for(view, obj.ref)):
            return pods[0]
    return None


def _line(obj: K8sObject) -> str:
    if obj.kind == "Pod":
        return _pod_line(obj)
    place = f"{obj.namespace}/{obj.name}" if obj.namespace else obj.name
    facts = []
    for field in ("phase", "replicas", "readyReplicas", "availableReplicas", "succeeded", "failed"):
        value = text(obj.status, field)
        if value:
            facts.append(f"{field}={value}")
    facts += [
        f"{text(c, 'type')}={text(c, 'status')}"
        for c in obj.status.get("conditions") or []
        if isinstance(c, dict) and c.get("status") in ("True", "False", "Unknown")
    ][:4]
    return f"{place} {' '.join(facts)}"[:400].rstrip()


def _pod_line(pod: K8sObject) -> str:
    statuses = list(container_statuses(pod))
    ready = sum(1 for _, s in statuses if s.get("ready") is True)
    restarts = sum(r for _, s in statuses if isinstance(r := s.get("restartCount"), int))
    waiting = [text(mapping(s, "state", "waiting"), "reason") for _, s in statuses]
    reason = next((w for w in waiting if w), "") or text(pod.status, "reason") or text(pod.status, "phase")
    node = text(pod.spec, "nodeName") or "no node"
    return f"{pod.namespace}/{pod.name} {ready}/{len(statuses)} ready, {reason}, {restarts} restarts, on {node}"
