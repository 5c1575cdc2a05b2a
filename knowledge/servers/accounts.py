"""Under whose name a server runs, and what it takes for that user to reach its files. Knows nothing about servers.

An ordinary user runs the servers as itself. For root they run as the owner of the data folder if that is not root (so
that `sudo gakju …` and `gakju …` share a folder), else as `postgres`, else as `nobody`: PostgreSQL refuses root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import ServerStartFailed

_AS_USER = Path(__file__).with_name("_as_user.py")
_SERVICE_USERS = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """`switch`: we are root and must become this user; otherwise it is the user we are."""

    uid: int
    gid: int
    name: str
    switch: bool

    def command(self, command: list[str], *, folders: list[Path]) -> list[str]:
        """`command` such that it runs as this user and reaches `folders`."""
        return [*self._wrapper(folders), *command] if self.switch else command

    def unreachable(self, folders: list[Path]) -> str:
        """Why this user cannot reach `folders`, even with a capability; empty when it can."""
        if not self.switch:
            return ""
        done = subprocess.run(self._wrapper(folders), capture_output=True, text=True, cwd="/", check=False)
        return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"

    def own(self, path: Path, *, mode: int = 0o700) -> None:
        """Gives one file or folder to this user."""
        if self.switch:
            os.chown(path, self.uid, self.gid)
        path.chmod(mode)

    def own_tree(self, folder: Path) -> None:
        """Takes back a tree that root restored or copied (`cp -r` as root leaves root's files behind)."""
        if self.switch and folder.exists() and folder.stat().st_uid != self.uid:
            for root, folders, files in os.walk(folder):
                for name in (*folders, *files):
                    os.lchown(os.path.join(root, name), self.uid, self.gid)  # noqa: PTH118
            os.chown(folder, self.uid, self.gid)

    def _wrapper(self, folders: list[Path]) -> list[str]:
        # -I -S: no site-packages, no PYTHON* variables; it starts in 20 ms and imports nothing a user could plant.
        start = [sys.executable, "-I", "-S", str(_AS_USER), str(self.uid), str(self.gid)]
        return [*start, *map(str, folders), "--"]


def account_for(*folders: Path) -> Account:
    """The account for servers whose data lie in `folders`: the first existing one's owner decides, see above.

    Raises:
        ServerStartFailed: we are root and the system has no user to run as.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), _name(os.geteuid()), switch=False)
    for folder in folders:
        if folder.exists() and (owner := folder.stat()).st_uid != 0:
            return Account(owner.st_uid, owner.st_gid, _name(owner.st_uid), switch=True)
    for name in _SERVICE_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name, switch=True)
    raise ServerStartFailed(
        "PostgreSQL refuses to run as root and there is no user 'postgres' or 'nobody' to run it as.",
        hint="Start Gakju as an ordinary user, or create one: useradd --system postgres.",
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def copy_for(account: Account, sources: tuple[Path, ...], *, into: Path) -> None:
    """Copies wheel folders below `into`, readable for all, completely or not at all."""
    part = into.with_name(f"{into.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for source in sources:
        skip = shutil.ignore_patterns("include", "__pycache__", "*.a", "*.py")
        shutil.copytree(source, part / source.name, ignore=skip, symlinks=True)
    account.own_tree(part)
    part.chmod(0o755)
    part.rename(into)
