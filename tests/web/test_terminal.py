"""`gakju ask` as a process of its own: what it prints, and how it ends when something goes wrong."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.web.conftest import Running, wait_until
from tests.web.fake_service import RELATED

ROOT = Path(__file__).parents[2]
ASK = (
    "import sys, pathlib; from web.terminal import ask;"
    "sys.exit(ask(sys.argv[1], sys.argv[2], session_file=pathlib.Path(sys.argv[3]), new=False))"
)
SERVE = (
    "import time; from tests.web.conftest import serving; from tests.web.fake_service import FakeService\n"
    "with serving(FakeService()) as running: print(running.url, flush=True); time.sleep(300)"
)


def start(url: str, question: str, session_file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ASK, url, question, str(session_file)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output, errors; never a traceback."""
    try:
        out, err = process.communicate(timeout=50)
    finally:
        process.kill()
    assert "Traceback" not in out + err, err
    return process.returncode, out, err


@contextmanager
def other_app() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The app in a process that a test may kill."""
    process = subprocess.Popen([sys.executable, "-c", SERVE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.wait()


def test_it_streams_prints_footnotes_and_goes_on(running: Running, tmp_path: Path):
    session_file = tmp_path / "new" / "session"
    code, out, err = ended(start(running.url, "보증 기간은?", session_file))
    assert (code, err) == (0, "") and "24개월" in out and "[2] faq/returns.md" in out and "— quote mode" in out
    assert out.count("보증 기간은?") == 1  # each piece is printed once
    assert ended(start(running.url, "follow", session_file))[0] == 0
    assert running.service.asked[-1]["session_id"] == session_file.read_text()


def test_it_prints_questions_to_ask_next(running: Running, tmp_path: Path):
    code, out, err = ended(start(running.url, "related 보증 기간은?", tmp_path / "session"))
    assert (code, err) == (0, "") and "이어서 물어보기:" in out
    assert [line.strip() for line in out.splitlines()][-3:] == [f"→ {question}" for question in RELATED]
    assert out.count("24개월") == 1  # the answer came twice, and was printed once


def test_the_session_file_is_for_its_owner_alone(running: Running, tmp_path: Path):
    fresh, old = tmp_path / "fresh", tmp_path / "old"
    old.touch(mode=0o644)
    for session_file in (fresh, old):
        assert ended(start(running.url, "x", session_file))[0] == 0
        assert stat.S_IMODE(session_file.stat().st_mode) == 0o600


def test_the_session_file_is_never_readable_by_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from web import terminal

    modes: list[int] = []
    opened = os.open

    def watched(path, flags, mode=0o777, **kwargs):
        descriptor = opened(path, flags, mode, **kwargs)
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    terminal._write(tmp_path / "session", "id")
    assert modes == [0o600]


def test_a_lost_session_is_replaced(running: Running, tmp_path: Path):
    (tmp_path / "session").write_text("nobody-knows")
    code, out, err = ended(start(running.url, "x", tmp_path / "session"))
    assert code == 0 and "24개월" in out and "starting a new one" in err


@pytest.mark.parametrize(("question", "said"), [("boom", "PostgreSQL does not answer."), ("", "The message is empty.")])
def test_an_error_of_the_app_is_one_sentence(running: Running, tmp_path: Path, question: str, said: str):
    code, _, err = ended(start(running.url, question, tmp_path / "session"))
    assert code == 1 and said in err and "(request " in err and len(err.strip().splitlines()) == 1


def test_a_killed_app_ends_the_waiting(tmp_path: Path):
    with other_app() as (url, app):
        asking = start(url, "endless", tmp_path / "session")
        assert asking.stdout is not None and asking.stdout.read(1)  # the answer has begun
        app.kill()
        code, _, err = ended(asking)
    assert code == 3 and f"no app answers at {url}" in err and len(err.strip().splitlines()) == 1


def test_a_hanging_app_ends_the_waiting(tmp_path: Path):
    with other_app() as (url, app):
        asking = start(url, "endless", tmp_path / "session")
        assert asking.stdout is not None and asking.stdout.read(1)
        app.send_signal(signal.SIGSTOP)
        code, _, err = ended(asking)
    assert code == 3 and "it stopped answering" in err


def test_ctrl_c_ends_it_quietly_and_the_turn_too(running: Running, tmp_path: Path):
    asking = start(running.url, "endless ctrl-c", tmp_path / "session")
    assert asking.stdout is not None and asking.stdout.read(1)
    asking.send_signal(signal.SIGINT)
    code, _, err = ended(asking)
    assert (code, err.strip()) == (130, "")
    wait_until(lambda: "endless ctrl-c" in running.service.closed, timeout_s=20)


def test_nothing_listens(tmp_path: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        code, _, err = ended(start(url, "x", tmp_path / "session"))
    assert code == 3 and "make run" in err


@pytest.mark.parametrize("url", ["no address", "http://[::1", "ftp://127.0.0.1"])
def test_an_address_that_is_none(tmp_path: Path, url: str):
    code, _, err = ended(start(url, "x", tmp_path / "session"))
    assert code == 3 and url in err


@pytest.mark.parametrize(("status", "body"), [(404, b"<html>"), (200, b"<html>"), (200, b"[]"), (502, b"{}")])
def test_another_server_is_told_from_the_app(tmp_path: Path, status: int, body: bytes):
    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code, _, err = ended(start(f"http://127.0.0.1:{server.server_port}", "x", tmp_path / "session"))
        server.shutdown()
    assert code == 1 and len(err.strip().splitlines()) == 1
