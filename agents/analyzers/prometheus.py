"""Prometheus itself: which monitors and rules it picks up, rules that cannot load, and scrapes that targets refuse.

A selector that is not set selects nothing, an empty one everything; without a namespace selector only the Prometheus's
own namespace counts (as the operator does it). Expressions are only checked for what is wrong in every version:
emptiness, brackets and quotes that do not close.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from agents.analyzers.backing import pods_behind
from agents.analyzers.base import Analyzer, Code, Role, clip, finding, not_listed, seen_field, seen_log
from agents.analyzers.nearness import nearest
from agents.analyzers.ownership import deployed_workloads, manual_change_note
from agents.analyzers.pods import containers_of, is_over
from agents.analyzers.service_monitors import is_quiet, seconds, target_namespaces
from agents.cluster.objects import (
    K8sObject,
    containers,
    integer,
    mapping,
    mappings,
    pod_spec,
    pod_template,
    string_map,
    text,
)
from agents.cluster.selectors import label_selector
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_D, _E, _C = Domain.MONITORING, Severity.ERROR, Role.CAUSE
_EDIT = "`kubectl -n {ns} edit {kind} {name}`{gitops}"

NOT_SELECTED = Code(
    "monitor-not-selected", _D, _E, _C, "No Prometheus picks up a monitor: its labels or namespace do not match",
    "Give it what the Prometheus selects ({wanted}):\n`kubectl -n {ns} label {kind} {name} {label}`\n"
    "or widen the selector of the Prometheus: `kubectl get prometheus -A -o yaml | grep -A4 Selector`{gitops}", 0.92,
)  # fmt: skip
RULE_NOT_SELECTED = Code(
    "prometheus-rule-not-selected", _D, Severity.ERROR, _C,
    "No Prometheus picks up a PrometheusRule: its alerts never fire",
    "Give it what the Prometheus selects ({wanted}):\n`kubectl -n {ns} label {kind} {name} {label}`{gitops}", 0.9,
)  # fmt: skip
RULE_INVALID = Code(
    "prometheus-rule-invalid", _D, _E, _C, "A PrometheusRule holds a rule that Prometheus cannot load",
    "Correct the rule; test it first with `promtool check rules FILE`:\n" + _EDIT, 0.93,
)  # fmt: skip
CONFIG_SECRET = Code(
    "alertmanager-config-missing", _D, _E, _C, "An Alertmanager names a configuration Secret that does not exist",
    "Make the Secret with the key alertmanager.yaml, or correct `spec.configSecret`:\n"
    "`kubectl -n {ns} create secret generic {secret} --from-file=alertmanager.yaml`\n" + _EDIT, 0.93,
)  # fmt: skip
ANNOTATED_PORT = Code(
    "scrape-annotation-port-wrong", _D, Severity.ERROR, _C,
    "A prometheus.io/port annotation names a port that no container declares",
    "Set the annotation in the pod template to the port that serves the metrics ({ports}):\n" + _EDIT, 0.8,
)  # fmt: skip
SCRAPE_REFUSED = Code(
    "scrape-refused-by-target", _D, _E, _C, "The pods answer the scrapes of a monitor with an error",
    "Ask a pod yourself, then correct `path`, `scheme` or the credentials of the monitor:\n"
    "`kubectl -n {pod_ns} exec {pod} -- wget -qO- localhost:PORT{path} | head`\n" + _EDIT, 0.88,
)  # fmt: skip

_SELECTORS = {
    "ServiceMonitor": ("serviceMonitorSelector", "serviceMonitorNamespaceSelector"),
    "PodMonitor": ("podMonitorSelector", "podMonitorNamespaceSelector"),
    "PrometheusRule": ("ruleSelector", "ruleNamespaceSelector"),
}


# -- selection ---------------------------------------------------------------------------------------------------------


def unselected(view: ClusterView) -> Iterator[Finding]:
    """Monitors and rules that no Prometheus of the cluster selects."""
    servers = list(view.of_kind("Prometheus"))
    if not servers or "PrometheusAgent" in view.kinds or "ThanosRuler" in view.kinds:
        return
    for kind, (selector_field, namespace_field) in _SELECTORS.items():
        for obj in view.of_kind(kind):
            reasons = [_why_not(view, server, obj, selector_field, namespace_field) for server in servers]
            if all(reasons):
                yield _unselected_finding(view, obj, servers[0], selector_field, namespace_field, reasons[0])


def _why_not(view: ClusterView, server: K8sObject, obj: K8sObject, field: str, namespace_field: str) -> str:
    """Why this Prometheus does not select this object, "" when it does (or when it cannot be known)."""
    selector = server.spec.get(field)
    if not isinstance(selector, Mapping):
        return f"its {field} is not set, so it selects none"
    if not label_selector(selector).matches(obj.labels):
        return f"its {field} wants {label_selector(selector)}"
    namespaces = server.spec.get(namespace_field)
    if not isinstance(namespaces, Mapping):
        return "" if obj.namespace == server.namespace else f"it looks in its own namespace {server.namespace} only"
    namespace = view.get("Namespace", "", obj.namespace)
    if namespace is None:
        return ""
    labels = {**namespace.labels, "kubernetes.io/metadata.name": namespace.name}
    wanted = label_selector(namespaces)
    return "" if wanted.matches(labels) else f"its {namespace_field} wants namespaces with {wanted}"


def _unselected_finding(
    view: ClusterView, obj: K8sObject, server: K8sObject, field: str, namespace_field: str, why: str
) -> Finding:
    selector = label_selector(server.spec.get(field))
    label = next((f"{k}={v}" for k, v in selector.equal.items() if obj.labels.get(k) != v), "KEY=VALUE")
    labels = ", ".join(f"{k}={v}" for k, v in obj.labels.items()) or "none"
    code = RULE_NOT_SELECTED if obj.kind == "PrometheusRule" else NOT_SELECTED
    return finding(
        code,
        obj,
        f"{obj.kind} {obj.name} in namespace {obj.namespace} is picked up by no Prometheus: Prometheus {server.name} "
        f"({server.namespace}) does not select it, for {why}; its labels are {labels}.",
        [
            seen_field(server, f"spec.{field}", server.spec.get(field) or "not set"),
            seen_field(server, f"spec.{namespace_field}", server.spec.get(namespace_field) or "not set"),
            seen_field(obj, "metadata.labels", dict(obj.labels)),
        ],
        severity=Severity.INFO if is_quiet(view, obj) else None,
        related=[server.ref],
        wanted=str(selector) or "any labels",
        label=label,
        gitops=manual_change_note(obj),
    )


# -- rules and configuration -------------------------------------------------------------------------------------------


def invalid_rules(view: ClusterView) -> Iterator[Finding]:
    """PrometheusRules with a rule that no version of Prometheus loads."""
    for obj in view.of_kind("PrometheusRule"):
        faults = list(_rule_faults(obj))
        if faults:
            shown = "; ".join(f"{where}: {what}" for where, _, what in faults[:4])
            yield finding(
                RULE_INVALID,
                obj,
                f"PrometheusRule {obj.name} has {len(faults)} rule(s) that cannot load ({shown}): Prometheus keeps "
                "its old "
                "rules as long as one is broken.",
                [seen_field(obj, path, what) for _, path, what in faults[:4]],
                gitops=manual_change_note(obj),
            )


def _rule_faults(obj: K8sObject) -> Iterator[tuple[str, str, str]]:
    """(rule, field path, what is wrong) of each broken rule."""
    groups: set[str] = set()
    for i, group in enumerate(mappings(obj.spec, "groups")):
        name = text(group, "name")
        if not name or name in groups:
            yield f"group {name or i}", f"spec.groups[{i}].name", "the group's name is empty or repeated"
        groups.add(name)
        for j, rule in enumerate(mappings(group, "rules")):
            path = f"spec.groups[{i}].rules[{j}]"
            named = text(rule, "alert") or text(rule, "record")
            expression = text(rule, "expr")
            if not named or (text(rule, "alert") and text(rule, "record")):
                yield f"rule {j} of {name}", path, "it needs exactly one of alert and record"
            elif fault := expression_fault(expression):
                yield named, f"{path}.expr", f"{fault}: {expression}" if expression else fault
            elif text(rule, "for") and text(rule, "for") != "0" and seconds(text(rule, "for")) is None:
                yield named, f"{path}.for", f"{text(rule, 'for')} is no duration"


_PAIRS = {")": "(", "]": "[", "}": "{"}


def expression_fault(expression: str) -> str:
    """What keeps an expression from being parsed, judged by emptiness, brackets and quotes alone; "" when nothing
    does.
    """
    if not expression.strip():
        return "the expression is empty"
    bare, unclosed = _without_strings(expression)
    if unclosed:
        return f"a string opened with {unclosed} is not closed"
    stack: list[str] = []
    for char in bare:
        if char in "([{":
            stack.append(char)
        elif char in _PAIRS and (not stack or stack.pop() != _PAIRS[char]):
            return f"unbalanced brackets (parentheses): {char} closes nothing"
    return f"unbalanced brackets (parentheses): {stack[-1]} is not closed" if stack else ""


_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|#[^\n]*', re.DOTALL)


def _without_strings(expression: str) -> tuple[str, str]:
    """(the expression without strings and comments, the quote that opens a string that never ends)."""
    bare = _STRING_OR_COMMENT.sub("", expression)
    return bare, next((c for c in bare if c in "\"'`"), "")


def missing_configuration(view: ClusterView) -> Iterator[Finding]:
    """Alertmanagers whose configuration Secret does not exist."""
    for obj in view.of_kind("Alertmanager"):
        name = text(obj.spec, "configSecret")
        if not name or not view.listed("Secret", obj.namespace) or view.get("Secret", obj.namespace, name) is not None:
            continue
        ref = ObjectRef("v1", "Secret", obj.namespace, name)
        near = nearest(name, (s.name for s in view.in_namespace("Secret", obj.namespace)))
        yield finding(
            CONFIG_SECRET,
            obj,
            f"Alertmanager {obj.name} reads its configuration from Secret {name}, which does not exist in namespace "
            f"{obj.namespace}: alerts are routed nowhere." + (f" There is: {', '.join(near)}." if near else ""),
            [seen_field(obj, "spec.configSecret", name), not_listed(view, ref, near)],
            related=[ref],
            secret=name,
            gitops=manual_change_note(obj),
        )


# -- scrapes -----------------------------------------------------------------------------------------------------------


def annotated_ports(view: ClusterView) -> Iterator[Finding]:
    """Workloads annotated for scraping on a port that none of their containers declares, though they declare others."""
    for workload in deployed_workloads(view):
        annotations = string_map(pod_template(workload), "metadata", "annotations")
        port = annotations.get("prometheus.io/port", "")
        if annotations.get("prometheus.io/scrape") != "true" or not port:
            continue
        declared = [
            (text(p, "name"), integer(p, "containerPort"))
            for _, c in containers(pod_spec(workload))
            for p in mappings(c, "ports")
        ]
        if not declared or (port.isdigit() and int(port) in {number for _, number in declared}):
            continue
        shown = ", ".join(f"{name}={number}" if name else str(number) for name, number in declared)
        yield finding(
            ANNOTATED_PORT,
            workload,
            f"The pods of {workload.kind} {workload.name} are annotated prometheus.io/port: {port}, but their "
            "containers "
            f"declare {shown}.",
            [
                seen_field(workload, "template annotation prometheus.io/port", port),
                seen_field(workload, "template containers[*].ports", shown),
            ],
            ports=shown,
            gitops=manual_change_note(workload),
        )


def refused_scrapes(view: ClusterView) -> Iterator[Finding]:
    """Monitors whose targets log that they answered the scrape with 401, 403, 404 or 405."""
    for monitor in view.of_kind("ServiceMonitor", "PodMonitor"):
        field = "endpoints" if monitor.kind == "ServiceMonitor" else "podMetricsEndpoints"
        paths = {text(e, "path") or "/metrics": i for i, e in enumerate(mappings(monitor.spec, field))}
        for pod in _targets(view, monitor):
            hit = next((h for path, i in paths.items() if (h := _refusal(view, pod, path, f"spec.{field}[{i}]"))), None)
            if hit is None:
                continue
            path, at, status, evidence = hit
            top = view.top_owner(pod)
            yield finding(
                SCRAPE_REFUSED,
                monitor,
                f"{monitor.kind} {monitor.name} scrapes {path}, and the pods of {top.kind} {top.name} answer {status}.",
                [evidence, seen_field(monitor, f"{at}.path", path)],
                related=[top.ref, pod.ref],
                pod=pod.name,
                pod_ns=pod.namespace,
                path=path,
                gitops=manual_change_note(monitor),
            )
            break


def _targets(view: ClusterView, monitor: K8sObject) -> Sequence[K8sObject]:
    selector = label_selector(mapping(monitor.spec, "selector"))
    found: list[K8sObject] = []
    for namespace in target_namespaces(view, monitor):
        if monitor.kind == "PodMonitor":
            found += [p for p in view.select("Pod", namespace, selector) if not is_over(p)]
        else:
            found += [p for s in view.select("Service", namespace, selector) for p in pods_behind(view, s)]
    return found[:20]


def _refusal(view: ClusterView, pod: K8sObject, path: str, at: str) -> tuple[str, str, str, Evidence] | None:
    """(path, field, status code, evidence) when the last answers to this path that a pod logged were errors."""
    pattern = re.compile(rf"GET {re.escape(path)}(?:[ ?\"].{{0,200}}?)\b(?P<status>200|401|403|404|405)\b")
    for container in containers_of(pod):
        lines: list[tuple[int, str, str]] = []
        for number, line in enumerate(view.log(pod, container.name), 1):
            if path in line and (match := pattern.search(line)):
                lines.append((number, line, match["status"]))
        if len(lines) >= 2 and all(status != "200" for _, _, status in lines[-2:]):
            number, line, status = lines[-1]
            return path, at, status, seen_log(pod, container.name, [clip(line)], number=number)
    return None


ANALYZERS: tuple[Analyzer, ...] = (
    unselected,
    invalid_rules,
    missing_configuration,
    annotated_ports,
    refused_scrapes,
)
CODES: tuple[Code, ...] = (
    NOT_SELECTED,
    RULE_NOT_SELECTED,
    RULE_INVALID,
    CONFIG_SECRET,
    ANNOTATED_PORT,
    SCRAPE_REFUSED,
)
