"""Shows a unit with the remark that nothing backs it, in a way that survives Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^([ \t]*)(?:(?:[-*+]|\d{1,4}[.)])[ \t]+)*(`{3,}|~{3,})")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a unit is backed; where not, `reason` says in a sentence without full stop what is missing."""

    backed: bool
    reason: str = ""


BACKED = Verdict(True)


def shown(unit: str, verdict: Verdict) -> str:
    """The unit as it was when it is backed, else with the remark behind its last word.

    Inside a table row the remark stands in the last cell; behind a code block it is a paragraph of its own, and a
    block that was left open is closed first.
    """
    if verdict.backed:
        return unit
    body = unit.rstrip()
    tail = unit[len(body) :]
    remark = _remark(verdict.reason, plain=body.count("`") % 2 == 1)
    fence = _FENCE.match(unit)
    if fence is not None:
        indent, mark = fence[1], fence[2]
        last = body.rsplit("\n", 1)[-1].strip()
        closed = "\n" in body and last.startswith(mark) and not last.strip(mark[0])
        closing = "" if closed else f"\n{indent}{mark}"
        remark = _remark(verdict.reason, plain=False)
        return f"{body}{closing}\n\n{indent}{remark}{tail if tail.count(chr(10)) > 1 else chr(10) * 2}"
    if body.lstrip().startswith("|") and body.endswith("|"):
        return f"{body[:-1].rstrip()} {remark.replace('|', '/')} |{tail}"
    return f"{body} {remark}{tail}"


def _remark(reason: str, *, plain: bool) -> str:
    text = " ".join(reason.split())
    return f"*(not backed by evidence: {text.replace('`', '') if plain else text})*"


def code(text: str, limit: int = 60) -> str:
    """A piece of a unit as a code span for a reason: one line, cut, and unable to break out of the span."""
    flat = " ".join(text.replace("`", "'").replace("|", "/").split())
    return f"`{flat[:limit]}…`" if len(flat) > limit else f"`{flat}`"
