"""Memory kills, evictions, clean exits and crash loops, while they happen."""

from __future__ import annotations

import pytest

from agents.analyzers.crashes import crash_loops, evictions, oom_kills
from agents.evidence import Severity
from tests.support.views import codes_of, view_of
from tests.unit.analyzers.workloads import SIMPLE, ago, crashed, deployment, event, pod, replica_set, workload

LIMITED = """
containers:
- name: app
  image: a/b:1
  env: [{name: JAVA_OPTS, value: "-Xmx1g -Dx=y"}]
  resources: {limits: {memory: 512Mi}}
"""
OLD = f"""
- name: app
  ready: true
  restartCount: 1
  state: {{running: {{startedAt: "{ago(hours=5)}"}}}}
  lastState:
    terminated: {{exitCode: 137, reason: OOMKilled, startedAt: "{ago(hours=9)}", finishedAt: "{ago(hours=5)}"}}
"""
AGAIN = OLD.replace("restartCount: 1", "restartCount: 6").replace(ago(hours=5), ago(minutes=12))


def test_a_memory_kill_names_limit_and_heap() -> None:
    (found,) = oom_kills(view_of(*workload(LIMITED, crashed(137, "OOMKilled"))))
    assert found.code == "oom-killed"
    assert all(word in found.message for word in ("OOMKilled", "512Mi", "-Xmx1g", "1024 MiB", "above the limit"))
    assert not any("-Dx" in e.excerpt for e in found.evidence)


def test_a_container_that_is_killed_again_and_again_counts_although_it_is_up_just_now() -> None:
    assert codes_of(oom_kills, view_of(*workload(LIMITED, AGAIN, ready=True))) == ["oom-killed"]


def test_one_old_restart_of_a_ready_pod_is_history() -> None:
    view = view_of(*workload(LIMITED, OLD, ready=True))
    assert codes_of(oom_kills, view) == codes_of(crash_loops, view) == []


def test_without_a_limit_the_node_ran_out_of_memory() -> None:
    assert codes_of(oom_kills, view_of(*workload(SIMPLE, crashed(137, "OOMKilled")))) == ["killed-by-node-memory"]


def test_the_limit_of_the_revision_before_is_told() -> None:
    before = replica_set(LIMITED.replace("512Mi", "2Gi"), name="web-0", replicas=0)
    view = view_of(*workload(LIMITED, crashed(137, "OOMKilled")), before)
    (found,) = oom_kills(view)
    assert "The revision before had the limit 2Gi" in found.message


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (crashed(1), "crash-loop"),
        (crashed(139), "crash-loop"),
        (crashed(0, "Completed"), "container-exits-cleanly-in-loop"),
    ],
)
def test_a_crash_and_a_clean_exit_are_told_apart(status: str, code: str) -> None:
    assert codes_of(crash_loops, view_of(*workload(SIMPLE, status))) == [code]


def test_exit_zero_after_a_failed_liveness_probe_is_no_clean_exit() -> None:
    said = event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500")
    assert codes_of(crash_loops, view_of(*workload(SIMPLE, crashed(0, "Completed")), said)) == ["crash-loop"]


@pytest.mark.parametrize(("code", "reason"), [(137, "OOMKilled"), (128, "StartError")])
def test_memory_and_start_failures_are_not_told_as_crash_loops(code: int, reason: str) -> None:
    assert codes_of(crash_loops, view_of(*workload(SIMPLE, crashed(code, reason)))) == []


def evicted(message: str, name: str = "web-1-b", minutes: float = 10) -> str:
    status = f"""
    reason: Evicted
    message: "{message}"
    conditions: [{{type: DisruptionTarget, status: "True", lastTransitionTime: "{ago(minutes=minutes)}"}}]
    """
    return pod(SIMPLE, name=name, phase="Failed", status=status)


PRESSURE = "The node was low on resource: memory. Threshold quantity: 100Mi"
LOCAL = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi."


@pytest.mark.parametrize(("said", "code"), [(PRESSURE, "pod-evicted"), (LOCAL, "ephemeral-storage-exceeded")])
def test_an_eviction_is_told_with_its_reason(said: str, code: str) -> None:
    view = view_of(deployment(SIMPLE), replica_set(SIMPLE), evicted(said))
    (found,) = evictions(view)
    assert (found.code, found.severity) == (code, Severity.ERROR)


def test_one_eviction_that_was_made_up_for_is_nothing() -> None:
    view = view_of(*workload(SIMPLE, ready=True), evicted(PRESSURE))
    assert codes_of(evictions, view) == []


def test_an_eviction_of_yesterday_is_nothing() -> None:
    view = view_of(deployment(SIMPLE), replica_set(SIMPLE), evicted(PRESSURE, minutes=1500))
    assert codes_of(evictions, view) == []


def test_a_back_off_counts_even_where_the_end_has_no_time() -> None:
    status = """
    - name: app
      restartCount: 4
      state: {waiting: {reason: CrashLoopBackOff}}
      lastState: {terminated: {exitCode: 137, reason: OOMKilled}}
    """
    assert codes_of(oom_kills, view_of(*workload(LIMITED, status))) == ["oom-killed"]


@pytest.mark.parametrize(("said", "severity"), [(PRESSURE, Severity.WARNING), (LOCAL, Severity.ERROR)])
def test_two_evictions_that_were_made_up_for_are_a_fault_only_of_the_pods_own_making(
    said: str, severity: Severity
) -> None:
    view = view_of(*workload(SIMPLE, ready=True), evicted(said), evicted(said, name="web-1-c"))
    (found,) = evictions(view)
    assert found.severity is severity
