"""Reads files in a child process that may be lost: a hostile file costs its time limit, and nothing else.

The child (`ingest/readers/serve.py`) stays for many files, as starting Python for each would take longer than reading
most. It is killed with all that it started when a file takes too long or too much memory, and when this process ends,
however it ends. Knows no formats; what the child says is checked by `ingest.readers.wire`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ingest.reader_folder import ReaderFolder
from ingest.readers import wire
from ingest.readers.files import shown_name
from ingest.readers.sandbox import LIMIT_S, MEMORY_BYTES
from knowledge.errors import ReadFailed, ServerStartFailed
from knowledge.types import ParsedDocument

_SERVE = Path(__file__).with_name("readers") / "serve.py"
_START_S = 60.0
_END_S = 10.0
_MAX_RESIDENT_BYTES = 400 * 1024 * 1024
_MAX_FILES = 1000
# What parsers and text recognition need to run. Keys and passwords of this process are nothing a document should see.
_PASSED_ON = ("PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "HOME", "LD_LIBRARY_PATH", "SYSTEMROOT")
_PASSED_ON_PREFIXES = ("LC_", "TESS", "OMP_", "OCR_")
# Killed for memory (by the kernel or by itself), for standing still, for processor time.
_LIMIT_STATUSES = frozenset({wire.EXIT_MEMORY, -signal.SIGKILL, -signal.SIGALRM, -signal.SIGXCPU})


@dataclass(frozen=True, slots=True)
class Member:
    """A document in an archive. `name`: its path inside, NFC, with forward slashes. `failure`: why it cannot be read."""

    name: str
    content_hash: str
    size_bytes: int
    failure: ReadFailed | None = None


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    connection: socket.socket
    lifeline: int  # its other end is watched by the child, and closed by our end
    folder: ReaderFolder  # for its temporary files, which it leaves behind when it is killed
    is_fresh: bool = True


class ReaderProcess:
    """Reads one file at a time. `timeout_s`: wall time a file may take; `memory_bytes`: address space of the child.

    The child is replaced after `max_files`, and after a file that left it with more than `max_resident_bytes`.
    One thread reads at a time; any may `close` it, which is final. Use as a context manager.
    """

    def __init__(
        self,
        *,
        timeout_s: float = LIMIT_S,
        memory_bytes: int = MEMORY_BYTES,
        max_files: int = _MAX_FILES,
        max_resident_bytes: int = _MAX_RESIDENT_BYTES,
    ) -> None:
        if timeout_s <= 0 or max_files < 1 or memory_bytes < 1 or max_resident_bytes < 1:
            raise ValueError("limits are above 0")
        self._timeout_s = timeout_s
        limits = (memory_bytes, max(1, round(timeout_s)), max_files, max_resident_bytes)
        self._limits = [str(limit) for limit in limits]
        self._child: _Child | None = None
        self._closed = False
        self._reading = threading.Lock()  # one file at a time
        self._ending = threading.Lock()  # whoever kills the child's group knows that its number is still its own

    def __enter__(self) -> ReaderProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child and all that it started; who waits for a file gets ReadFailed at once."""
        self._closed = True
        with self._ending:
            if self._child:
                _kill(self._child)
        if self._reading.acquire(timeout=_END_S):  # the other thread sees the end of the connection
            self._end()
            self._reading.release()

    def read(
        self, path: Path | None, *, data: bytes | None = None, name: str, max_bytes: int, member: str = ""
    ) -> tuple[ParsedDocument, str]:
        """The document in the file at `path` or in `data`, and the SHA-256 (hex) of exactly the bytes it was read from.

        `member`: the file of this name in the archive at `path` or in `data`; the hash is then the member's.

        Raises:
            ReadFailed: as `ingest.readers.read`; "too_large" also for too much time or memory, "damaged" for a crash.
            ServerStartFailed: no child can be started, whatever the file.
        """
        if (path is None) == (data is None):
            raise ValueError("either path or data")
        if data is not None and len(data) > max_bytes:
            raise _too_much(name, "is larger than is allowed", "Split it, or raise MAX_FILE_MB.")
        request = {
            "name": name,
            "max_bytes": max_bytes,
            "is_path": path is not None,
            "member": member,
            "list": False,
        }
        body = os.fsencode(os.path.abspath(path)) if path is not None else data or b""  # noqa: PTH100 - no links
        answer = self._ask(request, body, name)
        try:
            if "failed" in answer[0]:
                raise wire.failure_from(answer[0])
            return wire.document_from(*answer), wire.hash_from(answer[0])
        except wire.BrokenMessage as exc:
            self._end()
            raise _crashed(name) from exc

    def members(self, path: Path, *, name: str, max_bytes: int) -> tuple[str, list[Member]]:
        """SHA-256 (hex) of the archive at `path`, and the documents in it; those that cannot be read say why.

        Raises:
            ReadFailed, ServerStartFailed: as `read`.
        """
        request = {"name": name, "max_bytes": max_bytes, "is_path": True, "member": "", "list": True}
        answer, _ = self._ask(request, os.fsencode(os.path.abspath(path)), name)  # noqa: PTH100 - no links
        try:
            if "failed" in answer:
                raise wire.failure_from(answer)
            return wire.hash_from(answer), [_member(item) for item in wire.items(answer, "members")]
        except wire.BrokenMessage as exc:
            self._end()
            raise _crashed(name) from exc

    def _ask(self, request: dict[str, Any], body: bytes, name: str) -> wire.Message:
        with self._reading:
            try:
                return self._answer(request, body, name)
            finally:
                if self._closed:
                    self._end()

    def _answer(self, request: dict[str, Any], body: bytes, name: str) -> wire.Message:
        if self._closed:
            raise _stopped(name)
        child = self._ready_child()
        if self._closed:  # while it started
            raise _stopped(name)
        was_fresh, child.is_fresh = child.is_fresh, False
        deadline = time.monotonic() + self._timeout_s
        try:
            wire.send(child.connection, request, body, deadline=deadline)
            answer = wire.receive(child.connection, deadline=deadline)
        except TimeoutError as exc:
            self._end()
            raise _too_much(name, f"took more than {self._timeout_s:g} s to read") from exc
        except (wire.ConnectionEnded, wire.BrokenMessage) as exc:
            status = self._end()
            if self._closed:
                raise _stopped(name) from exc
            if status == -signal.SIGALRM:
                raise _too_much(name, "kept its parser standing still") from exc
            if not was_fresh:  # an earlier file may have left it in a bad state
                return self._answer(request, body, name)
            raise (
                _too_much(name, "needs too much memory to read") if status in _LIMIT_STATUSES else _crashed(name)
            ) from exc
        except BaseException:  # a keyboard interrupt: its answer must not be taken for the next file's
            self._end()
            raise
        if answer[0].get("is_last") is not False:
            self._end()
        return answer

    def _ready_child(self) -> _Child:
        """The child that waits, or a new one if it is gone. It says nothing unasked: to be readable is its end."""
        if self._child:
            waiting = select.poll()  # not select.select, which knows no descriptor above 1023
            waiting.register(self._child.connection, select.POLLIN | select.POLLHUP)
            if waiting.poll(0):
                self._end()
        if self._child is None:
            self._child = self._start()
        return self._child

    def _start(self) -> _Child:
        ours, theirs = socket.socketpair()
        read_end, write_end = os.pipe()
        folder: ReaderFolder | None = None
        try:
            folder = ReaderFolder()
            # -I: no current directory and no PYTHON* variables. A session of its own: its group is all that it started.
            process = subprocess.Popen(
                [sys.executable, "-I", str(_SERVE), str(theirs.fileno()), str(read_end), *self._limits],
                pass_fds=(theirs.fileno(), read_end),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**_environment(), "TMPDIR": folder.path},
            )
        except OSError as exc:
            ours.close()
            os.close(write_end)
            if folder:
                folder.remove()
            raise _not_started(str(exc.strerror)) from exc
        finally:
            theirs.close()
            os.close(read_end)
        self._child = _Child(process, ours, write_end, folder)
        try:
            wire.receive(ours, deadline=time.monotonic() + _START_S)
        except (wire.ConnectionEnded, wire.BrokenMessage, TimeoutError) as exc:
            raise _not_started(f"exit status {self._end()}") from exc
        except BaseException:
            self._end()
            raise
        return self._child

    def _end(self) -> int | None:
        """Kill the child's group; its exit status. It must not have been waited for: its number would be free."""
        with self._ending:
            child, self._child = self._child, None
            if child is None:
                return None
            _kill(child)
            child.connection.close()
            os.close(child.lifeline)
            try:
                return child.process.wait(_END_S)
            except subprocess.TimeoutExpired:  # it hangs in the kernel, on a lost network disk
                return None
            finally:
                child.folder.remove()


def _kill(child: _Child) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, signal.SIGKILL)


def _member(item: Any) -> Member:
    """Raises: BrokenMessage."""
    if not isinstance(item, dict):
        raise wire.BrokenMessage("member")
    name = wire.words(item.get("name"))
    if "failed" in item:
        return Member(name, "", 0, wire.failure_from(item))
    return Member(name, wire.hash_from(item), wire.count(item.get("size")))


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key in _PASSED_ON or key.startswith(_PASSED_ON_PREFIXES)}


def _too_much(name: str, what: str, hint: str = "Split it, or save it again with another program.") -> ReadFailed:
    return ReadFailed(f"{shown_name(name)} {what}.", reason="too_large", hint=hint)


def _stopped(name: str) -> ReadFailed:
    return ReadFailed(f"{shown_name(name)} was not read: reading was stopped.", reason="unreadable", hint="Try again.")


def _crashed(name: str) -> ReadFailed:
    return ReadFailed(f"{shown_name(name)} made its parser crash.", reason="damaged", hint="Save or export it again.")


def _not_started(detail: str) -> ServerStartFailed:
    return ServerStartFailed(
        f"The process that reads files does not start ({detail}).",
        hint="Check memory and process limits, and that the installation is complete.",
    )
