"""The same chunks, texts and vectors in the store that LlamaIndex brings: `PGVectorStore(hybrid_search=True)`.

Its table and indexes are its own; the rows come from our table in one statement, because its `add` takes many times as
long (`python -m eval speed ingest --only write`). It looks for the title and headings too, as ours does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.indices import VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import BaseNode, QueryBundle, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.core.vector_stores.utils import node_to_metadata_dict
from llama_index.vector_stores.postgres import PGVectorStore

from knowledge.database import Database
from knowledge.store import IndexStore

_NAME = "stock"
_ID, _PATH = "@ID@", "@PATH@"
# What LlamaIndex's documentation of this store uses; the operator class fits the cosine distance that it orders by.
_HNSW = {"hnsw_m": 16, "hnsw_ef_construction": 64, "hnsw_ef_search": 40, "hnsw_dist_method": "vector_cosine_ops"}
_COPY = """
INSERT INTO data_stock (text, metadata_, node_id, embedding)
SELECT concat_ws(E'\\n', nullif(d.title, ''), nullif(array_to_string(k.heading, ' › '), ''), k.text),
       replace(replace(%(metadata)s, %(id)s, k.id::text), %(path)s, d.path)::json, k.id::text, k.embedding::vector
FROM chunks k JOIN documents d ON d.generation_id = k.generation_id AND d.id = k.document_id
WHERE k.generation_id = %(generation)s
"""


@dataclass(frozen=True, slots=True)
class Stock:
    """`build_s`: rows and both indexes; 0 where they were there already."""

    store: PGVectorStore
    build_s: float
    bytes_on_disk: int

    def hybrid(self, question: str, vector: np.ndarray, *, top_k: int) -> list[BaseNode]:
        """Its own hybrid query: the nearest by meaning, then those by words that are not among them."""
        result = self.store.query(
            VectorStoreQuery(
                query_embedding=vector.tolist(),
                query_str=question,
                similarity_top_k=top_k,
                sparse_top_k=top_k,
                mode=VectorStoreQueryMode.HYBRID,
            )
        )
        return list(result.nodes or [])

    def fused(self, question: str, vector: np.ndarray, *, top_k: int) -> list[BaseNode]:
        """Both of its legs put together by LlamaIndex's QueryFusionRetriever, by relative scores."""
        index = VectorStoreIndex.from_vector_store(self.store, embed_model=MockEmbedding(len(vector)))
        retrievers = [
            index.as_retriever(vector_store_query_mode=mode, similarity_top_k=top_k, sparse_top_k=top_k)
            for mode in ("default", "sparse")
        ]
        fusion = QueryFusionRetriever(
            retrievers, llm=MockLLM(), num_queries=1, similarity_top_k=top_k, mode=FUSION_MODES.RELATIVE_SCORE,
            use_async=False,
        )  # fmt: skip
        return [item.node for item in fusion.retrieve(QueryBundle(question, embedding=vector.tolist()))]


@contextmanager
def stock_of(ours: IndexStore, url: str) -> Iterator[Stock]:
    """Filled from `ours`, which lies at `url`, unless that was done before."""
    logging.getLogger("llama_index.vector_stores.postgres.base").setLevel(logging.ERROR)
    dimension = ours.generation.manifest.dimension
    build_s = 0.0
    if not _is_complete(ours.db):
        began = time.perf_counter()
        plain = _connect(url, dimension, hnsw=False)
        plain.query(VectorStoreQuery(query_embedding=[0.0] * dimension, similarity_top_k=1))  # makes the table
        asyncio.run(plain.close())
        with ours.db.connection() as conn:
            conn.execute("TRUNCATE data_stock")
            values = {"metadata": _metadata(), "id": _ID, "path": _PATH, "generation": ours.generation.id}
            conn.execute(_COPY, values)
            conn.execute("SET LOCAL maintenance_work_mem = '512MB'")  # as ours
            store = f"m = {_HNSW['hnsw_m']}, ef_construction = {_HNSW['hnsw_ef_construction']}"
            conn.execute(
                "CREATE INDEX data_stock_embedding_idx ON data_stock "
                f"USING hnsw (embedding {_HNSW['hnsw_dist_method']}) WITH ({store})".encode()
            )
        with ours.db.connection() as conn:
            conn.execute("ANALYZE data_stock")
        build_s = time.perf_counter() - began
    opened = _connect(url, dimension, hnsw=True)
    try:
        yield Stock(opened, build_s, _bytes_on_disk(ours.db))
    finally:
        asyncio.run(opened.close())


def _connect(url: str, dimension: int, *, hnsw: bool) -> PGVectorStore:
    return PGVectorStore(
        connection_string=url.replace("postgresql://", "postgresql+psycopg2://"),
        async_connection_string=url.replace("postgresql://", "postgresql+asyncpg://"),
        table_name=_NAME,
        embed_dim=dimension,
        hybrid_search=True,
        text_search_config="simple",
        initialization_fail_on_error=True,
        hnsw_kwargs=dict(_HNSW) if hnsw else None,
    )


def _metadata() -> str:
    """As `add` stores it of a node, with marks where it names the node and its path."""
    return json.dumps(node_to_metadata_dict(TextNode(id_=_ID, metadata={"path": _PATH}), remove_text=True))


def _is_complete(db: Database) -> bool:
    with db.connection() as conn:
        row = conn.execute("SELECT to_regclass('data_stock_embedding_idx') IS NOT NULL").fetchone()
    return bool(row and row[0])


def _bytes_on_disk(db: Database) -> int:
    with db.connection() as conn:
        row = conn.execute("SELECT pg_total_relation_size('data_stock')").fetchone()
    return int(row[0]) if row else 0


def paths_of(nodes: Sequence[BaseNode]) -> list[str]:
    """Paths of the documents, in the order of their best chunks."""
    return list(dict.fromkeys(str(node.metadata["path"]) for node in nodes))
