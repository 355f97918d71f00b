"""Kubernetes objects out of the text of a file: JSON or YAML, single objects, Lists and typed lists (`PodList`).

Promise: what comes out is plain JSON (string keys, finite numbers, no times or bytes), of bounded size and depth,
whatever the file holds; what cannot be parsed becomes a sentence with its line, and the file's other documents are read
all the same.
"""

from __future__ import annotations

import base64
import codecs
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

import orjson
import yaml

from agents.cluster.objects import text

_MAX_NODES = 5_000_000
_MAX_MERGED = 100_000  # keys of all mappings of a document that merge others
_MAX_DEPTH = 200
_TOO_DEEP = "it is nested too deeply, or holds itself"
# Below these no document can be nested deeper than the parser in C can bear (some 20,000 levels).
_HARMLESS_OPENINGS = 5_000
_DEEP_INDENT = re.compile(rb"(?m)^ {1000}")
_DOCUMENT_MARK = re.compile(rb"(?m)^---[ \t]*(?:#.*)?\r?$")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WIDE_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Complain = Callable[[str], None]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the base is chosen at run time
    """The safe loader, in C where libyaml is there, which leaves times as the strings that they are in JSON."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML reads the table from the class
        first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:timestamp"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Resolves `<<`; merges of merges multiply as aliases do, but before `plain` can count them."""
        merges = any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value)
        super().flatten_mapping(node)
        self._merged += len(node.value) if merges else 0
        if self._merged > _MAX_MERGED:
            raise _TooLarge("its merge keys multiply without end")


def read_documents(content: bytes, *, is_json: bool, complain: Complain) -> Iterator[Mapping[str, Any]]:
    """The objects in a file's content; `complain` gets one sentence for each document that cannot be read."""
    if content.startswith(_WIDE_BYTE_ORDER_MARKS):  # what PowerShell's `>` writes
        content = content.decode("utf-16", errors="replace").encode()
    content = content.removeprefix(codecs.BOM_UTF8)
    documents = _json(content, complain) if is_json else _yaml(content, complain)
    for document in documents:
        yield from _objects_in(document)


def _json(content: bytes, complain: Complain) -> Iterator[Any]:
    try:
        yield orjson.loads(content)
    except orjson.JSONDecodeError as error:
        complain(f"line {error.lineno}: not valid JSON")


def _yaml(content: bytes, complain: Complain) -> Iterator[Any]:
    line = 1
    start = 0
    marks = [(m.start(), m.end()) for m in _DOCUMENT_MARK.finditer(content)]
    for end, after in [*marks, (len(content), len(content))]:
        part = content[start:end]
        try:
            if part.strip():
                _check_depth(part)
                yield plain(yaml.load(part, Loader=_Loader))  # noqa: S506 - a subclass of the safe loader
        except _TooLarge as error:
            complain(f"line {line}: {error}")
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            complain(f"line {line + (mark.line if mark is not None else 0)}: not valid YAML")
        line += content[start:after].count(b"\n")
        start = after


def _check_depth(part: bytes) -> None:
    """Raises _TooLarge for nesting at which the parser in C, which calls itself, would end the process."""
    openings = sum(part.count(mark) for mark in (b"[", b"{", b"- ", b"-\t", b"? ", b"?\t"))
    if openings < _HARMLESS_OPENINGS and not _DEEP_INDENT.search(part):
        return
    depth = 0
    for event in yaml.parse(part, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise _TooLarge(_TOO_DEEP)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _TooLarge(Exception):
    """A document that grows beyond all measure when its aliases are followed; the message is ours."""


def plain(value: Any) -> Any:
    """A value out of YAML as JSON would hold it. Raises _TooLarge for aliases that multiply or loop."""
    budget = _MAX_NODES

    def copy(value: Any, depth: int) -> Any:
        nonlocal budget
        budget -= 1
        if budget < 0:
            raise _TooLarge("its aliases multiply without end")
        if depth > _MAX_DEPTH:
            raise _TooLarge(_TOO_DEEP)
        if isinstance(value, dict):
            return {_key(k): copy(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple | set):
            return [copy(v, depth + 1) for v in value]
        return _scalar(value)

    return copy(value, 0)


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return _SURROGATE.sub("�", key if isinstance(key, str) else str(key))


def _scalar(value: Any) -> Any:
    match value:
        case str():
            return _SURROGATE.sub("�", value) if not value.isascii() else value
        case float():
            return value if math.isfinite(value) else None
        case int() if not -(2**63) <= value < 2**64:
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case date():
            return value.isoformat()
    return value


def _objects_in(document: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of a document, in order, out of lists in lists as deep as they go."""
    pending: list[Any] = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(reversed(value))
        elif isinstance(value, Mapping):
            kind, api_version = text(value, "kind"), text(value, "apiVersion")
            items = value.get("items")
            if isinstance(items, list) and (kind.endswith("List") or not kind):
                pending.extend(_filled(item, kind, api_version) for item in reversed(items))
            elif kind and api_version and text(value, "metadata", "name"):
                yield value


def _filled(item: Any, list_kind: str, api_version: str) -> Any:
    """An item of a typed list, which leaves kind and apiVersion out of its items."""
    if not isinstance(item, Mapping) or item.get("kind") or list_kind in ("", "List"):
        return item
    return {**item, "kind": list_kind.removesuffix("List"), "apiVersion": api_version}
