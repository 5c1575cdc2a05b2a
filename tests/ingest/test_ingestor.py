"""Files become exactly their documents, whatever is run twice, in between or at once."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from ingest.preparing import search_text
from ingest.results import count_outcomes
from knowledge.file_states import file_states
from knowledge.store import IndexCounts
from knowledge.types import Chunk
from tests.ingest.ingesting import FIXTURES, digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "문서"
    (folder / "sub").mkdir(parents=True)
    (folder / "fx.md").write_text("# 환율\n\n환율이 떨어지면 수입 원가가 내려간다.\n", encoding="utf-8")
    (folder / "sub" / "freight.txt").write_text("해상 운임은 달러로 낸다.", encoding="utf-8")
    (folder / "terms.csv").write_text("term,definition\n환율,두 나라 돈의 교환 비율\n", encoding="utf-8")
    return folder


def outcomes(results) -> dict[str, int]:
    return {name: count for name, count in count_outcomes(results).items() if count}


def states(db) -> dict[str, str]:
    return {item.path: item.state for item in file_states(db)}


def test_a_second_run_changes_nothing(ingestors, folder, db):
    assert outcomes(ingestors.run(folder)) == {"added": 3}
    before = digest(db)
    assert outcomes(ingestors.run(folder)) == {"unchanged": 3}
    assert digest(db) == before
    assert {row[0] for row in before} == {"fx.md", "sub/freight.txt", "terms.csv"}
    assert set(states(db).values()) == {"stored"}


def test_chunks_stand_in_the_stored_text(ingestors, folder, db):
    ingestors.run(folder)
    rows = digest(db)
    assert rows and all(row[3][row[8] : row[9]] == row[7] for row in rows)


def test_an_edited_file_replaces_its_document(ingestors, folder, db, store):
    ingestors.run(folder)
    (folder / "fx.md").write_text("# 환율\n\n이제는 관세 이야기다.\n", encoding="utf-8")
    assert {r.path: r.outcome for r in ingestors.run(folder)}["fx.md"] == "replaced"
    assert store.counts().documents == 3
    assert not any("떨어지면" in row[7] for row in digest(db))


def test_a_renamed_file_moves_its_document(ingestors, folder, db, store):
    ingestors.run(folder)
    (folder / "fx.md").rename(folder / "sub" / "환율.md")
    (moved,) = [result for result in ingestors.run(folder) if result.outcome != "unchanged"]
    assert (moved.outcome, moved.was, moved.path) == ("renamed", "fx.md", "sub/환율.md")
    assert states(db).keys() == {row[0] for row in digest(db)} == {"sub/환율.md", "sub/freight.txt", "terms.csv"}


def test_the_same_content_may_lie_at_two_paths(ingestors, folder, store):
    ingestors.run(folder)
    shutil.copy(folder / "fx.md", folder / "copy.md")
    assert outcomes(ingestors.run(folder)) == {"added": 1, "unchanged": 3}
    assert store.counts().documents == 4


def test_one_bad_file_does_not_stop_the_others(ingestors, tmp_path, store, db):
    for name in ("korean.pdf", "encrypted.pdf", "scan.pdf", "damaged.pdf"):
        shutil.copy(FIXTURES / name, tmp_path / name)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "good.md").write_text("# 좋은 문서\n\n읽을 수 있다.")
    results = {result.path: result for result in ingestors.run(tmp_path)}
    failed = {name: result.reason for name, result in results.items() if result.outcome == "failed"}
    assert failed.keys() - {"scan.pdf"} == {"encrypted.pdf", "damaged.pdf", "empty.txt"}  # a scan depends on OCR
    assert (failed["encrypted.pdf"], failed["damaged.pdf"], failed["empty.txt"]) == ("encrypted", "damaged", "empty")
    assert results["korean.pdf"].outcome == results["good.md"].outcome == "added"
    assert store.counts().documents == len(results) - len(failed)
    assert {name for name, state in states(db).items() if state == "failed"} == failed.keys()


def test_a_failed_file_keeps_its_old_version_and_is_named_again(ingestors, folder, store):
    ingestors.run(folder)
    (folder / "fx.md").write_bytes(b"\x00\x01\x02\xff" * 50)
    for again in (False, False, True):
        (result,) = [r for r in ingestors.run(folder, again=again) if r.outcome == "failed"]
        assert result.path == "fx.md" and result.error and store.counts().documents == 3


def test_a_file_that_failed_and_is_mended_is_taken(ingestors, tmp_path, db):
    (tmp_path / "a.md").write_text("")
    assert outcomes(ingestors.run(tmp_path)) == {"failed": 1}
    (tmp_path / "a.md").write_text("# a\n\n본문")
    assert outcomes(ingestors.run(tmp_path)) == {"added": 1}
    assert states(db) == {"a.md": "stored"}


def test_a_file_named_alone_is_the_one_from_its_folder_even_if_it_failed(ingestors, folder, store, db):
    (folder / "sub" / "bad.md").write_text("")
    ingestors.run(folder)
    assert ingestors.run(folder / "sub" / "freight.txt")[0].outcome == "unchanged"
    assert ingestors.run(folder / "sub" / "bad.md")[0].path == "sub/bad.md"
    assert store.counts().documents == 3 and len(states(db)) == 4


def test_an_edit_that_was_cut_off_and_taken_back_ends_as_stored(ingestors, folder, db):
    """The run was killed after it began to read the edited file; the file is now as it is stored."""
    ingestors.run(folder)
    with db.connection() as conn:
        conn.execute("UPDATE files SET state = 'reading', run = 1 WHERE path = 'fx.md'")
    assert states(db)["fx.md"] == "reading"
    ingestors.run(folder)
    assert set(states(db).values()) == {"stored"}


def test_two_folders_never_share_a_path_silently(ingestors, tmp_path, store):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "readme.md").write_text(f"# {name}\n\n본문 {name}")
    assert ingestors.run(tmp_path / "a")[0].outcome == "added"
    (clash,) = ingestors.run(tmp_path / "b")
    assert clash.reason == "path_taken" and "--collection" in clash.error
    assert ingestors.run(tmp_path / "b", collection="other")[0].outcome == "added"
    assert store.counts() == IndexCounts(documents=2, chunks=2)


def test_two_files_of_one_run_never_share_a_path_silently(ingestors, tmp_path, store):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.md").write_text(f"# {name}\n\n본문 {name}")
    results = {result.file.path: result for result in ingestors.run(tmp_path / "a", tmp_path / "b")}
    assert results[tmp_path / "a" / "x.md"].outcome == "added"
    assert results[tmp_path / "b" / "x.md"].reason == "path_taken"
    assert store.counts().documents == 1


def test_runs_at_once_do_the_work_once(ingestors, folder, store):
    for n in range(5):
        (folder / f"more{n}.md").write_text(f"# 문서 {n}\n\n" + f"옥수수 가격 {n} 이야기다. " * 50)
    results: list = []
    threads = [threading.Thread(target=lambda: results.extend(ingestors.run(folder))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes(results) == {"added": 8, "unchanged": 16}
    assert store.counts().documents == 8


def test_title_and_heading_are_searched_with_the_chunk():
    assert search_text("제목", Chunk(0, 0, 2, "본문", ("제목", "장"))) == "제목 › 장\n본문"
    assert search_text("", Chunk(0, 0, 2, "본문")) == "본문"
    assert search_text("표", Chunk(0, 0, 2, "1,2", table_header="가,나")) == "표\n가,나\n1,2"
