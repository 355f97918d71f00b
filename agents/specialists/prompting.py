"""Puts a specialist's prompt together: its remit, the diagnosis with its evidence, the conversation, the question.

Promise: the first prompt already carries the diagnosis and its evidence; each part is cut to a budget of characters
and what was cut is said; all text from the cluster stands inside a data fence, in which a closing fence is defused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from agents.evidence import Diagnosis, Domain, Evidence, Finding, RootCause, Severity
from agents.specialists.rows import SPECIALISTS, Specialist
from agents.state import Exchange, TurnWork
from agents.tools.fence import fenced, quoted
from assistant.prompts.registry import PromptRegistry

# Budgets in characters (about four to a token): a prompt of all of them stays below 12,000 tokens.
BUDGET_CAUSES = 16_000
BUDGET_FINDINGS = 8_000
BUDGET_DETAILS = 10_000
BUDGET_DOCUMENTS = 6_000
BUDGET_HISTORY = 4_000
BUDGET_EXCERPT = 1_200


@cache
def prompts() -> PromptRegistry:
    """The templates beside this module; read once."""
    return PromptRegistry(Path(__file__).with_name("prompts"))


def system_prompt(work: TurnWork, specialist: Specialist, speakers: Sequence[Domain]) -> str:
    """Who the model is, what it answers for, and the rules."""
    others = [SPECIALISTS[d].title for d in speakers if d is not specialist.domain]
    colleagues = (
        f"\nYou answer together with: {', '.join(others)}. "
        "Speak only to your own part of the question; they speak to theirs.\n"
        if others
        else ""
    )
    taken_at = work.view.taken_at.isoformat() if work.view is not None else "no time: no cluster was read"
    return (
        prompts()
        .get("_system.md")
        .render(
            title=specialist.title,
            remit=prompts().get(specialist.prompt_file).text.strip(),
            colleagues=colleagues,
            cluster=work.identity.label,
            taken_at=taken_at,
        )
    )


def question_prompt(work: TurnWork, causes: Sequence[RootCause], findings: Sequence[Finding]) -> str:
    """The diagnosis (this specialist's share first, all of it in the end) and the question."""
    return (
        prompts()
        .get("_question.md")
        .render(
            conversation=_conversation(work.history),
            documents=_section("Runbook passages", (_evidence(e) for e in work.documents), BUDGET_DOCUMENTS),
            scope=work.scope.sentence(),
            diagnosis="".join(f"{unknown}\n\n" for unknown in work.scope.unknown)
            + (_diagnosis(work.diagnosis, causes, findings) if work.scope.needs_cluster else "No cluster was read."),
            details=_section("Asked for by name", (_evidence(e) for e in work.details), BUDGET_DETAILS),
            question=work.question,
        )
    )


def conclude_prompt(steps: int) -> str:
    """What the model is told when it has no step left."""
    return prompts().get("_conclude.md").render(steps=str(steps))


def _conversation(history: Sequence[Exchange]) -> str:
    turns = (f"Question: {_cut(e.question, 600)}\nAnswer:\n{quoted(_cut(e.answer, 1_500))}" for e in history)
    return _section("The conversation so far", turns, BUDGET_HISTORY)


def _diagnosis(diagnosis: Diagnosis, causes: Sequence[RootCause], findings: Sequence[Finding]) -> str:
    parts = []
    if causes:
        parts.append(_section("Root causes, the most important first", (_cause(c) for c in causes), BUDGET_CAUSES))
    else:
        parts.append("The checks found no root cause here.\n\n")
    parts.append(_section("Further findings", (_finding(f) for f in findings), BUDGET_FINDINGS))
    if diagnosis.healthy:
        healthy = "; ".join(f"{h.object}: {h.detail}" for h in diagnosis.healthy)
        parts.append(f"## Healthy\n\n{quoted(healthy)}\n\n")
    if diagnosis.not_checked:
        unchecked = "; ".join(f"{n.what}: {n.reason} {n.detail}".strip() for n in diagnosis.not_checked[:20])
        parts.append(f"## Not checked\n\n{quoted(unchecked)}\n\n")
    return "".join(parts).strip()


def _cause(cause: RootCause) -> str:
    marks = " ".join(f"[{e.id}]" for e in cause.evidence)
    explains = "".join(f"\n  explains {e.object}: {e.how}" for e in cause.explains)
    shown = "\n".join(_evidence(e) for e in cause.evidence)
    head = f"{cause.id} ({cause.severity}, confidence {cause.confidence:.2f}) on {cause.object} {marks}"
    said = quoted(f"{cause.cause}{explains}\n  remedy: {cause.remedy}")
    return f"{head}\n{said}\n{shown}"


def _finding(item: Finding) -> str:
    shown = "\n".join(_evidence(e) for e in item.evidence[:2])
    return f"{item.id} ({item.severity}) on {item.object}\n{quoted(item.message)}\n{shown}"


def _evidence(item: Evidence) -> str:
    return fenced(item, BUDGET_EXCERPT)


def _section(title: str, entries: Iterable[str], budget: int) -> str:
    taken: list[str] = []
    used = left_out = 0
    for entry in entries:
        if used + len(entry) > budget and taken:
            left_out += 1
            continue
        taken.append(_cut(entry, budget))
        used += len(entry)
    if not taken:
        return ""
    note = f"\n({left_out} more were left out for their length)" if left_out else ""
    return f"## {title}\n\n" + "\n\n".join(taken) + note + "\n\n"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit} characters cut)"


def worth_telling(findings: Sequence[Finding]) -> list[Finding]:
    """Findings for a prompt: everything above info, and the first few of those."""
    loud = [f for f in findings if f.severity is not Severity.INFO]
    return loud + [f for f in findings if f.severity is Severity.INFO][:5]
