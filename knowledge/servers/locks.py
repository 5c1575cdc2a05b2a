"""Advisory file locks (flock): who uses a data folder, who starts it, and whether a server still runs in it.

The kernel drops a flock with its last holder, so `kill -9` and reboot leave nothing to clean up. A lock belongs to the
*open file*: a child that inherits the descriptor keeps it locked. The servers themselves inherit one (`Lock.fd`), which
makes "nobody can lock it" mean "some process of this server lives", whatever pid files say, and two servers on one
folder impossible. Knows nothing about what is locked.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..errors import ServerStartFailed

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_POLL_S = 0.02


class Lock:
    """An open lock file. Closing it frees this holder's share; children that inherited `fd` keep theirs."""

    def __init__(self, path: Path) -> None:
        if fcntl is None:
            raise ServerStartFailed(
                "The embedded servers need Linux or macOS.", hint="Set DATABASE_URL and REDIS_URL, or use WSL."
            )
        self.path = path
        self._creator = os.getpid()
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_to_folder_owner(self.fd, path.parent)

    def try_exclusive(self) -> bool:
        return self._flock(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        return self._flock(fcntl.LOCK_SH)

    def _flock(self, mode: int) -> bool:
        try:
            fcntl.flock(self.fd, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as exc:
            raise ServerStartFailed(
                f"{self.path.parent} cannot hold file locks ({exc.strerror}).", hint="Put DATA_DIR on a local disk."
            ) from exc
        return True

    def exclusive(self, *, timeout_s: float) -> bool:
        """Waits for the exclusive lock; False when `timeout_s` passed."""
        deadline = time.monotonic() + timeout_s
        while not self.try_exclusive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    @property
    def is_ours(self) -> bool:
        """False in a forked child: the lock is the parent's."""
        return os.getpid() == self._creator

    @property
    def is_current(self) -> bool:
        """False when the file was deleted, so that others would lock a new one."""
        return self.path.exists() and os.path.samestat(os.fstat(self.fd), self.path.stat())

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def give_to_folder_owner(file: int | Path, folder: Path) -> None:
    """What root makes in an ordinary user's folder must stay usable when that user comes without root."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(file, owner.st_uid, owner.st_gid)


def is_free(path: Path) -> bool:
    """True when no process holds the lock at `path` (or there is no such file)."""
    if not path.exists():
        return True
    with Lock(path) as lock:
        return lock.try_exclusive()
