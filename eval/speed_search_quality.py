"""How well ours and the store that LlamaIndex brings rank one labelled set: the same chunks and vectors, nDCG@10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from eval.beir import Question
from eval.bench import Bench, index_with
from eval.retrieval_cache import CachedEmbedding
from eval.retrieval_metrics import Difference, Estimate, compare, estimate, per_question
from eval.retrieval_search import Asker
from eval.retrieval_sets import chosen_sets
from eval.speed_search_stock import Stock, paths_of, stock_of

MEASURE = "nDCG@10"
DEPTH = 10
_CHUNKS = 40  # of each leg: what DEPTH documents need


@dataclass(frozen=True, slots=True)
class Quality:
    """nDCG@10 of the app's search, of the stock store's hybrid query and of its legs fused; ours less each."""

    name: str
    questions: int
    ours: Estimate
    hybrid: Estimate
    fused: Estimate
    ours_over_hybrid: Difference
    ours_over_fused: Difference


def compare_quality(bench: Bench, dataset: Path | None, *, most_questions: int) -> Quality:
    """`dataset`: None takes the questions and documents that ship.

    Raises:
        SetError, GakjuError: the set is wrong, the database does not answer.
    """
    (data,) = chosen_sets(dataset, None)
    every = max(1, len(data.questions) // most_questions)
    questions = data.questions[::every][:most_questions]
    with index_with(bench, data) as index:
        asker = Asker(index, bench.cached, bench.cached, bench.analyzer, DEPTH)
        ours = asker.ask(questions, leg="both", query_field="text").rankings
        with index.store.db.connection() as conn:
            row = conn.execute("SELECT current_database()").fetchone()
        assert row is not None
        url = urlsplit(bench.servers.postgres().url)._replace(path=f"/{row[0]}").geturl()
        with stock_of(index.store, url) as stock:
            hybrid, fused = _rankings(stock, questions, bench.cached)
    relevant = {question.id: question.relevant for question in questions}
    values = [
        per_question(relevant, ranked)
        for ranked in ({key: [path for path, _ in ranking] for key, ranking in ours.items()}, hybrid, fused)
    ]
    return _quality(data.name, len(questions), [{MEASURE: item[MEASURE]} for item in values])


def _rankings(
    stock: Stock, questions: Sequence[Question], embedding: CachedEmbedding
) -> tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]]:
    hybrid, fused = {}, {}
    for question in questions:
        vector = embedding.embed_query(question.text)
        hybrid[question.id] = paths_of(stock.hybrid(question.text, vector, top_k=_CHUNKS))[:DEPTH]
        fused[question.id] = paths_of(stock.fused(question.text, vector, top_k=_CHUNKS))[:DEPTH]
    return hybrid, fused


def _quality(name: str, questions: int, values: Sequence[Mapping[str, np.ndarray]]) -> Quality:
    ours, hybrid, fused = values
    return Quality(
        name,
        questions,
        ours=estimate(ours)[MEASURE],
        hybrid=estimate(hybrid)[MEASURE],
        fused=estimate(fused)[MEASURE],
        ours_over_hybrid=compare(ours, hybrid)[MEASURE],
        ours_over_fused=compare(ours, fused)[MEASURE],
    )
