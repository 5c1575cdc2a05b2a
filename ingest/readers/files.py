"""Bytes of a regular file, and of nothing else. Knows no formats.

A pipe would block for ever and a device never ends, so the file is opened without blocking and looked at first.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from knowledge.errors import ReadFailed

_BYTES_PER_MB = 1024 * 1024


def read_bytes(path: Path, *, name: str, max_bytes: int) -> bytes:
    """All bytes of the regular file at `path`, at most `max_bytes`.

    Raises:
        ReadFailed: "unreadable" (missing, no permission, not a regular file) or "too_large".
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ReadFailed(
                    f"{name} is not a regular file.", reason="unreadable", hint="Only plain files are read."
                )
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        detail = getattr(exc, "strerror", None) or "not a file name"
        raise ReadFailed(
            f"{name} cannot be opened ({detail}).", reason="unreadable", hint="Check that it exists and may be read."
        ) from exc
    if len(data) > max_bytes:
        raise ReadFailed(
            f"{name} is larger than {max_bytes / _BYTES_PER_MB:g} MB.",
            reason="too_large",
            hint="Split it, or raise MAX_FILE_MB.",
        )
    return data
