"""A question of two subjects: two specialists at once, one answer, each part under its name, nothing told twice."""

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.events import Step, Token
from agents.evidence import Domain
from tests.support.app import Told, asked, running_app
from tests.support.scripted_provider import Reply, ScriptedProvider, text

QUESTION = "Is checkout secure, and why is it slow?"
PAIR = {Domain.SECURITY, Domain.PERFORMANCE}


def _parts(told: Told) -> dict[str, str]:
    """Heading -> text below it, of the answer."""
    pieces = re.split(r"^### (.+)\n", told.answer.text, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


async def test_two_specialists_answer_at_once_each_under_its_name(database_url: str, tmp_path: Path) -> None:
    delays = {"Security": 0.5, "Performance": 0.35}

    def script(request: dict[str, Any]) -> Reply:
        title = next(t for t in delays if f"You are the {t} specialist" in request["messages"][0]["content"])
        return replace(text(f"This is what {title} advises."), delay_s=delays[title])

    async with ScriptedProvider(script) as provider, running_app(database_url, tmp_path, provider=provider) as app:
        await asked(app, QUESTION)  # the first call imports what the provider's client needs
        alone = min([await _seconds(app, agent=Domain.SECURITY) for _ in range(3)])
        calls = len(provider.requests)
        both = min([await _seconds(app) for _ in range(3)])
        told = await asked(app, QUESTION)

    assert set(told.answer.route.domains) == PAIR
    assert len(provider.requests) == calls + 8
    assert alone >= 0.5
    assert both <= 1.3 * alone
    assert {title: words.strip() for title, words in _parts(told).items()} == {
        "Security": "This is what Security advises.",
        "Performance": "This is what Performance advises.",
    }
    specialists = [e.specialist for e in told.of(Token) if e.specialist]
    assert specialists == sorted(specialists, key=list(told.answer.route.domains).index)
    assert {s.name for s in told.of(Step)} >= {"specialist:security", "specialist:performance"}


async def _seconds(app: Any, **more: object) -> float:
    started = time.perf_counter()
    await asked(app, QUESTION, **more)
    return time.perf_counter() - started


async def test_each_of_two_is_told_who_else_speaks_and_only_its_own_share(database_url: str, tmp_path: Path) -> None:
    async with (
        ScriptedProvider([text("Advice.")]) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        told = await asked(app, QUESTION)
        prompts = {
            title: "\n".join(m["content"] for m in r.json["messages"])
            for r in provider.requests
            for title in ("Security", "Performance")
            if f"You are the {title} specialist" in r.json["messages"][0]["content"]
        }

    assert "You answer together with: Performance." in prompts["Security"]
    assert "You answer together with: Security." in prompts["Performance"]
    for cause in told.answer.diagnosis.root_causes:
        assert sum(cause.cause in prompt for prompt in prompts.values()) == 1
    for finding in told.answer.diagnosis.findings:
        assert sum(f"\n{finding.id} (" in prompt for prompt in prompts.values()) <= 1


async def test_without_a_model_no_finding_is_told_twice(database_url: str, tmp_path: Path) -> None:
    async with running_app(database_url, tmp_path) as app:
        told = await asked(app, QUESTION)

    assert set(told.answer.route.domains) == PAIR
    parts = _parts(told)
    assert set(parts) == {"Security", "Performance"}
    assert told.answer.diagnosis.root_causes
    for cause in told.answer.diagnosis.root_causes:
        assert told.answer.text.count(cause.cause) == 1
    for finding in told.answer.diagnosis.findings:
        assert told.answer.text.count(finding.message) <= 1


async def test_one_of_two_that_fails_is_rendered_from_the_evidence_and_the_other_stands(
    database_url: str, tmp_path: Path
) -> None:
    def script(request: dict[str, Any]) -> Reply:
        secure = "You are the Security specialist" in request["messages"][0]["content"]
        return text("This is what Security advises.") if secure else text("")

    async with ScriptedProvider(script) as provider, running_app(database_url, tmp_path, provider=provider) as app:
        told = await asked(app, QUESTION)

    parts = _parts(told)
    assert parts["Security"].strip() == "This is what Security advises."
    assert "2.18.O" in parts["Performance"]
    assert told.codes == ["model-silent"]
