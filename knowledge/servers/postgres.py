"""The embedded PostgreSQL: its first set-up, its options, its traces. Knows nothing of tables or documents.

Two roles: `postgres` owns the cluster and is only used here; the app connects as `gakju`, which owns the database of
that name and may create others, but is no superuser: a slip in its SQL can then neither run programs nor read files.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from ..errors import ServerStartFailed
from .places import Place
from .probes import Answer, ask_postgres
from .supervisor import Runner

ROLE = DATABASE = "gakju"
_PORT = 5432  # part of the socket's name; nothing listens on TCP
_LOCALE = "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"
# Defaults that the owner of DATA_DIR may change in postgresql.conf.
_TUNABLE = {
    "shared_buffers": "128MB",
    "maintenance_work_mem": "256MB",
    "max_connections": "50",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
_SETUP = f"""CREATE EXTENSION vector;
CREATE ROLE {ROLE} LOGIN CREATEDB;
CREATE DATABASE {DATABASE} OWNER {ROLE};
"""
_MIN_SHARED_MEMORY_BYTES = 600 << 20
# The cache of a search: what it holds is not copied from the system's own. An eighth of the memory leaves room for a model.
_MEMORY_SHARE = 8
_LEAST_BUFFERS_MB, _MOST_BUFFERS_MB = 64, 1024
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_BUFFERS_LINE = re.compile(r"^\s*shared_buffers\s*=?\s*'?([^'#\s]+)", re.MULTILINE)


class Postgres:
    """The `Program` of PostgreSQL."""

    title = "PostgreSQL"
    process_names: tuple[str, ...] = ("postgres", "initdb")
    orphan_titles: tuple[bytes, ...] = (
        b"postgres: ",
    )  # the title of backends and workers; the postmaster keeps its command line
    # Fast shutdown; immediate shutdown (recovers at the next start); and for a stopped or hung one, the kernel.
    stop_signals: tuple[tuple[signal.Signals, float], ...] = (
        (signal.SIGINT, 60.0),
        (signal.SIGQUIT, 10.0),
        (signal.SIGKILL, 10.0),
    )

    def __init__(self, place: Place) -> None:
        self.place = place
        self._socket = place.run / f".s.PGSQL.{_PORT}"

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self.place.run), safe='')}&port={_PORT}"

    @property
    def pid_file(self) -> Path:
        return self.place.data / "postmaster.pid"

    def probe(self, *, timeout_s: float) -> Answer:
        return ask_postgres(self._socket, user=ROLE, database=DATABASE, timeout_s=timeout_s)

    def command(self) -> list[str]:
        """Options that hold whatever postgresql.conf says: the private socket, nothing on TCP, our log."""
        options = {
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": f'"{self.place.run}"',
            "unix_socket_permissions": "0700",
            "logging_collector": "off",
            "log_destination": "stderr",
            **_dynamic_shared_memory(),
            **self._buffers(),
        }
        return [str(self.place.program), "-D", str(self.place.data), *_flags(options)]

    def _buffers(self) -> dict[str, str]:
        """For the memory that there is at this start, unless the owner of DATA_DIR has chosen a size."""
        for name in ("postgresql.conf", "postgresql.auto.conf"):
            file = self.place.data / name
            text = file.read_text(errors="replace") if file.exists() else ""
            if any(value != _TUNABLE["shared_buffers"] for value in _BUFFERS_LINE.findall(text)):
                return {}
        return {"shared_buffers": f"{shared_buffers_mb(_memory_bytes())}MB"}

    def repair(self, log_tail: str) -> bool:
        return False  # PostgreSQL recovers by itself or must not be touched

    def prepare(self, runner: Runner) -> None:
        """Removes what a killed server left (no process of it is alive) and makes the cluster if there is none."""
        for name in (self._socket.name, f"{self._socket.name}.lock"):
            (self.place.run / name).unlink(missing_ok=True)
        if not self.place.data.exists():
            self._create(runner)
            return
        self.place.account.own_tree(self.place.data)
        self.place.account.own(self.place.data)
        self._check_version()
        if not _is_live_postgres(self.pid_file, self.place.data):
            # Any process may have the pid by now; PostgreSQL would take the same user's for a running server.
            self.pid_file.unlink(missing_ok=True)
        self._update_extension(runner)

    def _create(self, runner: Runner) -> None:
        """Makes the cluster under another name and renames it when complete, so that a kill leaves none or all."""
        part = self.place.data.with_name("data.part")
        shutil.rmtree(part, ignore_errors=True)
        initdb = [str(self.place.program.with_name("initdb")), "-D", str(part), "-U", "postgres", "--encoding=UTF8"]
        # The socket's folder is 0700: who can reach it is trusted. `--locale` too: with C, pg_trgm ignores Hangul.
        initdb += ["--auth-local=trust", "--auth-host=reject", f"--locale={_LOCALE}"]
        initdb += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions", "--no-sync"]
        for name, value in _TUNABLE.items():
            initdb += ["--set", f"{name}={value}"]
        runner.run(initdb, what="Creating the PostgreSQL cluster")
        self._single_user(runner, part, "template1", _SETUP)
        (part / "gakju-vector-version").write_text(self._vector_version())
        self.place.account.own(part / "gakju-vector-version", mode=0o600)
        sync = [str(self.place.program.with_name("initdb")), "-D", str(part), "--sync-only"]
        runner.run(sync, what="Writing the PostgreSQL cluster to disk")
        part.rename(self.place.data)
        _sync_folder(self.place.base)

    def _update_extension(self, runner: Runner) -> None:
        """A newer wheel may bring a newer pgvector; updating it takes the superuser, hence here."""
        marker = self.place.data / "gakju-vector-version"
        version = self._vector_version()
        if marker.exists() and marker.read_text() == version:
            return
        for database in ("template1", DATABASE):
            self._single_user(runner, self.place.data, database, "ALTER EXTENSION vector UPDATE;\n")
        marker.write_text(version)
        self.place.account.own(marker, mode=0o600)

    def _single_user(self, runner: Runner, data: Path, database: str, sql: str) -> None:
        options = _flags({"exit_on_error": "on", **_dynamic_shared_memory()})
        command = [str(self.place.program), "--single", "-D", str(data), *options, database]
        runner.run(command, what="Setting up the PostgreSQL database", stdin=sql.encode())

    def _vector_version(self) -> str:
        for control in self.place.program.parent.parent.glob("share/**/extension/vector.control"):
            for line in control.read_text().splitlines():
                if line.startswith("default_version"):
                    return line.split("'")[1]
        raise ServerStartFailed(
            f"pgvector is missing beside {self.place.program}.", hint="Install Gakju's locked requirements again."
        )

    def _check_version(self) -> None:
        have = (self.place.data / "PG_VERSION").read_text().strip()
        said = subprocess.run([str(self.place.program), "--version"], capture_output=True, text=True, check=True).stdout
        program = said.split()[-1]
        if program.split(".")[0] != have:
            raise ServerStartFailed(
                f"The data in {self.place.shown} are of PostgreSQL {have}, the installed program is {program}.",
                hint=f"Dump them with PostgreSQL {have} and load them here, or move the folder away and ingest again.",
            )


def _flags(options: dict[str, str]) -> list[str]:
    return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]


def shared_buffers_mb(memory_bytes: int) -> int:
    return max(_LEAST_BUFFERS_MB, min(_MOST_BUFFERS_MB, memory_bytes // _MEMORY_SHARE >> 20))


def _memory_bytes() -> int:
    """Of the machine, or what its container may use."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in _LIMITS:
        with suppress(OSError, ValueError):  # there is none: "max"
            found.append(int(limit.read_text()))
    return min(found)


def _dynamic_shared_memory() -> dict[str, str]:
    """Parallel index builds share up to maintenance_work_mem; containers often give /dev/shm only 64 MB."""
    if sys.platform != "linux":
        return {}
    try:
        facts = os.statvfs("/dev/shm")  # noqa: S108 (no file is made)
        large = facts.f_bavail * facts.f_frsize >= _MIN_SHARED_MEMORY_BYTES
    except OSError:
        large = False
    return {"dynamic_shared_memory_type": "posix" if large else "mmap"}


def _is_live_postgres(pid_file: Path, data: Path) -> bool:
    """A second look, for file systems whose flock does not follow to children: a postgres that works in `data`."""
    try:
        process = Path("/proc") / pid_file.read_text().split("\n", 1)[0].strip()
        return (process / "comm").read_text().strip() == "postgres" and (process / "cwd").samefile(data)
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
