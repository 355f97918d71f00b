"""All mutations of known cause, and one generated state judged: the entry point of test and benchmark.

A mutation takes a `Scene` (a healthy cluster, a workload that will fail, an innocent neighbour), changes what the API
server, the scheduler, kubelets and controllers would show, and returns what a right diagnosis says. The seed varies
kinds of workloads, names, labels, ages, whether old pods are still well, and whether events are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.support import (
    mutations_logs,
    mutations_paths,
    mutations_platform,
    mutations_rare,
    mutations_reach,
    mutations_rights,
    mutations_start,
    mutations_work,
)
from tests.support.healthy import healthy
from tests.support.judging import Expected, Verdict, diagnosis_of, judge, view_of_state
from tests.support.scene import Scene

Mutation = Callable[[Scene], Expected]

_MODULES = (
    mutations_start,
    mutations_logs,
    mutations_reach,
    mutations_paths,
    mutations_platform,
    mutations_rare,
    mutations_work,
    mutations_rights,
)
MUTATIONS: Mapping[str, Mutation] = {m.__name__: m for module in _MODULES for m in module.MUTATIONS}


def verdict_of(name: str, seed: int) -> Verdict:
    """Builds one broken state, diagnoses it with its namespace in focus, and judges that."""
    scene = Scene(seed, salt=name)
    expected = MUTATIONS[name](scene)
    view = view_of_state(scene.sim, scene.ns)
    return judge(view, diagnosis_of(view), expected)


def verdict_of_healthy(seed: int) -> Verdict:
    """Judges a state in which nothing is broken."""
    sim, focus = healthy(seed)
    for name in ("tariff-api", "quota-view"):
        sim.workload("Deployment", focus, name)
    view = view_of_state(sim, focus)
    return judge(view, diagnosis_of(view), Expected())
