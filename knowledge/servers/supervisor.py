"""Starts, adopts and stops one server program, whatever was killed before. Knows nothing of PostgreSQL or Valkey.

Two facts decide, neither of them a pid file: what the server answers on its socket, and whether anybody holds its lock
file (every process of the server inherits it). Free lock: no process is left, so all traces are stale and may go.
Held lock and silence: it starts, it ends, or it hangs.
The caller holds the start lock of the data folder, so nobody else starts or stops meanwhile.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ..errors import ServerStartFailed
from . import places, processes
from .hints import hint_for
from .locks import Lock, is_free
from .places import Place
from .probes import Answer, Health

_LOG = logging.getLogger(__name__)
_LOG_KEEP_BYTES = 5 << 20
_MAX_STARTS = 3


class Program(Protocol):
    """What differs between the servers."""

    title: str  # "PostgreSQL"
    place: Place
    process_names: tuple[str, ...]
    orphan_titles: tuple[bytes, ...]  # how command lines of processes begin that cannot serve without their parent
    stop_signals: tuple[tuple[signal.Signals, float], ...]  # with the seconds to wait after each

    @property
    def url(self) -> str: ...
    @property
    def pid_file(self) -> Path: ...  # looked at only where there is no /proc
    def probe(self, *, timeout_s: float) -> Answer: ...
    def prepare(self, runner: Runner) -> None: ...  # no process is left: remove stale files, make the data folder
    def command(self) -> list[str]: ...
    def repair(self, log_tail: str) -> bool: ...  # after a failed start: True when something was mended


class Runner:
    """Runs the program's helpers (initdb) as its user, with its lock and its log."""

    def __init__(self, place: Place, lock: Lock) -> None:
        self._place = place
        self._lock = lock
        self._log_start = place.log.stat().st_size

    def spawn(self, command: list[str], *, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """A process in a session of its own: Ctrl-C in the terminal reaches the app alone, which then stops it."""
        place = self._place
        environment = {name: os.environ[name] for name in ("PATH", "TZ") if name in os.environ}
        with place.log.open("ab") as log:
            return subprocess.Popen(
                place.account.command(command, folders=place.folders),
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"LC_ALL": "C.UTF-8", **environment},
                pass_fds=(self._lock.fd,),
                start_new_session=True,
            )

    def run(self, command: list[str], *, what: str, stdin: bytes = b"") -> None:
        child = self.spawn(command, stdin=subprocess.PIPE)
        child.communicate(stdin)
        if child.returncode != 0:
            raise self.failure(what, child.returncode)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines written since this start began."""
        with suppress(OSError), self._place.log.open("rb") as log:
            log.seek(max(self._log_start, self._place.log.stat().st_size - 20_000))
            return "\n".join(log.read().decode("utf-8", "replace").strip().splitlines()[-lines:])
        return ""

    def failure(self, what: str, exit_code: int | None) -> ServerStartFailed:
        tail = self.log_tail()
        ended = "" if exit_code is None else f" (exit code {exit_code})"
        return ServerStartFailed(
            f"{what} failed in {self._place.shown}{ended}. Last lines of {self._place.log}:\n{tail}",
            hint=hint_for(tail, exit_code),
        )


class Supervisor:
    """Keeps one program running. `silence_s`: how long a held lock may stay without an answer before it is killed."""

    def __init__(self, program: Program, *, start_timeout_s: float = 300, silence_s: float = 30) -> None:
        self.program = program
        self._start_timeout_s = start_timeout_s
        self._silence_s = silence_s
        self._orphan_s = min(3.0, silence_s)
        self._probe_timeout_s = min(5.0, silence_s)
        self._child: subprocess.Popen[bytes] | None = None
        self._runner: Runner | None = None

    def probe(self) -> Answer:
        """What the server says now; a few milliseconds when it is well."""
        return self.program.probe(timeout_s=self._probe_timeout_s)

    def start(self) -> Answer:
        """Returns once the server answers; starts it when no process of it is left.

        Raises:
            ServerStartFailed: with the last lines of its log.
        """
        deadline = time.monotonic() + self._start_timeout_s
        starts, silent_since, pause_s = 0, time.monotonic(), 0.01
        while not (answer := self.probe()).is_ready:
            now = time.monotonic()
            if answer.health is Health.STARTING:
                silent_since = now
            self._check_child(starts)
            if self._spawn_if_free():
                starts, silent_since, pause_s = starts + 1, time.monotonic(), 0.01
            elif now - silent_since > self._orphan_s and self._only_orphans():
                self._kill("left over from a killed server")
            elif now - silent_since > self._silence_s and not starts:  # one that we start has until the deadline
                self._kill(f"silent for {self._silence_s:.0f} s")
                silent_since = now
            if now > deadline:
                raise self._too_slow()
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.2)
        return answer

    def _spawn_if_free(self) -> bool:
        place = self.program.place
        with Lock(place.lock) as lock:
            if not lock.try_exclusive():
                return False
            if place.log.stat().st_size > _LOG_KEEP_BYTES:
                shutil.copy2(place.log, place.log.with_suffix(".log.1"))
                os.truncate(place.log, 0)
            self._runner = Runner(place, lock)
            try:
                self.program.prepare(self._runner)
                self._child = self._runner.spawn(self.program.command())
            except OSError as exc:
                raise ServerStartFailed(
                    f"{self.program.title} cannot be started in {place.shown}: {exc}.", hint=hint_for(str(exc), None)
                ) from exc
            return True

    def _check_child(self, starts: int) -> None:
        """Raises when the process we started ended for a reason that a new start would meet again."""
        child, self._child = self._child, None
        if child is None or child.poll() is None:
            self._child = child
            return
        if starts == 0 or self._runner is None:  # it ran before this start, and served
            return
        code, tail = child.returncode, self._runner.log_tail()
        killed = code in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGQUIT)
        if starts >= _MAX_STARTS or not (killed or self.program.repair(tail)):
            raise self._runner.failure(f"Starting {self.program.title}", code)

    def _too_slow(self) -> ServerStartFailed:
        place = self.program.place
        return ServerStartFailed(
            f"{self.program.title} in {place.shown} did not become ready within {self._start_timeout_s:.0f} s.",
            hint=f"It may still be recovering: see {place.log} and start again later.",
        )

    def _holders(self) -> dict[int, bytes]:
        program = self.program
        return processes.holders(program.place.lock, programs=program.process_names, pid_file=program.pid_file)

    def _only_orphans(self) -> bool:
        found = self._holders()
        return bool(found) and all(line.startswith(self.program.orphan_titles) for line in found.values())

    def _kill(self, why: str) -> None:
        pids = list(self._holders())
        _LOG.warning("%s in %s: killing processes %s, %s", self.program.title, self.program.place.shown, pids, why)
        processes.send(pids, signal.SIGKILL)

    def stop(self) -> None:
        """Stops the server if any process of it runs: politely, then less so; its data survive either."""
        lock = self.program.place.lock
        if self._child is not None and not lock.parent.is_dir():  # the folder was deleted under a running server
            self._child.kill()
        for sig, wait_s in self.program.stop_signals:
            if is_free(lock):
                break
            found = self._holders()
            processes.send(list(found) if sig is signal.SIGKILL else processes.heads(found), sig)
            with Lock(lock) as waiting:
                waiting.exclusive(timeout_s=wait_s)
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=10)
            self._child = None
        if is_free(lock):
            places.clear(self.program.place)
        else:
            _LOG.error("%s in %s does not stop", self.program.title, self.program.place.shown)
