"""Fills a remedy's template with facts from a cluster, so that its commands can be copied and run as they are.

Names of Roles and Nodes, images, keys, paths and hosts are written by whoever may write to the cluster or to a file of
a snapshot, and a person runs these commands with rights of their own. Promise: inside backticks a fact is one word of
its command, or a part of one, and the shell runs nothing in it; a fact that cannot be that is left out and its
placeholder (`NAME`, `PATH`) stands in its place. Outside of them it is text on one line that opens no code. Text that
an analyzer has put together itself and marked as `Composed` stands as it is.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from string import Formatter

from agents.prose import one_line

MAX_WORD = 400
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")
_UNQUOTABLE = re.compile(r"[\"'`\\]")


class Composed(str):
    """A command, or a part of one with several words, whose parts from a cluster went through `word`."""

    __slots__ = ()


def word(value: object, placeholder: str = "NAME") -> str:
    """`value` as one word of a shell command; `placeholder` where it is an option, or cannot be written in one line."""
    text = str(value)
    if text.startswith("-") or not _is_writable(text):
        return placeholder
    return shlex.quote(text)


def words(values: Iterable[object]) -> Composed:
    """Several words of a command, options among them, each quoted where it has to be."""
    return Composed(" ".join(shlex.quote(str(v)) if _is_writable(str(v)) else "WORD" for v in values))


def fill(template: str, facts: Mapping[str, object]) -> str:
    """The template (`str.format`, commands in backticks) with its facts. Raises KeyError for a fact that is missing."""
    parts: list[str] = []
    place = _Place()
    for literal, name, _, _ in Formatter().parse(template):
        parts.append(literal)
        place.read(literal)
        if name is not None:
            parts.append(_shown(facts[name], name.upper(), place))
            place.begins_word = False
    return "".join(parts)


class _Place:
    """Where in a template a fact stands: inside backticks, inside which quotes, at the beginning of a word."""

    def __init__(self) -> None:
        self.in_code = False
        self.quote = ""
        self.begins_word = True

    def read(self, literal: str) -> None:
        for character in literal:
            if character == "`":
                self.in_code, self.quote, self.begins_word = not self.in_code, "", True
            elif self.in_code:
                self.begins_word = not self.quote and character.isspace()
                if character == self.quote:
                    self.quote = ""
                elif character in "'\"" and not self.quote:
                    self.quote = character


def _shown(value: object, placeholder: str, place: _Place) -> str:
    if isinstance(value, Composed):
        return value
    text = str(value)
    if not place.in_code:
        return one_line(text).replace("`", "'")
    if place.quote == '"':
        return text if _PLAIN.fullmatch(text) and len(text) <= MAX_WORD else placeholder
    if place.quote:  # single quotes, mostly around JSON
        return text if _is_writable(text) and not _UNQUOTABLE.search(text) else placeholder
    if place.begins_word and text:
        return word(text, placeholder)
    return (shlex.quote(text) if _is_writable(text) else placeholder) if text else ""


def _is_writable(text: str) -> bool:
    return len(text) <= MAX_WORD and text.isprintable() and "`" not in text
