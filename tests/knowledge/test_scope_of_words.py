"""Who may search some collections learns nothing of the words and names in the others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode

from knowledge.filters import Filters
from knowledge.search import Searcher
from knowledge.store import IndexStore
from knowledge.variants import QueryWords
from knowledge.vector_store import EvidenceVectorStore
from knowledge.views import Views
from knowledge.vocabulary import Vocabulary
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery
from tests.knowledge.filled_index import filled_index
from tests.knowledge.test_views import GLOSSARY, stored_table

OTHER_NAME = "zephyrcharg"  # as a word: without its English ending
OURS, THEIRS, BOTH = ("ours",), ("theirs",), ("ours", "theirs")
DOCUMENTS = [
    ("ours", "ours.md", ["체선료(demurrage)는 하역이 늦을 때 낸다.", "재택근무 신청은 팀장에게 한다."]),
    ("theirs", "theirs.md", ["체선료(zephyrcharge)는 다르게 부른다.", "암호명 독수리과제(EAGLE PLAN)를 시작한다."]),
    *[("theirs", f"many{number}.md", [f"공급망 실사 {number}차 보고"]) for number in range(12)],
]


@pytest.fixture(scope="module")
def filled(servers, embedding, analyzer) -> Iterator[IndexStore]:
    with filled_index(servers, embedding, analyzer, DOCUMENTS) as store:
        yield store


@pytest.fixture
def words(filled, analyzer) -> QueryWords:
    return QueryWords(analyzer, Vocabulary(filled.db, filled.generation))


def test_a_term_is_called_what_the_collections_in_scope_call_it(words):
    assert "demurrag" in words.read("체선료", OURS).lexemes and OTHER_NAME not in words.read("체선료", OURS).lexemes
    assert OTHER_NAME in words.read("체선료", THEIRS).lexemes and "demurrag" not in words.read("체선료", THEIRS).lexemes
    for wide in (BOTH, None):
        assert {OTHER_NAME, "demurrag"} <= words.read("체선료", wide).lexemes.keys()
    empty: tuple[tuple[str, ...], ...] = ((), ("no such",))
    for scope in empty:
        reading = words.read("체선료", scope)
        assert reading.lexemes == reading.own


def test_a_slip_is_mended_by_words_of_the_scope_alone(words):
    typed = "공급먕 실사"
    assert "공급망" in words.read(typed, THEIRS).lexemes
    assert not {"공급망", "#급망"} & words.read(typed, OURS).lexemes.keys()


@pytest.mark.parametrize("confined", ["persona", "retriever"])
def test_no_name_from_outside_stands_in_an_explanation(filled, embedding, analyzer, confined):
    scope = Filters(collections=OURS)
    searcher = Searcher(filled.db, filled.generation)
    mine = scope if confined == "retriever" else None
    retriever = EvidenceRetriever(searcher, embedding, analyzer, top_k=5, filters=mine)
    for question in ("체선료", "EAGLE PLAN", "공급먕 실사", "독수리과제가 뭐야", "zephyrcharge"):
        asked = SearchQuery(question, "체선료")
        found = retriever.search(asked, filters=None if mine else scope, explain=True)
        assert found.explanation is not None
        shown = {term.lexeme for term in found.explanation.terms} - retriever.read(asked, filters=scope).own.keys()
        assert not any(name in lexeme for lexeme in shown for name in (OTHER_NAME, "eagl", "독수리", "공급망")), shown
        assert {item.collection for item in found.evidence} == {"ours"}
    told = retriever.search(SearchQuery("체선료"), explain=True).explanation
    assert told is not None
    assert any(term.lexeme == OTHER_NAME for term in told.terms) == (confined == "persona"), (
        "without a scope it is told"
    )


def test_a_stock_query_with_a_collection_is_read_by_its_names(filled, analyzer):
    """The other name of 체선료 that theirs has must not lead to our passage on that: it would tell that they are one."""
    store = EvidenceVectorStore(Searcher(filled.db, filled.generation), filled, analyzer)
    for collections, number in ((["ours"], 0), (["ours", "theirs"], 2)):
        scope = MetadataFilter(key="collection", value=collections, operator=FilterOperator.IN)
        query = VectorStoreQuery(
            query_str="zephyrcharge",
            similarity_top_k=9,
            mode=VectorStoreQueryMode.TEXT_SEARCH,
            filters=MetadataFilters(filters=[scope]),
        )
        assert len(store.query(query).ids or []) == number


def test_terms_of_a_glossary_are_those_of_the_scope(store, analyzer):
    stored_table(store, analyzer, GLOSSARY, path="glossary.csv", collection="ours")
    secret = GLOSSARY.replace("베이시스,basis", "독수리,eagle")
    stored_table(store, analyzer, secret, path="secret.csv", collection="theirs")
    views = Views(store.db)

    def titles(collections: tuple[str, ...]) -> set[str]:
        scope = Filters(collections=collections)
        return {entry.title for entry in views.top("term", 9, generation=store.generation, filters=scope)}

    assert {"베이시스", "선하증권"} <= titles(OURS) and not {"독수리", "eagle"} & titles(OURS)
    assert {"독수리", "선하증권"} <= titles(THEIRS) and not {"베이시스", "basis"} & titles(THEIRS)
    assert titles(()) == set()
