"""Workloads that do not reach the pods they should have, and those that are on their way."""

from __future__ import annotations

import pytest

from agents.analyzers.rollouts import daemon_sets, deployments, selectors, stateful_sets
from agents.analyzers.terminating import terminating_pods
from agents.evidence import Severity
from tests.support.views import codes_of, view_of
from tests.unit.analyzers.workloads import RUNNING, SIMPLE, UNREADY, ago, deployment, pod, replica_set


def progressing(reason: str, minutes: float) -> str:
    return f"conditions: [{{type: Progressing, reason: {reason}, lastUpdateTime: '{ago(minutes=minutes)}'}}]"


STUCK = "replicas: 2\nupdatedReplicas: 1\n" + progressing("ProgressDeadlineExceeded", 20)


def test_a_rollout_past_its_deadline_is_stuck() -> None:
    assert codes_of(deployments, view_of(deployment(SIMPLE, STUCK, replicas=2))) == ["rollout-stuck"]


def test_a_rollout_that_may_neither_add_nor_remove_has_no_room() -> None:
    spec = "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}"
    view = view_of(deployment(SIMPLE, STUCK, replicas=2, spec=spec))
    assert codes_of(deployments, view) == ["rollout-stuck", "rollout-without-room"]


def test_fewer_pods_than_wanted_are_missing_once_the_change_has_settled() -> None:
    status = "replicas: 1\nreadyReplicas: 1\n"
    late = deployment(SIMPLE, status + progressing("NewReplicaSetAvailable", 8), replicas=3)
    early = deployment(SIMPLE, status + progressing("ReplicaSetUpdated", 8), replicas=3)
    assert codes_of(deployments, view_of(late)) == ["replicas-missing"]
    assert codes_of(deployments, view_of(early)) == []


def test_pods_that_are_not_ready_are_named() -> None:
    view = view_of(deployment(SIMPLE, "replicas: 1"), replica_set(SIMPLE), pod(SIMPLE, UNREADY))
    (found,) = deployments(view)
    assert found.code == "pods-not-ready"
    assert "web-1-a" in found.message


def test_a_healthy_deployment_and_one_scaled_to_zero_are_nothing() -> None:
    healthy = [
        deployment(SIMPLE, "{replicas: 1, readyReplicas: 1}"),
        replica_set(SIMPLE),
        pod(SIMPLE, RUNNING, ready=True),
    ]
    assert codes_of(deployments, view_of(*healthy)) == []
    assert codes_of(deployments, view_of(deployment(SIMPLE, "replicas: 0", replicas=0))) == []


@pytest.mark.parametrize(("updated", "severity"), [(1, Severity.ERROR), (2, Severity.INFO)])
def test_a_pause_matters_when_it_holds_a_change_back(updated: int, severity: Severity) -> None:
    status = f"{{replicas: 2, readyReplicas: 2, updatedReplicas: {updated}}}"
    paused = deployment(SIMPLE, status, replicas=2, spec="paused: true")
    view = view_of(paused, replica_set(SIMPLE), pod(SIMPLE, RUNNING, ready=True))
    (found,) = deployments(view)
    assert (found.code, found.severity) == ("rollout-paused", severity)


def test_a_pod_within_the_time_its_startup_probe_gives_it_is_not_late() -> None:
    slow = SIMPLE.replace("}]", ", startupProbe: {tcpSocket: {port: 1}, periodSeconds: 10, failureThreshold: 60}}]")
    documents = [deployment(slow, "replicas: 1"), replica_set(slow)]
    assert codes_of(deployments, view_of(*documents, pod(slow, UNREADY, age_minutes=6))) == []
    assert codes_of(deployments, view_of(*documents, pod(slow, UNREADY, age_minutes=20))) == ["pods-not-ready"]


def stateful_set(status: str, spec: str = "") -> str:
    return f"""
    apiVersion: apps/v1
    kind: StatefulSet
    metadata: {{name: db, namespace: shop, creationTimestamp: "{ago(minutes=30)}"}}
    spec:
      {{replicas: 3, selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}}}}{spec}}}
    status: {{{status}}}
    """


def member(name: str, ready: bool, revision: str = "r1") -> str:
    labels = f"labels: {{app: web, controller-revision-hash: {revision}}}"
    status = RUNNING if ready else UNREADY
    return pod(SIMPLE, status, name=name, owner="db", owner_kind="StatefulSet", ready=ready, metadata=labels)


def test_an_unready_ordinal_blocks_those_after_it() -> None:
    view = view_of(stateful_set("replicas: 2, readyReplicas: 1"), member("db-0", True), member("db-1", False))
    (found,) = stateful_sets(view)
    assert found.code == "statefulset-blocked-by-ordinal"
    assert "db-1" in found.message


def test_a_stateful_set_in_the_middle_of_an_update_is_left_alone() -> None:
    fresh = pod(SIMPLE, UNREADY, name="db-1", owner="db", owner_kind="StatefulSet", age_minutes=0.5)
    view = view_of(stateful_set("replicas: 2, readyReplicas: 1"), member("db-0", True), fresh)
    assert codes_of(stateful_sets, view) == []


def test_pods_managed_in_parallel_are_only_not_ready() -> None:
    parallel = stateful_set("replicas: 2, readyReplicas: 1", ", podManagementPolicy: Parallel")
    assert codes_of(stateful_sets, view_of(parallel, member("db-0", True), member("db-1", False))) == ["pods-not-ready"]


def test_an_update_on_delete_waits_for_somebody() -> None:
    status = "replicas: 3, readyReplicas: 3, currentRevision: r1, updateRevision: r2"
    held = stateful_set(status, ", updateStrategy: {type: OnDelete}")
    assert codes_of(stateful_sets, view_of(held, member("db-0", True))) == ["update-waits-for-deletion"]
    assert codes_of(stateful_sets, view_of(stateful_set(status), member("db-0", True))) == []


def daemon_set(status: str, selector: str = "") -> str:
    return f"""
    apiVersion: apps/v1
    kind: DaemonSet
    metadata: {{name: agent, namespace: shop, creationTimestamp: "{ago(minutes=30)}"}}
    spec:
      selector: {{matchLabels: {{app: a}}}}
      template: {{metadata: {{labels: {{app: a}}}}, spec: {{{selector}}}}}
    status: {{{status}}}
    """


NODE = "{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {role: edge}}}"


def test_a_daemon_set_without_its_pods_and_one_that_fits_nowhere() -> None:
    missing = daemon_set("desiredNumberScheduled: 3, currentNumberScheduled: 0, numberReady: 0")
    assert codes_of(daemon_sets, view_of(missing)) == ["daemonset-pods-missing"]
    nowhere = daemon_set("desiredNumberScheduled: 0", "nodeSelector: {role: egde}")
    assert codes_of(daemon_sets, view_of(nowhere, NODE)) == ["daemonset-not-on-nodes"]
    fine = daemon_set("desiredNumberScheduled: 1, numberReady: 1", "nodeSelector: {role: edge}")
    assert codes_of(daemon_sets, view_of(fine, NODE)) == []


def test_a_selector_that_misses_its_own_template() -> None:
    wrong = deployment(SIMPLE, spec="selector: {matchLabels: {app: wbe}}")
    assert codes_of(selectors, view_of(wrong)) == ["workload-selector-mismatch"]
    assert codes_of(selectors, view_of(deployment(SIMPLE))) == []


@pytest.mark.parametrize(("minutes", "codes"), [(20, ["pod-stuck-terminating"]), (1, [])])
def test_a_pod_that_should_be_gone(minutes: float, codes: list[str]) -> None:
    meta = f"deletionTimestamp: '{ago(minutes=minutes)}'\nfinalizers: [x.example/hold]"
    assert codes_of(terminating_pods, view_of(pod(SIMPLE, RUNNING, metadata=meta))) == codes


@pytest.mark.parametrize(
    ("selector", "severity"), [("role: egde", Severity.ERROR), ("accelerator.example/gpu: 'true'", Severity.WARNING)]
)
def test_a_daemon_set_for_nodes_that_there_are_none_of_is_a_slip_where_nodes_have_the_label(
    selector: str, severity: Severity
) -> None:
    nowhere = daemon_set("desiredNumberScheduled: 0, numberReady: 0", f"nodeSelector: {{{selector}}}")
    (found,) = daemon_sets(view_of(nowhere, NODE))
    assert (found.code, found.severity) == ("daemonset-not-on-nodes", severity)
