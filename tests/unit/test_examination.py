"""From a view to a diagnosis that may be shown: masked throughout, and alike in a thread and in line."""

from pathlib import Path

import pytest

from agents import examination
from agents.analyzers import registry
from agents.cluster.snapshot import SnapshotReader, load_snapshot
from agents.cluster.source import ViewSource
from agents.cluster.view import ClusterView
from agents.diagnosis import Attention
from agents.examination import analyse, analyse_aside, examine
from assistant.errors import NamespaceNotFound
from tests.support.turns import mask

ORCHARD = Path(__file__).parents[1] / "scenarios" / "path-orchard"


def _source() -> ViewSource:
    return ViewSource(SnapshotReader(load_snapshot(ORCHARD)))


async def test_every_text_of_a_diagnosis_is_masked() -> None:
    raw = (await examine(_source(), Attention(), lambda text: text)).diagnosis
    masked = (await examine(_source(), Attention(), lambda text: "#" * len(text))).diagnosis
    assert raw.root_causes
    for cause in masked.root_causes:
        texts = [cause.cause, cause.remedy, *(e.excerpt for e in cause.evidence)]
        assert set("".join(texts)) == {"#"}
    for finding in masked.findings:
        texts = [finding.message, finding.remedy, *(e.excerpt for e in finding.evidence)]
        assert set("".join(texts)) == {"#"}
    assert [f.id for f in masked.findings] == [f.id for f in raw.findings]


async def test_credentials_of_the_cluster_stand_in_no_diagnosis() -> None:
    found = await examine(_source(), Attention(frozenset({"orchard"})), mask)
    said = found.diagnosis.model_dump_json()
    for secret in ("Bergamot-4471", "pear.Tq8Zx0vKw2Lm5Rn7Ys9Bd1", "Zw4-quince-8812", "tok_medlar77Qx1f0Zk93"):
        assert secret not in said


async def test_a_namespace_that_is_not_there_is_refused_with_similar_names() -> None:
    with pytest.raises(NamespaceNotFound, match="There is no namespace orchad in snapshot orchard"):
        await examine(_source(), Attention(frozenset({"orchad"})), mask)


async def test_a_large_view_is_analysed_aside_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    view = await _source().view()
    again = await _source().view()
    monkeypatch.setattr(examination, "_IN_LINE_OBJECTS", 0)
    assert await analyse_aside(again, Attention(), mask) == analyse(view, Attention(), mask)


async def test_one_view_is_analysed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[ClusterView] = []

    def run(view: ClusterView) -> object:
        runs.append(view)
        return [], []

    monkeypatch.setattr(registry, "run", run)
    source = _source()
    first = await examine(source, Attention(), mask)
    second = await examine(source, Attention(objects=()), mask)
    assert second.view is first.view
    assert runs == [first.view]
