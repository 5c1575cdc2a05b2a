"""Asks the app's retriever a set's questions and makes rankings of documents from the chunks that it finds.

A document's score is that of its best chunk. `both` is the app's retriever as it is; a leg alone is the same search with
the other leg left out, and ranks more deeply. Knows nothing about what is relevant.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from rich.console import Console
from rich.progress import track

from eval.beir import Question
from eval.retrieval_index import EvalIndex
from knowledge.embedding import GakjuEmbedding
from knowledge.filters import Filters
from knowledge.lexemes import Analyzer
from knowledge.search import Found, Searcher
from knowledge.types import Evidence
from pipelines.events import Turn
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery, rewrite

Leg = Literal["meaning", "words", "both"]
QueryField = Literal["text", "history"]
LEGS: tuple[Leg, ...] = get_args(Leg)

TIMED_QUESTIONS = 300  # enough for a 95th percentile; the others take their vectors from the cache
_CHUNKS_A_DOCUMENT = 4  # looked at for each document of the ranking, so that long documents do not crowd it out
_WARM_UP = 3
_USERS = {"user", "human", "questioner"}

Ranking = tuple[tuple[str, float], ...]  # document's path and score, 0..1, best first
Search = Callable[[SearchQuery], Found]


@dataclass(frozen=True, slots=True)
class Asked:
    """`rankings`: by question id. `timings_ms`: embedding, words and search of the questions that were timed."""

    rankings: Mapping[str, Ranking]
    timings_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Asker:
    """`embedding` is the app's own, for the questions that are timed; `cached` gives the same vectors for the others."""

    index: EvalIndex
    embedding: GakjuEmbedding
    cached: GakjuEmbedding
    analyzer: Analyzer
    top_k: int
    candidates: int | None = None

    def ask(self, questions: Sequence[Question], *, leg: Leg, query_field: QueryField) -> Asked:
        """Raises:
        GakjuError: the database or the embedding server does not answer.
        """
        live, quick = self._search(leg, self.embedding), self._search(leg, self.cached)
        queries = [self._query(question, query_field) for question in questions]
        for query in queries[:_WARM_UP]:
            live(query)
        every = max(1, math.ceil(len(questions) / TIMED_QUESTIONS))
        rankings: dict[str, Ranking] = {}
        timings_ms: list[float] = []
        console = Console(stderr=True)
        shown = track(
            list(zip(questions, queries, strict=True)),
            f"{self.index.collection}, {leg}",
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        for number, (question, query) in enumerate(shown):
            is_timed = number % every == 0
            began = time.perf_counter()
            found = (live if is_timed else quick)(query)
            if is_timed:
                timings_ms.append((time.perf_counter() - began) * 1000)
            rankings[question.id] = by_document(found.evidence)[: self.top_k]
        return Asked(rankings, tuple(timings_ms))

    def _search(self, leg: Leg, embedding: GakjuEmbedding) -> Search:
        chunks = self.top_k * _CHUNKS_A_DOCUMENT
        collections = self.index.collections
        filters = None if collections is None else Filters(collections=tuple(collections))
        searcher = self._searcher(self.candidates)
        retriever = EvidenceRetriever(searcher, embedding, self.analyzer, top_k=chunks, filters=filters)
        if leg == "both":
            return retriever.search
        # How many candidates a leg has changes nothing in the order of what it finds, only how much that is.
        searcher = self._searcher(max(chunks, self.candidates or 0))

        def meaning(query: SearchQuery) -> Found:
            vector = retriever.vector(query, retriever.read(query))
            return searcher.search(vector, {}, top_k=chunks, filters=filters)

        def words(query: SearchQuery) -> Found:
            return searcher.search(None, retriever.read(query).lexemes, top_k=chunks, filters=filters)

        return meaning if leg == "meaning" else words

    def _searcher(self, candidates: int | None) -> Searcher:
        store = self.index.store
        if candidates is None:
            return Searcher(store.db, store.generation)
        return Searcher(store.db, store.generation, candidates=candidates)

    def _query(self, question: Question, field: QueryField) -> SearchQuery:
        if field == "text" or not question.history:
            return SearchQuery(question.text)
        return asyncio.run(after_history(question, self.analyzer))


async def after_history(question: Question, analyzer: Analyzer) -> SearchQuery:
    """What the app searches for when `question` is asked at the end of its conversation, without a language model."""
    turns: list[Turn] = []
    for speaker, text in question.history:
        if speaker.lower() in _USERS:
            query = await rewrite(text, turns, llm=None, analyzer=analyzer)
            turns.append(Turn("", "", 0.0, text, search_query=query.text))
    return await rewrite(question.text, turns, llm=None, analyzer=analyzer)


def by_document(evidence: Sequence[Evidence]) -> Ranking:
    """Documents in the order of their best chunks, which come best first. One text may stand in several."""
    best: dict[str, float] = {}
    for item in evidence:
        for path in (item.path, *(source.path for source in item.also_in)):
            best.setdefault(path, item.scores.fused)
    return tuple(best.items())
