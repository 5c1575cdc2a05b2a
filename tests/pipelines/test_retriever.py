"""The app's retriever over a real index: what a reranker changes and what it may not, and questions of any kind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llama_index.core.schema import QueryBundle

from knowledge.embedding import GakjuEmbedding
from knowledge.filters import Filters
from knowledge.search import Searcher
from knowledge.store import IndexStore
from knowledge.types import Evidence, Place, Scores
from pipelines.rerank import Reranker
from pipelines.rerank_client import RerankClient
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery
from settings import load_settings
from tests.fakes.reranker import FakeReranker
from tests.knowledge.filled_index import filled_index
from wiring import open_index, search_parts

LONG = [f"환율 {number}일의 고시 환율과 송금 수수료" for number in range(12)]
DOCUMENTS = [
    ("default", "long.md", LONG),
    *[("default", f"short{number}.md", [f"환율 우대 {number} 종류"]) for number in range(4)],
]


@pytest.fixture(scope="module")
def filled(servers, embedding, analyzer) -> Iterator[IndexStore]:
    with filled_index(servers, embedding, analyzer, DOCUMENTS) as store:
        yield store


@pytest.fixture
def fake() -> Iterator[FakeReranker]:
    with FakeReranker("vllm") as fake:
        yield fake


@pytest.fixture
def reranker(fake) -> Iterator[Reranker]:
    reranker = Reranker(RerankClient(fake.url, model="", api_key=""), top_n=16, timeout_s=30)
    yield reranker
    reranker.close()


def paths(evidence: tuple[Evidence, ...]) -> list[str]:
    return [item.path for item in evidence]


@pytest.mark.parametrize("per_document", [1, 2, 3])
def test_the_cap_of_a_document_holds_in_the_rerankers_order(filled, embedding, analyzer, fake, reranker, per_document):
    fake.score = lambda query, text: float("송금" in text)  # all of the long document before all else
    retriever = EvidenceRetriever(
        Searcher(filled.db, filled.generation),
        embedding,
        analyzer,
        top_k=6,
        per_document=per_document,
        reranker=reranker,
    )
    found = retriever.search(SearchQuery("환율"), explain=True)
    shown = paths(found.evidence)
    within = min(per_document + 4, 6)
    assert shown[:per_document] == ["long.md"] * per_document
    assert shown[:within].count("long.md") == per_document  # the others' first, then what else there is
    assert shown[within:] == ["long.md"] * (6 - within)
    assert [item.rank for item in found.evidence] == [1, 2, 3, 4, 5, 6]
    assert found.explanation is not None
    told = {item.chunk_id: item.fate for item in found.explanation.candidates}
    assert {key for key, fate in told.items() if fate == "shown"} == {item.chunk_id for item in found.evidence}
    assert list(told.values()).count("reranked down") == 10
    assert found.explanation.ran[-1].startswith("Reranked: ")


def test_one_reranker_serves_every_generation_and_ends_with_the_index(database_url, fake, tmp_path: Path):
    settings = load_settings(data_dir=tmp_path, database_url=database_url, rerank_base_url=fake.url)

    others = set(threading.enumerate())  # of other tests, which end when they are collected

    def asking() -> list[str]:
        return [thread.name for thread in set(threading.enumerate()) - others if thread.name.startswith("rerank")]

    with open_index(settings) as index:
        before, after = (search_parts(settings, index)[0]["retriever"] for _ in range(2))
        assert before is not after and index.reranker is not None
        assert before._reranker is after._reranker is index.reranker
        index.reranker.rerank("질문", [_passage()])
        assert len(asking()) == 1
    deadline = time.monotonic() + 20
    while asking() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert asking() == []
    assert index.reranker.rerank("질문", [_passage()]).failure == "The reranker was closed."


def _passage() -> Evidence:
    return Evidence(
        chunk_id="c", document_id="d", collection="default", path="a.md", title="a", heading=(), place=Place(),
        start=0, end=1, text="가", language="ko", scores=Scores(), rank=1,
    )  # fmt: skip


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"top_k": -1}, {"top_k": 6, "per_document": 0}])
def test_a_retriever_of_nothing_is_refused(filled, embedding, analyzer, wrong):
    with pytest.raises(ValueError, match="not at least 1"):
        EvidenceRetriever(Searcher(filled.db, filled.generation), embedding, analyzer, **wrong)


QUESTIONS = [
    "",
    " \n\t",
    "?!… 「」 ---",
    "환율 " * 5_000,  # 15,000 characters
    "가" * 10_000,
    "a" * 10_000,
    "ㅎㅇㅠㄹ" * 2_500,
    "환율\x00\ud800\udfff",
    "\ud83d",
    "💱📈 환율 🇰🇷",
    "환율 exchange レート 汇率 курс سعر",
    "\u200b\u202e\ufeff",
    "%s {} ' \" \\ --",
    "0" * 4_000,
    "=" * 10_000,
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda text: ascii(text)[:30])
def test_any_question_is_answered(filled, embedding, analyzer, question):
    retriever = EvidenceRetriever(Searcher(filled.db, filled.generation), embedding, analyzer, top_k=3)
    found = retriever.search(SearchQuery("환율", question), filters=Filters(collections=("default",)), explain=True)
    assert len(found.evidence) == 3
    assert 0 <= found.words_share <= 1 and -1 <= found.cosine <= 1.001
    assert len(retriever.retrieve(QueryBundle(question))) == 3


def test_of_a_long_text_what_stands_before_and_behind_is_embedded(filled, embedding, analyzer, monkeypatch):
    pasted = f"{'법인세 신고 기한 ' * 400} 환율이 얼마인가요?"
    asked: list[str] = []

    def embed(_: object, text: str) -> np.ndarray:
        asked.append(text)
        return _unit(embedding)

    monkeypatch.setattr(type(embedding), "embed_query", embed)
    EvidenceRetriever(Searcher(filled.db, filled.generation), embedding, analyzer, top_k=3).search(SearchQuery(pasted))
    (text,) = asked
    assert len(text) <= 2_001 and text.startswith("법인세 신고") and text.endswith("환율이 얼마인가요?")


def _unit(embedding: GakjuEmbedding) -> np.ndarray:
    return np.eye(1, embedding.spec.dimension, dtype=np.float32)[0]
