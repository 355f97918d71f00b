"""Under whose account the embedded PostgreSQL runs: ours, or, since it refuses to run as root, another one for root.

Promise: nothing is made readable for other users that was not before. Where the account must reach a folder of root's,
the folders above it are made searchable (`o+x`, not `o+r`), and nothing else is changed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

ACCOUNT_NAME = "kubechat"


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int


def server_account(home: Path) -> Account | None:
    """None where we are not root; else the owner of `home` when that is another user, else the account `kubechat`.

    The account is made where it is missing and the system can; `nobody` is the last resort.
    """
    if os.geteuid() != 0:
        return None
    owner = home.stat()
    if owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    found = _named(ACCOUNT_NAME)
    if found is None and (useradd := shutil.which("useradd", path=f"/usr/sbin:/sbin:{os.environ.get('PATH', '')}")):
        subprocess.run(
            [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
             "--shell", "/usr/sbin/nologin", ACCOUNT_NAME],
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
        found = _named(ACCOUNT_NAME)
    return found or _named("nobody") or Account(65534, 65534)


def _named(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


def let_through(path: Path, account: Account) -> tuple[Path, ...]:
    """Make every folder above `path` searchable for the account; the folders that were changed."""
    changed = []
    for folder in path.absolute().parents:
        found = folder.stat()
        if found.st_uid == account.uid:
            allowed = found.st_mode & stat.S_IXUSR
        elif found.st_gid == account.gid:
            allowed = found.st_mode & stat.S_IXGRP
        else:
            allowed = found.st_mode & stat.S_IXOTH
        if not allowed:
            folder.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)
            changed.append(folder)
    return tuple(changed)
