"""What a list request asks for: label and field selectors, and pages with continue tokens that a record can outlive."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from agents.cluster.objects import K8sObject, text
from agents.cluster.reader import RawObject
from agents.cluster.selectors import parse_field_selector, parse_selector
from agents.cluster.snapshot import field_values


class BadQuery(ValueError):
    """A query that an API server answers with 400; the message is ours."""


class Expired(Exception):
    """A continue token of another record: 410, the client starts again."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its items, the token of the next page ("" at the end), and how many come after it."""

    items: Sequence[RawObject]
    token: str
    remaining: int


def selected(objects: Sequence[RawObject], namespace: str, query: Mapping[str, str]) -> list[RawObject]:
    """The objects in a namespace ("" for all) that both selectors of a query match. Raises BadQuery."""
    found = [o for o in objects if not namespace or text(o, "metadata", "namespace") == namespace]
    try:
        labels = parse_selector(query.get("labelSelector", ""))
        fields = parse_field_selector(query.get("fieldSelector", ""))
    except ValueError as error:
        raise BadQuery("unable to parse requirement: the selector is not valid") from error
    if not labels.empty:
        found = [o for o in found if labels.matches(K8sObject(o).labels)]
    if not fields.empty:
        paths = {r.key for r in fields.requirements}
        found = [o for o in found if fields.matches(field_values(o, paths))]
    return found


def page_of(found: Sequence[RawObject], query: Mapping[str, str], key: str) -> Page:
    """The page that `limit` and `continue` ask for; `key` names the record. Raises BadQuery or Expired."""
    limit = whole_number(query, "limit") or 0
    start = _start(query["continue"], key) if query.get("continue") else 0
    if start > len(found):
        raise Expired
    end = start + limit if limit > 0 else len(found)
    remaining = max(0, len(found) - end)
    return Page(found[start:end], continue_token(key, end) if remaining else "", remaining)


def continue_token(key: str, start: int) -> str:
    """A token that continues a list of the record `key` at item `start`."""
    return base64.urlsafe_b64encode(orjson.dumps({"v": key, "start": start})).decode()


def _start(token: str, key: str) -> int:
    try:
        content: Any = orjson.loads(base64.urlsafe_b64decode(token))
        record, start = content["v"], content["start"]
    except (binascii.Error, ValueError, TypeError, KeyError, IndexError) as error:
        raise BadQuery("continue key is not valid") from error
    if not isinstance(start, int) or start < 0:
        raise BadQuery("continue key is not valid")
    if record != key:
        raise Expired
    return start


def whole_number(query: Mapping[str, str], name: str) -> int | None:
    """A parameter that is a whole number, None where it is not given. Raises BadQuery."""
    value = query.get(name, "")
    if not value:
        return None
    if not value.isascii() or not value.removeprefix("-").isdigit() or len(value) > 18:
        raise BadQuery(f"{name} has to be a whole number")
    return int(value)


def truth(query: Mapping[str, str], name: str) -> bool:
    """A parameter that is a boolean, as the API server reads it."""
    return query.get(name, "").lower() in ("true", "1", "t")
