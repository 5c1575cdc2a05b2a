"""The embedded servers after real kills: whatever died and whatever it left, the next start works by itself."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

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
    template_in,
    valkey_pids,
    wait_until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return template_in(tmp_path_factory.getbasetemp())


@pytest.fixture
def data_dir(template, tmp_path):
    return template.copy_to(tmp_path / "data")


def test_killed_app_leaves_servers_that_the_next_user_adopts_and_stops(data_dir):
    app = OtherProcess(data_dir)
    url = app.servers()[0][0]
    add_row(url, 1)
    before = postgres_pids(data_dir)[0], valkey_pids(data_dir)[0]
    app.kill()
    with EmbeddedServers(data_dir) as servers:
        assert servers.postgres().url == url
        servers.redis()
        assert (postgres_pids(data_dir)[0], valkey_pids(data_dir)[0]) == before
        assert rows(url) == {1}
    assert all_pids(data_dir) == []


@pytest.mark.parametrize("victim", ["postmaster", "backend", "every postgres", "valkey", "everything"])
def test_killed_server_comes_back_on_the_same_url_with_its_data(data_dir, victim):
    with EmbeddedServers(data_dir) as servers:
        before = servers.postgres(), servers.redis()
        add_row(before[0].url, 1)
        with redis_client(before[1].url) as client, psycopg.connect(before[0].url) as open_connection:
            client.set("key", "value")
            postgres = postgres_pids(data_dir)
            kill(
                {
                    "postmaster": postgres[:1],
                    "backend": [open_connection.info.backend_pid],
                    "every postgres": postgres,
                    "valkey": valkey_pids(data_dir),
                    "everything": all_pids(data_dir),
                }[victim]
            )
        servers.ensure()
        assert (servers.postgres(), servers.redis()) == before
        assert rows(before[0].url) == {1}
        with redis_client(before[1].url) as client:
            assert client.get("key") == b"value"


def test_ensure_starts_only_what_was_asked_for(data_dir):
    with EmbeddedServers(data_dir) as servers:
        servers.redis()
        servers.ensure()
        assert postgres_pids(data_dir) == []


@pytest.mark.parametrize("whose", ["ours", "the server user's", "another user's", "nobody's"])
def test_stale_pid_files_are_no_obstacle(data_dir, whose):
    """As after a reboot: the pid in the files belongs to some other process, or to none."""
    with EmbeddedServers(data_dir) as servers:
        add_row(servers.postgres().url, 1)
        pid_file = data_dir / "postgres" / "data" / "postmaster.pid"
        owner = pid_file.stat().st_uid
        kept = pid_file.read_text()
        socket_files = {path.name: path for path in (data_dir / "postgres" / "run").iterdir()}
        assert set(socket_files) == {".s.PGSQL.5432", ".s.PGSQL.5432.lock"}
        lock_kept = socket_files[".s.PGSQL.5432.lock"].read_text()
        kill(postgres_pids(data_dir))
    with _some_process(whose, owner) as pid:
        pid_file.write_text("\n".join([str(pid), *kept.split("\n")[1:]]))
        socket_files[".s.PGSQL.5432.lock"].write_text("\n".join([str(pid), *lock_kept.split("\n")[1:]]))
        (data_dir / "valkey" / "run" / "valkey.sock").write_text("stale")
        for path in (pid_file, socket_files[".s.PGSQL.5432.lock"]):
            os.chown(path, owner, -1)
        with EmbeddedServers(data_dir) as servers:
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


def test_zombie_postmaster_is_no_obstacle_for_another_process(data_dir):
    servers = EmbeddedServers(data_dir)
    add_row(servers.postgres().url, 1)
    postmaster = postgres_pids(data_dir)[0]
    kill([postmaster])
    wait_until(lambda: stat_of(postmaster)[0] == "Z")  # our child, and we do not reap it
    with OtherProcess(data_dir) as other:
        assert rows(other.servers()[0][0]) == {1}
        assert stat_of(postmaster)[0] == "Z"
    servers.close()
    assert all_pids(data_dir) == []


def test_orphaned_backend_of_a_killed_postmaster_is_removed(data_dir):
    with EmbeddedServers(data_dir) as servers:
        url = servers.postgres().url
        add_row(url, 1)
        with psycopg.connect(url) as connection:
            orphan = connection.info.backend_pid
            os.kill(orphan, signal.SIGSTOP)  # busy for ever, as far as anybody can tell
            kill(postgres_pids(data_dir)[:1])
            assert rows(servers.postgres().url) == {1}
            assert orphan not in postgres_pids(data_dir)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_hung_server_is_replaced_and_there_are_never_two(data_dir, name):
    with EmbeddedServers(data_dir, silence_s=1) as servers:
        url = {"postgres": servers.postgres, "valkey": servers.redis}[name]().url
        hung = all_pids(data_dir)
        kill(hung, signal.SIGSTOP)
        servers.ensure()
        assert {"postgres": servers.postgres, "valkey": servers.redis}[name]().url == url
        assert not set(hung) & set(all_pids(data_dir))


def test_lost_socket_never_leads_to_two_writers(data_dir):
    with EmbeddedServers(data_dir, silence_s=1) as servers:
        with redis_client(servers.redis().url) as client:
            client.set("key", "value")
        old = valkey_pids(data_dir)
        (data_dir / "valkey" / "run").resolve().joinpath("valkey.sock").unlink()
        with redis_client(servers.redis().url) as client:
            assert client.get("key") == b"value"
        assert len(valkey_pids(data_dir)) == 1
        assert valkey_pids(data_dir) != old


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


def test_append_only_file_cut_off_in_a_record_loads_all_before_it(data_dir):
    _write_keys(data_dir, 50)
    log = _append_only_file(data_dir)
    os.truncate(log, log.stat().st_size - 20)
    with EmbeddedServers(data_dir) as servers, redis_client(servers.redis().url) as client:
        assert client.dbsize() == 49
        assert client.set("new", "1")


def test_append_only_file_with_a_garbage_end_is_mended_and_kept(data_dir):
    """A power cut may leave zeros where the file had grown."""
    _write_keys(data_dir, 50)
    log = _append_only_file(data_dir)
    with log.open("ab") as file:
        file.write(b"\0" * 4096)
    with EmbeddedServers(data_dir) as servers, redis_client(servers.redis().url) as client:
        assert client.dbsize() == 50
        assert client.set("new", "1")
    kept = next((data_dir / "valkey").glob("damaged-*"))
    assert (kept / log.name).read_bytes().endswith(b"\0" * 4096)


def test_restored_copy_with_roots_ownership_starts(data_dir, tmp_path):
    with EmbeddedServers(data_dir) as servers:
        add_row(servers.postgres().url, 1)
        servers.redis()
    shutil.copytree(data_dir, tmp_path / "restored")  # `cp -r`: owner and modes are not kept
    (tmp_path / "restored" / "postgres" / "data").chmod(0o755)
    with EmbeddedServers(tmp_path / "restored") as servers:
        assert rows(servers.postgres().url) == {1}
        servers.redis()
