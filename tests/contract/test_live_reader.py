"""The live reader against API servers that page, refuse, expire, stall and lie: outcomes, not exceptions."""

import asyncio
import datetime
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from agents.cluster.reader import LogRequest
from tests.support.api_servers import PODS, Handler, api_of
from tests.support.snapshots import ServedApp, live_reader

# -- lists and logs: outcomes, not exceptions -----------------------------------------------------------------------


def pod_page(count: int, start: int = 0, token: str = "") -> dict[str, Any]:
    items = [{"metadata": {"name": f"p{start + i}", "managedFields": [{"manager": "m"}]}} for i in range(count)]
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {"continue": token}, "items": items}


async def listed(handler: Handler, **options: Any) -> Any:
    with ServedApp(api_of(handler)) as server:
        reader = live_reader(server.url, **options)
        try:
            return await reader.list_objects(PODS)
        finally:
            await reader.aclose()


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (403, "forbidden", "listing pods is not permitted"),
        (404, "absent", "no longer serves pods"),
        (500, "failed", "could not list pods"),
        (504, "timed-out", "listing pods took too long"),
    ],
)
async def test_a_list_that_is_refused_is_an_outcome_in_our_own_words(code: int, reason: str, words: str) -> None:
    async def refuse(_: Request) -> Response:
        return JSONResponse({"kind": "Status", "message": "user jane, token abc"}, code)

    listing = await listed(refuse)
    assert listing.items == ()
    assert listing.missing.reason == reason
    assert words in listing.missing.detail
    assert "jane" not in listing.missing.detail


async def test_items_of_a_list_get_their_kind_and_lose_their_managed_fields() -> None:
    async def pages(_: Request) -> Response:
        return JSONResponse(pod_page(1))

    listing = await listed(pages)
    assert listing.items == ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p0"}},)
    assert listing.missing is None


async def test_a_list_that_expires_half_way_is_read_once_more_from_its_start() -> None:
    asked: list[str] = []

    async def expire_once(request: Request) -> Response:
        token = request.query_params.get("continue", "")
        asked.append(token)
        if token and len(asked) == 2:
            return JSONResponse({"kind": "Status", "reason": "Expired"}, 410)
        return JSONResponse(pod_page(2, 2) if token else pod_page(2, 0, "next"))

    listing = await listed(expire_once)
    assert [o["metadata"]["name"] for o in listing.items] == ["p0", "p1", "p2", "p3"]
    assert listing.missing is None
    assert asked == ["", "next", "", "next"]


async def test_a_list_that_keeps_expiring_is_given_as_far_as_it_came() -> None:
    async def always(request: Request) -> Response:
        if request.query_params.get("continue"):
            return JSONResponse({"kind": "Status"}, 410)
        return JSONResponse(pod_page(2, 0, "next"))

    listing = await listed(always)
    assert len(listing.items) == 2
    assert listing.missing.reason == "failed"


async def test_a_list_is_capped_and_says_so() -> None:
    async def endless(request: Request) -> Response:
        return JSONResponse(pod_page(40, 0, "more"))

    listing = await listed(endless, max_objects=100)
    assert len(listing.items) == 100
    assert (listing.missing.reason, listing.missing.detail) == ("capped", "only the first 100 pods were read")


async def test_a_slow_list_gives_what_came_in_time() -> None:
    async def slow(request: Request) -> Response:
        if request.query_params.get("continue"):
            await asyncio.sleep(5)
        return JSONResponse(pod_page(3, 0, "more"))

    listing = await listed(slow, list_timeout_s=0.5)
    assert len(listing.items) == 3
    assert listing.missing.reason == "timed-out"


async def test_a_busy_server_is_asked_again_after_the_time_it_names() -> None:
    answers = [429, 429, 200]

    async def busy(_: Request) -> Response:
        code = answers.pop(0)
        return JSONResponse(pod_page(1) if code == 200 else {}, code, headers={"Retry-After": "0"})

    assert len((await listed(busy)).items) == 1
    assert answers == []


async def test_where_the_whole_cluster_is_forbidden_the_named_namespaces_are_listed() -> None:
    async def only_shop(request: Request) -> Response:
        if "/namespaces/shop/" in request.url.path:
            return JSONResponse(pod_page(2))
        return JSONResponse({"kind": "Status"}, 403)

    listing = await listed(only_shop, namespaces=("shop", "vault"))
    assert len(listing.items) == 2
    assert listing.missing.reason == "forbidden"
    assert listing.complete_in == {"shop"}


@pytest.mark.parametrize(("code", "reason"), [(400, "absent"), (404, "absent"), (403, "forbidden"), (500, "failed")])
async def test_a_log_that_cannot_be_read_is_an_outcome(code: int, reason: str) -> None:
    async def refuse(_: Request) -> Response:
        return JSONResponse({"message": "Get https://10.1.2.3:10250/…: token abc"}, code)

    with ServedApp(api_of(refuse)) as server:
        reader = live_reader(server.url)
        found = await reader.logs(LogRequest("a", "b", "c", previous=True))
        await reader.aclose()
    assert found.lines == ()
    assert found.missing is not None
    assert found.missing.reason == reason
    assert "10.1.2.3" not in found.missing.detail


async def test_a_log_request_carries_its_window_and_escapes_names() -> None:
    asked: list[str] = []

    async def record(request: Request) -> Response:
        asked.append(f"{request.scope['raw_path'].decode()}?{request.url.query}")
        return PlainTextResponse("a\nb")

    since = datetime.datetime(2026, 3, 2, 10, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    with ServedApp(api_of(record)) as server:
        reader = live_reader(server.url)
        found = await reader.logs(LogRequest("n", "../../secrets", "c", previous=True, tail=5, since=since))
        await reader.aclose()
    assert found.lines == ("a", "b")
    assert asked == [
        "/api/v1/namespaces/n/pods/..%2F..%2Fsecrets/log?container=c&tailLines=5&previous=true&sinceTime=2026-03-02T09:00:00Z"
    ]


# -- discovery ------------------------------------------------------------------------------------------------------


async def test_a_group_whose_server_is_down_is_a_problem_and_the_others_are_found() -> None:
    documents: dict[str, Any] = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {
            "kind": "APIGroupList",
            "groups": [
                {
                    "name": "autoscaling",
                    "versions": [{"groupVersion": "autoscaling/v1"}, {"groupVersion": "autoscaling/v2"}],
                    "preferredVersion": {"groupVersion": "autoscaling/v1"},
                },
                {"name": "metrics.k8s.io", "versions": [{"groupVersion": "metrics.k8s.io/v1beta1"}]},
            ],
        },
        "/api/v1": {
            "resources": [
                {"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["get", "list"]},
                {"name": "pods/log", "kind": "Pod", "namespaced": True, "verbs": ["get"]},
                {"name": "bindings", "kind": "Binding", "namespaced": True, "verbs": ["create"]},
            ]
        },
    }
    autoscalers = [{"name": "horizontalpodautoscalers", "kind": "HorizontalPodAutoscaler", "verbs": ["list"]}]
    documents["/apis/autoscaling/v1"] = documents["/apis/autoscaling/v2"] = {"resources": autoscalers}

    async def old_server(request: Request) -> Response:
        document = documents.get(request.url.path)
        return JSONResponse(document) if document else JSONResponse({"kind": "Status"}, 503)

    with ServedApp(api_of(old_server)) as server:
        reader = live_reader(server.url)
        resources, (problem, *_) = await reader.resources(), await reader.problems()
        await reader.aclose()
    assert [(r.kind, r.version) for r in resources] == [("Pod", "v1"), ("HorizontalPodAutoscaler", "v2")]
    assert problem[0] == "metrics.k8s.io/v1beta1"
    assert problem[1].reason == "failed"
