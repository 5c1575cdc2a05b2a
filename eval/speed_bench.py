"""What all speed measurements share: throw-away databases, interleaved rounds, processor time and memory of processes.

Two things are compared by turns (A B A B …), each round giving a ratio: what else a machine does meanwhile slows both.
Knows nothing about what is measured. Linux only: it reads /proc.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from knowledge.database import Database
from knowledge.generations import Manifest, open_active
from knowledge.servers import EmbeddedServers
from knowledge.store import IndexStore

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_S = 0.02


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the report. `is_met`: None where there is no goal."""

    name: str
    measured: str
    goal: str = ""
    is_met: bool | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Rows for people, and the numbers behind them for programs."""

    lines: Sequence[Line]
    numbers: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spent:
    """Wall and processor time of one go. `cpu_s`: of this process and all its descendants, servers included."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements are taken. `scratch`: an empty folder; `is_quick`: small, to see that it works."""

    scratch: Path
    servers: EmbeddedServers
    is_quick: bool

    @contextmanager
    def database(self) -> Iterator[tuple[Database, str]]:
        """A new empty database on the throw-away server, and its URL; dropped afterwards."""
        server_url = self.servers.postgres().url
        name = f"speed_{uuid.uuid4().hex}"
        server = Database(server_url, max_size=1)
        with contextlib.closing(server.dedicated()) as conn:
            conn.execute(f"CREATE DATABASE {name}".encode())
        url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
        db = Database(url)
        try:
            db.open()
            yield db, url
        finally:
            db.close()
            with contextlib.closing(server.dedicated()) as conn:
                conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    @contextmanager
    def index(self, manifest: Manifest) -> Iterator[tuple[IndexStore, str]]:
        """An empty index in a database of its own, and that database's URL."""
        with self.database() as (db, url):
            yield IndexStore(db, open_active(db, manifest)), url


def by_turns(rounds: int, *goes: Callable[[int], Spent]) -> list[list[Spent]]:
    """Each of `goes` once a round, in turn; a list a go. They are told the round, from 0."""
    spent: list[list[Spent]] = [[] for _ in goes]
    for number in range(rounds):
        for go, times in zip(goes, spent, strict=True):
            times.append(go(number))
    return spent


@contextmanager
def clock() -> Iterator[Callable[[], Spent]]:
    """Measures the block; ask after it."""
    began, cpu_began = time.perf_counter(), cpu_s(os.getpid())
    spent: list[Spent] = []
    yield lambda: spent[0]
    spent.append(Spent(time.perf_counter() - began, cpu_s(os.getpid()) - cpu_began))


def median_and_spread(values: Sequence[float], *, unit: str = "", digits: int = 2) -> str:
    """ "12.10 (11.90 to 12.60)" """
    low, middle, high = min(values), statistics.median(values), max(values)
    shown = f"{middle:.{digits}f}{unit}"
    return shown if len(values) == 1 else f"{shown} ({low:.{digits}f} to {high:.{digits}f})"


def cpu_s(pid: int) -> float:
    """Processor time of a process, of its descendants, and of those of them that have ended and were waited for."""
    return sum(_ticks(item) for item in [pid, *descendants(pid)]) / _TICKS_PER_S


def descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in _PROC.glob("[0-9]*"):
        fields = _stat(int(folder.name))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _ticks(pid: int) -> int:
    fields = _stat(pid)
    return sum(int(value) for value in fields[11:15]) if fields else 0  # utime, stime, cutime, cstime


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty if the process is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def resident_bytes(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


@dataclass(slots=True)
class Memory:
    """Peaks of resident memory. `together`: of a process and its descendants at one moment, shared pages counted for
    each; `alone`: of the process; `largest_child`: of one descendant."""

    together: int = 0
    alone: int = 0
    largest_child: int = 0


@contextmanager
def memory_of(pid: int, *, besides: Sequence[int] = ()) -> Iterator[Memory]:
    """Watches a process until the block ends. `besides`: descendants that do not count."""
    peaks = Memory()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_S):
            sizes = [resident_bytes(item) for item in descendants(pid) if item not in besides]
            own = resident_bytes(pid)
            peaks.alone = max(peaks.alone, own)
            peaks.largest_child = max(peaks.largest_child, *sizes, 0)
            peaks.together = max(peaks.together, own + sum(sizes))

    watcher = threading.Thread(target=watch, name="memory", daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()
