"""A served snapshot against its clients: our live reader (which must see what the snapshot reader sees) and kubectl."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.cluster.gather import gather_view
from agents.cluster.reader import LogRequest
from agents.cluster.serve import serve_snapshot, write_kubeconfig
from agents.cluster.snapshot import SnapshotReader, load_snapshot
from agents.cluster.view import ClusterView
from assistant.errors import BadInput
from tests.support.snapshots import BAKERY, LOOSE, PARTIAL, live_reader, pod_json, served, write_files

ROOT = Path(__file__).parents[2]
KUBECTL = shutil.which("kubectl")
Kubectl = Callable[..., subprocess.CompletedProcess[str]]


def seen(view: ClusterView) -> dict[str, Any]:
    """What a diagnosis can tell of a view."""
    kinds = view.kinds
    return {
        "objects": {(o.kind, o.group, o.namespace, o.name): o.raw for o in view},
        "listed": {(k, n) for k in kinds for n in ("", *view.namespaces) if view.listed(k, n)},
        "logs": view.logs,
        "missing": [(what, why) for what, why in view.missing if what != "cluster identity"],
        "taken_at": view.taken_at,
    }


@pytest.mark.parametrize("folder", [BAKERY, PARTIAL, LOOSE], ids=lambda f: f.name)
async def test_a_served_snapshot_gives_the_same_view_as_the_folder(folder: Path) -> None:
    snapshot = load_snapshot(folder)
    focus = frozenset({"bakery", "mill"})
    recorded = await gather_view(SnapshotReader(snapshot), focus=focus)

    with served(snapshot) as server:
        reader = live_reader(server.url, namespaces=tuple(snapshot.namespaces))
        live = await gather_view(reader, focus=focus)
        await reader.aclose()

    assert seen(live) == seen(recorded)
    assert len(recorded.logs) > 0 or folder == PARTIAL


async def test_a_kind_recorded_in_part_is_listed_and_known_to_be_incomplete() -> None:
    reader = SnapshotReader(load_snapshot(PARTIAL))
    with served(PARTIAL) as server:
        live = live_reader(server.url)
        pods = next(r for r in await live.resources() if r.kind == "Pod")
        listing = await live.list_objects(pods)
        within = await live.list_objects(pods, "mill")
        await live.aclose()

    assert [o["metadata"]["name"] for o in listing.items] == ["grinder"]
    assert listing.missing == (await reader.list_objects(pods)).missing
    assert listing.missing is not None
    assert listing.missing.reason == "absent"
    assert within.missing is None


async def test_identity_and_clock_are_those_of_the_record() -> None:
    with served(BAKERY) as server:
        reader = live_reader(server.url)
        identity, now = await reader.identity(), await reader.now()
        await reader.aclose()

    assert identity.id == "0b5d7d3e-1111-4c1a-9a6e-2f4f6f1c0001"
    assert identity.server_version == "v1.34.1"
    assert now.isoformat() == "2026-03-02T09:30:00+00:00"


# -- the protocol, as any client sees it ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bakery() -> Iterator[str]:
    with served(BAKERY) as server:
        yield server.url


def get(url: str, path: str, **headers: str) -> httpx.Response:
    return httpx.get(url + path, headers=headers, trust_env=False)


def names(response: httpx.Response) -> list[str]:
    return [item["metadata"]["name"] for item in response.json()["items"]]


def test_lists_are_cut_into_pages_that_continue(bakery: str) -> None:
    first = get(bakery, "/api/v1/namespaces?limit=1").json()
    assert first["metadata"]["remainingItemCount"] == 1
    second = get(bakery, f"/api/v1/namespaces?limit=1&continue={first['metadata']['continue']}").json()

    assert [i["metadata"]["name"] for i in (*first["items"], *second["items"])] == ["bakery", "kube-system"]
    assert "continue" not in second["metadata"]


def test_a_continue_token_of_another_record_is_expired(bakery: str) -> None:
    with served(PARTIAL) as other:
        token = get(other.url, "/api/v1/namespaces?limit=1").json()["metadata"]["continue"]
    gone = get(bakery, f"/api/v1/namespaces?limit=1&continue={token}")
    nonsense = get(bakery, "/api/v1/namespaces?limit=1&continue=%21%21")

    assert (gone.status_code, gone.json()["reason"]) == (410, "Expired")
    assert nonsense.status_code == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("labelSelector=app%3Doven", ["oven-7c9d4-x2x1k"]),
        ("labelSelector=tier%20in%20(front,back),app!%3Doven", ["till-5b6f8-qq7zn"]),
        ("labelSelector=!app", []),
        ("fieldSelector=metadata.name%3Dtill-5b6f8-qq7zn", ["till-5b6f8-qq7zn"]),
        ("fieldSelector=spec.nodeName%3Drack-1,metadata.name!%3Dtill-5b6f8-qq7zn", ["oven-7c9d4-x2x1k"]),
        ("fieldSelector=status.phase%3DPending", []),
    ],
)
def test_selectors_choose_objects(bakery: str, query: str, expected: list[str]) -> None:
    assert names(get(bakery, f"/api/v1/pods?{query}")) == expected


def test_a_selector_that_cannot_be_parsed_is_a_bad_request(bakery: str) -> None:
    assert get(bakery, "/api/v1/pods?labelSelector=a%20in%20(").status_code == 400


def test_discovery_is_given_in_both_forms(bakery: str) -> None:
    form = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    aggregated = get(bakery, "/apis", Accept=form).json()
    groups = {item["metadata"]["name"] for item in aggregated["items"]}
    legacy = get(bakery, "/apis").json()

    assert {g["name"] for g in legacy["groups"]} == groups
    assert "ovens.example.com" in groups
    custom = get(bakery, "/apis/ovens.example.com/v1beta2").json()["resources"]
    assert [(r["name"], r["kind"], r["namespaced"]) for r in custom] == [("ovens", "Oven", True)]


def test_a_kind_read_without_objects_is_an_empty_list_and_one_not_recorded_is_unknown(bakery: str) -> None:
    assert get(bakery, "/apis/networking.k8s.io/v1/ingresses").json()["items"] == []
    assert get(bakery, "/apis/apps/v1/daemonsets").status_code == 404


def test_what_the_record_could_not_read_is_forbidden(bakery: str) -> None:
    refused = get(bakery, "/apis/rbac.authorization.k8s.io/v1/clusterroles")
    assert (refused.status_code, refused.json()["kind"]) == (403, "Status")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(bakery: str, method: str) -> None:
    answer = httpx.request(method, f"{bakery}/api/v1/namespaces/bakery/pods/till-5b6f8-qq7zn", trust_env=False)
    assert (answer.status_code, answer.json()["reason"]) == (405, "MethodNotAllowed")


@pytest.mark.parametrize("host", ["evil.example", "10.0.0.5:8001", "127.0.0.1.evil.example", ""])
def test_only_loopback_names_are_answered(bakery: str, host: str) -> None:
    assert get(bakery, "/api/v1/pods", Host=host).status_code in (400, 403)


def test_secrets_are_served_without_their_values(bakery: str) -> None:
    body = get(bakery, "/api/v1/namespaces/bakery/secrets").text
    assert "mill-login" in body
    assert "c291cmRvdWdoLXN0YXJ0ZXI" not in body
    assert "sourdough-starter" not in body


def test_a_watch_sends_what_there_is_then_a_bookmark_and_stays_open(bakery: str) -> None:
    query = (
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
    )
    with httpx.stream("GET", f"{bakery}/api/v1/pods?{query}", trust_env=False) as stream:
        events = [json.loads(line) for line in stream.iter_lines()]
        lasted = stream.elapsed.total_seconds()

    assert [e["type"] for e in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert events[-1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert lasted >= 0.9


@pytest.mark.parametrize(
    ("query", "code", "body"),
    [
        ("container=till&tailLines=2", 200, "sold loaf 299\nsold loaf 300\n"),
        ("container=till&limitBytes=6", 200, "sold l"),
        ("container=meter", 200, ""),
        ("", 400, "choose one of: [till meter]"),
        ("container=nosuch", 400, "not valid for pod"),
        ("container=till&previous=true", 400, "previous terminated container"),
        ("container=till&tailLines=x", 400, "whole number"),
    ],
)
def test_logs_take_the_parameters_of_kubectl(bakery: str, query: str, code: int, body: str) -> None:
    answer = get(bakery, f"/api/v1/namespaces/bakery/pods/till-5b6f8-qq7zn/log?{query}")
    assert answer.status_code == code
    assert (answer.text == body) if code == 200 else (body in answer.json()["message"])


def test_logs_since_a_time_by_the_clock_of_the_record(bakery: str) -> None:
    path = "/api/v1/namespaces/bakery/pods/oven-7c9d4-x2x1k/log?container=oven"
    lines = get(bakery, f"{path}&sinceSeconds=180").text.splitlines()
    assert [line.split()[1] for line in lines] == ["ERROR", "FATAL"]
    assert get(bakery, f"{path}&sinceTime=2026-03-02T09:28:00Z").text == ""


async def test_log_lines_survive_form_feeds_and_broken_text(tmp_path: Path) -> None:
    pod = pod_json("p", spec={"containers": [{"name": "c"}]})
    log = b"one\x0ctwo\xe2\x80\xa8three\n\n\xff\r\nlast"
    folder = write_files(tmp_path, {"pod.json": json.dumps(pod), "logs/mill/p/c.log": log})
    request = LogRequest("mill", "p", "c")
    with served(folder) as server:
        live = live_reader(server.url)
        over_http = await live.logs(request)
        await live.aclose()

    assert over_http.lines == ("one\x0ctwo\u2028three", "", "\ufffd", "last")
    assert over_http == await SnapshotReader(load_snapshot(folder)).logs(request)


def test_a_kubeconfig_of_someone_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, "http://127.0.0.1:1", "bakery")
    write_kubeconfig(path, "http://127.0.0.1:2", "bakery")
    assert "127.0.0.1:2" in path.read_text()

    path.write_text("apiVersion: v1\nkind: Config\n")
    with pytest.raises(BadInput, match="another kubeconfig"):
        write_kubeconfig(path, "http://127.0.0.1:1", "bakery")


# -- kubectl -------------------------------------------------------------------------------------------------------


@pytest.fixture
def kubectl(bakery: str, tmp_path: Path) -> Kubectl:
    if KUBECTL is None:
        pytest.skip("kubectl is not installed")
    write_kubeconfig(tmp_path / "config", bakery, "bakery")
    program = KUBECTL

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "KUBECONFIG": str(tmp_path / "config")}
        return subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_kubectl_shows_the_usual_tables(kubectl: Kubectl) -> None:
    pods = kubectl("get", "pods", "-A", "--no-headers").stdout.splitlines()
    assert pods[0].split() == ["bakery", "oven-7c9d4-x2x1k", "0/1", "CrashLoopBackOff", "7", "(4m", "ago)", "35m"]
    assert pods[1].split() == ["bakery", "till-5b6f8-qq7zn", "2/2", "Running", "0", "10d"]
    nodes = kubectl("get", "nodes", "--no-headers").stdout.split()
    assert nodes == ["rack-1", "Ready,SchedulingDisabled", "control-plane", "121d", "v1.34.1"]
    assert kubectl("get", "deploy", "-n", "bakery", "--no-headers").stdout.split() == ["oven", "0/1", "1", "0", "10d"]
    assert "mill-login" in kubectl("get", "secrets", "-A").stdout
    assert "deck-oven" in kubectl("get", "ovens", "-A").stdout
    events = kubectl("get", "events", "-n", "bakery", "--no-headers").stdout
    assert events.split()[:4] == ["60s", "Warning", "BackOff", "pod/oven-7c9d4-x2x1k"]


def test_kubectl_describes_and_reads_logs(kubectl: Kubectl) -> None:
    described = kubectl("describe", "pod", "oven-7c9d4-x2x1k", "-n", "bakery")
    assert described.returncode == 0
    assert "Back-off restarting failed container oven" in described.stdout
    logs = kubectl("logs", "-n", "bakery", "oven-7c9d4-x2x1k", "-c", "oven", "--previous")
    assert logs.stdout.splitlines() == ["heating", "no gas", "stopped"]


def test_kubectl_pages_selects_and_measures(kubectl: Kubectl) -> None:
    assert len(kubectl("get", "pods", "-A", "--chunk-size=1", "--no-headers").stdout.splitlines()) == 2
    assert kubectl("get", "pods", "-A", "-l", "app=oven", "-o", "name").stdout.strip() == "pod/oven-7c9d4-x2x1k"
    assert "13m" in kubectl("top", "pods", "-n", "bakery").stdout
    document = json.loads(kubectl("get", "cm", "-n", "bakery", "recipes", "-o", "json").stdout)
    assert document["data"]["rye"] == "flour=600"


def test_kubectl_may_read_and_not_write(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "list", "pods").stdout.strip() == "yes"
    assert kubectl("auth", "can-i", "delete", "pods").stdout.startswith("no")
    assert kubectl("auth", "can-i", "list", "clusterroles").stdout.startswith("no")
    deleted = kubectl("delete", "pod", "-n", "bakery", "till-5b6f8-qq7zn", "--wait=false")
    assert deleted.returncode != 0
    assert "read-only" in deleted.stderr


def test_kubectl_is_warned_that_a_kind_was_recorded_in_part(tmp_path: Path) -> None:
    if KUBECTL is None:
        pytest.skip("kubectl is not installed")
    with served(PARTIAL) as server:
        environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        command = [KUBECTL, "--server", server.url, "get", "pods", "-A"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "grinder" in done.stdout
    assert "ErrImagePull" in done.stdout
    assert "only a part" in done.stderr


def test_the_server_says_where_it_is_and_ends_at_once_when_interrupted(tmp_path: Path) -> None:
    config = tmp_path / "config"
    code = (
        "import asyncio, functools, sys, pathlib; from agents.cluster.serve import serve_snapshot; "
        "asyncio.run(serve_snapshot(pathlib.Path(sys.argv[1]), port=0, kubeconfig=pathlib.Path(sys.argv[2]), "
        "announce=functools.partial(print, flush=True)))"
    )
    command = [sys.executable, "-c", code, str(BAKERY), str(config)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            where, line = process.stdout.readline(), process.stdout.readline()
            url = next(word for word in where.split() if word.startswith("http://"))
            with httpx.stream("GET", f"{url}/api/v1/pods?watch=true", trust_env=False) as watch:
                assert next(watch.iter_lines())
                process.send_signal(signal.SIGINT)
                process.wait(timeout=20)
        finally:
            process.kill()  # a test that fails here must not wait for a server that nobody ends
    assert line.strip() == f"kubectl --kubeconfig {config} get pods -A"
    assert url in config.read_text()


async def test_a_port_in_use_is_refused_in_a_sentence(bakery: str) -> None:
    port = int(bakery.rpartition(":")[2])
    with pytest.raises(BadInput, match=f"Port {port} is in use"):
        await serve_snapshot(BAKERY, port=port, announce=lambda _: None)
