"""EMBED_BASE_URL and RERANK_BASE_URL against a real vLLM: vectors, prefixes, limits and scores are the server's own."""

from __future__ import annotations

import json
import logging
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knowledge.embedding import EmbeddingSpec, EndpointEmbedding
from knowledge.errors import EmbeddingUnavailable, RerankUnavailable
from knowledge.types import Evidence, Place, Scores
from pipelines.rerank import Reranked, Reranker
from pipelines.rerank_client import RerankClient
from settings import load_settings
from tests.vllm.conftest import API_KEY, EMBEDDERS, RERANKER, RunningVllm
from wiring import ingest_quietly, open_index

pytestmark = pytest.mark.vllm
BGE, QWEN, E5 = EMBEDDERS
DIMENSION = 64
TEXTS = ("연차휴가는 15일입니다.", "The office opens at nine.", "서버는 매일 밤 백업합니다.", "3.5% 인상", "")
DOCUMENTS = {
    "leave.md": "# 휴가\n\n연차휴가는 일 년에 15일이고, 다음 해로 5일까지 넘길 수 있습니다.",
    "office.md": "# Office\n\nThe office opens at nine and closes at seven. Visitors sign in at the desk.",
    "backup.md": "# 백업\n\n서버는 매일 밤 두 시에 백업합니다. 보관 기간은 30일입니다.",
    "travel.md": "# Travel\n\nBook trains in second class. Flights need the approval of your manager.",
}


def ask(server: RunningVllm, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        server.base_url.removesuffix("/v1") + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {API_KEY}"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


def vectors_of(server: RunningVllm, texts: Sequence[str]) -> np.ndarray:
    """What the server itself gives, one text a request, scaled to length 1."""
    rows = [ask(server, "/v1/embeddings", {"input": [text]})["data"][0]["embedding"] for text in texts]
    vectors = np.array(rows, np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def endpoint(server: RunningVllm, **options: Any) -> EndpointEmbedding:
    return EndpointEmbedding(base_url=server.base_url, api_key=API_KEY, **options)


def close(mine: np.ndarray, theirs: np.ndarray) -> bool:
    return mine.shape == theirs.shape and bool(np.allclose(mine, theirs, atol=2e-5))


def test_vectors_are_the_servers_of_length_one(embedder: RunningVllm) -> None:
    embedding = endpoint(embedder)
    assert embedding.spec == EmbeddingSpec(f"{BGE}/endpoint", DIMENSION, "", "")
    vectors = embedding.embed_passages(TEXTS)
    assert close(vectors, vectors_of(embedder, TEXTS))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    many = [f"{text} {i}" for i, text in enumerate(TEXTS * 30)]  # more than one batch
    assert close(embedding.embed_passages(many)[140:], vectors_of(embedder, many[140:]))


@pytest.mark.parametrize(
    ("model", "before_query", "before_passage"),
    [
        (BGE, "", ""),
        (QWEN, "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:", ""),
        (E5, "query: ", "passage: "),
    ],
)
def test_the_model_gets_what_it_wants_before_a_text(
    embedder: RunningVllm, model: str, before_query: str, before_passage: str
) -> None:
    embedding = endpoint(embedder, model=model)
    assert embedding.spec == EmbeddingSpec(f"{model}/endpoint", DIMENSION, before_query, before_passage)
    query, passage = vectors_of(embedder, [before_query + "휴가는 며칠?", before_passage + TEXTS[0]])
    assert close(embedding.embed_query("휴가는 며칠?"), query)
    assert close(embedding.embed_passages([TEXTS[0]])[0], passage)
    plain = endpoint(embedder, model=model, query_prefix="", passage_prefix="")
    assert close(plain.embed_query("휴가는 며칠?"), vectors_of(embedder, ["휴가는 며칠?"])[0])


def test_fewer_dimensions_are_the_first_ones_of_length_one(embedder: RunningVllm) -> None:
    embedding = endpoint(embedder, dimensions=16)
    assert embedding.spec.dimension == 16
    first = vectors_of(embedder, TEXTS)[:, :16]
    assert close(embedding.embed_passages(TEXTS), first / np.linalg.norm(first, axis=1, keepdims=True))
    with pytest.raises(EmbeddingUnavailable, match="gives 64 numbers a text, EMBED_DIMENSIONS asks for 65"):
        _ = endpoint(embedder, dimensions=65).spec


def test_a_text_that_is_too_long_is_shortened_and_that_is_told(
    embedder: RunningVllm, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [TEXTS[0], "abcdefghij" * 90, TEXTS[1]]
    with caplog.at_level(logging.WARNING):
        vectors = endpoint(embedder).embed_passages(texts)
    (told,) = [record for record in caplog.records if "takes no text as long" in record.message]
    assert isinstance(told.args, tuple)
    kept = told.args[2]
    assert isinstance(kept, int) and 380 < kept <= 510  # of 512 tokens, a byte each, two of them special
    assert close(vectors, vectors_of(embedder, [texts[0], texts[1][:kept], texts[2]]))


def test_tokens_are_counted_by_the_server(embedder: RunningVllm) -> None:
    embedding = endpoint(embedder)
    assert [embedding.count_tokens(text) for text in ("abc", "연차 a")] == [3, 8]
    spans = embedding.split_at_tokens(TEXTS[0] * 20, 100)
    assert all(len((TEXTS[0] * 20)[a:b].encode()) <= 100 for a, b in spans)


def test_a_wrong_model_and_a_wrong_key_are_told(embedder: RunningVllm) -> None:
    with pytest.raises(EmbeddingUnavailable, match=r"404.*no/such-model.*does not exist") as caught:
        _ = endpoint(embedder, model="no/such-model").spec
    assert "EMBED_MODEL" in caught.value.hint
    with pytest.raises(EmbeddingUnavailable, match="401") as caught:
        _ = EndpointEmbedding(base_url=embedder.base_url, api_key="sk-wrong", model=BGE).spec
    assert "EMBED_API_KEY" in caught.value.hint


def test_documents_are_ingested_and_found_by_the_servers_vectors(
    embedder: RunningVllm, reranking: RunningVllm, database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, text in DOCUMENTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    settings = load_settings(
        _env_file=None, database_url=database_url, data_dir=tmp_path / "data",
        embed_base_url=embedder.base_url, embed_model=BGE, embed_api_key=API_KEY,
    )  # fmt: skip
    with open_index(settings) as index:
        assert ingest_quietly(settings, index, [folder]) == 0
        assert dict(index.generation.manifest.embedding) == {
            "name": f"{BGE}/endpoint", "dimension": DIMENSION, "query_prefix": "", "passage_prefix": "",
        }  # fmt: skip
        question = "연차휴가는 며칠까지 넘길 수 있습니까?"
        found = index.live.current.searcher.search(index.embedding.embed_query(question), {}, top_k=10)
        assert {item.path for item in found.evidence} == set(DOCUMENTS)
        # As it was embedded: title and heading above the passage. Half precision is what the index stores.
        embedded = [f"{item.heading[0] if item.heading else item.title}\n{item.text}" for item in found.evidence]
        theirs = vectors_of(embedder, embedded) @ vectors_of(embedder, [question])[0]
        mine = [item.scores.meaning or 0.0 for item in found.evidence]
        assert np.allclose(mine, theirs, atol=2e-3)
        assert mine == sorted(mine, reverse=True)

        with closing(reranker_at(reranking)) as reranker:
            result = reranker.rerank(question, found.evidence)
        assert result.failure == ""
        scores = scores_of(reranking, question, embedded)
        by_chunk = {item.chunk_id: score for item, score in zip(found.evidence, scores, strict=True)}
        assert np.allclose(rerank_scores(result), sorted(scores, reverse=True), atol=1e-4)
        assert np.allclose(rerank_scores(result), [by_chunk[item.chunk_id] for item in result.evidence], atol=1e-4)
        assert [item.rank for item in result.evidence] == list(range(1, len(DOCUMENTS) + 1))


def reranker_at(server: RunningVllm, *, url: str = "", **options: Any) -> Reranker:
    return Reranker(RerankClient(url or server.base_url, api_key=API_KEY, **options), timeout_s=60)


def scores_of(server: RunningVllm, query: str, texts: Sequence[str]) -> list[float]:
    """The server's scores by its other API, one pair a request."""
    return [ask(server, "/score", {"text_1": query, "text_2": text})["data"][0]["score"] for text in texts]


def rerank_scores(result: Reranked) -> list[float]:
    assert result.failure == ""
    return [item.scores.rerank if item.scores.rerank is not None else float("nan") for item in result.evidence]


def evidence(texts: Sequence[str]) -> list[Evidence]:
    return [
        Evidence(
            chunk_id=str(i), document_id="d", collection="default", path="a.md", title="T", heading=(), place=Place(),
            start=0, end=len(text), text=text, language="en", scores=Scores(fused=1 - i / 1000), rank=i + 1,
        )
        for i, text in enumerate(texts)
    ]  # fmt: skip


@pytest.fixture
def reranker(reranking: RunningVllm) -> Iterator[Reranker]:
    with closing(reranker_at(reranking)) as reranker:
        yield reranker


def test_the_order_is_that_of_the_servers_scores(reranking: RunningVllm, reranker: Reranker) -> None:
    texts = [f"{text} {i}" for i, text in enumerate(TEXTS * 6)]
    result = reranker.rerank("휴가는 며칠?", evidence(texts))
    assert result.failure == ""
    scores = scores_of(reranking, "휴가는 며칠?", [f"T\n{text}" for text in texts])
    assert len(set(np.round(scores, 3))) > 10, "the model tells the texts apart"
    assert np.allclose(rerank_scores(result), sorted(scores, reverse=True), atol=1e-4)
    assert np.allclose(
        [scores[int(item.chunk_id)] for item in result.evidence], sorted(scores, reverse=True), atol=1e-4
    )
    assert reranker.describe() == f"{RERANKER} at {reranking.base_url}"


def test_passages_longer_than_the_model_takes_are_shortened(reranking: RunningVllm, reranker: Reranker) -> None:
    result = reranker.rerank("휴가는 며칠?", evidence(["abcdefghij" * 90, TEXTS[1]]))
    assert (result.failure, result.shortened) == ("", 1)
    short = next(item for item in result.evidence if item.text == TEXTS[1])
    assert short.scores.rerank == pytest.approx(scores_of(reranking, "휴가는 며칠?", [f"T\n{TEXTS[1]}"])[0], abs=1e-4)


def test_what_is_wrong_with_the_reranker_is_told(reranking: RunningVllm, embedder: RunningVllm) -> None:
    for client, message in (
        (RerankClient(reranking.base_url, api_key="sk-wrong"), "401"),
        (RerankClient(reranking.base_url, api_key=API_KEY, model="no/such-model"), "no/such-model"),
        (RerankClient(reranking.base_url + "/v9", api_key=API_KEY), "no rerank server"),
    ):
        with closing(Reranker(client)) as wrong, pytest.raises(RerankUnavailable, match=message):
            wrong.describe()
    # An embedding model scores by cosine: vLLM lets it rerank too.
    with closing(reranker_at(embedder)) as by_cosine:
        result = by_cosine.rerank("휴가는 며칠?", evidence(TEXTS))
    vectors = vectors_of(embedder, ["휴가는 며칠?", *(f"T\n{text}" for text in TEXTS)])
    assert np.allclose(rerank_scores(result), sorted(vectors[1:] @ vectors[0], reverse=True), atol=1e-4)
