"""What can be asked of a cluster: the one Protocol that the live reader and the snapshot reader both keep.

Promise: a reader returns raw JSON objects with every Secret already reduced (`agents.cluster.secrets`), and says for
each list whether it is complete. It raises `ClusterError` only when the cluster as a whole cannot be asked; a single
list or log that is forbidden, absent or too slow is an outcome (`Listing.missing`, `LogText.missing`), not an
exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from agents.evidence import ClusterIdentity, NotCheckedReason

RawObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One kind that the API serves, as its discovery says."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class Missing:
    """Why something could not be read; `detail` is safe to show."""

    reason: NotCheckedReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """The outcome of one list call. `missing` is None exactly when the list was permitted and is complete; otherwise
    `complete_in` names the namespaces in which it is complete all the same.
    """

    items: Sequence[RawObject]
    missing: Missing | None = None
    complete_in: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LogRequest:
    """One container's log: the last `tail` lines, optionally of the previous run or from a time on."""

    namespace: str
    pod: str
    container: str
    previous: bool = False
    tail: int | None = 200
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class LogText:
    """The outcome of one log call: lines without line ends, oldest first; `missing` says why there are none or some
    are lacking.
    """

    lines: tuple[str, ...]
    missing: Missing | None = None


class ClusterReader(Protocol):
    """Reads one cluster, or a record of one. All methods may be called concurrently."""

    async def identity(self) -> ClusterIdentity: ...

    async def now(self) -> datetime:
        """The cluster's own clock (the time of capture for a snapshot); ages are judged by it."""
        ...

    async def resources(self) -> tuple[ResourceType, ...]:
        """The kinds that can be listed, in their preferred version."""
        ...

    async def list_objects(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Listing:
        """All objects of a kind, in one namespace or in all (None)."""
        ...

    async def get_object(self, resource: ResourceType, namespace: str, name: str) -> RawObject | None:
        """One object, None when there is none (or it may not be read)."""
        ...

    async def logs(self, request: LogRequest) -> LogText: ...

    async def problems(self) -> tuple[tuple[str, Missing], ...]:
        """(what, why) for everything known in advance to be unreadable: broken files, lists left out of a capture."""
        ...

    async def aclose(self) -> None: ...
