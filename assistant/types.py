"""Types every package shares: who asks, in which conversation, until when."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum


class Mode(StrEnum):
    """What produced an answer."""

    MODEL = "model"
    EVIDENCE_ONLY = "evidence-only"


@dataclass(frozen=True, slots=True)
class Principal:
    """The person or program on whose behalf a turn runs; `local` is whoever started the process."""

    id: str
    display_name: str = ""


LOCAL_PRINCIPAL = Principal(id="local", display_name="local user")


@dataclass(frozen=True, slots=True)
class TurnContext:
    """What every step of a turn may know about its circumstances.

    `deadline` is a `time.monotonic()` value in seconds; `namespace` is the default namespace of the asking person,
    None where there is none; `cluster_id` is the uid of the kube-system namespace.
    """

    thread_id: str
    cluster_id: str
    principal: Principal = LOCAL_PRINCIPAL
    team: str | None = None
    roles: tuple[str, ...] = ()
    namespace: str | None = None
    deadline: float | None = None
    model_preference: str | None = None
    trace_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def remaining(self) -> float | None:
        """Seconds until the deadline, never negative; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
