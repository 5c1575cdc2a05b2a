"""The process that reads: the same documents as here, their hashes, and what is left when it is killed. Needs Linux."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import reader_process
from ingest.reader_folder import ReaderFolder
from ingest.reader_process import ReaderProcess
from ingest.readers import read, read_bytes_as, wire
from knowledge.errors import ReadFailed
from knowledge.types import Block, ParsedDocument, Place

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
MAX_BYTES = 50_000_000
BUSY = b"<a " * 300_000  # html.parser is quadratic in unclosed tags


@pytest.fixture
def reader() -> Iterator[ReaderProcess]:
    with ReaderProcess() as process:
        yield process


def failure_of(reader: ReaderProcess, data: bytes, name: str) -> ReadFailed:
    with pytest.raises(ReadFailed) as caught:
        reader.read(None, data=data, name=name, max_bytes=MAX_BYTES)
    assert "\n" not in caught.value.sentence()
    return caught.value


def child_pid(reader: ReaderProcess) -> int:
    reader.read(None, data=b"text", name="a.txt", max_bytes=MAX_BYTES)
    assert reader._child is not None
    return reader._child.process.pid


def is_gone(pid: int) -> bool:
    """Ended, if perhaps not yet waited for by whoever inherited it."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def wait_until_gone(*pids: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if all(map(is_gone, pids)):
            return True
        time.sleep(0.02)
    return False


def members_of(group: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


# ---- what is read ----


@pytest.mark.parametrize("path", ["office/leave.docx", "office/leave.odt", "office/handbook.docx"])
def test_a_file_is_read_as_here_with_the_hash_of_its_bytes(reader: ReaderProcess, path: str) -> None:
    document, digest = reader.read(FIXTURES / path, name="이름" + Path(path).suffix, max_bytes=MAX_BYTES)
    here = read(FIXTURES / path, name="이름" + Path(path).suffix, max_bytes=MAX_BYTES)
    assert document == here
    assert digest == hashlib.sha256((FIXTURES / path).read_bytes()).hexdigest()


def test_bytes_of_every_kind_of_place_come_across(reader: ReaderProcess) -> None:
    for name, data in (
        ("가.csv", "월,값\n1월,10\n2월,20\n".encode("cp949")),
        ("나.md", "# 장\n\n글\n\n## 절\n\n| a | b |\n|--|--|\n| 1 | 2 |\n".encode()),
        ("다.html", "<h1>제목</h1><p>글</p>".encode()),
    ):
        document, digest = reader.read(None, data=data, name=name, max_bytes=MAX_BYTES)
        assert document == read_bytes_as(data, name=name)
        assert digest == hashlib.sha256(data).hexdigest()


def test_failures_keep_reason_message_and_hint(reader: ReaderProcess, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9 \xff\xfe is not text")
    for path, name, max_bytes in (
        (tmp_path / "a.txt", "a.txt", 100),
        (tmp_path / "a.txt", "a.txt", 3),
        (tmp_path / "missing.txt", "missing.txt", 100),
    ):
        with pytest.raises(ReadFailed) as here:
            read(path, name=name, max_bytes=max_bytes)
        with pytest.raises(ReadFailed) as there:
            reader.read(path, name=name, max_bytes=max_bytes)
        assert (there.value.reason, str(there.value), there.value.hint) == (
            here.value.reason,
            str(here.value),
            here.value.hint,
        )
    with pytest.raises(ReadFailed, match="larger"):
        reader.read(None, data=b"abcd", name="a.txt", max_bytes=3)


def test_a_relative_path_and_a_name_that_is_no_unicode_are_read(
    reader: ReaderProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_pid(reader)  # it started in another folder
    monkeypatch.chdir(tmp_path)
    raw = b"\xff\xb0.txt"
    Path(os.fsdecode(raw)).write_text("본문")
    name = os.fsdecode(raw)
    document, _ = reader.read(Path(name), name=name, max_bytes=MAX_BYTES)
    assert document.text == "본문"
    document.title.encode()  # no half characters


def test_links_pipes_and_devices_are_refused(reader: ReaderProcess, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "link.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    for path in (tmp_path / "link.txt", tmp_path / "pipe.txt", Path("/dev/zero"), tmp_path):
        with pytest.raises(ReadFailed) as caught:
            reader.read(path, name="a.txt", max_bytes=MAX_BYTES)
        assert caught.value.reason == "unreadable"


def test_the_child_is_kept_for_many_files_and_replaced_after_enough() -> None:
    pids = []
    with ReaderProcess(max_files=3) as reader:
        for number in range(8):
            document, _ = reader.read(None, data=b"text %d" % number, name="a.txt", max_bytes=100)
            assert document.text == f"text {number}"
            pids.append(reader._child.process.pid if reader._child else None)
    assert [pid is None for pid in pids] == [False, False, True, False, False, True, False, False]
    assert len(set(pids)) == 4
    with ReaderProcess(max_resident_bytes=1) as reader:
        document, _ = reader.read(None, data=b"text", name="a.txt", max_bytes=100)
        assert document.text == "text"
        assert reader._child is None  # any child is too large


# ---- limits and crashes ----


def test_a_file_that_takes_too_long_is_given_up_and_the_next_is_read() -> None:
    with ReaderProcess(timeout_s=1.5) as reader:
        pid = child_pid(reader)
        failed = failure_of(reader, BUSY, "a.html")
        assert failed.reason == "too_large"
        assert is_gone(pid)
        assert reader.read(None, data=b"next", name="b.txt", max_bytes=100)[0].text == "next"


def test_a_parser_that_stands_still_ends_its_process_by_itself() -> None:
    code = (
        "from ingest.readers import sandbox, read_bytes_as; sandbox.confine(memory_bytes=2**31, limit_s=1);"
        f"read_bytes_as({BUSY[:6]!r} * 150_000, name='a.html')"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -signal.SIGALRM


@pytest.mark.parametrize(
    ("name", "data"), [("a.txt", "가나 다라\n\n".encode() * 3_000_000), ("a.html", b"<i>" * 3_000_000)]
)
def test_a_file_that_takes_too_much_memory_is_given_up(name: str, data: bytes) -> None:
    with ReaderProcess(memory_bytes=200_000_000) as reader:
        assert failure_of(reader, data, name).reason == "too_large"
        assert reader.read(None, data=b"next", name="b.txt", max_bytes=100)[0].text == "next"


def test_a_child_that_died_while_it_waited_is_replaced(reader: ReaderProcess) -> None:
    first = child_pid(reader)
    os.kill(first, signal.SIGKILL)
    assert wait_until_gone(first)
    assert child_pid(reader) != first


CRASHING = """
import os, signal, sys
sys.path.insert(0, {root!r})
from ingest.readers import serve, plain
real = plain.read_plain
def crash(data, *, name):
    if data.startswith(b"crash"):
        os.kill(os.getpid(), signal.{signal})
    return real(data, name=name)
plain.read_plain = crash
serve.main()
"""


@pytest.mark.parametrize(("number", "reason"), [("SIGSEGV", "damaged"), ("SIGKILL", "too_large")])
def test_a_crash_is_a_reason_and_the_next_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, reason: str
) -> None:
    script = tmp_path / "serve.py"
    script.write_text(CRASHING.format(root=str(ROOT), signal=number))
    monkeypatch.setattr(reader_process, "_SERVE", script)
    with ReaderProcess() as reader:
        child_pid(reader)
        failed = failure_of(reader, b"crash", "x\ny.txt")
        assert failed.reason == reason
        assert "x\ufffdy.txt" in str(failed)
        assert reader.read(None, data=b"next", name="b.txt", max_bytes=100)[0].text == "next"


def test_the_child_sees_no_secrets_and_takes_no_code_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("LLM_API_KEY", "secret")
    monkeypatch.chdir(tmp_path)
    with ReaderProcess() as reader:
        environment = Path(f"/proc/{child_pid(reader)}/environ").read_bytes()
    assert b"secret" not in environment
    assert b"PYTHONPATH" not in environment


def test_the_child_imports_no_models_and_no_database(reader: ReaderProcess) -> None:
    maps = Path(f"/proc/{child_pid(reader)}/maps").read_text()
    assert not re.search("numpy|onnx|kiwi|psycopg", maps)


# ---- orphans ----

OWNER = """
import sys, threading
sys.path.insert(0, {root!r})
from ingest.reader_process import ReaderProcess
reader = ReaderProcess()
reader.read(None, data=b"text", name="a.txt", max_bytes=100)
print(reader._child.process.pid, flush=True)
if {busy}:
    reader.read(None, data=b"<a " * 300_000, name="a.html", max_bytes=10**7)
threading.Event().wait()
"""


@pytest.mark.parametrize("busy", [False, True])
def test_no_child_outlives_an_owner_that_is_killed(busy: bool) -> None:
    code = OWNER.format(root=str(ROOT), busy=busy)
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    time.sleep(0.3 if busy else 0)  # well inside the parser, which needs half a minute
    assert not is_gone(child)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert wait_until_gone(child)


GRANDCHILD = """
import sys
sys.path.insert(0, {root!r})
from ingest.readers import serve, plain, sandbox
def slow(data, *, name):
    sandbox._run_apart("html_child", b"<a " * 300_000, stall_s=60, limit_s=60)
plain.read_plain = slow
serve.main()
"""


@pytest.mark.parametrize("how", ["owner killed", "child killed", "timeout"])
def test_no_grandchild_outlives_its_child(tmp_path: Path, how: str) -> None:
    script = tmp_path / "serve.py"
    script.write_text(GRANDCHILD.format(root=str(ROOT)))
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from ingest import reader_process
reader_process._SERVE = Path({str(script)!r})
reader = reader_process.ReaderProcess(timeout_s={2 if how == "timeout" else 60})
print(reader._ready_child().process.pid, flush=True)
try:
    reader.read(None, data=b"x", name="a.txt", max_bytes=10)
except Exception as exc:
    print(exc.reason, flush=True)
"""
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    deadline = time.monotonic() + 20
    while len(members_of(child)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    group = members_of(child)
    assert len(group) == 2
    if how == "owner killed":
        owner.kill()
    elif how == "child killed":
        os.kill(child, signal.SIGKILL)
    if how != "owner killed":
        assert owner.stdout.readline().strip() == "too_large"
    owner.wait()
    owner.stdout.close()
    assert wait_until_gone(*group)


def test_a_closed_reader_leaves_nothing_and_reads_no_more(reader: ReaderProcess) -> None:
    pid = child_pid(reader)
    reader.close()
    assert is_gone(pid)
    assert failure_of(reader, b"text", "a.txt").reason == "unreadable"
    assert reader._child is None


def test_closing_ends_the_file_that_another_thread_waits_for() -> None:
    reader = ReaderProcess()
    pid = child_pid(reader)
    reasons: list[str] = []
    thread = threading.Thread(target=lambda: reasons.append(failure_of(reader, BUSY, "a.html").reason))
    thread.start()
    time.sleep(0.3)  # well inside the parser, which needs half a minute
    reader.close()
    assert is_gone(pid)
    thread.join(20)
    assert reasons == ["unreadable"]
    assert reader._child is None


# ---- what a child that was taken over could say ----

DOCUMENT = ParsedDocument(
    "제목",
    "가나다라 마바사",
    (Block(0, 2, ("가",), Place(page=3), "list"), Block(3, 5, (), Place(sheet="s", rows=(1, 2)), "row")),
)


def test_a_document_comes_out_as_it_went_in() -> None:
    assert wire.document_from(*wire.document_message(DOCUMENT)) == DOCUMENT


@pytest.mark.parametrize(
    "change",
    [
        {"text": "짧다"},
        {"text": "가나다라\0마바사"},
        {"text": "e\u0301 가나다라마바사"},
        {"blocks": (Block(3, 5), Block(0, 2))},
        {"blocks": (Block(0, 4), Block(3, 5))},
        {"blocks": (Block(2, 2),)},
        {"blocks": ()},
        {"title": "두\n줄"},
        {"title": "x" * 10_000},
        {"blocks": (Block(0, 2, ("한\n줄",)),)},
        {"blocks": (Block(0, 2, ("x",) * 100),)},
    ],
)
def test_a_document_that_breaks_the_promises_is_refused(change: dict) -> None:
    with pytest.raises(wire.BrokenMessage):
        wire.document_from(*wire.document_message(dataclasses.replace(DOCUMENT, **change)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["title", "headings", "sheets", "blocks", "failed", "reason", "hint", "sha256"])


@given(st.dictionaries(KEYS, JSON), st.binary(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_message_is_a_document_a_failure_or_broken(message: dict, body: bytes) -> None:
    whole, text = wire.document_message(DOCUMENT)
    for document in ((message, body), ({**whole, **message}, text), ({**whole}, body + text)):
        with contextlib.suppress(wire.BrokenMessage):
            assert isinstance(wire.document_from(*document), ParsedDocument)
    with contextlib.suppress(wire.BrokenMessage):
        assert isinstance(wire.failure_from(message), ReadFailed)


def test_messages_that_are_none_are_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for raw, error in (
            (struct.pack(">QQ", 2**60, 0), wire.BrokenMessage),
            (struct.pack(">QQ", 200_000, 0) + b"[" * 200_000, wire.BrokenMessage),
            (struct.pack(">QQ", 2, 0) + b"[]", wire.BrokenMessage),
        ):
            theirs.sendall(raw)
            with pytest.raises(error):
                wire.receive(ours)
        with pytest.raises(TimeoutError):
            wire.receive(ours, deadline=time.monotonic() + 0.05)
        theirs.close()
        with pytest.raises(wire.ConnectionEnded):
            wire.receive(ours)


@pytest.mark.parametrize(
    "limits", [{"timeout_s": 0}, {"max_files": 0}, {"memory_bytes": 0}, {"max_resident_bytes": -1}]
)
def test_limits_are_checked(limits: dict) -> None:
    with pytest.raises(ValueError, match="limits"):
        ReaderProcess(**limits)


@pytest.mark.parametrize(
    ("names", "reason", "says"),
    [
        ((), "empty", "holds no files"),
        (("folder/", ".hidden", "__MACOSX/a.txt"), "empty", "holds no files"),
        (("run.exe", "a.bin"), "unsupported", "holds 2 files, none of a kind that can be read"),
    ],
)
def test_archive_without_documents_says_so(
    reader: ReaderProcess, tmp_path: Path, names: tuple[str, ...], reason: str, says: str
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    with pytest.raises(ReadFailed, match=says) as caught:
        reader.members(path, name=path.name, max_bytes=MAX_BYTES)
    assert caught.value.reason == reason
    assert caught.value.content_hash == hashlib.sha256(path.read_bytes()).hexdigest()


def test_members_of_two_archives_and_files_in_turn(reader: ReaderProcess, tmp_path: Path) -> None:
    for name in "ab":
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for number in range(3):
                archive.writestr(f"{number}.txt", f"{name} says {number}")
    (tmp_path / "c.txt").write_text("c says so", encoding="utf-8")

    def text(name: str, member: str = "") -> str:
        return reader.read(tmp_path / name, name=name, member=member, max_bytes=MAX_BYTES)[0].text

    for number in range(3):
        assert text("a.zip", f"{number}.txt") == f"a says {number}"
        assert text("c.txt") == "c says so"
        assert text("b.zip", f"{number}.txt") == f"b says {number}"
        assert text("b.zip", "0.txt") == "b says 0"


def test_no_temporary_file_outlives_a_killed_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures and words of a document lie in them while text is recognised."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ReaderProcess() as process:
        pid = child_pid(process)
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        folder = next(Path(os.fsdecode(item[7:])) for item in environment if item.startswith(b"TMPDIR="))
        assert folder.parent == tmp_path
        (folder / "page.txt").write_text("words", encoding="utf-8")
        os.kill(pid, signal.SIGKILL)
        assert child_pid(process) != pid
        assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_folders_left_by_killed_processes_are_removed_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, young = tmp_path / "gakju-read-left", tmp_path / "gakju-read-young"
    for folder in (left, young, tmp_path / "other"):
        folder.mkdir()
        (folder / "page.txt").write_text("words", encoding="utf-8")
    used = ReaderFolder()
    for old in (left, Path(used.path), tmp_path / "other"):
        os.utime(old, (0, 0))
    (tmp_path / "gakju-read-link").symlink_to(tmp_path / "other")
    ReaderFolder().remove()
    assert {path.name for path in tmp_path.iterdir()} == {
        "gakju-read-young",
        "other",
        "gakju-read-link",
        Path(used.path).name,
    }
    assert (tmp_path / "other" / "page.txt").exists()
    used.remove()
    assert not Path(used.path).exists()
