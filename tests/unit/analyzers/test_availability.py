"""Risks at the next drain or hang: only for workloads that serve, and quiet where it is meant so."""

from __future__ import annotations

import pytest

from agents.analyzers.availability import disruption_budgets, missing_probes, one_node, single_replicas
from agents.evidence import Severity
from tests.support.views import codes_of, view_of
from tests.unit.analyzers.workloads import RUNNING, deployment, pod, replica_set

PROBES = "livenessProbe: {tcpSocket: {port: 80}}, readinessProbe: {tcpSocket: {port: 80}}, "
SPEC = f"containers: [{{name: app, image: a, {PROBES}ports: [{{name: http, containerPort: 8080}}]}}]"
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
"""


SCALER = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: h, namespace: shop}
spec: {minReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
"""


def budget(rule: str, name: str = "web", app: str = "web", expected: int = 2) -> str:
    return f"""
    apiVersion: policy/v1
    kind: PodDisruptionBudget
    metadata: {{name: {name}, namespace: shop}}
    spec: {{selector: {{matchLabels: {{app: {app}}}}}, {rule}}}
    status: {{expectedPods: {expected}}}
    """


def test_a_serving_single_replica_without_a_budget() -> None:
    (found,) = single_replicas(view_of(deployment(SPEC), SERVICE))
    assert (found.code, found.severity) == ("single-replica-without-disruption-budget", Severity.WARNING)
    assert "replica" in found.message
    assert "PodDisruptionBudget" in found.message


@pytest.mark.parametrize(
    "documents",
    [
        [deployment(SPEC, replicas=2), SERVICE],
        [deployment(SPEC, replicas=0), SERVICE],
        [deployment(SPEC)],
        [deployment(SPEC), SERVICE, budget("maxUnavailable: 1")],
        [deployment(SPEC), SERVICE, SCALER],
    ],
)  # fmt: skip
def test_several_replicas_a_budget_or_no_traffic_are_fine(documents: list[str]) -> None:
    assert codes_of(single_replicas, view_of(*documents)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("namespace: shop", "namespace: cert-manager"), ("namespace: shop", "namespace: shop-dev"),
     ("replicas: 1", "replicas: 1\n  strategy: {type: Recreate}")],
)  # fmt: skip
def test_single_on_purpose_is_a_remark(old: str, new: str) -> None:
    view = view_of(deployment(SPEC).replace(old, new), SERVICE.replace(old, new))
    (found,) = single_replicas(view)
    assert found.severity is Severity.INFO


@pytest.mark.parametrize(("probe", "code"), [("liveness", "no-liveness-probe"), ("readiness", "no-readiness-probe")])
def test_a_serving_container_without_a_probe(probe: str, code: str) -> None:
    view = view_of(deployment(SPEC.replace(f"{probe}Probe", "x")), SERVICE)
    assert codes_of(missing_probes, view) == [code]


def test_probes_are_asked_only_of_containers_that_serve() -> None:
    bare = "containers: [{name: app, image: a}]"
    assert codes_of(missing_probes, view_of(deployment(SPEC), SERVICE)) == []
    assert codes_of(missing_probes, view_of(deployment(bare), SERVICE)) == []
    assert codes_of(missing_probes, view_of(deployment(SPEC.replace("livenessProbe", "x")))) == []


def served(*more: str) -> list[str]:
    pods = [pod(SPEC, RUNNING, name=f"web-1-{n}", ready=True) for n in "ab"]
    return [deployment(SPEC, replicas=2), replica_set(SPEC), *pods, SERVICE, *more]


@pytest.mark.parametrize(
    ("rule", "codes"),
    [
        ("maxUnavailable: 0", ["pdb-blocks-every-eviction"]),
        ("maxUnavailable: 0%", ["pdb-blocks-every-eviction"]),
        ("minAvailable: 2", ["pdb-blocks-every-eviction"]),
        ("minAvailable: 100%", ["pdb-blocks-every-eviction"]),
        ("minAvailable: 51%", ["pdb-blocks-every-eviction"]),
        ("minAvailable: 50%", []),
        ("minAvailable: 1", []),
        ("maxUnavailable: 1", []),
    ],
)
def test_budgets_that_allow_nothing(rule: str, codes: list[str]) -> None:
    assert codes_of(disruption_budgets, view_of(*served(budget(rule)))) == codes


def test_a_budget_that_selects_nothing() -> None:
    assert codes_of(disruption_budgets, view_of(*served(budget("maxUnavailable: 1", app="wbe")))) == [
        "pdb-selects-nothing"
    ]
    resting = view_of(deployment(SPEC, replicas=0), budget("maxUnavailable: 1"))
    assert codes_of(disruption_budgets, resting) == []


def test_two_budgets_over_the_same_pods() -> None:
    view = view_of(*served(budget("maxUnavailable: 1"), budget("minAvailable: 1", name="web-too")))
    assert codes_of(disruption_budgets, view) == ["pdb-overlap"]


def test_all_replicas_on_one_node_is_a_remark() -> None:
    ready = "status: {conditions: [{type: Ready, status: 'True'}]}"
    nodes = [f"{{apiVersion: v1, kind: Node, metadata: {{name: node-{n}}}, {ready}}}" for n in (1, 2)]
    (found,) = one_node(view_of(*served(*nodes)))
    assert (found.code, found.severity) == ("all-replicas-on-one-node", Severity.INFO)
    assert codes_of(one_node, view_of(*served(nodes[0]))) == []
