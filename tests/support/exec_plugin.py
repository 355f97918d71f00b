"""A credential plugin as EKS, GKE and AKS have one, and an API server that checks the tokens it gives.

Both share a folder: the plugin writes each token with the time it dies, the server refuses what is unknown or dead.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_PLUGIN = """#!{python} -S
import datetime, json, os, pathlib, sys, time
folder = pathlib.Path({folder!r})
count = len(list(folder.glob("token-*"))) + 1
dies = time.time() + {lives_s}
(folder / f"token-{{count}}").write_text(str(dies))
(folder / "info.json").write_text(os.environ["KUBERNETES_EXEC_INFO"])
stated = datetime.datetime.fromtimestamp(dies, datetime.timezone.utc).isoformat() if {states_expiry} else None
print("some advice for a person", file=sys.stderr)
status = {{"token": f"token-{{count}}"}} | ({{"expirationTimestamp": stated}} if stated else {{}})
print(json.dumps({{"apiVersion": {api!r}, "kind": "ExecCredential", "status": status}}))
"""
API_VERSION = "client.authentication.k8s.io/v1"


def write_plugin(folder: Path, *, lives_s: float, states_expiry: bool = True) -> dict[str, Any]:
    """Writes the plugin; gives the `user` entry of a kubeconfig that runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "fake-cloud-auth"
    script.write_text(
        _PLUGIN.format(
            python=sys.executable, folder=str(folder), lives_s=lives_s, states_expiry=states_expiry, api=API_VERSION
        )
    )
    script.chmod(0o755)
    return exec_user(str(script), provideClusterInfo=True)


def exec_user(command: str, **fields: Any) -> dict[str, Any]:
    """A kubeconfig's user whose credential a command prints."""
    return {"exec": {"apiVersion": API_VERSION, "command": command, "interactiveMode": "IfAvailable", **fields}}


def runs_of(folder: Path) -> int:
    """How often the plugin was run."""
    return len(list(folder.glob("token-*")))


class CheckedTokens:
    """Around an API: 401 for a request without a token that the plugin gave and that still lives."""

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        self._app = app
        self._folder = folder
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        token = Request(scope).headers.get("authorization", "").removeprefix("Bearer ")
        record = self._folder / token
        alive = token.startswith("token-") and record.is_file() and float(record.read_text()) > time.time()
        if not alive:
            self.refused += 1
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 401, "message": f"bad {token}"}
            await JSONResponse(status, 401)(scope, receive, send)
            return
        await self._app(scope, receive, send)
