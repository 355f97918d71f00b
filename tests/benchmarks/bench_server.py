"""Prints the seconds from starting `kubechat serve` to its first page, on the second run (the first one sets up its
data folder).

PYTHONPATH=. .venv/bin/python tests/benchmarks/bench_server.py
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

KUBECHAT = Path(sys.executable).with_name("kubechat")
LIMIT_S = 60.0


def seconds_to_first_page(data_folder: str, port: int) -> float:
    """Starts a server, waits for its page, ends it. Raises RuntimeError when no page came."""
    environment = {**os.environ, "KUBECHAT_DATA_DIR": data_folder, "PORT": str(port)}
    started = time.perf_counter()
    server = subprocess.Popen([str(KUBECHAT), "serve"], env=environment, stdout=subprocess.DEVNULL)
    try:
        while time.perf_counter() - started < LIMIT_S:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == httpx.codes.OK:
                    return time.perf_counter() - started
            except httpx.TransportError:
                time.sleep(0.02)
        raise RuntimeError("no page came")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(LIMIT_S)


def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="kc-") as folder:
        first, *later = [seconds_to_first_page(folder, port) for _ in range(4)]
    print(f"start to first page: first run {first:.1f} s, then best {min(later):.1f} s of {len(later)}")


if __name__ == "__main__":
    main()
