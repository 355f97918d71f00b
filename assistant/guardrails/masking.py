"""Replaces credentials in text by placeholders, one-way: what is masked cannot be had back from the result.

A placeholder reads `[masked:TYPE:4hex]`; the four digits are a keyed hash of the value, so that equal values can be
recognised as equal by whoever reads the text, and nobody without the installation's key can test a guess.

What is a credential stands in a table of rules (`assistant.guardrails.credentials`); other packages pass their own rows
beside it. Every rule works in time linear in the text, hostile text too. Masking a masked text changes nothing.
A rule that fails ends the masking with `MaskingFailed`: text that could not be masked must not be sent or stored.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from assistant.errors import MaskingFailed

# What a faulty rule can raise; a cancellation or a full memory is not among them and goes its own way.
_RULE_FAILURES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, AssertionError)

PLACEHOLDER = re.compile(r"\[masked:[a-z0-9-]+:[0-9a-f]{4}\]")


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of the original text, and the type of credential that stood there."""

    start: int
    end: int
    type: str


class Text:
    """A text with its lower-cased twin of equal length, so that offsets found in one hold in the other."""

    __slots__ = ("lower", "raw")

    def __init__(self, raw: str) -> None:
        self.raw = raw
        # U+0130 is the one character whose lower case is longer than itself.
        self.lower = raw.replace("\u0130", "i").lower()


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of a rule table.

    `find` yields (start, end) of each value to mask. `hints` are lower-case literals of which at least one stands in
    any text that the rule can match; a text with none of them is not searched. Without hints every text is searched.
    """

    type: str
    find: Callable[[Text], Iterable[tuple[int, int]]]
    hints: tuple[str, ...] = ()


def shape(kind: str, pattern: str, *hints: str, accept: Callable[[str], bool] | None = None) -> Rule:
    """A rule for values with a shape of their own: `pattern` on the original text, case-sensitive.

    The match may not continue an identifier to its left. A group named `value` narrows what is masked. `accept` is
    given the value and can refuse it. The pattern must not backtrack over long runs: bound its repeats or make them
    possessive, and let it start with a literal, which the regular expression engine finds fastest.
    """
    compiled = re.compile(pattern)
    group: str | int = "value" if "value" in compiled.groupindex else 0

    def find(text: Text) -> Iterator[tuple[int, int]]:
        for match in compiled.finditer(text.raw):
            if continues_identifier(text.raw, match.start()):
                continue
            if accept is None or accept(match[group]):
                yield match.span(group)

    return Rule(kind, find, tuple(hint.lower() for hint in hints))


def continues_identifier(text: str, at: int) -> bool:
    """Whether the character before `at` makes what stands there the tail of a longer word.

    An escaped line break or tab written out (`\\n`) ends a word although it ends in a letter.
    """
    if at == 0 or not (text[at - 1].isalnum() or text[at - 1] == "_"):
        return False
    return not (at >= 2 and text[at - 2] == "\\" and text[at - 1] in "nrt")


@dataclass(frozen=True, slots=True)
class Masked:
    """A masked text, and what was replaced: spans of the original text, in order, not overlapping."""

    text: str
    spans: tuple[Span, ...] = ()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many values of each type were replaced."""
        return Counter(span.type for span in self.spans)


class Masker:
    """Masks by a table of rules under one key. Immutable, so one serves all tasks of a process."""

    def __init__(self, key: bytes, rules: Sequence[Rule]) -> None:
        """`key` is the installation's secret, at least 16 bytes; earlier rules name the type where matches overlap.

        Raises ValueError for a shorter key: with a guessable one, placeholders would confirm guesses.
        """
        if len(key) < 16:
            raise ValueError("a masking key has at least 16 bytes")
        self._key = key
        self._rules = tuple(rules)

    def mask(self, text: str) -> Masked:
        """`text` with every credential replaced. Raises MaskingFailed where a rule fails; then nothing may be sent."""
        try:
            spans = self._spans(Text(text))
        except _RULE_FAILURES as error:
            raise MaskingFailed("A text could not be checked for credentials, so it was not sent.") from error
        if not spans:
            return Masked(text)
        parts: list[str] = []
        at = 0
        for span in spans:
            parts += (text[at : span.start], self._placeholder(span.type, text[span.start : span.end]))
            at = span.end
        parts.append(text[at:])
        return Masked("".join(parts), spans)

    def _placeholder(self, kind: str, value: str) -> str:
        digest = hmac.new(self._key, value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
        return f"[masked:{kind}:{digest[:4]}]"

    def _spans(self, text: Text) -> tuple[Span, ...]:
        found: list[tuple[int, int, int]] = []
        for rank, rule in enumerate(self._rules):
            if rule.hints and not any(hint in text.lower for hint in rule.hints):
                continue
            found += ((start, end, rank) for start, end in rule.find(text) if start < end)
        if not found:
            return ()
        found.sort()
        if "[masked:" in text.raw:
            found = list(_outside(found, [match.span() for match in PLACEHOLDER.finditer(text.raw)]))
        return tuple(Span(start, end, self._rules[rank].type) for start, end, rank in _merged(found))


def _merged(found: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Overlapping matches as one, named by the earliest rule among them; `found` is sorted."""
    if not found:
        return
    start, end, rank = found[0]
    for next_start, next_end, next_rank in found[1:]:
        if next_start < end:
            end, rank = max(end, next_end), min(rank, next_rank)
        else:
            yield start, end, rank
            start, end, rank = next_start, next_end, next_rank
    yield start, end, rank


def _outside(found: list[tuple[int, int, int]], placeholders: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """The matches that are not part of a placeholder, `private-key:6088` say; both lists are sorted.

    A match that reaches beyond a placeholder stays: a placeholder amid a secret does not save it.
    """
    at = 0
    for start, end, rank in found:
        while at < len(placeholders) and placeholders[at][1] <= start:
            at += 1
        if at == len(placeholders) or not (placeholders[at][0] <= start and end <= placeholders[at][1]):
            yield start, end, rank
