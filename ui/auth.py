"""Who may talk to the server, and in whose name: checked on every HTTP request and on every socket, before anything
else sees it.

Promise: a request is served only under a host name that is ours (against DNS rebinding), never for a page of another
origin, and only in the name of a principal: the local user on a loopback server, the person that a trusted proxy names
where one is configured. Every answer carries the security headers. What is refused gets one sentence with a code, as
JSON, and reaches no handler.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant.errors import AccessRefused
from assistant.settings import ServerSettings
from assistant.types import LOCAL_PRINCIPAL, Principal

PRINCIPAL = "kubechat.principal"
HEALTH = "/healthz"
MAX_BODY = 1_000_000
MAX_IDENTITY = 256
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

# Chainlit compiles its elements in the browser, which needs 'unsafe-eval', and sets styles from scripts; no inline
# script runs, nothing is loaded from or sent to another host, and nobody may frame the page.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = (
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
)


class SignInMissing(AccessRefused):
    """The proxy that signs people in named nobody."""

    code = "sign-in-missing"


@dataclass(frozen=True, slots=True)
class HostPort:
    """The two parts of a Host header or an origin; `port` None where it was left out. IPv6 without brackets."""

    name: str
    port: int | None


def host_port(value: str) -> HostPort | None:
    """`name[:port]` in its parts, None when it is not one."""
    try:
        parts = urlsplit(f"//{value}")
        if not parts.hostname or parts.path or parts.query or parts.fragment or "@" in value:
            return None
        return HostPort(parts.hostname.rstrip("."), parts.port)
    except ValueError:
        return None


class AccessPolicy:
    """The rules, apart from the protocol; `check` gives the principal or raises AccessRefused."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._names = {name.lower() for name in settings.allowed_hosts}

    def check(self, scope: Scope) -> Principal:
        """The principal of a request. Raises AccessRefused, and SignInMissing where the proxy named nobody."""
        headers = _Headers(scope["headers"])
        self._check_host(headers, scope)
        self._check_origin(headers, scope)
        return self._principal(headers, scope)

    def _check_host(self, headers: _Headers, scope: Scope) -> None:
        given = headers.only("host")
        host = host_port(given) if given else None
        if host is None or not self._is_ours(host, scope):
            raise AccessRefused(
                "This server is not known under that name. Add the name to KUBECHAT_ALLOWED_HOSTS if it should be."
            )

    def _is_ours(self, host: HostPort, scope: Scope) -> bool:
        if host.name in self._names:
            return True
        own_port = (scope.get("server") or ("", None))[1]
        if (host.port or _DEFAULT_PORTS["http"]) != own_port:
            return False
        # an address cannot be rebound as a name can; it is how a page served beyond loopback is reached without a name
        return host.name in _LOOPBACK_NAMES or (not self._settings.is_loopback and _is_address(host.name))

    def _check_origin(self, headers: _Headers, scope: Scope) -> None:
        origin = headers.only("origin")
        foreign = False
        if origin is not None:
            parts = urlsplit(origin)
            theirs = host_port(parts.netloc) if parts.scheme in {"http", "https"} else None
            ours = host_port(headers.only("host") or "")
            foreign = theirs is None or ours is None or not _same(theirs, ours, parts.scheme)
        elif headers.only("sec-fetch-site") in {"cross-site", "same-site"}:
            # following a link to the page is fine; a picture or a script of ours in a foreign page is not
            foreign = scope.get("method") != "GET" or headers.only("sec-fetch-mode") != "navigate"
        if foreign:
            raise AccessRefused("This request comes from a page of another origin.")

    def _principal(self, headers: _Headers, scope: Scope) -> Principal:
        settings = self._settings
        if settings.trusted_header is None or not settings.trusted_proxies:
            return LOCAL_PRINCIPAL
        client = (scope.get("client") or ("", 0))[0]
        if not _is_within(client, settings.trusted_proxies):
            raise AccessRefused("This server answers only the proxy that signs people in.")
        name = (headers.only(settings.trusted_header.lower()) or "").strip()
        if not name or len(name) > MAX_IDENTITY or not name.isprintable():
            raise SignInMissing("The proxy before this server has not signed anybody in.")
        # the prefix keeps a person who is called "local" apart from whoever starts commands on this machine
        return Principal(id=f"user:{name}", display_name=name)


class _Headers:
    """The headers of a scope; one that was given twice counts as none, since readers disagree on which is meant."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in raw:
            self._values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def only(self, name: str) -> str | None:
        values = self._values.get(name, [])
        if len(values) > 1:
            raise AccessRefused(f"The header {name} was sent more than once.")
        return values[0] if values else None


class Gate:
    """ASGI middleware that applies the policy and adds the security headers; the principal is left in the scope."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._policy = AccessPolicy(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        guarded = _with_headers(send) if scope["type"] == "http" else send
        if scope["type"] == "http" and scope["path"] == HEALTH:
            await self._app(scope, receive, guarded)  # says nothing that anybody might not know
            return
        try:
            principal = self._policy.check(scope)
            _check_size(scope)
        except AccessRefused as refusal:
            await _refuse(scope, receive, guarded, refusal)
            return
        await self._app({**scope, PRINCIPAL: principal}, receive, guarded)


def principal_of(scope: Scope) -> Principal:
    """Who asks; the gate has put it there."""
    principal = scope[PRINCIPAL]
    assert isinstance(principal, Principal)  # noqa: S101 - narrows the type of a value that only the gate sets
    return principal


def _check_size(scope: Scope) -> None:
    """Nothing here needs more than a question; a body of unknown length is not read at all."""
    headers = _Headers(scope["headers"])
    length = headers.only("content-length")
    too_long = length is not None and (not length.isdecimal() or int(length) > MAX_BODY)
    if too_long or headers.only("transfer-encoding") is not None:
        raise AccessRefused(f"The body of a request may have {MAX_BODY:,} bytes, and has to say how many it has.")


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: AccessRefused) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})  # before accept: HTTP 403
        return
    status = 401 if isinstance(refusal, SignInMissing) else 403
    await send_json(send, status, {"error": refusal.as_json()})


async def send_json(send: Send, status: int, body: object) -> None:
    """A whole JSON answer over bare ASGI."""
    content = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _with_headers(send: Send) -> Send:
    names = {name.encode() for name, _ in SECURITY_HEADERS}

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message.get("headers", []) if name.lower() not in names]
            message = {**message, "headers": kept + [(n.encode(), v.encode()) for n, v in SECURITY_HEADERS]}
        await send(message)

    return sending


def _same(theirs: HostPort, ours: HostPort, scheme: str) -> bool:
    default = _DEFAULT_PORTS[scheme]
    return theirs.name == ours.name and (theirs.port or default) == (ours.port or default)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_within(client: str, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)
