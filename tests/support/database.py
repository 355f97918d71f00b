"""Fixtures over a real PostgreSQL: one embedded server for the whole test session, an empty database for each test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from assistant.storage.database import Database
from assistant.storage.embedded import EmbeddedServer


@pytest.fixture(scope="session")
def database_server(data_folder: Path) -> Iterator[str]:
    """The conninfo string of the session's server; it is the one that `open_database(None, data_folder)` joins."""
    server = EmbeddedServer(data_folder)
    yield server.acquire()
    server.release()


@pytest.fixture
async def database_url(database_server: str) -> AsyncIterator[str]:
    """The URL of an empty database that no other test sees: what KUBECHAT_DATABASE_URL would hold."""
    name = f"test_{uuid.uuid4().hex}"
    server = await Database.connect(database_server, max_connections=2)
    # wal_log copies the few pages of an empty database without a checkpoint
    await server.execute(f"CREATE DATABASE {name} STRATEGY wal_log")
    folder = dict(part.split("=", 1) for part in database_server.split())["host"]
    yield f"postgresql://postgres@/{name}?host={folder}"
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A connected `Database` over an empty one."""
    database = await Database.connect(database_url, description="the test database")
    yield database
    await database.close()
