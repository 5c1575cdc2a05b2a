"""A folder for the temporary files of a reading process: gone with it, or with the next one if all was killed.

Pictures and words of documents lie there while text is recognised. Knows nothing about processes or readers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

_PREFIX = "gakju-read-"
_SETTLED_S = 60.0  # a younger folder may not be locked yet


class ReaderFolder:
    """Makes the folder, and removes those of processes that ended without removing theirs.

    Raises:
        OSError: no temporary folder can be made.
    """

    def __init__(self) -> None:
        for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                if left.lstat().st_mtime < time.time() - _SETTLED_S:
                    _remove_if_left(left)
        self.path = tempfile.mkdtemp(prefix=_PREFIX)
        self._lock = _locked(Path(self.path))

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _remove_if_left(folder: Path) -> None:
    lock = _locked(folder)
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the lock on `folder`, which ends with its process; None if another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
