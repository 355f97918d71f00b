"""The discovery documents of a served snapshot: legacy, aggregated, and an OpenAPI that describes no fields."""

from __future__ import annotations

from typing import Any

from agents.cluster.serve.store import Kind, SnapshotStore

_ACCESS_REVIEW = ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")


def core_versions() -> dict[str, Any]:
    """`/api`, as it was before aggregated discovery."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(store: SnapshotStore) -> dict[str, Any]:
    """`/apis`, as it was before aggregated discovery."""
    groups = [group(store, name) for name in _named_groups(store)]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(store: SnapshotStore, name: str) -> dict[str, Any]:
    """`/apis/GROUP`."""
    versions = [{"groupVersion": f"{name}/{v}", "version": v} for v in _versions(store, name)]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": versions,
        "preferredVersion": versions[0],
    }


def has_group(store: SnapshotStore, name: str, version: str = "") -> bool:
    """Whether a group (in a version) is served."""
    return name in _named_groups(store) and (not version or version in _versions(store, name))


def resource_list(store: SnapshotStore, group_name: str, version: str) -> dict[str, Any]:
    """`/api/v1` and `/apis/GROUP/VERSION`."""
    resources: list[dict[str, Any]] = []
    for kind in store.kinds_of(group_name, version):
        resources.append(_resource(kind))
        if _has_logs(kind):
            resources.append(
                {"name": "pods/log", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get"]}
            )
    if (group_name, version) == _ACCESS_REVIEW[:2]:
        resources.append(
            {
                "name": _ACCESS_REVIEW[2],
                "singularName": "",
                "namespaced": False,
                "kind": _ACCESS_REVIEW[3],
                "verbs": ["create"],
            }
        )
    name = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}


def aggregated(store: SnapshotStore, *, core: bool, version: str) -> dict[str, Any]:
    """`/api` (core) or `/apis` as an APIGroupDiscoveryList of apidiscovery.k8s.io/`version`."""
    names = [""] if core else _named_groups(store)
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None},
            "versions": [_aggregated_version(store, name, v) for v in _versions(store, name)],
        }
        for name in names
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def openapi_v2(store: SnapshotStore) -> dict[str, Any]:
    """`/openapi/v2`: valid, and without a schema for any kind; a client that wants to validate has nothing to check."""
    info = {"title": "Kubernetes", "version": store.version}
    return {"swagger": "2.0", "info": info, "paths": {}, "definitions": {}}


def openapi_v2_protobuf(store: SnapshotStore) -> bytes:
    """`/openapi/v2` in the only form that kubectl takes: the fields `swagger`, `info` and `paths` of its Document."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content  # each is far shorter than 128 bytes

    info = field(1, b"Kubernetes") + field(2, store.version.encode()[:64])
    return field(1, b"2.0") + field(2, info) + field(8, b"")


def openapi_v3_index(store: SnapshotStore) -> dict[str, Any]:
    """`/openapi/v3`: where the documents of each group are."""
    paths = ["api/v1"] + [f"apis/{g}/{v}" for g in _named_groups(store) for v in _versions(store, g)]
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash=0"} for path in paths}}


def openapi_v3(store: SnapshotStore) -> dict[str, Any]:
    """`/openapi/v3/…`: valid, and without a schema for any kind."""
    info = {"title": "Kubernetes", "version": store.version}
    return {"openapi": "3.0.0", "info": info, "paths": {}, "components": {"schemas": {}}}


def _named_groups(store: SnapshotStore) -> list[str]:
    return sorted({*(name for name in store.groups if name), _ACCESS_REVIEW[0]})


def _versions(store: SnapshotStore, name: str) -> list[str]:
    return store.groups.get(name) or [_ACCESS_REVIEW[1]]


def _has_logs(kind: Kind) -> bool:
    return (kind.resource.group, kind.resource.plural) == ("", "pods")


def _resource(kind: Kind) -> dict[str, Any]:
    resource = kind.resource
    described: dict[str, Any] = {
        "name": resource.plural,
        "singularName": kind.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": kind.verbs,
    }
    if kind.short_names:
        described["shortNames"] = kind.short_names
    if kind.categories:
        described["categories"] = kind.categories
    return described


def _aggregated_version(store: SnapshotStore, name: str, version: str) -> dict[str, Any]:
    resources = []
    for kind in store.kinds_of(name, version):
        described: dict[str, Any] = {
            "resource": kind.resource.plural,
            "responseKind": {"group": name, "version": version, "kind": kind.resource.kind},
            "scope": "Namespaced" if kind.resource.namespaced else "Cluster",
            "singularResource": kind.singular,
            "verbs": kind.verbs,
        }
        if kind.short_names:
            described["shortNames"] = kind.short_names
        if kind.categories:
            described["categories"] = kind.categories
        if _has_logs(kind):
            log_kind = {"group": "", "version": "v1", "kind": "Pod"}
            described["subresources"] = [{"subresource": "log", "responseKind": log_kind, "verbs": ["get"]}]
        resources.append(described)
    if (name, version) == _ACCESS_REVIEW[:2]:
        kind_of = {"group": name, "version": version, "kind": _ACCESS_REVIEW[3]}
        resources.append(
            {
                "resource": _ACCESS_REVIEW[2],
                "responseKind": kind_of,
                "scope": "Cluster",
                "singularResource": "",
                "verbs": ["create"],
            }
        )
    return {"version": version, "resources": resources, "freshness": "Current"}
