"""The embedded servers under repeated kills at random moments, in mid-write and in mid-start. Minutes long."""

from __future__ import annotations

import random
import sys
import threading
import time

import psycopg
import pytest
import redis

from knowledge.servers import EmbeddedServers

from .servers_support import OtherProcess, add_row, all_pids, kill, postgres_pids, redis_client, rows, valkey_pids

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]


class _Writer(threading.Thread):
    """Writes numbers until told to stop; `acknowledged` are those the server confirmed."""

    def __init__(self, write: object) -> None:
        super().__init__(daemon=True)
        self._write = write
        self._done = threading.Event()
        self.acknowledged: set[int] = set()

    def run(self) -> None:
        for number in range(10**9):
            if self._done.is_set():
                return
            try:
                self._write(number)  # type: ignore[operator]
            except (psycopg.Error, redis.RedisError, OSError):
                time.sleep(0.01)
            else:
                self.acknowledged.add(number)

    def stop(self) -> None:
        self._done.set()
        self.join(60)
        assert not self.is_alive()


def test_no_acknowledged_write_is_lost_over_many_kills(tmp_path):
    """12 rounds: the postmaster, all of PostgreSQL, Valkey or everything is killed in mid-write."""
    chance = random.Random(7)
    with EmbeddedServers(tmp_path) as servers:
        url, redis_url = servers.postgres().url, servers.redis().url
        add_row(url, -1)
        client = redis.Redis.from_url(redis_url, socket_timeout=5)
        writers = [_Writer(lambda number: add_row(url, number)), _Writer(lambda number: client.sadd("row", number))]
        for writer in writers:
            writer.start()
        for round_number in range(12):
            time.sleep(chance.uniform(0.2, 1))
            postgres, valkey = postgres_pids(tmp_path), valkey_pids(tmp_path)
            kill([postgres[:1], postgres, valkey, postgres + valkey][round_number % 4])
            servers.ensure()
        for writer in writers:
            writer.stop()
        assert len(writers[0].acknowledged) > 12
        assert writers[0].acknowledged <= rows(url)
        assert len(writers[1].acknowledged) > 12
        assert writers[1].acknowledged <= {int(member) for member in client.smembers("row")}
        client.close()


def test_apps_killed_while_starting_or_stopping_never_block_the_next(tmp_path):
    chance = random.Random(11)
    for _ in range(15):
        app = OtherProcess(tmp_path)
        time.sleep(chance.uniform(0, 0.8))
        if chance.random() < 0.5:
            assert app.process.stdin
            app.process.stdin.write("\n")
            app.process.stdin.flush()
            time.sleep(chance.uniform(0, 0.2))
        app.kill()
        if chance.random() < 0.3:
            kill(all_pids(tmp_path))
    with EmbeddedServers(tmp_path) as servers:
        add_row(servers.postgres().url, 1)
        with redis_client(servers.redis().url) as client:
            assert client.ping()
    assert all_pids(tmp_path) == []
