"""Whole turns over real PostgreSQL and Valkey: what is streamed, cited, stored and logged, and every way to fail."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from knowledge.errors import InvalidMessage, SessionNotFound
from pipelines.events import Checked, Done, Failed, Found, Searching, Started, Token
from pipelines.memory import SessionMemory, connect
from pipelines.personas import Persona
from pipelines.prompt import NO_ANSWER
from tests.fakes.vllm import TOO_LONG, FakeVllm, Reply, Status
from tests.pipelines.conftest import FREIGHT, FX, llm_at

QUESTION = "환율이 떨어지면 옥수수 가격이 어떻게 바뀔까?"


async def collect(service, message, **kwargs):
    return [event async for event in service.turn(message, **kwargs)]


def text_of(events) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


async def test_a_quoted_answer_with_its_footnote(make_service, tmp_path):
    service = make_service()
    events = await collect(service, QUESTION)
    kinds = [type(event) for event in events]
    assert kinds[:3] == [Started, Searching, Found] and kinds[-1] is Done
    turn = events[-1].turn
    assert text_of(events) == turn.answer
    assert FX.rstrip(".") in turn.answer and "[1]" in turn.answer
    citation = turn.citations[0]
    assert citation.evidence.path == "fx.md"
    start, end = citation.highlights[0]
    assert citation.evidence.text[start:end] == FX
    assert turn.llm == "quote mode" and turn.status == "complete" and turn.timings["total_ms"] > 0
    (line,) = (tmp_path / "chat.jsonl").read_text().splitlines()
    logged = json.loads(line)
    assert {"ts", "session_id", "user", "assistant", "citations", "timings"} <= logged.keys()
    assert logged["assistant"] == turn.answer and logged["citations"][0]["document"] == "fx.md"
    assert await service.history(turn.session_id, owner="") == [turn]


async def test_a_follow_up_is_searched_with_the_question_before_it(make_service):
    service = make_service()
    session_id = (await collect(service, QUESTION))[0].session_id
    events = await collect(service, "그럼 운임은?", session_id=session_id)
    assert next(event for event in events if isinstance(event, Searching)).query == f"{QUESTION} 그럼 운임은?"
    assert FREIGHT.rstrip(".") in text_of(events)
    assert len(await service.history(session_id, owner="")) == 2


async def test_a_hopeless_question_is_refused_without_a_citation(make_service):
    with FakeVllm() as fake:
        service = make_service(llm=llm_at(fake.base_url))
        turn = (await collect(service, "How do I repair a bicycle tyre?"))[-1].turn
        assert fake.requests == []  # refused before the model was asked
    assert turn.refused and turn.answer == NO_ANSWER["en"] and turn.citations == () and turn.retrieved


async def test_a_model_answers_with_citations_and_invented_ones_are_dropped(make_service):
    with FakeVllm(model="Qwen/Test") as fake:
        fake.always(Reply("원화 원가가 내려갑니다 [1][7]. 운임도 그렇습니다 [2].", piece_chars=1))
        service = make_service(llm=llm_at(fake.base_url))
        events = await collect(service, QUESTION)
        turn = events[-1].turn
        assert turn.answer == "원화 원가가 내려갑니다 [1]. 운임도 그렇습니다 [2]." == text_of(events)
        assert [citation.n for citation in turn.citations] == [1, 2] and turn.dropped_citations == 1
        assert turn.llm == "Qwen/Test" and turn.usage["completion_tokens"] > 0
        sent = fake.requests[-1]["messages"]
        assert FX in sent[-1]["content"] and sent[-1]["content"].count(QUESTION) == 1
        assert set(sent[-1]) == {"role", "content"}


async def test_with_a_model_the_follow_up_is_rewritten_by_it(make_service):
    def answer(body):
        is_rewrite = len(body["messages"]) == 2 and "대화" in body["messages"][0]["content"]
        return "환율이 떨어지면 해상 운임은 어떻게 되나?" if is_rewrite else "내려갑니다 [1]."

    with FakeVllm() as fake:
        fake.always(Reply(answer))
        service = make_service(llm=llm_at(fake.base_url))
        session_id = (await collect(service, QUESTION))[0].session_id
        events = await collect(service, "그럼 운임은?", session_id=session_id)
        assert next(e for e in events if isinstance(e, Searching)).query == "환율이 떨어지면 해상 운임은 어떻게 되나?"
        final = fake.requests[-1]["messages"]
        assert [m["role"] for m in final] == ["system", "user", "assistant", "user"]
        assert final[2]["content"] == "내려갑니다."  # old footnotes number other passages


@pytest.mark.parametrize("end", ["abort", "error", "done", "eof", "reset"])
async def test_a_stream_that_breaks_is_kept_as_interrupted(make_service, end):
    with FakeVllm() as fake:
        fake.always(Reply("원화 원가가 내려갑니다 [1]. 그리고", end=end, piece_chars=4))
        service = make_service(llm=llm_at(fake.base_url))
        events = await collect(service, QUESTION, request_id="r-1")
        failed = events[-1]
        assert isinstance(failed, Failed) and failed.code == "llm_interrupted" and failed.request_id == "r-1"
        turn = failed.turn
        assert turn is not None
        assert turn.status == "interrupted" and turn.answer.startswith("원화 원가가") and turn.citations[0].n == 1
        assert await service.history(turn.session_id, owner="") == [turn]
        fake.always(Reply("내려갑니다 [1]."))
        assert isinstance((await collect(service, QUESTION, session_id=turn.session_id))[-1], Done)


async def test_an_unreachable_model_fails_the_turn_and_the_next_one_works(make_service):
    with FakeVllm() as fake:
        service = make_service(llm=llm_at(fake.base_url))
        fake.stop()
        failed = (await collect(service, QUESTION))[-1]
        assert failed.code == "llm_unavailable" and failed.hint and failed.turn.status == "failed"
        assert failed.turn.retrieved  # what was found is still there to read
        fake.start()
        assert isinstance((await collect(service, QUESTION, session_id=failed.turn.session_id))[-1], Done)


async def test_a_refusing_model_is_quoted_with_its_reason(make_service):
    with FakeVllm() as fake:
        fake.always(Status(401, {"error": "Unauthorized"}))
        failed = (await collect(make_service(llm=llm_at(fake.base_url)), QUESTION))[-1]
    assert failed.code == "llm_rejected" and "LLM_API_KEY" in failed.hint


async def test_closing_the_turn_stops_the_model_and_keeps_the_text(make_service, tmp_path):
    with FakeVllm() as fake:
        fake.always(Reply("가 " * 2000, delay_s=0.02))
        service = make_service(llm=llm_at(fake.base_url))
        async with aclosing(service.turn(QUESTION)) as events:
            async for event in events:
                if isinstance(event, Started):
                    session_id = event.session_id
                if isinstance(event, Token):
                    break
        assert await asyncio.to_thread(fake.wait_for_disconnect, 1, timeout_s=20)
    (turn,) = await service.history(session_id, owner="")
    assert turn.status == "interrupted" and turn.error == "stopped" and turn.answer
    assert json.loads((tmp_path / "chat.jsonl").read_text())["status"] == "interrupted"


async def test_a_cancelled_turn_is_interrupted_too(make_service):
    with FakeVllm() as fake:
        fake.always(Reply("가 " * 2000, delay_s=0.02))
        service = make_service(llm=llm_at(fake.base_url))
        session_id = await service.new_session(owner="")
        task = asyncio.create_task(collect(service, QUESTION, session_id=session_id))
        await asyncio.to_thread(fake.wait_for_request, 1)
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (turn,) = await service.history(session_id, owner="")
    assert turn.status == "interrupted"


@pytest.mark.parametrize(
    ("message", "reason"),
    [("", "empty"), (" \n\t ", "empty"), ("가" * 100_000, "characters"), (None, "not text"), (["a"], "not text")],
)
async def test_wrong_messages_are_said_and_store_nothing(make_service, message, reason, sessions):
    service = make_service()
    (failed,) = await collect(service, message, request_id="r-2")
    assert failed.code == "invalid_message" and reason in failed.message and failed.request_id == "r-2"
    assert failed.hint and sessions._redis.dbsize() == 0


async def test_odd_characters_are_survived(make_service):
    events = await collect(make_service(), "환율이 \ud800떨어지면\0 옥수수 {context_str} %s 가격은?")
    assert isinstance(events[-1], Done) and "{context_str}" in events[-1].turn.question


@pytest.mark.parametrize("session_id", ["nope", "A" * 32, "../../x"])
async def test_an_unknown_session_is_not_found(make_service, session_id):
    service = make_service()
    (failed,) = await collect(service, QUESTION, session_id=session_id)
    assert failed.code == "session_not_found" and "session_id" in failed.hint
    with pytest.raises(SessionNotFound):
        await service.history(session_id, owner="")


async def test_a_session_of_another_owner_is_not_found(make_service):
    service = make_service()
    session_id = await service.new_session(owner="me")
    (failed,) = await collect(service, QUESTION, session_id=session_id, owner="you")
    assert failed.code == "session_not_found"
    assert isinstance((await collect(service, QUESTION, session_id=session_id, owner="me"))[-1], Done)


async def test_without_redis_it_answers_and_says_that_history_is_off(make_service):
    service = make_service(memory=SessionMemory(connect("redis://127.0.0.1:9", timeout_s=0.5), ttl_s=60))
    done = (await collect(service, QUESTION))[-1]
    assert isinstance(done, Done) and done.notice == "history_off" and done.turn.citations
    assert await service.health() == {"status": "degraded", "database": "ok", "memory": "down", "llm": "ok"}


async def test_without_the_database_the_turn_fails_and_heals(make_service, database_url):
    service = make_service()
    name = conninfo_to_dict(database_url)["dbname"]
    admin = make_conninfo(database_url, dbname="postgres")
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        failed = (await collect(service, QUESTION, request_id="r-3"))[-1]
        assert failed.code == "database_unavailable" and failed.retryable and failed.request_id == "r-3"
        assert failed.turn.status == "failed"
        assert (await service.health())["database"] == "down"
        conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    done = (await collect(service, QUESTION, session_id=failed.turn.session_id))[-1]
    assert isinstance(done, Done)
    assert [turn.status for turn in await service.history(done.turn.session_id, owner="")] == ["failed", "complete"]


async def test_hidden_errors_show_no_trace(make_service, monkeypatch):
    service = make_service()
    monkeypatch.setattr(service._parts.gate.__class__, "passes", lambda *_: 1 / 0)
    failed = (await collect(service, QUESTION, request_id="r-4"))[-1]
    assert (failed.code, failed.request_id) == ("internal", "r-4") and "division" not in failed.message


async def test_about_says_what_runs(make_service):
    about = await make_service().about()
    assert about.is_quoting and about.llm == "quote mode" and (about.documents, about.chunks) == (3, 3)
    with FakeVllm(model="Qwen/Test") as fake:
        service = make_service(llm=llm_at(fake.base_url))
        assert (await service.health())["llm"] == "ok"
        assert (await service.about()).llm == "Qwen/Test"


async def test_the_first_token_is_timed_when_it_comes(make_service):
    with FakeVllm() as fake:
        fake.always(Reply("가 " * 20, delay_s=0.03, piece_chars=2))
        timings = (await collect(make_service(llm=llm_at(fake.base_url)), QUESTION))[-1].turn.timings
    assert timings["search_ms"] < timings["first_token_ms"] < timings["total_ms"] - 200


async def test_broken_footnotes_do_not_keep_a_failed_turn_open(make_service, monkeypatch):
    monkeypatch.setattr("pipelines.turn_run.make_citations", lambda *_, **__: 1 / 0)
    with FakeVllm() as fake:
        fake.always(Reply("내려갑니다 [1]. 그리고", end="eof"))
        service = make_service(llm=llm_at(fake.base_url))
        failed = (await collect(service, QUESTION))[-1]
    assert failed.code == "llm_interrupted"
    (turn,) = await service.history(failed.turn.session_id, owner="")
    assert turn.status == "interrupted"


async def test_an_unreachable_model_is_called_three_times_at_most_for_a_follow_up(make_service):
    with FakeVllm() as fake:
        fake.always(Reply("내려갑니다 [1]."))
        service = make_service(llm=llm_at(fake.base_url))
        session_id = (await collect(service, QUESTION))[0].session_id
        before = len(fake.requests)
        fake.always(Status(503))
        failed = (await collect(service, "그럼 운임은?", session_id=session_id))[-1]
        assert failed.code == "llm_unavailable" and len(fake.requests) - before <= 3


async def test_history_that_does_not_fit_the_model_is_left_out_and_said(make_service):
    with FakeVllm(max_model_len=1500) as fake:
        fake.always(Reply(lambda body: QUESTION if "conversation-" in str(body["messages"]) else "내려갑니다 [1]."))
        service = make_service(llm=llm_at(fake.base_url))
        session_id = (await collect(service, QUESTION))[0].session_id
        await collect(service, f"{QUESTION} {'환율 운임 ' * 400}", session_id=session_id)
        done = (
            await collect(service, "할당관세와 기본관세의 환율 차이는 옥수수에서 무엇인가?", session_id=session_id)
        )[-1]
        assert done.notice == "history_cut"
        assert len("".join(m["content"] for m in fake.requests[-1]["messages"])) < 2500


async def test_cancelling_at_any_moment_leaves_no_turn_pending(make_service):
    with FakeVllm() as fake:
        fake.always(Reply("원화 원가가 내려갑니다 [1]. " * 5, delay_s=0.005))
        service = make_service(llm=llm_at(fake.base_url))
        session_id = await service.new_session(owner="")
        for n in range(30):
            task = asyncio.create_task(collect(service, QUESTION, session_id=session_id))
            await asyncio.sleep(n * 0.012)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for _ in range(50):  # the write of a cancelled task's end may still be under way
            turns = await service.history(session_id, owner="")
            if all(turn.status != "pending" for turn in turns):
                break
            await asyncio.sleep(0.1)
    assert turns and {turn.status for turn in turns} <= {"interrupted", "complete"}
    assert {turn.error for turn in turns} <= {"stopped", ""}  # marked by us, not by a lease that ran out


async def test_what_the_model_cannot_take_is_halved_once_and_said(make_service):
    with FakeVllm() as fake:
        fake.script(Status(400, TOO_LONG), Reply("내려갑니다 [1]. 오릅니다 [3]."))
        service = make_service(llm=llm_at(fake.base_url))
        done = (await collect(service, QUESTION))[-1]
        assert done.notice == "context_cut" and done.turn.status == "complete"
        first, second = ("".join(m["content"] for m in body["messages"]) for body in fake.requests)
        assert "[3]" in first and "[3]" not in second and "[2]" in second
        assert [citation.n for citation in done.turn.citations] == [1]
        assert done.turn.dropped_citations == 1, "a passage that it was not given cannot be cited"
        assert len(done.turn.retrieved) == 3


async def test_what_stays_too_long_is_refused_after_the_second_try(make_service):
    with FakeVllm() as fake:
        fake.always(Status(400, TOO_LONG))
        failed = (await collect(make_service(llm=llm_at(fake.base_url)), QUESTION))[-1]
        assert failed.code == "llm_rejected" and len(fake.requests) == 2


async def test_a_request_may_set_how_the_model_writes_within_limits(make_service):
    with FakeVllm() as fake:
        service = make_service(llm=llm_at(fake.base_url))
        options = {"temperature": 0.7, "top_p": 0.5, "max_tokens": 10_000, "seed": 7}
        async with aclosing(service.turn(QUESTION, options=options)) as events:
            assert [event async for event in events][-1].turn.status == "complete"
        sent = fake.requests[-1]
        assert {name: sent[name] for name in options} == {**options, "max_tokens": 64}


@pytest.mark.parametrize(
    "options",
    [
        {"n": 10**9},
        {"chat_template": "{{ 7*7 }}"},
        {"min_tokens": 1},
        {"logprobs": True},
        {"temperature": float("nan")},
        {"temperature": -0.1},
        {"temperature": "0.5"},
        {"top_p": 0},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"max_tokens": True},
        {"seed": 2**40},
    ],
    ids=str,
)
async def test_other_options_are_refused_and_never_reach_the_model(make_service, options):
    with FakeVllm() as fake:
        service = make_service(llm=llm_at(fake.base_url))
        async with aclosing(service.turn(QUESTION, options=options)) as events:
            (failed,) = [event async for event in events]
        assert failed.code == "invalid_message" and next(iter(options)) in failed.message
        assert not fake.requests


async def test_a_question_waits_for_the_one_before_and_is_then_refused(make_service):
    with FakeVllm() as fake:
        fake.always(Reply("내려갑니다 [1]. " * 8, delay_s=0.03))
        service = make_service(llm=llm_at(fake.base_url))
        session_id = await service.new_session(owner="")
        first = asyncio.create_task(collect(service, QUESTION, session_id=session_id))
        assert await asyncio.to_thread(fake.wait_for_request)
        (refused,) = await collect(service, "둘째 질문입니다 무엇인가요", session_id=session_id, wait_s=0)
        assert (refused.code, refused.retryable) == ("session_busy", True)
        waited = (await collect(service, QUESTION, session_id=session_id, wait_s=20))[-1]
        assert (await first)[-1].turn.status == waited.turn.status == "complete"
        turns = await service.history(session_id, owner="")
        assert [turn.status for turn in turns] == ["complete", "complete"], "the refused one was not stored"


async def test_sessions_are_listed_renamed_deleted_and_brought_back(make_service):
    service = make_service()
    session_id = await service.new_session(owner="anna")
    await collect(service, QUESTION, session_id=session_id, owner="anna")
    assert [(item.id, item.title) for item in await service.sessions(owner="anna")] == [(session_id, QUESTION)]
    assert (await service.rename_session(session_id, "옥수수", owner="anna")).title == "옥수수"
    await service.delete_session(session_id, owner="anna")
    with pytest.raises(SessionNotFound):
        await service.history(session_id, owner="anna")
    assert (await service.restore_session(session_id, owner="anna")).title == "옥수수"
    (turn,) = await service.history(session_id, owner="anna")
    assert await service.history(session_id, owner="anna", before=turn.turn_id) == []
    for call in (service.rename_session(session_id, "x", owner="ben"), service.delete_session(session_id, owner="ben")):
        with pytest.raises(SessionNotFound):
            await call


async def test_a_conversation_is_exported_with_its_footnotes(make_service):
    service = make_service()
    session_id = await service.new_session(owner="anna")
    done = (await collect(service, QUESTION, session_id=session_id, owner="anna"))[-1]
    text = await service.export(session_id, owner="anna", file_format="markdown", language="ko")
    assert text.startswith(f"# {QUESTION}\n") and f"## 질문: {QUESTION}" in text
    assert done.turn.answer in text and "- [1] " in text and "(fx.md)" in text
    data = json.loads(await service.export(session_id, owner="anna", file_format="json"))
    assert data["turns"] == [done.turn.to_dict()] and data["session"]["turns"] == 1
    with pytest.raises(SessionNotFound):
        await service.export(session_id, owner="ben", file_format="json")


async def test_each_sentence_is_held_against_what_it_cites(make_service):
    with FakeVllm() as fake:
        fake.always(
            Reply("연차는 15일입니다 [1]. 환율이 떨어지면 원화 운임이 20% 내려간다 [2]. 각주가 없는 문장입니다.")
        )
        service = make_service(llm=llm_at(fake.base_url), checker=True)
        events = await collect(service, "How many days of annual leave are employees entitled to?")
        kinds = [type(event) for event in events]
        assert kinds[-2:] == [Checked, Done] and kinds.count(Checked) == 1
        turn = events[-1].turn
        assert [claim.verdict for claim in turn.claims][1:] == ["unsupported", "uncited"]
        assert {reason.kind for reason in turn.claims[1].reasons} & {"number", "unit"}
        assert turn.claims == events[-2].claims and turn.timings["check_ms"] > 0
        (stored,) = await service.history(turn.session_id, owner="")
        assert stored == turn, "claims are part of the stored turn"


async def test_quoted_answers_are_supported_and_refusals_are_not_checked(make_service):
    service = make_service(checker=True)
    turn = (await collect(service, QUESTION))[-1].turn
    assert turn.claims and {claim.verdict for claim in turn.claims} == {"supported"}
    refused = (await collect(service, "quantum chromodynamics lattice gauge"))[-1].turn
    assert refused.refused and refused.claims == ()


async def test_a_persona_colours_the_answer_and_confines_the_search(make_service):
    with FakeVllm() as fake:
        fake.always(Reply("내려갑니다 [1]."))
        elsewhere = Persona("elsewhere", collections=("nowhere",))
        personas = {"grain": Persona("grain", role="사료 회사의 구매를 돕습니다."), "elsewhere": elsewhere}
        service = make_service(llm=llm_at(fake.base_url), personas=personas)
        grain = await service.new_session(owner="", persona="grain")
        await collect(service, QUESTION, session_id=grain)
        assert "사료 회사의 구매를 돕습니다." in fake.requests[-1]["messages"][0]["content"]
        confined = await service.new_session(owner="", persona="elsewhere")
        done = (await collect(service, QUESTION, session_id=confined))[-1]
        assert done.turn.refused and done.turn.retrieved == ()
        with pytest.raises(InvalidMessage):
            await service.new_session(owner="", persona="unknown")


async def test_a_persona_that_is_gone_or_cannot_be_known_opens_nothing(make_service):
    confined = {"grain": Persona("grain", collections=("nowhere",))}
    session_id = await make_service(personas=confined).new_session(owner="", persona="grain")
    (failed,) = await collect(make_service(), QUESTION, session_id=session_id)
    assert failed.code == "invalid_message" and "grain" in failed.message
    away = SessionMemory(connect("redis://127.0.0.1:9/0", timeout_s=0.2), ttl_s=60)
    (failed,) = await collect(make_service(memory=away, personas=confined), QUESTION, session_id=session_id)
    assert failed.code == "memory_unavailable"


FAQ = "question,answer,language\n연차는 며칠인가요?,연차는 1년에 15일입니다.,ko\nHow many days of leave are there?,Fifteen days a year.,en\n"


async def test_a_question_of_the_faq_is_answered_at_once_without_the_model(make_service, knowledge, store_faq):
    store_faq(FAQ)
    with FakeVllm() as fake:
        service = make_service(llm=llm_at(fake.base_url), checker=True)
        events = await collect(service, "연차는 며칠이에요?")
        turn = events[-1].turn
        assert "15일" in turn.answer and turn.llm == "instant answer" and turn.status == "complete"
        assert turn.citations[0].evidence.path == "faq.csv" and not fake.requests
        assert {claim.verdict for claim in turn.claims} == {"supported"}
        fake.always(Reply("모릅니다 [1]."))
        other = (await collect(service, "연차는 며칠까지 이월할 수 있나요?"))[-1].turn
        assert other.llm != "instant answer" and "15일" not in other.answer, "another question is not stolen"


async def test_answers_that_were_shown_are_counted(make_service, store_faq):
    store_faq(FAQ)
    service = make_service()
    for _ in range(3):
        await collect(service, "How many days of leave are there?")
    await asyncio.to_thread(service.parts.views.flush)
    (first, second) = await service.faq(5)
    assert (first.title, first.views, second.views) == ("How many days of leave are there?", 3, 0)
    assert [entry.language for entry in await service.faq(5, language="ko")] == ["ko"]
    assert await service.terms() == []


async def test_a_row_outside_the_persona_never_answers(make_service, store_faq):
    store_faq(FAQ)
    service = make_service(personas={"elsewhere": Persona("elsewhere", collections=("nowhere",))})
    session_id = await service.new_session(owner="", persona="elsewhere")
    turn = (await collect(service, "연차는 며칠인가요?", session_id=session_id))[-1].turn
    assert turn.refused and turn.retrieved == ()
    assert await service.faq() and await service.faq(session_id=session_id) == []


async def test_a_follow_up_finds_its_passages_although_the_model_is_away(make_service):
    with FakeVllm() as fake:
        fake.always(Reply("내려갑니다 [1]."))
        service = make_service(llm=llm_at(fake.base_url))
        session_id = (await collect(service, QUESTION))[0].session_id
        fake.always(Status(503))
        events = await collect(service, "그럼 운임은?", session_id=session_id)
        assert [type(event) for event in events] == [Started, Searching, Found, Failed]
        assert events[-1].code == "llm_unavailable" and events[-1].turn.retrieved


async def test_the_notice_that_matters_most_is_told(make_service):
    away = SessionMemory(connect("redis://127.0.0.1:9/0", timeout_s=0.2), ttl_s=60)
    with FakeVllm() as fake:
        fake.script(Status(400, TOO_LONG), Reply("내려갑니다 [1]."))
        done = (await collect(make_service(llm=llm_at(fake.base_url), memory=away), QUESTION))[-1]
        assert done.notice == "history_off", "that half of the passages were left out matters less"


async def test_many_polls_of_a_hanging_part_ask_it_once(make_service, servers):
    """Each would take a thread, and leave none to those who ask questions."""
    service, observer = make_service(), connect(servers.redis().url, timeout_s=30)
    assert (await service.health())["memory"] == "ok"

    def connections() -> int:
        return int(observer.info("stats")["total_connections_received"])

    before = connections()
    observer.client_pause(1_500, all=True)
    states = await asyncio.gather(*(service.health() for _ in range(20)))
    assert {state["memory"] for state in states} == {"down"}
    assert connections() - before <= 1  # asked when the pause is over
