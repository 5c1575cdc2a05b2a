"""Our index as a LlamaIndex `PGVectorStore`, so that any stock retriever, index or chat engine can read it.

Overridden because version 0.9.0 pastes filter keys and values into SQL, orders words without their rarity, concatenates
its two result lists instead of fusing them, and keeps no unique node id (a second run doubles the rows). Here every
value is bound, filter keys come from a list, and both legs are those of knowledge/search.py.

Writing is not this class's: documents are replaced whole, in one transaction, by knowledge/store.py; `add` refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.postgres import PGVectorStore
from pydantic import PrivateAttr

from knowledge.errors import GakjuError
from knowledge.lexemes import Analyzer
from knowledge.nodes import to_node
from knowledge.search import Searcher
from knowledge.store import IndexStore

_FILTER_KEYS = ("collection",)


class EvidenceVectorStore(PGVectorStore):
    """Read it with `VectorStoreIndex.from_vector_store(store, embed_model=embedding)`.

    Query modes: DEFAULT searches by meaning and, where the query has text, by words (as the app does); HYBRID the same;
    TEXT_SEARCH and SPARSE by words alone. Filters: `collection` (EQ or IN), all else is refused.
    """

    _searcher: Searcher = PrivateAttr()
    _index: IndexStore = PrivateAttr()
    _analyzer: Analyzer = PrivateAttr()

    def __init__(self, searcher: Searcher, index: IndexStore, analyzer: Analyzer) -> None:
        super().__init__(
            connection_string="postgresql://", table_name="chunks", perform_setup=False, embed_dim=searcher.dimension
        )
        self._searcher = searcher
        self._index = index
        self._analyzer = analyzer
        self._is_initialized = True  # tables and connections are ours; the parent must not make its own

    @classmethod
    def class_name(cls) -> str:
        return "EvidenceVectorStore"

    @property
    def client(self) -> Any:
        return self._searcher

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Raises:
        GakjuError: a filter or a mode that is not offered.
        DatabaseUnavailable: the database does not answer.
        """
        by_words = query.mode in (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE)
        offered = (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID)
        if not by_words and query.mode not in offered:
            raise GakjuError(
                f"Query mode {query.mode.value} is not offered.", hint="Use default, hybrid or text_search."
            )
        lexemes: Mapping[str, int] = self._analyzer.analyze(query.query_str or "")
        found = self._searcher.search(
            None if by_words or query.query_embedding is None else np.asarray(query.query_embedding, dtype=np.float32),
            dict.fromkeys(lexemes, 1.0),
            top_k=query.similarity_top_k,
            collections=_collections(query.filters),
        )
        nodes: list[BaseNode] = [to_node(item) for item in found.evidence]
        return VectorStoreQueryResult(
            nodes=nodes,
            similarities=[item.scores.fused for item in found.evidence],
            ids=[node.node_id for node in nodes],
        )

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
        self._index.remove_by_id(ref_doc_id)

    async def adelete(self, ref_doc_id: str, **kwargs: Any) -> None:
        await asyncio.to_thread(self.delete, ref_doc_id)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """The chunks with these ids, in their order; unknown ids are left out."""
        if filters is not None:
            raise GakjuError("Chunks are fetched by id only.", hint="Use query for filters.")
        return [to_node(item) for item in self._searcher.chunks(node_ids or [])]

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


def _collections(filters: MetadataFilters | None) -> list[str] | None:
    """Names of the collections to search; None is all.

    Raises:
        GakjuError: any other filter. An unknown one must not be passed over: it may be what keeps people apart.
    """
    if filters is None or not filters.filters:
        return None
    wanted: set[str] | None = None
    for item in filters.filters:
        key = getattr(item, "key", None)
        operator = getattr(item, "operator", None)
        is_last = operator in (FilterOperator.EQ, FilterOperator.IN)
        if key not in _FILTER_KEYS or not is_last or (filters.condition or "and") != "and":
            raise GakjuError(f"Filter {item} is not offered.", hint="Filter by collection with == or in.")
        value = getattr(item, "value", None)
        values = {str(name) for name in (value if isinstance(value, list) else [value])}
        wanted = values if wanted is None else wanted & values
    return sorted(wanted or ())
