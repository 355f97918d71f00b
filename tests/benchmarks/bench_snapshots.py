"""Seconds of a diagnosis per recorded case: `PYTHONPATH=. python tests/benchmarks/bench_snapshots.py [FOLDER…]`.

Each FOLDER is a snapshot (it holds files), or holds snapshots; the default is tests/scenarios and the demo. Each case
is read from disk and diagnosed in this process (no start-up), best of three. Prints objects, findings, root causes and
seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from agents.cluster.snapshot import SnapshotReader, load_snapshot
from agents.cluster.source import ViewSource
from agents.diagnosis import Attention
from agents.examination import Examination, examine
from assistant.errors import SnapshotUnreadable
from assistant.guardrails.credentials import CREDENTIAL_RULES
from assistant.guardrails.masking import Masker
from ui.container import DEMO_SNAPSHOT

SCENARIOS = Path(__file__).parents[1] / "scenarios"
RUNS = 3


def cases(folders: list[Path]) -> Iterator[Path]:
    """The snapshots among the folders and directly below them."""
    for folder in folders:
        files = any(folder.glob("*.json")) or any(folder.glob("*.y*ml"))
        yield from [folder] if files else sorted(f for f in folder.iterdir() if f.is_dir())


async def diagnosed(folder: Path, masker: Masker) -> tuple[float, Examination]:
    """(seconds, what was found) of one reading and diagnosis."""
    started = time.perf_counter()
    source = ViewSource(SnapshotReader(load_snapshot(folder)))
    examination = await examine(source, Attention(), lambda words: masker.mask(words).text)
    await source.aclose()
    return time.perf_counter() - started, examination


async def measure(folders: list[Path]) -> int:
    masker = Masker(b"benchmark".ljust(32, b"."), CREDENTIAL_RULES)
    taken = []
    for folder in cases(folders):
        try:
            runs = [await diagnosed(folder, masker) for _ in range(RUNS)]
        except SnapshotUnreadable as error:
            print(f"{folder.name:28} {error.message}")
            continue
        best = min(seconds for seconds, _ in runs)
        view, diagnosis = runs[0][1].view, runs[0][1].diagnosis
        taken.append(best)
        print(
            f"{folder.name:28} {len(view):6} objects {len(diagnosis.findings):4} findings "
            f"{len(diagnosis.root_causes):3} root causes {best:6.3f} s"
        )
    if not taken:
        return 1
    print(f"{len(taken)} cases: median {statistics.median(taken):.3f} s, longest {max(taken):.3f} s")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Seconds of a diagnosis per recorded case.")
    parser.add_argument("folders", nargs="*", type=Path, default=[SCENARIOS, DEMO_SNAPSHOT])
    return asyncio.run(measure(parser.parse_args().folders))


if __name__ == "__main__":
    sys.exit(main())
