"""Wide readings are shared: one for questions that come close together, none kept that failed, two at once at most."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from agents.cluster.reader import Listing, LogRequest, LogText, Missing, ResourceType
from agents.cluster.source import ViewSource
from agents.evidence import ClusterIdentity
from assistant.errors import ClusterUnreachable
from tests.support.snapshots import BAKERY, live_reader, served

PODS = ResourceType("", "v1", "Pod", "pods", True)


class Cluster:
    """A cluster at the edge that counts how often, and how often at once, it was read."""

    def __init__(self, pods: Sequence[Mapping[str, Any]] = (), *, failures: int = 0) -> None:
        self.readings = self.logs_read = self.now_reading = self.most_at_once = 0
        self.closed = False
        self._pods = pods
        self._failures = failures

    async def identity(self) -> ClusterIdentity:
        return ClusterIdentity(id="c", name="c")

    async def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    async def resources(self) -> tuple[ResourceType, ...]:
        return (PODS,)

    async def list_objects(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Listing:
        self.readings += 1
        await asyncio.sleep(0.02)
        if self._failures:
            self._failures -= 1
            raise ClusterUnreachable("The API server c cannot be reached.")
        return Listing(self._pods)

    async def get_object(self, resource: ResourceType, namespace: str, name: str) -> None:
        return None

    async def logs(self, request: LogRequest) -> LogText:
        self.logs_read += 1
        self.now_reading += 1
        self.most_at_once = max(self.most_at_once, self.now_reading)
        await asyncio.sleep(0.02)
        self.now_reading -= 1
        return LogText(("a line",))

    async def problems(self) -> tuple[tuple[str, Missing], ...]:
        return ()

    async def aclose(self) -> None:
        self.closed = True


def _unwell(name: str) -> dict[str, Any]:
    status = {"name": "web", "state": {"running": {}}, "ready": False}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": name},
        "spec": {"containers": [{"name": "web"}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }


async def test_two_questions_close_together_cost_one_reading() -> None:
    cluster = Cluster([_unwell("a")])
    source = ViewSource(cluster)
    first = await source.view()
    second = await source.view()
    assert (cluster.readings, cluster.logs_read) == (1, 1)
    assert second is first


async def test_questions_at_the_same_time_wait_for_the_same_reading() -> None:
    cluster = Cluster()
    source = ViewSource(cluster)
    await asyncio.gather(*(source.inventory() for _ in range(5)))
    assert cluster.readings == 1


async def test_a_question_about_other_namespaces_reads_logs_again_but_not_the_objects() -> None:
    cluster = Cluster([_unwell("a")])
    source = ViewSource(cluster)
    await source.view()
    view = await source.view(frozenset({"a"}))
    assert (cluster.readings, cluster.logs_read) == (1, 2)
    assert view.focus == {"a"}


async def test_a_reading_that_is_too_old_is_made_again() -> None:
    cluster = Cluster()
    source = ViewSource(cluster, reuse_seconds=0.05)
    first = await source.view()
    await asyncio.sleep(0.1)
    second = await source.view()
    assert cluster.readings == 2
    assert second is not first


async def test_a_failing_reading_is_not_kept() -> None:
    cluster = Cluster(failures=1)
    source = ViewSource(cluster)
    outcomes = await asyncio.gather(*(source.inventory() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(o, ClusterUnreachable) for o in outcomes)
    await source.inventory()
    assert cluster.readings == 2


async def test_who_gives_up_does_not_stop_the_reading_that_others_wait_for() -> None:
    cluster = Cluster()
    source = ViewSource(cluster)
    hasty = asyncio.create_task(source.inventory())
    patient = asyncio.create_task(source.inventory())
    await asyncio.sleep(0.005)
    hasty.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hasty
    assert (await patient).objects == ()
    assert cluster.readings == 1


async def test_at_most_two_readings_are_under_way() -> None:
    cluster = Cluster([_unwell(f"n{i}") for i in range(1)])
    source = ViewSource(cluster, parallel=2)
    await asyncio.gather(*(source.view(frozenset({f"other-{i}"})) for i in range(8)))
    assert cluster.logs_read == 8
    assert cluster.most_at_once == 2


async def test_closing_ends_a_reading_under_way_and_closes_the_reader() -> None:
    cluster = Cluster()
    source = ViewSource(cluster)
    reading = asyncio.create_task(source.inventory())
    await asyncio.sleep(0.005)
    await source.aclose()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert cluster.closed


async def test_a_live_cluster_is_listed_once_for_two_questions() -> None:
    with served(BAKERY) as server:
        source = ViewSource(live_reader(server.url))
        first = await source.view()
    second = await source.view()  # the server is gone, the reading is not
    await source.aclose()
    assert second is first
    assert len(first)
