"""Files become exactly their documents, whatever is run twice, in between or at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ingest import cli, readers
from ingest.files import find_files
from ingest.ingestor import Ingestor, count_outcomes, search_text
from knowledge.store import IndexCounts
from knowledge.types import Chunk

ROOT = Path(__file__).parent.parent.parent
FIXTURES = ROOT / "tests" / "fixtures"


@pytest.fixture
def make_ingestor(store, embedding, analyzer):
    def build(collection: str = "default", chunk_tokens: int = 128) -> Ingestor:
        return Ingestor(
            store,
            embedding,
            analyzer,
            collection=collection,
            chunk_tokens=chunk_tokens,
            max_file_bytes=5_000_000,
        )

    return build


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "문서"
    (folder / "sub").mkdir(parents=True)
    (folder / "fx.md").write_text("# 환율\n\n환율이 떨어지면 수입 원가가 내려간다.\n", encoding="utf-8")
    (folder / "sub" / "freight.txt").write_text("해상 운임은 달러로 낸다.", encoding="utf-8")
    (folder / "terms.csv").write_text("term,definition\n환율,두 나라 돈의 교환 비율\n", encoding="utf-8")
    return folder


def ingest(ingestor: Ingestor, *paths: Path):
    files, _ = find_files(paths, supported=readers.SUPPORTED)
    return list(ingestor.run(files))


def digest(db) -> list[tuple]:
    """Everything that a search can see of the index."""
    with db.connection() as conn:
        return conn.execute(
            "SELECT d.path, d.content_hash, c.ordinal, c.id, c.text, c.term_ids::text, c.embedding::text, d.text "
            "FROM documents d JOIN chunks c ON c.document_id = d.id ORDER BY d.path, c.ordinal"
        ).fetchall()


def test_a_second_run_changes_nothing(make_ingestor, folder, db):
    first = ingest(make_ingestor(), folder)
    assert count_outcomes(first) == {"added": 3, "replaced": 0, "unchanged": 0, "failed": 0}
    before = digest(db)
    assert count_outcomes(ingest(make_ingestor(), folder))["unchanged"] == 3
    assert digest(db) == before
    assert {row[0] for row in before} == {"fx.md", "sub/freight.txt", "terms.csv"}


def test_chunks_stand_in_the_stored_text(make_ingestor, folder, db):
    ingest(make_ingestor(), folder)
    with db.connection() as conn:
        rows = conn.execute(
            "SELECT d.text, c.start_char, c.end_char, c.text FROM documents d JOIN chunks c ON c.document_id = d.id"
        ).fetchall()
    assert rows and all(whole[start:end] == text for whole, start, end, text in rows)


def test_an_edited_file_replaces_its_document(make_ingestor, folder, db, store):
    ingest(make_ingestor(), folder)
    (folder / "fx.md").write_text("# 환율\n\n이제는 관세 이야기다.\n", encoding="utf-8")
    results = ingest(make_ingestor(), folder)
    assert {r.file.name: r.outcome for r in results}["fx.md"] == "replaced"
    assert store.counts().documents == 3
    assert not any("떨어지면" in row[4] for row in digest(db))


def test_another_chunk_size_reads_again(make_ingestor, folder):
    ingest(make_ingestor(), folder)
    assert count_outcomes(ingest(make_ingestor(chunk_tokens=64), folder))["replaced"] == 3


def test_one_bad_file_does_not_stop_the_others(make_ingestor, tmp_path, store):
    for name in ("korean.pdf", "encrypted.pdf", "scan.pdf", "damaged.pdf"):
        shutil.copy(FIXTURES / name, tmp_path / name)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "good.md").write_text("# 좋은 문서\n\n읽을 수 있다.")
    results = {result.file.name: result for result in ingest(make_ingestor(), tmp_path)}
    assert {name: result.reason for name, result in results.items() if result.outcome == "failed"} == {
        "encrypted.pdf": "encrypted",
        "scan.pdf": "no_text",
        "damaged.pdf": "damaged",
        "empty.txt": "empty",
    }
    assert results["korean.pdf"].outcome == results["good.md"].outcome == "added"
    assert store.counts().documents == 2


def test_a_failed_file_keeps_its_old_version(make_ingestor, folder, store):
    ingest(make_ingestor(), folder)
    (folder / "fx.md").write_bytes(b"\x00\x01\x02\xff" * 50)
    (result,) = [r for r in ingest(make_ingestor(), folder) if r.outcome == "failed"]
    assert result.file.name == "fx.md" and store.counts().documents == 3


def test_two_folders_never_share_a_path_silently(make_ingestor, tmp_path, store):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "readme.md").write_text(f"# {name}\n\n본문 {name}")
    assert ingest(make_ingestor(), tmp_path / "a")[0].outcome == "added"
    (clash,) = ingest(make_ingestor(), tmp_path / "b")
    assert clash.reason == "path_taken" and "--collection" in clash.error
    assert ingest(make_ingestor("other"), tmp_path / "b")[0].outcome == "added"
    assert store.counts() == IndexCounts(documents=2, chunks=2)


def test_a_file_named_alone_is_the_one_from_its_folder(make_ingestor, folder, store):
    ingest(make_ingestor(), folder)
    assert ingest(make_ingestor(), folder / "sub" / "freight.txt")[0].outcome == "unchanged"
    assert store.counts().documents == 3


def test_links_and_devices_are_left_out_and_named(tmp_path):
    (tmp_path / "real.md").write_text("# x\n\ny")
    (tmp_path / "link.md").symlink_to("/etc/hostname")
    (tmp_path / "sub").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / ".hidden.md").write_text("no")
    (tmp_path / "picture.png").write_bytes(b"x")
    files, left_out = find_files([tmp_path], supported=readers.SUPPORTED)
    assert [file.name for file in files] == ["real.md"]
    assert {(item.path.name, item.reason) for item in left_out} == {
        ("link.md", "link"),
        ("sub", "link"),
        ("pipe.md", "special"),
        ("picture.png", "unsupported"),
    }


def test_names_are_nfc(tmp_path):
    (tmp_path / "한글.md").write_text("# x\n\ny")  # decomposed, as macOS writes it
    files, _ = find_files([tmp_path], supported=readers.SUPPORTED)
    assert files[0].name == "한글.md"


def test_two_ingests_at_once_do_the_work_once(make_ingestor, folder, store, db):
    results: list = []
    threads = [threading.Thread(target=lambda: results.extend(ingest(make_ingestor(), folder))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count_outcomes(results) == {"added": 3, "replaced": 0, "unchanged": 6, "failed": 0}
    assert store.counts().documents == 3


def test_title_and_heading_are_searched_with_the_chunk():
    assert search_text("제목", Chunk(0, 0, 2, "본문", ("제목", "장"))) == "제목 › 장\n본문"
    assert search_text("", Chunk(0, 0, 2, "본문")) == "본문"


def run_command(database_url: str, data_dir: Path, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DATABASE_URL": database_url, "DATA_DIR": str(data_dir)}
    return subprocess.run(
        [sys.executable, "-m", "ingest", *arguments],
        env=environment,
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=120,
        **options,
    )


def test_the_command_summarises_and_exits(database_url, folder, tmp_path):
    first = run_command(database_url, tmp_path / "data", str(folder))
    assert first.returncode == 0, first.stderr
    assert "3 added, 0 replaced, 0 unchanged, 0 failed" in first.stdout
    shutil.copy(FIXTURES / "encrypted.pdf", folder / "geheim.pdf")
    second = run_command(database_url, tmp_path / "data", str(folder), "--json")
    assert second.returncode == 1
    report = json.loads(second.stdout)
    assert (report["unchanged"], report["failed"]) == (3, 1)
    assert next(file for file in report["files"] if file["outcome"] == "failed")["reason"] == "encrypted"
    (folder / "geheim.pdf").unlink()
    third = run_command(database_url, tmp_path / "data", str(folder))
    assert third.returncode == 0 and "Nothing changed" in third.stdout


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (lambda base: base / "missing", 2, "does not exist"),
        (lambda base: (base / "empty").mkdir() or base / "empty", 2, "Nothing to ingest"),
        (lambda base: (base / "a.exe").write_bytes(b"MZ") and base / "a.exe", 2, "format that is not read"),
    ],
)
def test_nothing_to_ingest_is_an_error_that_says_why(database_url, tmp_path, make, code, said):
    done = run_command(database_url, tmp_path / "data", str(make(tmp_path)))
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr


def test_an_unreachable_database_is_one_sentence(tmp_path, folder):
    done = run_command("postgresql://me:secret@127.0.0.1:9/x", tmp_path / "data", str(folder))
    assert done.returncode == 3
    assert "does not answer" in done.stderr and "Traceback" not in done.stderr and "secret" not in done.stderr


def test_a_killed_run_continues_to_the_same_index(database_url, db, tmp_path, docs, make_ingestor):
    """Kill the command at five moments, then run it once: the same index as a run that nobody disturbed."""
    source = docs / "grain"
    environment = os.environ | {"DATABASE_URL": database_url, "DATA_DIR": str(tmp_path / "data")}
    for stored_before_kill in (0, 1, 4, 9, 14):
        process = subprocess.Popen(
            [sys.executable, "-m", "ingest", str(source)], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL
        )
        while process.poll() is None and len(ingested(db)) <= stored_before_kill:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert run_command(database_url, tmp_path / "data", str(source)).returncode in (0, 1)
    interrupted = digest(db)
    with db.connection() as conn:
        conn.execute("DELETE FROM documents")
        conn.execute("UPDATE collections SET chunks = 0")
        conn.execute("DELETE FROM term_counts")
    ingest(make_ingestor(chunk_tokens=256), source)
    assert [row[:5] for row in digest(db)] == [row[:5] for row in interrupted]
    assert [row[6:] for row in digest(db)] == [row[6:] for row in interrupted]


def ingested(db) -> list[str]:
    with db.connection() as conn:
        return [row[0] for row in conn.execute("SELECT path FROM documents")]


def test_summary_names_every_failure(make_ingestor, folder, capsys):
    (folder / "empty.txt").write_text(" ")
    assert cli.run(make_ingestor(), [folder, folder / "gone.md"]) == 1
    shown = capsys.readouterr()
    assert "empty.txt" in shown.err and "gone.md" in shown.err and "3 added" in shown.out


def test_two_files_of_one_run_never_share_a_path_silently(make_ingestor, tmp_path, store):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.md").write_text(f"# {name}\n\n본문 {name}")
    first, second = ingest(make_ingestor(), tmp_path / "a", tmp_path / "b")
    assert (first.outcome, second.reason) == ("added", "path_taken")
    assert store.counts().documents == 1
