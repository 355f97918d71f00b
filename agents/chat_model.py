"""The gateway as a LangChain chat model, so that `create_agent` can drive a specialist through the one door.

Promise: every call goes through the `ModelPort` that it was made with; the errors of `assistant.errors` pass
unchanged; LangChain's own cache is off. Asynchronous only: a synchronous call is a fault of ours and raises TypeError.

Arguments that are no JSON object arrive as one argument, `unreadable_arguments`: an agent's loop ends at a message with
none but `invalid_tool_calls`, while a call with a wrong argument is answered by the tool's own check and corrected.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Any, Literal

import orjson
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, Field

from assistant.models.request import (
    Finished,
    Message,
    ModelEvent,
    ModelPort,
    ModelRequest,
    OutgoingMasked,
    TextDelta,
    ToolCall,
    ToolCallRequested,
    ToolResult,
    ToolSpec,
    Usage,
)
from assistant.types import TurnContext


class GatewayChatModel(BaseChatModel):
    """One turn's chat model: made per turn, because it carries the turn's context.

    `timeout_s` bounds one call, not the turn. The cost of a call is in `response_metadata["cost_usd"]` (None: unknown),
    what was masked in `response_metadata["masked"]`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    port: ModelPort = Field(exclude=True, repr=False)
    context: TurnContext = Field(exclude=True, repr=False)
    model_name: str = "kubechat"
    purpose: str = "answer"
    temperature: float | None = None
    max_tokens: int | None = None
    timeout_s: float = 60.0
    cache: Literal[False] = False  # a global LangChain cache would keep answers about a live cluster

    @property
    def _llm_type(self) -> str:
        return "kubechat-gateway"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with these tools at hand. `tool_choice`: "auto", "none", "any" (or "required"), a tool's name."""
        return self.bind(
            tools=[_specification(tool) for tool in tools],
            tool_choice="required" if tool_choice == "any" else tool_choice,
            **kwargs,
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise TypeError("the gateway is asynchronous: use ainvoke or astream")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        whole: AIMessageChunk | None = None
        async with aclosing(self._stream_chunks(messages, stop, kwargs)) as chunks:
            async for chunk in chunks:
                whole = chunk if whole is None else whole + chunk
        # A port ends with `Finished` or raises, so there is at least one chunk.
        message = whole or AIMessageChunk(content="")
        return ChatResult(
            generations=[
                ChatGeneration(
                    message=AIMessage(
                        content=message.content,
                        tool_calls=message.tool_calls,
                        invalid_tool_calls=message.invalid_tool_calls,
                        usage_metadata=message.usage_metadata,
                        response_metadata=message.response_metadata,
                    )
                )
            ]
        )

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with aclosing(self._stream_chunks(messages, stop, kwargs)) as chunks:
            async for chunk in chunks:
                yield ChatGenerationChunk(message=chunk)  # LangChain itself tells its handlers of the token

    async def _stream_chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, call: Mapping[str, Any]
    ) -> AsyncGenerator[AIMessageChunk, None]:
        request = ModelRequest(
            messages=tuple(_as_message(message) for message in messages),
            context=self.context,
            tools=tuple(_as_tool_spec(tool) for tool in call.get("tools") or ()),
            tool_choice=call.get("tool_choice"),
            temperature=call.get("temperature", self.temperature),
            max_tokens=call.get("max_tokens", self.max_tokens),
            stop=tuple(stop or ()),
            timeout_s=self.timeout_s,
            purpose=self.purpose,
        )
        calls = 0
        async with aclosing(self.port(request)) as events:
            async for event in events:
                yield _as_chunk(event, calls)
                calls += isinstance(event, ToolCallRequested)


def _specification(tool: dict[str, Any] | type | Callable[..., Any] | BaseTool) -> dict[str, Any]:
    if isinstance(tool, BaseTool) and isinstance(tool.args_schema, type):
        return _described(tool.name, tool.description, tool.args_schema)
    return convert_to_openai_tool(tool)


@lru_cache(maxsize=128)
def _described(name: str, description: str, arguments: type[BaseModel]) -> dict[str, Any]:
    """Tools are bound to a turn, but what a model is told of them stays the same: making the schemas takes 5 ms."""
    return convert_to_openai_tool(StructuredTool(name=name, description=description, args_schema=arguments))


def _as_chunk(event: ModelEvent, index: int) -> AIMessageChunk:
    match event:
        case TextDelta(words):
            return AIMessageChunk(content=words)
        case ToolCallRequested(call):
            part = tool_call_chunk(name=call.name, args=_readable(call.arguments), id=call.id, index=index)
            return AIMessageChunk(content="", tool_call_chunks=[part])
        case Usage():
            return _usage_chunk(event)
        case OutgoingMasked(counts):
            return AIMessageChunk(content="", response_metadata={"masked": dict(counts)})
        case Finished(reason, model):
            return AIMessageChunk(
                content="",
                response_metadata={"finish_reason": reason, "model_name": model},
                chunk_position="last",
            )


def _readable(arguments: str) -> str:
    """The arguments as a JSON object: none at all is an empty one, nonsense is wrapped."""
    try:
        readable = isinstance(orjson.loads(arguments or "{}"), dict)
    except orjson.JSONDecodeError:
        readable = False
    return (arguments or "{}") if readable else orjson.dumps({"unreadable_arguments": arguments}).decode()


def _usage_chunk(usage: Usage) -> AIMessageChunk:
    known: UsageMetadata | None = None
    if usage.prompt_tokens is not None and usage.completion_tokens is not None:
        known = UsageMetadata(
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
        )
    return AIMessageChunk(content="", usage_metadata=known, response_metadata={"cost_usd": usage.cost_usd})


def _as_tool_spec(tool: Mapping[str, Any]) -> ToolSpec:
    function = tool["function"]
    empty = {"type": "object", "properties": {}}
    return ToolSpec(function["name"], function.get("description", ""), function.get("parameters") or empty)


def _as_message(message: BaseMessage) -> Message | ToolResult:
    """A LangChain message in the gateway's types. Raises TypeError for a kind that nobody sends here."""
    words = str(message.text)
    match message:
        case ToolMessage():
            return ToolResult(message.tool_call_id, message.name or "", words)
        case AIMessage():
            return Message("assistant", words, _tool_calls(message))
        case HumanMessage():
            return Message("user", words)
        case SystemMessage():
            return Message("system", words)
    raise TypeError(f"a {type(message).__name__} is no message for a model")


def _tool_calls(message: AIMessage) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(c["id"] or "", c["name"], orjson.dumps(c["args"]).decode()) for c in message.tool_calls)
