"""A small door to PostgreSQL: statements in, plain rows out, every failure a sentence of ours.

Promise: nothing of psycopg leaves this module except through `Database.saver_pool`; whatever goes wrong is raised as
`StorageUnavailable` (the database cannot be used now; a retry may help) or `InternalError` (a statement of ours was
refused), and neither ever holds a password or the text of a statement. Text that PostgreSQL cannot hold (NUL, lone
surrogates: both occur in container logs) is replaced, not refused.

A statement that starts with SELECT, or that its caller calls `repeatable`, is sent once more when the connection was
lost under it; any other only when it was certainly not sent. Connections are probed before use, so a restarted
database is noticed between statements, not by them. Advisory locks need session pooling when a pooler stands between.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias, TypeVar

import orjson
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool, PoolClosed

from assistant.errors import InternalError, KubeChatError, SettingsInvalid, StorageUnavailable

Row: TypeAlias = dict[str, Any]
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any] | None
Connection: TypeAlias = psycopg.AsyncConnection[Row]
T = TypeVar("T")

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

LOCK_CLASS = 0x4B43  # "KC": first half of every advisory lock's key, so that they cannot meet another program's
_LOCK_POLL_SECONDS = 0.02

# keepalives and tcp_user_timeout bound how long a turn hangs on a host that vanished; a URL may say otherwise
_CONNECTION_DEFAULTS: dict[str, str] = {
    "connect_timeout": "5",
    "application_name": "kubechat",
    "keepalives_idle": "30",
    "tcp_user_timeout": "20000",
}

# SQLSTATE (or its class) -> what is the matter with the database called {where}
_UNAVAILABLE_STATES: dict[str, str] = {
    "53100": "The disk of {where} is full.",
    "53200": "{where} is out of memory.",
    "53300": "{where} accepts no more connections.",
    "57P03": "{where} is starting or stopping.",
    "25006": "{where} accepts no writes; it may be a standby.",
    "42501": "The user of {where} lacks a permission that KubeChat needs (it creates and writes its own tables).",
    "28": "{where} refused the user name or password.",
    "3D000": "{where}: no database of that name exists there.",
    "40": "{where} is busy; the statement was given up.",
    "55": "{where} is busy; the statement was given up.",
    "57": "{where} ended the connection.",
    "08": "{where} does not answer.",
}
# A refused connection bears no SQLSTATE, only libpq's English text
_REFUSALS: tuple[tuple[str, str], ...] = (
    ("password authentication failed", _UNAVAILABLE_STATES["28"]),
    ("no password supplied", _UNAVAILABLE_STATES["28"]),
    ("no pg_hba.conf entry", "{where} admits no connection from this machine."),
    ('role "', _UNAVAILABLE_STATES["28"]),
    ('database "', _UNAVAILABLE_STATES["3D000"]),
    ("too many clients", _UNAVAILABLE_STATES["53300"]),
    ("starting up", _UNAVAILABLE_STATES["57P03"]),
    ("shutting down", _UNAVAILABLE_STATES["57P03"]),
    ("SSL", "{where} and this machine do not agree on TLS; see sslmode and sslrootcert in its URL."),
    ("could not translate host name", "The host name of {where} cannot be resolved."),
)


class TableMissing(InternalError):
    """A statement named a table that is not there: the migrations have not run."""


def storable(text: str) -> str:
    """The text as PostgreSQL can hold it: NUL and lone surrogates become U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def jsonb(value: Any) -> Any:
    """A parameter for a jsonb column: anything made of dict, list, str, numbers, bool, None and datetimes."""
    return Jsonb(value, dumps=_json_text)


def _json_text(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, orjson.JSONEncodeError):  # lone surrogates
        text = orjson.dumps(_storable_tree(value)).decode()
    return orjson.dumps(_storable_tree(value)).decode() if "\\u0000" in text else text


def _storable_tree(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(str(key)): _storable_tree(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable_tree(item) for item in value]
    return value


def _adapted(parameters: Parameters) -> Parameters:
    if parameters is None:
        return None
    if isinstance(parameters, Mapping):
        return {key: _adapted_value(value) for key, value in parameters.items()}
    return [_adapted_value(value) for value in parameters]


def _adapted_value(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    return [_adapted_value(item) for item in value] if isinstance(value, list) else value


def _translated_error(error: psycopg.Error, where: str) -> KubeChatError:
    state = error.sqlstate or ""
    sentence = _UNAVAILABLE_STATES.get(state) or _UNAVAILABLE_STATES.get(state[:2])
    if sentence is None and isinstance(error, PoolClosed):
        sentence = "{where} was closed; KubeChat is shutting down."
    if sentence is None and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        text = str(error)
        sentence = next((said for needle, said in _REFUSALS if needle in text), _UNAVAILABLE_STATES["08"])
    if isinstance(error, psycopg.errors.UndefinedTable):
        return TableMissing("The database lacks a table of KubeChat's; run `kubechat migrate`.")
    if sentence is None:
        return InternalError(f"The database refused a statement of KubeChat's (SQLSTATE {state or 'unknown'}).")
    sentence = sentence.format(where=where)
    return StorageUnavailable(sentence[0].upper() + sentence[1:])


@contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise _translated_error(error, where) from error


def _connection_lost(error: psycopg.Error) -> bool:
    """Whether the connection, not the statement, was the trouble (no SQLSTATE, connection or shutdown class)."""
    state = error.sqlstate or ""
    if isinstance(error, PoolClosed):
        return False
    return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) and (
        state == "" or state.startswith("08") or state in {"57P01", "57P02", "57P03"}
    )


class Transaction:
    """Statements that count together or not at all; handed out by `Database.transaction()`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: str, parameters: Parameters = None) -> int:
        """Run one statement; the number of rows it touched (-1 where that has no meaning)."""
        return (await self._connection.execute(statement.encode(), _adapted(parameters))).rowcount

    async def fetch_all(self, statement: str, parameters: Parameters = None) -> list[Row]:
        return await (await self._connection.execute(statement.encode(), _adapted(parameters))).fetchall()

    async def fetch_one(self, statement: str, parameters: Parameters = None) -> Row | None:
        return await (await self._connection.execute(statement.encode(), _adapted(parameters))).fetchone()

    async def run_script(self, script: str) -> None:
        """Run several statements separated by semicolons, without parameters."""
        await self._connection.execute(script.encode(), prepare=False)


class Presence:
    """Proof that this process lives: an advisory lock on a connection of its own, which the server drops with it."""

    def __init__(self, number: int, connection: Connection, where: str) -> None:
        self.number = number
        self._connection = connection
        self._where = where

    async def is_held(self) -> bool:
        """Ask the server; False once the connection is gone, and then others take this process for dead."""
        try:
            await self._connection.execute("SELECT 1")
        except (psycopg.OperationalError, psycopg.InterfaceError):
            await self._connection.close()
            return False
        return True

    async def close(self) -> None:
        with _translated(self._where):
            await self._connection.close()


class Database:
    """A pool of connections to one PostgreSQL database; `description` names it to people, without user or password."""

    def __init__(
        self,
        pool: AsyncConnectionPool[Connection],
        conninfo: str,
        description: str,
        revive: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._pool = pool
        self._conninfo = conninfo
        self._revive = revive
        self.description = description

    def __repr__(self) -> str:
        return f"<Database {self.description}>"

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        description: str | None = None,
        max_connections: int = 8,
        revive: Callable[[], Awaitable[None]] | None = None,
    ) -> Database:
        """Connect to `url` (a PostgreSQL URL or conninfo string) and hold at most `max_connections`.

        `revive` is awaited when the database stopped answering, before one more try: it may start it again.
        Raises `SettingsInvalid` for a URL that is none, `StorageUnavailable` when the database does not let us in.
        """
        conninfo, where = _connection_target(url)
        where = description or where

        async def probe(connection: Connection) -> None:
            try:
                await AsyncConnectionPool.check_connection(connection)
            except psycopg.Error:
                # one dead connection means that all are: found one by one, the pool waits longer after each
                if revive is not None:
                    await revive()
                await pool.check()
                raise

        with _translated(where):
            # one direct attempt first: the pool would try again for its whole time-out, even with a wrong password
            async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as first:
                await first.execute("SELECT 1")
            pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
                conninfo,
                kwargs={"autocommit": True, "row_factory": dict_row, "prepare_threshold": 0},
                min_size=1,
                max_size=max_connections,
                max_idle=120.0,
                max_lifetime=1800.0,
                timeout=10.0 if revive is None else 2.0,
                check=probe,
                open=False,
                name="kubechat",
            )
            await pool.open(wait=True, timeout=10.0)
        return cls(pool, conninfo, where, revive)

    @property
    def saver_pool(self) -> Any:
        """The pool itself, as LangGraph's `AsyncPostgresSaver(conn=…)` wants it. For nothing else."""
        return self._pool

    async def execute(self, statement: str, parameters: Parameters = None, *, repeatable: bool = False) -> int:
        """Run one statement in its own transaction; the number of rows it touched.

        `repeatable` says that running it twice does no harm (ON CONFLICT DO NOTHING, an UPDATE to fixed values).
        """
        return await self._with_connection(lambda t: t.execute(statement, parameters), repeatable)

    async def fetch_all(self, statement: str, parameters: Parameters = None, *, repeatable: bool = False) -> list[Row]:
        """All rows, each a dict by column name. Cap the number in the statement."""
        again = repeatable or _is_select(statement)
        return await self._with_connection(lambda t: t.fetch_all(statement, parameters), again)

    async def fetch_one(self, statement: str, parameters: Parameters = None, *, repeatable: bool = False) -> Row | None:
        """The first row, or None."""
        again = repeatable or _is_select(statement)
        return await self._with_connection(lambda t: t.fetch_one(statement, parameters), again)

    async def _with_connection(self, work: Callable[[Transaction], Awaitable[T]], repeatable: bool) -> T:
        with _translated(self.description):
            sent = False
            try:
                async with self._pool.connection() as connection:
                    sent = True
                    return await work(Transaction(connection))
            except psycopg.Error as error:
                if not _connection_lost(error):
                    raise
                if self._revive is not None:
                    await self._revive()
                if sent and not repeatable:
                    raise
            async with self._pool.connection(timeout=10.0) as connection:
                return await work(Transaction(connection))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction: committed when the block ends, rolled back when it raises. Never repeated."""
        with _translated(self.description):
            async with self._pool.connection() as connection, connection.transaction():
                yield Transaction(connection)

    @asynccontextmanager
    async def exclusive(self, name: str, *, timeout: float = 60.0) -> AsyncIterator[None]:
        """Hold a named lock over all processes that use this database; `timeout` in seconds.

        The lock is polled, not waited for inside the server: a waiting statement would block CREATE INDEX CONCURRENTLY,
        which LangGraph's own set-up runs. Raises `StorageUnavailable` when the lock is not free in time.
        """
        key = (LOCK_CLASS, _lock_number(name))
        deadline = asyncio.get_running_loop().time() + timeout
        with _translated(self.description):
            async with self._pool.connection() as connection:
                session = Transaction(connection)
                while not (await session.fetch_all("SELECT pg_try_advisory_lock(%s, %s) AS held", key))[0]["held"]:
                    if asyncio.get_running_loop().time() > deadline:
                        raise StorageUnavailable(
                            f"Another KubeChat process has held a lock in {self.description} for {timeout:.0f} s."
                        )
                    await asyncio.sleep(_LOCK_POLL_SECONDS)
                try:
                    yield
                finally:
                    if not connection.closed:
                        await session.execute("SELECT pg_advisory_unlock(%s, %s)", key)

    async def presence(self, number: int) -> Presence:
        """Take the lock `number` (31 bits) for as long as this process, or the returned `Presence`, lives."""
        await self.ping()  # starts the embedded server again where that is needed
        with _translated(self.description):
            connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, row_factory=dict_row)
            await connection.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, number))
        return Presence(number, connection, self.description)

    async def ping(self) -> None:
        """One round trip; raises `StorageUnavailable` when the database does not answer."""
        await self.fetch_one("SELECT 1 AS one")

    async def close(self) -> None:
        """Close every connection; a statement that still runs is given five seconds."""
        await self._pool.close(timeout=5.0)


def _is_select(statement: str) -> bool:
    return statement.lstrip()[:6].upper() == "SELECT"


def _lock_number(name: str) -> int:
    return zlib.crc32(name.encode()) & 0x7FFFFFFF


def _connection_target(url: str) -> tuple[str, str]:
    """The conninfo string with our defaults, and how the database is called towards people (no user, no password)."""
    try:
        given = conninfo_to_dict(url)
        ports = [int(port) for port in str(given.get("port") or 5432).split(",")]
        if not all(0 < port < 65536 for port in ports):
            raise ValueError
    except (psycopg.ProgrammingError, ValueError):
        # libpq quotes the string, password included: it must not even be the cause of what we raise
        raise SettingsInvalid(
            "KUBECHAT_DATABASE_URL is not a PostgreSQL URL; expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
        ) from None
    parts = _CONNECTION_DEFAULTS | {key: str(value) for key, value in given.items() if value is not None}
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    name = parts.get("dbname") or parts.get("user") or "postgres"
    return make_conninfo("", **parts), f"the database {name} at {host}:{parts.get('port', '5432')}"
