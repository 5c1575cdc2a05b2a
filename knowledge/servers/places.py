"""Where one server keeps its files, and the two cases in which that is not simply below DATA_DIR.

    DATA_DIR/<name>/lock     held by every process of the running server
    DATA_DIR/<name>/data     its data
    DATA_DIR/<name>/run      its socket, 0700; a link to a short folder when the path is too long for a socket
    DATA_DIR/logs/<name>.log

DATA_DIR/<name> is a link to /var/lib/gakju/… when root's servers can reach DATA_DIR in no other way.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import ServerStartFailed
from .accounts import Account, account_for, copy_for
from .binaries import wheel_folders
from .locks import give_to_folder_owner

# sun_path holds 108 bytes on Linux and 104 on macOS, with a final NUL. PostgreSQL's lock file is not a socket.
_MAX_SOCKET_BYTES = 103
_LONGEST_SOCKET = ".s.PGSQL.5432"
_SHARED_HOME = Path("/var/lib/gakju")


@dataclass(frozen=True)
class Place:
    """The resolved folders of one server."""

    shown: str
    base: Path
    log: Path
    program: Path
    account: Account
    run: Path

    @property
    def lock(self) -> Path:
        return self.base / "lock"

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def folders(self) -> list[Path]:
        """What the server must reach."""
        return [self.base, self.run, self.program.parent]


def prepare(data_dir: Path, name: str, program: Path) -> Place:
    """Makes the folders of server `name`, private and owned by the user who will run it.

    Raises:
        ServerStartFailed: a folder cannot be made or cannot be reached.
    """
    link = data_dir / name
    try:
        account = account_for(link / "data", link, data_dir)
        log = _log(data_dir.resolve(), name)
        base = _base(link, account)
        program = _reachable_program(program, base, account)
        run = _run_folder(base, account)
        return Place(_shown(base), base, log, program, account, run)
    except OSError as exc:
        raise ServerStartFailed(
            f"{exc.filename or link} cannot be used: {exc.strerror}.",
            hint="Start Gakju as the user it ran as before, or set DATA_DIR to a folder of your own with free space.",
        ) from exc


def clear(place: Place) -> None:
    """Removes the short folder of stopped servers, which lies outside DATA_DIR; the next start makes it anew."""
    if place.run != place.base / "run":
        shutil.rmtree(place.run, ignore_errors=True)


def _log(data_dir: Path, name: str) -> Path:
    log = data_dir / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.parent.chmod(0o700)  # PostgreSQL logs the statements that failed, with their data
    log.touch(mode=0o600)
    for path in (log.parent, log):
        give_to_folder_owner(path, data_dir)
    return log


def _base(link: Path, account: Account) -> Path:
    if link.is_symlink():
        link.resolve().mkdir(parents=True, exist_ok=True)
    else:
        link.mkdir(parents=True, exist_ok=True)
    base = link.resolve()
    account.own(base)
    reason = account.unreachable([base])
    if not reason:
        return base
    if (base / "data").exists():
        raise ServerStartFailed(
            f"The data in {base} are closed to the servers ({reason}).",
            hint="Move DATA_DIR to where that user may go, or start Gakju as an ordinary user.",
        )
    return _relocated(link, account, reason)


def _relocated(link: Path, account: Account, reason: str) -> Path:
    """Replaces the empty folder `link` by a link to one below /var/lib: not the temporary folder, it must outlive boots."""
    home = _SHARED_HOME / _digest(str(link.resolve())) / link.name
    try:
        home.mkdir(parents=True, exist_ok=True)
        _SHARED_HOME.chmod(0o755)
        home.parent.chmod(0o755)
        account.own(home)
        shutil.rmtree(link)
        link.symlink_to(home)
    except OSError as exc:
        reason = f"{reason}; {exc}"
    else:
        reason = account.unreachable([home])
    if reason:
        raise ServerStartFailed(
            f"The servers cannot run in {link}: {reason}.", hint="Set DATA_DIR to a folder that every user may pass."
        )
    return home


def _reachable_program(program: Path, base: Path, account: Account) -> Path:
    """`program`, or its copy beside the data where the virtual environment is closed to the server's user."""
    reason = account.unreachable([program.parent])
    if not reason:
        return program
    sources = wheel_folders(program)
    facts = program.stat()
    copy = base / f"programs-{_digest(f'{program} {facts.st_size} {facts.st_mtime_ns}')}"
    if not copy.exists():
        for old in base.glob("programs-*"):
            shutil.rmtree(old, ignore_errors=True)
        copy_for(account, sources, into=copy)
    return copy / program.relative_to(sources[0].parent)


def _run_folder(base: Path, account: Account) -> Path:
    """`base`/run, or a private folder with a short path that `base`/run links to."""
    run = base / "run"
    if not run.is_symlink() and _fits(run):
        run.mkdir(exist_ok=True)
        account.own(run)
        return run
    name = f"gakju-{account.uid}-{_digest(_identity(base))}"
    known = run.resolve()
    # Another process may have another TMPDIR: the link tells all of them the same. A copied folder has a copied link.
    if run.is_symlink() and known.name == name and known.is_dir() and _is_private(known, account):
        return known
    short = Path(tempfile.gettempdir()).resolve() / name
    if not _fits(short):
        short = Path("/tmp") / short.name  # noqa: S108 (private folder, owner and mode checked below)
    short.mkdir(mode=0o700, exist_ok=True)
    if account.switch and not short.is_symlink() and short.stat().st_uid == 0:
        account.own(short)
    if not _is_private(short, account):
        raise ServerStartFailed(
            f"{short} belongs to someone else.", hint=f"Remove it, or set DATA_DIR to a path below {_longest()} bytes."
        )
    _link(run, short)
    return short


def _link(run: Path, target: Path) -> None:
    if run.is_symlink():
        run.unlink()
    elif run.is_dir():  # the folder was renamed to a longer path
        shutil.rmtree(run)
    run.symlink_to(target)


def _fits(folder: Path) -> bool:
    """A comma would split libpq's host list, a quote PostgreSQL's list of folders."""
    size = len(os.fsencode(folder / _LONGEST_SOCKET))
    return size <= _MAX_SOCKET_BYTES and not set(str(folder)) & set(",\"'\\\n")


def _longest() -> int:
    return _MAX_SOCKET_BYTES - len(f"/postgres/run/{_LONGEST_SOCKET}")


def _is_private(folder: Path, account: Account) -> bool:
    facts = folder.lstat()
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == account.uid and stat.S_IMODE(facts.st_mode) == 0o700


def _identity(base: Path) -> str:
    """Path and inode: a folder that was deleted and made anew must not meet the old one's server."""
    facts = base.stat()
    return f"{base} {facts.st_dev} {facts.st_ino}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _shown(path: Path) -> str:
    """Relative to the current folder where that is shorter to read."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (OSError, ValueError):
        return str(path)
