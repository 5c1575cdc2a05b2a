"""Sessions and turns in a real Valkey: whole or marked, bound to their owner, readable by stock LlamaIndex."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from llama_index.core.llms import ChatMessage

from knowledge.errors import MemoryUnavailable, SessionNotFound
from pipelines.chat_memory import RedisMemory, new_turn, to_messages
from pipelines.memory import SessionMemory, connect


def finished(session_id: str, question: str, answer: str = "답"):
    return replace(new_turn(session_id, question), answer=answer, status="complete")


def test_a_turn_is_kept_with_all_it_has(sessions):
    session_id = sessions.create("me")
    turn = new_turn(session_id, "질문?")
    sessions.begin(turn)
    assert [item.status for item in sessions.turns(session_id)] == ["pending"]
    done = replace(turn, answer="답 [1]", status="complete", timings={"total_ms": 3.5}, usage={"prompt_tokens": 7})
    sessions.finish(done)
    assert sessions.turns(session_id) == [done]


def test_a_turn_whose_process_died_reads_as_interrupted(sessions, servers):
    session_id = sessions.create("me")
    turn = replace(new_turn(session_id, "질문?"), answer="반쯤")
    sessions.begin(turn)
    client = connect(servers.redis().url)
    client.delete(f"gakju:{{{session_id}}}:running:{turn.turn_id}")  # what the lease's expiry does
    (read,) = sessions.turns(session_id)
    assert (read.status, read.error, read.answer) == ("interrupted", "process_died", "반쯤")


@pytest.mark.parametrize("owner", ["", "someone else"])
def test_a_session_is_its_owners_alone(sessions, owner):
    session_id = sessions.create("me")
    sessions.check(session_id, "me")
    with pytest.raises(SessionNotFound):
        sessions.check(session_id, owner)


@pytest.mark.parametrize("session_id", ["unknown", "x" * 32, "*", "a}:session{b" * 3, "../../etc", "ㄱ" * 30])
def test_unknown_and_hostile_ids_are_not_found(sessions, session_id):
    with pytest.raises(SessionNotFound):
        sessions.check(session_id, "")


def test_ids_cannot_be_guessed(sessions):
    ids = {sessions.create("") for _ in range(200)}
    assert len(ids) == 200 and all(len(item) == 32 for item in ids)


def test_parallel_turns_are_neither_lost_nor_reordered(sessions):
    session_id = sessions.create("me")

    def talk(name: int) -> None:
        for n in range(10):
            turn = new_turn(session_id, f"{name}-{n}")
            sessions.begin(turn)
            sessions.finish(replace(turn, answer="답", status="complete"))

    threads = [threading.Thread(target=talk, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turns = sessions.turns(session_id)
    assert len(turns) == 40 and all(turn.status == "complete" for turn in turns)
    for name in range(4):
        assert [turn.question for turn in turns if turn.question.startswith(f"{name}-")] == [
            f"{name}-{n}" for n in range(10)
        ]


def test_an_expired_session_says_so(sessions, servers):
    session_id = sessions.create("me")
    turn = new_turn(session_id, "?")
    sessions.begin(turn)
    connect(servers.redis().url).delete(f"gakju:{{{session_id}}}:session")
    with pytest.raises(SessionNotFound, match="expired"):
        sessions.finish(turn)


def test_expiry_slides_with_each_turn(sessions, servers):
    client = connect(servers.redis().url)
    session_id = sessions.create("me")
    key = f"gakju:{{{session_id}}}:session"
    client.expire(key, 5)
    sessions.begin(new_turn(session_id, "?"))
    assert all(client.ttl(f"gakju:{{{session_id}}}:{part}") > 3000 for part in ("session", "order", "turns"))


def test_an_unreachable_server_is_said():
    memory = SessionMemory(connect("redis://127.0.0.1:9/0", timeout_s=0.5), ttl_s=60)
    with pytest.raises(MemoryUnavailable, match="Redis"):
        memory.create("me")
    with pytest.raises(MemoryUnavailable):
        memory.ping()


def test_llamaindex_memory_reads_and_writes_turns(sessions):
    session_id = sessions.create("me")
    memory = RedisMemory(sessions, session_id)
    memory.put(ChatMessage(role="user", content="질문"))
    assert memory.get_all() == []  # a question without its answer is not history
    memory.put(ChatMessage(role="assistant", content="답"))
    assert [(str(item.role.value), item.content) for item in memory.get()] == [("user", "질문"), ("assistant", "답")]
    memory.set([ChatMessage(role="user", content="a"), ChatMessage(role="assistant", content="b")])
    assert [turn.question for turn in sessions.turns(session_id)] == ["a"]
    memory.reset()
    assert memory.get_all() == []


async def test_stock_llamaindex_chat_engine_runs_on_our_memory(sessions):
    from llama_index.core.chat_engine import SimpleChatEngine
    from llama_index.core.llms import MockLLM

    session_id = sessions.create("me")
    engine = SimpleChatEngine(llm=MockLLM(), memory=RedisMemory(sessions, session_id), prefix_messages=[])
    answer = await engine.achat("안녕")
    assert str(answer)
    (turn,) = sessions.turns(session_id)
    assert turn.question == "안녕" and turn.answer == str(answer) and turn.status == "complete"


def test_only_answered_turns_become_messages():
    turns = [
        finished("s", "a"),
        new_turn("s", "pending"),
        replace(new_turn("s", "b"), answer="half", status="interrupted"),
        replace(new_turn("s", "c"), status="failed"),
    ]
    assert [message.content for message in to_messages(turns)] == ["a", "답", "b", "half"]


def test_get_gives_the_last_turns_only(sessions):
    session_id = sessions.create("me")
    for n in range(5):
        turn = finished(session_id, str(n))
        sessions.begin(turn)
        sessions.finish(turn)
    memory = RedisMemory(sessions, session_id, last_turns=2)
    assert [item.content for item in memory.get() if item.role == "user"] == ["3", "4"]
    assert len(memory.get_all()) == 10


def test_a_late_lease_renewal_leaves_a_finished_turn_alone(sessions, servers):
    session_id = sessions.create("me")
    turn = new_turn(session_id, "?")
    sessions.begin(turn)
    done = replace(turn, answer="끝", status="complete")
    sessions.finish(done)
    sessions.keep_alive(replace(turn, answer="반"))
    assert sessions.turns(session_id) == [done]
    lease = f"gakju:{{{session_id}}}:running:{turn.turn_id}"
    assert not connect(servers.redis().url).exists(lease)


def test_a_turn_begun_twice_stands_once(sessions):
    """As when the reply to the first try was lost on the way."""
    session_id = sessions.create("me")
    turn = new_turn(session_id, "?")
    sessions.begin(turn)
    sessions.begin(turn)
    assert [item.turn_id for item in sessions.turns(session_id)] == [turn.turn_id]
