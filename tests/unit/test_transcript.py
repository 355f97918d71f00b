"""How a turn's events become what the page draws."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from agents.events import (
    DiagnosisEvent,
    ErrorEvent,
    Event,
    EvidenceEvent,
    Handoff,
    Notice,
    Step,
    Token,
    ToolEvent,
)
from agents.evidence import Diagnosis, Domain, Evidence, Explained, ObjectRef, RootCause, Severity
from agents.record import INTERRUPTED, Turn
from agents.report import heading
from ui.chat.transcript import MAX_CARDS, Transcript

LAMP = ObjectRef("apps/v1", "Deployment", "harbour", "lamp")


def evidence(number: int) -> Evidence:
    return Evidence(id=f"E{number}", kind="field", object=LAMP, locator="spec.replicas", excerpt="spec.replicas: 0")


def cause(number: int, *, in_focus: bool = True, **given: Any) -> RootCause:
    fields: dict[str, Any] = {
        "id": f"R{number}",
        "code": "some-code",
        "severity": Severity.ERROR,
        "domain": Domain.DEPLOYMENT,
        "object": LAMP,
        "cause": "It has no replicas.",
        "remedy": "Scale it:\n`kubectl -n harbour scale deployment lamp --replicas=1`\nThen look again.",
        "evidence": (evidence(number),),
        "confidence": 0.9,
        "in_focus": in_focus,
    }
    return RootCause(**fields | given)


class Drawn:
    """A transcript that numbers what it is given."""

    def __init__(self, known: dict[str, Evidence] | None = None) -> None:
        self.transcript = Transcript("thread", "turn", "2026-03-02T10:00:00Z", known)
        self._sequence = 0

    def __call__(self, kind: type[Any], **fields: Any) -> Event:
        self._sequence += 1
        event: Event = kind(turn_id="turn", sequence=self._sequence, **fields)
        self.transcript.apply(event)
        return event

    @property
    def props(self) -> dict[str, Any]:
        return self.transcript.props()


def test_a_step_that_ends_takes_the_place_of_its_beginning() -> None:
    draw = Drawn()
    draw(Step, name="read", status="started", detail="lighthouse")
    assert [s["status"] for s in draw.props["steps"]] == ["started"]
    draw(Step, name="read", status="done", detail="12 objects", milliseconds=4.0)
    assert [(s["label"], s["status"], s["detail"], s["ms"]) for s in draw.props["steps"]] == [
        ("Cluster read", "done", "12 objects", 4.0)
    ]


def test_tools_and_hand_overs_are_steps_too_and_a_tool_that_is_used_twice_is_two_steps() -> None:
    draw = Drawn()
    draw(Handoff, source=Domain.STORAGE, target=Domain.NETWORKING, reason="a port")
    for _ in range(2):
        draw(ToolEvent, name="logs", arguments='{"pod": "lamp"}', status="started")
        draw(ToolEvent, name="logs", arguments='{"pod": "lamp"}', status="done", summary="9 lines")
    kinds = [(s["kind"], s["status"]) for s in draw.props["steps"]]
    assert kinds == [("handoff", "done"), ("tool", "done"), ("tool", "done")]
    assert draw.props["steps"][0]["label"] == "Storage hands over to Networking"


def test_an_event_that_comes_again_changes_nothing() -> None:
    draw = Drawn()
    token = draw(Token, text="All is well. ", specialist=Domain.STORAGE)
    draw.transcript.apply(token)
    assert draw.props["parts"] == [{"domain": "storage", "title": "Storage", "text": "All is well. "}]


def test_each_specialist_has_a_part_and_the_heading_is_the_pages_own() -> None:
    draw = Drawn()
    for domain in (Domain.STORAGE, Domain.SECURITY):
        draw(Token, text=heading(domain), specialist=domain)
        draw(Token, text="Fine. ", specialist=domain)
    assert [(p["title"], p["text"]) for p in draw.props["parts"]] == [("Storage", "Fine. "), ("Security", "Fine. ")]


def test_what_was_asked_about_gets_cards_and_the_rest_is_folded() -> None:
    draw = Drawn()
    causes = [cause(n) for n in range(1, MAX_CARDS + 3)] + [cause(90, in_focus=False)]
    draw(DiagnosisEvent, diagnosis=Diagnosis(root_causes=tuple(causes)))
    shown = draw.props["diagnosis"]
    assert [c["id"] for c in shown["cards"]] == [f"R{n}" for n in range(1, MAX_CARDS + 1)]
    assert [c["id"] for c in shown["folded"]] == ["R7", "R8", "R90"]


def test_a_card_names_what_it_explains_once_and_not_itself_and_keeps_a_command_with_its_words() -> None:
    service = ObjectRef("v1", "Service", "harbour", "lamp")
    explained = tuple(Explained(finding=f"F{n}", object=ref, how="") for n, ref in enumerate((LAMP, service, service)))
    draw = Drawn()
    draw(DiagnosisEvent, diagnosis=Diagnosis(root_causes=(cause(1, explains=explained),)))
    card = draw.props["diagnosis"]["cards"][0]
    assert [e["object"] for e in card["explains"]] == ["Service harbour/lamp"]
    assert card["remedy"] == ["Scale it: `kubectl -n harbour scale deployment lamp --replicas=1`", "Then look again."]
    assert draw.props["evidence"]["E1"]["excerpt"] == "0"


def test_marks_find_evidence_of_earlier_turns_and_only_what_is_cited_is_sent() -> None:
    draw = Drawn(known={"E1": evidence(1), "E2": evidence(2)})
    draw(EvidenceEvent, evidence=evidence(3))
    draw(Token, text="As before [E2], and now [E3]; unknown is [E9].")
    assert sorted(draw.props["evidence"]) == ["E2", "E3"]


def test_an_error_and_a_cancelled_turn_say_so() -> None:
    failed, cancelled = Drawn(), Drawn()
    failed(Notice, code="model-failed", message="The model did not answer.")
    failed(ErrorEvent, code="turn-timed-out", message="Too long.", retryable=True)
    cancelled(ErrorEvent, code="cancelled", message="Stopped.", retryable=True)
    assert (failed.props["status"], failed.props["error"]["code"]) == ("failed", "turn-timed-out")
    assert failed.props["notices"] == [{"code": "model-failed", "message": "The model did not answer."}]
    assert cancelled.props["status"] == "cancelled"


def test_a_turn_whose_process_was_killed_ends_by_what_the_record_says() -> None:
    draw = Drawn()
    draw(Token, text="It begins ")
    now = datetime(2026, 3, 2, tzinfo=UTC)
    turn = Turn(
        "turn", "thread", 1, 1, "failed", "c", "why?", "", None, None, None, None, None, dict(INTERRUPTED), now, now
    )
    draw.transcript.settle(turn)
    assert draw.transcript.ended
    assert draw.props["error"]["code"] == "interrupted"
    assert draw.props["parts"][0]["text"] == "It begins "


def test_the_same_turn_is_drawn_under_the_same_ids() -> None:
    first, second = Drawn().transcript, Drawn().transcript
    assert first.element()["id"] == second.element()["id"]
    assert first.element()["forId"] == first.message()["id"] != first.element()["id"]
