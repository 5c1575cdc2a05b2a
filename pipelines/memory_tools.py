"""Results of tools in Redis (or Valkey), so that a price is asked for once and not by everybody.

Keys of one call share a hash tag, so that they live on one node of a cluster:
    {prefix}:tool:{server.tool}:{digest}:result  string  JSON: text, fetched_at, cut_from; kept longer than it is good for
    {prefix}:tool:{server.tool}:{digest}:asking  string  token of the process that asks right now
    {prefix}:tool:{server.tool}:{digest}:failed  string  how it failed, for those who were waiting; a second
Whoever asks stores what came only while the token is still its own: a slow asker never overwrites a newer result.
Knows nothing about servers and how they are asked.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from knowledge.errors import MemoryUnavailable
from pipelines.breaker import Breakers
from pipelines.memory_client import UNREACHABLE, node_of
from pipelines.memory_directory import PREFIX

KEPT_STALE_S = 24 * 3600  # a result past its time is shown with its time, where the tool cannot be asked
_FAILED_MS = 1_000


@dataclass(frozen=True, slots=True)
class StoredResult:
    """`fetched_at`: seconds since the epoch. `cut_from`: characters before it was cut; 0 where it is whole."""

    text: str
    fetched_at: float
    cut_from: int = 0


class ToolCache:
    """Safe from several threads. Every method raises MemoryUnavailable where Redis does not answer.

    `breakers`: shared with the memory of conversations, so that a server that hangs costs a turn one deadline, not two.
    """

    def __init__(self, client: redis.Redis, *, prefix: str = PREFIX, breakers: Breakers | None = None) -> None:
        self._redis: Any = client  # redis-py's stubs mix its sync and async answers
        self._prefix = prefix
        self._breakers = breakers or Breakers(failures=1)

    def key(self, tool: str, *, endpoint: str, arguments: str) -> str:
        """Of one call. `endpoint`: where the tool's server is; `arguments`: as canonical JSON."""
        digest = hashlib.sha256("\0".join([tool, endpoint, arguments]).encode()).hexdigest()[:40]
        return f"{self._prefix}:tool:{tool}:{{{digest}}}"

    def get(self, key: str) -> StoredResult | None:
        with self._reachable(key):
            text = self._redis.get(f"{key}:result")
        return _parsed(text)

    def claim(self, key: str, *, limit_s: float) -> str:
        """A token for whoever may ask the tool now; "" where another asks already. It ends by itself after `limit_s`."""
        token = secrets.token_hex(16)
        with self._reachable(key):
            return token if self._redis.set(f"{key}:asking", token, nx=True, px=int(limit_s * 1000)) else ""

    def wait_state(self, key: str) -> tuple[StoredResult | None, str, bool]:
        """For whoever waits for another's answer: the result, how it failed ("" if it did not), whether it is still asked."""
        with self._reachable(key):
            text, failed, asking = self._redis.mget(f"{key}:result", f"{key}:failed", f"{key}:asking")
        return _parsed(text), failed or "", bool(asking)

    def put(self, key: str, token: str, result: StoredResult, *, ttl_s: float) -> bool:
        """Store what the tool answered and let others ask again; False if the token had ended and nothing was stored."""
        value = json.dumps(
            {"text": result.text, "fetched_at": result.fetched_at, "cut_from": result.cut_from}, ensure_ascii=False
        )
        kept_ms = int((ttl_s + KEPT_STALE_S) * 1000)
        return self._if_mine(key, token, lambda pipe: pipe.set(f"{key}:result", value, px=kept_ms))

    def release(self, key: str, token: str, *, failed: str = "") -> None:
        """Nothing came: let others ask. `failed`: told to those who are waiting now."""

        def write(pipe: Any) -> None:
            if failed:
                pipe.set(f"{key}:failed", failed, px=_FAILED_MS)

        self._if_mine(key, token, write)

    def _if_mine(self, key: str, token: str, write: Any) -> bool:
        asking = f"{key}:asking"
        with self._reachable(key), self._redis.pipeline(transaction=True) as pipe:
            try:
                pipe.watch(asking)
                if pipe.get(asking) != token:
                    return False
                pipe.multi()
                write(pipe)
                pipe.delete(asking)
                pipe.execute()
                return True
            except redis.WatchError:  # it ended, or another took it, between the look and the write
                return False

    @contextmanager
    def _reachable(self, key: str) -> Iterator[None]:
        breaker = self._breakers.of(node_of(self._redis, key))
        if breaker.wait_s():
            raise MemoryUnavailable("The cache of tools (Redis) did not answer a moment ago.")
        try:
            yield
        except (redis.RedisError, *UNREACHABLE) as exc:
            breaker.failed()
            raise MemoryUnavailable(f"The cache of tools (Redis) does not answer: {type(exc).__name__}.") from exc
        except BaseException:
            breaker.untold()
            raise
        breaker.succeeded()


def _parsed(text: str | None) -> StoredResult | None:
    """What another version or hand wrote there is no result."""
    try:
        data = json.loads(text or "null")
        return (
            StoredResult(str(data["text"]), float(data["fetched_at"]), int(data.get("cut_from", 0))) if data else None
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
