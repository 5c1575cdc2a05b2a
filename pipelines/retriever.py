"""The LlamaIndex retriever over our search: a question in, evidence in rank order out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from knowledge.embedding import GakjuEmbedding
from knowledge.lexemes import Analyzer
from knowledge.nodes import to_node as to_text_node
from knowledge.search import Found, Searcher
from knowledge.types import Evidence
from pipelines.rewrite import SearchQuery


class EvidenceRetriever(BaseRetriever):
    """Searches by meaning and words. `collections`: None searches all."""

    def __init__(
        self,
        searcher: Searcher,
        embedding: GakjuEmbedding,
        analyzer: Analyzer,
        *,
        top_k: int,
        collections: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self._searcher = searcher
        self._embedding = embedding
        self._analyzer = analyzer
        self._top_k = top_k
        self._collections = collections

    def search(self, query: SearchQuery) -> Found:
        """Raises:
        DatabaseUnavailable, EmbeddingUnavailable: the search could not be made.
        """
        return self._searcher.search(
            self._embedding.embed_query(query.text),
            query.weigh(self._analyzer.analyze(query.question), self._analyzer.analyze(query.context)),
            top_k=self._top_k,
            collections=self._collections,
        )

    async def asearch(self, query: SearchQuery) -> Found:
        """As `search`, in a thread: embedding and word analysis are computation."""
        return await asyncio.to_thread(self.search, query)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [to_node(item) for item in self.search(SearchQuery(query_bundle.query_str)).evidence]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def to_node(evidence: Evidence) -> NodeWithScore:
    """Evidence as LlamaIndex sees it; the score is the fused one, 0..1."""
    return NodeWithScore(node=to_text_node(evidence), score=evidence.scores.fused)
