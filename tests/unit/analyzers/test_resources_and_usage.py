"""Requests, quotas and measured use: near the edge is a warning, the usual is silent."""

from __future__ import annotations

import pytest

from agents.analyzers.resources import full_nodes, nearly_full_quotas, pod_request, show, unbounded_workloads
from agents.analyzers.usage import busy_containers, overloaded_nodes
from agents.cluster.objects import K8sObject
from tests.support.views import codes_of, view_of


def deployment(resources: str) -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec: {{template: {{spec: {{containers: [{{name: app, image: a:1, resources: {resources}}}]}}}}}}
"""


def pod(name: str = "web-1", resources: str = "{}", node: str = "n1", ready: str = "True") -> str:
    owner = "ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, controller: true}]"
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, {owner}}}
spec: {{nodeName: {node}, containers: [{{name: app, resources: {resources}}}]}}
status: {{phase: Running, conditions: [{{type: Ready, status: '{ready}'}}]}}
"""


def node(name: str = "n1", cpu: str = "4", extra: str = "spec: {}") -> str:
    return f"""
apiVersion: v1
kind: Node
metadata: {{name: {name}}}
{extra}
status: {{allocatable: {{cpu: '{cpu}', memory: 8Gi}}}}
"""


def pod_metrics(cpu: str = "10m", memory: str = "10Mi", name: str = "web-1") -> str:
    return f"""
apiVersion: metrics.k8s.io/v1beta1
kind: PodMetrics
metadata: {{name: {name}, namespace: shop}}
timestamp: '2026-05-04T12:00:00Z'
containers: [{{name: app, usage: {{cpu: {cpu}, memory: {memory}}}}}]
"""


def node_metrics(cpu: str, memory: str = "1Gi") -> str:
    return f"""
apiVersion: metrics.k8s.io/v1beta1
kind: NodeMetrics
metadata: {{name: n1}}
usage: {{cpu: {cpu}, memory: {memory}}}
"""


PRESSED = node(extra="spec: {}").replace("status: {", "status: {conditions: [{type: MemoryPressure, status: 'True'}], ")


def test_a_workload_without_requests_is_an_info_until_its_node_is_short_of_memory() -> None:
    calm = view_of(deployment("{}"), pod(), node())
    pressed = view_of(deployment("{}"), pod(), PRESSED)
    assert [(f.code, f.severity) for f in unbounded_workloads(calm)] == [("best-effort-workload", "info")]
    assert [f.severity for f in unbounded_workloads(pressed)] == ["warning"]


def test_a_missing_memory_limit_is_an_info_and_a_set_one_is_silent() -> None:
    assert codes_of(unbounded_workloads, view_of(deployment("{requests: {cpu: 1}}"))) == ["memory-limit-missing"]
    assert codes_of(unbounded_workloads, view_of(deployment("{limits: {memory: 1Gi}}"))) == []


@pytest.mark.parametrize(
    ("hard", "used", "expected"),
    [
        ("{requests.cpu: '4'}", "{requests.cpu: 3800m}", ["quota-nearly-full"]),
        ("{requests.cpu: '4'}", "{requests.cpu: 3000m}", []),
        ("{pods: '20'}", "{pods: '19'}", ["quota-nearly-full"]),
        ("{services.loadbalancers: '1'}", "{services.loadbalancers: '1'}", []),
    ],
)
def test_a_quota_near_its_end(hard: str, used: str, expected: list[str]) -> None:
    quota = f"""
apiVersion: v1
kind: ResourceQuota
metadata: {{name: team, namespace: shop}}
status: {{hard: {hard}, used: {used}}}
"""
    assert codes_of(nearly_full_quotas, view_of(quota)) == expected


FULL = "{requests: {cpu: 3800m}}"


def test_no_room_on_any_node_is_a_warning_and_one_full_node_an_info() -> None:
    everywhere = view_of(node("n1"), node("n2"), pod("a", FULL, "n1"), pod("b", FULL, "n2"))
    one = view_of(node("n1"), node("n2"), pod("a", FULL, "n1"))
    assert [(f.code, f.severity) for f in full_nodes(everywhere)] == [("cluster-nearly-full", "warning")]
    assert [(f.code, f.severity) for f in full_nodes(one)] == [("node-nearly-full", "info")]


def test_cordoned_and_tainted_nodes_are_not_counted() -> None:
    cordoned = node("n1", extra="spec: {unschedulable: true}")
    assert codes_of(full_nodes, view_of(cordoned, pod("a", FULL, "n1"))) == []


def test_a_pods_request_counts_sidecars_and_the_largest_init_container() -> None:
    raw = {
        "kind": "Pod",
        "spec": {
            "initContainers": [
                {"resources": {"requests": {"cpu": "2"}}},
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}},
            ],
            "containers": [{"resources": {"requests": {"cpu": "1"}}}],
        },
    }
    assert pod_request(K8sObject(raw), "cpu") == 2.0


def test_memory_near_its_limit() -> None:
    limits = "{limits: {memory: 256Mi}}"
    (found,) = busy_containers(view_of(deployment(limits), pod(resources=limits), pod_metrics(memory="250Mi")))
    assert (found.code, found.severity, str(found.object)) == ("memory-near-limit", "warning", "Deployment shop/web")
    assert "250Mi of its memory limit of 256Mi" in found.message
    assert codes_of(busy_containers, view_of(deployment(limits), pod(resources=limits), pod_metrics())) == []


SLOW = """
apiVersion: v1
kind: Event
metadata: {name: e1, namespace: shop}
involvedObject: {kind: Pod, namespace: shop, name: web-1}
type: Warning
reason: Unhealthy
message: 'Readiness probe failed: context deadline exceeded'
lastTimestamp: '2026-05-04T11:59:00Z'
"""


def test_cpu_at_its_limit_is_an_error_only_when_probes_time_out() -> None:
    limits = "{limits: {cpu: 500m}}"
    calm = view_of(deployment(limits), pod(resources=limits), pod_metrics(cpu="499m"))
    hurt = view_of(deployment(limits), pod(resources=limits, ready="False"), pod_metrics(cpu="499m"), SLOW)
    assert [(f.code, f.severity) for f in busy_containers(calm)] == [("cpu-at-limit", "warning")]
    assert [f.severity for f in busy_containers(hurt)] == ["error"]


def test_use_far_above_the_request_is_an_info() -> None:
    requests = "{requests: {cpu: 100m}}"
    view = view_of(deployment(requests), pod(resources=requests), pod_metrics(cpu="1200m"))
    assert [(f.code, f.severity) for f in busy_containers(view)] == [("usage-far-above-request", "info")]
    small = view_of(deployment(requests), pod(resources=requests), pod_metrics(cpu="350m"))
    assert codes_of(busy_containers, small) == []


def test_an_overloaded_node_names_who_uses_it() -> None:
    (found,) = overloaded_nodes(view_of(node(), node_metrics("3900m"), pod(), pod_metrics(cpu="3500m")))
    assert found.code == "node-overloaded"
    assert "shop/web-1 3500m (requests nothing)" in found.message
    assert codes_of(overloaded_nodes, view_of(node(), node_metrics("2000m"))) == []


@pytest.mark.parametrize(
    ("resource", "amount", "shown"),
    [("cpu", 0.25, "250m"), ("cpu", 2.0, "2"), ("memory", 512 * 2**20, "512Mi"), ("pods", 12.0, "12")],
)
def test_quantities_are_shown_as_people_write_them(resource: str, amount: float, shown: str) -> None:
    assert show(resource, amount) == shown
