"""The graph of a turn: scope → examine → route → specialists (at the same time) → close.

LangGraph carries the order and the fan-out; the steps themselves are in `agents.supervisor`. The state holds ids and
masked text only; the working memory travels as the graph's context and is never checkpointed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from agents import supervisor
from agents.evidence import Domain
from agents.state import STATE_SCHEMA, TurnState, TurnWork


@dataclass(slots=True)
class TurnRun:
    """The graph's context: the working memory, and the floor once it is known who speaks."""

    work: TurnWork
    floor: list[supervisor.Floor] = field(default_factory=list)


class _Consulted(TurnState, total=False):
    domain: str


async def _scope(state: TurnState, runtime: Runtime[TurnRun]) -> TurnState:
    await supervisor.find_scope(runtime.context.work)
    return {"schema": STATE_SCHEMA}


async def _examine(state: TurnState, runtime: Runtime[TurnRun]) -> TurnState:
    await supervisor.examine(runtime.context.work)
    return {}


async def _route(state: TurnState, runtime: Runtime[TurnRun]) -> TurnState:
    work = runtime.context.work
    domains = await supervisor.choose(work)
    await supervisor.open_answer(work)
    runtime.context.floor.append(supervisor.Floor(work, domains))
    return {"domains": [d.value for d in domains]}


def _fan_out(state: TurnState) -> list[Send]:
    return [Send("specialist", {"domain": domain}) for domain in state["domains"]]


async def _specialist(state: _Consulted, runtime: Runtime[TurnRun]) -> TurnState:
    run = runtime.context
    return {"parts": [await supervisor.speak(run.work, run.floor[-1], Domain(state["domain"]))]}


async def _close(state: TurnState, runtime: Runtime[TurnRun]) -> TurnState:
    await supervisor.close_answer(runtime.context.work, state.get("parts", []))
    return {}


@cache
def turn_graph() -> Any:
    """The compiled graph; it has no state of its own and is shared by all turns."""
    builder: StateGraph[TurnState, TurnRun] = StateGraph(TurnState, context_schema=TurnRun)
    builder.add_node("scope", _scope)
    builder.add_node("examine", _examine)
    builder.add_node("route", _route)
    builder.add_node("specialist", _specialist)
    builder.add_node("close", _close)
    builder.add_edge(START, "scope")
    builder.add_edge("scope", "examine")
    builder.add_edge("examine", "route")
    builder.add_conditional_edges("route", _fan_out, ["specialist"])
    builder.add_edge("specialist", "close")
    builder.add_edge("close", END)
    return builder.compile()


async def run_turn(work: TurnWork) -> TurnState:
    """Runs one turn to its end; the stream has the answer. Raises KubeChatError."""
    initial: TurnState = {
        "schema": STATE_SCHEMA,
        "turn_id": work.stream.turn_id,
        "question": work.question,
        "parts": [],
    }
    final: TurnState = await turn_graph().ainvoke(initial, context=TurnRun(work))
    return final
