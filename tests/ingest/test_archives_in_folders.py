"""Archives in a folder are brought up to date like the folder itself, whatever they are named, moved or mixed with."""

from __future__ import annotations

import random
import warnings
import zipfile
from pathlib import Path

import pytest

from ingest.cli.options import matching
from ingest.disk import gone_by_root
from ingest.removing import remove_files
from knowledge.file_states import file_states

TWO = {"x.md": "# x\n\n본문 하나", "y.md": "# y\n\n본문 둘"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "문서"
    folder.mkdir()
    return folder


def zipped(path: Path, members: dict[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def documents(db) -> list[str]:
    with db.connection() as conn:
        return sorted(path for (path,) in conn.execute("SELECT path FROM documents"))


def states(db) -> dict[str, str]:
    return {item.path: item.state for item in file_states(db)}


def origins(db, folder: Path) -> list[str]:
    return sorted(item.origin.removeprefix(f"{folder}/") for item in file_states(db))


def prune(db) -> None:
    for gone in gone_by_root(file_states(db)):
        for _ in remove_files(db, gone.states):
            pass


# --- moved and changed --------------------------------------------------------------------------------------------


def test_an_archive_renamed_and_renamed_back_keeps_its_members(ingestors, folder, db):
    archive = zipped(folder / "b.zip", TWO)
    ingestors.run(folder)
    other = archive.rename(folder / "c.zip")
    ingestors.run(folder)
    assert documents(db) == ["c.zip/x.md", "c.zip/y.md"]
    other.rename(archive)
    ingestors.run(folder)
    prune(db)
    ingestors.run(folder)
    assert documents(db) == ["b.zip/x.md", "b.zip/y.md"]
    assert states(db) == {"b.zip": "stored", "b.zip/x.md": "stored", "b.zip/y.md": "stored"}


def test_a_folder_with_archives_can_be_moved_again_and_again(ingestors, folder, db):
    zipped(folder / "r.zip", TWO)
    zipped(folder / "nothing.zip", {"q.bin": "x"})
    ingestors.run(folder)
    for name in ("moved", "moved again"):
        folder = folder.rename(folder.parent / name)
        for _ in range(2):
            found = {result.path: result.outcome for result in ingestors.run(folder)}
            assert (found.pop("nothing.zip"), set(found.values())) == ("failed", {"unchanged"})
            assert gone_by_root(file_states(db)) == []
        assert origins(db, folder) == ["nothing.zip", "r.zip", "r.zip!/x.md", "r.zip!/y.md"]
    assert documents(db) == ["r.zip/x.md", "r.zip/y.md"]


def test_a_member_taken_out_of_its_archive_goes(ingestors, folder, db):
    zipped(folder / "r.zip", TWO)
    ingestors.run(folder)
    zipped(folder / "r.zip", {"y.md": TWO["y.md"]})
    ingestors.run(folder)
    assert documents(db) == ["r.zip/y.md"]


def test_an_archive_without_documents_is_finished_with(ingestors, folder, db):
    zipped(folder / "r.zip", {"x.bin": "nothing to read"})
    (folder / "q.md").write_text("본문")
    ingestors.run(folder)
    assert states(db)["q.md"] == "stored" and "queued" not in states(db).values()


def test_a_member_removed_by_its_id_comes_back_with_the_next_run(ingestors, folder, db, store):
    zipped(folder / "r.zip", TWO)
    ingestors.run(folder)
    with db.connection() as conn:
        (identity,) = conn.execute("SELECT id::text FROM documents WHERE path = 'r.zip/x.md'").fetchone()
    assert store.remove_by_id(identity) is True
    assert documents(db) == ["r.zip/y.md"]
    ingestors.run(folder)
    assert documents(db) == ["r.zip/x.md", "r.zip/y.md"]


# --- beside others ------------------------------------------------------------------------------------------------


def test_an_archive_of_the_same_name_in_another_folder_takes_nothing_away(ingestors, tmp_path, db):
    zipped(tmp_path / "a" / "r.zip", TWO)
    zipped(tmp_path / "b" / "r.zip", {"z.md": "# z\n\n본문 셋"})
    ingestors.run(tmp_path / "a")
    assert "path_taken" in {result.reason for result in ingestors.run(tmp_path / "b")}
    assert {"r.zip/x.md", "r.zip/y.md"} <= set(documents(db))


def test_a_folder_named_like_an_archive_is_not_part_of_it(ingestors, tmp_path, db):
    zipped(tmp_path / "a" / "r.zip", {"x.md": "# x\n\n본문"})
    (tmp_path / "b" / "r.zip").mkdir(parents=True)
    (tmp_path / "b" / "r.zip" / "q.md").write_text("# q\n\n본문")
    ingestors.run(tmp_path / "a")
    ingestors.run(tmp_path / "b")
    zipped(tmp_path / "a" / "r.zip", {"x.md": "# x\n\n고친 본문"})
    ingestors.run(tmp_path / "a")
    assert documents(db) == ["r.zip/q.md", "r.zip/x.md"]


def test_a_folder_whose_name_only_adds_an_exclamation_mark_is_another(ingestors, folder, db):
    """In an origin "!/" stands between an archive and its member."""
    for name in ("중요", "중요!"):
        (folder / name).mkdir()
        (folder / name / "x.md").write_text(f"{name} 본문")
    ingestors.run(folder)
    found, unknown = matching(file_states(db), [str(folder / "중요")])
    assert ([item.path for item in found], unknown) == (["중요/x.md"], [])


# --- names of members ---------------------------------------------------------------------------------------------


def test_of_two_members_of_one_name_the_first_is_kept_however_often_it_runs(ingestors, folder, db):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's "Duplicate name"
        for name, text in (("x.md", "# x\n\n첫째 본문"), ("x.md", "둘째 본문"), ("y.md", "본문")):
            archive.writestr(name, text)
    for _ in range(2):
        ingestors.run(folder)
        assert states(db)["a.zip/x.md"] == "stored"
        assert documents(db) == ["a.zip/x.md", "a.zip/y.md"]
    with db.connection() as conn:
        (text,) = conn.execute("SELECT text FROM documents WHERE path = 'a.zip/x.md'").fetchone()
    assert "첫째" in text


def long_name(alphabet: str, length: int) -> str:
    """Without repetition: PostgreSQL packs keys of its indexes."""
    chance = random.Random(1)
    return "".join(chance.choice(alphabet) for _ in range(length)) + ".md"


@pytest.mark.parametrize(
    "name",
    [
        "a\0b.md",
        "a\nb.md",
        long_name("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 8000),
        long_name("".join(map(chr, range(0xAC00, 0xD7A4))), 990),
    ],
    ids=["NUL", "line break", "long", "long in Korean"],
)
def test_a_member_whose_name_cannot_be_kept_does_not_take_the_others_along(ingestors, folder, db, name):
    stand_in = name.replace("\0", "?")  # zipfile ends names at a NUL when it writes
    path = zipped(folder / "a.zip", {stand_in: "# x\n\n본문", "ok.md": "좋은 본문"})
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), name.encode()))
    (folder / "z.md").write_text("마지막 본문")
    ingestors.run(folder)
    assert {"a.zip/ok.md", "z.md"} <= set(documents(db))
    assert set(states(db).values()) <= {"stored", "failed"}
