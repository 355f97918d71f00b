"""The way to an API server: TLS, client certificates, proxies, and servers that are not there or are none."""

import asyncio
import base64
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from agents.cluster.api.proxy import proxy_for
from assistant.errors import (
    ClusterUnreachable,
)
from tests.support.api_servers import Authority, api_of, secure_server, uid_by
from tests.support.exec_plugin import API_VERSION, exec_user
from tests.support.snapshots import BAKERY, ServedApp, live_reader, served, write_kubeconfig

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bakery() -> Iterator[str]:
    with served(BAKERY) as server:
        yield server.url


# -- TLS and proxies ------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


async def test_the_kubeconfigs_authority_is_trusted_and_no_other(tmp_path: Path, authority: Authority) -> None:
    other = Authority(tmp_path / "other")
    with secure_server(authority) as server:
        data = base64.b64encode(authority.pem).decode()
        trusted = write_kubeconfig(tmp_path / "a", server.url, cluster={"certificate-authority-data": data})
        wrong = write_kubeconfig(tmp_path / "b", server.url, cluster={"certificate-authority": str(other.file)})
        careless = write_kubeconfig(tmp_path / "c", server.url, cluster={"insecure-skip-tls-verify": True})
        named = write_kubeconfig(
            tmp_path / "d", server.url, cluster={"certificate-authority-data": data, "tls-server-name": "elsewhere"}
        )
        assert await uid_by(trusted) == "uid-1"
        assert await uid_by(careless) == "uid-1"
        for config in (wrong, named):
            with pytest.raises(ClusterUnreachable, match=r"certificate of 127\.0\.0\.1"):
                await uid_by(config)


async def test_a_client_certificate_is_shown(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue("jane")
    ca = {"certificate-authority": str(authority.file)}
    with secure_server(authority, client_certificates=True) as server:
        pair = {"client-certificate": certificate, "client-key": key}
        files = {k: str(v) for k, v in pair.items()}
        data = {f"{k}-data": base64.b64encode(v.read_bytes()).decode() for k, v in pair.items()}
        assert await uid_by(write_kubeconfig(tmp_path / "a", server.url, files, ca)) == "uid-1"
        assert await uid_by(write_kubeconfig(tmp_path / "b", server.url, data, ca)) == "uid-1"
        with pytest.raises(ClusterUnreachable):
            await uid_by(write_kubeconfig(tmp_path / "c", server.url, {}, ca))


async def test_a_certificate_that_a_plugin_prints_is_shown(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue("plugin")
    status = {"clientCertificateData": certificate.read_text(), "clientKeyData": key.read_text()}
    answer = {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status}
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    user = exec_user("cat", args=[str(tmp_path / "answer.json")])
    with secure_server(authority, client_certificates=True) as server:
        ca = {"certificate-authority": str(authority.file)}
        config = write_kubeconfig(tmp_path / "config", server.url, user, ca)
        assert await uid_by(config, PATH="/usr/bin:/bin") == "uid-1"


async def test_a_proxy_tunnels_to_a_secure_server(tmp_path: Path, authority: Authority) -> None:
    asked: list[str] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
        there, onward = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(copy(reader, onward), copy(there, writer))

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(65536):
                target.write(chunk)
                await target.drain()
        target.close()

    with secure_server(authority) as server:
        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        # a name that only the proxy could resolve; the certificate is for 127.0.0.1
        cluster = {
            "certificate-authority": str(authority.file),
            "proxy-url": address,
            "tls-server-name": "127.0.0.1",
        }
        assert await uid_by(write_kubeconfig(tmp_path / "c", "https://api.invalid:6443", cluster=cluster)) == "uid-1"
        proxy.close()
        await proxy.wait_closed()
    assert set(asked) == {"CONNECT api.invalid:6443 HTTP/1.1"}


async def test_a_proxy_carries_the_requests(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        asked.append((request.scope["path"], request.headers.get("proxy-authorization", "")))
        version = request.scope["path"].endswith("/version")
        reply = JSONResponse({"gitVersion": "v1"} if version else {"metadata": {"uid": "uid-1"}})
        await reply(scope, receive, send)

    with ServedApp(proxy) as server:
        credentialed = server.url.replace("http://", "http://me:pw@")
        by_field = write_kubeconfig(tmp_path / "a", "http://cluster.invalid:6443", cluster={"proxy-url": credentialed})
        by_variable = write_kubeconfig(tmp_path / "b", "http://cluster.invalid:6443")
        assert await uid_by(by_field) == "uid-1"
        assert await uid_by(by_variable, HTTP_PROXY=server.url) == "uid-1"
    assert all(url.startswith("http://cluster.invalid:6443/") for url, _ in asked)
    assert asked[0][1] == "Basic " + base64.b64encode(b"me:pw").decode()


@pytest.mark.parametrize(
    ("server", "no_proxy", "proxied"),
    [
        ("https://api.corp.example:6443", "", True),
        ("https://api.corp.example:6443", "corp.example", False),
        ("https://api.corp.example:6443", ".corp.example,other", False),
        ("https://corp.example:6443", ".corp.example", True),
        ("https://api.corp.example:6443", "*.corp.example", False),
        ("https://api.corp.example:6443", "corp.example:443", True),
        ("https://api.corp.example:6443", "corp.example:6443", False),
        ("https://10.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.3", "10.2.0.0/16", True),
        ("https://[fd00::2]:6443", "fd00::/8", False),
        ("https://anything", "*", False),
        ("https://127.0.0.1:6443", "", False),
        ("https://localhost", "", False),
        ("https://notcorp.example", "corp.example", True),
    ],
)
def test_no_proxy_is_read_as_kubectl_reads_it(server: str, no_proxy: str, proxied: bool) -> None:
    environ = {"HTTPS_PROXY": "proxy.example:3128", "NO_PROXY": no_proxy}
    assert proxy_for(server, "", environ) == ("http://proxy.example:3128" if proxied else "")
    assert proxy_for(server, "http://named:1", environ) == "http://named:1"


# -- a server that is not there, or is none -------------------------------------------------------------------------


@pytest.mark.refused_network
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9", "127.0.0.1:9: the connection was refused"),
        ("https://cluster.invalid:6443", "name of the API server cluster.invalid:6443 cannot be resolved"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_named(url: str, words: str) -> None:
    reader = live_reader(url)
    with pytest.raises(ClusterUnreachable, match=words) as raised:
        await reader.identity()
    await reader.aclose()
    assert (raised.value.exit_code, raised.value.retryable) == (3, True)


async def test_a_plain_server_behind_https_and_the_reverse(tmp_path: Path, authority: Authority, bakery: str) -> None:
    with pytest.raises(ClusterUnreachable, match="TLS"):
        await uid_by(write_kubeconfig(tmp_path / "a", bakery.replace("http:", "https:")))
    with secure_server(authority) as server, pytest.raises(ClusterUnreachable):
        await uid_by(write_kubeconfig(tmp_path / "b", server.url.replace("https:", "http:")))


async def test_a_login_page_is_no_kubernetes_api() -> None:
    async def page(_: Request) -> Response:
        return PlainTextResponse("<html>Please sign in, token=abc</html>", headers={"Content-Type": "text/html"})

    with ServedApp(api_of(page)) as server:
        reader = live_reader(server.url)
        with pytest.raises(ClusterUnreachable, match="not a Kubernetes API") as raised:
            await reader.identity()
        await reader.aclose()
    assert "sign in, token" not in str(raised.value)


async def test_a_cluster_whose_kube_system_is_forbidden_is_known_by_its_authority() -> None:
    async def forbidden(request: Request) -> Response:
        if request.url.path == "/version":
            return JSONResponse({"gitVersion": "v1.30.0"})
        return JSONResponse({"kind": "Status", "code": 403}, 403)

    with ServedApp(api_of(forbidden)) as server:
        reader = live_reader(server.url)
        identity, problems = await reader.identity(), await reader.problems()
        await reader.aclose()
    assert identity.id.startswith("server-")
    assert ("cluster identity", "forbidden") in [(what, why.reason) for what, why in problems]


def test_the_client_is_imported_only_when_a_cluster_is_asked() -> None:
    modules = "agents.cluster.identity, agents.cluster.live, agents.cluster.capture, agents.cluster.gather"
    code = f"import sys, {modules}; print([m for m in ('kubernetes', 'aiohttp', 'uvicorn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
