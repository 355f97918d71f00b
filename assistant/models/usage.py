"""The usage record: one for every call of a model, however it ends; cancelled and failed calls have cost money too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from assistant.errors import KubeChatError
from assistant.models.request import Finished, ModelEvent, ModelPort, ModelRequest, OutgoingMasked, Usage
from assistant.types import TurnContext

Outcome = Literal["finished", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """What one call took. `wall_s` in seconds; tokens and cost are None where the call did not live to tell them.

    `error_code` is the code of the error that ended a failed call. `masked` counts values by type of credential.
    """

    model: str
    destination: str
    purpose: str
    context: TurnContext
    started_at: datetime
    wall_s: float
    outcome: Outcome
    error_code: str | None
    usage: Usage
    masked: Mapping[str, int]


UsageSink = Callable[[UsageRecord], None]


def record_usage(port: ModelPort, sink: UsageSink, *, model: str, destination: str) -> ModelPort:
    """`port` with one `UsageRecord` per call given to `sink`, in `finally`.

    A caller that leaves before the stream has ended counts as cancelled. `sink` is called on the event loop and returns
    at once: a queue's put, a list's append.
    """

    async def recorded(request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        started_at, started = datetime.now(UTC), time.monotonic()
        usage, masked, used_model = Usage(None, None, None), dict[str, int](), model
        outcome: Outcome = "cancelled"
        error_code: str | None = None
        try:
            async with aclosing(port(request)) as events:
                async for event in events:
                    if isinstance(event, Usage):
                        usage = event
                    elif isinstance(event, OutgoingMasked):
                        masked = dict(event.counts)
                    elif isinstance(event, Finished):
                        outcome, used_model = "finished", event.model
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            raise
        except BaseException as error:
            outcome, error_code = "failed", error.code if isinstance(error, KubeChatError) else "internal"
            raise
        finally:
            wall_s = time.monotonic() - started
            sink(
                UsageRecord(
                    model=used_model,
                    destination=destination,
                    purpose=request.purpose,
                    context=request.context,
                    started_at=started_at,
                    wall_s=wall_s,
                    outcome=outcome,
                    error_code=error_code,
                    usage=usage,
                    masked=masked,
                )
            )

    return recorded
