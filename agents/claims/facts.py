"""What one piece of evidence backs: its names, numbers, times and states, each looked up in constant time."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import orjson

from agents.claims.measures import Measure, blanked, clocks, measures, stamps
from agents.claims.states import NO, YES, Said, states
from agents.evidence import Evidence

MAX_EXCERPT = 20_000  # characters of an excerpt that are looked at
MAX_PIECES = 12  # of one token

_TOKEN = re.compile(r"[A-Za-z0-9_][\w.:/@=\-+%$~]*")
_SPLIT = re.compile(r"[/:@=,+%$~]+")
_GENERATED = re.compile(r"-(?:\d{1,12}|(?=[a-z0-9]*\d)[a-z0-9]{5,10}|[bcdfghjklmnpqrstvwxz2456789]{4,10})$")
_PAIR = re.compile(
    r'(?<![\w.\-/])"?([A-Za-z][\w.\-/]*(?:\[\d+\])?)"?\s{0,3}[:=]\s{0,3}"?(-?\d[\w.%]*)"?(?=[\s,}\]"]|$)'
)
_BOOLEAN = re.compile(r'(?<![\w.\-/])"?([A-Za-z][\w.\-/]*)"?\s{0,3}[:=]\s{0,3}"?(true|false|True|False|Unknown)\b')
_CONDITION = re.compile(
    r'"?type"?\s{0,3}:\s{0,3}"?(\w+)"?[^{}]{0,400}?"?status"?\s{0,3}:\s{0,3}"?(True|False|Unknown)'
    r'|"?status"?\s{0,3}:\s{0,3}"?(True|False|Unknown)"?[^{}]{0,400}?"?type"?\s{0,3}:\s{0,3}"?(\w+)'
)
_NAMED_CONDITION = re.compile(r'conditions\[(\w+)\][^{}\n]{0,20}\{[^{}\n]{0,400}?"status"\s?:\s?"(True|False|Unknown)"')
# Keys say what is judged, their values how it is: "ready" in `"ready":false` is no statement that something is ready.
_KEY = re.compile(
    r'conditions\[\w+\]|"[\w./\-]+"\s?:|\b[\w./\-]+\s?[:=]\s?(?="?(?:true|false|True|False|Unknown)\b)|"?type"?\s?:\s?"?\w+"?'
)
_OF = re.compile(r"(?<![\w.])(\d{1,7})\s?(?:/|of|out of)\s?(\d{1,7})(?![\w.])")
_PHASES = {"succeeded": "succeeded", "completed": "succeeded", "bound": "", "lost": ""}


def flat(text: str) -> str:
    """Lower case, one space between words, straight quotes: how texts are compared."""
    return " ".join(text.replace("“", '"').replace("”", '"').replace("’", "'").replace('\\"', '"').split()).lower()


def stems(name: str) -> Iterator[str]:
    """A name without what Kubernetes appended: the workload behind a pod, the template behind a claim."""
    for _ in range(3):
        found = _GENERATED.search(name)
        if found is None or found.start() == 0:
            return
        name = name[: found.start()]
        yield name


def _claimants(claim: str) -> Iterator[str]:
    """The pod and the StatefulSet that a claim may be made for: "data-wiki-db-0" is a claim of wiki-db-0."""
    found = re.search(r"-\d{1,4}$", claim)
    if found is not None:
        parts = claim.split("-")[:MAX_PIECES]
        for first in range(1, len(parts) - 1):
            yield "-".join(parts[first:])
            yield "-".join(parts[first:-1])


def pieces(token: str) -> Iterator[str]:
    """A token and what it is made of: path segments, host labels, image and tag."""
    bare = token.strip(".:/@=-+%$~_")
    yield bare
    parts = [part for part in _SPLIT.split(bare) if part]
    if len(parts) > 1:
        yield from parts[:MAX_PIECES]
        if ":" in bare and "/" in bare:
            yield bare.rsplit("/", 1)[-1]
    for part in parts[:MAX_PIECES]:
        if "." in part:
            labels = [label for label in part.split(".") if label and not label.isdigit()]
            yield from labels[:MAX_PIECES]


@dataclass(frozen=True, slots=True)
class Number:
    """A number of the evidence and the key that it stands under ("" in running text)."""

    value: float
    dimension: str
    key: str = ""
    parent: str = ""


@dataclass
class Facts:
    """One piece of evidence, read once; everything but the text is worked out when it is first asked for."""

    evidence: Evidence
    conclusions: tuple[str, ...] = ()
    text: str = field(init=False)

    def __post_init__(self) -> None:
        self.text = flat(self.source)

    @property
    def source(self) -> str:
        ref = self.evidence.object
        return f"{ref} {ref.kind} {ref.namespace} {ref.name}\n{self.evidence.locator}\n{self.excerpt}"

    @property
    def excerpt(self) -> str:
        """What was seen, and what our own checks concluded from it."""
        return "\n".join((self.evidence.excerpt, *self.conclusions))[:MAX_EXCERPT]

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name in it, in lower case, with its pieces and stems."""
        found: set[str] = set()
        for token in _TOKEN.findall(self.source):
            for piece in pieces(token.lower()):
                found.add(piece)
                found.update(stems(piece))
        if self.evidence.object.kind == "PersistentVolumeClaim":
            found.update(_claimants(self.evidence.object.name.lower()))
        return frozenset(found)

    @cached_property
    def own_names(self) -> frozenset[str]:
        """The names of what it is about: the object's and those of its owners by prefix."""
        name = self.evidence.object.name.lower()
        return frozenset((name, *stems(name)))

    @cached_property
    def numbers(self) -> tuple[Number, ...]:
        """Numbers with the keys under which they stand; those in running text, and lengths of lists."""
        found = [Number(v, d, key, parent) for m, key, parent in self._keyed() for v, d in m.readings]
        body = blanked(self.excerpt, [(start, end) for start, end, _ in stamps(self.excerpt)])
        for text in (body, self.evidence.locator, f"{self.evidence.object.name}"):
            found.extend(Number(v, d) for m in measures(text) for v, d in m.readings)
        found.extend(Number(float(n), "", "#") for n in self._lengths() if n > 0)
        return tuple(found)

    def _keyed(self) -> Iterator[tuple[Measure, str, str]]:
        parent = ""
        for found in _PAIR.finditer(self.excerpt):
            key = found[1]
            before = self.excerpt[: found.start()]
            opened = before.rfind("{")
            parent = str(opened)
            for measure in measures(found[2], words=False)[:1]:
                yield measure, key.lower(), parent

    def _lengths(self) -> Iterator[int]:
        """How long the lists of a JSON value are, and the lists of names in a sentence ("there are: a, b")."""
        opening = min((i for i in (self.excerpt.find("{"), self.excerpt.find("[")) if i >= 0), default=-1)
        value: object = None
        while opening >= 0 and value is None:
            try:
                value = orjson.loads(self.excerpt[opening:])
            except orjson.JSONDecodeError:
                rest = [
                    i for i in (self.excerpt.find("{", opening + 1), self.excerpt.find(": [", opening + 1) + 2) if i > 2
                ]
                opening = min(rest, default=-1) if opening < 200 else -1
        stack = [value]
        while stack:
            item = stack.pop()
            if isinstance(item, list):
                yield len(item)
                stack.extend(item)
            elif isinstance(item, dict):
                stack.extend(item.values())
        for listed in re.findall(r"(?:there are|items|names|keys|pods|nodes): ([^;\n]{1,2000})", self.excerpt):
            yield listed.count(",") + 1
        yield sum(1 for line in self.excerpt.split("\n") if line.strip())

    @cached_property
    def moments(self) -> tuple[datetime, ...]:
        """Every full timestamp in it, and when it was seen."""
        found = [at for _, _, at in stamps(self.excerpt)]
        return (*found, self.evidence.observed_at) if self.evidence.observed_at else tuple(found)

    @cached_property
    def clocks(self) -> tuple[tuple[int | None, ...], ...]:
        """(hour, minute, second, month, day) of every time in it."""
        seen = self.evidence.observed_at.isoformat() if self.evidence.observed_at else ""
        return tuple((c.hour, c.minute, c.second, c.month, c.day) for c in clocks(f"{self.excerpt} {seen}"))

    @cached_property
    def fractions(self) -> frozenset[tuple[int, int]]:
        """The pairs that it writes as "0/6" or "2 of 3"."""
        return frozenset((int(a), int(b)) for a, b in _OF.findall(self.excerpt))

    @cached_property
    def conditions(self) -> dict[str, str]:
        """Condition type or boolean field -> true, false or unknown, in lower case."""
        found: dict[str, str] = {}
        for key, value in _BOOLEAN.findall(self.excerpt):
            found[key.rsplit(".", 1)[-1].lower()] = value.lower()
        for one, status, other_status, other in _CONDITION.findall(self.excerpt):
            found[(one or other).lower()] = (status or other_status).lower()
        for name, value in _NAMED_CONDITION.findall(self.excerpt):
            found[name.lower()] = value.lower()
        return found

    @cached_property
    def states(self) -> dict[str, frozenset[str]]:
        """Family -> the values that it shows, from its words, its fields, and its being an absence."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for said in (*states(_KEY.sub(" ", self.excerpt)), *self._from_fields()):
            found[said.family].add(said.value)
        if self.evidence.kind == "absence":
            found["exists"].add(NO)
        if found["phase"] - {"running", "succeeded"}:
            found["health"].add("bad")
        if found["phase"] & {"crashing", "oom", "image", "config", "evicted"}:
            found["phase"].add("failed")
        if found["phase"] & {"image", "config", "creating"} and "pending" not in found["phase"]:
            found["phase"].add("pending")
        return {family: frozenset(values) for family, values in found.items() if values}

    def _from_fields(self) -> Iterator[Said]:
        kind = self.evidence.object.kind
        for name, value in self.conditions.items():
            yield Said(f"condition:{name}", value, name, 0)
            answer = YES if value == "true" else NO
            if name in ("ready", "available", "containersready"):
                yield Said("available" if name == "available" else "ready", answer, name, 0)
                if kind in ("Node", "Pod"):
                    yield Said("health", "good" if value == "true" else "bad", name, 0)
            elif name in ("suspend", "paused"):
                yield Said("suspend", answer, name, 0)
            elif name == "privileged":
                yield Said("privilege", answer, name, 0)
            elif name.startswith("allow"):
                yield Said("allowed", answer, name, 0)
            elif name == "progressing" and value == "false":
                yield Said("phase", "failed", name, 0)
                yield Said("health", "bad", name, 0)
            elif name in ("failed", "complete") and value == "true":
                yield Said("phase", "failed" if name == "failed" else "succeeded", name, 0)
        if kind == "PersistentVolumeClaim" and "pending" in self.text:
            yield Said("bound", NO, "Pending", 0)
        if re.search(r'exitcode"?: ?"?[1-9]', self.text):
            yield Said("phase", "failed", "exitCode", 0)
            yield Said("health", "bad", "exitCode", 0)
        yield from self._from_counts()

    def _from_counts(self) -> Iterator[Said]:
        """Ready and available replicas against those that should be."""
        counts: dict[str, float] = {n.key.rsplit(".", 1)[-1]: n.value for n in self.numbers if n.key}
        total = counts.get("replicas", counts.get("desiredreplicas", counts.get("desirednumberscheduled")))
        if total is None or not any("status" in part for part in (self.evidence.locator, self.excerpt[:40])):
            return
        for family, keys in (
            ("ready", ("readyreplicas", "numberready")),
            ("available", ("availablereplicas", "numberavailable")),
        ):
            have = next((counts[k] for k in keys if k in counts), 0.0)
            if not any(k.endswith("replicas") and k != "replicas" for k in counts) and have == 0.0:
                continue
            if have > 0:
                yield Said(family, YES, "", 0)
            if have < total:
                yield Said(family, NO, "", 0)
            yield Said(f"all:{family}", YES if have >= total else NO, "", 0)
            yield Said("health", "good" if have >= total else "bad", "", 0)
