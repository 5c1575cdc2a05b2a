"""The turns of conversations in Redis (or Valkey); a turn is written in one transaction.

`begin` writes a turn as pending, `finish` writes how it ended; each is one MULTI under a WATCH of the session, so a turn
is there wholly or not at all, and one turn of a session runs at a time. A pending turn without a lease, or with one of a
process that is surely dead, was left by it: it reads as interrupted. The keys are those of pipelines/memory_directory.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import redis

from knowledge.errors import SessionBusy
from pipelines.breaker import Breakers
from pipelines.events import Turn
from pipelines.memory_client import connect
from pipelines.memory_directory import PREFIX, SessionDirectory
from pipelines.memory_late import LateEnds
from pipelines.memory_lease import is_surely_dead, my_name
from pipelines.memory_session import slice_before, title_of
from pipelines.session_lines import SessionLines

__all__ = ["LEASE_S", "SessionMemory", "connect"]

LEASE_S = 20


class SessionMemory(SessionDirectory):
    """All sessions and their turns. `breakers`: shared with whoever asks the same server."""

    def __init__(
        self, client: redis.Redis, *, ttl_s: float, prefix: str = PREFIX, breakers: Breakers | None = None
    ) -> None:
        super().__init__(client, ttl_s=ttl_s, prefix=prefix, breakers=breakers)
        self._late = LateEnds(self._finish)
        self.lines = SessionLines()

    def turns(self, session_id: str, *, last: int | None = None, before: str | None = None) -> list[Turn]:
        """Turns oldest first: all, or the `last` ones, of those before the turn with id `before`. Call `check` first."""
        with self._reachable(self._key(session_id, "session")):
            ids = self._redis.lrange(self._key(session_id, "order"), -last if last and not before else 0, -1)
            ids = slice_before(ids, last=last, before=before)
            if not ids:
                return []
            pipe = self._redis.pipeline(transaction=True)
            pipe.hmget(self._key(session_id, "turns"), ids)
            for turn_id in ids:
                pipe.get(self._lease(session_id, turn_id))
            stored, *leases = pipe.execute()
        late = self._late.waiting(session_id)
        turns = [Turn.from_dict(json.loads(text)) for text in stored if text]
        turns = [late.get(turn.turn_id, turn) for turn in turns]
        running = {turn_id for turn_id, lease in zip(ids, leases, strict=True) if _is_held(lease)}
        return [
            replace(turn, status="interrupted", error="process_died")
            if turn.status == "pending" and turn.turn_id not in running
            else turn
            for turn in turns
        ]

    def begin(self, turn: Turn) -> None:
        """Store a pending turn at the end of its session and take its lease.

        Raises:
            SessionBusy: another turn of the session is being answered.
            SessionNotFound: the session expired or was deleted.
            MemoryUnavailable: nothing was stored.
        """
        self._late.store_now(turn.session_id)  # else the turn before would seem to run until its lease ends
        session, order = self._key(turn.session_id, "session"), self._key(turn.session_id, "order")

        def is_free(pipe: Any) -> bool:
            running = pipe.hget(session, "running")
            if running and running != turn.turn_id and _is_held(pipe.get(self._lease(turn.session_id, running))):
                raise _busy(pipe.hget(self._key(turn.session_id, "turns"), running))
            return True

        def write(pipe: Any) -> None:
            # Only once in the order, even if the reply to a first try was lost on the way and this is the second.
            pipe.lrem(order, 0, turn.turn_id)
            pipe.rpush(order, turn.turn_id)
            pipe.hset(session, "running", turn.turn_id)
            pipe.hsetnx(session, "title", title_of(turn.question))
            pipe.hset(self._key(turn.session_id, "turns"), turn.turn_id, _dump(turn))
            pipe.set(self._lease(turn.session_id, turn.turn_id), my_name(), ex=LEASE_S)

        self._transact(turn.session_id, write, only_if=is_free)

    def busy(self, session_id: str) -> SessionBusy:
        """What to tell whoever waited in vain. Raises: MemoryUnavailable."""
        with self._reachable(self._key(session_id, "session")):
            running = self._redis.hget(self._key(session_id, "session"), "running")
            return _busy(self._redis.hget(self._key(session_id, "turns"), running) if running else None)

    def keep_alive(self, turn: Turn) -> None:
        """Renew the lease of a running turn and store what it has so far; call it every LEASE_S / 3 seconds.

        A turn that was finished meanwhile stays as it is.
        """

        def still_pending(pipe: Any) -> bool:
            stored = pipe.hget(self._key(turn.session_id, "turns"), turn.turn_id)
            return stored is not None and json.loads(stored)["status"] == "pending"

        def write(pipe: Any) -> None:
            pipe.hset(self._key(turn.session_id, "turns"), turn.turn_id, _dump(turn))
            pipe.set(self._lease(turn.session_id, turn.turn_id), my_name(), ex=LEASE_S)

        self._transact(turn.session_id, write, only_if=still_pending)

    def finish(self, turn: Turn) -> None:
        """Store how the turn ended and give its lease back; one that never began is not stored. Raises as `begin`.

        Of a session that was deleted meanwhile, too: it may be brought back.
        """
        self._finish(turn)

    def finish_later(self, turn: Turn) -> None:
        """As `finish`, as soon as Redis answers; returns at once. Until then this process reads the turn as it ended."""
        self._late.add(turn)

    def close(self) -> None:
        self._late.close()
        super().close()

    def _finish(self, turn: Turn) -> None:
        turns = self._key(turn.session_id, "turns")

        def write(pipe: Any) -> None:
            pipe.hset(turns, turn.turn_id, _dump(turn))
            pipe.delete(self._lease(turn.session_id, turn.turn_id))

        def has_begun(pipe: Any) -> bool:
            return bool(pipe.hexists(turns, turn.turn_id))

        self._transact(turn.session_id, write, only_if=has_begun, even_deleted=True)

    def replace_turns(self, session_id: str, turns: Sequence[Turn]) -> None:
        """Put `turns` in place of all turns of the session, in one transaction."""

        def write(pipe: Any) -> None:
            pipe.delete(self._key(session_id, "order"), self._key(session_id, "turns"))
            for turn in turns:
                pipe.rpush(self._key(session_id, "order"), turn.turn_id)
                pipe.hset(self._key(session_id, "turns"), turn.turn_id, _dump(turn))

        self._transact(session_id, write)

    def _lease(self, session_id: str, turn_id: str) -> str:
        return self._key(session_id, f"running:{turn_id}")


def _busy(running: str | None) -> SessionBusy:
    return SessionBusy(
        "An earlier question of this conversation is still being answered.",
        hint="Wait for its answer or stop it, then ask again.",
        running=json.loads(running)["question"] if running else "",
    )


def _is_held(lease: str | None) -> bool:
    return lease is not None and not is_surely_dead(lease)


def _dump(turn: Turn) -> str:
    return json.dumps(turn.to_dict(), ensure_ascii=False)
