"""The stage of a mutation: a healthy cluster with a workload that will fail and a neighbour that is innocent."""
# messages of kubelet, scheduler and controllers stand as they are written, in one piece

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.support.healthy import APPS, NEIGHBOURS, healthy
from tests.support.judging import Cause, Expected
from tests.support.simulation import DAY, Patch, Raw, Simulation, Workload

CONTROLLERS = ("Deployment", "StatefulSet", "DaemonSet")


class Scene:
    """What a mutation works on. The seed decides kinds, names, ages, whether old pods are still well, and events."""

    def __init__(self, seed: int, *, salt: str = "", beside: Scene | None = None) -> None:
        """`beside`: a scene whose cluster and namespace this one shares, with other names, for a second fault."""
        cluster, namespace = (beside.sim, beside.ns) if beside is not None else healthy(seed)
        self.sim: Simulation = cluster
        self.ns: str = namespace
        self.seed = seed
        self.rng = random.Random(f"{seed}{salt}")
        taken = {w.name for w in self.sim.workloads}
        self.app = self.rng.choice([a for a in APPS if a not in taken])
        self.neighbour = self.sim.workload(
            "Deployment", self.ns, self.rng.choice([n for n in NEIGHBOURS if n not in taken])
        )
        self.expected = Expected(innocent=[self.ref(self.neighbour), "Deployment/kube-system/coredns"])
        self._work: Workload | None = None

    def ref(self, work: Workload) -> str:
        return f"{work.kind}/{work.ns}/{work.name}"

    @property
    def work(self) -> Workload:
        if self._work is None:
            self._work = self.workload()
        return self._work

    def workload(self, kinds: Sequence[str] = ("Deployment",), **more: Any) -> Workload:
        """Creates the workload that will fail, healthy as yet."""
        kind = self.rng.choice(tuple(kinds))
        replicas = more.pop("replicas", self.rng.choice((2, 3)))
        self._work = self.sim.workload(kind, self.ns, self.app, replicas=replicas, **more)
        return self._work

    def release(
        self, patch: Patch, *, kinds: Sequence[str] = CONTROLLERS, events: bool = False, **more: Any
    ) -> list[Raw]:
        """Rolls out a change that does not come up; the pods that carry it. `events`: they alone tell what it is."""
        work = self._work or self.workload(kinds, **more)
        late = not events and self.rng.random() < 0.35
        minutes = self.rng.choice((14.0, 22.0, 43.0)) if not late else 200.0
        self.sim.events_kept = not late
        return self.sim.release(work, patch, minutes=minutes, fresh=self.rng.random() < 0.5)

    def container(self, change: Callable[[Raw], Any], **more: Any) -> list[Raw]:
        """A release that changes the first container."""
        return self.release(lambda spec: change(spec["containers"][0]), **more)

    def degrade(self, minutes: float = 31) -> list[Raw]:
        """The pods of a workload that was well until something around it changed."""
        self.work.extra["was_ready"] = True
        return list(self.sim.pods(self.ns, self.work.name))

    def cause(self, *words: str, of: Sequence[str] = ()) -> Expected:
        """Adds an expected cause: words, and the objects that will do (the workload by default)."""
        self.expected.causes.append(Cause(tuple(of) or (self.ref(self.work),), words))
        return self.expected

    def log(self, *lines: str) -> str:
        """Log lines with time stamps of one style, the last the newest."""
        style = self.rng.randrange(3)
        out = []
        for index, line in enumerate(lines):
            when = self.sim.ago(2.2 - index * 0.01)
            level = "error" if index == len(lines) - 1 else "info"
            out.append(
                (f"{when} {level.upper()} {line}", f'{{"ts":"{when}","level":"{level}","msg":"{line}"}}', line)[style]
            )
        return "\n".join(out)

    def age(self) -> float:
        return 20 * DAY
