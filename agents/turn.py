"""One turn from its first step to its record: runs the graph, turns whatever fails into an event, writes how it ended.

Promise: the turn's stream ends in exactly one `done` or `error` event and is closed, its evidence and outcome are
recorded, also when it is cancelled, late, or broken by a fault of ours. When the record fails, the reader is still
told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from agents.events import Done, ErrorEvent
from agents.evidence import Answer, RouteTaken
from agents.focus import focus_to_json
from agents.graph import run_turn
from agents.record import TurnOutcome
from agents.state import PartState, TurnWork
from assistant.errors import InternalError, KubeChatError, TurnCancelled, TurnTimedOut
from assistant.types import Mode

log = structlog.get_logger(__name__)


async def run_and_record(work: TurnWork, seconds: float) -> None:
    """One turn to its end, at most `seconds` long. The outermost edge: whatever is raised becomes a recorded event."""
    error: KubeChatError | None = None
    cancelled = False
    parts: Sequence[PartState] = ()
    try:
        async with asyncio.timeout(seconds):
            final = await run_turn(work)
        parts = final.get("parts", [])
    except asyncio.CancelledError:
        cancelled, error = True, TurnCancelled("The question was cancelled; what was said so far is kept.")
    except TimeoutError:
        error = TurnTimedOut(f"The question took longer than {seconds:.0f} s and was stopped.")
    except KubeChatError as failure:
        error = failure
    except Exception:
        log.exception("turn failed", turn=work.stream.turn_id)
        error = InternalError(f"Something broke in KubeChat; its log says what, under turn {work.stream.turn_id}.")
    finishing = asyncio.create_task(_finish(work, parts, error, cancelled))
    while not finishing.done():  # whoever cancels now (again) comes too late: the end is recorded
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(finishing)


async def _finish(work: TurnWork, parts: Sequence[PartState], error: KubeChatError | None, cancelled: bool) -> None:
    """The last event and the record of the turn; the reader gets its last event even when the record fails."""
    stream = work.stream
    try:
        await _record_evidence(work)
        answer = None if error is not None else _answer(work, parts)
        if answer is not None:
            await stream.emit(Done, answer=answer)
        elif error is not None:
            await stream.emit(ErrorEvent, **error.as_json())
        await stream.flush()
        await work.services.record.finish_turn(stream.turn_id, _outcome(work, answer, error, cancelled))
    except KubeChatError as failure:
        log.warning("turn not recorded", turn=stream.turn_id, code=failure.code)
        if not stream.ended:
            await stream.emit(ErrorEvent, **failure.as_json())
    finally:
        await stream.close()


async def _record_evidence(work: TurnWork) -> None:
    own = {e.id: e for e in work.all_evidence().values() if e.id not in work.known_evidence}
    await work.services.record.save_evidence(work.stream.turn_id, list(own.values()))


def _answer(work: TurnWork, parts: Sequence[PartState]) -> Answer:
    used_model = any(part["used_model"] for part in parts)
    model = work.services.model
    usage, cost = work.stream.usage()
    return Answer(
        thread_id=work.context.thread_id,
        turn_id=work.stream.turn_id,
        mode=Mode.MODEL if used_model else Mode.EVIDENCE_ONLY,
        cluster=work.identity,
        route=work.route or RouteTaken(domains=(), scores={}, reason=""),
        text=work.stream.text.strip(),
        diagnosis=work.diagnosis,
        documents=work.documents,
        unbacked=tuple(u for part in parts for u in part["unbacked"]),
        model=model.name if model is not None and usage.calls else None,
        text_went_to=model.destination if model is not None and usage.calls else None,
        usage=usage,
        cost=cost,
    )


def _outcome(work: TurnWork, answer: Answer | None, error: KubeChatError | None, cancelled: bool) -> TurnOutcome:
    usage, cost = work.stream.usage()
    return TurnOutcome(
        status="cancelled" if cancelled else "failed" if error is not None else "done",
        answer=work.stream.text,
        mode=answer.mode if answer is not None else None,
        route=work.route,
        model=answer.model if answer is not None else None,
        usage=usage,
        cost=cost,
        error=error,
        focus=focus_to_json(work.scope, work.diagnosis) if answer is not None and work.scope.needs_cluster else None,
    )
