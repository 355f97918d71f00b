"""The log of a container, from the record: the parameters and the refusals of an API server's `pods/NAME/log`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from starlette.responses import Response

from agents.cluster.objects import K8sObject, container_statuses, mappings, moment, text
from agents.cluster.reader import LogRequest
from agents.cluster.serve.query import BadQuery, truth, whole_number
from agents.cluster.serve.replies import status
from agents.cluster.serve.store import SnapshotStore
from agents.cluster.view import LogKey


async def pod_log(store: SnapshotStore, namespace: str, name: str, query: Mapping[str, str]) -> Response:
    """The text of a log. `follow` ends at once: a record does not grow. Raises BadQuery."""
    previous = truth(query, "previous")
    pod = store.pod(namespace, name)
    container = query.get("container", "")
    if pod is not None:
        container = container or _default_container(pod)
        if container not in _containers(pod):
            return status(400, f"container {container} is not valid for pod {name}")
    if not store.has_log(LogKey(namespace, name, container, previous)):
        return _no_log(pod, name, container, previous=previous)
    tail = whole_number(query, "tailLines")
    if tail is not None and tail < 0:
        raise BadQuery("tailLines has to be at least 0")
    since = moment(query, "sinceTime")
    seconds = whole_number(query, "sinceSeconds")
    if seconds is not None:
        since = store.now - timedelta(seconds=min(abs(seconds), 10**9))
    found = await store.reader.logs(LogRequest(namespace, name, container, previous, tail, since))
    body = "".join(f"{line}\n" for line in found.lines).encode()
    limit = whole_number(query, "limitBytes")
    return Response(body if limit is None else body[: max(0, limit)], media_type="text/plain")


def _containers(pod: K8sObject) -> list[str]:
    fields = ("containers", "initContainers", "ephemeralContainers")
    return [text(c, "name") for field in fields for c in mappings(pod.spec, field)]


def _default_container(pod: K8sObject) -> str:
    """The container that is meant when none is named. Raises BadQuery where that is not plain."""
    named = pod.annotations.get("kubectl.kubernetes.io/default-container", "")
    found = [text(c, "name") for c in mappings(pod.spec, "containers")]
    if named in found or len(found) == 1:
        return named if named in found else found[0]
    raise BadQuery(f"a container name must be specified for pod {pod.name}, choose one of: [{' '.join(found)}]")


def _no_log(pod: K8sObject | None, name: str, container: str, *, previous: bool) -> Response:
    if pod is None:
        return status(404, f'pods "{name}" not found')
    if previous:
        return status(400, f'previous terminated container "{container}" in pod "{name}" not found')
    for _, found in container_statuses(pod):
        waiting = text(found, "state", "waiting", "reason")
        if text(found, "name") == container and waiting:
            return status(400, f'container "{container}" in pod "{name}" is waiting to start: {waiting}')
    return status(404, f'the snapshot holds no log of container "{container}" in pod "{name}"')
