"""Renders a diagnosis as an engineer's note, without a model: what is wrong, why, the evidence, what to do, what is
healthy.

Promise: every statement about the cluster bears the marks of the evidence that it stands on, and nothing is said that
is not in the diagnosis. The text is Markdown, made of blocks that can be streamed one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agents.evidence import Diagnosis, Domain, Evidence, Finding, NotChecked, ObjectRef, RootCause, Severity
from agents.prose import prose
from agents.scope import Scope
from agents.specialists.rows import SPECIALISTS

MAX_OTHER_FINDINGS = 8
MAX_NOT_CHECKED = 8
_BADGE = {
    Severity.CRITICAL: "Critical",
    Severity.ERROR: "Error",
    Severity.WARNING: "Warning",
    Severity.INFO: "Info",
}


Share = tuple[list[RootCause], list[Finding]]


def opening(scope: Scope) -> Iterator[str]:
    """What is said before anybody speaks: names in the question that do not exist."""
    for unknown in scope.unknown:
        yield f"{prose(str(unknown))}\n\n"


def part_blocks(
    diagnosis: Diagnosis, scope: Scope, domain: Domain, domains: Sequence[Domain], *, model_failed: bool = False
) -> Iterator[str]:
    """One specialist's part: its share of the causes and findings. With several speakers no cause is told twice.

    `model_failed`: a model is configured and did not answer, so it must not be said that there is none.
    """
    if not scope.needs_cluster:
        yield (
            "The model did not answer, so this general question is not answered in free words.\n\n"
            if model_failed
            else "No model is configured, so this general question is not answered in free words "
            "(set `KUBECHAT_MODEL` to have that).\n\n"
        )
        return
    causes, findings = shares(diagnosis, domains)[domain]
    yield from _part(diagnosis, causes, findings, scope, domain, len(domains) > 1)


def closing(diagnosis: Diagnosis, documents: Sequence[Evidence] = ()) -> Iterator[str]:
    """What is said after everybody has spoken, without a model: runbooks, health, gaps."""
    yield from _documents(documents)
    yield from _healthy(diagnosis)
    yield from _not_checked(diagnosis.not_checked)


def heading(domain: Domain) -> str:
    """The name under which a specialist's part stands when several speak."""
    return f"### {SPECIALISTS[domain].title}\n\n"


def shares(diagnosis: Diagnosis, domains: Sequence[Domain]) -> dict[Domain, Share]:
    """Who tells which cause and which finding: each is told once, by its own domain, else by the first speaker."""
    found: dict[Domain, Share] = {d: ([], []) for d in domains}
    for cause in diagnosis.root_causes:
        found[cause.domain if cause.domain in found else domains[0]][0].append(cause)
    told = {(c.code, c.object.key) for c in diagnosis.root_causes}
    explained = {e.finding for c in diagnosis.root_causes for e in c.explains}
    for item in diagnosis.findings:
        if (item.code, item.object.key) not in told and item.id not in explained:
            found[item.domain if item.domain in found else domains[0]][1].append(item)
    return found


def _part(
    diagnosis: Diagnosis,
    causes: Sequence[RootCause],
    findings: Sequence[Finding],
    scope: Scope,
    domain: Domain,
    several: bool,
) -> Iterator[str]:
    here = [c for c in causes if c.in_focus]
    elsewhere = [c for c in causes if not c.in_focus]
    noted = [f for f in findings if f.severity is not Severity.INFO and _in_scope(f, scope)]
    named = [f for f in noted if _is_named(f.object, scope) and f.domain is domain][:MAX_OTHER_FINDINGS]
    if named and not any(_is_named(ref, scope) for c in here for ref in (c.object, *(e.object for e in c.explains))):
        # asked about by name, and without a fault of its own: its risks are the answer, faults beside it are not
        here, elsewhere = [_as_cause(f) for f in named], here + elsewhere
        noted = [f for f in noted if f not in named]
    if not here:
        yield _nothing_wrong(diagnosis, scope, domain, several)
    elif len(here) > 1:
        worst = f"{len(here)} things need a change" if here[0].severity.is_fault else f"{len(here)} risks stand out"
        yield f"**{worst}; the most important first.**\n\n"
    for number, cause in enumerate(here, 1):
        yield _cause(cause, number if len(here) > 1 else 0)
    yield from _bullets("Also seen, and not the cause", [(f.severity, f.message, f.evidence) for f in noted])
    yield from _bullets("Elsewhere in the cluster", [(c.severity, c.cause, c.evidence) for c in elsewhere])


def _is_named(ref: ObjectRef, scope: Scope) -> bool:
    return any((named.namespace, named.name) == (ref.namespace, ref.name) for named in scope.objects)


def _as_cause(item: Finding) -> RootCause:
    return RootCause(
        id=item.id,
        code=item.code,
        severity=item.severity,
        domain=item.domain,
        object=item.object,
        cause=item.message,
        remedy=item.remedy,
        evidence=item.evidence,
        confidence=item.confidence,
    )


def _in_scope(item: Finding, scope: Scope) -> bool:
    return not scope.namespaces or not item.object.namespace or item.object.namespace in scope.namespaces


def _bullets(title: str, rows: Sequence[tuple[Severity, str, Sequence[Evidence]]]) -> Iterator[str]:
    if not rows:
        return
    lines = [
        f"- {_BADGE[s]}: {prose(text)} {_marks(evidence)}".rstrip() for s, text, evidence in rows[:MAX_OTHER_FINDINGS]
    ]
    if len(rows) > MAX_OTHER_FINDINGS:
        lines.append(f"- … and {len(rows) - MAX_OTHER_FINDINGS} more")
    yield f"**{title}**\n\n" + "\n".join(lines) + "\n\n"


def _nothing_wrong(diagnosis: Diagnosis, scope: Scope, domain: Domain, several: bool) -> str:
    place = prose(scope.sentence())
    if several:
        return f"Nothing in {place} is wrong that belongs to {SPECIALISTS[domain].subject}.\n\n"
    if diagnosis.not_checked:
        return f"**Nothing is broken in {place}, as far as could be checked.**\n\n"
    return f"**Nothing is broken in {place} now.** All checks ran and found no fault to act on.\n\n"


def _cause(cause: RootCause, number: int) -> str:
    head = f"{number}. " if number else ""
    lines = [
        f"#### {head}{prose(str(cause.object))}",
        "",
        f"**{_BADGE[cause.severity]}.** {prose(cause.cause)} {_marks(cause.evidence)}".rstrip(),
        "",
    ]
    explained = _explained(cause)
    if explained:
        lines += ["**What it explains**", "", *explained, ""]
    lines += ["**Evidence**", ""]
    lines += [_evidence_line(e) for e in cause.evidence]
    lines += ["", "**What to do**", ""]
    lines += [f"- {prose(step)}" for step in cause.remedy.splitlines() if step.strip()]
    lines.append("")
    if cause.confidence < 0.75:
        lines += [f"_Confidence {cause.confidence:.0%}: confirm it before you change anything._", ""]
    return "\n".join(lines) + "\n"


def _explained(cause: RootCause) -> list[str]:
    """One line per object that shows the trouble, the object of the cause itself left out."""
    lines: dict[tuple[str, str, str], str] = {}
    for item in cause.explains:
        if item.object.key != cause.object.key:
            lines.setdefault(item.object.key, f"- {prose(str(item.object) + (f': {item.how}' if item.how else ''))}")
    return list(lines.values())


def _evidence_line(item: Evidence) -> str:
    # an excerpt of a field reads "path: value", and the path stands before it already
    shown = item.excerpt.removeprefix(f"{item.locator}: ")
    excerpt = " ⏎ ".join(line.strip() for line in shown.splitlines() if line.strip())
    return f"- [{item.id}] {prose(f'{item.object}, {item.locator}')}: {_code(excerpt)}"


def _code(text: str) -> str:
    """Text from the cluster as an inline code span, in a fence longer than any run of backticks in it."""
    runs = max((len(run) for run in _backtick_runs(text)), default=0)
    fence = "`" * (runs + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _backtick_runs(text: str) -> Iterator[str]:
    run = ""
    for character in text + " ":
        if character == "`":
            run += character
        elif run:
            yield run
            run = ""


def _marks(evidence: Sequence[Evidence]) -> str:
    return " ".join(f"[{e.id}]" for e in evidence[:4] if e.id)


def details(items: Sequence[Evidence]) -> Iterator[str]:
    """What the question asked to see by name: log lines, events, a summary."""
    for item in items:
        fence = "`" * max(3, max((len(r) for r in _backtick_runs(item.excerpt)), default=0) + 1)
        yield f"**{prose(f'{item.object}, {item.locator}')}** [{item.id}]\n\n{fence}text\n{item.excerpt}\n{fence}\n\n"


def _healthy(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.healthy:
        shown = prose(", ".join(f"{h.object} ({h.detail})" for h in diagnosis.healthy[:6]))
        more = f" and {len(diagnosis.healthy) - 6} more" if len(diagnosis.healthy) > 6 else ""
        yield f"**Healthy:** {shown}{more}.\n\n"


def _not_checked(items: Sequence[NotChecked]) -> Iterator[str]:
    if items:
        lines = [
            f"- {prose(f'{n.what}: {n.reason}' + (f' ({n.detail})' if n.detail else ''))}"
            for n in items[:MAX_NOT_CHECKED]
        ]
        if len(items) > MAX_NOT_CHECKED:
            lines.append(f"- … and {len(items) - MAX_NOT_CHECKED} more")
        yield "**Not checked**\n\n" + "\n".join(lines) + "\n\n"


def _documents(documents: Sequence[Evidence]) -> Iterator[str]:
    for item in documents:
        yield f"{item.excerpt}\n\n_From the runbook {item.locator}_ [{item.id}]\n\n"
