"""Refuses the network: only loopback and unix sockets may be connected to, only this machine's own names resolved.

Python imports a module of this name when it starts, so the processes that tests start are guarded as well: conftest.py
puts this folder on their PYTHONPATH. An audit hook sees every socket of the interpreter, whichever library opens it;
what runs outside Python (libpq, Chromium) it does not see. A refused connection fails like an unreachable network, with
an OSError, and is kept in `refused`, so that a library that swallows the error is found all the same.
"""

import errno
import ipaddress
import socket
import sys

refused: list[str] = []


class NetworkRefused(socket.gaierror):
    """A test reached for a host outside this machine. A gaierror is an OSError, what real code expects here."""


def is_local(host: object) -> bool:
    """Whether a host as sockets take it (name, address, bytes, or nothing at all) is this machine."""
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or host in ("", "<broadcast>"):
        return host in (None, "")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        name = host.rstrip(".").lower()
        return name == "localhost" or name.endswith(".localhost") or name == socket.gethostname().lower()
    return address.is_loopback or address.is_unspecified


def guard(event: str, args: tuple[object, ...]) -> None:
    """The audit hook: raises NetworkRefused for a foreign host and lets everything else pass."""
    if not event.startswith("socket."):
        return
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = args[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        connection, address = args[0], args[1]
        internet = isinstance(connection, socket.socket) and connection.family in (socket.AF_INET, socket.AF_INET6)
        if not internet or not isinstance(address, tuple):
            return
        host = address[0]
    else:
        return
    if not is_local(host):
        shown = host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else str(host)
        refused.append(shown)
        raise NetworkRefused(errno.ENETUNREACH, f"tests may not reach the network: {shown}")


sys.addaudithook(guard)
