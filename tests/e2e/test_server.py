"""The server as a program on the other side of a socket sees it: who is let in, what is closed, the API, its end."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio  # type: ignore[import-untyped]  # ships no annotations

from tests.support.browser import ServedPage
from tests.support.scripted_provider import ScriptedProvider, slow

pytestmark = pytest.mark.slow
PROXY = {"KUBECHAT_TRUSTED_HEADER": "X-Forwarded-User", "KUBECHAT_TRUSTED_PROXIES": "127.0.0.1"}


@pytest.fixture(scope="module")
def served(data_folder: Path, database_server: str) -> Iterator[ServedPage]:
    with ServedPage(data_folder) as server:
        yield server


@pytest.fixture(scope="module")
def behind_proxy(data_folder: Path, database_server: str) -> Iterator[ServedPage]:
    with ServedPage(data_folder, environment=PROXY) as server:
        yield server


@pytest.fixture
def client(served: ServedPage) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30) as client:
        yield client


def handshake(served: ServedPage, **headers: str) -> str:
    """The status line that a WebSocket handshake with these headers gets."""
    sent = {
        "Host": f"127.0.0.1:{served.port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    } | headers
    request = "GET /ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
    request += "".join(f"{name}: {value}\r\n" for name, value in sent.items()) + "\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(request.encode())
        return connection.recv(4096).decode("latin-1").splitlines()[0]


def ask(client: httpx.Client, question: str, **more: Any) -> list[dict[str, Any]]:
    """The events of a question's stream."""
    answer = client.post("/api/v1/ask", json={"question": question, **more}, headers=more.pop("headers", None))
    assert answer.status_code == 200, answer.text
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:{port}", "127.0.0.1:1", "10.0.0.7:{port}", ""])
def test_a_request_under_a_foreign_host_name_is_refused(served: ServedPage, client: httpx.Client, host: str) -> None:
    for path in ("/", "/user", "/api/v1/threads", "/public/kubechat.js"):
        answer = client.get(path, headers={"Host": host.format(port=served.port)})
        assert answer.status_code in {400, 403}, path
        if answer.status_code == 403:
            assert answer.json()["error"]["code"] == "access-refused"
    assert client.get("/healthz", headers={"Host": "10.0.0.7:8000"}).json() == {"status": "ok"}


@pytest.mark.parametrize(
    "origin", ["http://attacker.example", "null", "https://127.0.0.1:{port}x", "http://127.0.0.1:1"]
)
def test_a_page_of_another_origin_can_neither_ask_nor_read(
    served: ServedPage, client: httpx.Client, origin: str
) -> None:
    headers = {"Origin": origin.format(port=served.port)}
    assert client.post("/api/v1/ask", json={"question": "is lamp ok?"}, headers=headers).status_code == 403
    assert client.get("/user", headers=headers).status_code == 403
    assert client.post("/project/threads", json={}, headers=headers).status_code == 403
    own = client.get("/api/v1/threads", headers={"Origin": served.url})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers


def test_a_foreign_page_may_link_here_but_not_embed_us(client: httpx.Client) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/logo", headers=link | {"Sec-Fetch-Mode": "no-cors"}).status_code == 403


def test_the_socket_opens_for_our_page_alone(served: ServedPage) -> None:
    assert " 101 " in handshake(served, Origin=served.url)
    assert " 403 " in handshake(served, Origin="http://attacker.example")
    assert " 403 " in handshake(served, Origin="null")
    rebound = f"attacker.example:{served.port}"
    assert " 403 " in handshake(served, Host=rebound, Origin=f"http://{rebound}")


def test_every_answer_carries_the_security_headers_and_the_page_loads_nothing_foreign(client: httpx.Client) -> None:
    for path in ("/", "/healthz", "/public/kubechat.js", "/project/settings", "/nothing", "/api/v1/threads/none"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    page = client.get("/").text
    assert 'class="kc-guarded"' in page
    assert "//" not in page.lower().replace("<!doctype", "")
    assert "<script>" not in page


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/project/file?session_id=x"),
        ("GET", "/project/file/x?session_id=x"),
        ("PUT", "/project/element"),
        ("DELETE", "/project/element"),
        ("POST", "/project/action"),
        ("PUT", "/project/thread/share"),
        ("GET", "/project/share/x"),
        ("POST", "/set-session-cookie"),
        ("POST", "/mcp"),
        ("DELETE", "/mcp"),
        ("PUT", "/feedback"),
        ("POST", "/login"),
        ("POST", "/auth/jwt"),
        ("POST", "/auth/header"),
        ("GET", "/auth/oauth/github"),
        ("GET", "/copilot/index.js"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/.chainlit/config.toml"),
        ("GET", "/assets/%2e%2e/%2e%2e/config.py"),
        ("GET", "/public/%2e%2e/%2e%2e/server.py"),
        ("GET", "/public/elements/..%2f..%2fauth.py"),
    ],
)
def test_what_the_page_does_not_use_does_not_exist(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path, json={} if method != "GET" else None)
    assert answer.status_code in {404, 405}
    assert "Traceback" not in answer.text
    assert "import" not in answer.text


def test_chainlit_is_told_to_allow_no_upload_no_html_and_no_mcp(client: httpx.Client) -> None:
    features = client.get("/project/settings").json()["features"]
    assert features["spontaneous_file_upload"]["enabled"] is False
    assert features["unsafe_allow_html"] is False
    assert features["mcp"]["enabled"] is False
    assert features["audio"]["enabled"] is False
    assert features["allow_thread_sharing"] is False


def test_the_api_streams_a_turn_without_gaps_and_replays_it_from_any_number(client: httpx.Client) -> None:
    events = ask(client, "why is lamp restarting?")
    assert [e["sequence"] for e in events] == list(range(1, len(events) + 1))
    assert {"step", "finding", "diagnosis", "route", "token", "done"} <= {e["type"] for e in events}
    answer = events[-1]["answer"]
    assert answer["mode"] == "evidence-only"
    assert answer["diagnosis"]["root_causes"][0]["object"] == {
        "kind": "Deployment",
        "namespace": "harbour",
        "name": "lamp",
    }
    replay = client.get(f"/api/v1/turns/{answer['turn_id']}/events", params={"after": 3})
    assert f"id: {len(events)}\nevent: done" in replay.text
    assert "id: 4\n" in replay.text
    assert "id: 3\n" not in replay.text
    thread = client.get(f"/api/v1/threads/{answer['thread_id']}").json()
    assert thread["turns"][0]["answer"].strip() == answer["text"]
    assert thread["title"] == "why is lamp restarting?"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"question": "  "}, 400, "question-empty"),
        ({"question": "x" * 50_000}, 400, "question-too-long"),
        ({"question": "why?", "thread_id": "none"}, 404, "thread-not-found"),
        ({"question": "why?", "agent": "astrology"}, 400, "bad-input"),
        ({"quest": "sk-live-secret"}, 400, "bad-input"),
    ],
)
def test_bad_input_gets_a_code_and_a_sentence_and_nothing_of_itself_back(
    client: httpx.Client, body: dict[str, str], status: int, code: str
) -> None:
    answer = client.post("/api/v1/ask", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert set(error) == {"code", "message", "retryable"}
    assert "sk-live-secret" not in answer.text


def test_a_body_that_is_no_json_or_has_no_end_is_refused_in_the_same_shape(client: httpx.Client) -> None:
    broken = client.post("/api/v1/ask", content=b"{", headers={"content-type": "application/json"})
    assert broken.json()["error"]["code"] == "bad-input"
    endless = client.post("/api/v1/ask", content=iter([b"{}"]))
    assert endless.status_code == 403
    huge = client.post("/api/v1/ask", content=b"x" * 1_000_001)
    assert huge.status_code == 403


def test_people_behind_the_proxy_reach_their_own_conversations_alone(behind_proxy: ServedPage) -> None:
    anna, berta = ({"X-Forwarded-User": name} for name in ("anna@example.org", "berta@example.org"))
    with httpx.Client(base_url=behind_proxy.url, timeout=30) as client:
        asked = client.post("/api/v1/ask", json={"question": "why is lamp restarting?"}, headers=anna)
        thread, turn = asked.headers["x-thread-id"], asked.headers["x-turn-id"]
        assert client.get("/user", headers=anna).json()["display_name"] == "anna@example.org"
        assert client.get(f"/project/thread/{thread}", headers=anna).json()["steps"]
        for path in (f"/api/v1/threads/{thread}", f"/api/v1/turns/{turn}/events"):
            assert client.get(path, headers=anna).status_code == 200
            assert client.get(path, headers=berta).status_code == 404
        assert client.post(f"/api/v1/turns/{turn}/cancel", headers=berta).status_code == 404
        assert (
            client.post("/api/v1/ask", json={"question": "and?", "thread_id": thread}, headers=berta).status_code == 404
        )
        listing = {"pagination": {"first": 50}, "filter": {"userId": "user:anna@example.org"}}
        assert client.post("/project/threads", json=listing, headers=berta).json()["data"] == []
        assert client.get(f"/project/thread/{thread}", headers=berta).status_code == 401
        for method, body in (("PUT", {"threadId": thread, "name": "mine"}), ("DELETE", {"threadId": thread})):
            assert client.request(method, "/project/thread", json=body, headers=berta).status_code == 401


def test_nobody_is_let_in_whom_the_proxy_has_not_named_whatever_token_they_bring(behind_proxy: ServedPage) -> None:
    with httpx.Client(base_url=behind_proxy.url, timeout=30) as client:
        for headers in ({}, {"X-Forwarded-User": ""}, {"Cookie": "access_token=x"}, {"Authorization": "Bearer x"}):
            answer = client.get("/user", headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "sign-in-missing")
        named = {"X-Forwarded-User": "anna@example.org", "Cookie": "access_token=forged", "Authorization": "Bearer x"}
        assert client.get("/user", headers=named).json()["identifier"] == "user:anna@example.org"
        twice = httpx.Headers([("X-Forwarded-User", "anna"), ("X-Forwarded-User", "berta")])
        assert client.get("/user", headers=twice).status_code == 403


async def test_a_second_socket_of_a_slow_page_still_brings_the_conversation_back(
    served: ServedPage, client: httpx.Client
) -> None:
    thread = ask(client, "why is lamp restarting?")[-1]["answer"]["thread_id"]
    session = {"sessionId": str(uuid.uuid4()), "clientType": "webapp", "userEnv": "{}"}
    first, second = socketio.AsyncClient(), socketio.AsyncClient()
    resumed: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    second.on("resume_thread", resumed.set_result)
    try:
        for socket_client, wanted in ((first, ""), (second, thread)):
            await socket_client.connect(
                served.url, auth=session | {"threadId": wanted}, socketio_path="/ws/socket.io", transports=["websocket"]
            )
        await second.emit("connection_successful")
        found = await asyncio.wait_for(resumed, timeout=20)
    finally:
        await first.disconnect()
        await second.disconnect()
    assert found["id"] == thread
    assert [step["type"] for step in found["steps"]] == ["user_message", "assistant_message"]


def test_sigterm_ends_it_in_order_and_the_running_turn_is_on_record_as_cancelled(
    data_folder: Path, client: httpx.Client
) -> None:
    with ScriptedProvider([slow(30)]) as provider:
        environment = {
            "KUBECHAT_MODEL": "openai/scripted",
            "KUBECHAT_MODEL_URL": provider.url,
            "KUBECHAT_MODEL_KEY": "x",
            "KUBECHAT_INSECURE_NO_SIGN_IN": "true",
        }
        with (
            ServedPage(data_folder, environment=environment) as server,
            httpx.Client(base_url=server.url, timeout=30) as theirs,
        ):
            assert 'class="kc-open"' in theirs.get("/").text  # the red banner
            with theirs.stream("POST", "/api/v1/ask", json={"question": "why is lamp restarting?"}) as answer:
                thread = answer.headers["x-thread-id"]
                deadline = time.monotonic() + 20
                while not provider.requests and time.monotonic() < deadline:
                    time.sleep(0.05)
                assert provider.requests
                began = time.monotonic()
                assert server.stop() == 0
                assert time.monotonic() - began < 8
                assert "event: error" in answer.read().decode()
            assert "Traceback" not in server.output()
    turn = client.get(f"/api/v1/threads/{thread}").json()["turns"][0]
    assert (turn["status"], turn["error"]["code"]) == ("cancelled", "cancelled")


def test_a_port_in_use_is_said_in_one_sentence(served: ServedPage, data_folder: Path) -> None:
    with pytest.raises(RuntimeError, match=r"cannot listen on 127\.0\.0\.1:\d+: it is in use") as failure:
        ServedPage(data_folder, port=served.port).__enter__()
    assert "Traceback" not in str(failure.value)
