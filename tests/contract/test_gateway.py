"""The gateway against a provider behind a real socket: what is sent, what comes back, what each failure is called."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from assistant.errors import (
    KubeChatError,
    MaskingFailed,
    ModelCredentialsRejected,
    ModelRateLimited,
    ModelRequestRejected,
    ModelStreamBroken,
    ModelTimeout,
    ModelUnavailable,
)
from assistant.guardrails.credentials import CREDENTIAL_RULES
from assistant.guardrails.masking import Masker, Rule
from assistant.models.catalog import provider_of, providers
from assistant.models.gateway import open_gateway
from assistant.models.litellm_adapter import LitellmAdapter
from assistant.models.request import (
    Finished,
    Message,
    ModelChoice,
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
from assistant.models.usage import UsageRecord
from assistant.types import TurnContext
from tests.support.scripted_provider import (
    Reply,
    ScriptedProvider,
    broken_stream,
    html_page,
    http_error,
    nonsense_body,
    slow,
    text,
    tool_call,
    tool_calls,
)

KEY = "a-key-nobody-may-see-1234"
GET_PODS = ToolSpec(
    "get_pods",
    "Pods of a namespace.",
    {"type": "object", "properties": {"namespace": {"type": "string"}}, "required": ["namespace"]},
)


def context(**more: Any) -> TurnContext:
    return TurnContext(thread_id="t1", cluster_id="c1", **more)


def question(words: str = "why?", **more: Any) -> ModelRequest:
    return ModelRequest(messages=(Message("user", words),), context=context(), **more)


@pytest.fixture
async def records() -> list[UsageRecord]:
    return []


Connect = Callable[..., ModelPort]


@pytest.fixture
async def connect(records: list[UsageRecord]) -> AsyncIterator[Connect]:
    """Opens gateways to a scripted provider, and closes what they opened."""
    adapters: list[LitellmAdapter] = []

    def open_to(url: str, *, key: str | None = KEY, retries: int = 0, rules: tuple[Rule, ...] = ()) -> ModelPort:
        choice = ModelChoice("scripted-model", url, key)
        adapters.append(LitellmAdapter(choice, os.environ, retries=retries))
        masker = Masker(b"k" * 32, (*CREDENTIAL_RULES, *rules))
        return open_gateway(
            adapters[-1], masker=masker, sink=records.append, model=choice.model, destination=adapters[-1].destination
        )

    yield open_to
    for adapter in adapters:
        await adapter.aclose()


async def collect(port: ModelPort, request: ModelRequest) -> list[ModelEvent]:
    async with aclosing(port(request)) as events:
        return [event async for event in events]


def said(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_text_streams_in_pieces_and_ends_with_usage_and_finish(
    connect: Connect, records: list[UsageRecord]
) -> None:
    async with ScriptedProvider([text("All pods are healthy.", chunk_chars=5)]) as provider:
        events = await collect(connect(provider.url), question(temperature=0.2, max_tokens=50))

    assert said(events) == "All pods are healthy."
    assert sum(isinstance(event, TextDelta) for event in events) == 5
    assert events[-2:] == [Usage(100, 20, None), Finished("stop", "scripted-model")]
    sent = provider.requests[0].json
    assert (sent["model"], sent["stream"], sent["temperature"], sent["max_tokens"]) == ("scripted-model", True, 0.2, 50)
    assert [(r.outcome, r.usage, r.destination) for r in records] == [("finished", Usage(100, 20, None), provider.host)]


async def test_a_tools_call_goes_through_the_router_and_back(connect: Connect) -> None:
    calls = [("get_pods", {"namespace": "shop"}), ("get_pods", {"namespace": "pay"})]
    async with ScriptedProvider([tool_calls(calls, words="Let me look."), text("done")]) as provider:
        port = connect(provider.url)
        first = await collect(port, question(tools=(GET_PODS,), tool_choice="auto"))
        asked = [event.call for event in first if isinstance(event, ToolCallRequested)]
        history = (Message("user", "why?"), Message("assistant", "Let me look.", tuple(asked)))
        results = tuple(ToolResult(call.id, call.name, "[]") for call in asked)
        second = await collect(port, ModelRequest(history + results, context(), tools=(GET_PODS,)))

    assert [(call.name, call.arguments) for call in asked] == [
        ("get_pods", '{"namespace": "shop"}'),
        ("get_pods", '{"namespace": "pay"}'),
    ]
    assert first[-1] == Finished("tool_calls", "scripted-model")
    assert said(second) == "done"
    declared, returned = (request.json for request in provider.requests)
    assert declared["tools"][0]["function"]["parameters"] == GET_PODS.parameters
    assert [m["role"] for m in returned["messages"]] == ["user", "assistant", "tool", "tool"]
    assert returned["messages"][2]["tool_call_id"] == asked[0].id


async def test_nonsense_arguments_arrive_as_they_are_and_go_back_as_json(connect: Connect) -> None:
    async with ScriptedProvider([tool_call("get_pods", '{"namespace": shop')]) as provider:
        port = connect(provider.url)
        events = await collect(port, question(tools=(GET_PODS,)))
        [call] = [event.call for event in events if isinstance(event, ToolCallRequested)]
        await collect(
            port, ModelRequest((Message("assistant", "", (call,)), ToolResult(call.id, "x", "no")), context())
        )

    assert call.arguments == '{"namespace": shop'
    returned = provider.requests[1].json["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert returned == '{"unreadable_arguments": "{\\"namespace\\": shop"}'


FAILURES = [
    pytest.param(http_error(401), ModelCredentialsRejected, id="401"),
    pytest.param(http_error(403), ModelCredentialsRejected, id="403"),
    pytest.param(http_error(429, headers=(("retry-after", "60"),)), ModelRateLimited, id="429"),
    pytest.param(http_error(400), ModelRequestRejected, id="400"),
    pytest.param(http_error(404), ModelRequestRejected, id="404"),
    pytest.param(http_error(413), ModelRequestRejected, id="413"),
    pytest.param(http_error(422), ModelRequestRejected, id="422"),
    pytest.param(http_error(500), ModelUnavailable, id="500"),
    pytest.param(http_error(503), ModelUnavailable, id="503"),
    pytest.param(html_page(), ModelUnavailable, id="html-200"),
    pytest.param(html_page(502), ModelUnavailable, id="html-502"),
    pytest.param(nonsense_body(), ModelUnavailable, id="nonsense-body"),
    pytest.param(broken_stream(0, drop=True), ModelUnavailable, id="cut-before-the-first-word"),
    pytest.param(broken_stream(3), ModelStreamBroken, id="ends-without-finish-reason"),
    pytest.param(broken_stream(3, drop=True), ModelStreamBroken, id="cut-half-way"),
    pytest.param(slow(5), ModelTimeout, id="slow"),
]


@pytest.mark.parametrize(("reply", "expected"), FAILURES)
async def test_each_failure_has_its_own_error_in_our_words(
    reply: Reply, expected: type[KubeChatError], connect: Connect, records: list[UsageRecord]
) -> None:
    async with ScriptedProvider([reply]) as provider:
        with pytest.raises(expected) as caught:
            await collect(connect(provider.url), question(timeout_s=1.5))

    assert type(caught.value) is expected
    message = str(caught.value)
    assert provider.host in message
    for foreign in (KEY, "scripted failure", "Sign in", "litellm", "Traceback", "<html"):
        assert foreign not in message
    assert [(r.outcome, r.error_code, r.usage.cost_usd) for r in records] == [("failed", expected.code, None)]


async def test_a_refused_connection_is_an_unavailable_model(connect: Connect) -> None:
    with ScriptedProvider([text("x")]) as provider:
        gone = provider.url
    with pytest.raises(ModelUnavailable):
        await collect(connect(gone), question())


async def test_a_stream_that_stalls_half_way_times_out(connect: Connect) -> None:
    async with ScriptedProvider([text("one two three four", chunk_chars=4, chunk_delay_s=0.6)]) as provider:
        with pytest.raises(ModelTimeout):
            await collect(connect(provider.url), question(timeout_s=1.5))


async def test_the_turns_deadline_shortens_the_call(connect: Connect) -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedProvider([slow(5)]) as provider:
        port = connect(provider.url)
        await collect_ignoring_time_out(port)  # litellm is imported now
        began = loop.time()
        late = ModelRequest((Message("user", "q"),), context(deadline=loop.time() + 0.3), timeout_s=30)
        with pytest.raises(ModelTimeout):
            await collect(port, late)
    assert loop.time() - began < 2


async def collect_ignoring_time_out(port: ModelPort) -> None:
    with pytest.raises(ModelTimeout):
        await collect(port, question(timeout_s=0.05))


async def test_a_server_error_is_asked_again_once_before_the_first_word(connect: Connect) -> None:
    async with ScriptedProvider([http_error(500), text("recovered")]) as provider:
        events = await collect(connect(provider.url, retries=1), question())
    assert said(events) == "recovered"
    assert len(provider.requests) == 2


async def test_a_rate_limit_is_reported_at_once_instead_of_waited_for(connect: Connect) -> None:
    async with ScriptedProvider([http_error(429, headers=(("retry-after", "30"),))]) as provider:
        with pytest.raises(ModelRateLimited):
            await collect(connect(provider.url, retries=1), question(timeout_s=5))
    assert len(provider.requests) == 1


async def test_after_six_failures_in_a_row_the_provider_is_left_alone(connect: Connect) -> None:
    async with ScriptedProvider([http_error(500)]) as provider:
        port = connect(provider.url)
        for _ in range(8):
            with pytest.raises(ModelUnavailable):
                await collect(port, question())
    assert len(provider.requests) == 6


async def test_a_rejected_key_stays_a_rejected_key(connect: Connect) -> None:
    async with ScriptedProvider([http_error(401)]) as provider:
        port = connect(provider.url)
        for _ in range(8):
            with pytest.raises(ModelCredentialsRejected):
                await collect(port, question())


async def test_a_call_that_is_cancelled_half_way_is_recorded_and_its_socket_closed(
    connect: Connect, records: list[UsageRecord]
) -> None:
    async with ScriptedProvider([text("word " * 400, chunk_chars=5, chunk_delay_s=0.02)]) as provider:
        begun = asyncio.Event()

        async def read() -> None:
            async with aclosing(connect(provider.url)(question())) as events:
                async for _ in events:
                    begun.set()

        reader = asyncio.create_task(read())
        await asyncio.wait_for(begun.wait(), 20)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert await provider.requests[0].client_left()

    assert [(r.outcome, r.error_code, r.usage) for r in records] == [("cancelled", None, Usage(None, None, None))]
    assert provider.requests[0].answered_chunks < 300


async def test_a_caller_that_stops_reading_closes_the_socket(connect: Connect, records: list[UsageRecord]) -> None:
    async with ScriptedProvider([text("word " * 400, chunk_chars=5, chunk_delay_s=0.02)]) as provider:
        async with aclosing(connect(provider.url)(question())) as events:
            await anext(events)
        assert await provider.requests[0].client_left()
    assert [r.outcome for r in records] == ["cancelled"]


async def test_secrets_never_reach_the_socket(connect: Connect, records: list[UsageRecord]) -> None:
    secrets = ["hunter2-Xyz!", "tr0ub4dor-and-3", "ghp_" + "a1B2" * 10, "s3cr3tpass", "MIIEvQIBADANBgkqhkiG9w0BAQEFAAS"]
    messages = (
        Message("system", f"db at postgres://app:{secrets[3]}@db:5432/app"),
        Message("user", f"my password: {secrets[0]} does not work"),
        Message("assistant", "", (ToolCall("c1", "get_logs", f'{{"grep": "token={secrets[2]}"}}'),)),
        ToolResult(
            "c1",
            "get_logs",
            f"DB_PASSWORD={secrets[1]}\n-----BEGIN PRIVATE KEY-----\n{secrets[4]}\n-----END PRIVATE KEY-----",
        ),
    )
    async with ScriptedProvider([text("noted")]) as provider:
        events = await collect(connect(provider.url), ModelRequest(messages, context()))

    for secret in secrets:
        assert secret.encode() not in provider.received_bytes
    assert provider.received_bytes.count(b"[masked:") == 5
    assert isinstance(events[0], OutgoingMasked)
    assert sum(events[0].counts.values()) == 5
    assert sum(records[0].masked.values()) == 5


async def test_a_masker_that_fails_means_no_call(connect: Connect, records: list[UsageRecord]) -> None:
    def broken(_: object) -> list[tuple[int, int]]:
        raise ValueError("a faulty rule")

    async with ScriptedProvider([text("x")]) as provider:
        with pytest.raises(MaskingFailed):
            await collect(connect(provider.url, rules=(Rule("broken", broken),)), question())
    assert provider.requests == []
    assert records[0].error_code == "masking-failed"


async def test_without_a_key_an_exported_one_does_not_go_to_a_foreign_address(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-exported-and-meant-for-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-exported")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Corporate: exported")
    async with ScriptedProvider([text("x")]) as provider:
        await collect(connect(provider.url, key=None), question())
    assert b"exported" not in provider.received_bytes
    assert provider.requests[0].headers["authorization"] == "Bearer no-key-configured"


async def test_the_configured_key_is_sent_and_in_no_repr(connect: Connect) -> None:
    async with ScriptedProvider([text("x")]) as provider:
        await collect(connect(provider.url), question())
    assert provider.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(ModelChoice("m", provider.url, KEY))


async def test_a_listed_price_is_a_cost_and_an_unlisted_one_is_none() -> None:
    listed = LitellmAdapter(ModelChoice("openai/gpt-4o"), {})
    unlisted = LitellmAdapter(ModelChoice("openai/no-such-model-here"), {})
    elsewhere = LitellmAdapter(ModelChoice("openai/gpt-4o", "http://127.0.0.1:9/v1"), {})
    for adapter in (listed, unlisted, elsewhere):
        await adapter.warm()
    import litellm

    usage = litellm.Usage(prompt_tokens=1_000_000, completion_tokens=0, total_tokens=1_000_000)
    cost = listed._cost(usage)
    assert cost is not None
    assert cost == pytest.approx(2.5, rel=0.9)
    assert unlisted._cost(usage) is None
    assert elsewhere._cost(usage) is None
    for adapter in (listed, unlisted, elsewhere):
        await adapter.aclose()


async def test_the_catalogue_speaks_litellms_names() -> None:
    adapter = LitellmAdapter(ModelChoice("openai/gpt-4o"), {})
    await adapter.warm()
    import litellm

    known = {str(getattr(name, "value", name)) for name in litellm.provider_list}
    for row in providers():
        assert {row.prefix, *row.prefixes} <= known, row.name
        assert litellm.get_llm_provider(row.example)[1] in (row.prefix, *row.prefixes), row.name
        assert provider_of(row.example) is row
    await adapter.aclose()


async def test_litellm_sends_nothing_elsewhere_and_prints_nothing(
    connect: Connect, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_LOG", "DEBUG")
    monkeypatch.setenv("OPENAI_LOG", "debug")
    async with ScriptedProvider([text("decoy")]) as decoy, ScriptedProvider([http_error(500), text("ok")]) as provider:
        monkeypatch.setenv("USE_LITELLM_PROXY", "true")
        monkeypatch.setenv("LITELLM_PROXY_API_BASE", decoy.url)
        monkeypatch.setenv("OPENAI_BASE_URL", decoy.url)
        port = connect(provider.url)
        with pytest.raises(ModelUnavailable):
            await collect(port, question("prompt-words"))
        await collect(port, question("prompt-words"))
    assert decoy.requests == []
    assert {request.path for request in provider.requests} == {"/v1/chat/completions"}
    assert {request.json["model"] for request in provider.requests} == {"scripted-model"}
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "prompt-words" not in printed.err
    assert KEY not in printed.err
