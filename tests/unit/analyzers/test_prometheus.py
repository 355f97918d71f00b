"""Prometheus: what it picks up, rules it cannot load, scrapes that are refused."""

from __future__ import annotations

import pytest

from agents.analyzers.prometheus import (
    annotated_ports,
    expression_fault,
    invalid_rules,
    missing_configuration,
    refused_scrapes,
    unselected,
)
from tests.support.views import codes_of, view_of


def server(spec: str) -> str:
    return f"""
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {{name: main, namespace: observe}}
spec: {spec}
---
apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{team: shop}}}}
"""


MONITOR = """
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: web, namespace: shop, labels: {release: main}}
spec: {selector: {matchLabels: {app: web}}, endpoints: [{port: metrics, path: /stats}]}
"""


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("{serviceMonitorSelector: {}, serviceMonitorNamespaceSelector: {}}", ""),
        ("{serviceMonitorSelector: {matchLabels: {release: main}}, serviceMonitorNamespaceSelector: {}}", ""),
        (
            "{serviceMonitorSelector: {matchLabels: {release: kps}}, serviceMonitorNamespaceSelector: {}}",
            "its serviceMonitorSelector wants release=kps; its labels are release=main",
        ),
        ("{serviceMonitorSelector: {}}", "its own namespace observe only"),
        (
            "{serviceMonitorSelector: {}, serviceMonitorNamespaceSelector: {matchLabels: {team: other}}}",
            "wants namespaces with team=other",
        ),
        ("{}", "serviceMonitorSelector is not set"),
    ],
)
def test_which_monitors_a_prometheus_picks_up(spec: str, why: str) -> None:
    found = list(unselected(view_of(server(spec), MONITOR)))
    assert [f.code for f in found] == (["monitor-not-selected"] if why else [])
    assert all(why in f.message for f in found)


def test_without_a_prometheus_of_the_operator_nothing_is_said() -> None:
    assert codes_of(unselected, view_of(MONITOR)) == []


def rule(body: str) -> str:
    return f"""
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {{name: shop, namespace: shop}}
spec: {{groups: [{{name: shop, rules: [{body}]}}]}}
"""


def test_a_rule_that_no_prometheus_selects_never_fires() -> None:
    spec = "{ruleSelector: {matchLabels: {role: alerts}}, ruleNamespaceSelector: {}}"
    found = list(unselected(view_of(server(spec), rule("{alert: A, expr: up == 0}"))))
    assert [(f.code, f.severity) for f in found] == [("prometheus-rule-not-selected", "error")]


@pytest.mark.parametrize(
    ("body", "broken"),
    [
        ("{alert: Down, expr: 'up == 0', for: 5m}", False),
        ("{alert: Down, expr: 'sum(rate(x{a=\"(\"}[5m])) > 1'}", False),
        ("{alert: Down, expr: ''}", True),
        ("{alert: Down, expr: 'sum(rate(x[5m]) > 1'}", True),
        ("{alert: Down, expr: 'up == 0', for: five}", True),
        ("{expr: 'up == 0'}", True),
    ],
)
def test_rules_that_cannot_load(body: str, broken: bool) -> None:
    assert codes_of(invalid_rules, view_of(rule(body))) == (["prometheus-rule-invalid"] if broken else [])


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("up", ""),
        ('x{path=~"/a(b"} # a comment with )', ""),
        ("sum(up))", ") closes nothing"),
        ("x[5m", "[ is not closed"),
        ('x{a="b}', "is not closed"),
        ("  ", "empty"),
    ],
)
def test_what_keeps_an_expression_from_being_parsed(expression: str, fault: str) -> None:
    found = expression_fault(expression)
    assert fault in found
    assert bool(found) == bool(fault)


ALERTMANAGER = """
apiVersion: monitoring.coreos.com/v1
kind: Alertmanager
metadata: {name: main, namespace: observe}
spec: {configSecret: am-config}
"""


def test_an_alertmanager_without_its_configuration() -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: am-config, namespace: observe}\n"
    assert codes_of(missing_configuration, view_of(ALERTMANAGER)) == ["alertmanager-config-missing"]
    assert codes_of(missing_configuration, view_of(ALERTMANAGER, secret)) == []


def annotated(port: str, ports: str = "[{name: metrics, containerPort: 9400}]") -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec:
  template:
    metadata: {{annotations: {{prometheus.io/scrape: 'true', prometheus.io/port: '{port}'}}}}
    spec: {{containers: [{{name: app, ports: {ports}}}]}}
"""


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (annotated("9400"), []),
        (annotated("9090"), ["scrape-annotation-port-wrong"]),
        (annotated("9090", "[]"), []),
    ],
)
def test_an_annotated_port_must_be_declared_where_ports_are(document: str, expected: list[str]) -> None:
    assert codes_of(annotated_ports, view_of(document)) == expected


TARGETS = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {selector: {app: web}, ports: [{name: metrics, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {containers: [{name: app}]}
status: {phase: Running}
"""


def test_scrapes_that_the_pods_refuse_are_read_from_their_log() -> None:
    refused = '10.0.0.9 - "GET /stats HTTP/1.1" 404 19\n10.0.0.9 - "GET /stats HTTP/1.1" 404 19\n'
    (found,) = refused_scrapes(view_of(MONITOR, TARGETS, logs={("shop", "web-1", "app"): refused}))
    assert (found.code, found.object.kind) == ("scrape-refused-by-target", "ServiceMonitor")
    assert "answer 404" in found.message
    fine = refused + '10.0.0.9 - "GET /stats HTTP/1.1" 200 4040\n'
    assert codes_of(refused_scrapes, view_of(MONITOR, TARGETS, logs={("shop", "web-1", "app"): fine})) == []
