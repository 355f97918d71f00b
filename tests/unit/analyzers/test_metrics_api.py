"""Metrics APIs: unavailable, without a backend, not registered; metrics-server and the kubelets' certificates."""

from __future__ import annotations

import pytest

from agents.analyzers.metrics_api import api_services, kubelet_certificates, metrics_api_missing
from tests.support.views import codes_of, view_of

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: metrics-server, namespace: kube-system}\n"


def api(status: str = "False", group: str = "metrics.k8s.io") -> str:
    return f"""
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: v1beta1.{group}}}
spec: {{group: {group}, service: {{name: metrics-server, namespace: kube-system}}}}
status: {{conditions: [{{type: Available, status: '{status}', reason: MissingEndpoints, message: no endpoints}}]}}
"""


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ((api(), SERVICE), ["metrics-api-unavailable"]),
        ((api(group="packages.example.com"), SERVICE), []),
        ((api(),), ["api-service-backend-missing"]),
        ((api("True"), SERVICE), []),
    ],
)
def test_registrations_that_do_not_answer(documents: tuple[str, ...], expected: list[str]) -> None:
    assert codes_of(api_services, view_of(*documents)) == expected


HPA = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: shop}
status: {conditions: [{type: ScalingActive, status: 'False', reason: FailedGetResourceMetric, message: not found}]}
"""


def test_autoscalers_in_a_cluster_without_a_metrics_api() -> None:
    assert codes_of(metrics_api_missing, view_of(HPA)) == ["metrics-api-missing"]
    assert codes_of(metrics_api_missing, view_of(HPA, api())) == []
    assert codes_of(metrics_api_missing, view_of(HPA, listed=frozenset())) == []


def server(ready: str) -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: metrics-server-1, namespace: kube-system}}
spec: {{containers: [{{name: metrics-server, args: [--cert-dir=/tmp]}}]}}
status: {{phase: Running, conditions: [{{type: Ready, status: '{ready}'}}]}}
"""


def test_a_metrics_server_that_does_not_trust_the_kubelets() -> None:
    line = (
        'E scraper.go:149] "Failed to scrape node" err="Get https://10.0.0.4:10250/: x509: cannot validate certificate"'
    )
    logs: dict[tuple[str, str, str] | tuple[str, str, str, bool], str] = {
        ("kube-system", "metrics-server-1", "metrics-server"): line
    }
    assert codes_of(kubelet_certificates, view_of(server("False"), logs=logs)) == ["metrics-server-kubelet-tls"]
    assert codes_of(kubelet_certificates, view_of(server("True"), logs=logs)) == []
