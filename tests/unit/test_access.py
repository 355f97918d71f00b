"""The rules of the gate, one request at a time."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from assistant.errors import AccessRefused
from assistant.settings import ServerSettings
from assistant.types import LOCAL_PRINCIPAL
from ui.auth import AccessPolicy, HostPort, SignInMissing, host_port


def settings(**given: Any) -> ServerSettings:
    names = {
        "host": "HOST",
        "hosts": "KUBECHAT_ALLOWED_HOSTS",
        "header": "KUBECHAT_TRUSTED_HEADER",
        "proxies": "KUBECHAT_TRUSTED_PROXIES",
    }
    return ServerSettings.model_validate({names[name]: value for name, value in given.items()})


def request(host: str = "127.0.0.1:8000", client: str = "127.0.0.1", method: str = "GET", **headers: str) -> Any:
    sent = {"host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "type": "http",
        "method": method,
        "path": "/",
        "server": ("127.0.0.1", 8000),
        "client": (client, 50_000),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000", "LOCALHOST:8000"])
def test_loopback_names_with_our_port_are_ours(host: str) -> None:
    assert AccessPolicy(settings()).check(request(host)) == LOCAL_PRINCIPAL


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8001",
        "10.0.0.1:8000",
        "evil.example:8000",
        "127.0.0.1.evil.example:8000",
        "a@b:8000",
        ":8000",
    ],
)
def test_on_loopback_every_other_name_is_refused(host: str) -> None:
    with pytest.raises(AccessRefused):
        AccessPolicy(settings()).check(request(host))


def test_beyond_loopback_addresses_are_ours_and_names_only_when_allowed() -> None:
    policy = AccessPolicy(settings(host="0.0.0.0", hosts="chat.example.org"))
    assert policy.check(request("10.0.0.1:8000", client="10.0.0.9")) == LOCAL_PRINCIPAL
    assert policy.check(request("chat.example.org", client="10.0.0.9")) == LOCAL_PRINCIPAL
    with pytest.raises(AccessRefused):
        policy.check(request("other.example.org:8000", client="10.0.0.9"))


def test_a_proxy_that_ends_tls_may_name_the_origin_without_a_port() -> None:
    policy = AccessPolicy(settings(hosts="chat.example.org"))
    policy.check(request("chat.example.org", origin="https://chat.example.org"))
    with pytest.raises(AccessRefused):
        policy.check(request("chat.example.org", origin="https://chat.example.org.evil.example"))
    with pytest.raises(AccessRefused):
        policy.check(request("chat.example.org", origin="file://chat.example.org"))


def test_the_header_is_believed_from_the_proxy_alone() -> None:
    policy = AccessPolicy(settings(header="X-User", proxies="10.1.0.0/16", hosts="chat.example.org"))
    person = policy.check(request("chat.example.org", client="10.1.2.3", x_user="anna"))
    assert (person.id, person.display_name) == ("user:anna", "anna")
    assert policy.check(request("chat.example.org", client="::ffff:10.1.2.3", x_user="anna")) == person
    with pytest.raises(AccessRefused):
        policy.check(request("chat.example.org", client="10.2.0.1", x_user="anna"))
    with pytest.raises(SignInMissing):
        policy.check(request("chat.example.org", client="10.1.2.3"))
    with pytest.raises(SignInMissing):
        policy.check(request("chat.example.org", client="10.1.2.3", x_user="a" * 300))


def test_a_person_called_local_is_not_the_local_user() -> None:
    policy = AccessPolicy(settings(header="X-User", proxies="127.0.0.1"))
    assert policy.check(request(x_user="local")) != LOCAL_PRINCIPAL


def test_a_header_that_is_sent_twice_is_refused() -> None:
    doubled = request()
    doubled["headers"].append((b"host", b"localhost:8000"))
    with pytest.raises(AccessRefused):
        AccessPolicy(settings()).check(doubled)


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("a.example:80", HostPort("a.example", 80)),
        ("a.example.", HostPort("a.example", None)),
        ("[::1]:8000", HostPort("::1", 8000)),
        ("a.example:x", None),
        ("a.example/path", None),
        ("", None),
    ],
)
def test_a_host_header_is_taken_apart(value: str, parts: HostPort | None) -> None:
    assert host_port(value) == parts


def test_networks_are_what_the_settings_make_of_them() -> None:
    assert settings(proxies="10.1.0.0/16").trusted_proxies == (ipaddress.ip_network("10.1.0.0/16"),)
