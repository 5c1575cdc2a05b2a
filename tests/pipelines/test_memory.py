"""Sessions and turns in a real Valkey: whole or marked, bound to their owner, readable by stock LlamaIndex."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from llama_index.core.llms import ChatMessage

from knowledge.errors import MemoryUnavailable, SessionBusy, SessionNotFound
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
            while True:
                try:
                    sessions.begin(turn)
                    break
                except SessionBusy:
                    time.sleep(0.001)
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


def test_a_server_that_hangs_is_asked_once_and_then_left_alone_until_it_is_back(servers):
    client = connect(servers.redis().url, timeout_s=0.3)
    memory = SessionMemory(client, ttl_s=60)
    session_id = memory.create("me")
    client.client_pause(1500, all=True)
    with pytest.raises(MemoryUnavailable, match=r"(?i)time"):
        memory.check(session_id, "me")
    for _ in range(20):
        with pytest.raises(MemoryUnavailable, match="left alone"):
            memory.check(session_id, "me")
    for _ in range(100):
        try:
            memory.check(session_id, "me")
            break
        except MemoryUnavailable:
            time.sleep(0.1)
    else:
        pytest.fail("it did not heal within 10 s")
    with pytest.raises(SessionNotFound):
        memory.check(session_id, "someone else")
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


def test_one_turn_of_a_session_runs_at_a_time(sessions, servers):
    session_id = sessions.create("me")
    first, second = new_turn(session_id, "먼저"), new_turn(session_id, "나중")
    sessions.begin(first)
    with pytest.raises(SessionBusy) as caught:
        sessions.begin(second)
    assert caught.value.running == "먼저"
    assert [turn.question for turn in sessions.turns(session_id)] == ["먼저"]
    sessions.finish(replace(first, status="complete", answer="답"))
    sessions.begin(second)
    connect(servers.redis().url).delete(f"gakju:{{{session_id}}}:running:{second.turn_id}")  # its process died
    sessions.begin(new_turn(session_id, "다음"))
    assert [turn.status for turn in sessions.turns(session_id)] == ["complete", "interrupted", "pending"]


def test_of_many_that_ask_at_once_one_is_answered(sessions):
    session_id = sessions.create("me")
    outcomes: list[str] = []

    def ask(name: int) -> None:
        try:
            sessions.begin(new_turn(session_id, str(name)))
            outcomes.append("began")
        except SessionBusy:
            outcomes.append("busy")

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["began"] + ["busy"] * 15
    assert len(sessions.turns(session_id)) == 1


def test_turns_are_read_page_by_page(sessions):
    session_id = sessions.create("me")
    for n in range(7):
        turn = new_turn(session_id, str(n))
        sessions.begin(turn)
        sessions.finish(replace(turn, status="complete", answer="답"))
    latest = sessions.turns(session_id, last=3)
    earlier = sessions.turns(session_id, last=3, before=latest[0].turn_id)
    first = sessions.turns(session_id, last=3, before=earlier[0].turn_id)
    assert [[turn.question for turn in page] for page in (first, earlier, latest)] == [["0"], list("123"), list("456")]
    assert sessions.turns(session_id, before="unknown") == []


def test_an_owner_finds_sessions_by_their_last_change(sessions):
    owner = f"me-{time.time()}"
    first, second, empty = (sessions.create(owner) for _ in range(3))
    for session_id in (first, second, first):
        turn = new_turn(session_id, f"  {session_id}의\n질문 " + "길게 " * 50)
        sessions.begin(turn)
        sessions.finish(replace(turn, status="complete", answer="답"))
    listed = sessions.sessions(owner)
    assert [item.id for item in listed] == [first, second], "the one without a turn is not a conversation yet"
    assert listed[0].turns == 2 and listed[0].title.startswith(f"{first}의 질문") and len(listed[0].title) == 80
    assert sessions.sessions(owner, limit=1) == listed[:1]
    assert sessions.sessions(owner, before=listed[0].updated) == listed[1:]
    assert sessions.sessions("someone else") == [] and sessions.sessions("") == []
    assert empty not in {item.id for item in listed}


def test_a_session_without_owner_is_in_no_list(sessions):
    session_id = sessions.create("")
    sessions.begin(new_turn(session_id, "질문"))
    assert sessions.sessions("") == []
    sessions.check(session_id, "")


def test_a_renamed_session_keeps_its_name(sessions):
    session_id = sessions.create("me")
    turn = new_turn(session_id, "첫 질문")
    sessions.begin(turn)
    sessions.finish(replace(turn, status="complete", answer="답"))
    assert sessions.session(session_id, "me").title == "첫 질문"
    assert sessions.rename(session_id, "me", " 구매\n회의 ").title == "구매 회의"
    sessions.begin(new_turn(session_id, "둘째 질문"))
    assert sessions.session(session_id, "me").title == "구매 회의"
    with pytest.raises(SessionNotFound):
        sessions.rename(session_id, "someone else", "mine")


def test_a_deleted_session_is_gone_and_can_be_brought_back_for_a_while(sessions, servers):
    owner = f"me-{time.time()}"
    session_id = sessions.create(owner)
    turn = new_turn(session_id, "질문")
    sessions.begin(turn)
    with pytest.raises(SessionNotFound):
        sessions.delete(session_id, "someone else")
    sessions.delete(session_id, owner)
    with pytest.raises(SessionNotFound):
        sessions.check(session_id, owner)
    sessions.finish(replace(turn, status="complete", answer="답"))  # its answer came after all
    with pytest.raises(SessionNotFound):
        sessions.begin(new_turn(session_id, "다음"))
    assert sessions.sessions(owner) == []
    client = connect(servers.redis().url)
    assert all(0 < client.ttl(f"gakju:{{{session_id}}}:{part}") <= 60 for part in ("session", "order", "turns"))
    with pytest.raises(SessionNotFound):
        sessions.restore(session_id, "someone else")
    assert sessions.restore(session_id, owner).id == session_id
    assert [item.id for item in sessions.sessions(owner)] == [session_id]
    assert client.ttl(f"gakju:{{{session_id}}}:turns") > 60
    assert [(item.status, item.answer) for item in sessions.turns(session_id)] == [("complete", "답")]
    with pytest.raises(SessionNotFound):
        sessions.restore(session_id, owner)


def test_a_prefix_keeps_apart_who_shares_a_server(servers):
    client = connect(servers.redis().url)
    ours, theirs = (SessionMemory(client, ttl_s=60, prefix=prefix) for prefix in ("team-a", "team-b"))
    session_id = ours.create("me")
    ours.begin(new_turn(session_id, "질문"))
    assert len(ours.sessions("me")) >= 1 and theirs.sessions("me") == []
    with pytest.raises(SessionNotFound):
        theirs.check(session_id, "me")


def test_the_end_of_a_turn_that_never_began_is_not_stored(sessions):
    session_id = sessions.create("me")
    sessions.finish(replace(new_turn(session_id, "질문"), status="complete", answer="답"))
    assert sessions.turns(session_id) == []
