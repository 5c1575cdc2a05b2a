"""A turn while it runs, and its place in the session: begun once, kept alive, ended once, whatever happens.

What cannot be kept (Redis is away) is said by `notice`; the answer goes on. Knows nothing about searching or answering.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from knowledge.errors import GakjuError, MemoryUnavailable, SessionBusy
from pipelines.events import Turn
from pipelines.memory import LEASE_S, SessionMemory

log = logging.getLogger(__name__)

_ASK_AGAIN_S = 0.1
_KEEP_EVERY_S = 2.0  # at most that much of an answer is lost where its process is killed
MEMORY_LIMIT_S = 4.0  # to take the session's turn, and to read what was said: a slow Redis must not hold an answer
_FIRST = ("history_off", "context_cut", "cut_short", "check_failed")
_REMEMBERED_TURNS = 30  # the last six whole where they fit, the others in a line each


class TurnRecord:
    """`sessions`: None keeps nothing. `turn` is how far it came."""

    def __init__(self, turn: Turn, sessions: SessionMemory | None) -> None:
        self.turn = turn
        self.notice = ""
        self._sessions = sessions
        self._started = time.perf_counter()
        self._stored = False
        self._is_kept = False  # its end is stored
        self._lease: asyncio.Task[None] | None = None
        self._beginning: asyncio.Future[None] | None = None
        self._is_off = False  # it did not begin in time: nobody waits for Redis any more
        self._ending: asyncio.Future[None] | None = None

    def update(self, **changes: Any) -> None:
        self.turn = replace(self.turn, **changes)

    def note(self, notice: str) -> None:
        """One notice is told: the one that matters most to the reader, of others the first."""
        if notice and (not self.notice or _weight(notice) < _weight(self.notice)):
            self.notice = notice

    def mark(self, phase: str, *, once: bool = False) -> None:
        """Note how long it took to get to this phase."""
        key = f"{phase}_ms"
        if not (once and key in self.turn.timings):
            elapsed_ms = round((time.perf_counter() - self._started) * 1000, 1)
            self.update(timings={**self.turn.timings, key: elapsed_ms})

    async def begin(self, *, wait_s: float) -> list[Turn]:
        """Take the session's turn and return those before it, oldest first.

        Raises:
            SessionBusy: the turn before still runs after `wait_s`.
            SessionNotFound
        """
        if self._sessions is None:
            self.note("history_off")
            return []
        try:
            async with asyncio.timeout(MEMORY_LIMIT_S + wait_s):
                await self._take_turn(self._sessions, wait_s)
        except (MemoryUnavailable, TimeoutError):
            self._is_off = True  # it may be there all the same, its reply lost: its end is written if it is
            self.note("history_off")
            return []
        self._lease = asyncio.create_task(self._keep_alive(self._sessions))
        try:
            async with asyncio.timeout(MEMORY_LIMIT_S):
                return await asyncio.to_thread(
                    self._sessions.turns, self.turn.session_id, last=_REMEMBERED_TURNS, before=self.turn.turn_id
                )
        except (MemoryUnavailable, TimeoutError):
            self.note("history_off")  # answered without what was said before
            return []

    async def complete(self) -> None:
        self.mark("total")
        self.update(status="complete")
        await self._finish()

    async def amend(self, **changes: Any) -> None:
        """More about a turn that has ended; where its end could not be stored, only `turn` has it."""
        self.update(**changes)
        if self._is_kept:
            await self._remember(lambda sessions: asyncio.to_thread(sessions.finish, self.turn))

    async def end_of_failed(self) -> bool:
        """Whether it had ended already; then it stays as it ended."""
        if self.turn.status == "pending":
            return False
        if self._ending is not None:  # cancelled while its end was being stored
            await asyncio.wait({self._ending})
        return True

    async def fail(self, code: str, *, interrupted: bool) -> None:
        """An answer that had begun is interrupted, whatever broke it."""
        self.mark("total")
        kept = interrupted or bool(self.turn.answer)
        self.update(status="interrupted" if kept else "failed", error=code)
        await self._finish()

    async def _take_turn(self, sessions: SessionMemory, wait_s: float) -> None:
        until = time.monotonic() + wait_s
        async with self._in_line(sessions, wait_s):
            while True:
                self._stored = True  # from here on it may be there, so its end must be written
                self._beginning = asyncio.ensure_future(asyncio.to_thread(sessions.begin, self.turn))
                try:
                    return await asyncio.shield(self._beginning)
                except SessionBusy:
                    self._stored, self._beginning = False, None
                    if time.monotonic() >= until:
                        raise
                await asyncio.sleep(_ASK_AGAIN_S)

    @asynccontextmanager
    async def _in_line(self, sessions: SessionMemory, wait_s: float) -> AsyncIterator[None]:
        """Behind those of this process who came before. Raises: SessionBusy: that took too long."""
        is_first = False
        try:
            async with sessions.lines.first(self.turn.session_id, wait_s=wait_s):
                is_first = True
                yield
        except TimeoutError as exc:
            if is_first:
                raise
            raise await asyncio.to_thread(sessions.busy, self.turn.session_id) from exc

    async def _finish(self) -> None:
        if self._lease:
            self._lease.cancel()
            self._lease = None
        if self._stored and self._sessions:
            self._stored = False
            self._ending = asyncio.ensure_future(self._store_end())
            await asyncio.shield(self._ending)

    async def _store_end(self) -> None:
        """One task, shielded as a whole: a cancelled turn must still be stored as ended."""
        assert self._sessions is not None
        if self._beginning is not None:
            if self._is_off:
                self._beginning.add_done_callback(self._end_later)
                return
            await asyncio.wait({self._beginning})  # its end must not come before its beginning
            if isinstance(self._beginning.exception(), SessionBusy):
                return  # it never began
        self._is_kept = await self._remember(lambda sessions: asyncio.to_thread(sessions.finish, self.turn))
        if not self._is_kept:
            self.note("history_off")
            self._sessions.finish_later(self.turn)

    def _end_later(self, begun: asyncio.Future[None]) -> None:
        if self._sessions and not begun.cancelled() and not isinstance(begun.exception(), SessionBusy):
            self._sessions.finish_later(self.turn)

    async def _keep_alive(self, sessions: SessionMemory) -> None:
        """Renews the lease, and stores what came since: little is lost with a process that is killed."""
        renewed, answer = time.monotonic(), self.turn.answer
        while True:
            await asyncio.sleep(_KEEP_EVERY_S)
            if self.turn.answer != answer or time.monotonic() - renewed >= LEASE_S / 3:
                renewed, answer = time.monotonic(), self.turn.answer
                await self._remember(lambda memory: asyncio.to_thread(memory.keep_alive, self.turn))

    async def _remember(self, write: Callable[[SessionMemory], Awaitable[None]]) -> bool:
        """The answer is there; that it could not be kept is said, not hidden."""
        assert self._sessions is not None
        try:
            await write(self._sessions)
        except GakjuError as exc:
            log.warning("turn %s not stored: %s", self.turn.turn_id, exc)
            return False
        return True


def _weight(notice: str) -> int:
    return _FIRST.index(notice) if notice in _FIRST else len(_FIRST)
