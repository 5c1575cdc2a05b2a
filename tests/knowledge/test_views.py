"""Rows of FAQs and glossaries come, change and go with their documents; how often each was shown outlives them."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import pytest

from ingest.preparing import chunking
from ingest.readers import read_bytes_as
from knowledge.database import Database
from knowledge.errors import DatabaseUnavailable
from knowledge.filters import Filters
from knowledge.generations import Manifest, create_generation
from knowledge.instant_keys import keys_asked
from knowledge.instant_refill import refill
from knowledge.instant_rows import InstantRows
from knowledge.store import EmbeddedChunk, IndexStore
from knowledge.terms import term_vector
from knowledge.types import Chunk, Document
from knowledge.views import MAX_WAITING, Viewed, Views

FAQ = (
    "question,answer,language\n"
    'WASDE는 언제 나오나요?,"미국 농무부가 매달 한 번, 미국 동부 시각 정오에 발표하는 보고서입니다.",ko\n'
    "베이시스가 무엇인가요?,현물 가격에서 선물 가격을 뺀 값을 곡물 무역에서 부르는 말입니다.,ko\n"
    'When is WASDE published?,"Once a month by the US Department of Agriculture, at noon US Eastern Time.",en\n'
)
GLOSSARY = (
    "term_ko,term_en,definition_ko,definition_en\n"
    "베이시스,basis,현물 가격에서 선물 가격을 뺀 값을 곡물 무역에서 부르는 말.,Cash price minus futures price in the trade.\n"
    "선하증권,bill of lading (B/L),운송인이 화물을 받았음을 증명하고 인도를 청구할 권리를 나타내는 서류.,"
    "A document of the carrier that acknowledges the cargo.\n"
)


def stored_table(store: IndexStore, analyzer, text: str, *, path: str = "faq.csv", collection: str = "default") -> None:
    """The table as its reader makes it, a chunk a row; without vectors of meaning, which nothing here asks for."""
    parsed = read_bytes_as(text.encode(), name=path)
    document = Document(
        collection,
        path,
        f"/files/{path}",
        hashlib.sha256(text.encode()).hexdigest(),
        len(text),
        path,
        parsed.text,
        "ko",
        parsed.blocks,
    )
    chunks = []
    for ordinal, block in enumerate(parsed.blocks):
        row = parsed.text[block.start : block.end]
        chunk = Chunk(ordinal, block.start, block.end, row, block.heading, block.place)
        vector = np.eye(1, store.generation.manifest.dimension, dtype=np.float32)[0]
        chunks.append(EmbeddedChunk(chunk, vector, term_vector(analyzer.analyze(row)), "ko"))
    store.replace(document, chunks, reading="1")


def answers(store: IndexStore, question: str, filters: Filters | None = None) -> list[str]:
    return [row.answer for row in InstantRows(store.db, store.generation).by_keys(keys_asked(question), filters)]


def test_rows_come_change_and_go_with_their_document(store, analyzer):
    stored_table(store, analyzer, FAQ)
    assert answers(store, "WASDE는 언제 나오나요")[0].startswith("미국 농무부")
    stored_table(store, analyzer, FAQ.replace("매달 한 번", "매주 한 번"))
    assert ["매주 한 번" in answer for answer in answers(store, "WASDE는 언제 나오나요")] == [True]
    store.remove("default", "faq.csv")
    assert answers(store, "WASDE는 언제 나오나요") == []
    with store.db.connection() as conn:
        assert conn.execute("SELECT count(*) FROM instant_answers").fetchone() == (0,)


def test_a_row_out_of_scope_never_answers(store, analyzer):
    stored_table(store, analyzer, FAQ, collection="secret")
    asked = "WASDE는 언제 나오나요?"
    assert len(answers(store, asked)) == 1
    assert answers(store, asked, Filters(collections=("open",))) == []
    assert answers(store, asked, Filters(collections=())) == []
    assert answers(store, asked, Filters(paths=("other.csv",))) == []
    assert len(answers(store, asked, Filters(collections=("secret",), types=("csv",)))) == 1
    entries = Views(store.db).top("faq", 5, generation=store.generation, filters=Filters(collections=("open",)))
    assert entries == []


def test_a_row_whose_chunk_is_gone_never_answers(store, analyzer):
    stored_table(store, analyzer, FAQ)
    with store.db.connection() as conn:
        conn.execute("DELETE FROM chunks WHERE text LIKE 'question: WASDE는%%'")
    assert answers(store, "WASDE는 언제 나오나요?") == []
    assert len(answers(store, "베이시스란?")) == 1


def test_a_generation_has_its_own_rows_and_takes_them_along(store, analyzer):
    stored_table(store, analyzer, FAQ)
    with store.db.connection() as conn:
        manifest = Manifest(store.generation.manifest.embedding, chunking(128))
        other = IndexStore(store.db, create_generation(conn, manifest, "building"))
    assert answers(other, "베이시스란?") == []
    stored_table(other, analyzer, FAQ)
    assert len(answers(store, "베이시스란?")) == len(answers(other, "베이시스란?")) == 1
    with store.db.connection() as conn:
        for table in ("documents", "term_counts", "chunk_counts", "count_changes"):
            conn.execute(f"DELETE FROM {table} WHERE generation_id = %s", (other.generation.id,))
        conn.execute("DELETE FROM generations WHERE id = %s", (other.generation.id,))
        assert conn.execute("SELECT count(DISTINCT generation_id) FROM instant_answers").fetchone() == (1,)


def test_rows_stored_before_there_were_any_are_mined_once(store, analyzer):
    stored_table(store, analyzer, FAQ)
    stored_table(store, analyzer, GLOSSARY, path="glossary.csv")
    with store.db.connection() as conn:
        before = conn.execute("SELECT * FROM instant_answers ORDER BY document_id, ordinal, language").fetchall()
        conn.execute("DELETE FROM instant_answers")
    assert refill(store.db, store.generation) == 2
    with store.db.connection() as conn:
        after = conn.execute("SELECT * FROM instant_answers ORDER BY document_id, ordinal, language").fetchall()
    assert after == before and len(after) == 7
    assert refill(store.db, store.generation) == 0


def shown(store: IndexStore, question: str) -> Viewed:
    row = InstantRows(store.db, store.generation).by_keys(keys_asked(question), None)[0]
    return Viewed(row.collection_id, row.kind, row.name)


def test_the_most_viewed_come_first_and_then_the_order_of_the_rows(store, analyzer):
    stored_table(store, analyzer, FAQ)
    views = Views(store.db)
    assert [entry.title for entry in views.top("faq", 9, generation=store.generation)] == [
        "WASDE는 언제 나오나요?",
        "베이시스가 무엇인가요?",
        "When is WASDE published?",
    ]
    for _ in range(3):
        views.add(shown(store, "베이시스가 무엇인가요?"))
    views.add(shown(store, "When is WASDE published?"))
    top = views.top("faq", 2, generation=store.generation)
    assert [(entry.title, entry.views) for entry in top] == [
        ("베이시스가 무엇인가요?", 3),
        ("When is WASDE published?", 1),
    ]
    assert top[0].chunk_id and top[0].path == "faq.csv" and top[0].collection == "default"
    only = views.top("faq", 9, generation=store.generation, language="en")
    assert [(entry.language, entry.views) for entry in only] == [("en", 1)]
    views.close()


def test_views_outlive_a_replaced_document_and_count_both_faces_of_a_term(store, analyzer):
    stored_table(store, analyzer, GLOSSARY, path="glossary.csv")
    views = Views(store.db)
    views.add(shown(store, "베이시스란?"))
    views.add(shown(store, "what is basis?"))
    views.flush()
    stored_table(store, analyzer, GLOSSARY.replace("곡물 무역에서", "무역에서"), path="glossary.csv")
    entries = views.top("term", 9, generation=store.generation, language="ko")
    assert [(entry.title, entry.views) for entry in entries] == [("베이시스", 2), ("선하증권", 0)]
    store.remove("default", "glossary.csv")
    assert views.top("term", 9, generation=store.generation) == []
    views.close()


def test_no_view_is_lost_between_threads_and_processes(store, analyzer):
    stored_table(store, analyzer, FAQ)
    viewed = shown(store, "베이시스란?")
    processes = [Views(store.db, flush_s=0.01) for _ in range(3)]

    def view(views: Views) -> None:
        for _ in range(200):
            views.add(viewed)

    threads = [threading.Thread(target=view, args=(views,)) for views in processes for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for views in processes:
        views.close()
    with store.db.connection() as conn:
        assert conn.execute("SELECT views FROM instant_views").fetchall() == [(1200,)]


def test_views_wait_while_the_database_is_away_and_cost_no_answer(store, analyzer, database_url):
    stored_table(store, analyzer, FAQ)
    viewed = shown(store, "베이시스란?")
    away = Database(database_url)  # not opened: as if it did not answer
    views = Views(away, flush_s=0.01)
    for _ in range(5):
        views.add(viewed)
    with pytest.raises(DatabaseUnavailable):
        views.flush()
    for number in range(MAX_WAITING + 10):
        views.add(Viewed(viewed.collection_id, "faq", f"other {number}"))
    away.open()
    views.close()
    away.close()
    with store.db.connection() as conn:
        assert conn.execute("SELECT views FROM instant_views WHERE name = %s", (viewed.name,)).fetchone() == (5,)
        assert conn.execute("SELECT count(*) FROM instant_views").fetchone() == (MAX_WAITING,)


@pytest.mark.parametrize("k", [0, -1, 1_001])
def test_a_senseless_number_of_entries_is_refused(store, k):
    with pytest.raises(ValueError, match="k is"):
        Views(store.db).top("faq", k, generation=store.generation)
