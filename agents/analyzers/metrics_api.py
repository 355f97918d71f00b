"""The metrics APIs: registered, backed by a Service, answering.

An APIService that is not Available is a symptom of what serves it, unless its Service does not exist: then the
registration itself is at fault. Where APIServices were not read, nothing is said about them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from agents.analyzers.base import Analyzer, Code, Role, clip, finding, not_listed, seen_field, seen_log
from agents.analyzers.nearness import near_or_all
from agents.analyzers.ownership import manual_change_note
from agents.analyzers.pods import containers_of, is_ready
from agents.cluster.objects import K8sObject, mapping, mappings, moment, pod_spec, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_E = Severity.ERROR
_LOOK = "`kubectl get apiservice {name} -o yaml`\n`kubectl -n {service_ns} get service,endpointslices,pods`"

METRICS_UNAVAILABLE = Code(
    "metrics-api-unavailable", Domain.MONITORING, _E, Role.SYMPTOM,
    "The metrics API does not answer: autoscalers and `kubectl top` have no figures",
    "Look at what serves it:\n" + _LOOK + "\n`kubectl -n {service_ns} logs deploy/{service} --tail=50`", 0.92,
)  # fmt: skip
BACKEND_MISSING = Code(
    "api-service-backend-missing", Domain.MONITORING, _E, Role.CAUSE,
    "A metrics API is registered with a Service that does not exist",
    "Install what should serve it (for metrics.k8s.io: metrics-server), correct the Service's name, or, if it is not\n"
    "wanted any more: `kubectl delete apiservice {name}`\n`kubectl -n {service_ns} get services`", 0.95,
)  # fmt: skip
METRICS_MISSING = Code(
    "metrics-api-missing", Domain.MONITORING, _E, Role.CAUSE,
    "Autoscalers ask for resource metrics, but the cluster has no metrics API",
    "Install metrics-server:\n"
    "`kubectl apply -f https://github.com/kubernetes-sigs/metrics-server/releases/latest/download/components.yaml`\n"
    "Then: `kubectl top nodes` and `kubectl -n {ns} get hpa`", 0.93,
)  # fmt: skip
KUBELET_TLS = Code(
    "metrics-server-kubelet-tls", Domain.MONITORING, _E, Role.CAUSE,
    "metrics-server does not trust the kubelets' serving certificates, so it has no figures",
    "Let the kubelets get signed serving certificates (`serverTLSBootstrap: true`, then approve the requests:\n"
    "`kubectl get csr`), or, on a test cluster only, add `--kubelet-insecure-tls`:\n"
    "`kubectl -n {ns} edit {kind} {name}`{gitops}", 0.93,
)  # fmt: skip

_RESTARTING = timedelta(minutes=2)  # what serves the API may just be starting
_METRICS_GROUPS = ("metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io")


def api_services(view: ClusterView) -> Iterator[Finding]:
    """Registrations of metrics APIs whose condition Available is False; other groups are told elsewhere."""
    for service in view.of_kind("APIService"):
        if text(service.spec, "group") not in _METRICS_GROUPS:
            continue
        condition = service.condition("Available")
        since = view.age(moment(condition, "lastTransitionTime"))
        if condition.get("status") != "False" or (since is not None and since < _RESTARTING):
            continue
        backend = mapping(service.spec, "service")
        ref = ObjectRef("v1", "Service", text(backend, "namespace"), text(backend, "name"))
        reason, message = text(condition, "reason"), text(condition, "message")
        index = next(
            (i for i, c in enumerate(mappings(service.raw, "status", "conditions")) if c.get("type") == "Available"), 0
        )
        seen: list[Evidence] = [
            seen_field(
                service,
                f"status.conditions[{index}]",
                f"Available=False {reason}: {message}",
                observed_at=moment(condition, "lastTransitionTime"),
            )
        ]
        gone = bool(ref.name) and view.listed("Service", ref.namespace) and view.resolve(ref) is None
        code = METRICS_UNAVAILABLE
        near: list[str] = []
        if gone:
            code = BACKEND_MISSING
            near = near_or_all(ref.name, (s.name for s in view.in_namespace("Service", ref.namespace)))
            seen.append(not_listed(view, ref, near))
        yield finding(
            code,
            service,
            f"APIService {service.name} (served by Service {ref.namespace}/{ref.name}) is not available: {reason}: "
            f"{message}"
            + (f" Service {ref.name} does not exist in namespace {ref.namespace}." if gone else "")
            + (f" There are: {', '.join(near)}." if near else ""),
            [*seen, seen_field(service, "spec.service", backend)],
            related=[ref, *_behind(view, ref)],
            service=ref.name,
            service_ns=ref.namespace,
        )


def _behind(view: ClusterView, service: ObjectRef) -> list[ObjectRef]:
    """The workload that is called as the Service, which is how these are installed."""
    found = (view.get(kind, service.namespace, service.name) for kind in ("Deployment", "DaemonSet", "StatefulSet"))
    return [o.ref for o in found if o is not None]


def metrics_api_missing(view: ClusterView) -> Iterator[Finding]:
    """Autoscalers without figures in a cluster that has no metrics API registered at all."""
    if not view.listed("APIService"):
        return
    if any(text(s.spec, "group") == "metrics.k8s.io" for s in view.of_kind("APIService")):
        return
    starved = [
        hpa
        for hpa in view.of_kind("HorizontalPodAutoscaler")
        if text(hpa.condition("ScalingActive"), "reason")
        in ("FailedGetResourceMetric", "FailedGetContainerResourceMetric")
    ]
    if starved:
        ref = ObjectRef("apiregistration.k8s.io/v1", "APIService", "", "v1beta1.metrics.k8s.io")
        names = ", ".join(f"{h.namespace}/{h.name}" for h in starved[:5])
        condition = starved[0].condition("ScalingActive")
        yield finding(
            METRICS_MISSING,
            ref,
            f"No APIService v1beta1.metrics.k8s.io is registered, so HorizontalPodAutoscaler {names} gets no figures.",
            [
                not_listed(view, ref),
                seen_field(starved[0], "status.conditions[ScalingActive]", text(condition, "message")),
            ],
            related=[h.ref for h in starved[:20]],
        )


def kubelet_certificates(view: ClusterView) -> Iterator[Finding]:
    """A metrics-server whose log says that it cannot verify the kubelets."""
    reported: set[tuple[str, str, str]] = set()
    for pod in view.of_kind("Pod"):
        if "metrics-server" not in pod.name or is_ready(pod):
            continue
        top = view.top_owner(pod)
        hit = _x509_line(view, pod)
        if hit is None or top.ref.key in reported:
            continue
        reported.add(top.ref.key)
        yield finding(
            KUBELET_TLS,
            top,
            f"{top.kind} {top.name} cannot verify the kubelets' certificates (x509), so it never becomes ready and "
            "the metrics "
            "API has no figures.",
            [hit, *_arguments(top)],
            related=[pod.ref, ObjectRef("", "APIService", "", "v1beta1.metrics.k8s.io")],
            gitops=manual_change_note(top),
        )


def _x509_line(view: ClusterView, pod: K8sObject) -> Evidence | None:
    for container in containers_of(pod):
        lines = view.log(pod, container.name)
        for number in range(len(lines), 0, -1):
            line = lines[number - 1]
            if "x509" in line and ("Failed to scrape node" in line or ":10250" in line):
                return seen_log(pod, container.name, [clip(line)], number=number)
    return None


def _arguments(workload: K8sObject) -> list[Evidence]:
    found = mappings(pod_spec(workload), "containers")
    return [seen_field(workload, "spec.template.spec.containers[0].args", found[0].get("args") or [])] if found else []


ANALYZERS: tuple[Analyzer, ...] = (api_services, metrics_api_missing, kubelet_certificates)
CODES: tuple[Code, ...] = (METRICS_UNAVAILABLE, BACKEND_MISSING, METRICS_MISSING, KUBELET_TLS)
