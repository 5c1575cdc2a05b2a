"""Searches while documents are replaced and removed, and while a generation of the index goes: whole results or one error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from knowledge.errors import GakjuError, IndexMismatch
from knowledge.filters import Filters
from knowledge.rebuilding import rebuilding
from knowledge.search import Found, Searcher
from knowledge.store import IndexStore
from tests.knowledge.test_generations import TEXTS, build, other_manifest, switch
from tests.knowledge.test_store import make

QUESTION = "환율이 떨어지면 수입 원가는?"


@pytest.fixture
def filled(store, embedding, analyzer) -> IndexStore:
    for number in range(6):
        store.replace(
            *make(f"other{number}.md", [f"연차 휴가 {number}일"], embedding=embedding, analyzer=analyzer), reading="1"
        )
    return store


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[threading.Thread]:
    """`work` in a thread; what it raises is raised at the end."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:
            failed.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(120)
    if failed:
        raise failed[0]


@pytest.fixture
def ask(embedding, analyzer) -> Callable[..., Found]:
    vector, lexemes = embedding.embed_query(QUESTION), dict.fromkeys(analyzer.analyze(QUESTION), 1.0)

    def ask(searcher: Searcher, filters: Filters | None = None) -> Found:
        return searcher.search(vector, lexemes, top_k=3, filters=filters, explain=True)

    return ask


@pytest.mark.parametrize("filters", [None, Filters(collections=("default",))], ids=["all", "collection"])
def test_a_document_that_is_replaced_is_found_all_the_time_in_one_version_or_the_other(
    filled, embedding, analyzer, ask, filters
):
    versions = [
        make("fx.md", [f"{word} 환율이 떨어지면 수입 원가가 내려간다."] * 1, embedding=embedding, analyzer=analyzer)
        for word in ("처음", "다음")
    ]
    filled.replace(*versions[0], reading="1")
    searcher = Searcher(filled.db, filled.generation)

    def replace_it() -> None:
        for number in range(1, 81):
            assert filled.replace(*versions[number % 2], reading="1", settle=number % 10 == 0)

    with meanwhile(replace_it) as replacing:
        while replacing.is_alive():
            assert [item.path for item in ask(searcher, filters).evidence].count("fx.md") == 1


def test_a_document_that_comes_and_goes_disturbs_no_search(filled, embedding, analyzer, ask):
    document = make("fx.md", ["환율이 떨어지면 수입 원가가 내려간다."], embedding=embedding, analyzer=analyzer)
    searcher = Searcher(filled.db, filled.generation)

    def come_and_go() -> None:
        for _ in range(40):
            assert filled.replace(*document, reading="1", settle=False)
            assert filled.remove("default", "fx.md")

    seen = set()
    with meanwhile(come_and_go) as working:
        while working.is_alive():
            found = [item.path for item in ask(searcher).evidence]
            seen.add("fx.md" in found)
            assert len(found) == 3
    assert seen == {True, False}


def test_a_generation_that_is_dropped_is_searched_whole_or_not_at_all(store, db, embedding, analyzer, ask):
    for path, text in TEXTS.items():
        store.replace(*make(path, [text], embedding=embedding, analyzer=analyzer), reading="1")
    searcher = Searcher(db, store.generation)
    assert switch(db, build(db, other_manifest(embedding), embedding, analyzer))

    def drop() -> None:
        with rebuilding(db) as rebuild:
            rebuild.drop_others()

    ended = 0
    with meanwhile(drop) as dropping:
        while dropping.is_alive() or not ended:
            try:
                assert len(ask(searcher).evidence) == len(TEXTS)
            except GakjuError as exc:
                assert isinstance(exc, IndexMismatch) and "was dropped" in str(exc)
                ended += 1
