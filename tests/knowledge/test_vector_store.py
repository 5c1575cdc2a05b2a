"""Our own store where it differs from LlamaIndex's: filters that are refused, matched exactly or hold at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.postgres import PGVectorStore

from knowledge.errors import InvalidFilter
from knowledge.filters import Filters
from knowledge.metadata_filters import to_filters
from knowledge.search import Searcher
from knowledge.store import IndexStore
from knowledge.vector_store import EvidenceVectorStore
from tests.knowledge.filled_index import filled_index

QUESTION = "환율이 떨어지면 옥수수 값은?"
DOCUMENTS = [
    ("a", "fx.md", ["환율이 떨어지면 옥수수 수입 원가가 내려간다."]),
    ("a", "leave.md", ["Employees have fifteen days of annual leave."]),
    ("b", "fx-b.md", ["환율과 옥수수 이야기가 다른 모음에도 있다."]),
]


@pytest.fixture(scope="module")
def filled(servers, embedding, analyzer) -> Iterator[IndexStore]:
    with filled_index(servers, embedding, analyzer, DOCUMENTS) as store:
        yield store


@pytest.fixture
def vector_store(filled, analyzer) -> EvidenceVectorStore:
    return EvidenceVectorStore(Searcher(filled.db, filled.generation), filled, analyzer)


def only(*conditions: MetadataFilter, condition: FilterCondition = FilterCondition.AND) -> MetadataFilters:
    return MetadataFilters(filters=list(conditions), condition=condition)


def test_it_is_a_pgvectorstore_that_opens_no_connection_of_its_own(vector_store):
    assert isinstance(vector_store, PGVectorStore) and vector_store.class_name() == "EvidenceVectorStore"


def test_filter_by_collection(vector_store, embedding):
    def ask(*filters: MetadataFilter) -> list[str]:
        vector = embedding.embed_query(QUESTION).tolist()
        query = VectorStoreQuery(query_embedding=vector, query_str=QUESTION, filters=only(*filters), similarity_top_k=9)
        return [node.metadata["document"] for node in vector_store.query(query).nodes]

    assert ask(MetadataFilter(key="collection", value="b")) == ["fx-b.md"]
    either = MetadataFilter(key="collection", value=["a", "b"], operator=FilterOperator.IN)
    assert len(ask(either)) == 3
    assert ask(either, MetadataFilter(key="collection", value="b")) == ["fx-b.md"]
    assert ask(MetadataFilter(key="collection", value="x' OR '1'='1")) == []
    assert ask(MetadataFilter(key="collection", value=":draft")) == []


COLLECTION = MetadataFilter(key="collection", value="a")


@pytest.mark.parametrize(
    ("filters", "named"),
    [
        (only(MetadataFilter(key="a'='b' OR 1=1 --", value="x")), "a'='b' OR 1=1 --"),
        (only(MetadataFilter(key="author", value="x")), "author"),
        (only(COLLECTION, MetadataFilter(key="author", value="x")), "author"),
        (only(MetadataFilter(key="collection", value="a", operator=FilterOperator.NE)), "!="),
        (only(MetadataFilter(key="collection", value=["a"], operator=FilterOperator.NIN)), "nin"),
        (only(MetadataFilter(key="path", value="a", operator=FilterOperator.TEXT_MATCH)), "text_match"),
        (only(MetadataFilter(key="path", value=None, operator=FilterOperator.IS_EMPTY)), "is_empty"),
        (only(MetadataFilter(key="date", value="2024-01-01")), "date"),
        (only(MetadataFilter(key="collection", value="a", operator=FilterOperator.GT)), "collection"),
        (only(COLLECTION, condition=FilterCondition.OR), "or"),
        (only(COLLECTION, condition=FilterCondition.NOT), "not"),
        (MetadataFilters(filters=[COLLECTION, only(COLLECTION, condition=FilterCondition.NOT)]), "not"),
    ],
    ids=str,
)
def test_other_filters_are_refused_by_name_not_passed_over(vector_store, filters, named):
    for read in (
        lambda: vector_store.query(VectorStoreQuery(query_str="x", filters=filters)),
        lambda: vector_store.get_nodes(filters=filters),
    ):
        with pytest.raises(InvalidFilter, match="not offered") as refused:
            read()
        assert named in str(refused.value) and "collection" in refused.value.hint


@pytest.mark.parametrize("value", [1, 1.5, ["a", "b"], None, "a\0", "\udcff", "x" * 5_000], ids=ascii)
def test_a_value_of_the_wrong_kind_is_refused(value):
    with pytest.raises(InvalidFilter):
        to_filters(only(MetadataFilter(key="collection", value=value)))


def test_groups_without_end_are_refused():
    deep = only(COLLECTION)
    for _ in range(100):
        deep = MetadataFilters(filters=[deep])
    with pytest.raises(InvalidFilter, match="nested"):
        to_filters(deep)
    with pytest.raises(InvalidFilter, match="nested"):
        to_filters(only(*[COLLECTION] * 1_000))


@pytest.mark.parametrize(
    ("operator", "value", "after", "before"),
    [
        (FilterOperator.GTE, "2024-03-01T00:00:00Z", "2024-03-01T00:00:00Z", None),
        (FilterOperator.GT, "2024-03-01T00:00:00Z", "2024-03-01T00:00:00.000001Z", None),
        (FilterOperator.LT, "2024-03-01T00:00:00Z", None, "2024-03-01T00:00:00Z"),
        (FilterOperator.LTE, "2024-03-01T00:00:00Z", None, "2024-03-01T00:00:00.000001Z"),
        (FilterOperator.GTE, "2024-03-01", "2024-03-01", None),
        (FilterOperator.GT, "2024-03-01", "2024-03-02", None),  # a day is over when the next begins
        (FilterOperator.LT, "2024-03-01", None, "2024-03-01"),
        (FilterOperator.LTE, "2024-02-29", None, "2024-03-01"),
    ],
)
def test_dates_hold_their_ends_in_or_out(operator, value, after, before):
    found = to_filters(only(MetadataFilter(key="date", value=value, operator=operator)))
    assert found == Filters.from_dict({"modified_after": after, "modified_before": before})


def test_the_last_of_all_days_has_none_after_it():
    with pytest.raises(InvalidFilter, match="9999"):
        to_filters(only(MetadataFilter(key="date", value="9999-12-31", operator=FilterOperator.LTE)))
