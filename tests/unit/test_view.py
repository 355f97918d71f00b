"""Selectors against a naive model, and views over mangled objects: nothing that a cluster or a file holds may raise."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.cluster.gather import gather_view, is_unwell
from agents.cluster.objects import K8sObject, container_statuses
from agents.cluster.reader import RawObject
from agents.cluster.references import references_of
from agents.cluster.selectors import label_selector, parse_field_selector, parse_selector
from agents.cluster.snapshot import Snapshot, SnapshotReader, load_snapshot
from agents.cluster.view import event_record
from tests.support.snapshots import BAKERY

KEYS = st.sampled_from(["app", "tier", "k8s.io/part", "x-y_z.1"])
VALUES = st.sampled_from(["", "a", "b", "v1.2", "long-value"])
LABELS = st.dictionaries(KEYS, VALUES, max_size=4)
Rule = tuple[str, str, list[str]]
RULES = st.lists(
    st.tuples(
        KEYS, st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]), st.lists(VALUES, min_size=1, max_size=3)
    ),
    max_size=4,
)


def holds(rule: Rule, labels: dict[str, str]) -> bool:
    """The documented meaning of a rule, one sentence each."""
    key, operator, values = rule
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator == "In":
        return key in labels and labels[key] in values
    return key not in labels or labels[key] not in values


def written(rule: Rule) -> str:
    key, operator, values = rule
    match operator:
        case "Exists":
            return key
        case "DoesNotExist":
            return f"!{key}"
        case "In" if len(values) == 1:
            return f"{key}={values[0]}"
        case "NotIn" if len(values) == 1:
            return f"{key}!={values[0]}"
    return f"{key} {operator.lower()} ({','.join(values)})"


@given(RULES, LABELS)
def test_a_selector_string_means_what_its_rules_mean(rules: list[Rule], labels: dict[str, str]) -> None:
    selector = parse_selector(",".join(written(rule) for rule in rules))
    assert selector.matches(labels) == all(holds(rule, labels) for rule in rules)


@given(RULES, LABELS, LABELS)
def test_a_selector_object_means_what_its_rules_mean(
    rules: list[Rule], equal: dict[str, str], labels: dict[str, str]
) -> None:
    expressions = [{"key": k, "operator": o, "values": v} for k, o, v in rules]
    selector = label_selector({"matchLabels": equal, "matchExpressions": expressions})
    expected = equal.items() <= labels.items() and all(holds(rule, labels) for rule in rules)
    assert selector.matches(labels) == expected


@given(RULES, LABELS)
def test_a_selector_written_out_means_the_same_again(rules: list[Rule], labels: dict[str, str]) -> None:
    selector = label_selector({"matchExpressions": [{"key": k, "operator": o, "values": v} for k, o, v in rules]})
    assert parse_selector(str(selector)).matches(labels) == selector.matches(labels)


@pytest.mark.parametrize("text", ["a in (", "(a)", "!", "a b", "!a=b c(", "a in b", "=a", "a=b=c)", "a>>1", "a>b"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a label selector"):
        parse_selector(text)


@given(st.text(max_size=40))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    for parse in (parse_selector, parse_field_selector):
        with contextlib.suppress(ValueError):
            parse(text).matches({"a": "b"})


@pytest.mark.parametrize(
    ("selector", "matches"),
    [("size>3", True), ("size<3", False), ("size>4", False), ("word>1", False), ("none>1", False)],
)
def test_numbers_are_compared_as_numbers(selector: str, matches: bool) -> None:
    assert parse_selector(selector).matches({"size": "4", "word": "x"}) is matches
    assert str(parse_selector(selector)) == selector


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("path=spec.containers{oven}", True),
        ("path==spec.containers{oven},a.b!=c", True),
        (r"note=one\,two\=three", True),
        ("path!=spec.containers{oven}", False),
        ("empty=", True),
    ],
)
def test_field_selectors_take_values_of_any_text(selector: str, matches: bool) -> None:
    fields = {"path": "spec.containers{oven}", "a.b": "d", "note": "one,two=three", "empty": ""}
    assert parse_field_selector(selector).matches(fields) is matches


def test_what_is_no_field_selector_is_refused() -> None:
    with pytest.raises(ValueError, match="not a field selector"):
        parse_field_selector("a in (b)")


JUNK = st.sampled_from([None, True, -1, 2.5, "", "x", "2026-13-45T99:00:00Z", [], [None], {}, {"name": 7}, [["a"], 1]])
PLACES = st.lists(st.integers(min_value=0, max_value=10_000), min_size=1, max_size=12)


def mangled(objects: list[Any], places: list[int], junk: list[Any]) -> list[Any]:
    """The objects with some of their values, chosen by number, replaced by junk."""
    copy: list[Any] = json.loads(json.dumps(objects))
    slots: list[tuple[Any, Any]] = []
    pending: list[Any] = list(copy)
    while pending:
        value = pending.pop()
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for key in keys:
            slots.append((value, key))
            pending.append(value[key])
    for place, replacement in zip(places, junk, strict=False):
        holder, key = slots[place % len(slots)]
        holder[key] = replacement
    return copy


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(PLACES, st.lists(JUNK, min_size=12, max_size=12))
async def test_a_view_over_mangled_objects_is_built_and_walked(places: list[int], junk: list[Any]) -> None:
    objects: list[RawObject] = [
        o for o in mangled(list(load_snapshot(BAKERY).objects), places, junk) if isinstance(o, dict)
    ]
    snapshot = Snapshot(Path("mangled"), objects=objects)

    view = await gather_view(SnapshotReader(snapshot), focus=frozenset({"bakery"}))

    for obj in view:
        references_of(obj)
        view.referrers(obj.ref)
        view.events(obj.ref)
        view.owned_by(obj)
        view.top_owner(obj)
        view.pods_of(obj)
        view.select("Pod", obj.namespace, label_selector(obj.spec.get("selector")))
        view.age(obj.created)
        event_record(obj)
        for _, status in container_statuses(obj):
            is_unwell(obj, status)


@settings(max_examples=200)
@given(st.recursive(JUNK, lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=12))
def test_an_object_of_any_shape_can_be_asked_everything(raw: Any) -> None:
    obj = K8sObject(raw if isinstance(raw, dict) else {"metadata": raw, "spec": raw, "status": raw})
    asked = (
        obj.labels,
        obj.annotations,
        obj.created,
        obj.deleting_since,
        obj.controller,
        obj.group,
        obj.spec,
        obj.status,
    )
    assert asked is not None
    assert obj.condition("Ready") is not None
    assert str(obj.ref)
