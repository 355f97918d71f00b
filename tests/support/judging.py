"""Judges the diagnosis of a generated state, by the rules of recorded ones: solid, all causes, blamed, noisy."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

from agents.cluster.gather import gather_view
from agents.cluster.secrets import reduce_object
from agents.cluster.snapshot import Snapshot, SnapshotReader
from agents.cluster.view import ClusterView, LogKey
from agents.diagnosis import Attention
from agents.evidence import Diagnosis, ObjectRef
from agents.examination import analyse
from tests.support.controllers import settle
from tests.support.simulation import Raw, Simulation


@dataclass(frozen=True, slots=True)
class Cause:
    """One expected root cause: objects ("Kind/namespace/name", any will do) and words ("a|b": either will do)."""

    objects: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(slots=True)
class Expected:
    """What a state is about. `risk`: nothing is broken yet, so a warning will do."""

    causes: list[Cause] = field(default_factory=list)
    innocent: list[str] = field(default_factory=list)
    risk: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The marks of one state and, in words, what is wrong."""

    solid: bool
    every_cause: bool
    blamed: tuple[str, ...]
    noisy: bool
    seen: str


def view_of_state(sim: Simulation, focus: str) -> ClusterView:
    """The view as it would be read from a recording of the state."""
    settle(sim)
    objects = json.loads(json.dumps(list(sim.objects.values())))
    snapshot = Snapshot(Path("generated"), objects=[reduce_object(o, b"test") for o in objects], captured_at=sim.now)
    for (ns, pod, container, previous), text in sim.logs.items():
        snapshot.logs[LogKey(ns, pod, container, previous=previous)] = tuple(text.splitlines())
    return asyncio.run(gather_view(SnapshotReader(snapshot), focus=frozenset({focus})))


def diagnosis_of(view: ClusterView) -> Diagnosis:
    return analyse(view, Attention(view.focus), lambda text: text)


def judge(view: ClusterView, diagnosis: Diagnosis, expected: Expected) -> Verdict:
    """The marks of a diagnosis; a state without expected causes is healthy and can only be noisy."""
    found = [_owners(view, c.object) for c in diagnosis.root_causes]
    loud = [_owners(view, f.object) for f in diagnosis.findings if f.severity.is_fault]
    noisy = not expected.causes and bool(found or loud)
    every = all(any(set(c.objects) & owners for owners in found) for c in expected.causes)
    allowed = {o for c in expected.causes for o in c.objects}
    innocent = set(expected.innocent) - allowed
    blamed = tuple(sorted(innocent & set().union(*found, *loud)))
    first = diagnosis.root_causes[0] if diagnosis.root_causes else None
    solid = False
    missing: list[str] = []
    if first is not None:
        text = " ".join([first.code, first.cause, *(e.model_dump_json() for e in first.evidence)]).lower()
        right = next((c for c in expected.causes if set(c.objects) & found[0]), None)
        missing = [w for w in right.words if not any(o.lower() in text for o in w.split("|"))] if right else []
        enough = first.severity.is_fault or (expected.risk and first.severity.value == "warning")
        solid = right is not None and not missing and not blamed and enough
    shown = [f"{c.code}@{c.object}({c.severity.value})" for c in diagnosis.root_causes[:4]]
    extra = [f"{f.code}@{f.object}" for f in diagnosis.findings if f.severity.is_fault] if noisy else []
    return Verdict(solid, every, blamed, noisy, f"{shown} missing={missing} {extra or ''}")


def _owners(view: ClusterView, ref: ObjectRef) -> set[str]:
    """The object and what owns it, as "Kind/namespace/name"."""
    names = {f"{ref.kind}/{ref.namespace}/{ref.name}"}
    obj = view.resolve(ref)
    while obj is not None:
        names.add(f"{obj.kind}/{obj.namespace}/{obj.name}")
        obj = view.owner_of(obj)
    return names


def dump(sim: Simulation, folder: Path) -> None:
    """Writes a settled state as a snapshot folder, to look at it with the command."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "objects.json").write_text(json.dumps({"kind": "List", "items": list(sim.objects.values())}))
    stamp: Raw = {"captured_at": sim.ago(0)}
    (folder / "snapshot.json").write_text(json.dumps(stamp))
    for (ns, pod, container, previous), text in sim.logs.items():
        place = folder / "logs" / ns / pod / f"{container}{'.previous' if previous else ''}.log"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
