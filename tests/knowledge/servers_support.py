"""Helpers for the tests of the embedded servers: another process that uses them, and sights of what really runs."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psycopg
import redis

from knowledge.servers import EmbeddedServers, binaries

PROJECT = Path(__file__).resolve().parents[2]
# Prints its URLs when up, leaves when told to by a line (or the end) of its input.
_USER = """
import json, sys
from functools import cache
from pathlib import Path
from knowledge.servers import EmbeddedServers
with EmbeddedServers(Path(sys.argv[1])) as servers:
    started = [servers.postgres(), servers.redis()]
    print(json.dumps([[one.url, one.where] for one in started]), flush=True)
    sys.stdin.readline()
"""


def environment() -> dict[str, str]:
    """For a Python that may not be the virtual environment's: the manager needs the standard library and the wheels."""
    wheels = {binaries.wheel_folders(binaries.find(found, setting=""))[0].parent for found in binaries.ALL}
    path = os.pathsep.join(map(str, (PROJECT, *wheels)))
    return {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


class OtherProcess:
    """A real second process with its own EmbeddedServers on `data_dir`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        prefix: tuple[str, ...] = (),
        script: str = _USER,
        account: pwd.struct_passwd | None = None,
        python: str = sys.executable,
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, python, "-c", script, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env=environment(),
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )

    def servers(self) -> list[list[str]]:
        """[[url, where] of PostgreSQL, [url, where] of Valkey], once both are up."""
        assert self.process.stdout and self.process.stderr
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return json.loads(line)

    def leave(self) -> None:
        out, err = self.process.communicate("\n", timeout=120)
        assert self.process.returncode == 0, out + err

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> OtherProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.leave() if exc == (None, None, None) else self.kill()


class Template:
    """A folder whose servers were set up once; copies of it save every test the time that a first start takes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with EmbeddedServers(folder) as servers:
            servers.postgres()
            servers.redis()

    def copy_to(self, data_dir: Path) -> Path:
        for lock in ("start.lock", "users.lock"):
            (self._folder / lock).unlink(missing_ok=True)
        return Path(shutil.copytree(self._folder, data_dir, symlinks=True, dirs_exist_ok=True))


@cache
def template_in(folder: Path) -> Template:
    return Template(folder / "embedded-servers-template")


def running(data_dir: Path, name: str, *, program: str) -> list[int]:
    """Pids of the live processes named `program` that work in the data folder `name`; the parent first."""
    data = (data_dir / name / "data").resolve()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text().strip() == program and (folder / "cwd").resolve() == data:
                found.append(int(folder.name))
        except OSError:
            continue
    return sorted(found, key=lambda pid: (parent_of(pid) in found, pid))


def postgres_pids(data_dir: Path) -> list[int]:
    return running(data_dir, "postgres", program="postgres")


def valkey_pids(data_dir: Path) -> list[int]:
    return running(data_dir, "valkey", program="valkey-server")


def all_pids(data_dir: Path) -> list[int]:
    return postgres_pids(data_dir) + valkey_pids(data_dir)


def stat_of(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat after the name: state, ppid, pgrp, session, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def parent_of(pid: int) -> int:
    try:
        return int(stat_of(pid)[1])
    except OSError:
        return 0


def kill(pids: list[int], sig: signal.Signals = signal.SIGKILL) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # backends come and go, and end by themselves without their postmaster
            os.kill(pid, sig)


def wait_until(condition: Callable[[], object], *, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def add_row(url: str, value: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS row (value bigint)")
        connection.execute("INSERT INTO row VALUES (%s)", [value])


def rows(url: str) -> set[int]:
    with psycopg.connect(url) as connection:
        return {value for (value,) in connection.execute("SELECT value FROM row")}


@contextmanager
def redis_client(url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(url)
    try:
        yield client
    finally:
        client.close()
