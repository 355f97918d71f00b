"""What happens on the chat page: it greets, asks, draws the turn as it runs, stops it, brings a conversation back.

Callbacks are thin: a turn is the conversation's, its looks are the transcript's, and this module carries one to the
other. Whatever fails becomes one sentence with a code in the chat; raw exception text stays here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from chainlit import Action, AskActionMessage, Message
from chainlit.context import context, init_ws_context
from chainlit.session import WebsocketSession
from chainlit.types import ThreadDict

from agents.conversation import Ask, checked_question
from agents.events import Event
from assistant.errors import ClusterMismatch, InternalError, KubeChatError
from assistant.types import LOCAL_PRINCIPAL, Principal
from ui.chat.history import History
from ui.chat.transcript import AUTHOR, Transcript, item_id
from ui.container import App

log = structlog.get_logger(__name__)
FRAME_SECONDS = 0.08
ASK_SECONDS = 600


class ChatPage:
    """The callbacks of one server."""

    def __init__(self, app: App, history: History) -> None:
        self._app = app
        self._history = history
        self._running: dict[str, str] = {}
        self._drawing: set[asyncio.Task[None]] = set()

    async def on_chat_start(self) -> None:
        """Greets: first with what is known at once, then with the state of the cluster."""
        session_id = context.session.id
        identity = await self._app.identity()
        if context.session.has_first_interaction:
            return  # a conversation has been brought back meanwhile
        props: dict[str, Any] = {
            "cluster": identity.label,
            "source": identity.source,
            "model": self._app.model_line,
            "notice": self._app.opened.notice,
            "text": "",
            "starters": [],
            "loading": True,
        }
        await _emitter().send_step(_message(item_id(session_id, "greeting")))
        await self._send_greeting(session_id, props)
        try:
            greeting = await self._app.greeting()
            starters = [{"label": s.label, "question": s.question, "domain": s.domain.value} for s in greeting.starters]
            props |= {"text": greeting.text, "starters": starters}
        except KubeChatError as error:
            props |= {"error": error.as_json()}
        await self._send_greeting(session_id, props | {"loading": False})

    async def on_message(self, message: Message) -> None:
        """A question. The outermost edge: whatever fails is said in the chat."""
        try:
            await self._ask(message.content)
        except KubeChatError as error:
            await self._say_error(error)
        except Exception:
            log.exception("question failed")
            await self._say_error(InternalError("Something broke in KubeChat; its log says what."))

    async def on_chat_resume(self, thread: ThreadDict) -> None:
        """Goes on drawing a turn that still runs."""
        turns = await self._app.services.record.history(thread["id"], limit=1)
        if turns and turns[-1].status == "running":
            task = asyncio.create_task(self._resume(thread["id"], turns[-1].id, turns[-1].started_at.isoformat()))
            self._drawing.add(task)
            task.add_done_callback(self._drawing.discard)

    @staticmethod
    def connecting(theirs: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
        """Chainlit's connect handler, mended: on a slow machine its page connects twice, first without naming the
        conversation that it wants back; the second socket was then given the session of the first, and the page waited
        for ever. Chainlit's handler has checked that session and conversation are this person's."""

        async def connect(socket_id: str, environ: dict[str, Any], auth: dict[str, Any]) -> bool:
            accepted = await theirs(socket_id, environ, auth)
            session, wanted = WebsocketSession.get(socket_id), auth.get("threadId")
            if session is not None and wanted and session.restored and not session.has_first_interaction:
                session.thread_id = session.thread_id_to_resume = wanted
                session.restored = False
            return accepted

        return connect

    async def stop(self, socket_id: str) -> None:
        """The stop button: cancels the turn of this conversation; its last event ends the drawing."""
        session = WebsocketSession.get(socket_id)
        turn_id = self._running.get(session.thread_id) if session is not None else None
        if session is not None and turn_id is not None:
            await self._app.conversation.cancel(turn_id)
        elif session is not None:
            init_ws_context(session)
            await _emitter().task_end()

    async def _ask(self, text: str) -> None:
        question = checked_question(text)
        principal = _principal()
        thread_id = context.session.thread_id
        await self._history.open_thread(thread_id, question, principal.id)
        ask = Ask(question, thread_id=thread_id, namespace=self._app.namespace, principal=principal)
        try:
            handle = await self._app.conversation.ask(ask)
        except ClusterMismatch as mismatch:
            await self._ask_elsewhere(mismatch, ask)
            return
        await self._draw(handle.thread_id, handle.turn_id, _now())

    async def _ask_elsewhere(self, mismatch: ClusterMismatch, ask: Ask) -> None:
        """The conversation is about another cluster: never silently goes on about this one."""
        identity = await self._app.identity()
        about = mismatch.message.partition(" Confirm ")[0]
        choice = await AskActionMessage(
            content=f"{about} Where shall this question go?",
            actions=[
                Action(name="continue", payload={}, label=f"Continue here, about {identity.label}"),
                Action(name="new", payload={}, label="Ask it in a new conversation"),
            ],
            author=AUTHOR,
            timeout=ASK_SECONDS,
        ).send()
        if choice is None:
            return
        elsewhere = choice["name"] == "new"
        handle = await self._app.conversation.ask(
            Ask(
                ask.question,
                thread_id=None if elsewhere else ask.thread_id,
                namespace=ask.namespace,
                confirm_cluster=not elsewhere,
                principal=ask.principal,
            )
        )
        if elsewhere:
            # the page opens the new conversation, which finds its turn running
            await _emitter().send_window_message({"kubechat": {"open": handle.thread_id}})
        else:
            await self._draw(handle.thread_id, handle.turn_id, _now())

    async def _resume(self, thread_id: str, turn_id: str, started_at: str) -> None:
        # Chainlit sends the thread right after this task was made; what is drawn before would be replaced by it
        await asyncio.sleep(FRAME_SECONDS)
        await _emitter().task_start()
        try:
            await self._draw(thread_id, turn_id, started_at)
        except KubeChatError as error:
            await self._say_error(error)
        finally:
            await _emitter().task_end()

    async def _draw(self, thread_id: str, turn_id: str, started_at: str) -> None:
        """Draws a turn until it ends, at most a dozen times a second."""
        record = self._app.services.record
        known, identity = await record.evidence(thread_id), await self._app.identity()
        transcript = Transcript(thread_id, turn_id, started_at, known, identity)
        self._running[thread_id] = turn_id
        await _emitter().send_step(transcript.message())
        news = asyncio.Event()
        news.set()
        painter = asyncio.create_task(self._paint(transcript, news))
        try:
            await self._read(self._app.conversation.follow(turn_id), transcript, news)
        finally:
            if self._running.get(thread_id) == turn_id:
                del self._running[thread_id]
            painter.cancel()
            await asyncio.wait([painter])
        if not transcript.ended and (turn := await record.get_turn(turn_id)) is not None:
            transcript.settle(turn)
        await _emitter().send_element(transcript.element())

    async def _read(self, events: AsyncIterator[Event], transcript: Transcript, news: asyncio.Event) -> None:
        async for event in events:
            transcript.apply(event)
            news.set()

    async def _paint(self, transcript: Transcript, news: asyncio.Event) -> None:
        while True:
            await news.wait()
            news.clear()
            await _emitter().send_element(transcript.element())
            await asyncio.sleep(FRAME_SECONDS)

    async def _send_greeting(self, session_id: str, props: dict[str, Any]) -> None:
        element = {
            "id": item_id(session_id, "greeting-element"),
            "forId": item_id(session_id, "greeting"),
            "type": "custom",
            "name": "Greeting",
            "display": "inline",
            "props": props,
        }
        await _emitter().send_element(element)

    async def _say_error(self, error: KubeChatError) -> None:
        id_ = item_id(context.session.id, f"error-{_now()}")
        shown = _message(id_) | {"isError": True, "output": f"{error.message} `{error.code}`"}
        await _emitter().send_step(shown)


def _emitter() -> Any:
    """The socket of the session; Chainlit annotates it only in parts."""
    return context.emitter


def _principal() -> Principal:
    user = context.session.user
    if user is None or user.identifier == LOCAL_PRINCIPAL.id:
        return LOCAL_PRINCIPAL
    return Principal(id=user.identifier, display_name=user.display_name or "")


def _message(id_: str) -> dict[str, Any]:
    return {
        "id": id_,
        "threadId": context.session.thread_id,
        "type": "assistant_message",
        "name": AUTHOR,
        "input": "",
        "output": "",
        "createdAt": _now(),
        "streaming": False,
        "isError": False,
        "metadata": {},
    }


def _now() -> str:
    return datetime.now(UTC).isoformat()
