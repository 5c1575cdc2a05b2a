"""Cuts a parsed document into chunks: by structure first, then by sentences, then by tokens. Knows no tokenizer.

A chunk stays under one heading and on one page, and is a slice of the document's text. Where a section is too long
for one chunk, it is cut into pieces of about equal size, between blocks rather than inside one. A chunk that begins
below the header row of a table carries that row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ingest.pieces import MAX_CHARS_PER_TOKEN, CountTokens, Header, Piece, PieceCutter, SplitAtTokens
from knowledge.types import Block, Chunk, ParsedDocument, Place

# Raise it when the same document would give other chunks than before, by a change here, in `pieces` or in
# `knowledge.sentences`: documents chunked by another version are then chunked and embedded again.
CHUNKER_VERSION = "2"

# Chunks below this are put to a neighbour: a sentence alone has too little meaning to be found by.
_SMALL_TOKENS = 20
# What a cut costs between lines of a block, inside a line, and after "as follows:", where an empty chunk costs 1.
_CUT_IN_BLOCK = 0.15
_CUT_IN_LINE = 0.3
_CUT_AFTER_LEAD = 0.3
_LEAD = re.compile(r"(?:[:：]|다음(?:과|의 \w{1,10})? ?같(?:다|습니다|음)\.?|as follows\.|the following\.)$")
_LEAD_WINDOW = 30


@dataclass(frozen=True, slots=True)
class _Draft:
    """A chunk without its number. `alone`: never put together with another. `tokens`: of its text, not the header."""

    start: int
    end: int
    tokens: int
    heading: tuple[str, ...]
    place: Place
    alone: bool
    header: Header | None


def chunk(
    document: ParsedDocument, *, count_tokens: CountTokens, split_at_tokens: SplitAtTokens, max_tokens: int
) -> list[Chunk]:
    """Chunks in order, with `chunk.text == document.text[start:end]`, of at most `max_tokens` with their table header.

    `split_at_tokens(text, n)` gives spans that cover `text`, of at most n tokens each; it is asked only where one
    sentence is longer than a chunk. Tokens are counted once a sentence and summed: exact for tokenizers that never
    join words across white space, as SentencePiece's and WordPiece's do not.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}, must be at least 1")
    cutter = PieceCutter(document.text, count_tokens, split_at_tokens, max_tokens)
    drafts: list[_Draft] = []
    for section in _sections(document):
        drafts.extend(_drafts(section, cutter, document.text, max_tokens))
    merged = _merge_small(drafts, document.text, count_tokens, max_tokens)
    return [
        Chunk(
            ordinal,
            draft.start,
            draft.end,
            document.text[draft.start : draft.end],
            draft.heading,
            draft.place,
            draft.header.text if draft.header else "",
        )
        for ordinal, draft in enumerate(merged)
    ]


def _sections(document: ParsedDocument) -> Iterator[list[Block]]:
    """Runs of blocks that may share a chunk: same heading and place, rows aside, with nothing visible between them.

    A "row" block is alone.
    """
    section: list[Block] = []
    for block in document.blocks:
        if section and not _belongs(block, section[-1], document.text):
            yield section
            section = []
        section.append(block)
    if section:
        yield section


def _belongs(block: Block, previous: Block, text: str) -> bool:
    if "row" in (block.kind, previous.kind) or block.heading != previous.heading:
        return False
    between = text[previous.end : block.start]  # visible: a heading of the same words, opened again
    return _same_place(block.place, previous.place) and not between.strip()


def _same_place(one: Place, other: Place) -> bool:
    """On one page, slide or sheet, whatever the rows."""
    return one == other or replace(one, rows=None) == replace(other, rows=None)


def _drafts(blocks: Sequence[Block], cutter: PieceCutter, text: str, max_tokens: int) -> Iterator[_Draft]:
    pieces = [piece for number, block in enumerate(blocks) for piece in cutter.pieces(block, number)]
    for first, last in _best_cuts(pieces, text, max_tokens):
        inside = pieces[first : last + 1]
        used = blocks[inside[0].block : inside[-1].block + 1]
        yield _Draft(
            start=inside[0].start,
            end=inside[-1].end,
            tokens=sum(piece.tokens for piece in inside),
            heading=used[0].heading,
            place=_joined_place([block.place for block in used]),
            alone=used[0].kind == "row",
            header=inside[0].header,
        )


def _best_cuts(pieces: Sequence[Piece], text: str, max_tokens: int) -> list[tuple[int, int]]:
    """First and last piece of every chunk, so that few and evenly filled chunks come out.

    The cheapest way in total, where a chunk costs 1 plus the square of its empty share, and more if it ends at a bad
    place (the way TeX breaks paragraphs into lines).
    """
    count = len(pieces)
    best = [0.0] + [math.inf] * count
    cut_from = [0] * (count + 1)
    for end in range(1, count + 1):
        end_cost = 1.0 if end == count else 1.0 + _cut_cost(pieces[end - 1], pieces[end], text)
        first_start = pieces[end - 1].end - max_tokens * MAX_CHARS_PER_TOKEN
        tokens = 0
        for begin in range(end - 1, -1, -1):
            piece = pieces[begin]
            tokens += piece.tokens
            if begin < end - 1 and (tokens > max_tokens or piece.closes or piece.start < first_start):
                break
            full = tokens + (piece.header.tokens if piece.header else 0)
            if full <= max_tokens or begin == end - 1:
                empty = max(0.0, 1 - full / max_tokens)
                cost = best[begin] + end_cost + empty * empty
                if cost < best[end]:
                    best[end], cut_from[end] = cost, begin
    cuts = []
    end = count
    while end:
        cuts.append((cut_from[end], end - 1))
        end = cut_from[end]
    return cuts[::-1]


def _cut_cost(last: Piece, following: Piece, text: str) -> float:
    if _LEAD.search(text, max(last.start, last.end - _LEAD_WINDOW), last.end):
        return _CUT_AFTER_LEAD
    if last.block != following.block:
        return 0.0
    return _CUT_IN_BLOCK if "\n" in text[last.end : following.start] else _CUT_IN_LINE


def _merge_small(drafts: Sequence[_Draft], text: str, count_tokens: CountTokens, max_tokens: int) -> list[_Draft]:
    """Put chunks of a few tokens to the neighbour whose heading is nearer, where both fit into one chunk."""
    merged: list[_Draft] = []
    for index, draft in enumerate(drafts):
        previous = merged[-1] if merged else None
        following = drafts[index + 1] if index + 1 < len(drafts) else None
        small = previous is not None and min(previous.tokens, draft.tokens) < _SMALL_TOKENS
        if previous is None or not small or not _may_join(previous, draft):
            merged.append(draft)
            continue
        # A short introduction belongs to what follows it, unless the section before is nearer.
        waits = (
            previous.tokens >= _SMALL_TOKENS
            and following is not None
            and _may_join(draft, following)
            and _shared(draft, following) > _shared(previous, draft)
            and draft.tokens + following.tokens <= max_tokens
        )
        between = text[previous.end : draft.start]
        tokens = previous.tokens + draft.tokens + (count_tokens(between) if between.strip() else 0)
        if not between:  # two parts of one word
            tokens = count_tokens(text[previous.start : draft.end])
        too_long = draft.end - previous.start > max_tokens * MAX_CHARS_PER_TOKEN
        if waits or too_long or tokens + (previous.header.tokens if previous.header else 0) > max_tokens:
            merged.append(draft)
        else:
            place = _joined_place([previous.place, draft.place])
            heading = previous.heading or draft.heading
            merged[-1] = replace(previous, end=draft.end, tokens=tokens, place=place, heading=heading)
    return merged


def _may_join(first: _Draft, second: _Draft) -> bool:
    if first.alone or second.alone or not _same_place(first.place, second.place):
        return False
    above_all = first.start == 0 and not first.heading and first.tokens < _SMALL_TOKENS  # a title that is no heading
    return above_all or first.heading[:1] == second.heading[:1]


def _shared(first: _Draft, second: _Draft) -> int:
    """How many levels of heading two chunks have in common."""
    return next(
        (level for level, (one, other) in enumerate(zip(first.heading, second.heading, strict=False)) if one != other),
        min(len(first.heading), len(second.heading)),
    )


def _joined_place(places: Sequence[Place]) -> Place:
    rows = [place.rows for place in places if place.rows]
    if not rows:
        return places[0]
    return replace(places[0], rows=(min(first for first, _ in rows), max(last for _, last in rows)))
