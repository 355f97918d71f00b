"""Who asks: the credentials of a kubeconfig's user, renewed before they expire and once after a 401.

A credential is asked for before every request, so a token that a plugin gives is renewed on demand and under a lock,
with no loop of its own that could stop; files that are rotated on disk are read again when they change. No token, key
or output of a plugin ever stands in a message.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from agents.cluster.api.kubeconfig import ClusterAccess, load_access
from agents.cluster.objects import mapping, mappings, moment, strings, text
from assistant.errors import ClusterConfigInvalid, ClusterCredentialsRejected

PLUGIN_TIMEOUT_S = 60.0  # a cloud's command line may itself sign in over the network
_MAX_MARGIN_S = 60.0
_NO_EXPIRY = float("inf")


@dataclass(frozen=True, slots=True)
class Credential:
    """What goes with a request: the Authorization header, and the certificate and key (PEM) of the connection."""

    authorization: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


class Credentials(Protocol):
    """Gives the credential of the next request."""

    async def current(self) -> Credential:
        """A credential that is valid now. Raises ClusterConfigInvalid or ClusterCredentialsRejected."""
        ...

    async def renew(self, rejected: Credential) -> Credential | None:
        """Another credential after the server refused this one with a 401, or None when there is no other."""
        ...


def credentials_of(access: ClusterAccess, environ: Mapping[str, str] = os.environ) -> Credentials:
    """The credentials of an access, in kubectl's order of precedence. Raises ClusterConfigInvalid."""
    if "exec" in access.user:
        return ExecCredentials(access, environ)
    provider = mapping(access.user, "auth-provider")
    if text(provider, "name") == "oidc":
        return OidcCredentials(access)
    if provider:
        raise ClusterConfigInvalid(
            f"The user of context {access.context!r} signs in by the auth-provider {text(provider, 'name')!r}, which "
            "Kubernetes has removed. Make the kubeconfig again with the cloud's own command line."
        )
    return FileCredentials(access)


class FileCredentials:
    """Tokens, passwords and certificates that stand in the kubeconfig or in files, read again when a file changes."""

    def __init__(self, access: ClusterAccess) -> None:
        self._user = access.user
        self._context = access.context
        self._paths = [Path(p) for k in ("tokenFile", "client-certificate", "client-key") if (p := text(self._user, k))]
        self._seen: tuple[tuple[int, int, int], ...] | None = None
        self._credential = Credential()

    async def current(self) -> Credential:
        try:
            seen = tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in (p.stat() for p in self._paths))
            if seen != self._seen:
                self._credential = self._read()
                self._seen = seen
        except OSError as error:
            raise ClusterConfigInvalid(
                f"A credential file of context {self._context!r} cannot be read: {_file_name(error)}."
            ) from error
        return self._credential

    async def renew(self, rejected: Credential) -> Credential | None:
        self._seen = None
        credential = await self.current()
        return None if credential == rejected else credential

    def _read(self) -> Credential:
        token = Path(path).read_text().strip() if (path := text(self._user, "tokenFile")) else ""
        token = token or text(self._user, "token")
        authorization = f"Bearer {token}" if token else ""
        if not token and text(self._user, "username"):
            pair = f"{text(self._user, 'username')}:{text(self._user, 'password')}"
            authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        return Credential(authorization, self._pem("client-certificate"), self._pem("client-key"))

    def _pem(self, key: str) -> bytes:
        if data := text(self._user, f"{key}-data"):
            try:
                return base64.b64decode(data)
            except binascii.Error as error:
                raise ClusterConfigInvalid(f"The {key}-data of context {self._context!r} is not base64.") from error
        return Path(path).read_bytes() if (path := text(self._user, key)) else b""


def _file_name(error: OSError) -> str:
    return str(error.filename) if error.filename else "a file"


class OidcCredentials:
    """The id-token of an `oidc` auth-provider. An expired one is not renewed here but by kubectl, which writes the
    kubeconfig: with a provider that hands each refresh token out once, a second one who renews locks kubectl out.
    """

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access

    async def current(self) -> Credential:
        token = self._id_token()
        if not token or _jwt_expiry(token) <= time.time():
            token = await asyncio.to_thread(self._read_again)
        if not token or _jwt_expiry(token) <= time.time():
            raise ClusterCredentialsRejected(
                f"The sign-in (OIDC) of context {self._access.context!r} has expired. Run "
                f"`kubectl --context {self._access.context} get namespaces`, which renews it, and ask again."
            )
        return Credential(f"Bearer {token}")

    async def renew(self, rejected: Credential) -> Credential | None:
        await asyncio.to_thread(self._read_again)
        credential = await self.current()
        return None if credential == rejected else credential

    def _id_token(self) -> str:
        return text(self._access.user, "auth-provider", "config", "id-token")

    def _read_again(self) -> str:
        joined = os.pathsep.join(str(f) for f in self._access.files)
        again = load_access(context=self._access.context, environ={"KUBECONFIG": joined})
        self._access = again or self._access
        return self._id_token()


def _jwt_expiry(token: str) -> float:
    """When a JWT expires, in seconds since 1970; never, where it does not say."""
    part = token.split(".")[1:2]
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(part[0] + "=" * (-len(part[0]) % 4))) if part else {}
    except (binascii.Error, orjson.JSONDecodeError):
        return _NO_EXPIRY
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    return float(expiry) if isinstance(expiry, int | float) else _NO_EXPIRY


class ExecCredentials:
    """The credential that a plugin prints (EKS, GKE, AKS and others): run on demand, one at a time, with a time-out."""

    def __init__(
        self, access: ClusterAccess, environ: Mapping[str, str] = os.environ, *, timeout_s: float = PLUGIN_TIMEOUT_S
    ) -> None:
        self._access = access
        self._config = mapping(access.user, "exec")
        self._environ = environ
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._credential: Credential | None = None
        self._renew_at = 0.0
        if not text(self._config, "command") or not text(self._config, "apiVersion"):
            raise ClusterConfigInvalid(f"The exec entry of context {access.context!r} lacks `command` or `apiVersion`.")
        if text(self._config, "interactiveMode") == "Always":
            raise ClusterConfigInvalid(
                f"The credential plugin {self._name} wants a terminal (interactiveMode: Always), which it cannot have."
            )

    @property
    def _name(self) -> str:
        return Path(text(self._config, "command")).name

    async def current(self) -> Credential:
        async with self._lock:
            if self._credential is None or time.time() >= self._renew_at:
                await self._run()
            assert self._credential is not None  # noqa: S101 - narrowed for the type checker: _run sets it or raises
            return self._credential

    async def renew(self, rejected: Credential) -> Credential | None:
        async with self._lock:
            if self._credential == rejected:  # else another request has renewed it meanwhile
                await self._run()
            return self._credential

    async def _run(self) -> None:
        output = await self._output()
        try:
            answer = orjson.loads(output)
        except orjson.JSONDecodeError as error:
            raise ClusterCredentialsRejected(f"The credential plugin {self._name} printed no JSON.") from error
        status = mapping(answer, "status")
        token, certificate = text(status, "token"), text(status, "clientCertificateData")
        if text(answer, "apiVersion") != text(self._config, "apiVersion") or not (token or certificate):
            raise ClusterCredentialsRejected(
                f"The credential plugin {self._name} printed no credential of {text(self._config, 'apiVersion')}."
            )
        self._credential = Credential(
            f"Bearer {token}" if token else "", certificate.encode(), text(status, "clientKeyData").encode()
        )
        now = time.time()
        expiry = moment(status, "expirationTimestamp")
        lifetime = _NO_EXPIRY if expiry is None else expiry.timestamp() - now
        # a fifth of a short life, a minute of a long one; at least half a second, lest every request runs the plugin
        self._renew_at = now + max(lifetime - min(_MAX_MARGIN_S, lifetime / 5), 0.5)

    async def _output(self) -> bytes:
        """What the plugin prints. It runs in a thread; a request that is cancelled ends it as a time-out does."""
        run = _PluginRun()
        try:
            output = await asyncio.to_thread(self._communicate, run)
        finally:
            run.end()
        if output is None:
            raise ClusterCredentialsRejected(
                f"The credential plugin {self._name} did not answer within {self._timeout_s:g} seconds. {self._advice}"
            )
        if run.code != 0:
            raise ClusterCredentialsRejected(
                f"The credential plugin {self._name} ended with code {run.code}. {self._advice}"
            )
        return output

    def _communicate(self, run: _PluginRun) -> bytes | None:
        command = text(self._config, "command")
        if "/" in command:  # as kubectl: a path counts from the kubeconfig, a bare name is looked up on the PATH
            command = str(self._access.folder / command)
        environment = {**self._environ, "KUBERNETES_EXEC_INFO": orjson.dumps(self._exec_info()).decode()}
        environment |= {text(e, "name"): text(e, "value") for e in mappings(self._config, "env")}
        try:
            return run.output([command, *strings(self._config, "args")], environment, self._timeout_s)
        except OSError as error:
            hint = " ".join(text(self._config, "installHint").split())[:400]
            raise ClusterConfigInvalid(
                f"The credential plugin {self._name} of context {self._access.context!r} cannot be started. "
                + (hint or "Is it installed and on the PATH?")
            ) from error

    def _exec_info(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"interactive": False}
        if self._config.get("provideClusterInfo") is True:
            cluster = {
                "server": self._access.server,
                "certificate-authority-data": base64.b64encode(self._access.ca_pem).decode(),
                "tls-server-name": self._access.tls_server_name,
                "insecure-skip-tls-verify": not self._access.verify,
                "proxy-url": self._access.proxy_url,
                "config": self._access.exec_config,
            }
            spec["cluster"] = {key: value for key, value in cluster.items() if value}
        return {"apiVersion": text(self._config, "apiVersion"), "kind": "ExecCredential", "spec": spec}

    @property
    def _advice(self) -> str:
        return f"`kubectl --context {self._access.context} get namespaces` shows what it says."


class _PluginRun:
    """One run of a plugin in a process group of its own, which any thread may end with whatever the plugin started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs or where it never did."""
        return None if self._process is None else self._process.returncode

    def output(self, command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> bytes | None:
        """What the plugin prints, None when it took too long. Blocking. Raises OSError when it cannot be started."""
        with self._lock:
            if self._ended:
                return None
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        with self._process:
            try:
                return self._process.communicate(timeout=timeout_s)[0]
            except subprocess.TimeoutExpired:
                self.end()
                return None

    def end(self) -> None:
        """Ends it where it still runs, and keeps it from starting where it does not run yet."""
        with self._lock:
            self._ended = True
            if self._process is not None and self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
