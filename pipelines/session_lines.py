"""Who waits for a session's turn in this process, in the order in which they came: only the first of them asks Redis.

Without it a thousand messages in one session would ask five thousand times a second, and the luckiest would go first.
Knows nothing about Redis or turns; across processes nobody stands in line.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary


@dataclass(slots=True)
class _Line:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # serves those who wait in their order
    people: int = 0


class SessionLines:
    """Usable from any event loop; each has its own lines."""

    def __init__(self) -> None:
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Line]] = WeakKeyDictionary()

    @asynccontextmanager
    async def first(self, session_id: str, *, wait_s: float) -> AsyncIterator[None]:
        """Entered once everybody who came before has left.

        Raises:
            TimeoutError: that took longer than `wait_s`.
        """
        lines = self._lines.setdefault(asyncio.get_running_loop(), {})
        line = lines.setdefault(session_id, _Line())
        line.people += 1
        try:
            async with asyncio.timeout(wait_s):
                await line.lock.acquire()
            try:
                yield
            finally:
                line.lock.release()
        finally:
            line.people -= 1
            if not line.people:
                lines.pop(session_id, None)
