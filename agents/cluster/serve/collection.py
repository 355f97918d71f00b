"""Lists, single objects and watches of a served snapshot, as JSON, as a Table, or reduced to metadata.

A kind of which the record holds only a part is listed with a continue token that is then refused: a program sees what
there is and that it is not all, as it would when an API server fails half-way. A person with kubectl gets a warning.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse

from agents.cluster.objects import text
from agents.cluster.reader import RawObject
from agents.cluster.serve.query import BadQuery, continue_token, page_of, selected, truth, whole_number
from agents.cluster.serve.replies import json_reply, list_document, metadata_only, not_recorded, status
from agents.cluster.serve.store import Kind, SnapshotStore
from agents.cluster.serve.tables import table

_WATCH_S = 300  # how long a watch stays open that does not say
_INITIAL_END = {"k8s.io/initial-events-end": "true"}


class Form(Enum):
    """In which form objects are wanted."""

    FULL = "full"
    TABLE = "table"
    METADATA = "metadata"


def wanted_form(accept: str) -> Form | None:
    """The first form of an Accept header that can be given, None when there is none."""
    for part in (accept or "*/*").split(","):
        media, *parameters = (field.strip() for field in part.split(";"))
        if media not in ("application/json", "application/*", "*/*"):
            continue
        kind = next((p.removeprefix("as=") for p in parameters if p.startswith("as=")), "")
        if not kind:
            return Form.FULL
        if kind == "Table" and "v=v1" in parameters:
            return Form.TABLE
        if kind in ("PartialObjectMetadata", "PartialObjectMetadataList") and "v=v1" in parameters:
            return Form.METADATA
    return None


def get_one(store: SnapshotStore, kind: Kind, where: tuple[str, str], form: Form, query: Mapping[str, str]) -> Response:
    """One object; 404 where there is none, 403 where the record cannot tell."""
    namespace, name = where
    for raw in kind.objects:
        if text(raw, "metadata", "name") == name and text(raw, "metadata", "namespace") == namespace:
            return json_reply(_shaped([raw], kind, form, store, query) if form is Form.TABLE else _single(raw, form))
    missing, _ = store.reader.completeness(kind.resource, namespace or None)
    if missing is not None:
        return not_recorded(kind.resource, missing)
    group = f".{kind.resource.group}" if kind.resource.group else ""
    return status(404, f'{kind.resource.plural}{group} "{name}" not found')


def get_collection(store: SnapshotStore, kind: Kind, namespace: str, form: Form, query: Mapping[str, str]) -> Response:
    """A list or a watch. Raises BadQuery and Expired."""
    if namespace and not kind.resource.namespaced:
        return status(404, "the server could not find the requested resource")
    found = selected(kind.objects, namespace, query)
    missing, _ = store.reader.completeness(kind.resource, namespace or None)
    if missing is not None and not found:
        return not_recorded(kind.resource, missing)
    if truth(query, "watch"):
        return _watch(store, kind, found, form, query)
    rest = continue_token(store.token_key, len(found) + 1)
    if missing is not None and query.get("continue") == rest:
        return not_recorded(kind.resource, missing)
    page = page_of(found, query, store.token_key)
    metadata: dict[str, Any] = {"resourceVersion": store.resource_version}
    if page.token:
        metadata["continue"] = page.token
        if not query.get("labelSelector") and not query.get("fieldSelector"):
            metadata["remainingItemCount"] = page.remaining
    headers = None
    if missing is not None and form is Form.TABLE:
        headers = {"Warning": f'299 - "{kind.resource.plural}: the snapshot holds only a part ({missing.reason})"'}
    elif missing is not None and not page.token:
        metadata["continue"] = rest
    document = _shaped(page.items, kind, form, store, query)
    document["metadata"] = metadata
    return json_reply(document, headers=headers)


def _single(raw: RawObject, form: Form) -> RawObject:
    return metadata_only(raw) if form is Form.METADATA else raw


def _shaped(
    items: Iterable[RawObject], kind: Kind, form: Form, store: SnapshotStore, query: Mapping[str, str]
) -> dict[str, Any]:
    """Items as one document in the form that is wanted."""
    match form:
        case Form.TABLE:
            return table(items, kind.resource.kind, store.now, query.get("includeObject", "Metadata"))
        case Form.METADATA:
            reduced = [metadata_only(raw) for raw in items]
            return {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "items": reduced}
    return list_document(kind.resource, items, {})


def _watch(
    store: SnapshotStore, kind: Kind, found: Sequence[RawObject], form: Form, query: Mapping[str, str]
) -> Response:
    """The objects as ADDED where the client has not listed them, a bookmark, then silence until the time is over."""
    seconds = whole_number(query, "timeoutSeconds")
    if seconds is not None and seconds < 0:
        raise BadQuery("timeoutSeconds has to be at least 0")
    initial = truth(query, "sendInitialEvents")
    fresh = query.get("resourceVersion", "") in ("", "0")

    async def events() -> AsyncIterator[bytes]:
        if initial or (fresh and "sendInitialEvents" not in query):
            for raw in found:
                shaped = _shaped([raw], kind, form, store, query) if form is Form.TABLE else _single(raw, form)
                yield orjson.dumps({"type": "ADDED", "object": shaped}) + b"\n"
        if truth(query, "allowWatchBookmarks"):
            yield orjson.dumps({"type": "BOOKMARK", "object": _bookmark(store, kind, initial=initial)}) + b"\n"
        await asyncio.sleep(_WATCH_S if seconds is None else seconds)

    return StreamingResponse(events(), media_type="application/json")


def _bookmark(store: SnapshotStore, kind: Kind, *, initial: bool) -> dict[str, Any]:
    metadata: dict[str, Any] = {"resourceVersion": store.resource_version, "creationTimestamp": None}
    if initial:
        metadata["annotations"] = _INITIAL_END
    return {"kind": kind.resource.kind, "apiVersion": kind.resource.api_version, "metadata": metadata}
