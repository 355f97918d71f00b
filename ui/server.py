"""The server: our routes and the chat page in one FastAPI application behind the gate, and its life as a process.

Promise: SIGINT and SIGTERM end it in order: no new requests, running turns are recorded as cancelled, then the caller's
own clean-up runs. Nothing of uvicorn or Chainlit ends the process behind the caller's back.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from assistant.errors import SettingsInvalid
from assistant.settings import ServerSettings, Settings
from ui.api.routes import add_api
from ui.auth import Gate
from ui.container import App

PUBLIC = Path(__file__).resolve().parent / "pages" / "public"
ELEMENTS = Path(__file__).resolve().parent / "elements"
SHUTDOWN_SECONDS = 3
BACKLOG = 128


def make_server(app: App) -> FastAPI:
    """The whole server over an open app. One per process: Chainlit's state is global. Raises StorageUnavailable."""
    from ui.chat.mount import chat  # Chainlit takes a second to import

    server = FastAPI(title="KubeChat", docs_url=None, redoc_url=None, openapi_url=None)
    add_api(server, app)

    @server.get("/logo")
    async def logo(theme: str = "light") -> FileResponse:
        return FileResponse(PUBLIC / ("logo_dark.svg" if theme == "dark" else "logo_light.svg"))

    @server.get("/favicon")
    @server.get("/avatars/{name}")
    async def avatar(name: str = "") -> FileResponse:
        return FileResponse(PUBLIC / "avatar.svg")

    server.mount("/public/elements", StaticFiles(directory=ELEMENTS))
    server.mount("/public", StaticFiles(directory=PUBLIC))
    server.mount("/", chat(app))
    server.add_middleware(Gate, settings=app.settings.server)
    return server


async def serve(app: App, settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM. Raises SettingsInvalid where the address cannot be listened on."""
    listener = listen(settings.server)
    try:
        server = make_server(app)
        config = uvicorn.Config(
            server,
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # the gate asks who really connects
            server_header=False,
            lifespan="off",
            ws_max_size=1_000_000,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        process = _Process(config, app)
        with process.stopped_by_signals(asyncio.get_running_loop()):
            print(f"  page      {address(listener)}", flush=True)
            await process.serve(sockets=[listener])
    finally:
        listener.close()


def listen(settings: ServerSettings) -> socket.socket:
    """A listening socket. Raises SettingsInvalid, with what to do, where the address is in use or not ours."""
    host = settings.host.strip("[]")
    try:
        family = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsInvalid(
            f"KubeChat cannot listen on {settings.host}:{settings.port}: it is in use, or not an address of this "
            "machine. Choose another with PORT or HOST."
        ) from error
    listener.setblocking(False)
    return listener


def address(listener: socket.socket) -> str:
    """The URL to open."""
    host, port = listener.getsockname()[:2]
    host = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared with, not bound to
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Process(uvicorn.Server):
    """uvicorn without its signal handling, which raises the signal again when it is done: SIGTERM would then end the
    process before the database is closed."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the running turns first: whoever reads one gets its last event, and the connections close at once."""
        await self._app.conversation.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def stopped_by_signals(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """SIGINT and SIGTERM ask the server to end; a second one does not wait for open connections."""
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
