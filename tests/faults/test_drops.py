"""PostgreSQL, Redis or the language model refuses, hangs, swallows, crawls or resets: what is said then, and the return.
And the client that goes away: the model stops.

One app lives through all of it. Nobody restarts anything; each return is followed by a turn that works fully.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from tests.fakes.vllm import FakeVllm
from tests.faults.chat import Shown, ask, stream
from tests.faults.llm_process import LONG, QUESTION, answer_to
from tests.faults.proxy import FaultProxy, Mode
from tests.faults.world import World, assert_whole_or_marked, healed
from tests.running import RunningApp

# The hang is the worst of them; the others take minutes together.
MODES = ["hang", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("refuse", "blackhole", "slow", "reset"))]
ENDS_S = 30.0  # first token 6 s, idle 3 s, the search 10 s, the memory 4 s: no turn may take longer than its deadlines


@pytest.fixture(scope="module")
def model(llm_port: int) -> Iterator[FakeVllm]:
    with FakeVllm(port=llm_port) as fake:
        fake.always(LONG)
        yield fake


@pytest.fixture(scope="module")
def app(world: World, model: FakeVllm) -> Iterator[RunningApp]:
    with world.app() as app:
        yield app
        assert "Traceback" not in app.output, app.output[-4000:]


def is_whole(shown: Shown) -> bool:
    return shown[1]["status"] == "complete" and not shown[1]["notice"] and bool(shown[1]["citations"])


def during(proxy: FaultProxy, mode: Mode, app: RunningApp, name: str, session_id: str, *, after: int) -> Shown:
    """A turn with the fault from its beginning (`after` 0), or from its `after`th state on."""
    states: list[Shown] = []
    began = time.monotonic()
    if not after:
        proxy.mode = mode
    for state in stream(app.url, QUESTION.format(name), session_id, timeout_s=ENDS_S):
        states.append(state)
        if len(states) == after:
            proxy.mode = mode
    shown = states[-1]
    print(
        f"\n{mode} {'mid-way' if after else 'before'}: {time.monotonic() - began:.1f} s, {shown[1]['status']}", end=""
    )
    print(f" {shown[1].get('error', {}).get('code', '')} {shown[1]['notice']}", end="")
    return shown


def returns(world: World, proxy: FaultProxy, app: RunningApp, name: str, session_id: str) -> None:
    began = time.monotonic()
    proxy.mode = "pass"
    _, turn = healed(app, QUESTION.format(name), session_id, is_good=is_whole)
    print(f"; healed within {time.monotonic() - began:.1f} s, the turn included", end="")
    stored = world.memory.turns(turn["session_id"])
    assert stored[-1].status == "complete" and stored[-1].answer == answer_to(name)
    for kept in stored:
        assert_whole_or_marked(kept)


@pytest.fixture
def session_id(app: RunningApp) -> str:
    """A conversation with one turn, from before the fault."""
    _, turn = healed(app, QUESTION.format("first"), "", is_good=is_whole)
    return str(turn["session_id"])


@pytest.mark.parametrize("after", [0, 6], ids=["before", "midway"])
@pytest.mark.parametrize("mode", MODES)
def test_redis_away_is_answered_with_history_off(
    world: World, app: RunningApp, session_id: str, mode: Mode, after: int
):
    answer, turn = during(world.redis, mode, app, "during", session_id, after=after)
    assert turn["status"] == "complete" and answer == answer_to("during") and turn["citations"]
    if mode != "slow":
        assert turn["notice"] == "history_off"
    returns(world, world.redis, app, "after", session_id)
    stored = [kept.question for kept in world.memory.turns(session_id)]
    assert stored[0] == QUESTION.format("first")
    if after:  # it had begun, so it is kept whole as soon as Redis is back
        assert stored[1] == QUESTION.format("during")
        assert world.memory.turns(session_id)[1].status == "complete"


@pytest.mark.parametrize("mode", MODES)
def test_postgres_away_is_said_and_comes_back(world: World, app: RunningApp, session_id: str, mode: Mode):
    _, turn = during(world.postgres, mode, app, "during", session_id, after=0)
    if mode != "slow":
        assert turn["error"]["code"] == "database_unavailable" and turn["status"] == "failed"
    returns(world, world.postgres, app, "after", session_id)
    assert [kept.question for kept in world.memory.turns(session_id)][:2] == [
        QUESTION.format("first"),
        QUESTION.format("during"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["hang", "blackhole"])
def test_many_that_ask_a_hanging_postgres_leave_nothing_behind(world: World, app: RunningApp, mode: Mode):
    """More than the pool has connections; after a blackhole none of these ever comes back."""
    world.postgres.mode = mode
    codes: list[str] = []

    def one(n: int) -> None:
        codes.append(ask(app.url, QUESTION.format(f"many{n}"), timeout_s=ENDS_S)[1]["error"]["code"])

    threads = [threading.Thread(target=one, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ENDS_S)
    assert codes == ["database_unavailable"] * 16
    returns(world, world.postgres, app, "after", "")


@pytest.mark.parametrize("after", [0, 6], ids=["before", "midway"])
@pytest.mark.parametrize("mode", MODES)
def test_the_model_away_leaves_what_was_found(world: World, app: RunningApp, session_id: str, mode: Mode, after: int):
    answer, turn = during(world.llm, mode, app, "during", session_id, after=after)
    assert turn["retrieved"] and turn["retrieved"][0]["document"] == "fx.md"
    if mode == "slow":
        assert turn["status"] in ("complete", "interrupted")
    elif after:
        assert turn["status"] == "interrupted" and turn["error"]["code"] == "llm_interrupted"
        kept = world.memory.turns(session_id)[1]
        assert kept.status == "interrupted" and kept.answer and answer.startswith(kept.answer.strip())
    else:
        assert turn["status"] == "failed" and turn["error"]["code"] == "llm_unavailable"
    returns(world, world.llm, app, "after", session_id)


def stops(world: World, app: RunningApp, model: FakeVllm, times: int) -> None:
    """Closes the connection at any moment, also while the model has not said a word; says how long the model went on."""
    went_on_s: list[float] = []
    for n in range(times):
        model.always(replace(LONG, first_delay_s=random.choice((0, 0, 5))))
        asked, gone = len(model.requests), len(model.disconnects)
        session_id = ""
        with closing(stream(app.url, QUESTION.format(f"stop{n}"))) as states:
            until = random.randint(1, 12)
            for count, (_, turn) in enumerate(states, start=1):
                session_id = turn["session_id"] or session_id
                if len(model.requests) > asked and count >= until:
                    break
        closed = time.monotonic()
        assert len(model.requests) > asked and model.wait_for_disconnect(gone + 1), "the model went on for nobody"
        went_on_s.append(model.disconnects[gone] - closed)
        until_s = time.monotonic() + 10
        while (kept := world.memory.turns(session_id)[0]).status == "pending":
            assert time.monotonic() < until_s
            time.sleep(0.02)
        assert kept.status == "interrupted" and kept.error == "stopped"
        assert_whole_or_marked(kept, f"stop{n}")
    model.always(LONG)
    went_on_s.sort()
    print(f"\n{times} closed connections: the model's was closed after {went_on_s[len(went_on_s) // 2]:.2f} s", end="")
    print(f" at the median, {went_on_s[-1]:.2f} s at most", end="")


def test_a_closed_connection_stops_the_model(world: World, app: RunningApp, model: FakeVllm):
    stops(world, app, model, 4)


@pytest.mark.slow
def test_many_closed_connections_stop_the_model(world: World, app: RunningApp, model: FakeVllm):
    stops(world, app, model, 100)
