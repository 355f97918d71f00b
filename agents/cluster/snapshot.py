"""A recorded cluster in a folder, read as if it were one: the snapshot reader.

Any `*.json`/`*.yaml` file of Kubernetes objects or Lists in any layout is read, other files are skipped; logs stand in
`logs/<namespace>/<pod>/<container>.log` and `.previous.log`, or as `kubectl cluster-info dump` and support bundles
lay them out. A file that cannot be parsed is a `problem` that names file and line, and the rest is loaded. A folder
without a single object raises `SnapshotUnreadable`. Ages are judged by `captured_at` of `snapshot.json`, or else by
the newest time in the objects, never by today's clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from agents.cluster.collector import resting_collector
from agents.cluster.documents import read_documents
from agents.cluster.kinds import KNOWN_RESOURCES, guess_resource
from agents.cluster.loglines import split_log, tail_since
from agents.cluster.objects import K8sObject, mapping, mappings, moment, strings, text
from agents.cluster.reader import Listing, LogRequest, LogText, Missing, RawObject, ResourceType
from agents.cluster.secrets import reduce_object
from agents.cluster.selectors import parse_field_selector, parse_selector
from agents.cluster.slim import without_bookkeeping
from agents.cluster.view import LogKey
from agents.evidence import ClusterIdentity
from assistant.errors import SnapshotUnreadable

SNAPSHOT_FILE = "snapshot.json"
LEFT_OUT = "left out when the snapshot was captured"
_SIDE_FILES = frozenset({SNAPSHOT_FILE, "metrics.json", "alerts.json"})
_MAX_FILE_BYTES = 2_000_000_000
_CONTAINER_LOG = re.compile(r"^(?P<container>.+?)(?P<previous>[.-]previous)?\.(?:log|txt)$")
_DUMP_LOG = re.compile(r"^==== START logs for container (\S+) of pod ([^/\s]+)/(\S+) ====$")


@dataclass(slots=True)
class Snapshot:
    """Everything that a folder holds. `read_kinds` is None when the folder does not say which kinds were recorded;
    `namespaces` names those that were recorded when not all were.
    """

    folder: Path
    objects: list[RawObject] = field(default_factory=list)
    logs: dict[LogKey, Path | tuple[str, ...]] = field(default_factory=dict)
    problems: list[tuple[str, Missing]] = field(default_factory=list)
    captured_at: datetime | None = None
    cluster: Mapping[str, Any] = field(default_factory=dict)
    read_kinds: frozenset[str] | None = None
    namespaces: frozenset[str] = frozenset()
    not_read: dict[str, Missing] = field(default_factory=dict)


def load_snapshot(folder: Path, hash_key: bytes | None = None) -> Snapshot:
    """Reads a folder whole. Raises SnapshotUnreadable when it is no folder or holds no object at all."""
    if not folder.is_dir():
        raise SnapshotUnreadable(
            f"There is no folder {folder}. Give the folder of a snapshot, as `kubechat snapshot capture` writes it."
        )
    snapshot = Snapshot(folder)
    key = hash_key or secrets.token_bytes(32)
    _read_description(snapshot)
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        relative = path.relative_to(folder)
        if path.suffix in (".log", ".txt"):
            _take_log(snapshot, path, relative)
        elif path.suffix in (".json", ".yaml", ".yml") and not (len(relative.parts) == 1 and path.name in _SIDE_FILES):
            with resting_collector():
                for raw in _objects_of_file(snapshot, path, relative):
                    snapshot.objects.append(reduce_object(without_bookkeeping(raw), key))
    if not snapshot.objects:
        broken = "; ".join(f"{what}: {missing.detail}" for what, missing in snapshot.problems[:3])
        raise SnapshotUnreadable(
            f"The folder {folder} holds no Kubernetes object" + (f" that can be read ({broken})." if broken else ".")
        )
    if snapshot.captured_at is None:
        snapshot.captured_at = _newest_time(snapshot.objects)
    if snapshot.captured_at.microsecond:  # whole seconds, rounded up, as a server's Date header will give them
        snapshot.captured_at = snapshot.captured_at.replace(microsecond=0) + timedelta(seconds=1)
    return snapshot


def _read_description(snapshot: Snapshot) -> None:
    path = snapshot.folder / SNAPSHOT_FILE
    if not path.is_file() or path.is_symlink():
        return
    try:
        described = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        snapshot.problems.append((SNAPSHOT_FILE, Missing("unreadable", f"line {error.lineno}: not valid JSON")))
        return
    except OSError:
        snapshot.problems.append((SNAPSHOT_FILE, Missing("unreadable", "the file cannot be read")))
        return
    captured_at = moment(described, "captured_at")
    # a clock at the edge of what a date can be would overflow wherever an age is reckoned
    snapshot.captured_at = captured_at if captured_at is not None and 1970 <= captured_at.year < 9000 else None
    cluster = described.get("cluster") if isinstance(described, Mapping) else None
    snapshot.cluster = {"name": cluster} if isinstance(cluster, str) else mapping(cluster)
    snapshot.namespaces = frozenset(strings(described, "namespaces"))
    if isinstance(mapping(described).get("read"), list):
        snapshot.read_kinds = frozenset(strings(described, "read"))
    for entry in mappings(described, "not_read"):
        reason = text(entry, "reason")
        known = reason if reason in ("forbidden", "timed-out", "capped", "absent", "unreadable", "failed") else "failed"
        missing = Missing(known, text(entry, "detail"))  # type: ignore[arg-type]  # narrowed to the literals just above
        snapshot.not_read[_kind_name(text(entry, "what"))] = missing
    for what in strings(described, "not_read"):
        snapshot.not_read[_kind_name(what)] = Missing("absent", LEFT_OUT)


def _kind_name(what: str) -> str:
    """`secrets` and `Secret` are one kind; anything else that was not read keeps its words."""
    return next((r.kind for r in KNOWN_RESOURCES if what == r.plural and r.group != "metrics.k8s.io"), what)


def _objects_of_file(snapshot: Snapshot, path: Path, relative: Path) -> Iterator[RawObject]:
    """The objects of one file; what is broken becomes a problem with file and line."""
    name = str(relative)
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            snapshot.problems.append((name, Missing("capped", "the file is larger than 2 GB")))
            return
        content = path.read_bytes()
    except OSError:
        snapshot.problems.append((name, Missing("unreadable", "the file cannot be read")))
        return

    def complain(sentence: str) -> None:
        snapshot.problems.append((name, Missing("unreadable", sentence)))

    yield from read_documents(content, is_json=path.suffix == ".json", complain=complain)


def _take_log(snapshot: Snapshot, path: Path, relative: Path) -> None:
    parts = relative.parts
    if len(parts) > 3 and parts[-4] == "logs":  # logs/<ns>/<pod>/<container>.log, also below a support bundle's pods/
        parts = parts[-3:]
    match = _CONTAINER_LOG.match(parts[-1])
    if path.name == "logs.txt" and len(parts) >= 2:  # cluster-info dump: <ns>/<pod>/logs.txt with all containers
        _take_dump_log(snapshot, path)
    elif match and len(parts) == 3 and parts[0] != "_system":
        key = LogKey(parts[0], parts[1], match["container"], previous=bool(match["previous"]))
        snapshot.logs[key] = path


def _take_dump_log(snapshot: Snapshot, path: Path) -> None:
    lines: list[str] = []
    key: LogKey | None = None
    for line in _read_lines(path):
        if found := _DUMP_LOG.match(line):
            key, lines = LogKey(found[2], found[3], found[1]), []
        elif line.startswith("==== END logs for container") and key is not None:
            snapshot.logs[key] = tuple(lines)
            key = None
        else:
            lines.append(line)
    if key is not None:
        snapshot.logs[key] = tuple(lines)


def _read_lines(path: Path) -> tuple[str, ...]:
    return split_log(path.read_bytes())


def _newest_time(objects: list[RawObject]) -> datetime:
    newest = datetime(1970, 1, 1, tzinfo=UTC)
    stack: list[Any] = list(objects)
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, str) and 20 <= len(value) <= 35 and value[4:5] == "-" and value[10:11] == "T":
            when = moment(value)
            # certificates and schedules name times to come; a record cannot hold a status from after 2100
            if when is not None and when > newest and when.year < 2100:
                newest = when
    return newest


class SnapshotReader:
    """Answers a reader's questions from a loaded snapshot. Keeps the `ClusterReader` protocol."""

    def __init__(self, snapshot: Snapshot, *, demo: bool = False) -> None:
        self._snapshot = snapshot
        self._demo = demo
        self._by_type: dict[ResourceType, list[RawObject]] = {}
        by_name: dict[tuple[str, str], ResourceType] = {}
        for raw in snapshot.objects:
            api_version, kind = text(raw, "apiVersion"), text(raw, "kind")
            group = api_version.rpartition("/")[0]
            resource = by_name.get((group, kind))
            if resource is None:
                namespaced = any(text(o, "metadata", "namespace") for o in snapshot.objects if text(o, "kind") == kind)
                resource = by_name[(group, kind)] = guess_resource(api_version, kind, namespaced)
            self._by_type.setdefault(resource, []).append(raw)
        recorded = (snapshot.read_kinds or frozenset()) | snapshot.not_read.keys()
        for resource in KNOWN_RESOURCES:  # kinds of which there was none, and kinds that could not be listed
            if resource.kind in recorded and (resource.group, resource.kind) not in by_name:
                self._by_type[resource] = []

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    async def identity(self) -> ClusterIdentity:
        """The recorded cluster; without a kube-system namespace the id is made from the folder's content."""
        cluster = self._snapshot.cluster
        uid = text(cluster, "id") or next(
            (
                text(o, "metadata", "uid")
                for o in self._snapshot.objects
                if o.get("kind") == "Namespace" and text(o, "metadata", "name") == "kube-system"
            ),
            "",
        )
        if not uid:
            names = sorted(
                f"{text(o, 'kind')}/{text(o, 'metadata', 'namespace')}/{text(o, 'metadata', 'name')}"
                for o in self._snapshot.objects
            )
            uid = "snapshot-" + hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
        return ClusterIdentity(
            id=uid,
            name=text(cluster, "name") or self._snapshot.folder.resolve().name,
            source="demo" if self._demo else "snapshot",
            server_version=text(cluster, "version"),
        )

    async def now(self) -> datetime:
        return self._snapshot.captured_at or _newest_time(self._snapshot.objects)

    async def resources(self) -> tuple[ResourceType, ...]:
        return tuple(sorted(self._by_type, key=lambda r: (r.group, r.kind)))

    async def list_objects(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Listing:
        items = self._matching(resource)
        if namespace is not None:
            items = [o for o in items if text(o, "metadata", "namespace") == namespace]
        if label_selector:
            selector = parse_selector(label_selector)
            items = [o for o in items if selector.matches(K8sObject(o).labels)]
        if field_selector:
            fields = parse_field_selector(field_selector)
            paths = {r.key for r in fields.requirements}
            items = [o for o in items if fields.matches(field_values(o, paths))]
        return Listing(tuple(items), *self.completeness(resource, namespace))

    def completeness(self, resource: ResourceType, namespace: str | None) -> tuple[Missing | None, frozenset[str]]:
        """What is missing of a list, and the namespaces in which it is complete all the same."""
        missing = self._snapshot.not_read.get(resource.kind)
        recorded = self._snapshot.namespaces
        if missing is not None or not recorded or not resource.namespaced or namespace in recorded:
            return missing, frozenset()
        return Missing("absent", LEFT_OUT), recorded if namespace is None else frozenset()

    def _matching(self, resource: ResourceType) -> list[RawObject]:
        found = self._by_type.get(resource)
        if found is not None:
            return found
        return [
            o
            for r, objects in self._by_type.items()
            if (r.group, r.kind) == (resource.group, resource.kind)
            for o in objects
        ]

    async def get_object(self, resource: ResourceType, namespace: str, name: str) -> RawObject | None:
        for raw in self._matching(resource):
            if text(raw, "metadata", "name") == name and text(raw, "metadata", "namespace") == namespace:
                return raw
        return None

    async def logs(self, request: LogRequest) -> LogText:
        key = LogKey(request.namespace, request.pod, request.container, request.previous)
        found = self._snapshot.logs.get(key)
        if found is None:
            return LogText((), Missing("absent", "the snapshot holds no such log"))
        lines = found if isinstance(found, tuple) else await asyncio.to_thread(_read_lines, found)
        return LogText(tail_since(lines, request.tail, request.since))

    async def problems(self) -> tuple[tuple[str, Missing], ...]:
        return (*self._snapshot.problems, *self._snapshot.not_read.items())

    async def aclose(self) -> None:
        """Nothing is held open."""


def field_values(raw: RawObject, paths: Iterable[str]) -> dict[str, str]:
    """What a field selector compares: the values at dotted paths, "" where there is none."""
    values = {}
    for path in paths:
        value: Any = raw
        for step in path.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if isinstance(value, bool):
            values[path] = "true" if value else "false"
        else:
            values[path] = value if isinstance(value, str) else "" if value is None else str(value)
    return values
