"""`kubechat codes`: the table of all checks."""

from __future__ import annotations

import click

from agents.analyzers.registry import CODES
from ui.cli.options import json_option
from ui.cli.output import print_json


@click.command()
@json_option
def codes(as_json: bool) -> int:
    """All checks with their domain, severity, meaning and remedy."""
    rows = [
        {
            "code": c.name,
            "domain": c.domain.value,
            "severity": c.severity.value,
            "role": c.role.value,
            "title": c.title,
            "remedy": c.remedy,
            "confidence": c.confidence,
            "runbook": c.runbook,
        }
        for c in CODES.values()
    ]
    if as_json:
        print_json({"codes": rows})
        return 0
    width = max((len(c.name) for c in CODES.values()), default=0)
    for code in CODES.values():
        click.echo(f"{code.name:{width}}  {code.severity.value:8}  {code.domain.value:15}  {code.title}")
    return 0
