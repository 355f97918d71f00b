"""`kubechat migrate`, `doctor` and `version`: what keeps an installation in order."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version

import click

from assistant.errors import KubeChatError
from assistant.settings import Settings
from ui.cli.options import cluster_options, json_option, load_settings
from ui.cli.output import print_json
from ui.cli.running import run_async


@click.command("migrate")
def migrate_command() -> int:
    """Bring the database schema up to date (every start does this by itself, too)."""
    applied = run_async(_migrate(load_settings()))
    click.echo("applied: " + ", ".join(applied) if applied else "the schema is up to date")
    return 0


async def _migrate(settings: Settings) -> tuple[str, ...]:
    from agents.record import record_migrations
    from assistant.storage.migrations import migrate
    from assistant.storage.opening import open_database

    url = settings.storage.database_url
    async with open_database(url.get_secret_value() if url else None, settings.storage.data_dir) as database:
        return await migrate(database, record_migrations())


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the installation: its name, what is found, and how it is mended when it is not well."""

    name: str
    run: Callable[[Settings], Awaitable[str]]
    mend: str


@click.command()
@cluster_options
@json_option
def doctor(as_json: bool, **flags: object) -> int:
    """Check each part, and say how to mend it. Exits with 4 when a part is not well."""
    settings = load_settings(**flags)
    rows = run_async(_examine_all(settings))
    if as_json:
        print_json({"checks": rows})
    else:
        for row in rows:
            click.echo(
                f"{'ok  ' if row['ok'] else 'FAIL'}  {row['name']:10} {row['detail']} ({row['milliseconds']} ms)"
            )
            if not row["ok"]:
                click.echo(f"      mend it: {row['mend']}")
    return 0 if all(row["ok"] for row in rows) else 4


async def _examine_all(settings: Settings) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for check in CHECKS:
        started = time.perf_counter()
        try:
            ok, detail = True, await check.run(settings)
        except KubeChatError as error:
            ok, detail = False, f"{error.message} [{error.code}]"
        took = round((time.perf_counter() - started) * 1000)
        row = {"name": check.name, "ok": ok, "detail": detail, "milliseconds": took}
        rows.append(row if ok else {**row, "mend": check.mend})
    return rows


async def _cluster(settings: Settings) -> str:
    from ui.container import open_source

    async with open_source(settings) as opened:
        inventory = await opened.source.inventory()
        missing = f", {len(inventory.missing)} lists or files not read" if inventory.missing else ""
        return f"{inventory.identity.label}: {len(inventory.objects)} objects{missing} ({opened.opened.reason})"


async def _database(settings: Settings) -> str:
    await _migrate(settings)
    return "PostgreSQL at KUBECHAT_DATABASE_URL" if settings.storage.database_url else "embedded PostgreSQL"


async def _embeddings(_settings: Settings) -> str:
    from agents.routing import Router
    from assistant.models.embeddings import MiniLMEmbedder

    route = Router.load(MiniLMEmbedder()).route("Why is the pod not ready?")
    return f"the sentence model and the router work (a pod that is not ready goes to {route.domains[0].value})"


async def _model(settings: Settings) -> str:
    from assistant.models.catalog import destination
    from assistant.models.request import ModelChoice

    if settings.model.name is None:
        return "none is configured: answers are rendered from the evidence (set KUBECHAT_MODEL to use one)"
    choice = ModelChoice(settings.model.name, settings.model.url)
    return f"{settings.model.name}; text goes to {destination(choice, os.environ)} (not called by this check)"


async def _data_folder(settings: Settings) -> str:
    from ui.container import masking_key

    masking_key(settings.storage.data_dir)
    return str(settings.storage.data_dir)


CHECKS = (
    Check("data", _data_folder, "set KUBECHAT_DATA_DIR to a folder that you can write"),
    Check("cluster", _cluster, "try `kubectl get ns` with the same kubeconfig and context, or pass --snapshot DIR"),
    Check("database", _database, "look at the message; without KUBECHAT_DATABASE_URL the data folder must be writable"),
    Check("routing", _embeddings, "the installation is incomplete: run `make run` again in a fresh clone"),
    Check("model", _model, "set KUBECHAT_MODEL as litellm names it, for example openai/gpt-5-mini"),
)


@click.command()
@json_option
def version(as_json: bool) -> int:
    """The version of KubeChat."""
    try:
        number = package_version("kubechat")
    except PackageNotFoundError:
        number = "unknown (not installed)"
    if as_json:
        print_json({"version": number})
    else:
        click.echo(f"kubechat {number}")
    return 0
