"""The embedded servers after real kills: whatever died and whatever it left, the next start works by itself."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest
import redis

from knowledge.servers import EmbeddedServers

from .servers_support import (
    OtherProcess,
    add_row,
    all_pids,
    kill,
    postgres_pids,
    redis_client,
    rows,
    stat_of,
    valkey_pids,
    wait_until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")


def test_killed_app_leaves_servers_that_the_next_user_adopts_and_stops(tmp_path):
    app = OtherProcess(tmp_path)
    url = app.servers()[0][0]
    add_row(url, 1)
    before = postgres_pids(tmp_path)[0], valkey_pids(tmp_path)[0]
    app.kill()
    with EmbeddedServers(tmp_path) as servers:
        assert servers.postgres().url == url
        servers.redis()
        assert (postgres_pids(tmp_path)[0], valkey_pids(tmp_path)[0]) == before
        assert rows(url) == {1}
    assert all_pids(tmp_path) == []


@pytest.mark.parametrize("victim", ["postmaster", "backend", "every postgres", "valkey", "everything"])
def test_killed_server_comes_back_on_the_same_url_with_its_data(tmp_path, victim):
    with EmbeddedServers(tmp_path) as servers:
        before = servers.postgres(), servers.redis()
        add_row(before[0].url, 1)
        with redis_client(before[1].url) as client, psycopg.connect(before[0].url) as open_connection:
            client.set("key", "value")
            postgres = postgres_pids(tmp_path)
            kill(
                {
                    "postmaster": postgres[:1],
                    "backend": [open_connection.info.backend_pid],
                    "every postgres": postgres,
                    "valkey": valkey_pids(tmp_path),
                    "everything": all_pids(tmp_path),
                }[victim]
            )
        servers.ensure()
        assert (servers.postgres(), servers.redis()) == before
        assert rows(before[0].url) == {1}
        with redis_client(before[1].url) as client:
            assert client.get("key") == b"value"


def test_ensure_starts_only_what_was_asked_for(tmp_path):
    with EmbeddedServers(tmp_path) as servers:
        servers.redis()
        servers.ensure()
        assert postgres_pids(tmp_path) == []


@pytest.mark.parametrize("whose", ["ours", "the server user's", "another user's", "nobody's"])
def test_stale_pid_files_are_no_obstacle(tmp_path, whose):
    """As after a reboot: the pid in the files belongs to some other process, or to none."""
    with EmbeddedServers(tmp_path) as servers:
        add_row(servers.postgres().url, 1)
        pid_file = tmp_path / "postgres" / "data" / "postmaster.pid"
        owner = pid_file.stat().st_uid
        kept = pid_file.read_text()
        socket_files = {path.name: path for path in (tmp_path / "postgres" / "run").iterdir()}
        assert set(socket_files) == {".s.PGSQL.5432", ".s.PGSQL.5432.lock"}
        lock_kept = socket_files[".s.PGSQL.5432.lock"].read_text()
        kill(postgres_pids(tmp_path))
    with _some_process(whose, owner) as pid:
        pid_file.write_text("\n".join([str(pid), *kept.split("\n")[1:]]))
        socket_files[".s.PGSQL.5432.lock"].write_text("\n".join([str(pid), *lock_kept.split("\n")[1:]]))
        (tmp_path / "valkey" / "run").mkdir(parents=True, exist_ok=True)
        (tmp_path / "valkey" / "run" / "valkey.sock").write_text("stale")
        for path in (pid_file, socket_files[".s.PGSQL.5432.lock"]):
            os.chown(path, owner, -1)
        with EmbeddedServers(tmp_path) as servers:
            assert rows(servers.postgres().url) == {1}
            with redis_client(servers.redis().url) as client:
                assert client.ping()


class _some_process:
    def __init__(self, whose: str, server_uid: int) -> None:
        others = pwd.getpwnam("nobody").pw_uid if server_uid != pwd.getpwnam("nobody").pw_uid else 1
        self._uid = {"the server user's": server_uid, "another user's": others}.get(whose)
        self._whose = whose

    def __enter__(self) -> int:
        if self._whose == "ours":
            return os.getpid()
        if self._uid not in (None, os.geteuid()) and os.geteuid() != 0:
            pytest.skip("only root can have a process of another user")
        self._sleeper = subprocess.Popen(["sleep", "1000"], user=self._uid, cwd="/")
        if self._whose == "nobody's":
            self._sleeper.kill()
            self._sleeper.wait()
        return self._sleeper.pid

    def __exit__(self, *exc: object) -> None:
        if self._whose != "ours" and self._sleeper.poll() is None:
            self._sleeper.kill()
            self._sleeper.wait()


def test_zombie_postmaster_is_no_obstacle_for_another_process(tmp_path):
    servers = EmbeddedServers(tmp_path)
    add_row(servers.postgres().url, 1)
    postmaster = postgres_pids(tmp_path)[0]
    kill([postmaster])
    wait_until(lambda: stat_of(postmaster)[0] == "Z")  # our child, and we do not reap it
    with OtherProcess(tmp_path) as other:
        assert rows(other.servers()[0][0]) == {1}
        assert stat_of(postmaster)[0] == "Z"
    servers.close()
    assert all_pids(tmp_path) == []


def test_orphaned_backend_of_a_killed_postmaster_is_removed(tmp_path):
    with EmbeddedServers(tmp_path) as servers:
        url = servers.postgres().url
        add_row(url, 1)
        with psycopg.connect(url) as connection:
            orphan = connection.info.backend_pid
            os.kill(orphan, signal.SIGSTOP)  # busy for ever, as far as anybody can tell
            kill(postgres_pids(tmp_path)[:1])
            assert rows(servers.postgres().url) == {1}
            assert orphan not in postgres_pids(tmp_path)


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_hung_server_is_replaced_and_there_are_never_two(tmp_path, name):
    with EmbeddedServers(tmp_path, silence_s=6) as servers:
        url = {"postgres": servers.postgres, "valkey": servers.redis}[name]().url
        hung = all_pids(tmp_path)
        for pid in hung:
            os.kill(pid, signal.SIGSTOP)
        servers.ensure()
        assert {"postgres": servers.postgres, "valkey": servers.redis}[name]().url == url
        assert not set(hung) & set(all_pids(tmp_path))


def test_lost_socket_never_leads_to_two_writers(tmp_path):
    with EmbeddedServers(tmp_path, silence_s=1) as servers:
        with redis_client(servers.redis().url) as client:
            client.set("key", "value")
        old = valkey_pids(tmp_path)
        (tmp_path / "valkey" / "run").resolve().joinpath("valkey.sock").unlink()
        with redis_client(servers.redis().url) as client:
            assert client.get("key") == b"value"
        assert len(valkey_pids(tmp_path)) == 1
        assert valkey_pids(tmp_path) != old


def test_first_set_up_killed_half_way_is_done_again(tmp_path):
    app = OtherProcess(tmp_path)
    half = tmp_path / "postgres" / "data.part"
    wait_until(lambda: (half / "PG_VERSION").exists())
    app.kill()
    subprocess.run(["pkill", "-9", "-f", str(half)], check=False)  # initdb and its children, by this test's own path
    assert not (tmp_path / "postgres" / "data").exists()
    with EmbeddedServers(tmp_path) as servers:
        add_row(servers.postgres().url, 1)
    assert not half.exists()


def _append_only_file(data_dir: Path) -> Path:
    return next((data_dir / "valkey" / "data" / "appendonlydir").glob("*.incr.aof"))


def _write_keys(data_dir: Path, count: int) -> None:
    with EmbeddedServers(data_dir) as servers, redis_client(servers.redis().url) as client:
        for number in range(count):
            client.set(f"key{number}", "x" * 100)
        kill(valkey_pids(data_dir))


def test_append_only_file_cut_off_in_a_record_loads_all_before_it(tmp_path):
    _write_keys(tmp_path, 50)
    log = _append_only_file(tmp_path)
    os.truncate(log, log.stat().st_size - 20)
    with EmbeddedServers(tmp_path) as servers, redis_client(servers.redis().url) as client:
        assert client.dbsize() == 49
        assert client.set("new", "1")


def test_append_only_file_with_a_garbage_end_is_mended_and_kept(tmp_path):
    """A power cut may leave zeros where the file had grown."""
    _write_keys(tmp_path, 50)
    log = _append_only_file(tmp_path)
    with log.open("ab") as file:
        file.write(b"\0" * 4096)
    with EmbeddedServers(tmp_path) as servers, redis_client(servers.redis().url) as client:
        assert client.dbsize() == 50
        assert client.set("new", "1")
    kept = next((tmp_path / "valkey").glob("damaged-*"))
    assert (kept / log.name).read_bytes().endswith(b"\0" * 4096)


def test_restored_copy_with_roots_ownership_starts(tmp_path):
    with EmbeddedServers(tmp_path / "live") as servers:
        add_row(servers.postgres().url, 1)
        servers.redis()
    shutil.copytree(tmp_path / "live", tmp_path / "restored")  # `cp -r`: owner and modes are not kept
    (tmp_path / "restored" / "postgres" / "data").chmod(0o755)
    with EmbeddedServers(tmp_path / "restored") as servers:
        assert rows(servers.postgres().url) == {1}
        servers.redis()


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_apps_killed_while_starting_or_stopping_never_block_the_next(tmp_path):
    chance = random.Random(11)
    for _ in range(15):
        app = OtherProcess(tmp_path)
        time.sleep(chance.uniform(0, 0.8))
        if chance.random() < 0.5:
            app.process.stdin.write("\n")
            app.process.stdin.flush()
            time.sleep(chance.uniform(0, 0.2))
        app.kill()
        if chance.random() < 0.3:
            for pid in all_pids(tmp_path):
                os.kill(pid, signal.SIGKILL)
    with EmbeddedServers(tmp_path) as servers:
        add_row(servers.postgres().url, 1)
        with redis_client(servers.redis().url) as client:
            assert client.ping()
    assert all_pids(tmp_path) == []
