"""Image tags, network policies, consoles: reported where they are a choice, not where they are the custom."""

from __future__ import annotations

import pytest

from agents.analyzers.namespace_policies import exposed_consoles, mutable_tags, unfenced_namespaces
from tests.support.views import codes_of, view_of


def workload(image: str, kind: str = "Deployment") -> str:
    return f"""
apiVersion: apps/v1
kind: {kind}
metadata: {{name: web, namespace: shop}}
spec: {{template: {{spec: {{containers: [{{name: app, image: '{image}'}}]}}}}}}
"""


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("shop/web:latest", ["mutable-image-tag"]),
        ("registry.example:5000/shop/web", ["mutable-image-tag"]),
        ("shop/web:1.2.3", []),
        ("shop/web@sha256:abc", []),
    ],
)
def test_tags_that_move(image: str, expected: list[str]) -> None:
    assert codes_of(mutable_tags, view_of(workload(image))) == expected


def pods(*namespaces: str) -> str:
    return "---".join(
        f"\napiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: {ns}}}\nspec: {{}}\n" for ns in namespaces
    )


def policies(*namespaces: str) -> str:
    return "---".join(
        f"\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: {ns}}}\nspec: {{}}\n"
        for ns in namespaces
    )


def test_an_open_namespace_counts_where_most_are_fenced() -> None:
    (found,) = unfenced_namespaces(view_of(pods("a", "b", "c"), policies("a", "b")))
    assert (found.code, found.severity, str(found.object)) == (
        "namespace-without-network-policy",
        "info",
        "Namespace c",
    )
    assert codes_of(unfenced_namespaces, view_of(pods("a", "b", "c"), policies("a"))) == []
    assert codes_of(unfenced_namespaces, view_of(pods("a", "b", "c"))) == []


def service(kind: str = "LoadBalancer", port: int = 5432, more: str = "", annotations: str = "{}") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: db, namespace: shop, annotations: {annotations}}}
spec: {{type: {kind}, selector: {{app: db}}, ports: [{{port: {port}}}] {more}}}
"""


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (service(), ["datastore-or-console-exposed"]),
        (service("NodePort", 27017), ["datastore-or-console-exposed"]),
        (service("ClusterIP"), []),
        (service(port=443), []),
        (service(more=", loadBalancerSourceRanges: [10.0.0.0/8]"), []),
        (service(annotations="{service.beta.kubernetes.io/aws-load-balancer-internal: 'true'}"), []),
    ],
)
def test_data_stores_on_the_outside(document: str, expected: list[str]) -> None:
    assert codes_of(exposed_consoles, view_of(document)) == expected


def test_a_console_is_known_by_its_image() -> None:
    pod = """
apiVersion: v1
kind: Pod
metadata: {name: db-1, namespace: shop, labels: {app: db}}
spec: {containers: [{name: ui, image: 'dpage/pgadmin4:8'}]}
"""
    (found,) = exposed_consoles(view_of(service(port=80), pod))
    assert "publishes pgAdmin" in found.message
