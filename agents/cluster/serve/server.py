"""Listens with a served snapshot on loopback, and writes the kubeconfig that leads to it."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import uvicorn
import yaml

from agents.cluster.serve.app import build_app
from agents.cluster.snapshot import load_snapshot
from assistant.errors import BadInput

DEFAULT_PORT = 8001  # what `kubectl proxy` uses


async def serve_snapshot(
    folder: Path,
    *,
    port: int = DEFAULT_PORT,
    kubeconfig: Path | None = None,
    announce: Callable[[str], None] = print,
) -> None:
    """Serves a snapshot on 127.0.0.1 until interrupted; `port` 0 takes a free one. `announce` gets each line to show.

    Raises SnapshotUnreadable for a folder without objects, and BadInput when the port is taken or the kubeconfig
    cannot be written.
    """
    snapshot = await asyncio.to_thread(load_snapshot, folder)
    app = await build_app(snapshot)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(128)  # before the address is announced, so that whoever reads it may connect at once
        except OSError as error:
            raise BadInput(f"Port {port} is in use. Choose another with --port, or 0 for a free one.") from error
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if kubeconfig is not None:
            await asyncio.to_thread(write_kubeconfig, kubeconfig, url, folder.name or "snapshot")
        for what, missing in snapshot.problems:
            announce(f"not read: {what}: {missing.detail}")
        announce(f"Serving {len(snapshot.objects)} objects of {folder}, read-only, at {url} (Ctrl-C ends it)")
        leads = f"kubectl --kubeconfig {kubeconfig}" if kubeconfig else f"kubectl --server {url}"
        announce(f"  {leads} get pods -A")
        config = uvicorn.Config(
            app,
            log_level="warning",
            lifespan="off",
            date_header=False,  # the record's own clock is sent
            server_header=False,
            timeout_graceful_shutdown=1,  # watches stay open for minutes
        )
        await uvicorn.Server(config).serve(sockets=[listener])


def write_kubeconfig(path: Path, url: str, name: str) -> None:
    """Writes a kubeconfig with one context that leads to `url`. Raises BadInput when another one stands there."""
    marker = {"kubechat": "served snapshot"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": marker,
        "clusters": [{"name": name, "cluster": {"server": url}}],
        "users": [],
        "contexts": [{"name": name, "context": {"cluster": name, "user": ""}}],
        "current-context": name,
    }
    try:
        if path.exists() and not _is_ours(path):
            raise BadInput(f"{path} exists and is another kubeconfig. Choose a new file.")
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w") as file:
            yaml.safe_dump(document, file, sort_keys=False)
        Path(temporary).replace(path)
    except OSError as error:
        raise BadInput(f"The kubeconfig {path} cannot be written.") from error


def _is_ours(path: Path) -> bool:
    try:
        document = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError:
        return False
    return isinstance(document, dict) and document.get("preferences") == {"kubechat": "served snapshot"}
