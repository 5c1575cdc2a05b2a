"""Stock LlamaIndex parts read our index; hostile filters are refused or match nothing."""

from __future__ import annotations

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from llama_index.vector_stores.postgres import PGVectorStore

from knowledge.errors import GakjuError
from knowledge.search import Searcher
from knowledge.store import make_document_id
from knowledge.vector_store import EvidenceVectorStore
from tests.knowledge.test_store import make

QUESTION = "환율이 떨어지면 옥수수 값은?"


@pytest.fixture
def vector_store(store, db, embedding, analyzer) -> EvidenceVectorStore:
    for collection, path, text in [
        ("a", "fx.md", "환율이 떨어지면 옥수수 수입 원가가 내려간다."),
        ("a", "leave.md", "Employees have fifteen days of annual leave."),
        ("b", "fx-b.md", "환율과 옥수수 이야기가 다른 모음에도 있다."),
    ]:
        store.replace(*make(path, [text], embedding=embedding, analyzer=analyzer, collection=collection), reading="1")
    return EvidenceVectorStore(Searcher(db, store.generation), store, analyzer)


def only(*conditions: MetadataFilter, condition: FilterCondition = FilterCondition.AND) -> MetadataFilters:
    return MetadataFilters(filters=list(conditions), condition=condition)


def paths(result) -> list[str]:
    return [node.metadata["document"] for node in result.nodes]


def test_a_stock_index_retrieves_from_it(vector_store, embedding):
    assert isinstance(vector_store, PGVectorStore)
    index = VectorStoreIndex.from_vector_store(vector_store, embed_model=embedding)
    nodes = index.as_retriever(similarity_top_k=2).retrieve(QUESTION)
    assert nodes[0].node.metadata["document"] == "fx.md" and len(nodes) == 2
    answer = index.as_query_engine(llm=MockLLM()).query(QUESTION)
    assert answer.source_nodes


async def test_a_stock_fusion_retriever_and_async_work(vector_store, embedding):
    index = VectorStoreIndex.from_vector_store(vector_store, embed_model=embedding)
    fusion = QueryFusionRetriever([index.as_retriever()], num_queries=1, llm=MockLLM(), use_async=False)
    assert fusion.retrieve(QUESTION)[0].node.metadata["document"] == "fx.md"
    assert (await index.as_retriever().aretrieve(QUESTION))[0].node.metadata["document"] == "fx.md"


def test_words_alone(vector_store):
    query = VectorStoreQuery(query_str="annual leave", mode=VectorStoreQueryMode.TEXT_SEARCH, similarity_top_k=3)
    assert paths(vector_store.query(query)) == ["leave.md"]


def test_filter_by_collection(vector_store, embedding):
    def ask(*filters: MetadataFilter) -> list[str]:
        vector = embedding.embed_query(QUESTION).tolist()
        query = VectorStoreQuery(query_embedding=vector, query_str=QUESTION, filters=only(*filters), similarity_top_k=9)
        return paths(vector_store.query(query))

    assert ask(MetadataFilter(key="collection", value="b")) == ["fx-b.md"]
    either = MetadataFilter(key="collection", value=["a", "b"], operator=FilterOperator.IN)
    assert len(ask(either)) == 3
    assert ask(either, MetadataFilter(key="collection", value="b")) == ["fx-b.md"]
    assert ask(MetadataFilter(key="collection", value="x' OR '1'='1")) == []
    assert ask(MetadataFilter(key="collection", value=":draft")) == []


@pytest.mark.parametrize(
    "filters",
    [
        only(MetadataFilter(key="a'='b' OR 1=1 --", value="x")),
        only(MetadataFilter(key="author", value="x")),
        only(MetadataFilter(key="collection", value="a", operator=FilterOperator.NE)),
        only(MetadataFilter(key="collection", value="a"), condition=FilterCondition.OR),
        MetadataFilters(filters=[only(MetadataFilter(key="collection", value="a"))]),
    ],
)
def test_other_filters_are_refused_not_passed_over(vector_store, filters):
    with pytest.raises(GakjuError, match="not offered"):
        vector_store.query(VectorStoreQuery(query_str="x", filters=filters))


def test_nodes_by_id_and_delete_by_document(vector_store, store):
    found = vector_store.query(VectorStoreQuery(query_str="annual leave", mode=VectorStoreQueryMode.SPARSE))
    (node,) = vector_store.get_nodes([found.ids[0], "no-such-id"])
    assert node.node_id == found.ids[0] and node.get_content() == "Employees have fifteen days of annual leave."
    vector_store.delete(str(make_document_id("a", "leave.md")))
    vector_store.delete("unknown")
    assert store.counts().documents == 2


def test_writing_node_by_node_is_refused(vector_store):
    for write in (lambda: vector_store.add([]), vector_store.clear, lambda: vector_store.delete_nodes(["x"])):
        with pytest.raises(GakjuError):
            write()


def test_a_mode_that_is_not_offered_is_said(vector_store):
    with pytest.raises(GakjuError, match="mmr"):
        vector_store.query(VectorStoreQuery(query_str="x", mode=VectorStoreQueryMode.MMR))
