"""Times of the app's search and how much of the exact result each leg finds, on one index.

Exact: every chunk is scored in one sequential scan with the same expression that the leg orders by. A leg's recall@10 is
the share of its first ten that score at least as high as the exact tenth: equal scores may come in any order.
Knows nothing about how the index was made.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from eval.speed_bench import cpu_s
from eval.speed_search_index import SizedIndex, server_bytes, server_pid
from eval.speed_search_stock import Stock
from knowledge.embedding import GakjuEmbedding
from knowledge.lexemes import Analyzer
from knowledge.search import Searcher
from knowledge.terms import TERM_SPACE, term_id
from knowledge.types import Evidence
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery

DEPTH = 10
STOCK_S = 240.0  # the stock store is asked at least `_LEAST_STOCK` questions, and more within this time
_LEAST_STOCK = 20
_CPU_QUESTIONS = 100
STEPS = ("whole", "embedding", "analysis", "database", "meaning alone", "words alone")
_ROUNDING = 1e-4  # of a score: halfvec and real


class Timed:
    """Stands for `inner` and adds up what its methods take."""

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self.spent_s = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return found(*args, **kwargs)
            finally:
                self.spent_s += time.perf_counter() - began

        return call

    def taken_ms(self) -> float:
        spent, self.spent_s = self.spent_s, 0.0
        return spent * 1000


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of each question, by step."""

    steps: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in STEPS})

    def percentiles(self, step: str) -> tuple[float, float]:
        """p50 and p95."""
        middle, high = np.percentile(self.steps[step], [50, 95])
        return float(middle), float(high)


class Asker:
    """Asks as the app does. `top_k`: passages that the app takes."""

    def __init__(self, index: SizedIndex, embedding: GakjuEmbedding, analyzer: Analyzer, *, top_k: int) -> None:
        self._searcher = Searcher(index.store.db, index.store.generation)
        self._index = index
        self.top_k = top_k
        self.embedding, self.analyzer = embedding, analyzer
        self._timed = {"embedding": Timed(embedding), "analysis": Timed(analyzer), "database": Timed(self._searcher)}
        self._retriever = EvidenceRetriever(
            cast(Searcher, self._timed["database"]),
            cast(GakjuEmbedding, self._timed["embedding"]),
            cast(Analyzer, self._timed["analysis"]),
            top_k=top_k,
        )

    def ask(self, question: str, times: Times | None) -> None:
        """The whole search. `times`: where its steps are noted, None to warm up."""
        began = time.perf_counter()
        self._retriever.search(SearchQuery(question))
        whole = (time.perf_counter() - began) * 1000
        for step, timed in self._timed.items():
            taken = timed.taken_ms()
            if times:
                times.steps[step].append(taken)
        if times:
            times.steps["whole"].append(whole)

    def ask_legs(self, question: str, times: Times) -> None:
        """The same search with one leg left out, vectors and words given."""
        vector, lexemes = self.keys(question)
        for step, keys in (("meaning alone", (vector, {})), ("words alone", (None, lexemes))):
            began = time.perf_counter()
            self._searcher.search(*keys, top_k=self.top_k)
            times.steps[step].append((time.perf_counter() - began) * 1000)

    def keys(self, question: str) -> tuple[np.ndarray, dict[str, float]]:
        query = SearchQuery(question)
        return self.embedding.embed_query(query.text), query.weigh(self.analyzer.analyze(query.question), {})

    def recalls(self, questions: Sequence[str]) -> dict[str, list[float]]:
        """Leg → recall@10 of each question that the leg has an answer to."""
        found: dict[str, list[float]] = {"meaning": [], "words": []}
        for question in questions:
            vector, lexemes = self.keys(question)
            meaning = self._searcher.search(vector, {}, top_k=DEPTH).evidence
            words = self._searcher.search(None, lexemes, top_k=DEPTH).evidence
            exact_meaning = self._exact("embedding", f"halfvec({len(vector)})", _dense(vector))
            exact_words = self._exact("term_weights", "sparsevec", _sparse(self._weights(lexemes)))
            found["meaning"] += recall(_scores(meaning, "meaning"), exact_meaning)
            found["words"] += recall(_scores(words, "words"), [score for score in exact_words if score > 0])
        return found

    def _weights(self, lexemes: Mapping[str, float]) -> dict[int, float]:
        idf = self._searcher.idf(list(lexemes))
        weights: dict[int, float] = {}
        for word, weight in lexemes.items():
            weights[term_id(word)] = max(weights.get(term_id(word), 0.0), idf[word] * weight)
        return weights

    def _exact(self, column: str, kind: str, query: str) -> list[float]:
        """The ten highest scores of all chunks, of equal texts the first alone: a search shows a text once."""
        with self._index.store.db.connection() as conn:
            for path in ("indexscan", "bitmapscan", "indexonlyscan"):
                conn.execute(f"SET LOCAL enable_{path} = off".encode())
            rows = conn.execute(
                f"SELECT text, -({column}::{kind} <#> %(q)s::{kind}) FROM {self._index.table} "  # noqa: S608 (our names)
                f"ORDER BY {column}::{kind} <#> %(q)s::{kind} LIMIT {10 * DEPTH}".encode(),
                {"q": query},
            ).fetchall()
        best: dict[str, float] = {}
        for text, score in rows:
            best.setdefault(text, float(score))
        return list(best.values())[:DEPTH]


@dataclass(frozen=True, slots=True)
class SizeMeasures:
    """What was measured on one index. `stock_ms`: whole searches of the stock store; None where it was left out.

    `server_bytes`: memory of the server after the questions (PSS). `app_cpu_ms`, `server_cpu_ms`: processor time of a
    search, mean; unlike the other times they are nearly the same on a busy machine.
    """

    times: Times
    app_cpu_ms: float
    server_cpu_ms: float
    recalls: Mapping[str, Sequence[float]]
    stock_ms: Sequence[float] | None
    server_bytes: int


def measure_size(
    asker: Asker, questions: Sequence[str], *, exact: int, index: SizedIndex, stock: Stock | None
) -> SizeMeasures:
    """`questions`: asked once to warm up, then by turns with the stock store. `exact`: how many are asked exactly, too."""
    times = Times()
    stock_ms: list[float] = []
    for question in questions:
        asker.ask(question, None)
    if stock:
        for question in questions[:_LEAST_STOCK]:
            _ask_stock(asker, stock, question)
    for question in questions:
        asker.ask(question, times)
        asker.ask_legs(question, times)
        if stock and (len(stock_ms) < _LEAST_STOCK or sum(stock_ms) < STOCK_S * 1000):
            stock_ms.append(_ask_stock(asker, stock, question))
    app_cpu_ms, server_cpu_ms = _cpu_ms(asker, questions[:_CPU_QUESTIONS], server_pid(index.store.db))
    memory = server_bytes(server_pid(index.store.db))
    recalls = asker.recalls(list(dict.fromkeys(questions))[:exact])
    return SizeMeasures(times, app_cpu_ms, server_cpu_ms, recalls, stock_ms if stock else None, memory)


def _cpu_ms(asker: Asker, questions: Sequence[str], server: int) -> tuple[float, float]:
    """Of this process and of the server with all its processes, a question."""
    app, theirs = time.process_time(), cpu_s(server)
    for question in questions:
        asker.ask(question, None)
    spent = time.process_time() - app, cpu_s(server) - theirs
    return spent[0] * 1000 / len(questions), spent[1] * 1000 / len(questions)


def _ask_stock(asker: Asker, stock: Stock, question: str) -> float:
    began = time.perf_counter()
    stock.hybrid(question, asker.embedding.embed_query(question), top_k=asker.top_k)
    return (time.perf_counter() - began) * 1000


def recall(found: Sequence[float], exact: Sequence[float]) -> list[float]:
    """The share of `exact` that `found` reaches, as a list; empty where there is nothing to find. Both: scores, best
    first.

    Raises:
        ValueError: something scores higher than the exact best: the two do not score alike.
    """
    if not exact:
        return []
    if found and found[0] > exact[0] + _ROUNDING * abs(exact[0]):
        raise ValueError(f"a score of {found[0]} where the best of all chunks is {exact[0]}")
    least = exact[-1] - _ROUNDING * abs(exact[-1])
    return [sum(score >= least for score in found[: len(exact)]) / len(exact)]


def _scores(evidence: Sequence[Evidence], leg: str) -> list[float]:
    scores = [getattr(item.scores, leg) for item in evidence]
    return sorted((float(score) for score in scores if score is not None), reverse=True)


def _dense(vector: np.ndarray) -> str:
    return f"[{','.join(map(repr, vector.tolist()))}]"


def _sparse(weights: Mapping[int, float]) -> str:
    """As PostgreSQL reads a sparsevec: it counts from 1."""
    parts = ",".join(f"{number + 1}:{weight!r}" for number, weight in sorted(weights.items()))
    return f"{{{parts}}}/{TERM_SPACE}"
