"""Finds the values of manifests of kind Secret in text, YAML or JSON: everything under `data` and `stringData`.

Works on text as people paste it: several documents, lists, prose and code fences around, cut off anywhere. One pass
over lines or tokens, no parser that gives up at the first fault. Data belong to the kind that stands beside them, so a
ConfigMap next to a Secret stays readable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from assistant.guardrails.masking import Text
from assistant.guardrails.named_secrets import is_placeholder

Spans = list[tuple[int, int]]

_SECRET_YAML = re.compile(r"^[ \t-]*kind:[ \t]*[\"']?Secret[\"']?[ \t\r]*$", re.MULTILINE)
_SECRET_JSON = re.compile(r"\"kind\"\s{0,8}:\s{0,8}\"Secret\"")
_YAML_LINE = re.compile(
    r"(?P<indent> *)(?P<dash>(?:- +)*)(?:[\"']?(?P<key>[\w.\-/]{1,253})[\"']?:(?: +|$))?(?P<rest>.*)"
)
_JSON_TOKEN = re.compile(r"\"(?:[^\"\\]|\\.)*+\"|[{}]")


@dataclass(slots=True)
class _Object:
    """What one mapping has shown so far: its kind and the values under its data."""

    kind: str = ""
    values: Spans = field(default_factory=list)
    key: str = ""


def secret_data(text: Text) -> Iterator[tuple[int, int]]:
    """Spans of every value under `data` or `stringData` of an object of kind Secret."""
    if _SECRET_YAML.search(text.raw):
        yield from _yaml(text.raw)
    if _SECRET_JSON.search(text.raw):
        yield from _json(text.raw)


def _yaml(raw: str) -> Iterator[tuple[int, int]]:
    reader = _YamlLines()
    at = 0
    for line in raw.splitlines(keepends=True):
        yield from reader.read(line.rstrip(), at)
        at += len(line)
    yield from reader.close(-1)


class _YamlLines:
    """Reads a manifest line by line; hands out a Secret's values when the mapping that held them has ended."""

    def __init__(self) -> None:
        self._objects: dict[int, _Object] = {}
        self._data_indent: int | None = None  # of the `data:` whose block is being read
        self._scalar_indent: int | None = None  # of the key in it whose block scalar is being read

    def close(self, indent: int) -> Spans:
        """End every mapping that is indented deeper than `indent`."""
        ended = [self._objects.pop(level) for level in [level for level in self._objects if level > indent]]
        return [span for thing in ended for span in _closed(thing)]

    def read(self, line: str, start: int) -> Spans:
        """Take one line, beginning at `start` of the text; returns the values of mappings that it ends."""
        if line.startswith("---") or line.lstrip().startswith("```"):
            self._data_indent = self._scalar_indent = None
            return self.close(-1)
        found = _YAML_LINE.match(line)
        if not line or found is None:
            return []
        indent = len(found["indent"])
        if self._data_indent is not None and indent > self._data_indent:
            self._read_data(self._objects[self._data_indent].values, line, found, start)
            return []
        self._data_indent = self._scalar_indent = None
        level = indent + len(found["dash"])
        ended = self.close(indent if found["dash"] else level)
        thing = self._objects.setdefault(level, _Object())
        if found["key"] == "kind":
            thing.kind = found["rest"].strip("\"' ")
        elif found["key"] in ("data", "stringData") and not found["rest"]:
            self._data_indent = level
        return ended

    def _read_data(self, values: Spans, line: str, found: re.Match[str], start: int) -> None:
        indent, rest = len(found["indent"]), found["rest"]
        if self._scalar_indent is not None and indent > self._scalar_indent:
            values.append((start + indent, start + len(line)))
            return
        self._scalar_indent = indent if found["key"] is not None and rest[:1] in ("|", ">") else None
        value = rest.strip("\"'")
        if found["key"] is not None and self._scalar_indent is None and not is_placeholder(value):
            begin = start + found.start("rest") + (rest[:1] in ("'", '"'))
            values.append((begin, begin + len(value)))


def _json(raw: str) -> Iterator[tuple[int, int]]:
    stack = [_Object()]
    for token in _JSON_TOKEN.finditer(raw):
        top = stack[-1]
        if token[0] == "{":
            stack.append(_Object())
        elif token[0] == "}":
            if len(stack) > 1:
                yield from _closed(stack.pop())
        elif raw[token.end() : token.end() + 3].lstrip()[:1] == ":":
            top.key = token[0][1:-1]
        elif top.key == "kind":
            top.kind = token[0][1:-1]
        elif len(stack) > 1 and stack[-2].key in ("data", "stringData") and not is_placeholder(token[0][1:-1]):
            stack[-2].values.append((token.start() + 1, token.end() - 1))
    for unclosed in stack:
        yield from _closed(unclosed)


def _closed(thing: _Object) -> Spans:
    return thing.values if thing.kind == "Secret" else []
