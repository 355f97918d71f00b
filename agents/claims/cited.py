"""The evidence that one sentence cites, taken together with the question: what of a sentence it backs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from agents.claims.facts import Facts, Number, flat, pieces, stems
from agents.claims.measures import PERCENT, PLAIN, SECONDS, Clock, Measure, agrees, clocks, measures
from agents.claims.states import NO
from agents.claims.words import KINDS

_TOKEN = re.compile(r"[A-Za-z0-9_][\w.:/@=\-+%$~]*")
_ELLIPSIS = re.compile(r"\s*(?:…|\.\.\.|\[…\]|\[\.\.\.\])\s*")
_NOTHING = re.compile(r"\b(?:no|none|nothing|not set|empty|never|0)\b|\[\]|\{\}|<none>")
MAX_DERIVED = 40  # numbers or moments that shares and durations are worked out from


class Question:
    """What the person said: names and numbers in it back a sentence too."""

    def __init__(self, text: str) -> None:
        self.source = text[:20_000]
        self.text = flat(self.source)

    @cached_property
    def names(self) -> frozenset[str]:
        found: set[str] = set()
        for token in _TOKEN.findall(self.source.lower()):
            for piece in pieces(token):
                found.update((piece, *stems(piece)))
        return frozenset(found)

    @cached_property
    def numbers(self) -> tuple[tuple[float, str], ...]:
        return tuple(reading for m in measures(self.source) for reading in m.readings)

    @cached_property
    def clocks(self) -> tuple[tuple[int | None, ...], ...]:
        return tuple((c.hour, c.minute, c.second, c.month, c.day) for c in clocks(self.source))


class Cited:
    """The facts that the marks of a sentence name."""

    def __init__(self, facts: Sequence[Facts], question: Question) -> None:
        self.facts = facts
        self.question = question

    def names_it(self, name: str) -> bool:
        """Whether a name stands in the cited evidence itself."""
        low = name.lower()
        return any(low in f.names for f in self.facts) or any(stands_in(f.text, low) for f in self.facts)

    def backs_name(self, name: str) -> bool:
        """Whether a name, or each part of a composed one, stands in the evidence or in the question."""
        low = name.lower()
        if self.names_it(low) or low in self.question.names or stands_in(self.question.text, low):
            return True
        parts = [part for part in re.split(r"[/:=@,]+|://", low) if part]
        if len(parts) < 2 or "." in parts[0] or low.startswith("/"):
            return False
        return all(part in KINDS or self.names_it(part) or part in self.question.names for part in parts)

    def backs_quote(self, quote: str) -> bool:
        """Whether a quotation stands in the evidence or in the question, up to spaces, case and what … leaves out."""
        texts = [f.text for f in self.facts] + [self.question.text]
        wanted = [part for part in _ELLIPSIS.split(flat(quote).strip(" .,;")) if part]
        return any(_in_order(text, wanted) for text in texts)

    def backs_measure(self, claimed: Measure) -> bool:
        """Whether a number is one of the evidence or the question, or follows from them (a count, share, duration)."""
        if any(agrees(claimed, n.value, n.dimension) for f in self.facts for n in f.numbers):
            return True
        if any(agrees(claimed, value, of) for value, of in self.question.numbers):
            return True
        if any(value == 0.0 for value, _ in claimed.readings) and any(map(_shows_none, self.facts)):
            return True
        return any(agrees(claimed, value, of, derived=True) for value, of in self._derived(claimed))

    def _derived(self, claimed: Measure) -> Iterator[tuple[float, str]]:
        dimensions = {of for _, of in claimed.readings}
        if PLAIN in dimensions:
            objects = {f.evidence.object.key for f in self.facts}
            if len(objects) > 1:
                yield float(len(objects)), PLAIN
                yield float(len(self.facts)), PLAIN
        if PERCENT in dimensions:
            numbers = list(dict.fromkeys((n.value, n.dimension) for f in self.facts for n in f.numbers if n.key != "#"))
            if not any(of == PERCENT for _, of in numbers):
                for part, of in numbers[:MAX_DERIVED]:
                    yield from (
                        (100.0 * part / whole, PERCENT)
                        for whole, same in numbers[:MAX_DERIVED]
                        if same == of and whole > 1.0 and part != whole
                    )
        if SECONDS in dimensions:
            moments = [at for f in self.facts for at in f.moments][:MAX_DERIVED]
            yield from (((b - a).total_seconds(), SECONDS) for a in moments for b in moments if b > a)

    def numbers_under(self, key: re.Pattern[str]) -> list[Number]:
        """The numbers whose key or place in the object fits."""
        found: list[Number] = []
        for facts in self.facts:
            place = bool(key.search(facts.evidence.locator.lower()))
            found.extend(
                n for n in facts.numbers if n.key != "#" and ((n.key and key.search(n.key)) or (place and n.key))
            )
        return found

    def backs_clock(self, claimed: Clock) -> bool:
        """Whether a time or date is one of the evidence's or the question's."""
        parts = (claimed.hour, claimed.minute, claimed.second, claimed.month, claimed.day)
        known = [c for f in self.facts for c in f.clocks] + list(self.question.clocks)
        return any(all(want is None or got == want for want, got in zip(parts, seen, strict=True)) for seen in known)


def _shows_none(facts: Facts) -> bool:
    """Whether evidence shows a zero without writing it: an absence, an empty list, replicas of which none is ready."""
    unready = any(NO in facts.states.get(family, ()) for family in ("ready", "available"))
    return unready or facts.evidence.kind == "absence" or bool(_NOTHING.search(facts.text))


def stands_in(text: str, name: str) -> bool:
    """Whether a name stands in a text as a whole word: not as a part of "name-2", not as the 1.27 of 1.27.3."""
    start = text.find(name)
    for _ in range(50):
        if start < 0:
            return False
        end = start + len(name)
        before, after = text[max(0, start - 2) : start], text[end : end + 2]
        opens = not before or not (
            before[-1].isalnum() or before[-1] in "-_" or (before[-1] == "." and before[:1].isdigit())
        )
        closes = not after or not (after[0].isalnum() or after[0] in "-_" or (after[0] == "." and after[1:].isdigit()))
        if opens and closes:
            return True
        start = text.find(name, start + 1)
    return False


def _in_order(text: str, parts: Sequence[str]) -> bool:
    at = 0
    for part in parts:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return bool(parts)
