"""The embedded servers as their users see them: start, share, stop, keep data, odd folders, clear failures."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from knowledge.errors import ServerStartFailed
from knowledge.servers import EmbeddedServers, binaries
from knowledge.servers.hints import hint_for
from knowledge.servers.postgres import shared_buffers_mb

from .servers_support import (
    OtherProcess,
    add_row,
    all_pids,
    postgres_pids,
    redis_client,
    rows,
    stat_of,
    template_in,
    valkey_pids,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return template_in(tmp_path_factory.getbasetemp())


@pytest.fixture
def data_dir(template, tmp_path):
    return template.copy_to(tmp_path / "data")


@pytest.fixture
def servers(data_dir):
    with EmbeddedServers(data_dir) as found:
        yield found


def test_postgres_has_vectors_and_is_durable_and_the_app_is_no_superuser(servers):
    found = servers.postgres()
    with psycopg.connect(found.url) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        assert connection.execute("SELECT '[3,4]'::vector <-> '[0,0]'").fetchone() == (5.0,)
        assert connection.execute("SELECT similarity('연차휴가', '연차휴가를') > 0.4").fetchone() == (True,)
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
        wanted = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "listen_addresses": ""}
        wanted |= {"maintenance_work_mem": "256MB", "max_connections": "50"}
        assert {name: connection.execute(f"SHOW {name}").fetchone() for name in wanted} == {
            name: (value,) for name, value in wanted.items()
        }
        locale = "SELECT datlocprovider, datlocale, datctype FROM pg_database WHERE datname = current_database()"
        assert connection.execute(locale).fetchone() == ("b", "C.UTF-8", "C.UTF-8")
        version = connection.info.parameter_status("server_version")
    assert found.where.startswith(f"embedded PostgreSQL {version} in ")


def test_postgres_caches_in_a_share_of_the_memory_unless_its_owner_says_how_much(data_dir):
    assert [shared_buffers_mb(gib << 29) for gib in (0, 1, 4, 64)] == [64, 64, 256, 1024]
    with EmbeddedServers(data_dir) as servers, psycopg.connect(servers.postgres().url) as connection:
        row = connection.execute("SELECT pg_size_bytes(current_setting('shared_buffers')) >> 20").fetchone()
    assert row and 64 <= row[0] <= 1024
    with (data_dir / "postgres" / "data" / "postgresql.conf").open("a") as conf:
        conf.write("shared_buffers = 96MB  # ours\n")
    with EmbeddedServers(data_dir) as servers, psycopg.connect(servers.postgres().url) as connection:
        assert connection.execute("SHOW shared_buffers").fetchone() == ("96MB",)


def test_app_cannot_run_programs_through_sql(servers):
    with psycopg.connect(servers.postgres().url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE TABLE t (line text); COPY t FROM PROGRAM 'id'")


def test_valkey_keeps_every_write_and_evicts_nothing(servers):
    found = servers.redis()
    with redis_client(found.url) as client:
        assert client.set("이름", "값")
        wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "port": "0"}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
        assert found.where.startswith(f"embedded Valkey {client.info('server')['valkey_version']} in ")


def test_restart_keeps_data_and_urls(tmp_path):
    with EmbeddedServers(tmp_path) as servers:
        first = servers.postgres(), servers.redis()
        add_row(first[0].url, 1)
        with redis_client(first[1].url) as client:
            client.set("key", "value")
    assert all_pids(tmp_path) == []
    with EmbeddedServers(tmp_path) as servers:
        assert (servers.postgres(), servers.redis()) == first
        assert rows(first[0].url) == {1}
        with redis_client(first[1].url) as client:
            assert client.get("key") == b"value"


def test_two_processes_share_and_the_last_one_stops(data_dir):
    with EmbeddedServers(data_dir) as servers:
        mine = servers.postgres().url, servers.redis().url
        pids = postgres_pids(data_dir)[0], valkey_pids(data_dir)[0]
        with OtherProcess(data_dir) as other:
            assert [url for url, _ in other.servers()] == list(mine)
        assert (postgres_pids(data_dir)[0], valkey_pids(data_dir)[0]) == pids  # the other left, we still use them
        with OtherProcess(data_dir) as other:
            other.servers()
            servers.close()
            assert (postgres_pids(data_dir)[0], valkey_pids(data_dir)[0]) == pids  # we left, the other uses them
        assert all_pids(data_dir) == []


def test_last_user_stops_also_the_server_it_never_asked_for(data_dir):
    with OtherProcess(data_dir) as other, EmbeddedServers(data_dir) as servers:
        other.servers()
        servers.postgres()
        other.leave()
        assert valkey_pids(data_dir) != []
    assert all_pids(data_dir) == []


def test_users_that_come_and_go_at_once_never_lose_the_servers(tmp_path):
    """The first ones race for the first start; then each stop races with somebody's start."""
    script = """
import sys
from pathlib import Path
import psycopg
from knowledge.servers import EmbeddedServers
for _ in range(4):
    with EmbeddedServers(Path(sys.argv[1])) as servers:
        for _ in range(3):
            with psycopg.connect(servers.postgres().url) as connection:
                connection.execute("SELECT 1")
"""
    others = [OtherProcess(tmp_path, script=script) for _ in range(3)]
    for other in others:
        other.leave()
    assert all_pids(tmp_path) == []


def test_forked_child_that_closes_leaves_the_servers_to_its_parent(tmp_path):
    script = """
import os, sys
from pathlib import Path
from knowledge.servers import EmbeddedServers
servers = EmbeddedServers(Path(sys.argv[1]))
servers.redis()
child = os.fork()
if child == 0:
    servers.close()
    os._exit(0)
os.waitpid(child, 0)
print(servers._supervisors["valkey"].probe().is_ready, flush=True)
servers.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "True", done.stderr
    assert valkey_pids(tmp_path) == []


def test_servers_are_out_of_reach_of_ctrl_c_in_the_terminal(servers, data_dir):
    servers.postgres()
    servers.redis()
    sessions = {stat_of(pid)[3] for pid in (postgres_pids(data_dir)[0], valkey_pids(data_dir)[0])}
    assert len(sessions) == 2
    assert str(os.getsid(0)) not in sessions


@pytest.mark.parametrize("folder", ["long-" + "p" * 120, "with space, comma%20 and 'quote'", "자료 폴더"])
def test_any_folder_name_works_in_both_urls(template, tmp_path, folder):
    template.copy_to(tmp_path / folder)
    with EmbeddedServers(tmp_path / folder) as servers:
        add_row(servers.postgres().url, 1)
        with redis_client(servers.redis().url) as client:
            assert client.ping()
        with OtherProcess(tmp_path / folder, prefix=("env", f"TMPDIR={tmp_path}")) as other:
            assert other.servers()[0][0] == servers.postgres().url  # another TMPDIR makes no other socket
        socket_folder = (tmp_path / folder / "postgres" / "run").resolve()
        assert socket_folder.is_dir()
    assert all_pids(tmp_path / folder) == []
    assert tmp_path in socket_folder.parents or not socket_folder.exists()  # nothing stays outside DATA_DIR


def test_copy_of_a_folder_never_meets_the_originals_servers(template, tmp_path):
    """Both paths are too long for a socket, so each holds a link to a short folder, and the link is copied too."""
    long = template.copy_to(tmp_path / ("long-" + "p" * 120))
    with EmbeddedServers(long) as original:
        add_row(original.postgres().url, 1)
        original.close()
        copy = Path(shutil.copytree(long, tmp_path / ("copy-" + "p" * 120), symlinks=True))
        with EmbeddedServers(copy) as copied:
            assert original.postgres().url != copied.postgres().url
            add_row(original.postgres().url, 2)
            assert rows(copied.postgres().url) == {1}


def test_folder_deleted_under_running_servers_is_made_anew(tmp_path):
    with EmbeddedServers(tmp_path / "data") as servers:
        servers.redis()
        old = valkey_pids(tmp_path / "data")
        subprocess.run(["rm", "-rf", str(tmp_path / "data")], check=True)
        with redis_client(servers.redis().url) as client:
            assert client.dbsize() == 0
        os.kill(old[0], signal.SIGKILL)  # a server in a folder that no longer exists is its deleter's to stop


def test_both_start_without_any_network(data_dir):
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        pytest.skip("this user may not make a network namespace")
    with OtherProcess(data_dir, prefix=("unshare", "--net")) as other:
        assert len(other.servers()) == 2


def test_data_of_another_major_version_are_refused_with_advice(data_dir):
    with EmbeddedServers(data_dir) as servers:
        servers.postgres()
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("16\n")
    with EmbeddedServers(data_dir) as servers, pytest.raises(ServerStartFailed, match="PostgreSQL 16") as caught:
        servers.postgres()
    assert "ingest again" in caught.value.hint


def test_damaged_cluster_fails_with_the_log_and_advice(data_dir):
    with EmbeddedServers(data_dir) as servers:
        servers.postgres()
    os.truncate(data_dir / "postgres" / "data" / "global" / "pg_control", 100)
    with EmbeddedServers(data_dir) as servers, pytest.raises(ServerStartFailed, match="pg_control") as caught:
        servers.postgres()
    assert caught.value.hint
    assert all_pids(data_dir) == []


def test_full_disk_fails_with_advice(tmp_path):
    mounted = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(tmp_path)]
    if subprocess.run(mounted, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a small disk")
    try:
        with EmbeddedServers(tmp_path) as servers, pytest.raises(ServerStartFailed) as caught:
            servers.postgres()
        assert "Free disk space" in caught.value.hint
        assert all_pids(tmp_path) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_missing_wheel_names_the_setting_that_replaces_it():
    with pytest.raises(ServerStartFailed, match="no_such_wheel") as caught:
        binaries.find((("no_such_wheel", "bin/postgres"), ("json", "bin/postgres")), setting="DATABASE_URL")
    assert "DATABASE_URL" in caught.value.hint


def test_illegal_instruction_is_explained():
    assert "CPU" in hint_for("", -signal.SIGILL)
