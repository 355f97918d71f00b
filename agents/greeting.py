"""What a conversation begins with: the cluster's name, its state in a sentence, and four questions that fit what is
wrong in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from agents.cluster.source import ViewSource
from agents.diagnosis import Attention
from agents.evidence import ClusterIdentity, Diagnosis, Domain, RootCause
from agents.examination import examine
from agents.prose import prose

STARTERS = 4
_ORDINARY = re.compile(r"[A-Za-z0-9]+ [A-Za-z0-9.:_-]{1,253}")

# Questions per domain, filled with the object that has to be changed; the first row that fits a cause is taken.
_QUESTIONS: dict[Domain, str] = {
    Domain.SECURITY: "What is insecure about {name}, and what would an intruder gain?",
    Domain.PERFORMANCE: "Why does {name} run out of resources?",
    Domain.TROUBLESHOOTING: "Why is {name} not working?",
    Domain.DEPLOYMENT: "What holds up the rollout of {name}?",
    Domain.MONITORING: "Why are there no metrics of {name}?",
    Domain.STORAGE: "What is wrong with the storage of {name}?",
    Domain.NETWORKING: "Why can {name} not be reached?",
}
# Where nothing (more) is wrong, these are still worth asking.
_ALWAYS: tuple[tuple[Domain, str], ...] = (
    (Domain.TROUBLESHOOTING, "Is anything broken in this cluster right now?"),
    (Domain.DEPLOYMENT, "What would not survive the drain of a node?"),
    (Domain.SECURITY, "Which workloads have more rights than they need?"),
    (Domain.PERFORMANCE, "Which workloads are close to their limits?"),
)


@dataclass(frozen=True, slots=True)
class Starter:
    """A question to begin with, the domain it belongs to, and a short label for a button."""

    label: str
    question: str
    domain: Domain


@dataclass(frozen=True, slots=True)
class Greeting:
    """The opening of a conversation."""

    cluster: ClusterIdentity
    text: str
    starters: tuple[Starter, ...]


async def greet(source: ViewSource, mask: Callable[[str], str]) -> Greeting:
    """Looks at the cluster and says hello. Raises ClusterError."""
    examination = await examine(source, Attention(), mask)
    diagnosis = examination.diagnosis
    return Greeting(examination.view.identity, _text(examination.view.identity, diagnosis), starters(diagnosis))


def _text(identity: ClusterIdentity, diagnosis: Diagnosis) -> str:
    faults = [c for c in diagnosis.root_causes if c.severity.is_fault]
    if faults:
        things = "one thing is" if len(faults) == 1 else f"{len(faults)} things are"
        state = f"{things} broken right now, first of all {prose(str(faults[0].object))}."
    elif diagnosis.root_causes:
        state = "nothing is broken right now; some risks are worth a look."
    else:
        state = "nothing is broken right now."
    return f"I am looking at **{prose(identity.label)}**: {state} Ask me anything about it."


def starters(diagnosis: Diagnosis) -> tuple[Starter, ...]:
    """Four questions: about what is wrong, one per object and domain as far as it goes, then those always worth
    asking.
    """
    chosen: list[Starter] = []
    for cause in diagnosis.root_causes:
        starter = _starter(cause)
        # it is asked in the person's name: what somebody called a role must not speak in it
        if not _ORDINARY.fullmatch(starter.label):
            continue
        if len(chosen) < STARTERS and starter.question not in {s.question for s in chosen}:
            chosen.append(starter)
    for domain, question in _ALWAYS:
        if len(chosen) < STARTERS:
            chosen.append(Starter(question.rstrip("?"), question, domain))
    return tuple(chosen)


def _starter(cause: RootCause) -> Starter:
    shown = cause.explains[0].object if cause.explains else cause.object
    place = f"{shown.name} in namespace {shown.namespace}" if shown.namespace else shown.name
    question = _QUESTIONS[cause.domain if cause.domain in _QUESTIONS else Domain.TROUBLESHOOTING]
    return Starter(f"{shown.kind} {shown.name}", question.format(name=place), cause.domain)
