"""Blocks to pieces, which a chunk keeps whole: sentences, table rows, list items, lines of code. Knows no tokenizer.

A piece below the header row of a table carries that row, since a chunk that begins with it is read under it.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from knowledge.sentences import sentence_spans
from knowledge.text_units import Span, stripped
from knowledge.types import Block

CountTokens = Callable[[str], int]
SplitAtTokens = Callable[[str, int], list[tuple[int, int]]]

# Pieces below this share of a chunk are taken together, which bounds the work of finding the best cuts.
_ATOM_SHARE = 1 / 16
# A header row longer than this share of a chunk is not repeated: it would crowd out the rows.
_HEADER_SHARE = 1 / 2
# No prose has as many characters a token. Longer text is cut without counting it whole, and no chunk has more: else
# two words with a megabyte of blank lines between them would be one.
MAX_CHARS_PER_TOKEN = 32
_UNCOUNTED = sys.maxsize
_RULE = re.compile(r"\|(?:[ \t]*:?-{2,}:?[ \t]*\|)*(?:[ \t]*:?-{2,}:?[ \t]*\|?)")
_RULE_AT = (1, 2)  # below the header row, which may stand below a caption


class Header(NamedTuple):
    """The header row of a table."""

    text: str
    tokens: int


class Piece(NamedTuple):
    """A slice of the text that stays in one chunk. `block` counts the blocks of its section.

    `header`: of the table it stands in, if it stands below it. `closes`: what comes after it may not be in its chunk.
    """

    start: int
    end: int
    tokens: int
    block: int
    header: Header | None = None
    closes: bool = False


class PieceCutter:
    """Cuts blocks of one text into pieces of at most `max_tokens`, their header row included."""

    def __init__(self, text: str, count_tokens: CountTokens, split_at_tokens: SplitAtTokens, max_tokens: int) -> None:
        self._text = text
        self._count = count_tokens
        self._split = split_at_tokens
        self._max = max_tokens
        self._max_chars = max_tokens * MAX_CHARS_PER_TOKEN
        self._atom = max(1, int(max_tokens * _ATOM_SHARE))

    def pieces(self, block: Block, number: int) -> list[Piece]:
        """Pieces of one block, which is the `number`th of its section. They hold all of it but white space.

        The rule of a table is left out where it has no room beside the header row.
        """
        if block.kind == "table":
            return self._table(_line_spans(self._text, block.start, block.end), number)
        if block.kind == "code":
            return self._cut(_line_spans(self._text, block.start, block.end), number)
        return self._cut(self._sentences(block.start, block.end), number)

    def _table(self, lines: Sequence[Span], number: int) -> list[Piece]:
        rule = next((at for at in _RULE_AT if at < len(lines) and _RULE.fullmatch(self._text, *lines[at])), None)
        if rule is None:
            return self._cut(lines, number, rows=True)
        row = self._text[slice(*lines[rule - 1])]
        top, end = lines[0][0], lines[rule][1]
        row_tokens, top_tokens = self._counted(*lines[rule - 1], self._max), self._counted(top, end, self._max)
        carried = row_tokens <= self._max * _HEADER_SHARE and any(map(str.isalnum, row))
        below = self._cut(lines[rule + 1 :], number, Header(row, row_tokens) if carried else None, rows=True)
        if top_tokens > self._max:
            above = self._cut(lines[:rule], number, rows=True)
            return [*above[:-1], above[-1]._replace(closes=True), *below]  # the rule is in no chunk
        first = below[0] if below else None
        if first and top_tokens + first.tokens <= self._max and first.end - top <= self._max_chars:
            # A header row alone says nothing: it stays with the first row.
            return [Piece(top, first.end, top_tokens + first.tokens, number, closes=first.closes), *below[1:]]
        return [Piece(top, end, top_tokens, number), *below]

    def _sentences(self, begin: int, stop: int) -> list[Span]:
        spans: list[Span] = []
        for start, end in sentence_spans(self._text[begin:stop]):
            # Without white space between them, two sentences may share a token ("했다.그러나"): count them as one.
            if spans and spans[-1][1] == begin + start:
                spans[-1] = spans[-1][0], begin + end
            else:
                spans.append((begin + start, begin + end))
        return spans

    def _cut(
        self, spans: Sequence[Span], number: int, header: Header | None = None, *, rows: bool = False
    ) -> list[Piece]:
        """Short spans together, long ones cut; `rows` at sentences first."""
        pieces: list[Piece] = []
        room = self._max - (header.tokens if header else 0)
        for start, end in spans:
            tokens = self._counted(start, end, room)
            if tokens > room:
                sentences = self._sentences(start, end) if rows else []
                pieces.extend(
                    self._cut(sentences, number, header)
                    if len(sentences) > 1
                    else self._cut_long(start, end, tokens, number, header)
                )
            elif pieces and pieces[-1].tokens + tokens <= self._atom and end - pieces[-1].start <= self._max_chars:
                last = pieces[-1]
                pieces[-1] = Piece(last.start, end, last.tokens + tokens, number, header)
            else:
                pieces.append(Piece(start, end, tokens, number, header))
        return pieces

    def _cut_long(self, start: int, end: int, tokens: int, number: int, header: Header | None) -> Iterator[Piece]:
        """One sentence longer than a chunk, in about equal parts."""
        text = self._text[start:end]
        room = self._max - (header.tokens if header else 0)
        count = math.ceil(tokens / room)
        size = room if tokens == _UNCOUNTED else math.ceil(tokens / count)
        parts = self._split(text, size)
        if len(parts) > count and size < room:  # a word cut in two has more tokens than in one
            parts = self._split(text, min(room, size + 2))
        for first, last in parts:
            piece_start, piece_end = stripped(self._text, start + first, start + last)
            if piece_start < piece_end:
                # Tokens of a word's parts do not add up to the word's: they are not put together again.
                inside_word = piece_end < end and not self._text[piece_end].isspace()
                part = self._count(self._text[piece_start:piece_end])
                yield Piece(piece_start, piece_end, part, number, header, inside_word)

    def _counted(self, start: int, end: int, room: int) -> int:
        """Tokens of a slice, or `_UNCOUNTED` if it is too long to be of `room` tokens."""
        return _UNCOUNTED if end - start > room * MAX_CHARS_PER_TOKEN else self._count(self._text[start:end])


def _line_spans(text: str, start: int, end: int) -> list[Span]:
    spans = []
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        span = stripped(text, start, stop)
        if span[0] < span[1]:
            spans.append(span)
        start = stop + 1
    return spans
