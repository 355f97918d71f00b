"""One Kubernetes object as it was read, and accessors that never raise on a missing or wrong-typed field.

Objects come from clusters of any version and from files that people edited: a list may be null, a number a string, a
label value a boolean. Every accessor gives a typed default instead; an analyzer written with them cannot crash on
shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from agents.evidence import ObjectRef

EMPTY: Mapping[str, Any] = {}
_FRACTION = re.compile(r"\.(\d{6})\d*")
_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+))?([numkKMGTPE]i?)?$")
_SUFFIX = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_SUFFIX |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60}


def dig(value: Any, *path: str) -> Any:
    """The value below `path`, or None as soon as a step is no mapping or has no such key."""
    for step in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def mapping(value: Any, *path: str) -> Mapping[str, Any]:
    """The mapping below `path`, or an empty one."""
    found = dig(value, *path)
    return found if isinstance(found, Mapping) else EMPTY


def mappings(value: Any, *path: str) -> list[Mapping[str, Any]]:
    """The mappings in the list below `path`; anything else in it is left out."""
    found = dig(value, *path)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def strings(value: Any, *path: str) -> list[str]:
    """The strings in the list below `path`; anything else in it is left out."""
    found = dig(value, *path)
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []


def text(value: Any, *path: str) -> str:
    """The string below `path`; a number is written out; anything else is ""."""
    found = dig(value, *path)
    if isinstance(found, str):
        return found
    return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else ""


def integer(value: Any, *path: str) -> int | None:
    """The whole number below `path` (also written as a string), or None."""
    found = dig(value, *path)
    if isinstance(found, bool):
        return None
    if isinstance(found, int):
        return found
    if isinstance(found, str) and re.fullmatch(r"-?\d{1,18}", found):
        return int(found)
    return None


def flag(value: Any, *path: str) -> bool | None:
    """The boolean below `path`, or None where there is none."""
    found = dig(value, *path)
    return found if isinstance(found, bool) else None


def moment(value: Any, *path: str) -> datetime | None:
    """The RFC 3339 time below `path` as an aware datetime in UTC, or None."""
    found = dig(value, *path)
    if isinstance(found, datetime):  # YAML turns an unquoted time into one
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    if not isinstance(found, str):
        return None
    try:
        parsed = datetime.fromisoformat(_FRACTION.sub(r".\1", found))
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # the latter for the year 1 or 9999 in another time zone
        return None


def quantity(value: Any, *path: str) -> float | None:
    """A Kubernetes quantity below `path` in its base unit (cores, bytes, pieces), or None when it is none."""
    found = dig(value, *path)
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    if not isinstance(found, str):
        return None
    match = _QUANTITY.match(found.strip())
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    if exponent and (len(exponent) > 4 or abs(int(exponent)) > 60):  # no quantity of a cluster; a float would overflow
        return None
    return float(number) * 10.0 ** int(exponent or "0") * _SUFFIX[suffix or ""]


def string_map(value: Any, *path: str) -> Mapping[str, str]:
    """The mapping below `path` with string values only (labels, selectors, annotations)."""
    found = mapping(value, *path)
    return {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, str)}


class K8sObject:
    """One object: its reference and the raw mapping, which must not be changed."""

    __slots__ = ("_labels", "raw", "ref")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        meta = mapping(raw, "metadata")
        self.ref = ObjectRef(
            api_version=text(raw, "apiVersion"),
            kind=text(raw, "kind"),
            namespace=text(meta, "namespace"),
            name=text(meta, "name"),
            uid=text(meta, "uid"),
        )
        self._labels: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        return f"<{self.ref}>"

    @property
    def kind(self) -> str:
        return self.ref.kind

    @property
    def group(self) -> str:
        """The API group, "" for the core group."""
        group, slash, _ = self.ref.api_version.partition("/")
        return group if slash else ""

    @property
    def namespace(self) -> str:
        return self.ref.namespace

    @property
    def name(self) -> str:
        return self.ref.name

    @property
    def metadata(self) -> Mapping[str, Any]:
        return mapping(self.raw, "metadata")

    @property
    def labels(self) -> Mapping[str, str]:
        if self._labels is None:
            self._labels = string_map(self.raw, "metadata", "labels")
        return self._labels

    @property
    def annotations(self) -> Mapping[str, str]:
        return string_map(self.raw, "metadata", "annotations")

    @property
    def spec(self) -> Mapping[str, Any]:
        return mapping(self.raw, "spec")

    @property
    def status(self) -> Mapping[str, Any]:
        return mapping(self.raw, "status")

    @property
    def created(self) -> datetime | None:
        return moment(self.raw, "metadata", "creationTimestamp")

    @property
    def deleting_since(self) -> datetime | None:
        return moment(self.raw, "metadata", "deletionTimestamp")

    @property
    def controller(self) -> ObjectRef | None:
        """The owner that controls this object, None where nothing does."""
        for owner in mappings(self.raw, "metadata", "ownerReferences"):
            if owner.get("controller") is True:
                return ObjectRef(
                    text(owner, "apiVersion"),
                    text(owner, "kind"),
                    self.namespace,
                    text(owner, "name"),
                    text(owner, "uid"),
                )
        return None

    def condition(self, kind: str) -> Mapping[str, Any]:
        """The status condition of this type, or an empty mapping."""
        return next((c for c in mappings(self.raw, "status", "conditions") if c.get("type") == kind), EMPTY)


_TEMPLATE_PATHS: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
WORKLOAD_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicaSet", "ReplicationController")


def pod_template(obj: K8sObject) -> Mapping[str, Any]:
    """What pods of this object look like (`metadata` and `spec`): the object itself for a Pod, else its template."""
    path = _TEMPLATE_PATHS.get(obj.kind)
    return EMPTY if path is None else mapping(obj.raw, *path)


def pod_spec(obj: K8sObject) -> Mapping[str, Any]:
    """The pod spec of a Pod or of a workload's template; empty for other kinds."""
    return mapping(pod_template(obj), "spec")


def pod_spec_path(kind: str) -> str:
    """Where the pod spec stands in an object of this kind, as a field path such as `spec.template.spec`."""
    return ".".join((*_TEMPLATE_PATHS.get(kind, ()), "spec"))


def containers(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(field path below the pod spec, container) for init containers, then containers."""
    for field in ("initContainers", "containers"):
        for index, container in enumerate(mappings(spec, field)):
            yield f"{field}[{index}]", container


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """A native sidecar: an init container that is restarted for ever (KEP-753)."""
    return container.get("restartPolicy") == "Always"


def container_statuses(pod: K8sObject) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(field path, status) for init containers, then containers, then ephemeral ones."""
    for field in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for index, status in enumerate(mappings(pod.raw, "status", field)):
            yield f"status.{field}[{index}]", status
