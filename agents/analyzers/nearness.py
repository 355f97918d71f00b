"""Which existing names a missing name was probably meant to be: the part of a message that mends half of all faults.

Promise: pure, deterministic, never more than `limit` names; an empty list when nothing comes near.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

_WORDS = re.compile(r"[^a-z0-9]+")
_NEAR_ENOUGH = 0.6
_MOST_COMPARED = 2000


def likeness(one: str, other: str) -> float:
    """0 to 1: how alike two names read, letter by letter or in their words (`members-tls`, `members-site-tls`)."""
    a, b = one.lower(), other.lower()
    if a == b:
        return 1.0
    letters = SequenceMatcher(None, a, b, autojunk=False).ratio()
    words_a, words_b = set(_WORDS.split(a)) - {""}, set(_WORDS.split(b)) - {""}
    if not words_a or not words_b:
        return letters
    shared = len(words_a & words_b) / min(len(words_a), len(words_b))
    return max(letters, 0.5 * shared + 0.45 * letters)


def nearest(name: str, candidates: Iterable[str], limit: int = 3) -> list[str]:
    """The candidates that read like `name`, the likest first."""
    scored = []
    for index, candidate in enumerate(dict.fromkeys(candidates)):
        if index >= _MOST_COMPARED:
            break
        score = likeness(name, candidate)
        if score >= _NEAR_ENOUGH:
            scored.append((-score, candidate))
    return [candidate for _, candidate in sorted(scored)[:limit]]


def near_or_all(name: str, candidates: Iterable[str], limit: int = 6) -> list[str]:
    """The near names first, then the others, so that a short list is always shown whole."""
    everything = list(dict.fromkeys(candidates))
    near = nearest(name, everything, limit)
    return (near + sorted(c for c in everything if c not in near))[:limit]


def listing(names: Iterable[str], nothing: str = "none") -> str:
    """`a, b, c` for a message, or the word for an empty list."""
    return ", ".join(names) or nothing
