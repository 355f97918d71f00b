"""Shares wide readings of one cluster between questions: reused for some seconds, at most two under way at once.

Promise: two questions within `reuse_seconds` cost one reading of the objects, and of the logs where they are about the
same namespaces; a question that comes while the same reading is under
way waits for it. A reading that fails is not kept. One source belongs to one reader, hence to one cluster and one
identity: never shared across either.
"""

from __future__ import annotations

import asyncio
import time

from agents.cluster.gather import GatherLimits, Inventory, add_logs, gather_inventory
from agents.cluster.reader import ClusterReader
from agents.cluster.view import ClusterView
from agents.evidence import ClusterIdentity

REUSE_SECONDS = 15.0
MAX_VIEWS = 4  # of one reading: a view holds logs, and questions at the same time are about few namespaces


class ViewSource:
    """Views of one cluster on demand."""

    def __init__(self, reader: ClusterReader, *, reuse_seconds: float = REUSE_SECONDS, parallel: int = 2) -> None:
        self.reader = reader
        self._reuse_seconds = reuse_seconds
        self._gate = asyncio.Semaphore(parallel)
        self._kept: tuple[float, Inventory] | None = None
        self._pending: asyncio.Task[Inventory] | None = None
        self._views: dict[tuple[frozenset[str], GatherLimits | None], tuple[Inventory, ClusterView]] = {}

    async def identity(self) -> ClusterIdentity:
        """Which cluster this is."""
        return await self.reader.identity()

    async def inventory(self) -> Inventory:
        """All objects, at most `reuse_seconds` old. Raises ClusterError."""
        if self._kept is not None and time.monotonic() - self._kept[0] <= self._reuse_seconds:
            return self._kept[1]
        if self._pending is None or self._pending.done():
            self._pending = asyncio.create_task(self._read())
        # shielded: one asker that gives up must not cancel the reading that others wait for
        return await asyncio.shield(self._pending)

    async def _read(self) -> Inventory:
        async with self._gate:
            inventory = await gather_inventory(self.reader)
        self._kept = (time.monotonic(), inventory)
        return inventory

    async def view(self, focus: frozenset[str] = frozenset(), limits: GatherLimits | None = None) -> ClusterView:
        """A view with the logs that a diagnosis of `focus` needs. Raises ClusterError."""
        inventory = await self.inventory()
        async with self._gate:
            kept = self._views.get((focus, limits))
            if kept is not None and kept[0] is inventory:
                return kept[1]
            view = await add_logs(self.reader, inventory, focus=focus, limits=limits)
        self._views = {key: pair for key, pair in self._views.items() if pair[0] is inventory}
        if len(self._views) < MAX_VIEWS:
            self._views[(focus, limits)] = (inventory, view)
        return view

    async def aclose(self) -> None:
        """Stops a reading under way and closes the reader."""
        if self._pending is not None and not self._pending.done():
            self._pending.cancel()
            await asyncio.wait([self._pending])
        await self.reader.aclose()
