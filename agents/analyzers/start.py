"""Containers that never get to run: the command, the user, the mounts, the sandbox, and init containers before them.

What the container runtime said stands in the waiting message, in the message of the failed start, or in a Failed
event; all three are read. Images and missing ConfigMaps or Secrets have their own modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from agents.analyzers.base import Analyzer, Code, Role, finding, missing_field, seen_event, seen_field, seen_log
from agents.analyzers.environment import (
    command_line,
    environment,
    expanded,
    hosts_in,
    served_by,
    service_at,
    used_variables,
)
from agents.analyzers.nearness import listing
from agents.analyzers.pods import (
    Case,
    Container,
    crashing,
    events_of,
    last_words,
    per_workload,
    state_evidence,
    template_field,
    unwell_containers,
)
from agents.cluster.objects import flag, integer, mapping, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_E, _C, _S = Severity.ERROR, Role.CAUSE, Role.SYMPTOM
_T, _D = Domain.TROUBLESHOOTING, Domain.DEPLOYMENT
_EDIT = "`kubectl -n {ns} edit {kind} {name}`"
_DESCRIBE = "Read the runtime's words: `kubectl -n {ns} describe pod {pod}`"

COMMAND_NOT_FOUND = Code(
    "command-not-found", _T, _E, _C, "The command of the container does not exist in its image",
    "See what the image holds: `kubectl -n {ns} run look --rm -it --image={image} --command -- ls /`\n"
    "Correct `command`/`args` of container {container}: " + _EDIT + "\n"
    "or go back: `kubectl -n {ns} rollout undo {kind}/{name}`", 0.96,
)  # fmt: skip
COMMAND_NOT_EXECUTABLE = Code(
    "command-not-executable", _T, _E, _C, "The command of the container may not be executed",
    "Make the file executable where the image is built (`RUN chmod +x FILE`), or call it through its interpreter in "
    "`command`: " + _EDIT + "\nA script mounted from a ConfigMap needs `defaultMode: 0755`.", 0.94,
)  # fmt: skip
WORKING_DIRECTORY = Code(
    "working-directory-missing", _T, _E, _C, "The working directory of the container cannot be entered",
    "Correct `workingDir` of container {container}: " + _EDIT, 0.95,
)  # fmt: skip
NON_ROOT = Code(
    "run-as-non-root-conflict", Domain.SECURITY, _E, _C, "runAsNonRoot is set and the image would run as root",
    "Give the container a user: `securityContext: {{runAsUser: 10001, runAsNonRoot: true}}` in " + _EDIT + ", or set "
    "a numeric `USER` in the image.", 0.97,
)  # fmt: skip
SUBPATH = Code(
    "subpath-mount-failed", Domain.STORAGE, _E, _C, "A subPath or a single-file mount cannot be made",
    "Compare `volumeMounts` with what the volume holds: " + _EDIT + "\nA file needs `subPath` equal to an existing key "
    "or file; a directory cannot be mounted over a file.", 0.9,
)  # fmt: skip
POST_START = Code(
    "post-start-hook-failed", _T, _E, _C, "The postStart hook fails, so the container is killed right after its start",
    "Run the hook by hand: `kubectl -n {ns} debug {pod} -it --copy-to=hook-check --container={container} -- sh`\n"
    "Correct `lifecycle.postStart`: " + _EDIT, 0.93,
)  # fmt: skip
CREATE_FAILED = Code(
    "container-create-failed", _T, _E, _C, "The container runtime cannot create the container",
    _DESCRIBE + "\nand on the node: `journalctl -u containerd --since -15min`", 0.75,
)  # fmt: skip
INIT_FAILING = Code(
    "init-container-failing", _T, _E, _S, "An init container fails again and again, so the pod never starts",
    "Read its log: `kubectl -n {ns} logs {pod} -c {container} --previous`\nCorrect what it does: " + _EDIT, 0.85,
)  # fmt: skip
INIT_WAITING = Code(
    "init-container-waiting", _T, _E, _S, "An init container waits and does not end, so the pod never starts",
    "See what it waits for: `kubectl -n {ns} logs {pod} -c {container} --tail=20`\nCheck that target (Service, "
    "endpoints, name): `kubectl get services,endpointslices -A`", 0.85,
)  # fmt: skip
SIDECAR_BLOCKS = Code(
    "sidecar-blocks-start", _T, _E, _S, "A native sidecar is not started, so the containers after it never start",
    "Read its log: `kubectl -n {ns} logs {pod} -c {container}`\nCheck its startupProbe: " + _EDIT, 0.85,
)  # fmt: skip

_INIT_PATIENCE = timedelta(minutes=5)  # for what looks like waiting
_WORK_PATIENCE = timedelta(minutes=20)  # a migration or a download may take that long
_WAITS = re.compile(
    r"\b(?:until|while|wait|sleep|retry|nc|nslookup|pg_isready|mysqladmin|curl|wget|ping)", re.IGNORECASE
)
_RULES: tuple[tuple[Code, re.Pattern[str]], ...] = tuple(
    (code, re.compile(pattern, re.IGNORECASE | re.DOTALL))
    for code, pattern in (
        (NON_ROOT, r"runAsNonRoot and image (?:will run as root|has non-numeric user)|breaks non-root policy"),
        (SUBPATH, r"subPath|not a directory: unknown|mount a directory onto a file|mounting .* not a dir"),
        (WORKING_DIRECTORY, r"chdir to cwd|mkdir .*: read-only file system.*cwd|current working directory"),
        (COMMAND_NOT_FOUND, r"executable file not found|exec: \".*\": stat .*no such file|exec \S+ ?: no such file"),
        (COMMAND_NOT_FOUND, r"exec: \"[^\"]+\": .*no such file or directory"),
        (COMMAND_NOT_EXECUTABLE, r"exec: \"[^\"]+\": (?:.*: )?permission denied|exec \S+: permission denied"),
    )
)  # fmt: skip
_START_REASONS = frozenset({
    "RunContainerError", "CreateContainerError", "StartError", "ContainerCannotRun", "CreateContainerConfigError",
    "PostStartHookError",
})  # fmt: skip
_SHELL_MISSING = re.compile(
    r"(?:: \d+: |: line \d+: |sh: |env: [‘'\"]?)?\S+: (?:command )?not found|No such file or directory|"
    r"Cannot find module|can't open file|Could not find or load main class|Unable to access jarfile",
    re.IGNORECASE,
)


def failed_starts(view: ClusterView) -> Iterator[Finding]:
    """Containers that the runtime could not create or start."""
    hits = ((c.pod, c.name, c) for c in unwell_containers(view) if _start_failed(c) or _hook_failed(view, c))
    for case in per_workload(view, hits):
        said = _what_was_said(view, case.fact)
        code = next((code for code, pattern in _RULES if pattern.search(said)), None)
        if code is None and case.fact.waiting == "CreateContainerConfigError":
            continue  # a missing ConfigMap or Secret: config_references tells it
        if code is None and ("no space left" in said or "exec format error" in said or "OOM-killed" in said):
            continue  # images and crashes tell those
        if code is None and ("PostStart" in said or _hook_failed(view, case.fact)):
            code = POST_START
        yield _start_finding(view, case, code or CREATE_FAILED, said)


def _start_failed(container: Container) -> bool:
    if container.waiting in _START_REASONS:
        return True
    ended = text(container.ended, "reason") in ("StartError", "ContainerCannotRun")
    return ended and (container.waiting == "CrashLoopBackOff" or bool(mapping(container.status, "state", "terminated")))


def _hook_failed(view: ClusterView, container: Container) -> bool:
    """Whether the kubelet kills the container for its postStart hook; its state then only shows the kill."""
    if not mapping(container.spec, "lifecycle", "postStart") or not crashing(view, container):
        return False
    events = events_of(view, container.pod.ref, "FailedPostStartHook")
    return any(not e.field_path or f"{{{container.name}}}" in e.field_path for e in events)


def _what_was_said(view: ClusterView, container: Container) -> str:
    name = container.name
    events = [
        e.message
        for e in events_of(view, container.pod.ref, "Failed", "FailedPostStartHook")
        if not e.field_path or f"{{{name}}}" in e.field_path
    ]
    return "\n".join((container.waiting, container.waiting_message, text(container.ended, "message"), *events[:2]))


def _start_finding(view: ClusterView, case: Case[Container], code: Code, said: str) -> Finding:
    container = case.fact
    evidence: list[Evidence] = []
    why = _essence(said)
    if code in (COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE):
        evidence += _field_evidence(case, "command") or _field_evidence(case, "args")
    elif code is WORKING_DIRECTORY:
        evidence += _field_evidence(case, "workingDir")
    elif code is NON_ROOT:
        evidence += _security_context(case)
    elif code is SUBPATH:
        evidence += _field_evidence(case, "volumeMounts")
    elif code is POST_START:
        evidence += _field_evidence(case, "lifecycle")
    evidence += state_evidence(container)
    failed = [e for e in events_of(view, case.pod.ref, "Failed", "FailedPostStartHook") if e.message in said]
    evidence += [seen_event(e) for e in failed[:1]]
    command = command_line(container.spec)
    shown = f" Its command is `{command}`." if command and code in (COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE) else ""
    message = (
        f"Container {container.name} ({container.image}) of {case.count} does not start: "
        f"{code.title[0].lower()}{code.title[1:]}: {why}.{shown}"
    )
    return finding(
        code, case.workload, message, evidence[:5], related=case.related, pod=case.pod.name,
        container=container.name, image=container.image,
    )  # fmt: skip


def _essence(said: str) -> str:
    """The telling end of a runtime's nested message."""
    lines = [line for line in said.splitlines() if line.strip()]
    line = max(lines, key=len) if lines else ""
    for mark in ("error during container init: ", "unable to start container process: ", "OCI runtime create failed: "):
        _, found, rest = line.partition(mark)
        line = rest if found else line
    return line.removeprefix("Error: ").rstrip(". ")[:300]


def _field_evidence(case: Case[Container], field: str) -> list[Evidence]:
    holder, path = template_field(case.workload, case.pod, case.fact, field)
    value = case.fact.spec.get(field)
    return [seen_field(holder, path, value)] if value else []


def _security_context(case: Case[Container]) -> list[Evidence]:
    """Where runAsNonRoot is set, and that no runAsUser is (or which)."""
    found = []
    for path, context in (
        (f"{case.fact.path}.securityContext", mapping(case.fact.spec, "securityContext")),
        ("spec.securityContext", mapping(case.pod.spec, "securityContext")),
    ):
        shown = {k: context[k] for k in ("runAsNonRoot", "runAsUser") if k in context}
        if shown:
            found.append(seen_field(case.pod, path, shown))
    if not any("runAsUser" in e.excerpt for e in found):
        found.append(missing_field(case.pod, f"{case.fact.path}.securityContext.runAsUser"))
    return found


def missing_programs(view: ClusterView) -> Iterator[Finding]:
    """Containers whose shell or interpreter ends with 127 or 126: what it was told to run is not there."""
    hits = ((c.pod, c.name, c) for c in unwell_containers(view) if integer(crashing(view, c), "exitCode") in (126, 127))
    for case in per_workload(view, hits):
        container = case.fact
        previous, number, lines = last_words(view, container)
        at = [i for i, line in enumerate(lines) if _SHELL_MISSING.search(line) or "ermission denied" in line]
        code = COMMAND_NOT_FOUND if container.exit_code == 127 else COMMAND_NOT_EXECUTABLE
        evidence = _field_evidence(case, "command") or _field_evidence(case, "args")
        evidence += state_evidence(container)
        said = ""
        if at:
            said = f": {lines[at[-1]].strip()}"
            line = seen_log(case.pod, container.name, [lines[at[-1]]], previous=previous, number=number + at[-1])
            evidence.append(line)
        message = (
            f"Container {container.name} ({container.image}) of {case.count} ends with exit code {container.exit_code} "
            f"({'command not found' if code is COMMAND_NOT_FOUND else 'command cannot be executed'}){said}. "
            f"Its command is `{command_line(container.spec) or 'the entry point of the image'}`."
        )
        yield finding(
            code, case.workload, message, evidence[:5], related=case.related, confidence=0.88, pod=case.pod.name,
            container=container.name, image=container.image,
        )  # fmt: skip


def init_containers(view: ClusterView) -> Iterator[Finding]:
    """Init containers that fail, or run without an end; and native sidecars that never count as started."""
    failing = ((c.pod, c.name, c) for c in unwell_containers(view) if c.init and _init_fails(view, c))
    for case in per_workload(view, failing):
        yield _init_failing(view, case)
    waiting = ((c.pod, c.name, c) for c in unwell_containers(view) if c.init and _runs_long(view, c))
    for case in per_workload(view, waiting):
        yield _init_waiting(view, case)
    blocked = (
        (c.pod, c.name, c)
        for c in unwell_containers(view)
        if c.sidecar and flag(c.status, "started") is False and (_runs_long(view, c) or crashing(view, c))
    )
    for case in per_workload(view, blocked):
        container = case.fact
        message = (
            f"Native sidecar {container.name} of {case.count} is not started (its startupProbe has not passed, or it "
            "crashes), so the containers after it never start."
        )
        evidence = [*_field_evidence(case, "startupProbe"), *state_evidence(container)]
        evidence = evidence or [seen_field(case.pod, f"{container.status_path}.started", "false")]
        yield finding(
            SIDECAR_BLOCKS, case.workload, message, evidence, related=case.related, pod=case.pod.name,
            container=container.name,
        )  # fmt: skip


def _init_fails(view: ClusterView, container: Container) -> bool:
    ended = crashing(view, container)
    return bool(ended) and integer(ended, "exitCode") != 0 and not _start_failed(container)


def _runs_long(view: ClusterView, container: Container) -> bool:
    age = view.age(container.running_since)
    if age is None or age < _INIT_PATIENCE:
        return False
    lines = view.log(container.pod, container.name)[-5:]
    waits = container.sidecar or _WAITS.search(" ".join((container.name, command_line(container.spec), *lines)))
    return bool(waits) or age >= _WORK_PATIENCE


def _init_failing(view: ClusterView, case: Case[Container]) -> Finding:
    container = case.fact
    previous, number, lines = last_words(view, container)
    evidence = state_evidence(container)
    said = ""
    if lines:
        evidence.append(seen_log(case.pod, container.name, lines, previous=previous, number=number))
        said = f" Its last words: {lines[-1].strip()[:200]}"
    evidence += _field_evidence(case, "command")
    message = (
        f"Init container {container.name} of {case.count} ends with exit code {container.exit_code} again and again "
        f"({container.restarts} restarts), so the pod never starts.{said}"
    )
    return finding(
        INIT_FAILING, case.workload, message, evidence[:5], related=case.related, pod=case.pod.name,
        container=container.name,
    )  # fmt: skip


def _init_waiting(view: ClusterView, case: Case[Container]) -> Finding:
    container = case.fact
    known = environment(view, case.pod, container.spec)
    line = command_line(container.spec)
    evidence = [*_field_evidence(case, "command"), *_field_evidence(case, "args")][:2]
    used = used_variables(line, known)
    evidence += [seen_field(v.source, v.path, v.value) for v in used[:2] if v.value is not None]
    _, number, lines = last_words(view, container)
    if lines:
        evidence.append(seen_log(case.pod, container.name, lines[-2:], number=number + max(0, len(lines) - 2)))
    if not evidence:
        evidence = [seen_field(case.pod, f"{container.status_path}.state.running", "still running")]
    targets = list(dict.fromkeys(hosts_in(expanded(line, known))))
    related: list[ObjectRef] = [*case.related, *(v.source.ref for v in used if v.source.ref != case.pod.ref)]
    for host, _ in targets:
        service = service_at(view, host, case.pod.namespace)
        if service is not None:
            related += served_by(view, service)
    minutes = int((view.age(container.running_since) or timedelta()).total_seconds() // 60)
    what = f" It waits for {listing(f'{h}:{p}' for h, p in targets[:3])}." if targets else ""
    said = f" It says: {lines[-1].strip()[:160]}" if lines else ""
    message = (
        f"Init container {container.name} of {case.count} has run for {minutes} minutes without an end, so the pod "
        f"stays in Init.{what}{said}"
    )
    return finding(
        INIT_WAITING, case.workload, message, evidence, related=tuple(dict.fromkeys(related)), pod=case.pod.name,
        container=container.name,
    )  # fmt: skip


CODES: tuple[Code, ...] = (
    COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE, WORKING_DIRECTORY, NON_ROOT, SUBPATH, POST_START, CREATE_FAILED,
    INIT_FAILING, INIT_WAITING, SIDECAR_BLOCKS,
)  # fmt: skip
ANALYZERS: tuple[Analyzer, ...] = (failed_starts, missing_programs, init_containers)
