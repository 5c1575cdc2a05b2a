"""The command in processes of its own: what a shell sees, two at once, killed ones, and a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from knowledge.file_states import file_states
from tests.ingest.ingesting import ROOT, Ingestors, digest, environment, run_command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Enough work that runs overlap and kills hit."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for n in range(12):
        text = "\n\n".join(f"환율이 {n}.{m} % 떨어지면 옥수수 {m}톤의 수입 원가가 내려간다." for m in range(30))
        (folder / f"doc{n:02}.md").write_text(f"# 문서 {n}\n\n{text}\n")
    return folder


def start(database_url: str, data_dir: Path, *arguments: object, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ingest", *map(str, arguments)],
        env=environment(database_url, data_dir), cwd=ROOT, text=True, **options,
    )  # fmt: skip


def stored(db) -> int:
    return sum(item.state == "stored" for item in file_states(db))


def test_exit_codes_and_one_sentence_errors(database_url, folder, tmp_path):
    done = run_command(database_url, tmp_path / "data", "add", folder / "doc00.md", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["added"] == 1, done.stderr
    away = run_command("postgresql://me:secret@127.0.0.1:9/x", tmp_path / "data", "status")
    assert away.returncode == 3 and "does not answer" in away.stderr
    assert "Traceback" not in away.stderr and "secret" not in away.stderr
    assert run_command(database_url, tmp_path / "data", folder).returncode == 2


def test_two_runs_at_once_do_the_work_once(database_url, db, folder, tmp_path, store):
    runs = [start(database_url, tmp_path / "data", "add", folder, "--json", stdout=subprocess.PIPE) for _ in range(2)]
    reports = [json.loads(run.communicate(timeout=180)[0]) for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    outcomes = [{file["document"]: file["outcome"] for file in report["files"]} for report in reports]
    for name in (path.name for path in folder.iterdir()):
        assert sorted(one[name] for one in outcomes) == ["added", "unchanged"]
    assert store.counts().documents == 12


def test_a_killed_run_shows_as_interrupted_and_a_rerun_gives_the_index_of_a_clean_one(
    database_url, db, folder, tmp_path, store, embedding, analyzer
):
    for stored_before in (0, 2, 6):
        run = start(database_url, tmp_path / "data", "add", folder, stdout=subprocess.DEVNULL)
        while run.poll() is None and stored(db) <= stored_before:
            time.sleep(0.02)
        run.kill()
        run.wait()
        deadline = time.monotonic() + 30  # the server notices the lost connection, and with it that the run has ended
        while any(item.is_running for item in file_states(db)) and time.monotonic() < deadline:
            time.sleep(0.05)
        states = file_states(db)
        assert not any(item.is_running for item in states)
        assert len(states) == 12 and {item.state for item in states} <= {"stored", "reading", "queued"}
    report = json.loads(run_command(database_url, tmp_path / "data", "status", "--json").stdout)
    assert len(report["interrupted"]) == 12 - stored(db)
    last = run_command(database_url, tmp_path / "data", "add", folder)
    assert last.returncode == 0, last.stderr
    assert {item.state for item in file_states(db)} == {"stored"}
    after_kills = digest(db)
    with db.connection() as conn:
        for table in ("documents", "files", "term_counts", "chunk_counts"):
            conn.execute(f"DELETE FROM {table}")
    Ingestors(db, store, embedding, analyzer, max_file_bytes=5_000_000).run(folder)
    clean = digest(db)
    assert [row[:10] for row in after_kills] == [row[:10] for row in clean]
    assert [row[10:] for row in after_kills] == [row[10:] for row in clean]


def test_ctrl_c_says_that_it_can_go_on(database_url, db, folder, tmp_path):
    # Small documents are embedded and stored together: what keeps the run busy is a large one behind them.
    (folder / "zz-long.txt").write_text(
        "\n\n".join(f"Clause {n}. The fee is {n * 13} won a day." * 4 for n in range(2000))
    )
    run = start(database_url, tmp_path / "data", "add", folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while run.poll() is None and stored(db) < 1:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130 and "the same command goes on" in err and "Traceback" not in err


def test_on_a_terminal_there_is_a_bar_that_moves_within_one_file(database_url, db, folder, tmp_path):
    """The chunks and the percentage rise while the one file is not yet done; the bar leaves nothing behind."""
    big = folder.parent / "big.md"
    texts = [path.read_text() for path in sorted(folder.iterdir())]
    big.write_text(
        "\n\n".join(text.replace("옥수수", grain) for text in texts for grain in "밀 콩 보리 귀리 쌀".split())
    )
    ours, theirs = pty.openpty()
    run = start(database_url, tmp_path / "data", "add", big, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:
                break  # its end was closed
        elif run.poll() is not None:
            break
    os.close(ours)
    out = run.communicate(timeout=60)[0]
    text = seen.decode()
    assert run.returncode == 0 and "1 added" in out and "big.md" in text and "starting: model" in text
    shown = {part.split(" chunks")[0].rsplit(" ", 1)[-1] for part in text.split("0/1 files")[1:] if " chunks" in part}
    assert len(shown) >= 3, shown
