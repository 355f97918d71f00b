"""The one way to a Kubernetes API server: GET, and the bytes of the answer.

The transport (connection pool, TLS, proxy) is `kubernetes.aio`'s; its typed models are not used, since they are slow.
Promise: credentials are renewed before they expire and once after a 401; a busy server (429) is asked again after the
time it names; a message never holds a token nor what a server wrote. Raises ClusterUnreachable, ClusterConfigInvalid or
ClusterCredentialsRejected when the cluster cannot be asked, and RequestTimedOut when one request took too long.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

import orjson

from agents.cluster.api.credentials import Credential, Credentials, credentials_of
from agents.cluster.api.kubeconfig import ClusterAccess
from agents.cluster.api.proxy import proxy_for
from agents.cluster.objects import mapping, strings, text
from assistant.errors import ClusterConfigInvalid, ClusterCredentialsRejected, ClusterUnreachable

if TYPE_CHECKING:  # a third of a second and 45 MB, which `--help` and snapshots need not pay
    import aiohttp

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 30.0
_MAX_RETRY_AFTER_S = 5.0
_BUSY_TRIES = 4


class RequestTimedOut(ClusterUnreachable):
    """One request was not answered in time; others may be."""


class _Cut(Exception):
    """The connection broke while an answer was read."""


class _Transport(Protocol):
    """The part of `kubernetes.aio`'s `RESTClientObject` (which carries no types) that is used here."""

    async def request(self, method: str, url: str, *, headers: Any, _request_timeout: Any) -> Any: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ApiReply:
    """One answer: the status and the body, decompressed. `cut` when the body was longer than was asked for."""

    status: int
    body: bytes
    cut: bool = False

    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is none (a login page of a proxy, say)."""
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class _Clock:
    """The server's clock as the newest answer gave it, and when that was by ours (monotonic seconds)."""

    date: datetime
    seen: float


class KubeApi:
    """A connection pool to one API server as one user. Close it with `aclose`."""

    def __init__(
        self,
        access: ClusterAccess,
        *,
        environ: Mapping[str, str] = os.environ,
        credentials: Credentials | None = None,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        """Raises ClusterConfigInvalid when the access names no usable credential or proxy. Contacts nobody."""
        self.access = access
        self._credentials = credentials or credentials_of(access, environ)
        self._proxy = proxy_for(access.server, access.proxy_url, environ)
        self._request_timeout_s = request_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._headers = _identity_headers(access)
        self._transports: dict[tuple[bytes, bytes], _Transport] = {}
        self._lock = asyncio.Lock()
        self._clock: _Clock | None = None

    @property
    def server_date(self) -> tuple[datetime, float] | None:
        """(the Date of the newest answer, seconds since it came); None before the first answer."""
        return None if self._clock is None else (self._clock.date, time.monotonic() - self._clock.seen)

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        timeout_s: float | None = None,
        max_bytes: int | None = None,
    ) -> ApiReply:
        """The answer to GET `path` (absolute, escaped), of any status but 401. `max_bytes` cuts the body there."""
        url = self.access.server + path + (f"?{urlencode(query)}" if query else "")
        credential = await self._credentials.current()
        reply = await self._patiently(url, credential, accept, timeout_s, max_bytes)
        if reply.status == 401:
            renewed = await self._credentials.renew(credential)
            if renewed is not None:
                reply = await self._patiently(url, renewed, accept, timeout_s, max_bytes)
        if reply.status == 401:
            whose = f"the credentials of context {self.access.context}" if self.access.context else self.access.origin
            raise ClusterCredentialsRejected(
                f"{self.access.host} does not accept {whose}: expired, or never valid here."
            )
        return reply

    async def aclose(self) -> None:
        """Closes all connections."""
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.close()

    async def _patiently(
        self, url: str, credential: Credential, accept: str, timeout_s: float | None, max_bytes: int | None
    ) -> ApiReply:
        """Asks again when the server says that it is busy, and once when a connection broke while it was read."""
        broken = False
        for attempt in range(_BUSY_TRIES):
            try:
                reply, retry_after = await self._send(url, credential, accept, timeout_s, max_bytes)
            except _Cut as error:
                if broken:
                    raise ClusterUnreachable(
                        f"The connection to {self.access.host} broke while it answered."
                    ) from error
                broken = True
                continue
            if reply.status != 429 or attempt == _BUSY_TRIES - 1:
                return reply
            await asyncio.sleep(min(retry_after, _MAX_RETRY_AFTER_S))
        return reply

    async def _send(
        self, url: str, credential: Credential, accept: str, timeout_s: float | None, max_bytes: int | None
    ) -> tuple[ApiReply, float]:
        transport = await self._transport(credential)
        import aiohttp
        from multidict import CIMultiDict

        headers = CIMultiDict([*self._headers, ("Accept", accept)])
        if credential.authorization:
            headers["Authorization"] = credential.authorization
        total = timeout_s or self._request_timeout_s
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=min(self._connect_timeout_s, total))
        try:
            answer = await transport.request("GET", url, headers=headers, _request_timeout=timeout)
            response: aiohttp.ClientResponse = answer.response
            try:
                body, cut = await _body(response, max_bytes)
            finally:
                response.release()
        except (
            aiohttp.ClientPayloadError,
            aiohttp.ServerDisconnectedError,
            aiohttp.ClientConnectionResetError,
        ) as error:
            raise _Cut from error
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise _unreachable(error, self.access, total) from error
        self._note_date(response.headers.get("Date", ""))
        return ApiReply(response.status, body, cut), _seconds(response.headers.get("Retry-After", ""))

    def _note_date(self, header: str) -> None:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return
        self._clock = _Clock(date if date.tzinfo else date.replace(tzinfo=UTC), time.monotonic())

    async def _transport(self, credential: Credential) -> _Transport:
        """The connection pool for a credential's certificate: certificates belong to connections, not to requests."""
        key = (credential.certificate, credential.key)
        async with self._lock:
            if key not in self._transports:
                self._transports[key] = await asyncio.to_thread(_open_transport, self.access, credential, self._proxy)
            return self._transports[key]


def _open_transport(access: ClusterAccess, credential: Credential, proxy: str) -> _Transport:
    """Blocking (import, reading of certificates). Raises ClusterConfigInvalid for certificates that cannot be read."""
    from kubernetes.aio.client.configuration import Configuration
    from kubernetes.aio.client.rest import RESTClientObject

    # aiohttp's reading of the proxy variables knows no CIDR blocks, so the proxy is chosen here and nowhere else
    configuration = Configuration(
        host=access.server,
        verify_ssl=access.verify,
        tls_server_name=access.tls_server_name or None,
        connection_pool_maxsize=16,
        proxy=proxy or None,
        client_session_kwargs={"trust_env": False},
    )
    # clusters sign their own certificates; many lack extensions that the strict check wants and kubectl does not
    configuration.disable_strict_ssl_verification = True
    with tempfile.TemporaryDirectory(prefix="kubechat-tls-") as folder:
        # OpenSSL takes a client's certificate from files alone; they are gone before the first connection is made
        try:
            if access.ca_pem:
                configuration.ca_cert_data = access.ca_pem.decode("ascii")
            if credential.certificate:
                configuration.cert_file = _private_file(Path(folder) / "cert.pem", credential.certificate)
                configuration.key_file = _private_file(
                    Path(folder) / "key.pem", credential.key or credential.certificate
                )
            return RESTClientObject(configuration)
        except (ssl.SSLError, ValueError, OSError) as error:
            raise ClusterConfigInvalid(
                f"The certificates of {access.origin or access.host} cannot be read: not PEM, or key and certificate "
                "do not belong together."
            ) from error


def _private_file(path: Path, content: bytes) -> str:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return str(path)


def _identity_headers(access: ClusterAccess) -> list[tuple[str, str]]:
    """The headers of every request: who we are, and whom the kubeconfig says to act as."""
    headers = [("User-Agent", "kubechat")]
    headers += [("Impersonate-User", name) for name in [text(access.user, "as")] if name]
    headers += [("Impersonate-Uid", uid) for uid in [text(access.user, "as-uid")] if uid]
    headers += [("Impersonate-Group", group) for group in strings(access.user, "as-groups")]
    for key in mapping(access.user, "as-user-extra"):
        header = "Impersonate-Extra-" + quote(str(key).lower(), safe="")
        headers += [(header, value) for value in strings(access.user, "as-user-extra", key)]
    return headers


async def _body(response: aiohttp.ClientResponse, max_bytes: int | None) -> tuple[bytes, bool]:
    if max_bytes is None:
        return await response.read(), False
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            response.close()
            return bytes(body[:max_bytes]), True
    return bytes(body), False


def _seconds(header: str) -> float:
    return float(header) if header.isdigit() else 1.0


def _unreachable(error: Exception, access: ClusterAccess, seconds: float) -> ClusterUnreachable:
    """What went wrong on the way to the server, in a sentence of our own that names its host."""
    import aiohttp

    host = access.host
    match error:
        case aiohttp.ConnectionTimeoutError():
            return ClusterUnreachable(f"The API server {host} did not accept a connection in time.")
        case TimeoutError():
            return RequestTimedOut(f"The API server {host} did not answer within {seconds:g} seconds.")
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return ClusterUnreachable(f"The proxy on the way to the API server {host} refused the connection.")
        case aiohttp.ClientConnectorCertificateError():
            return ClusterUnreachable(
                f"The certificate of {host} was not issued by the authority that {access.origin or 'the kubeconfig'} "
                "trusts, or not for this name, or it has expired."
            )
        case aiohttp.ClientSSLError():
            return ClusterUnreachable(f"The API server {host} and KubeChat could not agree on TLS.")
        case aiohttp.ClientConnectorDNSError():
            return ClusterUnreachable(f"The name of the API server {host} cannot be resolved.")
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return ClusterUnreachable(f"Nothing listens at {host}: the connection was refused.")
        case aiohttp.ClientConnectorError(os_error=socket.gaierror()):
            return ClusterUnreachable(f"The name of the API server {host} cannot be resolved.")
        case _:
            return ClusterUnreachable(f"The API server {host} cannot be reached.")
