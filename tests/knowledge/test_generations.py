"""Generations of the index: which one answers, the switch, the way out of version 1, and apps that follow."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import cast

import psycopg
import pytest
from pgvector import HalfVector, SparseVector

from knowledge import database as database_module
from knowledge.candidates import Statements
from knowledge.database import Database
from knowledge.embedding import EndpointEmbedding, GakjuEmbedding
from knowledge.errors import GakjuError, IndexMismatch
from knowledge.generations import Generation, Manifest, active_generation, open_active, previous_generation
from knowledge.live_index import LiveIndex, OpenIndex
from knowledge.rebuilding import rebuilding
from knowledge.scope import Scope
from knowledge.search import Searcher
from knowledge.search_indexes import build_indexes
from knowledge.store import IndexStore, make_document_id
from knowledge.word_query import WordsAsked
from tests.knowledge.test_embedding_endpoint import FakeVllm
from tests.knowledge.test_store import make

TEXTS = {"fx.md": "환율이 떨어지면 수입 원가가 내려간다.", "leave.md": "Fifteen days of annual leave each year."}


@pytest.fixture
def filled(store, embedding, analyzer) -> IndexStore:
    for path, text in TEXTS.items():
        store.replace(*make(path, [text], embedding=embedding, analyzer=analyzer), reading="1")
    return store


def other_manifest(embedding, chunking: str = "chunker 9, 99 tokens") -> Manifest:
    return Manifest(embedding.spec.to_dict(), chunking)


def active(db: Database) -> Generation:
    generation = active_generation(db)
    assert generation is not None
    return generation


def build(db: Database, manifest: Manifest, embedding, analyzer, paths=TEXTS) -> Generation:
    """A generation beside the active one with the documents `paths`; not switched to."""
    with rebuilding(db) as rebuild:
        _, target = rebuild.open_target(manifest)
    store = IndexStore(db, target)
    for path in paths:
        stored = IndexStore(db, active(db)).document("default", path)
        assert stored is not None
        document, reading = stored
        _, chunks = make(path, [TEXTS[path]], embedding=embedding, analyzer=analyzer)
        store.replace(document, chunks, reading=reading)
    return target


def switch(db: Database, target: Generation) -> bool:
    with rebuilding(db) as rebuild:
        return rebuild.switch(target.id)


def partitions(db: Database) -> set[str]:
    with db.connection() as conn:
        rows = conn.execute("SELECT relname FROM pg_class WHERE relname ~ '^chunks_[0-9]+$' AND relkind = 'r'")
        return {name for (name,) in rows}


def search(searcher: Searcher, embedding, analyzer, question="환율"):
    return searcher.search(embedding.embed_query(question), analyzer.analyze(question), top_k=5).evidence


# --- which one answers --------------------------------------------------------------------------------------------


def test_other_settings_are_refused_with_both_named_and_the_way_out(filled, db, embedding):
    wanted = Manifest({**embedding.spec.to_dict(), "name": "other/model", "dimension": 768}, "chunker 9, 99 tokens")
    with pytest.raises(IndexMismatch) as caught:
        open_active(db, wanted)
    for part in (embedding.spec.name, "384", "other/model", "768", filled.generation.manifest.chunking, "99 tokens"):
        assert part in str(caught.value)
    assert "gakju ingest reembed" in caught.value.hint and "EMBED_MODEL" in caught.value.hint
    assert open_active(db, filled.generation.manifest).id == filled.generation.id


def test_only_equal_documents_are_switched_to(filled, db, embedding, analyzer):
    target = build(db, other_manifest(embedding), embedding, analyzer, paths=["fx.md"])
    assert switch(db, target) is False
    assert active(db).id == filled.generation.id
    build(db, other_manifest(embedding), embedding, analyzer)
    assert switch(db, target) is True
    assert active(db).id == target.id
    previous = previous_generation(db)
    assert previous is not None and previous.id == filled.generation.id


def test_a_file_that_moved_meanwhile_lies_where_it_lies(filled, db, embedding, analyzer):
    target = build(db, other_manifest(embedding), embedding, analyzer)
    filled.set_origin("default", "fx.md", "/elsewhere/fx.md")
    assert switch(db, target)
    assert IndexStore(db, active(db)).versions("default")["fx.md"].origin == "/elsewhere/fx.md"


def test_the_retired_generation_takes_no_documents(filled, db, embedding, analyzer):
    assert switch(db, build(db, other_manifest(embedding), embedding, analyzer))
    late = make("late.md", ["늦었다."], embedding=embedding, analyzer=analyzer)
    with pytest.raises(IndexMismatch, match="switched to another generation"):
        filled.replace(*late, reading="1")
    with pytest.raises(IndexMismatch):
        filled.remove("default", "fx.md")
    assert filled.counts().documents == 2


def test_the_switch_waits_for_a_writer_and_sees_what_it_wrote(filled, db, embedding, analyzer):
    target = build(db, other_manifest(embedding), embedding, analyzer)
    writing, go = threading.Event(), threading.Event()

    def slowly(_: psycopg.Connection) -> None:
        writing.set()
        assert go.wait(30)

    late = make("late.md", ["늦었다."], embedding=embedding, analyzer=analyzer)
    writer = threading.Thread(target=lambda: filled.replace(*late, reading="1", also=slowly))
    switched: list[bool] = []
    switcher = threading.Thread(target=lambda: switched.append(switch(db, target)))
    writer.start()
    assert writing.wait(30)
    switcher.start()
    switcher.join(0.5)
    assert switcher.is_alive() and not switched
    go.set()
    writer.join()
    switcher.join()
    assert switched == [False] and active(db).id == filled.generation.id


def test_one_rebuild_at_a_time(db):
    with (
        rebuilding(db),
        pytest.raises(GakjuError, match="Another `gakju ingest reembed` is running"),
        rebuilding(db),
    ):
        pytest.fail("two at once")
    with rebuilding(db):
        pass


# --- giving up ----------------------------------------------------------------------------------------------------


def test_there_are_never_more_than_two(filled, db, embedding, analyzer):
    first = build(db, other_manifest(embedding, "first"), embedding, analyzer)
    second = build(db, other_manifest(embedding, "second"), embedding, analyzer)
    assert partitions(db) == {f"chunks_{filled.generation.id}", f"chunks_{second.id}"} and first.id != second.id
    assert build(db, other_manifest(embedding, "second"), embedding, analyzer).id == second.id
    with rebuilding(db) as rebuild:
        assert [item.id for item in rebuild.drop_others()] == [second.id]
    assert partitions(db) == {f"chunks_{filled.generation.id}"}
    with db.connection() as conn:
        for table in ("documents", "chunks", "term_counts", "chunk_counts", "count_changes"):
            rows = conn.execute(f"SELECT DISTINCT generation_id FROM {table}".encode()).fetchall()
            assert set(rows) <= {(filled.generation.id,)}, table


def test_dropping_lets_searches_and_writes_go_on(filled, db, embedding, analyzer):
    """A transaction that has read the index is open: a plain DROP would wait for it, and all others for the DROP."""
    build(db, other_manifest(embedding), embedding, analyzer)

    def drop() -> None:
        with rebuilding(db) as rebuild:
            rebuild.drop_others()

    with db.dedicated() as long, long.transaction():
        long.execute("SELECT count(*) FROM chunks WHERE generation_id = %s", (filled.generation.id,))
        long.execute("LOCK TABLE chunks IN ROW EXCLUSIVE MODE")
        dropping = threading.Thread(target=drop)
        dropping.start()
        dropping.join(1)
        assert dropping.is_alive()
        assert search(Searcher(db, filled.generation), embedding, analyzer)
        filled.replace(*make("more.md", ["더 있다."], embedding=embedding, analyzer=analyzer), reading="1")
    dropping.join(30)
    assert partitions(db) == {f"chunks_{filled.generation.id}"}


def test_what_a_killed_drop_left_goes_with_the_next(filled, db, embedding, analyzer):
    target = build(db, other_manifest(embedding), embedding, analyzer)
    with db.connection() as conn:  # as far as the first transaction of a drop, and halfway through the detaching
        conn.execute("DELETE FROM documents WHERE generation_id = %s", (target.id,))
        for table in ("term_counts", "chunk_counts", "count_changes"):
            conn.execute(f"DELETE FROM {table} WHERE generation_id = {target.id}".encode())
        conn.execute("DELETE FROM generations WHERE id = %s", (target.id,))
    with db.dedicated() as holding, db.dedicated() as detaching, holding.transaction():
        holding.execute("LOCK TABLE chunks IN ROW EXCLUSIVE MODE")
        detaching.execute("SET statement_timeout = 300")
        with pytest.raises(psycopg.errors.QueryCanceled):
            detaching.execute(f"ALTER TABLE chunks DETACH PARTITION chunks_{target.id} CONCURRENTLY".encode())
    with rebuilding(db) as rebuild:
        assert rebuild.drop_others() == ()
    assert partitions(db) == {f"chunks_{filled.generation.id}"}
    assert search(Searcher(db, filled.generation), embedding, analyzer)


def test_a_search_of_a_dropped_generation_says_so(filled, db, embedding, analyzer):
    searcher = Searcher(db, filled.generation)
    chunk_id = search(searcher, embedding, analyzer)[0].chunk_id
    assert switch(db, build(db, other_manifest(embedding), embedding, analyzer))
    assert search(searcher, embedding, analyzer)
    with rebuilding(db) as rebuild:
        rebuild.drop_others()
    for ask in (lambda: search(searcher, embedding, analyzer), lambda: searcher.chunks([chunk_id])):
        with pytest.raises(IndexMismatch, match="was dropped") as caught:
            ask()
        assert "Start it again" in caught.value.hint


# --- plans --------------------------------------------------------------------------------------------------------


def plan(db: Database, statement, values, *, without: str) -> str:
    with db.connection() as conn:
        conn.execute(f"SET LOCAL enable_{without} = off".encode())  # 2,000 chunks are read whole about as fast
        return "\n".join(row[0] for row in conn.execute("EXPLAIN " + statement.as_string(conn), values).fetchall())


def enlarge(db: Database, generation: Generation) -> None:
    """To 2,000 chunks, of which a planner does not read all."""
    with db.connection() as conn:
        conn.execute(
            "INSERT INTO chunks SELECT generation_id, gen_random_uuid(), document_id, collection_id, n, start_char, "
            "end_char, text, heading, place, table_header, language, l2_normalize((SELECT array_agg(random()) "
            "FROM generate_series(1, 384 + n * 0))::halfvec), ARRAY[n, n + 1], term_weights FROM "
            "(SELECT * FROM chunks WHERE generation_id = %s LIMIT 1) c, generate_series(1001, 3000) n",
            (generation.id,),
        )
        conn.execute(f"ANALYZE chunks_{generation.id}".encode())


def assert_plans(db: Database, generation: Generation, embedding, analyzer) -> None:
    statements = Statements(generation)
    statement, limits = statements.meaning_statement(Scope(), [(True, 10)])
    by_meaning = plan(db, statement, limits | {"q": HalfVector(embedding.embed_query("환율"))}, without="sort")
    assert f"Index Scan using chunks_{generation.id}_embedding_ko on chunks_{generation.id}" in by_meaning
    asked = WordsAsked({}, {1: 1.0}, {}, 2000, 2000, [1001], {1002: [1003]})
    statement, values = statements.words_statement(asked, Scope(), ["all"])
    by_words = plan(db, statement, values | {"all": 10}, without="seqscan")
    assert by_words.count(f"Bitmap Index Scan on chunks_{generation.id}_terms") == 2
    assert "Append" not in by_meaning + by_words


def test_each_search_uses_its_own_partitions_indexes_alone(filled, db, embedding, analyzer):
    build_indexes(db, filled.generation)
    enlarge(db, filled.generation)
    assert_plans(db, filled.generation, embedding, analyzer)
    target = build(db, other_manifest(embedding), embedding, analyzer)
    enlarge(db, target)
    build_indexes(db, target)
    assert_plans(db, filled.generation, embedding, analyzer)
    assert_plans(db, target, embedding, analyzer)


def index_names(db: Database, generation: Generation) -> set[str]:
    with db.connection() as conn:
        rows = conn.execute(
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam "
            "WHERE i.indrelid = %s::regclass AND i.indisvalid AND m.amname IN ('hnsw', 'gin')",
            (f"chunks_{generation.id}",),
        ).fetchall()
    return {row[0].removeprefix(f"chunks_{generation.id}_") for row in rows}


def test_the_one_vector_index_of_earlier_versions_serves_until_there_is_one_for_each_pool(
    filled, db, embedding, analyzer
):
    generation = filled.generation
    enlarge(db, generation)
    with db.connection() as conn:
        conn.execute(
            f"CREATE INDEX chunks_{generation.id}_embedding ON chunks_{generation.id} USING hnsw "
            f"((embedding::halfvec({embedding.spec.dimension})) halfvec_ip_ops)".encode()
        )
    statement, limits = Statements(generation).meaning_statement(Scope(), [(True, 10)])
    before = plan(db, statement, limits | {"q": HalfVector(embedding.embed_query("환율"))}, without="sort")
    assert f"Index Scan using chunks_{generation.id}_embedding on" in before
    assert search(Searcher(db, generation), embedding, analyzer)
    assert build_indexes(db, generation)
    assert index_names(db, generation) == {"embedding_ko", "embedding_other", "terms"}
    assert search(Searcher(db, generation), embedding, analyzer)
    assert not build_indexes(db, generation)


def test_two_processes_may_build_at_once(filled, db):
    enlarge(db, filled.generation)
    with ThreadPoolExecutor(2) as both:
        assert any(both.map(lambda _: build_indexes(db, filled.generation), range(2)))
    assert index_names(db, filled.generation) == {"embedding_ko", "embedding_other", "terms"}


# --- version 1 ----------------------------------------------------------------------------------------------------

V1_TEXT = "환율이 떨어지면 수입 원가가 내려간다.\n\n해상 운임은 달러로 낸다."


def fill_version_1(conn: psycopg.Connection, embedding, manifest: Manifest) -> tuple[uuid.UUID, list[str]]:
    """One document of two chunks, stored as version 1 did."""
    texts = V1_TEXT.split("\n\n")
    document_id = make_document_id("default", "fx.md")
    conn.execute(
        "INSERT INTO index_manifest (embedding, lexemes) VALUES (%s::text::jsonb, 'kiwi-content+bigram+snowball/1')",
        (json.dumps(dict(manifest.embedding)),),
    )
    conn.execute("INSERT INTO collections (name, chunks) VALUES ('default', 2)")
    conn.execute(
        "INSERT INTO documents (id, collection_id, path, origin, content_hash, chunking, size_bytes, title, language, "
        "text) VALUES (%s, 1, 'fx.md', '/files/fx.md', 'abc', 'reading 1, 256 tokens', 10, '환율', 'ko', %s)",
        (document_id, V1_TEXT),
    )
    conn.execute("INSERT INTO terms (term) VALUES ('환율')")
    conn.execute("INSERT INTO term_counts (collection_id, term_id, chunks) VALUES (1, 1, 1)")
    for ordinal, (text, vector) in enumerate(zip(texts, embedding.embed_passages(texts), strict=True)):
        start = V1_TEXT.index(text)
        conn.execute(
            "INSERT INTO chunks VALUES (%s, %s, 1, %s, %s, %s, %s, '{}', '{}', 'ko', %s, '{1}', %s)",
            (
                uuid.uuid4(),
                document_id,
                ordinal,
                start,
                start + len(text),
                text,
                HalfVector(vector),
                SparseVector({1: 1.0}, 1_000_000_000),
            ),
        )
    return document_id, texts


def test_a_database_of_version_1_is_taken_over(database_url, embedding, analyzer, tmp_path, monkeypatch):
    shutil.copy(Path(database_module.MIGRATIONS) / "0001_initial.sql", tmp_path)
    manifest = Manifest(embedding.spec.to_dict(), "chunker 1, 256 tokens")
    with monkeypatch.context() as version_1:
        version_1.setattr(database_module, "MIGRATIONS", tmp_path)
        with closing(Database(database_url)) as db:
            db.open()
            with db.connection() as conn:
                document_id, texts = fill_version_1(conn, embedding, manifest)
    with closing(Database(database_url)) as db:
        db.open()
        generation = active(db)
        assert dict(generation.manifest.embedding) == dict(manifest.embedding)
        assert generation.manifest.chunking == "chunker 1, 256 tokens"
        store = IndexStore(db, generation)
        assert (store.counts().documents, store.counts().chunks) == (1, 2)
        assert store.versions("default")["fx.md"].reading == "reading 1"
        found = Searcher(db, generation).search(embedding.embed_query(texts[1]), {}, top_k=2).evidence
        assert [item.text for item in found] == [texts[1], texts[0]]
        assert {item.document_id for item in found} == {str(document_id)}
        stored = store.document("default", "fx.md")
        assert stored is not None
        document, _ = stored
        assert [V1_TEXT[block.start : block.end] for block in document.blocks] == texts
        with pytest.raises(IndexMismatch, match="chunker 1"):
            open_active(db, other_manifest(embedding))
        enlarge(db, generation)
        build_indexes(db, generation)
        assert_plans(db, generation, embedding, analyzer)


def test_an_empty_database_of_version_1_is_taken_over(database_url, embedding, analyzer, tmp_path, monkeypatch):
    shutil.copy(Path(database_module.MIGRATIONS) / "0001_initial.sql", tmp_path)
    with monkeypatch.context() as version_1:
        version_1.setattr(database_module, "MIGRATIONS", tmp_path)
        with closing(Database(database_url)) as db:
            db.open()
    with closing(Database(database_url)) as db:
        db.open()
        assert active_generation(db) is None
        store = IndexStore(db, open_active(db, other_manifest(embedding)))
        assert store.replace(*make("a.md", ["환율"], embedding=embedding, analyzer=analyzer), reading="1")


# --- a running app ------------------------------------------------------------------------------------------------


def test_an_app_follows_with_the_same_embedder_when_only_the_chunks_are_others(filled, db, embedding, analyzer):
    live = LiveIndex(db, filled.generation, embedding, build=lambda _: pytest.fail("it has that embedder"))
    turn = live.current
    assert live.follow() is False and live.current is turn
    target = build(db, other_manifest(embedding), embedding, analyzer)
    assert live.follow() is False, "not switched yet"
    assert switch(db, target)
    assert live.current is turn
    assert live.follow() is True
    assert live.current.generation.id == target.id == live.current.searcher.generation.id
    assert live.current.store.generation.id == target.id and live.current.embedding is embedding
    assert search(turn.searcher, turn.embedding, analyzer), "a turn that began before goes on"
    assert switch(db, filled.generation)
    assert live.follow() is True and live.current.generation.id == filled.generation.id


def test_an_app_that_cannot_follow_stays_and_says_so_once(filled, db, embedding, analyzer, caplog):
    other = Manifest({**embedding.spec.to_dict(), "name": "other/model"}, "x")
    assert switch(db, build(db, other, embedding, analyzer))
    asked: list[Manifest] = []
    closed: list[bool] = []
    nothing = LiveIndex(db, filled.generation, embedding, build=asked.append)
    wrong = LiveIndex(
        db, filled.generation, embedding, build=lambda _: cast(GakjuEmbedding, _Watched(embedding, closed))
    )
    for live in (nothing, wrong):
        with caplog.at_level(logging.WARNING):
            assert [live.follow() for _ in range(3)] == [False] * 3
        assert live.current.generation.id == filled.generation.id
        assert search(live.current.searcher, live.current.embedding, analyzer)
        assert caplog.text.count("cannot follow") == 1 and "restart it with the new settings" in caplog.text
        caplog.clear()
    assert len(asked) == 1 and asked[0].same_as(other), "what never can be is not tried every few seconds"
    assert closed == [True], "an embedder that does not fit is closed again"


def test_an_app_follows_when_the_embedding_server_is_back(filled, db, embedding, analyzer, caplog):
    server = FakeVllm()
    server.dimension = 8
    try:
        other = EndpointEmbedding(base_url=server.url, model="letters")
        assert switch(db, build(db, Manifest(other.spec.to_dict(), "x"), other, analyzer))

        def client(manifest: Manifest) -> EndpointEmbedding:
            assert manifest.dimension == 8
            return EndpointEmbedding(base_url=server.url, model="letters", retry_wait_s=0.01)

        live = LiveIndex(db, filled.generation, embedding, build=client)
        server.answers.extend([(503, {"error": {"message": "busy"}})] * 50)
        assert live.follow() is False and live.follow() is False
        assert caplog.text.count("cannot follow") == 1
        server.answers.clear()
        assert live.follow() is True
        assert search(live.current.searcher, live.current.embedding, analyzer)
        assert live.current.embedding.spec == other.spec and live.current.generation.manifest.dimension == 8
        live.close()
    finally:
        server.close()


class _Watched:
    """An embedder that tells of its end."""

    def __init__(self, embedding, closed: list[bool]) -> None:
        self.spec = embedding.spec
        self._closed = closed

    def close(self) -> None:
        self._closed.append(True)


def test_an_app_does_not_follow_to_words_of_another_version(filled, db, embedding, analyzer, caplog):
    newer = Manifest(embedding.spec.to_dict(), "x", "words of tomorrow")
    assert switch(db, build(db, newer, embedding, analyzer))
    live = LiveIndex(db, filled.generation, embedding, build=lambda _: embedding)
    assert live.follow() is False
    assert "another version of Gakju" in caplog.text


def test_an_app_whose_generation_was_dropped_refuses_until_it_follows(filled, db, embedding, analyzer):
    live = LiveIndex(db, filled.generation, embedding, build=lambda _: None)
    assert switch(db, build(db, other_manifest(embedding), embedding, analyzer))
    with rebuilding(db) as rebuild:
        rebuild.drop_others()
    with pytest.raises(IndexMismatch, match="was dropped"):
        search(live.current.searcher, embedding, analyzer)
    assert live.follow() is True
    assert search(live.current.searcher, embedding, analyzer)


def test_following_survives_a_database_that_is_away(filled, database_url, embedding):
    with closing(Database(database_url)) as db:
        db.open()
        live = LiveIndex(db, filled.generation, embedding, build=lambda _: None)
    assert live.follow() is False
    assert isinstance(live.current, OpenIndex)
