"""A model provider behind a real socket: speaks OpenAI's chat completions, says what a script tells it to.

    async with ScriptedProvider([tool_call("get_pods", {"namespace": "shop"}), text("All is well.")]) as provider:
        ...  # point KUBECHAT_MODEL_URL at provider.url; afterwards read provider.requests

The script is a list of replies, used up in order and the last repeated, or a function from the request's JSON to a
reply. The server runs in a thread of its own with its own loop, so it works for synchronous tests and subprocesses too
(`with ScriptedProvider(...) as provider`), and what the code under test does to its loop does not stop it.
By hand: `python -m tests.support.scripted_provider --port 9999 [--text "…"]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


@dataclass(frozen=True)
class Reply:
    """One answer of the provider; made by the functions below, refined with `dataclasses.replace`."""

    text: str = ""
    chunk_chars: int | None = None
    chunk_delay_s: float = 0.0
    tool_calls: tuple[tuple[str, str], ...] = ()
    usage: tuple[int, int] | None = (100, 20)
    finish_reason: str | None = None
    status: int = 200
    raw_body: bytes | None = None
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0
    break_after_chunks: int | None = None
    drop_connection: bool = False


def text(words: str, *, chunk_chars: int | None = None, chunk_delay_s: float = 0.0) -> Reply:
    """An answer in words, cut in pieces of `chunk_chars` (whole by default), `chunk_delay_s` seconds apart."""
    return Reply(text=words, chunk_chars=chunk_chars, chunk_delay_s=chunk_delay_s)


def tool_call(name: str, arguments: dict[str, Any] | str, *, words: str = "") -> Reply:
    """One tool call; `arguments` as text is sent as it is, so it may be nonsense."""
    return tool_calls([(name, arguments)], words=words)


def tool_calls(calls: Sequence[tuple[str, dict[str, Any] | str]], *, words: str = "") -> Reply:
    """Several tool calls in one answer."""
    return Reply(text=words, tool_calls=tuple((n, a if isinstance(a, str) else json.dumps(a)) for n, a in calls))


def http_error(status: int, *, message: str = "scripted failure", headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """An error in OpenAI's form."""
    body = {"error": {"message": message, "type": "scripted", "code": None, "param": None}}
    return Reply(status=status, raw_body=json.dumps(body).encode(), headers=headers)


def html_page(status: int = 200) -> Reply:
    """What a captive portal or a proxy sends in place of an answer."""
    page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in to the network.</body></html>"
    return Reply(status=status, raw_body=page, content_type="text/html; charset=utf-8")


def nonsense_body() -> Reply:
    """An event stream whose data are not JSON."""
    return Reply(raw_body=b"data: {this is not json\n\ndata: [DONE]\n\n", content_type="text/event-stream")


def broken_stream(
    after_chunks: int, *, words: str = "The stream breaks somewhere in here.", drop: bool = False
) -> Reply:
    """Ends after so many pieces with no finish reason: politely, or (`drop`) by cutting the connection."""
    return Reply(text=words, chunk_chars=4, break_after_chunks=after_chunks, drop_connection=drop)


def slow(seconds: float, words: str = "late") -> Reply:
    """Answers only after so many seconds."""
    return Reply(text=words, delay_s=seconds)


def endless_tool_calls(name: str, arguments: dict[str, Any] | str) -> Callable[[dict[str, Any]], Reply]:
    """A script that asks for the same tool for ever, except when it is given none to call."""

    def reply(request: dict[str, Any]) -> Reply:
        return tool_call(name, arguments) if request.get("tools") else text("I had to stop looking.")

    return reply


Script = Sequence[Reply] | Callable[[dict[str, Any]], Reply]


@dataclass
class Received:
    """One request as it came over the socket; `raw` holds header and body bytes together, for leak assertions."""

    path: str
    headers: dict[str, str]
    body: bytes
    raw: bytes
    json: dict[str, Any] = field(default_factory=dict)
    answered_chunks: int = 0
    abandoned: threading.Event = field(default_factory=threading.Event)

    async def client_left(self, within_s: float = 3.0) -> bool:
        """Whether the client closes its connection before the answer is whole, waited for so long."""
        return await asyncio.to_thread(self.abandoned.wait, within_s)


class ScriptedProvider:
    """See the module's docstring. `url` ends in `/v1`; `requests` grows while the server runs."""

    def __init__(self, script: Script, *, port: int = 0) -> None:
        if not callable(script) and not script:
            raise ValueError("a script needs at least one reply")
        self._script = script
        self._port = port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.requests: list[Received] = []

    @property
    def port(self) -> int:
        return self._port

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/v1"

    @property
    def received_bytes(self) -> bytes:
        """Everything that any client sent, headers included."""
        return b"\n".join(r.raw for r in self.requests)

    def start(self) -> None:
        """Listen, and return when connections are accepted."""
        app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._completions, methods=["POST"]),
                Route("/v1/models", self._models, methods=["GET"]),
                Route("/{rest:path}", self._elsewhere, methods=["GET", "POST"]),
            ]
        )
        config = uvicorn.Config(
            app, host="127.0.0.1", port=self._port, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="scripted-provider", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the scripted provider did not start")
            time.sleep(0.002)
        self._port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Close every connection and wait for the thread."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._server.force_exit = True
            self._thread.join(timeout=10)

    def __enter__(self) -> ScriptedProvider:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> ScriptedProvider:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    async def _received(self, request: Request) -> Received:
        body = await request.body()
        raw = b"\n".join(name + b": " + value for name, value in request.headers.raw) + b"\n\n" + body
        received = Received(request.url.path, dict(request.headers), body, request.url.path.encode() + b"\n" + raw)
        try:
            received.json = json.loads(body) if body else {}
        except ValueError:
            received.json = {}
        self.requests.append(received)
        return received

    async def _models(self, request: Request) -> Response:
        await self._received(request)
        return JSONResponse({"object": "list", "data": [{"id": "scripted", "object": "model", "owned_by": "tests"}]})

    async def _elsewhere(self, request: Request) -> Response:
        await self._received(request)
        return JSONResponse({"error": {"message": "no such path", "type": "scripted"}}, status_code=404)

    async def _completions(self, request: Request) -> Response:
        turn = len(self.requests)
        received = await self._received(request)
        reply = (
            self._script(received.json) if callable(self._script) else self._script[min(turn, len(self._script) - 1)]
        )
        if reply.delay_s:
            await self._wait(request, received, reply.delay_s)
        if reply.raw_body is not None:
            return Response(reply.raw_body, reply.status, dict(reply.headers), reply.content_type)
        if not received.json.get("stream"):
            return JSONResponse(_whole(reply, received.json))
        return StreamingResponse(self._stream(request, received, reply), media_type="text/event-stream")

    async def _wait(self, request: Request, received: Received, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if await request.is_disconnected():
                received.abandoned.set()
                return
            await asyncio.sleep(min(0.02, max(0.0, until - time.monotonic())))

    async def _stream(self, request: Request, received: Received, reply: Reply) -> AsyncIterator[bytes]:
        finished = False
        try:
            for number, chunk in enumerate(_chunks(reply, received.json)):
                if reply.break_after_chunks is not None and number >= reply.break_after_chunks:
                    finished = True
                    if reply.drop_connection:
                        raise ConnectionAbortedError("scripted: the connection is cut")
                    return
                yield f"data: {json.dumps(chunk)}\n\n".encode()
                received.answered_chunks += 1
                if reply.chunk_delay_s:
                    await asyncio.sleep(reply.chunk_delay_s)
            finished = True
            yield b"data: [DONE]\n\n"
        finally:
            if not finished:
                received.abandoned.set()


def _pieces(reply: Reply) -> list[str]:
    if not reply.text:
        return []
    size = reply.chunk_chars or len(reply.text)
    return [reply.text[at : at + size] for at in range(0, len(reply.text), size)]


def _chunks(reply: Reply, request: dict[str, Any]) -> list[dict[str, Any]]:
    """The data of each server-sent event: role, words, tool calls in two parts each, finish reason, usage."""
    head = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": request.get("model", "m"),
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    pieces = _pieces(reply)
    chunks = [chunk({"role": "assistant", "content": pieces[0] if pieces else ""})]
    chunks += [chunk({"content": piece}) for piece in pieces[1:]]
    for index, (name, arguments) in enumerate(reply.tool_calls):
        half = len(arguments) // 2
        call_id = f"call_{index}_{name}"
        opening = {
            "index": index,
            "id": call_id,
            "type": "function",
            "function": {"name": name, "arguments": arguments[:half]},
        }
        chunks.append(chunk({"tool_calls": [opening]}))
        chunks.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]}))
    chunks.append(chunk({}, reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")))
    if reply.usage is not None and (request.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": _usage(reply.usage)})
    return chunks


def _usage(usage: tuple[int, int]) -> dict[str, int]:
    return {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}


def _whole(reply: Reply, request: dict[str, Any]) -> dict[str, Any]:
    """The same answer for a client that asked for no stream."""
    calls = [
        {"id": f"call_{index}_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for index, (name, arguments) in enumerate(reply.tool_calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if calls:
        message["tool_calls"] = calls
    finish = reply.finish_reason or ("tool_calls" if calls else "stop")
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1,
        "model": request.get("model", "m"),
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": _usage(reply.usage or (0, 0)),
    }


def main() -> None:
    """Serve one fixed answer until interrupted, printing each request's messages."""
    parser = argparse.ArgumentParser(description="A scripted OpenAI-compatible server for trying KubeChat by hand.")
    parser.add_argument("--port", type=int, default=9999)
    parser.add_argument("--text", default="This is a scripted answer.")
    options = parser.parse_args()

    def answer(request: dict[str, Any]) -> Reply:
        print(json.dumps(request, indent=1, ensure_ascii=False), flush=True)
        return text(options.text, chunk_chars=6, chunk_delay_s=0.03)

    with ScriptedProvider(answer, port=options.port) as provider:
        print(f"KUBECHAT_MODEL=openai/scripted KUBECHAT_MODEL_URL={provider.url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
