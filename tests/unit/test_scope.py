"""What a question is about: names that exist, names that do not, and what "it" refers to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cluster.objects import K8sObject
from agents.evidence import ObjectRef
from agents.scope import Intent, Scope, read_question, resolve


def _objects() -> list[K8sObject]:
    rows = [
        ("Namespace", "", "shop"),
        ("Namespace", "", "shop-staging"),
        ("Namespace", "", "monitoring"),
        ("Deployment", "shop", "checkout"),
        ("Service", "shop", "checkout"),
        ("Deployment", "shop-staging", "checkout"),
        ("Deployment", "shop", "basket-api"),
        ("Deployment", "shop", "basket-web"),
        ("StatefulSet", "shop", "orders-db"),
        ("Deployment", "monitoring", "web"),
        ("Node", "", "worker-a1"),
    ]
    return [
        K8sObject(
            {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": ns} if ns else {"name": name}}
        )
        for kind, ns, name in rows
    ]


def _scope(question: str, namespace: str | None = None, previous: Scope | None = None) -> Scope:
    return resolve(read_question(question), _objects(), namespace=namespace, previous=previous)


def _names(scope: Scope) -> set[str]:
    return {str(ref) for ref in scope.objects}


def test_a_workload_named_in_the_question_is_in_scope_with_its_namespace() -> None:
    scope = _scope("Why does orders-db restart?")
    assert _names(scope) == {"StatefulSet shop/orders-db"}
    assert scope.namespaces == {"shop"}


def test_of_things_that_share_a_name_the_workload_is_meant() -> None:
    assert {ref.kind for ref in _scope("what is wrong with checkout?").objects} == {"Deployment"}


def test_a_kind_in_the_question_wins_over_the_workload() -> None:
    assert "Service shop/checkout" in _names(_scope("does service checkout in shop have endpoints?"))


def test_a_name_that_stands_in_two_namespaces_is_narrowed_by_the_one_that_is_named() -> None:
    assert _names(_scope("why is checkout down in namespace shop-staging?")) == {"Deployment shop-staging/checkout"}
    assert _names(_scope("why is checkout down?", namespace="shop")) == {"Deployment shop/checkout"}
    assert _names(_scope("why is checkout down?")) == {"Deployment shop/checkout", "Deployment shop-staging/checkout"}


def test_a_first_part_of_names_finds_all_workloads_that_begin_with_it() -> None:
    assert _names(_scope("is the basket healthy?")) == {"Deployment shop/basket-api", "Deployment shop/basket-web"}


def test_common_words_are_not_taken_for_the_objects_that_bear_them() -> None:
    scope = _scope("how is the monitoring of my web traffic set up?")
    assert not scope.objects
    assert not scope.namespaces


def test_a_namespace_with_a_common_name_counts_where_it_is_called_one() -> None:
    assert _scope("what is broken in namespace monitoring?").namespaces == {"monitoring"}
    assert _scope("kubectl get pods -n monitoring shows nothing ready").namespaces == {"monitoring"}


def test_a_namespace_that_does_not_exist_is_said_with_similar_ones() -> None:
    (unknown,) = _scope("what is wrong in namespace shop-stagin?").unknown
    assert (unknown.kind, unknown.name) == ("Namespace", "shop-stagin")
    assert "shop-staging" in unknown.similar


def test_an_object_that_does_not_exist_is_said_with_similar_ones() -> None:
    (unknown,) = _scope("why does deployment basket-ap fail?").unknown
    assert "basket-api" in str(unknown)


def test_a_slip_in_a_plain_name_is_said_too() -> None:
    (unknown,) = _scope("why does deployment chekout fail?").unknown
    assert unknown.similar == ("checkout",)


def test_the_other_namespace_is_no_namespace_of_that_name() -> None:
    assert _scope("what about the other namespace?").unknown == ()


@pytest.mark.parametrize("question", ["hello", "Who are you and what can you do?", "thanks!"])
def test_small_talk_needs_no_cluster(question: str) -> None:
    assert not _scope(question).needs_cluster


def test_nothing_is_unknown_in_plain_words() -> None:
    assert _scope("why do pods fail after the service deployment is done?").unknown == ()


@pytest.mark.parametrize(
    "question",
    ["what is a headless service?", "How do I create a CronJob?", "explain the difference between a pod and a job"],
)
def test_a_general_question_needs_no_cluster(question: str) -> None:
    assert not _scope(question).needs_cluster


@pytest.mark.parametrize(
    "question",
    [
        "how do I fix checkout?",
        "what is a good limit for orders-db?",
        "how do I see what is wrong in my cluster?",
        "is it slow?",
    ],
)
def test_a_question_about_what_is_here_needs_the_cluster(question: str) -> None:
    assert _scope(question).needs_cluster


def test_a_follow_up_keeps_what_the_conversation_was_about() -> None:
    before = _scope("why does orders-db restart?")
    scope = _scope("and its logs?", previous=before)
    assert scope.follow_up
    assert scope.objects == before.objects
    assert Intent.LOGS in scope.intents


def test_the_other_namespace_is_where_the_same_name_stands() -> None:
    before = _scope("why is checkout down in namespace shop?")
    scope = _scope("what about the other namespace?", previous=before)
    assert _names(scope) == {"Deployment shop-staging/checkout"}


def test_a_new_name_ends_the_follow_up() -> None:
    scope = _scope("and orders-db, is it fine?", previous=_scope("why is checkout down in shop?"))
    assert _names(scope) == {"StatefulSet shop/orders-db"}
    assert not scope.follow_up


def test_a_question_that_refers_to_nothing_is_about_the_own_namespace() -> None:
    assert _scope("anything broken?", namespace="shop").namespaces == {"shop"}
    assert _scope("anything broken?").namespaces == frozenset()


@given(st.text(max_size=300))
def test_any_text_has_a_scope(question: str) -> None:
    scope = _scope(question)
    assert all(isinstance(ref, ObjectRef) for ref in scope.objects)


def test_a_very_long_question_is_read_in_linear_time() -> None:
    scope = _scope("in namespace " + "a-" * 200_000 + " shop checkout")
    assert scope.needs_cluster
