"""How times and lists are written in a table, as kubectl writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

Cell = str | int
NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"
# seconds of each unit (the steps below are those of client-go's HumanDuration)
_UNITS = ((31_536_000, "y"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def duration(elapsed: timedelta) -> str:
    """A duration as kubectl writes it: `95s`, `6m3s`, `75m`, `3h12m`, `2d3h`, `40d`, `2y34d`."""
    seconds = max(0, int(elapsed.total_seconds()))
    for below, big, small in ((120, 0, 1), (600, 60, 1), (10_800, 60, 0), (28_800, 3600, 60), (172_800, 3600, 0)):
        if seconds < below:
            return _two(seconds, big, small)
    if seconds < 8 * 86_400:
        return _two(seconds, 86_400, 3600)
    if seconds < 2 * 31_536_000:
        return _two(seconds, 86_400, 0)
    return _two(seconds, 31_536_000, 86_400 if seconds < 8 * 31_536_000 else 0)


def _two(seconds: int, big: int, small: int) -> str:
    names = dict(_UNITS)
    if not big:
        return f"{seconds}{names[small]}"
    rest = seconds % big // small if small else 0
    return f"{seconds // big}{names[big]}" + (f"{rest}{names[small]}" if rest else "")


def age(since: datetime | None, now: datetime) -> str:
    """How long ago, or `<unknown>`."""
    return UNKNOWN if since is None else duration(now - since)


def joined(parts: Sequence[str]) -> str:
    return ",".join(parts) or NONE
