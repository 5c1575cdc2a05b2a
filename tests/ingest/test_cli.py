"""The commands as their users meet them, in this process, over a real database: what they say, do and exit with."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.cli.add import run_quietly
from knowledge.database import Database
from knowledge.errors import GakjuError
from knowledge.file_states import FileFacts, FileStates, file_states
from knowledge.generations import active_generation
from tests.ingest.ingesting import FIXTURES, ROOT, command, environment


@pytest.fixture
def gakju(ingestors, capsys):
    """Runs a command; returns its exit code, standard output and standard error."""
    tools = ingestors.tools()

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = command(tools, *arguments)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "fx.md").write_text("# 환율\n\n환율이 떨어지면 수입 원가가 내려간다.\n")
    (folder / "sub" / "freight.txt").write_text("해상 운임은 달러로 낸다.")
    (folder / "terms.csv").write_text("term,definition\n환율,두 나라 돈의 교환 비율\n")
    return folder


def paths(db: Database, collection: str = "default") -> set[str]:
    with db.connection() as conn:
        rows = conn.execute(
            "SELECT d.path FROM documents d JOIN collections c ON c.id = d.collection_id WHERE c.name = %s",
            (collection,),
        ).fetchall()
    return {path for (path,) in rows}


def states(db: Database) -> dict[str, str]:
    return {item.path: item.state for item in file_states(db)}


def interrupt(db: Database, path: Path, name: str) -> None:
    """What a run leaves behind that is killed while it reads `path`."""
    status = path.stat()
    with FileStates(db, "default") as run:
        run.reading(
            FileFacts(name, str(path), str(path.parent), os.uname().nodename, status.st_size, status.st_mtime_ns)
        )


# add


def test_add_sums_up_and_a_rerun_changes_nothing(gakju, folder):
    code, out, _ = gakju("add", folder)
    assert code == 0 and "3 added; " in out and "added     sub/freight.txt" in out
    row = next(line for line in out.splitlines() if line.startswith("added  "))
    assert "csv 1" in out and row
    code, out, _ = gakju("add", folder)
    assert code == 0 and "3 unchanged" in out and "Nothing changed" in out


def test_add_names_every_failure_with_what_to_do(gakju, folder):
    shutil.copy(FIXTURES / "encrypted.pdf", folder / "geheim.pdf")
    (folder / "bad\x1b[2Jname.md").write_text("# x\n\ny")
    (folder / "link.md").symlink_to("/etc/hostname")
    (folder / "picture.png").write_bytes(b"x")
    code, out, err = gakju("add", folder, folder / "missing.md")
    assert code == 1 and "3 added, 3 failed" in out
    failed = [line for line in err.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 3 and any("geheim.pdf: " in line and "password" in line.lower() for line in failed)
    assert any("missing.md: does not exist" in line for line in failed)
    assert any("bad\\x1b[2Jname.md" in line and "Rename it" in line for line in failed)
    assert "\x1b" not in out + err
    assert f"LEFT OUT  {folder}/link.md: is a symbolic link" in out and "1 (format not read): picture.png" in out


def test_add_as_json(gakju, folder):
    (folder / "empty.md").write_text("")
    code, out, _ = gakju("add", folder, "--json")
    report = json.loads(out)
    assert code == 1 and (report["added"], report["failed"], report["gone"]) == (3, 1, 0)
    assert {file["document"]: file["reason"] for file in report["files"]}["empty.md"] == "empty"


@pytest.mark.parametrize(
    ("name", "said"),
    [("missing", "does not exist"), ("empty", "Nothing to ingest"), ("a.exe", "format that is not read")],
)
def test_nothing_to_ingest_is_an_error_that_says_why(gakju, tmp_path, name, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.exe").write_bytes(b"MZ")
    code, _, err = gakju("add", tmp_path / name)
    assert code == 2 and said in err


def test_nothing_to_ingest_names_the_cause_and_not_another(gakju, folder, tmp_path):
    _, _, err = gakju("add", tmp_path / "missing")
    assert err.splitlines()[-1] == "Nothing to ingest." and "Formats" not in err
    _, _, err = gakju("add", folder, "--include", "*.pdf")
    assert "3 files ignored by --include, --exclude or a .gakjuignore. Formats that are read: " in err
    code, out, err = gakju("add", folder, "--include", "*.pdf", "--json")
    assert code == 2 and json.loads(out)["added"] == 0 and "3 files ignored by --include" in err


def test_patterns_choose_and_a_wrong_one_is_wrong_use(gakju, folder, db):
    code, out, _ = gakju("add", folder, "--include", "*.md", "--include", "*.txt", "--exclude", "sub/")
    assert code == 0 and paths(db) == {"fx.md"} and "2 (ignored): sub, terms.csv" in out
    code, _, err = gakju("add", folder, "--exclude", "!")
    assert code == 2 and "'!'" in err
    for pattern in ("[", "[z-a]", "a[", "#x", "/", ""):
        code, _, err = gakju("add", folder, "--include", pattern)
        assert code == 2 and f"--include {pattern!r} is no pattern" in err and len(err.splitlines()) == 1


def test_collections_are_apart_and_their_names_checked(gakju, folder, db):
    gakju("add", folder, "--collection", "인사")
    assert len(paths(db, "인사")) == 3 and paths(db) == set()
    with pytest.raises(SystemExit) as exc:
        gakju("add", folder, "--collection", "a b")
    assert exc.value.code == 2


def test_the_form_without_a_command_says_what_it_is_now(gakju, capsys, folder):
    with pytest.raises(SystemExit) as exc:
        gakju(folder)
    assert exc.value.code == 2 and f"gakju ingest add {folder}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["stauts"], "'stauts' is no command. Did you mean gakju ingest status? To put files into the index: "),
        (["docs/"], "'docs/' is no command. To put files into the index: gakju ingest add docs/"),
        (
            [],
            "name a command: add, status, retry, remove, prune, watch, reembed, verify. `gakju ingest COMMAND --help`",
        ),
        (["add", "x", "--collection", "a/b"], "'a/b' is no name of a collection: 1 to 64 letters"),
    ],
)
def test_wrong_use_says_what_is_right(gakju, capsys, given, said):
    with pytest.raises(SystemExit) as exc:
        gakju(*given)
    assert exc.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["retry", "prune"])
def test_an_unknown_name_says_where_the_known_ones_are(gakju, name):
    code, _, err = gakju(name, "nothing.md")
    assert code == 2 and "is nothing.md. `gakju ingest status --json` lists them." in err


@pytest.mark.parametrize("paths_after", [[], ["more"]])
def test_a_path_after_ray_is_not_taken_for_its_address(gakju, capsys, folder, paths_after):
    with pytest.raises(SystemExit) as exc:
        gakju("add", "--ray", folder, *paths_after)
    assert exc.value.code == 2 and "write --ray after the paths, or --ray=ADDRESS" in capsys.readouterr().err


def test_formats_that_are_read_are_those_that_are(gakju, tmp_path):
    (tmp_path / "a.exe").write_bytes(b"MZ")
    _, _, err = gakju("add", tmp_path / "a.exe")
    formats = err.split("Formats that are read: ")[1].split(".\n")[0].split()
    assert {".pdf", ".hwp", ".docx", ".zip"} <= set(formats)
    assert not {".doc", ".xls", ".ppt", ".rtf", ".msg", ".pages"} & set(formats)


def test_nothing_changed_is_said_only_when_nothing_failed(gakju, folder):
    (folder / "empty.md").write_text("")
    gakju("add", folder)
    code, out, _ = gakju("add", folder)
    assert code == 1 and "3 unchanged, 1 failed" in out and "Nothing changed" not in out


class LosingWorkers:
    """Works on two files, then has no worker left, as a Ray cluster may. `is_stored`: waited for between the two."""

    def __init__(self, workers, is_stored) -> None:
        self._workers = workers
        self._is_stored = is_stored

    def work(self, jobs, **options):
        yield from self._workers.work(iter([next(jobs)]), **options)
        while not self._is_stored():
            time.sleep(0.01)
        yield from self._workers.work(iter([next(jobs)]), **options)
        raise GakjuError("No Ray worker has been able to start for 60 s.", hint="See `ray status`.")


@pytest.mark.parametrize("as_json", [False, True])
def test_what_was_done_before_all_workers_were_lost_is_summed_up(ingestors, folder, capsys, db, monkeypatch, as_json):
    @contextmanager
    def losing(collection, ray_address):
        with ingestors.open(collection) as ingestor:
            monkeypatch.setattr(ingestor, "_workers", LosingWorkers(ingestor._workers, lambda: paths(db)))
            yield ingestor

    code = command(replace(ingestors.tools(), ingestor=losing), "add", folder, *["--json"] * as_json)
    out, err = capsys.readouterr()
    assert code == 3 and "stopped: No Ray worker" in err and paths(db)
    if as_json:
        assert json.loads(out)["added"] >= 1 and json.loads(out)["stopped"].startswith("No Ray worker")
    else:
        assert re.search(r"^[12] added; [12] chunks? in", out, re.MULTILINE) and "Nothing changed" not in out


def test_what_is_gone_from_disk_is_hinted_at(gakju, folder):
    gakju("add", folder)
    (folder / "fx.md").unlink()
    _, out, _ = gakju("add", folder)
    assert "Gone from disk: 1" in out and "gakju ingest prune" in out


def test_the_quiet_run_tells_only_changes_and_failures(ingestors, folder, capsys):
    (folder / "empty.md").write_text("")
    with ingestors.open() as ingestor:
        assert run_quietly(ingestor, [folder]) == 1
    shown = capsys.readouterr()
    assert "empty.md" in shown.err and shown.out.startswith("3 added, 1 failed") and len(shown.out.splitlines()) == 1
    (folder / "empty.md").unlink()
    with ingestors.open() as ingestor:
        assert run_quietly(ingestor, [folder]) == 0
    assert capsys.readouterr().out == ""


# status


def test_status_of_nothing(gakju):
    code, out, _ = gakju("status")
    assert code == 0 and "Nothing has been ingested" in out


def test_status_sees_edits_renames_deletions_and_news(gakju, folder):
    gakju("add", folder)
    assert gakju("status")[0] == 0
    (folder / "fx.md").write_text("# 관세\n\n이제는 관세 이야기다.\n")
    (folder / "sub" / "freight.txt").rename(folder / "운임.txt")
    (folder / "terms.csv").unlink()
    (folder / "new.md").write_text("# 새 문서\n\n본문")
    code, out, _ = gakju("status", "--json")
    found = json.loads(out)["disk"]["default"]
    assert code == 0 and found["changed"] == ["fx.md"] and found["gone"] == ["terms.csv"]
    assert found["new"] == [str(folder / "new.md")]
    assert found["renamed"] == [{"path": "sub/freight.txt", "now": str(folder / "운임.txt")}]
    out = gakju("status")[1]
    for line in ("changed   fx.md", "gone      terms.csv", "sub/freight.txt → 운임.txt", "new       new.md"):
        assert line in out
    heads = [line for line in out.splitlines() if line.endswith(f", in {folder}:")]
    assert len(heads) == out.count(str(folder)) == 4
    assert json.loads(gakju("status", folder / "fx.md", "--json")[1])["disk"]["default"]["gone"] == []
    gakju("add", folder)
    assert gakju("prune")[0] == 0
    clean = {"changed": [], "gone": [], "new": [], "renamed": [], "missing_roots": [], "elsewhere": 0}
    assert json.loads(gakju("status", "--json")[1])["disk"]["default"] == clean


def test_a_touched_file_is_not_a_changed_one(gakju, folder):
    gakju("add", folder)
    os.utime(folder / "fx.md", (1, 1))
    assert json.loads(gakju("status", "--json")[1])["disk"]["default"]["changed"] == []


def test_status_names_what_failed_and_what_was_interrupted(gakju, folder, db):
    (folder / "empty.md").write_text("")
    gakju("add", folder)
    interrupt(db, folder / "fx.md", "fx.md")
    code, out, _ = gakju("status")
    assert (
        code == 1
        and "FAILED    empty.md (empty, 20" in out
        and "Interrupted" in out
        and out.count("empty.md is empty") == 1
    )
    report = json.loads(gakju("status", "--json")[1])
    assert [file["path"] for file in report["failed"]] == ["empty.md"] and report["failed"][0]["reason"] == "empty"
    assert [file["path"] for file in report["interrupted"]] == ["fx.md"]
    assert report["collections"]["default"] == {
        "stored": 2, "failed": 1, "reading": 0, "queued": 0, "interrupted": 1, "archives": 0, "documents": 3, "chunks": 3,
    }  # fmt: skip
    code, out, _ = gakju("status", "--failed")
    assert code == 1 and "empty.md" in out and "Interrupted" not in out
    assert gakju("status", folder / "sub")[0] == 0 and gakju("status", "no such thing")[0] == 2


def test_a_living_run_is_not_an_interrupted_one(gakju, folder, db):
    gakju("add", folder)
    with FileStates(db, "default") as run:
        run.reading(FileFacts("fx.md", str(folder / "fx.md"), str(folder), os.uname().nodename, 1, 1))
        report = json.loads(gakju("status", "--json")[1])
        assert [file["path"] for file in report["running"]] == ["fx.md"] and report["interrupted"] == []
        assert report["collections"]["default"]["reading"] == 1


def test_status_of_a_single_file_does_not_walk_its_folder(gakju, folder):
    gakju("add", folder / "fx.md")
    assert json.loads(gakju("status", "--json")[1])["disk"]["default"]["new"] == []


def test_a_missing_folder_is_away_and_not_gone(gakju, folder):
    gakju("add", folder)
    folder.rename(folder.with_name("moved"))
    found = json.loads(gakju("status", "--json")[1])["disk"]["default"]
    assert (found["missing_roots"], found["gone"]) == ([str(folder)], [])


def test_what_another_machine_read_is_not_compared(gakju, folder, db):
    gakju("add", folder)
    with db.connection() as conn:
        conn.execute("UPDATE files SET host = 'elsewhere'")
    shutil.rmtree(folder)
    report = json.loads(gakju("status", "--json")[1])["disk"]["default"]
    assert report["elsewhere"] == 3 and report["gone"] == []
    assert "Nothing to remove" in gakju("prune")[1] and len(paths(db)) == 3


def test_files_of_an_index_of_before_hosts_were_noted_are_of_this_machine(gakju, folder, db):
    gakju("add", folder)
    with db.connection() as conn:  # as migration 0002 leaves them
        conn.execute("UPDATE files SET host = '', size_bytes = 0, modified_ns = 0")
    (folder / "fx.md").write_text("# 관세\n\n이제는 관세 이야기다.\n")
    (folder / "terms.csv").unlink()
    report = json.loads(gakju("status", "--json")[1])["disk"]["default"]
    # One that is not here may be of any machine.
    assert (report["changed"], report["gone"], report["new"], report["elsewhere"]) == (["fx.md"], [], [], 1)
    assert "1 file was read on another machine and is not compared" in gakju("status")[1]


# retry


def test_retry_takes_up_what_was_interrupted_and_what_failed(gakju, folder, db):
    (folder / "empty.md").write_text("")
    gakju("add", folder)
    interrupt(db, folder / "sub" / "freight.txt", "sub/freight.txt")
    with db.connection() as conn:  # as if the run had been killed before it was stored
        conn.execute("DELETE FROM chunks WHERE document_id = (SELECT id FROM documents WHERE path = 'sub/freight.txt')")
        conn.execute("DELETE FROM documents WHERE path = 'sub/freight.txt'")
    code, out, err = gakju("retry")
    assert code == 1 and "1 added, 1 failed" in out and "empty.md" in err
    assert states(db) == {"empty.md": "failed", "fx.md": "stored", "sub/freight.txt": "stored", "terms.csv": "stored"}
    (folder / "empty.md").write_text("# 이제\n\n본문이 있다.")
    assert gakju("retry", "empty.md")[0] == 0 and states(db)["empty.md"] == "stored"
    code, out, _ = gakju("retry")
    assert code == 0 and "Nothing failed" in out
    assert gakju("retry", "unknown.md")[0] == 2


def test_retry_says_what_is_no_longer_there(gakju, folder, db):
    (folder / "empty.md").write_text("")
    gakju("add", folder)
    (folder / "empty.md").unlink()
    code, _, err = gakju("retry")
    assert code == 1 and "GONE      empty.md" in err and "prune" in err
    assert gakju("prune")[0] == 0 and "empty.md" not in states(db)


# remove


def test_remove_by_path_by_file_and_by_folder(gakju, folder, db):
    gakju("add", folder)
    code, out, _ = gakju("remove", "sub/freight.txt")
    assert code == 0 and "still on disk" in out and paths(db) == {"fx.md", "terms.csv"} == set(states(db))
    assert gakju("remove", folder / "fx.md")[0] == 0 and paths(db) == {"terms.csv"}
    gakju("add", folder)
    assert gakju("remove", folder / "sub", folder / "fx.md")[0] == 0 and paths(db) == {"terms.csv"}


def test_remove_forgets_failed_files_too(gakju, folder, db):
    (folder / "empty.md").write_text("")
    gakju("add", folder)
    code, out, _ = gakju("remove", "empty.md")
    assert code == 0 and "was not in the index" in out and "empty.md" not in states(db)


def test_remove_of_something_unknown_suggests_what_is_near(gakju, folder, db):
    gakju("add", folder)
    code, _, err = gakju("remove", "fx.md", "freight")
    assert code == 2 and "sub/freight.txt" in err and len(paths(db)) == 3
    assert gakju("remove", "--all", "--collection", "none")[0] == 2 and gakju("remove")[0] == 2
    assert "and not both" in gakju("remove", "a.md", "--all")[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_remove_asks_on_a_terminal(gakju, folder, db, monkeypatch):
    gakju("add", folder)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    code, _, err = gakju("remove", "--all")
    assert code == 1 and "Remove 3 documents from default" in err and len(paths(db)) == 3
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert gakju("remove", "--all")[0] == 0 and paths(db) == set() and states(db) == {}


def test_removing_all_asks_even_for_the_only_document(gakju, folder, db, monkeypatch):
    gakju("add", folder / "fx.md")
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    code, _, err = gakju("remove", "--all")
    assert code == 1 and "Remove 1 document from default" in err and len(paths(db)) == 1
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    code, _, err = gakju("remove", "--all")
    assert code == 1 and "--yes" in err and len(paths(db)) == 1
    code, out, _ = gakju("remove", "fx.md")
    assert code == 0 and "1 of these files is still on disk" in out and "stores it again" in out


def test_a_script_removes_a_whole_collection_only_with_yes(gakju, folder, db, monkeypatch):
    gakju("add", folder)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert gakju("remove", "--all")[0] == 1 and len(paths(db)) == 3
    code, out, _ = gakju("remove", "--all", "--yes", "--json")
    assert code == 0 and len(json.loads(out)["removed"]) == 3 and paths(db) == set()


# prune


def test_prune_removes_exactly_what_is_gone(gakju, folder, db):
    gakju("add", folder)
    (folder / "fx.md").unlink()
    code, out, _ = gakju("prune", "--dry-run")
    assert code == 0 and "would remove   fx.md" in out and len(paths(db)) == 3
    assert json.loads(gakju("prune", "--json")[1])["removed"] == ["fx.md"]
    assert paths(db) == {"sub/freight.txt", "terms.csv"} == set(states(db))


@pytest.mark.parametrize("is_there", [False, True])
def test_prune_takes_a_folder_that_is_away_for_an_unmounted_disk(gakju, folder, db, is_there):
    gakju("add", folder)
    shutil.rmtree(folder)
    if is_there:
        folder.mkdir()
    code, _, err = gakju("prune")
    assert code == 1 and "PASSED OVER" in err and "--force" in err and len(paths(db)) == 3
    assert gakju("prune", "--force")[0] == 0 and paths(db) == set()


def test_prune_tells_documents_from_what_is_only_noted(gakju, folder):
    (folder / "empty.md").write_text("")
    (folder / "bad.pdf").write_text("no pdf")
    pack(folder / "a.zip", a="# 가\n\n본문 가")
    gakju("add", folder)
    shutil.rmtree(folder)
    said = "4 documents and 3 files that are no documents"
    code, out, err = gakju("prune")
    assert code == 1 and f"What is known of it stays: {said}. --force" in err and "Nothing to remove" in out
    refused = json.loads(gakju("prune", "--json")[1])["refused"][0]
    assert (refused["documents"], refused["files"]) == (4, 7)
    assert f"Would remove {said}." in gakju("prune", "--force", "--dry-run")[1]
    assert f"Removed {said}." in gakju("prune", "--force")[1]


def test_prune_only_where_it_is_asked_to(gakju, folder, db):
    gakju("add", folder)
    (folder / "fx.md").unlink()
    (folder / "sub" / "freight.txt").unlink()
    assert gakju("prune", folder / "sub")[0] == 0 and paths(db) == {"fx.md", "terms.csv"}
    assert gakju("prune", "nothing/like/it")[0] == 2


# all


def test_they_work_on_an_index_that_was_built_otherwise(gakju, folder, db):
    """As no vector is made, another embedding or chunker of this start is no reason to refuse."""
    gakju("add", folder)
    (folder / "fx.md").unlink()
    with db.connection() as conn:
        conn.execute(
            "UPDATE generations SET chunking = 'another chunker', embedding = embedding || '{\"name\": \"x\"}'"
        )
    code, out, _ = gakju("status")
    assert code == 0 and "another chunker" in out
    assert gakju("prune")[0] == 0 and gakju("remove", "terms.csv")[0] == 0 and paths(db) == {"sub/freight.txt"}
    assert active_generation(db) is not None


def test_looking_loads_no_model_code(database_url, tmp_path):
    """`gakju ingest status` is run by impatient people and by monitoring: the whole command, from its parser on."""
    code = (
        "import sys, app; said = app.main(['ingest', 'status']), app.main(['ingest', 'verify']); "
        "heavy = 'onnxruntime', 'tokenizers', 'gradio', 'llama_index', 'sqlalchemy', 'ray'; "
        "print(said, [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(database_url, tmp_path / "data"),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "(0, 0) []"


# archives


def pack(path: Path, **members: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"in/{name}.md", text)


def test_members_of_an_archive_are_documents_that_come_and_go_with_it(gakju, folder, db):
    pack(folder / "old.zip", a="# 가\n\n본문 가", b="# 나\n\n본문 나", empty="")
    code, out, err = gakju("add", folder)
    assert code == 1 and "5 added, 1 failed" in out and f"FAILED    {folder}/old.zip!/in/empty.md" in err
    inside = {"old.zip/in/a.md", "old.zip/in/b.md"}
    assert inside < paths(db)
    clean = json.loads(gakju("status", "--json")[1])["disk"]["default"]
    assert (clean["changed"], clean["gone"], clean["new"]) == ([], [], [])
    counts = json.loads(gakju("status", "--json")[1])["collections"]["default"]
    assert (counts["stored"], counts["documents"], counts["archives"], counts["failed"]) == (5, 5, 1, 1)
    assert "archives" in gakju("status")[1].splitlines()[0]
    pack(folder / "old.zip", a="# 가\n\n본문 가", b="# 나\n\n본문 다른 나")
    assert json.loads(gakju("status", "--json")[1])["disk"]["default"]["changed"] == ["old.zip"]
    assert "1 replaced, 1 removed, 4 unchanged" in gakju("add", folder)[1]
    assert json.loads(gakju("status", "--json")[1])["disk"]["default"]["changed"] == []
    (folder / "old.zip").unlink()
    assert json.loads(gakju("status", "--json")[1])["disk"]["default"]["gone"] == ["old.zip"]
    assert gakju("prune")[0] == 0 and not any("zip" in path for path in [*paths(db), *states(db)])


def test_a_removed_member_comes_back_with_the_next_add_and_a_failed_one_is_retried(gakju, folder, db):
    pack(folder / "z.zip", a="# 가\n\n본문 가", b="# 나\n\n본문 나")
    gakju("add", folder)
    assert gakju("remove", "z.zip/in/a.md")[0] == 0 and "z.zip/in/a.md" not in paths(db)
    assert "1 added" in gakju("add", folder)[1] and "z.zip/in/a.md" in paths(db)
    with db.connection() as conn:  # as if it had failed for a reason that has passed
        conn.execute("DELETE FROM chunks WHERE document_id = (SELECT id FROM documents WHERE path = 'z.zip/in/b.md')")
        conn.execute("DELETE FROM documents WHERE path = 'z.zip/in/b.md'")
        conn.execute("UPDATE files SET state = 'failed', reason = 'too_large' WHERE path = 'z.zip/in/b.md'")
    code, out, err = gakju("retry")
    assert code == 0 and "1 added; 1 chunk in" in out and "unchanged" not in out, (out, err)
    assert set(states(db).values()) == {"stored"} and "z.zip/in/b.md" in paths(db)
    assert gakju("remove", folder / "z.zip")[0] == 0 and not any("zip" in path for path in [*paths(db), *states(db)])
