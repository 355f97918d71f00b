"""What stands in the way of every write: webhooks whose backend is gone, extension APIs that do not answer, and
namespaces that cannot finish their deletion because of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from agents.analyzers.backing import is_selecting, pods_behind, ready_addresses, ref, service_ports, workloads_behind
from agents.analyzers.base import Analyzer, Code, Role, finding, not_listed, seen_event, seen_field
from agents.analyzers.nearness import listing, near_or_all
from agents.analyzers.pods import current, is_ready
from agents.cluster.objects import K8sObject, integer, mapping, mappings, moment, strings, text
from agents.cluster.view import ClusterView, EventRecord, event_record
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

TERMINATION_PATIENCE = timedelta(minutes=10)
API_PATIENCE = timedelta(minutes=2)
_KINDS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
_METRICS = re.compile(r"(?:^|\.)metrics\.k8s\.io$")

SERVICE_MISSING = Code(
    "webhook-service-missing",
    Domain.TROUBLESHOOTING,
    Severity.ERROR,
    Role.CAUSE,
    "An admission webhook calls a Service that does not exist",
    "Bring the Service back, or remove the configuration if its program was uninstalled (every write it matches fails "
    "until then):\n`kubectl get {kind} {name} -o yaml`\n`kubectl delete {kind} {name}`",
    0.95,
)
BACKEND_DOWN = Code(
    "webhook-backend-down",
    Domain.TROUBLESHOOTING,
    Severity.ERROR,
    Role.SYMPTOM,
    "An admission webhook calls a Service without a ready pod",
    "Mend the pods behind Service {service}; to let writes through until then, set `failurePolicy: Ignore`:\n"
    "`kubectl -n {service_ns} get pods`\n`kubectl edit {kind} {name}`",
    0.95,
)
CALL_FAILS = Code(
    "webhook-call-fails",
    Domain.TROUBLESHOOTING,
    Severity.ERROR,
    Role.CAUSE,
    "Calls of an admission webhook fail, so objects cannot be created",
    "See why the call fails (certificate, network policy, time-out) in the text; look at the webhook's own log:\n"
    "`kubectl get {kind} {name} -o yaml`",
    0.85,
)
API_DOWN = Code(
    "apiservice-unavailable",
    Domain.TROUBLESHOOTING,
    Severity.ERROR,
    Role.CAUSE,
    "An extension API of the cluster does not answer",
    "Mend the program behind it ({service}), or remove the APIService if it was uninstalled:\n"
    "`kubectl get apiservice {name} -o yaml`\n`kubectl -n {service_ns} get pods,endpointslices`",
)
NAMESPACE_STUCK = Code(
    "namespace-termination-stuck",
    Domain.TROUBLESHOOTING,
    Severity.ERROR,
    Role.CAUSE,
    "A namespace cannot finish its deletion",
    "Mend what the conditions name: delete what is left, restore the controller of a finalizer, or remove a dead "
    "APIService:\n`kubectl get namespace {name} -o jsonpath='{{.status.conditions}}'`\n"
    "`kubectl api-resources --verbs=list --namespaced -o name | xargs -n1 kubectl get -n {name} --ignore-not-found`",
)


def webhooks(view: ClusterView) -> Iterator[Finding]:
    """Webhooks that must be asked and whose Service is missing, has not the port, or has no ready pod."""
    calls = view.derived(_failed_calls)
    for config in view.of_kind(*_KINDS):
        reported: set[tuple[str, str]] = set()
        for index, hook in enumerate(mappings(config.raw, "webhooks")):
            service = mapping(hook, "clientConfig", "service")
            namespace, name = text(service, "namespace"), text(service, "name")
            failed = calls.get(text(hook, "name"), [])
            if not name or (namespace, name) in reported:
                continue
            found = _check_hook(view, config, index, hook, failed)
            if found is not None:
                reported.add((namespace, name))
                yield found
            elif failed and name:
                reported.add((namespace, name))
                yield _call_finding(view, config, index, hook, failed)


def _failed_calls(view: ClusterView) -> Mapping[str, list[EventRecord]]:
    """webhook name -> the current events that tell of its failed calls."""
    index: dict[str, list[EventRecord]] = {}
    for obj in view.of_kind("Event"):
        if "failed calling webhook" not in text(obj.raw, "message") + text(obj.raw, "note"):
            continue
        event = event_record(obj)
        found = re.search(r'failed calling webhook \\?"([^"\\]+)', event.message)
        if found and current(view, event):
            index.setdefault(found[1], []).append(event)
    return index


def _check_hook(
    view: ClusterView, config: K8sObject, index: int, hook: Mapping[str, Any], failed: list[EventRecord]
) -> Finding | None:
    entry = mapping(hook, "clientConfig", "service")
    namespace, name = text(entry, "namespace"), text(entry, "name")
    service = view.get("Service", namespace, name)
    policy = text(hook, "failurePolicy") or "Fail"
    path = f"webhooks[{index}]"
    evidence = [
        seen_field(config, f"{path}.clientConfig.service", f"{namespace}/{name}"),
        seen_field(config, f"{path}.failurePolicy", policy),
        *map(seen_event, failed[:1]),
    ]
    hurt = list(dict.fromkeys(r for e in failed[:10] for r in _about(view, e)))
    matched = _matched(hook)
    if service is None:
        if not view.listed("Service", namespace):
            return None
        near = near_or_all(name, [s.name for s in view.in_namespace("Service", namespace)])
        target = ref("Service", namespace, name)
        return finding(
            SERVICE_MISSING,
            config,
            f"Webhook {text(hook, 'name')} calls Service {namespace}/{name}, which does not exist; with failurePolicy "
            f"{policy} {_effect(policy, matched)}",
            [*evidence, not_listed(view, target, near)][:5],
            severity=_severity(policy, failed),
            related=[target, *hurt],
        )
    pods = pods_behind(view, service)
    number = integer(entry, "port") or 443
    ports = service_ports(service)
    if ports and number not in {p.port for p in ports}:
        return finding(
            CALL_FAILS,
            config,
            f"Webhook {text(hook, 'name')} calls port {number} of Service {namespace}/{name}, which has only port "
            f"{listing(p.label for p in ports)}; with failurePolicy {policy} {_effect(policy, matched)}",
            [*evidence, seen_field(service, "spec.ports", service.spec.get("ports") or [])],
            severity=_severity(policy, failed),
            related=[service.ref, *hurt],
        )
    if not is_selecting(service) or any(is_ready(p) for p in pods) or ready_addresses(view, service):
        return None
    tops = {view.top_owner(p).ref for p in pods} | {w.ref for w in workloads_behind(view, service)}
    return finding(
        BACKEND_DOWN,
        config,
        f"Webhook {text(hook, 'name')} calls Service {namespace}/{name}, which has no ready pod ({len(pods)} "
        f"selected); with "
        f"failurePolicy {policy} {_effect(policy, matched)}",
        [*evidence, seen_field(service, "spec.selector", service.spec.get("selector") or {})],
        severity=_severity(policy, failed),
        related=[service.ref, *sorted(tops, key=str), *(p.ref for p in pods[:5]), *hurt],
        service=name,
        service_ns=namespace,
    )


def _severity(policy: str, failed: list[EventRecord]) -> Severity:
    if policy == "Ignore":
        return Severity.INFO
    return Severity.CRITICAL if failed else Severity.ERROR


def _effect(policy: str, matched: str) -> str:
    if policy == "Ignore":
        return f"it is skipped for {matched}."
    return f"every request it matches ({matched}) is refused."


def _matched(hook: Mapping[str, Any]) -> str:
    shown = []
    for rule in mappings(hook, "rules")[:4]:
        shown.append(f"{'/'.join(strings(rule, 'operations')) or '*'} {','.join(strings(rule, 'resources')) or '*'}")
    return "; ".join(shown) or "all it is set up for"


def _about(view: ClusterView, event: EventRecord) -> list[ObjectRef]:
    obj = view.resolve(event.about)
    return [event.about] if obj is None else list(dict.fromkeys([view.top_owner(obj).ref, obj.ref]))


def _call_finding(
    view: ClusterView, config: K8sObject, index: int, hook: Mapping[str, Any], failed: list[EventRecord]
) -> Finding:
    entry = mapping(hook, "clientConfig", "service")
    service = ref("Service", text(entry, "namespace"), text(entry, "name"))
    policy = text(hook, "failurePolicy") or "Fail"
    evidence: list[Evidence] = [
        *map(seen_event, failed[:2]),
        seen_field(config, f"webhooks[{index}].clientConfig.service", f"{service.namespace}/{service.name}"),
        seen_field(config, f"webhooks[{index}].failurePolicy", policy),
    ]
    return finding(
        CALL_FAILS,
        config,
        f"Calls of webhook {text(hook, 'name')} (Service {service.namespace}/{service.name}) fail: {failed[0].message}",
        evidence,
        related=[service, *dict.fromkeys(r for e in failed[:10] for r in _about(view, e))],
    )


def api_services(view: ClusterView) -> Iterator[Finding]:
    """Extension APIs that are not Available; the metrics APIs are told by the checks of monitoring."""
    for api in view.of_kind("APIService"):
        condition = api.condition("Available")
        entry = mapping(api.spec, "service")
        age = view.age(moment(condition, "lastTransitionTime"))
        if condition.get("status") != "False" or not entry or _METRICS.search(text(api.spec, "group")):
            continue
        if age is not None and age < API_PATIENCE:
            continue
        namespace, name = text(entry, "namespace"), text(entry, "name")
        service = view.get("Service", namespace, name)
        related = [ref("Service", namespace, name)]
        if service is not None:
            related += [view.top_owner(p).ref for p in pods_behind(view, service)] or [
                w.ref for w in workloads_behind(view, service)
            ]
        said = f"{text(condition, 'reason')}: {text(condition, 'message')}"
        yield finding(
            API_DOWN,
            api,
            f"The extension API {api.name} (Service {namespace}/{name}) is not available: {said}",
            [
                seen_field(api, "status.conditions[Available]", said),
                seen_field(api, "spec.service", f"{namespace}/{name}"),
            ],
            related=related,
            service=f"Service {namespace}/{name}",
            service_ns=namespace,
        )


def namespaces(view: ClusterView) -> Iterator[Finding]:
    """Namespaces that have been Terminating for long, with what their conditions say."""
    for namespace in view.of_kind("Namespace"):
        age = view.age(namespace.deleting_since)
        if age is None or age < TERMINATION_PATIENCE:
            continue
        bad = [c for c in mappings(namespace.status, "conditions") if c.get("status") == "True" and text(c, "message")]
        said = "; ".join(f"{text(c, 'type')}: {text(c, 'message')}" for c in bad[:4]) or "no condition says why"
        yield finding(
            NAMESPACE_STUCK,
            namespace,
            f"Namespace {namespace.name} has been Terminating since {namespace.deleting_since:%Y-%m-%d %H:%M} UTC: "
            f"{said}",
            [seen_field(namespace, f"status.conditions[{text(c, 'type')}]", text(c, "message")) for c in bad[:4]]
            or [seen_field(namespace, "metadata.deletionTimestamp", f"{namespace.deleting_since}")],
            related=[a.ref for a in view.of_kind("APIService") if a.condition("Available").get("status") == "False"],
        )


CODES: tuple[Code, ...] = (SERVICE_MISSING, BACKEND_DOWN, CALL_FAILS, API_DOWN, NAMESPACE_STUCK)
ANALYZERS: tuple[Analyzer, ...] = (webhooks, api_services, namespaces)
