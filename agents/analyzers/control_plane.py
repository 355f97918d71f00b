"""The cluster's own parts: DNS, kube-proxy, the network plugin, scheduler, controllers, etcd and the API server.

A part is reported when it does no work for the cluster: none of its pods is ready, or nodes are left without it. What
is wrong with the pod itself (an image, a crash) is told by the checks of workloads; its own words are given along.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from agents.analyzers.backing import grep, is_selecting, pods_behind, service_ports
from agents.analyzers.base import Analyzer, Code, Role, finding, missing_field, seen_event, seen_field, seen_log
from agents.analyzers.failing_calls import UNRESOLVED
from agents.analyzers.nearness import listing
from agents.analyzers.pods import (
    containers_of,
    events_of,
    is_over,
    is_ready,
    is_scheduled,
    last_words,
    state_evidence,
    unwell_pods,
)
from agents.cluster.objects import K8sObject, integer, mapping, moment, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

UNREADY_PATIENCE = timedelta(minutes=2)

_LOOK = "`kubectl -n {ns} get pods -o wide | grep {part}`\n`kubectl -n {ns} logs {pod} --tail=50 --previous`\n"
DNS = Code(
    "coredns-unhealthy",
    Domain.NETWORKING,
    Severity.CRITICAL,
    Role.CAUSE,
    "The cluster's DNS does not answer",
    "Bring CoreDNS back; a bad Corefile, too little memory or missing pods are the usual reasons:\n"
    + _LOOK
    + "`kubectl -n kube-system scale deployment coredns --replicas=2`",
)
DNS_CONFIG = Code(
    "coredns-config-broken",
    Domain.NETWORKING,
    Severity.CRITICAL,
    Role.CAUSE,
    "The Corefile of the cluster's DNS is wrong",
    "Take the last change of the Corefile back, then restart CoreDNS:\n"
    "`kubectl -n {ns} edit configmap {name}`\n"
    "`kubectl -n {ns} rollout restart deployment coredns`",
    0.95,
)
DNS_SERVICE = Code(
    "cluster-dns-service-missing",
    Domain.NETWORKING,
    Severity.CRITICAL,
    Role.CAUSE,
    "No Service leads to the cluster's DNS",
    "Restore the Service kube-dns (port 53 UDP and TCP, selector k8s-app=kube-dns, the cluster DNS address that "
    "kubelets "
    "are configured with):\n`kubectl -n kube-system get service,endpointslices`",
    0.85,
)
DNS_UPSTREAM = Code(
    "coredns-upstream-failing",
    Domain.NETWORKING,
    Severity.WARNING,
    Role.CAUSE,
    "The cluster's DNS gets no answer for outside names",
    "See which server CoreDNS forwards to and whether nodes reach it:\n"
    "`kubectl -n {ns} get configmap coredns -o jsonpath='{{.data.Corefile}}'`\n"
    "`kubectl -n {ns} logs -l k8s-app=kube-dns --tail=100`",
    0.8,
)
PROXY = Code(
    "kube-proxy-unhealthy",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "Nodes are without kube-proxy, so Service addresses do not work there",
    "Bring kube-proxy back on the nodes ({nodes}):\n" + _LOOK + "`kubectl -n {ns} rollout status daemonset {name}`",
)
CNI = Code(
    "cni-unhealthy",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "Nodes are without their network plugin",
    "Bring the network plugin back on the nodes ({nodes}):\n" + _LOOK + "`kubectl -n {ns} rollout status daemonset "
    "{name}`",
)
COMPONENT = Code(
    "control-plane-component-unhealthy",
    Domain.TROUBLESHOOTING,
    Severity.CRITICAL,
    Role.CAUSE,
    "A part of the control plane does not work",
    "Mend the static pod on its node (its manifest is in /etc/kubernetes/manifests):\n" + _LOOK,
)
_CNI_NAMES = re.compile(
    r"^(?:calico-node|canal|cilium|kube-flannel.*|flannel|weave-net|aws-node|azure-cni.*|antrea-agent|kube-router|"
    r"ovnkube-node|netd|multus|kube-ovn-cni|kindnet)$"
)
_COMPONENTS = {
    "kube-scheduler": "new pods stay Pending",
    "kube-controller-manager": "rollouts, scaling, endpoints and garbage collection stand still",
    "etcd": "the cluster's state cannot be read or written safely",
    "kube-apiserver": "the API does not answer everywhere",
}


@dataclass(frozen=True, slots=True)
class _Part:
    """The pods of a part that do no work, and its own words about it."""

    pods: tuple[K8sObject, ...]
    unready: tuple[K8sObject, ...]
    evidence: tuple[Evidence, ...]
    words: str


def _part(view: ClusterView, pods: tuple[K8sObject, ...]) -> _Part:
    living = tuple(p for p in pods if not is_over(p) and p.deleting_since is None)
    unready = tuple(p for p in living if not is_ready(p) and _long_unready(view, p))
    evidence: list[Evidence] = []
    words: list[str] = []
    for pod in unready[:1]:
        for container in containers_of(pod):
            if container.ready:
                continue
            evidence.extend(state_evidence(container)[:2])
            limits = mapping(container.spec, "resources", "limits")
            if text(container.ended, "reason") == "OOMKilled" and limits:
                evidence.append(seen_field(pod, f"{container.path}.resources.limits", dict(limits)))
            reason = container.waiting or text(container.ended, "reason") or "not ready"
            words.append(f"{container.name}: {reason}")
            previous, number, lines = last_words(view, container)
            if lines:
                evidence.append(seen_log(pod, container.name, lines[-3:], previous=previous, number=number))
        if not is_scheduled(pod):
            scheduling = list(events_of(view, pod.ref, "FailedScheduling"))[:1]
            evidence.extend(map(seen_event, scheduling))
            words.extend(e.message for e in scheduling)
    return _Part(living, unready, tuple(evidence), "; ".join(words))


def _long_unready(view: ClusterView, pod: K8sObject) -> bool:
    age = view.age(moment(pod.condition("Ready"), "lastTransitionTime") or pod.created)
    return age is None or age >= UNREADY_PATIENCE


def _dns_workloads(view: ClusterView) -> list[K8sObject]:
    found = [*view.in_namespace("Deployment", "kube-system"), *view.in_namespace("DaemonSet", "kube-system")]
    return [w for w in found if w.name in ("coredns", "kube-dns", "rke2-coredns-rke2-coredns")]


def dns(view: ClusterView) -> Iterator[Finding]:
    """CoreDNS without a ready pod; its broken configuration is named instead where its log says so."""
    for workload in _dns_workloads(view):
        part = _part(view, view.pods_of(workload))
        wanted = integer(workload.spec, "replicas")
        ready = [p for p in part.pods if is_ready(p)]
        if wanted == 0 or (part.pods and not ready and len(part.unready) == len(part.pods)):
            broken = _config_words(view, part.unready)
            if broken:
                yield _config_finding(view, workload, part, broken)
                continue
            why = (
                "it is scaled to zero" if wanted == 0 else f"none of its {len(part.pods)} pods is ready ({part.words})"
            )
            yield finding(
                DNS,
                workload,
                f"The cluster's DNS ({workload.kind} {workload.name}) does not answer: {why}. Names do not resolve "
                f"in any "
                "pod.",
                [seen_field(workload, "spec.replicas", wanted if wanted is not None else 1), *part.evidence][:5],
                related=[*(p.ref for p in part.unready), *_deaf(view)],
                part=workload.name,
                pod=part.unready[0].name if part.unready else "POD",
            )
        elif not part.unready and ready:
            yield from _upstream(view, workload, ready)


def _deaf(view: ClusterView) -> list[ObjectRef]:
    """The workloads whose logs say that names do not resolve, with their pods; at most 20."""
    found: dict[ObjectRef, None] = {}
    for pod in unwell_pods(view):
        if len(found) < 20 and grep(view, pod, UNRESOLVED.search):
            found |= {view.top_owner(pod).ref: None, pod.ref: None}
    return list(found)


def _config_words(view: ClusterView, pods: tuple[K8sObject, ...]) -> list[Evidence]:
    pattern = re.compile(
        r"Corefile:\d+|unknown directive|plugin/loop: Loop|unknown property|not a valid|unexpected token|"
        r"wrong argument count|plugin/[a-z]+: .*(?:invalid|error|no such|unable)",
        re.IGNORECASE,
    )
    return [e for pod in pods[:3] for e in grep(view, pod, pattern.search)][:2]


def _config_finding(view: ClusterView, workload: K8sObject, part: _Part, broken: list[Evidence]) -> Finding:
    config = view.get("ConfigMap", workload.namespace, workload.name) or view.get("ConfigMap", "kube-system", "coredns")
    target = config if config is not None else workload
    evidence = [*broken]
    if config is not None:
        evidence.append(seen_field(config, "data.Corefile", text(config.raw, "data", "Corefile")))
    return finding(
        DNS_CONFIG,
        target,
        f"CoreDNS cannot use its Corefile ({target.kind} {target.name}); it says: {broken[0].excerpt.splitlines()[-1]}",
        [*evidence, *part.evidence][:5],
        related=[workload.ref, *(p.ref for p in part.unready), *_deaf(view)],
    )


def _upstream(view: ClusterView, workload: K8sObject, pods: list[K8sObject]) -> Iterator[Finding]:
    pattern = re.compile(r"\[ERROR\] plugin/errors: \d+ (?!HINFO).*(?:i/o timeout|connection refused|unreachable)")
    heard = [e for p in pods for e in grep(view, p, pattern.search, 5)]
    if sum(e.excerpt.count("\n") + 1 for e in heard) < 5:
        return
    yield finding(
        DNS_UPSTREAM,
        workload,
        f"CoreDNS ({workload.kind} {workload.name}) gets no answer from the servers it forwards to: outside names "
        f"fail or "
        f"are slow. It says: {heard[0].excerpt.splitlines()[-1]}",
        heard[:2],
        related=[p.ref for p in pods[:5]],
    )


def dns_service(view: ClusterView) -> Iterator[Finding]:
    """DNS pods run, and no Service in kube-system leads to them on port 53."""
    workloads = _dns_workloads(view)
    if not workloads or not view.listed("Service", "kube-system"):
        return
    wanted = {p.ref for w in workloads for p in view.pods_of(w)}
    candidates = [
        s
        for s in view.in_namespace("Service", "kube-system")
        if is_selecting(s) and any(p.port == 53 for p in service_ports(s))
    ]
    # a Service of the right ports and the wrong selector is told by the checks of Services
    if candidates or not wanted:
        return
    others = [
        s.name for s in view.in_namespace("Service", "kube-system") if wanted & {p.ref for p in pods_behind(view, s)}
    ]
    workload = workloads[0]
    yield finding(
        DNS_SERVICE,
        workload,
        f"No Service in kube-system leads to {workload.kind} {workload.name} on port 53 (Services that select its "
        f"pods: "
        f"{listing(others)}): pods ask an address that nobody answers.",
        [missing_field(workload, "Service kube-dns", "no Service with port 53 in kube-system")],
    )


def daemons(view: ClusterView) -> Iterator[Finding]:
    """kube-proxy and network plugins that are missing or not ready on nodes."""
    for workload in view.of_kind("DaemonSet"):
        is_proxy = workload.name == "kube-proxy"
        if not is_proxy and not _CNI_NAMES.match(workload.name):
            continue
        part = _part(view, view.pods_of(workload))
        if not part.unready:
            continue
        nodes = [text(p.spec, "nodeName") for p in part.unready if text(p.spec, "nodeName")]
        silent = [n for n in nodes if _node_is_down(view, n)]
        if silent and len(silent) == len(nodes):
            continue  # the node is the fault, not what runs on it
        everywhere = len(part.unready) == len(part.pods)
        what = "Service addresses do not work" if is_proxy else "new pods get no network"
        yield finding(
            PROXY if is_proxy else CNI,
            workload,
            f"{workload.name} is not ready on {len(part.unready)} of {len(part.pods)} nodes ({listing(nodes[:4])}): "
            f"{what} "
            f"there. {part.words}",
            [
                seen_field(workload, "status.numberReady", integer(workload.status, "numberReady") or 0),
                *part.evidence,
            ][:5],
            severity=Severity.CRITICAL if everywhere else None,
            related=[*(p.ref for p in part.unready[:20]), *(ObjectRef("v1", "Node", "", n) for n in nodes[:20])],
            nodes=listing(nodes[:6]),
            part=workload.name,
            pod=part.unready[0].name,
        )


def _node_is_down(view: ClusterView, name: str) -> bool:
    node = view.get("Node", "", name)
    return node is not None and node.condition("Ready").get("status") in ("False", "Unknown")


def components(view: ClusterView) -> Iterator[Finding]:
    """Static pods of the control plane that are not ready."""
    groups: dict[str, list[K8sObject]] = {}
    for pod in view.in_namespace("Pod", "kube-system"):
        name = pod.labels.get("component", "")
        if name in _COMPONENTS:
            groups.setdefault(name, []).append(pod)
    for name, pods in groups.items():
        part = _part(view, tuple(pods))
        if not part.unready or all(_node_is_down(view, text(p.spec, "nodeName")) for p in part.unready):
            continue
        all_down = len(part.unready) == len(part.pods)
        pod = part.unready[0]
        yield finding(
            COMPONENT,
            pod,
            f"{name} is not ready on {listing(text(p.spec, 'nodeName') for p in part.unready)} "
            f"({len(part.unready)} of {len(part.pods)}): "
            f"{_COMPONENTS[name] if all_down else 'the others carry on alone'}. "
            f"{part.words}",
            [
                seen_field(pod, "status.conditions[Ready]", pod.condition("Ready").get("message") or "False"),
                *part.evidence,
            ][:5],
            severity=None if all_down else Severity.ERROR,
            related=[p.ref for p in part.unready[1:]] + _waiting(view, name, all_down),
            part=name,
            pod=pod.name,
        )


def _waiting(view: ClusterView, component: str, all_down: bool) -> list[ObjectRef]:
    if component != "kube-scheduler" or not all_down:
        return []
    found = [p for p in view.of_kind("Pod") if not is_scheduled(p) and text(p.status, "phase") == "Pending"]
    return list(dict.fromkeys(r for p in found[:20] for r in (view.top_owner(p).ref, p.ref)))


CODES: tuple[Code, ...] = (DNS, DNS_CONFIG, DNS_SERVICE, DNS_UPSTREAM, PROXY, CNI, COMPONENT)
ANALYZERS: tuple[Analyzer, ...] = (dns, dns_service, daemons, components)
