"""`kubechat diagnose`: findings and root causes alone, without a model and without a database."""

from __future__ import annotations

from pathlib import Path

import click

from agents.diagnosis import Attention
from agents.evidence import Diagnosis, Domain, Severity
from agents.examination import Examination, examine
from agents.report import closing, part_blocks
from agents.scope import Scope
from assistant.settings import Settings
from ui.cli.options import cluster_options, json_option, load_settings
from ui.cli.output import cluster_json, diagnosis_json, print_json
from ui.cli.running import run_async
from ui.container import open_source


@click.command()
@cluster_options
@click.option(
    "--domain", type=click.Choice([d.value for d in Domain if d is not Domain.GENERAL]), help="Only this domain."
)
@click.option(
    "--fail-on", type=click.Choice([s.value for s in Severity]), help="Exit with 1 at this severity or above."
)
@json_option
def diagnose(
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    snapshot: Path | None,
    domain: str | None,
    fail_on: str | None,
    as_json: bool,
) -> int:
    """Findings and root causes of a cluster, without a model.

    -n sets the focus, not a fence: causes that lie outside are found.
    """
    settings = load_settings(kubeconfig=kubeconfig, context=context, namespace=namespace, snapshot=snapshot)
    examination = run_async(_examine(settings))
    diagnosis = only(examination.diagnosis, Domain(domain)) if domain else examination.diagnosis
    identity = examination.view.identity
    if as_json:
        print_json({"cluster": cluster_json(identity), **diagnosis_json(diagnosis)})
    else:
        from ui.cli.terminal import print_markdown

        scope = Scope(namespaces=frozenset({namespace}) if namespace else frozenset())
        speaker = Domain(domain) if domain else Domain.TROUBLESHOOTING
        text = "".join([*part_blocks(diagnosis, scope, speaker, [speaker]), *closing(diagnosis)])
        print_markdown(f"_{identity.label}, {examination.view.taken_at:%Y-%m-%d %H:%M} UTC_\n\n{text}")
    return 1 if fail_on and met(diagnosis, Severity(fail_on)) else 0


async def _examine(settings: Settings) -> Examination:
    focus = frozenset({settings.cluster.namespace}) if settings.cluster.namespace else frozenset[str]()
    async with open_source(settings) as opened:
        return await examine(opened.source, Attention(focus), opened.mask)


def only(diagnosis: Diagnosis, domain: Domain) -> Diagnosis:
    """The part of a diagnosis that belongs to one domain."""
    return diagnosis.model_copy(
        update={
            "root_causes": tuple(c for c in diagnosis.root_causes if c.domain is domain),
            "findings": tuple(f for f in diagnosis.findings if f.domain is domain),
        }
    )


def met(diagnosis: Diagnosis, severity: Severity) -> bool:
    """Whether any finding or root cause is at least this severe."""
    severities = [f.severity for f in diagnosis.findings] + [c.severity for c in diagnosis.root_causes]
    return any(s.rank >= severity.rank for s in severities)
