"""Finds and signals the processes that hold a server's lock file. Knows nothing about what they serve.

Linux: /proc says which processes have the file open, which stays true when pids are reused or parents die. Elsewhere
there is no such list and the caller's pid file is all there is.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def holders(lock: Path, *, programs: tuple[str, ...], pid_file: Path) -> dict[int, bytes]:
    """{pid: command line} of the processes named one of `programs` that have `lock` open; zombies hold nothing."""
    if not (_PROC / "self" / "fd").is_dir():
        pid = read_pid(pid_file)
        return {pid: b""} if pid and _exists(pid) else {}
    try:
        wanted = lock.stat()
    except FileNotFoundError:
        return {}
    found = {}
    for folder in _PROC.glob("[0-9]*"):
        with suppress(OSError):  # processes end while we look; others' are not ours to read
            if (folder / "comm").read_text().strip() in programs and _has_open(folder, wanted):
                found[int(folder.name)] = (folder / "cmdline").read_bytes()
    return found


def _has_open(folder: Path, wanted: os.stat_result) -> bool:
    for entry in os.scandir(folder / "fd"):
        with suppress(OSError):
            if os.path.samestat(os.stat(entry.path), wanted):  # noqa: PTH116 (DirEntry path)
                return True
    return False


def heads(pids: dict[int, bytes]) -> list[int]:
    """Those whose parent is not among them: the server itself, or the orphans of a killed one."""
    return [pid for pid in pids if _parent(pid) not in pids]


def _parent(pid: int) -> int:
    try:
        # "pid (comm) state ppid ...": comm may hold spaces and brackets
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def send(pids: list[int], sig: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, sig)


def read_pid(path: Path) -> int:
    """The number on the first line, 0 when there is none."""
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return 0


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
