"""Filters narrow a search, never widen it: on real rows, and when two of them meet."""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, timedelta

import pytest
from pgvector import HalfVector
from psycopg import sql

from knowledge import scope as scope_module
from knowledge.candidates import Statements
from knowledge.errors import InvalidFilter
from knowledge.file_states import FileFacts, FileStates
from knowledge.filters import KEYS, MAX_LENGTH, MAX_VALUES, Filters
from knowledge.generations import Manifest, create_generation
from knowledge.scope import chunk_ids, resolve
from knowledge.search_indexes import build_indexes
from knowledge.store import EmbeddedChunk, IndexStore, make_document_id
from tests.knowledge.test_store import make

ROWS = [  # collection, path, language, when its file was last changed
    ("a", "기획/2024/요약.pdf", "ko", datetime(2024, 3, 1, tzinfo=UTC)),
    ("a", "기획/2024/plan.PDF", "en", datetime(2024, 3, 2, tzinfo=UTC)),
    ("a", "기획/2024.md", "ko", datetime(2024, 6, 1, tzinfo=UTC)),
    ("a", "archive.zip/in/row.csv", "en", datetime(2025, 1, 1, tzinfo=UTC)),
    ("b", "기획/2024/요약.pdf", "ko", datetime(2025, 2, 1, tzinfo=UTC)),
    ("b", "README", "en", None),
]
A_KO, A_EN, A_MD, A_CSV, B_KO, B_README = [f"{collection}:{path}" for collection, path, *_ in ROWS]
ALL = {A_KO, A_EN, A_MD, A_CSV, B_KO, B_README}


@pytest.fixture
def rows(store, db, embedding, analyzer) -> IndexStore:
    for collection, path, language, changed in ROWS:
        document, chunks = make(path, [f"{path} 환율"], embedding=embedding, analyzer=analyzer, collection=collection)
        chunks = [EmbeddedChunk(item.chunk, item.embedding, item.terms, language) for item in chunks]
        with FileStates(db, collection) as states:

            def note(conn, states=states, path=path, changed=changed) -> None:
                if changed is not None:
                    facts = FileFacts(path, f"/x/{path}", "/x", "host", 1, int(changed.timestamp()) * 10**9 + 500)
                    states.stored(conn, facts, content_hash="h", reading="1")

            store.replace(document, chunks, reading="1", also=note)
    return store


def selected(store: IndexStore, **keys: object) -> set[str]:
    filters = Filters.from_dict(keys)
    with store.db.connection() as conn:
        ids = chunk_ids(conn, filters, store.generation.id, limit=100)
        found = conn.execute(
            "SELECT c.name || ':' || d.path FROM chunks k JOIN documents d ON d.id = k.document_id "
            "JOIN collections c ON c.id = k.collection_id WHERE k.id::text = ANY(%s)",
            (ids,),
        ).fetchall()
    assert len(found) == len(ids)
    return {row[0] for row in found}


CASES: list[tuple[dict[str, object], set[str]]] = [
    ({}, ALL),
    ({"collections": ["a"]}, {A_KO, A_EN, A_MD, A_CSV}),
    ({"collections": ["a", "no such"]}, {A_KO, A_EN, A_MD, A_CSV}),
    ({"collections": ["no such"]}, set()),
    ({"collections": []}, set()),
    ({"collections": ["A"]}, set()),
    ({"documents": [str(make_document_id("a", "기획/2024.md")), "no id"]}, {A_MD}),
    ({"documents": ["no id"]}, set()),
    ({"chunks": [str(make_document_id("a", "기획/2024.md"))]}, set()),
    ({"paths": ["기획/2024/요약.pdf"]}, {A_KO, B_KO}),
    ({"paths": ["기획/2024/"]}, {A_KO, A_EN, B_KO}),
    ({"paths": ["기획/2024"]}, set()),
    ({"paths": ["기획/%", "기_/2024.md", "README/", "/", ""]}, set()),
    ({"paths": ["기획/2024.md", "archive.zip/"]}, {A_MD, A_CSV}),
    ({"types": ["pdf"]}, {A_KO, A_EN, B_KO}),
    ({"types": [".PDF", "csv"]}, {A_KO, A_EN, B_KO, A_CSV}),
    ({"types": ["", "zip", "%", "p_f"]}, set()),
    ({"languages": ["en"]}, {A_EN, A_CSV, B_README}),
    ({"languages": ["EN", "und"]}, {A_EN, A_CSV, B_README}),
    ({"modified_before": "2024-03-02T00:00:00+00:00"}, {A_KO}),
    ({"modified_after": "2024-03-02T00:00:00Z", "modified_before": "2025-01-01T00:00:00Z"}, {A_EN, A_MD}),
    ({"modified_after": "2024-03-02T09:00:00+09:00", "modified_before": "2024-03-02T09:00:01+09:00"}, {A_EN}),
    ({"modified_after": "2025-02-02T00:00:00Z"}, {B_README}),  # no file is known: when it was ingested counts
    ({"modified_after": "2024-06-01T00:00:00Z", "modified_before": "2024-06-01T00:00:00Z"}, set()),
    ({"collections": ["a"], "types": ["pdf"], "languages": ["ko"]}, {A_KO}),
    ({"collections": ["b"], "paths": ["기획/2024.md"]}, set()),
    ({"types": ["pdf"], "modified_after": "2025-01-01T00:00:00Z", "paths": ["기획/"]}, {B_KO}),
    ({"types": ["pdf"], "documents": [str(make_document_id("b", "기획/2024/요약.pdf"))]}, {B_KO}),
    ({"types": ["md"], "documents": [str(make_document_id("b", "기획/2024/요약.pdf"))]}, set()),
]


@pytest.mark.parametrize("listed", [1_000, 0], ids=["documents listed first", "documents looked up by row"])
def test_each_filter_selects_its_rows(rows, monkeypatch, listed):
    monkeypatch.setattr(scope_module, "MAX_LISTED_DOCUMENTS", listed)
    for keys, expected in CASES:
        assert selected(rows, **keys) == expected, keys


def test_a_chunk_by_its_id(rows):
    with rows.db.connection() as conn:
        (one, *_) = chunk_ids(conn, Filters(languages=("en",)), rows.generation.id, limit=9)
    assert len(selected(rows, chunks=[one])) == 1
    assert selected(rows, chunks=[one], languages=["ko"]) == set()


def test_documents_of_another_generation_do_not_count(rows, db):
    with db.connection() as conn:
        other = create_generation(conn, Manifest({"name": "x", "dimension": 3}, "c"), "building")
        assert resolve(conn, Filters(types=("pdf",)), other.id).nothing
        assert chunk_ids(conn, Filters(languages=("ko",)), other.id, limit=9) == []
        assert chunk_ids(conn, Filters(collections=("a",)), other.id, limit=9) == []


def test_what_selects_nothing_is_known_without_a_search(rows):
    with rows.db.connection() as conn:
        for filters in (Filters(collections=("no such",)), Filters(types=()), Filters(paths=("gone.md",))):
            assert resolve(conn, filters, rows.generation.id).nothing
        assert resolve(conn, None, rows.generation.id) == resolve(conn, Filters(), rows.generation.id)
        few = resolve(conn, Filters(types=("md",), collections=("a",)), rows.generation.id)
    assert few.document_ids == [make_document_id("a", "기획/2024.md")] and len(few.collection_ids or []) == 1


def test_few_documents_are_read_by_key_and_many_in_the_order_of_hnsw(rows, embedding):
    """A join would have PostgreSQL read and sort all chunks; an index of vectors would have to meet the few by chance."""
    dimension, generation = embedding.spec.dimension, rows.generation.id
    build_indexes(rows.db, rows.generation)
    vector = HalfVector([0.1] * dimension)
    with rows.db.connection() as conn:
        for listed, other_way, index in (
            (1_000, "enable_seqscan", f"chunks_{generation}_generation_id_document_id_"),
            (0, "enable_sort", f"_{generation}_embedding_ko"),
        ):
            conn.execute(f"SET LOCAL {other_way} = off".encode())  # the quickest for so few rows
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(scope_module, "MAX_LISTED_DOCUMENTS", listed)
                scope = resolve(conn, Filters(types=("pdf",), languages=("ko",)), generation)
            statement, limits = Statements(rows.generation).meaning_statement(scope, [(True, 5)])
            found = conn.execute(sql.SQL("EXPLAIN ") + statement, {**scope.values, **limits, "q": vector})
            plan = "\n".join(row[0][:200] for row in found)
            assert index in plan and "Join" not in plan, plan


def test_an_intersection_is_what_both_select(rows):
    pairs = [(one, other) for one, _ in CASES for other, _ in CASES]
    for one, other in pairs[:: max(1, len(pairs) // 150)]:
        both = Filters.from_dict(one).within(Filters.from_dict(other))
        keys = {key: getattr(both, key) for key in KEYS}
        assert selected(rows, **keys) == selected(rows, **one) & selected(rows, **other), (one, other)


def test_a_request_cannot_widen_the_scope_of_who_asks():
    scope = Filters.from_dict({"collections": ("a",), "paths": ("기획/",), "modified_after": date(2024, 1, 1)})
    for asked in (
        Filters(),
        Filters(collections=("a", "b"), paths=("기획/", "", "/", "기획")),
        Filters.from_dict({"modified_after": date(1970, 1, 1)}),
    ):
        allowed = asked.within(scope)
        assert allowed.collections == ("a",) and allowed.modified_after == scope.modified_after
        assert allowed.paths == ("기획/",)
    assert Filters(collections=("b",)).within(scope).selects_nothing
    assert Filters(paths=("기획/a.md", "다른/", "기획a/b")).within(scope).paths == ("기획/a.md",)
    assert scope.within(None) is scope and scope.within(Filters()) == scope


@pytest.mark.parametrize("zone", ["Asia/Seoul", "UTC", "America/New_York"])
def test_a_time_without_a_zone_is_the_machines(monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        offset = datetime(2024, 3, 1).astimezone().utcoffset()
        assert Filters.from_dict({"modified_after": date(2024, 3, 1)}).modified_after == datetime(
            2024, 3, 1, tzinfo=UTC
        ) - (offset or timedelta())
    finally:
        monkeypatch.undo()
        time.tzset()
    assert os.environ.get("TZ") != "America/New_York"


@pytest.mark.parametrize(
    "keys",
    [
        {"collection": ["a"]},
        {"collections' OR 1=1 --": ["a"]},
        {"collections": "a"},
        {"collections": [1]},
        {"collections": [None]},
        {"collections": {"a": 1}},
        {"paths": ["a\0b"]},
        {"paths": ["\ud800"]},
        {"types": ["x" * (MAX_LENGTH + 1)]},
        {"documents": ["x"] * (MAX_VALUES + 1)},
        {"languages": True},
        {"modified_after": "soon"},
        {"modified_after": 1_700_000_000},
        {"modified_before": "0001-01-01T00:00:00+14:00"},
        {"modified_before": "9" * 100_000},
        {"modified_before": ["2024-01-01"]},
        {5: ["a"]},
    ],
    ids=ascii,
)
def test_what_cannot_be_a_filter_is_refused_in_one_short_line(keys):
    with pytest.raises(InvalidFilter) as refused:
        Filters.from_dict(keys)
    assert len(refused.value.sentence()) < 250 and refused.value.sentence().isprintable()
