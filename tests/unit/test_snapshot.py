"""Folders that people and tools made: every layout is read, everything broken is named, nothing hangs or crashes."""

import json
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest

from agents.cluster.documents import plain
from agents.cluster.gather import gather_view
from agents.cluster.reader import LogRequest, Missing
from agents.cluster.secrets import reduce_object
from agents.cluster.snapshot import Snapshot, SnapshotReader, load_snapshot
from agents.cluster.view import LogKey
from assistant.errors import SnapshotUnreadable
from tests.support.snapshots import BAKERY, LOOSE, pod_json, write_files

POD = json.dumps(pod_json("p"))
# each line holds the one before nine times
LAUGHS = "a: &a [x]\n" + "".join(f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in pairwise("abcdefghi"))


def names(snapshot: Snapshot) -> list[str]:
    return sorted(o["metadata"]["name"] for o in snapshot.objects)


def test_a_missing_and_an_empty_folder_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SnapshotUnreadable, match="There is no folder"):
        load_snapshot(tmp_path / "nosuch")
    with pytest.raises(SnapshotUnreadable, match="no Kubernetes object"):
        load_snapshot(tmp_path)
    write_files(tmp_path, {"notes.json": '{"hello": 1}', "README.md": "# hi", "half.json": '{"kind": "Po'})
    with pytest.raises(SnapshotUnreadable, match=r"half\.json: line 1: not valid JSON"):
        load_snapshot(tmp_path)


def test_what_is_broken_is_named_with_its_line_and_the_rest_is_read(tmp_path: Path) -> None:
    good = "apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: mill}\n"
    broken = "kind: [1\nx: }\n"
    write_files(
        tmp_path,
        {
            "a/half.json": '{\n "kind": "Pod",\n "metadata": {"na',
            "b.yaml": (good % "one") + "--- # next\n" + broken + "---\n" + (good % "two"),
            "binary.json": bytes(range(256)),
            "binary.yaml": b"\x00\x01\xff\xfe\x80",
            "empty.yaml": "",
            "tabs.yml": "kind: Pod\n\tname: x\n",
        },
    )
    snapshot = load_snapshot(tmp_path)

    assert names(snapshot) == ["one", "two"]
    assert dict(snapshot.problems) == {
        "a/half.json": Missing("unreadable", "line 3: not valid JSON"),
        "b.yaml": Missing("unreadable", "line 6: not valid YAML"),
        "binary.json": Missing("unreadable", "line 1: not valid JSON"),
        "binary.yaml": Missing("unreadable", "line 1: not valid YAML"),
        "tabs.yml": Missing("unreadable", "line 2: not valid YAML"),
    }


def test_a_broken_description_does_not_hide_the_objects(tmp_path: Path) -> None:
    write_files(tmp_path, {"p.json": POD, "snapshot.json": '{"captured_at": '})
    snapshot = load_snapshot(tmp_path)
    assert names(snapshot) == ["p"]
    assert snapshot.problems[0][0] == "snapshot.json"


@pytest.mark.parametrize(
    "description", ["[]", "null", '"words"', '{"captured_at": 7, "cluster": [], "read": {}, "not_read": 3}', "{}"]
)
async def test_a_description_of_another_shape_is_read_as_far_as_it_goes(tmp_path: Path, description: str) -> None:
    write_files(tmp_path, {"p.json": POD, "snapshot.json": description})
    reader = SnapshotReader(load_snapshot(tmp_path))
    view = await gather_view(reader)
    assert len(view) == 1
    assert view.identity.name == tmp_path.name


@pytest.mark.parametrize(
    "bomb",
    [
        LAUGHS,
        "kind: &a {b: *a}",
        "[" * 20_000,
        "{a: " * 5_000 + "1" + "}" * 5_000,
    ],
    ids=["laughs", "itself", "brackets", "braces"],
)
def test_yaml_that_explodes_is_refused_quickly(tmp_path: Path, bomb: str) -> None:
    write_files(tmp_path, {"p.json": POD, "bomb.yaml": bomb})
    started = time.monotonic()
    snapshot = load_snapshot(tmp_path)
    assert time.monotonic() - started < 20
    assert names(snapshot) == ["p"]
    assert [what for what, _ in snapshot.problems] == ["bomb.yaml"]


def test_nested_json_lists_and_deep_objects_do_not_break_it(tmp_path: Path) -> None:
    deep = "[" * 900 + POD + "]" * 900
    listed = json.dumps(
        {"kind": "List", "items": [{"kind": "List", "items": [pod_json("q"), 3, None, [pod_json("r")]]}]}
    )
    write_files(tmp_path, {"deep.json": deep, "listed.json": listed})
    assert names(load_snapshot(tmp_path)) == ["p", "q", "r"]


def test_links_are_not_followed_round_in_circles(tmp_path: Path) -> None:
    write_files(tmp_path / "folder", {"p.json": POD})
    (tmp_path / "folder" / "loop").symlink_to(tmp_path / "folder", target_is_directory=True)
    (tmp_path / "folder" / "self.json").symlink_to(tmp_path / "folder" / "self.json")
    (tmp_path / "outside.json").write_text(json.dumps(pod_json("outside")))
    (tmp_path / "folder" / "out.json").symlink_to(tmp_path / "outside.json")
    os.mkfifo(tmp_path / "folder" / "pipe.json")
    assert names(load_snapshot(tmp_path / "folder")) == ["p"]


def test_a_huge_annotation_is_read(tmp_path: Path) -> None:
    pod = pod_json("p")
    pod["metadata"]["annotations"] = {"big": "x" * 5_000_000}
    write_files(tmp_path, {"p.json": json.dumps(pod)})
    assert len(load_snapshot(tmp_path).objects[0]["metadata"]["annotations"]["big"]) == 5_000_000


def test_fields_of_wrong_types_are_carried_and_objects_without_a_name_are_not(tmp_path: Path) -> None:
    odd = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "odd", "labels": [1], "namespace": 3}, "spec": "no"},
        {"apiVersion": "v1", "kind": "Pod", "metadata": "none"},
        {"apiVersion": "v1", "kind": "Pod"},
        {"kind": "Pod", "metadata": {"name": "no-version"}},
    ]
    write_files(tmp_path, {"odd.json": json.dumps(odd)})
    assert names(load_snapshot(tmp_path)) == ["odd"]


def test_yaml_gives_what_json_would(tmp_path: Path) -> None:
    written = """
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: c, creationTimestamp: 2026-03-02T09:00:00Z, labels: {2: two, true: yes-it-is}}
        data: {when: 2026-03-02, huge: 99999999999999999999999, nan: .nan, raw: !!binary aGk=}
    """
    write_files(tmp_path, {"c.yaml": "\n".join(line[8:] for line in written.splitlines())})
    (found,) = load_snapshot(tmp_path).objects
    assert found["metadata"]["creationTimestamp"] == "2026-03-02T09:00:00Z"
    assert found["metadata"]["labels"] == {"2": "two", "true": "yes-it-is"}
    assert found["data"] == {
        "when": "2026-03-02",
        "huge": "99999999999999999999999",
        "nan": None,
        "raw": "aGk=",
    }
    assert plain({"odd": "\ud800", "set": {"x"}}) == {"odd": "\ufffd", "set": ["x"]}


def test_files_with_byte_order_marks_are_read(tmp_path: Path) -> None:
    write_files(
        tmp_path, {"a.json": b"\xef\xbb\xbf" + POD.encode(), "b.json": json.dumps(pod_json("q")).encode("utf-16")}
    )
    assert names(load_snapshot(tmp_path)) == ["p", "q"]


# -- layouts -------------------------------------------------------------------------------------------------------


async def test_the_folder_of_cluster_info_dump_is_read() -> None:
    snapshot = load_snapshot(LOOSE)
    reader = SnapshotReader(snapshot)
    log = await reader.logs(LogRequest("mill", "sieve-0", "sieve"))

    assert names(snapshot) == ["sieve", "sieve", "sieve-0", "sieve-1"]
    assert {o["kind"] for o in snapshot.objects} == {"Pod", "Service", "Endpoints"}
    assert log.lines == ("sifting", "sifted")
    # no snapshot.json: the newest time in the objects, to the next whole second
    assert (await reader.now()).isoformat() == "2026-04-01T10:00:03+00:00"


def test_the_logs_of_support_bundles_are_found(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "cluster-resources/pods/mill.json": json.dumps(
                {"kind": "PodList", "apiVersion": "v1", "items": [pod_json("p")]}
            ),
            "cluster-resources/pods/logs/mill/p/c.log": "now\n",
            "cluster-resources/pods/logs/mill/p/c-previous.log": "before\n",
            "logs/logs/p/c.log": "a namespace called logs\n",
            "logs/_system/node-1/kubelet.log": "kubelet\n",
        },
    )
    found = load_snapshot(tmp_path).logs
    assert set(found) == {
        LogKey("mill", "p", "c"),
        LogKey("mill", "p", "c", previous=True),
        LogKey("logs", "p", "c"),
    }


async def test_logs_are_cut_at_the_end_and_from_a_time_on() -> None:
    reader = SnapshotReader(load_snapshot(BAKERY))
    tail = await reader.logs(LogRequest("bakery", "till-5b6f8-qq7zn", "till", tail=2))
    none = await reader.logs(LogRequest("bakery", "till-5b6f8-qq7zn", "nosuch"))
    now = await reader.now()
    recent = await reader.logs(LogRequest("bakery", "oven-7c9d4-x2x1k", "oven", since=now.replace(minute=27)))

    assert tail.lines == ("sold loaf 299", "sold loaf 300")
    assert none.missing is not None
    assert none.missing.reason == "absent"
    assert [line.split()[1] for line in recent.lines] == ["ERROR", "FATAL"]


async def test_kinds_read_without_objects_are_known_to_be_absent_and_unread_ones_are_not() -> None:
    view = await gather_view(SnapshotReader(load_snapshot(BAKERY)))
    assert view.listed("Ingress", "bakery")
    assert not view.listed("StatefulSet", "bakery")
    assert not view.listed("ClusterRole")
    assert ("ClusterRole", "forbidden") in [(what, why.reason) for what, why in view.missing]


def test_secrets_are_reduced_when_they_are_read(tmp_path: Path) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "aHVudGVyMg=="}}
    applied = pod_json("p")
    applied["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps({**secret, "stringData": {"k": "hunter2"}})
    }
    write_files(tmp_path, {"all.json": json.dumps([secret, applied])})
    text = json.dumps(load_snapshot(tmp_path).objects)
    assert "hunter2" not in text
    assert "aHVudGVyMg" not in text
    assert '"size": 7' in text


def test_a_helm_release_in_a_config_map_is_left_out_and_reducing_again_changes_nothing(tmp_path: Path) -> None:
    metadata = {"name": "sh.helm.release.v1.shop.v1", "labels": {"owner": "helm"}}
    release = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"release": "SDRzSUFBQQ=="}}
    write_files(tmp_path, {"r.json": json.dumps(release)})
    (found,) = load_snapshot(tmp_path).objects
    assert found["data"] == {"release": "(12 characters, left out)"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}}
    once = reduce_object(secret, b"key")
    assert reduce_object(once, b"another key") == once
