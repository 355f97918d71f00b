"""Answers of a served snapshot: JSON bodies, lists as an API server writes them, and Status objects for refusals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from starlette.responses import Response

from agents.cluster.kinds import KNOWN_RESOURCES
from agents.cluster.live import NOT_RECORDED
from agents.cluster.reader import Missing, RawObject, ResourceType

_REASONS = {
    400: "BadRequest",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    410: "Expired",
    504: "Timeout",
}
_BUILT_IN = frozenset((r.group, r.kind) for r in KNOWN_RESOURCES if "." not in r.group or r.group.endswith(".k8s.io"))


def json_reply(content: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A body in JSON."""
    return Response(orjson.dumps(content), code, headers, media_type="application/json")


def status(code: int, message: str, causes: Sequence[Mapping[str, str]] = ()) -> Response:
    """A refusal as Kubernetes writes it: a Status object with this HTTP code."""
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(code, "InternalError"),
        "code": code,
    }
    if causes:
        body["details"] = {"causes": list(causes)}
    return json_reply(body, code)


def not_recorded(resource: ResourceType, missing: Missing) -> Response:
    """What stands for something that a record lacks: 403, with the reason that the record gives; 504 for a time-out."""
    causes = [] if missing.reason == "forbidden" else [{"reason": NOT_RECORDED, "message": missing.reason}]
    name = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    words = f"{name} are not in this snapshot ({missing.reason})"
    return status(403, words + (f": {missing.detail}" if missing.detail else ""), causes)


def list_document(resource: ResourceType, items: Iterable[RawObject], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A typed list such as PodList."""
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": dict(metadata),
        "items": [plain_item(resource, item) for item in items],
    }


def plain_item(resource: ResourceType, raw: RawObject) -> RawObject:
    """An item as it stands in a list: built-in kinds leave kind and apiVersion to the list, custom ones repeat them."""
    if (resource.group, resource.kind) not in _BUILT_IN or raw.get("apiVersion") != resource.api_version:
        return raw
    return {key: value for key, value in raw.items() if key not in ("kind", "apiVersion")}


def metadata_only(raw: RawObject) -> RawObject:
    """An object reduced to its metadata, for clients that ask for nothing else."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": raw.get("metadata", {})}
