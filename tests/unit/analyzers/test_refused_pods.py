"""Pods that the API server does not let in, by its own words."""

from __future__ import annotations

import pytest

from agents.analyzers.refused_pods import missing_classes, refused_pods
from agents.evidence import Finding, Severity
from tests.support.views import codes_of, view_of
from tests.unit.analyzers.workloads import RUNNING, deployment, event, replica_set, workload

SPEC = "containers: [{name: app, image: a, securityContext: {privileged: true}, resources: {requests: {cpu: 600m}}}]"
FORBIDDEN = 'Error creating: pods "web-1-x" is forbidden: '
QUOTA = "exceeded quota: team, requested: requests.cpu=600m, used: requests.cpu=2800m, limited: requests.cpu=3"
HOOK = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: rules}
webhooks: [{name: check.rules.io, failurePolicy: Fail, clientConfig: {service: {namespace: rules, name: rules}}}]
"""


def refused(said: str, *others: str, have: int = 2, wanted: int = 6) -> list[Finding]:
    made = replica_set(SPEC, replicas=wanted, status=f"replicas: {have}")
    told = event("FailedCreate", said, kind="ReplicaSet", name="web-1")
    return list(refused_pods(view_of(deployment(SPEC, replicas=wanted), made, told, *others)))


@pytest.mark.parametrize(
    ("said", "code", "kind"),
    [
        (FORBIDDEN + QUOTA, "quota-exceeded", "ResourceQuota"),
        (FORBIDDEN + "failed quota: team: must specify limits.memory for: app", "quota-needs-requests", "Deployment"),
        (FORBIDDEN + "maximum memory usage per Pod is 1Gi, but limit is 2Gi", "limit-range-violated", "Deployment"),
        (FORBIDDEN + 'violates PodSecurity "baseline:latest": privileged (container "app")', "pod-security-rejected",
         "Deployment"),
        ('Error creating: admission webhook "check.rules.io" denied the request: no team label', "webhook-denied",
         "Deployment"),
        ('Error creating: Internal error occurred: failed calling webhook "check.rules.io": dial tcp: refused',
         "webhook-unavailable", "Deployment"),
        (FORBIDDEN + "no PriorityClass with name high was found", "priority-class-missing", "Deployment"),
        (FORBIDDEN + 'pod rejected: RuntimeClass "gvisor" not found', "runtime-class-missing", "Deployment"),
        (FORBIDDEN + "some new rule", "pod-creation-refused", "Deployment"),
    ],
)  # fmt: skip
def test_the_servers_words_decide_code_and_object(said: str, code: str, kind: str) -> None:
    (found,) = refused(said, HOOK)
    assert (found.code, found.object.kind) == (code, kind)


def test_a_quota_names_what_is_asked_used_and_allowed() -> None:
    quota = """
    apiVersion: v1
    kind: ResourceQuota
    metadata: {name: team, namespace: shop}
    spec: {hard: {requests.cpu: 3}}
    """
    (found,) = refused(FORBIDDEN + QUOTA, quota)
    assert all(word in found.message for word in ("team", "600m", "2800m", "2 of 6"))
    assert ("Deployment", "shop", "web") in {r.key for r in found.related}


def test_pod_security_shows_the_labels_of_the_namespace() -> None:
    namespace = """
    apiVersion: v1
    kind: Namespace
    metadata: {name: shop, labels: {pod-security.kubernetes.io/enforce: baseline}}
    """
    (found,) = refused(FORBIDDEN + 'violates PodSecurity "baseline:latest": privileged (container "app")', namespace)
    assert any("pod-security.kubernetes.io/enforce" in e.excerpt for e in found.evidence)
    assert "baseline:latest" in found.message
    assert "privileged" in found.message


def test_the_condition_tells_it_when_the_events_are_gone() -> None:
    failure = f"{{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: 'pods is forbidden: {QUOTA}'}}"
    made = replica_set(SPEC, replicas=6, status=f"{{replicas: 2, conditions: [{failure}]}}")
    assert codes_of(refused_pods, view_of(deployment(SPEC, replicas=6), made)) == ["quota-exceeded"]


def test_a_refusal_that_is_made_up_for_is_history() -> None:
    assert refused(FORBIDDEN + QUOTA, have=6) == []


def test_a_missing_service_account_is_left_to_the_references() -> None:
    assert refused(FORBIDDEN + 'error looking up service account shop/x: serviceaccount "x" not found') == []


@pytest.mark.parametrize(
    ("field", "code"), [("priorityClassName", "priority-class-missing"), ("runtimeClassName", "runtime-class-missing")]
)
def test_a_class_that_does_not_exist_is_seen_in_the_spec(field: str, code: str) -> None:
    spec = f"{{{field}: high, containers: [{{name: app, image: a}}]}}"
    assert codes_of(missing_classes, view_of(deployment(spec))) == [code]
    (calm,) = missing_classes(view_of(*workload(spec, RUNNING, ready=True)))
    assert calm.severity is Severity.WARNING
    kind = "PriorityClass" if "priority" in field else "RuntimeClass"
    there = f"{{apiVersion: x/v1, kind: {kind}, metadata: {{name: high}}}}"
    assert codes_of(missing_classes, view_of(deployment(spec), there)) == []
