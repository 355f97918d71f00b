"""The HTTP API: ask, follow, cancel, list. The events of `agents.events` as server-sent events, errors as JSON.

Promise: every error is `{"error": {"code", "message", "retryable"}}`; a person reaches only their own conversations; a
reader that goes away does not stop the turn, and picks it up again at `/api/v1/turns/{id}/events?after=N`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict

from agents.conversation import Ask, Conversation
from agents.events import Event
from agents.evidence import Domain, public_json
from agents.record import Thread, Turn
from assistant.errors import (
    AccessRefused,
    BadInput,
    ClusterError,
    ClusterMismatch,
    InternalError,
    KubeChatError,
    StorageUnavailable,
    ThreadNotFound,
    TurnTimedOut,
)
from ui.auth import principal_of
from ui.container import App

# The first row that fits; what is not listed is ours to mend.
_STATUS: tuple[tuple[type[KubeChatError], int], ...] = (
    (ThreadNotFound, 404),
    (ClusterMismatch, 409),
    (BadInput, 400),
    (AccessRefused, 403),
    (StorageUnavailable, 503),
    (ClusterError, 502),
    (TurnTimedOut, 504),
)


class Question(BaseModel):
    """The body of `POST /api/v1/ask`."""

    model_config = ConfigDict(extra="forbid")

    question: str
    thread_id: str | None = None
    namespace: str | None = None
    agent: Domain | None = None
    confirm_cluster: bool = False


def add_api(server: FastAPI, app: App) -> None:
    """Adds the routes and the shape of errors."""
    server.include_router(_routes(app))
    server.add_exception_handler(KubeChatError, _on_error)
    server.add_exception_handler(RequestValidationError, _on_invalid)
    server.add_exception_handler(Exception, _on_unexpected)


def _routes(app: App) -> APIRouter:
    api = APIRouter()
    conversation: Conversation = app.conversation
    record = app.services.record

    @api.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @api.post("/api/v1/ask")
    async def ask(request: Request, body: Question) -> StreamingResponse:
        handle = await conversation.ask(
            Ask(
                body.question,
                thread_id=body.thread_id,
                namespace=body.namespace or app.namespace,
                agent=body.agent,
                confirm_cluster=body.confirm_cluster,
                principal=principal_of(request.scope),
            )
        )
        return _stream(handle.events(), {"x-thread-id": handle.thread_id, "x-turn-id": handle.turn_id})

    @api.get("/api/v1/turns/{turn_id}/events")
    async def events(request: Request, turn_id: str, after: int = Query(0, ge=0)) -> StreamingResponse:
        await _own_turn(request, turn_id)
        return _stream(conversation.follow(turn_id, after))

    @api.post("/api/v1/turns/{turn_id}/cancel")
    async def cancel(request: Request, turn_id: str) -> dict[str, bool]:
        await _own_turn(request, turn_id)
        return {"cancelled": await conversation.cancel(turn_id)}

    @api.get("/api/v1/threads")
    async def threads(
        request: Request,
        limit: int = Query(20, ge=1, le=200),
        after: str | None = None,
        search: str | None = Query(None, max_length=200),
    ) -> dict[str, Any]:
        principal = principal_of(request.scope)
        page = await record.list_threads(principal.id, limit=limit, after=after, search=search)
        return {"threads": [_thread(t) for t in page.threads], "more": page.more}

    @api.get("/api/v1/threads/{thread_id}")
    async def thread(request: Request, thread_id: str) -> dict[str, Any]:
        found = await record.get_thread(thread_id, principal_of(request.scope).id)
        return _thread(found) | {"turns": [_turn(t) for t in await record.history(found.id)]}

    async def _own_turn(request: Request, turn_id: str) -> None:
        turn = await record.get_turn(turn_id)
        if turn is None:
            raise ThreadNotFound("There is no such turn.")
        await record.get_thread(turn.thread_id, principal_of(request.scope).id)

    return api


def _stream(events: AsyncIterator[Event], headers: dict[str, str] | None = None) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        async for event in events:
            data = json.dumps(public_json(event), ensure_ascii=False)
            yield f"id: {event.sequence}\nevent: {event.type}\ndata: {data}\n\n"

    # a proxy that gathers a stream before it passes it on would make an answer look stuck
    fixed = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(lines(), media_type="text/event-stream", headers=fixed | (headers or {}))


def _thread(thread: Thread) -> dict[str, Any]:
    return {
        "id": thread.id,
        "title": thread.title,
        "cluster": thread.cluster_name,
        "domain": thread.domain,
        "turn_count": thread.turn_count,
        "created_at": public_json(thread.created_at),
        "updated_at": public_json(thread.updated_at),
    }


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "id": turn.id,
        "number": turn.number,
        "status": turn.status,
        "question": turn.question,
        "answer": turn.answer,
        "mode": turn.mode,
        "route": public_json(turn.route),
        "model": turn.model,
        "usage": public_json(turn.usage),
        "cost": turn.cost,
        "error": turn.error,
        "started_at": public_json(turn.started_at),
        "ended_at": public_json(turn.ended_at),
    }


def _error(error: KubeChatError) -> JSONResponse:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    return JSONResponse({"error": error.as_json()}, status_code=status)


async def _on_error(request: Request, error: Exception) -> JSONResponse:
    return _error(error if isinstance(error, KubeChatError) else InternalError("Something broke in KubeChat."))


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    places: list[str] = []
    if isinstance(error, RequestValidationError):
        places = [".".join(str(part) for part in problem["loc"]) for problem in error.errors()]
    # what was given is not repeated: it may be anything
    return _error(BadInput(f"The request cannot be read: look at {', '.join(dict.fromkeys(places)) or 'its body'}."))


async def _on_unexpected(request: Request, error: Exception) -> JSONResponse:
    return _error(InternalError("Something broke in KubeChat; its log says what."))
