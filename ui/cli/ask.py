"""`kubechat ask` (and `kubectl chat`): asks one question and shows the stream, or prints the whole answer as JSON."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agents.evidence import Domain
from assistant.errors import BadInput, KubeChatError
from assistant.settings import Settings
from assistant.telemetry import clear_tracing_variables, configure_logging
from ui.cli.options import cluster_options, json_option, load_settings
from ui.cli.output import answer_json, print_error, print_json
from ui.cli.running import run_async
from ui.container import open_app

if TYPE_CHECKING:
    from agents.conversation import TurnHandle
    from agents.events import Done, ErrorEvent


@dataclass(frozen=True, slots=True)
class AskOptions:
    """What was asked, apart from where."""

    question: str
    agent: Domain | None
    thread: str | None
    confirm_cluster: bool
    as_json: bool


@click.command()
@click.argument("question", nargs=-1)
@cluster_options
@click.option("--agent", type=click.Choice([d.value for d in Domain]), help="Ask this specialist.")
@click.option("--thread", help="Continue this conversation.")
@click.option("--confirm-cluster", is_flag=True, help="Continue a conversation that was held about another cluster.")
@json_option
def ask(question: tuple[str, ...], **options: object) -> int:
    """Ask a question about the cluster, in plain words.

    Without a QUESTION it is read from standard input.
    """
    words = " ".join(question) if question else "" if sys.stdin.isatty() else sys.stdin.read()
    flags = {name: options[name] for name in ("kubeconfig", "context", "namespace", "snapshot")}
    settings = load_settings(**flags)
    agent = options["agent"]
    asked = AskOptions(
        question=words,
        agent=Domain(agent) if isinstance(agent, str) else None,
        thread=str(options["thread"]) if options["thread"] else None,
        confirm_cluster=bool(options["confirm_cluster"]),
        as_json=bool(options["as_json"]),
    )
    require_snapshot_folder(settings.cluster.snapshot)
    return run_async(_ask(settings, asked))


def require_snapshot_folder(folder: Path | None) -> None:
    """Raises BadInput at once for a folder that is not there, before a database is started for nothing."""
    if folder is not None and not folder.is_dir():
        raise BadInput(f"There is no folder {folder}.")


async def _collected(handle: TurnHandle) -> tuple[Done | ErrorEvent, list[dict[str, str]]]:
    """(the last event of a turn, what the person should know about the answer)."""
    from agents.events import Notice

    notices = [
        {"code": event.code, "message": event.message} async for event in handle.events() if isinstance(event, Notice)
    ]
    return await handle.outcome(), notices


async def _ask(settings: Settings, asked: AskOptions) -> int:
    from agents.conversation import Ask, checked_question
    from agents.events import Done

    notices: list[dict[str, str]] = []
    checked_question(asked.question)
    clear_tracing_variables(os.environ)
    async with open_app(settings) as app:
        configure_logging("error", mask=app.services.mask)
        await app.require_namespace()
        handle = await app.conversation.ask(
            Ask(
                asked.question,
                thread_id=asked.thread,
                namespace=app.namespace,
                agent=asked.agent,
                confirm_cluster=asked.confirm_cluster,
            )
        )
        try:
            if asked.as_json:
                last, notices = await _collected(handle)
            else:
                from ui.cli.terminal import show

                last = await show(handle, app.model_line)
        except asyncio.CancelledError:
            await app.conversation.cancel(handle.turn_id)
            raise
    if isinstance(last, Done):
        if asked.as_json:
            print_json({**answer_json(last.answer), "notices": notices})
        return 0
    failure = _error(last.code, last.message, last.retryable)
    print_error(failure, asked.as_json)
    return failure.exit_code


def _error(code: str, message: str, retryable: bool) -> KubeChatError:
    """The error of an event again as one of the tree: the class with this code, for its exit code."""
    kinds = [KubeChatError]
    while kinds:
        kind = kinds.pop()
        if kind.code == code and "code" in vars(kind):
            return kind(message)
        kinds.extend(kind.__subclasses__())
    error = KubeChatError(message)
    error.code, error.retryable = code, retryable  # type: ignore[misc]  # this one instance tells what the event told
    return error
