"""From a source of views to a diagnosis: read, run all analyzers, link, mask. The part of a turn that needs no model.

Promise: text that leaves here in findings and evidence is masked; the view itself is not (it stays in this process).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from agents.analyzers import registry
from agents.cluster.similar import nearest
from agents.cluster.source import ViewSource
from agents.cluster.view import ClusterView
from agents.diagnosis import Attention, diagnose
from agents.evidence import ClusterIdentity, Diagnosis, Evidence, Finding, RootCause
from assistant.errors import NamespaceNotFound

Mask = Callable[[str], str]
_IN_LINE_OBJECTS = 3000  # larger views are analysed in a thread, so that the event loop goes on


@dataclass(frozen=True, slots=True)
class Examination:
    """What one look at a cluster brought."""

    view: ClusterView
    diagnosis: Diagnosis


async def examine(source: ViewSource, attention: Attention, mask: Mask) -> Examination:
    """Reads the cluster and diagnoses it. Raises ClusterError, and NamespaceNotFound for one that is not there."""
    view = await source.view(attention.namespaces)
    require_namespaces(view, attention.namespaces)
    return Examination(view, await analyse_aside(view, attention, mask))


async def analyse_aside(view: ClusterView, attention: Attention, mask: Mask) -> Diagnosis:
    """`analyse`, in a thread where the view is large enough to hold up the event loop."""
    if len(view) <= _IN_LINE_OBJECTS:
        return analyse(view, attention, mask)
    return await asyncio.to_thread(analyse, view, attention, mask)


def analyse(view: ClusterView, attention: Attention, mask: Mask) -> Diagnosis:
    """All analyzers over one view, linked and masked."""
    findings, failed = view.derived(registry.run)  # once per view: a follow-up within seconds looks at the same one
    diagnosis = diagnose(view, findings, registry.CODES, attention=attention, failed=failed)
    return masked(diagnosis, mask)


def require_namespaces(view: ClusterView, namespaces: frozenset[str]) -> None:
    """Raises NamespaceNotFound, with similar names, when a namespace asked for is known not to exist."""
    if view.listed("Namespace"):
        require_existing(namespaces, view.namespaces, view.identity)


def require_existing(wanted: Iterable[str], existing: Sequence[str], identity: ClusterIdentity) -> None:
    """Raises NamespaceNotFound for the first wanted namespace that is not among the existing ones."""
    for name in sorted(set(wanted) - set(existing)):
        similar = nearest(name, existing)
        hint = f" Similar: {', '.join(similar)}." if similar else f" There are: {', '.join(existing[:12])}."
        raise NamespaceNotFound(f"There is no namespace {name} in {identity.label}.{hint}")


def masked(diagnosis: Diagnosis, mask: Mask) -> Diagnosis:
    """The diagnosis with every text from the cluster masked."""
    mask = cache(mask)  # causes repeat the words and the evidence of their findings
    return diagnosis.model_copy(
        update={
            "root_causes": tuple(_masked_cause(c, mask) for c in diagnosis.root_causes),
            "findings": tuple(_masked_finding(f, mask) for f in diagnosis.findings),
        }
    )


def masked_evidence(items: tuple[Evidence, ...], mask: Mask) -> tuple[Evidence, ...]:
    """Evidence with its excerpts masked."""
    return tuple(e.model_copy(update={"excerpt": mask(e.excerpt)}) for e in items)


def _masked_cause(cause: RootCause, mask: Mask) -> RootCause:
    return cause.model_copy(
        update={
            "cause": mask(cause.cause),
            "remedy": mask(cause.remedy),
            "evidence": masked_evidence(cause.evidence, mask),
        }
    )


def _masked_finding(finding: Finding, mask: Mask) -> Finding:
    return finding.model_copy(
        update={
            "message": mask(finding.message),
            "remedy": mask(finding.remedy),
            "evidence": masked_evidence(finding.evidence, mask),
        }
    )
