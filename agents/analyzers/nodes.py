"""Nodes that cannot carry pods: not ready, under pressure, without a network, with a kubelet of another age.

Why a node is not ready is read from its condition: a kubelet that went silent, a container runtime that is down, and
a network plugin that is missing are three faults with three remedies. A cordoned node is somebody's will.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from agents.analyzers.base import Analyzer, Code, Role, finding, seen_event, seen_field
from agents.analyzers.pods import events_of
from agents.cluster.objects import K8sObject, mapping, mappings, moment, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

LEASE_SILENCE = timedelta(minutes=2)
LEASE_PLAUSIBLE = timedelta(hours=6)

_LOOK = "`kubectl describe node {name}`\n"
UNREACHABLE = Code(
    "node-kubelet-silent",
    Domain.TROUBLESHOOTING,
    Severity.CRITICAL,
    Role.CAUSE,
    "A node's kubelet has stopped reporting",
    "See whether the machine is up and reachable, then its kubelet; replace the node if it does not come back:\n"
    + _LOOK
    + "on the node: `systemctl status kubelet`, `journalctl -u kubelet --since -30min`",
    0.95,
)
RUNTIME = Code(
    "node-runtime-down",
    Domain.TROUBLESHOOTING,
    Severity.CRITICAL,
    Role.CAUSE,
    "A node's container runtime does not answer",
    "Mend the container runtime on the node:\n"
    + _LOOK
    + "on the node: `systemctl status containerd`, `journalctl -u containerd --since -30min`, `crictl info`",
    0.95,
)
NETWORK_PLUGIN = Code(
    "node-network-plugin-not-ready",
    Domain.NETWORKING,
    Severity.CRITICAL,
    Role.CAUSE,
    "A node's network plugin (CNI) is not ready",
    "See that the CNI's pod runs on this node and wrote its configuration:\n"
    "`kubectl -n kube-system get pods -o wide --field-selector spec.nodeName={name}`\n"
    "on the node: `ls /etc/cni/net.d`, `journalctl -u kubelet --since -30min`",
    0.95,
)
NOT_READY = Code(
    "node-not-ready",
    Domain.TROUBLESHOOTING,
    Severity.CRITICAL,
    Role.CAUSE,
    "A node is not ready",
    "Mend what the condition names:\n" + _LOOK + "on the node: `journalctl -u kubelet --since -30min`",
)
DISK = Code(
    "node-disk-pressure",
    Domain.TROUBLESHOOTING,
    Severity.ERROR,
    Role.CAUSE,
    "A node has too little disk: it takes no pods and evicts some",
    "Free space on the node (images, logs, emptyDir of pods), then give it more or limit `ephemeral-storage`:\n"
    + _LOOK
    + "on the node: `df -h`, `crictl rmi --prune`, `du -xsh /var/log /var/lib/containerd /var/lib/kubelet`",
    0.95,
)
MEMORY = Code(
    "node-memory-pressure",
    Domain.PERFORMANCE,
    Severity.ERROR,
    Role.CAUSE,
    "A node has too little memory: it takes no best-effort pods and evicts some",
    "Find who uses the memory, set limits or move pods; reserve memory for the system:\n"
    + _LOOK
    + "`kubectl top pods -A --sort-by=memory`",
    0.95,
)
PID = Code(
    "node-pid-pressure",
    Domain.PERFORMANCE,
    Severity.ERROR,
    Role.CAUSE,
    "A node is running out of process ids",
    "Find the pod that makes processes without end, and set a limit of pids in the kubelet:\n"
    + _LOOK
    + "on the node: `ps -eo pid,ppid,comm --sort=ppid | tail`, `sysctl kernel.pid_max`",
    0.95,
)
NETWORK = Code(
    "node-network-unavailable",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "The network of a node is not set up",
    "See the route or CNI controller that sets this condition:\n"
    + _LOOK
    + "`kubectl -n kube-system get pods -o wide --field-selector spec.nodeName={name}`",
)
CORDONED = Code(
    "node-cordoned",
    Domain.DEPLOYMENT,
    Severity.INFO,
    Role.RISK,
    "A node takes no new pods, by somebody's will",
    "When the maintenance is over: `kubectl uncordon {name}`",
)
LEASE = Code(
    "node-heartbeat-late",
    Domain.TROUBLESHOOTING,
    Severity.WARNING,
    Role.CAUSE,
    "A node's heartbeat is late",
    "See whether the machine and its kubelet answer:\n" + _LOOK + "`kubectl -n kube-node-lease get lease {name} -o "
    "yaml`",
    0.7,
)
SKEW = Code(
    "node-version-skew",
    Domain.DEPLOYMENT,
    Severity.WARNING,
    Role.RISK,
    "A node's kubelet is outside the supported version skew",
    "Upgrade the kubelet of the node ({version}; the control plane is {server}), drained first:\n"
    "`kubectl drain {name} --ignore-daemonsets --delete-emptydir-data`\n`kubectl get nodes`",
    0.95,
)
_PRESSURES: tuple[tuple[str, Code], ...] = (
    ("DiskPressure", DISK),
    ("MemoryPressure", MEMORY),
    ("PIDPressure", PID),
    ("NetworkUnavailable", NETWORK),
)


def _pods_on(view: ClusterView, node: K8sObject) -> list[ObjectRef]:
    """The pods on a node and the workloads that they belong to, DaemonSets left out; at most 40."""
    found: dict[ObjectRef, None] = {}
    for pod in view.derived(_by_node).get(node.name, ()):
        top = view.top_owner(pod)
        if top.kind not in ("DaemonSet", "Node") and text(pod.status, "phase") not in ("Succeeded", "Failed"):
            found[top.ref] = None
            found[pod.ref] = None
    return list(found)[:40]


def _by_node(view: ClusterView) -> Mapping[str, tuple[K8sObject, ...]]:
    index: dict[str, list[K8sObject]] = {}
    for pod in view.of_kind("Pod"):
        index.setdefault(text(pod.spec, "nodeName"), []).append(pod)
    return {name: tuple(pods) for name, pods in index.items()}


def _show(node: K8sObject, kind: str) -> Evidence:
    condition = node.condition(kind)
    shown = {k: condition[k] for k in ("status", "reason", "message", "lastTransitionTime") if k in condition}
    return seen_field(node, f"status.conditions[{kind}]", shown)


def readiness(view: ClusterView) -> Iterator[Finding]:
    """Nodes whose Ready condition is not True, told apart by what it says."""
    for node in view.of_kind("Node"):
        condition = node.condition("Ready")
        if not condition or condition.get("status") == "True" or node.deleting_since is not None:
            continue
        said = f"{text(condition, 'reason')}: {text(condition, 'message')}"
        code = _why(condition)
        since = moment(condition, "lastTransitionTime")
        hurt = _pods_on(view, node)
        pods = sum(1 for r in hurt if r.kind == "Pod")
        clock = f" since {since:%Y-%m-%d %H:%M} UTC" if since else ""
        last = text(condition, "lastHeartbeatTime")
        silent = f" Its last heartbeat was at {last}." if code is UNREACHABLE and last else ""
        events = [e for e in events_of(view, node.ref) if e.warning or e.reason == "NodeNotReady"][:2]
        evidence = [_show(node, "Ready"), *map(seen_event, events)]
        taints = [f"{text(t, 'key')}:{text(t, 'effect')}" for t in mappings(node.spec, "taints")]
        if taints:
            evidence.append(seen_field(node, "spec.taints", ", ".join(taints)))
        drained = node.spec.get("unschedulable") is True and not pods
        yield finding(
            code,
            node,
            f"Node {node.name} is NotReady{clock} ({said}).{silent} {pods} pods of workloads are on it.",
            evidence,
            severity=Severity.WARNING if drained else None,  # cordoned and empty: somebody works on it
            related=hurt,
        )


def _why(condition: Mapping[str, Any]) -> Code:
    said = f"{text(condition, 'reason')} {text(condition, 'message')}".lower()
    if condition.get("status") == "Unknown" or "stopped posting" in said or "nodestatusunknown" in said:
        return UNREACHABLE
    if re.search(r"network ?plugin|cni|networkready=false|networkpluginnotready", said):
        return NETWORK_PLUGIN
    if re.search(r"container runtime|pleg|runtime is down|runtimeready=false|containerd|cri-o|docker", said):
        return RUNTIME
    return NOT_READY


def pressures(view: ClusterView) -> Iterator[Finding]:
    """Nodes under pressure; not those whose kubelet is silent, for then these conditions are unknown."""
    for node in view.of_kind("Node"):
        for kind, code in _PRESSURES:
            condition = node.condition(kind)
            if condition.get("status") != "True":
                continue
            since = moment(condition, "lastTransitionTime")
            clock = f" since {since:%Y-%m-%d %H:%M} UTC" if since else ""
            events = [e for e in events_of(view, node.ref) if e.warning][:2]
            yield finding(
                code,
                node,
                f"Node {node.name} reports {kind}{clock} ({text(condition, 'reason')}: {text(condition, 'message')}).",
                [_show(node, kind), *map(seen_event, events)],
                related=[*_pods_on(view, node), *_evicted_from(view, node)],
            )


def _evicted_from(view: ClusterView, node: K8sObject) -> list[ObjectRef]:
    return [
        p.ref
        for p in view.derived(_by_node).get(node.name, ())
        if text(p.status, "reason") in ("Evicted", "Preempting")
    ][:20]


def cordoned(view: ClusterView) -> Iterator[Finding]:
    """Nodes that are marked unschedulable and are otherwise well."""
    for node in view.of_kind("Node"):
        if node.spec.get("unschedulable") is True and node.condition("Ready").get("status") == "True":
            yield finding(
                CORDONED,
                node,
                f"Node {node.name} is cordoned (SchedulingDisabled): it runs what it has and takes no new pods.",
                [seen_field(node, "spec.unschedulable", "true")],
            )


def heartbeats(view: ClusterView) -> Iterator[Finding]:
    """Nodes that still count as ready though their lease has not been renewed for minutes."""
    leases = view.in_namespace("Lease", "kube-node-lease")
    renewed = {lease.name: when for lease in leases if (when := moment(lease.spec, "renewTime")) is not None}
    if not renewed:
        return
    # a lease list read at another time than the clock says would make every node late; the youngest tells
    youngest = max(renewed.values())
    for node in view.of_kind("Node"):
        when = renewed.get(node.name)
        if when is None or node.condition("Ready").get("status") != "True":
            continue
        silence = youngest - when
        if LEASE_SILENCE < silence < LEASE_PLAUSIBLE:
            lease = view.get("Lease", "kube-node-lease", node.name)
            evidence = [_show(node, "Ready")]
            if lease is not None:
                evidence.insert(0, seen_field(lease, "spec.renewTime", when.isoformat()))
            yield finding(
                LEASE,
                node,
                f"Node {node.name} last renewed its lease at {when:%H:%M:%S} UTC, {int(silence.total_seconds())} "
                f"seconds "
                "before other nodes did; it will be marked NotReady if this goes on.",
                evidence,
            )


def versions(view: ClusterView) -> Iterator[Finding]:
    """Kubelets newer than the control plane, or more than three minor versions older (the supported skew)."""
    server = _minor(view.identity.server_version) or _minor_of_control_plane(view)
    if server is None:
        return
    for node in view.of_kind("Node"):
        version = text(node.status, "nodeInfo", "kubeletVersion")
        minor = _minor(version)
        if minor is None or minor[0] != server[0] or 0 <= server[1] - minor[1] <= 3:
            continue
        relation = "newer than" if minor[1] > server[1] else f"{server[1] - minor[1]} minor versions older than"
        yield finding(
            SKEW,
            node,
            f"Node {node.name} runs kubelet {version}, which is {relation} the control plane "
            f"(v{server[0]}.{server[1]}); the kubelet may be at most three minor versions older and never newer.",
            [seen_field(node, "status.nodeInfo.kubeletVersion", version)],
            version=version,
            server=f"v{server[0]}.{server[1]}",
        )


def _minor(version: str) -> tuple[int, int] | None:
    found = re.match(r"v?(\d{1,3})\.(\d{1,3})", version)
    return (int(found[1]), int(found[2])) if found else None


def _minor_of_control_plane(view: ClusterView) -> tuple[int, int] | None:
    for pod in view.in_namespace("Pod", "kube-system"):
        if pod.labels.get("component") == "kube-apiserver":
            for container in mappings(mapping(pod.spec), "containers"):
                return _minor(text(container, "image").rpartition(":")[2])
    return None


CODES: tuple[Code, ...] = (
    UNREACHABLE,
    RUNTIME,
    NETWORK_PLUGIN,
    NOT_READY,
    DISK,
    MEMORY,
    PID,
    NETWORK,
    CORDONED,
    LEASE,
    SKEW,
)
ANALYZERS: tuple[Analyzer, ...] = (readiness, pressures, cordoned, heartbeats, versions)
