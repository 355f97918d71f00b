"""The frame of every check: a view in, findings out, with texts and severities in a table.

An analyzer is a pure function `(ClusterView) -> Iterator[Finding]`. It fetches nothing, holds no model, and never
raises on the shape of an object. Each subject module (`images.py`, `services.py`, …) has its own table of `Code`
rows, its analyzers, and a tuple `ANALYZERS`; `agents.analyzers.registry` collects them. Findings are about the object
that has to be changed where the check can know it: a pod's fault is reported once, on the workload that makes the
pods, with one pod as evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import orjson

from agents.analyzers.remedies import fill
from agents.cluster.objects import K8sObject
from agents.cluster.view import ClusterView, EventRecord
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity
from agents.prose import head, one_line

EXCERPT_LIMIT = 600
MESSAGE_LIMIT = 4_000


class Role(StrEnum):
    """What a finding can be in the chain from cause to what the user sees.

    CAUSE: explains symptoms on objects that depend on its object, and is a root cause when nothing explains it.
    SYMPTOM: what shows; it is a root cause only when no cause explains it (then it is the deepest that is known).
    RISK: nothing is broken by it now; it explains nothing and is explained by nothing.
    """

    CAUSE = "cause"
    SYMPTOM = "symptom"
    RISK = "risk"


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table of checks.

    `name` is stable and kebab-case; `title` says the fault in one line; `remedy` is a template (`str.format` over the
    finding's facts, see `agents.analyzers.remedies`) with commands to copy in backticks; `confidence` is how often a
    finding of this code is right, 0 to 1. The runbook page is `knowledge/corpus/<domain>/<name>.md`.
    """

    name: str
    domain: Domain
    severity: Severity
    role: Role
    title: str
    remedy: str
    confidence: float = 0.9

    @property
    def runbook(self) -> str:
        return f"{self.domain.value}/{self.name}.md"


Analyzer = Callable[[ClusterView], Iterator[Finding]]


def finding(
    code: Code,
    obj: K8sObject | ObjectRef,
    message: str,
    evidence: Sequence[Evidence],
    *,
    severity: Severity | None = None,
    confidence: float | None = None,
    related: Sequence[ObjectRef] = (),
    **facts: object,
) -> Finding:
    """A finding of this code about `obj`; `facts` fill the remedy's template beside kind, namespace (`ns`) and name.

    Facts may be any text from the cluster: `agents.analyzers.remedies` makes them harmless in commands.
    """
    ref = obj.ref if isinstance(obj, K8sObject) else obj
    values = {"kind": ref.kind.lower(), "ns": ref.namespace, "name": ref.name, **facts}
    return Finding(
        code=code.name,
        severity=severity or code.severity,
        domain=code.domain,
        object=ref,
        message=one_line(message, MESSAGE_LIMIT),
        evidence=tuple(evidence),
        remedy=fill(code.remedy, values),
        confidence=code.confidence if confidence is None else confidence,
        related=tuple(related),
    )


def clip(text: str) -> str:
    """Text cut to what an excerpt may hold; what was cut is said."""
    if len(text) <= EXCERPT_LIMIT:
        return text
    kept = head(text, EXCERPT_LIMIT)
    return f"{kept} … ({len(text) - len(kept)} characters cut)"


def seen_field(obj: K8sObject, path: str, value: object, *, observed_at: datetime | None = None) -> Evidence:
    """Evidence that a field holds a value; the excerpt reads `path: value`."""
    shown = value if isinstance(value, str) else _compact(value)
    return Evidence(
        kind="field", object=obj.ref, locator=path, excerpt=clip(f"{path}: {shown}"), observed_at=observed_at
    )


def missing_field(obj: K8sObject, path: str, note: str = "") -> Evidence:
    """Evidence that a field of an object that was read whole is not set."""
    return Evidence(
        kind="absence",
        object=obj.ref,
        locator=path,
        excerpt=clip(f"{path} is not set" + (f" ({note})" if note else "")),
    )


def seen_event(event: EventRecord) -> Evidence:
    """Evidence of an event, with its count and source."""
    times = f" ({event.count} times)" if event.count > 1 else ""
    return Evidence(
        kind="event",
        object=event.about,
        locator=event.reason,
        excerpt=clip(f"{event.reason}{times}: {event.message}"),
        observed_at=event.last,
    )


def seen_log(
    pod: K8sObject, container: str, lines: Sequence[str], *, previous: bool = False, number: int = 0
) -> Evidence:
    """Evidence of log lines; `number` is the first line's place in what was read (1-based, 0 unknown)."""
    where = (
        f"log of container {container}"
        + (" (previous run)" if previous else "")
        + (f", line {number}" if number else "")
    )
    return Evidence(kind="log", object=pod.ref, locator=where, excerpt=clip("\n".join(lines)))


def not_listed(view: ClusterView, ref: ObjectRef, similar: Sequence[str] = ()) -> Evidence:
    """Evidence that an object does not exist. Only for kinds that `view.listed` says are completely listed."""
    where = f" in namespace {ref.namespace}" if ref.namespace else ""
    near = f"; there are: {', '.join(similar[:6])}" if similar else ""
    excerpt = f"no {ref.kind} named {ref.name}{where} was listed{near}"
    return Evidence(
        kind="absence", object=ref, locator=f"list of {ref.kind}", excerpt=clip(excerpt), observed_at=view.taken_at
    )


def _compact(value: object) -> str:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # a number of more than 64 bits or a broken surrogate, from an edited file
        return str(value)
