"""Monitors of the Prometheus operator: ports, selectors, credentials, times."""

from __future__ import annotations

import pytest

from agents.analyzers.service_monitors import monitor_settings, pod_monitors, seconds, service_monitors
from tests.support.views import codes_of, view_of

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: metrics, port: 9102, targetPort: metrics}]
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web, tier: front}}
spec: {containers: [{name: app, ports: [{name: http, containerPort: 8080}, {name: metrics, containerPort: 9102}]}]}
status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}
"""


def monitor(endpoint: str = "port: metrics", selector: str = "app: web", ns: str = "shop", more: str = "") -> str:
    return f"""
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {{name: web, namespace: {ns}}}
spec: {{selector: {{matchLabels: {{{selector}}}}}, endpoints: [{{{endpoint}}}] {more}}}
"""


def pod_monitor(port: str = "metrics", selector: str = "app: web") -> str:
    return f"""
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {{name: web, namespace: shop}}
spec: {{selector: {{matchLabels: {{{selector}}}}}, podMetricsEndpoints: [{{port: {port}}}]}}
"""


def test_a_port_name_that_the_service_lacks_is_shown_beside_the_ones_it_has() -> None:
    (found,) = service_monitors(view_of(SERVICE, POD, monitor("port: http-metrics")))
    assert (found.code, found.severity, found.object.kind) == ("servicemonitor-port-missing", "error", "ServiceMonitor")
    assert "http-metrics" in found.message
    assert "http=80, metrics=9102" in found.message
    assert "Set it to metrics" in found.remedy


@pytest.mark.parametrize("endpoint", ["port: metrics", "targetPort: metrics", "targetPort: 9999"])
def test_ports_that_lead_somewhere_are_silent(endpoint: str) -> None:
    assert codes_of(service_monitors, view_of(SERVICE, POD, monitor(endpoint))) == []


def test_labels_that_only_the_pods_have() -> None:
    (found,) = service_monitors(view_of(SERVICE, POD, monitor(selector="tier: front, app: web")))
    assert found.code == "servicemonitor-selects-nothing"
    assert "nearest is Service web (tier: selector front, Service does not have it)" in found.message
    assert "Its pods have these labels" in found.message


def test_a_service_in_a_namespace_that_is_not_looked_at() -> None:
    (found,) = service_monitors(view_of(SERVICE, monitor(ns="metrics-team")))
    assert "namespace shop has these labels, but the namespaceSelector does not reach it" in found.message
    reached = monitor(ns="metrics-team", more=", namespaceSelector: {matchNames: [shop]}")
    assert codes_of(service_monitors, view_of(SERVICE, reached)) == []


def test_monitors_that_a_chart_ships_for_parts_that_are_not_there_are_an_info() -> None:
    shipped = monitor(ns="monitoring", selector="k8s-app: kube-scheduler")
    assert [f.severity for f in service_monitors(view_of(shipped))] == ["info"]
    asked = view_of(shipped, focus=frozenset({"monitoring"}))
    assert [f.severity for f in service_monitors(asked)] == ["error"]


def test_services_that_were_not_listed_are_not_missing() -> None:
    assert codes_of(service_monitors, view_of(monitor(), listed=frozenset())) == []


def test_a_pod_monitors_port_and_selector() -> None:
    assert codes_of(pod_monitors, view_of(POD, pod_monitor("web-metrics"))) == ["podmonitor-port-missing"]
    assert codes_of(pod_monitors, view_of(POD, pod_monitor(selector="app: shop"))) == ["podmonitor-selects-nothing"]
    assert codes_of(pod_monitors, view_of(POD, pod_monitor())) == []


def test_a_pod_monitor_of_a_workload_at_rest_is_silent() -> None:
    resting = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {replicas: 0, template: {metadata: {labels: {app: web}}}}
"""
    assert codes_of(pod_monitors, view_of(resting, pod_monitor())) == []


SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: scrape-auth, namespace: shop}
data: {password: eA==}
"""


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("{name: scrape-auth, key: password}", []),
        ("{name: scrape-auth, key: token}", ["monitor-secret-missing"]),
        ("{name: scrape-oauth, key: password}", ["monitor-secret-missing"]),
    ],
)
def test_credentials_of_a_scrape(reference: str, expected: list[str]) -> None:
    view = view_of(SERVICE, SECRET, monitor(f"port: metrics, basicAuth: {{password: {reference}}}"))
    assert codes_of(monitor_settings, view) == expected


def test_a_timeout_longer_than_the_interval() -> None:
    slow = monitor("port: metrics, interval: 15s, scrapeTimeout: 1m")
    fine = monitor("port: metrics, interval: 1m, scrapeTimeout: 15s")
    assert codes_of(monitor_settings, view_of(SERVICE, slow)) == ["monitor-timeout-above-interval"]
    assert codes_of(monitor_settings, view_of(SERVICE, fine)) == []


def test_durations() -> None:
    assert (seconds("1m30s"), seconds("500ms"), seconds("2h"), seconds("soon")) == (90.0, 0.5, 7200.0, None)
