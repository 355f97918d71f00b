"""What to say about each reason why a pod finds no node: the pod's wish beside what the nodes have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agents.analyzers import scheduling_codes as codes
from agents.analyzers.base import Code, not_listed, seen_field
from agents.analyzers.fit import (
    allocatable,
    amount_words,
    free,
    is_cordoned,
    label_wishes,
    matches_labels,
    only_sick_nodes,
    pod_requests,
    taint_words,
    untolerated,
)
from agents.analyzers.nearness import listing, near_or_all, nearest
from agents.analyzers.pods import Case
from agents.cluster.objects import (
    K8sObject,
    containers,
    integer,
    mapping,
    mappings,
    pod_spec,
    pod_spec_path,
    strings,
    text,
)
from agents.cluster.selectors import label_selector
from agents.cluster.view import ClusterView
from agents.evidence import Evidence, ObjectRef


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A pod without a node: the code, the scheduler's words, and resource -> how many nodes lack it."""

    pod: K8sObject
    code: Code
    said: str
    resources: Mapping[str, int]


@dataclass(slots=True)
class Report:
    """What a reporter adds to a finding; `object` is set where something else than the workload is to be changed."""

    evidence: list[Evidence]
    related: list[ObjectRef]
    facts: dict[str, str]
    object: K8sObject | None = None


def _holder(case: Case[Unplaced]) -> tuple[K8sObject, str]:
    """Where the pod spec is to be changed: (object, field path of its pod spec)."""
    holder = case.workload if pod_spec(case.workload) else case.pod
    return holder, pod_spec_path(holder.kind)


def _resources(view: ClusterView, case: Case[Unplaced], report: Report) -> str:
    lacking = case.fact.resources
    resource = max(lacking, key=lambda name: lacking[name], default="cpu")
    report.facts["resource"] = resource
    asked = pod_requests(case.pod.spec).get(resource, 0.0)
    holder, base = _holder(case)
    for path, container in containers(pod_spec(holder)):
        amount = mapping(container, "resources", "requests").get(resource) or mapping(
            container, "resources", "limits"
        ).get(resource)
        if amount is not None and len(report.evidence) < 2:
            report.evidence.append(seen_field(holder, f"{base}.{path}.resources.requests.{resource}", str(amount)))
    nodes = [n for n in view.of_kind("Node") if matches_labels(case.pod.spec, n) and not untolerated(case.pod.spec, n)]
    words = amount_words(resource, asked)
    if not nodes:
        return f"it requests {words} of {resource}, and no node has that left"
    offers = [n for n in nodes if allocatable(n).get(resource, 0.0) > 0]
    if not offers:
        report.related += [n.ref for n in nodes[:5]]
        report.evidence.append(seen_field(nodes[0], "status.allocatable", mapping(nodes[0].status, "allocatable")))
        return f"it requests {words} of {resource}, and no node offers {resource} at all"
    largest = max(offers, key=lambda n: allocatable(n)[resource])
    most_free = max(offers, key=lambda n: free(view, n).get(resource, 0.0))
    has = amount_words(resource, allocatable(largest)[resource])
    left = amount_words(resource, max(0.0, free(view, most_free).get(resource, 0.0)))
    shown = text(mapping(largest.status, "allocatable"), resource)
    report.evidence.append(seen_field(largest, f"status.allocatable.{resource}", shown))
    if asked > allocatable(largest)[resource]:
        return (
            f"it requests {words} of {resource}, more than any node has: the largest, {largest.name}, has {has} "
            "allocatable, so it can never fit"
        )
    return (
        f"it requests {words} of {resource} and no node has that left (insufficient {resource}): the most is {left} of "
        f"{amount_words(resource, allocatable(most_free)[resource])} on node {most_free.name}"
    )


def _selector(view: ClusterView, case: Case[Unplaced], report: Report) -> str:
    holder, base = _holder(case)
    spec = case.pod.spec
    if mapping(spec, "nodeSelector"):
        report.evidence.append(seen_field(holder, f"{base}.nodeSelector", mapping(spec, "nodeSelector")))
    if mapping(spec, "affinity", "nodeAffinity"):
        report.evidence.append(
            seen_field(holder, f"{base}.affinity.nodeAffinity", mapping(spec, "affinity", "nodeAffinity"))
        )
    nodes = list(view.of_kind("Node"))
    parts = []
    for key, operator, values in label_wishes(spec):
        have = Counter(n.labels[key] for n in nodes if key in n.labels)
        if operator == "In" and any(v in have for v in values):
            continue
        wish = f"{key}={listing(values)}" if operator == "In" else f"{key} {operator} {listing(values, '')}".strip()
        report.facts.setdefault("label", wish.split(",")[0])
        if have:
            shown = near_or_all(values[0] if values else "", have, 6)
            parts.append(f"no node has {wish}; nodes have {key}: {listing(shown)}")
            witness = next(n for n in nodes if n.labels.get(key) == shown[0])
            report.evidence.append(seen_field(witness, f"metadata.labels[{key}]", shown[0]))
        else:
            keys = nearest(key, {k for n in nodes for k in n.labels}, 2)
            hint = f"; similar keys are {listing(keys)}" if keys else ""
            parts.append(f"no node has the label {key} (wanted {wish}){hint}")
            if nodes:
                labels = dict(nodes[-1].labels)
                report.evidence.append(seen_field(nodes[-1], "metadata.labels", labels))
    report.facts.setdefault("label", "KEY=VALUE")
    report.facts["node"] = nodes[-1].name if nodes else "NODE"
    return "; ".join(parts[:3]) or "no node has all the labels that it asks for together"


def _taints(view: ClusterView, case: Case[Unplaced], report: Report) -> str:
    fitting = [n for n in view.of_kind("Node") if matches_labels(case.pod.spec, n)]
    blocked = [(n, untolerated(case.pod.spec, n)) for n in fitting]
    told = [(n, t) for n, taints in blocked for t in taints if not _control_plane(t)] or [
        (n, t) for n, taints in blocked for t in taints
    ]
    counts = Counter(taint_words(t) for _, t in told)
    for words in list(counts)[:2]:
        node = next(n for n, t in told if taint_words(t) == words)
        report.evidence.append(seen_field(node, "spec.taints", mappings(node.spec, "taints")))
        report.facts.setdefault("node", node.name)
        report.facts.setdefault("taint", words)
    report.related += list(dict.fromkeys(n.ref for n, _ in told))[:10]
    holder, base = _holder(case)
    tolerations = mappings(pod_spec(holder), "tolerations")
    report.evidence.append(seen_field(holder, f"{base}.tolerations", tolerations or "none"))
    shown = listing(f"{words} on {count} node{'s' if count > 1 else ''}" for words, count in counts.most_common(4))
    return f"it does not tolerate the taint {shown}" if counts else "it does not tolerate the nodes' taints"


def _sick_nodes(view: ClusterView, case: Case[Unplaced], report: Report) -> str:
    fitting = [n for n in view.of_kind("Node") if matches_labels(case.pod.spec, n)]
    return _taints(view, case, report) if only_sick_nodes(case.pod.spec, fitting) else ""


def _control_plane(taint: Mapping[str, object]) -> bool:
    return text(taint, "key") in ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


def _cordoned(view: ClusterView, case: Case[Unplaced], report: Report) -> str:
    nodes = [n for n in view.of_kind("Node") if is_cordoned(n) and matches_labels(case.pod.spec, n)]
    for node in nodes[:3]:
        report.evidence.append(seen_field(node, "spec.unschedulable", "true"))
    report.related += [n.ref for n in nodes[:10]]
    report.facts["node"] = nodes[0].name if nodes else "NODE"
    if len(nodes) == 1:
        report.object = nodes[0]
    return f"the nodes that it may run on are cordoned (unschedulable): {listing(n.name for n in nodes[:6])}"


def _between_pods(view: ClusterView, case: Case[Unplaced], report: Report) -> str:
    """Pod affinity and anti-affinity: the rule, and how many pods it selects where."""
    anti = case.fact.code is codes.ANTI_AFFINITY
    field = "podAntiAffinity" if anti else "podAffinity"
    holder, base = _holder(case)
    rules = mappings(case.pod.spec, "affinity", field, "requiredDuringSchedulingIgnoredDuringExecution")
    if not rules:
        return "another pod's required anti-affinity keeps it away" if anti else ""
    report.evidence.append(seen_field(holder, f"{base}.affinity.{field}", rules))
    rule = rules[0]
    selector = label_selector(mapping(rule, "labelSelector"))
    report.facts["selector"] = str(selector) or "KEY=VALUE"
    spaces = strings(rule, "namespaces") or [case.pod.namespace]
    selected = [p for ns in spaces for p in view.select("Pod", ns, selector)]
    hosts = sorted({text(p.spec, "nodeName") for p in selected} - {""})
    key = text(rule, "topologyKey")
    nodes = [n for n in view.of_kind("Node") if matches_labels(case.pod.spec, n)]
    if anti:
        wanted = integer(case.workload.spec, "replicas")
        count = f"{wanted} replicas are wanted, " if wanted else ""
        return (
            f"it must not share a {key} with pods {selector}, and those are on {listing(hosts[:6])}; {count}"
            f"{len(nodes)} nodes have fitting labels"
        )
    report.related += [p.ref for p in selected[:5]]
    where = f"those are on {listing(hosts[:6])}" if hosts else "no such pod is on any node"
    return f"it must share a {key} with pods {selector}, and {where}"


def _spread(view: ClusterView, case: Case[Unplaced], report: Report) -> str:
    holder, base = _holder(case)
    constraints = mappings(case.pod.spec, "topologySpreadConstraints")
    report.evidence.append(seen_field(holder, f"{base}.topologySpreadConstraints", constraints))
    parts = []
    for constraint in constraints:
        if text(constraint, "whenUnsatisfiable") == "ScheduleAnyway":
            continue
        key = text(constraint, "topologyKey")
        domains = sorted({n.labels[key] for n in view.of_kind("Node") if key in n.labels})
        shown = listing(domains[:6], "no node has this label")
        parts.append(f"maxSkew {text(constraint, 'maxSkew')} over {key} (domains: {shown})")
    return f"the topology spread constraint cannot be kept: {'; '.join(parts)}"


def _host_port(view: ClusterView, case: Case[Unplaced], report: Report) -> str:
    wanted = {integer(p, "hostPort") for c in mappings(case.pod.spec, "containers") for p in mappings(c, "ports")}
    wanted -= {None, 0}
    holders: list[str] = []
    for pod in view.of_kind("Pod"):
        if not text(pod.spec, "nodeName") or pod.ref == case.pod.ref:
            continue
        for path, container in containers(pod.spec):
            for port in mappings(container, "ports"):
                if integer(port, "hostPort") in wanted and len(holders) < 5:
                    holders.append(f"{pod.namespace}/{pod.name} on {text(pod.spec, 'nodeName')}")
                    report.related.append(pod.ref)
                    if len(report.evidence) < 2:
                        report.evidence.append(seen_field(pod, f"spec.{path}.ports", port))
    ports = listing(str(p) for p in sorted(p for p in wanted if p is not None))
    return f"host port {ports} is taken on every fitting node ({listing(holders, 'by whom is not known')})"


def _too_many(view: ClusterView, case: Case[Unplaced], report: Report) -> str:
    nodes = [n for n in view.of_kind("Node") if free(view, n).get("pods", 1.0) < 1]
    for node in nodes[:2]:
        report.evidence.append(seen_field(node, "status.allocatable.pods", text(node.status, "allocatable", "pods")))
    report.related += [n.ref for n in nodes[:10]]
    return f"the nodes run as many pods as they may ({listing(n.name for n in nodes[:6])})"


def _volumes(view: ClusterView, case: Case[Unplaced], report: Report) -> str:
    parts = []
    for reference in view.references(case.pod):
        if reference.target.kind != "PersistentVolumeClaim":
            continue
        report.related.append(reference.target)
        report.facts.setdefault("claim", reference.target.name)
        claim = view.resolve(reference.target)
        if claim is None:
            if view.listed("PersistentVolumeClaim", case.pod.namespace):
                names = [c.name for c in view.in_namespace("PersistentVolumeClaim", case.pod.namespace)]
                report.evidence.append(not_listed(view, reference.target, near_or_all(reference.target.name, names)))
                parts.append(f"claim {reference.target.name} does not exist")
            continue
        phase = text(claim.status, "phase") or "Pending"
        volume = view.get("PersistentVolume", "", text(claim.spec, "volumeName"))
        if case.fact.code is codes.CLAIM and phase != "Bound":
            report.evidence.append(seen_field(claim, "status.phase", phase))
            parts.append(f"claim {claim.name} is {phase}")
        elif volume is not None and mapping(volume.spec, "nodeAffinity"):
            affinity = mapping(volume.spec, "nodeAffinity")
            report.related.append(volume.ref)
            report.evidence.append(seen_field(volume, "spec.nodeAffinity", affinity))
            wishes = _wishes(affinity)
            parts.append(f"volume {volume.name} of claim {claim.name} can only be used on nodes with {wishes}")
    return "; ".join(parts[:3])


def _wishes(affinity: Mapping[str, object]) -> str:
    found = []
    for term in mappings(affinity, "required", "nodeSelectorTerms"):
        for expression in mappings(term, "matchExpressions"):
            found.append(f"{text(expression, 'key')}={listing(strings(expression, 'values'))}")
    return listing(found[:4], "certain labels")


def _gated(view: ClusterView, case: Case[Unplaced], report: Report) -> str:
    gates = [text(g, "name") for g in mappings(case.pod.spec, "schedulingGates")]
    report.evidence.append(seen_field(case.pod, "spec.schedulingGates", gates))
    return f"it has the scheduling gate {listing(gates)}, and nobody has removed it"


def _no_scheduler(view: ClusterView, case: Case[Unplaced], report: Report) -> str:
    name = text(case.pod.spec, "schedulerName") or "default-scheduler"
    report.evidence.append(seen_field(case.pod, "spec.schedulerName", name))
    if name != "default-scheduler":
        return f"its schedulerName is {name} (not default-scheduler), and no scheduler of that name has looked at it"
    masters = [p for p in view.in_namespace("Pod", "kube-system") if p.labels.get("component") == "kube-scheduler"]
    report.related += [p.ref for p in masters[:3]]
    return "no scheduler has looked at it: there is neither a condition nor an event"


REPORTS: Mapping[str, Callable[[ClusterView, Case[Unplaced], Report], str]] = {
    codes.INSUFFICIENT_CPU.name: _resources,
    codes.INSUFFICIENT_MEMORY.name: _resources,
    codes.INSUFFICIENT_OTHER.name: _resources,
    codes.SELECTOR.name: _selector,
    codes.TAINTS.name: _taints,
    codes.CORDONED.name: _cordoned,
    codes.AFFINITY.name: _between_pods,
    codes.ANTI_AFFINITY.name: _between_pods,
    codes.SPREAD.name: _spread,
    codes.HOST_PORT.name: _host_port,
    codes.TOO_MANY_PODS.name: _too_many,
    codes.VOLUME_COUNT.name: _volumes,
    codes.CLAIM.name: _volumes,
    codes.GATED.name: _gated,
    codes.NO_SCHEDULER.name: _no_scheduler,
    codes.UNSCHEDULABLE.name: _sick_nodes,
}
