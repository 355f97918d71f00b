"""The stream of a turn: one versioned union of events that page, terminal, HTTP API and tests all read.

Every event bears the turn's id and a sequence number that starts at 1 and has no gap, so a reader that lost its
connection asks again from the last number it has. A plain answer is this stream, collected.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from agents.evidence import Answer, ClusterIdentity, Diagnosis, Domain, Evidence, Finding, RouteTaken

SCHEMA_VERSION = 1


class TurnEvent(BaseModel):
    """What every event has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    turn_id: str
    sequence: int = Field(ge=1)


class Step(TurnEvent):
    """A step of the turn began or ended; `detail` is a sentence for people, `milliseconds` is set when it ended."""

    type: Literal["step"] = "step"
    name: str
    status: Literal["started", "done", "failed"]
    detail: str = ""
    milliseconds: float | None = None


class Route(TurnEvent):
    """Which specialists were chosen, and why."""

    type: Literal["route"] = "route"
    route: RouteTaken
    cluster: ClusterIdentity


class Handoff(TurnEvent):
    """The conversation goes from one specialist to another."""

    type: Literal["handoff"] = "handoff"
    source: Domain
    target: Domain
    reason: str


class FindingEvent(TurnEvent):
    type: Literal["finding"] = "finding"
    finding: Finding


class EvidenceEvent(TurnEvent):
    """Evidence beyond the findings': documents found, what a tool brought."""

    type: Literal["evidence"] = "evidence"
    evidence: Evidence


class DiagnosisEvent(TurnEvent):
    type: Literal["diagnosis"] = "diagnosis"
    diagnosis: Diagnosis


class Token(TurnEvent):
    """A piece of the answer: whole sentences, already checked. `specialist` says under whose name it stands."""

    type: Literal["token"] = "token"
    text: str
    specialist: Domain | None = None


class ToolEvent(TurnEvent):
    """A specialist used a tool; `summary` says what it brought, `failed` that it brought nothing."""

    type: Literal["tool"] = "tool"
    name: str
    arguments: str
    summary: str = ""
    status: Literal["started", "done", "failed"]


class Notice(TurnEvent):
    """Something the person should know about this answer: degraded, model switched, masked, another cluster."""

    type: Literal["notice"] = "notice"
    code: str
    message: str


class UsageEvent(TurnEvent):
    """One model call was made; `cost` is US dollars, None where no price is known."""

    type: Literal["usage"] = "usage"
    model: str
    purpose: str
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


class Done(TurnEvent):
    type: Literal["done"] = "done"
    answer: Answer


class ErrorEvent(TurnEvent):
    """The turn ended without an answer; the conversation is kept."""

    type: Literal["error"] = "error"
    code: str
    message: str
    retryable: bool


Event = Annotated[
    Step
    | Route
    | Handoff
    | FindingEvent
    | EvidenceEvent
    | DiagnosisEvent
    | Token
    | ToolEvent
    | Notice
    | UsageEvent
    | Done
    | ErrorEvent,
    Field(discriminator="type"),
]
EVENT_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)
