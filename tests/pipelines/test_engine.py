"""The LlamaIndex face of the engine, the retriever and the rewriting rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine

from knowledge.errors import GakjuError
from knowledge.search import Found, Searcher
from pipelines.engine import FootnoteChatEngine
from pipelines.gate import OPEN, Gate
from pipelines.quote import QuoteLLM
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery, refers_back
from pipelines.turn_parts import TurnParts
from tests.fakes.vllm import FakeVllm, Reply
from tests.pipelines.conftest import FX, llm_at

QUESTION = "환율이 떨어지면 옥수수 가격이 어떻게 바뀔까?"


@pytest.fixture
def retriever(knowledge, db, embedding, analyzer):
    searcher = Searcher(db, knowledge.generation)
    return EvidenceRetriever(searcher, embedding, analyzer, top_k=3)


@pytest.fixture
def engine(retriever, embedding, analyzer, sessions):
    parts = TurnParts(
        retriever, QuoteLLM(analyzer=analyzer, embedding=embedding), analyzer, Gate.load(embedding.spec.name)
    )
    return FootnoteChatEngine(parts, sessions=sessions, session_id=sessions.create(""))


async def test_achat_answers_with_source_nodes(engine):
    answer = await engine.achat(QUESTION)
    assert FX.rstrip(".") in answer.response and answer.source_nodes[0].node.metadata["document"] == "fx.md"
    assert [str(message.role.value) for message in engine.chat_history] == ["user", "assistant"]
    engine.reset()
    assert engine.chat_history == []


async def test_astream_chat_streams_as_llamaindex_does(engine):
    response = await engine.astream_chat(QUESTION)
    tokens = [token async for token in response.async_response_gen()]
    assert len(tokens) > 1 and FX.rstrip(".") in "".join(tokens)
    assert response.source_nodes and len(engine.chat_history) == 2


def test_sync_chat_and_stream(engine):
    assert FX.rstrip(".") in engine.chat(QUESTION).response
    assert FX.rstrip(".") in "".join(engine.stream_chat(QUESTION).response_gen)
    assert len(engine.chat_history) == 4


async def test_a_failed_turn_raises_with_its_sentence(engine):
    with FakeVllm() as fake:
        fake.always(Reply("반", end="eof"))
        engine._parts = replace(engine._parts, llm=llm_at(fake.base_url))
        with pytest.raises(GakjuError, match=r"broke off|ended|interrupt"):
            await engine.achat(QUESTION)


async def test_foreign_history_is_refused(engine):
    with pytest.raises(ValueError, match="memory"):
        await engine.achat(QUESTION, chat_history=[ChatMessage(role="user", content="x")])


def test_a_stock_query_engine_uses_our_retriever(retriever):
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
    response = engine.query(QUESTION)
    assert response.source_nodes[0].node.metadata["document"] == "fx.md"
    scores = [node.score or 0.0 for node in response.source_nodes]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    "question",
    [
        "그럼 운임은?",
        "운임은?",
        "여러 개는요?",
        "그건 누가 정해?",
        "얼마야?",
        "What is it?",
        "왜?",
        "그건 어디에 나와?",
        "And freight?",
        "What about wheat?",
        "How does it work?",
    ],
)
def test_follow_ups_are_recognised(analyzer, question):
    assert refers_back(question, analyzer)


@pytest.mark.parametrize(
    "question",
    [
        "할당관세와 기본관세는 어떻게 다른가요?",
        "할당관세란 무엇인가요?",
        "베이시스란?",
        "FOB 뜻",
        "What is basis?",
        "옥수수 선물 계약의 규격은 몇 부셸인가요?",
        "How are grain futures contracts settled at expiry?",
    ],
)
def test_questions_that_stand_alone_are_left_alone(analyzer, question):
    assert not refers_back(question, analyzer)


def test_context_words_weigh_half():
    query = SearchQuery("운임은?", "환율이 떨어지면?")
    assert query.text == "환율이 떨어지면? 운임은?"
    assert query.weigh({"운임": 1}, {"환율": 1, "운임": 1}) == {"환율": 0.5, "운임": 1.0}


def test_the_gate_refuses_nothing_found_and_another_model_goes_by_words():
    gate = Gate(bias=-10, meaning=10, words=5, threshold=0.5, embedding="m")
    assert not gate.passes(Found(()))
    assert Gate.load("another embedding") is OPEN
