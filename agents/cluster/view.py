"""An immutable picture of a cluster, with the indexes that analyzers need: kind, owner, label, reference, event, log.

Promise: a view never changes and never fetches; what was not read is in `missing`, and `listed` says whether the
absence of an object means anything. Indexes are built on first use. Kinds of foreign groups that share a core kind's
name (Knative's `Service`) are kept apart under `Kind.group`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar, cast

from agents.cluster.objects import K8sObject, integer, mapping, moment, text
from agents.cluster.reader import Missing
from agents.cluster.references import Reference, references_of
from agents.cluster.selectors import Selector
from agents.evidence import ClusterIdentity, ObjectRef

T = TypeVar("T")

_CORE_GROUPS: Mapping[str, frozenset[str]] = {
    "Service": frozenset({""}),
    "Ingress": frozenset({"networking.k8s.io", "extensions"}),
    "NetworkPolicy": frozenset({"networking.k8s.io", "extensions"}),
    "Event": frozenset({"", "events.k8s.io"}),
    "Deployment": frozenset({"apps", "extensions"}),
    "Job": frozenset({"batch"}),
    "Node": frozenset({""}),
    "Pod": frozenset({""}),
    "Secret": frozenset({""}),
    "ConfigMap": frozenset({""}),
    "Namespace": frozenset({""}),
    "Role": frozenset({"rbac.authorization.k8s.io"}),
    "ClusterRole": frozenset({"rbac.authorization.k8s.io"}),
}


def index_kind(obj: K8sObject) -> str:
    """The name under which a view keeps objects of this kind: the kind itself unless another group's kind claims it."""
    groups = _CORE_GROUPS.get(obj.kind)
    return obj.kind if groups is None or obj.group in groups else f"{obj.kind}.{obj.group}"


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event, whichever of the two APIs it came from. Times are UTC; `count` is at least 1."""

    obj: K8sObject
    about: ObjectRef
    field_path: str
    reason: str
    message: str
    warning: bool
    count: int
    first: datetime | None
    last: datetime | None
    source: str


@dataclass(frozen=True, slots=True)
class LogKey:
    """Which log: `previous` is the run before the last restart."""

    namespace: str
    pod: str
    container: str
    previous: bool = False


class ClusterView:
    """What was read of a cluster at one time. See the module's docstring for what it promises."""

    def __init__(
        self,
        *,
        identity: ClusterIdentity,
        taken_at: datetime,
        objects: Iterable[K8sObject],
        listed: Mapping[str, frozenset[str] | None],
        missing: Sequence[tuple[str, Missing]] = (),
        logs: Mapping[LogKey, tuple[str, ...]] | None = None,
        focus: frozenset[str] = frozenset(),
    ) -> None:
        """`listed`: kind -> None when completely listed over the whole cluster, else the namespaces completely listed.
        `focus`: the namespaces that were asked about (empty: the whole cluster)."""
        self.identity = identity
        self.taken_at = taken_at
        self.focus = focus
        self.missing = tuple(missing)
        self.logs: Mapping[LogKey, tuple[str, ...]] = dict(logs or {})
        self._listed = dict(listed)
        by_kind: dict[str, list[K8sObject]] = defaultdict(list)
        self._by_key: dict[tuple[str, str, str], K8sObject] = {}
        for obj in objects:
            kind = index_kind(obj)
            if (kind, obj.namespace, obj.name) in self._by_key:
                continue  # the same object in two files or versions: the first one stands
            self._by_key[(kind, obj.namespace, obj.name)] = obj
            by_kind[kind].append(obj)
        self._by_kind = {kind: tuple(found) for kind, found in by_kind.items()}

    # -- objects ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self._by_kind)

    def of_kind(self, *kinds: str) -> Iterator[K8sObject]:
        """All objects of these kinds, in the order read."""
        for kind in kinds:
            yield from self._by_kind.get(kind, ())

    def in_namespace(self, kind: str, namespace: str) -> tuple[K8sObject, ...]:
        """All objects of a kind in one namespace."""
        return self._by_namespace.get((kind, namespace), ())

    def get(self, kind: str, namespace: str, name: str) -> K8sObject | None:
        """One object; `namespace` is "" for cluster-scoped kinds."""
        return self._by_key.get((kind, namespace, name))

    def resolve(self, ref: ObjectRef) -> K8sObject | None:
        """The object a reference names, if it was read."""
        return self._by_key.get(ref.key)

    def listed(self, kind: str, namespace: str = "") -> bool:
        """Whether the kind was completely listed there, so that an absent object is known to be absent."""
        if kind not in self._listed:
            return False
        namespaces = self._listed[kind]
        return namespaces is None or namespace in namespaces

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Names of all namespaces seen, sorted."""
        return tuple(sorted({n.name for n in self.of_kind("Namespace")} | {o.namespace for o in self if o.namespace}))

    def __iter__(self) -> Iterator[K8sObject]:
        return iter(self._by_key.values())

    def in_focus(self, ref: ObjectRef) -> bool:
        """Whether an object is in what was asked about; everything is when nothing special was."""
        return not self.focus or ref.namespace in self.focus or (ref.kind == "Namespace" and ref.name in self.focus)

    @cached_property
    def _by_namespace(self) -> dict[tuple[str, str], tuple[K8sObject, ...]]:
        index: dict[tuple[str, str], list[K8sObject]] = defaultdict(list)
        for kind, objects in self._by_kind.items():
            for obj in objects:
                index[(kind, obj.namespace)].append(obj)
        return {key: tuple(found) for key, found in index.items()}

    # -- owners ----------------------------------------------------------------------------------------------------

    @cached_property
    def _children(self) -> dict[tuple[str, str, str], tuple[K8sObject, ...]]:
        index: dict[tuple[str, str, str], list[K8sObject]] = defaultdict(list)
        for obj in self._by_key.values():
            owner = obj.controller
            if owner is not None:
                index[self._owner_key(owner)].append(obj)
        return {key: tuple(found) for key, found in index.items()}

    def _owner_key(self, owner: ObjectRef) -> tuple[str, str, str]:
        cluster_scoped = (owner.kind, "", owner.name)
        return cluster_scoped if owner.key not in self._by_key and cluster_scoped in self._by_key else owner.key

    def owned_by(self, obj: K8sObject, kind: str = "") -> tuple[K8sObject, ...]:
        """The objects that this object controls directly, of one kind or of all."""
        found = self._children.get(obj.ref.key, ())
        return tuple(o for o in found if o.kind == kind) if kind else found

    def owner_of(self, obj: K8sObject) -> K8sObject | None:
        """The object that controls this one, if it was read."""
        owner = obj.controller
        return None if owner is None else self._by_key.get(self._owner_key(owner))

    def top_owner(self, obj: K8sObject) -> K8sObject:
        """The workload at the end of the chain of owners: a Pod's Deployment, say; the object itself if nothing owns
        it.
        """
        seen = {obj.ref.key}
        while (owner := self.owner_of(obj)) is not None and owner.ref.key not in seen:
            seen.add(owner.ref.key)
            obj = owner
        return obj

    def pods_of(self, obj: K8sObject) -> tuple[K8sObject, ...]:
        """The pods below a workload, through ReplicaSets and Jobs; the pod itself for a Pod."""
        return self._pods_by_top.get(obj.ref.key, ()) if obj.kind != "Pod" else (obj,)

    @cached_property
    def _pods_by_top(self) -> dict[tuple[str, str, str], tuple[K8sObject, ...]]:
        index: dict[tuple[str, str, str], list[K8sObject]] = defaultdict(list)
        for pod in self.of_kind("Pod"):
            owner: K8sObject | None = pod
            seen: set[tuple[str, str, str]] = set()
            while owner is not None and owner.ref.key not in seen:
                seen.add(owner.ref.key)
                index[owner.ref.key].append(pod)
                owner = self.owner_of(owner)
        return {key: tuple(found) for key, found in index.items()}

    # -- labels ----------------------------------------------------------------------------------------------------

    def select(self, kind: str, namespace: str, selector: Selector) -> tuple[K8sObject, ...]:
        """The objects of a kind in a namespace whose labels a selector matches."""
        candidates: Sequence[K8sObject] = self.in_namespace(kind, namespace)
        if selector.equal:
            pairs = [self._by_label.get((kind, namespace, k, v), ()) for k, v in selector.equal.items()]
            candidates = min(pairs, key=len)
        return tuple(o for o in candidates if selector.matches(o.labels))

    @cached_property
    def _by_label(self) -> dict[tuple[str, str, str, str], list[K8sObject]]:
        index: dict[tuple[str, str, str, str], list[K8sObject]] = defaultdict(list)
        for kind, objects in self._by_kind.items():
            for obj in objects:
                for key, value in obj.labels.items():
                    index[(kind, obj.namespace, key, value)].append(obj)
        return index

    # -- references ------------------------------------------------------------------------------------------------

    def references(self, obj: K8sObject) -> tuple[Reference, ...]:
        """What this object names in its fields: ConfigMaps, Secrets, claims, Services, classes, roles, nodes."""
        key = obj.ref.key
        if key not in self._references:
            self._references[key] = references_of(obj)
        return self._references[key]

    @cached_property
    def _references(self) -> dict[tuple[str, str, str], tuple[Reference, ...]]:
        return {}

    @cached_property
    def _referrers(self) -> dict[tuple[str, str, str], list[tuple[K8sObject, Reference]]]:
        index: dict[tuple[str, str, str], list[tuple[K8sObject, Reference]]] = defaultdict(list)
        for obj in self._by_key.values():
            for reference in self.references(obj):
                index[reference.target.key].append((obj, reference))
        return index

    def referrers(self, ref: ObjectRef) -> Sequence[tuple[K8sObject, Reference]]:
        """(object, reference) for everything that names this object in a field."""
        return self._referrers.get(ref.key, ())

    # -- events and logs -------------------------------------------------------------------------------------------

    @cached_property
    def _events(self) -> dict[tuple[str, str, str], tuple[EventRecord, ...]]:
        index: dict[tuple[str, str, str], list[EventRecord]] = defaultdict(list)
        for obj in self.of_kind("Event"):
            record = event_record(obj)
            index[record.about.key].append(record)
        epoch = self.taken_at - timedelta(days=36500)
        return {
            key: tuple(sorted(found, key=lambda e: (e.last or epoch, e.obj.name), reverse=True))
            for key, found in index.items()
        }

    def events(self, ref: ObjectRef) -> tuple[EventRecord, ...]:
        """Events about one object, the newest first. Events about an earlier object of the same name are left out."""
        found = self._events.get(ref.key, ())
        if not ref.uid:
            return found
        return tuple(e for e in found if not e.about.uid or e.about.uid == ref.uid or ref.kind == "Node")

    def log(self, pod: K8sObject, container: str, *, previous: bool = False) -> tuple[str, ...]:
        """The log lines read of one container, oldest first; empty when none were read."""
        return self.logs.get(LogKey(pod.namespace, pod.name, container, previous), ())

    # -- what is computed once ---------------------------------------------------------------------------------------

    def derived(self, compute: Callable[[ClusterView], T]) -> T:
        """What a pure module-level function computes from this view, computed once: several checks share an index."""
        if compute not in self._derived:
            self._derived[compute] = compute(self)
        return cast(T, self._derived[compute])

    @cached_property
    def _derived(self) -> dict[Callable[[ClusterView], Any], Any]:
        return {}

    def age(self, when: datetime | None) -> timedelta | None:
        """How long ago by the cluster's clock; never negative (clocks differ a little)."""
        return None if when is None else max(timedelta(), self.taken_at - when)


def event_record(obj: K8sObject) -> EventRecord:
    """Reads an Event of the core API or of events.k8s.io."""
    raw = obj.raw
    about = mapping(raw, "involvedObject") or mapping(raw, "regarding")
    series = mapping(raw, "series")
    last = (
        moment(series, "lastObservedTime")
        or moment(raw, "lastTimestamp")
        or moment(raw, "deprecatedLastTimestamp")
        or moment(raw, "eventTime")
        or moment(raw, "metadata", "creationTimestamp")
    )
    first = moment(raw, "firstTimestamp") or moment(raw, "deprecatedFirstTimestamp") or moment(raw, "eventTime") or last
    return EventRecord(
        obj=obj,
        about=ObjectRef(
            text(about, "apiVersion"),
            text(about, "kind"),
            text(about, "namespace"),
            text(about, "name"),
            text(about, "uid"),
        ),
        field_path=text(about, "fieldPath"),
        reason=text(raw, "reason"),
        message=text(raw, "message") or text(raw, "note"),
        warning=raw.get("type") == "Warning",
        count=max(1, integer(raw, "count") or integer(raw, "deprecatedCount") or integer(series, "count") or 1),
        first=first,
        last=last,
        source=text(raw, "source", "component") or text(raw, "reportingComponent") or text(raw, "reportingController"),
    )
