"""Every setting of KubeChat, in groups, read once from an environment and passed in from there.

Promise: `load` looks only at the mapping it is given; a malformed value ends in `SettingsInvalid`, which names the
variable and what is expected and never quotes a secret; no repr shows a key, a database URL or a password. An empty
value counts as not set. Command-line flags are laid over the environment by the caller:
`load({**os.environ, "KUBECHAT_CONTEXT": context})`.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from assistant.errors import SettingsInvalid

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})


def _items(value: Any) -> Any:
    """Split "a, b" into its parts."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("no http URL")
    return value.rstrip("/")


def _postgres_url(value: SecretStr) -> SecretStr:
    parts = urlsplit(value.get_secret_value())
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError("no postgres URL")
    parts.port  # noqa: B018 - reading it is what checks it
    return value


def _header_name(value: str) -> str:
    if not value.replace("-", "").isalnum() or not value.isascii():
        raise ValueError("no header name")
    return value


def _host_name(value: str) -> str:
    if any(c in value for c in " /@\t") or "://" in value:
        raise ValueError("no host")
    return value.lower()


def _user_path(value: Path) -> Path:
    return value.expanduser()


Text = Annotated[str, Field(min_length=1)]
UserPath = Annotated[Path, AfterValidator(_user_path)]


class _Group(BaseSettings):
    """A group is filled from the mapping that `load` was given, and from nowhere else."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False, populate_by_name=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing is read behind the caller's back: no process environment, no `.env`, no secrets folder."""
        return (init_settings,)


def _variable(name: str, expected: str, description: str, *, default: Any = None, **limits: Any) -> Any:
    """A field filled from the variable `name`; `expected` ends the sentence "NAME is not valid: expected …"."""
    return Field(
        default, validation_alias=name, description=description, json_schema_extra={"expected": expected}, **limits
    )


class ClusterSettings(_Group):
    """Which cluster is looked at, and how hard it may be asked."""

    kubeconfig: Text | None = _variable(
        "KUBECONFIG",
        "one or more paths of kubeconfig files, separated by ':'",
        "Paths as kubectl reads them. None: ~/.kube/config, and without it the pod's service account.",
    )
    context: Text | None = _variable(
        "KUBECHAT_CONTEXT", "the name of a context", "Context of the kubeconfig. None: its current one."
    )
    namespace: Text | None = _variable(
        "KUBECHAT_NAMESPACE",
        "the name of a namespace",
        "Default namespace of questions. None: the context's own, and without one all that may be read.",
    )
    snapshot: UserPath | None = _variable(
        "KUBECHAT_SNAPSHOT", "a folder", "A recorded cluster to look at instead of a live one. None: a live one."
    )
    connect_timeout: float = _variable(
        "KUBECHAT_CLUSTER_CONNECT_TIMEOUT",
        "seconds above 0, at most 120",
        "Seconds to wait for a connection to the API server; 5, so that a wrong address is said at once.",
        default=5.0,
        gt=0,
        le=120,
    )
    read_timeout: float = _variable(
        "KUBECHAT_CLUSTER_READ_TIMEOUT",
        "seconds above 0, at most 600",
        "Seconds to wait for one page of a list or one log; 20, twice the slowest page of 500 seen on a busy server.",
        default=20.0,
        gt=0,
        le=600,
    )
    page_size: int = _variable(
        "KUBECHAT_PAGE_SIZE",
        "a whole number from 10 to 5000",
        "Objects per page of a list; 500, what kubectl asks for.",
        default=500,
        ge=10,
        le=5000,
    )
    max_concurrent_reads: int = _variable(
        "KUBECHAT_MAX_CONCURRENT_READS",
        "a whole number from 1 to 32",
        "Wide reads of one cluster at the same time; 2, so that a chat never is what slows an API server down.",
        default=2,
        ge=1,
        le=32,
    )
    view_reuse: float = _variable(
        "KUBECHAT_VIEW_REUSE",
        "seconds from 0 to 300",
        "Seconds for which a wide read is shared by the questions about it; 15, short enough to see a fix take effect. "
        "0: never shared.",
        default=15.0,
        ge=0,
        le=300,
    )


class ModelSettings(_Group):
    """The model, used only when it is named: a key that happens to be exported is no consent to send logs away."""

    name: Text | None = _variable(
        "KUBECHAT_MODEL",
        "a model's name as litellm writes it, for example openai/gpt-5-mini",
        "Model that writes answers. None: answers are made from the evidence by code.",
    )
    url: Annotated[str, AfterValidator(_http_url)] | None = _variable(
        "KUBECHAT_MODEL_URL",
        "an http:// or https:// URL",
        "Base URL of an OpenAI-compatible endpoint. None: the provider's own.",
    )
    key: SecretStr | None = _variable(
        "KUBECHAT_MODEL_KEY", "the provider's key", "Key of the model. None: the provider's own variable is used."
    )
    timeout: float = _variable(
        "KUBECHAT_MODEL_TIMEOUT",
        "seconds above 0, at most 900",
        "Seconds that one call may take as a whole; 60, room for a long answer of a slow model.",
        default=60.0,
        gt=0,
        le=900,
    )
    max_steps: int = _variable(
        "KUBECHAT_MAX_STEPS",
        "a whole number from 1 to 32",
        "Model calls with tools before a conclusion is forced; 8, because what 8 looks did not find more do not.",
        default=8,
        ge=1,
        le=32,
    )


class StorageSettings(_Group):
    """Where conversations are kept."""

    database_url: Annotated[SecretStr, AfterValidator(_postgres_url)] | None = _variable(
        "KUBECHAT_DATABASE_URL",
        "postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
        "A PostgreSQL with pgvector. None: the embedded server in the data folder.",
    )
    data_dir: UserPath = _variable(
        "KUBECHAT_DATA_DIR",
        "a folder",
        "Folder of the embedded database and of what KubeChat keeps; the platform's place for a user's data.",
        default=Path(),
    )
    max_connections: int = _variable(
        "KUBECHAT_DATABASE_CONNECTIONS",
        "a whole number from 2 to 100",
        "Connections of one process; 8, so that ten replicas stay under PostgreSQL's own limit of 100.",
        default=8,
        ge=2,
        le=100,
    )


class ServerSettings(_Group):
    """Where the page is served, and who is let in."""

    host: Annotated[str, AfterValidator(_host_name)] = _variable(
        "HOST",
        "a host name or address",
        "Address to listen on; loopback, because without sign-in whoever reaches the page reads the cluster.",
        default="127.0.0.1",
    )
    port: int = _variable(
        "PORT", "a whole number from 0 to 65535", "TCP port. 0: any free one.", default=8000, ge=0, le=65535
    )
    insecure_no_sign_in: bool = _variable(
        "KUBECHAT_INSECURE_NO_SIGN_IN",
        "true or false",
        "Serve beyond loopback without sign-in; the page then bears a red banner. For test beds only.",
        default=False,
    )
    trusted_header: Annotated[str, AfterValidator(_header_name)] | None = _variable(
        "KUBECHAT_TRUSTED_HEADER",
        "the name of an HTTP header, for example X-Forwarded-User",
        "Header in which a proxy names the signed-in person. None: no proxy signs people in.",
    )
    trusted_proxies: Annotated[tuple[IPNetwork, ...], BeforeValidator(_items)] = _variable(
        "KUBECHAT_TRUSTED_PROXIES",
        "addresses or networks, separated by commas",
        "Where that header is believed from; empty: from nowhere, since anyone else could write it.",
        default=(),
    )
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(_items)] = _variable(
        "KUBECHAT_ALLOWED_HOSTS",
        "host names, separated by commas",
        "Further names that requests may bear in Host and Origin, beside loopback; empty: none, against DNS rebinding.",
        default=(),
    )

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host in _LOOPBACK_NAMES

    @property
    def has_trusted_proxy(self) -> bool:
        """Whether a proxy signs people in."""
        return self.trusted_header is not None and bool(self.trusted_proxies)

    def refuse_unprotected(self, *, in_cluster: bool) -> None:
        """Raise `SettingsInvalid` where the page would be open to others and nothing signs them in."""
        if self.insecure_no_sign_in or self.has_trusted_proxy or (self.is_loopback and not in_cluster):
            return
        where = "In a cluster" if in_cluster else f"On HOST={self.host}"
        raise SettingsInvalid(
            f"{where} others could reach KubeChat without signing in. Put a proxy before it and set "
            "KUBECHAT_TRUSTED_HEADER and KUBECHAT_TRUSTED_PROXIES, or accept the risk with --insecure-no-sign-in."
        )


class LogSettings(_Group):
    """What is logged."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)] = _variable(
        "KUBECHAT_LOG_LEVEL",
        "debug, info, warning or error",
        "Least severe message that is logged; info, one line per turn.",
        default="info",
    )


class Settings(_Group):
    """All groups; immutable, and handed to whoever needs one."""

    cluster: ClusterSettings
    model: ModelSettings
    storage: StorageSettings
    server: ServerSettings
    log: LogSettings


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings that an environment asks for; None reads the process's own. Raises `SettingsInvalid`."""
    given = {
        name: value for name, value in (os.environ if environment is None else environment).items() if value.strip()
    }
    storage = _filled(
        StorageSettings, given | {"KUBECHAT_DATA_DIR": given.get("KUBECHAT_DATA_DIR") or _data_dir(given)}
    )
    return Settings(
        cluster=_filled(ClusterSettings, given),
        model=_filled(ModelSettings, given),
        storage=storage,
        server=_filled(ServerSettings, given),
        log=_filled(LogSettings, given),
    )


def variables() -> tuple[tuple[str, str, str], ...]:
    """(name, what is expected, description) of every variable, in the order of the groups."""
    groups = (ClusterSettings, ModelSettings, StorageSettings, ServerSettings, LogSettings)
    return tuple(
        (str(field.validation_alias), _expected(field), field.description or "")
        for group in groups
        for field in group.model_fields.values()
    )


GroupT = TypeVar("GroupT", bound=_Group)


def _filled(group: type[GroupT], given: Mapping[str, str]) -> GroupT:
    by_variable = {str(field.validation_alias): field for field in group.model_fields.values()}
    try:
        return group.model_validate({name: given[name] for name in by_variable if name in given})
    except ValidationError as error:
        # the error itself may quote what was given: only the variable's name is taken from it
        wrong = [str(problem["loc"][0]) for problem in error.errors(include_input=False, include_context=False)]
    sentences = (f"{name} is not valid: expected {_expected(by_variable[name])}." for name in dict.fromkeys(wrong))
    raise SettingsInvalid(" ".join(sentences))


def _expected(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra["expected"]) if isinstance(extra, dict) else ""


def _data_dir(given: Mapping[str, str]) -> str:
    """Where the platform keeps a user's data: XDG on Linux, Application Support on macOS."""
    if base := given.get("XDG_DATA_HOME"):
        return str(Path(base) / "kubechat")
    home = given.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    if not Path(home).is_absolute():
        raise SettingsInvalid("KUBECHAT_DATA_DIR is needed: this user has no home folder.")
    if sys.platform == "darwin":
        return str(Path(home) / "Library" / "Application Support" / "KubeChat")
    return str(Path(home) / ".local" / "share" / "kubechat")
