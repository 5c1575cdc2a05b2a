"""Many messages at once in one session, through several processes: what was answered is kept once and in its order."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.memory import SessionMemory, connect
from tests.fakes.vllm import FakeVllm, Reply
from tests.faults.chat import ask
from tests.faults.llm_process import QUESTION, said
from tests.faults.world import World, assert_whole_or_marked
from tests.running import ROOT, run_app

RACER = """
import random, sys, time
from dataclasses import replace
from knowledge.errors import SessionBusy
from pipelines.chat_memory import new_turn
from pipelines.memory import SessionMemory, connect
url, prefix, session_id, name, count = sys.argv[1:]
memory = SessionMemory(connect(url), ttl_s=3600, prefix=prefix)
print("ready", flush=True)
sys.stdin.readline()
for n in range(int(count)):
    turn = new_turn(session_id, f"{name}-{n}")
    sent = time.monotonic()
    try:
        memory.begin(turn)
    except SessionBusy:
        print(f"busy {name}-{n} {sent} {time.monotonic()}")
        time.sleep(random.uniform(0, 0.002))
        continue
    if random.random() < 0.5:
        memory.keep_alive(replace(turn, answer="half"))
    time.sleep(random.uniform(0, 0.002))
    memory.finish(replace(turn, answer=f"to {name}-{n}", status="complete"))
    print(f"answered {name}-{n} {sent} {time.monotonic()}")
"""


@dataclass(frozen=True)
class Answered:
    """Moments on the machine's monotonic clock."""

    question: str
    sent: float
    told: float


def assert_kept_in_order(kept: list[str], answered: list[Answered]) -> None:
    """What was answered, and nothing else, once each; whoever asked after another's answer stands behind it."""
    assert sorted(kept) == sorted(item.question for item in answered), "lost, doubled, or kept without an answer"
    place = {question: n for n, question in enumerate(kept)}
    latest_sent = 0.0
    for item in sorted(answered, key=lambda item: place[item.question]):
        assert item.told >= latest_sent, f"{item.question} was answered before one that stands in front of it was asked"
        latest_sent = max(latest_sent, item.sent)


def race_processes(servers, *, processes: int, messages: int) -> tuple[int, int]:
    url, prefix = servers.redis().url, f"races-{uuid.uuid4().hex[:8]}"
    memory = SessionMemory(connect(url), ttl_s=3600, prefix=prefix)
    session_id = memory.create("")
    arguments = [sys.executable, "-c", RACER, url, prefix, session_id]
    racers = [
        subprocess.Popen(
            [*arguments, str(n), str(messages // processes)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for n in range(processes)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = [racer.communicate(timeout=300)[0] for racer in racers]
    assert all(racer.returncode == 0 for racer in racers)
    lines = [line.split() for output in told for line in output.splitlines()]
    answered = [Answered(name, float(sent), float(end)) for kind, name, sent, end in lines if kind == "answered"]
    turns = memory.turns(session_id)
    memory.close()
    assert all(turn.status == "complete" and turn.answer == f"to {turn.question}" for turn in turns)
    assert_kept_in_order([turn.question for turn in turns], answered)
    busy = sum(kind == "busy" for kind, *_ in lines)
    assert len(answered) + busy == messages
    print(f"\n{messages} messages of {processes} processes: {len(answered)} answered, {busy} refused as busy", end="")
    return len(answered), busy


def race_apps(world: World, port: int, folder: Path, *, messages: int, at_once: int) -> None:
    """Through the API of two apps that share a Redis."""
    answered: list[Answered] = []
    refused: list[str] = []
    lock = threading.Lock()
    with FakeVllm(port=port) as fake, world.app() as one, run_app(folder, timeout_s=180, **world.environment) as two:
        fake.always(Reply(said, piece_chars=400))
        _, first = ask(one.url, QUESTION.format("first"))
        session_id = first["session_id"]

        def send(n: int) -> None:
            sent = time.monotonic()
            _, turn = ask(random.choice((one, two)).url, QUESTION.format(f"race{n}"), session_id)
            told = time.monotonic()
            with lock:
                if turn["status"] == "complete":
                    answered.append(Answered(QUESTION.format(f"race{n}"), sent, told))
                else:
                    refused.append(turn["error"]["code"])

        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(send, range(messages)))
    turns = world.memory.turns(session_id)
    for turn in turns:
        assert turn.status == "complete"
        assert_whole_or_marked(turn, turn.question.split("물음 ")[1].rstrip(")"))
    assert_kept_in_order([turn.question for turn in turns[1:]], answered)
    assert set(refused) <= {"session_busy"} and len(answered) + len(refused) == messages and answered
    print(f"\n{messages} messages through two apps: {len(answered)} answered, {len(refused)} refused as busy", end="")


def test_messages_of_many_processes_are_neither_lost_nor_reordered(servers):
    answered, busy = race_processes(servers, processes=3, messages=150)
    assert answered and busy


@pytest.mark.slow
def test_ten_thousand_messages_of_many_processes(servers):
    race_processes(servers, processes=4, messages=10_000)


def test_messages_through_two_apps_are_neither_lost_nor_reordered(world: World, llm_port: int, tmp_path: Path):
    race_apps(world, llm_port, tmp_path, messages=50, at_once=10)


@pytest.mark.slow
def test_a_thousand_messages_through_two_apps(world: World, llm_port: int, tmp_path: Path):
    race_apps(world, llm_port, tmp_path, messages=1000, at_once=50)
