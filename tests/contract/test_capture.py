"""A capture of a cluster: what it holds, what it never holds, and that it reads like the cluster did."""

import re
from pathlib import Path

import orjson
import pytest

from agents.cluster.capture import capture
from agents.cluster.gather import GatherLimits, gather_view
from agents.cluster.snapshot import SnapshotReader, load_snapshot
from assistant.errors import BadInput, ClusterUnreachable
from tests.support.snapshots import BAKERY, LOOSE, live_reader, served, write_files

PASSWORD = re.compile(r"(?i)(password=)\S+")


def unmasked(text: str) -> str:
    return text


def mask(text: str) -> str:
    return PASSWORD.sub(r"\1***", text)


def everything(folder: Path) -> str:
    return "\n".join(p.read_text(errors="replace") for p in sorted(folder.rglob("*")) if p.is_file())


@pytest.mark.parametrize("origin", [BAKERY, LOOSE], ids=lambda f: f.name)
async def test_a_capture_of_a_served_snapshot_reads_like_the_original(tmp_path: Path, origin: Path) -> None:
    snapshot = load_snapshot(origin)
    with served(snapshot) as server:
        reader = live_reader(server.url)
        identity = await reader.identity()
        report = await capture(reader, tmp_path / "record", mask=unmasked)
        await reader.aclose()
    again = load_snapshot(tmp_path / "record")

    # a focus that no pod is in: the logs that a capture holds are those of unwell pods
    limits = GatherLimits(log_lines=2000)
    before = await gather_view(SnapshotReader(snapshot), limits=limits)
    after = await gather_view(SnapshotReader(again), limits=limits)

    assert {o.ref.key: o.raw for o in after} == {o.ref.key: o.raw for o in before if o.kind != "Oven"}
    assert after.logs == before.logs
    assert after.taken_at == before.taken_at
    assert after.identity.id == identity.id
    assert set(before.missing) <= set(after.missing)
    assert {k for k in after.kinds if after.listed(k)} == {k for k in before.kinds if before.listed(k)}
    assert report.objects["Pod"] == 2


async def test_a_capture_holds_no_secret_and_masks_text_where_its_key_tells_too(tmp_path: Path) -> None:
    with served(BAKERY) as server:
        reader = live_reader(server.url)
        await capture(reader, tmp_path / "record", mask=mask)
        await reader.aclose()
    text = everything(tmp_path / "record")

    assert "dough-rises-at-dawn" not in text  # in a ConfigMap's file
    assert "flour-and-water" not in text  # in a log
    assert "crumbs-and-butter" not in text  # an environment variable that is a password by its name alone
    assert "c291cmRvdWdoLXN0YXJ0ZXI" not in text
    assert "sourdough-starter" not in text
    assert "host=mill.example" in text
    assert "mill-login" in text


async def test_logs_of_healthy_pods_are_recorded_only_when_asked_for(tmp_path: Path) -> None:
    said: list[str] = []
    with served(BAKERY) as server:
        reader = live_reader(server.url)
        few = await capture(reader, tmp_path / "few", mask=unmasked, progress=said.append)
        all_logs = await capture(reader, tmp_path / "all", mask=unmasked, with_healthy_logs=True)
        await reader.aclose()

    assert not (tmp_path / "few" / "logs" / "bakery" / "till-5b6f8-qq7zn").exists()
    assert (tmp_path / "few" / "logs" / "bakery" / "oven-7c9d4-x2x1k" / "oven.previous.log").is_file()
    assert (tmp_path / "all" / "logs" / "bakery" / "till-5b6f8-qq7zn" / "till.log").is_file()
    assert all_logs.logs > few.logs
    assert "Pod: 2" in said


async def test_a_capture_of_some_namespaces_says_what_it_leaves_out(tmp_path: Path) -> None:
    with served(BAKERY) as server:
        reader = live_reader(server.url)
        await capture(reader, tmp_path / "record", namespaces=["bakery"], mask=unmasked)
        await reader.aclose()
    record = SnapshotReader(load_snapshot(tmp_path / "record"))
    view = await gather_view(record)

    assert view.listed("Pod", "bakery")
    assert not view.listed("Pod", "elsewhere")
    assert view.listed("Node")
    assert view.identity.id == "0b5d7d3e-1111-4c1a-9a6e-2f4f6f1c0001"


async def test_what_could_not_be_read_stands_in_the_record(tmp_path: Path) -> None:
    with served(BAKERY) as server:
        reader = live_reader(server.url)
        report = await capture(reader, tmp_path / "record", mask=unmasked)
        await reader.aclose()
    description = orjson.loads((tmp_path / "record" / "snapshot.json").read_bytes())

    left_out = {entry["what"]: entry["reason"] for entry in description["not_read"]}
    assert left_out == {"ClusterRole": "forbidden", "Lease": "timed-out"}
    assert {what for what, _ in report.not_read} == {"ClusterRole", "Lease"}
    assert "ClusterRole" not in description["read"]
    assert "Ingress" in description["read"]
    assert description["captured_at"] == "2026-03-02T09:30:00Z"


async def test_a_folder_that_holds_anything_is_refused(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "full", {"notes.txt": "mine"})
    reader = SnapshotReader(load_snapshot(BAKERY))
    with pytest.raises(BadInput, match="not empty"):
        await capture(reader, folder, mask=unmasked)
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]
    with pytest.raises(BadInput, match="no folder"):
        await capture(reader, folder / "notes.txt", mask=unmasked)


async def test_a_capture_that_breaks_off_is_recognisable(tmp_path: Path) -> None:
    with served(BAKERY) as server:
        reader = live_reader(server.url)
        await reader.identity()
        await reader.resources()
    with pytest.raises(ClusterUnreachable):
        await capture(reader, tmp_path / "record", mask=unmasked)
    await reader.aclose()
    assert not (tmp_path / "record" / "snapshot.json").exists()
