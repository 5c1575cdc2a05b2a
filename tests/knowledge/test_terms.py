"""Words as numbers, and chunks as rows of a binary COPY: what is computed and encoded at once is what each alone is."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge import terms as terms_module
from knowledge.store import EmbeddedChunk, IndexStore
from knowledge.terms import (
    BM25_B,
    BM25_K1,
    REFERENCE_LEXEMES,
    TERM_SPACE,
    TermVector,
    term_id,
    term_vector,
    term_vectors,
)
from knowledge.types import Chunk, Document, Place

DIMENSION = 384
LEXEMES = st.dictionaries(st.text(max_size=8), st.integers(1, 1000), max_size=30)
COLUMNS = (
    "ordinal, start_char, end_char, text, heading, place, table_header, language, embedding, term_ids, term_weights"
)


def bm25(count: int, length: int) -> float:
    """The term-frequency part of BM25, as Robertson and Zaragoza (2009) write it."""
    return count * (BM25_K1 + 1) / (count + BM25_K1 * (1 - BM25_B + BM25_B * length / REFERENCE_LEXEMES))


def weights_of(lexemes: Mapping[str, int]) -> dict[int, float]:
    """What `term_vector` promises, word by word."""
    counts: dict[int, int] = {}
    for word, count in lexemes.items():
        counts[term_id(word)] = counts.get(term_id(word), 0) + count
    return {number: bm25(count, sum(lexemes.values())) for number, count in counts.items()}


# --- words as numbers ---------------------------------------------------------------------------------------------


@given(st.lists(LEXEMES, max_size=8))
def test_many_chunks_give_what_each_gives_alone(lexemes: list[dict[str, int]]) -> None:
    together = term_vectors(lexemes)
    assert len(together) == len(lexemes)
    for vector, words in zip(together, lexemes, strict=True):
        alone = term_vector(words)
        assert np.array_equal(vector.ids, alone.ids) and np.array_equal(vector.weights, alone.weights)
        assert (vector.ids.dtype, vector.weights.dtype) == (np.int32, np.float32)


@given(LEXEMES)
def test_ids_ascend_and_weights_are_those_of_bm25(lexemes: dict[str, int]) -> None:
    vector = term_vector(lexemes)
    expected = weights_of(lexemes)
    assert vector.ids.tolist() == sorted(expected)
    assert all(0 <= number < TERM_SPACE for number in vector.ids.tolist())
    assert vector.weights.tolist() == pytest.approx([expected[number] for number in sorted(expected)], rel=1e-6)


@given(st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), max_size=8), max_size=6))
def test_words_of_one_id_count_as_one_word(lexemes: list[dict[str, int]]) -> None:
    """Eight words share two ids: the lowest and the highest."""
    shared = {word: (0, TERM_SPACE - 1)[place % 2] for place, word in enumerate("abcdefgh")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terms_module, "_ids", shared)
        for vector, words in zip(term_vectors(lexemes), lexemes, strict=True):
            expected = weights_of(words)
            assert vector.ids.tolist() == sorted(expected)
            assert vector.weights.tolist() == pytest.approx([expected[n] for n in sorted(expected)], rel=1e-6)


def test_chunks_without_words_have_empty_vectors_of_their_own() -> None:
    assert term_vectors([]) == []
    assert [len(vector) for vector in term_vectors([{}])] == [0]
    vectors = term_vectors([{}, {"환율": 2}, {}, {}, {"운임": 1, "환율": 1}, {}])
    assert [len(vector) for vector in vectors] == [0, 1, 0, 0, 2, 0]
    assert vectors[1].ids.tolist() == [term_id("환율")]


def test_ids_of_this_version_stay_what_they_are() -> None:
    """An index holds them: where one of these changes, TERM_IDS has to change with it."""
    assert terms_module.TERM_IDS == "hashed/1"
    assert [term_id(word) for word in ("환율", "price", "")] == [114054498, 444191355, 400310788]


def test_ids_are_the_same_after_the_kept_ones_were_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"w{number}" for number in range(50)]
    before = [term_id(word) for word in words]
    monkeypatch.setattr(terms_module, "_TERMS_KEPT", 7)
    kept = terms_module._TermIds()
    monkeypatch.setattr(terms_module, "_ids", kept)
    assert [term_id(word) for word in words] == before
    assert len(kept) <= 7


# --- rows of a COPY -----------------------------------------------------------------------------------------------


def vector_of(ids: Sequence[int]) -> TermVector:
    return TermVector(np.array(ids, np.int32), np.linspace(0.25, 2, len(ids), dtype=np.float32))


def unit_vectors(count: int) -> np.ndarray:
    vectors = np.random.default_rng(7).standard_normal((count, DIMENSION)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def stored(
    store: IndexStore, chunks: Sequence[tuple[Chunk, TermVector]], language: str = "ko"
) -> list[tuple[Any, ...]]:
    """Write the chunks as one document's, beside what is there; its rows as SQL reads them, in order."""
    path = f"{uuid.uuid4()}.md"
    document = Document("default", path, f"/files/{path}", "0" * 64, 1, "제목", "글", language)
    embedded = [
        EmbeddedChunk(chunk, vector, terms, language)
        for (chunk, terms), vector in zip(chunks, unit_vectors(len(chunks)), strict=True)
    ]
    assert store.replace(document, embedded, reading="1")
    with store.db.connection() as conn:
        return conn.execute(
            f"SELECT {COLUMNS} FROM chunks c WHERE document_id = "
            "(SELECT id FROM documents WHERE path = %s AND generation_id = c.generation_id) ORDER BY ordinal".encode(),
            (path,),
        ).fetchall()


def assert_same(rows: list[tuple[Any, ...]], chunks: Sequence[tuple[Chunk, TermVector]], language: str = "ko") -> None:
    assert len(rows) == len(chunks)
    for row, (chunk, terms), vector in zip(rows, chunks, unit_vectors(len(chunks)), strict=True):
        ordinal, start, end, text, heading, place, header, row_language, embedding, ids, weights = row
        assert (ordinal, start, end) == (chunk.ordinal, chunk.start, chunk.end)
        assert (text, tuple(heading), header, row_language) == (chunk.text, chunk.heading, chunk.table_header, language)
        assert Place.from_dict(place) == chunk.place
        assert np.array_equal(embedding.to_numpy(), vector.astype(np.float16))
        assert ids == terms.ids.tolist() == weights.indices()
        assert weights.dimensions() == TERM_SPACE
        assert np.array_equal(np.array(weights.values(), np.float32), terms.weights)


# What a reader hands over: no NUL, no lone surrogate (knowledge/types.py, ParsedDocument).
ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
PLACES = st.builds(
    Place,
    page=st.none() | st.integers(1, 2**31 - 1),
    slide=st.none() | st.integers(1, 99),
    sheet=st.none() | ANY_TEXT.filter(bool),
    rows=st.none() | st.tuples(st.integers(1, 2**20), st.integers(1, 2**20)),
)
TERMS = st.lists(st.integers(0, TERM_SPACE - 1), max_size=20, unique=True).map(lambda ids: vector_of(sorted(ids)))
CHUNKS = st.lists(
    st.tuples(ANY_TEXT, st.lists(ANY_TEXT, max_size=4).map(tuple), PLACES, ANY_TEXT, TERMS), min_size=1, max_size=5
)


def test_rows_read_back_as_they_were_written(store: IndexStore) -> None:
    @given(CHUNKS, st.sampled_from(["ko", "en", "und"]))
    @settings(max_examples=30, deadline=None)
    def holds(items: list[tuple[str, tuple[str, ...], Place, str, TermVector]], language: str) -> None:
        chunks = [
            (Chunk(ordinal, ordinal, ordinal + len(text), text, heading, place, header), terms)
            for ordinal, (text, heading, place, header, terms) in enumerate(items)
        ]
        assert_same(stored(store, chunks, language), chunks, language)

    holds()


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(0, 0, 1, "글"),
        Chunk(0, 0, 9, "\\N\t\r\n\\. '\"{}%s \x01\x7f\ufeff\u200b 😀 각\u1100\u1161\u11a8 漢字 \U0010ffff"),
        Chunk(0, 0, 1, "글", ("NULL", "", '{"a",}', "제1장 \\ 총칙")),
        Chunk(0, 0, 1, "글", tuple("장 " * 2000 for _ in range(20))),
        Chunk(0, 0, 1, "글", (), Place(sheet="시트 'A' \"B\"", rows=(2, 1_048_576))),
        Chunk(0, 0, 1, "1,2", ("표",), Place(page=1, slide=2), "가,나\n다,라"),
        Chunk(2**31 - 1, 2**31 - 2, 2**31 - 1, "가" * 100_000),
    ],
    ids=["plain", "characters", "heading", "long heading", "place", "table header", "large"],
)
def test_what_copy_could_take_for_something_else_is_kept(store: IndexStore, chunk: Chunk) -> None:
    chunks = [(chunk, vector_of([5]))]
    assert_same(stored(store, chunks), chunks)


@pytest.mark.parametrize("ids", [[], [0], [TERM_SPACE - 1], [0, 1, TERM_SPACE - 2, TERM_SPACE - 1]])
def test_terms_at_the_ends_of_their_space_and_none_at_all_are_kept(store: IndexStore, ids: list[int]) -> None:
    chunks = [(Chunk(n, n, n + 1, "글"), vector_of(own)) for n, own in enumerate([ids, [7], ids])]
    assert_same(stored(store, chunks), chunks)


def test_a_document_of_more_rows_than_are_sent_at_once_is_whole(store: IndexStore) -> None:
    chunks = [
        (Chunk(n, n, n + 1, f"글 {n}", ("장", str(n % 3)), Place(page=n // 10 + 1)), vector_of(range(n % 5)))
        for n in range(200)
    ]
    assert_same(stored(store, chunks), chunks)


def test_a_document_without_chunks_is_kept(store: IndexStore) -> None:
    assert stored(store, []) == []
