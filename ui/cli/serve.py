"""`kubechat serve`: the chat page on this machine, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click

from assistant.settings import Settings
from assistant.telemetry import clear_tracing_variables, configure_logging
from ui.cli.options import cluster_options, load_settings
from ui.cli.running import run_async
from ui.container import open_app

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


@click.command()
@cluster_options
@click.option("--host", help="Address to listen on (HOST); loopback unless sign-in is arranged.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (PORT).")
@click.option("--insecure-no-sign-in", is_flag=True, help="Let everybody in who reaches the page. For test beds only.")
def serve(**options: object) -> int:
    """Open the chat page on this machine."""
    flags = {name: options[name] for name in ("kubeconfig", "context", "namespace", "snapshot", "host", "port")}
    insecure = "true" if options["insecure_no_sign_in"] else None
    settings = load_settings(**flags, insecure_no_sign_in=insecure)
    settings.server.refuse_unprotected(in_cluster=in_cluster())
    clear_tracing_variables(os.environ)
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C and SIGTERM are how a server is meant to end
        run_async(_serve(settings))
    return 0


def in_cluster() -> bool:
    """Whether this process is a pod."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and _SERVICE_ACCOUNT.exists()


async def _serve(settings: Settings) -> None:
    from ui.server import serve as serve_app

    async with open_app(settings, server=True) as app:
        configure_logging(settings.log.level, mask=app.services.mask)
        for line in app.lines:
            click.echo(f"  {line}")
        await serve_app(app, settings)
