"""Containers that do not get to run, told apart by what the container runtime said."""

from __future__ import annotations

import pytest

from agents.analyzers.start import failed_starts, init_containers, missing_programs
from tests.support.views import codes_of, view_of
from tests.unit.analyzers.workloads import RUNNING, SIMPLE, ago, crashed, event, waiting, workload

RUNC = "failed to create containerd task: OCI runtime create failed: unable to start container process: "


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (crashed(128, "StartError", message=RUNC + 'exec: "srv": executable file not found in $PATH'),
         "command-not-found"),
        (waiting("RunContainerError", RUNC + 'exec: "/x": stat /x: no such file or directory'), "command-not-found"),
        (waiting("CreateContainerError", RUNC + 'exec: "/run.sh": permission denied'), "command-not-executable"),
        (waiting("RunContainerError", RUNC + 'chdir to cwd ("/srv") set in config.json failed: no such file'),
         "working-directory-missing"),
        (waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
         "run-as-non-root-conflict"),
        (waiting("CreateContainerConfigError", "failed to prepare subPath for volumeMount"), "subpath-mount-failed"),
        (waiting("PostStartHookError", "PostStartHook failed"), "post-start-hook-failed"),
        (waiting("CreateContainerError", "context deadline exceeded"), "container-create-failed"),
    ],
)  # fmt: skip
def test_the_runtimes_words_decide_the_code(status: str, code: str) -> None:
    assert codes_of(failed_starts, view_of(*workload(SIMPLE, status))) == [code]


@pytest.mark.parametrize(
    "status",
    [
        RUNNING,
        crashed(1),
        waiting("CreateContainerConfigError", 'configmap "x" not found'),
        waiting("ImagePullBackOff", "not found"),
    ],
)
def test_what_other_checks_tell_is_left_to_them(status: str) -> None:
    assert codes_of(failed_starts, view_of(*workload(SIMPLE, status))) == []


@pytest.mark.parametrize(
    ("exit_code", "codes"), [(127, ["command-not-found"]), (126, ["command-not-executable"]), (1, [])]
)
def test_a_shell_that_does_not_find_its_program(exit_code: int, codes: list[str]) -> None:
    spec = "containers: [{name: app, image: a/b:1, command: [sh, -c, servr --port 1]}]"
    said = "sh: servr: not found"
    view = view_of(*workload(spec, crashed(exit_code)), logs={("shop", "web-1-a", "app"): said})
    assert codes_of(missing_programs, view) == codes


INIT = """
initContainers: [{name: wait, image: busybox, command: [sh, -c, "until nc -z $DB_HOST 5432; do sleep 2; done"],
                  env: [{name: DB_HOST, value: db.data}]}]
containers: [{name: app, image: a/b:1}]
"""


def init_status(state: str, minutes: float = 20) -> str:
    return f"initContainerStatuses: [{{name: wait, ready: false, restartCount: 4, {state}}}]".replace(
        "STARTED", ago(minutes=minutes)
    )


def test_an_init_container_that_waits_names_what_it_waits_for() -> None:
    status = init_status('state: {running: {startedAt: "STARTED"}}')
    (found,) = init_containers(view_of(*workload(INIT, phase="Pending", status=status)))
    assert found.code == "init-container-waiting"
    assert "db.data:5432" in found.message


def test_an_init_container_that_started_a_minute_ago_is_normal() -> None:
    status = init_status('state: {running: {startedAt: "STARTED"}}', minutes=1)
    assert codes_of(init_containers, view_of(*workload(INIT, phase="Pending", status=status))) == []


def test_an_init_container_that_works_is_given_longer_than_one_that_waits() -> None:
    status = init_status('state: {running: {startedAt: "STARTED"}}', minutes=10).replace("name: wait", "name: migrate")
    spec = "{initContainers: [{name: migrate, image: a, command: [migrate, up]}], containers: [{name: app, image: a}]}"
    assert codes_of(init_containers, view_of(*workload(spec, phase="Pending", status=status))) == []


def test_an_init_container_that_fails_is_told_with_its_last_words() -> None:
    end = f'{{terminated: {{exitCode: 1, reason: Error, finishedAt: "{ago(minutes=1)}"}}}}'
    status = init_status(f"state: {{waiting: {{reason: CrashLoopBackOff}}}}, lastState: {end}")
    documents = workload(INIT, phase="Pending", status=status)
    (found,) = init_containers(view_of(*documents, logs={("shop", "web-1-a", "wait"): "no schema"}))
    assert found.code == "init-container-failing"
    assert "no schema" in found.message


@pytest.mark.parametrize(("started", "codes"), [("false", ["sidecar-blocks-start"]), ("true", [])])
def test_a_native_sidecar_that_is_not_started_blocks_the_pod(started: str, codes: list[str]) -> None:
    spec = """
    initContainers: [{name: wait, image: mesh, restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}}]
    containers: [{name: app, image: a/b:1}]
    """
    status = init_status(f'started: {started}, state: {{running: {{startedAt: "STARTED"}}}}')
    assert codes_of(init_containers, view_of(*workload(spec, phase="Pending", status=status))) == codes


def test_a_stale_event_does_not_colour_a_new_start() -> None:
    old = event("Failed", 'Error: exec: "x": executable file not found in $PATH', minutes=200)
    view = view_of(*workload(SIMPLE, waiting("CreateContainerError", "name is reserved")), old)
    assert codes_of(failed_starts, view) == ["container-create-failed"]


def test_a_crash_that_the_post_start_hook_brings_is_told_by_its_event() -> None:
    hooked = "containers: [{name: app, image: a/b:1, lifecycle: {postStart: {exec: {command: [/hooks/join]}}}}]"
    failed = event("FailedPostStartHook", "PostStartHook failed")
    (found,) = failed_starts(view_of(*workload(hooked, crashed(137)), failed))
    assert found.code == "post-start-hook-failed"
    assert any("/hooks/join" in e.excerpt for e in found.evidence)
    assert codes_of(failed_starts, view_of(*workload(hooked, crashed(137)))) == []
    assert codes_of(failed_starts, view_of(*workload(SIMPLE, crashed(137)), failed)) == []
