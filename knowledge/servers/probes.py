"""Asks a server on its Unix socket whether it serves, in its own protocol; needs no client library and no pid file."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_PROTOCOL_3_0 = 196608  # PostgreSQL's startup message: major 3, minor 0
_CANNOT_CONNECT_NOW = "57P03"  # starting up, recovering or shutting down; pg_isready tells it apart the same way
_MAX_REPLY_BYTES = 1 << 20


class Health(Enum):
    READY = "ready"
    STARTING = "starting"  # recovers or loads: wait for it
    SILENT = "silent"  # nobody listens, no answer, or it is shutting down


@dataclass(frozen=True)
class Answer:
    health: Health
    version: str = ""

    @property
    def is_ready(self) -> bool:
        return self.health is Health.READY


SILENCE = Answer(Health.SILENT)


class _Stream:
    """Exact reads from a socket. Raises EOFError when the peer hangs up."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_s)
        self._rest = b""
        self._path = path

    def __enter__(self) -> _Stream:
        try:
            self._socket.connect(str(self._path))
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            self._more()
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def line(self) -> bytes:
        while b"\r\n" not in self._rest:
            self._more()
        taken, _, self._rest = self._rest.partition(b"\r\n")
        return taken

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data or len(self._rest) > _MAX_REPLY_BYTES:
            raise EOFError
        self._rest += data


def ask_postgres(path: Path, *, user: str, database: str, timeout_s: float) -> Answer:
    """Logs in and out again. Any refusal but "cannot connect now" still means that it serves, as for pg_isready."""
    fields = {"user": user, "database": database, "application_name": "gakju health check"}
    body = b"".join(f"{key}\0{value}\0".encode() for key, value in fields.items()) + b"\0"
    try:
        with _Stream(path, timeout_s) as stream:
            stream.send(struct.pack("!ii", len(body) + 8, _PROTOCOL_3_0) + body)
            return _read_login(stream)
    except (OSError, EOFError, struct.error):
        return SILENCE


def _read_login(stream: _Stream) -> Answer:
    version = ""
    while True:
        kind, size = struct.unpack("!ci", stream.exactly(5))
        payload = stream.exactly(size - 4)
        if kind == b"S" and payload.startswith(b"server_version\0"):
            version = payload.split(b"\0")[1].decode()
        elif kind == b"Z":
            stream.send(struct.pack("!ci", b"X", 4))
            return Answer(Health.READY, version)
        elif kind == b"E":
            fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in payload.split(b"\0") if part}
            if fields.get(b"C") != _CANNOT_CONNECT_NOW:
                return Answer(Health.READY)
            return SILENCE if "shutting down" in fields.get(b"M", "") else Answer(Health.STARTING)


def ask_valkey(path: Path, *, timeout_s: float) -> Answer:
    """PING, then the version from INFO. An error reply other than LOADING (say, a full disk) still means it serves."""
    try:
        with _Stream(path, timeout_s) as stream:
            stream.send(b"PING\r\n")
            if stream.line().startswith(b"-LOADING"):
                return Answer(Health.STARTING)
            stream.send(b"INFO server\r\n")
            head = stream.line()
            info = stream.exactly(int(head[1:])).decode() if head.startswith(b"$") else ""
    except (OSError, EOFError, ValueError):
        return SILENCE
    lines = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    return Answer(Health.READY, lines.get("valkey_version") or lines.get("redis_version", ""))
