"""A turn and its place in the session: kept while it runs, kept later where Redis was away, taken in the order of asking."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from knowledge.errors import MemoryUnavailable, SessionBusy
from pipelines import turn_record
from pipelines.chat_memory import new_turn
from pipelines.memory import SessionMemory, connect
from pipelines.memory_lease import is_surely_dead, my_name
from pipelines.turn_record import TurnRecord
from tests.running import ROOT


def paused(servers, seconds: float) -> None:
    connect(servers.redis().url).client_pause(int(seconds * 1000), all=True)


async def until(is_so, timeout_s: float = 15) -> None:
    for _ in range(int(timeout_s / 0.05)):
        if is_so():
            return
        await asyncio.sleep(0.05)
    pytest.fail("it did not happen")


@pytest.fixture
def hasty(servers, sessions) -> SessionMemory:
    """The memory of a client that waits a third of a second for an answer. `sessions` empties the store."""
    return SessionMemory(connect(servers.redis().url, timeout_s=0.3), ttl_s=3600)


async def test_what_came_so_far_is_kept_while_the_turn_runs(sessions, monkeypatch):
    monkeypatch.setattr(turn_record, "_KEEP_EVERY_S", 0.05)
    session_id = sessions.create("me")
    record = TurnRecord(new_turn(session_id, "?"), sessions)
    await record.begin(wait_s=0)
    record.update(answer="반쯤")
    await until(lambda: sessions.turns(session_id)[0].answer == "반쯤")
    assert sessions.turns(session_id)[0].status == "pending"
    record.update(answer="반쯤 넘게")
    await until(lambda: sessions.turns(session_id)[0].answer == "반쯤 넘게")
    await record.complete()
    assert [turn.status for turn in sessions.turns(session_id)] == ["complete"]


async def test_an_end_that_could_not_be_stored_is_stored_later(servers, hasty):
    session_id = hasty.create("me")
    record = TurnRecord(new_turn(session_id, "?"), hasty)
    await record.begin(wait_s=0)
    record.update(answer="whole")
    paused(servers, 1.5)
    await record.complete()
    assert record.notice == "history_off"
    reader = SessionMemory(connect(servers.redis().url), ttl_s=3600)
    await until(lambda: reader.turns(session_id)[0].status == "complete")
    assert reader.turns(session_id)[0].answer == "whole"


async def test_a_late_end_is_read_by_its_process_and_does_not_block_the_next_turn(servers, hasty):
    session_id = hasty.create("me")
    turn = new_turn(session_id, "?")
    hasty.begin(turn)
    hasty._late._try_every_s = 60  # so that only what follows can have stored it
    hasty.finish_later(replace(turn, answer="whole", status="complete"))
    assert [item.status for item in hasty.turns(session_id)] == ["complete"]
    hasty.begin(new_turn(session_id, "next"))
    others = SessionMemory(connect(servers.redis().url), ttl_s=3600).turns(session_id)
    assert [(item.status, item.answer) for item in others] == [("complete", "whole"), ("pending", "")]


async def test_what_never_began_and_what_is_gone_is_not_stored_later(hasty):
    session_id = hasty.create("me")
    hasty.finish_later(replace(new_turn(session_id, "never began"), status="complete"))
    hasty.finish_later(replace(new_turn("x" * 32, "of no session"), status="complete"))
    await until(lambda: not hasty._late._waiting)
    assert hasty.turns(session_id) == []


async def test_a_close_stores_what_waits(servers, hasty):
    session_id = hasty.create("me")
    turn = new_turn(session_id, "?")
    hasty.begin(turn)
    hasty._late._try_every_s = 60
    hasty.finish_later(replace(turn, answer="whole", status="complete"))
    await asyncio.to_thread(hasty.close)
    reader = SessionMemory(connect(servers.redis().url), ttl_s=3600)
    assert reader.turns(session_id)[0].status == "complete"


def test_a_redis_that_hangs_inside_a_transaction_is_not_asked_a_second_time(servers, hasty):
    """redis-py would connect anew to say UNWATCH, and wait out that deadline, too."""
    session_id = hasty.create("me")
    observer = connect(servers.redis().url, timeout_s=30)

    def connections() -> int:
        return int(observer.info("stats")["total_connections_received"])

    def hang(pipe) -> None:
        observer.client_pause(3_000, all=True)
        pipe.hset(f"gakju:{{{session_id}}}:session", "title", "x")

    before = connections()
    with pytest.raises(MemoryUnavailable):
        hasty._transact(session_id, hang)
    assert connections() == before  # which is answered when the pause is over


async def test_questions_of_one_process_are_answered_in_the_order_of_asking(sessions):
    session_id = sessions.create("me")

    async def ask(n: int) -> None:
        record = TurnRecord(new_turn(session_id, str(n)), sessions)
        await record.begin(wait_s=60)
        await asyncio.sleep(0.001)
        await record.complete()

    await asyncio.gather(*(ask(n) for n in range(60)))
    assert [turn.question for turn in sessions.turns(session_id)] == [str(n) for n in range(60)]


async def test_who_waits_in_vain_is_told_what_runs(sessions):
    session_id = sessions.create("me")
    first = TurnRecord(new_turn(session_id, "first"), sessions)
    await first.begin(wait_s=0)
    waiting = [TurnRecord(new_turn(session_id, f"late{n}"), sessions) for n in range(5)]
    outcomes = await asyncio.gather(*(record.begin(wait_s=0.5) for record in waiting), return_exceptions=True)
    assert all(isinstance(outcome, SessionBusy) and outcome.running == "first" for outcome in outcomes)
    await first.complete()
    last = TurnRecord(new_turn(session_id, "last"), sessions)
    assert [turn.question for turn in await last.begin(wait_s=0)] == ["first"]
    await last.complete()
    assert not any(sessions.lines._lines.values()), "nobody stands in line any more"


async def test_who_stops_waiting_leaves_the_line(sessions):
    session_id = sessions.create("me")
    first = TurnRecord(new_turn(session_id, "first"), sessions)
    await first.begin(wait_s=0)
    second, third = (TurnRecord(new_turn(session_id, name), sessions) for name in ("second", "third"))
    stopped = asyncio.create_task(second.begin(wait_s=30))
    waiting = asyncio.create_task(third.begin(wait_s=30))
    await asyncio.sleep(0.2)
    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)
    await first.complete()
    assert [turn.question for turn in await waiting][:1] == ["first"]
    await third.complete()


def test_a_turn_of_a_killed_process_is_interrupted_at_once(servers, sessions):
    """Without waiting for its lease to end."""
    session_id = sessions.create("me")
    code = (
        "import sys, time\nfrom pipelines.chat_memory import new_turn\nfrom pipelines.memory import *\n"
        "memory = SessionMemory(connect(sys.argv[1]), ttl_s=60)\nmemory.begin(new_turn(sys.argv[2], 'killed'))\n"
        "print('begun', flush=True)\ntime.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, servers.redis().url, session_id], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    assert sessions.turns(session_id)[0].status == "pending"
    with pytest.raises(SessionBusy):
        sessions.begin(new_turn(session_id, "next"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (turn,) = sessions.turns(session_id)
    assert (turn.status, turn.error) == ("interrupted", "process_died")
    sessions.begin(new_turn(session_id, "next"))


@pytest.mark.parametrize("name", ["", "1", "a:b:1:2", "::::", "x:99999999999999999999:1"])
def test_of_whom_nothing_is_known_nobody_says_that_he_is_dead(name):
    assert not is_surely_dead(name) and not is_surely_dead(my_name())


def test_a_process_number_used_again_is_another_process():
    machine, pid, start = my_name().rsplit(":", 2)
    assert is_surely_dead(f"{machine}:{pid}:{int(start) + 1}")
    assert not is_surely_dead(f"other-machine:{pid}:{int(start) + 1}")
