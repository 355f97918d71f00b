"""Access reviews of a served snapshot: what `kubectl auth can-i` and k9s ask before they list.

kubectl sends its review as protobuf and takes JSON back, so the few fields of the question are read from either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from agents.cluster.objects import mapping, text
from agents.cluster.serve.store import SnapshotStore

_MAGIC = b"k8s\x00"
_READS = frozenset({"get", "list", "watch"})
# field numbers of SelfSubjectAccessReviewSpec (k8s.io/api/authorization/v1/generated.proto)
_RESOURCE_FIELDS = {1: "namespace", 2: "verb", 3: "group", 4: "version", 5: "resource", 6: "subresource", 7: "name"}
_PATH_FIELDS = {1: "path", 2: "verb"}


def review_spec(body: bytes) -> Mapping[str, Any]:
    """The `spec` of a SelfSubjectAccessReview. Raises ValueError for what is none."""
    if not body.startswith(_MAGIC):
        return mapping(orjson.loads(body), "spec")
    envelope = dict(_fields(body[len(_MAGIC) :]))
    spec = dict(_fields(dict(_fields(envelope.get(2, b""))).get(2, b"")))
    found: dict[str, Any] = {}
    for number, key, names in ((1, "resourceAttributes", _RESOURCE_FIELDS), (2, "nonResourceAttributes", _PATH_FIELDS)):
        if number in spec:
            parts = _fields(spec[number])
            found[key] = {names[n]: value.decode(errors="replace") for n, value in parts if n in names}
    return found


def reviewed(store: SnapshotStore, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The review with its answer: reading is allowed as far as the record goes, writing never."""
    attributes = mapping(spec, "resourceAttributes")
    if attributes:
        allowed = text(attributes, "verb") in _READS and _may_read(store, attributes)
    else:
        allowed = text(spec, "nonResourceAttributes", "verb") == "get"
    answer: dict[str, Any] = {"allowed": allowed}
    if not allowed:
        answer["reason"] = "a snapshot can only be read, as far as it goes"
    kind = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}}
    return {**kind, "spec": dict(spec), "status": answer}


def _may_read(store: SnapshotStore, attributes: Mapping[str, Any]) -> bool:
    plural, group = text(attributes, "resource"), text(attributes, "group")
    kinds = [k for (g, _, p), k in store.kinds.items() if p == plural and group in (g, "*")]
    return plural == "*" or any(k.missing is None or k.objects for k in kinds)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, content) of the length-delimited fields of a protobuf message; others are passed over."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                size, at = _varint(message, at)
                yield tag >> 3, message[at : at + size]
                at += size
            case 5:
                at += 4
            case _:
                raise ValueError("not a protobuf message")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("not a protobuf message")
