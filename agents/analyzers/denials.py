"""Refusals of the API server ("forbidden: User … cannot …"), as they stand in logs and events of the view.

Promise: one `Denial` per account, permission and workload, taken from an unwell container where there is one; lines of
other shapes are no denials.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agents.analyzers.accounts import Permission
from agents.analyzers.base import clip, seen_event, seen_log
from agents.analyzers.pods import Container, containers_of, crashing, current, is_over, unwell_pods
from agents.cluster.objects import K8sObject
from agents.cluster.view import ClusterView, event_record
from agents.evidence import Evidence

_Q = r'\\*["\']'
_DENIED = re.compile(
    rf"User {_Q}system:serviceaccount:(?P<ns>[a-z0-9.-]+):(?P<account>[a-z0-9.-]+){_Q} cannot (?P<verb>\w+) "
    rf"(?:resource {_Q}(?P<resource>[\w./-]+?){_Q} in API group {_Q}(?P<group>[\w.-]*?){_Q}"
    rf"(?: in the namespace {_Q}(?P<scope>[\w.-]+?){_Q}| at the cluster scope)?|path {_Q}(?P<path>[^\s\"'\\]+){_Q})"
)
_NAMED = re.compile(rf"[\w./-]+ {_Q}(?P<name>[\w.-]+?){_Q} is forbidden: $")
_LASTING = 5  # refusals of one kind in the part of a log that was read
_AT_THE_END = 10  # lines after the last refusal


@dataclass(frozen=True, slots=True)
class Denial:
    """One refusal: who was refused what, where it was seen, and whether that container is unwell.

    `lasting`: a workload that was asked about is refused again and again until now, although it is ready.
    """

    account: tuple[str, str]
    wanted: Permission
    workload: K8sObject
    pod: K8sObject | None
    evidence: Evidence
    unwell: bool
    lasting: bool
    count: int


def parse_denial(line: str) -> tuple[tuple[str, str], Permission] | None:
    """((namespace, account), permission) that an API server's "forbidden" message names, None for other lines."""
    if "cannot" not in line:
        return None
    match = _DENIED.search(line)
    if match is None:
        return None
    named = _NAMED.search(line[: match.start()][-300:])
    wanted = Permission(
        verb=match["verb"],
        group=match["group"] or "",
        resource=match["resource"] or "",
        scope=match["scope"] or "",
        name=named["name"] if named else "",
        path=match["path"] or "",
    )
    return (match["ns"], match["account"]), wanted


def denials(view: ClusterView) -> tuple[Denial, ...]:
    """Every refusal seen, one per account, permission and workload; the newest line of an unwell container first."""
    found: dict[tuple[Any, ...], Denial] = {}
    for pod in pods_with_logs(view):
        for container in containers_of(pod):
            for denial in _in_log(view, container):
                key = (denial.account, denial.wanted, denial.workload.ref.key)
                if key not in found or (denial.unwell and not found[key].unwell):
                    found[key] = denial
    for denial in _in_events(view):
        found.setdefault((denial.account, denial.wanted, denial.workload.ref.key), denial)
    return tuple(found.values())


def pods_with_logs(view: ClusterView) -> Iterator[K8sObject]:
    """The pods of which any log was read, those being deleted left out."""
    for key in dict.fromkeys((k.namespace, k.pod) for k in view.logs):
        pod = view.get("Pod", *key)
        if pod is not None and pod.deleting_since is None:
            yield pod


def _in_log(view: ClusterView, container: Container) -> Iterator[Denial]:
    pod = container.pod
    sick = pod.ref.key in view.derived(_unwell)
    if is_over(pod) and not sick:
        return  # a run that ended, or one that a later run made up for
    unwell = sick and _is_failing(view, container)
    for previous in (False, True):
        lines = view.log(pod, container.name, previous=previous)
        hits: dict[tuple[tuple[str, str], Permission], list[tuple[int, str]]] = {}
        for number, line in enumerate(lines, 1):
            if parsed := parse_denial(line):
                hits.setdefault(parsed, []).append((number, line))
        for (account, wanted), found in hits.items():
            number, line = found[-1]
            evidence = seen_log(pod, container.name, [clip(line)], previous=previous, number=number)
            lasting = len(found) >= _LASTING and len(lines) - number < _AT_THE_END and pod.namespace in view.focus
            top = view.top_owner(pod)
            yield Denial(account, wanted, top, pod, evidence, unwell=unwell, lasting=lasting, count=len(found))
        if hits:
            return


def _unwell(view: ClusterView) -> frozenset[tuple[str, str, str]]:
    return frozenset(pod.ref.key for pod in unwell_pods(view))


def _is_failing(view: ClusterView, container: Container) -> bool:
    if is_over(container.pod):
        return container.exit_code not in (0, None)
    if container.init:
        return container.exit_code != 0  # running, waiting or failed: the pod waits for it
    return not container.ready or bool(crashing(view, container))


def _in_events(view: ClusterView) -> Iterator[Denial]:
    for obj in view.of_kind("Event"):
        event = event_record(obj)
        parsed = parse_denial(event.message) if event.warning and current(view, event) else None
        target = view.resolve(event.about) if parsed is not None else None
        if parsed is not None and target is not None:
            yield Denial(
                parsed[0],
                parsed[1],
                view.top_owner(target),
                None,
                seen_event(event),
                unwell=False,
                lasting=False,
                count=event.count,
            )
