"""How well ours and the store that LlamaIndex brings rank one labelled set: the same chunks and vectors, nDCG@10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from eval.beir import Question, QuestionSet
from eval.retrieval_cache import CachedEmbedding
from eval.retrieval_index import EvalIndex, store_folder, store_passages, throw_away_index
from eval.retrieval_metrics import Difference, Estimate, compare, estimate, per_question
from eval.retrieval_search import Asker
from eval.retrieval_sets import chosen_sets
from eval.speed_search_stock import Stock, paths_of, stock_of
from knowledge.lexemes import Analyzer
from knowledge.servers import EmbeddedServers
from settings import Settings
from wiring import manifest_of

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


def compare_quality(
    dataset: Path | None,
    *,
    settings: Settings,
    servers: EmbeddedServers,
    embedding: CachedEmbedding,
    analyzer: Analyzer,
    most_questions: int,
) -> Quality:
    """`dataset`: None takes the questions and documents that ship.

    Raises:
        SetError, GakjuError: the set is wrong, the database does not answer.
    """
    (data,) = chosen_sets(dataset, None)
    every = max(1, len(data.questions) // most_questions)
    questions = data.questions[::every][:most_questions]
    with throw_away_index(settings, servers, manifest_of(settings, embedding), name=data.name) as index:
        _fill(index, data, settings, embedding, analyzer)
        asker = Asker(index, embedding, embedding, analyzer, DEPTH)
        ours = asker.ask(questions, leg="both", query_field="text").rankings
        with index.store.db.connection() as conn:
            row = conn.execute("SELECT current_database()").fetchone()
        assert row is not None
        url = urlsplit(servers.postgres().url)._replace(path=f"/{row[0]}").geturl()
        with stock_of(index.store, url) as stock:
            hybrid, fused = _rankings(stock, questions, embedding)
    relevant = {question.id: question.relevant for question in questions}
    values = [
        per_question(relevant, ranked)
        for ranked in ({key: [path for path, _ in ranking] for key, ranking in ours.items()}, hybrid, fused)
    ]
    return _quality(data.name, len(questions), [{MEASURE: item[MEASURE]} for item in values])


def _fill(
    index: EvalIndex, data: QuestionSet, settings: Settings, embedding: CachedEmbedding, analyzer: Analyzer
) -> None:
    if data.passages:
        store_passages(index, data.passages, embedding=embedding, analyzer=analyzer, chunk_tokens=settings.chunk_tokens)
    else:
        store_folder(
            replace(index, collection=settings.collection),
            settings.knowledge_dir, settings=settings, embedding=embedding, analyzer=analyzer,
        )  # fmt: skip


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
