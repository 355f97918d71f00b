"""What a served snapshot holds, indexed as the paths of an API address it: group, version, plural, namespace, name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agents.cluster.objects import K8sObject, integer, text
from agents.cluster.reader import Missing, RawObject, ResourceType
from agents.cluster.snapshot import Snapshot, SnapshotReader
from agents.cluster.view import LogKey
from agents.evidence import ClusterIdentity

SHORT_NAMES: Mapping[str, tuple[str, ...]] = {
    "pods": ("po",),
    "services": ("svc",),
    "configmaps": ("cm",),
    "events": ("ev",),
    "endpoints": ("ep",),
    "serviceaccounts": ("sa",),
    "persistentvolumeclaims": ("pvc",),
    "persistentvolumes": ("pv",),
    "replicationcontrollers": ("rc",),
    "resourcequotas": ("quota",),
    "limitranges": ("limits",),
    "nodes": ("no",),
    "namespaces": ("ns",),
    "deployments": ("deploy",),
    "replicasets": ("rs",),
    "statefulsets": ("sts",),
    "daemonsets": ("ds",),
    "cronjobs": ("cj",),
    "horizontalpodautoscalers": ("hpa",),
    "verticalpodautoscalers": ("vpa",),
    "poddisruptionbudgets": ("pdb",),
    "ingresses": ("ing",),
    "networkpolicies": ("netpol",),
    "storageclasses": ("sc",),
    "priorityclasses": ("pc",),
    "customresourcedefinitions": ("crd", "crds"),
}
_ALL_CATEGORY = frozenset(
    {
        "pods",
        "services",
        "deployments",
        "replicasets",
        "statefulsets",
        "daemonsets",
        "jobs",
        "cronjobs",
        "replicationcontrollers",
        "horizontalpodautoscalers",
    }
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One served kind with its objects in the order in which an API server lists them: by namespace, then name."""

    resource: ResourceType
    objects: Sequence[RawObject]
    missing: Missing | None

    @property
    def short_names(self) -> list[str]:
        return list(SHORT_NAMES.get(self.resource.plural, ())) if self.resource.group != "metrics.k8s.io" else []

    @property
    def categories(self) -> list[str]:
        in_all = self.resource.plural in _ALL_CATEGORY and self.resource.group != "metrics.k8s.io"
        return ["all"] if in_all else []

    @property
    def singular(self) -> str:
        return self.resource.kind.lower()

    @property
    def verbs(self) -> list[str]:
        return ["get", "list", "watch"]


class SnapshotStore:
    """A loaded snapshot under the paths of an API."""

    def __init__(self, snapshot: Snapshot, reader: SnapshotReader, identity: ClusterIdentity, now: datetime) -> None:
        self.snapshot = snapshot
        self.reader = reader
        self.identity = identity
        self.now = now
        self.kinds: dict[tuple[str, str, str], Kind] = {}
        self.resource_version = "1"

    @classmethod
    async def of(cls, snapshot: Snapshot) -> SnapshotStore:
        """Indexes a snapshot. Every kind that was read or is known not to have been is served."""
        reader = SnapshotReader(snapshot)
        store = cls(snapshot, reader, await reader.identity(), await reader.now())
        newest = 1
        for resource in await reader.resources():
            listing = await reader.list_objects(resource)
            objects = sorted(
                listing.items, key=lambda o: (text(o, "metadata", "namespace"), text(o, "metadata", "name"))
            )
            # several files may hold the same object; an API server has each once, and the first is what a view keeps
            unique = {(text(o, "metadata", "namespace"), text(o, "metadata", "name")): o for o in reversed(objects)}
            kind = Kind(resource, tuple(reversed(unique.values())), listing.missing)
            store.kinds[(resource.group, resource.version, resource.plural)] = kind
            newest = max([newest, *(integer(o, "metadata", "resourceVersion") or 0 for o in objects)])
        store.resource_version = str(newest)
        return store

    @property
    def version(self) -> str:
        """The cluster's version, from its nodes where the record does not name it."""
        nodes = self.kind("", "v1", "nodes")
        kubelets = {text(n, "status", "nodeInfo", "kubeletVersion") for n in (nodes.objects if nodes else ())}
        return self.identity.server_version or max(kubelets, default="") or "v0.0.0-snapshot"

    @property
    def token_key(self) -> str:
        """What a continue token must carry to be of this record."""
        return hashlib.sha256(f"{self.identity.id} {self.now.isoformat()}".encode()).hexdigest()[:12]

    def kind(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind served under a path, None where there is none."""
        return self.kinds.get((group, version, plural))

    @property
    def groups(self) -> dict[str, list[str]]:
        """group -> its versions, the core group ("") first."""
        found: dict[str, list[str]] = {"": ["v1"]}
        for group, version, _ in sorted(self.kinds):
            if version not in found.setdefault(group, []):
                found[group].append(version)
        return found

    def kinds_of(self, group: str, version: str) -> list[Kind]:
        """The kinds of one version of a group, by name."""
        found = [k for (g, v, _), k in self.kinds.items() if (g, v) == (group, version)]
        return sorted(found, key=lambda k: k.resource.plural)

    def pod(self, namespace: str, name: str) -> K8sObject | None:
        """One pod, for its log."""
        pods = self.kind("", "v1", "pods")
        for raw in pods.objects if pods else ():
            if text(raw, "metadata", "name") == name and text(raw, "metadata", "namespace") == namespace:
                return K8sObject(raw)
        return None

    def has_log(self, key: LogKey) -> bool:
        """Whether the record holds this log."""
        return key in self.snapshot.logs
