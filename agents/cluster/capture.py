"""Records a cluster into a folder: a snapshot that reads like the cluster did, without its secrets.

Promise: Secrets are reduced by the reader before they come here, and all free text (ConfigMap values, environment,
arguments, annotations, log lines, messages) passes through the given mask before it is written. `snapshot.json` is
written last, so a folder without it was not finished; a folder that holds anything is refused. What could not be read
stands in `not_read`. Raises BadInput for the folder and ClusterError when the cluster cannot be asked.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from agents.cluster.gather import has_run, is_unwell
from agents.cluster.kinds import is_read
from agents.cluster.objects import K8sObject, container_statuses, integer, text
from agents.cluster.reader import ClusterReader, LogRequest, Missing, RawObject, ResourceType
from agents.cluster.snapshot import SNAPSHOT_FILE
from agents.cluster.together import together
from assistant.errors import BadInput

_PARALLEL = 8
_LOG_LINES = 2_000
# Identifiers and times, which a mask could only break: a diagnosis follows them from object to object.
_NEVER_MASKED = frozenset(
    {"apiVersion", "kind", "name", "namespace", "uid", "resourceVersion", "labels", "matchLabels", "creationTimestamp"}
)
# Maps of a person's own keys, in which `password: x` is telling by its key alone.
_TELLING_KEYS = frozenset({"data", "annotations", "parameters"})

Mask = Callable[[str], str]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CaptureReport:
    """What was recorded: objects per kind, logs, and what could not be read."""

    folder: Path
    objects: Mapping[str, int]
    logs: int
    not_read: Sequence[tuple[str, Missing]]


async def capture(
    reader: ClusterReader,
    folder: Path,
    *,
    namespaces: Sequence[str] = (),
    with_healthy_logs: bool = False,
    mask: Mask,
    progress: Progress = lambda _: None,
) -> CaptureReport:
    """Records all known kinds (of `namespaces`, or of all), and the logs of unhealthy pods, or of all pods."""
    await asyncio.to_thread(_prepare, folder)
    identity, captured_at = await reader.identity(), await reader.now()
    resources = [r for r in await reader.resources() if is_read(r)]
    not_read: list[tuple[str, Missing]] = []
    counts: dict[str, int] = {}
    pods: list[K8sObject] = []
    gate = asyncio.Semaphore(_PARALLEL)
    texts = TextMask(mask)

    async def record(resource: ResourceType) -> None:
        async with gate:
            objects, missing = await _read(reader, resource, namespaces)
            await asyncio.to_thread(_write_objects, folder, resource, objects, texts)
        counts[resource.kind] = len(objects)
        if missing is not None:
            not_read.append((resource.kind, missing))
        if resource.kind == "Pod":
            pods.extend(K8sObject(raw) for raw in objects)
        progress(f"{resource.kind}: {len(objects)}")

    await together(*(record(r) for r in resources))
    not_read += [problem for problem in await reader.problems() if problem not in not_read]
    requests = list(_log_requests(pods, with_healthy=with_healthy_logs))
    logs = await _record_logs(reader, folder, requests, mask, not_read)
    progress(f"logs: {logs}")
    read = sorted(r.kind for r in resources if all(what != r.kind for what, _ in not_read))
    description = {
        "captured_at": captured_at.isoformat().replace("+00:00", "Z"),
        "cluster": {"id": identity.id, "name": identity.name, "version": identity.server_version},
        "read": read,
        "not_read": [{"what": w, "reason": m.reason, "detail": m.detail} for w, m in sorted(set(not_read), key=str)],
    }
    if namespaces:
        description["namespaces"] = sorted(set(namespaces))
    await asyncio.to_thread(_write_file, folder / SNAPSHOT_FILE, _json(description))
    return CaptureReport(folder, dict(sorted(counts.items())), logs, tuple(not_read))


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise BadInput(f"The folder {folder} cannot be made or is no folder.") from error
    if occupied:
        raise BadInput(f"The folder {folder} is not empty. Give a new one: a record is never mixed with another.")


async def _read(
    reader: ClusterReader, resource: ResourceType, namespaces: Sequence[str]
) -> tuple[list[RawObject], Missing | None]:
    """The objects of a kind and why they are not all. A kind of the cluster is read whole, whatever the namespaces."""
    if not namespaces or not resource.namespaced:
        if namespaces and resource.kind == "Namespace":
            listing = await reader.list_objects(resource)
            kept = [o for o in listing.items if text(o, "metadata", "name") in {*namespaces, "kube-system"}]
            return kept, listing.missing
        listing = await reader.list_objects(resource)
        return list(listing.items), listing.missing
    parts = [await reader.list_objects(resource, n) for n in dict.fromkeys(namespaces)]
    missing = next((part.missing for part in parts if part.missing is not None), None)
    return [item for part in parts for item in part.items], missing


def _write_objects(folder: Path, resource: ResourceType, objects: Iterable[RawObject], mask: TextMask) -> None:
    """One file for each kind and namespace: `<namespace>/<plural>.json`, or `_cluster/<plural>.json`."""
    by_namespace: dict[str, list[RawObject]] = defaultdict(list)
    for raw in objects:
        by_namespace[text(raw, "metadata", "namespace")].append(raw)
    plural = f"{resource.plural}.{resource.group}" if resource.group == "metrics.k8s.io" else resource.plural
    for namespace, found in by_namespace.items():
        items = [raw if resource.kind == "Secret" else mask.object(raw) for raw in found]
        document = {"apiVersion": "v1", "kind": "List", "items": items}
        _write_file(folder / (_file_name(namespace) or "_cluster") / f"{plural}.json", _json(document))


class TextMask:
    """Masks the free text of objects, each distinct text once: most strings of a cluster are the same few."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._seen: dict[tuple[str, str], str] = {}

    def object(self, value: Any) -> Any:
        """A copy in which every string that is free text went through the mask; names, labels and keys stay."""
        if isinstance(value, Mapping):
            if isinstance(value.get("value"), str) and isinstance(value.get("name"), str):  # an environment variable
                return {**value, "value": self._text(value["name"], value["value"])}
            return {key: self._field(key, found) for key, found in value.items()}
        if isinstance(value, list):
            return [self._entry(before, item) for before, item in zip([None, *value], value, strict=False)]
        return self._text("", value) if isinstance(value, str) else value

    def _entry(self, before: Any, item: Any) -> Any:
        """An entry of a list; behind `--password` it is what the option is given."""
        option = isinstance(before, str) and before.startswith("-") and "=" not in before
        return self._text(before, item) if option and isinstance(item, str) else self.object(item)

    def _field(self, key: str, value: Any) -> Any:
        if key in _NEVER_MASKED:
            return value
        if key in _TELLING_KEYS and isinstance(value, Mapping):
            return {k: self._text(k, v) if isinstance(v, str) else self.object(v) for k, v in value.items()}
        return self.object(value)

    def _text(self, key: str, value: str) -> str:
        """A text masked as what follows `key=`, where its key may tell what it is, and else by itself."""
        found = self._seen.get((key, value))
        if found is None:
            prefix = f"{key}="
            together = self._mask(prefix + value) if key else ""
            found = together.removeprefix(prefix) if key and together.startswith(prefix) else self._mask(value)
            self._seen[(key, value)] = found
        return found


def _log_requests(pods: Iterable[K8sObject], *, with_healthy: bool) -> Iterable[LogRequest]:
    for pod in pods:
        for _, status in container_statuses(pod):
            if not has_run(status) or not (with_healthy or is_unwell(pod, status)):
                continue
            name = text(status, "name")
            yield LogRequest(pod.namespace, pod.name, name, tail=_LOG_LINES)
            if (integer(status, "restartCount") or 0) > 0:
                yield LogRequest(pod.namespace, pod.name, name, previous=True, tail=_LOG_LINES)


async def _record_logs(
    reader: ClusterReader,
    folder: Path,
    requests: Sequence[LogRequest],
    mask: Mask,
    not_read: list[tuple[str, Missing]],
) -> int:
    gate = asyncio.Semaphore(_PARALLEL)

    async def record(request: LogRequest) -> bool:
        async with gate:
            found = await reader.logs(request)
            if found.missing is not None and found.missing.reason != "absent":
                what = f"log of {request.namespace}/{request.pod} {request.container}"
                not_read.append((what + (" (previous)" if request.previous else ""), found.missing))
            if found.missing is not None and not found.lines:
                return False
            content = "".join(f"{line}\n" for line in found.lines)
            name = _file_name(request.container) + (".previous.log" if request.previous else ".log")
            path = folder / "logs" / _file_name(request.namespace) / _file_name(request.pod) / name
            await asyncio.to_thread(lambda: _write_file(path, mask(content).encode()))
        return True

    return sum(await together(*(record(r) for r in requests)))


def _file_name(name: str) -> str:
    """A name as one step of a path, whatever a server calls its objects."""
    return quote(name, safe="").replace(".", "%2E") if name in (".", "..") else quote(name, safe="")


def _json(document: Any) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def _write_file(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise BadInput(f"The file {path} cannot be written.") from error
