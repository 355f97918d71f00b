"""What a cluster serves, read from the API's discovery: aggregated (Kubernetes 1.26 and later) or group by group.

A kind that several versions serve is read in the version that this project knows, or else in the one that the server
prefers. A group whose server does not answer (a broken metrics server, say) is a problem that is named, not an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.cluster.api import ApiReply, KubeApi, RequestTimedOut
from agents.cluster.kinds import KNOWN_RESOURCES
from agents.cluster.objects import mapping, mappings, strings, text
from agents.cluster.reader import Missing, ResourceType
from agents.cluster.together import together
from assistant.errors import ClusterUnreachable

_AGGREGATED = ",".join(
    (
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        "application/json",
    )
)
_NO_ANSWER = Missing("failed", "its API service does not answer, so its kinds are unknown")
_KNOWN_VERSION = {(r.group, r.kind): r.version for r in KNOWN_RESOURCES}


@dataclass(slots=True)
class Discovered:
    """The kinds that can be listed, and the API groups (`group/version`) that could not be asked."""

    resources: tuple[ResourceType, ...] = ()
    problems: list[tuple[str, Missing]] = field(default_factory=list)


async def discover(api: KubeApi) -> Discovered:
    """Raises ClusterError when the cluster cannot be asked at all, or what answers is no Kubernetes API."""
    problems: list[tuple[str, Missing]] = []
    core, groups = await together(api.get("/api", accept=_AGGREGATED), api.get("/apis", accept=_AGGREGATED))
    found: list[ResourceType] = []
    for root, reply in (("/api", core), ("/apis", groups)):
        document = document_of(api, reply)
        if document.get("kind") == "APIGroupDiscoveryList":
            found.extend(_aggregated(document, problems))
        elif reply.status == 200:
            found.extend(await _walked(api, root, document, problems))
        elif reply.status != 403:  # an account that may not discover anything still gets a sentence from its lists
            problems.append((root, Missing("failed", f"the API server answered {reply.status}")))
        else:
            problems.append((root, Missing("forbidden", "the account may not see which kinds are served")))
    return Discovered(tuple(_one_version_each(found)), problems)


def document_of(api: KubeApi, reply: ApiReply) -> Mapping[str, Any]:
    """The JSON object of an answer. Raises ClusterUnreachable when it is none: then something else answered."""
    try:
        document = reply.json()
    except ValueError as error:
        raise ClusterUnreachable(
            f"What answers at {api.access.host} is not a Kubernetes API (a proxy or a login page, perhaps)."
        ) from error
    return mapping(document)


def _aggregated(document: Mapping[str, Any], problems: list[tuple[str, Missing]]) -> Iterator[ResourceType]:
    for item in mappings(document, "items"):
        group = text(item, "metadata", "name")
        for version in mappings(item, "versions"):
            name = text(version, "version")
            if version.get("freshness") == "Stale":
                problems.append((f"{group}/{name}", _NO_ANSWER))
            for resource in mappings(version, "resources"):
                if "list" in strings(resource, "verbs"):
                    kind, plural = text(resource, "responseKind", "kind"), text(resource, "resource")
                    yield ResourceType(group, name, kind, plural, resource.get("scope") == "Namespaced")


async def _walked(
    api: KubeApi, root: str, document: Mapping[str, Any], problems: list[tuple[str, Missing]]
) -> list[ResourceType]:
    versions = [f"/api/{version}" for version in strings(document, "versions")] if root == "/api" else []
    for group in mappings(document, "groups"):
        preferred = text(group, "preferredVersion", "groupVersion")
        served = [text(v, "groupVersion") for v in mappings(group, "versions")]
        versions += [f"/apis/{v}" for v in sorted(served, key=lambda v: v != preferred)]
    gate = asyncio.Semaphore(8)

    async def walk(path: str) -> list[ResourceType]:
        name = path.removeprefix("/apis/").removeprefix("/api/")
        async with gate:
            try:
                reply = await api.get(path)
            except RequestTimedOut:
                problems.append((name, Missing("timed-out", "its API service did not answer in time")))
                return []
        if reply.status != 200:
            problems.append((name, _NO_ANSWER))
            return []
        group, _, version = name.rpartition("/")
        return [
            ResourceType(group, version, text(r, "kind"), text(r, "name"), r.get("namespaced") is True)
            for r in mappings(document_of(api, reply), "resources")
            if "list" in strings(r, "verbs") and "/" not in text(r, "name")
        ]

    return [resource for found in await together(*(walk(v) for v in versions)) for resource in found]


def _one_version_each(found: Iterable[ResourceType]) -> list[ResourceType]:
    """One version of each kind: the known one where it is served, else the first, which is the server's choice."""
    chosen: dict[tuple[str, str], ResourceType] = {}
    for resource in found:
        key = (resource.group, resource.plural)
        if key not in chosen or resource.version == _KNOWN_VERSION.get((resource.group, resource.kind)):
            chosen[key] = resource
    return sorted(chosen.values(), key=lambda r: (r.group, r.kind))
