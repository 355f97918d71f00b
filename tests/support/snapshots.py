"""Snapshots for tests: folders written on the fly, and the snapshot server behind a real socket.

    with ServedApp(asyncio.run(build_app(load_snapshot(folder)))) as server:
        ...  # server.url

A server runs in a thread with a loop of its own, so it answers kubectl and other processes too.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from agents.cluster.api import ClusterAccess, KubeApi
from agents.cluster.live import LiveReader
from agents.cluster.serve import build_app
from agents.cluster.snapshot import Snapshot, load_snapshot

SCENARIOS = Path(__file__).parents[1] / "scenarios"
BAKERY = SCENARIOS / "transport-bakery"
PARTIAL = SCENARIOS / "transport-partial"
LOOSE = SCENARIOS / "transport-loose"


class ServedApp:
    """An ASGI application on 127.0.0.1, from `with` to its end. `url` has no trailing slash."""

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        """`options` go to uvicorn (`ssl_certfile`, say)."""
        settings: dict[str, Any] = {
            "log_level": "critical",
            "lifespan": "off",
            "date_header": False,
            "timeout_graceful_shutdown": 1,
        }
        self._server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, **(settings | options)))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._scheme = "https" if "ssl_certfile" in options else "http"
        self.port = 0

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> ServedApp:
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.005)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(timeout=10)


def served(snapshot: Snapshot | Path) -> ServedApp:
    """The snapshot server over a folder or a loaded snapshot."""
    loaded = load_snapshot(snapshot) if isinstance(snapshot, Path) else snapshot
    done: list[ASGIApp] = []
    thread = threading.Thread(target=lambda: done.append(asyncio.run(build_app(loaded))))
    thread.start()  # the caller may be in a loop already
    thread.join()
    return ServedApp(done[0])


def live_reader(url: str, **options: Any) -> LiveReader:
    """A live reader of a server without credentials."""
    return LiveReader(KubeApi(ClusterAccess(server=url, name="served"), environ={}), **options)


def write_kubeconfig(
    path: Path, url: str, user: Mapping[str, Any] | None = None, cluster: Mapping[str, Any] | None = None
) -> Path:
    """A kubeconfig with one context `test` whose user and cluster entries are given."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test-cluster", "cluster": {"server": url, **(cluster or {})}}],
        "users": [{"name": "someone", "user": dict(user or {})}],
        "contexts": [{"name": "test", "context": {"cluster": "test-cluster", "user": "someone"}}],
        "current-context": "test",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """A folder with these files; text is written as UTF-8."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def pod_json(name: str, namespace: str = "mill", **fields: Any) -> dict[str, Any]:
    """A minimal pod as JSON."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **fields}
