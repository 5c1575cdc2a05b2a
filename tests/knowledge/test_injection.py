"""Hostile keys, values, names and questions: an exact match, nothing, or one clear sentence. Never another's passages.

`OURS` is what the caller may see, `THEIRS` what no value may bring out; after each case all tables are as before.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import QueryBundle
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery

from knowledge.embedding.base import clean
from knowledge.errors import DatabaseRefused, DatabaseUnavailable, GakjuError, InvalidFilter
from knowledge.filters import KEYS, Filters
from knowledge.scope import chunk_ids
from knowledge.search import Searcher
from knowledge.store import IndexStore
from knowledge.vector_store import EvidenceVectorStore
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery
from tests.ingest.ingesting import ROOT, environment
from tests.knowledge.filled_index import filled_index

OURS, THEIRS = "ours", "theirs"
CANARY = "카나리아 비밀번호는 7391이다."
SHARED = "두 모음에 같은 글이 있다: 관세는 달러로 낸다."
NAMES = [  # as a collection, a folder or a file may really be called
    ":draft",
    "o'brien",
    "100%",
    "a_c",
    "nan",
    "null",
    'quote"d',
    "back\\slash",
    "x' OR '1'='1",
    "'; DROP TABLE documents; --",
    "{condition}",
    "%(f_collections)s",
    "{a,b}",
    "$1",
    "한글 이름",
]
DOCUMENTS = [
    (OURS, "open.md", ["환율이 떨어지면 수입 원가가 내려간다."]),
    (THEIRS, "secret.md", [CANARY]),
    (OURS, "shared.md", [SHARED]),
    (THEIRS, "secret-copy.md", [SHARED]),
    *[(name, f"{name}/f.md", [f"환율 {number}"]) for number, name in enumerate(NAMES)],
]
HOSTILE = [
    "x' OR '1'='1",
    "' OR 1=1 --",
    "'; DROP TABLE chunks; --",
    "ours') OR collection_id IN (SELECT id FROM collections) --",
    "ours' UNION SELECT id, text FROM documents --",
    "ours\\' OR 1=1 --",
    "%",
    "_",
    "%%",
    "%s",
    "%(f_types)s",
    "{}",
    "{chunks}",
    "{theirs,ours}",
    "ours,theirs",
    '["theirs"]',
    ".*",
    "*",
    "",
    " ",
    " theirs",
    "theirs ",
    "THEIRS",
    "th\u0435irs",  # Cyrillic е
    "ｔｈｅｉｒｓ",  # full width
    "the\u200birs",
    "theirs\x00",
    "\x00",
    "\ud800",
    "theirs\udc80",
    "x" * 100_000,
    "'" * 4_096,
    "가" * 4_096,
    "../theirs",
    "ours/../theirs/",
    "\n; SELECT pg_sleep(5)",
    "1",
    "null",
    "true",
    "\u202esrieht",
]
WRONG: list[Any] = [None, 1, 1.5, True, b"theirs", {"theirs": 1}, ["theirs"], ("theirs",), object(), float("nan")]


@pytest.fixture(scope="module")
def filled(servers, embedding, analyzer) -> Iterator[IndexStore]:
    with filled_index(servers, embedding, analyzer, DOCUMENTS) as store:
        yield store


@pytest.fixture
def searcher(filled) -> Searcher:
    return Searcher(filled.db, filled.generation)


@pytest.fixture
def vector_store(filled, searcher, analyzer) -> EvidenceVectorStore:
    return EvidenceVectorStore(searcher, filled, analyzer)


def tables(store: IndexStore) -> dict[str, int]:
    with store.db.connection() as conn:
        names = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
        counted = [(name, conn.execute(f'SELECT count(*) FROM "{name}"'.encode()).fetchone()) for (name,) in names]
    return {name: row[0] for name, row in counted if row}


@pytest.fixture(autouse=True)
def nothing_is_lost(filled) -> Iterator[None]:
    before = tables(filled)
    yield
    assert tables(filled) == before and before["documents"] == len(DOCUMENTS)


def check_refusal(error: GakjuError) -> None:
    """A sentence for a person: short, printable, and not the database's own."""
    said = error.sentence()
    assert not isinstance(error, DatabaseRefused | DatabaseUnavailable), said
    assert len(said) < 400 and said.isprintable()
    assert not any(word in said for word in ("psycopg", "syntax error", "invalid input", "Traceback", "NUL", "codec"))


def attempt(read: Any) -> list[Any]:
    """What `read` returns; a clear refusal is nothing."""
    try:
        return list(read())
    except GakjuError as error:
        check_refusal(error)
        return []


def quiet_id(value: object) -> str:
    return ascii(value)[:40]


# Filters


@pytest.mark.parametrize("key", [key for key in KEYS if not key.startswith("modified")])
def test_no_value_of_a_filter_selects_more_than_its_name(filled, key):
    """Alone, as one of two, and inside a caller's scope."""

    def selected(filters: Filters) -> list[str]:
        with filled.db.connection() as conn:
            return chunk_ids(conn, filters, filled.generation.id, limit=1_000)

    allowed = set(selected(Filters(collections=(OURS,))))
    exact = set(NAMES) if key == "collections" else set()
    for value in HOSTILE:
        found = attempt(lambda value=value: selected(Filters.from_dict({key: [value]})))
        assert len(found) == (1 if value in exact else 0), ascii(value)[:60]
        within = attempt(
            lambda value=value: selected(Filters.from_dict({key: [value]}).within(Filters(collections=(OURS,))))
        )
        assert set(within) <= allowed
    for value in WRONG:
        with pytest.raises(InvalidFilter) as refused:
            Filters.from_dict({key: [value]})
        check_refusal(refused.value)
        if not isinstance(value, list | tuple) and value is not None:
            with pytest.raises(InvalidFilter) as refused:
                Filters.from_dict({key: value})
            check_refusal(refused.value)
    with pytest.raises(InvalidFilter, match="1,000 are the most"):
        Filters.from_dict({key: ["theirs"] * 100_000})


@pytest.mark.parametrize("key", ["modified_after", "modified_before"])
def test_a_date_is_a_date_or_refused(key):
    for value in [*HOSTILE, *WRONG[1:], "2024-01-01' OR '1'='1", "2024-13-01", "infinity", "now", "2024-01-01\x00"]:
        with pytest.raises(InvalidFilter) as refused:
            Filters.from_dict({key: value})
        check_refusal(refused.value)


def test_no_key_but_those_of_the_list(filled):
    for key in [
        *HOSTILE,
        "a'='b' OR 1=1 --",
        "collection_id",
        "__class__",
        "selects_all",
        "collections ",
        "Collections",
    ]:
        with pytest.raises(InvalidFilter) as refused:
            Filters.from_dict({key: ["ours"]})
        check_refusal(refused.value)


def test_a_hostile_name_is_found_by_that_name_alone(filled, vector_store):
    for name in NAMES:
        for key, value in (("collection", name), ("path", f"{name}/f.md"), ("path", f"{name}/")):
            filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value)])
            (node,) = vector_store.get_nodes(filters=filters)
            assert node.metadata["collection"] == name
            found = vector_store.query(VectorStoreQuery(query_str="환율", filters=filters, similarity_top_k=99))
            assert found.ids == [node.node_id]


# LlamaIndex


@pytest.mark.parametrize("operator", list(FilterOperator))
def test_no_metadata_filter_brings_out_theirs(vector_store, operator):
    keys = ["collection", "document_id", "path", "type", "language", "date", *HOSTILE]
    for key in keys:
        for value in HOSTILE if key in keys[:6] else HOSTILE[:3]:
            scope = MetadataFilter(key="collection", value=OURS)
            given = [value] if operator in (FilterOperator.IN, FilterOperator.NIN) else value
            filters = MetadataFilters(filters=[scope, MetadataFilter(key=key, value=given, operator=operator)])
            nodes = attempt(lambda filters=filters: vector_store.get_nodes(filters=filters))
            assert nodes == [], (key, ascii(value)[:60])


@pytest.mark.parametrize("value", HOSTILE, ids=quiet_id)
def test_no_id_brings_out_or_removes_anything(vector_store, value):
    ask: dict[str, Any] = {"query_str": "카나리아 환율", "similarity_top_k": 99}
    for read in (
        lambda: vector_store.query(VectorStoreQuery(doc_ids=[value], **ask)).nodes,
        lambda: vector_store.query(VectorStoreQuery(node_ids=[value], **ask)).nodes,
        lambda: vector_store.get_nodes([value]),
        lambda: vector_store.delete(value) or [],
    ):
        assert attempt(read) == []


def test_what_is_no_id_at_all(vector_store):
    for value in WRONG:
        assert attempt(lambda value=value: vector_store.get_nodes([value])) == []
        assert attempt(lambda value=value: vector_store.delete(value) or []) == []
        for key in ("doc_ids", "node_ids"):
            ids: dict[str, Any] = {key: [value]}
            query = VectorStoreQuery(query_str="환율", **ids)
            assert attempt(lambda query=query: vector_store.query(query).nodes) == []


# Questions

QUESTIONS = [
    *HOSTILE,
    "카나리아 비밀번호",
    "7391' OR collection='theirs",
    "환율 " * 30_000,
    "a-" * 20_000,
    "\x00환율\ud800",
]


@pytest.mark.parametrize("question", QUESTIONS, ids=quiet_id)
def test_no_question_leaves_the_scope(searcher, vector_store, analyzer, question):
    scope = Filters(collections=(OURS,))
    vector = np.full(searcher.dimension, searcher.dimension**-0.5, dtype=np.float32)
    lexemes = dict.fromkeys(analyzer.analyze(clean(question)), 1.0)
    for embedding in (vector, None):
        found = searcher.search(embedding, lexemes, top_k=99, filters=scope)
        assert {item.collection for item in found.evidence} <= {OURS}
    filters = MetadataFilters(filters=[MetadataFilter(key="collection", value=OURS)])
    query = VectorStoreQuery(query_embedding=vector.tolist(), query_str=question, filters=filters, similarity_top_k=99)
    assert {node.metadata["collection"] for node in vector_store.query(query).nodes} == {OURS}


@pytest.mark.parametrize("question", [*HOSTILE[:4], "\x00환율", "환율\ud800", "환율 " * 300], ids=quiet_id)
async def test_a_stock_retriever_takes_any_question(vector_store, embedding, question):
    index = VectorStoreIndex.from_vector_store(vector_store, embed_model=embedding)
    filters = MetadataFilters(filters=[MetadataFilter(key="collection", value=OURS)])
    retriever = index.as_retriever(filters=filters, similarity_top_k=99)
    for nodes in (retriever.retrieve(QueryBundle(question)), await retriever.aretrieve(question)):
        assert {node.metadata["collection"] for node in nodes} == {OURS}


async def test_a_request_cannot_leave_what_the_apps_retriever_is_confined_to(searcher, embedding, analyzer):
    retriever = EvidenceRetriever(searcher, embedding, analyzer, top_k=99, filters=Filters(collections=(OURS,)))
    asked = SearchQuery("카나리아 비밀번호 환율")
    for filters in (None, Filters(), Filters(collections=(OURS, THEIRS)), Filters(paths=("open.md", "secret.md"))):
        found = await retriever.asearch(asked, filters=filters)
        assert {item.collection for item in found.evidence} == {OURS}
    for filters in (Filters(collections=(THEIRS,)), Filters(paths=("secret.md",))):
        assert retriever.search(asked, filters=filters).evidence == ()


def test_a_passage_names_no_source_outside_the_scope(searcher, analyzer, embedding):
    lexemes = dict.fromkeys(analyzer.analyze(SHARED), 1.0)
    for collection, path in ((OURS, "shared.md"), (THEIRS, "secret-copy.md")):
        scope = Filters(collections=(collection,))
        best = searcher.search(embedding.embed_query(SHARED), lexemes, top_k=9, filters=scope).evidence[0]
        assert (best.collection, best.path) == (collection, path)
        assert {source.collection for source in best.also_in} <= {collection}


def test_hostile_lexemes_are_only_words(searcher):
    for word in map(clean, HOSTILE):
        found = attempt(
            lambda word=word: searcher.search(None, {word: 1.0}, top_k=9, filters=Filters(collections=(OURS,))).evidence
        )
        assert found == []
    many = {f"w{number}": 1.0 for number in range(100_000)} | {"환율": 1.0}
    assert searcher.search(None, many, top_k=9).evidence == ()  # the first 2,000 count


# The command line


@pytest.mark.parametrize("command", ["status", "remove", "retry", "prune"])
def test_commands_refuse_names_and_find_no_paths(filled, tmp_path, command):
    from tests.ingest.ingesting import command as run

    tools = _tools(filled)
    for value in [value for value in HOSTILE if "\x00" not in value and len(value) < 80]:
        if not re.fullmatch(r"[\w.-]{1,64}", value):
            with pytest.raises(SystemExit) as ended:
                run(tools, command, "--collection", value)
            assert ended.value.code == 2
        if value.strip():
            extra = ["--yes"] if command == "remove" else []
            try:
                code = run(tools, command, "--collection", OURS, *extra, "--", value)
            except GakjuError as error:
                check_refusal(error)
            else:
                assert code in (0, 1, 2), value


def _tools(store: IndexStore) -> Any:
    from ingest.cli.tools import Tools

    def unused(*_: object) -> Any:
        raise AssertionError("nothing was to be read")

    return Tools(store.db, "default", unused, unused)


def test_the_command_itself_says_what_is_wrong(filled, database_url, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "ingest", "status", "--collection", "a'; DROP TABLE chunks; --"],
        env=environment(database_url, tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2 and "DROP TABLE" in done.stderr and "Traceback" not in done.stderr
