"""Conversations over the documents that ship, Korean and English: follow-ups find their passage, and so does what changes
the topic. They were written together with what must be found, before any of them was searched for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from eval.retrieval_index import EvalIndex, store_folder
from knowledge.search import Found, Searcher
from pipelines.events import Turn
from pipelines.gate import Gate
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery, rewrite
from settings import load_settings
from tests.knowledge.filled_index import filled_index

CONVERSATIONS = Path(__file__).with_name("rewrite_conversations.jsonl")
TOP_K = 6  # the app's own
FOLLOW_UP, CHANGE = "follow-up", "topic change"


@dataclass(frozen=True)
class Conversation:
    """`expects`: texts, any of which stands in the passage that must be found for `question`."""

    kind: str
    language: str
    history: list[str]
    question: str
    expects: list[str]

    def rank(self, found: Found) -> int:
        """From 1; TOP_K + 1 if it is not there."""
        texts = [" ".join(item.text.split()) for item in found.evidence]
        return next((at for at, text in enumerate(texts, 1) if any(part in text for part in self.expects)), TOP_K + 1)


def conversations() -> list[Conversation]:
    return [Conversation(**json.loads(line)) for line in CONVERSATIONS.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def retriever(servers, embedding, analyzer, tmp_path_factory) -> Iterator[EvidenceRetriever]:
    documents = Path(__file__).parents[2] / "knowledge" / "docs"
    with filled_index(servers, embedding, analyzer, []) as store:
        settings = load_settings(data_dir=tmp_path_factory.mktemp("data"))
        index = EvalIndex(store, "default", None)
        store_folder(index, documents, settings=settings, embedding=embedding, analyzer=analyzer)
        yield EvidenceRetriever(Searcher(store.db, store.generation), embedding, analyzer, top_k=TOP_K)


async def query_after(history: list[str], question: str, analyzer) -> SearchQuery:
    """As the turns of a session make it, without a language model."""
    turns: list[Turn] = []
    for earlier in history:
        query = await rewrite(earlier, turns, llm=None, analyzer=analyzer)
        turns.append(Turn("", "", 0.0, earlier, search_query=query.text))
    return await rewrite(question, turns, llm=None, analyzer=analyzer)


def share(ranks: list[int], within: int) -> float:
    return sum(rank <= within for rank in ranks) / len(ranks)


@pytest.mark.parametrize("language", ["ko", "en"])
async def test_follow_ups_find_their_passage(retriever, analyzer, language):
    asked = [item for item in conversations() if (item.kind, item.language) == (FOLLOW_UP, language)]
    assert len(asked) >= 20
    queries = [await query_after(item.history, item.question, analyzer) for item in asked]
    ranks = [item.rank(retriever.search(query)) for item, query in zip(asked, queries, strict=True)]
    alone = [item.rank(retriever.search(SearchQuery(item.question))) for item in asked]
    told = list(zip([item.question for item in asked], ranks, alone, strict=True))
    assert share(ranks, TOP_K) >= 0.95, told
    assert share(ranks, 3) >= 0.85, told
    assert share(ranks, 3) >= share(alone, 3) + 0.2, told


@pytest.mark.parametrize("language", ["ko", "en"])
async def test_another_topic_is_not_dragged_back(retriever, analyzer, language):
    asked = [item for item in conversations() if (item.kind, item.language) == (CHANGE, language)]
    assert len(asked) >= 10
    queries = [await query_after(item.history, item.question, analyzer) for item in asked]
    ranks = [item.rank(retriever.search(query)) for item, query in zip(asked, queries, strict=True)]
    told = list(zip([item.question for item in asked], ranks, strict=True))
    assert share(ranks, 3) >= 0.95 and share(ranks, 1) >= 0.8, told
    shown = [query.text == item.question for item, query in zip(asked, queries, strict=True)]
    assert sum(shown) >= 0.8 * len(shown), "they are said to be searched for as they are"


@pytest.mark.parametrize(
    ("before", "question"),
    [
        ("할당관세의 법적 근거는 무엇인가요?", "손흥민 선수는 어느 축구 팀에서 뛰고 있나요?"),
        ("체선료가 뭐야?", "피아노를 혼자 조율하려면 어떤 도구가 필요한가요?"),
        ("What is demurrage?", "How do I repair a punctured bicycle tyre at home?"),
        ("How long are conversations kept?", "Which actor won the first Academy Award in 1929?"),
    ],
)
async def test_the_question_before_does_not_open_the_gate_for_what_nothing_tells(
    retriever, analyzer, embedding, before, question
):
    gate = Gate.load(embedding.spec.name)
    assert gate.passes(retriever.search(SearchQuery(before)))
    assert not gate.passes(retriever.search(SearchQuery(question)))
    assert not gate.passes(retriever.search(await query_after([before], question, analyzer)))


@pytest.mark.parametrize(
    ("before", "more"), [("체선료가 뭐야?", "더 자세히 설명해 줘"), ("What is demurrage?", "Tell me more")]
)
async def test_asking_for_more_finds_the_evidence_of_the_turn_before_again(retriever, analyzer, before, more):
    earlier = [item.chunk_id for item in retriever.search(SearchQuery(before)).evidence]
    again = [item.chunk_id for item in retriever.search(await query_after([before], more, analyzer)).evidence]
    assert again[0] in earlier[:3] and len(set(again) & set(earlier)) >= TOP_K // 2


def test_what_they_expect_stands_in_the_documents(docs):
    files = [*docs.glob("*/*.md"), *docs.glob("*.csv")]
    text = " ".join(" ".join(file.read_text(encoding="utf-8") for file in files).split())
    assert [part for item in conversations() for part in item.expects if part not in text] == []
