"""Container logs as lines: the same cut for a file, a socket and a server, so that all three read the same log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from agents.cluster.objects import moment

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})")


def split_log(content: bytes) -> tuple[str, ...]:
    """The lines of a log without line ends; what is not UTF-8 is replaced. Only a line feed ends a line: form feeds and
    Unicode's separators are text that a program wrote.
    """
    lines = content.decode("utf-8", errors="replace").split("\n")
    if lines[-1] == "":
        lines.pop()
    return tuple(line.removesuffix("\r") for line in lines)


def tail_since(lines: Sequence[str], tail: int | None, since: datetime | None) -> tuple[str, ...]:
    """The last `tail` lines (None: all), from `since` on where lines begin with an RFC 3339 time.

    A record keeps no time of its own for a line: one that begins with none belongs to the line before it, and a log
    without any time is given whole.
    """
    if since is not None:
        for index, line in enumerate(lines):
            found = _TIME.match(line)
            when = moment(found[0]) if found else None
            if when is not None and when >= since:
                lines = lines[index:]
                break
        else:
            if any(_TIME.match(line) for line in lines):
                lines = ()
    if tail is None:
        return tuple(lines)
    return tuple(lines[-tail:]) if tail > 0 else ()
