"""A live cluster and the record of it are diagnosed alike: `diagnose --snapshot` and `diagnose` over `snapshot serve`.

`python -m tests.contract.test_diagnose_parity FOLDER…` compares further snapshots by hand.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.cluster.capture import capture
from agents.cluster.reader import ClusterReader
from agents.cluster.snapshot import SnapshotReader, load_snapshot
from agents.cluster.source import ViewSource
from agents.diagnosis import Attention
from agents.evidence import Diagnosis
from agents.examination import examine
from tests.support.snapshots import SCENARIOS, live_reader, served
from ui.cli.output import diagnosis_json
from ui.container import DEMO_SNAPSHOT

FOLDERS = [*sorted(f for f in SCENARIOS.iterdir() if f.is_dir()), DEMO_SNAPSHOT]


async def _diagnosis(reader: ClusterReader) -> Diagnosis:
    source = ViewSource(reader)
    try:
        return (await examine(source, Attention(), lambda text: text)).diagnosis
    finally:
        await source.aclose()


def _json(diagnosis: Diagnosis) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(diagnosis_json(diagnosis)))
    return found


async def both(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(by the snapshot reader, by the live reader) as the JSON that the command prints."""
    recorded = await _diagnosis(SnapshotReader(load_snapshot(folder)))
    with served(folder) as server:
        live = await _diagnosis(live_reader(server.url))
    found = _json(live)
    # who the server is belongs to the server: a folder without kube-system is known by its path
    found["not_checked"] = [row for row in found["not_checked"] if row["what"] != "cluster identity"]
    return _json(recorded), found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
async def test_a_snapshot_and_the_same_cluster_live_get_the_same_diagnosis(folder: Path) -> None:
    recorded, live = await both(folder)
    for part in recorded:
        assert live[part] == recorded[part], part


async def test_what_is_captured_from_a_live_cluster_gets_the_same_diagnosis(tmp_path: Path) -> None:
    recorded = _json(await _diagnosis(SnapshotReader(load_snapshot(DEMO_SNAPSHOT))))
    with served(DEMO_SNAPSHOT) as server:
        reader = live_reader(server.url)
        await capture(reader, tmp_path / "copy", mask=lambda text: text)
        await reader.aclose()
    captured = _json(await _diagnosis(SnapshotReader(load_snapshot(tmp_path / "copy"))))
    assert recorded["root_causes"]
    assert captured == recorded


async def _compare(folders: list[Path]) -> int:
    different = 0
    for folder in folders:
        recorded, live = await both(folder)
        parts = [part for part in recorded if recorded[part] != live[part]]
        different += bool(parts)
        print(f"{folder.name}: {'different in ' + ', '.join(parts) if parts else 'the same'}")
        for part in parts:
            old = [json.dumps(row) for row in recorded[part]]
            new = [json.dumps(row) for row in live[part]]
            print("".join(f"  - {row[:300]}\n" for row in old if row not in new), end="")
            print("".join(f"  + {row[:300]}\n" for row in new if row not in old), end="")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_compare([Path(argument) for argument in sys.argv[1:]])))
