"""Foreign kinds read by convention, GitOps tools by their own words."""

from __future__ import annotations

import pytest

from agents.analyzers.custom_resources import argo_applications, conditions_by_convention, unserved_definitions
from agents.analyzers.ownership import manual_change_note
from agents.cluster.objects import K8sObject
from tests.support.views import codes_of, view_of


def resource(
    api: str,
    kind: str,
    *,
    status: str = "False",
    kind_of: str = "Ready",
    reason: str = "Failed",
    since: str = "10:00",
    spec: str = "{}",
) -> str:
    return f"""
apiVersion: {api}
kind: {kind}
metadata: {{name: web, namespace: shop}}
spec: {spec}
status:
  conditions:
  - type: {kind_of}
    status: '{status}'
    reason: {reason}
    message: it did not work
    lastTransitionTime: '2026-05-04T{since}:00Z'
"""


@pytest.mark.parametrize(
    ("api", "kind", "code"),
    [
        ("cert-manager.io/v1", "Certificate", "certificate-not-issued"),
        ("external-secrets.io/v1", "ExternalSecret", "external-secret-not-synced"),
        ("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "gitops-sync-failed"),
        ("keda.sh/v1alpha1", "ScaledObject", "scaled-object-not-ready"),
        ("databases.example.com/v1", "Cluster", "custom-resource-not-ready"),
    ],
)
def test_an_object_that_says_it_is_not_ready_is_quoted(api: str, kind: str, code: str) -> None:
    (found,) = conditions_by_convention(view_of(resource(api, kind)))
    assert found.code == code
    assert "Failed: it did not work" in found.message


@pytest.mark.parametrize(
    "document",
    [
        resource("cert-manager.io/v1", "Certificate", status="True"),
        resource("cert-manager.io/v1", "Certificate", since="11:58"),
        resource("kustomize.toolkit.fluxcd.io/v1", "Kustomization", reason="Progressing"),
        resource("kustomize.toolkit.fluxcd.io/v1", "Kustomization", spec="{suspend: true}"),
        resource("apps/v1", "Deployment", kind_of="Available"),
        resource("databases.example.com/v1", "Cluster", kind_of="Degraded"),
    ],
    ids=["ready", "just now", "in progress", "suspended", "a core kind", "not degraded"],
)
def test_ready_young_and_suspended_objects_are_silent(document: str) -> None:
    assert codes_of(conditions_by_convention, view_of(document)) == []


def test_degraded_is_bad_when_it_is_true() -> None:
    degraded = resource("databases.example.com/v1", "Cluster", kind_of="Degraded", status="True")
    assert codes_of(conditions_by_convention, view_of(degraded)) == ["custom-resource-not-ready"]


def test_a_certificate_names_the_secret_and_the_issuer() -> None:
    spec = "{secretName: web-tls, issuerRef: {kind: ClusterIssuer, name: acme}}"
    (found,) = conditions_by_convention(view_of(resource("cert-manager.io/v1", "Certificate", spec=spec)))
    assert "fill Secret web-tls by ClusterIssuer acme" in found.message
    assert {str(r) for r in found.related} == {"Secret shop/web-tls", "ClusterIssuer acme"}


def test_what_another_operators_object_made_is_not_reported_again() -> None:
    child = resource("cert-manager.io/v1", "CertificateRequest").replace(
        "namespace: shop", "namespace: shop, ownerReferences: [{kind: Certificate, name: web, controller: true}]"
    )
    view = view_of(resource("cert-manager.io/v1", "Certificate"), child)
    assert [f.object.kind for f in conditions_by_convention(view)] == ["Certificate"]


def application(status: str) -> str:
    return f"""
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: shop, namespace: argocd}}
spec: {{destination: {{namespace: shop}}}}
status: {status}
"""


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("{operationState: {phase: Failed, message: one or more objects failed to apply}}", ["gitops-sync-failed"]),
        ("{conditions: [{type: ComparisonError, message: repository not found}]}", ["gitops-sync-failed"]),
        ("{health: {status: Degraded}, resources: []}", ["gitops-application-degraded"]),
        ("{health: {status: Healthy}, sync: {status: OutOfSync}}", []),
    ],
)
def test_argo_applications(status: str, expected: list[str]) -> None:
    assert codes_of(argo_applications, view_of(application(status))) == expected
    assert codes_of(conditions_by_convention, view_of(application(status))) == []


def test_a_definition_whose_names_collide() -> None:
    def definition(status: str) -> str:
        crd = resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", kind_of="NamesAccepted", status=status)
        return crd.replace(", namespace: shop", "")

    assert codes_of(unserved_definitions, view_of(definition("False"))) == ["crd-not-established"]
    assert codes_of(unserved_definitions, view_of(definition("True"))) == []


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, "Argo CD application shop will undo"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "Flux Kustomization /apps will undo"),
        ({"annotations": {"meta.helm.sh/release-name": "shop"}}, "Helm release shop will overwrite"),
        ({}, ""),
    ],
)
def test_who_would_undo_a_change_made_by_hand(metadata: dict[str, dict[str, str]], words: str) -> None:
    note = manual_change_note(K8sObject({"kind": "Deployment", "metadata": metadata}))
    assert words in note
    assert bool(note) == bool(words)
