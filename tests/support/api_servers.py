"""Small API servers for tests of the transport: any handler behind a socket, and a certificate authority for TLS."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from agents.cluster.api import KubeApi, load_access
from agents.cluster.live import LiveReader
from agents.cluster.reader import ResourceType
from tests.support.snapshots import ServedApp

PODS = ResourceType("", "v1", "Pod", "pods", namespaced=True)
BAKERY_UID = "0b5d7d3e-1111-4c1a-9a6e-2f4f6f1c0001"
Handler = Callable[[Request], Awaitable[Response]]


def api_of(handler: Handler) -> ASGIApp:
    """An API server whose every answer is one handler's."""
    return Starlette(routes=[Route("/{path:path}", handler, methods=["GET", "POST"])])


def reader_of(kubeconfig: Path, **environ: str) -> LiveReader:
    access = load_access(kubeconfig=kubeconfig, environ=environ)
    assert access is not None
    return LiveReader(KubeApi(access, environ=environ))


async def uid_by(kubeconfig: Path, **environ: str) -> str:
    """The cluster's id, read with a kubeconfig."""
    reader = reader_of(kubeconfig, **environ)
    try:
        return (await reader.identity()).id
    finally:
        await reader.aclose()


async def kube_system(request: Request) -> Response:
    """The least of an API: /version, and the same object for every other path."""
    if request.url.path == "/version":
        return JSONResponse({"gitVersion": "v1.30.0"})
    return JSONResponse({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "kube-system", "uid": "uid-1"}})


class Authority:
    """A certificate authority as kubeadm makes one, with a server certificate for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"authority {folder.name}")])
        self.pem = self._sign(self._name, self._key, ca=True)
        (folder / "ca.pem").write_bytes(self.pem)

    @property
    def file(self) -> Path:
        return self._folder / "ca.pem"

    def issue(self, name: str) -> tuple[Path, Path]:
        """Files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate, key_file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(self._sign(subject, key, ca=False))
        form = serialization.PrivateFormat.TraditionalOpenSSL
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return certificate, key_file

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def secure_server(authority: Authority, *, client_certificates: bool = False) -> ServedApp:
    certificate, key = authority.issue("server")
    options: dict[str, Any] = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    if client_certificates:
        options |= {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": str(authority.file)}
    return ServedApp(api_of(kube_system), **options)
