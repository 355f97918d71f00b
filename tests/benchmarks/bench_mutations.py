"""Runs every mutation with several seeds and prints how often the diagnosis is right; then healthy clusters.

usage: python -m tests.benchmarks.bench_mutations [--seeds 6] [--healthy 20] [--only NAME ...] [--need 0.95]

Marks per mutation: solid (the first root cause is the expected object, with the decisive words, loud enough, nobody
innocent blamed), all causes found, innocents blamed. Exit 1 below `--need` or when a healthy cluster is noisy.
"""

from __future__ import annotations

import argparse
import sys

from tests.support.mutations import MUTATIONS, verdict_of, verdict_of_healthy


def main() -> int:
    parser = argparse.ArgumentParser(description="How often is the cause of a generated fault named?")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--healthy", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=list(MUTATIONS))
    parser.add_argument("--need", type=float, default=0.95, help="the share of solid states below which to fail")
    options = parser.parse_args()
    solid = every = blamed = states = 0
    print(f"{'mutation':38s} solid  all causes  blamed")
    for name in options.only:
        verdicts = [verdict_of(name, seed) for seed in range(options.seeds)]
        counts = (
            sum(v.solid for v in verdicts),
            sum(v.every_cause for v in verdicts),
            sum(bool(v.blamed) for v in verdicts),
        )
        print(f"{name:38s} {counts[0]}/{len(verdicts)}    {counts[1]}/{len(verdicts)}         {counts[2]}")
        for seed, verdict in enumerate(verdicts):
            if not verdict.solid or not verdict.every_cause:
                print(f"    seed {seed}: {verdict.seen}")
        solid, every, blamed = solid + counts[0], every + counts[1], blamed + counts[2]
        states += len(verdicts)
    noisy = [seed for seed in range(options.healthy) if verdict_of_healthy(seed).noisy]
    print(f"{len(options.only)} mutations, {states} states: solid {solid}, all causes {every}, blamed {blamed}")
    print(f"healthy: {len(noisy)} of {options.healthy} noisy {noisy or ''}")
    return int(solid < options.need * states or bool(noisy))


if __name__ == "__main__":
    sys.exit(main())
