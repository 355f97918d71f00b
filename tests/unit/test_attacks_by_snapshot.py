"""What a hostile folder of a snapshot cannot do: end the process, hold it up, or show files from elsewhere."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.cluster.objects import moment
from agents.cluster.secrets import reduce_object
from agents.cluster.snapshot import load_snapshot

_POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: n}\n"
_MERGES = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [{','.join([f'*a{n - 1}'] * 60)}]\n  k{n}: 1\n" for n in range(1, 9)
)


def _folder(tmp_path: Path) -> Path:
    (tmp_path / "pod.yaml").write_text(_POD)
    return tmp_path


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, "- " * 100_000, "{a: " * 100_000, "? " * 100_000, "[" * 100_000 + "]" * 100_000],
    ids=["lists", "items", "maps", "keys", "closed"],
)
def test_deep_nesting_is_a_problem_of_its_file_and_ends_no_process(tmp_path: Path, content: str) -> None:
    (_folder(tmp_path) / "deep.yaml").write_text(content)
    script = (
        "import pathlib, sys; from agents.cluster.snapshot import load_snapshot; "
        "s = load_snapshot(pathlib.Path(sys.argv[1])); print(len(s.objects), [p[0] for p in s.problems])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "1 ['deep.yaml']")


def test_merges_that_multiply_are_a_problem_of_their_file(tmp_path: Path) -> None:
    (_folder(tmp_path) / "merges.yaml").write_text(_MERGES)
    started = time.monotonic()
    snapshot = load_snapshot(tmp_path)
    assert [what for what, _ in snapshot.problems] == ["merges.yaml"]
    assert time.monotonic() - started < 10


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.log").write_text("secret\n")
    (outside / "snapshot.json").write_text('{"cluster": {"name": "theirs"}}')
    folder = tmp_path / "snapshot"
    (folder / "logs" / "n" / "a").mkdir(parents=True)
    _folder(folder)
    (folder / "logs" / "n" / "a" / "c.log").symlink_to(outside / "c.log")
    (folder / "logs" / "n" / "b").symlink_to(outside)
    (folder / "snapshot.json").symlink_to(outside / "snapshot.json")
    snapshot = load_snapshot(folder)
    assert dict(snapshot.logs) == {}
    assert dict(snapshot.cluster) == {}


@pytest.mark.parametrize("captured_at", ["9999-12-31T23:59:59.5Z", "0001-01-01T00:00:00+14:00", "x", ""])
def test_a_clock_beyond_all_bounds_is_not_believed(tmp_path: Path, captured_at: str) -> None:
    (_folder(tmp_path) / "snapshot.json").write_text(f'{{"captured_at": "{captured_at}"}}')
    assert load_snapshot(tmp_path).captured_at is not None
    assert moment("0001-01-01T00:00:00+14:00") is None


@pytest.mark.parametrize("api_version", ["v1", "core/v1", "v1/"])
def test_a_secret_is_reduced_whatever_its_version_says(api_version: str) -> None:
    raw = {
        "apiVersion": api_version,
        "kind": "Secret",
        "metadata": {"name": "a", "annotations": {"applied": '{"data":{"p":"aHVudGVyMg=="}}'}},
        "data": {"p": "aHVudGVyMg=="},
        "stringData": {"q": "hunter2"},
    }
    reduced = str(reduce_object(raw, b"key"))
    assert "aHVudGVyMg" not in reduced
    assert "hunter2" not in reduced
