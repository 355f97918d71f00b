"""Opens the one database of a process: the configured one, or the embedded server of the data folder.

Promise: when the block ends, however it ends short of a kill, every connection is closed and this process's hold on the
embedded server is given up; the last holder stops it. Fails with `StorageUnavailable` or `SettingsInvalid`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from assistant.storage.database import Database
from assistant.storage.embedded import EmbeddedServer


@asynccontextmanager
async def open_database(url: str | None, data_dir: Path, *, max_connections: int = 8) -> AsyncIterator[Database]:
    """The database at `url`, or, where that is None, the embedded one in `data_dir` (made where it is missing)."""
    if url is not None:
        database = await Database.connect(url, max_connections=max_connections)
        try:
            yield database
        finally:
            await database.close()
        return
    server = EmbeddedServer(data_dir)

    async def revive() -> None:
        await asyncio.to_thread(server.revive)

    acquiring = asyncio.ensure_future(asyncio.to_thread(server.acquire))
    try:
        address = await asyncio.shield(acquiring)
        database = await Database.connect(
            address,
            description=f"the embedded database in {server.data_dir}",
            max_connections=max_connections,
            revive=revive,
        )
        try:
            yield database
        finally:
            await database.close()
    finally:
        # a Ctrl-C while it starts, or a second one while it stops, must not leave the server behind
        await asyncio.wait([acquiring])
        await asyncio.shield(asyncio.to_thread(server.release))
