"""Failing probes are told apart by their spec, the container's ports, the kubelet's words and the log."""

from __future__ import annotations

import pytest

from agents.analyzers.probes import failing_probes
from agents.evidence import Finding
from tests.support.views import codes_of, view_of
from tests.unit.analyzers.workloads import RUNNING, UNREADY, crashed, event, workload

KEY = ("shop", "web-1-a", "app")


def spec(kind: str, action: str, timing: str = "") -> str:
    return f"""
    containers:
    - name: app
      image: a/b:1
      ports: [{{name: http, containerPort: 8090}}, {{name: https, containerPort: 8443}}]
      {kind}Probe: {{{action}{timing}}}
    """


def http(port: object, path: str = "/healthz") -> str:
    return f"httpGet: {{path: {path}, port: {port}}}"


def judge(kind: str, action: str, said: str, status: str = UNREADY, timing: str = "", log: str = "up") -> Finding:
    documents = workload(spec(kind, action, timing), status)
    told = event("Unhealthy", f"{kind.capitalize()} probe failed: {said}", count=30)
    (found,) = failing_probes(view_of(*documents, told, logs={KEY: log}))
    return found


REFUSED = 'Get "http://10.0.0.1:9090/healthz": dial tcp 10.0.0.1:9090: connect: connection refused'


@pytest.mark.parametrize(
    ("kind", "action", "said", "code"),
    [
        ("readiness", http(9090), REFUSED, "probe-wrong-port"),
        ("liveness", "tcpSocket: {port: 9090}", REFUSED, "probe-wrong-port"),
        ("readiness", http("web"), 'invalid port: "web"', "probe-wrong-port"),
        ("readiness", http(8090, "/helthz"), "HTTP probe failed with statuscode: 404", "probe-wrong-path"),
        ("readiness", http(8443), ('Get "http://x": net/http: HTTP/1.x transport connection broken: malformed HTTP '
         "response"), "probe-wrong-scheme"),
        ("readiness", "httpGet: {path: /, port: 8090, scheme: HTTPS}",
         'Get "https://x": http: server gave HTTP response to HTTPS client', "probe-wrong-scheme"),
        ("readiness", http(8090), "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
         "probe-timeout-too-short"),
        ("readiness", "exec: {command: [/bin/check]}", 'exec: "/bin/check": stat /bin/check: no such file or directory',
         "probe-command-failing"),
        ("readiness", http(8090), "HTTP probe failed with statuscode: 503", "readiness-probe-failing"),
        ("liveness", http(8090), "HTTP probe failed with statuscode: 500", "liveness-probe-failing"),
    ],
)  # fmt: skip
def test_the_kubelets_words_and_the_ports_decide(kind: str, action: str, said: str, code: str) -> None:
    assert judge(kind, action, said).code == code


def test_a_wrong_port_names_both_ports() -> None:
    found = judge("liveness", http(9090), REFUSED, crashed(0, "Completed", lived=60))
    shown = found.message + " ".join(e.excerpt for e in found.evidence)
    assert all(word in shown for word in ("liveness", "9090", "8090"))


def test_a_log_that_names_another_port_proves_the_probe_wrong() -> None:
    found = judge("readiness", http(8443), REFUSED, log='msg="listening" addr=:8090')
    assert found.code == "probe-wrong-port"
    assert "listens on 8090" in found.message


def test_a_refused_right_port_is_only_a_symptom() -> None:
    assert judge("readiness", http(8090), REFUSED, log="listening on :8090").code == "readiness-probe-failing"


TIMING = ", initialDelaySeconds: 5, periodSeconds: 10, failureThreshold: 3"


@pytest.mark.parametrize(
    ("kind", "code"), [("liveness", "liveness-probe-too-early"), ("startup", "startup-probe-too-short")]
)
def test_a_container_that_is_killed_while_it_starts(kind: str, code: str) -> None:
    found = judge(kind, http(8090), REFUSED, crashed(137, lived=40), TIMING, log="warming caches")
    assert found.code == code


def test_a_program_that_complains_itself_is_not_just_slow() -> None:
    log = "dial tcp 10.0.0.9:5432: connect: connection refused"
    found = judge("startup", http(8090), REFUSED, crashed(137, lived=40), TIMING, log=log)
    assert found.code == "liveness-probe-failing"


def test_probe_failures_during_a_start_that_went_well_are_nothing() -> None:
    told = event("Unhealthy", f"Readiness probe failed: {REFUSED}", count=5, minutes=5)
    assert codes_of(failing_probes, view_of(*workload(spec("readiness", http(9090)), RUNNING, ready=True), told)) == []


def test_old_failures_are_nothing() -> None:
    told = event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", minutes=50)
    assert codes_of(failing_probes, view_of(*workload(spec("readiness", http(8090)), UNREADY), told)) == []


def test_an_undeclared_port_is_seen_without_any_event() -> None:
    assert codes_of(failing_probes, view_of(*workload(spec("readiness", http(9090)), UNREADY))) == ["probe-wrong-port"]


def test_a_program_that_is_still_starting_is_given_its_time() -> None:
    slow = spec("startup", http(8090), ", periodSeconds: 60, failureThreshold: 60")
    told = event("Unhealthy", f"Startup probe failed: {REFUSED}", count=20)
    assert codes_of(failing_probes, view_of(*workload(slow, UNREADY), told)) == []


def test_a_killed_container_whose_events_are_gone_still_shows_a_liveness_port_that_nobody_declares() -> None:
    killed = crashed(137, lived=60)
    (found,) = failing_probes(view_of(*workload(spec("liveness", http(9090)), killed)))
    assert found.code == "probe-wrong-port"
    assert "9090" in found.message
    assert "8090" in found.message
    for quiet in (
        workload(spec("liveness", http(8090)), killed),  # the right port: something else kills it
        workload(spec("liveness", http(9090)), crashed(1, lived=60)),  # it ends by itself
        workload(spec("liveness", http(9090)), crashed(137, "OOMKilled", lived=60)),
    ):
        assert codes_of(failing_probes, view_of(*quiet)) == []


def test_a_program_that_says_why_it_is_not_ready_is_quoted() -> None:
    log = "up\nselection of the shard leader failed: no quorum\nup"
    found = judge("readiness", http(8090), "HTTP probe failed with statuscode: 503", log=log)
    assert any("no quorum" in e.excerpt for e in found.evidence if e.kind == "log")
    found = judge("readiness", http(8090), "HTTP probe failed with statuscode: 503", log="up\nstill up")
    assert not [e for e in found.evidence if e.kind == "log"]
