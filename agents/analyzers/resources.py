"""Requests, limits and quotas as they are written: what has none, and what is nearly given away.

Nothing here needs usage figures; those are in `agents.analyzers.usage`. Missing requests and limits are an info unless
the node is short of memory now; a single full node is an info, a cluster with no room left is a warning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from agents.analyzers.base import Analyzer, Code, Role, finding, seen_field
from agents.analyzers.ownership import deployed_workloads, is_platform_namespace, manual_change_note
from agents.analyzers.pods import is_over
from agents.cluster.objects import (
    K8sObject,
    containers,
    is_sidecar,
    mapping,
    mappings,
    pod_spec,
    pod_spec_path,
    quantity,
    string_map,
    text,
)
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, Severity

_D, _R = Domain.PERFORMANCE, Role.RISK

NO_REQUESTS = Code(
    "best-effort-workload", _D, Severity.INFO, _R,
    "A workload sets neither requests nor limits: it is placed blindly and evicted first",
    "Set what a pod normally uses (`kubectl -n {ns} top pods`), memory with a limit:\n"
    "`kubectl -n {ns} set resources {kind}/{name} --requests=cpu=100m,memory=128Mi "
    "--limits=memory=256Mi`{gitops}", 0.92,
)  # fmt: skip
NO_MEMORY_LIMIT = Code(
    "memory-limit-missing", _D, Severity.INFO, _R, "A container has no memory limit: its leak hurts its neighbours",
    "Set a limit somewhat above the peak: `kubectl -n {ns} set resources {kind}/{name} -c {container} "
    "--limits=memory=512Mi`{gitops}", 0.9,
)  # fmt: skip
QUOTA_NEARLY_FULL = Code(
    "quota-nearly-full", _D, Severity.WARNING, _R, "A namespace has nearly used up a quota",
    "Free what is not needed, lower requests, or raise the quota before the next rollout (a rollout needs room for "
    "its\n"
    "surge): `kubectl -n {ns} describe resourcequota {name}`{gitops}", 0.93,
)  # fmt: skip
CLUSTER_NEARLY_FULL = Code(
    "cluster-nearly-full", _D, Severity.WARNING, _R, "The requests of the pods leave no room on any node",
    "Add a node, or lower requests that are far above use:\n`kubectl describe nodes | grep -A6 'Allocated resources'`\n"
    "`kubectl top pods -A --sort-by=memory`", 0.9,
)  # fmt: skip
NODE_NEARLY_FULL = Code(
    "node-nearly-full", _D, Severity.INFO, _R, "The requests of a node's pods take nearly all of it",
    "Nothing has to be done while other nodes have room:\n`kubectl describe node {name} | grep -A8 'Allocated "
    "resources'`",
    0.9,
)  # fmt: skip

_NEARLY = 0.9
_RESOURCES = ("cpu", "memory")


def show(resource: str, amount: float) -> str:
    """A quantity as people write it: `250m`, `2`, `512Mi`, `1.5Gi`."""
    if "cpu" in resource:
        return f"{amount:g}" if amount >= 1 and amount == int(amount) else f"{amount * 1000:.0f}m"
    if "memory" in resource or "storage" in resource:
        for unit, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
            if amount >= size:
                return f"{amount / size:.4g}{unit}"
    return f"{amount:g}"


@lru_cache(maxsize=4096)
def _parsed(written: str) -> float:
    return quantity({"v": written}, "v") or 0.0


def _requested(holder: Mapping[str, Any], resource: str) -> float:
    requests = mapping(holder, "resources", "requests")
    written = requests.get(resource)
    return _parsed(written) if isinstance(written, str) else quantity(requests, resource) or 0.0


def pod_request(pod: K8sObject, resource: str) -> float:
    """What the scheduler reserves for a pod (cores, bytes): the containers together, or the largest init container."""
    spec = pod.spec
    whole = quantity(spec, "resources", "requests", resource) if "resources" in spec else None
    if whole is not None:
        return whole
    running = sum(_requested(c, resource) for c in mappings(spec, "containers"))
    sidecars = largest_init = 0.0
    for container in mappings(spec, "initContainers"):
        amount = _requested(container, resource)
        if is_sidecar(container):
            sidecars += amount
        else:
            largest_init = max(largest_init, amount + sidecars)
    overhead = quantity(spec, "overhead", resource) or 0.0 if "overhead" in spec else 0.0
    return max(running + sidecars, largest_init) + overhead


# -- workloads ---------------------------------------------------------------------------------------------------------


def unbounded_workloads(view: ClusterView) -> Iterator[Finding]:
    """Workloads that serve without requests, and containers without a memory limit."""
    pressed = {n.name for n in view.of_kind("Node") if n.condition("MemoryPressure").get("status") == "True"}
    for workload in deployed_workloads(view):
        if is_platform_namespace(workload.namespace) or workload.kind in ("Job", "CronJob", "Pod"):
            continue
        if any(True for _ in view.in_namespace("LimitRange", workload.namespace)):
            continue  # defaults are filled in when the pods are made
        spec, base = pod_spec(workload), pod_spec_path(workload.kind)
        if mapping(spec, "resources"):
            continue
        found = [(path, text(c, "name"), mapping(c, "resources")) for path, c in containers(spec)]
        if not found:
            continue
        if not any(mapping(r, "requests") or mapping(r, "limits") for _, _, r in found):
            nodes = sorted({text(p.spec, "nodeName") for p in view.pods_of(workload)} & pressed)
            yield _best_effort(workload, base, found, nodes)
            continue
        without = [(p, n) for p, n, r in found if quantity(r, "limits", "memory") is None and not p.startswith("init")]
        if without:
            names = ", ".join(name for _, name in without)
            path = f"{base}.{without[0][0]}.resources.limits.memory"
            yield finding(
                NO_MEMORY_LIMIT,
                workload,
                f"{workload.kind} {workload.name}: container {names} has no memory limit.",
                [Evidence(kind="absence", object=workload.ref, locator=path, excerpt=f"{path} is not set")],
                container=without[0][1],
                gitops=manual_change_note(workload),
            )


def _best_effort(
    workload: K8sObject, base: str, found: list[tuple[str, str, Mapping[str, Any]]], pressed: list[str]
) -> Finding:
    worse = f" Node {', '.join(pressed)} is short of memory now, so its pods go first." if pressed else ""
    path = f"{base}.{found[0][0]}.resources"
    return finding(
        NO_REQUESTS,
        workload,
        f"{workload.kind} {workload.name} sets neither requests nor limits (QoS BestEffort): the scheduler counts it "
        "as "
        f"nothing, and it is the first to be evicted.{worse}",
        [Evidence(kind="absence", object=workload.ref, locator=path, excerpt=f"{path} sets no requests and no limits")],
        severity=Severity.WARNING if pressed else None,
        gitops=manual_change_note(workload),
    )


# -- quotas ------------------------------------------------------------------------------------------------------------


def nearly_full_quotas(view: ClusterView) -> Iterator[Finding]:
    """Quotas with a resource at 90 % or more; counted objects only when one more does not fit into the tenth left."""
    for quota in view.of_kind("ResourceQuota"):
        hard, used = string_map(quota.raw, "status", "hard"), mapping(quota.raw, "status", "used")
        tight = []
        for resource, limit_text in hard.items():
            limit, now = quantity({"v": limit_text}, "v"), quantity(used, resource)
            if limit is None or now is None or limit <= 0:
                continue
            countable = "cpu" not in resource and "memory" not in resource and "storage" not in resource
            if now / limit >= _NEARLY and (not countable or limit >= 5):
                tight.append((now / limit, resource, text(used, resource), limit_text))
        if not tight:
            continue
        tight.sort(reverse=True)
        shown = ", ".join(f"{r} {u} of {h} ({share:.0%})" for share, r, u, h in tight[:5])
        yield finding(
            QUOTA_NEARLY_FULL,
            quota,
            f"ResourceQuota {quota.name} of namespace {quota.namespace} is nearly used up: {shown}. The next pods "
            "may be "
            "refused (exceeded quota).",
            [seen_field(quota, f"status.used[{r}]", f"{u} of {h}") for _, r, u, h in tight[:4]],
            gitops=manual_change_note(quota),
        )


# -- nodes -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Filling:
    node: K8sObject
    resource: str
    requested: float
    allocatable: float

    @property
    def share(self) -> float:
        return self.requested / self.allocatable

    @property
    def words(self) -> str:
        taken, whole = show(self.resource, self.requested), show(self.resource, self.allocatable)
        return f"{self.node.name}: {self.resource} {taken} of {whole} ({self.share:.0%})"

    @property
    def evidence(self) -> Evidence:
        field = f"status.allocatable.{self.resource}"
        taken = show(self.resource, self.requested)
        return seen_field(
            self.node, field, f"{text(self.node.status, 'allocatable', self.resource)}, {taken} requested"
        )


def full_nodes(view: ClusterView) -> Iterator[Finding]:
    """Nodes whose pods request nearly everything; one warning where no worker has room left."""
    if not view.listed("Pod"):
        return
    by_node: dict[str, list[K8sObject]] = defaultdict(list)
    for pod in view.of_kind("Pod"):
        if not is_over(pod):
            by_node[text(pod.spec, "nodeName")].append(pod)
    fillings: dict[str, list[_Filling]] = defaultdict(list)
    for node in view.of_kind("Node"):
        if _is_reserved(node):
            continue
        for resource in _RESOURCES:
            room = quantity(node.status, "allocatable", resource)
            if room:
                requested = sum(pod_request(p, resource) for p in by_node.get(node.name, ()))
                fillings[resource].append(_Filling(node, resource, requested, room))
    for resource, filled in fillings.items():
        full = [f for f in filled if f.share >= _NEARLY]
        full.sort(key=lambda f: -f.share)
        if full and len(full) == len(filled) and len(filled) > 1:
            words = "; ".join(f.words for f in full[:5])
            yield finding(
                CLUSTER_NEARLY_FULL,
                full[0].node,
                f"All {len(full)} nodes for ordinary pods have {resource} requested to 90 % and more ({words}): the "
                "loss of a "
                "node, or a rollout's surge, has nowhere to go.",
                [f.evidence for f in full[:4]],
                related=[f.node.ref for f in full[1:20]],
            )
            continue
        for one in full[:10]:
            message = f"The pods of node {one.words} request nearly all of it."
            yield finding(NODE_NEARLY_FULL, one.node, message, [one.evidence])


def _is_reserved(node: K8sObject) -> bool:
    """Whether ordinary pods are not meant to land there: cordoned, or tainted so that they do not."""
    return node.spec.get("unschedulable") is True or any(
        text(taint, "effect") in ("NoSchedule", "NoExecute") for taint in mappings(node.spec, "taints")
    )


ANALYZERS: tuple[Analyzer, ...] = (unbounded_workloads, nearly_full_quotas, full_nodes)
CODES: tuple[Code, ...] = (
    NO_REQUESTS,
    NO_MEMORY_LIMIT,
    QUOTA_NEARLY_FULL,
    CLUSTER_NEARLY_FULL,
    NODE_NEARLY_FULL,
)
