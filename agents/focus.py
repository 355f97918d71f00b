"""What a conversation is about, between two questions: a scope as plain JSON in the thread's record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.cluster.objects import mapping, mappings, strings, text
from agents.evidence import ObjectRef
from agents.scope import Scope


def focus_to_json(scope: Scope) -> dict[str, Any]:
    """The part of a scope that the next question may refer to."""
    return {
        "namespaces": sorted(scope.namespaces),
        "objects": [
            {"api_version": r.api_version, "kind": r.kind, "namespace": r.namespace, "name": r.name}
            for r in scope.objects
        ],
    }


def focus_from_json(value: Mapping[str, Any]) -> Scope | None:
    """The scope of the turn before; None where there is none, or where it cannot be read."""
    found = mapping(value)
    objects = tuple(
        ObjectRef(text(o, "api_version"), text(o, "kind"), text(o, "namespace"), text(o, "name"))
        for o in mappings(found, "objects")
    )
    namespaces = frozenset(strings(found, "namespaces"))
    return Scope(namespaces=namespaces, objects=objects) if objects or namespaces else None
