"""A filter that leaves few chunks of a large index: they are read by key, all of them, and nothing else is."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from pgvector import HalfVector
from psycopg import sql

from ingest.preparing import chunking
from knowledge import narrow
from knowledge.candidates import Statements, prepare_reading, prepare_scan
from knowledge.database import Database
from knowledge.errors import GakjuError
from knowledge.filters import Filters
from knowledge.generations import Manifest, open_active
from knowledge.narrow import BOTH_POOLS, all_statement, most_chunks, with_few
from knowledge.scope import Scope, resolve
from knowledge.search import Searcher
from knowledge.search_indexes import build_indexes, tidy
from knowledge.store import EmbeddedChunk, IndexStore
from knowledge.terms import TERM_SPACE, term_vector
from knowledge.types import Chunk, Document
from knowledge.vector_store import MAX_RESULTS, EvidenceVectorStore
from knowledge.word_query import ask_words

CHUNKS = 100  # of a document
SMALL = {"s0.md": "ko", "s1.md": "en", "s2.md": "ko"}  # of the small collection
LARGE = {f"l{number}.md": "en" if number < 9 else "ko" for number in range(39)}
WORDS = {"문서": 1.0, "d3": 1.0, "n7": 1.0, "n8": 1.0, "nowhere": 1.0}


@dataclass(frozen=True)
class Corpus:
    store: IndexStore
    vectors: dict[uuid.UUID, np.ndarray]  # of the small collection's chunks
    questions: np.ndarray

    @property
    def small(self) -> list[str]:
        """Ids of its chunks."""
        return [str(key) for key in self.vectors]


@pytest.fixture(scope="module")
def corpus(servers, embedding) -> Iterator[Corpus]:
    name = f"test_{uuid.uuid4().hex}"
    url = servers.postgres().url
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    db = Database(urlsplit(url)._replace(path=f"/{name}").geturl())
    db.open()
    try:
        store = IndexStore(db, open_active(db, Manifest(embedding.spec.to_dict(), chunking(256))))
        rng, dimension = np.random.default_rng(2), embedding.spec.dimension
        centre = rng.normal(size=dimension)
        for collection, documents in (("large", LARGE), ("small", SMALL)):
            # The small collection is about something else than the questions: an index of vectors meets it last.
            near = centre if collection == "large" else -centre
            for path, language in documents.items():
                _store_document(store, collection, path, language, _unit(near + rng.normal(size=(CHUNKS, dimension))))
        tidy(store)
        with db.connection() as conn:
            rows = conn.execute(
                "SELECT k.id, k.embedding FROM chunks k JOIN collections c ON c.id = k.collection_id WHERE c.name = 'small'"
            ).fetchall()
        vectors = {key: vector.to_numpy().astype(np.float32) for key, vector in rows}
        yield Corpus(store, vectors, _unit(centre + rng.normal(size=(10, dimension))))
    finally:
        db.close()


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _store_document(store: IndexStore, collection: str, path: str, language: str, vectors: np.ndarray) -> None:
    texts = [f"{collection} {path}의 {at}번 문단" for at in range(len(vectors))]
    document = Document(
        collection=collection,
        path=path,
        origin=f"/files/{path}",
        content_hash=hashlib.sha256(path.encode()).hexdigest(),
        size_bytes=1,
        title=path,
        text="\n".join(texts),
        language=language,
    )
    number = sum(map(ord, path))
    lexemes = [{"문서": 1, f"d{number % 5}": 1, f"n{(number + at) % 50}": 1 + at % 3} for at in range(len(vectors))]
    chunks = [
        EmbeddedChunk(Chunk(at, 0, len(text), text), vector, term_vector(words), language)
        for at, (text, vector, words) in enumerate(zip(texts, vectors, lexemes, strict=True))
    ]
    store.replace(document, chunks, reading="1", settle=False)


def documents_of(corpus: Corpus, collection: str) -> tuple[str, ...]:
    with corpus.store.db.connection() as conn:
        rows = conn.execute(
            "SELECT d.id::text FROM documents d JOIN collections c ON c.id = d.collection_id WHERE c.name = %s",
            (collection,),
        ).fetchall()
    return tuple(row[0] for row in rows)


def narrowed(corpus: Corpus, conn: psycopg.Connection, filters: Filters) -> Scope:
    generation = corpus.store.generation.id
    scope = resolve(conn, filters, generation)
    asked = ask_words(conn, generation, WORDS, scope.collection_ids, budget=30_000)
    return with_few(conn, scope, generation, chunks=asked.chunks, chunks_in_all=asked.chunks_in_all)


def plan(conn: psycopg.Connection, statement: sql.Composed, values: dict[str, object]) -> str:
    rows = conn.execute(sql.SQL("EXPLAIN ") + statement, values).fetchall()
    return "\n".join(row[0][:160] for row in rows)


@pytest.mark.parametrize("key", ["collection", "document", "chunk", "type"])
def test_few_chunks_are_read_by_key_without_an_index_of_vectors_or_words(corpus, key):
    generation = corpus.store.generation.id
    filters, index = {
        "collection": (Filters(collections=("small",)), f"chunks_{generation}_collection"),
        "document": (
            Filters(documents=documents_of(corpus, "small")),
            f"chunks_{generation}_generation_id_document_id_",
        ),
        "chunk": (Filters(chunks=tuple(corpus.small[:100])), f"chunks_{generation}_pkey"),
        "type": (Filters(paths=("s0.md", "s1.md")), f"chunks_{generation}_generation_id_document_id_"),
    }[key]
    with corpus.store.db.connection() as conn:
        scope = narrowed(corpus, conn, filters)
        assert scope.few == BOTH_POOLS
        prepare_reading(conn)
        statement, values = all_statement(
            generation, scope, ["ko", "other"], embedding=corpus.questions[0], weights={1: 1.0}
        )
        shown = plan(conn, statement, {**scope.values, **values, "ko": 100, "other": 20})
    assert shown.count(index) == 1 and "Seq Scan" not in shown, shown
    assert "_embedding_" not in shown and "_terms" not in shown, shown


def test_the_nearest_of_few_chunks_are_exactly_those(corpus):
    searcher = Searcher(corpus.store.db, corpus.store.generation)
    for question in corpus.questions:
        cosines = {str(key): float(vector @ question) for key, vector in corpus.vectors.items()}
        expected = sorted(cosines, key=lambda key: -cosines[key])[:30]
        for filters in (Filters(collections=("small",)), Filters(documents=documents_of(corpus, "small"))):
            found = searcher.search(question, {}, top_k=30, filters=filters).evidence
            # halfvec and numpy round differently
            assert [cosines[item.chunk_id] for item in found] == pytest.approx([cosines[key] for key in expected])
            assert len({item.chunk_id for item in found} & set(expected)) >= 29


def test_the_best_of_few_chunks_by_words_are_exactly_those(corpus):
    searcher, generation = Searcher(corpus.store.db, corpus.store.generation), corpus.store.generation.id
    found = searcher.search(None, WORDS, top_k=50, filters=Filters(collections=("small",))).evidence
    with corpus.store.db.connection() as conn:
        scope = resolve(conn, Filters(collections=("small",)), generation)
        weights = ask_words(conn, generation, WORDS, scope.collection_ids, budget=30_000).weights
        rows = conn.execute("SELECT term_weights FROM chunks WHERE collection_id = ANY(%s)", (scope.collection_ids,))
        vectors = [vector for (vector,) in rows]
    assert all(vector.dimensions() == TERM_SPACE for vector in vectors)
    exact = sorted(
        (
            sum(weights.get(at, 0.0) * value for at, value in zip(vector.indices(), vector.values(), strict=True))
            for vector in vectors
        ),
        reverse=True,
    )
    assert [item.scores.words for item in found] == pytest.approx(exact[:50], rel=1e-3)
    assert {item.collection for item in found} == {"small"}


def test_each_language_of_few_chunks_brings_as_many_as_are_asked_for(corpus):
    """The other pool is a quarter of the index, the English of the small collection a third of that collection."""
    searcher = Searcher(corpus.store.db, corpus.store.generation)
    told = searcher.search(
        corpus.questions[0], WORDS, top_k=5, filters=Filters(collections=("small",)), explain=True
    ).explanation
    assert told is not None
    assert {pool.name: (pool.quota, pool.by_meaning) for pool in told.pools} == {"ko": (100, 100), "other": (100, 100)}
    assert told.ran[0] == "The filters leave so few chunks that each of them was scored, without an index."
    assert not any("HNSW" in sentence for sentence in told.ran)
    assert all(term.finds for term in told.terms if term.chunks)


def test_what_leaves_many_chunks_is_searched_with_the_indexes(corpus):
    with corpus.store.db.connection() as conn:
        for filters in (Filters(), Filters(collections=("large",)), Filters(documents=documents_of(corpus, "large"))):
            assert narrowed(corpus, conn, filters).few == frozenset()
    assert most_chunks(0) == most_chunks(1_000) == 2_000
    assert most_chunks(100_000) == pytest.approx(15_811)
    assert most_chunks(10_000_000) == 20_000


def test_a_language_of_which_a_collection_has_little_is_not_looked_for_among_all_others(corpus, monkeypatch):
    """Its chunks in that language are read by key; those in the other one come from the index of vectors."""
    generation = corpus.store.generation.id
    monkeypatch.setattr(narrow, "most_chunks", lambda chunks_in_all: 10)
    monkeypatch.setattr(narrow, "MOST_OF_POOL", 150)
    statements = Statements(corpus.store.generation)
    with corpus.store.db.connection() as conn:
        scope = narrowed(corpus, conn, Filters(collections=("small",)))
        assert scope.few == {"other"}
        prepare_scan(conn, 100)
        conn.execute("SET LOCAL enable_sort = off")  # quicker for the few Korean ones here
        statement, limits = statements.meaning_statement(scope, [(True, 100)])
        values = {**scope.values, **limits, "q": HalfVector(corpus.questions[0])}
        assert f"_{generation}_embedding_ko" in plan(conn, statement, values)
        conn.execute("SET LOCAL enable_sort = on")
        statement, limits = statements.meaning_statement(scope, [(False, 100)])
        values = {**scope.values, **limits, "q": HalfVector(corpus.questions[0])}
        shown = plan(conn, statement, values)
        assert f"chunks_{generation}_collection" in shown and "_embedding_" not in shown, shown
        assert "Seq Scan" not in shown
    searcher = Searcher(corpus.store.db, corpus.store.generation)
    found = searcher.search(corpus.questions[0], WORDS, top_k=300, filters=Filters(collections=("small",))).evidence
    assert sum(item.language == "en" for item in found) == CHUNKS


def test_an_index_that_was_made_before_gets_the_key_of_collections_and_is_searched_meanwhile(corpus):
    store = corpus.store
    searcher, filters = Searcher(store.db, store.generation), Filters(collections=("small",))
    with_key = searcher.search(corpus.questions[0], WORDS, top_k=9, filters=filters)
    with store.db.connection() as conn:
        conn.execute(f"DROP INDEX chunks_{store.generation.id}_collection".encode())
    assert searcher.search(corpus.questions[0], WORDS, top_k=9, filters=filters) == with_key
    assert build_indexes(store.db, store.generation)
    assert not build_indexes(store.db, store.generation)
    assert searcher.search(corpus.questions[0], WORDS, top_k=9, filters=filters) == with_key


@pytest.mark.parametrize("mode", ["default", "hybrid"])
@pytest.mark.parametrize("top_k", [100, 400, MAX_RESULTS])
def test_a_stock_retriever_gets_as_many_results_as_it_asks_for(corpus, analyzer, mode, top_k):
    store = EvidenceVectorStore(Searcher(corpus.store.db, corpus.store.generation), corpus.store, analyzer)
    query = VectorStoreQuery(
        query_embedding=corpus.questions[1].tolist(),
        query_str="문서 문단",
        similarity_top_k=top_k,
        mode=VectorStoreQueryMode(mode),
    )
    found = store.query(query)
    assert len(found.ids or []) == len(set(found.ids or [])) == top_k
    assert found.similarities == sorted(found.similarities or [], reverse=True)
    small = MetadataFilters(filters=[MetadataFilter(key="collection", value="small")])
    assert len(store.query(replace(query, filters=small)).ids or []) == min(top_k, len(corpus.small))


@pytest.mark.parametrize("top_k", [0, -1, MAX_RESULTS + 1, 10**9])
def test_more_results_than_there_can_be_are_refused_and_not_cut(corpus, analyzer, top_k):
    store = EvidenceVectorStore(Searcher(corpus.store.db, corpus.store.generation), corpus.store, analyzer)
    with pytest.raises(GakjuError, match=f"{top_k:,} results cannot be searched for") as refused:
        store.query(VectorStoreQuery(query_str="문서", similarity_top_k=top_k))
    assert "1 to 1,000" in refused.value.hint
