"""The wrapper that masks whatever leaves: messages, tool results, and the tool arguments of earlier answers.

What comes back from the model stays as it is. Where the masker fails, the call ends with `MaskingFailed` before the
wrapped port is touched. Tool specifications are the program's own words and are not masked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from assistant.guardrails.masking import Masker
from assistant.models.request import Message, ModelEvent, ModelPort, ModelRequest, OutgoingMasked, ToolResult


def mask_outgoing(port: ModelPort, masker: Masker) -> ModelPort:
    """`port` given only masked requests; `OutgoingMasked` is the first event where something was masked."""

    async def masked(request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        counts: Counter[str] = Counter()
        messages: list[Message | ToolResult] = []
        for message in request.messages:
            messages.append(_masked_message(message, masker, counts))
            await asyncio.sleep(0)  # a long history must not hold the event loop in one piece
        if counts:
            yield OutgoingMasked(dict(counts))
        async with aclosing(port(replace(request, messages=tuple(messages)))) as events:
            async for event in events:
                yield event

    return masked


def _masked_message(message: Message | ToolResult, masker: Masker, counts: Counter[str]) -> Message | ToolResult:
    def mask(text: str) -> str:
        result = masker.mask(text)
        counts.update(result.counts)
        return result.text

    if isinstance(message, ToolResult):
        return replace(message, text=mask(message.text))
    calls = tuple(replace(call, arguments=mask(call.arguments)) for call in message.tool_calls)
    return replace(message, text=mask(message.text), tool_calls=calls)
