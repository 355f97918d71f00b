"""Why a container crashes or does not get ready, read from its own log, and tied to what the log speaks about.

Only the logs of containers that are unwell now are read: the run that ended for one that crashes, the newest lines for
one that runs and is not ready. One cause per workload and container, the most telling pattern first. A host in a log
line is tied to its Service and the workloads behind it, a path to the volume that is mounted there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from agents.analyzers import log_codes as codes
from agents.analyzers.address_book import Address, addresses
from agents.analyzers.base import Analyzer, Code, clip, finding, missing_field, seen_field, seen_log
from agents.analyzers.environment import command_line, environment, served_by, service_at
from agents.analyzers.log_patterns import NOT_OURS, RULES
from agents.analyzers.nearness import listing, nearest
from agents.analyzers.pods import (
    Case,
    Container,
    claim_of_mount,
    crashing,
    per_workload,
    template_field,
    unwell_containers,
)
from agents.cluster.objects import K8sObject, containers, flag, integer, mapping, mappings, pod_spec, text
from agents.cluster.view import ClusterView
from agents.evidence import Evidence, Finding, ObjectRef

_LAST_LINES = 40
_MOST_TRIES = 3
_TOLD_ELSEWHERE = frozenset({"OOMKilled", "StartError", "ContainerCannotRun"})  # the log is not why
_PATIENCE = timedelta(minutes=2)
_SMELLS = re.compile(
    r"err|fail|denied|already|refus|not |no |n't|missing|require|exce|fatal|panic|unknown|unrecogni|invalid|time|emerg|"
    r"must|crit|too many|lock|full|kill|abort|unable|bad |self|certificat|x509|auth|unset|undefined|unbound|"
    r"memory|wrong",
    re.IGNORECASE,
)


_COMPLAINS = re.compile(
    r"error|\berr\b|fail|denied|refus|missing|require|exception|fatal|panic|unknown|unrecogni|invalid|timed? ?out|"
    r"unexpected|unable|n't |cannot|not (?:found|set|allowed|defined|permitted|provided)|unset|undefined|critical",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Told:
    """A line of a container's log and what a pattern read in it."""

    container: Container
    code: Code
    line: str
    number: int
    previous: bool
    found: Mapping[str, str]

    @property
    def evidence(self) -> Evidence:
        line = self.line[:500]
        return seen_log(self.container.pod, self.container.name, [line], previous=self.previous, number=self.number)


def told_by_logs(view: ClusterView) -> Iterator[Finding]:
    """What unwell containers say about their trouble."""
    for case in per_workload(view, _told(view)):
        yield _finding(view, case)


def _told(view: ClusterView) -> Iterator[tuple[K8sObject, str, Told]]:
    tries: dict[tuple[object, ...], int] = {}
    for container in unwell_containers(view):
        ended = bool(crashing(view, container))
        if text(container.ended, "reason") in _TOLD_ELSEWHERE or (not ended and not _runs_unready(view, container)):
            continue
        key = (*view.top_owner(container.pod).ref.key, container.name)
        if tries.get(key, 0) >= _MOST_TRIES:
            continue
        tries[key] = tries.get(key, 0) + 1
        told = read_log(view, container, ended)
        if told is not None:
            yield container.pod, container.name, told


def _runs_unready(view: ClusterView, container: Container) -> bool:
    age = view.age(container.running_since)
    return age is not None and age >= _PATIENCE and (container.init or not container.ready)


def read_log(view: ClusterView, container: Container, ended: bool) -> Told | None:
    """The most telling line of the newest run that says anything, else of the message that the program left."""
    runs = (False,) if not ended else (True, False) if container.running else (False, True)
    for previous in runs:
        lines = view.log(container.pod, container.name, previous=previous)
        if lines and (told := _match(container, lines, ended, previous)) is not None:
            return told
    message = text(container.ended, "message")
    return _match(container, tuple(message.splitlines()), ended, False) if ended and message else None


def _match(container: Container, lines: tuple[str, ...], ended: bool, previous: bool) -> Told | None:
    first = max(0, len(lines) - _LAST_LINES)
    tail = [(n, line) for n, line in enumerate(lines[first:], first + 1)
            if _SMELLS.search(line) and not NOT_OURS.search(line)]  # fmt: skip
    for rule in RULES:
        if rule.ends_only and not ended:
            continue
        for number, line in reversed(tail):
            match = rule.pattern.search(line[:2000])
            if match is not None:
                found = {k: v for k, v in match.groupdict().items() if v}
                return Told(container, rule.code, line.strip(), number, previous, found)
    return None


def complaints(view: ClusterView, container: Container, ended: bool) -> list[Evidence]:
    """The last lines, at most three, in which the newest run of a container complains, as one piece of evidence."""
    for previous in (False, True) if ended else (False,):
        lines = view.log(container.pod, container.name, previous=previous)
        told = [(n, line) for n, line in enumerate(lines, 1) if _COMPLAINS.search(line) and not NOT_OURS.search(line)][
            -3:
        ]
        if told:
            shown = [clip(line.strip()[:300]) for _, line in told]
            return [seen_log(container.pod, container.name, shown, previous=previous, number=told[0][0])]
    return []


@dataclass(slots=True)
class _Report:
    """A finding while it is put together."""

    code: Code
    why: str
    evidence: list[Evidence]
    related: list[ObjectRef]


def _finding(view: ClusterView, case: Case[Told]) -> Finding:
    told = case.fact
    report = _Report(told.code, told.code.title[0].lower() + told.code.title[1:], [told.evidence], list(case.related))
    teller = _TELLERS.get(told.code.name)
    if teller is not None:
        teller(view, case, report)
    state = "crashes" if crashing(view, told.container) else "is not ready"
    message = f"Container {told.container.name} of {case.count} {state}: {report.why}. Its log says: {told.line[:300]}"
    pod_context = mapping(case.pod.spec, "securityContext")
    return finding(
        report.code, case.workload, message, report.evidence[:5], related=tuple(dict.fromkeys(report.related)),
        pod=case.pod.name, container=told.container.name, path=told.found.get("path", "PATH"),
        host=told.found.get("host", "HOST").strip("[]"), port=told.found.get("port", "PORT"),
        variable=told.found.get("variable", "NAME"), account=text(case.pod.spec, "serviceAccountName") or "default",
        user=text(pod_context, "fsGroup") or text(pod_context, "runAsUser") or "1000",
    )  # fmt: skip


def _security_context(told: Told) -> tuple[str, list[Evidence]]:
    """Who the container runs as, in words and as evidence."""
    pod, own = told.container.pod, mapping(told.container.spec, "securityContext")
    shared = mapping(pod.spec, "securityContext")
    user = integer(own, "runAsUser") if "runAsUser" in own else integer(shared, "runAsUser")
    group = integer(shared, "fsGroup")
    who = f"runs as user {user}" if user is not None else "runs as the image's user (no runAsUser)"
    who += f" with fsGroup {group}" if group is not None else " and the pod sets no fsGroup"
    shown = {k: shared[k] for k in ("runAsUser", "runAsGroup", "fsGroup", "supplementalGroups") if k in shared}
    holder, base = pod, "spec.securityContext"
    found = [seen_field(holder, base, shown)] if shown else []
    if group is None:
        found.append(missing_field(holder, f"{base}.fsGroup"))
    return who, found


def _tell_path(view: ClusterView, case: Case[Told], report: _Report) -> None:
    """A path that may not be used: on which volume it lies, and who the container runs as."""
    told = case.fact
    path = told.found.get("path", "")
    mount, volume = claim_of_mount(told.container, path) if path else ({}, {})
    who, context = _security_context(told)
    if mount:
        report.code = codes.VOLUME_PERMISSION
        name = text(volume, "name")
        kind = next((k for k in volume if k != "name"), "volume")
        report.why = (
            f"permission denied on {path}, which lies on volume {name} ({_volume_words(volume)}) mounted at "
            f"{text(mount, 'mountPath')}; the container {who}, so the volume's owner does not fit"
        )
        report.evidence += [seen_field(case.pod, "spec.volumes", {"name": name, kind: volume.get(kind)}), *context]
        report.related += _claim_refs(view, case.pod, volume)
    else:
        report.why = f"permission denied on {path}, which is on no mounted volume; the container {who}"
        report.evidence += context


def _volume_words(volume: Mapping[str, object]) -> str:
    claim = text(volume, "persistentVolumeClaim", "claimName")
    if claim:
        return f"PersistentVolumeClaim {claim}"
    for kind, label in (("hostPath", "path"), ("nfs", "server"), ("configMap", "name"), ("secret", "secretName")):
        if kind in volume:
            return f"{kind} {text(volume, kind, label)}"
    return next((k for k in volume if k != "name"), "volume")


def _claim_refs(view: ClusterView, pod: K8sObject, volume: Mapping[str, object]) -> list[ObjectRef]:
    name = text(volume, "persistentVolumeClaim", "claimName")
    if not name:
        return []
    claim = view.get("PersistentVolumeClaim", pod.namespace, name)
    refs = [ObjectRef("v1", "PersistentVolumeClaim", pod.namespace, name)]
    if claim is not None and text(claim.spec, "volumeName"):
        refs.append(ObjectRef("v1", "PersistentVolume", "", text(claim.spec, "volumeName")))
    return refs


def _tell_read_only(view: ClusterView, case: Case[Told], report: _Report) -> None:
    told = case.fact
    path = told.found.get("path", "")
    mount, volume = claim_of_mount(told.container, path) if path else ({}, {})
    own = mapping(told.container.spec, "securityContext")
    if mount:
        report.why = f"{path} lies on volume {text(volume, 'name')}, and that mount is read-only"
        report.evidence.append(seen_field(case.pod, f"{told.container.path}.volumeMounts", mount))
        report.related += _claim_refs(view, case.pod, volume)
    elif flag(own, "readOnlyRootFilesystem") is True:
        report.why = (
            f"readOnlyRootFilesystem is true and it writes to {path or 'the image'}, where no volume is mounted"
        )
        holder, where = template_field(
            case.workload, case.pod, told.container, "securityContext.readOnlyRootFilesystem"
        )
        report.evidence.append(seen_field(holder, where, "true"))


def _tell_space(view: ClusterView, case: Case[Told], report: _Report) -> None:
    told = case.fact
    path = told.found.get("path", "")
    mount, volume = claim_of_mount(told.container, path) if path else ({}, {})
    if not mount:  # a program with one volume fills that one
        claims = [v for v in mappings(case.pod.spec, "volumes") if "persistentVolumeClaim" in v]
        volume = claims[0] if len(claims) == 1 else {}
    if volume:
        report.why = f"no space left on volume {text(volume, 'name')} ({_volume_words(volume)})"
        refs = _claim_refs(view, case.pod, volume)
        report.related += refs
        claim = view.resolve(refs[0]) if refs else None
        if claim is not None:
            size = text(claim.status, "capacity", "storage") or text(claim.spec, "resources", "requests", "storage")
            report.evidence.append(seen_field(claim, "status.capacity.storage", size))


def _tell_variable(view: ClusterView, case: Case[Told], report: _Report) -> None:
    told = case.fact
    name = told.found.get("variable", "")
    known = environment(view, case.workload if pod_spec(case.workload) else case.pod, told.container.spec)
    if name in known and known[name].value != "":
        report.why = f"it does not accept variable {name}, which is set"
        report.evidence.append(seen_field(known[name].source, known[name].path, "(set)"))
        return
    near = nearest(name, known, 2)
    hint = f"; there is {listing(near)}" if near else ""
    report.why = f"environment variable {name} is not set{hint}"
    holder, path = template_field(case.workload, case.pod, told.container, "env")
    if name in known:
        report.why = f"environment variable {name} is empty"
        report.evidence.append(seen_field(known[name].source, known[name].path, '""'))
    else:
        report.evidence.append(missing_field(holder, f"{path}[{name}]", f"set are: {listing(sorted(known)[:20])}"))


def _tell_peer(view: ClusterView, case: Case[Told], report: _Report) -> None:
    """Who the program speaks to: the Service behind the host in the line, or behind an address it is given."""
    told = case.fact
    host, port = told.found.get("host", "").strip("[]"), told.found.get("port", "")
    given = [a for a in _given(view).get(case.workload.ref.key, ()) if not host or a.host.rstrip(".") == host]
    if not host and len({a.host for a in given}) == 1:
        host, port = given[0].host, str(given[0].port or "")
    if not host:
        return
    target = f"{host}:{port}" if port else host
    service = service_at(view, host, case.pod.namespace)
    report.why += f" ({target}"
    if service is not None:
        report.related += served_by(view, service)
        report.why += f", Service {service.name} in namespace {service.namespace}"
        ports = [f"{text(p, 'name') or 'port'} {text(p, 'port')}" for p in mappings(service.spec, "ports")]
        report.evidence.append(seen_field(service, "spec.ports", listing(ports)))
    report.why += ")"
    for address in given[:1]:
        if address.host.rstrip(".") == host.rstrip("."):
            report.evidence.append(seen_field(address.holder, address.path, address.shown))
            report.related.append(address.holder.ref)


def _given(view: ClusterView) -> Mapping[tuple[str, str, str], list[Address]]:
    return view.derived(_addresses_by_workload)


def _addresses_by_workload(view: ClusterView) -> Mapping[tuple[str, str, str], list[Address]]:
    found: dict[tuple[str, str, str], list[Address]] = {}
    for address in addresses(view):
        found.setdefault(address.workload.ref.key, []).append(address)
    return found


def _tell_credentials(view: ClusterView, case: Case[Told], report: _Report) -> None:
    told = case.fact
    user = told.found.get("user", "")
    if user:
        report.why += f" (user {user})"
    _tell_peer(view, case, report)
    known = environment(view, case.pod, told.container.spec)
    secrets = [v for v in known.values() if v.source.kind == "Secret"]
    words = ("pass", "pwd", "secret", "token", "key", "cred", "user", "dsn", "url")
    for variable in [v for v in secrets if any(w in v.name.lower() for w in words)][:2]:
        key = variable.path.removeprefix("data.")
        report.evidence.append(seen_field(variable.source, variable.path, f"key {key}, used as {variable.name}"))
        report.related.append(variable.source.ref)
        report.why += f", {variable.name} comes from Secret {variable.source.name} key {key}"


def _tell_arguments(view: ClusterView, case: Case[Told], report: _Report) -> None:
    container = case.fact.container
    line = command_line(container.spec)
    for field in ("args", "command"):
        if container.spec.get(field):
            holder, path = template_field(case.workload, case.pod, container, field)
            report.evidence.append(seen_field(holder, path, container.spec[field]))
    report.why += f" (`{line[:200]}`)" if line else ""


def _tell_port(view: ClusterView, case: Case[Told], report: _Report) -> None:
    shown = []
    for _, spec in containers(pod_spec(case.pod)):
        ports = ", ".join(text(p, "containerPort") for p in mappings(spec, "ports"))
        shown.append(f"{text(spec, 'name')}: {ports or 'none'}")
    port = case.fact.found.get("port", "")
    report.why += f" (port {port})" if port else ""
    report.evidence.append(seen_field(case.pod, "spec.containers[*].ports", "; ".join(shown)))


def _tell_file(view: ClusterView, case: Case[Told], report: _Report) -> None:
    """A file that is missing or cannot be read: which ConfigMap or Secret is mounted there, with which keys."""
    told = case.fact
    path = told.found.get("path", "")
    report.why += f" ({path})" if path else ""
    mounts = [claim_of_mount(told.container, path)] if path else []
    if not path and told.code is codes.CONFIG_INVALID:
        volumes = {text(v, "name"): v for v in mappings(case.pod.spec, "volumes") if "configMap" in v}
        mounts = [(m, volumes[text(m, "name")]) for m in mappings(told.container.spec, "volumeMounts")
                  if text(m, "name") in volumes]  # fmt: skip
    for mount, volume in mounts[:2]:
        name = text(volume, "configMap", "name")
        config = view.get("ConfigMap", case.pod.namespace, name) if name else None
        if config is not None:
            keys = listing(list(map(str, mapping(config.raw, "data")))[:12])
            report.evidence.append(seen_field(config, "data", f"keys: {keys}"))
            report.related.append(config.ref)
            report.why += f"; ConfigMap {name} with the keys {keys} is mounted at {text(mount, 'mountPath')}"
        elif mount:
            report.evidence.append(seen_field(case.pod, f"{told.container.path}.volumeMounts", mount))


_TELLERS = {
    codes.FILE_PERMISSION.name: _tell_path,
    codes.READ_ONLY.name: _tell_read_only,
    codes.DISK_FULL.name: _tell_space,
    codes.VARIABLE_MISSING.name: _tell_variable,
    codes.UNKNOWN_ARGUMENT.name: _tell_arguments,
    codes.CONFIG_INVALID.name: _tell_file,
    codes.FILE_MISSING.name: _tell_file,
    codes.PORT_IN_USE.name: _tell_port,
    codes.BIND_DENIED.name: _tell_port,
    codes.CREDENTIALS.name: _tell_credentials,
    codes.NAME_RESOLUTION.name: _tell_peer,
    codes.CONNECTION_REFUSED.name: _tell_peer,
    codes.CONNECTION_TIMEOUT.name: _tell_peer,
    codes.TLS.name: _tell_peer,
    codes.CONNECTIONS.name: _tell_peer,
    codes.SCHEMA.name: _tell_peer,
}

CODES: tuple[Code, ...] = codes.LOG_CODES
ANALYZERS: tuple[Analyzer, ...] = (told_by_logs,)
