"""The providers as data: who is behind a model's name, where its text goes, and which variables hold its key.

The rows stand in `providers.yaml`. Nothing here calls a provider or imports litellm, so that `--help`, `doctor` and the
start-up lines can use it for free. A broken data file raises at the first use: it ships with the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import yaml

from assistant.models.request import ModelChoice


@dataclass(frozen=True, slots=True)
class Provider:
    """One row of `providers.yaml`, whose head explains the fields."""

    name: str
    prefix: str
    host: str
    example: str
    prefixes: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    key_variables: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()
    own_endpoint: bool = False
    keyless: bool = False

    def owns_host(self, host: str) -> bool:
        """Whether `host` (no port) belongs to this provider."""
        return any(host == ending[1:] or host.endswith(ending) for ending in self.hosts)


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A provider's key that is set in the environment and not used, and the line that would use it."""

    variable: str
    provider: str
    example_line: str


@cache
def providers() -> tuple[Provider, ...]:
    """All rows, in the order of the file."""
    rows = yaml.safe_load(files("assistant.models").joinpath("providers.yaml").read_text(encoding="utf-8"))
    return tuple(_row(row) for row in rows)


def _row(fields: dict[str, Any]) -> Provider:
    as_tuples: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return Provider(**as_tuples)


def provider_of(model: str) -> Provider | None:
    """The provider that litellm sends `model` to; None where the catalogue does not know it."""
    prefix, slash, _ = model.partition("/")
    for row in providers():
        if slash and (prefix == row.prefix or prefix in row.prefixes):
            return row
        if not slash and model.startswith(row.bare or ("\0",)):
            return row
    return None


def _host(url: str) -> str:
    """`host` or `host:port` of an address, without user, path or query."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        port = parts.port
    except ValueError:
        port = None
    return f"{parts.hostname or ''}:{port}" if port else parts.hostname or ""


def endpoint(choice: ModelChoice, env: Mapping[str, str]) -> str | None:
    """The address that will be called: the configured one, else one from the provider's variables, else None.

    None stands for the provider's own; it is decided here and not left to litellm: what is shown is what is used.
    """
    if choice.url:
        return choice.url
    provider = provider_of(choice.model)
    return next((env[v] for v in provider.url_variables if env.get(v)), None) if provider else None


def destination(choice: ModelChoice, env: Mapping[str, str]) -> str:
    """Where text goes, for people: "openai (api.openai.com)", or the host alone for an address of one's own."""
    provider = provider_of(choice.model)
    url = endpoint(choice, env)
    if url is None:
        name = choice.model.partition("/")[0] if "/" in choice.model else choice.model
        return f"{provider.name} ({provider.host})" if provider else f"{name} (litellm's endpoint for it)"
    host = _host(url)
    return f"{provider.name} ({host})" if provider and provider.owns_host(host.partition(":")[0]) else host


def at_providers_own(choice: ModelChoice, env: Mapping[str, str]) -> bool:
    """Whether the call goes to the provider itself, so that its list prices apply and its own key may be sent there.

    An address that merely speaks OpenAI's protocol is not OpenAI: the exported OPENAI_API_KEY must not go to it.
    """
    provider = provider_of(choice.model)
    url = endpoint(choice, env)
    if url is None:
        return True
    return provider is not None and (provider.own_endpoint or provider.owns_host(_host(url).partition(":")[0]))


def found_keys(env: Mapping[str, str], used: ModelChoice | None = None) -> list[FoundKey]:
    """Keys of providers that are set in `env` and that `used` does not use, with the line that would use each."""
    in_use = provider_of(used.model) if used else None
    found = []
    for row in providers():
        variable = next((v for v in row.key_variables if env.get(v, "").strip()), None)
        if variable and (in_use is None or row.name != in_use.name):
            found.append(FoundKey(variable, row.name, f"KUBECHAT_MODEL={row.example}"))
    return found
