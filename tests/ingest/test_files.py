"""Which files a folder means: ignore files, patterns, names, links, and what cannot be looked at."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from ingest.files import IGNORE_FILE, Selection, content_hash, file_of, find_files, is_gone

SUPPORTED = frozenset({".md", ".txt", ".docx", ".zip"})


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")


def found(*paths: Path, **selection) -> list[str]:
    files, _ = find_files(paths, supported=SUPPORTED, selection=Selection(**selection))
    return [file.name for file in files]


def reasons(*paths: Path) -> dict[str, str]:
    _, left_out = find_files(paths, supported=SUPPORTED)
    return {item.path.name: item.reason for item in left_out}


def test_files_come_in_a_stable_order_with_names_below_the_folder(tmp_path):
    write(tmp_path, "b.md", "a.md", "sub/z.txt", "sub/deep/y.md")
    assert found(tmp_path) == ["a.md", "b.md", "sub/z.txt", "sub/deep/y.md"]
    files, _ = find_files([tmp_path], supported=SUPPORTED)
    assert {file.root for file in files} == {tmp_path} and files[0].origin == str(tmp_path / "a.md")
    assert (files[0].size_bytes, files[0].modified_ns) == (7, (tmp_path / "a.md").stat().st_mtime_ns)


def test_a_file_named_alone_is_its_own_root(tmp_path):
    """Else its whole folder, perhaps a home, would be taken for a folder of documents."""
    write(tmp_path, "a.md", "b.md")
    (file,), _ = find_files([tmp_path / "a.md"], supported=SUPPORTED)
    assert (file.name, file.root) == ("a.md", tmp_path / "a.md")


def test_a_file_that_is_meant_twice_comes_once(tmp_path):
    write(tmp_path, "sub/a.md")
    assert found(tmp_path, tmp_path / "sub", tmp_path / "sub" / "a.md") == ["sub/a.md"]


def test_hidden_files_and_locks_of_editors_are_passed_over(tmp_path):
    write(tmp_path, "a.docx", ".hidden.md", ".git/x.md", "~$a.docx", ".~lock.a.docx#")
    assert found(tmp_path) == ["a.docx"] and reasons(tmp_path) == {}


def test_links_pipes_and_other_formats_are_named(tmp_path):
    write(tmp_path, "real.md", "picture.png")
    (tmp_path / "link.md").symlink_to("/etc/hostname")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.md").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.md")
    assert found(tmp_path) == ["real.md"]
    assert reasons(tmp_path) == {
        "link.md": "link", "loop": "link", "dangling.md": "link", "pipe.md": "special", "picture.png": "unsupported",
    }  # fmt: skip


def test_a_given_link_is_not_followed(tmp_path):
    write(tmp_path / "real", "a.md")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert found(tmp_path / "link") == [] and reasons(tmp_path / "link") == {"link": "link"}


def test_names_that_cannot_be_shown_or_stored_are_named(tmp_path):
    write(tmp_path, "ok.md")
    for name in (b"new\nline.md", b"esc\x1b[31m.md", b"bytes\xff.md"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_text("x")
    assert found(tmp_path) == ["ok.md"]
    assert set(reasons(tmp_path).values()) == {"name"} and len(reasons(tmp_path)) == 3


@pytest.mark.parametrize("name", ["no.md", "x" * 300 + ".md", "a.md/below.md"])
def test_what_is_not_there_is_missing(tmp_path, name):
    write(tmp_path, "a.md")
    assert found(tmp_path / name) == [] and list(reasons(tmp_path / name).values()) == ["missing"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path):
    write(tmp_path, "a.md", "closed/b.md")
    (tmp_path / "a.md").chmod(0)
    (tmp_path / "closed").chmod(0)
    assert reasons(tmp_path) == {"a.md": "unreadable", "closed": "unreadable"}
    assert not is_gone(tmp_path / "closed" / "b.md")
    (tmp_path / "closed").chmod(0o700)


def test_names_are_nfc_and_so_are_patterns(tmp_path):
    decomposed = unicodedata.normalize("NFD", "보고서/초안.md")  # as macOS writes them
    write(tmp_path, decomposed, "보고서/확정.md")
    assert sorted(found(tmp_path)) == ["보고서/초안.md", "보고서/확정.md"]
    assert found(tmp_path, exclude=("초안.md",)) == ["보고서/확정.md"]
    (tmp_path / IGNORE_FILE).write_text("초안.md\n", encoding="utf-8")
    assert found(tmp_path) == ["보고서/확정.md"]


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ({"include": ("*.md",)}, ["a.md", "drafts/c.md", "drafts/old/d.md"]),
        ({"exclude": ("drafts/",)}, ["a.md", "b.txt"]),
        ({"include": ("/*.md", "/*.txt"), "exclude": ("b.*",)}, ["a.md"]),
        ({"include": ("drafts/**",), "exclude": ("old",)}, ["drafts/c.md"]),
        ({"exclude": ("*.md", "!a.md")}, ["a.md", "b.txt"]),
    ],
)
def test_include_and_exclude_follow_the_rules_of_gitignore(tmp_path, selection, names):
    write(tmp_path, "a.md", "b.txt", "drafts/c.md", "drafts/old/d.md")
    assert found(tmp_path, **selection) == names


def test_ignore_files_hold_for_their_folder_and_the_nearest_decides(tmp_path):
    write(tmp_path, "a.md", "b.txt", "sub/a.md", "sub/b.txt", "sub/deep/a.md", "tmp/x.md")
    (tmp_path / IGNORE_FILE).write_text("# notes\n*.txt\ntmp/\n")
    (tmp_path / "sub" / IGNORE_FILE).write_text("/a.md\n!b.txt\n")
    assert found(tmp_path) == ["a.md", "sub/b.txt", "sub/deep/a.md"]
    assert reasons(tmp_path) == {"b.txt": "ignored", "tmp": "ignored", "a.md": "ignored"}


def test_a_line_that_is_no_pattern_is_passed_over(tmp_path):
    write(tmp_path, "a.md", "b.md")
    (tmp_path / IGNORE_FILE).write_bytes(b"\xef\xbb\xbfa.md\n!\n\\\n\xff\n")
    assert found(tmp_path) == ["b.md"]
    with pytest.raises(ValueError, match="pattern"):
        Selection(exclude=("!",))


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), Path.mkdir])
def test_an_ignore_file_that_is_no_file_is_not_opened(tmp_path, make):
    write(tmp_path, "a.md")
    make(tmp_path / IGNORE_FILE)
    assert found(tmp_path) == ["a.md"]


def test_an_origin_leads_to_its_file_whatever_it_is_called(tmp_path):
    write(tmp_path, "a.zip", "strange!/b.md")
    assert file_of(f"{tmp_path}/a.zip!/in/c.md") == tmp_path / "a.zip"
    assert file_of(f"{tmp_path}/strange!/b.md") == tmp_path / "strange!" / "b.md"
    assert file_of(f"{tmp_path}/gone.zip!/in/c.md").exists() is False


def test_gone_is_only_what_is_certainly_not_there(tmp_path):
    write(tmp_path, "a.md")
    assert not is_gone(tmp_path / "a.md") and is_gone(tmp_path / "b.md") and is_gone(tmp_path / "a.md" / "c.md")
    (tmp_path / "b.md").symlink_to(tmp_path / "a.md")
    assert is_gone(tmp_path / "b.md") and is_gone(tmp_path)
    assert not is_gone(tmp_path / ("x" * 300))


def test_the_content_hash_is_sha256(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"abc")
    assert content_hash(tmp_path / "a.txt") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
