"""The commands as people run them: processes with a data folder of their own, exit codes, only JSON under --json."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from agents.record import Record
from assistant.storage.opening import open_database
from tests.conftest import is_foreign, short_temporary_folder
from tests.support.scripted_provider import ScriptedProvider, http_error, text
from tests.support.snapshots import ServedApp, served, write_files, write_kubeconfig
from ui.container import DEMO_SNAPSHOT

BIN = Path(sys.executable).parent
DEMO = str(DEMO_SNAPSHOT)
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A data folder for the processes of these tests, and whatever they left running is reported."""
    found = short_temporary_folder("kubechat-cli-")
    yield found
    assert _left_behind(found) == []
    shutil.rmtree(found, ignore_errors=True)


def _environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not is_foreign(k)}
    return {**kept, "KUBECHAT_DATA_DIR": str(folder), "KUBECONFIG": os.devnull, **more}


def run(
    folder: Path, *arguments: str, stdin: str = "", program: str = "kubechat", env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs one command to its end."""
    return subprocess.run(
        [str(BIN / program), *arguments],
        env=_environment(folder, **(env or {})),
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def failed(folder: Path, exit_code: int, *arguments: str, **options: Any) -> dict[str, Any]:
    """The error that a command prints with --json; without, it is a sentence on standard error with the same code."""
    done = run(folder, *arguments, "--json", **options)
    assert done.returncode == exit_code, (done.stdout, done.stderr)
    document = json.loads(done.stdout)
    assert set(document) == {"error"}
    error: dict[str, Any] = document["error"]
    assert set(error) == {"code", "message", "retryable"}
    assert "Traceback" not in done.stdout + done.stderr
    return error


def _left_behind(folder: Path) -> list[str]:
    """Processes whose command line or environment names the folder, after a moment to end."""
    found: list[str] = []
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in words:
                found.append(words)
        if not found:
            return []
        time.sleep(0.1)
    return found


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_ask_answers_in_json_and_in_text(folder: Path) -> None:
    done = run(folder, "ask", "Why is checkout in namespace shop down?", "--snapshot", DEMO, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["mode"] == "evidence-only"
    assert answer["cluster"]["name"] == "meadow"
    assert set(answer["route"]) == {"domains", "scores", "reason"}
    assert answer["root_causes"][0]["object"] == {"kind": "Deployment", "namespace": "shop", "name": "checkout"}
    assert {"thread_id", "findings", "answer", "not_checked", "model", "usage", "cost"} <= set(answer)
    assert done.stderr == ""

    told = run(folder, "ask", "and its events?", "--snapshot", DEMO, "--thread", answer["thread_id"])
    assert told.returncode == 0, told.stderr
    assert "meadow" in told.stdout
    assert "Back-off" in told.stdout or "Failed" in told.stdout


def test_kubectl_chat_asks_with_kubectls_flags(folder: Path, tmp_path: Path) -> None:
    with served(DEMO_SNAPSHOT) as server:
        config = write_kubeconfig(tmp_path / "config", server.url)
        flags = ["--context", "test", "-n", "shop", "--kubeconfig", str(config)]
        done = run(folder, "is anything wrong?", *flags, "--json", program="kubectl-chat")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["cluster"]["context"] == "test"
    assert answer["root_causes"][0]["object"]["namespace"] == "shop"


def test_a_question_may_come_on_standard_input(folder: Path) -> None:
    done = run(folder, "ask", "--snapshot", DEMO, "--json", stdin="Why is checkout in namespace shop down?\n")
    assert done.returncode == 0
    assert "2.18.O" in json.loads(done.stdout)["answer"]


def test_a_namespace_is_a_focus_not_a_fence(folder: Path) -> None:
    done = run(folder, "diagnose", "--snapshot", DEMO, "-n", "shop", "--json")
    assert done.returncode == 0
    causes = json.loads(done.stdout)["root_causes"]
    assert {c["object"]["namespace"] for c in causes if c["in_focus"]} == {"shop"}
    assert causes[0]["in_focus"]
    assert any(c["object"]["namespace"] == "payments" for c in causes)


@pytest.mark.parametrize(("severity", "code"), [("critical", 1), ("info", 1)])
def test_fail_on_ends_with_1(folder: Path, severity: str, code: int) -> None:
    assert run(folder, "diagnose", "--snapshot", DEMO, "--fail-on", severity, "--json").returncode == code


def test_fail_on_ends_with_0_where_nothing_is_that_severe(folder: Path) -> None:
    done = run(folder, "diagnose", "--snapshot", DEMO, "--domain", "storage", "--fail-on", "critical", "--json")
    assert done.returncode == 0
    assert {f["domain"] for f in json.loads(done.stdout)["findings"]} == {"storage"}


def test_route_answers_each_line_and_goes_on_after_a_broken_one(folder: Path) -> None:
    lines = [
        '{"id": 1, "text": "Why is my PersistentVolumeClaim pending?"}',
        "{broken",
        '{"id": 3}',
        "",
        '{"id": "four", "text": "Who may read secrets by RBAC?"}',
    ]
    done = run(folder, "route", "--jsonl", stdin="\n".join(lines))
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == [1, None, 3, "four"]
    assert rows[0]["domains"][0] == "storage"
    assert rows[1]["error"]["code"] == rows[2]["error"]["code"] == "bad-input"
    assert "line 2" in rows[1]["error"]["message"]
    assert rows[3]["domains"][0] == "security"


def test_codes_and_version_as_json(folder: Path) -> None:
    codes = json.loads(run(folder, "codes", "--json").stdout)["codes"]
    assert len(codes) >= 30
    assert {"code", "domain", "severity", "remedy", "runbook"} <= set(codes[0])
    assert json.loads(run(folder, "version", "--json").stdout)["version"]


def test_what_is_captured_is_diagnosed_as_what_was_served(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with served(DEMO_SNAPSHOT) as server:
        config = str(write_kubeconfig(tmp_path / "config", server.url))
        live = run(folder, "diagnose", "--kubeconfig", config, "--json")
        captured = run(folder, "snapshot", "capture", str(copy), "--kubeconfig", config, "--json")
    assert captured.returncode == 0, captured.stdout
    assert sum(json.loads(captured.stdout)["objects"].values()) > 50
    recorded = run(folder, "diagnose", "--snapshot", str(copy), "--json")
    parts = ("findings", "root_causes", "healthy", "not_checked")
    one, other = json.loads(live.stdout), json.loads(recorded.stdout)
    assert one["root_causes"]
    assert [one[p] for p in parts] == [other[p] for p in parts]


def test_a_model_is_used_only_when_it_is_named(folder: Path) -> None:
    with ScriptedProvider([text("The tag 2.18.O is not in the registry [E1].")]) as provider:
        question = ("ask", "Why is checkout in namespace shop down?", "--snapshot", DEMO, "--json")
        unnamed = run(folder, *question, env={"OPENAI_API_KEY": "sk-x", "KUBECHAT_MODEL_URL": provider.url})
        assert provider.requests == []
        named = run(folder, *question, env={"KUBECHAT_MODEL": "openai/m", "KUBECHAT_MODEL_URL": provider.url})
    assert json.loads(unnamed.stdout)["mode"] == "evidence-only"
    assert json.loads(named.stdout)["mode"] == "model"
    assert json.loads(named.stdout)["text_went_to"] == provider.host


def test_a_model_that_fails_is_said_in_json_and_in_text(folder: Path) -> None:
    with ScriptedProvider([http_error(401)]) as provider:
        env = {"KUBECHAT_MODEL": "openai/m", "KUBECHAT_MODEL_URL": provider.url}
        asked = ("ask", "Why is checkout in namespace shop down?", "--snapshot", DEMO)
        told = json.loads(run(folder, *asked, "--json", env=env).stdout)
        plain = run(folder, *asked, env=env)
    assert told["mode"] == "evidence-only"
    assert [n["code"] for n in told["notices"]] == ["model-credentials-rejected"]
    assert "[model-credentials-rejected]" in plain.stdout
    assert "Go on with --thread" in plain.stdout


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_questions_that_cannot_be_asked(folder: Path) -> None:
    assert failed(folder, 2, "ask", " ", "--snapshot", DEMO)["code"] == "question-empty"
    assert failed(folder, 2, "ask", "--snapshot", DEMO)["code"] == "question-empty"
    error = failed(folder, 2, "ask", "--snapshot", DEMO, stdin="why " * 12_500)
    assert error["code"] == "question-too-long"
    assert "49,999" in error["message"]
    assert failed(folder, 2, "route", "")["code"] == "question-empty"


def test_unknown_options_commands_and_conversations(folder: Path) -> None:
    assert "--colour" in failed(folder, 2, "ask", "why?", "--colour")["message"]
    assert failed(folder, 2, "dignose")["code"] == "bad-input"
    assert failed(folder, 2, "diagnose", "--fail-on", "awful")["code"] == "bad-input"
    asked = ("ask", "why?", "--snapshot", DEMO)
    assert failed(folder, 2, *asked, "--thread", "no-such")["code"] == "thread-not-found"
    plain = run(folder, "ask", "why?", "--colour")
    assert plain.returncode == 2
    assert plain.stdout == ""
    assert plain.stderr.endswith("[bad-input]\n")


def test_a_namespace_that_is_not_there(folder: Path) -> None:
    for command in (("diagnose",), ("ask", "what is wrong?")):
        error = failed(folder, 2, *command, "--snapshot", DEMO, "-n", "shopp")
        assert error["code"] == "namespace-not-found"
        assert "Similar: shop" in error["message"]


def test_an_object_that_is_not_there(folder: Path) -> None:
    done = run(folder, "ask", "Why is deployment check-out in shop down?", "--snapshot", DEMO, "--json")
    assert done.returncode == 0
    opening = json.loads(done.stdout)["answer"].splitlines()[0]
    assert opening.startswith("There is no Deployment named check-out.")
    assert "checkout" in opening


def test_snapshot_folders_that_hold_nothing(folder: Path, tmp_path: Path) -> None:
    for command in (("diagnose",), ("ask", "why?")):
        assert failed(folder, 2, *command, "--snapshot", str(tmp_path / "none"))["code"] in (
            "bad-input",
            "snapshot-unreadable",
        )
        assert failed(folder, 2, *command, "--snapshot", str(tmp_path))["code"] == "snapshot-unreadable"


def test_a_half_written_snapshot_names_file_and_line_and_loads_the_rest(folder: Path, tmp_path: Path) -> None:
    whole = (DEMO_SNAPSHOT / "shop.yaml").read_text()
    files = {
        "whole/shop.yaml": whole,
        "broken.yaml": "apiVersion: v1\nkind: Pod\nmetadata:\n  name: [unclosed\n---\n",
        "cut.json": '{"apiVersion": "v1", "kind": "List", "items": [{"kind": ',
    }
    write_files(tmp_path, files)
    done = run(folder, "diagnose", "--snapshot", str(tmp_path), "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    unread = {row["what"]: row for row in found["not_checked"] if row["reason"] == "unreadable"}
    assert {"broken.yaml", "cut.json"} <= {Path(name.split()[-1]).name for name in unread}
    assert all("line" in row["detail"] for row in unread.values())
    assert any(c["object"]["name"] == "checkout" for c in found["root_causes"])


def test_clusters_that_cannot_be_asked(folder: Path, tmp_path: Path) -> None:
    refused = str(write_kubeconfig(tmp_path / "refused", "http://127.0.0.1:9"))
    error = failed(folder, 3, "diagnose", "--kubeconfig", refused)
    assert (error["code"], error["retryable"]) == ("cluster-unreachable", True)
    assert failed(folder, 3, "ask", "why?", "--kubeconfig", refused)["code"] == "cluster-unreachable"
    error = failed(folder, 3, "diagnose", "--kubeconfig", refused, "--context", "prod")
    assert error["code"] == "cluster-config-invalid"
    assert "prod" in error["message"]
    missing = failed(folder, 3, "diagnose", "--kubeconfig", str(tmp_path / "none"))
    assert missing["code"] == "cluster-config-invalid"


def test_credentials_that_have_expired(folder: Path, tmp_path: Path) -> None:
    async def refuse(_request: object) -> JSONResponse:
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized", "code": 401}
        return JSONResponse(body, 401)

    with ServedApp(Starlette(routes=[Route("/{rest:path}", refuse)])) as server:
        token = "secret-token-Qx81"
        config = str(write_kubeconfig(tmp_path / "config", server.url, {"token": token}))
        for command in (("diagnose",), ("ask", "why?")):
            done = run(folder, *command, "--kubeconfig", config, "--json")
            assert done.returncode == 3
            assert json.loads(done.stdout)["error"]["code"] == "cluster-credentials-rejected"
            assert token not in done.stdout + done.stderr


def test_no_cluster_at_all_shows_the_demo_and_says_so(folder: Path, tmp_path: Path) -> None:
    done = run(folder, "diagnose", "--json", env={"HOME": str(tmp_path), "KUBECONFIG": ""})
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["cluster"]["source"] == "demo"


# ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _start(folder: Path, *arguments: str, **env: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(BIN / "kubechat"), *arguments],
        env=_environment(folder, **env),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_ask_leaves_no_process_and_keeps_the_question(stop: signal.Signals, code: int) -> None:
    folder = short_temporary_folder("kubechat-sig-")
    try:
        with ScriptedProvider([text("word " * 2000, chunk_chars=5, chunk_delay_s=0.05)]) as provider:
            model = {"KUBECHAT_MODEL": "openai/m", "KUBECHAT_MODEL_URL": provider.url}
            asking = _start(folder, "ask", "Why is checkout in namespace shop down?", "--snapshot", DEMO, **model)
            deadline = time.monotonic() + 40
            while not provider.requests and time.monotonic() < deadline:
                time.sleep(0.05)
            assert provider.requests
            asking.send_signal(stop)
            out, err = asking.communicate(timeout=20)
        assert asking.returncode == code, (out, err)
        assert "Traceback" not in out + err
        assert _left_behind(folder) == []
        again = run(folder, "ask", "Is anything broken?", "--snapshot", DEMO, "--json")
        assert again.returncode == 0, again.stderr
        assert _left_behind(folder) == []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _recorded(folder: Path) -> dict[str, tuple[str, str, str]]:
    """Thread -> (status, answer, code of the error) of its only turn, as the next start finds them."""
    async with open_database(None, folder) as database:
        record = Record(database)
        await record.recover_interrupted()
        found: dict[str, tuple[str, str, str]] = {}
        for thread in (await record.list_threads("local")).threads:
            (turn,) = await record.history(thread.id)
            found[thread.id] = (turn.status, turn.answer.strip(), str((turn.error or {}).get("code", "")))
        await record.close()
    return found


def test_four_at_once_answer_on_one_data_folder_though_one_is_killed() -> None:
    folder = short_temporary_folder("kubechat-four-")
    try:
        with ScriptedProvider([text("word " * 2000, chunk_chars=5, chunk_delay_s=0.05)]) as provider:
            model = {"KUBECHAT_MODEL": "openai/m", "KUBECHAT_MODEL_URL": provider.url}
            holder = _start(folder, "ask", "Why is ledger down?", "--snapshot", DEMO, **model)
            deadline = time.monotonic() + 40
            while not provider.requests and time.monotonic() < deadline:
                time.sleep(0.05)
            question = ("ask", "Why is checkout in namespace shop down?", "--snapshot", DEMO, "--json")
            asking = [_start(folder, *question) for _ in range(4)]
            time.sleep(0.3)
            holder.kill()
            holder.communicate()
            told = [process.communicate(timeout=60) for process in asking]
        assert [process.returncode for process in asking] == [0] * 4, told
        kept = asyncio.run(_recorded(folder))
        for out, _ in told:
            answer = json.loads(out)
            assert kept.pop(answer["thread_id"]) == ("done", answer["answer"], "")
        ((status, _, error),) = kept.values()  # the one that was killed: its question is there, and how it ended
        assert (status, error) == ("failed", "interrupted")
        assert _left_behind(folder) == []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_serve_and_leaves_no_process(stop: signal.Signals) -> None:
    folder = short_temporary_folder("kubechat-serve-")
    try:
        page = _start(folder, "serve", "--snapshot", DEMO, "--port", "0")
        assert page.stdout is not None
        lines = []
        for line in page.stdout:
            lines.append(line)
            if "http://127.0.0.1:" in line:
                break
        assert any("snapshot meadow" in line for line in lines), lines
        page.send_signal(stop)
        out, err = page.communicate(timeout=30)
        assert page.returncode == 0, (out, err)
        assert "Traceback" not in out + err
        assert _left_behind(folder) == []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_check_that_breaks_costs_neither_the_answer_nor_the_json(folder: Path) -> None:
    code = (
        "from agents.analyzers import registry\n"
        "def broken(view):\n"
        "    hidden = 'value-of-a-variable'\n"
        "    raise ValueError(hidden)\n"
        "registry.run.__defaults__ = ((*registry.ANALYZERS, broken),)\n"
        "from ui.cli.main import run\n"
        f"raise SystemExit(run(['diagnose', '--snapshot', {DEMO!r}, '--json']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=_environment(folder, PYTHONPATH=f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["root_causes"]
    assert "failed" in [row["reason"] for row in found["not_checked"]]
    assert "value-of-a-variable" not in done.stdout + done.stderr
    assert "ValueError" in done.stderr
