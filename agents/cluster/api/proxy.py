"""Which proxy leads to a server: the kubeconfig's `proxy-url`, else HTTPS_PROXY, HTTP_PROXY and NO_PROXY as kubectl
reads them (host names with their subdomains, addresses, CIDR blocks, ports; loopback never goes through a proxy).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from assistant.errors import ClusterConfigInvalid


def proxy_for(server: str, proxy_url: str, environ: Mapping[str, str]) -> str:
    """The proxy's URL, "" for none. Raises ClusterConfigInvalid when a variable names what is no http(s) URL."""
    if proxy_url:
        return proxy_url
    parts = urlsplit(server)
    variable = f"{parts.scheme.upper()}_PROXY"
    proxy = environ.get(variable) or environ.get(variable.lower()) or ""
    if not proxy or _bypassed(parts.hostname or "", _port(server), environ):
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https") or not urlsplit(proxy).hostname:
        raise ClusterConfigInvalid(f"The variable {variable} is not the address of an http or https proxy.")
    return proxy


def _port(server: str) -> int:
    parts = urlsplit(server)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _bypassed(host: str, port: int, environ: Mapping[str, str]) -> bool:
    host = host.lower()
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    rules = (environ.get("NO_PROXY") or environ.get("no_proxy") or "").lower().split(",")
    return any(_matches(rule.strip(), host, address, port) for rule in rules if rule.strip())


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _matches(rule: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
    if rule == "*":
        return True
    if "/" in rule:
        try:
            return address is not None and address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, colon, wanted_port = rule.rpartition(":")
    if colon and wanted_port.isdigit() and ":" not in name.strip("[]"):
        if int(wanted_port) != port:
            return False
        rule = name
    rule = rule.strip("[]").removeprefix("*")
    if rule.startswith("."):
        return host.endswith(rule)
    return host == rule or (address is None and host.endswith("." + rule))
