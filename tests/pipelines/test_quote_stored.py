"""What ingestion stores of sentences makes quote mode quicker and changes nothing: same choice with and without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ingest.preparing import Preparer
from ingest.readers import read_bytes_as
from knowledge.embedding.recent import RecentQuestions
from knowledge.search import Searcher
from knowledge.types import Document, Evidence
from pipelines.quote import select
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery

FILES = {
    "회사.md": "# 회사\n\n회사는 1998년 부산에서 세워졌다. 직원은 모두 240명이다. 본사는 해운대구에 있다.\n\n"
    "## 휴가\n\n휴가는 다음 순서로 신청합니다.\n\n1. 로그인합니다.\n2. 팀장의 승인을 받습니다.\n",
    "hedging.md": "# Hedging\n\nA currency forward is an agreement to buy dollars on a set day. The spot rate changes daily.\n",
    "표.md": "# 위험\n\n| 위험 | 수단 |\n|---|---|\n| 환율 상승 | 선물환 매수 |\n| 운임 상승 | FFA |\n",
    "faq.csv": "question,answer\n환불은 며칠 걸리나요?,영업일로 3일 안에 처리합니다.\n",
}
QUESTIONS = [
    "직원은 몇 명인가요?", "휴가는 어떻게 신청하나요?", "What is a currency forward?",
    "환율 상승 위험에는 무엇을 쓰나요?", "환불은 며칠 걸리나요?",
]  # fmt: skip


@pytest.fixture
def retriever(store, embedding, analyzer) -> EvidenceRetriever:
    preparer = Preparer(embedding, analyzer, chunk_tokens=64)
    for path, text in FILES.items():
        parsed = read_bytes_as(text.encode(), name=path)
        [chunks] = preparer.embed([preparer.prepare(parsed)])
        assert chunks and all(chunk.sentences for chunk in chunks)
        document = Document("default", path, path, path, 1, parsed.title, parsed.text, "ko", parsed.blocks)
        assert store.replace(document, chunks, reading="1")
    return EvidenceRetriever(Searcher(store.db, store.generation), embedding, analyzer, top_k=5)


class _Untouched:
    """An analyzer for questions alone."""

    def __init__(self, analyzer) -> None:
        self.analyze = analyzer.analyze

    def place_many(self, texts):
        raise AssertionError(f"{len(texts)} passages are analysed at the question")


@pytest.mark.parametrize("question", QUESTIONS)
def test_sentences_that_were_stored_are_chosen_as_if_found_now(retriever, embedding, analyzer, question: str) -> None:
    evidence = retriever.search(SearchQuery(question)).evidence
    assert evidence and all(item.sentences for item in evidence)
    quick = select(question, evidence, analyzer=_Untouched(analyzer), embedding=embedding)  # type: ignore[arg-type]
    without = [replace(item, sentences=None) for item in evidence]
    assert quick == select(question, without, analyzer=analyzer, embedding=embedding) != []


def test_rows_of_an_older_version_are_quoted_alike(retriever, store, analyzer) -> None:
    question = QUESTIONS[0]
    before = retriever.search(SearchQuery(question)).evidence
    with store.db.connection() as conn:
        conn.execute("UPDATE chunks SET sentences = NULL")
    after = retriever.search(SearchQuery(question)).evidence
    assert not any(item.sentences for item in after)
    assert select(question, after, analyzer=analyzer) == select(question, before, analyzer=analyzer) != []


def test_sentences_leave_with_no_one(retriever) -> None:
    [first, *_] = retriever.search(SearchQuery(QUESTIONS[0])).evidence
    assert "sentences" not in first.to_dict() and Evidence.from_dict(first.to_dict()) == first


def test_the_vector_of_a_question_is_made_once_for_search_and_choice(embedding) -> None:
    asked: list[str] = []

    class Counting:
        model_name = embedding.model_name

        def embed_query(self, text: str) -> np.ndarray:
            asked.append(text)
            return embedding.embed_query(text)

    recent = RecentQuestions(Counting())  # type: ignore[arg-type]
    vectors = [recent.embed_query(text) for text in ("환율?", "운임?", "환율?")]
    assert asked == ["환율?", "운임?"] and np.array_equal(vectors[0], vectors[2])
    assert np.array_equal(vectors[0], embedding.embed_query("환율?"))
    for n in range(70):
        recent.embed_query(f"{n}번은?")
    recent.embed_query("환율?")
    assert asked[-1] == "환율?" and len(asked) == 73
