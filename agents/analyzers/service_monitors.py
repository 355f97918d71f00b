"""ServiceMonitors and PodMonitors of the Prometheus operator: whether they lead to a port that somebody scrapes.

Four links can break: the Prometheus that should pick the monitor up, the labels that select Services or pods, the name
of the port, the credentials of the scrape. Monitors in platform namespaces are an info unless that namespace was asked
about: charts ship many for parts that a cluster does not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agents.analyzers.backing import pods_behind, service_ports, show_ports
from agents.analyzers.base import Analyzer, Code, Role, finding, missing_field, not_listed, seen_field
from agents.analyzers.nearness import listing, nearest
from agents.analyzers.ownership import is_platform_namespace, manual_change_note
from agents.analyzers.pods import is_over
from agents.cluster.objects import K8sObject, containers, dig, mapping, mappings, pod_spec, strings, text
from agents.cluster.secrets import secret_keys
from agents.cluster.selectors import Selector, label_selector
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_D, _E, _C = Domain.MONITORING, Severity.ERROR, Role.CAUSE
_EDIT = "`kubectl -n {ns} edit {kind} {name}`{gitops}"
_TARGETS = "Within a minute the target shows under /targets of Prometheus."

SERVICE_PORT = Code(
    "servicemonitor-port-missing", _D, _E, _C, "A ServiceMonitor names a port that the Services it selects do not have",
    "`endpoints[].port` is the NAME of a Service port. Set it to {right_port}:\n" + _EDIT + "\n" + _TARGETS, 0.97,
)  # fmt: skip
SERVICE_SELECTS_NOTHING = Code(
    "servicemonitor-selects-nothing", _D, _E, _C, "A ServiceMonitor selects no Service",
    "The selector is compared with the labels of Services (not of pods):\n"
    "`kubectl -n {target_ns} get services --show-labels`\n" + _EDIT + "\n" + _TARGETS, 0.93,
)  # fmt: skip
POD_PORT = Code(
    "podmonitor-port-missing", _D, _E, _C, "A PodMonitor names a port that the pods it selects do not declare",
    "`podMetricsEndpoints[].port` is the NAME of a container port. Set it to {right_port}, or name the port in the pod "
    "template:\n" + _EDIT + "\n" + _TARGETS, 0.95,
)  # fmt: skip
POD_SELECTS_NOTHING = Code(
    "podmonitor-selects-nothing", _D, _E, _C, "A PodMonitor selects no pod",
    "Compare the selector with the labels of the pods:\n`kubectl -n {target_ns} get pods --show-labels`\n" + _EDIT, 0.9,
)  # fmt: skip
SECRET_MISSING = Code(
    "monitor-secret-missing", _D, _E, _C, "A monitor takes its credentials from a Secret or key that does not exist",
    "Make the Secret in the monitor's own namespace, with that key, or correct the reference:\n"
    "`kubectl -n {ns} get secrets`\n" + _EDIT, 0.93,
)  # fmt: skip
TIMEOUT = Code(
    "monitor-timeout-above-interval", _D, _E, _C,
    "A monitor's scrape timeout is longer than its interval: the operator rejects it",
    "Set `scrapeTimeout` to at most the interval:\n" + _EDIT, 0.93,
)  # fmt: skip

_DURATION = re.compile(r"^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$")


def seconds(duration: str) -> float | None:
    """A Prometheus duration (`1m30s`, `500ms`) in seconds, None for what is none."""
    match = _DURATION.match(duration)
    if not duration or match is None:
        return None
    days, hours, minutes, whole, thousandths = (int(g) if g else 0 for g in match.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + whole + thousandths / 1000


def target_namespaces(view: ClusterView, monitor: K8sObject) -> Sequence[str]:
    """The namespaces in which a monitor looks for its targets; its own unless it says otherwise."""
    selector = mapping(monitor.spec, "namespaceSelector")
    if selector.get("any") is True:
        return view.derived(_all_namespaces)
    return strings(selector, "matchNames") or [monitor.namespace]


def _all_namespaces(view: ClusterView) -> tuple[str, ...]:
    return view.namespaces


def is_quiet(view: ClusterView, monitor: K8sObject) -> bool:
    """Whether a monitor is the platform's own and nobody asked about it."""
    return is_platform_namespace(monitor.namespace) and monitor.namespace not in view.focus


def _severity(view: ClusterView, monitor: K8sObject) -> Severity | None:
    return Severity.INFO if is_quiet(view, monitor) else None


def _shown_service_ports(service: K8sObject) -> str:
    return listing(f"{p.name or 'unnamed'}={p.port}" for p in service_ports(service))


# -- ServiceMonitors ---------------------------------------------------------------------------------------------------


def service_monitors(view: ClusterView) -> Iterator[Finding]:
    """ServiceMonitors that select no Service, or a port that none of the selected Services has."""
    for monitor in view.of_kind("ServiceMonitor"):
        selector = label_selector(mapping(monitor.spec, "selector"))
        namespaces = target_namespaces(view, monitor)
        if not all(view.listed("Service", ns) for ns in namespaces):
            continue
        services = [s for ns in namespaces for s in view.select("Service", ns, selector)]
        if not services:
            yield _no_service(view, monitor, selector, namespaces)
            continue
        for index, endpoint in enumerate(mappings(monitor.spec, "endpoints")):
            found = _endpoint_finding(view, monitor, services, index, endpoint)
            if found is not None:
                yield found
                break


def _endpoint_finding(
    view: ClusterView, monitor: K8sObject, services: Sequence[K8sObject], index: int, endpoint: Mapping[str, Any]
) -> Finding | None:
    port, target = text(endpoint, "port"), text(endpoint, "targetPort")
    path = f"spec.endpoints[{index}].port"
    names = [p.name for s in services for p in service_ports(s)]
    if port:
        if port in names:
            return None
        wanted, what = port, f"port {port}"
    elif target:
        behind_all = [p for s in services for p in pods_behind(view, s)]
        if not behind_all or any(_pod_has_port(p, target) for p in behind_all) or target.isdigit():
            return None  # a number need not be declared to be open
        wanted, what, path = target, f"targetPort {target}", f"spec.endpoints[{index}].targetPort"
        names = [
            text(c, "name")
            for p in behind_all[:1]
            for _, spec in containers(pod_spec(p))
            for c in mappings(spec, "ports")
        ]
    else:
        return None
    service = services[0]
    right = _likely_port(wanted, names)
    pods = pods_behind(view, service)
    behind = f" Its pods declare: {show_ports(pods[0])}." if pods else ""
    hint = f" Probably {right} is meant." if right else ""
    return finding(
        SERVICE_PORT,
        monitor,
        f"ServiceMonitor {monitor.name} scrapes {what}, but Service {service.name} has no port of that name; its "
        "ports are "
        f"{_shown_service_ports(service)}.{hint}{behind} Prometheus drops the target without an error.",
        [
            seen_field(monitor, path, wanted),
            seen_field(service, "spec.ports", _shown_service_ports(service)),
            *([seen_field(pods[0], "spec.containers[*].ports", show_ports(pods[0]))] if pods else []),
        ],
        severity=_severity(view, monitor),
        related=[*(s.ref for s in services[:10]), *(p.ref for p in pods[:5])],
        right_port=right or "one of the Service's port names",
        gitops=manual_change_note(monitor),
    )


def _pod_has_port(pod: K8sObject, port: str) -> bool:
    for _, container in containers(pod_spec(pod)):
        for declared in mappings(container, "ports"):
            if port in (text(declared, "name"), text(declared, "containerPort")):
                return True
    return False


def _likely_port(wanted: str, names: Sequence[str]) -> str:
    """The port name that was probably meant: one that reads alike, else one that says metrics."""
    named = [n for n in names if n]
    near = nearest(wanted, named, 1)
    return near[0] if near else next((n for n in named if "metric" in n or "prom" in n), "")


def _no_service(view: ClusterView, monitor: K8sObject, selector: Selector, namespaces: Sequence[str]) -> Finding:
    where = ", ".join(namespaces[:4])
    others = [] if selector.empty else [ns for ns in view.derived(_all_namespaces) if ns not in namespaces]
    elsewhere = [s for ns in others for s in view.select("Service", ns, selector)]
    seen = [seen_field(monitor, "spec.selector", str(selector) or "{}")]
    related: list[ObjectRef] = []
    if elsewhere:
        other = elsewhere[0]
        why = (
            f" Service {other.name} in namespace {other.namespace} has these labels, but the namespaceSelector does "
            "not "
            "reach it."
        )
        namespace_selector = mapping(monitor.spec, "namespaceSelector")
        seen.append(
            seen_field(monitor, "spec.namespaceSelector", namespace_selector)
            if namespace_selector
            else missing_field(monitor, "spec.namespaceSelector", "only the monitor's own namespace is looked at")
        )
        related = [s.ref for s in elsewhere[:5]]
    else:
        why, more, related = _nearest_service(view, monitor, selector, namespaces)
        seen += more
    return finding(
        SERVICE_SELECTS_NOTHING,
        monitor,
        f"ServiceMonitor {monitor.name} selects Services by {selector} in namespace {where}, and no Service has those "
        f"labels.{why}",
        seen,
        severity=_severity(view, monitor),
        related=related,
        target_ns=namespaces[0] if namespaces else monitor.namespace,
        gitops=manual_change_note(monitor),
    )


def _nearest_service(
    view: ClusterView, monitor: K8sObject, selector: Selector, namespaces: Sequence[str]
) -> tuple[str, list[Evidence], list[ObjectRef]]:
    """(sentence, evidence, related) about the Service that was probably meant, by its labels or its name."""
    services = [s for ns in namespaces for s in view.in_namespace("Service", ns)]
    wanted = set(selector.equal.items())

    def fit(service: K8sObject) -> tuple[int, int]:
        shared = len(wanted & set(service.labels.items()))
        return shared, len({k for k, _ in wanted} & set(service.labels))

    best = max(services, key=fit, default=None)
    if best is None:
        return (" There is no Service at all in that namespace.", [], [])
    if fit(best)[0] == 0:  # no label in common: then the name tells more than the keys do
        alike = nearest(monitor.name, [s.name for s in services], 1)
        best = next((s for s in services if alike and s.name == alike[0]), best)
        if not alike and fit(best)[1] == 0:
            return ("", [], [])
    differing = []
    for key, value in selector.equal.items():
        has = best.labels.get(key)
        if has != value:
            differing.append(f"{key}: selector {value}, Service {has if has is not None else 'does not have it'}")
    evidence = [seen_field(best, "metadata.labels", dict(best.labels))]
    pods = [p for p in pods_behind(view, best) if selector.matches(p.labels)]
    on_pods = " Its pods have these labels, but a ServiceMonitor looks at the Service's own." if pods else ""
    return f" The nearest is Service {best.name} ({'; '.join(differing)}).{on_pods}", evidence, [best.ref]


# -- PodMonitors -------------------------------------------------------------------------------------------------------


def pod_monitors(view: ClusterView) -> Iterator[Finding]:
    """PodMonitors that select no pod, or a port name that none of the selected pods declares."""
    for monitor in view.of_kind("PodMonitor"):
        selector = label_selector(mapping(monitor.spec, "selector"))
        namespaces = target_namespaces(view, monitor)
        if not all(view.listed("Pod", ns) for ns in namespaces):
            continue
        pods = [p for ns in namespaces for p in view.select("Pod", ns, selector) if not is_over(p)]
        if not pods:
            if not _matches_resting_workload(view, namespaces, selector):
                yield _no_pod(view, monitor, selector, namespaces)
            continue
        for index, endpoint in enumerate(mappings(monitor.spec, "podMetricsEndpoints")):
            port = text(endpoint, "port")
            if not port or any(_pod_has_port(p, port) for p in pods):
                continue
            names = [text(c, "name") for _, spec in containers(pod_spec(pods[0])) for c in mappings(spec, "ports")]
            right = _likely_port(port, names)
            top = view.top_owner(pods[0])
            yield finding(
                POD_PORT,
                monitor,
                f"PodMonitor {monitor.name} scrapes port {port}, but the pods of {top.kind} {top.name} declare no "
                "port of that "
                f"name; they declare {show_ports(pods[0])}." + (f" Probably {right} is meant." if right else ""),
                [
                    seen_field(monitor, f"spec.podMetricsEndpoints[{index}].port", port),
                    seen_field(pods[0], "spec.containers[*].ports", show_ports(pods[0])),
                ],
                severity=_severity(view, monitor),
                related=[top.ref, *(p.ref for p in pods[:5])],
                right_port=right or "one of the container port names",
                gitops=manual_change_note(monitor),
            )
            break


def _matches_resting_workload(view: ClusterView, namespaces: Sequence[str], selector: Selector) -> bool:
    """Whether a workload without pods (scaled to zero, between runs) makes pods that the selector would match."""
    for kind in ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job"):
        for namespace in namespaces:
            for workload in view.in_namespace(kind, namespace):
                template = dig(workload.raw, "spec", "template", "metadata", "labels") or dig(
                    workload.raw, "spec", "jobTemplate", "spec", "template", "metadata", "labels"
                )
                if isinstance(template, Mapping) and selector.matches({str(k): str(v) for k, v in template.items()}):
                    return True
    return False


def _no_pod(view: ClusterView, monitor: K8sObject, selector: Selector, namespaces: Sequence[str]) -> Finding:
    elsewhere = [p for p in view.of_kind("Pod") if not selector.empty and selector.matches(p.labels)][:5]
    why = ""
    if elsewhere:
        there = elsewhere[0].namespace
        why = f" Pods with these labels are in namespace {there}, where the namespaceSelector does not reach."
    return finding(
        POD_SELECTS_NOTHING,
        monitor,
        f"PodMonitor {monitor.name} selects pods by {selector} in namespace {', '.join(namespaces[:4])}, and no pod "
        "has those "
        f"labels.{why}",
        [seen_field(monitor, "spec.selector", str(selector) or "{}")],
        severity=_severity(view, monitor),
        related=[p.ref for p in elsewhere],
        target_ns=namespaces[0] if namespaces else monitor.namespace,
        gitops=manual_change_note(monitor),
    )


# -- credentials and times ---------------------------------------------------------------------------------------------

_SECRET_FIELDS = (
    ("basicAuth", "username"),
    ("basicAuth", "password"),
    ("bearerTokenSecret",),
    ("authorization", "credentials"),
    ("oauth2", "clientSecret"),
    ("tlsConfig", "ca", "secret"),
    ("tlsConfig", "cert", "secret"),
    ("tlsConfig", "keySecret"),
)


def monitor_settings(view: ClusterView) -> Iterator[Finding]:
    """Monitors whose credentials do not exist, or whose timeout is longer than their interval."""
    for monitor in view.of_kind("ServiceMonitor", "PodMonitor"):
        field = "endpoints" if monitor.kind == "ServiceMonitor" else "podMetricsEndpoints"
        for index, endpoint in enumerate(mappings(monitor.spec, field)):
            base = f"spec.{field}[{index}]"
            for path in _SECRET_FIELDS:
                found = _secret_finding(view, monitor, mapping(endpoint, *path), f"{base}.{'.'.join(path)}")
                if found is not None:
                    yield found
                    break
            interval, timeout = text(endpoint, "interval"), text(endpoint, "scrapeTimeout")
            shorter, longer = seconds(interval), seconds(timeout)
            if shorter is not None and longer is not None and longer > shorter:
                yield finding(
                    TIMEOUT,
                    monitor,
                    f"{monitor.kind} {monitor.name} has scrapeTimeout {timeout}, longer than its interval "
                    f"{interval}: the "
                    "operator rejects the monitor, and nothing is scraped.",
                    [
                        seen_field(monitor, f"{base}.scrapeTimeout", timeout),
                        seen_field(monitor, f"{base}.interval", interval),
                    ],
                    severity=_severity(view, monitor),
                    gitops=manual_change_note(monitor),
                )


def _secret_finding(view: ClusterView, monitor: K8sObject, source: Mapping[str, Any], path: str) -> Finding | None:
    name, key = text(source, "name"), text(source, "key")
    if not name or source.get("optional") is True or not view.listed("Secret", monitor.namespace):
        return None
    ref = ObjectRef("v1", "Secret", monitor.namespace, name)
    secret = view.get("Secret", monitor.namespace, name)
    if secret is None:
        near = nearest(name, (s.name for s in view.in_namespace("Secret", monitor.namespace)))
        what, seen = f"Secret {name} does not exist", not_listed(view, ref, near)
        hint = f" There is: {', '.join(near)}." if near else ""
    elif key and key not in secret_keys(secret.raw):
        keys = listing(secret_keys(secret.raw))
        what, hint = f"Secret {name} has no key {key}", f" It has: {keys}."
        seen = seen_field(secret, "data (keys)", keys)
    else:
        return None
    return finding(
        SECRET_MISSING,
        monitor,
        f"{monitor.kind} {monitor.name} takes credentials from {path}, but {what} in namespace "
        f"{monitor.namespace}.{hint} "
        "The operator leaves the monitor out.",
        [seen_field(monitor, path, f"name {name}, key {key}"), seen],
        severity=_severity(view, monitor),
        related=[ref],
        gitops=manual_change_note(monitor),
    )


ANALYZERS: tuple[Analyzer, ...] = (service_monitors, pod_monitors, monitor_settings)
CODES: tuple[Code, ...] = (
    SERVICE_PORT,
    SERVICE_SELECTS_NOTHING,
    POD_PORT,
    POD_SELECTS_NOTHING,
    SECRET_MISSING,
    TIMEOUT,
)
