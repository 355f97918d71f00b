"""The evidence model: what was seen, what it means, what causes what, and the answer that rests on it.

Everything here is immutable and serialises both ways (`model_dump(mode="json")`, `model_validate`). An
`Evidence.excerpt` is text that was really seen; nothing else in an answer may claim to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agents.prose import one_line
from assistant.types import Mode


class Severity(StrEnum):
    """critical = users are cut off or data is being lost now; error = an object cannot do its work now;
    warning = it will hurt at the next change, load or failure; info = worth knowing."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info up to 3 for critical, to compare and sort by."""
        return _RANKS[self.value]

    @property
    def is_fault(self) -> bool:
        """Whether something does not work now (error or critical), in contrast to a risk."""
        return self.rank >= 2


_RANKS = {"info": 0, "warning": 1, "error": 2, "critical": 3}


class Domain(StrEnum):
    """What a question or a finding is about; the subsystem wins (a claim question is storage)."""

    SECURITY = "security"
    PERFORMANCE = "performance"
    TROUBLESHOOTING = "troubleshooting"
    DEPLOYMENT = "deployment"
    MONITORING = "monitoring"
    STORAGE = "storage"
    NETWORKING = "networking"
    GENERAL = "general"


SPECIALIST_DOMAINS: tuple[Domain, ...] = tuple(d for d in Domain if d is not Domain.GENERAL)


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """Names one object of a cluster; `namespace` is "" for cluster-scoped objects, `uid` "" where it is not known.

    Two references are equal when kind, namespace and name are: the same object seen by two API versions is one.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectRef) and self.key == other.key

    def __hash__(self) -> int:
        return hash((self.kind, self.namespace, self.name))

    @property
    def key(self) -> tuple[str, str, str]:
        """(kind, namespace, name)."""
        return (self.kind, self.namespace, self.name)

    def __str__(self) -> str:
        # names of roles and bindings may hold anything but a slash, and those of a file anything at all
        return one_line(f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}")


def _short_ref(ref: ObjectRef) -> dict[str, str]:
    return {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


EvidenceKind = Literal["field", "event", "log", "metric", "document", "absence"]


class Evidence(_Frozen):
    """One thing that was seen. `locator` says where in the object: a field path, an event's reason, a log and line.

    `id` is "" until the diagnosis numbers its evidence (E1, E2, … in reading order, continued through a conversation).
    """

    id: str = ""
    kind: EvidenceKind
    object: ObjectRef
    locator: Annotated[str, AfterValidator(one_line)]
    excerpt: str
    observed_at: datetime | None = None


class Finding(_Frozen):
    """One fault, risk or remark about one object; `related` names further objects it is about (to link, not shown)."""

    id: str = ""
    code: str
    severity: Severity
    domain: Domain
    object: ObjectRef
    message: str
    evidence: tuple[Evidence, ...]
    remedy: str
    confidence: float = Field(ge=0.0, le=1.0)
    related: tuple[ObjectRef, ...] = Field(default=(), exclude=True)


class Explained(_Frozen):
    """One symptom that a root cause explains: the finding's id, its object, and how the cause leads there."""

    finding: str
    object: ObjectRef
    how: str


class RootCause(_Frozen):
    """What has to be changed: `object` is where the change belongs, not where the trouble shows.

    `in_focus` is False for a fault that has nothing to do with what was asked about; it is mentioned, not mixed in.
    """

    id: str
    code: str
    severity: Severity
    domain: Domain
    object: ObjectRef
    cause: str
    remedy: str
    evidence: tuple[Evidence, ...]
    explains: tuple[Explained, ...] = ()
    confidence: float = Field(ge=0.0, le=1.0)
    in_focus: bool = True


NotCheckedReason = Literal["forbidden", "timed-out", "capped", "absent", "unreadable", "failed"]


class NotChecked(_Frozen):
    """Something the diagnosis could not look at, so that silence about it proves nothing."""

    what: str
    reason: NotCheckedReason
    detail: str = ""


class Healthy(_Frozen):
    """One thing that was looked at and is as it should be."""

    object: ObjectRef
    detail: str


class Diagnosis(_Frozen):
    """Root causes (most important first), all findings, what is healthy, what could not be looked at."""

    root_causes: tuple[RootCause, ...] = ()
    findings: tuple[Finding, ...] = ()
    healthy: tuple[Healthy, ...] = ()
    not_checked: tuple[NotChecked, ...] = ()

    def all_evidence(self) -> tuple[Evidence, ...]:
        """Every piece of evidence once, in reading order: root causes first, then the other findings."""
        seen: dict[str, Evidence] = {}
        holders: tuple[RootCause | Finding, ...] = (*self.root_causes, *self.findings)
        for holder in holders:
            for item in holder.evidence:
                seen.setdefault(item.id, item)
        return tuple(seen.values())


class ClusterIdentity(_Frozen):
    """Which cluster was looked at: `id` is the uid of its kube-system namespace."""

    id: str
    name: str
    context: str = ""
    source: Literal["live", "snapshot", "demo"] = "live"
    server_version: str = ""

    @property
    def label(self) -> str:
        """How the cluster is named to a person, never ambiguous about being a snapshot."""
        if self.source == "demo":
            return "demo snapshot"
        if self.source == "snapshot":
            return f"snapshot {self.name}"
        return f"{self.name} (context {self.context})" if self.context and self.context != self.name else self.name


class RouteTaken(_Frozen):
    """Who was asked: `domains` in order, `scores` over all domains (sum 1), and the reason as a sentence."""

    domains: tuple[Domain, ...]
    scores: dict[Domain, float]
    reason: str


class Usage(_Frozen):
    """Tokens of a turn over all its model calls."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Answer(_Frozen):
    """A finished turn. `cost` is in US dollars, None where a price is not known."""

    thread_id: str
    turn_id: str
    mode: Mode
    cluster: ClusterIdentity
    route: RouteTaken
    text: str
    diagnosis: Diagnosis
    documents: tuple[Evidence, ...] = ()
    unbacked: tuple[str, ...] = ()
    model: str | None = None
    text_went_to: str | None = None
    usage: Usage = Usage()
    cost: float | None = None


def public_json(value: Any) -> Any:
    """JSON for people and programs outside: every object reference becomes `{kind, namespace, name}`."""
    if isinstance(value, ObjectRef):
        return _short_ref(value)
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {name: public_json(getattr(value, name)) for name, field in fields.items() if not field.exclude}
    if isinstance(value, dict):
        return {str(k): public_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [public_json(v) for v in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
