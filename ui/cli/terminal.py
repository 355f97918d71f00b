"""Text for a terminal: Markdown rendered block by block where a person reads it, plain Markdown where a program does.

Text from a cluster may hold control characters; none reaches the terminal, so a log line can neither move the cursor
nor fake a prompt.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.conversation import TurnHandle
    from agents.events import Done, ErrorEvent


def printable(text: str) -> str:
    """Text without control characters, line ends and tabs apart."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())


def print_markdown(text: str) -> None:
    """Markdown on standard output; rendered only when that is a terminal."""
    screen = Screen()
    screen.write(text)
    screen.close()


class Screen:
    """Standard output for Markdown that comes in pieces."""

    def __init__(self) -> None:
        self._rendered = sys.stdout.isatty()
        self._pending = ""

    def write(self, text: str) -> None:
        """Shows what is complete: whole blocks where they are rendered, everything at once where they are not."""
        clean = printable(text)
        if not self._rendered:
            sys.stdout.write(clean)
            sys.stdout.flush()
            return
        self._pending += clean
        blocks, self._pending = complete_blocks(self._pending)
        for block in blocks:
            self._render(block)

    def note(self, text: str) -> None:
        """A line about the answer, not of it: shown to people only."""
        if self._rendered:
            from rich.console import Console

            Console(highlight=False).print(printable(text), style="dim", markup=False)

    def remark(self, text: str) -> None:
        """A line that belongs with the answer, wherever it goes: why it is not what was asked for."""
        if self._rendered:
            self.note(text)
        else:
            self.write(f"> {text}\n\n")

    def close(self) -> None:
        """Shows what is left."""
        if self._pending.strip():
            self._render(self._pending)
        self._pending = ""

    def _render(self, block: str) -> None:
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(block, hyperlinks=False))  # an address is shown, never hidden behind words
        sys.stdout.write("\n")
        sys.stdout.flush()


def complete_blocks(text: str) -> tuple[list[str], str]:
    """(Markdown blocks that are complete, the rest): a block ends at an empty line outside a code fence."""
    blocks: list[str] = []
    current = ""
    fenced = False
    lines = text.splitlines(keepends=True)
    consumed = 0
    for line in lines:
        if not line.endswith("\n"):
            break
        current += line
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        if not fenced and not line.strip():
            consumed += len(current)
            if current.strip():
                blocks.append(current)
            current = ""
    return blocks, text[consumed:]


async def show(handle: TurnHandle, model_line: str) -> Done | ErrorEvent:
    """Shows a turn as it comes; its last event."""
    from agents.events import Done, ErrorEvent
    from assistant.errors import InternalError

    screen = Screen()
    last: Done | ErrorEvent | None = None
    async for event in handle.events():
        for line in notes(event):
            screen.note(line)
        if event.type == "notice" and event.code != "evidence-only":  # that one the header says already
            screen.remark(f"{event.message} [{event.code}]")
        if event.type == "route":
            speakers = ", ".join(d.value for d in event.route.domains)
            screen.write(f"_{event.cluster.label} · {speakers} · model {model_line}_\n\n")
        elif event.type == "token":
            screen.write(event.text)
        elif isinstance(event, Done | ErrorEvent):
            last = event
    screen.close()
    if last is None:
        raise InternalError("The turn ended without an answer.")
    screen.remark(f"Go on with --thread {handle.thread_id}")
    return last


def notes(event: object) -> Iterator[str]:
    """What an event says about the making of the answer."""
    from agents.events import Handoff, Step, ToolEvent

    if isinstance(event, Step) and event.status == "done" and event.detail:
        took = f" ({event.milliseconds:.0f} ms)" if event.milliseconds is not None else ""
        yield f"· {event.name}: {event.detail}{took}"
    elif isinstance(event, Handoff):
        yield f"· handed over from {event.source.value} to {event.target.value}: {event.reason}"
    elif isinstance(event, ToolEvent) and event.status != "started":
        yield f"· {event.name} {event.arguments}: {event.summary or event.status}"
