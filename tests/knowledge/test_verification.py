"""`verify` finds every kind of error and names it; its digest depends on content alone."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from ingest.preparing import chunking
from knowledge.database import Database
from knowledge.embedding import GakjuEmbedding
from knowledge.file_states import FileFacts, FileStates
from knowledge.generations import Manifest, open_active
from knowledge.lexemes import Analyzer
from knowledge.store import IndexStore
from knowledge.terms import term_id
from knowledge.types import Block
from knowledge.verification import NOTHING, Verification, stored_files, verify
from tests.knowledge.test_store import make

HOST = "here"


class Writer:
    """Stores documents as ingestion does: with a note of the file in the same transaction."""

    def __init__(self, db: Database, store: IndexStore, embedding: GakjuEmbedding, analyzer: Analyzer) -> None:
        self._db = db
        self.store = store
        self._tools = {"embedding": embedding, "analyzer": analyzer}

    def put(
        self,
        path: str,
        texts: list[str],
        *,
        collection: str = "default",
        origin: str = "",
        was: str = "",
        settle: bool = True,
        **of,
    ):
        document, chunks = make(path, texts, collection=collection, **self._tools)
        blocks = tuple(Block(item.chunk.start, item.chunk.end, item.chunk.heading) for item in chunks)
        document = dataclasses.replace(document, blocks=blocks, origin=origin or document.origin, **of)
        facts = FileFacts(path, document.origin, "/files", HOST, document.size_bytes, 0)
        with FileStates(self._db, collection) as states:

            def note(conn) -> None:
                states.stored(conn, facts, content_hash=document.content_hash, reading="1")
                if was:
                    states.forget(conn, was)

            return self.store.replace(document, chunks, reading="1", instead_of=was or None, also=note, settle=settle)

    def remove(self, path: str, collection: str = "default") -> None:
        with FileStates(self._db, collection) as states:
            assert self.store.remove(collection, path, also=lambda conn: states.forget(conn, path))

    def note(self, path: str, state: str) -> None:
        """Of a file without a document."""
        facts = FileFacts(path, f"/files/{path}", "/files", HOST, 1, 0)
        with FileStates(self._db, "default") as states:
            if state == "stored":
                states.note_stored(facts, content_hash="x", reading="1")
            else:
                states.failed(facts, content_hash="x", reading="1", reason="damaged", error="It is damaged.")


@pytest.fixture
def writer(db, store, embedding, analyzer) -> Writer:
    return Writer(db, store, embedding, analyzer)


def checked(db: Database, **options) -> Verification:
    found = verify(db, **options)
    assert found is not None
    return found


def sound(db: Database, **options) -> str:
    """The digest of an index without errors."""
    found = checked(db, **options)
    assert [str(problem) for problem in found.problems] == []
    return found.digest


def change(db: Database, statement: str) -> None:
    with db.connection() as conn:
        assert conn.execute(statement).rowcount > 0


DOCUMENTS = {
    "a.md": ["환율이 오른다.", "운임이 내린다."],
    "b.md": ["관세는 세금이다. Tariffs are taxes."],
    "나/c.md": ["선물 시장의 베이시스", "HBM3E 가격", "환율 이야기"],
}


@pytest.fixture
def other_writer(servers, embedding, analyzer) -> Iterator[tuple[Database, Writer]]:
    """To another database, with other numbers for everything that is numbered."""
    name = f"test_{uuid.uuid4().hex}"
    url = servers.postgres().url
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    other = Database(urlsplit(url)._replace(path=f"/{name}").geturl())
    other.open()
    with other.connection() as conn:
        for table in ("generations", "collections"):
            conn.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), 500)", (table,))
    generation = open_active(other, Manifest(embedding.spec.to_dict(), chunking(256)))
    assert generation.id > 500
    yield other, Writer(other, IndexStore(other, generation), embedding, analyzer)
    other.close()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_an_index_that_was_filled_in_another_order_has_the_same_digest(writer, db, other_writer):
    other_db, other = other_writer
    for path, texts in DOCUMENTS.items():
        writer.put(path, texts)
    writer.put("b.md", ["다른 모음의 글"], collection="other")
    other.put("b.md", ["다른 모음의 글"], collection="other", origin="/elsewhere/b.md")
    for path, texts in reversed(DOCUMENTS.items()):
        other.put(path, texts, origin=f"/elsewhere/{path}")
    one, two = [], []
    digest = sound(db, on_document=lambda *document: one.append(document))
    assert sound(other_db, on_document=lambda *document: two.append(document)) == digest
    assert one == two
    assert [name for *name, _ in one] == [["default", path] for path in sorted(DOCUMENTS)] + [["other", "b.md"]]
    assert sound(db, with_vectors=False) == sound(other_db, with_vectors=False) != digest


def test_replacing_twice_renaming_back_and_removing_leave_no_trace_in_the_digest(writer, db):
    for path, texts in DOCUMENTS.items():
        writer.put(path, texts)
    digest = sound(db)
    writer.put("a.md", ["ganz anders", "zwei", "drei"])
    writer.put("a.md", DOCUMENTS["a.md"])
    assert writer.put("a.md", DOCUMENTS["a.md"]) is False
    writer.put("extra.md", ["환율"], collection="gone")
    writer.remove("extra.md", "gone")
    writer.put("b2.md", DOCUMENTS["b.md"], was="b.md", title="b.md")
    assert sound(db) != digest
    writer.put("b.md", DOCUMENTS["b.md"], was="b2.md")
    assert sound(db) == digest


def test_counts_that_are_yet_to_be_added_up_count_too(writer, db):
    for path, texts in DOCUMENTS.items():
        writer.put(path, texts, settle=False)
    with db.connection() as conn:
        assert (
            conn.execute("SELECT 1 FROM count_changes").fetchone() and not conn.execute("TABLE term_counts").fetchone()
        )
    digest = sound(db)
    writer.store.settle()
    assert sound(db) == digest
    writer.put("a.md", ["환율"], settle=False)
    sound(db)
    change(db, "UPDATE count_changes SET deltas[1] = deltas[1] + 1, chunks = chunks + 1")
    assert [problem.kind for problem in checked(db).problems] == ["chunk_counts", "term_counts"]


def test_any_change_of_the_documents_changes_the_digest(writer, db):
    for path, texts in DOCUMENTS.items():
        writer.put(path, texts)
    digests = [sound(db)]
    writer.put("a.md", ["환율이 오른다.", "운임이 오른다."])
    digests.append(sound(db))
    writer.put("b2.md", DOCUMENTS["b.md"], was="b.md", title="b.md")
    digests.append(sound(db))
    writer.put("b2.md", DOCUMENTS["b.md"], collection="other")
    digests.append(sound(db))
    writer.remove("b2.md")
    digests.append(sound(db))
    assert len(set(digests)) == len(digests) == 5


def test_the_digest_is_of_content_alone(writer, db):
    writer.put("a.md", DOCUMENTS["a.md"])
    digest = sound(db)
    for statement in (
        "UPDATE documents SET origin = '/moved', ingested_at = now() + '1 day', size_bytes = 5",
        "UPDATE generations SET created_at = now() + '1 day'",
        "UPDATE files SET host = 'other', updated_at = now() + '1 day', run = 5, modified_ns = 5",
        "INSERT INTO collections (name) VALUES ('empty')",
        "UPDATE documents SET blocks = (blocks::text || ' ')::jsonb",
        "UPDATE chunks SET sentences = NULL",
        "UPDATE chunks SET sentences = '\\x00'",
    ):
        change(db, statement)
        assert sound(db) == digest, statement
    digests = [digest]
    for statement in (
        "UPDATE documents SET title = 'T'",
        "UPDATE documents SET reading = '2'",
        "UPDATE documents SET language = 'en'",
        "UPDATE documents SET blocks = '[]'",
        "UPDATE chunks SET heading = '{x}'",
        "UPDATE chunks SET heading = '{x,x}'",
        "UPDATE chunks SET place = '{\"page\": 9}'",
        "UPDATE chunks SET language = 'en'",
        "UPDATE chunks SET table_header = '환율이 오른다.' WHERE ordinal = 1",
        "UPDATE chunks SET embedding = embedding * array_fill(-1, '{384}')::halfvec WHERE ordinal = 1",
        "UPDATE chunks SET term_weights = regexp_replace(term_weights::text, ':[0-9.]+', ':0.5')::sparsevec",
        "UPDATE generations SET lexemes = 'x'",
    ):
        change(db, statement)
        digests.append(sound(db))
        assert digests[-1] not in digests[:-1], statement
    change(db, "UPDATE documents SET content_hash = 'x'")
    digests.append(checked(db).digest)
    change(db, "UPDATE chunks SET start_char = start_char + 1, text = substr(text, 2)")
    assert checked(db).digest not in digests[:-1] and len(set(digests)) == len(digests)


def test_vectors_are_left_out_on_demand(writer, db):
    writer.put("a.md", DOCUMENTS["a.md"])
    whole, without = sound(db), sound(db, with_vectors=False)
    change(db, "UPDATE chunks SET embedding = (SELECT embedding FROM chunks WHERE ordinal = 1) WHERE ordinal = 0")
    assert sound(db) != whole
    assert sound(db, with_vectors=False) == without


def test_an_index_without_documents_has_the_digest_of_nothing(writer, db, database_url):
    assert checked(db).digest == NOTHING
    writer.put("a.md", DOCUMENTS["a.md"])
    writer.remove("a.md")
    assert sound(db) == NOTHING
    assert verify(db, "previous") is None


CORRUPTIONS = {
    "document_id": "UPDATE documents SET id = gen_random_uuid(); UPDATE chunks SET document_id = (SELECT id FROM documents)",
    "blocks": "UPDATE documents SET blocks = '[[5, 900, [], {}, \"row\"]]'",
    "no_chunks": "DELETE FROM chunks",
    "ordinals": "UPDATE chunks SET ordinal = 7 WHERE ordinal = 2",
    "chunk_id": "UPDATE chunks SET id = gen_random_uuid() WHERE ordinal = 1",
    "chunk_collection": "INSERT INTO collections (name) VALUES ('x'); "
    "UPDATE chunks SET collection_id = (SELECT id FROM collections WHERE name = 'x') WHERE ordinal = 1",
    "chunk_text": "UPDATE documents SET text = overlay(text PLACING '금' FROM 2)",
    "chunk_order": "UPDATE chunks a SET ordinal = -1, start_char = b.start_char, end_char = b.end_char, text = b.text "
    "FROM chunks b WHERE a.ordinal = 0 AND b.ordinal = 2",
    "table_header": "UPDATE chunks SET table_header = '환율이' WHERE ordinal = 1",
    "term_ids": "UPDATE chunks SET term_ids = term_ids[2:] WHERE ordinal = 1",
    "term_weights": "UPDATE chunks SET term_weights = ('{' || term_ids[1] || ':-1}/1000000000')::sparsevec "
    "WHERE ordinal = 1",
    "dimension": "DROP INDEX IF EXISTS chunks_1_embedding_ko, chunks_1_embedding_other; UPDATE chunks SET embedding = '[1,0]' WHERE ordinal = 1",
    "norm": "UPDATE chunks SET embedding = l2_normalize(embedding) * array_fill(0.99, '{384}')::halfvec",
    "term_counts": "UPDATE term_counts SET chunks = chunks + 1",
    "chunk_counts": "UPDATE chunk_counts SET chunks = chunks - 1",
    "no_file": "DELETE FROM files",
    "file_content": "UPDATE files SET content_hash = 'x'",
    "no_document": "DELETE FROM documents",
    "orphans": "DELETE FROM documents",
}


def test_each_kind_of_error_is_found_and_named(writer, db):
    for kind, statements in (*CORRUPTIONS.items(), ("blocks", "UPDATE documents SET blocks = '[7]'")):
        with db.connection() as conn:
            conn.execute("TRUNCATE documents, chunks, files, term_counts, chunk_counts, count_changes")
        writer.put("a.md", ["환율이 오른다.", "운임이 내린다.", "관세는 그대로다."])
        digest = sound(db)
        with db.connection() as conn:
            conn.execute(statements)
        found = checked(db)
        named = {problem.kind: problem for problem in found.problems}
        assert kind in named, (kind, named)
        is_general = kind in ("chunk_counts", "term_counts", "orphans")
        assert (named[kind].collection, named[kind].path) == ("default", "" if is_general else "a.md")
        assert named[kind].what in str(named[kind])
        if kind in ("term_counts", "chunk_counts", "no_file", "file_content"):  # beside the content
            assert found.digest == digest and len(named) == 1


def test_settled_counts_that_are_wrong_or_missing_are_found(writer, db):
    for path, texts in DOCUMENTS.items():
        writer.put(path, texts)
    writer.store.settle()
    with db.connection() as conn:
        conn.execute("DELETE FROM term_counts WHERE term_id = ANY(%s)", ([term_id("환율"), term_id("운임")],))
        conn.execute("UPDATE term_counts SET chunks = 5 WHERE term_id = %s", (term_id("관세"),))
    (problem,) = checked(db).problems
    assert problem.kind == "term_counts" and "3 of its words" in problem.what


def test_counts_of_a_collection_without_documents_are_checked(writer, db):
    writer.put("a.md", ["환율"], collection="gone")
    writer.remove("a.md", "gone")
    writer.store.settle()
    sound(db)
    change(db, "UPDATE term_counts SET chunks = 1")
    change(db, "UPDATE chunk_counts SET chunks = 1")
    assert {(problem.kind, problem.collection) for problem in checked(db).problems} == {
        ("term_counts", "gone"),
        ("chunk_counts", "gone"),
    }


def test_archives_and_files_that_failed_are_no_errors(writer, db):
    writer.put("folder/a.zip/a.md", DOCUMENTS["a.md"])
    writer.put("folder/odd.Zip/b.md", DOCUMENTS["b.md"])
    writer.note("folder/a.zip", "stored")
    writer.note("folder/odd.Zip", "stored")
    writer.note("empty.zip", "stored")
    writer.note("broken.pdf", "failed")
    writer.put("old.md", ["옛 글"])
    writer.note("old.md", "failed")  # newer content that cannot be read: the old one answers
    sound(db)
    writer.note("lost.md", "stored")
    (problem,) = checked(db).problems
    assert (problem.kind, problem.path) == ("no_document", "lost.md")


def test_large_indexes_are_read_in_several_pages(writer, db, monkeypatch):
    whole = {f"{n:02}.md": [f"문서 {n} 문단 {m} 환율 {n * m}" for m in range(n % 7 + 1)] for n in range(12)}
    for path, texts in whole.items():
        writer.put(path, texts)
    digest = sound(db)
    monkeypatch.setattr("knowledge.verification.run._BATCH_DOCUMENTS", 5)
    monkeypatch.setattr("knowledge.verification.run._PAGE_CHUNKS", 3)
    monkeypatch.setattr("knowledge.verification.counts.PAGE_ROWS", 2)
    monkeypatch.setattr("knowledge.verification.files._PAGE_FILES", 5)
    progress: list[tuple[int, int]] = []
    assert sound(db, on_chunks=lambda *done: progress.append(done)) == digest
    chunks = sum(len(texts) for texts in whole.values())
    assert progress[0] == (3, chunks) and progress[-1][0] <= chunks
    monkeypatch.setattr("knowledge.verification.run._BATCH_BYTES", 1)
    found = checked(db)
    assert (found.digest, found.documents, found.chunks) == (digest, 12, chunks)
    files = list(stored_files(db, found.generation, host=HOST))
    assert [file.path for file in files] == sorted(whole)
    assert list(stored_files(db, found.generation, host="elsewhere")) == []


def test_writers_do_not_disturb_a_verification(writer, db):
    """Every one of them sees a sound index, while documents come, change and go."""
    for path, texts in DOCUMENTS.items():
        writer.put(path, texts)
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        for n in itertools.count():
            writer.put("a.md", [f"환율 {n} {m}" for m in range(n % 5 + 1)])
            writer.put(f"new{n % 3}.md", [f"관세 {n}"])
            writer.remove(f"new{n % 3}.md")
            if n % 4 == 0:
                writer.store.settle()
            written.append(n)
            if stop.is_set():
                return

    thread = threading.Thread(target=write)
    thread.start()
    digests = set()
    try:
        while len(written) < 40 and thread.is_alive():
            digests.add(sound(db))
    finally:
        stop.set()
        thread.join()
    assert len(written) >= 40 and len(digests) > 1


def test_what_is_stored_meanwhile_is_not_seen(writer, db):
    writer.put("a.md", DOCUMENTS["a.md"])
    writer.put("b.md", DOCUMENTS["b.md"])
    digest = sound(db)
    changed: list[str] = []

    def change_behind_its_back(collection: str, path: str, own: str) -> None:
        if not changed:
            changed.append(path)
            writer.put("b.md", ["ganz anders"])
            writer.put("z.md", ["neu"])
            writer.store.settle()

    assert sound(db, on_document=change_behind_its_back) == digest
    assert changed and sound(db) != digest
