"""What is asked of a model and what comes back: one request type, one union of stream events, one port.

Promise: everything between a caller and a provider (mask, usage record, and the wrappers to come) has the signature
`ModelPort`: a `ModelRequest` in, a stream of `ModelEvent` out. A stream ends with exactly one `Finished`, or it raises
an error of `assistant.errors`; it never just stops. Whoever consumes a port closes it (`contextlib.aclosing`), because
an abandoned async generator keeps its socket until the garbage collector comes by.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from assistant.types import TurnContext


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to call a tool. `arguments` is the raw text that it sent: it may be no JSON at all."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """What the system, the user or the model said; only the model's own messages carry `tool_calls`."""

    role: Literal["system", "user", "assistant"]
    text: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back for the call `call_id`."""

    call_id: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that the model may call; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of a model.

    `tool_choice` is "auto", "none", "required" or the name of a tool; None leaves it to the provider.
    `timeout_s` bounds the whole call in seconds, from the first byte sent to the last received; the context's deadline
    shortens it. `temperature` and `max_tokens` None mean the provider's default. `purpose` says in the usage record
    what the call was for ("answer", "join" …).
    """

    messages: tuple[Message | ToolResult, ...]
    context: TurnContext
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    timeout_s: float = 60.0
    purpose: str = "answer"


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallRequested:
    """A complete tool call; it comes after the text and before `Usage`."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class Usage:
    """What the call took. Tokens are None where nobody counted; `cost_usd` None is an unknown price, not zero."""

    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class OutgoingMasked:
    """How many values of which type were masked in the request before it was sent; the first event, if any were."""

    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Finished:
    """The provider said it was done. `reason`: "stop", "length", "tool_calls", "content_filter" or its own word."""

    reason: str
    model: str


ModelEvent = TextDelta | ToolCallRequested | Usage | OutgoingMasked | Finished
ModelPort = Callable[[ModelRequest], AsyncGenerator[ModelEvent, None]]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model to use: `model` in litellm's names, `url` of an OpenAI-compatible or self-hosted endpoint, `key`.

    `url` None is the provider's own endpoint; `key` None leaves it to the provider's own environment variable. `key` is
    kept out of `repr`, so that no log or error can print it.
    """

    model: str
    url: str | None = None
    key: str | None = field(default=None, repr=False)
