"""Who answers which question: the trained part, the priors, and the model file's origin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from agents.evidence import Domain
from agents.routing import Route, Router, RoutingModel, RoutingModelUnavailable, is_elliptical
from agents.routing.corpus import corpus_hash, read_examples
from agents.routing.features import VOCABULARY, load_vocabulary, mask_names
from assistant.models.embeddings import MiniLMEmbedder, Vectors


class CountingEmbedder:
    """The real embedder, counting the texts of each call."""

    def __init__(self, inner: MiniLMEmbedder) -> None:
        self._inner = inner
        self.calls: list[int] = []

    @property
    def dimension(self) -> int:
        return self._inner.dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(len(texts))
        return self._inner.embed(texts)


@pytest.fixture(scope="module")
def embedder() -> MiniLMEmbedder:
    return MiniLMEmbedder()


@pytest.fixture(scope="module")
def router(embedder: MiniLMEmbedder) -> Router:
    return Router.load(embedder)


def leading(route: Route) -> Domain:
    return max(route.scores, key=lambda domain: route.scores[domain])


@pytest.mark.parametrize(
    ("question", "domain"),
    [
        ("The claim of our photo archive waits for a volume since this morning", Domain.STORAGE),
        ("Nobody outside can open shop.example.org, the ingress says 503", Domain.NETWORKING),
        ("May the build robot delete deployments in this namespace?", Domain.SECURITY),
        ("Our search answers far too slowly at noon", Domain.PERFORMANCE),
        ("Which alerts fired while I was away?", Domain.MONITORING),
        ("Take the storefront back to the version of last week", Domain.DEPLOYMENT),
        ("ledger-7c9 keeps crashing, what is the matter with it?", Domain.TROUBLESHOOTING),
        ("Explain to me what a container is", Domain.GENERAL),
    ],
)
def test_a_plain_question_goes_to_its_subsystem(router: Router, question: str, domain: Domain) -> None:
    assert router.route(question).domains == (domain,)


def test_scores_name_every_domain_and_sum_to_one(router: Router) -> None:
    route = router.route(
        "Is checkout secure, and why is it slow?", finding_domains=[Domain.STORAGE], current=Domain.STORAGE
    )

    assert set(route.scores) == set(Domain)
    assert sum(route.scores.values()) == pytest.approx(1)
    assert leading(route) in route.domains


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("Is checkout secure, and why is it slow?", {Domain.SECURITY, Domain.PERFORMANCE}),
        ("Which certificates expire soon and which volumes are nearly full?", {Domain.SECURITY, Domain.STORAGE}),
        ("What changed in the last rollout? Why can nobody reach the ingress?", {Domain.DEPLOYMENT, Domain.NETWORKING}),
    ],
)
def test_a_question_about_two_subjects_consults_both(router: Router, question: str, asked: set[Domain]) -> None:
    route = router.route(question)

    assert set(route.domains) == asked
    assert "more than one subject" in route.reason


def test_an_order_with_several_steps_is_one_question(router: Router) -> None:
    route = router.route("Create a config map named colours and show its keys, then load it into a pod as environment.")

    assert len(route.domains) == 1


def model_that_says(**logits: float) -> RoutingModel:
    """A model without an ear: the same log-odds for every text."""
    bias = np.array([logits.get(domain.value, -9.0) for domain in Domain], dtype=np.float32)
    shipped = RoutingModel.load()
    return RoutingModel(np.zeros_like(shipped.dense), np.zeros_like(shipped.words), shipped.word_idf, bias, 1.0, {})


@pytest.mark.parametrize(
    ("logits", "consulted"),
    [
        ({"storage": 2.0, "networking": 0.0}, [Domain.STORAGE]),
        ({"storage": 0.3, "networking": 0.0}, [Domain.STORAGE, Domain.NETWORKING]),
        ({"storage": 0.2, "networking": 0.1, "security": 0.0}, [Domain.STORAGE, Domain.NETWORKING, Domain.SECURITY]),
        ({"storage": 0.6, "networking": 0.5, "security": -1.0}, [Domain.STORAGE, Domain.NETWORKING]),
        ({"storage": 0.3, "general": 0.0}, [Domain.STORAGE]),
        ({"general": 0.3, "storage": 0.0}, [Domain.GENERAL, Domain.STORAGE]),
    ],
)
def test_below_the_threshold_of_confidence_the_next_likely_join(
    embedder: MiniLMEmbedder, logits: dict[str, float], consulted: list[Domain]
) -> None:
    route = Router(embedder, model_that_says(**logits)).route("a question")

    assert list(route.domains) == consulted


def test_no_question_consults_more_than_three(router: Router) -> None:
    many = "Why is it slow? Is it secure? Which volumes are full? Which ingress is broken? What changed in the rollout?"

    assert 2 <= len(router.route(many).domains) <= 3


@pytest.mark.parametrize("domain", [Domain.NETWORKING, Domain.STORAGE, Domain.SECURITY, Domain.PERFORMANCE])
def test_findings_decide_a_vague_question(router: Router, domain: Domain) -> None:
    question = "what is wrong with checkout?"

    assert router.route(question).domains == (Domain.TROUBLESHOOTING,)
    assert router.route(question, finding_domains=[domain] * 3).domains[0] is domain


def test_findings_of_several_domains_leave_a_vague_question_to_the_troubleshooter(router: Router) -> None:
    found = [Domain.NETWORKING, Domain.STORAGE, Domain.DEPLOYMENT]

    assert router.route("what is wrong with checkout?", finding_domains=found).domains[0] is Domain.TROUBLESHOOTING


@pytest.mark.parametrize(
    ("question", "domain"),
    [
        ("How do I rotate the certificates of the cluster?", Domain.SECURITY),
        ("Which persistent volumes are not bound?", Domain.STORAGE),
        ("How do I set a memory limit?", Domain.PERFORMANCE),
    ],
)
def test_findings_do_not_override_a_clear_question(router: Router, question: str, domain: Domain) -> None:
    assert router.route(question, finding_domains=[Domain.NETWORKING] * 20).domains[0] is domain


def test_findings_and_the_conversation_only_tip_what_is_nearly_even(embedder: MiniLMEmbedder) -> None:
    question = "Please show which volumes of this cluster are the largest"
    clear = Router(embedder, model_that_says(storage=3.0, networking=0.0))
    even = Router(embedder, model_that_says(storage=0.3, networking=0.0))

    for router, domain in ((clear, Domain.STORAGE), (even, Domain.NETWORKING)):
        assert router.route(question, finding_domains=[Domain.NETWORKING]).domains[0] is domain
        assert router.route(question, current=Domain.NETWORKING).domains[0] is domain


def test_a_claim_in_scope_speaks_for_storage_and_a_workload_for_nobody(router: Router) -> None:
    plain = router.route("why does it not start")
    claim = router.route("why does it not start", scope_kinds=["PersistentVolumeClaim"])
    workload = router.route("why does it not start", scope_kinds=["Deployment", "Pod", "NoSuchKind"])

    assert claim.scores[Domain.STORAGE] > plain.scores[Domain.STORAGE] * 2
    assert workload.scores == plain.scores


@pytest.mark.parametrize("current", [Domain.STORAGE, Domain.NETWORKING, Domain.TROUBLESHOOTING, Domain.DEPLOYMENT])
@pytest.mark.parametrize("follow_up", ["and its logs?", "what about the other namespace?", "why?", "how do I fix it?"])
def test_a_follow_up_stays_with_who_is_talking(router: Router, follow_up: str, current: Domain) -> None:
    route = router.route(follow_up, current=current)

    assert route.domains == (current,)


@pytest.mark.parametrize(
    ("follow_up", "domain"),
    [
        ("and is it secure?", Domain.SECURITY),
        ("is it slow as well?", Domain.PERFORMANCE),
        ("Which service accounts have cluster-admin?", Domain.SECURITY),
        ("what did yesterday's rollout of it change?", Domain.DEPLOYMENT),
    ],
)
@pytest.mark.parametrize("current", [Domain.STORAGE, Domain.TROUBLESHOOTING])
def test_a_change_of_subject_hands_over(router: Router, follow_up: str, domain: Domain, current: Domain) -> None:
    assert router.route(follow_up, current=current).domains[0] is domain


def test_the_choice_of_the_user_is_obeyed_and_said(router: Router) -> None:
    route = router.route("Which alerts are firing?", forced=Domain.STORAGE, current=Domain.NETWORKING)

    assert route.domains == (Domain.STORAGE,)
    assert route.reason == "You chose storage."


def test_the_reason_names_what_stands_in_the_question(router: Router) -> None:
    by_words = router.route("Does a NetworkPolicy block DNS?")
    by_findings = router.route("what is wrong with checkout?", finding_domains=[Domain.NETWORKING])

    assert by_words.reason == 'The question mentions "NetworkPolicy" and "DNS".'
    assert by_findings.reason == "The findings in scope are about networking."


def test_names_of_objects_say_nothing_about_the_subject(router: Router) -> None:
    for name in ("network-probe", "storage-gateway", "metrics-api", "security-scanner-7f9c", "deploy-helper"):
        assert router.route(f"What is wrong with the pod {name}?").domains == (Domain.TROUBLESHOOTING,), name


def test_names_are_masked_and_known_programs_are_not() -> None:
    vocabulary = load_vocabulary()

    masked = mask_names("pod order-api-7f9c in namespace team-blue, kube-proxy and a self-signed token", vocabulary)

    assert masked == "pod app in namespace app, kube-proxy and a self-signed token"


@pytest.mark.parametrize(
    "text", ["", " ", "?", "\ud800", "Warum startet mein Pod nicht?", "ポッドが起動しません", "🙂" * 99, "\x00"]
)
def test_any_text_has_a_route(router: Router, text: str) -> None:
    route = router.route(text)

    assert route.domains
    assert sum(route.scores.values()) == pytest.approx(1)


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_pasted_log_is_routed_by_the_question_around_it(router: Router, place: str) -> None:
    log = ("2026-01-01T00:00:00Z level=info msg=served status=200\n" * 1_000)[:50_000]
    question = "Why does my persistent volume claim not bind to a volume?"

    route = router.route(f"{question}\n{log}" if place == "before" else f"{log}\n{question}")

    assert route.domains[0] is Domain.STORAGE


def test_many_questions_are_embedded_in_one_call_and_routed_as_alone(router: Router, embedder: MiniLMEmbedder) -> None:
    texts = ["Which claims are unbound?", "Is anything broken in qa?", "hello", "Is it secure, and why is it slow?"]
    counting = CountingEmbedder(embedder)

    routes = Router.load(counting).route_many(texts)

    assert counting.calls[0] == len(texts)
    assert len(counting.calls) == 2, "one call for all, one for the clauses of the double question"
    for text, route in zip(texts, routes, strict=True):
        alone = router.route(text)
        assert route.domains == alone.domains
        assert route.reason == alone.reason
        assert list(route.scores.values()) == pytest.approx(list(alone.scores.values()), abs=1e-6)
    assert router.route_many([]) == []


def test_the_shipped_model_was_trained_on_the_shipped_texts_and_vocabulary() -> None:
    origin = RoutingModel.load().origin

    assert origin["corpus_sha256"] == corpus_hash(), "texts changed: run `python -m agents.routing.train`"
    vocabulary = hashlib.sha256(VOCABULARY.read_bytes()).hexdigest()
    assert origin["vocabulary_sha256"] == vocabulary, "vocabulary changed: run `python -m agents.routing.train`"
    assert origin["texts"] == len(read_examples())


def test_held_out_texts_are_routed_right_nine_times_in_ten() -> None:
    assert RoutingModel.load().origin["held_out_accuracy"] >= 0.9


def test_training_texts_expand_the_same_way_every_time() -> None:
    first, second = read_examples(), read_examples()

    assert first == second
    assert {example.domain for example in first} == set(Domain)
    assert not [e.text for e in first if any(mark in e.text for mark in "{}|@") and '"kind"' not in e.text]


def test_the_model_survives_saving(tmp_path: Path) -> None:
    model = RoutingModel.load()

    model.save(tmp_path / "copy.npz")
    copy = RoutingModel.load(tmp_path / "copy.npz")

    assert copy.temperature == model.temperature
    assert copy.origin == model.origin
    assert np.array_equal(copy.dense, model.dense)
    assert np.array_equal(copy.words, model.words)


@pytest.mark.parametrize("content", [None, b"", b"no zip", json.dumps({}).encode()])
def test_a_damaged_model_is_named_with_its_remedy(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.npz"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(RoutingModelUnavailable, match=r"agents\.routing\.train"):
        RoutingModel.load(path)


@pytest.mark.parametrize(
    ("text", "leans"),
    [
        ("and its logs?", True),
        ("why?", True),
        ("show me that again", True),
        ("Which pods are pending in qa?", False),
        ("Why is the checkout deployment in namespace payments not getting ready?", False),
    ],
)
def test_short_texts_that_point_back_are_elliptical(text: str, leans: bool) -> None:
    assert is_elliptical(text) is leans
