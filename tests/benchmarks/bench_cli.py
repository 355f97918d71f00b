"""Whole-process times of the terminal: `PYTHONPATH=. python tests/benchmarks/bench_cli.py [--runs 7] [--snapshot DIR]`.

Prints best and median of `kubechat --help` (goal 0.4 s) and of `kubechat diagnose` on a snapshot (goal 1.5 s), from the
start of the process to its end, after one run that warms the file cache. Exit code 1 when a best is above its goal.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from ui.container import DEMO_SNAPSHOT


def seconds(arguments: list[str]) -> float:
    """Wall time of one process. Raises SystemExit when it fails."""
    started = time.perf_counter()
    done = subprocess.run(
        [str(Path(sys.executable).parent / "kubechat"), *arguments], capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"kubechat {' '.join(arguments)} ended with {done.returncode}: {done.stderr[:400]}")
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description="Whole-process times of the terminal.")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--snapshot", type=Path, default=DEMO_SNAPSHOT)
    options = parser.parse_args()
    met = True
    for goal, arguments in ((0.4, ["--help"]), (1.5, ["diagnose", "--snapshot", str(options.snapshot)])):
        seconds(arguments)
        taken = [seconds(arguments) for _ in range(options.runs)]
        met = met and min(taken) <= goal
        name = f"kubechat {arguments[0]}"
        print(f"{name:18} best {min(taken):.2f} s, median {statistics.median(taken):.2f} s (goal: <= {goal} s)")
    print(f"load of the machine {os.getloadavg()[0]:.1f}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
