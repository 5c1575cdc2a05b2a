"""Bytes of a regular file, and of nothing else; and file names as messages show them. Knows no formats.

A pipe would block for ever and a device never ends, so the file is opened without blocking and looked at first. A
symbolic link is not followed: it may have taken a file's place since the folder was listed.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import IO

from knowledge.errors import ReadFailed

_BYTES_PER_MB = 1_000_000  # as MAX_FILE_MB counts them
_BLOCK_BYTES = 1024 * 1024
_MAX_SHOWN_CHARS = 200
_TAIL_CHARS = 40
# Controls and line ends; marks that turn the direction of writing ("gpj.exe" shown as "exe.jpg"); half characters.
_NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def read_bytes(path: Path, *, name: str, max_bytes: int) -> bytes:
    """All bytes of the regular file at `path`, at most `max_bytes`.

    Raises:
        ReadFailed: "unreadable" (missing, no permission, a link, not a regular file) or "too_large".
    """
    with open_regular(path, name=name) as file:
        try:
            data = _at_most(file, max_bytes)
        except OSError as exc:
            raise _unreadable(name, exc) from exc
    if data is None:
        raise larger_than(max_bytes, name=name)
    return data


def open_regular(path: Path, *, name: str) -> IO[bytes]:
    """The regular file at `path`, opened to read.

    Raises:
        ReadFailed: "unreadable".
    """
    try:
        file = open(os.open(path, _FLAGS), "rb")  # noqa: PTH123, SIM115 - a descriptor, for the caller
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        if getattr(exc, "errno", None) == errno.ELOOP:
            raise _not_regular(name) from exc
        raise _unreadable(name, exc) from exc
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _not_regular(name)
    return file


def larger_than(max_bytes: int, *, name: str) -> ReadFailed:
    return ReadFailed(
        f"{shown_name(name)} is larger than {max_bytes / _BYTES_PER_MB:g} MB.",
        reason="too_large",
        hint="Split it, or raise MAX_FILE_MB.",
    )


def shown_name(name: str) -> str:
    """`name` on one line without control characters; a very long one loses its middle and keeps its ending."""
    name = _NOT_SHOWN.sub("\ufffd", name)
    if len(name) > _MAX_SHOWN_CHARS:
        name = f"{name[: _MAX_SHOWN_CHARS - _TAIL_CHARS - 1]}…{name[-_TAIL_CHARS:]}"
    return name


def _at_most(file: IO[bytes], max_bytes: int) -> bytes | None:
    """The file's bytes, None if there are more; a growing file is not read beyond the limit."""
    blocks, size = [], 0
    while block := file.read(min(_BLOCK_BYTES, max_bytes + 1 - size)):
        blocks.append(block)
        size += len(block)
        if size > max_bytes:
            return None
    return b"".join(blocks)


def _unreadable(name: str, error: Exception) -> ReadFailed:
    detail = getattr(error, "strerror", None) or "not a file name"
    return ReadFailed(
        f"{shown_name(name)} cannot be opened ({detail}).",
        reason="unreadable",
        hint="Check that it exists and may be read.",
    )


def _not_regular(name: str) -> ReadFailed:
    return ReadFailed(
        f"{shown_name(name)} is a link or no regular file.",
        reason="unreadable",
        hint="Give the path of the file itself.",
    )
