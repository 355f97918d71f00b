"""The guard of the test suite itself: foreign hosts are refused in this process and in those that tests start."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# A documentation address (RFC 5737) and a name that can never exist (RFC 2606).
FOREIGN_ADDRESS = "192.0.2.1"
FOREIGN_NAME = "kubechat.invalid"


@pytest.mark.refused_network
def test_a_foreign_address_is_refused_at_once() -> None:
    with socket.socket() as client, pytest.raises(OSError, match="may not reach the network"):
        client.connect((FOREIGN_ADDRESS, 443))


@pytest.mark.refused_network
def test_a_foreign_name_is_not_resolved() -> None:
    with pytest.raises(OSError, match="may not reach the network"):
        socket.getaddrinfo(FOREIGN_NAME, 443)


@pytest.mark.refused_network
async def test_asyncio_is_guarded_too() -> None:
    with pytest.raises(OSError, match="may not reach the network"):
        await asyncio.open_connection(FOREIGN_ADDRESS, 443)


@pytest.mark.refused_network
def test_a_datagram_is_refused() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client, pytest.raises(OSError, match="may not reach the network"):
        client.sendto(b"x", (FOREIGN_ADDRESS, 53))


def test_a_process_started_by_a_test_is_guarded() -> None:
    script = f"import socket; socket.create_connection(({FOREIGN_ADDRESS!r}, 443), timeout=5)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 1
    assert "may not reach the network" in ended.stderr


async def test_loopback_is_open_by_address_and_by_name() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "localhost", 0)
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("localhost", port)
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


def test_unix_sockets_are_open() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = str(Path(folder) / "s")
        listener.bind(path)
        listener.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def test_no_setting_of_the_developer_is_seen() -> None:
    assert "KUBECONFIG" not in os.environ
    assert not [name for name in os.environ if name.startswith("KUBECHAT_") or name.endswith("_API_KEY")]
    assert not (Path.home() / ".kube").exists()
