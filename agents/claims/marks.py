"""The marks of an answer, such as [E3]: how they are written, and which sentences need one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agents.claims.states import states

MAX_RANGE = 50  # [E1-E9999] must not become ten thousand marks

_ID = r"E\d{1,6}"
_LIST = rf"{_ID}(?:\s{{0,3}}(?:[,;&/–-]|and|to)\s{{0,3}}{_ID}){{0,40}}"
MARK = re.compile(rf"[\[【(]\s?({_LIST})\s?[\]】)](?!\()")
LOOKS_LIKE_MARK = re.compile(rf"[\[【(]\s?{_LIST}\s?[\]】)](?!\()[.,;:]?")
MARK_OPENING = re.compile(r"[\[【(]\s?(?:E\d*(?:[\s,;&/–E\dando-]{0,60}))?")
_CLAIMING = re.compile(r"\d|[`\"“]|[a-z]-[a-z]|[a-z][A-Z]|[A-Z]{2}[a-z]")
_MEMBER = re.compile(r"(E\d{1,6})(\s*[–-]\s*|\s+to\s+)?")


def marks_of(text: str) -> list[str]:
    """The evidence that a text cites, each once, in order: [E1, E3] and [E1-E3] give each of theirs."""
    return list(dict.fromkeys(m for found in MARK.finditer(text) for m in _members(found[1])))


def without_marks(text: str) -> str:
    """The text with a space in place of each mark."""
    return MARK.sub(" ", text)


def _members(inner: str) -> Iterator[str]:
    first = 0
    for member in _MEMBER.finditer(inner):
        number = int(member[1][1:])
        if first:
            yield from (f"E{n}" for n in range(first + 1, min(number, first + MAX_RANGE)))
        yield f"E{number}"
        first = number if member[2] else 0


def needs_mark(text: str) -> bool:
    """Whether a text looks as if it claimed something about the cluster (a cheap look at its shape and its states)."""
    bare = without_marks(text)
    return bool(_CLAIMING.search(bare)) or any(True for _ in states(bare))
