"""A turn as the page shows it: the events of a turn in, one message with one element out.

The same code draws a turn while it runs and when a conversation is brought back, so both look alike. Nothing here
knows Chainlit or a database; the shapes are those that the browser gets. An element's `props` are JSON that
`ui/pages/public/kubechat.js` renders.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from agents.events import (
    DiagnosisEvent,
    Done,
    ErrorEvent,
    Event,
    EvidenceEvent,
    Handoff,
    Notice,
    Route,
    Step,
    Token,
    ToolEvent,
    UsageEvent,
)
from agents.evidence import ClusterIdentity, Diagnosis, Domain, Evidence, ObjectRef, RootCause
from agents.record import Turn
from agents.report import heading
from agents.specialists.rows import SPECIALISTS

AUTHOR = "KubeChat"
MAX_CARDS = 6
MAX_FOLDED = 30
_NAMESPACE = uuid.UUID("6f0b3f0a-5d0c-4c7e-9d8b-6b1f2a7f6c11")
_MARK = re.compile(r"\bE\d+\b")
_STEP_LABELS = {
    "guard": "Question checked",
    "scope": "Scope",
    "read": "Cluster read",
    "checks": "Checks",
    "route": "Route",
}


def item_id(turn_id: str, what: str) -> str:
    """The id of a turn's message or element: the same each time the turn is drawn."""
    return str(uuid.uuid5(_NAMESPACE, f"{turn_id}/{what}"))


class Transcript:
    """One turn, drawn from its events; `known` is evidence of earlier turns that a mark may point at, `cluster` what
    the turn is about, as far as that is known before its events say so."""

    def __init__(
        self,
        thread_id: str,
        turn_id: str,
        created_at: str,
        known: Mapping[str, Evidence] | None = None,
        cluster: ClusterIdentity | None = None,
    ) -> None:
        self.thread_id = thread_id
        self.turn_id = turn_id
        self._created_at = created_at
        self._evidence: dict[str, Evidence] = dict(known or {})
        self._steps: list[dict[str, Any]] = []
        self._parts: list[dict[str, Any]] = []
        self._notices: list[dict[str, str]] = []
        self._diagnosis: Diagnosis | None = None
        self._props: dict[str, Any] = {"turn": turn_id, "status": "running"}
        self.last_sequence = 0
        if cluster is not None:
            self._about(cluster)

    @property
    def ended(self) -> bool:
        """Whether the turn has its answer or its error."""
        return bool(self._props["status"] != "running")

    def apply(self, event: Event) -> None:
        """Adds what the event says. An event that was there already changes nothing."""
        if event.sequence <= self.last_sequence:
            return
        self.last_sequence = event.sequence
        if isinstance(event, Step):
            self._step(event)
        elif isinstance(event, ToolEvent):
            self._tool(event)
        elif isinstance(event, Token):
            self._token(event)
        elif isinstance(event, Notice):
            self._notices.append({"code": event.code, "message": event.message})
        elif isinstance(event, EvidenceEvent):
            self._evidence[event.evidence.id] = event.evidence
        elif isinstance(event, DiagnosisEvent):
            self._diagnosis = event.diagnosis
            self._evidence.update({e.id: e for e in event.diagnosis.all_evidence()})
        else:
            self._circumstance(event)

    def settle(self, turn: Turn) -> None:
        """Ends a turn by what the record says of it, where its events do not: its process was killed, say."""
        if not self.ended and turn.status != "running":
            self._props |= {"status": "failed" if turn.error else turn.status, "error": turn.error}
        self._props.setdefault("mode", turn.mode)

    def message(self) -> dict[str, Any]:
        """The message that bears the element, as Chainlit's step."""
        return {
            "id": item_id(self.turn_id, "message"),
            "threadId": self.thread_id,
            "type": "assistant_message",
            "name": AUTHOR,
            "input": "",
            "output": "",
            "createdAt": self._created_at,
            "streaming": False,
            "isError": False,
            "metadata": {},
        }

    def element(self) -> dict[str, Any]:
        """The element that shows the turn as it is now."""
        return {
            "id": item_id(self.turn_id, "element"),
            "threadId": self.thread_id,
            "forId": item_id(self.turn_id, "message"),
            "type": "custom",
            "name": "Turn",
            "display": "inline",
            "props": self.props(),
        }

    def props(self) -> dict[str, Any]:
        """What the browser draws."""
        diagnosis = None if self._diagnosis is None else _diagnosis(self._diagnosis)
        shown = _MARK.findall("".join(p["text"] for p in self._parts))
        if diagnosis is not None:
            shown += [e for card in (*diagnosis["cards"], *diagnosis["folded"]) for e in card["evidence"]]
        evidence = {id_: _evidence(self._evidence[id_]) for id_ in dict.fromkeys(shown) if id_ in self._evidence}
        return {
            **self._props,
            "steps": self._steps,
            "parts": self._parts,
            "notices": self._notices,
            "diagnosis": diagnosis,
            "evidence": evidence,
        }

    def _about(self, cluster: ClusterIdentity) -> None:
        self._props |= {"cluster": cluster.label, "source": cluster.source}

    def _step(self, event: Step) -> None:
        specialist = event.name.removeprefix("specialist:")
        if specialist != event.name:
            label = f"{event.detail or specialist} answered"
            detail = ""
        else:
            label, detail = _STEP_LABELS.get(event.name, event.name.replace("-", " ").capitalize()), event.detail
        row = {
            "key": event.name,
            "kind": "step",
            "label": label,
            "detail": detail,
            "status": event.status,
            "ms": event.milliseconds,
        }
        self._put(row)

    def _tool(self, event: ToolEvent) -> None:
        row = {
            "key": f"tool:{event.name}:{event.arguments}",
            "kind": "tool",
            "label": event.name,
            "input": event.arguments,
            "detail": event.summary,
            "status": event.status,
            "ms": None,
        }
        self._put(row)

    def _put(self, row: dict[str, Any]) -> None:
        """A step that ends takes the place of its beginning."""
        for index, known in enumerate(self._steps):
            if known["key"] == row["key"] and known["status"] == "started":
                self._steps[index] = row
                return
        self._steps.append(row)

    def _token(self, event: Token) -> None:
        domain = event.specialist.value if event.specialist is not None else None
        if not self._parts or self._parts[-1]["domain"] != domain:
            self._parts.append({"domain": domain, "title": _title(event.specialist), "text": ""})
        # the page writes the specialist's name above each part itself
        if event.specialist is None or event.text != heading(event.specialist):
            self._parts[-1]["text"] += event.text

    def _circumstance(self, event: Event) -> None:
        if isinstance(event, Route):
            domains = [{"id": d.value, "title": _title(d)} for d in event.route.domains]
            self._props["route"] = {"domains": domains, "reason": event.route.reason}
            self._about(event.cluster)
        elif isinstance(event, Handoff):
            text = f"{_title(event.source)} hands over to {_title(event.target)}"
            self._put({"key": "handoff", "kind": "handoff", "label": text, "detail": "", "status": "done", "ms": None})
        elif isinstance(event, UsageEvent):
            self._props["model"] = event.model
        elif isinstance(event, Done):
            answer = event.answer
            self._about(answer.cluster)
            self._props |= {
                "status": "done",
                "mode": answer.mode.value,
                "model": answer.model,
                "textWentTo": answer.text_went_to,
                "unbacked": len(answer.unbacked),
                "usage": answer.usage.model_dump(),
                "cost": answer.cost,
            }
        elif isinstance(event, ErrorEvent):
            status = "cancelled" if event.code == "cancelled" else "failed"
            error = {"code": event.code, "message": event.message, "retryable": event.retryable}
            self._props |= {"status": status, "error": error}


def _title(domain: Domain | None) -> str:
    return "" if domain is None else SPECIALISTS[domain].title


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    """Cards for what was asked about; what else is wrong in the cluster, and what did not fit, is folded."""
    here = [c for c in diagnosis.root_causes if c.in_focus]
    first, rest = here[:MAX_CARDS], here[MAX_CARDS:]
    rest += [c for c in diagnosis.root_causes if not c.in_focus]
    return {
        "cards": [_card(c) for c in first],
        "folded": [_card(c) for c in rest[:MAX_FOLDED]],
        "more": max(0, len(rest) - MAX_FOLDED),
        "healthy": len(diagnosis.healthy),
        "notChecked": [{"what": n.what, "reason": n.reason, "detail": n.detail} for n in diagnosis.not_checked],
    }


def _card(cause: RootCause) -> dict[str, Any]:
    others: dict[ObjectRef, str] = {}
    for item in cause.explains:
        if item.object != cause.object:
            others.setdefault(item.object, item.how)
    return {
        "id": cause.id,
        "code": cause.code,
        "severity": cause.severity.value,
        "domain": _title(cause.domain),
        "object": str(cause.object),
        "cause": cause.cause,
        "remedy": _remedy(cause.remedy),
        "evidence": [e.id for e in cause.evidence],
        "explains": [{"object": str(ref), "how": how} for ref, how in others.items()],
        "confidence": round(cause.confidence, 2),
    }


def _remedy(text: str) -> list[str]:
    """What to do, step by step; a command on a line of its own belongs to the words before it."""
    steps: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if steps and line.startswith("`") and steps[-1].endswith(":"):
            steps[-1] += f" {line}"
        else:
            steps.append(line)
    return steps


def _evidence(item: Evidence) -> dict[str, Any]:
    return {
        "id": item.id,
        "kind": item.kind,
        "object": str(item.object),
        "locator": item.locator,
        "excerpt": item.excerpt.removeprefix(f"{item.locator}: "),
        "time": None if item.observed_at is None else item.observed_at.isoformat(),
    }
