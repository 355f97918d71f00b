"""Named migrations of the schema: each runs once, in its own transaction, one process at a time.

Every package brings its own `.sql` files (`0001_record_threads.sql` is the migration `0001_record_threads`); the
composition root passes all of them in one ordered list. A migration that was applied is never edited: its checksum is
recorded, and a differing one is refused. A database that knows a migration we do not was written by a newer KubeChat;
it is refused too, before anything is changed. Failures are `MigrationFailed`, and leave the schema as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from assistant.errors import InternalError, MigrationFailed
from assistant.storage.database import Database, TableMissing

_TABLE = """
CREATE TABLE IF NOT EXISTS kubechat_migrations (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_APPLIED = "SELECT name, checksum FROM kubechat_migrations"


@dataclass(frozen=True, slots=True)
class Migration:
    """One change of the schema: a name that sorts and never changes, and the SQL (statements split by semicolons)."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL, hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations(package: str, folder: str = "migrations") -> tuple[Migration, ...]:
    """The `.sql` files in `folder` of an importable `package`, ordered by name."""
    files = [f for f in (resources.files(package) / folder).iterdir() if f.name.endswith(".sql")]
    return tuple(
        Migration(f.name.removesuffix(".sql"), f.read_text(encoding="utf-8"))
        for f in sorted(files, key=lambda f: f.name)
    )


async def migrate(database: Database, migrations: Sequence[Migration]) -> tuple[str, ...]:
    """Bring the schema up to `migrations`; the names that were applied now, () when it was current (one query).

    Raises `MigrationFailed`: a name is given twice, the database is newer than this program, a migration was edited
    after it was applied, or one was refused by the server. Raises `StorageUnavailable` when the database goes away.
    """
    names = [migration.name for migration in migrations]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise MigrationFailed(f"Two migrations bear the same name: {', '.join(twice)}.")
    if not _pending(migrations, await _applied(database), database.description):
        return ()
    async with database.exclusive("migrations"):
        await database.execute(_TABLE, repeatable=True)
        pending = _pending(migrations, await _applied(database), database.description)
        for migration in pending:
            await _apply(database, migration)
    return tuple(migration.name for migration in pending)


async def schema_is_current(database: Database, migrations: Sequence[Migration]) -> bool:
    """Whether `migrate` would have nothing to do; raises as it does."""
    return not _pending(migrations, await _applied(database), database.description)


async def _applied(database: Database) -> dict[str, str]:
    try:
        rows = await database.fetch_all(_APPLIED)
    except TableMissing:
        return {}
    return {row["name"]: row["checksum"] for row in rows}


def _pending(migrations: Sequence[Migration], applied: dict[str, str], where: str) -> list[Migration]:
    known = {migration.name: migration.checksum for migration in migrations}
    newer = sorted(applied.keys() - known.keys())
    if newer:
        raise MigrationFailed(
            f"{where[0].upper()}{where[1:]} was written by a newer KubeChat (it knows {', '.join(newer[:3])}); "
            "upgrade this one, or use another database."
        )
    edited = sorted(name for name, checksum in applied.items() if known[name] != checksum)
    if edited:
        raise MigrationFailed(
            f"The migration {edited[0]} of {where} differs from the one that this KubeChat ships; "
            "the database was made by another build."
        )
    return [migration for migration in migrations if migration.name not in applied]


async def _apply(database: Database, migration: Migration) -> None:
    try:
        async with database.transaction() as transaction:
            await transaction.run_script(migration.sql)
            await transaction.execute(
                "INSERT INTO kubechat_migrations (name, checksum) VALUES (%s, %s)", (migration.name, migration.checksum)
            )
    except InternalError as error:
        raise MigrationFailed(
            f"The migration {migration.name} was refused by {database.description}; nothing of it was kept."
        ) from error
