"""The write path alone: chunks that are ready against the vector store that LlamaIndex brings, on one server."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import statistics
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.vector_stores.postgres import PGVectorStore

from eval.speed_bench import Bench, Line, Measured, Spent, by_turns, clock, median_and_spread
from knowledge.generations import Manifest
from knowledge.search_indexes import tidy
from knowledge.store import EmbeddedChunk, IndexStore
from knowledge.terms import term_vector
from knowledge.types import Chunk, Document, Place

DIMENSION = 384
CHUNKS_A_DOCUMENT = 100
GOAL = 10.0
_WORDS = 30_000
_WORDS_A_CHUNK = 116  # about 110 distinct ones, as a Korean chunk of 256 tokens has
_WRITERS = 2  # as the ingestor has
_HNSW = {"hnsw_m": 16, "hnsw_ef_construction": 64, "hnsw_ef_search": 40}  # pgvector's own defaults; they suit both

Filled = tuple[Document, list[EmbeddedChunk]]


def measure(bench: Bench) -> Measured:
    documents, rounds = (10, 2) if bench.is_quick else (100, 3)
    chunks = documents * CHUNKS_A_DOCUMENT
    tidied: list[Spent] = []
    ours, theirs = by_turns(
        rounds,
        lambda number: _ours(bench, make_documents(documents, seed=number), tidied),
        lambda number: _theirs(bench, make_documents(documents, seed=number)),
    )
    indexed = _theirs(bench, make_documents(documents, seed=0), hnsw=True)
    ratios = [b.wall_s / a.wall_s for a, b in zip(ours, theirs, strict=True)]
    cpu_ratios = [b.cpu_s / a.cpu_s for a, b in zip(ours, theirs, strict=True)]
    whole = [chunks / (a.wall_s + b.wall_s) for a, b in zip(ours, tidied, strict=True)]
    ratio = statistics.median(ratios)
    lines = [
        Line(
            f"rows/s of the write path over PGVectorStore.add, {chunks:,} chunks",
            median_and_spread(ratios, unit="×", digits=1),
            f"≥ {GOAL:g}×",
            ratio >= GOAL,
        ),
        Line("… its rows/s, search indexes not yet built", _rows_per_s(chunks, ours)),
        Line("… rows/s of PGVectorStore.add, as it comes (no vector index)", _rows_per_s(chunks, theirs)),
        Line("… the same ratio in processor time, PostgreSQL's included", median_and_spread(cpu_ratios, unit="×")),
        Line(
            "… settling counts and building vector and word index",
            median_and_spread([item.wall_s for item in tidied], unit=" s"),
        ),
        Line("… rows/s with that", median_and_spread(whole, digits=0)),
        Line("… rows/s of PGVectorStore.add with its hnsw index", f"{chunks / indexed.wall_s:.0f}"),
        Line("… ratio of these two", f"{statistics.median(whole) * indexed.wall_s / chunks:.1f}×"),
    ]
    numbers: dict[str, Any] = {
        "chunks": chunks,
        "ours_s": [item.wall_s for item in ours],
        "ours_cpu_s": [item.cpu_s for item in ours],
        "tidy_s": [item.wall_s for item in tidied],
        "pgvectorstore_s": [item.wall_s for item in theirs],
        "pgvectorstore_cpu_s": [item.cpu_s for item in theirs],
        "pgvectorstore_hnsw_s": indexed.wall_s,
        "ratio": ratio,
    }
    return Measured(lines, numbers)


def _rows_per_s(chunks: int, goes: Sequence[Spent]) -> str:
    return median_and_spread([chunks / item.wall_s for item in goes], digits=0)


def _ours(bench: Bench, documents: Sequence[Filled], tidied: list[Spent]) -> Spent:
    manifest = Manifest({"name": "random", "dimension": DIMENSION}, "random")
    with bench.index(manifest) as (store, _), ThreadPoolExecutor(_WRITERS) as writers:
        first, *rest = documents
        _replace(store, first)  # connections, caches
        with clock() as spent:
            list(writers.map(lambda item: _replace(store, item), rest))
        with clock() as tidying:
            tidy(store)
        tidied.append(tidying())
        expected = sum(len(chunks) for _, chunks in documents)
        if store.counts().chunks != expected:
            raise RuntimeError(f"{store.counts().chunks} chunks were stored, not {expected}")
    return _scaled(spent(), documents)


def _replace(store: IndexStore, item: Filled) -> bool:
    document, chunks = item
    return store.replace(document, chunks, reading="random", settle=False)


def _theirs(bench: Bench, documents: Sequence[Filled], *, hnsw: bool = False) -> Spent:
    logging.getLogger("llama_index.vector_stores.postgres.base").setLevel(logging.ERROR)
    with bench.database() as (_, url):
        store = PGVectorStore(
            connection_string=url.replace("postgresql://", "postgresql+psycopg2://"),
            async_connection_string=url.replace("postgresql://", "postgresql+asyncpg://"),
            table_name="random",
            embed_dim=DIMENSION,
            initialization_fail_on_error=True,
            hnsw_kwargs={**_HNSW, "hnsw_dist_method": "vector_ip_ops"} if hnsw else None,
        )
        first, *rest = [_nodes(document, chunks) for document, chunks in documents]
        store.add(first)  # connection, table
        with clock() as spent:
            for nodes in rest:
                store.add(nodes)
        asyncio.run(store.close())
    return _scaled(spent(), documents)


def _scaled(spent: Spent, documents: Sequence[Filled]) -> Spent:
    """For all documents: the first one was written before the clock started."""
    share = len(documents) / (len(documents) - 1)
    return Spent(spent.wall_s * share, spent.cpu_s * share)


def _nodes(document: Document, chunks: Sequence[EmbeddedChunk]) -> list[BaseNode]:
    """What LlamaIndex's own pipeline hands over: ids, texts, vectors, and the document that a later delete names."""
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document.path)}
    return [
        TextNode(
            text=item.chunk.text,
            embedding=item.embedding.tolist(),
            metadata={"path": document.path},
            relationships=source,
        )
        for item in chunks
    ]


def make_documents(count: int, *, seed: int) -> list[Filled]:
    """Documents of 100 chunks with random vectors and words as frequent as words are (Zipf)."""
    rng = np.random.default_rng(seed)
    syllables = rng.integers(0xAC00, 0xD7A4, size=(_WORDS, 3))
    vocabulary = ["".join(map(chr, row)) for row in syllables.tolist()]
    shares = 1 / (np.arange(_WORDS) + 20)
    shares /= shares.sum()
    return [_document(number, rng, vocabulary, shares) for number in range(count)]


def _document(number: int, rng: np.random.Generator, vocabulary: Sequence[str], shares: np.ndarray) -> Filled:
    vectors = rng.normal(size=(CHUNKS_A_DOCUMENT, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    halves = vectors.astype(np.float16)  # as ingestion hands them over
    picked = rng.choice(len(vocabulary), (CHUNKS_A_DOCUMENT, _WORDS_A_CHUNK), p=shares)
    chunks, parts, at = [], [], 0
    for ordinal, row in enumerate(picked.tolist()):
        words = [vocabulary[index] for index in row]
        text = " ".join(words)
        place = Place(page=1 + ordinal // 3)
        chunk = Chunk(ordinal, at, at + len(text), text, (f"{ordinal // 5}",), place)
        chunks.append(EmbeddedChunk(chunk, halves[ordinal], term_vector(Counter(words)), "ko"))
        parts.append(text)
        at += len(text) + 1
    text = " ".join(parts)
    digest = hashlib.sha256(text.encode()).hexdigest()
    document = Document("speed", f"{number}.md", f"/speed/{number}.md", digest, len(text), f"{number}", text, "ko")
    return document, chunks
