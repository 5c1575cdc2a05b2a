"""Turns the last lines of a server's log and its exit code into one sentence of advice."""

from __future__ import annotations

import re
import signal

_BY_TEXT = (
    (r"No space left on device|ENOSPC|Disk quota exceeded", "Free disk space where DATA_DIR lies."),
    (r"could not look up effective user ID", "This user id has no entry in /etc/passwd: add one, or set DATABASE_URL."),
    (r"could not (?:map|resize|create) .*shared memory|Cannot allocate memory", "Free memory, or enlarge /dev/shm."),
    (r"Read-only file system", "Set DATA_DIR to a folder that can be written."),
    (r"GLIBC_\d|cannot open shared object file|Exec format error|not found \(required by",
     "The wheel does not fit this system: set DATABASE_URL and REDIS_URL to servers of your own."),
    (r"cannot reach .*|[Pp]ermission denied|Operation not permitted|wrong ownership",
     "Check who owns DATA_DIR, and start Gakju as the same user as before."),
    (r"invalid locale name", "The system lacks the locale C.UTF-8: install it, or set DATABASE_URL."),
    (r"Bad file format reading the append only file",
     "The file is damaged beyond its end: restore DATA_DIR/valkey from a backup."),
    (r"could not locate a valid checkpoint record|invalid checkpoint|checksum",
     "The files are damaged: restore DATA_DIR/postgres from a backup, or move it away and ingest again."),
    (r"initialized by PostgreSQL version|incompatible with server",
     "The data are of another PostgreSQL version: dump them with that version, or move them away and ingest again."),
)  # fmt: skip
_BY_SIGNAL = {
    signal.SIGILL: "This CPU lacks instructions the program needs: set DATABASE_URL / REDIS_URL to your own servers.",
    signal.SIGKILL: "It was killed, perhaps for lack of memory: see `dmesg`.",
}


def hint_for(text: str, exit_code: int | None) -> str:
    """Advice for a start that failed with `exit_code` (negative: killed by that signal) after logging `text`."""
    if exit_code is not None and exit_code < 0 and -exit_code in _BY_SIGNAL:
        return _BY_SIGNAL[signal.Signals(-exit_code)]
    for pattern, advice in _BY_TEXT:
        if re.search(pattern, text):
            return advice
    return "See the log; DATABASE_URL and REDIS_URL let you use servers of your own instead."
