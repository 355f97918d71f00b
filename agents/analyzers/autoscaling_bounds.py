"""Autoscalers that work but are held: at their maximum, without room to move, or against another controller.

A bound that was reached is a warning with the use that drives it; two controllers of one number are a warning each
time; what only might hurt at the next apply is an info.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import orjson

from agents.analyzers.autoscaling import autoscalers, condition_evidence, percent_metrics, target_ref
from agents.analyzers.base import Analyzer, Code, Role, finding, seen_field
from agents.analyzers.ownership import manual_change_note
from agents.cluster.objects import K8sObject, dig, integer, mapping, mappings, strings, text
from agents.cluster.secrets import LAST_APPLIED
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Finding, Severity

_D, _C = Domain.PERFORMANCE, Role.CAUSE
_TOLERANCE = 1.1  # the controller's own
_STARVED = 1.5  # half as much again as the pods are meant to carry: users feel it now
AT_MAXIMUM = Code(
    "hpa-at-maximum", _D, Severity.WARNING, _C, "An autoscaler stands at its maximum and wants more",
    "If the nodes have room, raise it: `kubectl -n {ns} patch hpa {name} -p "
    "'{{\"spec\":{{\"maxReplicas\":{higher}}}}}'`\n"
    "Look first at what makes the load (a slow dependency, a retry storm): `kubectl -n {ns} top pods`{gitops}", 0.9,
)  # fmt: skip
FIXED_BOUNDS = Code(
    "hpa-min-equals-max", _D, Severity.INFO, Role.RISK, "An autoscaler's minimum equals its maximum: it never scales",
    "Raise maxReplicas, or delete the autoscaler and set `replicas`:\n`kubectl -n {ns} edit hpa {name}`{gitops}", 0.95,
)  # fmt: skip
SHARED_TARGET = Code(
    "hpa-shared-target", _D, Severity.ERROR, _C, "Two autoscalers change the replicas of the same workload",
    "Keep one and give it all the metrics (an HPA takes the highest proposal):\n`kubectl -n {ns} get hpa`\n"
    "`kubectl -n {ns} delete hpa {other}`{gitops}", 0.95,
)  # fmt: skip
VPA_CONFLICT = Code(
    "vpa-and-hpa-conflict", _D, Severity.WARNING, Role.RISK,
    "A VerticalPodAutoscaler changes the requests by which a HorizontalPodAutoscaler scales",
    "Set the VPA's `updateMode: \"Off\"` (recommendations only), or let the HPA scale by a custom metric:\n"
    "`kubectl -n {ns} edit vpa {name}`{gitops}", 0.9,
)  # fmt: skip
REPLICAS_FIXED = Code(
    "hpa-replicas-in-manifest", _D, Severity.INFO, Role.RISK,
    "The manifest of an autoscaled workload sets `replicas`: each apply undoes the autoscaler",
    "Take `spec.replicas` out of the manifest (first: `kubectl apply edit-last-applied {kind}/{name} -n "
    "{ns}`){gitops}", 0.85,
)  # fmt: skip


def _facts(changed: K8sObject) -> dict[str, Any]:
    return {"gitops": manual_change_note(changed)}


def bounded(view: ClusterView) -> Iterator[Finding]:
    """Autoscalers at their maximum that want more, and those whose bounds leave no room."""
    for hpa in autoscalers(view):
        least, most = integer(hpa.spec, "minReplicas"), integer(hpa.spec, "maxReplicas")
        least = 1 if least is None else least
        target = target_ref(hpa)
        if most is not None and least == most:
            yield finding(
                FIXED_BOUNDS,
                hpa,
                f"HorizontalPodAutoscaler {hpa.name} has minReplicas {least} and maxReplicas {most}: {target.kind} "
                f"{target.name} always has {most} replicas, whatever the load.",
                [seen_field(hpa, "spec.minReplicas", least), seen_field(hpa, "spec.maxReplicas", most)],
                related=[target],
                **_facts(hpa),
            )
        limited = hpa.condition("ScalingLimited")
        current = integer(hpa.status, "currentReplicas")
        capped = limited.get("status") == "True" and text(limited, "reason") == "TooManyReplicas"
        over = _over_target(hpa)
        if most is None or most <= 0 or not (capped or (current is not None and current >= most and over)):
            continue
        yield finding(
            AT_MAXIMUM,
            hpa,
            f"HorizontalPodAutoscaler {hpa.name} keeps {target.kind} {target.name} at its maximum of {most} replicas "
            "and "
            f"wants more{f' ({over})' if over else ''}: from here on more load makes it slower.",
            [
                *condition_evidence(hpa, "ScalingLimited"),
                seen_field(hpa, "spec.maxReplicas", most),
                *([seen_field(hpa, "status.currentMetrics", hpa.status.get("currentMetrics"))] if over else []),
            ],
            severity=Severity.ERROR if _over_target(hpa, _STARVED) else None,
            related=[target, *(p.ref for p in _pods(view, hpa)[:10])],
            higher=max(most + 1, most + most // 2),
            **_facts(hpa),
        )


def _pods(view: ClusterView, hpa: K8sObject) -> tuple[K8sObject, ...]:
    target = view.resolve(target_ref(hpa))
    return view.pods_of(target) if target is not None else ()


def _over_target(hpa: K8sObject, times: float = _TOLERANCE) -> str:
    """`cpu at 140% of the request, target 70%` for the first metric above so many times its target; "" when none is."""
    wanted = {w.resource: w.target for w in percent_metrics(hpa) if not w.container}
    for metric in mappings(hpa.raw, "status", "currentMetrics"):
        name, now = text(metric, "resource", "name"), integer(metric, "resource", "current", "averageUtilization")
        aim = wanted.get(name, "")
        if now is not None and aim and now > int(aim.rstrip("%")) * times:
            return f"{name} at {now}% of the request, target {aim}"
    return ""


def shared_targets(view: ClusterView) -> Iterator[Finding]:
    """Two or more autoscalers of one workload: each sets the replicas that the other set back."""
    by_target: dict[tuple[str, str, str], list[K8sObject]] = defaultdict(list)
    for hpa in autoscalers(view):
        by_target[target_ref(hpa).key].append(hpa)
    for (kind, _, name), group in by_target.items():
        if len(group) < 2 or not name:
            continue
        first, *others = sorted(group, key=lambda h: (str(h.created), h.name))
        names = ", ".join(h.name for h in group)
        yield finding(
            SHARED_TARGET,
            others[0],
            f"{kind} {name} is scaled by {len(group)} HorizontalPodAutoscalers ({names}): each undoes what the other "
            "sets, and "
            "newer controllers refuse to scale at all (AmbiguousSelector).",
            [seen_field(h, "spec.scaleTargetRef", mapping(h.spec, "scaleTargetRef")) for h in (first, *others)][:4],
            related=[target_ref(first), first.ref],
            other=others[0].name,
            **_facts(others[0]),
        )


def vertical_conflicts(view: ClusterView) -> Iterator[Finding]:
    """VPAs that change the very resource by which an HPA of the same workload scales."""
    by_target = {target_ref(hpa).key: hpa for hpa in autoscalers(view)}
    for vpa in view.of_kind("VerticalPodAutoscaler"):
        target = mapping(vpa.spec, "targetRef")
        hpa = by_target.get((text(target, "kind"), vpa.namespace, text(target, "name")))
        mode = text(vpa.spec, "updatePolicy", "updateMode") or "Auto"
        if hpa is None or mode == "Off":
            continue
        controlled = {
            r
            for policy in mappings(vpa.spec, "resourcePolicy", "containerPolicies")
            for r in strings(policy, "controlledResources")
        } or {"cpu", "memory"}
        both = sorted({w.resource for w in percent_metrics(hpa)} & controlled)
        if not both:
            continue
        yield finding(
            VPA_CONFLICT,
            vpa,
            f"VerticalPodAutoscaler {vpa.name} (updateMode {mode}) changes the {', '.join(both)} request of "
            f"{text(target, 'kind')} {text(target, 'name')}, and HorizontalPodAutoscaler {hpa.name} scales by a "
            "percentage of "
            "that request: the two chase each other.",
            [
                seen_field(vpa, "spec.updatePolicy.updateMode", mode),
                seen_field(hpa, "spec.metrics", hpa.spec.get("metrics") or []),
            ],
            related=[hpa.ref, target_ref(hpa)],
            **_facts(vpa),
        )


def fixed_replicas(view: ClusterView) -> Iterator[Finding]:
    """Autoscaled workloads whose applied manifest sets `replicas`."""
    for hpa in autoscalers(view):
        target = view.resolve(target_ref(hpa))
        if target is None:
            continue
        replicas = _applied_replicas(target)
        least, most = integer(hpa.spec, "minReplicas") or 1, integer(hpa.spec, "maxReplicas") or 0
        if replicas is None or least == most:
            continue
        yield finding(
            REPLICAS_FIXED,
            target,
            f"The manifest last applied for {target.kind} {target.name} sets replicas: {replicas}, and "
            f"HorizontalPodAutoscaler {hpa.name} scales it between {least} and {most}: each apply sets it back to "
            f"{replicas}.",
            [
                seen_field(target, f"metadata.annotations[{LAST_APPLIED}]", f"spec.replicas: {replicas}"),
                seen_field(hpa, "spec.maxReplicas", most),
            ],
            related=[hpa.ref],
            **_facts(target),
        )


def _applied_replicas(target: K8sObject) -> int | None:
    applied = target.annotations.get(LAST_APPLIED)
    if not applied:
        return None
    try:
        return integer(dig(orjson.loads(applied), "spec"), "replicas")
    except orjson.JSONDecodeError:
        return None


ANALYZERS: tuple[Analyzer, ...] = (bounded, shared_targets, vertical_conflicts, fixed_replicas)
CODES: tuple[Code, ...] = (AT_MAXIMUM, FIXED_BOUNDS, SHARED_TARGET, VPA_CONFLICT, REPLICAS_FIXED)
