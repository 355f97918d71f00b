"""Nodes: why one is not ready, pressure, cordons, heartbeats, versions."""

from __future__ import annotations

import pytest

from agents.analyzers.nodes import cordoned, heartbeats, pressures, readiness, versions
from agents.evidence import Severity
from tests.support.views import codes_of, view_of


def node(conditions: str, name: str = "n1", spec: str = "{}", version: str = "v1.34.1") -> str:
    return f"""
kind: Node
apiVersion: v1
metadata: {{name: {name}}}
spec: {spec}
status: {{conditions: [{conditions}], nodeInfo: {{kubeletVersion: {version}}}}}
"""


READY = '{type: Ready, status: "True", reason: KubeletReady}'
POD = """
kind: Pod
apiVersion: v1
metadata: {name: web-1, namespace: shop}
spec: {nodeName: n1}
status: {phase: Running}
"""


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        ("Unknown", "Kubelet stopped posting node status.", "node-kubelet-silent"),
        ("False", "runtime network not ready: cni plugin not initialized", "node-network-plugin-not-ready"),
        ("False", "[container runtime is down, PLEG is not healthy]", "node-runtime-down"),
        ("False", "node is shutting down", "node-not-ready"),
    ],
)  # fmt: skip
def test_why_a_node_is_not_ready(status: str, message: str, code: str) -> None:
    view = view_of(node(f'{{type: Ready, status: "{status}", reason: X, message: "{message}"}}'), POD)
    (hit,) = readiness(view)
    assert (hit.code, hit.severity) == (code, Severity.CRITICAL)
    assert message in hit.message
    assert "web-1" in [r.name for r in hit.related]


def test_ready_node_is_silent_and_an_empty_cordoned_one_is_a_warning() -> None:
    assert list(readiness(view_of(node(READY)))) == []
    away = node('{type: Ready, status: "Unknown"}', spec="{unschedulable: true}")
    assert [f.severity for f in readiness(view_of(away))] == [Severity.WARNING]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("DiskPressure", "node-disk-pressure"),
        ("MemoryPressure", "node-memory-pressure"),
        ("PIDPressure", "node-pid-pressure"),
        ("NetworkUnavailable", "node-network-unavailable"),
    ],
)
def test_pressures(kind: str, code: str) -> None:
    assert codes_of(pressures, view_of(node(f'{READY}, {{type: {kind}, status: "True", reason: R}}'))) == [code]
    assert codes_of(pressures, view_of(node(f'{READY}, {{type: {kind}, status: "False"}}'))) == []
    assert codes_of(pressures, view_of(node(f"{READY}, {{type: {kind}, status: Unknown}}"))) == []


def test_cordoned_node_is_only_worth_knowing() -> None:
    (hit,) = cordoned(view_of(node(READY, spec="{unschedulable: true}")))
    assert (hit.code, hit.severity) == ("node-cordoned", Severity.INFO)
    assert list(cordoned(view_of(node(READY)))) == []


def lease(name: str, at: str) -> str:
    return f"""
kind: Lease
apiVersion: coordination.k8s.io/v1
metadata: {{name: {name}, namespace: kube-node-lease}}
spec: {{renewTime: "2026-05-04T{at}Z"}}
"""


def test_heartbeat_is_late_against_those_of_other_nodes() -> None:
    nodes = node(READY), node(READY, "n2")
    late = view_of(*nodes, lease("n1", "11:50:00"), lease("n2", "11:59:55"))
    assert codes_of(heartbeats, late) == ["node-heartbeat-late"]
    assert codes_of(heartbeats, view_of(*nodes, lease("n1", "09:00:00"), lease("n2", "09:00:05"))) == []


APISERVER = """
kind: Pod
apiVersion: v1
metadata: {name: kube-apiserver-cp, namespace: kube-system, labels: {component: kube-apiserver}}
spec: {containers: [{image: "registry.k8s.io/kube-apiserver:v1.34.1"}]}
"""


@pytest.mark.parametrize(("version", "codes"), [
    ("v1.34.0", []), ("v1.31.9", []), ("v1.30.2", ["node-version-skew"]), ("v1.35.0", ["node-version-skew"]),
])  # fmt: skip
def test_kubelet_versions_outside_the_skew(version: str, codes: list[str]) -> None:
    assert codes_of(versions, view_of(APISERVER, node(READY, version=version))) == codes
