"""A conversation of several questions: what "it" means, who speaks, and how far marks reach."""

import re
from pathlib import Path

from agents.events import EvidenceEvent, Handoff, Notice, Step
from agents.evidence import Domain
from tests.support.app import Told, asked, running_app
from tests.support.scripted_provider import ScriptedProvider, text

ORCHARD = Path(__file__).parents[1] / "scenarios" / "path-orchard"


def _scope(told: Told) -> str:
    return next(s.detail for s in told.of(Step) if s.name == "scope" and s.status == "done")


async def test_and_its_logs_keeps_the_context_and_shows_them_as_evidence(database_url: str, tmp_path: Path) -> None:
    async with running_app(database_url, tmp_path, snapshot=ORCHARD) as app:
        first = await asked(app, "Why is press in namespace orchard down?")
        told = await asked(app, "and its logs?", thread_id=first.thread_id)

    assert _scope(told) == "Deployment orchard/press (as before)"
    logs = [e.evidence for e in told.of(EvidenceEvent) if e.evidence.kind == "log"]
    assert logs
    assert all(log.object.namespace == "orchard" for log in logs)
    assert "cannot reach cider-db.orchard:5432" in logs[0].excerpt
    assert f"[{logs[0].id}]" in told.answer.text
    assert "cannot reach cider-db.orchard:5432" in told.answer.text


async def test_after_a_question_about_the_whole_cluster_it_is_the_first_cause(
    database_url: str, tmp_path: Path
) -> None:
    async with running_app(database_url, tmp_path, snapshot=ORCHARD) as app:
        first = await asked(app, "What is broken in this cluster?")
        told = await asked(app, "and its logs?", thread_id=first.thread_id)

    assert _scope(first) == "the whole cluster"
    assert str(first.answer.diagnosis.root_causes[0].object) in _scope(told)
    assert [e for e in told.of(EvidenceEvent) if e.evidence.kind == "log"]


async def test_what_about_the_other_namespace_moves_to_the_same_name_there(database_url: str, tmp_path: Path) -> None:
    async with running_app(database_url, tmp_path, snapshot=ORCHARD) as app:
        first = await asked(app, "Why is press in namespace orchard down?")
        told = await asked(app, "What about the other namespace?", thread_id=first.thread_id)
        back = await asked(app, "and its events?", thread_id=first.thread_id)

    assert _scope(told) == "Deployment orchard-test/press (as before)"
    assert "Deployment orchard-test/press" in told.answer.text
    assert _scope(back) == "Deployment orchard-test/press (as before)"


async def test_a_follow_up_that_names_nothing_stays_with_who_is_talking(database_url: str, tmp_path: Path) -> None:
    async with running_app(database_url, tmp_path, snapshot=ORCHARD) as app:
        first = await asked(app, "Why is press in namespace orchard down?")
        told = await asked(app, "and its logs?", thread_id=first.thread_id)

    assert told.answer.route.domains[0] == first.answer.route.domains[0]
    assert told.of(Handoff) == []


async def test_a_follow_up_that_changes_the_subject_hands_over_visibly(database_url: str, tmp_path: Path) -> None:
    async with running_app(database_url, tmp_path) as app:
        first = await asked(app, "Which RBAC rights does the service account of ci-runner have?")
        told = await asked(app, "Why is the PersistentVolumeClaim data-archive-0 pending?", thread_id=first.thread_id)

    assert first.answer.route.domains[0] is Domain.SECURITY
    assert first.of(Handoff) == []
    (handoff,) = told.of(Handoff)
    assert (handoff.source, handoff.target) == (Domain.SECURITY, Domain.STORAGE)
    assert handoff.reason == told.answer.route.reason


async def test_evidence_is_numbered_through_the_thread_and_earlier_marks_stay_valid(
    database_url: str, tmp_path: Path
) -> None:
    words = "The tag 2.18.O is not in the registry [E1]."
    async with (
        ScriptedProvider([text(words)]) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        first = await asked(app, "Why is checkout in namespace shop down?", agent=Domain.DEPLOYMENT)
        told = await asked(app, "And its events?", thread_id=first.thread_id, agent=Domain.DEPLOYMENT)
        kept = await app.services.record.evidence(first.thread_id)
        prompt = "\n".join(m["content"] for m in provider.requests[-1].json["messages"])

    before = {e.id: e for e in first.answer.diagnosis.all_evidence()}
    after = {e.id: e for e in told.answer.diagnosis.all_evidence()}
    assert not set(before) & set(after)
    assert min(int(e[1:]) for e in after) == max(int(e[1:]) for e in before) + 1
    assert {e: kept[e] for e in before} == before
    assert {e: kept[e] for e in after} == after
    assert told.answer.unbacked == ()  # it cites E1 of the answer before
    assert "Why is checkout in namespace shop down?" in prompt
    assert words in prompt


async def test_names_that_do_not_exist_are_said_with_similar_ones(database_url: str, tmp_path: Path) -> None:
    async with running_app(database_url, tmp_path) as app:
        told = await asked(app, "Why is deployment check-out failing in namespace shopp?")

    notices = {n.code: n.message for n in told.of(Notice)}
    assert notices["namespace-not-found"].startswith("There is no Namespace named shopp. Similar: shop")
    assert "checkout" in notices["object-not-found"]
    assert told.answer.text.startswith("There is no Namespace named shopp.")


async def test_every_mark_of_an_answer_without_a_model_is_evidence_of_the_thread(
    database_url: str, tmp_path: Path
) -> None:
    async with running_app(database_url, tmp_path, snapshot=ORCHARD) as app:
        first = await asked(app, "Is anything broken?")
        told = await asked(app, "describe deployment press in orchard", thread_id=first.thread_id)
        kept = await app.services.record.evidence(first.thread_id)

    for answer in (first.answer, told.answer):
        marks = set(re.findall(r"\[(E\d+)\]", answer.text))
        assert marks
        assert marks <= set(kept)
