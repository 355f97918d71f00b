"""The database door and its migrations over a real PostgreSQL: what survives, what is repeated, what is said."""

from __future__ import annotations

import asyncio
import time
import traceback
from pathlib import Path

import pytest

from assistant.errors import InternalError, KubeChatError, MigrationFailed, SettingsInvalid, StorageUnavailable
from assistant.storage.database import Database, Transaction, jsonb
from assistant.storage.embedded import EmbeddedServer
from assistant.storage.migrations import Migration, load_migrations, migrate, schema_is_current

TABLE = Migration("0001_things", "CREATE TABLE things (id int PRIMARY KEY, note text); CREATE INDEX ON things (note);")
ROW = Migration("0002_first", "INSERT INTO things VALUES (1, 'first')")


@pytest.fixture
async def things(database: Database) -> Database:
    await migrate(database, [TABLE])
    return database


def whole_story(error: BaseException) -> str:
    """All messages down the causes, as a careless logger would print them."""
    told = traceback.TracebackException.from_exception(error, lookup_lines=False)
    return "".join(line for line in told.format() if not line.startswith("  File"))


async def test_rows_come_back_as_dicts_and_json_as_it_went_in(database: Database) -> None:
    value = {"a": [1, 2.5, None, "✓"], "b": {"c": True}}
    row = await database.fetch_one("SELECT %s AS value, %s AS text", (jsonb(value), "x"))
    assert row == {"value": value, "text": "x"}
    assert await database.fetch_one("SELECT 1 WHERE false") is None


async def test_a_transaction_counts_as_a_whole_or_not_at_all(things: Database) -> None:

    async def half_way() -> None:
        async with things.transaction() as transaction:
            await transaction.execute("INSERT INTO things VALUES (1, 'x')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await half_way()
    assert await things.fetch_all("SELECT * FROM things") == []
    async with things.transaction() as transaction:
        assert await transaction.execute("INSERT INTO things VALUES (1, 'x'), (2, 'y')") == 2
    assert len(await things.fetch_all("SELECT * FROM things")) == 2


async def test_a_refused_statement_is_our_error_without_its_values(things: Database) -> None:
    await things.execute("INSERT INTO things VALUES (1, 'x')")
    with pytest.raises(InternalError) as raised:
        await things.execute("INSERT INTO things VALUES (%s, %s)", (1, "a secret"))
    assert raised.value.message == "The database refused a statement of KubeChat's (SQLSTATE 23505)."


async def terminate_backends(database: Database, statement_like: str = "%") -> None:
    await database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database() AND query LIKE %s",
        (statement_like,),
    )


async def test_connections_lost_between_statements_are_not_noticed(things: Database, database_url: str) -> None:
    killer = await Database.connect(database_url)
    # all of the pool's eight, so that each would have to be found out
    await asyncio.gather(*(things.execute("SELECT pg_sleep(0.1)") for _ in range(8)))
    await terminate_backends(killer)
    began = time.perf_counter()
    assert await things.execute("INSERT INTO things VALUES (1, 'x')") == 1
    await terminate_backends(killer)
    async with things.transaction() as transaction:
        await transaction.execute("INSERT INTO things VALUES (2, 'y')")
    await terminate_backends(killer)
    assert len(await things.fetch_all("SELECT * FROM things")) == 2
    assert time.perf_counter() - began < 2
    await killer.close()


async def test_a_read_cut_off_in_the_middle_is_repeated_and_a_write_is_not(things: Database, database_url: str) -> None:
    killer = await Database.connect(database_url)
    reading = asyncio.create_task(things.fetch_one("SELECT 7 AS n FROM pg_sleep(0.4)"))
    writing = asyncio.create_task(things.execute("INSERT INTO things SELECT 1, 'x' FROM pg_sleep(0.4)"))
    await asyncio.sleep(0.15)
    await terminate_backends(killer, "%pg_sleep(%")
    assert await reading == {"n": 7}
    with pytest.raises(StorageUnavailable, match="ended the connection"):
        await writing
    assert await things.fetch_all("SELECT * FROM things") == []
    await killer.close()


async def test_a_named_lock_admits_one_at_a_time(database: Database, database_url: str) -> None:
    other = await Database.connect(database_url)
    async with database.exclusive("work"):
        async with other.exclusive("other work"):
            pass
        with pytest.raises(StorageUnavailable, match="has held a lock"):
            async with other.exclusive("work", timeout=0.1):
                pass
    async with other.exclusive("work", timeout=0.5):
        pass
    await other.close()


async def test_a_database_that_is_not_there_is_said_at_once_without_the_password(database_url: str) -> None:
    for url, sentence in (
        ("postgresql://ada:hunter2@127.0.0.1:1/kubechat", "The database kubechat at 127.0.0.1:1 does not answer."),
        (database_url.replace("/test_", "/absent_"), "no database of that name exists there"),
        (database_url.replace("postgres@", "nobody-here:hunter2@"), "refused the user name or password"),
    ):
        async with asyncio.timeout(4):
            with pytest.raises(StorageUnavailable) as raised:
                await Database.connect(url)
        assert sentence in raised.value.message
        assert raised.value.retryable
        assert "hunter2" not in whole_story(raised.value)


@pytest.mark.parametrize("url", ["postgresql://ada:hunter2@db:port/x", "ada:hunter2", "postgresql://a:hunter2@[::1/x"])
async def test_a_malformed_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="KUBECHAT_DATABASE_URL") as raised:
        await Database.connect(url)
    assert "hunter2" not in whole_story(raised.value)


async def test_a_wrong_password_is_said_and_no_password_is_shown(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    address = server.acquire()
    try:
        admin = await Database.connect(address)
        await admin.execute("CREATE ROLE ada LOGIN PASSWORD 'right-one'")
        access = server.cluster / "pg_hba.conf"
        access.write_text("local all ada scram-sha-256\n" + access.read_text())
        await admin.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(0.2)
        folder = address.split()[0].removeprefix("host=")
        url = f"postgresql://ada:{{}}@/postgres?host={folder}"
        wrong = url.format("hunter2")
        with pytest.raises(StorageUnavailable, match="refused the user name or password") as raised:
            await Database.connect(wrong)
        assert "hunter2" not in whole_story(raised.value)
        let_in = await Database.connect(url.format("right-one"))
        assert "right-one" not in f"{let_in!r} {let_in.description}"
        with pytest.raises(StorageUnavailable, match="lacks a permission"):
            await let_in.execute("CREATE TABLE public.x (id int)")
        await let_in.close()
        await admin.close()
    finally:
        server.release()


async def test_langgraph_keeps_its_checkpoints_through_the_same_pool(database: Database) -> None:
    from langgraph.checkpoint.base import empty_checkpoint
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    async def set_up(over: Database) -> AsyncPostgresSaver:
        saver = AsyncPostgresSaver(conn=over.saver_pool)
        async with over.exclusive("checkpoints"):
            await saver.setup()
        return saver

    savers = await asyncio.gather(*(set_up(database) for _ in range(3)))
    await savers[0].aput(
        {"configurable": {"thread_id": "t", "checkpoint_ns": ""}},
        empty_checkpoint(),
        {"source": "input", "step": 1},
        {},
    )
    found = await savers[1].aget_tuple({"configurable": {"thread_id": "t"}})
    assert found is not None
    assert found.metadata["step"] == 1


async def test_migrations_are_applied_once_in_order(database: Database) -> None:
    assert not await schema_is_current(database, [TABLE])
    assert await migrate(database, [TABLE]) == ("0001_things",)
    assert await migrate(database, [TABLE, ROW]) == ("0002_first",)
    assert await migrate(database, [TABLE, ROW]) == ()
    assert await schema_is_current(database, [TABLE, ROW])
    assert await database.fetch_all("SELECT id FROM things") == [{"id": 1}]


async def test_a_current_schema_costs_one_query(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate(database, [TABLE, ROW])
    statements: list[str] = []
    fetch_all = Transaction.fetch_all

    async def counted(self: Transaction, statement: str, *rest: object) -> object:
        statements.append(statement)
        return await fetch_all(self, statement, *rest)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(Transaction, "fetch_all", counted)
    monkeypatch.setattr(Transaction, "execute", lambda *_: pytest.fail("wrote something"))
    await migrate(database, [TABLE, ROW])
    assert len(statements) == 1


async def test_processes_that_migrate_at_once_do_it_once(database_url: str) -> None:
    slow = Migration("0001_slow", "CREATE TABLE slow (id int); SELECT pg_sleep(0.2); INSERT INTO slow VALUES (1)")
    databases = [await Database.connect(database_url) for _ in range(4)]
    applied = await asyncio.gather(*(migrate(database, [slow]) for database in databases))
    assert sorted(applied) == [(), (), (), ("0001_slow",)]
    assert await databases[0].fetch_all("SELECT id FROM slow") == [{"id": 1}]
    for database in databases:
        await database.close()


async def test_a_refused_migration_leaves_nothing_of_itself(database: Database) -> None:
    broken = Migration("0002_broken", "CREATE TABLE half (id int); INSERT INTO nowhere VALUES (1)")
    with pytest.raises(MigrationFailed, match="0002_broken"):
        await migrate(database, [TABLE, broken])
    assert await database.fetch_all("SELECT name FROM kubechat_migrations") == [{"name": "0001_things"}]
    assert await database.fetch_one("SELECT to_regclass('half') AS half") == {"half": None}
    assert await migrate(database, [TABLE, ROW]) == ("0002_first",)


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        ([TABLE], "written by a newer KubeChat"),
        ([TABLE, Migration(ROW.name, ROW.sql + " -- edited")], "0002_first of the test database differs"),
        ([TABLE, ROW, ROW], "same name: 0002_first"),
    ],
)
async def test_a_schema_that_is_not_ours_is_refused_untouched(
    database: Database, known: list[Migration], sentence: str
) -> None:
    await migrate(database, [TABLE, ROW])
    before = await database.fetch_all("SELECT * FROM kubechat_migrations")
    with pytest.raises(MigrationFailed, match=sentence):
        await migrate(database, known)
    assert await database.fetch_all("SELECT * FROM kubechat_migrations") == before


async def test_a_missing_table_says_which_command_makes_it(database: Database) -> None:
    with pytest.raises(KubeChatError, match="kubechat migrate"):
        await database.fetch_all("SELECT * FROM threads")


def test_migrations_are_files_named_in_order() -> None:
    names = [migration.name for migration in load_migrations("agents")]
    assert names[0] == "0001_record_threads"
    assert names == sorted(names)
