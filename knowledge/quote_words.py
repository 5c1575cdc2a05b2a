"""The words of each quotable part of a passage, found when the passage is stored and kept beside it in few bytes.

They come from the analysis that gives the passage its own words, by the places where they begin: analysing each sentence
by itself would take the Korean morphemes of five passages 18 ms at every question. Packed, a word is its number among the
passage's term ids, one byte mostly. What was stored without them, or by other rules, is worked out anew, with the same
result. Knows nothing about questions, scores or databases.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from knowledge.lexemes import Analyzer, PlacedWords, normal_places
from knowledge.quote_parts import FORMS, KINDS, LANGUAGES, PARTS_VERSION, Part, quote_parts
from knowledge.search_text import heading_line, search_text
from knowledge.terms import term_ids
from knowledge.types import Chunk, Evidence

_HEAD = struct.Struct("<BBHHH")  # version, bytes a word, parts, contexts, spans of contexts
_PART = np.dtype(
    [
        ("start", "<i4"), ("end", "<i4"), ("label_start", "<i4"), ("label_end", "<i4"), ("words", "<u2"), ("context", "<u2"),
        ("kind", "u1"), ("form", "u1"), ("language", "u1"), ("has_label", "u1"),
    ]
)  # fmt: skip
_CONTEXT = np.dtype([("spans", "<u2"), ("words", "<u2")])
_SPAN = np.dtype([("start", "<i4"), ("end", "<i4")])
_MOST = 0xFFFF


@dataclass(frozen=True, slots=True)
class QuoteWords:
    """Of one passage, whose distinct words are `terms`, ascending term ids. `said`: of each part the words, as often as they
    stand there; `beside`: the distinct ones of the headings, questions and titles it stands under, all as indices into
    `terms`. `parts`, `said` and `beside` run in parallel.
    """

    terms: np.ndarray
    parts: tuple[Part, ...]
    said: tuple[np.ndarray, ...]
    beside: tuple[np.ndarray, ...]


def quote_words(passages: Sequence[Evidence], analyzer: Analyzer) -> list[QuoteWords]:
    """Of each passage: what was stored with it, else worked out now."""
    known = [None if item.sentences is None else unpacked(*item.sentences) for item in passages]
    missing = [item for item, found in zip(passages, known, strict=True) if found is None]
    texts = [
        search_text(item.text, title=item.title, heading=item.heading, table_header=item.table_header)
        for item in missing
    ]
    made = (
        find_quote_words(item, heading_line(item.title, item.heading), text, placed)
        for item, text, placed in zip(missing, texts, analyzer.place_many(texts) if texts else [], strict=True)
    )
    return [next(made) if found is None else found for found in known]


def find_quote_words(
    item: Chunk | Evidence, head: str, text: str, placed: PlacedWords, *, terms: np.ndarray | None = None
) -> QuoteWords:
    """`head`: its title and headings, `text`: what it is found by, `placed`: the words of that; `terms`: their distinct ids,
    ascending, if they are known already."""
    parts = tuple(quote_parts(item.text, table_header=item.table_header, is_row=item.place.rows is not None))
    base = len(text) - len(item.text)
    spans = [(0, len(head))]
    for part in parts:
        spans.append((base + part.start, base + part.end))
        for start, end in (*((part.label,) if part.label else ()), *part.beside):
            spans.append((base + start, base + end))
    ids = term_ids(placed.lexemes)
    terms = np.unique(ids) if terms is None else terms
    starts = np.array(placed.starts, np.int64)
    order = starts.argsort(kind="stable")
    words = terms.searchsorted(ids[order])
    bounds = starts[order].searchsorted(normal_places(text, spans))
    slices = iter([words[low:high] for low, high in bounds.reshape(-1, 2).tolist()])
    above = next(slices)
    said: list[np.ndarray] = []
    beside: dict[tuple[tuple[int, int], ...], np.ndarray] = {}
    for part in parts:
        own = [next(slices) for _ in range(2 if part.label else 1)]
        said.append(np.concatenate(own) if len(own) > 1 else own[0])
        near = [next(slices) for _ in part.beside]
        if part.beside not in beside:
            beside[part.beside] = np.unique(np.concatenate([above, *near]))
    return QuoteWords(terms, parts, tuple(said), tuple(beside[part.beside] for part in parts))


def packed(found: QuoteWords) -> bytes | None:
    """For the index, without `terms`, which stand there already. None if there is more than fits."""
    contexts = {part.beside: words for part, words in zip(found.parts, found.beside, strict=True)}
    numbers = {beside: number for number, beside in enumerate(contexts)}
    spans = [span for beside in contexts for span in beside]
    sequences = [*contexts.values(), *found.said]
    if max(len(found.parts), len(spans), len(found.terms), *map(len, sequences), 0) > _MOST:
        return None
    size = 1 if len(found.terms) <= 256 else 2
    rows = [
        (
            part.start, part.end, *(part.label or (0, 0)), len(words), numbers[part.beside],
            KINDS.index(part.kind), FORMS.index(part.form), LANGUAGES.index(part.language), part.label is not None,
        )
        for part, words in zip(found.parts, found.said, strict=True)
    ]  # fmt: skip
    return b"".join(
        (
            _HEAD.pack(PARTS_VERSION, size, len(rows), len(contexts), len(spans)),
            np.array(rows, _PART).tobytes(),
            np.array([(len(beside), len(words)) for beside, words in contexts.items()], _CONTEXT).tobytes(),
            np.array(spans, _SPAN).tobytes(),
            np.concatenate(sequences).astype(f"<u{size}").tobytes() if sequences else b"",
        )
    )


def unpacked(data: bytes, term_ids: bytes) -> QuoteWords | None:
    """`term_ids`: int32, little-endian. None if it was packed by other rules, or is damaged."""
    try:
        terms = np.frombuffer(term_ids, "<i4")
        version, size, *counts = _HEAD.unpack_from(data)
        if version != PARTS_VERSION or size not in (1, 2):
            return None
        tables, at = [], _HEAD.size
        for dtype, count in zip((_PART, _CONTEXT, _SPAN), counts, strict=True):
            tables.append(np.frombuffer(data, dtype, count, at).tolist())
            at += dtype.itemsize * count
        rows, contexts, spans = tables
        words = np.frombuffer(data, f"<u{size}", -1, at)
        lengths = [*(length for _, length in contexts), *(row[4] for row in rows)]
        if sum(lengths) != len(words) or int(words.max(initial=0)) >= max(len(terms), 1):
            return None
        ends = list(accumulate(lengths))
        sequences = [words[end - length : end] for end, length in zip(ends, lengths, strict=True)]
        last = list(accumulate(count for count, _ in contexts))
        near = [tuple(spans[end - count : end]) for end, (count, _) in zip(last, contexts, strict=True)]
        parts = tuple(
            Part(start, end, KINDS[kind], FORMS[form], LANGUAGES[language], (a, b) if labelled else None, near[context])
            for start, end, a, b, _, context, kind, form, language, labelled in rows
        )
        beside = tuple(sequences[row[5]] for row in rows)
    except (struct.error, ValueError, IndexError):
        return None
    return QuoteWords(terms, parts, tuple(sequences[len(contexts) :]), beside)
