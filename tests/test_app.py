"""The app as a whole, started as a user starts it: two languages, every face, kills, wrong starts, no network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from tests.fakes.vllm import FakeVllm, Reply
from tests.running import ROOT, run_app, server_pids

KO = "환율이 떨어지면 옥수수 가격이 어떻게 바뀔까?"
EN = "What happens to the price of maize when the exchange rate falls?"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="module")
def app(data_dir):
    with run_app(data_dir) as app:
        yield app
        assert app.stop() == 0 and "Stopped." in app.output
        assert server_pids(data_dir) == {}


def ask(url: str, question: str, session_id: str = "") -> tuple[str, dict]:
    answer, turn = Client(url, verbose=False).predict(question, session_id, api_name="/chat")
    return answer, turn


def curl(url: str, question: str, session_id: str = "") -> tuple[str, dict]:
    """The two requests that the README shows, with the same bodies."""
    body = {"message": question, "session_id": session_id}
    event = httpx.post(f"{url}/gradio_api/call/v2/chat", json=body, timeout=30).json()["event_id"]
    lines = httpx.get(f"{url}/gradio_api/call/chat/{event}", timeout=60).text.splitlines()
    at = lines.index("event: complete")
    answer, *_, turn = json.loads(lines[at + 1].removeprefix("data: "))
    return answer, turn


def test_ready_says_what_runs_where(app):
    for part in ("embedded PostgreSQL", "embedded Valkey", "multilingual-e5-small", "quote mode", "documents"):
        assert part in app.output
    assert httpx.get(f"{app.url}/healthz").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("question", "documents", "words"),
    [
        (KO, {"grain/exchange-rate.ko.md", "faq.csv"}, "내려갑니다"),
        (EN, {"grain/exchange-rate.en.md", "faq.csv"}, "falls"),
    ],
)
def test_a_question_is_answered_in_its_language_with_the_right_passage(app, question, documents, words):
    answer, turn = ask(app.url, question)
    assert words in answer and "[1]" in answer
    assert {citation["document"] for citation in turn["citations"]} & documents
    for citation in turn["citations"]:
        assert f"[{citation['n']}]" in answer
        assert all(0 <= a < b <= len(citation["text"]) for a, b in citation["highlights"])


def test_programs_get_what_is_asked_most(app):
    client = Client(app.url, verbose=False)
    client.predict("WASDE는 언제 나오나요?", "", api_name="/chat")  # shown once
    first, second = client.predict(k=2, language="ko", api_name="/faq")
    assert first["views"] >= 1 and second["views"] <= first["views"] and first["answer"] and first["document"]
    terms = client.predict(k=100, api_name="/terms")
    assert {"ko", "en"} == {term["language"] for term in terms}
    for name, value, message in [
        ("k", 0, "k is 0"),
        ("k", "many", "whole number"),
        ("session_id", "x", "conversation"),
    ]:
        with pytest.raises(AppError, match=message):
            client.predict(**{name: value}, api_name="/faq")


def test_curl_and_gradio_client_get_the_same(app):
    answer, turn = ask(app.url, KO)
    other_answer, other = curl(app.url, KO)
    assert answer == other_answer
    assert [item["chunk_id"] for item in turn["citations"]] == [item["chunk_id"] for item in other["citations"]]
    assert {"session_id", "turn_id", "citations", "retrieved", "llm", "timings"} <= turn.keys()


def test_the_answer_streams(app):
    job = Client(app.url, verbose=False).submit(KO, "", api_name="/chat")
    answers = [answer for answer, _ in job]
    assert len(answers) >= 2 and answers[-1]


def test_a_follow_up_uses_the_history(app):
    _, first = ask(app.url, KO)
    answer, second = ask(app.url, "그럼 운임은?", first["session_id"])
    assert second["session_id"] == first["session_id"] and KO in second["search_query"]
    assert "운임" in answer
    assert any("freight" in item["document"] or "운임" in item["text"] for item in second["citations"])


@pytest.mark.parametrize(
    ("message", "session_id", "code"),
    [("", "", "invalid_message"), ("  \n ", "", "invalid_message"), ("가" * 35_000, "", "invalid_message"),
     (KO, "no-such-session", "session_not_found")],
)  # fmt: skip
def test_wrong_input_is_answered_with_a_request_id(app, message, session_id, code):
    for call in (ask, curl):
        answer, turn = call(app.url, message, session_id)
        assert turn["error"]["code"] == code and turn["error"]["request_id"] in answer
        assert "Traceback" not in answer
    assert ask(app.url, KO)[1]["citations"]


def test_the_terminal_client_keeps_its_session(app, data_dir):
    def gakju(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"DATA_DIR": str(data_dir)}
        command = [sys.executable, "-m", "app", "ask", "--url", app.url, *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    first = gakju(KO)
    assert first.returncode == 0 and "[1]" in first.stdout and "exchange-rate.ko.md" in first.stdout
    session = (data_dir / "ask-session").read_text()
    assert "운임" in gakju("그럼 운임은?").stdout and (data_dir / "ask-session").read_text() == session
    gakju("--new", EN)
    assert (data_dir / "ask-session").read_text() != session
    down = subprocess.run(
        [sys.executable, "-m", "app", "ask", "--url", "http://127.0.0.1:9", "?"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert down.returncode == 3 and "make run" in down.stderr and "Traceback" not in down.stderr


def test_ingesting_beside_the_running_app_is_searched_at_once(app, data_dir, tmp_path):
    (tmp_path / "policy.md").write_text(
        "# 재택근무 규정\n\n재택근무는 일주일에 이틀까지 팀장의 승인을 받아 할 수 있습니다.\n"
    )
    environment = os.environ | {"DATA_DIR": str(data_dir)}
    command = [sys.executable, "-m", "ingest", "add", str(tmp_path)]
    for said in ("1 added", "Nothing changed"):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and said in done.stdout, done.stderr
    answer, turn = ask(app.url, "재택근무는 일주일에 며칠까지 되나요?")
    assert "이틀" in answer and turn["citations"][0]["document"] == "policy.md"
    assert server_pids(data_dir).keys() == {"postgres", "valkey"}


def test_the_index_is_built_anew_under_questions_and_followed(tmp_path, docs):
    """Questions all the time, ten a second at most: none fails, and each answer is of one index."""
    shutil.copytree(docs / "grain", tmp_path / "docs")
    answers: list[tuple[str, dict]] = []
    stop = threading.Event()
    with run_app(tmp_path / "data", KNOWLEDGE_DIR=str(tmp_path / "docs")) as app:

        def keep_asking() -> None:
            while not stop.is_set():
                started = time.monotonic()
                answers.append(curl(app.url, KO))
                stop.wait(max(0.0, 0.1 - (time.monotonic() - started)))

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            environment = os.environ | {"DATA_DIR": str(tmp_path / "data"), "CHUNK_TOKENS": "128"}
            command = [sys.executable, "-m", "ingest", "reembed", "--json"]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            deadline = time.monotonic() + 60
            while "answering from it now" not in app.output and time.monotonic() < deadline:
                time.sleep(0.2)
            followed = len(answers)
            while len(answers) < followed + 3 and time.monotonic() < deadline:
                time.sleep(0.2)
        finally:
            stop.set()
            asking.join()
        assert "answering from it now" in app.output
    assert followed > 5 and all(turn["status"] == "complete" and turn["citations"] for _, turn in answers)
    ids = [{citation["chunk_id"] for citation in turn["citations"]} for _, turn in answers]
    assert ids[0].isdisjoint(ids[-1])  # chunks of another size
    assert all(found in (ids[0], ids[-1]) for found in ids)


def test_the_chat_log_has_one_line_a_turn(app, data_dir):
    _, turn = ask(app.url, KO)
    lines = [json.loads(line) for line in (data_dir / "logs" / "chat.jsonl").read_text().splitlines()]
    assert [line["user"] for line in lines if line["turn_id"] == turn["turn_id"]] == [KO]


def test_killed_servers_come_back_by_themselves(app, data_dir):
    _, first = ask(app.url, KO)
    pids = server_pids(data_dir)
    assert pids.keys() == {"postgres", "valkey"}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while httpx.get(f"{app.url}/healthz").json()["status"] != "ok" or not server_pids(data_dir):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    answer, second = ask(app.url, "그럼 운임은?", first["session_id"])
    assert "운임" in answer and KO in second["search_query"]


def test_a_kill_of_the_app_loses_no_conversation(tmp_path):
    with run_app(tmp_path) as app:
        _, first = ask(app.url, KO)
        app.process.kill()
        app.process.wait()
    with run_app(tmp_path) as app:
        _, second = ask(app.url, "그럼 운임은?", first["session_id"])
        assert KO in second["search_query"]
        assert app.stop(signal.SIGTERM) == 0
    assert server_pids(tmp_path) == {}


def test_with_a_model_connected_it_says_which_one_answers(tmp_path):
    with FakeVllm(model="Qwen/Test") as fake:
        fake.always(Reply("원화 원가가 내려갑니다 [1]."))
        with run_app(tmp_path, LLM_BASE_URL=fake.base_url) as app:
            assert "Qwen/Test" in app.output
            answer, turn = ask(app.url, KO)
            assert (answer, turn["llm"]) == ("원화 원가가 내려갑니다 [1].", "Qwen/Test")
            fake.stop()
            answer, turn = ask(app.url, KO)
            assert turn["error"]["code"] == "llm_unavailable" and turn["retrieved"]


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ({"PORT": "port"}, 2, "PORT"),
        ({"DATABASE_URL": "postgresql://me:secret@127.0.0.1:9/x"}, 3, "does not answer"),
        ({"HOST": "0.0.0.0"}, 2, "ALLOW_UNAUTHENTICATED"),
    ],
)
def test_a_wrong_start_is_one_sentence(tmp_path, environment, code, said):
    done = subprocess.run(
        [sys.executable, "-m", "app", "run"],
        cwd=ROOT, env={**os.environ, "DATA_DIR": str(tmp_path), **environment},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == code and said in done.stderr
    assert "Traceback" not in done.stderr and "secret" not in done.stderr


def test_a_port_in_use_is_said_at_once(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(AssertionError, match=f"PORT={port}: cannot listen"):
            run_app(tmp_path, PORT=port).__enter__()


def test_redis_away_at_the_start_is_said_and_answers_still_come(tmp_path):
    with run_app(tmp_path, REDIS_URL="redis://127.0.0.1:9/0") as app:
        assert "conversations are not kept" in app.output
        answer, turn = ask(app.url, KO)
        assert "[1]" in answer and turn["notice"] == "history_off"


OFFLINE = """
import sys
from pathlib import Path
from tests.running import run_app
from tests.test_app import KO, ask
import fcntl, socket, struct
lo = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # SIOCSIFFLAGS: up and running
fcntl.ioctl(socket.socket(), 0x8914, lo)
try:
    socket.create_connection(("192.0.2.1", 80), 2)
    sys.exit("the network is not blocked")
except OSError:
    pass
with run_app(Path(sys.argv[1])) as app:
    answer, turn = ask(app.url, KO)
    assert "[1]" in answer, answer
print("offline ok")
"""


def test_it_starts_and_answers_with_the_network_blocked(tmp_path):
    """In a network namespace of its own, where nothing but loopback exists."""
    unshare = shutil.which("unshare")
    as_user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    if not unshare or subprocess.run([unshare, *as_user, "--net", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let us make a network namespace (unshare --net)")
    done = subprocess.run(
        [unshare, *as_user, "--net", sys.executable, "-c", OFFLINE, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0 and "offline ok" in done.stdout, done.stdout + done.stderr
