"""Autoscalers: what keeps them from scaling, and what holds those that work."""

from __future__ import annotations

import json

import pytest

from agents.analyzers.autoscaling import broken_autoscalers, targets_without_requests
from agents.analyzers.autoscaling_bounds import bounded, fixed_replicas, shared_targets, vertical_conflicts
from tests.support.views import codes_of, view_of


def target(resources: str = "{}", extra: str = "", annotations: str = "{}") -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop, annotations: {annotations}}}
spec: {{replicas: 2, template: {{spec: {{containers: [{{name: app, image: a:1, resources: {resources}}}{extra}]}}}}}}
"""


CPU = "[{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]"


def hpa(
    conditions: str = "[]",
    *,
    metrics: str = CPU,
    name: str = "web",
    bounds: str = "minReplicas: 2, maxReplicas: 6",
    target: str = "web",
    current: str = "[]",
) -> str:
    return f"""
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: {name}, namespace: shop, creationTimestamp: '2026-05-04T08:00:00Z'}}
spec: {{scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {target}}}, {bounds}, metrics: {metrics}}}
status: {{currentReplicas: 6, currentMetrics: {current}, conditions: {conditions}}}
"""


def inactive(reason: str, message: str, kind: str = "ScalingActive") -> str:
    since = "2026-05-04T09:00:00Z"
    return f"[{{type: {kind}, status: 'False', reason: {reason}, message: '{message}', lastTransitionTime: '{since}'}}]"


ACTIVE = "[{type: ScalingActive, status: 'True', reason: ValidMetricFound}]"
MISSING = "failed to get cpu utilization: missing request for cpu in container app of Pod web-1"
POD = """
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  namespace: shop
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, controller: true}]
spec: {containers: [{name: app, resources: {requests: {cpu: 100m}}}]}
status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}
"""


def test_a_percentage_of_a_request_that_is_not_set_is_the_workloads_fault() -> None:
    view = view_of(target(), hpa(inactive("FailedGetResourceMetric", MISSING)))
    (found,) = targets_without_requests(view)
    assert (found.code, str(found.object), found.severity) == (
        "hpa-target-without-requests",
        "Deployment shop/web",
        "error",
    )
    assert "container app sets no cpu request" in found.message
    assert "HorizontalPodAutoscaler shop/web" in {str(r) for r in found.related}
    assert codes_of(broken_autoscalers, view) == []


def test_the_spec_alone_shows_a_missing_request() -> None:
    assert codes_of(targets_without_requests, view_of(target(), hpa())) == ["hpa-target-without-requests"]


@pytest.mark.parametrize(
    ("documents"),
    [
        (target("{requests: {cpu: 100m}}"), hpa()),
        (target("{limits: {cpu: 100m}}"), hpa()),
        (target(), hpa(ACTIVE)),
        (target(), POD, hpa()),
        (
            target(),
            hpa(metrics="[{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 1}}}]"),
        ),
    ],
    ids=["request", "limit", "scales", "filled in by a LimitRange", "average value"],
)
def test_an_autoscaler_that_can_compute_is_left_alone(documents: tuple[str, ...]) -> None:
    assert codes_of(targets_without_requests, view_of(*documents)) == []


def test_a_sidecar_without_a_request_spoils_the_percentage() -> None:
    view = view_of(target("{requests: {cpu: 100m}}", ", {name: proxy, image: p:1}"), hpa())
    (found,) = targets_without_requests(view)
    assert "container proxy sets no cpu request" in found.message


def test_a_target_that_does_not_exist_names_the_near_one() -> None:
    (found,) = broken_autoscalers(view_of(target(), hpa(target="wbe")))
    assert found.code == "hpa-target-missing"
    assert "web" in found.message


CONTAINER = (
    "[{type: ContainerResource, containerResource: {name: cpu, container: main, "
    "target: {type: Utilization, averageUtilization: 70}}}]"
)
METRIC = "[{type: External, external: {metric: {name: queue_depth}, target: {type: Value, value: 10}}}]"


@pytest.mark.parametrize(
    ("autoscaler", "code"),
    [
        (hpa(metrics=CONTAINER), "hpa-container-missing"),
        (hpa(inactive("FailedGetExternalMetric", "no such metric"), metrics=METRIC), "hpa-custom-metric-missing"),
        (hpa(inactive("FailedGetResourceMetric", "the server could not find the requested resource")),
         "hpa-metrics-unavailable"),
        (hpa(inactive("AmbiguousSelector", "pods are controlled by multiple HPAs")), "hpa-selector-ambiguous"),
    ],
)  # fmt: skip
def test_what_an_autoscaler_cannot_do_is_an_error(autoscaler: str, code: str) -> None:
    (found,) = broken_autoscalers(view_of(target("{requests: {cpu: 100m}}"), POD, autoscaler))
    assert (found.code, found.severity) == (code, "error")


@pytest.mark.parametrize(
    "autoscaler",
    [
        hpa(ACTIVE),
        hpa(inactive("ScalingDisabled", "scaling is disabled since the replica count of the target is zero")),
        hpa(inactive("FailedGetResourceMetric", "no metrics").replace("09:00", "11:58")),
    ],
    ids=["scales", "scaled to zero", "just now"],
)
def test_working_resting_and_starting_autoscalers_are_no_fault(autoscaler: str) -> None:
    assert codes_of(broken_autoscalers, view_of(target("{requests: {cpu: 1}}"), POD, autoscaler)) == []


LIMITED = "[{type: ScalingLimited, status: 'True', reason: TooManyReplicas, message: more than the maximum}]"
HOT = "[{type: Resource, resource: {name: cpu, current: {averageUtilization: 140}}}]"


def test_an_autoscaler_at_its_maximum_says_how_hot_it_is() -> None:
    (found,) = bounded(view_of(target(), hpa(LIMITED, current=HOT)))
    assert (found.code, found.severity) == ("hpa-at-maximum", "error")
    assert "cpu at 140% of the request, target 70%" in found.message
    assert codes_of(bounded, view_of(target(), hpa(ACTIVE))) == []


def test_a_maximum_that_is_a_little_short_is_a_warning() -> None:
    (found,) = bounded(view_of(target(), hpa(LIMITED, current=HOT.replace("140", "85"))))
    assert (found.code, found.severity) == ("hpa-at-maximum", "warning")


def test_equal_bounds_are_an_info() -> None:
    found = list(bounded(view_of(target(), hpa(bounds="minReplicas: 3, maxReplicas: 3"))))
    assert [(f.code, f.severity) for f in found] == [("hpa-min-equals-max", "info")]


def test_two_autoscalers_of_one_workload() -> None:
    assert codes_of(shared_targets, view_of(target(), hpa(), hpa(name="web-memory"))) == ["hpa-shared-target"]
    assert codes_of(shared_targets, view_of(target(), hpa(), hpa(name="other", target="other"))) == []


def vpa(mode: str) -> str:
    return f"""
apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {{name: web, namespace: shop}}
spec: {{targetRef: {{kind: Deployment, name: web}}, updatePolicy: {{updateMode: '{mode}'}}}}
"""


def test_a_vertical_autoscaler_that_changes_the_measured_request() -> None:
    assert codes_of(vertical_conflicts, view_of(target(), hpa(), vpa("Auto"))) == ["vpa-and-hpa-conflict"]
    assert codes_of(vertical_conflicts, view_of(target(), hpa(), vpa("Off"))) == []


def test_replicas_in_the_applied_manifest() -> None:
    applied = json.dumps({"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"spec": {"replicas": 2}})})
    assert codes_of(fixed_replicas, view_of(target(annotations=applied), hpa())) == ["hpa-replicas-in-manifest"]
    assert codes_of(fixed_replicas, view_of(target(), hpa())) == []
