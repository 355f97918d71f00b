"""States of known cause that were generated: the diagnosis names the cause, and is silent on a healthy cluster.

Each mutation runs with one seed here; `tests/benchmarks/bench_mutations.py` runs them with many.
"""

from __future__ import annotations

import pytest

from tests.support.mutations import MUTATIONS, verdict_of, verdict_of_healthy


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_cause_of_a_generated_fault_is_named_first_with_its_facts(name: str) -> None:
    verdict = verdict_of(name, sum(name.encode()) % 16)
    assert verdict.solid, verdict.seen
    assert verdict.every_cause, verdict.seen
    assert not verdict.blamed, verdict.seen


@pytest.mark.parametrize("seed", range(6))
def test_a_healthy_cluster_with_what_looks_like_trouble_is_silent(seed: int) -> None:
    verdict = verdict_of_healthy(seed)
    assert not verdict.noisy, verdict.seen
