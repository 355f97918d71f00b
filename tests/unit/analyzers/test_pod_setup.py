"""Pods whose sandbox or volumes are not made ready on their node."""

from __future__ import annotations

import pytest

from agents.analyzers.pod_setup import mounts, sandboxes, silent_starts
from tests.support.views import codes_of, view_of
from tests.unit.analyzers.workloads import RUNNING, SIMPLE, event, pod, waiting, workload

CREATING = waiting("ContainerCreating")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('failed to setup network for sandbox: plugin type="calico" failed (add): no such device', "sandbox-failed"),
        ("failed to allocate for range 0: no IP addresses available in range set", "pod-addresses-exhausted"),
    ],
)
def test_a_sandbox_that_cannot_be_made(said: str, code: str) -> None:
    view = view_of(*workload(SIMPLE, CREATING, phase="Pending"), event("FailedCreatePodSandBox", said))
    (found,) = sandboxes(view)
    assert (found.code, found.object.kind) == (code, "Deployment")


def test_several_workloads_on_one_node_make_the_node_the_object() -> None:
    node = "{apiVersion: v1, kind: Node, metadata: {name: node-1}}"
    other = pod(SIMPLE, CREATING, name="lone", owner="", phase="Pending")
    said = "failed to set up sandbox: cni config uninitialized"
    events = [event("FailedCreatePodSandBox", said, name=name) for name in ("lone", "web-1-a")]
    view = view_of(*workload(SIMPLE, CREATING, phase="Pending"), other, node, *events)
    (found,) = sandboxes(view)
    assert found.object.kind == "Node"


def test_a_pod_that_runs_by_now_has_no_sandbox_fault() -> None:
    view = view_of(*workload(SIMPLE, RUNNING, ready=True), event("FailedCreatePodSandBox", "network not ready"))
    assert codes_of(sandboxes, view) == []


def test_a_mount_that_fails_is_a_symptom_that_names_the_claim() -> None:
    spec = "{volumes: [{name: v, persistentVolumeClaim: {claimName: data}}], containers: [{name: app, image: a}]}"
    said = 'MountVolume.MountDevice failed for volume "pv-1": mount failed: exit status 32'
    view = view_of(*workload(spec, CREATING, phase="Pending"), event("FailedMount", said))
    (found,) = mounts(view)
    assert found.code == "volume-mount-failed"
    assert "data" in found.message
    assert "data" in {r.name for r in found.related}


def test_a_missing_config_map_is_not_told_as_a_mount_failure() -> None:
    said = 'MountVolume.SetUp failed for volume "v" : configmap "settings" not found'
    view = view_of(*workload(SIMPLE, CREATING, phase="Pending"), event("FailedMount", said))
    assert codes_of(mounts, view) == []


def test_a_host_path_of_the_wrong_type() -> None:
    spec = "{volumes: [{name: v, hostPath: {path: /mnt/x, type: Directory}}], containers: [{name: app, image: a}]}"
    said = 'MountVolume.SetUp failed for volume "v" : hostPath type check failed: /mnt/x is not a directory'
    view = view_of(*workload(spec, CREATING, phase="Pending"), event("FailedMount", said))
    (found,) = mounts(view)
    assert found.code == "host-path-wrong"
    assert "/mnt/x" in found.message


def test_a_pod_that_is_not_started_without_a_word() -> None:
    assert codes_of(silent_starts, view_of(*workload(SIMPLE, CREATING, phase="Pending"))) == ["pod-not-starting"]
    young = view_of(*workload(SIMPLE, CREATING, phase="Pending", age_minutes=1))
    assert codes_of(silent_starts, young) == []
    spoken = view_of(*workload(SIMPLE, CREATING, phase="Pending"), event("FailedMount", "x"))
    assert codes_of(silent_starts, spoken) == []
