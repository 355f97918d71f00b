"""Names that look like a given one: what a person may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, candidates: Iterable[str], limit: int = 3) -> list[str]:
    """Up to `limit` candidates that resemble `name`, the most similar first; containing it counts as resembling."""
    pool = sorted(set(candidates) - {name})
    close = difflib.get_close_matches(name, pool, n=limit, cutoff=0.6)
    contained = [c for c in pool if len(name) >= 3 and (name in c or c in name) and c not in close]
    return (close + contained)[:limit]


def is_slip(name: str, other: str) -> bool:
    """Whether one name is so nearly the other that it was meant and mistyped: a letter or two in a name of five or
    more.
    """
    return len(name) >= 5 and name != other and difflib.SequenceMatcher(None, name, other).ratio() >= 0.8
