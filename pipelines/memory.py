"""The turns of conversations in Redis (or Valkey); a turn is written in one transaction.

`begin` writes a turn as pending, `finish` writes how it ended; each is one MULTI under a WATCH of the session, so a turn
is there wholly or not at all, and one turn of a session runs at a time. A pending turn without a lease was left by a
process that died: it reads as interrupted. The keys are those of pipelines/memory_directory.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from knowledge.errors import SessionBusy
from pipelines.events import Turn
from pipelines.memory_directory import SessionDirectory, slice_before, title_of

LEASE_S = 20


def connect(url: str, *, timeout_s: float = 2.0) -> redis.Redis:
    """A client for `url`; connects at the first command. One retry covers a connection that went stale while idle; a
    server that is silent is not asked twice."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        decode_responses=True,
    )


class SessionMemory(SessionDirectory):
    """All sessions and their turns."""

    def turns(self, session_id: str, *, last: int | None = None, before: str | None = None) -> list[Turn]:
        """Turns oldest first: all, or the `last` ones, of those before the turn with id `before`. Call `check` first."""
        with self._reachable():
            ids = self._redis.lrange(self._key(session_id, "order"), -last if last and not before else 0, -1)
            ids = slice_before(ids, last=last, before=before)
            if not ids:
                return []
            pipe = self._redis.pipeline(transaction=True)
            pipe.hmget(self._key(session_id, "turns"), ids)
            for turn_id in ids:
                pipe.exists(self._lease(session_id, turn_id))
            stored, *alive = pipe.execute()
        turns = [Turn.from_dict(json.loads(text)) for text in stored if text]
        running = {turn_id for turn_id, lives in zip(ids, alive, strict=True) if lives}
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
        session, order = self._key(turn.session_id, "session"), self._key(turn.session_id, "order")

        def is_free(pipe: Any) -> bool:
            running = pipe.hget(session, "running")
            if running and running != turn.turn_id and pipe.exists(self._lease(turn.session_id, running)):
                stored = pipe.hget(self._key(turn.session_id, "turns"), running)
                raise SessionBusy(
                    "An earlier question of this conversation is still being answered.",
                    hint="Wait for its answer or stop it, then ask again.",
                    running=json.loads(stored)["question"] if stored else "",
                )
            return True

        def write(pipe: Any) -> None:
            # Only once in the order, even if the reply to a first try was lost on the way and this is the second.
            pipe.lrem(order, 0, turn.turn_id)
            pipe.rpush(order, turn.turn_id)
            pipe.hset(session, "running", turn.turn_id)
            pipe.hsetnx(session, "title", title_of(turn.question))
            pipe.hset(self._key(turn.session_id, "turns"), turn.turn_id, _dump(turn))
            pipe.set(self._lease(turn.session_id, turn.turn_id), 1, ex=LEASE_S)

        self._transact(turn.session_id, write, only_if=is_free)

    def keep_alive(self, turn: Turn) -> None:
        """Renew the lease of a running turn and store what it has so far; call it every LEASE_S / 3 seconds.

        A turn that was finished meanwhile stays as it is.
        """

        def still_pending(pipe: Any) -> bool:
            stored = pipe.hget(self._key(turn.session_id, "turns"), turn.turn_id)
            return stored is not None and json.loads(stored)["status"] == "pending"

        def write(pipe: Any) -> None:
            pipe.hset(self._key(turn.session_id, "turns"), turn.turn_id, _dump(turn))
            pipe.set(self._lease(turn.session_id, turn.turn_id), 1, ex=LEASE_S)

        self._transact(turn.session_id, write, only_if=still_pending)

    def finish(self, turn: Turn) -> None:
        """Store how the turn ended and give its lease back; one that never began is not stored. Raises as `begin`.

        Of a session that was deleted meanwhile, too: it may be brought back.
        """
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


def _dump(turn: Turn) -> str:
    return json.dumps(turn.to_dict(), ensure_ascii=False)
