"""`kubechat route`: which specialist a question belongs to, from its words alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click
import orjson

from agents.routing import Route, Router
from agents.scope import MAX_QUESTION
from assistant.errors import BadInput, QuestionEmpty
from assistant.models.embeddings import MiniLMEmbedder
from ui.cli.options import json_option
from ui.cli.output import print_json

BATCH = 64


@click.command()
@click.argument("question", nargs=-1)
@click.option("--jsonl", is_flag=True, help='Read {"id","text"} lines, write {"id","domains","scores"} lines.')
@json_option
def route(question: tuple[str, ...], jsonl: bool, as_json: bool) -> int:
    """Which specialist a question belongs to, with scores over all domains."""
    router = Router.load(MiniLMEmbedder())
    if jsonl:
        _route_lines(router)
        return 0
    text = " ".join(question).strip()
    if not text:
        raise QuestionEmpty('Give a question: kubechat route "why is checkout slow?"')
    found = router.route(text[:MAX_QUESTION])
    if as_json:
        print_json(_as_json(found))
        return 0
    for domain, score in sorted(found.scores.items(), key=lambda item: -item[1]):
        marker = "*" if domain in found.domains else " "
        click.echo(f"{marker} {domain.value:16} {score:.2f}")
    click.echo(found.reason)
    return 0


def _route_lines(router: Router) -> None:
    """One result per input line, in order; a line that cannot be used gets an error of its own; the rest goes on."""
    batch: list[dict[str, Any]] = []
    for row in _rows():
        batch.append(row)
        if len(batch) >= BATCH:
            _write(router, batch)
            batch = []
    _write(router, batch)


def _rows() -> Iterator[dict[str, Any]]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        try:
            parsed = orjson.loads(line)
        except orjson.JSONDecodeError:
            parsed = None
        if isinstance(parsed, Mapping) and isinstance(parsed.get("text"), str):
            yield {"id": parsed.get("id"), "text": parsed["text"][:MAX_QUESTION]}
        else:
            known = parsed.get("id") if isinstance(parsed, Mapping) else None
            message = f'line {number}: expected {{"id": …, "text": "…"}}'
            yield {"id": known, "error": BadInput(message).as_json()}


def _write(router: Router, batch: list[dict[str, Any]]) -> None:
    routes = iter(router.route_many([row["text"] for row in batch if "text" in row]))
    for row in batch:
        result = {"error": row["error"]} if "error" in row else _as_json(next(routes))
        sys.stdout.write(orjson.dumps({"id": row["id"], **result}).decode() + "\n")
    sys.stdout.flush()


def _as_json(found: Route) -> dict[str, Any]:
    return {
        "domains": [d.value for d in found.domains],
        "scores": {d.value: round(s, 4) for d, s in found.scores.items()},
        "reason": found.reason,
    }
