"""One transaction replaces one document; counts, ids and words stay exact."""

from __future__ import annotations

import hashlib
import threading
import uuid
from pathlib import Path

import numpy as np
import psycopg
import pytest

from knowledge import database as database_module
from knowledge.database import Database, migrate, redact
from knowledge.errors import DatabaseRefused, DatabaseUnavailable, GakjuError, IndexMismatch
from knowledge.filters import Filters
from knowledge.generations import Manifest, open_active
from knowledge.search import Searcher
from knowledge.store import EmbeddedChunk, IndexCounts, IndexStore, make_chunk_id, make_chunk_ids, make_document_id
from knowledge.terms import term_id, term_vector
from knowledge.types import Chunk, Document, Place


def make(path: str, texts: list[str], *, embedding, analyzer, collection="default"):
    """A document whose chunks are `texts`, embedded and analysed for real."""
    whole = "\n\n".join(texts)
    document = Document(
        collection=collection,
        path=path,
        origin=f"/files/{path}",
        content_hash=hashlib.sha256(whole.encode()).hexdigest(),
        size_bytes=len(whole),
        title=path,
        text=whole,
        language="ko",
    )
    vectors = embedding.embed_passages(texts)
    chunks, at = [], 0
    for ordinal, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        chunk = Chunk(ordinal, at, at + len(text), text, ("장",), Place(page=ordinal + 1))
        chunks.append(EmbeddedChunk(chunk, vector, term_vector(analyzer.analyze(text)), "ko"))
        at += len(text) + 2
    return document, chunks


def term_counts(store: IndexStore) -> dict[int, int]:
    with store.db.connection() as conn:
        return dict(conn.execute("SELECT term_id, chunks FROM term_counts WHERE chunks <> 0").fetchall())


def test_same_content_is_written_once(store, embedding, analyzer):
    document, chunks = make("a.md", ["환율이 오른다.", "운임이 내린다."], embedding=embedding, analyzer=analyzer)
    assert store.replace(document, chunks, reading="1") is True
    assert store.replace(document, chunks, reading="1") is False
    assert store.counts() == IndexCounts(documents=1, chunks=2)
    assert store.versions("default")["a.md"].content_hash == document.content_hash


def test_replacing_and_removing_keeps_term_counts_exact(store, db, embedding, analyzer):
    kept = make("kept.md", ["환율과 운임"], embedding=embedding, analyzer=analyzer)
    old = make("b.md", ["환율이 오른다.", "관세가 내린다."], embedding=embedding, analyzer=analyzer)
    new = make("b.md", ["선물 시장"], embedding=embedding, analyzer=analyzer)
    store.replace(*kept, reading="1")
    before = term_counts(store)
    store.replace(*old, reading="1")
    store.replace(*new, reading="1")
    assert term_id("관세") not in term_counts(store)
    assert term_counts(store)[term_id("환율")] == 1
    assert store.remove("default", "b.md") is True
    assert store.remove("default", "b.md") is False
    assert term_counts(store) == before
    assert store.counts() == IndexCounts(documents=1, chunks=1)


def test_the_old_version_answers_until_the_new_one_commits(store, db, embedding, analyzer):
    store.replace(*make("a.md", ["옛 환율 문서"], embedding=embedding, analyzer=analyzer), reading="1")
    document, chunks = make("a.md", ["새 환율 문서"] * 2, embedding=embedding, analyzer=analyzer)
    chunks[1] = EmbeddedChunk(chunks[0].chunk, chunks[1].embedding, chunks[1].terms, "ko")  # ordinal 0 twice
    with pytest.raises(DatabaseRefused, match="duplicate key"):
        store.replace(document, chunks, reading="1")
    searcher = Searcher(db, store.generation)
    found = searcher.search(embedding.embed_query("환율"), analyzer.analyze("환율"), top_k=5)
    assert [item.text for item in found.evidence] == ["옛 환율 문서"]


def test_many_writers_of_the_same_documents_store_each_once(store, db, embedding, analyzer):
    documents = [
        make(f"{n}.md", [f"문서 {n} 환율 운임 관세", f"둘째 {n}"], embedding=embedding, analyzer=analyzer)
        for n in range(8)
    ]
    written: list[bool] = []

    def write(order: list[int]) -> None:
        for n in order:
            written.append(store.replace(*documents[n], reading="1"))

    threads = [
        threading.Thread(target=write, args=(order,)) for order in ([*range(8)], [*range(7, -1, -1)], [*range(8)])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(written) == 8 and len(written) == 24
    assert store.counts() == IndexCounts(documents=8, chunks=16)
    assert term_counts(store)[term_id("환율")] == 8


def test_content_at_two_paths_is_kept_twice(store, embedding, analyzer):
    for path in ("a.md", "b.md"):
        store.replace(*make(path, ["같은 글"], embedding=embedding, analyzer=analyzer), reading="1")
    assert store.counts() == IndexCounts(documents=2, chunks=2)


def test_another_embedding_is_refused_with_both_names(db):
    other = Manifest(
        {"name": "bge-m3", "dimension": 1024, "query_prefix": "", "passage_prefix": ""}, "chunker 2, 256 tokens"
    )
    with pytest.raises(IndexMismatch, match=r"multilingual-e5-small.*384.*bge-m3.*1024"):
        open_active(db, other)


def test_a_newer_schema_is_refused(db, database_url):
    with db.connection() as conn:
        conn.execute("INSERT INTO schema_version (version) VALUES (9999)")
    with psycopg.connect(database_url, autocommit=True) as conn, pytest.raises(GakjuError, match="9999"):
        migrate(conn)


def test_a_broken_migration_changes_nothing(database_url, tmp_path: Path, monkeypatch):
    (tmp_path / "0001_broken.sql").write_text("CREATE TABLE half (a int); SELECT nonsense;")
    monkeypatch.setattr(database_module, "MIGRATIONS", tmp_path)
    with psycopg.connect(database_url, autocommit=True) as conn:
        with pytest.raises(psycopg.Error):
            migrate(conn)
        row = conn.execute("SELECT to_regclass('half')").fetchone()
        assert row is not None and row[0] is None


def test_an_unreachable_database_is_named_without_its_password():
    db = Database("postgresql://me:secret@127.0.0.1:9/x", connect_timeout_s=1)
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:9/x") as caught:
        db.open()
    assert "secret" not in caught.value.sentence()


def test_secrets_are_shared(store):
    assert store.shared_secret("k", "first") == "first"
    assert store.shared_secret("k", "second") == "first"


def test_chunk_ids_depend_on_content_alone(store, db, embedding, analyzer):
    def ids() -> set[str]:
        with db.connection() as conn:
            return {str(row[0]) for row in conn.execute("SELECT id FROM chunks")}

    first = make("a.md", ["하나", "둘"], embedding=embedding, analyzer=analyzer)
    store.replace(*first, reading="1")
    before = ids()
    store.remove("default", "a.md")
    store.replace(*first, reading="1")
    assert ids() == before


def test_chunk_ids_made_together_are_those_of_uuid5():
    document = make_document_id("default", "가.md")
    together = make_chunk_ids(document, "hash\0cut", range(300))
    assert together == [uuid.uuid5(document, f"hash\0cut\0{ordinal}").bytes for ordinal in range(300)]
    assert together[7] == make_chunk_id(document, "hash\0cut", 7).bytes


def test_only_a_document_that_is_settled_later_does_not_wait_for_the_disk(store, db, embedding, analyzer):
    waits = []

    def note(conn: psycopg.Connection) -> None:
        waits.append(conn.execute("SHOW synchronous_commit").fetchone())

    first, second = (make(name, [name], embedding=embedding, analyzer=analyzer) for name in ("a.md", "b.md"))
    store.replace(*first, reading="1", settle=False, also=note)
    store.replace(*second, reading="1", also=note)
    assert waits == [("off",), ("on",)]


def test_hostile_names_are_values(store, db, embedding, analyzer):
    for path in ("a'; DROP TABLE chunks; --.md", "x:draft %s {} .md"):
        document = make(path, [f"환율, {path}"], embedding=embedding, analyzer=analyzer, collection="c'; DROP")
        store.replace(*document, reading="1")
    searcher = Searcher(db, store.generation)
    vector = embedding.embed_query("환율")
    found = searcher.search(vector, analyzer.analyze("환율"), top_k=5, filters=Filters(collections=("c'; DROP",)))
    assert len(found.evidence) == 2
    other = Filters(collections=("x' OR '1'='1",))
    assert searcher.search(vector, analyzer.analyze("환율"), top_k=5, filters=other).evidence == ()


def test_vectors_are_normalised_halfvec(store, db, embedding, analyzer):
    store.replace(*make("a.md", ["환율"], embedding=embedding, analyzer=analyzer), reading="1")
    with db.connection() as conn:
        row = conn.execute("SELECT embedding FROM chunks").fetchone()
    assert row is not None
    assert np.linalg.norm(row[0].to_numpy()) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:secret@h/db?x=secret", "redis://:secret@secret@h/0", "rediss://secret@h:1/2", "redis://h/0"],
)
def test_no_part_of_a_secret_is_shown(url):
    assert "secret" not in redact(url) and "h/" in redact(url).replace("h:1/", "h/")


def test_an_answer_of_the_database_is_not_taken_for_silence(generation, database_url):
    name = database_url.split("?")[0].rsplit("/", 1)[1]
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    fresh = Database(database_url)
    with pytest.raises(DatabaseRefused, match="read-only"):
        fresh.open()
        IndexStore(fresh, generation).shared_secret("k", "v")
    fresh.close()


def test_an_embedding_too_wide_for_the_index_is_refused(database_url):
    wide = Database(database_url)
    wide.open()
    with pytest.raises(IndexMismatch, match="4000"):
        open_active(wide, Manifest({"name": "Qwen3-Embedding-8B", "dimension": 4096}, "chunker 2, 256 tokens"))
    wide.close()


def test_a_question_of_many_words_is_searched(store, db, embedding, analyzer):
    store.replace(*make("a.md", ["환율 이야기"], embedding=embedding, analyzer=analyzer), reading="1")
    words = {"환율": 1.0} | {f"w{n}": 1.0 for n in range(20_000)}
    found = Searcher(db, store.generation).search(embedding.embed_query("환율"), words, top_k=1)
    assert found.evidence[0].path == "a.md"
