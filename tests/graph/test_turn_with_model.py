"""One question with a model behind a real socket: what it is told, how far it may dig, what is released."""

import re
from pathlib import Path
from typing import Any

from agents.events import EvidenceEvent, ToolEvent, UsageEvent
from agents.evidence import Domain
from assistant.types import Mode
from tests.support.app import KEY, asked, running_app
from tests.support.scripted_provider import (
    Reply,
    ScriptedProvider,
    endless_tool_calls,
    text,
    tool_call,
    tool_calls,
)

QUESTION = "Why is checkout in namespace shop down?"
ANSWER = "Deployment shop/checkout asks for the tag 2.18.O, which is not in the registry [E1]."


def _words(request: dict[str, Any]) -> str:
    return "\n".join(str(m.get("content")) for m in request["messages"])


async def test_a_question_costs_one_call_which_already_carries_the_diagnosis(database_url: str, tmp_path: Path) -> None:
    async with (
        ScriptedProvider([text(ANSWER)]) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        told = await asked(app, QUESTION, agent=Domain.DEPLOYMENT)

    assert len(provider.requests) == 1
    prompt = _words(provider.requests[0].json)
    for cause in (c for c in told.answer.diagnosis.root_causes if c.in_focus):
        assert cause.cause in prompt
        for evidence in cause.evidence:
            assert f'[{evidence.id}] {evidence.object}, {evidence.locator}\n<data mark="{evidence.id}">' in prompt
    assert prompt.rstrip().endswith(QUESTION)
    assert told.answer.mode is Mode.MODEL
    assert told.answer.text == ANSWER
    assert told.answer.unbacked == ()
    assert (told.answer.usage.calls, told.answer.usage.prompt_tokens) == (1, 100)
    assert told.answer.cost is None
    assert told.answer.text_went_to == provider.host


async def test_a_sentence_that_nothing_backs_is_shown_as_such(database_url: str, tmp_path: Path) -> None:
    words = f"{ANSWER} It burns 77Gi of memory [E1]."
    async with (
        ScriptedProvider([text(words, chunk_chars=7)]) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        told = await asked(app, QUESTION, agent=Domain.DEPLOYMENT)

    assert told.answer.unbacked == ("It burns 77Gi of memory [E1].",)
    first, second = told.answer.text.split("It burns", 1)
    assert "not backed" not in first
    assert "not backed by evidence" in second


async def test_what_a_tool_brings_is_evidence_that_the_answer_may_cite(database_url: str, tmp_path: Path) -> None:
    marks: list[str] = []

    def script(request: dict[str, Any]) -> Reply:
        if request["messages"][-1]["role"] != "tool":
            return tool_call("list_objects", {"kind": "pods", "namespace": "payments"}, words="Looking further.")
        marks.extend(re.findall(r"\[(E\d+)\]", request["messages"][-1]["content"]))
        return text(f"Namespace payments holds 5 pods [{marks[0]}].")

    async with ScriptedProvider(script) as provider, running_app(database_url, tmp_path, provider=provider) as app:
        told = await asked(app, QUESTION, agent=Domain.DEPLOYMENT)
        kept = await app.services.record.evidence(told.thread_id)

    assert len(provider.requests) == 2
    assert told.answer.unbacked == ()
    (brought,) = [e.evidence for e in told.of(EvidenceEvent)]
    assert brought.id == marks[0]
    assert kept[brought.id] == brought
    assert [(t.name, t.status) for t in told.of(ToolEvent)] == [("list_objects", "started"), ("list_objects", "done")]
    assert len(told.of(UsageEvent)) == 2


async def test_endless_calls_end_in_a_forced_conclusion_without_tools(database_url: str, tmp_path: Path) -> None:
    wanted = {"kind": "Deployment", "name": "checkout", "namespace": "shop"}
    async with (
        ScriptedProvider(endless_tool_calls("get_object", wanted)) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        told = await asked(app, QUESTION, agent=Domain.DEPLOYMENT)

    assert [bool(r.json.get("tools")) for r in provider.requests] == [True] * 8 + [False]
    assert "Conclude now" in provider.requests[-1].json["messages"][-1]["content"]
    assert told.answer.text == "I had to stop looking."


async def test_a_model_that_asks_for_tools_even_then_is_cut_short(database_url: str, tmp_path: Path) -> None:
    async with (
        ScriptedProvider([tool_call("search_view", {"wanted": "checkout"})]) as provider,
        running_app(database_url, tmp_path, provider=provider, KUBECHAT_MAX_STEPS="2") as app,
    ):
        told = await asked(app, QUESTION, agent=Domain.DEPLOYMENT)

    assert len(provider.requests) == 3
    assert told.codes == ["model-silent"]
    assert told.answer.mode is Mode.EVIDENCE_ONLY
    assert "2.18.O" in told.answer.text


async def test_nonsense_of_a_model_about_tools_is_answered_so_that_it_can_correct_it(
    database_url: str, tmp_path: Path
) -> None:
    nonsense: list[tuple[str, dict[str, Any] | str]] = [
        ("describe", "{kind: nope"),
        ("describe", "[1, 2]"),
        ("logs", {"name": 5, "namespace": ["shop"], "lines": "many"}),
        ("get_object", {"kind": "Deployment", "name": "checkout", "namespace": "shop", "colour": "red"}),
        ("get_object", {"kind": "Deployment", "name": "chekout", "namespace": "shop"}),
        ("delete_namespace", {"name": "shop"}),
    ]
    async with (
        ScriptedProvider([tool_calls(nonsense), text(ANSWER)]) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        told = await asked(app, QUESTION, agent=Domain.DEPLOYMENT)

    assert told.answer.text == ANSWER
    results = [m["content"] for m in provider.requests[1].json["messages"] if m["role"] == "tool"]
    assert len(results) == len(nonsense)
    assert "kind" in results[0]
    assert "lines" in results[2]
    assert "2.18.O" in results[3]
    assert "Similar: checkout" in results[4]
    assert "not a valid tool" in results[5]
    assert not any("Traceback" in r or 'File "' in r for r in results)
    assert [t.status for t in told.of(ToolEvent) if t.status != "started"].count("failed") >= 3


async def test_the_key_stands_in_no_event_and_nowhere_in_the_prompt(database_url: str, tmp_path: Path) -> None:
    async with (
        ScriptedProvider([text(ANSWER)]) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        told = await asked(app, QUESTION)
        lines = "\n".join(app.lines)

    assert provider.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in provider.requests[0].body
    assert KEY not in lines + "".join(e.model_dump_json() for e in told.events)
