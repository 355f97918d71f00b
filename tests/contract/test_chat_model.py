"""The gateway as a LangChain chat model: what create_agent sends, streams and gets back, over a real socket."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from agents.chat_model import GatewayChatModel
from assistant.errors import ModelRateLimited
from assistant.guardrails.credentials import CREDENTIAL_RULES
from assistant.guardrails.masking import Masker
from assistant.models.gateway import open_gateway
from assistant.models.litellm_adapter import LitellmAdapter
from assistant.models.request import ModelChoice
from assistant.models.usage import UsageRecord
from assistant.types import TurnContext
from tests.support.scripted_provider import (
    ScriptedProvider,
    endless_tool_calls,
    http_error,
    text,
    tool_call,
    tool_calls,
)


@tool
async def get_pods(namespace: str) -> str:
    """List the pods of a namespace."""
    return f"web-1 in {namespace}: CrashLoopBackOff, password: tr0ub4dor-3"


@pytest.fixture
async def records() -> list[UsageRecord]:
    return []


Connect = Callable[[str], GatewayChatModel]


@pytest.fixture
async def connect(records: list[UsageRecord]) -> AsyncIterator[Connect]:
    adapters: list[LitellmAdapter] = []

    def open_to(url: str) -> GatewayChatModel:
        adapter = LitellmAdapter(ModelChoice("scripted", url), os.environ, retries=0)
        adapters.append(adapter)
        port = open_gateway(
            adapter,
            masker=Masker(b"k" * 32, CREDENTIAL_RULES),
            sink=records.append,
            model="scripted",
            destination=adapter.destination,
        )
        return GatewayChatModel(port=port, context=TurnContext(thread_id="t", cluster_id="c"), timeout_s=20)

    yield open_to
    for adapter in adapters:
        await adapter.aclose()


async def test_an_agent_calls_its_tool_and_answers(connect: Connect, records: list[UsageRecord]) -> None:
    script = [tool_call("get_pods", {"namespace": "shop"}, words="Looking."), text("web-1 crashes.")]
    async with ScriptedProvider(script) as provider:
        agent = create_agent(connect(provider.url), tools=[get_pods], system_prompt="You know Kubernetes.")
        result = await agent.ainvoke({"messages": [HumanMessage("why?")]})

    kinds = [type(message) for message in result["messages"]]
    assert kinds == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert result["messages"][-1].content == "web-1 crashes."
    first, second = (request.json for request in provider.requests)
    assert first["tools"][0]["function"]["name"] == "get_pods"
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]
    assert "[masked:" in second["messages"][3]["content"]
    assert b"tr0ub4dor" not in provider.received_bytes
    assert len(records) == 2


async def test_an_agents_words_stream_while_they_come(connect: Connect) -> None:
    async with ScriptedProvider([text("one two three four", chunk_chars=4)]) as provider:
        agent = create_agent(connect(provider.url), tools=[get_pods])
        pieces = [
            str(chunk.content)
            async for chunk, _ in agent.astream({"messages": [HumanMessage("q")]}, stream_mode="messages")
            if isinstance(chunk, AIMessageChunk) and chunk.content
        ]
    assert "".join(pieces) == "one two three four"
    assert len(pieces) >= 4


async def test_a_collected_answer_has_text_calls_usage_and_metadata(connect: Connect) -> None:
    calls = [("get_pods", {"namespace": "a"}), ("get_pods", {"namespace": "b"})]
    async with ScriptedProvider([tool_calls(calls, words="Both.")]) as provider:
        answer = await connect(provider.url).bind_tools([get_pods], tool_choice="any").ainvoke("look, token=abcd1234XY")

    assert answer.content == "Both."
    assert [(c["name"], c["args"]) for c in answer.tool_calls] == [(n, a) for n, a in calls]
    assert answer.usage_metadata == {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
    assert answer.response_metadata["finish_reason"] == "tool_calls"
    assert answer.response_metadata["cost_usd"] is None
    assert answer.response_metadata["masked"] == {"named-secret": 1}
    assert provider.requests[0].json["tool_choice"] == "required"


async def test_a_streamed_answer_sums_up_to_the_collected_one(connect: Connect) -> None:
    async with ScriptedProvider([tool_call("get_pods", {"namespace": "a"}, words="Look.")]) as provider:
        whole: Any = None
        async for chunk in (
            connect(provider.url).bind_tools([get_pods]).astream([SystemMessage("s"), HumanMessage("q")])
        ):
            whole = chunk if whole is None else whole + chunk
    assert whole.content == "Look."
    assert whole.tool_calls[0]["args"] == {"namespace": "a"}
    assert whole.usage_metadata["total_tokens"] == 120


async def test_nonsense_arguments_are_answered_by_the_tools_own_check(connect: Connect) -> None:
    async with ScriptedProvider([tool_call("get_pods", "{namespace: shop"), text("sorry")]) as provider:
        agent = create_agent(connect(provider.url), tools=[get_pods])
        result = await agent.ainvoke({"messages": [HumanMessage("q")]})
    assert result["messages"][-1].content == "sorry"
    refused = result["messages"][2]
    assert isinstance(refused, ToolMessage)
    assert refused.status == "error"


async def test_an_unknown_tool_does_not_end_the_conversation(connect: Connect) -> None:
    async with ScriptedProvider([tool_call("delete_everything", {}), text("as you wish")]) as provider:
        agent = create_agent(connect(provider.url), tools=[get_pods])
        result = await agent.ainvoke({"messages": [HumanMessage("q")]})
    assert result["messages"][-1].content == "as you wish"


async def test_our_errors_pass_through_the_agent_unchanged(connect: Connect) -> None:
    async with ScriptedProvider([http_error(429)]) as provider:
        agent = create_agent(connect(provider.url), tools=[get_pods])
        with pytest.raises(ModelRateLimited) as caught:
            await agent.ainvoke({"messages": [HumanMessage("q")]})
    assert "scripted failure" not in str(caught.value)


async def test_cancelling_an_agent_records_the_call_and_closes_the_socket(
    connect: Connect, records: list[UsageRecord]
) -> None:
    async with ScriptedProvider([text("word " * 400, chunk_chars=5, chunk_delay_s=0.02)]) as provider:
        agent = create_agent(connect(provider.url), tools=[get_pods])
        begun = asyncio.Event()

        async def listen() -> None:
            async for _ in agent.astream({"messages": [HumanMessage("q")]}, stream_mode="messages"):
                begun.set()

        turn = asyncio.create_task(listen())
        await asyncio.wait_for(begun.wait(), 20)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert await provider.requests[0].client_left()
    assert [record.outcome for record in records] == ["cancelled"]


async def test_an_endless_caller_is_stopped_by_taking_its_tools_away(connect: Connect) -> None:
    async with ScriptedProvider(endless_tool_calls("get_pods", {"namespace": "a"})) as provider:
        model = connect(provider.url)
        with_tools = await model.bind_tools([get_pods]).ainvoke("q")
        without = await model.ainvoke("conclude")
    assert with_tools.tool_calls
    assert without.content == "I had to stop looking."


def test_a_synchronous_call_is_refused() -> None:
    async def never(_: object) -> AsyncGenerator[Any, None]:
        raise AssertionError
        yield

    model = GatewayChatModel(port=never, context=TurnContext(thread_id="t", cluster_id="c"))
    with pytest.raises(TypeError, match="asynchronous"):
        model.invoke("q")
