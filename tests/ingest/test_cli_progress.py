"""What the progress of a run counts, whatever its files are and in which order they get ready."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.cli.output import counted, names, say_json, shown, table
from ingest.cli.progress import Counts, Lines
from ingest.cli.tools import opened
from ingest.files import SourceFile
from ingest.results import FileResult


def file(name: str, size: int, member: str = "") -> SourceFile:
    return SourceFile(Path("/docs") / name, name, size, Path("/docs"), member=member)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 500)), min_size=1, max_size=20), st.data())
def test_progress_only_rises_and_ends_at_the_whole(sizes, data):
    files = [file(f"{n}.md", size) for n, (size, _) in enumerate(sizes)]
    counts = Counts(files)
    seen = [counts.bytes]
    for at in data.draw(st.permutations(range(len(files)))):
        chunks = sizes[at][1]
        counts.started(files[at])
        for step in (chunks // 2, chunks - chunks // 2):
            counts.embedded(step)
            seen.append(counts.bytes)
        counts.done(FileResult(files[at], "added", files[at].name, chunks))
        seen.append(counts.bytes)
    assert seen == sorted(seen) and seen[-1] == counts.total_bytes == sum(size for size, _ in sizes)
    assert counts.files == counts.total_files == len(files)
    assert counts.chunks == sum(chunks for _, chunks in sizes)


def test_progress_moves_within_one_file():
    (only,) = files = [file("big.pdf", 10**8)]
    counts = Counts(files)
    counts.started(only)
    seen = []
    for _ in range(5):
        counts.embedded(64)
        seen.append(counts.bytes)
    assert seen == sorted(set(seen)) and 0 < seen[-1] < counts.total_bytes and counts.files == 0


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=10), st.integers(1, 10**6))
def test_an_archive_is_one_file_however_many_are_in_it(members, size):
    archive, other = file("a.zip", size), file("b.md", 10)
    counts = Counts([archive, other])
    for n, member_size in enumerate(members):
        source = file("a.zip", member_size, f"{n}.md")
        counts.started(source)
        counts.done(FileResult(source, "added", f"a.zip/{n}.md", 1))
        assert counts.files == 1 and counts.bytes <= size
    counts.done(FileResult(other, "unchanged", "b.md"))
    assert counts.files == 2 and counts.bytes <= counts.total_bytes


def test_long_work_is_never_silent_in_a_log(capsys):
    only = file("slow\x1b[2J.pdf", 100)
    with Lines([only], tell=lambda _: None, every_s=0.02) as lines:
        lines.started(only)
        deadline = time.monotonic() + 30
        heard = ""
        while "slow" not in heard and time.monotonic() < deadline:
            time.sleep(0.02)
            heard += capsys.readouterr().err
    assert "ingesting: 0 of 1 file, 0 chunks" in heard and "at slow\\x1b[2J.pdf" in heard


def test_the_file_that_is_named_is_the_one_in_work_for_the_longest():
    files = [file("large.pdf", 10**8), file("a.md", 10), file("b.md", 10)]
    counts = Counts(files)
    assert counts.name == ""
    for one in files:
        counts.started(one)
    counts.done(FileResult(files[1], "added", "a.md", 1))
    assert counts.name == "large.pdf"
    counts.done(FileResult(files[0], "added", "large.pdf", 9))
    assert counts.name == "b.md"


@contextmanager
def slow_opening(seconds: float) -> Iterator[str]:
    time.sleep(seconds)
    yield "open"


def test_a_slow_start_is_said_in_a_log_and_a_quick_one_is_not(capsys, monkeypatch):
    monkeypatch.setattr("ingest.cli.tools.PLAIN_START_AFTER_S", 0.05)
    with opened(slow_opening(0.5), "model") as thing:
        assert thing == "open" and capsys.readouterr() == ("", "starting: model\n")
    with opened(slow_opening(0.5), "model", quiet=True):
        assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("ingest.cli.tools.PLAIN_START_AFTER_S", 60)
    with opened(slow_opening(0), "model"):
        pass
    assert capsys.readouterr() == ("", "") and "starting" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(("many", "said"), [(0, "0 chunks"), (1, "1 chunk"), (2, "2 chunks")])
def test_one_is_singular(many, said):
    assert counted(many, "chunk") == said


@given(st.text())
def test_a_shown_name_is_one_printable_line(name):
    assert shown(name).isprintable() and (not name.isprintable() or shown(name) == name)


def test_a_name_of_broken_bytes_can_be_said_in_any_encoding(capsys, monkeypatch):
    assert shown("보고서\udcff\n\u202etxt.md") == "보고서\\udcff\\n\\u202etxt.md"
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    say_json({"path": "보고서\udcff"})
    assert b'"\\ubcf4\\uace0\\uc11c\\udcff"' in stream.buffer.getvalue()  # type: ignore[attr-defined]


def test_tables_and_lists_of_names():
    assert table(("", "n", ""), [("added", 12, "md"), ("all", 3, "")]) == "        n\nadded  12  md\nall     3"
    assert names(["a", "b\n", "c"], at_most=2) == "a, b\\n and 1 more"
