"""The embedded servers under root and under an ordinary user, with folders that the server's user may not pass."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from knowledge.errors import ServerStartFailed
from knowledge.servers import EmbeddedServers, binaries

from .servers_support import (
    PROJECT,
    OtherProcess,
    add_row,
    all_pids,
    environment,
    postgres_pids,
    redis_client,
    rows,
    valkey_pids,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users"),
]
NOBODY = pwd.getpwnam("nobody")
_CAPABILITIES = {"CapPrm": 1 << 2, "CapEff": 1 << 2, "CapAmb": 1 << 2}  # CAP_DAC_READ_SEARCH and nothing else

# A user process with the wheels taken from argv[2] and the shared home moved to argv[3].
_ELSEWHERE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from knowledge.errors import GakjuError
from knowledge.servers import EmbeddedServers, places
places._SHARED_HOME = Path(sys.argv[3])
try:
    with EmbeddedServers(Path(sys.argv[1])) as servers:
        started = [servers.postgres(), servers.redis()]
        print(json.dumps([[one.url, one.where] for one in started]), flush=True)
        sys.stdin.readline()
except GakjuError as error:
    print(json.dumps(error.sentence()), flush=True)
"""


@pytest.fixture
def open_dir():
    """A folder that everybody may pass; pytest's own are closed."""
    path = Path(tempfile.mkdtemp(prefix="gakju-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def python():
    """A Python that an ordinary user may run, the virtual environment's if it lies in the open."""
    for found in (sys.executable, "/usr/bin/python3"):
        command = [found, "-c", "import sys, knowledge.servers; assert sys.version_info >= (3, 11)"]
        try:
            done = subprocess.run(
                command, user=NOBODY.pw_uid, group=NOBODY.pw_gid, extra_groups=[], cwd=PROJECT, env=environment()
            )
        except OSError:
            continue
        if done.returncode == 0:
            return found
    pytest.skip("no Python 3.11 that an ordinary user may run")


def _uids(pids: list[int]) -> set[int]:
    found = set()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):  # a worker of PostgreSQL that ended meanwhile
            found.add(Path(f"/proc/{pid}").stat().st_uid)
    return found


def _capabilities(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name], 16) for name in _CAPABILITIES}


def _wheels_copied_to(folder: Path) -> Path:
    for candidates in binaries.ALL:
        for source in binaries.wheel_folders(binaries.find(candidates, setting="")):
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("include"))
    return folder


def test_root_runs_servers_as_a_service_user_without_capabilities_where_folders_are_open(open_dir):
    with EmbeddedServers(open_dir / "data") as servers:
        servers.postgres()
        servers.redis()
        pids = [postgres_pids(open_dir / "data")[0], valkey_pids(open_dir / "data")[0]]
        assert 0 not in _uids(pids)
        assert [_capabilities(pid) for pid in pids] == [dict.fromkeys(_CAPABILITIES, 0)] * 2
        assert ((open_dir / "data" / "postgres").stat().st_mode & 0o777) == 0o700


def test_root_servers_reach_closed_folders_with_one_capability_and_open_nothing(open_dir):
    closed = open_dir / "home"
    closed.mkdir(mode=0o700)
    wheels = _wheels_copied_to(closed / "wheels")
    other = OtherProcess(closed / "data", script=_wheels_first(wheels))
    with other:
        add_row(other.servers()[0][0], 1)
        pids = [postgres_pids(closed / "data")[0], valkey_pids(closed / "data")[0]]
        assert {os.readlink(f"/proc/{pid}/exe").startswith(str(wheels)) for pid in pids} == {True}
        assert 0 not in _uids(pids)
        assert [_capabilities(pid) for pid in pids] == [_CAPABILITIES] * 2
    assert (closed.stat().st_mode & 0o777) == 0o700
    assert not list((closed / "data").glob("*/programs-*"))


def _wheels_first(wheels: Path, home: Path | None = None) -> str:
    return f"import sys; sys.argv[2:] = [{str(wheels)!r}, {str(home or '/nonexistent')!r}]\n{_ELSEWHERE}"


def test_root_without_that_capability_uses_copies_and_says_where(open_dir):
    """CAP_SETPCAP is dropped, so that no capability can be handed on."""
    closed = open_dir / "home"
    closed.mkdir(mode=0o700)
    wheels = _wheels_copied_to(closed / "wheels")
    prefix = ("setpriv", "--bounding-set", "-setpcap", "--inh-caps", "-setpcap")
    script = _wheels_first(wheels, open_dir / "shared")
    for _ in range(2):
        with OtherProcess(closed / "data", prefix=prefix, script=script) as other:
            (url, where), (_, redis_where) = other.servers()
            assert str(open_dir / "shared") in where
            assert str(open_dir / "shared") in redis_where
            add_row(url, 1)
    with OtherProcess(closed / "data", script=script) as other:  # and with it again: the same data
        assert rows(other.servers()[0][0]) == {1}


def test_root_without_any_way_says_what_to_do(open_dir):
    closed = open_dir / "home"
    closed.mkdir(mode=0o700)
    prefix = ("setpriv", "--bounding-set", "-setpcap", "--inh-caps", "-setpcap")
    other = OtherProcess(closed / "data", prefix=prefix, script=_wheels_first(closed, closed / "also-closed"))
    with other:
        assert "DATA_DIR" in str(other.servers())


def test_ordinary_user_runs_everything_as_itself(open_dir, python):
    data = open_dir / "data"
    data.mkdir()
    os.chown(data, NOBODY.pw_uid, NOBODY.pw_gid)
    with OtherProcess(data, account=NOBODY, python=python) as other:
        add_row(other.servers()[0][0], 1)
        assert _uids(all_pids(data)) == {NOBODY.pw_uid}
    with EmbeddedServers(data) as servers:  # sudo: the owner's folder stays the owner's
        assert rows(servers.postgres().url) == {1}
        with redis_client(servers.redis().url) as client:
            assert client.ping()
        assert _uids(all_pids(data)) == {NOBODY.pw_uid}
    with OtherProcess(data, account=NOBODY, python=python) as other:
        assert rows(other.servers()[0][0]) == {1}


def test_ordinary_user_is_told_that_the_folder_is_someone_elses(open_dir, python):
    with EmbeddedServers(open_dir / "data") as servers:
        servers.redis()
    script = """
import sys
from pathlib import Path
from knowledge.errors import ServerStartFailed
from knowledge.servers import EmbeddedServers
try:
    EmbeddedServers(Path(sys.argv[1])).redis()
except ServerStartFailed as error:
    print(error.sentence())
"""
    other = OtherProcess(open_dir / "data", script=script, account=NOBODY, python=python)
    out, err = other.process.communicate()
    assert "as the user it ran as before" in out, err


def test_file_in_the_way_is_named(open_dir):
    (open_dir / "data").write_text("a file")
    with pytest.raises(ServerStartFailed, match="cannot be used"):
        EmbeddedServers(open_dir / "data").redis()
