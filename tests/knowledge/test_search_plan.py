"""Some thousand chunks in two languages: the plan uses the index, HNSW finds what an exact search finds, filters lose nothing."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest
from pgvector import HalfVector

from ingest.preparing import chunking
from knowledge.background import measure
from knowledge.candidates import Statements, prepare_scan
from knowledge.database import Database
from knowledge.filters import Filters
from knowledge.generations import Manifest, open_active
from knowledge.scope import Scope, resolve
from knowledge.search import Searcher
from knowledge.search_indexes import tidy
from knowledge.store import EmbeddedChunk, IndexStore
from knowledge.terms import term_vector
from knowledge.types import Chunk, Document

DOCUMENTS, CHUNKS, SUBJECTS = 60, 50, 40
RARE_DOCUMENT = 7  # the one in English: a sixtieth of the chunks


def _vectors(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    """Like those of an embedder: near each other in general, nearer within a subject."""
    centre = rng.normal(size=dimension)
    subjects = centre * 1.5 + rng.normal(size=(SUBJECTS, dimension))
    vectors = subjects[rng.integers(SUBJECTS, size=count)] + 0.6 * rng.normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def index(servers, embedding) -> Iterator[tuple[IndexStore, np.ndarray]]:
    """The store, and the vectors of questions."""
    name = f"test_{uuid.uuid4().hex}"
    url = servers.postgres().url
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    db = Database(urlsplit(url)._replace(path=f"/{name}").geturl())
    db.open()
    try:
        store = IndexStore(db, open_active(db, Manifest(embedding.spec.to_dict(), chunking(256))))
        vectors = _vectors(np.random.default_rng(1), DOCUMENTS * CHUNKS + 50, embedding.spec.dimension)
        for number in range(DOCUMENTS):
            _store_document(store, number, vectors[number * CHUNKS : (number + 1) * CHUNKS])
        tidy(store)
        yield store, vectors[DOCUMENTS * CHUNKS :]
    finally:
        db.close()


def _store_document(store: IndexStore, number: int, vectors: np.ndarray) -> None:
    path, language = f"{number}.md", "en" if number == RARE_DOCUMENT else "ko"
    texts = [f"{number}번 문서의 {at}번 문단" for at in range(len(vectors))]
    document = Document(
        collection="default",
        path=path,
        origin=f"/files/{path}",
        content_hash=hashlib.sha256(path.encode()).hexdigest(),
        size_bytes=1,
        title=path,
        text="\n".join(texts),
        language=language,
    )
    lexemes = [{"문서": 1, "문단": 1, f"d{number}": 1, f"c{number}-{at}": 1} for at in range(len(vectors))]
    chunks = [
        EmbeddedChunk(Chunk(at, 0, len(text), text), vector, term_vector(words), language)
        for at, (text, vector, words) in enumerate(zip(texts, vectors, lexemes, strict=True))
    ]
    store.replace(document, chunks, reading="1", settle=False)


def plan(conn: psycopg.Connection, statement, values) -> str:
    rows = conn.execute(psycopg.sql.SQL("EXPLAIN ") + statement, values).fetchall()
    return "\n".join(row[0] for row in rows)


def test_the_meaning_leg_reads_the_vector_index(index):
    store, questions = index
    statements = Statements(store.generation)
    with store.db.connection() as conn:
        prepare_scan(conn, 100)
        wide = resolve(conn, Filters(collections=("default",)), store.generation.id)
        for scope in (Scope(), wide):
            statement, limits = statements.meaning_statement(scope, [(True, 100), (False, 20)])
            conn.execute(
                "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off"
            )  # quicker for the few in English
            shown = plan(conn, statement, {**scope.values, **limits, "q": HalfVector(questions[0])})
            for pool in ("ko", "other"):
                assert f"Index Scan using chunks_{store.generation.id}_embedding_{pool}" in shown, shown
            assert "Seq Scan" not in shown and "Sort" not in shown


def test_hnsw_finds_what_an_exact_search_finds(index):
    store, questions = index
    searcher = Searcher(store.db, store.generation)
    shares = []
    for question in questions:
        found = [item.chunk_id for item in searcher.search(question, {}, top_k=10).evidence]
        with store.db.connection() as conn:
            conn.execute("SET LOCAL enable_indexscan = off")
            exact = conn.execute(
                "SELECT id FROM chunks WHERE generation_id = %s ORDER BY embedding <#> %s LIMIT 10",
                (store.generation.id, HalfVector(question)),
            ).fetchall()
        shares.append(len(set(found) & {str(key) for (key,) in exact}) / 10)
    assert np.mean(shares) >= 0.99


@pytest.mark.parametrize(
    "filters",
    [Filters(paths=(f"{RARE_DOCUMENT}.md",)), Filters(languages=("en",)), Filters(paths=("3.md", "4.md"))],
    ids=["document", "language", "documents"],
)
def test_a_filter_that_leaves_little_loses_nothing(index, filters):
    store, questions = index
    expected = CHUNKS * (2 if filters.paths and len(filters.paths) == 2 else 1)
    found = Searcher(store.db, store.generation).search(questions[0], {}, top_k=100, filters=filters).evidence
    assert len(found) == expected
    names = filters.paths or (f"{RARE_DOCUMENT}.md",)
    assert {item.path for item in found} == set(names)


def test_both_languages_are_searched_each_to_its_share(index):
    store, questions = index
    searcher = Searcher(store.db, store.generation)
    told = searcher.search(questions[0], {"문서": 1.0}, top_k=5, explain=True).explanation
    assert told is not None
    assert {pool.name: (pool.quota, pool.by_meaning) for pool in told.pools} == {"ko": (100, 100), "other": (20, 20)}
    assert sum(pool.share for pool in told.pools) == pytest.approx(1)
    confined = searcher.search(
        questions[0], {"문서": 1.0}, top_k=5, filters=Filters(languages=("ko",)), explain=True
    ).explanation
    assert confined is not None and [pool.name for pool in confined.pools] == ["all"]
    assert {item.pool for item in confined.candidates} == {"ko"}


def test_the_background_is_measured_again_when_the_index_has_changed(index):
    store, questions = index
    with store.db.connection() as conn:
        measured = measure(conn, store.generation.id, DOCUMENTS * CHUNKS, dimension=questions.shape[1])
    assert 0.3 * DOCUMENTS * CHUNKS < measured.sampled <= DOCUMENTS * CHUNKS
    assert measured.is_fresh(measured.chunks)
    assert measured.is_fresh(round(measured.chunks * 1.05))
    assert not measured.is_fresh(round(measured.chunks * 1.2))
    assert not replace(measured, measured_at=measured.measured_at - 3600).is_fresh(measured.chunks + 1)
