"""Mounts Chainlit in our server: the callbacks, the page's own index, and a door that lets through only what is used.

Chainlit serves far more than a chat needs (uploads, session files, MCP connections, elements that the browser edits,
OAuth); what is not in the table of routes here does not exist. The principal that the gate has found is handed to
Chainlit as its own signed token, made anew on each request; what a browser sends as a token is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ui.auth import principal_of, send_json
from ui.chat.setup import prepare
from ui.container import App

PAGES = Path(__file__).resolve().parent.parent / "pages"
ABOUT = Path(__file__).resolve().parent.parent.parent / "chainlit.md"

# (method, path) of what the page uses; "GET" allows HEAD.
_ROUTES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (method, re.compile(pattern))
    for method, pattern in (
        ("GET", r"/"),
        ("GET", r"/thread/[0-9A-Za-z-]{1,64}"),
        ("GET", r"/assets/[^/]+"),
        ("GET", r"/auth/config"),
        ("GET", r"/user"),
        ("GET", r"/project/settings"),
        ("GET", r"/project/translations"),
        ("GET", r"/project/thread/[0-9A-Za-z-]{1,64}"),
        ("POST", r"/project/threads"),
        ("PUT", r"/project/thread"),
        ("DELETE", r"/project/thread"),
        ("GET", r"/ws/socket\.io/"),
        ("POST", r"/ws/socket\.io/"),
    )
)
_PAGE = re.compile(r"/(thread/[0-9A-Za-z-]{1,64})?")
_NOT_FOUND = {"error": {"code": "not-found", "message": "There is nothing at this address.", "retryable": False}}


def chat(app: App) -> ASGIApp:
    """The chat page as an ASGI application for the root of our server. One per process: Chainlit's state is global."""
    prepare(app.settings.storage.data_dir, ABOUT)
    from chainlit.config import config
    from chainlit.server import sio

    # chainlit has to be imported after its environment is set
    from ui.chat.history import History
    from ui.chat.page import ChatPage

    history = History(app)
    page = ChatPage(app, history)
    _register(config, page, history)
    # Chainlit's own handler says "Task manually stopped." and kills the drawing; ours cancels the turn
    sio.on("stop", page.stop)
    sio.on("connect", page.connecting(sio.handlers["/"]["connect"]))
    return Door(_chainlit(), index_page(app))


def _register(config: Any, page: Any, history: Any) -> None:
    """Sets the callbacks as they are: Chainlit's decorators wrap each in a step of its own, which it would draw."""

    async def signed_in(_: Headers) -> None:
        return None  # its presence makes Chainlit ask for a user; who that is comes with each request

    config.code.on_chat_start = page.on_chat_start
    config.code.on_message = page.on_message
    config.code.on_chat_resume = page.on_chat_resume
    config.code.header_auth_callback = signed_in
    config.code.data_layer = lambda: history


def _chainlit() -> ASGIApp:
    from chainlit.server import app as chainlit_app
    from fastapi import Request
    from fastapi.responses import JSONResponse

    from assistant.errors import KubeChatError

    async def on_error(request: Request, error: Exception) -> JSONResponse:
        shown = error.as_json() if isinstance(error, KubeChatError) else {}
        return JSONResponse({"error": shown, "detail": shown.get("message", "")}, status_code=503)

    chainlit_app.add_exception_handler(KubeChatError, on_error)
    application: ASGIApp = chainlit_app
    return application


class Door:
    """What stands between our server and Chainlit."""

    def __init__(self, chainlit: ASGIApp, page: Callable[[], Awaitable[bytes]]) -> None:
        self._chainlit = chainlit
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._chainlit(scope, receive, send)
            return
        method, path = scope.get("method", "GET"), scope["path"]
        method = "GET" if method == "HEAD" else method
        if not any(method == allowed and pattern.fullmatch(path) for allowed, pattern in _ROUTES):
            await self._refuse(scope, receive, send)
        elif _PAGE.fullmatch(path):
            await _send_page(send, await self._page())
        else:
            await self._chainlit({**scope, "headers": _signed(scope)}, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "not-found"})
        else:
            await send_json(send, 404, _NOT_FOUND)


def _signed(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The request's headers with our token in place of whatever the browser sent as one."""
    from chainlit.auth import create_jwt
    from chainlit.user import User

    principal = principal_of(scope)
    token = create_jwt(User(identifier=principal.id, display_name=principal.display_name))
    dropped = {b"cookie", b"authorization"}
    if (scope.get("client") or ("",))[0] in {"127.0.0.1", "::1"}:
        dropped.add(b"accept-encoding")  # packing three megabytes takes longer than passing them on on one machine
    kept = [(name, value) for name, value in scope["headers"] if name.lower() not in dropped]
    return [*kept, (b"cookie", f"access_token={token}".encode())]


async def _send_page(send: Send, body: bytes) -> None:
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def index_page(app: App) -> Callable[[], Awaitable[bytes]]:
    """A function that renders our index: Chainlit's own asks a font service and a CDN, and runs inline scripts."""
    from chainlit.server import build_dir

    template = (PAGES / "index.html").read_text(encoding="utf-8")
    theirs = (Path(build_dir) / "index.html").read_text(encoding="utf-8")
    script = re.search(r'src="(/assets/index-[\w-]+\.js)"', theirs)
    style = re.search(r'href="(/assets/index-[\w-]+\.css)"', theirs)
    if script is None or style is None:
        raise RuntimeError("This Chainlit's page is not built as expected.")

    async def render() -> bytes:
        identity = await app.identity()
        model = app.services.model
        values = {
            "SCRIPT": script[1],
            "STYLE": style[1],
            "CLUSTER": identity.label,
            "SOURCE": identity.source,
            "MODE": "no model: evidence only" if model is None else model.name,
            "MODEL": app.model_line,
            "OPEN": "open" if _is_open(app) else "guarded",
        }
        page = template
        for name, value in values.items():
            page = page.replace(f"@{name}@", escape(value))
        return page.encode()

    return render


def _is_open(app: App) -> bool:
    server = app.settings.server
    return server.insecure_no_sign_in and not server.has_trusted_proxy
