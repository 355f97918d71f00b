"""Reads a view from any reader: the same steps for a live cluster and for a snapshot, so that both give the same
diagnosis.

Lists are read concurrently (at most `MAX_PARALLEL_LISTS`), then the logs of the containers that are not well, then
those of the namespaces that were asked about. What was forbidden, absent, too slow or over a cap is in
`view.missing`; nothing is left out silently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agents.cluster.kinds import is_read
from agents.cluster.objects import K8sObject, container_statuses, containers, integer, mapping, pod_spec, text
from agents.cluster.reader import ClusterReader, Listing, LogRequest, Missing, ResourceType
from agents.cluster.together import together
from agents.cluster.view import ClusterView, LogKey
from agents.evidence import ClusterIdentity

MAX_PARALLEL_LISTS = 8
MAX_PARALLEL_LOGS = 8


@dataclass(frozen=True, slots=True)
class GatherLimits:
    """Caps of one reading: containers whose logs are read (of unwell pods, of well pods in focus) and lines of each."""

    unwell_containers: int = 60
    focus_containers: int = 40
    log_lines: int = 200


@dataclass(frozen=True, slots=True)
class Inventory:
    """All objects of a cluster at one time, before logs: what may be shared by several questions for some seconds."""

    identity: ClusterIdentity
    taken_at: datetime
    objects: tuple[K8sObject, ...]
    listed: Mapping[str, frozenset[str] | None]
    missing: tuple[tuple[str, Missing], ...]


async def gather_view(
    reader: ClusterReader, *, focus: frozenset[str] = frozenset(), limits: GatherLimits | None = None
) -> ClusterView:
    """The view of the whole cluster with the logs that a diagnosis needs; `focus` names the namespaces asked about.

    Raises ClusterError when the cluster cannot be asked at all.
    """
    return await add_logs(reader, await gather_inventory(reader), focus=focus, limits=limits)


async def gather_inventory(reader: ClusterReader) -> Inventory:
    """Lists every known kind that the cluster serves. Raises ClusterError when it cannot be asked at all."""
    identity, resources = await asyncio.gather(reader.identity(), reader.resources())
    objects, listed, missing = await _read_lists(reader, [r for r in resources if is_read(r)])
    missing.extend(await reader.problems())
    return Inventory(identity, await reader.now(), tuple(objects), listed, tuple(dict.fromkeys(missing)))


async def add_logs(
    reader: ClusterReader,
    inventory: Inventory,
    *,
    focus: frozenset[str] = frozenset(),
    limits: GatherLimits | None = None,
) -> ClusterView:
    """The view over an inventory, with the logs that a diagnosis of `focus` needs."""
    missing = list(inventory.missing)
    pods = [o for o in inventory.objects if o.kind == "Pod"]
    requests = _log_requests(pods, focus, limits or GatherLimits(), missing)
    logs = await _read_logs(reader, requests, missing)
    return ClusterView(
        identity=inventory.identity,
        taken_at=inventory.taken_at,
        objects=inventory.objects,
        listed=inventory.listed,
        missing=tuple(dict.fromkeys(missing)),
        logs=logs,
        focus=focus,
    )


_Lists = tuple[list[K8sObject], dict[str, frozenset[str] | None], list[tuple[str, Missing]]]


async def _read_lists(reader: ClusterReader, resources: Sequence[ResourceType]) -> _Lists:
    gate = asyncio.Semaphore(MAX_PARALLEL_LISTS)
    objects: list[K8sObject] = []
    listed: dict[str, frozenset[str] | None] = {}
    missing: list[tuple[str, Missing]] = []

    async def read(resource: ResourceType) -> tuple[ResourceType, Listing]:
        async with gate:
            return resource, await reader.list_objects(resource)

    for resource, listing in await together(*(read(r) for r in resources)):
        objects.extend(K8sObject(raw) for raw in listing.items)
        if listing.missing is None:
            listed[resource.kind] = None
            continue
        missing.append((resource.kind, listing.missing))
        if listing.complete_in:
            listed[resource.kind] = listing.complete_in
    # a server lists by name, a folder by file: the same cluster has to be the same view, to the letter
    objects.sort(key=lambda o: (o.kind, o.namespace, o.name))
    return objects, listed, missing


def _log_requests(
    pods: Iterable[K8sObject], focus: frozenset[str], limits: GatherLimits, missing: list[tuple[str, Missing]]
) -> list[LogRequest]:
    """Which logs to read: unwell containers first (those in focus before others), then well ones in focus."""
    ordered = sorted(pods, key=lambda p: (p.namespace not in focus, p.namespace, p.name))
    unwell: list[LogRequest] = []
    well: list[LogRequest] = []
    for pod in ordered:
        statuses = {text(s, "name"): s for _, s in container_statuses(pod)}
        for _, container in containers(pod_spec(pod)):
            name = text(container, "name")
            status = statuses.get(name, {})
            if not has_run(status):
                continue
            request = LogRequest(pod.namespace, pod.name, name, tail=limits.log_lines)
            if is_unwell(pod, status):
                unwell.append(request)
                if (integer(status, "restartCount") or 0) > 0:
                    unwell.append(LogRequest(pod.namespace, pod.name, name, previous=True, tail=limits.log_lines))
            elif pod.namespace in focus:
                well.append(request)
    for what, wanted, cap in (("unwell", unwell, limits.unwell_containers), ("other", well, limits.focus_containers)):
        if len(wanted) > cap:
            detail = f"logs of {cap} of {len(wanted)} {what} containers were read"
            missing.append(("container logs", Missing("capped", detail)))
    return unwell[: limits.unwell_containers] + well[: limits.focus_containers]


def has_run(status: Mapping[str, object]) -> bool:
    """A container that never started has no log; asking for it would only bring an error."""
    state, last = mapping(status, "state"), mapping(status, "lastState")
    return bool({"running", "terminated"} & {*state, *last})


def is_unwell(pod: K8sObject, status: Mapping[str, object]) -> bool:
    """Whether this container needs a look: not ready though it should be, waiting, restarted, or ended in failure."""
    state = mapping(status, "state")
    if (integer(status, "restartCount") or 0) > 0 or "waiting" in state:
        return True
    ended = mapping(state, "terminated")
    if ended:
        return integer(ended, "exitCode") not in (0, None)
    return status.get("ready") is not True and text(pod.status, "phase") != "Succeeded"


async def _read_logs(
    reader: ClusterReader, requests: Sequence[LogRequest], missing: list[tuple[str, Missing]]
) -> dict[LogKey, tuple[str, ...]]:
    gate = asyncio.Semaphore(MAX_PARALLEL_LOGS)

    async def read(request: LogRequest) -> tuple[LogRequest, tuple[str, ...], Missing | None]:
        async with gate:
            found = await reader.logs(request)
        return request, found.lines, found.missing

    logs: dict[LogKey, tuple[str, ...]] = {}
    for request, lines, why in await together(*(read(r) for r in requests)):
        key = LogKey(request.namespace, request.pod, request.container, request.previous)
        if why is None or lines:  # a log that was cut is worth reading, and said to be cut
            logs[key] = lines
        if why is not None and why.reason != "absent":  # no log is no news; a log that may not be read is
            what = f"log of {request.namespace}/{request.pod} {request.container}"
            missing.append((what + (" (previous)" if request.previous else ""), why))
    return logs
