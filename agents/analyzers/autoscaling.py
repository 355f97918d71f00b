"""Autoscalers that cannot scale: targets without requests, metrics that do not come.

The HorizontalPodAutoscaler controller writes its reasons into conditions (`FailedGetResourceMetric`, …); the spec is
read beside them, so that a fault shows before the controller has said it. What an autoscaler cannot do is an error
while it lasts. Autoscalers that work but are held are in `agents.analyzers.autoscaling_bounds`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from agents.analyzers.base import Analyzer, Code, Role, finding, missing_field, not_listed, seen_field
from agents.analyzers.nearness import near_or_all
from agents.analyzers.ownership import manual_change_note
from agents.analyzers.pods import is_over, is_ready
from agents.cluster.objects import (
    K8sObject,
    containers,
    integer,
    is_sidecar,
    mapping,
    mappings,
    moment,
    pod_spec,
    pod_spec_path,
    quantity,
    text,
)
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_D, _E, _C = Domain.PERFORMANCE, Severity.ERROR, Role.CAUSE
_DESCRIBE = "`kubectl -n {hpa_ns} describe hpa {hpa}`"

NO_REQUESTS = Code(
    "hpa-target-without-requests", _D, _E, _C,
    "An autoscaler measures use in percent of a request that its target's containers do not set",
    "Set the request to what a pod normally uses (the percentage is of it):\n"
    "`kubectl -n {ns} set resources {kind}/{name} -c {container} --requests={resource}={suggested}`\n"
    "Then watch: `kubectl -n {hpa_ns} get hpa {hpa} -w`{gitops}", 0.97,
)  # fmt: skip
CONTAINER_MISSING = Code(
    "hpa-container-missing", _D, _E, _C, "An autoscaler measures a container that its target does not have",
    "Name a container that exists in `containerResource.container`:\n`kubectl -n {ns} edit hpa {name}`{gitops}", 0.95,
)  # fmt: skip
TARGET_MISSING = Code(
    "hpa-target-missing", _D, _E, _C, "An autoscaler's target does not exist",
    "Correct `spec.scaleTargetRef` (kind, name, apiVersion):\n`kubectl -n {ns} edit hpa {name}`\n"
    "`kubectl -n {ns} get {target_kind}`{gitops}", 0.96,
)  # fmt: skip
METRICS_UNAVAILABLE = Code(
    "hpa-metrics-unavailable", _D, _E, Role.SYMPTOM, "An autoscaler gets no resource metrics",
    "See whether the metrics API answers:\n`kubectl get apiservice v1beta1.metrics.k8s.io`\n"
    "`kubectl top pods -n {ns}`\n`kubectl -n kube-system logs deploy/metrics-server --tail=50`\n" + _DESCRIBE, 0.88,
)  # fmt: skip
CUSTOM_METRIC_MISSING = Code(
    "hpa-custom-metric-missing", _D, _E, Role.SYMPTOM,
    "An autoscaler waits for a custom or external metric that nobody serves",
    "Ask the adapter for the metric by its name, and correct the name or the adapter's rules:\n"
    "`kubectl get --raw '/apis/{metric_api}/v1beta1' | head -c 2000`\n" + _DESCRIBE, 0.9,
)  # fmt: skip
SELECTOR_TROUBLE = Code(
    "hpa-selector-ambiguous", _D, _E, _C, "An autoscaler cannot tell its pods from those of another workload",
    "Give the two workloads selectors that do not overlap (selectors cannot be changed: make the workload anew):\n"
    + _DESCRIBE, 0.92,
)  # fmt: skip

_MISSING_REQUEST = re.compile(r"missing request for (\S+)(?: in container (\S+))?(?: of [Pp]od (\S+))?")
_STARTING = timedelta(minutes=5)  # pods without metrics and autoscalers without a status are normal for that long
_TARGET_KINDS = ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A metric of the spec that is measured in percent of a request. `container` is "" for the whole pod."""

    path: str
    resource: str
    container: str
    target: str


def autoscalers(view: ClusterView) -> Iterator[K8sObject]:
    """The HorizontalPodAutoscalers that are not being deleted."""
    for hpa in view.of_kind("HorizontalPodAutoscaler"):
        if hpa.deleting_since is None:
            yield hpa


def target_ref(hpa: K8sObject) -> ObjectRef:
    """What an autoscaler scales, whether or not it exists."""
    target = mapping(hpa.spec, "scaleTargetRef")
    return ObjectRef(text(target, "apiVersion"), text(target, "kind"), hpa.namespace, text(target, "name"))


def percent_metrics(hpa: K8sObject) -> Iterator[_Wanted]:
    """Resource metrics with a Utilization target, of autoscaling/v2 and of v1's one field."""
    v1 = integer(hpa.spec, "targetCPUUtilizationPercentage")
    if v1 is not None:
        yield _Wanted("spec.targetCPUUtilizationPercentage", "cpu", "", f"{v1}%")
    for index, metric in enumerate(mappings(hpa.spec, "metrics")):
        for field, container in (
            ("resource", ""),
            ("containerResource", text(metric, "containerResource", "container")),
        ):
            source = mapping(metric, field)
            percent = integer(source, "target", "averageUtilization")
            percent = integer(source, "targetAverageUtilization") if percent is None else percent
            if source and percent is not None:
                yield _Wanted(f"spec.metrics[{index}].{field}", text(source, "name"), container, f"{percent}%")


def _settled(view: ClusterView, hpa: K8sObject) -> bool:
    age = view.age(hpa.created)
    return age is None or age > _STARTING


def condition_evidence(hpa: K8sObject, kind: str) -> list[Evidence]:
    """Evidence of one status condition; empty when it is not set."""
    for index, condition in enumerate(mappings(hpa.raw, "status", "conditions")):
        if condition.get("type") == kind:
            shown = f"{kind}={text(condition, 'status')} {text(condition, 'reason')}: {text(condition, 'message')}"
            when = moment(condition, "lastTransitionTime")
            return [seen_field(hpa, f"status.conditions[{index}]", shown, observed_at=when)]
    return []


def _facts(hpa: K8sObject, changed: K8sObject) -> dict[str, Any]:
    return {"hpa": hpa.name, "hpa_ns": hpa.namespace, "gitops": manual_change_note(changed)}


# -- what an autoscaler cannot do --------------------------------------------------------------------------------------


def targets_without_requests(view: ClusterView) -> Iterator[Finding]:
    """Percentages of requests that are not there, from the spec and the pods, confirmed by the condition if there is
    one.
    """
    for hpa in autoscalers(view):
        target = view.resolve(target_ref(hpa))
        active = hpa.condition("ScalingActive")
        if target is None or active.get("status") == "True" or text(active, "reason") == "ScalingDisabled":
            continue
        for wanted in percent_metrics(hpa):
            lacking = _containers_without(view, target, wanted)
            if lacking:
                yield _requests_finding(view, hpa, target, wanted, lacking)
                break


def _containers_without(view: ClusterView, target: K8sObject, wanted: _Wanted) -> list[tuple[str, str]]:
    """(field path in the template, name) of the containers that lack the request, judged by the living pods where there
    are any (a LimitRange fills requests in when a pod is made)."""
    pods = [p for p in view.pods_of(target) if not is_over(p)]
    newest = max(pods, key=lambda p: (p.created or view.taken_at, p.name), default=None)
    judged = newest if newest is not None else target
    if newest is None and any(True for _ in view.in_namespace("LimitRange", target.namespace)):
        return []
    if quantity(pod_spec(judged), "resources", "requests", wanted.resource) is not None:
        return []
    base = pod_spec_path(target.kind)
    found = []
    for path, container in containers(pod_spec(judged)):
        name = text(container, "name")
        if (path.startswith("init") and not is_sidecar(container)) or (wanted.container and wanted.container != name):
            continue
        resources = mapping(container, "resources")
        amount = quantity(resources, "requests", wanted.resource)
        if amount is None:  # a limit alone is copied into the request by the API server
            amount = quantity(resources, "limits", wanted.resource)
        if not amount:
            found.append((f"{base}.{path}.resources.requests.{wanted.resource}", name))
    return found


def _requests_finding(
    view: ClusterView, hpa: K8sObject, target: K8sObject, wanted: _Wanted, lacking: list[tuple[str, str]]
) -> Finding:
    path, container = lacking[0]
    names = ", ".join(name for _, name in lacking)
    message = text(hpa.condition("ScalingActive"), "message")
    said = _MISSING_REQUEST.search(message)
    quoted = f" The controller says: {said.group(0)}." if said else ""
    current = integer(hpa.status, "currentReplicas")
    usage = _usage(view, target, container, wanted.resource)
    return finding(
        NO_REQUESTS,
        target,
        f"HorizontalPodAutoscaler {hpa.name} scales {target.kind} {target.name} at {wanted.target} of the "
        f"{wanted.resource} "
        f"request, but container {names} sets no {wanted.resource} request, so it cannot compute a percentage and "
        "stays at "
        f"{current if current is not None else 'its present number of'} replicas.{quoted}",
        [
            *condition_evidence(hpa, "ScalingActive"),
            missing_field(target, path, f"container {container}"),
            seen_field(hpa, wanted.path, f"{wanted.resource} at {wanted.target} of the request"),
            *usage,
        ],
        related=[hpa.ref, *(p.ref for p in view.pods_of(target)[:10])],
        container=container,
        resource=wanted.resource,
        suggested="200m" if wanted.resource == "cpu" else "256Mi",
        **_facts(hpa, target),
    )


def _usage(view: ClusterView, target: K8sObject, container: str, resource: str) -> list[Evidence]:
    """What a pod of the target uses now, where the metrics API was read."""
    for pod in view.pods_of(target):
        metrics = view.get("PodMetrics", pod.namespace, pod.name)
        if metrics is None:
            continue
        for index, entry in enumerate(mappings(metrics.raw, "containers")):
            if text(entry, "name") == container:
                amount = text(entry, "usage", resource)
                return [
                    Evidence(
                        kind="metric",
                        object=metrics.ref,
                        locator=f"containers[{index}].usage.{resource}",
                        excerpt=f"container {container} uses {resource} {amount}",
                        observed_at=moment(metrics.raw, "timestamp"),
                    )
                ]
    return []


def broken_autoscalers(view: ClusterView) -> Iterator[Finding]:
    """Targets and containers that do not exist, metrics that do not come, selectors that overlap."""
    for hpa in autoscalers(view):
        ref = target_ref(hpa)
        target = view.resolve(ref)
        if target is None and ref.kind in _TARGET_KINDS and view.listed(ref.kind, ref.namespace):
            yield _target_finding(view, hpa, ref)
            continue
        scaled = hpa.condition("AbleToScale")
        if target is None and scaled.get("status") == "False" and text(scaled, "reason") == "FailedGetScale":
            yield _target_finding(view, hpa, ref)
            continue
        missing = _missing_container(view, hpa, target)
        if missing is not None:
            yield missing
        elif (found := _inactive(view, hpa, target)) is not None:
            yield found


def _target_finding(view: ClusterView, hpa: K8sObject, ref: ObjectRef) -> Finding:
    names = [o.name for kind in _TARGET_KINDS[:2] for o in view.in_namespace(kind, ref.namespace)]
    near = near_or_all(ref.name, names)
    listed = view.listed(ref.kind, ref.namespace)
    return finding(
        TARGET_MISSING,
        hpa,
        f"HorizontalPodAutoscaler {hpa.name} scales {ref.kind} {ref.name}, which does not exist (not found) in "
        "namespace "
        f"{ref.namespace}." + (f" There are: {', '.join(near)}." if near else ""),
        [
            seen_field(hpa, "spec.scaleTargetRef", mapping(hpa.spec, "scaleTargetRef")),
            *([not_listed(view, ref, near)] if listed else []),
            *condition_evidence(hpa, "AbleToScale"),
        ],
        related=[ref],
        target_kind=ref.kind.lower(),
        **_facts(hpa, hpa),
    )


def _missing_container(view: ClusterView, hpa: K8sObject, target: K8sObject | None) -> Finding | None:
    if target is None or not pod_spec(target):
        return None
    names = [text(c, "name") for _, c in containers(pod_spec(target))]
    for pod in view.pods_of(target)[:1]:  # sidecars that admission injects stand in the pods alone
        names += [text(c, "name") for _, c in containers(pod_spec(pod))]
    for index, metric in enumerate(mappings(hpa.spec, "metrics")):
        container = text(metric, "containerResource", "container")
        if container and container not in names:
            path = f"spec.metrics[{index}].containerResource.container"
            shown = ", ".join(dict.fromkeys(names))
            return finding(
                CONTAINER_MISSING,
                hpa,
                f"HorizontalPodAutoscaler {hpa.name} measures container {container}, but {target.kind} {target.name} "
                "has no "
                f"such container; it has: {shown}.",
                [
                    seen_field(hpa, path, container),
                    seen_field(target, f"{pod_spec_path(target.kind)}.containers[*].name", shown),
                    *condition_evidence(hpa, "ScalingActive"),
                ],
                related=[target.ref],
                **_facts(hpa, hpa),
            )
    return None


def _inactive(view: ClusterView, hpa: K8sObject, target: K8sObject | None) -> Finding | None:
    """What the ScalingActive condition says, for reasons other than a missing request."""
    active = hpa.condition("ScalingActive")
    reason, message = text(active, "reason"), text(active, "message")
    since = view.age(moment(active, "lastTransitionTime"))
    if active.get("status") != "False" or (since is not None and since < _STARTING) or not _settled(view, hpa):
        return None
    related = [target.ref] if target is not None else []
    seen = condition_evidence(hpa, "ScalingActive")
    if reason in ("AmbiguousSelector", "InvalidSelector"):
        text_ = f"HorizontalPodAutoscaler {hpa.name} does not scale ({reason}): {message}."
        return finding(SELECTOR_TROUBLE, hpa, text_, seen, related=related, **_facts(hpa, hpa))
    if reason in ("FailedGetPodsMetric", "FailedGetObjectMetric", "FailedGetExternalMetric"):
        api = "external.metrics.k8s.io" if "External" in reason else "custom.metrics.k8s.io"
        return finding(
            CUSTOM_METRIC_MISSING,
            hpa,
            f"HorizontalPodAutoscaler {hpa.name} cannot scale{_of(target)} ({reason}): {message}. It asks for "
            f"{_metric_names(hpa) or 'a metric'} through {api}.",
            [*seen, seen_field(hpa, "spec.metrics", hpa.spec.get("metrics") or [])],
            related=[*related, ObjectRef("", "APIService", "", f"v1beta1.{api}")],
            metric_api=api,
            **_facts(hpa, hpa),
        )
    resource_reason = reason in (
        "FailedGetResourceMetric",
        "FailedGetContainerResourceMetric",
        "FailedComputeMetricsReplicas",
    )
    if not resource_reason or _MISSING_REQUEST.search(message) or _waits_for_pods(view, target):
        return None
    return finding(
        METRICS_UNAVAILABLE,
        hpa,
        f"HorizontalPodAutoscaler {hpa.name} cannot scale{_of(target)}: it gets no resource metrics ({reason}: "
        f"{message}).",
        seen,
        related=[*related, ObjectRef("", "APIService", "", "v1beta1.metrics.k8s.io"),
                 ObjectRef("apps/v1", "Deployment", "kube-system", "metrics-server")],
        **_facts(hpa, hpa),
    )  # fmt: skip


def _of(target: K8sObject | None) -> str:
    return f" {target.kind} {target.name}" if target is not None else ""


def _metric_names(hpa: K8sObject) -> str:
    names = []
    for metric in mappings(hpa.spec, "metrics"):
        for field in ("pods", "object", "external"):
            name = text(metric, field, "metric", "name")
            if name:
                names.append(name)
    return ", ".join(names)


def _waits_for_pods(view: ClusterView, target: K8sObject | None) -> bool:
    """Whether the target has no ready pod to measure: then its pods are the matter, not the metrics."""
    return target is not None and not any(is_ready(p) for p in view.pods_of(target))


ANALYZERS: tuple[Analyzer, ...] = (targets_without_requests, broken_autoscalers)
CODES: tuple[Code, ...] = (
    NO_REQUESTS,
    CONTAINER_MISSING,
    TARGET_MISSING,
    METRICS_UNAVAILABLE,
    CUSTOM_METRIC_MISSING,
    SELECTOR_TROUBLE,
)
