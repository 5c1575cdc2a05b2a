"""Ends of turns that could not be stored, kept until they can be: an answer that was read is not lost to a short outage.

In the memory of this process, so a kill loses them; their turns then read as interrupted. Knows nothing about Redis.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from knowledge.errors import GakjuError, MemoryUnavailable
from pipelines.events import Turn

log = logging.getLogger(__name__)

TRY_EVERY_S = 1.0
KEPT_S = 3600.0
MAX_WAITING = 1_000


class LateEnds:
    """`store`: as `SessionMemory.finish`. Safe from several threads; its own runs only while something waits."""

    def __init__(self, store: Callable[[Turn], None], *, try_every_s: float = TRY_EVERY_S) -> None:
        self._store = store
        self._try_every_s = try_every_s
        self._waiting: dict[str, tuple[Turn, float]] = {}  # by turn id, with the moment it was given up on
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, turn: Turn) -> None:
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                log.error("turn %s is lost to the history: too many wait for Redis", turn.turn_id)
                return
            self._waiting[turn.turn_id] = (turn, time.monotonic() + KEPT_S)
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="late-ends", daemon=True)
                self._thread.start()

    def waiting(self, session_id: str) -> dict[str, Turn]:
        """Of one session, by turn id."""
        with self._lock:
            return {key: turn for key, (turn, _) in self._waiting.items() if turn.session_id == session_id}

    def store_now(self, session_id: str) -> None:
        """Those of one session.

        Raises:
            MemoryUnavailable: they wait on.
        """
        for turn in self.waiting(session_id).values():
            self._try(turn)

    def close(self) -> None:
        """What still waits is tried once more."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        try:
            self._try_all()
        except MemoryUnavailable as exc:
            log.warning("%d turns stay interrupted in the history: %s", len(self._waiting), exc)

    def _run(self) -> None:
        while not self._closed.wait(self._try_every_s):
            try:
                self._try_all()
            except MemoryUnavailable:
                continue  # said by whoever is asked for an answer
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return

    def _try_all(self) -> None:
        with self._lock:
            late = list(self._waiting.values())
        for turn, until in late:
            if time.monotonic() > until:
                log.error("turn %s is lost to the history: Redis was away too long", turn.turn_id)
                self._drop(turn)
            else:
                self._try(turn)

    def _try(self, turn: Turn) -> None:
        try:
            self._store(turn)
        except MemoryUnavailable:
            raise
        except GakjuError as exc:  # its session is gone
            log.warning("turn %s not stored: %s", turn.turn_id, exc)
        self._drop(turn)

    def _drop(self, turn: Turn) -> None:
        with self._lock:
            self._waiting.pop(turn.turn_id, None)
