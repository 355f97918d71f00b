"""Label selectors: as Kubernetes objects write them, and as a query string writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.cluster.objects import mapping, mappings, string_map, strings, text


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label: In, NotIn, Exists, DoesNotExist, Gt or Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values if self.key in labels else False
            case "NotIn":  # a missing label satisfies NotIn, as in the API server
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
            case "Gt" | "Lt":
                return self._compares(labels.get(self.key, ""))
        return False

    def _compares(self, value: str) -> bool:
        """Gt and Lt compare whole numbers; what is none satisfies neither."""
        bound = self.values[0] if self.values else ""
        if not (re.fullmatch(r"-?\d{1,18}", value) and re.fullmatch(r"-?\d{1,18}", bound)):
            return False
        return int(value) > int(bound) if self.operator == "Gt" else int(value) < int(bound)


@dataclass(frozen=True, slots=True)
class Selector:
    """All of `equal` and all of `requirements` must hold; an empty selector matches everything."""

    equal: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[Requirement, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.equal and not self.requirements

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(k) == v for k, v in self.equal.items()) and all(
            r.matches(labels) for r in self.requirements
        )

    def __str__(self) -> str:
        parts = [f"{k}={v}" for k, v in self.equal.items()]
        for r in self.requirements:
            match r.operator:
                case "Exists":
                    parts.append(r.key)
                case "DoesNotExist":
                    parts.append(f"!{r.key}")
                case "Gt" | "Lt":
                    parts.append(f"{r.key}{'>' if r.operator == 'Gt' else '<'}{''.join(r.values)}")
                case operator:
                    parts.append(f"{r.key} {operator.lower()} ({','.join(r.values)})")
        return ",".join(parts)


def label_selector(value: Any) -> Selector:
    """A LabelSelector object (`matchLabels`, `matchExpressions`); anything malformed in it is left out."""
    requirements = tuple(
        Requirement(text(e, "key"), text(e, "operator"), tuple(strings(e, "values")))
        for e in mappings(value, "matchExpressions")
    )
    return Selector(string_map(value, "matchLabels"), requirements)


def map_selector(value: Any) -> Selector:
    """A plain label map, as a Service or a ReplicationController has it."""
    return Selector(string_map(mapping(value)))


_KEY = r"[A-Za-z0-9][-A-Za-z0-9_./]*"
_VALUE = r"[-A-Za-z0-9_.]*"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s+\(([-A-Za-z0-9_.,\s]*)\)")
_COMPARED = re.compile(rf"({_KEY})\s*(=|==|!=|>|<)\s*({_VALUE})")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
_SPLIT = re.compile(r",(?![^(]*\))")
_OPERATORS = {"=": "In", "==": "In", "!=": "NotIn", ">": "Gt", "<": "Lt", "in": "In", "notin": "NotIn"}


def parse_selector(query: str) -> Selector:
    """A selector as `kubectl -l` takes it. Raises ValueError for what the API server would reject, too."""
    equal: dict[str, str] = {}
    requirements: list[Requirement] = []
    for part in filter(None, (p.strip() for p in _SPLIT.split(query))):
        if found := _SET.fullmatch(part):
            values = tuple(v.strip() for v in found[3].split(","))
            requirements.append(Requirement(found[1], _OPERATORS[found[2]], values))
        elif found := _COMPARED.fullmatch(part):
            key, operator, value = found[1], _OPERATORS[found[2]], found[3]
            if operator in ("Gt", "Lt") and not value.isdigit():
                raise ValueError(f"not a label selector: {part!r}")
            if operator == "In" and equal.setdefault(key, value) == value:
                continue
            requirements.append(Requirement(key, operator, (value,)))
        elif found := _EXISTS.fullmatch(part):
            requirements.append(Requirement(found[2], "DoesNotExist" if found[1] else "Exists"))
        else:
            raise ValueError(f"not a label selector: {part!r}")
    return Selector(equal, tuple(requirements))


_FIELD = re.compile(r"([A-Za-z0-9_./-]+)\s*(==|=|!=)(.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\([\\,=])")


def parse_field_selector(query: str) -> Selector:
    """A selector as `kubectl --field-selector` takes it: `=`, `==` and `!=` over dotted paths, whose values may be any
    text (comma, equals sign and backslash escaped by a backslash). Raises ValueError for anything else.
    """
    requirements: list[Requirement] = []
    for part in filter(None, (p.strip() for p in re.split(r"(?<!\\),", query))):
        found = _FIELD.fullmatch(part)
        if found is None:
            raise ValueError(f"not a field selector: {part!r}")
        value = _ESCAPED.sub(r"\1", found[3].strip())
        requirements.append(Requirement(found[1], "NotIn" if found[2] == "!=" else "In", (value,)))
    return Selector({}, tuple(requirements))
