"""NetworkPolicies that cut what is needed inside the cluster: name resolution, known clients, known dependencies.

A set of policies that works is silent: a finding needs a symptom, pods that struggle or log lines that say so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from agents.analyzers.address_book import Address, clients_of, uses_cluster_dns
from agents.analyzers.backing import (
    grep,
    has_log,
    is_selecting,
    is_troubled,
    pods_behind,
    service_ports,
    target_number,
    template_labels,
    workload_pods,
    workloads_in,
)
from agents.analyzers.base import Analyzer, Code, Role, finding, seen_field
from agents.analyzers.failing_calls import UNREACHABLE, UNRESOLVED, log_failures, speaks_of
from agents.analyzers.policy_model import (
    Direction,
    Door,
    Peer,
    allowed,
    door_of,
    isolated_namespaces,
    namespace_labels,
    newest,
    pod_peer,
    policies_for,
    policy_types,
    show_rules,
)
from agents.cluster.objects import K8sObject, mapping, mappings, pod_spec, text
from agents.cluster.selectors import label_selector
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

BLOCKS_DNS = Code(
    "policy-blocks-dns",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A NetworkPolicy cuts pods off from the cluster's DNS",
    "Allow DNS beside what the policy allows already: add this rule to its `egress`, or make it a policy of its own:\n"
    "`- to: [{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: kube-system}}}}, podSelector: "
    "{{matchLabels: {{k8s-app: kube-dns}}}}}}]`\n"
    "`  ports: [{{protocol: UDP, port: {port}}}, {{protocol: TCP, port: {port}}}]`\n"
    "`kubectl -n {ns} edit networkpolicy {name}`",
    0.95,
)
BLOCKS_INGRESS = Code(
    "policy-blocks-ingress",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A NetworkPolicy keeps known clients away from the pods they call",
    "Let the clients in: add a rule to the policy's `ingress` that matches them ({client}) on port {port}:\n"
    "`kubectl -n {ns} describe networkpolicy {name}`\n"
    "`kubectl -n {ns} edit networkpolicy {name}`",
    0.85,
)
BLOCKS_EGRESS = Code(
    "policy-blocks-egress",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "A NetworkPolicy forbids pods to call what they need",
    "Let the pods out: add a rule to the policy's `egress` for {target} on port {port}:\n"
    "`kubectl -n {ns} describe networkpolicy {name}`\n"
    "`kubectl -n {ns} edit networkpolicy {name}`",
    0.85,
)
SELECTS_NOTHING = Code(
    "policy-selects-nothing",
    Domain.NETWORKING,
    Severity.INFO,
    Role.RISK,
    "A NetworkPolicy selects no pod, so it protects nothing",
    "Compare the policy's selector with the labels of the pods it was made for:\n"
    "`kubectl -n {ns} get networkpolicy {name} -o jsonpath='{{.spec.podSelector}}'`\n"
    "`kubectl -n {ns} get pods --show-labels`",
    0.8,
)


def blocked_dns(view: ClusterView) -> Iterator[Finding]:
    """Policies that leave no way to the cluster's DNS for pods which show that they need one."""
    servers = view.derived(_dns_servers)
    hurt: dict[ObjectRef, list[K8sObject]] = defaultdict(list)
    culprits: dict[ObjectRef, tuple[K8sObject, tuple[K8sObject, ...]]] = {}
    for namespace in isolated_namespaces(view):
        for pod in view.in_namespace("Pod", namespace):
            if not has_log(view, pod) and not is_troubled(view, pod):
                continue  # nothing shows, whatever the policies say
            policies = policies_for(view, pod, "egress")
            if not policies or pod.deleting_since is not None or not uses_cluster_dns(pod):
                continue
            if any(allowed(policies, "egress", peer, door) for peer, door in servers):
                continue
            policy = newest(policies, "egress", view.taken_at.replace(year=1970))
            culprits[policy.ref] = (policy, policies)
            hurt[policy.ref].append(pod)
    for key, (policy, policies) in culprits.items():
        yield from _dns_finding(view, policy, policies, hurt[key], servers[0][1].number)


def _dns_finding(
    view: ClusterView, policy: K8sObject, policies: tuple[K8sObject, ...], pods: list[K8sObject], port: int
) -> Iterator[Finding]:
    logs: list[Evidence] = []
    troubled = [p for p in pods if is_troubled(view, p)]
    for pod in sorted(pods, key=lambda p: p not in troubled)[:40]:
        if len(logs) < 2:
            logs.extend(grep(view, pod, UNRESOLVED.search)[:1])
    unread = [p for p in troubled if not has_log(view, p)]
    if not logs and not unread:
        return
    tops = {view.top_owner(p).ref: view.top_owner(p) for p in (troubled or pods)}
    who = ", ".join(f"{w.kind} {w.name}" for w in list(tops.values())[:3])
    others = [p for p in policies if p.ref != policy.ref]
    beside = f" (nor does {', '.join(p.name for p in others[:3])})" if others else ""
    evidence = [
        seen_field(policy, "spec.egress", show_rules(policy, "egress")),
        seen_field(policy, "spec.podSelector", str(label_selector(mapping(policy.spec, "podSelector"))) or "all pods"),
        *logs,
    ]
    if troubled:
        condition = troubled[0].condition("Ready")
        shown = {k: condition[k] for k in ("status", "reason", "message", "lastTransitionTime") if k in condition}
        evidence.append(seen_field(troubled[0], "status.conditions[Ready]", shown))
    since = f" (created {policy.created:%Y-%m-%d %H:%M} UTC)" if policy.created else ""
    yield finding(
        BLOCKS_DNS,
        policy,
        f"NetworkPolicy {policy.name}{since} restricts the egress of {who} and no rule allows DNS (port 53 to kube-dns)"
        f"{beside}, so names no longer resolve there{_near_miss(view, policies)}. "
        f"It allows only: {show_rules(policy, 'egress')}.",
        evidence[:5],
        severity=Severity.ERROR if logs or unread else Severity.WARNING,
        confidence=0.97 if logs else 0.75,
        related=[*tops, *(p.ref for p in pods[:20]), *(p.ref for p in others[:5])],
        port=port,
    )


def _near_miss(view: ClusterView, policies: tuple[K8sObject, ...]) -> str:
    """What a rule that was meant to allow DNS gets wrong."""
    for policy in policies:
        for rule in mappings(policy.spec, "egress"):
            ports = {text(p, "port"): text(p, "protocol") or "TCP" for p in mappings(rule, "ports")}
            if "53" in ports:
                spaces = ",".join(f"{k}={v}" for k, v in namespace_labels(view, "kube-system").items())
                return (
                    f"; a rule of {policy.name} names port 53 ({ports['53']}), but it does not match the DNS pods "
                    f"(UDP, namespace kube-system with labels {spaces})"
                )
    return ""


def _dns_servers(view: ClusterView) -> tuple[tuple[Peer, Door], ...]:
    """Where pods ask for names: the DNS pods (on their own port and on 53), the Service's address, a local cache."""
    found: list[tuple[Peer, Door]] = []
    for service in view.in_namespace("Service", "kube-system"):
        ports = [p for p in service_ports(service) if p.port == 53]
        if not ports:
            continue
        address = text(service.spec, "clusterIP")
        for pod in pods_behind(view, service)[:3]:
            peer = pod_peer(view, pod)
            peer = Peer(peer.namespace, peer.namespace_labels, peer.labels, (*peer.addresses, address))
            numbers = {target_number(pod, p) or 53 for p in ports} | {53}
            found.extend(
                (peer, door_of(pod, n, proto)) for n in sorted(numbers, reverse=True) for proto in ("UDP", "TCP")
            )
    if not found:
        labels = {"k8s-app": "kube-dns"}
        peer = Peer("kube-system", namespace_labels(view, "kube-system"), labels, ("10.96.0.10",))
        found = [(peer, Door(53, protocol, ("dns", "dns-tcp"))) for protocol in ("UDP", "TCP")]
    found.append((Peer(addresses=("169.254.20.10", "169.254.25.10")), Door(53, "UDP")))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Call:
    """One known call inside the cluster: a workload's pod to a Service's pod."""

    address: Address
    client: K8sObject
    service: K8sObject
    server: K8sObject
    door: Door


def blocked_calls(view: ClusterView) -> Iterator[Finding]:
    """Known calls that a policy of the called side or of the calling side does not let through."""
    reported: set[tuple[ObjectRef, ObjectRef]] = set()
    for call in _calls(view):
        for code, policies, blocked in _sides(view, call):
            if not blocked:
                continue
            oldest = view.taken_at.replace(year=1970)
            policy = newest(policies, "ingress" if code is BLOCKS_INGRESS else "egress", oldest)
            if (policy.ref, call.address.workload.ref) in reported:
                continue
            found = _call_finding(view, code, policy, call)
            if found is not None:
                reported.add((policy.ref, call.address.workload.ref))
                yield found


def _calls(view: ClusterView) -> Iterator[_Call]:
    guarded = isolated_namespaces(view)
    if not guarded:
        return
    for service in view.of_kind("Service"):
        clients = clients_of(view, service)
        if not clients or not is_selecting(service):
            continue
        servers = pods_behind(view, service)
        if not servers:
            continue
        for address in {(a.workload.ref, a.port): a for a in clients}.values():
            if service.namespace not in guarded and address.workload.namespace not in guarded:
                continue
            if not any(has_log(view, p) or is_troubled(view, p) for p in view.pods_of(address.workload)):
                continue  # the client is content, or nothing is known of it
            pods = workload_pods(view, address.workload)
            ports = [p for p in service_ports(service) if address.port in (None, p.port)]
            if not pods or not ports:
                continue
            number = target_number(servers[0], ports[0])
            if number is not None:
                yield _Call(address, pods[0], service, servers[0], door_of(servers[0], number, ports[0].protocol))


def _sides(view: ClusterView, call: _Call) -> Iterator[tuple[Code, tuple[K8sObject, ...], bool]]:
    """(code, policies, blocked?) for the called side, then for the calling side."""
    entering = policies_for(view, call.server, "ingress")
    blocked = bool(entering) and not allowed(entering, "ingress", pod_peer(view, call.client), call.door)
    yield BLOCKS_INGRESS, entering, blocked and pod_spec(call.client).get("hostNetwork") is not True
    leaving = policies_for(view, call.client, "egress")
    server = pod_peer(view, call.server)
    address = text(call.service.spec, "clusterIP")
    peer = Peer(server.namespace, server.namespace_labels, server.labels, (*server.addresses, address))
    yield BLOCKS_EGRESS, leaving, bool(leaving) and not allowed(leaving, "egress", peer, call.door)


def _call_finding(view: ClusterView, code: Code, policy: K8sObject, call: _Call) -> Finding | None:
    workload, service = call.address.workload, call.service
    address = text(service.spec, "clusterIP")
    about = speaks_of(call.address.host, service.name, address if address != "None" else "")
    logs = log_failures(view, workload, lambda line: about(line) and bool(UNREACHABLE.search(line)))
    troubled = [p for p in workload_pods(view, workload) if is_troubled(view, p)]
    if not logs and not any(not has_log(view, p) for p in troubled):
        return None
    direction: Direction = "ingress" if code is BLOCKS_INGRESS else "egress"
    server = view.top_owner(call.server)
    labels = ",".join(f"{k}={v}" for k, v in template_labels(workload).items())
    client = f"{workload.kind} {workload.namespace}/{workload.name}"
    target = f"{server.kind} {server.namespace}/{server.name}"
    port = f"{call.door.protocol} {call.door.number}"
    if direction == "ingress":
        spaces = ",".join(f"{k}={v}" for k, v in namespace_labels(view, workload.namespace).items())
        message = (
            f"NetworkPolicy {policy.name} protects {target} and lets in only: {show_rules(policy, 'ingress')}. "
            f"{client} (labels {labels}, namespace labels {spaces}), which calls {call.address.label}, is not among "
            f"them on {port}."
        )
    else:
        message = (
            f"NetworkPolicy {policy.name} restricts the egress of {client} and allows only: "
            f"{show_rules(policy, 'egress')}. It needs {target} through {call.address.label} on {port}, which no rule "
            "allows."
        )
    return finding(
        code,
        policy,
        message,
        [
            seen_field(policy, f"spec.{direction}", show_rules(policy, direction)),
            seen_field(call.address.holder, call.address.path, call.address.shown),
            seen_field(workload if direction == "ingress" else server, "spec.template.metadata.labels", labels)
            if direction == "ingress"
            else seen_field(call.server, "metadata.labels", dict(call.server.labels)),
            *logs,
        ],
        confidence=0.93 if logs else 0.65,
        related=[workload.ref, service.ref, server.ref, *(p.ref for p in troubled[:10])],
        client=labels,
        target=target,
        port=port,
    )


def selecting_nothing(view: ClusterView) -> Iterator[Finding]:
    """Policies whose selector matches neither a pod nor a workload's template in a namespace that has pods."""
    for policy in view.of_kind("NetworkPolicy"):
        selector = label_selector(mapping(policy.spec, "podSelector"))
        pods = view.in_namespace("Pod", policy.namespace)
        if selector.empty or not pods or not view.listed("Pod", policy.namespace):
            continue
        if view.select("Pod", policy.namespace, selector):
            continue
        if any(selector.matches(template_labels(w)) for w in workloads_in(view, policy.namespace)):
            continue
        kinds = " and ".join(sorted(policy_types(policy)))
        yield finding(
            SELECTS_NOTHING,
            policy,
            f"NetworkPolicy {policy.name} ({kinds}) selects {selector}, which no pod in namespace {policy.namespace} "
            "has, so it protects nothing.",
            [seen_field(policy, "spec.podSelector", str(selector))],
        )


CODES: tuple[Code, ...] = (BLOCKS_DNS, BLOCKS_INGRESS, BLOCKS_EGRESS, SELECTS_NOTHING)
ANALYZERS: tuple[Analyzer, ...] = (blocked_dns, blocked_calls, selecting_nothing)
