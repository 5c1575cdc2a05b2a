"""`gakju ingest verify` after real ingestion: what it prints and exits with, and what it says of the files on disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from ingest import readers
from ingest.files import find_files
from knowledge.database import Database
from knowledge.verification import NOTHING
from tests.ingest.ingesting import FIXTURES, Ingestors, command


@pytest.fixture
def gakju(ingestors, capsys):
    """Runs a command; returns its exit code and standard output."""
    tools = ingestors.tools()

    def run(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        return command(tools, *arguments), capsys.readouterr().out

    return run


@pytest.fixture
def folder(tmp_path: Path, docs: Path) -> Path:
    """Real documents of every format that there is a fixture for, an archive of some, and one that cannot be read."""
    folder = tmp_path / "docs"
    folder.mkdir()
    shutil.copy(next(iter(sorted(docs.rglob("*.md")))), folder)
    files = [path for path in sorted(FIXTURES.rglob("*")) if path.is_file() and path.stat().st_size < 300_000]
    formats: dict[str, list[Path]] = {}
    for path in files:
        formats.setdefault(path.suffix, []).append(path)
    for some in formats.values():
        shutil.copy(some[0], folder / some[0].name)
    (folder / "fx.md").write_text("# 환율\n\n환율이 떨어지면 수입 원가가 내려간다.\n")
    (folder / "table.md").write_text(
        "| 품목 | 가격 |\n|---|---|\n" + "\n".join(f"| 품목 {n} | {n} 원 |" for n in range(200))
    )
    (folder / "empty.pdf").write_bytes(b"")
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("sub/운임.md", "# 운임\n\n운임이 오른다.\n")
        archive.writestr("관세.txt", "관세는 세금이다.")
    return folder


def ingest(ingestors: Ingestors, folder: Path) -> None:
    files, _ = find_files([folder], supported=readers.SUPPORTED | readers.ARCHIVES)
    with ingestors.open() as ingestor:
        assert "failed" in {result.outcome for result in ingestor.run(files)} or not list(folder.glob("empty.pdf"))


def digest(output: str) -> str:
    """The last line, as scripts cut it."""
    found = re.fullmatch(r"digest  ([0-9a-f]{64})", output.splitlines()[-1])
    assert found
    return found[1]


def change(db: Database, statement: str) -> None:
    with db.connection() as conn:
        assert conn.execute(statement).rowcount > 0


def test_an_index_of_real_files_is_sound_and_has_one_digest(gakju, folder, ingestors):
    ingest(ingestors, folder)
    code, output = gakju("verify")
    assert code == 0, output
    assert "PROBLEM" not in output and "differs" not in output
    first = digest(output)
    (folder / "fx.md").write_text("# 환율\n\n환율이 오른다.\n")
    (folder / "fx.md").rename(folder / "fx2.md")
    (folder / "more.zip").unlink()
    ingest(ingestors, folder)
    assert digest(gakju("verify", "--no-files")[1]) != first
    code, output = gakju("verify", "--json", "--documents")
    found = json.loads(output)
    assert (code, found["problems"], found["generation"]["state"]) == (0, [], "active")
    assert len(found["document_digests"]) == found["documents"] == sum(found["files"].values())
    assert {(item["kind"], item["path"]) for item in found["differences"]} == {
        ("gone", "fx.md"),
        ("gone", "more.zip/sub/운임.md"),
        ("gone", "more.zip/관세.txt"),
    }
    assert found["files"]["same"] == found["documents"] - 3


def test_what_differs_on_disk_is_told_but_is_no_error(gakju, tmp_path, ingestors, db):
    for name in ("same", "changed", "longer", "gone", "swapped", "elsewhere"):
        (tmp_path / f"{name}.txt").write_text(f"환율 이야기 {name}")
    with zipfile.ZipFile(tmp_path / "kept.zip", "w") as archive:
        archive.writestr("a.md", "운임이 오른다.")
    ingest(ingestors, tmp_path)
    status = (tmp_path / "changed.txt").stat()
    (tmp_path / "changed.txt").write_text("환율 이야기 CHANGED")
    os.utime(tmp_path / "changed.txt", ns=(status.st_atime_ns, status.st_mtime_ns))  # size and time tell nothing
    (tmp_path / "longer.txt").write_text("환율 이야기가 더 길다")
    (tmp_path / "gone.txt").unlink()
    (tmp_path / "swapped.txt").unlink()
    os.mkfifo(tmp_path / "swapped.txt")  # opening it would wait for ever
    change(db, "UPDATE files SET host = 'another machine' WHERE path = 'elsewhere.txt'")
    (tmp_path / "elsewhere.txt").unlink()
    code, output = gakju("verify", "--json")
    found = json.loads(output)
    assert code == 0 and found["problems"] == []
    assert {(item["path"], item["kind"]) for item in found["differences"]} == {
        ("changed.txt", "changed"),
        ("longer.txt", "changed"),
        ("gone.txt", "gone"),
        ("swapped.txt", "gone"),
    }
    assert found["files"] == {"same": 1, "in_archive": 1, "changed": 2, "gone": 2, "unreadable": 0}
    assert "default/gone.txt: its file is no longer there" in gakju("verify")[1]
    code, output = gakju("verify", "--no-files")
    assert code == 0 and "differs" not in output and digest(output) == found["digest"]


def test_errors_of_the_index_are_listed_and_the_exit_code_says_so(gakju, tmp_path, ingestors, db):
    for n in range(25):
        (tmp_path / f"{n:02}.txt").write_text(f"환율 이야기 {n}")
    ingest(ingestors, tmp_path)
    change(db, "UPDATE chunks SET text = 'x'")
    code, output = gakju("verify")
    assert code == 1
    assert output.count("PROBLEM") == 20 and "and 5 more" in output
    assert "PROBLEM   default/00.txt: chunk 0: its text is not what stands at 0..8 of the document" in output
    digest(output)
    code, output = gakju("verify", "--json")
    problems = json.loads(output)["problems"]
    assert code == 1 and [problem["path"] for problem in problems] == [f"{n:02}.txt" for n in range(25)]
    assert {problem["kind"] for problem in problems} == {"chunk_text"}


def test_hostile_names_are_shown_harmless(gakju, tmp_path, ingestors, db):
    (tmp_path / "a.txt").write_text("환율 이야기")
    ingest(ingestors, tmp_path)
    change(db, "UPDATE documents SET path = E'\\x1b[31mred\\n\\u202e.txt'")
    code, output = gakju("verify")
    assert code == 1 and "\\x1b[31mred\\n\\u202e.txt" in output
    assert not {"\x1b", "\u202e"} & set(output)


def test_an_empty_index_is_said_to_be_empty(gakju, db):
    for code, output in (gakju("verify"), gakju("verify", "--documents", "--without-vectors")):
        assert (code, output.splitlines()[0], digest(output)) == (0, "The index is empty.", NOTHING)
    with db.connection() as conn:
        conn.execute("DELETE FROM generations")
    code, output = gakju("verify", "--json")
    assert code == 0 and json.loads(output)["digest"] == NOTHING
    assert gakju("verify", "--generation", "previous") == (2, "")
