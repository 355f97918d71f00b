"""What a conversation is about, between two questions: a scope as plain JSON in the thread's record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.cluster.objects import mapping, mappings, strings, text
from agents.evidence import Diagnosis, ObjectRef
from agents.scope import Scope

MAX_IMPLIED = 3


def focus_to_json(scope: Scope, diagnosis: Diagnosis) -> dict[str, Any]:
    """The part of a turn that the next question may refer to.

    Where the question named no object ("what is broken?"), "it" is the first root cause that was told, and where it
    shows.
    """
    objects = list(scope.objects)
    first = next((c for c in diagnosis.root_causes if c.in_focus), None)
    if not objects and first is not None:
        objects = list(dict.fromkeys([first.object, *(e.object for e in first.explains)]))[:MAX_IMPLIED]
    return {
        "namespaces": sorted(scope.namespaces),
        "objects": [
            {"api_version": r.api_version, "kind": r.kind, "namespace": r.namespace, "name": r.name} for r in objects
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
