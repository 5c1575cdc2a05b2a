"""The LlamaIndex retriever over our search: a question in, evidence in rank order out."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from knowledge.embedding import GakjuEmbedding
from knowledge.filters import Filters
from knowledge.lexemes import Analyzer
from knowledge.nodes import to_node as to_text_node
from knowledge.search import Found, Searcher
from knowledge.types import Evidence
from knowledge.variants import QueryWords, Reading
from knowledge.vocabulary import Vocabulary
from pipelines.rerank import Reranker
from pipelines.rewrite import SearchQuery

_LEAST_PER_DOCUMENT = 3


class EvidenceRetriever(BaseRetriever):
    """Searches by meaning and words. `filters`: None searches all. `reranker`: puts the best ones in order once more.

    `per_document`: passages of one document, while others have some; None: two thirds of `top_k`, so that one long
    document does not hide all others.
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
        self._searcher = searcher
        self._embedding = embedding
        self._words = QueryWords(analyzer, Vocabulary(searcher.db, searcher.generation))
        self._top_k = top_k
        self._filters = filters
        self._per_document = per_document or max(_LEAST_PER_DOCUMENT, top_k * 2 // 3)
        self._reranker = reranker

    def read(self, query: SearchQuery) -> Reading:
        """The query as it was probably meant, with the words to search for.

        Raises:
            DatabaseUnavailable
        """
        question, context = self._words.read(query.question), self._words.read(query.context)
        return Reading(
            text=f"{context.text} {question.text}".strip(),
            lexemes=query.weigh(question.lexemes, context.lexemes),
            own=query.weigh(question.own, context.own),
        )

    def search(self, query: SearchQuery, *, filters: Filters | None = None, explain: bool = False) -> Found:
        """`filters`: narrow further what the retriever is confined to. `explain`: with `Found.explanation`.

        Raises:
            DatabaseUnavailable, EmbeddingUnavailable: the search could not be made.
        """
        meant = self.read(query)
        found = self._searcher.search(
            self._embedding.embed_query(meant.text),
            meant.lexemes,
            own=meant.own,
            top_k=self._top_k if self._reranker is None else max(self._top_k, self._reranker.top_n),
            filters=self._filters if filters is None else filters.within(self._filters),
            per_document=self._per_document,
            explain=explain,
        )
        if self._reranker is None:
            return found
        done = self._reranker.rerank(meant.text, found.evidence)
        return replace(found, evidence=done.evidence[: self._top_k], notice="rerank_off" if done.failure else "")

    async def asearch(self, query: SearchQuery, *, filters: Filters | None = None, explain: bool = False) -> Found:
        """As `search`, in a thread: embedding and word analysis are computation."""
        return await asyncio.to_thread(self.search, query, filters=filters, explain=explain)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [to_node(item) for item in self.search(SearchQuery(query_bundle.query_str)).evidence]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def to_node(evidence: Evidence) -> NodeWithScore:
    """Evidence as LlamaIndex sees it; the score is the one that decided its rank: the reranker's, else the fused one, 0..1."""
    scores = evidence.scores
    return NodeWithScore(node=to_text_node(evidence), score=scores.fused if scores.rerank is None else scores.rerank)
