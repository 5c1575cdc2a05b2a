"""Following a real folder: what happens to its files happens to the index."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ingest.files import IGNORE_FILE, Selection, find_files
from ingest.readers import SUPPORTED
from ingest.results import FileResult
from ingest.watching import Follower
from tests.ingest.ingesting import ROOT, Ingestors, environment, run_command

PATIENCE_S = 60


class Following:
    """A follower at work in a thread; `lines` is what it told."""

    def __init__(self, ingestors: Ingestors, db, folder: Path, selection: Selection, quiet_s: float) -> None:
        self._db = db
        self._stop = threading.Event()
        self.lines: list[str] = []
        self._failure: list[BaseException] = []
        self._quiet_s = quiet_s
        self._thread = threading.Thread(target=self._run, args=(ingestors, folder, selection))

    def _run(self, ingestors: Ingestors, folder: Path, selection: Selection) -> None:
        try:
            files, _ = find_files([folder], supported=SUPPORTED, selection=selection)
            with ingestors.open() as ingestor:
                known = [result.file for result in ingestor.run(files)]
                follower = Follower(
                    ingestor, self._db, [folder], collection="default", supported=SUPPORTED,
                    selection=selection, known=known, quiet_s=self._quiet_s,
                )  # fmt: skip
                self.lines.append("following")
                for item in follower.follow(self._stop):
                    self.lines.append(f"{item.outcome} {item.path}" if isinstance(item, FileResult) else item.text)
        except BaseException as exc:
            self._failure.append(exc)

    def __enter__(self) -> Following:
        self._thread.start()
        self.until(lambda: "following" in self.lines)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure:
            raise self._failure[0]

    def paths(self) -> set[str]:
        with self._db.connection() as conn:
            return {path for (path,) in conn.execute("SELECT path FROM documents").fetchall()}

    def text(self, path: str) -> str:
        with self._db.connection() as conn:
            row = conn.execute("SELECT text FROM documents WHERE path = %s", (path,)).fetchone()
        return row[0] if row else ""

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline and self._thread.is_alive(), (self.lines, self._failure)
            time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# 가\n\n첫 문서다.")
    return folder


@pytest.fixture
def follow(db, store, embedding, analyzer, folder):
    ingestors = Ingestors(db, store, embedding, analyzer, max_file_bytes=5_000_000)
    return lambda selection=None, quiet_s=0.5: Following(ingestors, db, folder, selection or Selection(), quiet_s)


def test_create_edit_rename_and_delete_are_followed(follow, folder):
    with follow() as following:
        (folder / "b.md").write_text("# 나\n\n둘째 문서다.")
        following.until(lambda: "added b.md" in following.lines)
        (folder / "a.md").write_text("# 가\n\n고친 문서다.")
        following.until(lambda: "고친" in following.text("a.md"))
        (folder / "b.md").rename(folder / "c.md")
        following.until(lambda: following.paths() == {"a.md", "c.md"})
        (folder / "a.md").unlink()
        following.until(lambda: following.paths() == {"c.md"})
        told = ["following", "added b.md", "replaced a.md", "renamed c.md", "removed a.md"]
        following.until(lambda: following.lines == told)


def test_new_folders_moved_folders_and_removed_folders_are_followed(follow, folder, tmp_path):
    (tmp_path / "ready" / "deep").mkdir(parents=True)
    (tmp_path / "ready" / "deep" / "x.md").write_text("# 엑스\n\n본문")
    with follow() as following:
        shutil.move(tmp_path / "ready", folder / "new")
        following.until(lambda: following.paths() == {"a.md", "new/deep/x.md"})
        (folder / "new" / "y.txt").write_text("와이 본문")
        following.until(lambda: "new/y.txt" in following.paths())
        (folder / "new").rename(folder / "old")
        following.until(lambda: following.paths() == {"a.md", "old/deep/x.md", "old/y.txt"})
        shutil.rmtree(folder / "old")
        following.until(lambda: following.paths() == {"a.md"})


def test_a_file_is_taken_once_it_is_quiet_and_temporary_ones_never(follow, folder):
    with follow(quiet_s=4) as following:
        with (folder / "slow.md").open("w") as file:
            for n in range(15):
                file.write(f"# 장 {n}\n\n문장 {n}.\n\n")
                file.flush()
                time.sleep(0.1)
        for name in (".hidden.md", "~$a.docx", "a.md~", "a.tmp"):
            (folder / name).write_text("x")
        (folder / "atomic.tmp").write_text("# 원자\n\n바꿔치기한 글")
        (folder / "atomic.tmp").replace(folder / "a.md")
        following.until(lambda: {"added slow.md", "replaced a.md"} <= set(following.lines))
        assert "문장 14" in following.text("slow.md") and "바꿔치기" in following.text("a.md")
        assert following.paths() == {"a.md", "slow.md"}


def test_ignore_files_and_patterns_hold(follow, folder):
    (folder / IGNORE_FILE).write_text("secret/\n")
    with follow(Selection(exclude=("*.txt",))) as following:
        (folder / "secret").mkdir()
        (folder / "secret" / "s.md").write_text("# 비밀\n\n본문")
        (folder / "no.txt").write_text("빠진다")
        (folder / "yes.md").write_text("# 예\n\n본문")
        following.until(lambda: "added yes.md" in following.lines)
        (folder / IGNORE_FILE).unlink()
        following.until(lambda: "added secret/s.md" in following.lines)
        (folder / IGNORE_FILE).write_text("secret/\n")  # what is ignored is not gone
        (folder / "last.md").write_text("# 끝\n\n본문")
        following.until(lambda: "added last.md" in following.lines)
        assert following.paths() == {"a.md", "yes.md", "secret/s.md", "last.md"}


def test_a_folder_that_goes_away_takes_nothing_with_it(follow, folder):
    with follow() as following:
        folder.rename(folder.with_name("unplugged"))
        following.until(lambda: any("is away" in line for line in following.lines))
        time.sleep(1.5)  # longer than a deletion takes to be believed
        assert following.paths() == {"a.md"}
        folder.with_name("unplugged").rename(folder)
        following.until(lambda: any("is back" in line for line in following.lines))
        (folder / "b.md").write_text("# 나\n\n본문")
        following.until(lambda: following.paths() == {"a.md", "b.md"})


def test_a_database_that_is_away_is_waited_for(follow, folder, database_url, servers):
    name = database_url.split("/")[-1].split("?")[0]
    with follow() as following, psycopg.connect(servers.postgres().url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        (folder / "b.md").write_text("# 나\n\n본문")
        following.until(lambda: any("Trying again" in line for line in following.lines))
        admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
        following.until(lambda: "It goes on." in following.lines)
        assert following.paths() == {"a.md", "b.md"}
        assert sum("Trying again" in line for line in following.lines) == 1


def test_the_command_says_what_was_deleted_before_it_and_no_events(database_url, db, folder, tmp_path):
    (folder / "old.md").write_text("# 옛\n\n본문")
    data = tmp_path / "data"
    assert run_command(database_url, data, "add", folder).returncode == 0
    (folder / "old.md").unlink()
    watch = subprocess.Popen(
        [sys.executable, "-m", "ingest", "watch", str(folder)], cwd=ROOT, env=environment(database_url, data),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watch.stdout is not None
    lines = iter(watch.stdout.readline, "")
    before = []
    for line in lines:
        before.append(line)
        if line.startswith("Following "):
            break
    assert any("Gone from disk: 1 file — run `gakju ingest prune`" in line for line in before)
    (folder / "b.md").write_text("# 나\n\n본문")
    assert "added     b.md (1 chunk)" in next(lines)
    watch.send_signal(signal.SIGINT)
    _, err = watch.communicate(timeout=60)
    assert watch.returncode == 0 and "watchfiles" not in err and "INFO" not in err


def test_watch_takes_folders(database_url, folder, tmp_path):
    said = run_command(database_url, tmp_path / "data", "watch", "--help").stdout
    assert "folders" in said and "files or folders" not in said
    refused = run_command(database_url, tmp_path / "data", "watch", folder / "a.md")
    assert refused.returncode == 2 and "is not a folder" in refused.stderr


def test_the_command_follows_and_ends_with_a_total(database_url, db, folder, tmp_path):
    watch = subprocess.Popen(
        [sys.executable, "-m", "ingest", "watch", str(folder), "--json"],
        cwd=ROOT, env=environment(database_url, tmp_path / "data"), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watch.stdout is not None
    first = json.loads(watch.stdout.readline())
    assert first["added"] == 1
    (folder / "b.md").write_text("# 나\n\n본문")
    event = json.loads(watch.stdout.readline())
    assert (event["outcome"], event["document"]) == ("added", "b.md")
    watch.send_signal(signal.SIGTERM)
    last = json.loads(watch.stdout.readline())
    assert last == {"stopped": True, "added": 2} and watch.wait(60) == 0
