"""Killed at any moment, a hundred times, and run once more: the same index as a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from knowledge.database import Database
from knowledge.verification import verify
from tests.ingest.ingesting import ROOT, environment, run_command


def corpus(folder: Path) -> None:
    """Small and larger documents, one bad one, an archive's worth of languages; a few seconds of work."""
    folder.mkdir()
    for n in range(40):
        words = " ".join(
            f"제{n}조 {k}항은 수수료 {n * 37 + k:,}원과 운임 {k * 1.5:.1f}%를 정한다." for k in range(3 + n % 9)
        )
        (folder / f"규정-{n:02}.md").write_text(f"# 규정 {n}\n\n{words}\n", encoding="utf-8")
    (folder / "long.txt").write_text("\n\n".join(f"Clause {n}. The fee is {n * 13} won." for n in range(600)))
    (folder / "empty.md").write_text("")


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_something(process: subprocess.Popen[bytes], database_url: str, chance: random.Random) -> None:
    """Mostly the command itself; now and then a reader of its, or its connections to the database."""
    dice = chance.random()
    if dice < 0.15:
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        time.sleep(0.2)
    elif dice < 0.3:
        try:
            readers = children_of(process.pid)
            if readers:
                os.kill(chance.choice(readers), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(0.2)
    process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("kills", [100])
def test_a_hundred_kills_leave_no_trace(database_url, tmp_path, kills):
    folder = tmp_path / "docs"
    corpus(folder)
    chance = random.Random(20261121)
    finished = 0
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-m", "ingest", "add", str(folder)],
            env=environment(database_url, tmp_path / "data"),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0.5, 6.0))
        finished += process.poll() is not None
        kill_something(process, database_url, chance)
        process.wait()
        # Now and then a file changes between two runs.
        if chance.random() < 0.2:
            target = folder / f"규정-{chance.randrange(40):02}.md"
            target.write_text(target.read_text() + f"\n\n부칙: {chance.randrange(10**6)}번 개정.\n")
    assert finished < kills / 2, "most runs ended before they were killed: nothing was tested"
    done = run_command(database_url, tmp_path / "data", "add", folder)
    assert done.returncode == 1 and "empty.md" in done.stderr  # the bad one, and only that
    assert done.stderr.count("FAILED") == 1

    name = f"clean_{os.getpid()}"
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    try:
        clean_url = database_url.replace(database_url.split("?")[0].rsplit("/", 1)[1], name)
        assert run_command(clean_url, tmp_path / "data", "add", folder).returncode == 1
        digests = []
        for url in (database_url, clean_url):
            db = Database(url)
            db.open()
            found = verify(db)
            assert found is not None and found.problems == (), url
            digests.append((found.digest, found.documents, found.chunks))
            db.close()
        assert digests[0] == digests[1]
    finally:
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
