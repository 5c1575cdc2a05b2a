"""Which conversations there are: made, found by their owner, named, deleted and brought back. In Redis (or Valkey).

Keys of a session share a hash tag, so that they live on one node of a cluster:
    {prefix}:{id}:session   hash   owner, created, updated, title, persona, running (turn id), deleted, version
    {prefix}:{id}:order     list   turn ids, oldest first
    {prefix}:{id}:turns     hash   turn id → the turn as JSON
    {prefix}:{id}:running:T string lease of turn T while a process works on it
The list of an owner's sessions lives elsewhere and is only a hint of what to look at: an id in it that has expired is
passed over, and where two processes race for its order, the session's own `updated` decides.
    {prefix}:owner:{digest} sorted set of session ids by their last change
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from knowledge.errors import GakjuError, MemoryUnavailable, SessionNotFound
from pipelines.breaker import Breakers
from pipelines.memory_client import UNREACHABLE, node_of
from pipelines.memory_session import Session, session_of, title_of

__all__ = ["PREFIX", "Session", "SessionDirectory"]

log = logging.getLogger(__name__)

PREFIX = "gakju"
UNDO_S = 60  # a deleted session can be brought back for that long
_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{22,64}")
_REFUSED = (redis.ResponseError,)  # out of memory, read-only replica, still loading
_MAX_RACES = 20
_LOOKED_AT = 200  # ids of an owner's list read at once


class SessionDirectory:
    """All sessions. `ttl_s`: a session expires that long after its last turn. Safe from several threads."""

    def __init__(
        self, client: redis.Redis, *, ttl_s: float, prefix: str = PREFIX, breakers: Breakers | None = None
    ) -> None:
        self._redis: Any = client  # redis-py's stubs mix its sync and async answers
        self._ttl_s = int(ttl_s)
        self._prefix = prefix
        self._breakers = breakers or Breakers(failures=1)

    def create(self, owner: str, *, persona: str = "") -> str:
        """A new session's id: 192 random bits, so it cannot be guessed."""
        session_id = secrets.token_urlsafe(24)
        now = time.time()
        facts = {"owner": owner, "created": repr(now), "updated": repr(now), "persona": persona, "version": 0}
        with self._reachable(self._key(session_id, "session")):
            pipe = self._redis.pipeline(transaction=True)
            pipe.hset(self._key(session_id, "session"), mapping=facts)
            pipe.expire(self._key(session_id, "session"), self._ttl_s)
            pipe.execute()
        self._hint(owner, session_id, now)
        return session_id

    def check(self, session_id: str, owner: str) -> None:
        """Raises:
        SessionNotFound: unknown, expired, deleted, or someone else's; they are not told apart.
        MemoryUnavailable: Redis does not answer.
        """
        self._facts(session_id, owner)

    def session(self, session_id: str, owner: str) -> Session:
        """Raises as `check`."""
        facts = self._facts(session_id, owner)
        with self._reachable(self._key(session_id, "session")):
            return session_of(session_id, facts, self._redis.llen(self._key(session_id, "order")))

    def sessions(self, owner: str, *, limit: int = 50, before: float | None = None) -> list[Session]:
        """The owner's sessions that have turns, the latest first; `before`: those last changed before that moment.

        Whoever has no name ("") has no list: the ids alone open those sessions.

        Raises:
            MemoryUnavailable
        """
        if not owner:
            return []
        found: list[Session] = []
        name, skipped = self._owner_key(owner), 0
        highest: float | str = "+inf" if before is None else f"({before!r}"
        with self._reachable(name):
            while len(found) < limit:
                ids = self._redis.zrevrangebyscore(name, highest, "-inf", start=skipped, num=_LOOKED_AT)
                if not ids:
                    break
                pipe = self._redis.pipeline(transaction=False)
                for session_id in ids:
                    pipe.hgetall(self._key(session_id, "session"))
                    pipe.llen(self._key(session_id, "order"))
                answers = pipe.execute()
                gone = []
                for session_id, facts, turns in zip(ids, answers[::2], answers[1::2], strict=True):
                    if not facts or facts.get("owner") != owner:
                        gone.append(session_id)
                    elif turns and "deleted" not in facts:
                        found.append(session_of(session_id, facts, turns))
                if gone:
                    self._redis.zrem(name, *gone)
                skipped += len(ids) - len(gone)
        found.sort(key=lambda session: -session.updated)
        return found[:limit]

    def rename(self, session_id: str, owner: str, title: str) -> Session:
        """Raises as `check`."""
        self.check(session_id, owner)
        name = title_of(title)
        self._transact(session_id, lambda pipe: pipe.hset(self._key(session_id, "session"), "title", name))
        return self.session(session_id, owner)

    def delete(self, session_id: str, owner: str) -> None:
        """It is gone at once, and can be brought back by `restore` for UNDO_S seconds. Raises as `check`."""
        self.check(session_id, owner)

        def write(pipe: Any) -> None:
            pipe.hset(self._key(session_id, "session"), "deleted", repr(time.time()))

        self._transact(session_id, write, ttl_s=UNDO_S)
        with self._reachable(self._owner_key(owner)):
            self._redis.zrem(self._owner_key(owner), session_id)

    def restore(self, session_id: str, owner: str) -> Session:
        """Raises:
        SessionNotFound: it was not deleted just now, or is someone else's.
        """
        self._facts(session_id, owner, deleted=True)
        self._transact(session_id, lambda pipe: pipe.hdel(self._key(session_id, "session"), "deleted"), restores=True)
        return self.session(session_id, owner)

    def ping(self) -> None:
        """One round trip.

        Raises:
            MemoryUnavailable: Redis does not answer.
        """
        with self._reachable(""):
            self._redis.ping()

    def close(self) -> None:
        self._redis.close()

    def _facts(self, session_id: str, owner: str, *, deleted: bool = False) -> dict[str, str]:
        facts: dict[str, str] = {}
        if _SESSION_ID.fullmatch(session_id):
            with self._reachable(self._key(session_id, "session")):
                facts = self._redis.hgetall(self._key(session_id, "session"))
        is_theirs = secrets.compare_digest(facts.get("owner", "").encode(), owner.encode())
        if not facts or not is_theirs or ("deleted" in facts) != deleted:
            raise _not_found()
        return facts

    def _transact(
        self,
        session_id: str,
        write: Callable[[Any], object],
        *,
        only_if: Callable[[Any], bool] = lambda _: True,
        ttl_s: int | None = None,
        even_deleted: bool = False,
        restores: bool = False,
    ) -> None:
        """Run `write` in a MULTI that fails and repeats if another process changed the session meanwhile.

        `only_if` is asked under the WATCH; where it says no, nothing is written. A deleted session takes nothing, unless
        `even_deleted`: it then goes all the same when its time for being brought back is over; or `restores`.
        """
        session = self._key(session_id, "session")
        now = time.time()
        with self._reachable(session), self._redis.pipeline(transaction=True) as pipe:
            for _ in range(_MAX_RACES):
                try:
                    pipe.watch(session)
                    owner, deleted = pipe.hmget(session, ["owner", "deleted"])
                    if owner is None or (deleted is not None and not (even_deleted or restores)):
                        raise SessionNotFound(
                            "This conversation has expired or was deleted.",
                            hint='Start a new one with an empty session_id ("").',
                        )
                    if not only_if(pipe):
                        return
                    pipe.multi()
                    write(pipe)
                    pipe.hincrby(session, "version", 1)
                    pipe.hset(session, "updated", repr(now))
                    kept_s = ttl_s or (self._ttl_s if deleted is None or restores else UNDO_S)
                    for part in ("session", "order", "turns"):
                        pipe.expire(self._key(session_id, part), kept_s)
                    pipe.execute()
                    break
                except redis.WatchError:
                    continue
            else:
                raise MemoryUnavailable(
                    f"Session {session_id[:6]}… is being changed by too many requests.", hint="Try again in a moment."
                )
        if deleted is None or restores:
            self._hint(owner, session_id, now)

    @contextmanager
    def _reachable(self, key: str) -> Iterator[None]:
        """Redis' failures as ours. Of a server that did not answer a moment ago nothing is asked: each try costs seconds.

        `key`: whose node of a cluster is asked; "" for none's.
        """
        breaker = self._breakers.of(node_of(self._redis, key))
        if breaker.wait_s():
            raise MemoryUnavailable(
                "The conversation memory (Redis) did not answer a moment ago and is left alone for some seconds.",
                hint="Check that it runs and REDIS_URL is right.",
            )
        try:
            yield
        except (*UNREACHABLE, *_REFUSED) as exc:
            is_away = isinstance(exc, UNREACHABLE)
            if is_away:
                breaker.failed()
            else:
                breaker.succeeded()
            reason = (str(exc).splitlines() or [type(exc).__name__])[0]
            raise MemoryUnavailable(
                f"The conversation memory (Redis) {'does not answer' if is_away else 'refuses'}: {reason}",
                hint="Check that it runs and REDIS_URL is right.",
            ) from exc
        except GakjuError:
            breaker.succeeded()  # it answered, and the answer was no
            raise
        except BaseException:
            breaker.untold()
            raise
        breaker.succeeded()

    def _hint(self, owner: str, session_id: str, now: float) -> None:
        """What was written stands, whether or not the owner's list, on another node of a cluster, could be told."""
        try:
            with self._reachable(self._owner_key(owner)):
                self._list(owner, session_id, now)
        except MemoryUnavailable as exc:
            log.warning("session %s… is not in its owner's list until its next turn: %s", session_id[:6], exc)

    def _list(self, owner: str, session_id: str, now: float) -> None:
        if owner:
            name = self._owner_key(owner)
            self._redis.zadd(name, {session_id: now})
            self._redis.expire(name, self._ttl_s)

    def _key(self, session_id: str, part: str) -> str:
        return f"{self._prefix}:{{{session_id}}}:{part}"

    def _owner_key(self, owner: str) -> str:
        return f"{self._prefix}:owner:{hashlib.sha256(owner.encode()).hexdigest()[:32]}"


def _not_found() -> SessionNotFound:
    return SessionNotFound(
        "There is no conversation with this session id.", hint='Start a new one with an empty session_id ("").'
    )
