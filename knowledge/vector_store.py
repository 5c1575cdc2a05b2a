"""Our index as a LlamaIndex `PGVectorStore`, so that any stock retriever, index or chat engine can read it.

Overridden because version 0.9.0 pastes filter keys and values into SQL, orders words without their rarity, concatenates
its two result lists instead of fusing them, and keeps no unique node id (a second run doubles the rows). Here every
value is bound, filter keys come from a list (knowledge/metadata_filters.py), and both legs are those of
knowledge/search.py.

Writing is not this class's: documents are replaced whole, in one transaction, by knowledge/store.py; `add` refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.postgres import PGVectorStore
from pydantic import PrivateAttr

from knowledge.embedding.base import clean
from knowledge.errors import GakjuError
from knowledge.filters import Filters
from knowledge.lexemes import Analyzer
from knowledge.metadata_filters import to_filters
from knowledge.nodes import to_node
from knowledge.phrases import words_in_order
from knowledge.scope import chunk_ids
from knowledge.search import Searcher
from knowledge.store import IndexStore
from knowledge.variants import QueryWords
from knowledge.vocabulary import Vocabulary

MAX_RESULTS = 1_000  # of one query: HNSW keeps no more candidates
_MAX_NODES = 10_000  # that are fetched at once
_CANDIDATES, _SPARE = 100, 1.25  # at least so many, and so many times the results: equal texts become one
_BY_WORDS = (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE)
_BY_BOTH = (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID)


class EvidenceVectorStore(PGVectorStore):
    """Read it with `VectorStoreIndex.from_vector_store(store, embed_model=embedding)`.

    Query modes: DEFAULT searches by meaning and, where the query has text, by words (as the app does); HYBRID the same;
    TEXT_SEARCH and SPARSE by words alone. `alpha` (HYBRID): 1 is meaning alone, 0 words alone, None our own mix;
    no other is offered. Number of results: `similarity_top_k`; HYBRID adds `sparse_top_k`, unless `hybrid_top_k` says. At
    most 1,000 (`MAX_RESULTS`), which is refused rather than cut; fewer come where the index or a filter has no more of
    them, where texts are equal, and by words alone where no more passages share a word.
    Similarities are fused scores, 0..1. Filters: collection, document_id, path, type, language (== or in) and date (>,
    >=, <, <=), joined by and; all else is refused.
    """

    _searcher: Searcher = PrivateAttr()
    _index: IndexStore = PrivateAttr()
    _words: QueryWords = PrivateAttr()

    def __init__(self, searcher: Searcher, index: IndexStore, analyzer: Analyzer) -> None:
        super().__init__(
            connection_string="postgresql://", table_name="chunks", perform_setup=False, embed_dim=searcher.dimension
        )
        self._searcher = searcher
        self._index = index
        self._words = QueryWords(analyzer, Vocabulary(searcher.db, searcher.generation))
        self._is_initialized = True  # tables and connections are ours; the parent must not make its own

    @classmethod
    def class_name(cls) -> str:
        return "EvidenceVectorStore"

    @property
    def client(self) -> Any:
        return self._searcher

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Raises:
        GakjuError: a filter, a mode or another wish that is not offered.
        DatabaseUnavailable: the database does not answer.
        """
        by_meaning, by_words = _legs(query)
        # A stock index made from a store holds no ids of nodes, which its retriever passes on as none: that is any.
        filters = to_filters(query.filters, doc_ids=query.doc_ids, node_ids=query.node_ids or None)
        meant = self._words.read(clean(query.query_str or "") if by_words else "", filters.collections)
        top_k = _top_k(query)
        found = self._searcher.search(
            self._embedding(query) if by_meaning else None,
            meant.lexemes,
            own=meant.own,
            words=words_in_order(meant.text, meant.own),
            top_k=top_k,
            candidates=max(_CANDIDATES, round(_SPARE * top_k)),
            filters=filters,
        )
        nodes: list[BaseNode] = [to_node(item) for item in found.evidence]
        return VectorStoreQueryResult(
            nodes=nodes,
            similarities=[item.scores.fused for item in found.evidence],
            ids=[node.node_id for node in nodes],
        )

    def _embedding(self, query: VectorStoreQuery) -> np.ndarray | None:
        """None: the query has none."""
        if query.query_embedding is None:
            return None
        embedding = np.asarray(query.query_embedding, dtype=np.float32)
        if embedding.shape != (self._searcher.dimension,) or not np.isfinite(embedding).all():
            raise GakjuError(
                f"The query's embedding has the shape {embedding.shape}; the index expects "
                f"{self._searcher.dimension:,} finite numbers.",
                hint="Give the index the app's own embedding as embed_model.",
            )
        length = float(np.linalg.norm(embedding))
        return embedding / length if length else None

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        return await asyncio.to_thread(self.query, query, **kwargs)

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        raise GakjuError(
            "Nodes cannot be added one by one: the index holds whole documents.",
            hint="Ingest the file (`gakju ingest add PATH`) or call IndexStore.replace.",
        )

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        return self.add(nodes)

    def delete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """Remove a document by its id; an unknown one is none to remove."""
        for document_id in Filters(documents=(ref_doc_id,)).documents or ():
            self._index.remove_by_id(document_id)

    async def adelete(self, ref_doc_id: str, **kwargs: Any) -> None:
        await asyncio.to_thread(self.delete, ref_doc_id)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """The chunks with these ids, in their order, that the filters select; all these do, without ids.

        Raises:
            GakjuError: a filter that is not offered, or more than 10,000 chunks.
        """
        wanted = to_filters(filters)
        if node_ids is not None:
            node_ids = [key for key in node_ids if isinstance(key, str)]
        if node_ids is None or not wanted.selects_all:
            selected = self._selected(wanted if node_ids is None else wanted.within(Filters(chunks=tuple(node_ids))))
            node_ids = selected if node_ids is None else [key for key in node_ids if key in set(selected)]
        return [to_node(item) for item in self._searcher.chunks(node_ids)]

    def _selected(self, filters: Filters) -> list[str]:
        with self._index.db.connection() as conn:
            found = chunk_ids(conn, filters, self._searcher.generation.id, limit=_MAX_NODES + 1)
        if len(found) > _MAX_NODES:
            raise GakjuError(
                f"The filters select more than {_MAX_NODES:,} chunks.", hint="Filter by document_id, path or type too."
            )
        return found

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> None:
        raise GakjuError("Chunks are not deleted one by one.", hint="Delete their document.")

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> None:
        self.delete_nodes(node_ids, filters)

    def clear(self) -> None:
        raise GakjuError("The whole index is not cleared from here.", hint="Use an empty database.")

    async def aclear(self) -> None:
        self.clear()

    async def close(self) -> None:
        """Nothing to close: the database belongs to who opened it."""


def _legs(query: VectorStoreQuery) -> tuple[bool, bool]:
    """Whether to search by meaning, by words."""
    if query.mode not in (*_BY_WORDS, *_BY_BOTH):
        raise GakjuError(f"Query mode {query.mode.value} is not offered.", hint="Use default, hybrid or text_search.")
    if query.mode != VectorStoreQueryMode.HYBRID:
        for name in ("alpha", "hybrid_top_k"):
            if getattr(query, name) is not None:
                raise GakjuError(f"{name} is for the query mode hybrid alone.", hint="Leave it out.")
    if query.alpha not in (None, 0, 1):
        raise GakjuError(
            f"alpha={query.alpha} is not offered: both legs are mixed by weights that were measured.",
            hint="Leave it out, or use 1 for meaning alone and 0 for words alone.",
        )
    return query.mode not in _BY_WORDS and query.alpha != 0, query.alpha != 1


def _top_k(query: VectorStoreQuery) -> int:
    """How many results the query asks for. HYBRID: as many as both legs together, unless it says."""
    wishes = [query.similarity_top_k, query.sparse_top_k]
    if query.mode == VectorStoreQueryMode.DEFAULT and query.sparse_top_k is not None:
        raise GakjuError("sparse_top_k is not for the query mode default.", hint="Use hybrid or text_search.")
    if query.mode in _BY_WORDS and query.sparse_top_k is not None:
        wishes = [query.sparse_top_k]
    elif query.hybrid_top_k is not None:
        wishes = [query.hybrid_top_k]
    top_k = sum(wish for wish in wishes if wish is not None)
    if not 1 <= top_k <= MAX_RESULTS:
        raise GakjuError(
            f"{top_k:,} results cannot be searched for.",
            hint=f"Ask for 1 to {MAX_RESULTS:,} (similarity_top_k, sparse_top_k, hybrid_top_k).",
        )
    return top_k
