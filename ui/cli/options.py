"""Options that several commands share, and the settings that they make together with the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from assistant import settings as settings_module
from assistant.settings import Settings

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_FLAG_VARIABLES = {
    "kubeconfig": "KUBECONFIG",
    "context": "KUBECHAT_CONTEXT",
    "namespace": "KUBECHAT_NAMESPACE",
    "snapshot": "KUBECHAT_SNAPSHOT",
    "host": "HOST",
    "port": "PORT",
    "insecure_no_sign_in": "KUBECHAT_INSECURE_NO_SIGN_IN",
}


def cluster_options(command: CommandT) -> CommandT:
    """Adds --kubeconfig, --context, -n/--namespace and --snapshot, named as kubectl names them."""
    for option in (
        click.option("--snapshot", type=click.Path(path_type=Path), help="Look at a recorded cluster in this folder."),
        click.option("-n", "--namespace", help="Namespace that the question is about."),
        click.option("--context", help="Context of the kubeconfig."),
        click.option("--kubeconfig", help="Path of a kubeconfig file."),
    ):
        command = option(command)
    return command


def json_option(command: CommandT) -> CommandT:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")(command)


def load_settings(**flags: object) -> Settings:
    """The settings of the environment with the flags laid over it (`-n=shop` is kubectl's way). Raises
    SettingsInvalid.
    """
    over = {_FLAG_VARIABLES[name]: str(value).removeprefix("=") for name, value in flags.items() if value is not None}
    return settings_module.load({**os.environ, **over})
