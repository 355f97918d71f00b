"""`kubechat snapshot`: record a live cluster in a folder, and serve such a folder as a read-only Kubernetes API."""

from __future__ import annotations

from pathlib import Path

import click

from agents.cluster.kinds import KNOWN_RESOURCES
from agents.cluster.objects import text
from agents.cluster.source import ViewSource
from assistant.settings import Settings
from ui.cli.options import json_option, load_settings
from ui.cli.output import print_json
from ui.cli.running import run_async
from ui.cli.terminal import printable
from ui.container import open_source


@click.group()
def snapshot() -> None:
    """Record a live cluster, or serve a recorded one."""


@snapshot.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-n", "--namespace", "namespaces", multiple=True, help="Only this namespace; may be given again.")
@click.option("--context", help="Context of the kubeconfig.")
@click.option("--kubeconfig", help="Path of a kubeconfig file.")
@click.option("--all-logs", is_flag=True, help="Logs of all pods, not of unwell ones alone.")
@json_option
def capture(
    folder: Path,
    namespaces: tuple[str, ...],
    context: str | None,
    kubeconfig: str | None,
    all_logs: bool,
    as_json: bool,
) -> int:
    """Record the cluster into FOLDER: objects and the logs of unwell pods, Secrets reduced, credentials masked."""
    settings = load_settings(kubeconfig=kubeconfig, context=context)
    run_async(_capture(settings, folder, namespaces, all_logs, as_json))
    return 0


async def _capture(
    settings: Settings, folder: Path, namespaces: tuple[str, ...], all_logs: bool, as_json: bool
) -> None:
    from agents.cluster.capture import capture as capture_cluster

    async with open_source(settings, demo=False) as opened:
        await _require(opened.source, namespaces)
        report = await capture_cluster(
            opened.source.reader,
            folder,
            namespaces=namespaces,
            with_healthy_logs=all_logs,
            mask=opened.mask,
            progress=lambda line: None if as_json else click.echo(line, err=True),
        )
    not_read = [{"what": what, "reason": m.reason, "detail": m.detail} for what, m in report.not_read]
    if as_json:
        print_json(
            {"folder": str(report.folder), "objects": dict(report.objects), "logs": report.logs, "not_read": not_read}
        )
        return
    click.echo(f"{sum(report.objects.values())} objects and {report.logs} logs are in {report.folder}")
    for row in not_read:
        click.echo(printable(f"  not read: {row['what']}: {row['reason']} {row['detail']}".rstrip()))


def _announce(line: str) -> None:
    click.echo(printable(line))


async def _require(source: ViewSource, namespaces: tuple[str, ...]) -> None:
    """Raises NamespaceNotFound before anything is written; where namespaces may not be listed, nothing is known."""
    from agents.examination import require_existing

    resource = next(r for r in KNOWN_RESOURCES if r.kind == "Namespace")
    listing = await source.reader.list_objects(resource)
    if listing.missing is None and listing.items:
        existing = sorted(text(item, "metadata", "name") for item in listing.items)
        require_existing(namespaces, existing, await source.identity())


@snapshot.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="0 takes a free one.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Write a kubeconfig that leads here.")
def serve(folder: Path, port: int, kubeconfig: Path | None) -> int:
    """Serve FOLDER on loopback as a read-only Kubernetes API, for kubectl, k9s and KubeChat itself."""
    from agents.cluster.serve.server import serve_snapshot

    try:
        run_async(serve_snapshot(folder, port=port, kubeconfig=kubeconfig, announce=_announce))
    except KeyboardInterrupt:
        return 0
    return 0
