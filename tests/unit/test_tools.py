"""The read-only tools of a model: what they bring, how they answer nonsense, and what they never do."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import BaseTool

from agents.specialists.rows import SPECIALISTS
from agents.state import TurnWork
from agents.tools.lookups import MAX_EXCERPT, cut, matching_lines
from agents.tools.read_only import TOOLS, Risk, tools_for
from assistant.errors import ClusterUnreachable
from tests.support.turns import turn_over
from ui.container import DEMO_SNAPSHOT

ORCHARD = Path(__file__).parents[1] / "scenarios" / "path-orchard"
PRESS = {"kind": "Deployment", "name": "press", "namespace": "orchard"}


@pytest.fixture
async def work() -> TurnWork:
    return await turn_over(ORCHARD, "Why is press in orchard down?")


async def call(work: TurnWork, name: str, arguments: dict[str, Any]) -> str:
    """What the model reads of one call."""
    (tool,) = tools_for(work, [name])
    return str(await tool.ainvoke(arguments))


async def test_an_object_comes_as_numbered_evidence_inside_a_fence(work: TurnWork) -> None:
    before = len(work.diagnosis.all_evidence())
    said = await call(work, "get_object", PRESS)
    assert said.startswith(f'[E{before + 1}] Deployment orchard/press, summary\n<data mark="E{before + 1}">\n')
    assert said.endswith("\n</data>")
    assert "replicas: 2" in said
    assert "managedFields" not in said
    assert set(work.added) == {f"E{before + 1}"}


async def test_a_description_holds_the_object_its_events_and_its_pods(work: TurnWork) -> None:
    said = await call(work, "describe", PRESS)
    assert "Back-off restarting failed container press" in said
    assert "0/1 ready, CrashLoopBackOff, 9 restarts" in said


async def test_lists_take_selectors_and_parts_of_names(work: TurnWork) -> None:
    said = await call(work, "list_objects", {"kind": "pods", "namespace": "orchard", "label_selector": "app=press"})
    assert "2 Pod in namespace orchard" in said
    assert "stall" not in said
    assert "4 Pod in all namespaces" in await call(work, "list_objects", {"kind": "Pod", "name_contains": "press"})
    assert "no label selector" in await call(work, "list_objects", {"kind": "Pod", "label_selector": "a in (("})


async def test_logs_are_filtered_and_of_the_run_that_was_asked_for(work: TurnWork) -> None:
    said = await call(
        work, "logs", {"name": "press", "namespace": "orchard", "previous": True, "contains": "CIDER-DB", "lines": 1}
    )
    assert "(previous run)" in said
    assert "no such host" in said
    assert "starting" not in said
    nothing = await call(work, "logs", {"name": "press", "namespace": "orchard", "contains": "unicorn"})
    assert "no line contains 'unicorn'" in nothing


async def test_logs_of_a_time_window_only(work: TurnWork) -> None:
    arguments = {"name": "press", "namespace": "orchard", "since_minutes": 1}
    assert "no such host" not in await call(work, "logs", arguments)


async def test_credentials_in_what_a_tool_brings_are_masked(work: TurnWork) -> None:
    said = await call(work, "logs", {"name": "press", "namespace": "orchard"})
    said += await call(work, "describe", PRESS)
    assert "[masked:" in said
    for secret in ("Bergamot-4471", "pear.Tq8Zx0vKw2Lm5Rn7Ys9Bd1", "Zw4-quince-8812", "tok_medlar77Qx1f0Zk93"):
        assert secret not in said


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("get_object", PRESS | {"name": "pres"}, "Similar: press"),
        ("get_object", PRESS | {"namespace": "tools"}, "but there is Deployment orchard/press"),
        ("get_object", PRESS | {"kind": "Gizmo"}, "No Gizmo was read. Kinds that were:"),
        ("logs", {"name": "pres", "namespace": "orchard"}, "There is no pod"),
        ("logs", {"name": "press", "namespace": "orchard", "container": "web"}, "it has press"),
        ("search_view", {"wanted": "unicorn"}, "nothing that was read contains 'unicorn'"),
    ],
)
async def test_what_is_not_there_is_said_with_what_is(
    work: TurnWork, name: str, arguments: dict[str, Any], sentence: str
) -> None:
    assert sentence in await call(work, name, arguments)


async def test_the_search_looks_in_names_and_contents(work: TurnWork) -> None:
    assert "Deployment orchard/press" in await call(work, "search_view", {"wanted": "cider-db"})
    only = await call(work, "search_view", {"wanted": "press", "kinds": ["service"]})
    assert "Service orchard/press" in only
    assert "Deployment" not in only


async def test_a_cluster_that_fails_under_a_tool_is_said_to_the_model(
    work: TurnWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_request: object) -> None:
        raise ClusterUnreachable("The API server c cannot be reached.")

    monkeypatch.setattr(work.services.source.reader, "logs", fail)
    said = await call(work, "logs", {"name": "press", "namespace": "orchard"})
    assert said == "The cluster could not be asked: The API server c cannot be reached."


async def test_what_a_tool_brings_is_shown_on_the_stream(work: TurnWork) -> None:
    await call(work, "events", PRESS)
    await work.stream.close()
    shown = [e.evidence async for e in work.stream.follow() if e.type == "evidence"]
    assert [e.id for e in shown] == list(work.added)


def test_every_tool_reads_and_every_specialist_has_tools_that_exist() -> None:
    assert {row.risk for row in TOOLS} == {Risk.READ}
    names = {row.name for row in TOOLS}
    assert all(set(s.tools) <= names for s in SPECIALISTS.values())


async def test_all_results_are_capped() -> None:
    work = await turn_over(DEMO_SNAPSHOT, "Is anything broken?")
    tools: list[BaseTool] = tools_for(work, [row.name for row in TOOLS])
    assert len(tools) == len(TOOLS)
    said = await call(work, "list_objects", {"kind": "Pod"})
    assert len(said) < MAX_EXCERPT + 400
    assert len(cut("x" * 10_000)) < MAX_EXCERPT + 100
    assert "characters cut" in cut("x" * 10_000)
    assert matching_lines([f"line {n}" for n in range(100)], limit=10).splitlines()[0] == "… (90 earlier lines)"
