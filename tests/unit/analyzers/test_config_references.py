"""Missing ConfigMaps, Secrets, keys and ServiceAccounts, from specs and from what was said."""

from __future__ import annotations

import pytest

from agents.analyzers.config_references import missing_references
from agents.evidence import Severity
from tests.support.views import codes_of, view_of
from tests.unit.analyzers.workloads import RUNNING, deployment, event, replica_set, waiting, workload


def spec(env: str = "", rest: str = "") -> str:
    return f"{{containers: [{{name: app, image: a/b:1, {env}}}]{rest}}}"


KEY = spec("env: [{name: DB_HOST, valueFrom: {configMapKeyRef: {name: settings, key: db-host}}}]")
SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {db_host: x, level: info}
"""
CREDENTIALS = """
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: shop}
stringData: {user: a}
"""


@pytest.mark.parametrize(
    ("pod_spec", "others", "code"),
    [
        (spec("envFrom: [{configMapRef: {name: setings}}]"), SETTINGS, "configmap-missing"),
        (KEY, SETTINGS, "configmap-key-missing"),
        (spec(rest=", volumes: [{name: v, configMap: {name: settings, items: [{key: nope, path: p}]}}]"), SETTINGS,
         "configmap-key-missing"),
        (spec("envFrom: [{secretRef: {name: dbs}}]"), CREDENTIALS, "secret-missing"),
        (spec(rest=", volumes: [{name: v, secret: {secretName: dbs}}]"), CREDENTIALS, "secret-missing"),
        (spec("env: [{name: P, valueFrom: {secretKeyRef: {name: db, key: password}}}]"), CREDENTIALS,
         "secret-key-missing"),
        (spec(rest=", serviceAccountName: robot"), "", "service-account-missing"),
    ],
)  # fmt: skip
def test_what_a_template_names_and_what_is_not_there(pod_spec: str, others: str, code: str) -> None:
    view = view_of(*workload(pod_spec, waiting("ContainerCreating"), phase="Pending"), others)
    (found,) = missing_references(view)
    assert (found.code, found.object.kind, found.severity) == (code, "Deployment", Severity.ERROR)


@pytest.mark.parametrize(
    "pod_spec",
    [
        spec("env: [{name: H, valueFrom: {configMapKeyRef: {name: settings, key: db_host}}}]"),
        spec("envFrom: [{configMapRef: {name: nowhere, optional: true}}]"),
        spec("env: [{name: H, valueFrom: {configMapKeyRef: {name: settings, key: x, optional: true}}}]"),
        spec("env: [{name: U, valueFrom: {secretKeyRef: {name: db, key: user}}}]"),
        spec(rest=", serviceAccountName: default"),
        spec(rest=", volumes: [{name: v, projected: {sources: [{configMap: {name: kube-root-ca.crt}}]}}]"),
    ],
)
def test_references_that_hold_or_are_optional_are_nothing(pod_spec: str) -> None:
    view = view_of(*workload(pod_spec, RUNNING, ready=True), SETTINGS, CREDENTIALS)
    assert codes_of(missing_references, view) == []


def test_a_missing_key_names_variable_config_map_and_the_nearest_key() -> None:
    said = "couldn't find key db-host in ConfigMap shop/settings"
    view = view_of(*workload(KEY, waiting("CreateContainerConfigError", said), phase="Pending"), SETTINGS)
    (found,) = missing_references(view)
    assert all(word in found.message for word in ("db-host", "settings", "DB_HOST", "the nearest is db_host"))
    assert any(said in e.excerpt for e in found.evidence)


def test_what_running_pods_started_with_and_is_gone_is_a_warning() -> None:
    view = view_of(*workload(spec("envFrom: [{secretRef: {name: gone}}]"), RUNNING, ready=True))
    (found,) = missing_references(view)
    assert found.severity is Severity.WARNING


def test_the_kubelet_is_believed_where_secrets_may_not_be_listed() -> None:
    documents = workload(spec("envFrom: [{secretRef: {name: gone}}]"), waiting("ContainerCreating"), phase="Pending")
    blind = frozenset({"Pod", "ConfigMap"})
    assert codes_of(missing_references, view_of(*documents, listed=blind)) == []
    said = event("FailedMount", 'MountVolume.SetUp failed for volume "v" : secret "gone" not found')
    assert codes_of(missing_references, view_of(*documents, said, listed=blind)) == ["secret-missing"]


def test_a_replica_set_that_cannot_create_pods_names_the_service_account() -> None:
    pod_spec = spec()
    said = (
        'Error creating: pods "web-1-" is forbidden: error looking up service account: serviceaccount "bot" not found'
    )
    failed = event("FailedCreate", said, kind="ReplicaSet", name="web-1")
    view = view_of(deployment(pod_spec), replica_set(pod_spec), failed)
    assert codes_of(missing_references, view) == ["service-account-missing"]


def test_a_workload_scaled_to_zero_is_left_alone() -> None:
    pod_spec = spec("envFrom: [{configMapRef: {name: nowhere}}]")
    assert codes_of(missing_references, view_of(deployment(pod_spec, replicas=0))) == []
