"""Cuts a parsed document into chunks: by structure first, then by sentences, then by tokens. Knows no tokenizer.

A chunk stays under one heading and on one page, and is a slice of the document's text. Where a section is too long
for one chunk, it is cut into pieces of about equal size, between blocks rather than inside one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from knowledge.sentences import sentence_spans
from knowledge.text_units import stripped
from knowledge.types import Block, Chunk, ParsedDocument, Place

CountTokens = Callable[[str], int]
SplitAtTokens = Callable[[str, int], list[tuple[int, int]]]

# Chunks below this are put to a neighbour: a sentence alone has too little meaning to be found by.
_SMALL_TOKENS = 20
# Sentences below this share of a chunk are taken together, which bounds the work of finding the best cuts.
_ATOM_SHARE = 1 / 16
# What a cut inside a block costs, where an empty chunk costs 1.
_CUT_IN_BLOCK = 0.15


@dataclass(frozen=True, slots=True)
class _Piece:
    """A slice of the text that stays in one chunk. `block` counts the blocks of its section."""

    start: int
    end: int
    tokens: int
    block: int


@dataclass(frozen=True, slots=True)
class _Draft:
    """A chunk without its number. `alone`: never put together with another."""

    start: int
    end: int
    tokens: int
    heading: tuple[str, ...]
    place: Place
    alone: bool


def chunk(
    document: ParsedDocument, *, count_tokens: CountTokens, split_at_tokens: SplitAtTokens, max_tokens: int
) -> list[Chunk]:
    """Chunks of at most `max_tokens` tokens each, in order, with `chunk.text == document.text[start:end]`.

    `split_at_tokens(text, n)` gives spans that cover `text`, of at most n tokens each; it is asked only where one
    sentence is longer than a chunk. Tokens are counted once a sentence and summed: exact for tokenizers that never
    join words across white space, as SentencePiece's and WordPiece's do not.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}, must be at least 1")
    cutter = _Cutter(document.text, count_tokens, split_at_tokens, max_tokens)
    drafts: list[_Draft] = []
    for section in _sections(document):
        drafts.extend(cutter.section(section))
    merged = _merge_small(drafts, document.text, count_tokens, max_tokens)
    return [
        Chunk(ordinal, draft.start, draft.end, document.text[draft.start : draft.end], draft.heading, draft.place)
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
    same_place = replace(block.place, rows=None) == replace(previous.place, rows=None)
    is_row = "row" in (block.kind, previous.kind)
    between = text[previous.end : block.start].strip()  # a heading of the same words, opened again
    return same_place and not is_row and not between and block.heading == previous.heading


class _Cutter:
    """Cuts sections of one text."""

    def __init__(self, text: str, count_tokens: CountTokens, split_at_tokens: SplitAtTokens, max_tokens: int) -> None:
        self._text = text
        self._count = count_tokens
        self._split = split_at_tokens
        self._max = max_tokens

    def section(self, blocks: Sequence[Block]) -> list[_Draft]:
        pieces = [piece for number, block in enumerate(blocks) for piece in self._pieces(block, number)]
        drafts = []
        for first, last in _best_cuts(pieces, self._max):
            inside = pieces[first : last + 1]
            used = blocks[inside[0].block : inside[-1].block + 1]
            drafts.append(
                _Draft(
                    start=inside[0].start,
                    end=inside[-1].end,
                    tokens=sum(piece.tokens for piece in inside),
                    heading=used[0].heading,
                    place=_joined_place([block.place for block in used]),
                    alone=used[0].kind == "row",
                )
            )
        return drafts

    def _pieces(self, block: Block, number: int) -> list[_Piece]:
        """The block's sentences (lines of a table, a list or code), short ones together, long ones cut."""
        pieces: list[_Piece] = []
        room = max(1, int(self._max * _ATOM_SHARE))
        for start, end in self._spans(block):
            tokens = self._count(self._text[start:end])
            if tokens > self._max:
                pieces.extend(self._cut_long(start, end, tokens, number))
            elif pieces and pieces[-1].tokens + tokens <= room:
                last = pieces[-1]
                pieces[-1] = replace(last, end=end, tokens=last.tokens + tokens)
            else:
                pieces.append(_Piece(start, end, tokens, number))
        return pieces

    def _spans(self, block: Block) -> list[tuple[int, int]]:
        if block.kind == "code":
            return _line_spans(self._text, block.start, block.end)
        spans: list[tuple[int, int]] = []
        for start, end in sentence_spans(self._text[block.start : block.end]):
            # Without white space between them, two sentences may share a token ("했다.그러나"): count them as one.
            glued = spans and spans[-1][1] == block.start + start
            spans[-1:] = (
                [(spans[-1][0], block.start + end)]
                if glued
                else [*spans[-1:], (block.start + start, block.start + end)]
            )
        return spans

    def _cut_long(self, start: int, end: int, tokens: int, number: int) -> Iterator[_Piece]:
        """One sentence longer than a chunk, in about equal parts."""
        size = math.ceil(tokens / math.ceil(tokens / self._max))
        for first, last in self._split(self._text[start:end], size):
            piece_start, piece_end = stripped(self._text, start + first, start + last)
            if piece_start < piece_end:
                yield _Piece(piece_start, piece_end, self._count(self._text[piece_start:piece_end]), number)


def _best_cuts(pieces: Sequence[_Piece], max_tokens: int) -> list[tuple[int, int]]:
    """First and last piece of every chunk, so that few and evenly filled chunks come out.

    The cheapest way in total, where a chunk costs 1 plus the square of its empty share, and more if it ends inside a
    block (the way TeX breaks paragraphs into lines).
    """
    count = len(pieces)
    best = [0.0] + [math.inf] * count
    cut_from = [0] * (count + 1)
    for end in range(1, count + 1):
        ends_block = end == count or pieces[end].block != pieces[end - 1].block
        tokens = 0
        for begin in range(end - 1, -1, -1):
            tokens += pieces[begin].tokens
            if tokens > max_tokens and begin < end - 1:
                break
            empty = max(0.0, 1 - tokens / max_tokens)
            cost = best[begin] + 1 + empty * empty + (0.0 if ends_block else _CUT_IN_BLOCK)
            if cost < best[end]:
                best[end], cut_from[end] = cost, begin
    cuts = []
    end = count
    while end:
        cuts.append((cut_from[end], end - 1))
        end = cut_from[end]
    return cuts[::-1]


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
        between = text[previous.end : draft.start].strip()
        tokens = previous.tokens + draft.tokens + (count_tokens(between) if between else 0)
        if waits or tokens > max_tokens:
            merged.append(draft)
        else:
            place = _joined_place([previous.place, draft.place])
            merged[-1] = replace(previous, end=draft.end, tokens=tokens, place=place)
    return merged


def _may_join(first: _Draft, second: _Draft) -> bool:
    same_place = replace(first.place, rows=None) == replace(second.place, rows=None)
    return same_place and not first.alone and not second.alone and first.heading[:1] == second.heading[:1]


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


def _line_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    spans = []
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        span = stripped(text, start, stop)
        if span[0] < span[1]:
            spans.append(span)
        start = stop + 1
    return spans
