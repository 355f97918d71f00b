"""Objects of operators, read by the convention of their status: Ready, Available or Synced False, Degraded True.

What a condition says is all that is known of a foreign kind, so it is quoted with its reason. Conditions younger than
five minutes, objects being deleted and objects that are suspended on purpose are left out. Kinds with analyzers of
their own are not read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from agents.analyzers.base import Analyzer, Code, Role, finding, seen_field
from agents.analyzers.ownership import manual_change_note
from agents.cluster.objects import K8sObject, mapping, mappings, moment, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_E, _C, _S = Severity.ERROR, Role.CAUSE, Role.SYMPTOM
_LOOK = "`kubectl -n {ns} describe {resource} {name}`"

CERTIFICATE = Code(
    "certificate-not-issued", Domain.SECURITY, _E, _C, "cert-manager cannot issue a certificate or reach its issuer",
    "Follow the chain Certificate, CertificateRequest, Order, Challenge to the first that says why:\n" + _LOOK + "\n"
    "`kubectl -n {ns} get certificaterequests,orders,challenges`\n`kubectl -n cert-manager logs deploy/cert-manager "
    "--tail=50`",
    0.92,
)  # fmt: skip
EXTERNAL_SECRET = Code(
    "external-secret-not-synced", Domain.SECURITY, _E, _C, "A Secret is not fetched from its external store",
    "Check the store, its credentials, and the key's name there:\n" + _LOOK + "\n"
    "`kubectl get secretstores,clustersecretstores -A`{gitops}", 0.92,
)  # fmt: skip
GITOPS = Code(
    "gitops-sync-failed", Domain.DEPLOYMENT, _E, _C,
    "Argo CD or Flux cannot bring the cluster to what the repository says",
    "Read the message, mend it in the repository (or the credentials of the source), then reconcile:\n" + _LOOK + "\n"
    "`flux reconcile {kind} {name} -n {ns} --with-source` or `argocd app sync {name}`", 0.92,
)  # fmt: skip
GITOPS_DEGRADED = Code(
    "gitops-application-degraded", Domain.DEPLOYMENT, Severity.WARNING, _S,
    "Argo CD applied an application, and its objects are not healthy",
    "The objects that are not healthy are the matter, not the "
    "application:\n" + _LOOK + "\n`argocd app get {name}`", 0.88,
)  # fmt: skip
SCALED_OBJECT = Code(
    "scaled-object-not-ready", Domain.PERFORMANCE, _E, _C, "KEDA cannot scale a workload",
    "Check the trigger's address and credentials, and the target's name:\n" + _LOOK + "\n"
    "`kubectl -n keda logs deploy/keda-operator --tail=50`{gitops}", 0.92,
)  # fmt: skip
CRD = Code(
    "crd-not-established", Domain.TROUBLESHOOTING, _E, _C, "A CustomResourceDefinition is not served",
    "Its names collide with another definition, or its schema is not valid:\n`kubectl get crd {name} -o yaml`", 0.93,
)  # fmt: skip
NOT_READY = Code(
    "custom-resource-not-ready", Domain.TROUBLESHOOTING, Severity.WARNING, _S,
    "An operator says that one of its objects is not ready",
    "Read its conditions and events, then its operator's log:\n" + _LOOK + "{gitops}", 0.8,
)  # fmt: skip

_GRACE = timedelta(minutes=5)
# Kinds that have analyzers of their own, or whose conditions mean something else.
_KNOWN_GROUPS = frozenset(
    ("", "apps", "batch", "extensions", "autoscaling", "policy", "networking.k8s.io", "discovery.k8s.io",
     "storage.k8s.io",
     "rbac.authorization.k8s.io", "scheduling.k8s.io", "node.k8s.io", "coordination.k8s.io", "events.k8s.io",
     "admissionregistration.k8s.io", "apiregistration.k8s.io", "apiextensions.k8s.io", "metrics.k8s.io",
     "gateway.networking.k8s.io", "certificates.k8s.io", "flowcontrol.apiserver.k8s.io", "autoscaling.k8s.io")
)  # fmt: skip
_GOOD_WHEN_TRUE = ("Ready", "Available", "Healthy", "Synced", "Reconciled", "Established", "Running")
_BAD_WHEN_TRUE = ("Degraded", "Stalled", "Failed", "ReconcileError", "ReleaseFailed")
_IN_PROGRESS = (
    "progressing",
    "reconciling",
    "pending",
    "dependencynotready",
    "issuing",
    "creating",
    "waiting",
    "inprogress",
)
_FLUX_GROUP = ".toolkit.fluxcd.io"


@dataclass(frozen=True, slots=True)
class _Fault:
    """One condition that says no: its type and status, its reason and message, where it stands and since when."""

    shown: str
    reason: str
    message: str
    evidence: Evidence


def _code_of(obj: K8sObject) -> Code:
    group = obj.group
    if group.endswith("cert-manager.io"):
        return CERTIFICATE
    if group == "external-secrets.io" or obj.kind == "SealedSecret":
        return EXTERNAL_SECRET
    if group.endswith(_FLUX_GROUP):
        return GITOPS
    return SCALED_OBJECT if group == "keda.sh" else NOT_READY


def _fault(view: ClusterView, obj: K8sObject) -> _Fault | None:
    """The condition that says that the object does not do its work, the most telling first."""
    conditions = [(i, c) for i, c in enumerate(mappings(obj.raw, "status", "conditions"))]
    for wanted, bad in ((_GOOD_WHEN_TRUE, "False"), (_BAD_WHEN_TRUE, "True")):
        for name in wanted:
            for index, condition in conditions:
                if condition.get("type") == name and condition.get("status") == bad:
                    return _read(view, obj, index, condition)
    return None


def _read(view: ClusterView, obj: K8sObject, index: int, condition: Mapping[str, Any]) -> _Fault | None:
    since = moment(condition, "lastTransitionTime")
    age = view.age(since)
    reason, message = text(condition, "reason"), text(condition, "message")
    if (age is not None and age < _GRACE) or reason.lower() in _IN_PROGRESS:
        return None
    shown = f"{text(condition, 'type')}={text(condition, 'status')}"
    evidence = seen_field(obj, f"status.conditions[{index}]", f"{shown} {reason}: {message}", observed_at=since)
    return _Fault(shown, reason, message, evidence)


def _at_rest(obj: K8sObject) -> bool:
    paused = obj.spec.get("suspend") is True or obj.spec.get("paused") is True
    return paused or obj.deleting_since is not None or "autoscaling.keda.sh/paused" in obj.annotations


def conditions_by_convention(view: ClusterView) -> Iterator[Finding]:
    """Objects of foreign kinds whose conditions say that they are not ready."""
    for kind in view.kinds:
        for obj in view.of_kind(kind):
            if obj.group in _KNOWN_GROUPS or _at_rest(obj):
                continue
            if obj.kind == "Application" and obj.group == "argoproj.io":
                continue
            fault = _fault(view, obj)
            if fault is not None and not _is_part_of_another(view, obj):
                yield _condition_finding(obj, fault)


def _is_part_of_another(view: ClusterView, obj: K8sObject) -> bool:
    """Whether an operator's object made this one: then that one says what is wrong (a CertificateRequest's
    Certificate).
    """
    owner = view.owner_of(obj)
    return owner is not None and owner.group not in _KNOWN_GROUPS


def _condition_finding(obj: K8sObject, fault: _Fault) -> Finding:
    makes, words = _makes(obj)
    where = f" in namespace {obj.namespace}" if obj.namespace else ""
    return finding(
        _code_of(obj),
        obj,
        f"{obj.kind} {obj.name}{where} is not ready ({fault.shown}): {fault.reason}: "
        f"{fault.message.rstrip('.')}.{words}",
        [fault.evidence],
        related=makes,
        resource=f"{obj.kind.lower()}.{obj.group}",
        gitops=manual_change_note(obj),
    )


def _makes(obj: K8sObject) -> tuple[list[ObjectRef], str]:
    """(what this object would make or needs, a sentence about it), for kinds whose spec says so."""
    ns, spec = obj.namespace, obj.spec
    if obj.kind == "Certificate" and obj.group.endswith("cert-manager.io"):
        secret, issuer = text(spec, "secretName"), mapping(spec, "issuerRef")
        kind = text(issuer, "kind") or "Issuer"
        refs = [
            ObjectRef("v1", "Secret", ns, secret),
            ObjectRef("", kind, "" if kind == "ClusterIssuer" else ns, text(issuer, "name")),
        ]
        return refs, f" It should fill Secret {secret} by {kind} {text(issuer, 'name')}."
    if obj.kind == "ExternalSecret":
        secret, store = text(spec, "target", "name") or obj.name, mapping(spec, "secretStoreRef")
        kind = text(store, "kind") or "SecretStore"
        refs = [
            ObjectRef("v1", "Secret", ns, secret),
            ObjectRef("", kind, "" if kind.startswith("Cluster") else ns, text(store, "name")),
        ]
        return refs, f" It should fill Secret {secret} from {kind} {text(store, 'name')}."
    if obj.kind == "ScaledObject":
        target = mapping(spec, "scaleTargetRef")
        kind, name = text(target, "kind") or "Deployment", text(target, "name")
        refs = [ObjectRef("", kind, ns, name), ObjectRef("", "HorizontalPodAutoscaler", ns, f"keda-hpa-{obj.name}")]
        return refs, f" It should scale {kind} {name}."
    source = mapping(spec, "sourceRef") or mapping(spec, "chart", "spec", "sourceRef")
    if text(source, "name"):
        ref = ObjectRef("", text(source, "kind"), text(source, "namespace") or ns, text(source, "name"))
        return [ref], f" It takes its manifests from {ref.kind} {ref.name}."
    return [], ""


def argo_applications(view: ClusterView) -> Iterator[Finding]:
    """Argo CD applications whose sync failed, cannot be compared, or whose objects are not healthy."""
    for app in view.of_kind("Application"):
        if app.group != "argoproj.io" or app.deleting_since is not None:
            continue
        destination = ObjectRef("v1", "Namespace", "", text(app.spec, "destination", "namespace"))
        facts: dict[str, Any] = {"resource": "application.argoproj.io"}
        operation = mapping(app.status, "operationState")
        failed = text(operation, "phase") in ("Failed", "Error")
        broken = [c for c in mappings(app.raw, "status", "conditions") if text(c, "type").endswith("Error")]
        health = text(app.status, "health", "status")
        if broken or failed:
            message = text(broken[0], "message") if broken else text(operation, "message")
            path = "status.conditions" if broken else "status.operationState"
            what = text(broken[0], "type") if broken else f"sync {text(operation, 'phase')}"
            yield finding(
                GITOPS,
                app,
                f"Argo CD application {app.name} (destination namespace {destination.name}) fails: {what}: {message}",
                [seen_field(app, path, f"{what}: {message}")],
                related=[destination],
                **facts,
            )
        elif health in ("Degraded", "Missing"):
            sick = [
                ObjectRef("", text(r, "kind"), text(r, "namespace"), text(r, "name"))
                for r in mappings(app.status, "resources")
                if text(r, "health", "status") in ("Degraded", "Missing")
            ]
            names = ", ".join(str(r) for r in sick[:5]) or "objects that it does not name"
            yield finding(
                GITOPS_DEGRADED,
                app,
                f"Argo CD application {app.name} is {health}: {names}.",
                [seen_field(app, "status.health.status", health)],
                related=[*sick[:20], destination],
                **facts,
            )


def unserved_definitions(view: ClusterView) -> Iterator[Finding]:
    """CustomResourceDefinitions that the API server does not serve."""
    for definition in view.of_kind("CustomResourceDefinition"):
        for index, condition in enumerate(mappings(definition.raw, "status", "conditions")):
            if condition.get("type") not in ("NamesAccepted", "Established") or condition.get("status") != "False":
                continue
            fault = _read(view, definition, index, condition)
            if fault is not None and definition.deleting_since is None:
                yield finding(
                    CRD,
                    definition,
                    f"CustomResourceDefinition {definition.name} is not served ({fault.shown}): {fault.reason}: "
                    f"{fault.message}",
                    [fault.evidence],
                )
                break


ANALYZERS: tuple[Analyzer, ...] = (conditions_by_convention, argo_applications, unserved_definitions)
CODES: tuple[Code, ...] = (
    CERTIFICATE,
    EXTERNAL_SECRET,
    GITOPS,
    GITOPS_DEGRADED,
    SCALED_OBJECT,
    CRD,
    NOT_READY,
)
