"""Views for tests, built from YAML as a person would write it: analyzers are tested on what they see in production."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from textwrap import dedent

import yaml

from agents.cluster.kinds import KNOWN_RESOURCES
from agents.cluster.objects import K8sObject
from agents.cluster.secrets import reduce_object
from agents.cluster.view import ClusterView, LogKey
from agents.evidence import ClusterIdentity, Finding

TAKEN_AT = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


def view_of(
    *documents: str,
    logs: Mapping[tuple[str, str, str] | tuple[str, str, str, bool], str] | None = None,
    listed: frozenset[str] | None = None,
    focus: frozenset[str] = frozenset(),
    taken_at: datetime = TAKEN_AT,
) -> ClusterView:
    """A view over the objects of some YAML texts. `listed`: kinds completely listed (None: all known kinds).

    `logs` maps (namespace, pod, container[, previous]) to the text of the log.
    """
    objects = []
    for document in documents:
        for raw in yaml.safe_load_all(dedent(document)):
            if raw:
                objects.append(K8sObject(reduce_object(raw, b"test")))
    kinds = listed if listed is not None else frozenset(r.kind for r in KNOWN_RESOURCES)
    return ClusterView(
        identity=ClusterIdentity(id="uid-kube-system", name="test"),
        taken_at=taken_at,
        objects=objects,
        listed=dict.fromkeys(kinds),
        logs={LogKey(*key): tuple(dedent(text).strip().splitlines()) for key, text in (logs or {}).items()},
        focus=focus,
    )


def codes_of(analyzer: Callable[[ClusterView], Iterator[Finding]], view: ClusterView) -> list[str]:
    """The codes that an analyzer reports, sorted."""
    return sorted(f.code for f in analyzer(view))
