"""What will hurt at the next drain, upgrade or hang: single replicas, missing probes, unfit disruption budgets.

Nothing here is broken now. Only workloads that serve (a Service selects them) are judged; system and operator
namespaces, workloads that are single on purpose (a ReadWriteOnce volume, Recreate) and test namespaces get remarks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agents.analyzers.backing import is_selecting, template_labels, workloads_behind
from agents.analyzers.base import Analyzer, Code, Role, finding, missing_field, seen_field
from agents.analyzers.fit import is_cordoned, is_node_ready
from agents.analyzers.nearness import listing
from agents.analyzers.pods import is_ready
from agents.cluster.objects import K8sObject, integer, mapping, mappings, pod_spec, text
from agents.cluster.selectors import label_selector
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_D, _W, _R = Domain.DEPLOYMENT, Severity.WARNING, Role.RISK
_EDIT = "`kubectl -n {ns} edit {kind} {name}`"

SINGLE = Code(
    "single-replica-without-disruption-budget", _D, _W, _R,
    "A serving workload has 1 replica and no PodDisruptionBudget",
    "Run two: `kubectl -n {ns} scale {kind} {name} --replicas=2`\nand keep one during drains: `kubectl -n {ns} create "
    "poddisruptionbudget {name} --selector={selector} --max-unavailable=1`", 0.92,
)  # fmt: skip
NO_LIVENESS = Code(
    "no-liveness-probe", _D, _W, _R, "A serving container has no liveness probe, so a hang is not noticed",
    "Add a `livenessProbe` (a cheap path that does not ask other services) to container {container}: " + _EDIT, 0.9,
)  # fmt: skip
NO_READINESS = Code(
    "no-readiness-probe", _D, _W, _R, "A serving container has no readiness probe, so it gets traffic too early",
    "Add a `readinessProbe` to container {container}: " + _EDIT, 0.9,
)  # fmt: skip
PDB_BLOCKS = Code(
    "pdb-blocks-every-eviction", _D, _W, _R, "The disruption budget allows no eviction at all, so a drain never ends",
    "Let one pod go: `kubectl -n {ns} patch poddisruptionbudget {name} --type merge -p "
    "'{{\"spec\":{{\"minAvailable\":null,\"maxUnavailable\":1}}}}'`\nor run more replicas than minAvailable.", 0.94,
)  # fmt: skip
PDB_NOTHING = Code(
    "pdb-selects-nothing", _D, _W, _R, "The disruption budget selects no pod, so it protects nothing",
    "Compare its selector with the labels: `kubectl -n {ns} get pods --show-labels`\nCorrect it: `kubectl -n {ns} edit "
    "poddisruptionbudget {name}`", 0.92,
)  # fmt: skip
PDB_OVERLAP = Code(
    "pdb-overlap", _D, _W, _R, "Two disruption budgets select the same pods, so every eviction of them fails",
    "Keep one of them: `kubectl -n {ns} get poddisruptionbudgets`", 0.94,
)  # fmt: skip
ONE_NODE = Code(
    "all-replicas-on-one-node", _D, Severity.INFO, _R, "All replicas run on one node",
    "Spread them: add `topologySpreadConstraints` over `kubernetes.io/hostname` to " + _EDIT, 0.9,
)  # fmt: skip

SYSTEM_NAMESPACES = re.compile(
    r"^(?:kube-.*|.*-system|openshift(?:-.*)?|cattle-.*|ingress(?:-.*)?|.*-ingress|cert-manager|monitoring|observability|"
    r"logging|.*-operators?|operators?|argocd|argo(?:-.*)?|flux.*|velero|istio.*|linkerd.*|keda|prometheus.*|grafana|"
    r"local-path-storage|gatekeeper.*|kyverno|external-secrets|vault|tekton.*|crossplane.*|knative.*|security-tools)$"
)
_NOT_PRODUCTION = re.compile(
    r"(?:^|-)(?:dev|devel|development|test|testing|tests|sandbox|staging|stage|qa|demo|playground)(?:-|$)"
)


def _calm(namespace: str) -> bool:
    """Whether remarks are enough for this namespace."""
    return bool(SYSTEM_NAMESPACES.match(namespace) or _NOT_PRODUCTION.search(namespace))


def _serving(view: ClusterView) -> Mapping[tuple[str, str, str], tuple[K8sObject, list[K8sObject]]]:
    """workload key -> (workload, the Services that select it), for workloads that want pods."""
    return view.derived(_find_serving)


def _find_serving(view: ClusterView) -> Mapping[tuple[str, str, str], tuple[K8sObject, list[K8sObject]]]:
    found: dict[tuple[str, str, str], tuple[K8sObject, list[K8sObject]]] = {}
    for service in view.of_kind("Service"):
        if not is_selecting(service):
            continue
        for workload in workloads_behind(view, service):
            if workload.kind in ("Deployment", "StatefulSet") and _replicas(workload) > 0:
                found.setdefault(workload.ref.key, (workload, []))[1].append(service)
    return found


def _replicas(workload: K8sObject) -> int:
    replicas = integer(workload.spec, "replicas")
    return 1 if replicas is None else replicas


def _budgets(view: ClusterView, workload: K8sObject) -> list[K8sObject]:
    labels = template_labels(workload)
    return [
        b
        for b in view.in_namespace("PodDisruptionBudget", workload.namespace)
        if label_selector(mapping(b.spec, "selector")).matches(labels)
    ]


def single_replicas(view: ClusterView) -> Iterator[Finding]:
    """Serving workloads of one replica that a drain takes down."""
    for workload, services in _serving(view).values():
        if _replicas(workload) != 1 or not view.listed("PodDisruptionBudget", workload.namespace):
            continue
        if _budgets(view, workload) or _scaled_up(view, workload):
            continue
        selector = ",".join(f"{k}={v}" for k, v in template_labels(workload).items())
        on_purpose = workload.kind == "StatefulSet" or _is_single_by_nature(workload) or _calm(workload.namespace)
        names = listing(s.name for s in services[:3])
        message = (
            f"{workload.kind} {workload.name} has 1 replica and no PodDisruptionBudget: when its node is drained or "
            f"fails, Service {names} has no pod until a new one is ready."
        )
        note = f"no PodDisruptionBudget in namespace {workload.namespace} selects these pods"
        evidence = [
            seen_field(workload, "spec.replicas", workload.spec.get("replicas", 1)),
            seen_field(services[0], "spec.selector", mapping(services[0].spec, "selector")),
            _absence(view, workload, note),
        ]
        yield finding(
            SINGLE, workload, message, evidence, related=[s.ref for s in services[:5]], selector=selector,
            severity=Severity.INFO if on_purpose else None,
        )  # fmt: skip


def _absence(view: ClusterView, workload: K8sObject, note: str) -> Evidence:
    ref = ObjectRef("policy/v1", "PodDisruptionBudget", workload.namespace, workload.name)
    return Evidence(
        kind="absence", object=ref, locator="list of PodDisruptionBudget", excerpt=note, observed_at=view.taken_at
    )


def _scaled_up(view: ClusterView, workload: K8sObject) -> bool:
    """Whether an autoscaler keeps more than one replica."""
    for scaler, reference in view.referrers(workload.ref):
        if reference.role == "scale-target" and (integer(scaler.spec, "minReplicas") or 1) > 1:
            return True
    return False


def _is_single_by_nature(workload: K8sObject) -> bool:
    claims = any("persistentVolumeClaim" in v for v in mappings(pod_spec(workload), "volumes"))
    return claims or text(workload.spec, "strategy", "type") == "Recreate"


def missing_probes(view: ClusterView) -> Iterator[Finding]:
    """Serving containers without a liveness or a readiness probe."""
    for workload, services in _serving(view).values():
        for index, container in enumerate(mappings(pod_spec(workload), "containers")):
            if not mappings(container, "ports") or not _is_target(container, services):
                continue
            for code, probe in ((NO_LIVENESS, "livenessProbe"), (NO_READINESS, "readinessProbe")):
                if mapping(container, probe):
                    continue
                yield _missing_probe(workload, services, index, container, (code, probe))


def _is_target(container: Mapping[str, Any], services: list[K8sObject]) -> bool:
    """Whether a Service's targetPort is one of this container's ports."""
    declared = {text(p, "containerPort") for p in mappings(container, "ports")}
    declared |= {text(p, "name") for p in mappings(container, "ports")} - {""}
    for service in services:
        for port in mappings(service.spec, "ports"):
            if (text(port, "targetPort") or text(port, "port")) in declared:
                return True
    return False


def _missing_probe(
    workload: K8sObject, services: list[K8sObject], index: int, container: Mapping[str, Any], what: tuple[Code, str]
) -> Finding:
    code, probe = what
    name = text(container, "name")
    effect = (
        "a program that hangs is not restarted"
        if code is NO_LIVENESS
        else "a pod gets traffic before it can answer, and keeps it when it cannot"
    )
    message = (
        f"Container {name} of {workload.kind} {workload.name} serves {services[0].name} without a {probe}: {effect}."
    )
    path = f"spec.template.spec.containers[{index}]"
    evidence = [
        missing_field(workload, f"{path}.{probe}"),
        seen_field(workload, f"{path}.ports", mappings(container, "ports")),
    ]
    calm = _calm(workload.namespace) or workload.kind == "StatefulSet"
    return finding(
        code, workload, message, evidence, related=[s.ref for s in services[:3]], container=name,
        severity=Severity.INFO if calm else None,
    )  # fmt: skip


def disruption_budgets(view: ClusterView) -> Iterator[Finding]:
    """Budgets that allow nothing, select nothing, or overlap."""
    for budget in view.of_kind("PodDisruptionBudget"):
        selector = label_selector(mapping(budget.spec, "selector"))
        shown = seen_field(budget, "spec", mapping(budget.raw, "spec"))
        severity = Severity.INFO if _calm(budget.namespace) else None
        pods = [p for p in view.select("Pod", budget.namespace, selector) if text(p.status, "phase") == "Running"]
        if not pods:
            if view.listed("Pod", budget.namespace) and not _waits_for_pods(view, budget):
                nothing = f"no pod in {budget.namespace} has these labels"
                message = f"PodDisruptionBudget {budget.name} selects {selector}; {nothing}."
                yield finding(PDB_NOTHING, budget, message, [shown], severity=severity)
            continue
        tops = list({view.top_owner(p).ref: view.top_owner(p) for p in pods}.values())
        expected = integer(budget.status, "expectedPods") or len(pods)
        if _allows_nothing(budget, expected):
            names = listing(f"{t.kind} {t.name}" for t in tops[:3])
            message = (
                f"PodDisruptionBudget {budget.name} ({_rule(budget)}) never lets one of the {expected} pods of {names} "
                "be evicted: a drain of their node waits for ever."
            )
            status = {k: budget.status[k] for k in ("disruptionsAllowed", "expectedPods", "desiredHealthy")
                      if k in budget.status}  # fmt: skip
            yield finding(
                PDB_BLOCKS, budget, message, [shown, seen_field(budget, "status", status)], severity=severity,
                related=[t.ref for t in tops[:5]],
            )  # fmt: skip
        yield from _overlaps(view, budget, tops, shown)


def _waits_for_pods(view: ClusterView, budget: K8sObject) -> bool:
    """Whether the budget selects a workload that has no pods just now (scaled to zero, or its pods are not running)."""
    selector = label_selector(mapping(budget.spec, "selector"))
    kinds = ("Deployment", "StatefulSet", "Pod", "ReplicaSet")
    for kind in kinds:
        for workload in view.in_namespace(kind, budget.namespace):
            labels = workload.labels if kind == "Pod" else template_labels(workload)
            if selector.matches(labels):
                return True
    return False


def _rule(budget: K8sObject) -> str:
    return listing(f"{k}: {text(budget.spec, k)}" for k in ("minAvailable", "maxUnavailable") if k in budget.spec)


def _allows_nothing(budget: K8sObject, expected: int) -> bool:
    away, least = text(budget.spec, "maxUnavailable"), text(budget.spec, "minAvailable")
    if away:
        return away in ("0", "0%")
    if least.endswith("%"):
        percent = integer({"v": least[:-1]}, "v") or 0
        return -(-expected * percent // 100) >= expected  # the API rounds a share up
    return least.isdigit() and int(least) >= expected


def _overlaps(view: ClusterView, budget: K8sObject, tops: list[K8sObject], shown: Evidence) -> Iterator[Finding]:
    for workload in tops:
        others = [b for b in _budgets(view, workload) if b.name > budget.name]
        if others and workload.kind != "Pod":
            message = (
                f"PodDisruptionBudgets {budget.name} and {listing(b.name for b in others[:3])} both select the pods of "
                f"{workload.kind} {workload.name}: the eviction API refuses pods with more than one budget."
            )
            evidence = [shown, *(seen_field(b, "spec", mapping(b.raw, "spec")) for b in others[:2])]
            yield finding(PDB_OVERLAP, budget, message, evidence, related=[workload.ref, *(b.ref for b in others[:3])])


def one_node(view: ClusterView) -> Iterator[Finding]:
    """Serving workloads whose replicas all run on the same node although others are free."""
    usable = [
        n for n in view.of_kind("Node") if is_node_ready(n) and not is_cordoned(n) and not mappings(n.spec, "taints")
    ]
    if len(usable) < 2:
        return
    for workload, services in _serving(view).values():
        pods = [p for p in view.pods_of(workload) if is_ready(p)]
        nodes = {text(p.spec, "nodeName") for p in pods}
        if len(pods) < 2 or len(nodes) != 1 or _calm(workload.namespace):
            continue
        node = next(iter(nodes))
        message = (
            f"All {len(pods)} ready pods of {workload.kind} {workload.name} run on node {node}; its loss takes all."
        )
        evidence = [seen_field(p, "spec.nodeName", node) for p in pods[:3]]
        related = [ObjectRef("v1", "Node", "", node), *(s.ref for s in services[:2])]
        yield finding(ONE_NODE, workload, message, evidence, related=related)


CODES: tuple[Code, ...] = (SINGLE, NO_LIVENESS, NO_READINESS, PDB_BLOCKS, PDB_NOTHING, PDB_OVERLAP, ONE_NODE)
ANALYZERS: tuple[Analyzer, ...] = (single_replicas, missing_probes, disruption_budgets, one_node)
