"""Conversations in Redis (or Valkey): a session belongs to an owner and holds turns; a turn is written in one transaction.

Keys of a session share a hash tag, so that they live on one node of a cluster:
    gakju:{id}:session   hash   owner, created, updated, version
    gakju:{id}:order     list   turn ids, oldest first
    gakju:{id}:turns     hash   turn id → the turn as JSON
    gakju:{id}:running:T string lease of turn T while a process works on it
`begin` writes a turn as pending, `finish` writes how it ended; each is one MULTI under a WATCH of the session, so a turn
is there wholly or not at all. A pending turn without a lease was left by a process that died: it reads as interrupted.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from knowledge.errors import MemoryUnavailable, SessionNotFound
from pipelines.events import Turn

LEASE_S = 20
_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{22,64}")
_UNREACHABLE = (redis.ConnectionError, redis.TimeoutError)
_REFUSED = (redis.ResponseError,)  # out of memory, read-only replica, still loading
_MAX_RACES = 20


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


class SessionMemory:
    """All sessions. `ttl_s`: a session expires that long after its last turn. Safe from several threads."""

    def __init__(self, client: redis.Redis, *, ttl_s: float) -> None:
        self._redis: Any = client  # redis-py's stubs mix its sync and async answers
        self._ttl_s = int(ttl_s)

    def create(self, owner: str) -> str:
        """A new session's id: 192 random bits, so it cannot be guessed."""
        session_id = secrets.token_urlsafe(24)
        now = repr(time.time())
        with _reachable():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hset(
                _key(session_id, "session"), mapping={"owner": owner, "created": now, "updated": now, "version": 0}
            )
            pipe.expire(_key(session_id, "session"), self._ttl_s)
            pipe.execute()
        return session_id

    def check(self, session_id: str, owner: str) -> None:
        """Raises:
        SessionNotFound: unknown, expired, or someone else's; the three are not told apart.
        MemoryUnavailable: Redis does not answer.
        """
        with _reachable():
            found = (
                self._redis.hget(_key(session_id, "session"), "owner") if _SESSION_ID.fullmatch(session_id) else None
            )
        if found is None or not secrets.compare_digest(found.encode(), owner.encode()):
            raise SessionNotFound(
                "There is no conversation with this session id.", hint='Start a new one with an empty session_id ("").'
            )

    def turns(self, session_id: str, *, last: int | None = None) -> list[Turn]:
        """Turns oldest first, all or the `last` ones. Call `check` first."""
        with _reachable():
            ids = self._redis.lrange(_key(session_id, "order"), -last if last else 0, -1)
            if not ids:
                return []
            pipe = self._redis.pipeline(transaction=True)
            pipe.hmget(_key(session_id, "turns"), ids)
            for turn_id in ids:
                pipe.exists(_lease(session_id, turn_id))
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
            SessionNotFound: the session expired or was deleted.
            MemoryUnavailable: nothing was stored.
        """

        def write(pipe: Any) -> None:
            # Only once in the order, even if the reply to a first try was lost on the way and this is the second.
            pipe.lrem(_key(turn.session_id, "order"), 0, turn.turn_id)
            pipe.rpush(_key(turn.session_id, "order"), turn.turn_id)
            pipe.hset(_key(turn.session_id, "turns"), turn.turn_id, _dump(turn))
            pipe.set(_lease(turn.session_id, turn.turn_id), 1, ex=LEASE_S)

        self._transact(turn.session_id, write)

    def keep_alive(self, turn: Turn) -> None:
        """Renew the lease of a running turn and store what it has so far; call it every LEASE_S / 3 seconds.

        A turn that was finished meanwhile stays as it is.
        """

        def still_pending(pipe: Any) -> bool:
            stored = pipe.hget(_key(turn.session_id, "turns"), turn.turn_id)
            return stored is not None and json.loads(stored)["status"] == "pending"

        def write(pipe: Any) -> None:
            pipe.hset(_key(turn.session_id, "turns"), turn.turn_id, _dump(turn))
            pipe.set(_lease(turn.session_id, turn.turn_id), 1, ex=LEASE_S)

        self._transact(turn.session_id, write, only_if=still_pending)

    def finish(self, turn: Turn) -> None:
        """Store how the turn ended and give its lease back. Raises as `begin`."""

        def write(pipe: Any) -> None:
            pipe.hset(_key(turn.session_id, "turns"), turn.turn_id, _dump(turn))
            pipe.delete(_lease(turn.session_id, turn.turn_id))

        self._transact(turn.session_id, write)

    def replace_turns(self, session_id: str, turns: Sequence[Turn]) -> None:
        """Put `turns` in place of all turns of the session, in one transaction."""

        def write(pipe: Any) -> None:
            pipe.delete(_key(session_id, "order"), _key(session_id, "turns"))
            for turn in turns:
                pipe.rpush(_key(session_id, "order"), turn.turn_id)
                pipe.hset(_key(session_id, "turns"), turn.turn_id, _dump(turn))

        self._transact(session_id, write)

    def ping(self) -> None:
        """One round trip.

        Raises:
            MemoryUnavailable: Redis does not answer.
        """
        with _reachable():
            self._redis.ping()

    def close(self) -> None:
        self._redis.close()

    def _transact(
        self, session_id: str, write: Callable[[Any], None], *, only_if: Callable[[Any], bool] = lambda _: True
    ) -> None:
        """Run `write` in a MULTI that fails and repeats if another process changed the session meanwhile.

        `only_if` is asked under the WATCH; where it says no, nothing is written.
        """
        session = _key(session_id, "session")
        with _reachable(), self._redis.pipeline(transaction=True) as pipe:
            for _ in range(_MAX_RACES):
                try:
                    pipe.watch(session)
                    if not pipe.exists(session):
                        raise SessionNotFound(
                            "This conversation has expired or was deleted.",
                            hint='Start a new one with an empty session_id ("").',
                        )
                    if not only_if(pipe):
                        return
                    pipe.multi()
                    write(pipe)
                    pipe.hincrby(session, "version", 1)
                    pipe.hset(session, "updated", repr(time.time()))
                    for part in ("session", "order", "turns"):
                        pipe.expire(_key(session_id, part), self._ttl_s)
                    pipe.execute()
                    return
                except redis.WatchError:
                    continue
        raise MemoryUnavailable(
            f"Session {session_id[:6]}… is being changed by too many requests.", hint="Try again in a moment."
        )


def _key(session_id: str, part: str) -> str:
    return f"gakju:{{{session_id}}}:{part}"


def _lease(session_id: str, turn_id: str) -> str:
    return _key(session_id, f"running:{turn_id}")


def _dump(turn: Turn) -> str:
    return json.dumps(turn.to_dict(), ensure_ascii=False)


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except (*_UNREACHABLE, *_REFUSED) as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise MemoryUnavailable(
            f"The conversation memory (Redis) does not answer: {reason}",
            hint="Check that it runs and REDIS_URL is right.",
        ) from exc
