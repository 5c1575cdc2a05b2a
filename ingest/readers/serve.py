"""Reads files for another process, one after another; started by `ingest.reader_process` as a program of its own.

Arguments: the connection's and the lifeline's descriptors, memory limit in bytes, seconds a file may take, files to
read at most, memory in bytes above which it ends. Each request is answered by a document and the SHA-256 of exactly
the bytes that it was read from, or by the reason why there is none. Imports no more than the readers need.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import sys
from pathlib import Path, PurePath
from typing import Any

# At the end, so that html.py beside this hides nothing of the library.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from ingest.readers import SUPPORTED, read_bytes_as
from ingest.readers.archive import ArchiveOnDisk, OpenedArchive, members_of
from ingest.readers.files import read_bytes, shown_name
from ingest.readers.sandbox import confine
from ingest.readers.wire import EXIT_MEMORY, ConnectionEnded, Message, document_message, failure_message, receive, send
from knowledge.errors import ReadFailed

_ARCHIVE_TIMES_FILE = 10  # all that comes out of an archive may be so many times as large as one file
_STATM = Path("/proc/self/statm")


def hang_on(lifeline: int) -> None:
    """Have the system end this process group when the other end of `lifeline` is closed, as by the end of its owner.

    By a signal, as a thread could not run while a parser is busy in C. Not PR_SET_PDEATHSIG, which strikes when the
    starting *thread* ends. Where a pipe sends no signals (not Linux), the end of the connection is seen after a file.
    """
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl
        import select

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        ended = select.poll()
        ended.register(lifeline, select.POLLIN | select.POLLHUP)
        if ended.poll(0):  # it was closed before
            os._exit(1)


def answer(request: dict[str, Any], body: bytes, archive: ArchiveOnDisk) -> Message:
    """The document or the reason why there is none. Raises: MemoryError."""
    name, max_bytes = request["name"], request["max_bytes"]
    digest = ""
    try:
        data = content(request, body, archive)
        digest = hashlib.sha256(data).hexdigest()
        if request["list"]:
            return {"members": listing(data, name=name, max_bytes=max_bytes), "sha256": digest}, b""
        message, text = document_message(read_bytes_as(data, name=request["member"] or name))
        return {**message, "sha256": digest}, text
    except ReadFailed as exc:
        return {**failure_message(exc), "sha256": digest}, b""
    except MemoryError:
        raise
    except RecursionError:
        failed = _failure(name, "is nested too deep to be read", "too_large")
    except Exception:  # noqa: BLE001 - whatever a reader raises, the file is at fault
        failed = _failure(name, "cannot be read: it is damaged", "damaged")
    return {**failure_message(failed), "sha256": digest}, b""


def content(request: dict[str, Any], body: bytes, archive: ArchiveOnDisk) -> bytes:
    """The bytes to read: of a file, or of a member of one. `archive`: where members were last read from."""
    name, member, max_bytes = request["name"], request["member"], request["max_bytes"]
    path = Path(os.fsdecode(body)) if request["is_path"] else None
    if member and path:
        return archive.member(path, member, archive_name=name, max_bytes=max_bytes)
    archive.close()
    if member:
        return OpenedArchive(body, name=name).member(member, max_bytes=max_bytes)
    return read_bytes(path, name=name, max_bytes=max_bytes) if path else body


def listing(archive: bytes, *, name: str, max_bytes: int) -> list[dict[str, Any]]:
    """The documents in an archive with their hash and size, or why they cannot be had.

    Raises:
        ReadFailed: as `members_of`; "empty" or "unsupported" if there is nothing to read or to name in it.
    """
    found: list[dict[str, Any]] = []
    others = 0
    for member in members_of(
        archive, name=name, max_member_bytes=max_bytes, max_total_bytes=_ARCHIVE_TIMES_FILE * max_bytes
    ):
        if member.failure:
            found.append({"name": member.name, "sha256": "", "size": 0, **failure_message(member.failure)})
        elif PurePath(member.name).suffix.lower() in SUPPORTED:
            digest = hashlib.sha256(member.data).hexdigest()
            found.append({"name": member.name, "sha256": digest, "size": len(member.data)})
        else:
            others += 1
    if found:
        return found
    if others:
        what = f"{others} file{'s' * (others != 1)}, none of a kind that can be read"
        raise ReadFailed(f"{name} holds {what}.", reason="unsupported", hint="Remove it, or add documents to it.")
    raise ReadFailed(f"{name} holds no files.", reason="empty", hint="Remove it, or make it again.")


def _failure(name: str, what: str, reason: str) -> ReadFailed:
    return ReadFailed(f"{shown_name(name)} {what}.", reason=reason, hint="Save or export it again.")


def resident_bytes() -> int:
    """Memory this process holds; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def serve(connection: socket.socket, *, max_files: int, max_resident_bytes: int) -> None:
    """Answer until the connection ends, or until this process has done enough."""
    send(connection, {"ready": True})
    archive = ArchiveOnDisk()
    for number in range(1, max_files + 1):
        request, body = receive(connection)
        message, text = answer(request, body, archive)
        del body
        is_last = number == max_files or resident_bytes() > max_resident_bytes
        send(connection, {**message, "is_last": is_last}, text)
        del message, text
        if is_last:
            return


def main() -> None:
    connection_fd, lifeline_fd, memory_bytes, limit_s, max_files, max_resident_bytes = map(int, sys.argv[1:7])
    for descriptor in (connection_fd, lifeline_fd):
        os.set_inheritable(descriptor, False)
    for number in (signal.SIGALRM, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    hang_on(lifeline_fd)
    confine(memory_bytes=memory_bytes, limit_s=limit_s)
    try:
        serve(socket.socket(fileno=connection_fd), max_files=max_files, max_resident_bytes=max_resident_bytes)
    except MemoryError:
        os._exit(EXIT_MEMORY)  # no time for tidying up with no memory left
    except ConnectionEnded:
        pass


if __name__ == "__main__":
    main()
