"""Chainlit's data layer over our record: it keeps nothing of its own.

Chainlit wants to store users, steps and elements; the record has turns and their events, from which `Transcript` draws
the same again. What Chainlit would write is therefore dropped here, most of all text that nobody has masked.
"""

from __future__ import annotations

from typing import Any

from chainlit.context import ChainlitContextException, context
from chainlit.data.base import BaseDataLayer
from chainlit.element import Element, ElementDict
from chainlit.session import WebsocketSession
from chainlit.step import StepDict
from chainlit.types import Feedback, PageInfo, PaginatedResponse, Pagination, ThreadDict, ThreadFilter
from chainlit.user import PersistedUser, User

from agents.conversation import checked_question
from agents.record import Record, Thread, Turn
from assistant.errors import BadInput, ThreadNotFound
from ui.chat.transcript import Transcript, item_id
from ui.container import App

MAX_TURNS = 100


class History(BaseDataLayer):
    """Threads as Chainlit shows them."""

    def __init__(self, app: App) -> None:
        self._app = app

    @property
    def _record(self) -> Record:
        return self._app.services.record

    async def open_thread(self, thread_id: str, question: str, principal: str) -> Thread:
        """The thread; made, with the masked question as its title, where it is not there yet. Raises ThreadNotFound
        for somebody else's."""
        identity = await self._app.identity()
        return await self._record.create_thread(
            cluster_id=identity.id,
            cluster_name=identity.label,
            title=self._app.services.mask(question),
            principal=principal,
            thread_id=thread_id,
        )

    async def get_user(self, identifier: str) -> PersistedUser | None:
        return PersistedUser(id=identifier, identifier=identifier, createdAt="")

    async def create_user(self, user: User) -> PersistedUser | None:
        return await self.get_user(user.identifier)

    async def list_threads(self, pagination: Pagination, filters: ThreadFilter) -> PaginatedResponse[ThreadDict]:
        page = await self._record.list_threads(
            filters.userId or "", limit=pagination.first, after=pagination.cursor, search=filters.search
        )
        threads = [_thread(t) for t in page.threads]
        ends = (threads[0]["id"], threads[-1]["id"]) if threads else (None, None)
        return PaginatedResponse(
            pageInfo=PageInfo(hasNextPage=page.more, startCursor=ends[0], endCursor=ends[1]), data=threads
        )

    async def get_thread_author(self, thread_id: str) -> str:
        try:
            return (await self._record.get_thread(thread_id)).principal
        except ThreadNotFound:
            return ""

    async def get_thread(self, thread_id: str) -> ThreadDict | None:
        try:
            thread = await self._record.get_thread(thread_id)
        except ThreadNotFound:
            return None
        shown = _thread(thread)
        known = await self._record.evidence(thread_id)
        identity = await self._app.identity()
        steps: list[Any] = []
        elements: list[Any] = []
        for turn in await self._record.history(thread_id, limit=MAX_TURNS):
            steps.append(_question(turn))
            transcript = Transcript(
                thread_id, turn.id, _time(turn), known, identity if turn.cluster_id == identity.id else None
            )
            for event in await self._record.events(turn.id):
                transcript.apply(event)
            transcript.settle(turn)
            steps.append(transcript.message())
            elements.append(transcript.element())
        shown["steps"], shown["elements"] = steps, elements
        return shown

    async def update_thread(
        self,
        thread_id: str,
        name: str | None = None,
        user_id: str | None = None,
        metadata: dict[Any, Any] | None = None,
        tags: list[str] | None = None,
    ) -> None:
        """A person's renaming. Chainlit also calls this from the chat: with the first question as the name, before it
        tells the browser that there is a thread; then the thread is made. Session data are not kept."""
        if name is None:
            return
        principal = _chatting_as()
        if principal is None:
            await self._record.rename(thread_id, self._app.services.mask(name))
            return
        try:
            await self.open_thread(thread_id, checked_question(name), principal)
        except BadInput:
            return  # the question itself will be answered by this error

    async def delete_thread(self, thread_id: str) -> None:
        await self._record.delete(thread_id)

    async def create_step(self, step_dict: StepDict) -> None:
        return None

    async def update_step(self, step_dict: StepDict) -> None:
        return None

    async def delete_step(self, step_id: str) -> None:
        return None

    async def create_element(self, element: Element) -> None:
        return None

    async def get_element(self, thread_id: str, element_id: str) -> ElementDict | None:
        return None

    async def delete_element(self, element_id: str, thread_id: str | None = None) -> None:
        return None

    async def upsert_feedback(self, feedback: Feedback) -> str:
        return ""

    async def delete_feedback(self, feedback_id: str) -> bool:
        return False

    async def get_favorite_steps(self, user_id: str) -> list[StepDict]:
        return []

    async def build_debug_url(self) -> str:
        return ""

    async def close(self) -> None:
        return None


def _chatting_as() -> str | None:
    """The principal of the socket that this call comes from; None when it comes from an HTTP request."""
    try:
        session = context.session
    except ChainlitContextException:
        return None
    return session.user.identifier if isinstance(session, WebsocketSession) and session.user is not None else None


def _thread(thread: Thread) -> ThreadDict:
    return ThreadDict(
        id=thread.id,
        createdAt=thread.updated_at.isoformat(),
        name=thread.title,
        userId=thread.principal,
        userIdentifier=thread.principal,
        tags=[],
        metadata={},
        steps=[],
        elements=[],
    )


def _question(turn: Turn) -> dict[str, Any]:
    return {
        "id": item_id(turn.id, "question"),
        "threadId": turn.thread_id,
        "type": "user_message",
        "name": "You",
        "input": "",
        "output": turn.question,
        "createdAt": _time(turn),
        "metadata": {},
    }


def _time(turn: Turn) -> str:
    return turn.started_at.isoformat()
