"""Prints how many recorded cases are diagnosed right, by `diagnose` and by `ask`, with the scorer that comes with them.

    PYTHONPATH=. .venv/bin/python tests/benchmarks/bench_diagnosis.py CASES TOOLS [--ask]

CASES holds one folder per case (a snapshot with `case.json` and `answer.json`); TOOLS holds `predict_snapshots.py` and
`score_snapshots.py`, which run the `kubechat` command over them and judge what it says.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

KUBECHAT = Path(sys.executable).with_name("kubechat")


def main() -> int:
    parser = argparse.ArgumentParser(description="Right diagnoses among recorded cases.")
    parser.add_argument("cases", type=Path)
    parser.add_argument("tools", type=Path)
    parser.add_argument("--ask", action="store_true", help="ask the case's question instead of running diagnose")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kc-") as folder:
        predictions = Path(folder) / "predictions.jsonl"
        predict = [sys.executable, str(arguments.tools / "predict_snapshots.py"), str(KUBECHAT), str(arguments.cases)]
        environment = {**os.environ, "KUBECHAT_DATA_DIR": f"{folder}/data"}
        ask = ["--ask"] if arguments.ask else []
        subprocess.run([*predict, str(predictions), *ask], env=environment, check=True)
        score = [sys.executable, str(arguments.tools / "score_snapshots.py"), str(predictions), str(arguments.cases)]
        return subprocess.run(score, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
