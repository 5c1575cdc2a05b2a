"""The LlamaIndex retriever over our search: a question in, evidence in rank order out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from knowledge.embedding import GakjuEmbedding
from knowledge.explanation import Explanation
from knowledge.filters import Filters
from knowledge.lexemes import Analyzer
from knowledge.nodes import to_node as to_text_node
from knowledge.phrases import words_in_order
from knowledge.ranking import split_by_cap
from knowledge.search import Found, Searcher
from knowledge.types import Evidence
from knowledge.variants import QueryWords
from knowledge.vocabulary import Vocabulary
from pipelines.rerank import Reranker
from pipelines.rewrite import Meant, SearchQuery

_LEAST_PER_DOCUMENT = 3
_MOST_EMBEDDED_CHARS = 2_000  # of 8,000, embedding took 3 s, and the mean of so many windows is near everything


class EvidenceRetriever(BaseRetriever):
    """Searches by meaning and words. `filters`: None searches all. `reranker`: puts the best ones in order once more.

    `per_document`: passages of one document, while others have some, after reranking as well; None: two thirds of
    `top_k`, so that one long document does not hide all others.

    Raises:
        ValueError: `top_k` or `per_document` is less than 1.
    """

    def __init__(
        self,
        searcher: Searcher,
        embedding: GakjuEmbedding,
        analyzer: Analyzer,
        *,
        top_k: int,
        filters: Filters | None = None,
        per_document: int | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        super().__init__()
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}, not at least 1")
        if per_document is not None and per_document < 1:
            raise ValueError(f"per_document is {per_document}, not at least 1")
        self._searcher = searcher
        self._embedding = embedding
        self._words = QueryWords(analyzer, Vocabulary(searcher.db, searcher.generation))
        self._top_k = top_k
        self._filters = filters
        self._per_document = per_document or max(_LEAST_PER_DOCUMENT, top_k * 2 // 3)
        self._reranker = reranker

    def read(self, query: SearchQuery, *, filters: Filters | None = None) -> Meant:
        """The query as it was probably meant, with the words to search for: of the collections that `filters` leave.

        Raises:
            DatabaseUnavailable
        """
        scope = self._within(filters)
        collections = scope.collections if scope else None
        question, context = (self._words.read(text, collections) for text in (query.question, query.context))
        return query.meant(question, context)

    def vector(self, query: SearchQuery, meant: Meant) -> np.ndarray:
        """What to search for by meaning: float32 (dimension,). `meant`: the query as read.

        Raises:
            EmbeddingUnavailable
        """
        together = self._embedding.embed_query(_ends(meant.text))
        return query.blend(self._embedding.embed_query(_ends(meant.alone)), together) if query.leans else together

    def search(self, query: SearchQuery, *, filters: Filters | None = None, explain: bool = False) -> Found:
        """`filters`: narrow further what the retriever is confined to. `explain`: with `Found.explanation`.

        Raises:
            DatabaseUnavailable, EmbeddingUnavailable: the search could not be made.
        """
        meant = self.read(query, filters=filters)
        found = self._searcher.search(
            self.vector(query, meant),
            meant.lexemes,
            own=meant.own,
            words=words_in_order(meant.text, meant.own),
            top_k=self._top_k if self._reranker is None else max(self._top_k, self._reranker.top_n),
            filters=self._within(filters),
            per_document=self._per_document,
            explain=explain,
        )
        if self._reranker is None:
            return found
        done = self._reranker.rerank(meant.text if query.lean.is_told else meant.alone, found.evidence)
        evidence = self._best(done.evidence)
        return replace(
            found,
            evidence=evidence,
            notice="rerank_off" if done.failure else "",
            explanation=_after_reranking(found.explanation, evidence, done.failure),
        )

    def _within(self, filters: Filters | None) -> Filters | None:
        return self._filters if filters is None else filters.within(self._filters)

    def _best(self, reranked: Sequence[Evidence]) -> tuple[Evidence, ...]:
        """The first `top_k`: a reranker knows nothing of documents, so that the cap counts anew in its order."""
        within, beyond = split_by_cap([item.document_id for item in reranked], self._per_document)
        chosen = [reranked[place] for place in [*within, *beyond][: self._top_k]]
        return tuple(replace(item, rank=rank) for rank, item in enumerate(chosen, start=1))

    async def asearch(self, query: SearchQuery, *, filters: Filters | None = None, explain: bool = False) -> Found:
        """As `search`, in a thread: embedding and word analysis are computation."""
        return await asyncio.to_thread(self.search, query, filters=filters, explain=explain)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [to_node(item) for item in self.search(SearchQuery(query_bundle.query_str)).evidence]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _ends(text: str) -> str:
    """Of a text with much pasted into it, what stands before and behind: there the question is."""
    half = _MOST_EMBEDDED_CHARS // 2
    return text if len(text) <= _MOST_EMBEDDED_CHARS else f"{text[:half]}\n{text[-half:]}"


def _after_reranking(explanation: Explanation | None, evidence: Sequence[Evidence], failure: str) -> Explanation | None:
    """What was shown before the reranker had its say may be so no longer."""
    if explanation is None:
        return None
    shown = {item.chunk_id for item in evidence}
    candidates = (
        replace(item, fate="reranked down") if item.fate == "shown" and item.chunk_id not in shown else item
        for item in explanation.candidates
    )
    told = f"Not reranked: {failure}" if failure else "Reranked: the order of what is shown is the rerank server's."
    return replace(explanation, candidates=tuple(candidates), ran=(*explanation.ran, told))


def to_node(evidence: Evidence) -> NodeWithScore:
    """Evidence as LlamaIndex sees it; the score is the one that decided its rank: the reranker's, else the fused one, 0..1."""
    scores = evidence.scores
    return NodeWithScore(node=to_text_node(evidence), score=scores.fused if scores.rerank is None else scores.rerank)
