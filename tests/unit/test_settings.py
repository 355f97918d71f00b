"""Settings: one mapping in, typed groups out; a mistake is named by its variable and no secret is ever shown."""

from __future__ import annotations

import ipaddress
import traceback
from pathlib import Path

import pytest

from assistant.errors import SettingsInvalid
from assistant.settings import Settings, load, variables

HOME = {"HOME": "/home/ada"}


def test_an_empty_environment_gives_a_laptop_without_model_or_database() -> None:
    settings = load(HOME)
    assert settings.model.name is None
    assert settings.storage.database_url is None
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8000)
    assert (settings.cluster.max_concurrent_reads, settings.cluster.view_reuse) == (2, 15.0)
    assert settings.model.max_steps == 8


def test_the_process_environment_is_not_consulted_when_a_mapping_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECHAT_MODEL", "openai/from-the-shell")
    monkeypatch.setenv("PORT", "9999")
    settings = load(HOME)
    assert settings.model.name is None
    assert settings.server.port == 8000
    assert load().model.name == "openai/from-the-shell"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "/home/ada"}, {"linux": "/home/ada/.local/share/kubechat"}),
        ({"HOME": "/home/ada", "XDG_DATA_HOME": "/data"}, {"linux": "/data/kubechat", "darwin": "/data/kubechat"}),
        ({"HOME": "/Users/ada"}, {"darwin": "/Users/ada/Library/Application Support/KubeChat"}),
        ({"HOME": "/home/ada", "KUBECHAT_DATA_DIR": "/srv/kc"}, {"linux": "/srv/kc", "darwin": "/srv/kc"}),
    ],
)
def test_the_data_folder_follows_the_platform(
    environment: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for platform, folder in expected.items():
        monkeypatch.setattr("sys.platform", platform)
        assert load(environment).storage.data_dir == Path(folder)


def test_an_empty_value_counts_as_not_set() -> None:
    settings = load(HOME | {"KUBECHAT_MODEL": "", "PORT": " ", "KUBECHAT_DATABASE_URL": ""})
    assert settings.model.name is None
    assert settings.server.port == 8000
    assert settings.storage.database_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "65536"),
        ("HOST", "http://somewhere"),
        ("KUBECHAT_MODEL_URL", "localhost:11434"),
        ("KUBECHAT_MODEL_TIMEOUT", "0"),
        ("KUBECHAT_MAX_STEPS", "8.5"),
        ("KUBECHAT_MAX_CONCURRENT_READS", "0"),
        ("KUBECHAT_PAGE_SIZE", "1"),
        ("KUBECHAT_VIEW_REUSE", "-1"),
        ("KUBECHAT_INSECURE_NO_SIGN_IN", "perhaps"),
        ("KUBECHAT_TRUSTED_PROXIES", "10.0.0.0/8, nonsense"),
        ("KUBECHAT_TRUSTED_HEADER", "X User:"),
        ("KUBECHAT_LOG_LEVEL", "chatty"),
        ("KUBECHAT_DATABASE_URL", "mysql://root:hunter2@db/x"),
        ("KUBECHAT_DATABASE_URL", "postgresql://root:hunter2@db:not-a-port/x"),
    ],
)
def test_a_malformed_value_names_its_variable_and_what_is_expected(name: str, value: str) -> None:
    with pytest.raises(SettingsInvalid) as raised:
        load(HOME | {name: value})
    message = raised.value.message
    expected = {variable: text for variable, text, _ in variables()}[name]
    assert message == f"{name} is not valid: expected {expected}."
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


def test_every_wrong_variable_of_a_group_is_named_at_once() -> None:
    with pytest.raises(SettingsInvalid, match=r"HOST is not valid.*PORT is not valid"):
        load(HOME | {"HOST": "a b", "PORT": "x"})


def test_no_repr_shows_a_key_or_a_database_password() -> None:
    settings = load(
        HOME | {"KUBECHAT_MODEL_KEY": "sk-very-secret", "KUBECHAT_DATABASE_URL": "postgresql://ada:hunter2@db/kubechat"}
    )
    shown = f"{settings!r} {settings} {settings.model!r} {settings.storage} {settings.model_dump()}"
    shown += settings.model_dump_json()
    assert "sk-very-secret" not in shown
    assert "hunter2" not in shown
    assert settings.model.key is not None
    assert settings.model.key.get_secret_value() == "sk-very-secret"


def test_lists_are_split_at_commas() -> None:
    server = load(
        HOME | {"KUBECHAT_TRUSTED_PROXIES": "10.0.0.0/8, ::1", "KUBECHAT_ALLOWED_HOSTS": "chat.example.com,b"}
    ).server
    assert server.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))
    assert server.allowed_hosts == ("chat.example.com", "b")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_is_served_without_sign_in_but_not_inside_a_cluster(host: str) -> None:
    server = load(HOME | {"HOST": host}).server
    server.refuse_unprotected(in_cluster=False)
    with pytest.raises(SettingsInvalid, match="In a cluster"):
        server.refuse_unprotected(in_cluster=True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "chat.example.com", "localhost.example.com"])
def test_another_address_needs_a_proxy_or_an_explicit_waiver(host: str) -> None:
    with pytest.raises(SettingsInvalid, match="without signing in"):
        load(HOME | {"HOST": host}).server.refuse_unprotected(in_cluster=False)
    with pytest.raises(SettingsInvalid):  # a header that is believed from nowhere protects nothing
        load(HOME | {"HOST": host, "KUBECHAT_TRUSTED_HEADER": "X-User"}).server.refuse_unprotected(in_cluster=False)
    proxied = {"HOST": host, "KUBECHAT_TRUSTED_HEADER": "X-User", "KUBECHAT_TRUSTED_PROXIES": "10.0.0.1"}
    load(HOME | proxied).server.refuse_unprotected(in_cluster=True)
    load(HOME | {"HOST": host, "KUBECHAT_INSECURE_NO_SIGN_IN": "1"}).server.refuse_unprotected(in_cluster=True)


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    settings = load(HOME)
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]  # the point of the test


def test_every_variable_says_what_is_expected_and_what_it_is_for() -> None:
    rows = variables()
    assert len({name for name, _, _ in rows}) == len(rows)
    for name, expected, description in rows:
        assert name in {"HOST", "PORT", "KUBECONFIG"} or name.startswith("KUBECHAT_")
        assert expected
        assert description.endswith((".", ")"))


def test_what_may_be_absent_says_what_absence_means() -> None:
    for group in Settings.model_fields.values():
        assert group.annotation is not None
        for field in group.annotation.model_fields.values():
            if field.default is None:
                assert "None:" in (field.description or ""), field.validation_alias
