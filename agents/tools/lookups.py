"""Looks at particular things: log lines, events, an object's summary, a search over the view. Each returns evidence.

These are what a question may ask for by name ("and its logs?") and what a specialist's tools are made of. All results
are capped; what was cut is said in the excerpt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import yaml

from agents.analyzers.base import clip
from agents.cluster.objects import K8sObject, container_statuses, containers, mapping, pod_spec, text
from agents.cluster.reader import ClusterReader, LogRequest
from agents.cluster.view import ClusterView, EventRecord
from agents.evidence import Evidence, ObjectRef
from agents.prose import head, tail
from agents.scope import Intent, Scope

MAX_EXCERPT = 4_000
MAX_PODS = 4
MAX_EVENTS = 12
SHOWN_LINES = 25
_HIDDEN_FIELDS = ("managedFields", "uid", "resourceVersion", "generation", "selfLink", "creationTimestamp")


def cut(value: str, limit: int = MAX_EXCERPT) -> str:
    """Text cut in its middle to `limit` characters; what was cut is said."""
    if len(value) <= limit:
        return value
    first, last = head(value, limit * 2 // 3), tail(value, limit // 3)
    return f"{first}\n… ({len(value) - len(first) - len(last)} characters cut) …\n{last}"


def matching_lines(lines: Sequence[str], contains: str = "", limit: int = SHOWN_LINES) -> str:
    """The last `limit` lines, those only that contain a text (case-insensitive) where one is given."""
    kept = [line for line in lines if contains.lower() in line.lower()] if contains else list(lines)
    shown = kept[-limit:]
    head = f"… ({len(kept) - len(shown)} earlier lines)\n" if len(kept) > len(shown) else ""
    return head + "\n".join(line[:600] for line in shown)


def pods_for(view: ClusterView, ref: ObjectRef) -> tuple[K8sObject, ...]:
    """The pods behind an object: a workload's, a Service's, or the pod itself; the unwell ones first."""
    obj = view.resolve(ref)
    if obj is None:
        return ()
    pods = view.pods_of(obj)
    if obj.kind == "Service":
        from agents.cluster.selectors import map_selector

        selector = map_selector(obj.spec.get("selector"))
        pods = () if selector.empty else view.select("Pod", obj.namespace, selector)
    return tuple(sorted(pods, key=lambda p: (text(p.condition("Ready"), "status") == "True", p.name)))


async def log_evidence(
    reader: ClusterReader,
    pod: K8sObject,
    container: str,
    *,
    previous: bool = False,
    contains: str = "",
    lines: int = 200,
) -> Evidence:
    """The log of one container as evidence; the excerpt says when there is none."""
    found = await reader.logs(LogRequest(pod.namespace, pod.name, container, previous, tail=lines))
    where = f"log of container {container}" + (" (previous run)" if previous else "")
    if found.missing is not None:
        why = found.missing.detail or found.missing.reason
        return Evidence(kind="absence", object=pod.ref, locator=where, excerpt=f"no log could be read: {why}")
    shown = matching_lines(found.lines, contains)
    empty = f"no line contains {contains!r}" if contains else "the log is empty"
    return Evidence(kind="log", object=pod.ref, locator=where, excerpt=cut(shown) or empty)


def event_evidence(view: ClusterView, ref: ObjectRef) -> Evidence:
    """The newest events of an object and of the pods behind it."""
    records: list[EventRecord] = list(view.events(ref))
    for pod in pods_for(view, ref)[:MAX_PODS]:
        records.extend(e for e in view.events(pod.ref) if e not in records)
    records.sort(key=lambda e: e.last or view.taken_at - timedelta(days=3650), reverse=True)
    lines = [_event_line(view, e) for e in records[:MAX_EVENTS]]
    if len(records) > MAX_EVENTS:
        lines.append(f"… and {len(records) - MAX_EVENTS} older events")
    return Evidence(
        kind="event", object=ref, locator="events", excerpt=cut("\n".join(lines)) or "no events were listed"
    )


def _event_line(view: ClusterView, event: EventRecord) -> str:
    age = view.age(event.last)
    ago = f"{_short(age)} ago" if age is not None else "at an unknown time"
    times = f" x{event.count}" if event.count > 1 else ""
    level = "Warning" if event.warning else "Normal"
    return f"{ago} {level} {event.reason}{times} {event.about}: {event.message[:400]}"


def _short(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def summary_evidence(view: ClusterView, ref: ObjectRef) -> Evidence:
    """An object as YAML without the fields that tell nothing, with its owner, like `kubectl describe` in short."""
    obj = view.resolve(ref)
    if obj is None:
        return Evidence(kind="absence", object=ref, locator="summary", excerpt=f"{ref} was not read")
    return Evidence(kind="field", object=ref, locator="summary", excerpt=cut(as_yaml(obj)))


def as_yaml(obj: K8sObject) -> str:
    """The object as YAML without bookkeeping fields."""
    raw: dict[str, Any] = {k: v for k, v in obj.raw.items() if k != "metadata"}
    metadata = {k: v for k, v in obj.metadata.items() if k not in _HIDDEN_FIELDS}
    annotations = {k: clip(v) for k, v in obj.annotations.items() if "last-applied-configuration" not in k}
    metadata["annotations"] = annotations
    if not annotations:
        del metadata["annotations"]
    order = {"apiVersion": 0, "kind": 1, "metadata": 2, "status": 3, "spec": 4}
    raw["metadata"] = metadata
    ordered = dict(sorted(raw.items(), key=lambda item: order.get(item[0], 5)))
    return str(yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=160))


def search_view(view: ClusterView, wanted: str, kinds: Sequence[str] = (), limit: int = 30) -> list[ObjectRef]:
    """Objects whose name, labels or spec contain a text, names first."""
    needle = wanted.lower()
    by_name: list[ObjectRef] = []
    by_content: list[ObjectRef] = []
    for obj in view:
        if (kinds and obj.kind not in kinds) or obj.kind == "Event":
            continue
        if needle in obj.name.lower():
            by_name.append(obj.ref)
        elif any(needle in v.lower() for v in _strings_of(obj)):
            by_content.append(obj.ref)
        if len(by_name) >= limit:
            break
    return (by_name + by_content)[:limit]


def _strings_of(obj: K8sObject) -> Iterator[str]:
    stack: list[Any] = [obj.metadata.get("labels"), obj.spec, obj.raw.get("data")]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


async def asked_for(view: ClusterView, reader: ClusterReader, scope: Scope) -> list[Evidence]:
    """What the question asks to see by name: logs, events or a summary of the objects in scope."""
    found: list[Evidence] = []
    for ref in scope.objects[:3]:
        if Intent.LOGS in scope.intents:
            found.extend(await _logs_of(view, reader, ref))
        if Intent.EVENTS in scope.intents:
            found.append(event_evidence(view, ref))
        if Intent.DESCRIBE in scope.intents and Intent.LOGS not in scope.intents:
            found.append(summary_evidence(view, ref))
    return found


async def _logs_of(view: ClusterView, reader: ClusterReader, ref: ObjectRef) -> list[Evidence]:
    found = []
    for pod in pods_for(view, ref)[:2]:
        restarted = {text(s, "name") for _, s in container_statuses(pod) if "terminated" in mapping(s, "lastState")}
        for _, container in list(containers(pod_spec(pod)))[:3]:
            name = text(container, "name")
            found.append(await log_evidence(reader, pod, name))
            if name in restarted:
                found.append(await log_evidence(reader, pod, name, previous=True))
    return found[:MAX_PODS]
