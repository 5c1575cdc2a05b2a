"""The app, the language model or the client is killed at a random token: no turn is half, and the next question works.

How often: GAKJU_KILLS (of each kind). A killed app takes ten running turns with it, which count one by one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from http.client import HTTPException
from typing import Any

import pytest

from tests.faults.chat import stream
from tests.faults.llm_process import QUESTION
from tests.faults.world import World, assert_whole_or_marked, healed, llm_process
from tests.running import ROOT, RunningApp

MANY = int(os.environ.get("GAKJU_KILLS", "60"))
FEW = 6
TURNS_AT_ONCE = 10


class Talk(threading.Thread):
    """One question and what its reader saw of the answer until the end, whichever end it was."""

    def __init__(self, app: RunningApp, name: str, session_id: str = "") -> None:
        super().__init__(daemon=True)
        self.app, self.question_name, self.session_id = app, name, session_id
        self.turn: dict[str, Any] = {}
        self.seen, self.states = "", 0

    def run(self) -> None:
        try:
            for answer, turn in stream(self.app.url, QUESTION.format(self.question_name), self.session_id):
                self.turn, self.states = turn, self.states + 1
                if "error" not in turn:
                    self.seen = answer
                self.session_id = turn["session_id"] or self.session_id
        except (OSError, HTTPException, ValueError):
            pass  # killed


def wait_until(is_so, timeout_s: float = 30) -> None:
    until = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.005)


def assert_kept(world: World, talk: Talk) -> str:
    """What was stored of a turn that was cut off; its status."""
    turns = world.memory.turns(talk.session_id)
    turn = next(turn for turn in turns if turn.question == QUESTION.format(talk.question_name))
    assert_whole_or_marked(turn, talk.question_name)
    return turn.status


def next_is_answered(app: RunningApp, name: str, session_id: str) -> None:
    _, turn = healed(
        app,
        QUESTION.format(name),
        session_id,
        is_good=lambda shown: shown[1]["status"] == "complete" and not shown[1]["notice"],
    )
    assert turn["session_id"] == session_id and {1, 2} == {citation["n"] for citation in turn["citations"]}


def of_killed_clients(world: World, app: RunningApp, kills: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for n in range(kills):
        name = f"client{n}"
        client = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.chat", app.url, QUESTION.format(name)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert client.stdout is not None
        session_id, seen = "", ""
        for _ in range(random.randint(2, 16)):
            answer, turn = json.loads(client.stdout.readline() or '["", {}]')
            session_id, seen = turn.get("session_id") or session_id, answer or seen
        client.kill()
        client.wait()
        client.stdout.close()
        wait_until(lambda s=session_id: not s or world.memory.turns(s)[0].status != "pending", 10)
        if not session_id:
            outcomes["before it began"] += 1
            continue
        (turn,) = world.memory.turns(session_id)
        assert_whole_or_marked(turn, name)
        assert turn.answer.startswith(seen.rstrip()) or turn.status == "complete"
        outcomes[turn.status] += 1
        if n % 5 == 0:
            next_is_answered(app, f"{name}next", session_id)
    return outcomes


def of_killed_models(world: World, app: RunningApp, port: int, kills: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for n in range(kills):
        with llm_process(port) as llm:
            talk = Talk(app, f"llm{n}")
            talk.start()
            states = random.randint(2, 16)
            wait_until(lambda t=talk, s=states: t.states >= s or not t.is_alive())
            llm.send_signal(signal.SIGKILL)
            llm.wait()
        talk.join(30)
        status = assert_kept(world, talk)
        assert status == talk.turn["status"]
        if talk.turn["retrieved"] == []:
            assert status == "failed"
        outcomes[status] += 1
        if n % 5 == 0:
            with llm_process(port):
                next_is_answered(app, f"llm{n}next", talk.session_id)
    return outcomes


def of_killed_apps(world: World, port: int, kills: int) -> Counter[str]:
    """`kills`: of turns."""
    outcomes: Counter[str] = Counter()
    sessions: list[str] = []
    with llm_process(port):
        for start in range(0, kills, TURNS_AT_ONCE):
            with world.app() as app:
                for session_id in sessions[:2]:
                    next_is_answered(app, f"app{start}next", session_id)
                talks = [Talk(app, f"app{start + n}") for n in range(min(TURNS_AT_ONCE, kills - start))]
                for talk in talks:
                    talk.start()
                    time.sleep(random.uniform(0, 0.3))
                states = random.randint(1, 12 * len(talks))
                wait_until(lambda t=talks, s=states: sum(talk.states for talk in t) >= s)
                app.process.kill()
                app.process.wait()
            for talk in talks:
                talk.join(30)
            sessions = [talk.session_id for talk in talks if talk.session_id]
            outcomes["before it began"] += len(talks) - len(sessions)
            outcomes.update(assert_kept(world, talk) for talk in talks if talk.session_id)
        with world.app() as app:
            for session_id in sessions:
                next_is_answered(app, "last", session_id)
    return outcomes


def assert_nothing_is_half(world: World) -> int:
    """Also of the turns that no client knows of."""
    turns = [turn for turns in world.all_turns().values() for turn in turns]
    for turn in turns:
        assert_whole_or_marked(turn)
    return len(turns)


def run(world: World, port: int, kills: int) -> None:
    with world.app() as app:
        with llm_process(port):
            clients = of_killed_clients(world, app, kills)
        models = of_killed_models(world, app, port, kills)
    apps = of_killed_apps(world, port, kills)
    print(f"\nkilled clients {dict(clients)}, models {dict(models)}, apps {dict(apps)};", end=" ")
    print(f"{assert_nothing_is_half(world)} turns stored, none half")
    assert clients["interrupted"] and models["interrupted"] and apps["interrupted"]


def test_no_kill_leaves_half_a_turn(world: World, llm_port: int):
    run(world, llm_port, FEW)


@pytest.mark.slow
def test_no_kill_of_many_leaves_half_a_turn(world: World, llm_port: int):
    run(world, llm_port, MANY)
