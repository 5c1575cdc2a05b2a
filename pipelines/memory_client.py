"""The client of the conversation memory: one Redis (or Valkey) server, or a cluster of them, told apart by asking.

What the URL can say: `redis://`, `rediss://` (TLS; `?ssl_ca_certs=FILE` for a CA of one's own) or `unix://`, user and
password, the database's number (a cluster has only 0). Knows nothing about conversations.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException
from redis.retry import Retry

# Not to be had now, and worth leaving alone for a moment. RedisClusterException: no node knows who has these keys.
UNREACHABLE = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.ClusterError, RedisClusterException, OSError)


def connect(url: str, *, timeout_s: float = 2.0) -> redis.Redis:
    """A client for `url`; connects at the first command, and asks then whether it is a node of a cluster. `timeout_s`:
    of each wait. One retry covers a connection that went stale while idle; a server that is silent is not asked twice."""
    if url.startswith("unix:"):
        return _alone(url, timeout_s)
    return LazyClient(url, timeout_s=timeout_s)  # type: ignore[return-value]


class LazyClient:
    """Stands for the client that fits the server. Until a server answered, each use asks; its failure is the use's."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._alone = _alone(url, timeout_s)
        self._chosen: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client(), name)

    @property
    def is_cluster(self) -> bool:
        return isinstance(self._client(), RedisCluster)

    def node_of(self, key: str) -> str:
        """Which node of a cluster has `key`, as far as is known without asking; "" of no cluster."""
        chosen = self._chosen
        try:
            return str(chosen.get_node_from_key(key).name) if isinstance(chosen, RedisCluster) and key else ""
        except RedisClusterException:
            return ""  # nobody has it at present

    def close(self) -> None:
        self._alone.close()
        if self._chosen is not None:
            self._chosen.close()

    def _client(self) -> Any:
        # Without a lock: behind one, everybody would wait out the deadline of a silent server one after the other.
        if self._chosen is None:
            try:
                facts: Any = self._alone.info("cluster")
            except (redis.ResponseError, redis.exceptions.NoPermissionError):
                facts = {}  # its user may not ask; a cluster's may
            self._chosen = _cluster(self._url, self._timeout_s) if facts.get("cluster_enabled") else self._alone
        return self._chosen


def _alone(url: str, timeout_s: float) -> redis.Redis:
    return _Client.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        decode_responses=True,
    )


def node_of(client: Any, key: str) -> str:
    return client.node_of(key) if isinstance(client, LazyClient) else ""


def _cluster(url: str, timeout_s: float) -> RedisCluster:
    return _Cluster.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1),  # a node that is away: its slots are looked up anew and asked for once more
        require_full_coverage=False,  # conversations of the nodes that are there go on
        decode_responses=True,
    )


class _Cluster(RedisCluster):
    # A silent node is not asked twice, either.
    ERRORS_ALLOW_RETRY = tuple(  # type: ignore[assignment]
        error for error in RedisCluster.ERRORS_ALLOW_RETRY if error is not redis.TimeoutError
    )


class _Client(redis.Redis):
    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> redis.client.Pipeline:
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _Pipeline(redis.client.Pipeline):
    """Of a transaction whose server fell silent the connection is gone: leaving it must not connect anew for an UNWATCH."""

    def reset(self) -> None:  # type: ignore[override]
        if self.connection is not None and not self.connection.is_connected:
            self.watching = False
        super().reset()
