"""Text of others in our sentences: cluster text and a model's words as Markdown that can only say something.

A name, an event or a log line is written by whoever may write to the cluster, and a model repeats what it read.
Promise: what these functions return holds no link, no picture and no HTML, which a page would load or follow; code
stays as it is. Cluster text, moreover, begins no line of its own and makes no mark of evidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_LINE = 1_000
_CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(?:(?!\1).)*?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\](?=\()")
_LINK_TARGET = re.compile(r"(?m)^([ \t>]{0,8})(?=\[[^\]\n]{1,200}\]:)")
_TAG = re.compile(r"(?<!\\)<(?=[A-Za-z/!?])")
_MARK = re.compile(r"[\[【]\s?(E\d[^\]】\n]{0,60})[\]】]")
_FENCED = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,4}[.)])[ \t]+)*(?:`{3,}|~{3,})")


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """Text on one line without control characters, invisible ones among them; what is beyond `limit` is cut."""
    if len(text) <= limit and text.isprintable():
        return text
    # str.split() knows every kind of space and line end, Unicode's too
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * limit]).split())
    return line if len(line) <= limit else f"{line[:limit]} …"


def prose(text: str, limit: int = 4 * MAX_LINE) -> str:
    """Text from a cluster as a part of a Markdown line."""
    line = one_line(text, limit)
    if line.count("`") % 2:
        line = line.replace("`", "'")
    return _outside_code(line, lambda part: _MARK.sub(r"(\1)", _harmless(part)))


def harmless(unit: str, before: str = "") -> str:
    """A unit of a model's answer, its marks kept. `before` is the character that stands before it."""
    if _FENCED.match(unit):
        return unit
    if before == "]" and unit.startswith("("):
        unit = f"\\{unit}"
    return _outside_code(unit, _harmless)


def _harmless(part: str) -> str:
    return _TAG.sub(r"\\<", _LINK_TARGET.sub(r"\1\\", _LINK.sub(r"]\\", part)))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts: list[str] = []
    at = 0
    for span in _CODE_SPAN.finditer(text):
        parts += (change(text[at : span.start()]), span[0])
        at = span.end()
    return "".join((*parts, change(text[at:])))


def head(text: str, limit: int) -> str:
    """At most `limit` characters from the beginning, cut between words: half a token would slip through the mask."""
    if len(text) <= limit:
        return text
    end = max(text.rfind(" ", 0, limit), text.rfind("\n", 0, limit))
    return text[: end if end > 0 else 0]


def tail(text: str, limit: int) -> str:
    """At most `limit` characters from the end, cut between words."""
    if len(text) <= limit:
        return text
    starts = [at for at in (text.find(" ", len(text) - limit), text.find("\n", len(text) - limit)) if at >= 0]
    return text[min(starts) + 1 :] if starts else ""
