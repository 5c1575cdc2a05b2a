"""What LlamaIndex's own parts expect of a vector store, on ours: index, retrievers, engines, postprocessors, as they ship.

Only the language model is scripted. What our store does not offer must be said, never passed over.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.memory import Memory
from llama_index.core.postprocessor import LongContextReorder, SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine, RouterQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever, VectorIndexAutoRetriever, VectorIndexRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import MetadataMode, NodeRelationship, NodeWithScore, QueryBundle, TextNode
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import QueryEngineTool
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreInfo
from llama_index.core.vector_stores.types import MetadataInfo, VectorStoreQuery, VectorStoreQueryMode
from pydantic import PrivateAttr

from knowledge.errors import GakjuError
from knowledge.search import Searcher
from knowledge.store import IndexStore, make_document_id
from knowledge.vector_store import EvidenceVectorStore
from tests.knowledge.filled_index import filled_index
from tests.knowledge.test_store import make

QUESTION = "환율이 떨어지면 옥수수 값은?"
ANSWER = "수입 원가가 내려간다."
DOCUMENTS = [
    ("a", "fx.md", ["환율이 떨어지면 옥수수 수입 원가가 내려간다.", "운임은 따로 오른다."]),
    ("a", "leave.pdf", ["Employees have fifteen days of annual leave."]),
    ("b", "fx-b.md", ["환율과 옥수수 이야기가 다른 모음에도 있다."]),
    ("b", "tax.md", ["법인세 신고는 3월까지 한다."]),
]


class ScriptedLLM(CustomLLM):
    """Says `replies` in order, then the last one again; keeps the prompts that it was given."""

    replies: list[str]
    _prompts: list[str] = PrivateAttr(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=8_192, num_output=256)

    @property
    def prompts(self) -> list[str]:
        return self._prompts

    def _next(self, prompt: str) -> str:
        self._prompts.append(prompt)
        return self.replies[min(len(self._prompts), len(self.replies)) - 1]

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self._next(prompt))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        text = self._next(prompt)

        def pieces() -> CompletionResponseGen:
            for end in range(1, len(text) + 1):
                yield CompletionResponse(text=text[:end], delta=text[end - 1])

        return pieces()


@pytest.fixture
def llm() -> ScriptedLLM:
    return ScriptedLLM(replies=[ANSWER])


@pytest.fixture(scope="module")
def filled(servers, embedding, analyzer) -> Iterator[IndexStore]:
    with filled_index(servers, embedding, analyzer, DOCUMENTS) as store:
        yield store


@pytest.fixture
def vector_store(filled, analyzer) -> EvidenceVectorStore:
    return EvidenceVectorStore(Searcher(filled.db, filled.generation), filled, analyzer)


@pytest.fixture
def index(vector_store, embedding) -> VectorStoreIndex:
    return VectorStoreIndex.from_vector_store(vector_store, embed_model=embedding)


def only(**keys: str) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value) for key, value in keys.items()])


def documents(nodes: list[NodeWithScore]) -> list[str]:
    return [node.metadata["document"] for node in nodes]


def check_order(nodes: list[NodeWithScore]) -> None:
    scores = [node.get_score() for node in nodes]
    assert nodes and scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
    assert len({node.node_id for node in nodes}) == len(nodes)


# Retrieving


@pytest.mark.parametrize("mode", [VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID, "text_search", "sparse"])
async def test_each_mode_retrieves_in_order_of_similarity_sync_and_async(index, mode):
    retriever = index.as_retriever(similarity_top_k=3, vector_store_query_mode=mode)
    nodes = retriever.retrieve(QUESTION)
    check_order(nodes)
    assert documents(nodes)[0] == "fx.md" and len(nodes) <= 3
    again = await retriever.aretrieve(QUESTION)
    assert [(node.node_id, node.score) for node in again] == [(node.node_id, node.score) for node in nodes]


def test_retrieving_takes_a_query_bundle_with_its_embedding(index, embedding):
    bundle = QueryBundle(QUESTION, embedding=embedding.get_query_embedding(QUESTION))
    assert documents(index.as_retriever(similarity_top_k=1).retrieve(bundle)) == ["fx.md"]


def test_a_retriever_honours_filters_documents_and_nodes(index):
    def ask(**wishes: Any) -> list[str]:
        return sorted(documents(VectorIndexRetriever(index, similarity_top_k=9, **wishes).retrieve(QUESTION)))

    everything = ["fx-b.md", "fx.md", "fx.md", "leave.pdf", "tax.md"]
    assert ask() == ask(filters=MetadataFilters(filters=[])) == everything
    assert ask(filters=only(collection="b")) == ["fx-b.md", "tax.md"]
    assert ask(filters=only(type="pdf")) == ["leave.pdf"]
    assert ask(doc_ids=[str(make_document_id("b", "tax.md"))]) == ["tax.md"]
    assert ask(doc_ids=[]) == [] and ask(doc_ids=["unknown"]) == []
    assert ask(doc_ids=[str(make_document_id("b", "tax.md"))], filters=only(collection="a")) == []
    one = index.as_retriever(similarity_top_k=1).retrieve(QUESTION)[0].node_id
    assert ask(node_ids=[one]) == ["fx.md"] and ask(node_ids=[one], filters=only(collection="b")) == []
    assert ask(node_ids=[]) == everything  # what an index made from a store passes on


def test_each_filter_narrows(vector_store):
    def ask(*conditions: MetadataFilter | MetadataFilters) -> list[str]:
        filters = MetadataFilters(filters=list(conditions))
        query = VectorStoreQuery(query_str="환율 옥수수 법인세 leave 운임", filters=filters, similarity_top_k=9)
        return sorted(node.metadata["document"] for node in vector_store.query(query).nodes)

    everything = ["fx-b.md", "fx.md", "fx.md", "leave.pdf", "tax.md"]
    assert ask() == everything
    assert ask(MetadataFilter(key="path", value=["fx.md", "tax.md"], operator=FilterOperator.IN)) == [
        "fx.md",
        "fx.md",
        "tax.md",
    ]
    assert ask(MetadataFilter(key="document", value="tax.md")) == ["tax.md"]
    assert ask(MetadataFilter(key="document_id", value=str(make_document_id("b", "tax.md")))) == ["tax.md"]
    assert (
        ask(MetadataFilter(key="language", value="ko")) == everything
        and ask(MetadataFilter(key="language", value="und")) == []
    )
    nested = MetadataFilters(filters=[only(collection="b"), MetadataFilters(filters=[only(path="fx-b.md")])])
    assert ask(nested) == ["fx-b.md"] and ask(nested, MetadataFilter(key="type", value="pdf")) == []
    past, future = "2001-02-03", "2999-01-01T00:00:00+09:00"
    for operator in (FilterOperator.GT, FilterOperator.GTE):
        assert ask(MetadataFilter(key="date", value=past, operator=operator)) == everything
        assert ask(MetadataFilter(key="date", value=future, operator=operator)) == []
    for operator in (FilterOperator.LT, FilterOperator.LTE):
        assert ask(MetadataFilter(key="date", value=future, operator=operator)) == everything
        assert ask(MetadataFilter(key="date", value=past, operator=operator)) == []


@pytest.mark.parametrize("use_async", [False, True])
@pytest.mark.parametrize(
    "mode",
    [FUSION_MODES.RECIPROCAL_RANK, FUSION_MODES.RELATIVE_SCORE, FUSION_MODES.DIST_BASED_SCORE, FUSION_MODES.SIMPLE],
)
def test_fusion_of_two_retrievers(index, llm, mode, use_async):
    both = [index.as_retriever(similarity_top_k=3, filters=only(collection=name)) for name in ("a", "b")]
    fusion = QueryFusionRetriever(both, llm=llm, mode=mode, num_queries=1, similarity_top_k=4, use_async=use_async)
    nodes = fusion.retrieve(QUESTION)
    assert {node.metadata["collection"] for node in nodes} == {"a", "b"} and len(nodes) == 4
    assert "fx.md" in documents(nodes)[:2] and not llm.prompts


async def test_fusion_of_questions_that_the_model_writes(index):
    llm = ScriptedLLM(replies=["연차휴가는 며칠인가?\nannual leave"])
    fusion = QueryFusionRetriever(
        [index.as_retriever(similarity_top_k=1)],
        llm=llm,
        num_queries=3,
        similarity_top_k=3,
        mode=FUSION_MODES.RECIPROCAL_RANK,
    )
    nodes = await fusion.aretrieve(QUESTION)
    assert {"fx.md", "leave.pdf"} <= set(documents(nodes)) and len(llm.prompts) == 1


def test_a_model_chooses_the_filters(index):
    """The same list of keys is what a model is told of and what the store takes."""
    info = VectorStoreInfo(
        content_info="회사 문서",
        metadata_info=[MetadataInfo(name="collection", type="str", description="모음"), _DATE_INFO],
    )
    chosen = {"query": "환율", "filters": [{"key": "collection", "value": "b", "operator": "=="}], "top_k": 2}
    llm = ScriptedLLM(replies=[json.dumps(chosen)])
    retriever = VectorIndexAutoRetriever(index, vector_store_info=info, llm=llm, similarity_top_k=3)
    assert set(documents(retriever.retrieve("모음 b에서 환율"))) <= {"fx-b.md", "tax.md"} and "모음" in llm.prompts[0]
    bound = VectorIndexAutoRetriever(
        index, vector_store_info=info, llm=llm, extra_filters=only(collection="a"), similarity_top_k=3
    )
    assert bound.retrieve("모음 b에서 환율") == []  # the model cannot leave what it is held to
    forbidden = {"query": "환율", "filters": [{"key": "author", "value": "b", "operator": "=="}]}
    with pytest.raises(GakjuError, match="author"):
        VectorIndexAutoRetriever(
            index, vector_store_info=info, llm=ScriptedLLM(replies=[json.dumps(forbidden)])
        ).retrieve("환율")


_DATE_INFO = MetadataInfo(name="date", type="str", description="수정한 날짜")

# Answering


async def test_a_query_engine_answers_from_it(index, llm):
    engine = index.as_query_engine(llm=llm, similarity_top_k=2, filters=only(collection="a"))
    response = engine.query(QUESTION)
    assert str(response) == ANSWER and documents(response.source_nodes)[0] == "fx.md"
    assert "환율이 떨어지면 옥수수 수입 원가가 내려간다." in llm.prompts[0]
    assert str(make_document_id("a", "fx.md")) not in llm.prompts[0]  # ids are not for the model
    assert str(await engine.aquery(QUESTION)) == ANSWER
    streamed = index.as_query_engine(llm=llm, streaming=True, response_mode="tree_summarize").query(QUESTION)
    assert "".join(streamed.response_gen) == ANSWER


@pytest.mark.parametrize("mode", ["condense_plus_context", "context", "condense_question", "simple", "best"])
def test_each_stock_chat_engine_talks(index, llm, mode):
    engine = index.as_chat_engine(chat_mode=mode, llm=llm)
    assert engine.chat(QUESTION).response == ANSWER
    assert "".join(engine.stream_chat("운임은?").response_gen) == ANSWER
    assert len(engine.chat_history) == 4
    engine.reset()
    assert engine.chat_history == []


async def test_a_chat_engine_with_retriever_memory_and_postprocessors(index, llm):
    engine = CondensePlusContextChatEngine.from_defaults(
        retriever=index.as_retriever(similarity_top_k=3, filters=only(collection="a")),
        llm=llm,
        memory=Memory.from_defaults(session_id="s", token_limit=4_000),
        node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.01)],
    )
    first = await engine.achat(QUESTION)
    assert first.response == ANSWER and documents(first.source_nodes)[0] == "fx.md"
    second = await engine.astream_chat("그럼 운임은?")
    assert "".join([token async for token in second.async_response_gen()]) == ANSWER
    assert QUESTION in llm.prompts[1]  # the question before goes into the condensed one
    assert {node.metadata["collection"] for node in second.source_nodes} == {"a"}


def test_context_engine_and_router_take_our_retriever(index, llm):
    retriever = index.as_retriever(similarity_top_k=1)
    assert ContextChatEngine.from_defaults(retriever=retriever, llm=llm).chat(QUESTION).source_nodes
    choose = ScriptedLLM(replies=['[{"choice": 1, "reason": "문서"}]', ANSWER])
    tool = QueryEngineTool.from_defaults(
        RetrieverQueryEngine.from_args(retriever, llm=choose), name="docs", description="회사 문서"
    )
    router = RouterQueryEngine.from_defaults([tool], selector=LLMSingleSelector.from_defaults(llm=choose), llm=choose)
    assert str(router.query(QUESTION)) == ANSWER


def test_stock_postprocessors_take_our_nodes(index):
    nodes = index.as_retriever(similarity_top_k=5).retrieve(QUESTION)
    best = nodes[0].get_score()
    kept = SimilarityPostprocessor(similarity_cutoff=best).postprocess_nodes(nodes)
    assert [node.node_id for node in kept] == [nodes[0].node_id]
    assert len(LongContextReorder().postprocess_nodes(list(nodes))) == len(nodes)


# Nodes


def test_nodes_survive_every_way_that_llamaindex_stores_them(index):
    node = index.as_retriever(similarity_top_k=1).retrieve(QUESTION)[0].node
    for again in (
        pickle.loads(pickle.dumps(node)),
        TextNode.from_dict(node.to_dict()),
        TextNode.from_json(node.to_json()),
    ):
        assert again == node and again.hash == node.hash
    assert node.ref_doc_id == str(make_document_id("a", "fx.md"))
    assert node.relationships[NodeRelationship.SOURCE].node_id == node.ref_doc_id
    assert node.metadata["path"] == node.metadata["document"] == "fx.md" and node.metadata["type"] == "md"
    read = node.get_content(MetadataMode.LLM)
    assert "fx.md" in read and node.ref_doc_id not in read
    assert node.ref_doc_id not in node.get_content(MetadataMode.EMBED)
    assert (node.start_char_idx, node.end_char_idx) == (0, len(node.get_content()))


async def test_what_a_node_says_of_itself_finds_it_again(vector_store):
    (node,) = vector_store.get_nodes(filters=only(path="tax.md"))
    for key in ("collection", "document_id", "path", "document", "type", "language"):
        found = vector_store.get_nodes(filters=only(**{key: node.metadata[key]}))
        assert node.node_id in {item.node_id for item in found}, key
    assert await vector_store.aget_nodes([node.node_id], only(collection="b")) == [node]
    assert await vector_store.aget_nodes([node.node_id], only(collection="a")) == []


def test_nodes_by_filter_id_both_or_neither(vector_store):
    assert len(vector_store.get_nodes()) == 5 and vector_store.get_nodes([]) == []
    in_a = vector_store.get_nodes(filters=only(collection="a"))
    assert [node.metadata["collection"] for node in in_a] == ["a"] * 3
    ids = [node.node_id for node in reversed(vector_store.get_nodes())]
    assert [node.node_id for node in vector_store.get_nodes([*ids, "no id"])] == ids
    kept = vector_store.get_nodes(ids, only(collection="a"))
    assert [node.node_id for node in kept] == [key for key in ids if key in {node.node_id for node in in_a}]
    with pytest.raises(GakjuError, match="author"):
        vector_store.get_nodes(filters=only(author="x"))


async def test_a_document_is_deleted_by_what_its_nodes_call_their_source(store, db, embedding, analyzer):
    for path, text in ("fx.md", DOCUMENTS[0][2][0]), ("tax.md", DOCUMENTS[3][2][0]):
        store.replace(*make(path, [text], embedding=embedding, analyzer=analyzer), reading="1")
    vector_store = EvidenceVectorStore(Searcher(db, store.generation), store, analyzer)
    index = VectorStoreIndex.from_vector_store(vector_store, embed_model=embedding)
    source = index.as_retriever(similarity_top_k=1).retrieve(QUESTION)[0].node.ref_doc_id
    assert source is not None
    index.delete_ref_doc(source)
    assert documents(index.as_retriever(similarity_top_k=9).retrieve(QUESTION)) == ["tax.md"]
    vector_store.delete("unknown")
    await vector_store.adelete(str(make_document_id("default", "tax.md")))
    assert store.counts().documents == 0


# Wishes


def test_numbers_of_results_are_honoured(vector_store, embedding):
    vector = embedding.get_query_embedding(QUESTION)

    def count(mode: VectorStoreQueryMode, **wishes: Any) -> int:
        text = "환율 옥수수 법인세 leave 운임"
        query = VectorStoreQuery(query_embedding=vector, query_str=text, mode=mode, **wishes)
        return len(vector_store.query(query).ids)

    for mode in VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.TEXT_SEARCH:
        assert [count(mode, similarity_top_k=top_k) for top_k in (1, 2, 50)] == [1, 2, 5]
    assert count(VectorStoreQueryMode.HYBRID, similarity_top_k=1, sparse_top_k=2) == 3
    assert count(VectorStoreQueryMode.HYBRID, similarity_top_k=1, sparse_top_k=2, hybrid_top_k=2) == 2
    assert count(VectorStoreQueryMode.SPARSE, similarity_top_k=1, sparse_top_k=2) == 2


def test_alpha_one_is_meaning_alone_and_zero_words_alone(vector_store, embedding):
    def found(**wishes: Any) -> list[str]:
        query = VectorStoreQuery(
            query_embedding=embedding.get_query_embedding(QUESTION), similarity_top_k=9, query_str="leave", **wishes
        )
        return [node.metadata["document"] for node in vector_store.query(query).nodes]

    hybrid = VectorStoreQueryMode.HYBRID
    assert found(mode=hybrid, alpha=1.0)[0] == "fx.md" and len(found(mode=hybrid, alpha=1.0)) == 5
    assert found(mode=hybrid, alpha=0.0) == found(mode=VectorStoreQueryMode.SPARSE) == ["leave.pdf"]


@pytest.mark.parametrize(
    ("wishes", "named"),
    [
        ({"mode": VectorStoreQueryMode.HYBRID, "alpha": 0.3}, "alpha"),
        ({"mode": VectorStoreQueryMode.DEFAULT, "alpha": 1.0}, "alpha"),
        ({"mode": VectorStoreQueryMode.DEFAULT, "sparse_top_k": 3}, "sparse_top_k"),
        ({"mode": VectorStoreQueryMode.SPARSE, "hybrid_top_k": 3}, "hybrid_top_k"),
        ({"mode": VectorStoreQueryMode.MMR}, "mmr"),
        ({"mode": VectorStoreQueryMode.SEMANTIC_HYBRID}, "semantic_hybrid"),
        ({"similarity_top_k": 0}, "0 results"),
        ({"similarity_top_k": -1}, "-1 results"),
        ({"similarity_top_k": 10**9}, "results"),
        ({"query_embedding": [0.1, 0.2]}, "shape"),
        ({"query_embedding": [float("nan")] * 384}, "finite"),
    ],
)
def test_what_is_not_offered_is_said(vector_store, wishes, named):
    with pytest.raises(GakjuError, match=named):
        vector_store.query(VectorStoreQuery(query_str="환율", **wishes))


def test_a_query_of_nothing_finds_nothing(vector_store):
    assert vector_store.query(VectorStoreQuery(similarity_top_k=3)).nodes == []
    assert vector_store.query(VectorStoreQuery(query_embedding=[0.0] * 384, similarity_top_k=3)).nodes == []


def test_writing_through_llamaindex_is_refused_with_the_way_to_do_it(index, vector_store):
    for write in (
        lambda: index.insert_nodes([TextNode(text="x")]),
        lambda: vector_store.delete_nodes(["x"]),
        vector_store.clear,
    ):
        with pytest.raises(GakjuError) as refused:
            write()
        assert refused.value.hint
