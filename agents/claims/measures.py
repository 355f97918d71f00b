"""Numbers, sizes, durations and times, brought to one form so that 0.5Gi equals 512Mi and "ten minutes" equals 600.

Promise: linear in the text. A number that could be two things ("120m": millicores or minutes) is read as both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

BYTES, CPU, SECONDS, PERCENT, PLAIN = "bytes", "cpu", "seconds", "percent", ""

_BINARY = {"ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30, "ti": 2.0**40, "pi": 2.0**50}
_DECIMAL = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15}
_TIME = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_TIME_WORDS = {
    **dict.fromkeys(("millisecond", "milliseconds", "ms"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
}
_CPU_WORDS = {
    **dict.fromkeys(("core", "cores", "cpu", "cpus", "vcpu", "vcpus"), 1.0),
    **dict.fromkeys(("millicore", "millicores", "millicpu", "millicpus"), 1e-3),
}
_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_ONES += " seventeen eighteen nineteen"
_WORDS = {word: float(value) for value, word in enumerate(_ONES.split())}
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS |= {word: float(10 * value) for value, word in enumerate(_TENS.split(), start=2)}
_WORDS |= {"dozen": 12.0, "twice": 2.0, "thrice": 3.0, "both": 2.0, "hundred": 100.0}

_UNIT = (
    r"[KMGTP]i?[Bb]?(?![A-Za-z])|[kK][Bb]|bytes?|B(?![A-Za-z])|%|percent|per cent|milliseconds?|ms"
    r"|seconds?|secs?|s|minutes?|mins?"
    r"|m|hours?|hrs?|h|days?|d|weeks?|w|millicores?|millicpus?|v?[cC][pP][uU]s?|cores?"
)
_COMPOUND = re.compile(r"(?<![\w.\-])(?=\d+[dhm]\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?![\w])")
_NUMBER = re.compile(
    rf"(?:(?<=[\s(]x)|(?<![\w.\-])|(?<=\w-)(?=\d+%))(\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d{{1,15}}(?:\.\d{{1,9}})?)"
    rf"(?:[ \u00a0]?-?[ \u00a0]?({_UNIT})(?![A-Za-z0-9_]|-\d)|(?![\w]|\.\d|-[A-Za-z]))"
)
_WORD_NUMBER = re.compile(
    rf"\b((?:{_TENS.replace(' ', '|')})[- ](?:{'|'.join(_ONES.split()[1:10])})"
    rf"|{'|'.join(sorted(_WORDS, key=len, reverse=True))})\b"
    rf"(?:[ -](millicores?|milliseconds?|seconds?|minutes?|hours?|days?|weeks?|percent|cores?|[cC][pP][uU]s?)\b)?",
    re.IGNORECASE,
)
_HALF = re.compile(r"\bhalf an? (core|cpu|hour|minute|day|gigabyte|gib)\b", re.IGNORECASE)
_FUZZY = re.compile(
    r"(?:about|around|roughly|approximately|approx\.?|almost|nearly|some|over|under|below|above|than|close to|up to"
    r"|at least|at most|just|circa|ca\.|~|≈)\s*(?:a\s+)?$",
    re.IGNORECASE,
)
_STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_CLOCK = re.compile(r"(?<![\w:.])([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?(?![\w:])")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(?:uary|ruary|ch|il|e|y|ust|t|tember|ober|ember)?"
_DATE = re.compile(
    rf"\b(?:(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}|{_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?)\b(?!:)(?: (\d{{4}}))?",
    re.IGNORECASE,
)
_DAY = re.compile(r"(?<![\w-])(\d{4})-(\d\d)-(\d\d)(?![\w-])")


@dataclass(frozen=True, slots=True)
class Measure:
    """A number as it stands in a text: its readings as (value, dimension), and whether it is given as approximate."""

    text: str
    start: int
    end: int
    readings: tuple[tuple[float, str], ...]
    fuzzy: bool = False
    spelled: bool = False


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day or a date as it stands in a text; what it leaves open is None."""

    text: str
    start: int
    end: int
    hour: int | None = None
    minute: int | None = None
    second: int | None = None
    month: int | None = None
    day: int | None = None


def stamps(text: str) -> Iterator[tuple[int, int, datetime]]:
    """(start, end, moment in UTC) of every full timestamp."""
    for found in _STAMP.finditer(text):
        try:
            moment = datetime.fromisoformat(re.sub(r"\.(\d{6})\d+", r".\1", found[0]))
        except ValueError:
            continue
        yield found.start(), found.end(), (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def clocks(text: str) -> Iterator[Clock]:
    """Times of day and dates; full timestamps are both at once."""
    taken = []
    for start, end, at in stamps(text):
        taken.append((start, end))
        second = at.second if text[start:end].count(":") >= 2 else None
        yield Clock(text[start:end], start, end, at.hour, at.minute, second, at.month, at.day)
    rest = blanked(text, taken)
    for found in _CLOCK.finditer(rest):
        second = int(found[3]) if found[3] else None
        yield Clock(found[0], found.start(), found.end(), int(found[1]), int(found[2]), second)
    for found in _DATE.finditer(rest):
        month = _MONTHS.index((found[2] or found[3]).lower()) + 1
        yield Clock(found[0], found.start(), found.end(), month=month, day=int(found[1] or found[4]))
    for found in _DAY.finditer(rest):
        yield Clock(found[0], found.start(), found.end(), month=int(found[2]), day=int(found[3]))


def blanked(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with spaces in place of spans, so that positions stay."""
    parts, last = [], 0
    for start, end in sorted(spans):
        if start < last:
            continue
        parts += [text[last:start], " " * (end - start)]
        last = end
    return "".join((*parts, text[last:]))


def measures(text: str, *, words: bool = True) -> list[Measure]:
    """Every number of a text outside names and times; `words`: spelled-out ones ("two", "twice") as well."""
    found = []
    spans: list[tuple[int, int]] = []
    for match in _COMPOUND.finditer(text):
        seconds = sum(float(part or 0) * size for part, size in zip(match.groups(), (86400, 3600, 60, 1), strict=True))
        found.append(
            Measure(match[0], match.start(), match.end(), ((seconds, SECONDS),), _is_fuzzy(text, match.start()))
        )
        spans.append(match.span())
    rest = blanked(text, spans) if spans else text
    for match in _NUMBER.finditer(rest):
        readings = _readings(float(match[1].replace(",", "")), match[2] or "")
        found.append(Measure(match[0].strip(), match.start(), match.end(), readings, _is_fuzzy(text, match.start())))
    if words:
        found.extend(_spelled(text))
    return found


def _spelled(text: str) -> Iterator[Measure]:
    for match in _HALF.finditer(text):
        unit = match[1].lower()
        yield Measure(
            match[0], match.start(), match.end(), _readings(0.5, {"gigabyte": "GB", "gib": "Gi"}.get(unit, unit))
        )
    for match in _WORD_NUMBER.finditer(text):
        tens, _, ones = match[1].lower().replace(" ", "-").partition("-")
        value = _WORDS[tens] + (_WORDS[ones] if ones else 0.0)
        if value == 1.0 and not match[2]:
            continue  # "one" is an article or a pronoun more often than a count
        readings = _readings(value, match[2] or "")
        yield Measure(match[0], match.start(), match.end(), readings, _is_fuzzy(text, match.start()), True)


def _is_fuzzy(text: str, start: int) -> bool:
    return bool(_FUZZY.search(text[max(0, start - 16) : start]))


def _readings(value: float, unit: str) -> tuple[tuple[float, str], ...]:
    low = unit.lower()
    if not unit:
        return ((value, PLAIN),)
    if low in ("%", "percent", "per cent"):
        return ((value, PERCENT),)
    if unit == "m":
        return ((value / 1000, CPU), (value * 60, SECONDS))
    if low in _CPU_WORDS:
        return ((value * _CPU_WORDS[low], CPU),)
    if low in _TIME_WORDS and unit != "M":
        return ((value * _TIME_WORDS[low], SECONDS),)
    if low in ("b", "byte", "bytes"):
        return ((value, BYTES),)
    size = low.removesuffix("b")
    if size in _BINARY:
        return ((value * _BINARY[size], BYTES),)
    # People write MB and mean MiB as often as not.
    return ((value * _DECIMAL[size], BYTES), (value * _BINARY[size + "i"], BYTES))


def agrees(claimed: Measure, value: float, dimension: str, *, derived: bool = False) -> bool:
    """Whether a claimed number is this one, as exactly as it is given.

    Plain counts have to be equal; sizes and shares may be rounded to what is written; an approximate number ("about",
    "almost", "over") may be off by 15 %. A plain number of the evidence may stand for bytes, seconds or cores.
    """
    for wanted, of in claimed.readings:
        if of != dimension and not (dimension == PLAIN and of != PERCENT) and not (of == PLAIN and dimension == CPU):
            continue
        if claimed.fuzzy:
            slack = 0.15 * max(abs(wanted), abs(value))
        elif of == PLAIN:
            slack = 0.0
        elif derived or of == BYTES:
            slack = max(_half_step(claimed, wanted, of), 0.001 * abs(wanted))
        else:
            slack = 0.001 * abs(wanted)
        if abs(wanted - value) <= slack + 1e-9:
            return True
    return False


def _half_step(claimed: Measure, wanted: float, dimension: str) -> float:
    """Half of the last digit that is written, in base units: 14.7Gi stands for 14.65Gi to 14.75Gi."""
    digits = re.match(r"[\d,]*(?:\.(\d+))?", claimed.text)
    written = re.match(r"[\d.,]+", claimed.text)
    if digits is None or written is None:
        return 0.6 * wanted / max(wanted / 60.0, 1.0) if dimension == SECONDS else 0.5
    number = float(written[0].replace(",", "").rstrip(".") or 1)
    unit = wanted / number if number else 1.0
    decimals = len(digits[1] or "")
    # A whole number of gibibytes is exact; a whole number of minutes or per cent is rounded.
    step = 0.02 if decimals == 0 and dimension == BYTES else 0.6 * 10.0**-decimals
    return step * unit
