"""Reads a live cluster over its API: the reader beside the snapshot's, and interchangeable with it.

Promise: lists are read page by page and slimmed as they come, so that memory holds what is kept and no more; Secrets
are reduced before anything else sees them; a list or log that is forbidden, absent, too slow or too long is an outcome
in words of our own. Only a cluster that cannot be asked at all raises (ClusterError). Time is the server's, so that a
wrong clock on this side changes no age.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from agents.cluster.api import ApiReply, KubeApi, RequestTimedOut
from agents.cluster.collector import resting_collector
from agents.cluster.discovery import Discovered, discover, document_of
from agents.cluster.loglines import split_log
from agents.cluster.objects import mappings, text
from agents.cluster.reader import Listing, LogRequest, LogText, Missing, RawObject, ResourceType
from agents.cluster.secrets import reduce_object
from agents.cluster.slim import without_bookkeeping
from agents.cluster.snapshot import LEFT_OUT
from agents.cluster.together import together
from agents.evidence import ClusterIdentity, NotCheckedReason
from assistant.errors import ClusterUnreachable

PAGE_SIZE = 500
MAX_OBJECTS = 100_000
LIST_TIMEOUT_S = 60.0
NOT_RECORDED = "NotRecorded"
MAX_LOG_BYTES = 8 * 2**20
_BIG_PAGE_BYTES = 16 * 2**20
_DATE_GOOD_FOR_S = 5.0


def list_missing(reason: NotCheckedReason, resource: ResourceType, count: int = 0) -> Missing:
    """Why a list is missing or incomplete, in the words that live cluster and record share."""
    words = {
        "forbidden": f"listing {resource.plural} is not permitted",
        "timed-out": f"listing {resource.plural} took too long",
        "capped": f"only the first {count:,} {resource.plural} were read" if count else "only a part was recorded",
        "absent": LEFT_OUT,
        "failed": f"the server could not list {resource.plural}",
    }
    return Missing(reason, words.get(reason, ""))


class LiveReader:
    """One cluster over its API, as one user. Keeps the `ClusterReader` protocol; close it with `aclose`."""

    def __init__(
        self,
        api: KubeApi,
        *,
        hash_key: bytes | None = None,
        namespaces: tuple[str, ...] = (),
        max_objects: int = MAX_OBJECTS,
        list_timeout_s: float = LIST_TIMEOUT_S,
    ) -> None:
        """`namespaces`: to list by themselves when the whole cluster cannot be. `hash_key` keys Secrets' hashes."""
        self._api = api
        self._hash_key = hash_key or secrets.token_bytes(32)
        self._namespaces = tuple(dict.fromkeys(n for n in namespaces if n))
        self._max_objects = max_objects
        self._list_timeout_s = list_timeout_s
        self._identity_lock = asyncio.Lock()
        self._discovery_lock = asyncio.Lock()
        self._discovered: Discovered | None = None
        self._identity: ClusterIdentity | None = None
        self._identity_problem: tuple[str, Missing] | None = None

    async def identity(self) -> ClusterIdentity:
        """The uid of kube-system; where that may not be read, an id made from the server's authority."""
        async with self._identity_lock:
            if self._identity is None:
                version, namespace = await together(
                    self._api.get("/version"), self._api.get("/api/v1/namespaces/kube-system")
                )
                self._identity = self._identified(version, namespace)
        return self._identity

    def _identified(self, version: ApiReply, namespace: ApiReply) -> ClusterIdentity:
        access = self._api.access
        served = text(document_of(self._api, version), "gitVersion")
        if version.status == 404:
            raise ClusterUnreachable(f"What answers at {access.host} is not a Kubernetes API: it has no /version.")
        uid = text(document_of(self._api, namespace), "metadata", "uid") if namespace.status == 200 else ""
        if not uid:
            authority = access.ca_pem or access.server.encode()
            uid = "server-" + hashlib.sha256(authority).hexdigest()[:16]
            detail = "the namespace kube-system cannot be read, so the cluster is known by its server's certificate"
            self._identity_problem = ("cluster identity", Missing("forbidden", detail))
        return ClusterIdentity(
            id=uid, name=access.name or access.host, context=access.context, source="live", server_version=served
        )

    async def now(self) -> datetime:
        """The Date of the newest answer, which is at most some seconds old; ours where the server sends none."""
        if self._api.server_date is None or self._api.server_date[1] > _DATE_GOOD_FOR_S:
            await self._api.get("/version")
        date = self._api.server_date
        return datetime.now(UTC).replace(microsecond=0) if date is None else date[0]

    async def resources(self) -> tuple[ResourceType, ...]:
        return (await self._discovery()).resources

    async def _discovery(self) -> Discovered:
        async with self._discovery_lock:
            if self._discovered is None:
                self._discovered = await discover(self._api)
        return self._discovered

    async def list_objects(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Listing:
        """All objects of a kind. Raises ClusterError only when the cluster as a whole cannot be asked."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = {key: value for key, value in query.items() if value}
        listing = await self._list(resource, namespace, query)
        if listing.missing is None or namespace is not None or not (resource.namespaced and self._namespaces):
            return listing
        parts = await together(*(self._list(resource, n, query) for n in self._namespaces))
        complete = frozenset(n for n, part in zip(self._namespaces, parts, strict=True) if part.missing is None)
        items = [o for o in listing.items if text(o, "metadata", "namespace") not in complete]
        items += [o for n, part in zip(self._namespaces, parts, strict=True) if n in complete for o in part.items]
        return Listing(tuple(items), listing.missing, complete)

    async def _list(self, resource: ResourceType, namespace: str | None, query: Mapping[str, str]) -> Listing:
        items: list[RawObject] = []
        try:
            async with asyncio.timeout(self._list_timeout_s):
                missing = await self._read_pages(resource, namespace, query, items)
                if missing is _EXPIRED:
                    items.clear()  # the list expired while it was read: once more from its start
                    missing = await self._read_pages(resource, namespace, query, items)
        except (TimeoutError, RequestTimedOut):
            missing = list_missing("timed-out", resource)
        return Listing(tuple(items), missing)

    async def _read_pages(
        self, resource: ResourceType, namespace: str | None, query: Mapping[str, str], items: list[RawObject]
    ) -> Missing | None:
        """Appends the objects of all pages to `items`; gives why they are not all, None when they are."""
        path, limit, token = collection_path(resource, namespace), PAGE_SIZE, ""
        while True:
            page = {**query, "limit": str(limit)} | ({"continue": token} if token else {})
            reply = await self._api.get(path, page)
            if reply.status != 200:
                return _EXPIRED if reply.status == 410 else self._refusal(reply, resource)
            if len(reply.body) > _BIG_PAGE_BYTES:  # few big objects: a page must not outgrow everything else
                limit = max(limit // 4, 20)
            with resting_collector():
                document = document_of(self._api, reply)
                items.extend(self._kept(raw, resource) for raw in mappings(document, "items"))
            token = text(document, "metadata", "continue")
            del document, reply  # the next page comes before this one would be let go
            if not token:
                return None
            if len(items) >= self._max_objects:
                del items[self._max_objects :]
                return list_missing("capped", resource, len(items))

    def _kept(self, raw: Mapping[str, Any], resource: ResourceType) -> RawObject:
        """An item of a list as it is kept: with the kind that lists leave out, without what nobody reads."""
        if not raw.get("kind"):
            raw = {**raw, "apiVersion": resource.api_version, "kind": resource.kind}
        return reduce_object(without_bookkeeping(raw), self._hash_key)

    def _refusal(self, reply: ApiReply, resource: ResourceType) -> Missing:
        match reply.status:
            case 403:
                return list_missing(_recorded_reason(reply), resource)
            case 404:
                return Missing("absent", f"the server no longer serves {resource.plural}")
            case 504 | 408:
                return list_missing("timed-out", resource)
        return list_missing("failed", resource)

    async def get_object(self, resource: ResourceType, namespace: str, name: str) -> RawObject | None:
        """One object; None where there is none, or it may not be read."""
        path = collection_path(resource, namespace if resource.namespaced else None)
        reply = await self._api.get(f"{path}/{quote(name, safe='')}")
        if reply.status != 200:
            return None
        return self._kept(document_of(self._api, reply), resource)

    async def logs(self, request: LogRequest) -> LogText:
        """A container's log, at most `MAX_LOG_BYTES` of it. Never raises for one log alone."""
        path = f"/api/v1/namespaces/{quote(request.namespace, safe='')}/pods/{quote(request.pod, safe='')}/log"
        query = {"container": request.container}
        if request.tail is not None:
            query["tailLines"] = str(request.tail)
        if request.previous:
            query["previous"] = "true"
        if request.since is not None:
            query["sinceTime"] = request.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            reply = await self._api.get(path, query, accept="text/plain, */*", max_bytes=MAX_LOG_BYTES)
        except RequestTimedOut:
            return LogText((), Missing("timed-out", "the log did not come in time"))
        if reply.status == 200:
            lines = split_log(reply.body)
            if reply.cut:
                return LogText(lines[:-1], Missing("capped", f"only the first {MAX_LOG_BYTES // 2**20} MiB were read"))
            return LogText(lines)
        return LogText((), _no_log(reply.status))

    async def problems(self) -> tuple[tuple[str, Missing], ...]:
        """API groups that do not answer, and an identity that had to be guessed."""
        await self.identity()
        discovered = await self._discovery()
        return (*discovered.problems, *([self._identity_problem] if self._identity_problem else []))

    async def aclose(self) -> None:
        await self._api.aclose()


_EXPIRED = Missing("failed", "the list changed faster than it could be read")
_RECORDED_REASONS: tuple[NotCheckedReason, ...] = ("absent", "capped", "timed-out", "failed", "unreadable")


def _recorded_reason(reply: ApiReply) -> NotCheckedReason:
    """Why a served snapshot does not hold this: it says so in a 403, besides what a real server says."""
    try:
        causes = mappings(reply.json(), "details", "causes")
    except ValueError:
        return "forbidden"
    said = {text(cause, "message") for cause in causes if cause.get("reason") == NOT_RECORDED}
    return next((reason for reason in _RECORDED_REASONS if reason in said), "forbidden")


def _no_log(status: int) -> Missing:
    match status:
        case 400 | 404:  # the container has not run, has no previous run, or its pod is gone
            return Missing("absent", "there is no such log")
        case 403:
            return Missing("forbidden", "reading pod logs is not permitted")
    return Missing("failed", "the node of the pod did not give the log")


def collection_path(resource: ResourceType, namespace: str | None) -> str:
    """The path of a kind's collection, in one namespace or (None) everywhere."""
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    within = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{root}{within}/{resource.plural}"
