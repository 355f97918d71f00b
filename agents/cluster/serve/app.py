"""The routes of a served snapshot: discovery, get, list, watch, logs and access reviews; everything else is refused.

Promise: nothing can be changed (405 for every write), only loopback names are answered (a page that rebinds its name to
127.0.0.1 gets 403), and every refusal is a Kubernetes Status object. The Date header is the time of capture.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from email.utils import format_datetime
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.cluster.serve import discovery
from agents.cluster.serve.collection import get_collection, get_one, wanted_form
from agents.cluster.serve.logs import pod_log
from agents.cluster.serve.query import BadQuery, Expired
from agents.cluster.serve.replies import json_reply, status
from agents.cluster.serve.reviews import review_spec, reviewed
from agents.cluster.serve.store import Kind, SnapshotStore
from agents.cluster.snapshot import Snapshot

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_NOT_FOUND = "the server could not find the requested resource"


async def build_app(snapshot: Snapshot) -> ASGIApp:
    """The ASGI application that serves a loaded snapshot."""
    api = _Api(await SnapshotStore.of(snapshot))
    routes = [
        Route("/version", api.version),
        Route("/livez", api.healthy),
        Route("/readyz", api.healthy),
        Route("/healthz", api.healthy),
        Route("/api", api.core),
        Route("/apis", api.groups),
        Route("/apis/{group}", api.group),
        Route("/openapi/v2", api.openapi_v2),
        Route("/openapi/v3", api.openapi_v3_index),
        Route("/openapi/v3/{rest:path}", api.openapi_v3),
        Route("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", api.access_review, methods=["POST"]),
    ]
    for root in ("/api/{version}", "/apis/{group}/{version}"):
        routes += [
            Route(root, api.resources),
            Route(root + "/{plural}", _answered(api.collection)),
            Route(root + "/namespaces/{namespace}/{plural}", _answered(api.collection)),
            Route(root + "/namespaces/{namespace}/{plural}/{name}", _answered(api.one)),
            Route(root + "/{plural}/{name}", _answered(api.one)),
        ]
    routes += [
        Route("/api/v1/namespaces/{namespace}/pods/{name}/log", _answered(api.log)),
        Route("/{rest:path}", api.refuse_write, methods=["POST", "PUT", "PATCH", "DELETE"]),
        Route("/{rest:path}", api.nothing),
    ]
    return _Edge(Starlette(routes=routes), format_datetime(api.store.now, usegmt=True))


_Handler = Callable[[Request], Awaitable[Response]]


def _answered(handler: _Handler) -> _Handler:
    """Turns what a query does wrong into the Status that an API server sends."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except BadQuery as error:
            return status(400, str(error))
        except Expired:
            return status(410, "The provided continue parameter is too old. Start the list again.")

    return answer


class _Edge:
    """Around everything: the loopback names that may be asked, and the clock of the record."""

    def __init__(self, app: ASGIApp, date: str) -> None:
        self._app = app
        self._date = date.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"date", self._date)]
            await send(message)

        host = Request(scope).headers.get("host", "")
        name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
        if name.lower() not in LOOPBACK_NAMES:
            await status(403, "a snapshot is served to this machine only")(scope, receive, send_dated)
            return
        await self._app(scope, receive, send_dated)


class _Api:
    """The handlers over one store."""

    def __init__(self, store: SnapshotStore) -> None:
        self.store = store

    async def version(self, request: Request) -> Response:
        git_version = self.store.version
        numbers = [*git_version.removeprefix("v").split("."), "", ""]
        return json_reply({"major": numbers[0], "minor": numbers[1], "gitVersion": git_version, "platform": "snapshot"})

    async def healthy(self, request: Request) -> Response:
        return Response("ok", media_type="text/plain")

    async def core(self, request: Request) -> Response:
        return self._discovery(request, core=True, legacy=discovery.core_versions())

    async def groups(self, request: Request) -> Response:
        return self._discovery(request, core=False, legacy=discovery.group_list(self.store))

    def _discovery(self, request: Request, *, core: bool, legacy: Mapping[str, Any]) -> Response:
        accept = request.headers.get("accept", "")
        for part in accept.split(","):
            fields = {field.strip() for field in part.split(";")}
            for version in ("v2", "v2beta1"):
                if {"g=apidiscovery.k8s.io", f"v={version}", "as=APIGroupDiscoveryList"} <= fields:
                    body = orjson.dumps(discovery.aggregated(self.store, core=core, version=version))
                    kind = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                    return Response(body, headers={"Content-Type": kind, "Vary": "Accept"})
        return json_reply(legacy)

    async def group(self, request: Request) -> Response:
        name = request.path_params["group"]
        if not discovery.has_group(self.store, name):
            return status(404, _NOT_FOUND)
        return json_reply(discovery.group(self.store, name))

    async def resources(self, request: Request) -> Response:
        group, version = request.path_params.get("group", ""), request.path_params["version"]
        served = discovery.has_group(self.store, group, version) if group else version == "v1"
        if not served:
            return status(404, _NOT_FOUND)
        return json_reply(discovery.resource_list(self.store, group, version))

    async def openapi_v2(self, request: Request) -> Response:
        if "json" not in request.headers.get("accept", "json"):
            body = discovery.openapi_v2_protobuf(self.store)
            return Response(body, media_type="application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
        return json_reply(discovery.openapi_v2(self.store))

    async def openapi_v3_index(self, request: Request) -> Response:
        return json_reply(discovery.openapi_v3_index(self.store))

    async def openapi_v3(self, request: Request) -> Response:
        return json_reply(discovery.openapi_v3(self.store))

    async def collection(self, request: Request) -> Response:
        kind = self._kind(request)
        form = wanted_form(request.headers.get("accept", ""))
        if kind is None:
            return status(404, _NOT_FOUND)
        if form is None:
            return status(406, "only JSON is served")
        namespace = request.path_params.get("namespace", "")
        return get_collection(self.store, kind, namespace, form, request.query_params)

    async def one(self, request: Request) -> Response:
        kind = self._kind(request)
        form = wanted_form(request.headers.get("accept", ""))
        if kind is None:
            return status(404, _NOT_FOUND)
        if form is None:
            return status(406, "only JSON is served")
        where = (request.path_params.get("namespace", ""), request.path_params["name"])
        return get_one(self.store, kind, where, form, request.query_params)

    async def log(self, request: Request) -> Response:
        where = request.path_params
        return await pod_log(self.store, where["namespace"], where["name"], request.query_params)

    async def access_review(self, request: Request) -> Response:
        try:
            spec = review_spec(await request.body())
        except ValueError:
            return status(400, "the review cannot be read")
        return json_reply(reviewed(self.store, spec), 201)

    async def refuse_write(self, request: Request) -> Response:
        return status(405, "a snapshot is read-only")

    async def nothing(self, request: Request) -> Response:
        return status(404, _NOT_FOUND)

    def _kind(self, request: Request) -> Kind | None:
        where = request.path_params
        return self.store.kind(where.get("group", ""), where["version"], where["plural"])
