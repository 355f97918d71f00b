"""Label selectors: as Kubernetes objects write them, and as a query string writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.cluster.objects import mapping, mappings, string_map, strings, text


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label: In, NotIn, Exists or DoesNotExist."""

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
        return False


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


_SET = re.compile(r"^\s*([^\s!=,()]+)\s+(in|notin)\s+\(([^)]*)\)\s*$")
_SPLIT = re.compile(r",(?![^(]*\))")


def parse_selector(query: str) -> Selector:
    """A selector as `kubectl -l` takes it. Raises ValueError for what the API server would reject, too."""
    equal: dict[str, str] = {}
    requirements: list[Requirement] = []
    for part in filter(None, (p.strip() for p in _SPLIT.split(query))):
        if found := _SET.match(part):
            values = tuple(v.strip() for v in found[3].split(","))
            requirements.append(Requirement(found[1], "In" if found[2] == "in" else "NotIn", values))
        elif "!=" in part:
            key, value = (p.strip() for p in part.split("!=", 1))
            requirements.append(Requirement(key, "NotIn", (value,)))
        elif "=" in part:
            key, value = (p.strip() for p in part.replace("==", "=").split("=", 1))
            if equal.get(key, value) != value:
                requirements.append(Requirement(key, "In", (value,)))
            equal[key] = value
        elif re.fullmatch(r"![^\s()]+", part):
            requirements.append(Requirement(part[1:].strip(), "DoesNotExist"))
        elif re.fullmatch(r"[^\s()!]+", part):
            requirements.append(Requirement(part, "Exists"))
        else:
            raise ValueError(f"not a label selector: {part!r}")
    return Selector(equal, tuple(requirements))
