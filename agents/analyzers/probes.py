"""Probes that fail although the program may be well: wrong port, wrong path, wrong scheme, too little time.

A probe counts as failing while the kubelet says so (Unhealthy events of the last minutes) and the container is not
ready or is being restarted; a failure at start-up that passed is history. What a probe asks is compared with the ports
that the container declares and with what its log says it listens on. Plain failing readiness (500, 503) is a symptom.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from agents.analyzers.base import Analyzer, Code, Role, finding, seen_event, seen_field, seen_log
from agents.analyzers.crash_logs import complaints, read_log
from agents.analyzers.nearness import listing, nearest
from agents.analyzers.pods import (
    Case,
    Container,
    crashing,
    events_of,
    per_workload,
    state_evidence,
    template_field,
    unwell_containers,
)
from agents.analyzers.remedies import words
from agents.cluster.objects import containers, integer, mapping, mappings, moment, pod_spec, strings, text
from agents.cluster.view import ClusterView, EventRecord
from agents.evidence import Domain, Evidence, Finding, Severity

_T, _E, _C, _S = Domain.TROUBLESHOOTING, Severity.ERROR, Role.CAUSE, Role.SYMPTOM
_EDIT = "`kubectl -n {ns} edit {kind} {name}`"

WRONG_PORT = Code(
    "probe-wrong-port", _T, _E, _C, "A probe asks a port on which the program does not listen",
    "Set `{probe}Probe` of container {container} to the port it serves ({ports}): " + _EDIT + "\nSee what it listens "
    "on: `kubectl -n {ns} exec {pod} -c {container} -- netstat -tln`", 0.94,
)  # fmt: skip
WRONG_PATH = Code(
    "probe-wrong-path", _T, _E, _C, "A probe asks a path that the program does not know",
    "Ask the program what it serves: `kubectl -n {ns} port-forward {pod} 18080:{port}` and `curl -i "
    "localhost:18080{path}`\nCorrect `{probe}Probe.httpGet.path`: " + _EDIT, 0.92,
)  # fmt: skip
WRONG_SCHEME = Code(
    "probe-wrong-scheme", _T, _E, _C, "A probe speaks HTTP where the program speaks HTTPS, or the other way round",
    "Set `{probe}Probe.httpGet.scheme` to {scheme}: " + _EDIT, 0.95,
)  # fmt: skip
TOO_SLOW = Code(
    "probe-timeout-too-short", _T, _E, _C, "The program answers its probe more slowly than the probe waits",
    "Raise `{probe}Probe.timeoutSeconds` (now {timeout} s) once you know why it is slow (CPU limit? load?): " + _EDIT
    + "\n`kubectl -n {ns} top pod {pod} --containers`", 0.8,
)  # fmt: skip
TOO_EARLY = Code(
    "liveness-probe-too-early", _T, _E, _C, "The liveness probe kills the container before it has started",
    "Give it time with a startupProbe (`failureThreshold: 30`, `periodSeconds: 10`), or raise "
    "`livenessProbe.initialDelaySeconds`: " + _EDIT, 0.86,
)  # fmt: skip
STARTUP_SHORT = Code(
    "startup-probe-too-short", _T, _E, _C, "The startup probe gives up before the program has started",
    "Raise `startupProbe.failureThreshold` so that period × threshold covers the slowest start: " + _EDIT, 0.85,
)  # fmt: skip
PROBE_COMMAND = Code(
    "probe-command-failing", _T, _E, _C, "The command of a probe cannot run in the container",
    "Run it by hand: `kubectl -n {ns} exec {pod} -c {container} -- {command}`\nCorrect `{probe}Probe.exec.command`: "
    + _EDIT, 0.9,
)  # fmt: skip
LIVENESS = Code(
    "liveness-probe-failing", _T, _E, _S, "The liveness probe fails, so the container is restarted",
    "Read what the program does then: `kubectl -n {ns} logs {pod} -c {container} --previous`", 0.8,
)  # fmt: skip
READINESS = Code(
    "readiness-probe-failing", _T, _E, _S, "The readiness probe fails, so the pod gets no traffic",
    "Read why the program is not ready: `kubectl -n {ns} logs {pod} -c {container} --tail=50`", 0.8,
)  # fmt: skip

_RECENT = timedelta(minutes=20)
_FAILED = re.compile(r"^(Liveness|Readiness|Startup) probe (?:failed|errored)")
_REFUSED = re.compile(r"connection refused|connect: connection reset")
_MISSING_PATH = re.compile(r"statuscode: (404|405|410)\b")
_PLAIN_TO_TLS = re.compile(r"malformed HTTP response|HTTP request to an HTTPS server|statuscode: 400\b.*|EOF$")
_TLS_TO_PLAIN = re.compile(r"server gave HTTP response to HTTPS client|first record does not look like a TLS")
_TIMED_OUT = re.compile(r"Client\.Timeout|context deadline exceeded|timed out|i/o timeout|timeout: ", re.IGNORECASE)
_NO_PROGRAM = re.compile(r"executable file not found|no such file or directory|command not found|permission denied")
_LISTENS = re.compile(
    r"(?:listen|serv|start|running|bound|bind|port|addr|http)\w*\W[^\n]{0,60}?(?::|port[ =:]+\(?s?\)?[ ]?)(\d{2,5})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Failure:
    """A failing probe of one container: which, its spec, and the event that says so (None: known from the spec)."""

    container: Container
    kind: str
    probe: Mapping[str, Any]
    event: EventRecord | None

    @property
    def said(self) -> str:
        return self.event.message if self.event is not None else ""

    @property
    def asks(self) -> Mapping[str, Any]:
        """The action of the probe that names a port, if it has one."""
        for action in ("httpGet", "tcpSocket", "grpc"):
            if mapping(self.probe, action):
                return mapping(self.probe, action)
        return {}


def failing_probes(view: ClusterView) -> Iterator[Finding]:
    """Probes that keep a container from being ready or alive."""
    hits = ((f.container.pod, (f.container.name, f.kind), f) for f in _failures(view))
    for case in per_workload(view, hits):
        yield _judge(view, case)


def _failures(view: ClusterView) -> Iterator[_Failure]:
    for container in unwell_containers(view):
        if container.init or (container.ready and not crashing(view, container)):
            continue
        told: set[str] = set()
        for event in events_of(view, container.pod.ref, "Unhealthy", "ProbeWarning", "ProbeError"):
            match = _FAILED.match(event.message)
            age = view.age(event.last)
            if match is None or age is None or age > _RECENT or not _is_about(event, container):
                continue
            kind = match[1].lower()
            if kind not in told and _counts(view, container):
                told.add(kind)
                yield _Failure(container, kind, mapping(container.spec, f"{kind}Probe"), event)
        if not told:
            for kind in _silent_kinds(view, container):
                failure = _Failure(container, kind, mapping(container.spec, f"{kind}Probe"), None)
                if _undeclared(failure) is not None:
                    yield failure
                    break


def _silent_kinds(view: ClusterView, container: Container) -> tuple[str, ...]:
    """Probes that may be at fault though no event is left that says so: by how the container is unwell."""
    if _runs_unready(view, container):
        return ("startup", "readiness")
    killed = container.exit_code in (137, 143) and text(container.ended, "reason") != "OOMKilled"
    return ("startup", "liveness") if killed and crashing(view, container) else ()


def _is_about(event: EventRecord, container: Container) -> bool:
    if event.field_path:
        return f"{{{container.name}}}" in event.field_path
    return len(list(containers(pod_spec(container.pod)))) == 1 or bool(container.spec)


def _counts(view: ClusterView, container: Container) -> bool:
    """Whether a failure is more than a program that is just starting: it kills, or lies after the start-up time."""
    return bool(crashing(view, container)) or _runs_unready(view, container)


def _runs_unready(view: ClusterView, container: Container) -> bool:
    age = view.age(container.running_since)
    return age is not None and not container.ready and age.total_seconds() > max(120, startup_allowance(container))


def startup_allowance(container: Container) -> float:
    """Seconds that the probes themselves give the program to start."""
    total = 0.0
    for kind in ("startup", "readiness"):
        probe = mapping(container.spec, f"{kind}Probe")
        if probe:
            period = integer(probe, "periodSeconds") or 10
            total += (integer(probe, "initialDelaySeconds") or 0) + period * (integer(probe, "failureThreshold") or 3)
    return total


def _judge(view: ClusterView, case: Case[_Failure]) -> Finding:
    """Which code a failing probe is, from its spec and from what the kubelet said."""
    failure = case.fact
    undeclared = _undeclared(failure)
    said = failure.said
    if failure.event is None or _REFUSED.search(said) or "no such port" in said or "invalid port" in said.lower():
        elsewhere = _listening_elsewhere(view, failure)
        if undeclared is not None or elsewhere is not None:
            return _wrong_port(view, case, undeclared, elsewhere)
        if _killed_early(view, failure):
            return _too_early(view, case)
    elif mapping(failure.probe, "exec") and _NO_PROGRAM.search(said):
        return _finding(view, case, PROBE_COMMAND, f"its command cannot run: {said[-200:]}")
    elif _TLS_TO_PLAIN.search(said) or (_PLAIN_TO_TLS.search(said) and _speaks_tls(failure)):
        return _wrong_scheme(view, case)
    elif _MISSING_PATH.search(said):
        path = text(failure.asks, "path") or "/"
        why = f"its path {path} is answered with {said.rpartition('statuscode: ')[2].strip()}"
        return _finding(view, case, WRONG_PATH, f"{why}: the program runs and does not know that path")
    elif _TIMED_OUT.search(said):
        timeout = integer(failure.probe, "timeoutSeconds") or 1
        if _killed_early(view, failure):
            return _too_early(view, case)
        if timeout <= 5:
            return _finding(view, case, TOO_SLOW, f"no answer within timeoutSeconds {timeout}")
    return _finding(view, case, READINESS if failure.kind == "readiness" else LIVENESS, _plain_words(failure))


def _plain_words(failure: _Failure) -> str:
    if _REFUSED.search(failure.said):
        return f"nothing listens on port {_probe_port(failure)} yet"
    status = re.search(r"statuscode: (\d+)", failure.said)
    return f"the program answers with status {status[1]}" if status else "the program does not pass it"


def _ports(container: Container) -> list[tuple[str, int]]:
    """(name, number) of the TCP ports that a container declares."""
    found = []
    for port in mappings(container.spec, "ports"):
        number = integer(port, "containerPort")
        if number is not None and text(port, "protocol") in ("", "TCP"):
            found.append((text(port, "name"), number))
    return found


def _undeclared(failure: _Failure) -> str | None:
    """The probe's port where the container declares ports and this is none of them; None where it fits."""
    asked = text(failure.asks, "port")
    declared = _ports(failure.container)
    if not asked or mapping(failure.asks).get("host"):
        return None
    if not asked.isdigit():
        return None if asked in [name for name, _ in declared] else asked
    return asked if declared and int(asked) not in [number for _, number in declared] else None


def _probe_port(failure: _Failure) -> int | None:
    asked = text(failure.asks, "port")
    if asked.isdigit():
        return int(asked)
    return next((number for name, number in _ports(failure.container) if name == asked), None)


def _listening_elsewhere(view: ClusterView, failure: _Failure) -> tuple[int, Evidence] | None:
    """The port that the program's log says it listens on, where that is not the port the probe asks."""
    asked = _probe_port(failure)
    container = failure.container
    for previous in (False, True):
        lines = view.log(container.pod, container.name, previous=previous)
        for number, line in enumerate(lines[:60], 1):
            match = _LISTENS.search(line[:500])
            if match is None or not 0 < int(match[1]) < 65536 or re.search(r"err|fail|refus", line, re.IGNORECASE):
                continue
            if not re.search(r"listen|serv|start|bound|running", line, re.IGNORECASE):
                continue
            if int(match[1]) == asked:
                return None
            seen = seen_log(container.pod, container.name, [line[:300]], previous=previous, number=number)
            return int(match[1]), seen
    return None


def _wrong_port(
    view: ClusterView, case: Case[_Failure], undeclared: str | None, elsewhere: tuple[int, Evidence] | None
) -> Finding:
    failure = case.fact
    declared = _ports(failure.container)
    shown = listing((f"{name} {number}".strip() for name, number in declared), "none")
    asked = text(failure.asks, "port")
    why = f"it asks port {asked}"
    if undeclared is not None:
        why += f", which the container does not declare; it declares {shown}"
        near = nearest(asked, [n for n, _ in declared if n], 1)
        why += f" (the nearest name is {near[0]})" if near and not asked.isdigit() else ""
    if elsewhere is not None:
        why += f"; its log says that it listens on {elsewhere[0]}"
    ports = str(elsewhere[0]) if elsewhere is not None else shown
    return _finding(view, case, WRONG_PORT, why, [elsewhere[1]] if elsewhere else [], ports=ports)


def _speaks_tls(failure: _Failure) -> bool:
    """Whether a plain HTTP probe met a server that wants TLS."""
    if (text(failure.asks, "scheme") or "HTTP") != "HTTP":
        return False
    said = failure.said
    if "malformed HTTP response" in said or "HTTPS server" in said:
        return True
    names = {name for name, number in _ports(failure.container) if number == _probe_port(failure)}
    return "https" in " ".join(names) or _probe_port(failure) in (443, 8443)


def _wrong_scheme(view: ClusterView, case: Case[_Failure]) -> Finding:
    scheme = text(case.fact.asks, "scheme") or "HTTP"
    right = "HTTP" if scheme == "HTTPS" else "HTTPS"
    why = f"it asks port {text(case.fact.asks, 'port')} with scheme {scheme}, and the program speaks {right} there"
    return _finding(view, case, WRONG_SCHEME, why, scheme=right)


def _allowed(probe: Mapping[str, Any]) -> int:
    """Seconds from the container's start until the kubelet gives up on it."""
    period, times = integer(probe, "periodSeconds") or 10, integer(probe, "failureThreshold") or 3
    return (integer(probe, "initialDelaySeconds") or 0) + period * times


def _lived(container: Container) -> float:
    started, finished = moment(container.ended, "startedAt"), moment(container.ended, "finishedAt")
    return (finished - started).total_seconds() if started and finished else 0.0


def _killed_early(view: ClusterView, failure: _Failure) -> bool:
    """Whether the kubelet kills the container at the very time its probe allows for the start, and the program has no
    complaint of its own in its log."""
    container, allowed = failure.container, _allowed(failure.probe)
    if failure.kind == "readiness" or (failure.kind == "liveness" and mapping(container.spec, "startupProbe")):
        return False
    if not crashing(view, container) or container.exit_code not in (0, 130, 137, 143):
        return False
    grace = integer(container.pod.spec, "terminationGracePeriodSeconds") or 30
    in_time = 0.6 * allowed <= _lived(container) <= allowed + grace + 15
    return in_time and read_log(view, container, ended=True) is None


def _too_early(view: ClusterView, case: Case[_Failure]) -> Finding:
    failure = case.fact
    probe = failure.probe
    period, times = integer(probe, "periodSeconds") or 10, integer(probe, "failureThreshold") or 3
    why = (
        f"it begins after {integer(probe, 'initialDelaySeconds') or 0} s and gives up after {times} failures every "
        f"{period} s, so the container was killed after {_lived(failure.container):.0f} s while it was still starting"
    )
    if failure.kind == "startup":
        return _finding(view, case, STARTUP_SHORT, why)
    return _finding(view, case, TOO_EARLY, why + ", without a startupProbe")


def _finding(
    view: ClusterView, case: Case[_Failure], code: Code, why: str, more: list[Evidence] | None = None, **facts: str
) -> Finding:
    failure = case.fact
    container = failure.container
    holder, path = template_field(case.workload, case.pod, container, f"{failure.kind}Probe")
    evidence = [seen_field(holder, path, failure.probe or "{}")]
    declared = container.spec.get("ports")
    if declared:
        evidence.append(seen_field(holder, path.replace(f"{failure.kind}Probe", "ports"), declared))
    if failure.event is not None:
        evidence.append(seen_event(failure.event))
    evidence += more or []
    if code in (READINESS, LIVENESS):  # why the program does not pass stands in its log, if anywhere
        evidence += complaints(view, container, ended=bool(crashing(view, container)))
    if crashing(view, container):
        evidence += state_evidence(container)[-1:]
    said = f" The kubelet says: {failure.said[:250]}" if failure.event is not None else ""
    effect = "it is restarted again and again" if crashing(view, container) else "it is not ready"
    message = f"The {failure.kind} probe of container {container.name} ({case.count}) fails and {effect}: {why}.{said}"
    values: dict[str, Any] = {
        "probe": failure.kind, "container": container.name, "pod": case.pod.name, "ports": "", "scheme": "",
        "port": str(_probe_port(failure) or 8080), "path": text(failure.asks, "path") or "/",
        "timeout": str(integer(failure.probe, "timeoutSeconds") or 1),
        "command": words(strings(failure.probe, "exec", "command")),
    }  # fmt: skip
    return finding(code, case.workload, message, evidence[:5], related=case.related, **{**values, **facts})


CODES: tuple[Code, ...] = (
    WRONG_PORT, WRONG_PATH, WRONG_SCHEME, TOO_SLOW, TOO_EARLY, STARTUP_SHORT, PROBE_COMMAND, LIVENESS, READINESS,
)  # fmt: skip
ANALYZERS: tuple[Analyzer, ...] = (failing_probes,)
