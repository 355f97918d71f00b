"""The whole application for tests: conversations over a snapshot, a real database, and (where given) a scripted model.

    async with running_app(database_url, tmp_path, provider=provider) as app:
        told = await asked(app, "Why is checkout down?")
        told.answer.text, told.events

It is built by the composition root itself (`ui.container.open_app`) from settings, so the tests run what users run:
the gateway with its mask, the litellm adapter over a real socket, the record in PostgreSQL.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agents.conversation import Ask
from agents.events import Done, ErrorEvent, Event, TurnEvent
from agents.evidence import Answer
from assistant import settings as settings_module
from tests.support.scripted_provider import ScriptedProvider
from ui.container import DEMO_SNAPSHOT, App, open_app

KEY = "sk-proof-5d1c0a8e7b3f4c2d9a6b"  # what the provider is called with; must stand in no event, answer, log or record
EventT = TypeVar("EventT", bound=TurnEvent)


@asynccontextmanager
async def running_app(
    database_url: str,
    folder: Path,
    *,
    snapshot: Path = DEMO_SNAPSHOT,
    provider: ScriptedProvider | None = None,
    **variables: str,
) -> AsyncIterator[App]:
    """The application over a snapshot; `variables` are further settings by the names of their variables."""
    environment = {
        "KUBECHAT_DATABASE_URL": database_url,
        "KUBECHAT_DATA_DIR": str(folder / "data"),
        "KUBECHAT_SNAPSHOT": str(snapshot),
        **variables,
    }
    if provider is not None:
        environment |= {
            "KUBECHAT_MODEL": "openai/scripted",
            "KUBECHAT_MODEL_URL": provider.url,
            "KUBECHAT_MODEL_KEY": KEY,
        }
    async with open_app(settings_module.load(environment), environment) as app:
        yield app


@dataclass(frozen=True, slots=True)
class Told:
    """What one question brought: its events, in order."""

    thread_id: str
    turn_id: str
    events: tuple[Event, ...]

    @property
    def answer(self) -> Answer:
        """The answer; fails the test where the turn ended in an error."""
        last = self.events[-1]
        assert isinstance(last, Done), last
        return last.answer

    @property
    def error(self) -> ErrorEvent:
        """The error that ended the turn."""
        last = self.events[-1]
        assert isinstance(last, ErrorEvent), last
        return last

    def of(self, kind: type[EventT]) -> list[EventT]:
        """The events of one type."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def codes(self) -> list[str]:
        """The codes of the notices."""
        return [event.code for event in self.events if event.type == "notice"]


def as_lines(events: Iterable[Event]) -> list[str]:
    """The events as the record keeps them: a finding's `related` is for linking alone and is not in it."""
    return [json.dumps(event.model_dump(mode="json"), sort_keys=True) for event in events]


async def asked(app: App, question: str, **ask: Any) -> Told:
    """Asks, and follows the turn to its end; `ask` holds further fields of `Ask`."""
    handle = await app.conversation.ask(Ask(question, **ask))
    events = [event async for event in handle.events()]
    return Told(handle.thread_id, handle.turn_id, tuple(events))
