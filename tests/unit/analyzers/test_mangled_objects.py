"""No analyzer crashes on objects with missing, null or wrong-typed fields, and the others go on when one does."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.analyzers import registry
from agents.cluster.objects import K8sObject
from agents.cluster.view import ClusterView
from agents.diagnosis import diagnose
from agents.evidence import ClusterIdentity, Finding
from tests.support.views import TAKEN_AT
from ui.demo.build import build

EXAMPLES = int(os.environ.get("MANGLED_EXAMPLES", "150"))
_OBJECTS: list[dict[str, Any]] = yaml.safe_load(yaml.safe_dump(build()))
_WRONG: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", 0, -1, 3.5, True, [], {}, [None], ["a", 1], {"a": None}, [{}], "2026-99-99T00:00:00Z"]
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield (*path, index)
            yield from _paths(inner, (*path, index))


_PATHS = [[p for p in _paths(o) if p not in (("kind",), ("apiVersion",))] for o in _OBJECTS]


def _view(objects: list[dict[str, Any]]) -> ClusterView:
    return ClusterView(
        identity=ClusterIdentity(id="x", name="mangled"),
        taken_at=TAKEN_AT,
        objects=[K8sObject(o) for o in objects],
        listed=dict.fromkeys({str(o.get("kind")) for o in objects}),
    )


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_mangled_objects_crash_no_analyzer(data: st.DataObject) -> None:
    objects = copy.deepcopy(_OBJECTS)
    for _ in range(data.draw(st.integers(1, 12))):
        number = data.draw(st.integers(0, len(objects) - 1))
        path = data.draw(st.sampled_from(_PATHS[number]))
        target: Any = objects[number]
        try:
            for step in path[:-1]:
                target = target[step]
            target[path[-1]] = data.draw(_WRONG)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    view = _view(objects)
    findings, failed = registry.run(view)
    assert failed == []
    diagnose(view, findings, registry.CODES)


def test_an_analyzer_that_fails_is_reported_and_the_others_go_on() -> None:
    def broken(_view: ClusterView) -> Iterator[Finding]:
        raise KeyError("boom")
        yield

    view = _view(copy.deepcopy(_OBJECTS))
    findings, failed = registry.run(view, [broken, *registry.ANALYZERS])
    assert findings
    (row,) = failed
    assert (row.reason, "broken" in row.what) == ("failed", True)
