"""What goes wrong around a run takes no document away: moved folders, outages, files that change while they are read."""

from __future__ import annotations

import os
import random
import shutil
import socket
import string
import threading
from pathlib import Path

import pytest

from ingest.files import SourceFile, find_files
from ingest.reader_process import ReaderProcess
from ingest.readers import SUPPORTED
from ingest.rehashing import rehashed
from ingest.results import count_outcomes
from ingest.workers import settled
from knowledge.errors import EmbeddingUnavailable, ReadFailed
from knowledge.file_states import file_states
from knowledge.generations import Manifest
from knowledge.rebuilding import rebuilding
from knowledge.store import IndexStore
from knowledge.verification import stored_files
from tests.ingest.ingesting import Ingestors
from tests.knowledge.test_store import make

PATIENCE_S = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "문서"
    folder.mkdir()
    return folder


def documents(db) -> list[str]:
    with db.connection() as conn:
        return sorted(path for (path,) in conn.execute("SELECT path FROM documents"))


def states(db) -> dict[str, str]:
    return {item.path: item.state for item in file_states(db)}


# --- moved folders and renamed files ------------------------------------------------------------------------------


def test_a_copy_in_a_moved_folder_is_no_renaming(ingestors, folder, db):
    (folder / "report.md").write_text("# 보고\n\n옥수수 본문")
    ingestors.run(folder)
    moved = folder.rename(folder.parent / "moved")
    shutil.copy(moved / "report.md", moved / "report_old.md")
    ingestors.run(moved)
    assert documents(db) == ["report.md", "report_old.md"]


def test_an_edited_file_and_its_old_copy_in_a_moved_folder_are_two(ingestors, folder, db):
    (folder / "report.md").write_text("# 보고\n\n옥수수 본문")
    ingestors.run(folder)
    moved = folder.rename(folder.parent / "moved")
    shutil.copy(moved / "report.md", moved / "report_old.md")
    (moved / "report.md").write_text("# 보고\n\n고친 본문")
    others = [f"report_{n}.md" for n in range(8)]  # so that both are not written in one go
    for name in others:
        (moved / name).write_text(f"# {name}\n\n다른 본문")
    ingestors.run(moved)
    assert documents(db) == sorted(["report.md", "report_old.md", *others])


def test_many_files_renamed_at_once_are_each_moved_once(ingestors, folder, db):
    names = [f"{n}.md" for n in range(40)]
    for name in names:
        (folder / name).write_text(f"# 문서 {name}\n\n본문 {name}")
    ingestors.run(folder)
    for name in names:
        (folder / name).rename(folder / f"새 {name}")
    assert count_outcomes(ingestors.run(folder))["renamed"] == 40
    assert documents(db) == sorted(f"새 {name}" for name in names)


def test_a_folder_reached_through_a_link_is_the_same_folder(ingestors, tmp_path):
    real = tmp_path / "real" / "docs"
    real.mkdir(parents=True)
    (real / "z.md").write_text("본문")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    ingestors.run(tmp_path / "link" / "docs")
    assert [result.outcome for result in ingestors.run(real)] == ["unchanged"]


def test_a_path_too_long_to_keep_is_named_and_does_not_take_the_others_along(ingestors, folder, db):
    (folder / "z.md").write_text("본문")
    chance = random.Random(1)  # PostgreSQL packs keys of its indexes: what repeats would fit
    here = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(15):
            name = "".join(chance.choice(string.ascii_letters + string.digits) for _ in range(240))
            os.mkdir(name, dir_fd=here)
            inner = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        with open(os.open("q.md", os.O_CREAT | os.O_WRONLY, dir_fd=here), "w") as deep:
            deep.write("본문")
    finally:
        os.close(here)
    _, left_out = find_files([folder], supported=SUPPORTED)
    assert [(item.path.name, item.reason) for item in left_out] == [("q.md", "name")]
    assert [result.outcome for result in ingestors.run(folder)] == ["added"]
    assert documents(db) == ["z.md"] and states(db) == {"z.md": "stored"}


# --- files that change while they are read ------------------------------------------------------------------------


def test_a_file_replaced_while_its_reader_failed_is_tried_by_the_next_run(ingestors, folder, db, monkeypatch):
    (folder / "x.md").write_text("unreadable")

    def replaced(*_: object, **__: object) -> None:
        (folder / "x.md").write_text("# 좋은 문서\n\n이제 읽을 수 있다.")
        raise ReadFailed("took more than 120 s", reason="too_large")

    with monkeypatch.context() as patched:
        patched.setattr(ReaderProcess, "read", replaced)
        assert [result.outcome for result in ingestors.run(folder)] == ["failed"]
    assert [result.outcome for result in ingestors.run(folder)] == ["added"]
    assert documents(db) == ["x.md"]


def test_a_file_that_grew_during_every_attempt_is_tried_by_the_next_run(ingestors, folder, db, monkeypatch):
    (folder / "x.md").write_text("# 시작\n\n본문")
    read = ReaderProcess.read

    def growing(self: ReaderProcess, path: Path, **options: object) -> object:
        document = read(self, path, **options)  # type: ignore[arg-type]
        with path.open("a") as file:
            file.write("더 ")
        return document

    with monkeypatch.context() as patched:
        patched.setattr(ReaderProcess, "read", growing)
        (result,) = ingestors.run(folder)
        assert (result.outcome, result.reason) == ("failed", "unreadable")
    assert [result.outcome for result in ingestors.run(folder)] == ["added"]
    assert states(db) == {"x.md": "stored"}


def test_a_file_that_was_half_written_when_it_was_read_is_read_again(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("half")
    attempts: list[str] = []

    def read() -> str:
        attempts.append(path.read_text())
        if len(attempts) == 1:
            path.write_text("a whole document")
            raise ReadFailed("half a file", reason="damaged")
        return attempts[-1]

    assert settled(SourceFile(path, "a.md", 4), read) == "a whole document"


def test_a_file_edited_between_its_listing_and_its_reading_is_stored_as_it_is_now(ingestors, folder, db, generation):
    (folder / "z.md").write_text("본문")
    files, _ = find_files([folder], supported=SUPPORTED)
    (folder / "z.md").write_text("본문이 더 길게 늘어났다")
    with ingestors.open() as ingestor:
        assert [result.outcome for result in ingestor.run(files)] == ["added"]
    ingestors.run(folder)
    found = rehashed(stored_files(db, generation, host=socket.gethostname()))
    assert [verdict for _, verdict in found] == ["same"]


# --- outages and others at work -----------------------------------------------------------------------------------


class Failing:
    """The embedding, away until `is_down` is False."""

    def __init__(self, embedding) -> None:
        self._embedding = embedding
        self.is_down = True

    def __getattr__(self, name: str) -> object:
        return getattr(self._embedding, name)

    def embed_passages(self, texts):
        if self.is_down:
            raise EmbeddingUnavailable("The embedding server is away.")
        return self._embedding.embed_passages(texts)


def test_a_run_cut_short_by_an_outage_holds_up_no_other(db, store, embedding, analyzer, folder, ingestors):
    """The command that watches lives on after the outage; what it had claimed is free again."""
    (folder / "x.md").write_text("본문")
    failing = Failing(embedding)
    watcher = Ingestors(db, store, failing, analyzer, max_file_bytes=5_000_000)  # type: ignore[arg-type]
    files, _ = find_files([folder], supported=SUPPORTED)
    with watcher.open() as watching:
        with pytest.raises(EmbeddingUnavailable):
            list(watching.run(files))
        failing.is_down = False
        assert [result.outcome for result in watching.run(files)] == ["added"]
        (folder / "x.md").write_text("고친 본문")
        results: list = []
        other = threading.Thread(target=lambda: results.extend(ingestors.run(folder)), daemon=True)
        other.start()
        other.join(PATIENCE_S)
        assert [result.outcome for result in results] == ["replaced"]


def test_counts_of_the_new_generation_are_added_up_while_writers_of_the_old_are_held(db, store, embedding, analyzer):
    store.replace(*make("x.md", ["본문"], embedding=embedding, analyzer=analyzer), reading="1", settle=False)
    manifest = store.generation.manifest
    with rebuilding(db) as rebuild:
        active, target = rebuild.open_target(Manifest(dict(manifest.embedding), "chunker 9", manifest.lexemes))
        rebuilt = IndexStore(db, target)
        rebuilt.replace(*make("x.md", ["본문"], embedding=embedding, analyzer=analyzer), reading="1", settle=False)
        old = threading.Thread(target=store.settle, daemon=True)
        new = threading.Thread(target=rebuilt.settle, daemon=True)
        with rebuild.writers_held(active):
            old.start()
            old.join(1)  # whether it waits for the writers' lock or is done
            new.start()
            new.join(PATIENCE_S)
            is_done = not new.is_alive()
        old.join(PATIENCE_S)
        assert is_done and not old.is_alive()
    assert rebuilt.counts().chunks == store.counts().chunks == 1
