"""Which cluster is asked, and as whom: kubectl's rules, snapshots, the demo; credentials and their renewal."""

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from agents.cluster.api import ClusterAccess, load_access
from agents.cluster.identity import ClusterChoice, open_cluster
from assistant.errors import (
    ClusterConfigInvalid,
    ClusterCredentialsRejected,
    ClusterError,
    ClusterUnreachable,
)
from tests.support.api_servers import BAKERY_UID, PODS, api_of, kube_system, reader_of, uid_by
from tests.support.exec_plugin import CheckedTokens, exec_user, runs_of, write_plugin
from tests.support.snapshots import BAKERY, ServedApp, served, write_kubeconfig


@pytest.fixture(scope="module")
def bakery() -> Iterator[str]:
    with served(BAKERY) as server:
        yield server.url


# -- which cluster: kubectl's rules ---------------------------------------------------------------------------------


def test_the_first_file_of_several_wins_and_paths_count_from_their_own_file(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "ca.pem").write_bytes(b"authority of two")
    first = {"current-context": "b", "contexts": [{"name": "a", "context": {"cluster": "x", "user": "u"}}]}
    second = {
        "current-context": "a",
        "contexts": [
            {"name": "a", "context": {"cluster": "nowhere"}},
            {"name": "b", "context": {"cluster": "x", "user": "u", "namespace": "shop"}},
        ],
        "clusters": [{"name": "x", "cluster": {"server": "https://two:6443/", "certificate-authority": "ca.pem"}}],
        "users": [{"name": "u", "user": {"tokenFile": "token"}}],
    }
    (tmp_path / "one").write_text(json.dumps(first))
    (tmp_path / "two" / "config").write_text(json.dumps(second))
    files = f"{tmp_path}/one:{tmp_path}/missing:{tmp_path}/two/config"

    access = load_access(environ={"KUBECONFIG": files})
    chosen = load_access(context="a", environ={"KUBECONFIG": files})

    assert access is not None
    assert (access.context, access.server, access.namespace) == ("b", "https://two:6443", "shop")
    assert access.ca_pem == b"authority of two"
    assert access.user["tokenFile"] == f"{tmp_path}/two/token"
    assert chosen is not None
    assert chosen.name == "x"


def test_home_is_the_default_and_in_cluster_comes_last(tmp_path: Path) -> None:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("t")
    (account / "ca.crt").write_text("ca")
    (account / "namespace").write_text("ops\n")
    environ = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}

    inside = load_access(environ=environ, service_account=account)
    write_kubeconfig(tmp_path / ".kube" / "config", "https://home:6443")
    at_home = load_access(environ=environ, service_account=account)

    assert inside is not None
    assert (inside.server, inside.namespace) == ("https://[fd00::1]:443", "ops")
    assert at_home is not None
    assert at_home.server == "https://home:6443"


def test_nothing_configured_is_no_access_and_no_error(tmp_path: Path) -> None:
    assert load_access(environ={"HOME": str(tmp_path)}) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"contexts": [{"name": "east", "context": {}}, {"name": "west", "context": {}}]}', "east, west"),
        ('{"current-context": "north", "contexts": [{"name": "east", "context": {}}]}', "no context 'north'.*east"),
        ('{"current-context": "e", "contexts": [{"name": "e", "context": {"cluster": "c"}}]}', "'c', which is not"),
        ("a: [1\nb: 2", "not valid YAML, line 2"),
        ("just words", "not a kubeconfig"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(ClusterConfigInvalid, match=words) as raised:
        load_access(kubeconfig=path, environ={})
    assert raised.value.exit_code == 3


def test_a_context_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", "https://h:1")
    with pytest.raises(ClusterConfigInvalid, match=r"no context 'prod'.*test"):
        load_access(kubeconfig=path, context="prod", environ={})
    with pytest.raises(ClusterConfigInvalid, match="no context 'prod'"):
        load_access(context="prod", environ={"HOME": str(tmp_path / "empty")})
    with pytest.raises(ClusterConfigInvalid, match="There is no kubeconfig"):
        load_access(kubeconfig=tmp_path / "nosuch", environ={})


# -- the choice between live, snapshot and demo ---------------------------------------------------------------------


async def test_what_was_named_is_opened_and_nothing_stands_in_for_it(tmp_path: Path, bakery: str) -> None:
    config = write_kubeconfig(tmp_path / "config", bakery)
    opened = await open_cluster(ClusterChoice(kubeconfig=config, demo=BAKERY), environ={})
    await opened.reader.aclose()
    assert (opened.identity.source, opened.identity.id, opened.identity.context) == ("live", BAKERY_UID, "test")
    assert opened.identity.name == "test-cluster"
    assert "context test" in opened.reason

    dead = write_kubeconfig(tmp_path / "dead", "http://127.0.0.1:9")
    choice = ClusterChoice(kubeconfig=dead, demo=BAKERY, demo_when_unreachable=True)
    with pytest.raises(ClusterUnreachable, match=r"127\.0\.0\.1:9"):
        await open_cluster(choice, environ={})


async def test_the_demo_answers_only_when_nothing_is_configured_or_a_server_must_start(tmp_path: Path) -> None:
    nothing = {"HOME": str(tmp_path)}
    demo = await open_cluster(ClusterChoice(demo=BAKERY), environ=nothing, service_account=tmp_path)
    assert (demo.identity.source, demo.notice) == ("demo", "")
    with pytest.raises(ClusterConfigInvalid):
        await open_cluster(ClusterChoice(), environ=nothing, service_account=tmp_path)

    write_kubeconfig(tmp_path / ".kube" / "config", "http://127.0.0.1:9")
    with pytest.raises(ClusterUnreachable):
        await open_cluster(ClusterChoice(demo=BAKERY), environ=nothing)
    fallen = await open_cluster(ClusterChoice(demo=BAKERY, demo_when_unreachable=True), environ=nothing)
    assert fallen.identity.source == "demo"
    assert "127.0.0.1:9" in fallen.notice


# -- credentials ----------------------------------------------------------------------------------------------------


async def test_a_plugins_token_is_renewed_before_it_dies(tmp_path: Path) -> None:
    checked = CheckedTokens(api_of(kube_system), tmp_path / "plugin")
    user = write_plugin(tmp_path / "plugin", lives_s=2.0)
    with ServedApp(checked) as server:
        reader = reader_of(write_kubeconfig(tmp_path / "config", server.url, user))
        deadline = time.monotonic() + 4.5
        while time.monotonic() < deadline:
            await asyncio.gather(*(reader.get_object(PODS, "kube-system", "p") for _ in range(5)))
            await asyncio.sleep(0.1)
        await reader.aclose()

    assert checked.refused == 0
    assert 2 <= runs_of(tmp_path / "plugin") <= 5
    info = json.loads((tmp_path / "plugin" / "info.json").read_text())
    assert info["spec"]["interactive"] is False
    assert info["spec"]["cluster"]["server"] == server.url


async def test_a_token_that_is_refused_is_renewed_once_and_by_one_request(tmp_path: Path) -> None:
    checked = CheckedTokens(api_of(kube_system), tmp_path / "plugin")
    user = write_plugin(tmp_path / "plugin", lives_s=2.0, states_expiry=False)
    with ServedApp(checked) as server:
        reader = reader_of(write_kubeconfig(tmp_path / "config", server.url, user))
        assert (await reader.identity()).id == "uid-1"
        await asyncio.sleep(2.1)
        found = await asyncio.gather(*(reader.get_object(PODS, "kube-system", "p") for _ in range(8)))
        await reader.aclose()

    assert all(found)
    assert checked.refused > 0
    assert runs_of(tmp_path / "plugin") == 2


async def test_credentials_that_stay_refused_end_in_a_sentence_without_the_token(tmp_path: Path) -> None:
    checked = CheckedTokens(api_of(kube_system), tmp_path / "plugin")
    user = write_plugin(tmp_path / "plugin", lives_s=-5.0, states_expiry=False)
    with ServedApp(checked) as server, pytest.raises(ClusterCredentialsRejected, match="context test") as raised:
        await uid_by(write_kubeconfig(tmp_path / "config", server.url, user))
    assert "token-" not in str(raised.value)
    assert runs_of(tmp_path / "plugin") <= 3


@pytest.mark.parametrize(
    ("user", "error", "words"),
    [
        (
            exec_user("no-such-plugin", installHint="Get it with\n  `brew install it`."),
            ClusterConfigInvalid,
            "no-such-plugin.*Get it with `brew install it`",
        ),
        (exec_user("false"), ClusterCredentialsRejected, "plugin false ended with code 1"),
        (exec_user("echo", args=["secret-words"]), ClusterCredentialsRejected, "plugin echo printed no JSON"),
        (exec_user("echo", args=['{"status": {"token": "x"}}']), ClusterCredentialsRejected, "printed no credential"),
        ({"exec": {"command": "x"}}, ClusterConfigInvalid, "lacks"),
        ({"exec": {"command": "x", "apiVersion": "v", "interactiveMode": "Always"}}, ClusterConfigInvalid, "terminal"),
        ({"auth-provider": {"name": "gcp"}}, ClusterConfigInvalid, "'gcp', which"),
        ({"tokenFile": "/no/such/token"}, ClusterConfigInvalid, "/no/such/token"),
        ({"client-certificate-data": "bm90IHBlbQ=="}, ClusterConfigInvalid, "not PEM"),
    ],
)
async def test_credentials_that_cannot_be_had_say_what_to_do(
    tmp_path: Path, bakery: str, user: dict[str, Any], error: type[ClusterError], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        await uid_by(write_kubeconfig(tmp_path / "config", bakery, user), PATH="/usr/bin:/bin")
    assert "secret-words" not in str(raised.value)


def lives(process: int) -> bool:
    """Whether a process runs; one that ended and was not yet collected does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return found.stdout.strip() not in ("", "Z")


async def test_a_plugin_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    from agents.cluster.api.credentials import ExecCredentials

    script = tmp_path / "hang"
    script.write_text(f"#!/bin/sh\nsleep 30 &\necho $! > {tmp_path}/child\nwait\n")
    script.chmod(0o755)
    access = ClusterAccess(server="http://h", name="c", context="c", user=exec_user(str(script)))
    credentials = ExecCredentials(access, {"PATH": "/usr/bin:/bin"}, timeout_s=0.5)

    with pytest.raises(ClusterCredentialsRejected, match=r"did not answer within 0\.5 seconds"):
        await credentials.current()

    await asyncio.sleep(0.1)
    assert not lives(int((tmp_path / "child").read_text()))


async def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    seen: list[str] = []

    async def record(request: Request) -> Response:
        seen.append(request.headers.get("authorization", ""))
        return await kube_system(request)

    token = tmp_path / "token"
    token.write_text("first\n")
    with ServedApp(api_of(record)) as server:
        reader = reader_of(write_kubeconfig(tmp_path / "config", server.url, {"tokenFile": "token", "token": "stale"}))
        await reader.get_object(PODS, "a", "b")
        token.write_text("second-one\n")
        await reader.get_object(PODS, "a", "b")
        await reader.aclose()
    assert seen == ["Bearer first", "Bearer second-one"]


async def test_impersonation_and_basic_credentials_are_sent(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    async def record(request: Request) -> Response:
        seen.extend(request.headers.items())
        return await kube_system(request)

    user = {"username": "u", "password": "p", "as": "jane", "as-groups": ["dev", "ops"]}
    with ServedApp(api_of(record)) as server:
        reader = reader_of(write_kubeconfig(tmp_path / "config", server.url, user))
        await reader.get_object(PODS, "a", "b")
        await reader.aclose()
    assert ("authorization", "Basic " + base64.b64encode(b"u:p").decode()) in seen
    assert [v for k, v in seen if k.startswith("impersonate")] == ["jane", "dev", "ops"]


def id_token(expires_in: float) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part({'exp': time.time() + expires_in})}.x"


async def test_an_expired_oidc_sign_in_says_how_to_renew_it_and_sees_that_it_was(tmp_path: Path, bakery: str) -> None:
    def user(expires_in: float) -> dict[str, Any]:
        return {"auth-provider": {"name": "oidc", "config": {"id-token": id_token(expires_in)}}}

    config = write_kubeconfig(tmp_path / "config", bakery, user(-60))
    reader = reader_of(config)
    with pytest.raises(ClusterCredentialsRejected, match="kubectl --context test get namespaces"):
        await reader.identity()
    write_kubeconfig(config, bakery, user(60))
    assert (await reader.identity()).id == BAKERY_UID
    await reader.aclose()
