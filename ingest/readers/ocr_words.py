"""Tesseract's table of words (TSV) to segments of a page. Starts nothing.

Columns: level, page, block, paragraph, line, word, left, top, width, height (pixels), confidence (0 to 100), text.
The table cuts Korean words into syllables; only the plain text, made in the same run, says where spaces stand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import median

from ingest.readers.pdf_model import Segment

_COLUMNS = 12
_MIN_CONFIDENCE = 25.0  # stains and lines of a scan are read as letters with less
_APART_EMS = 0.9
_MAX_WORDS = 50_000
_MAX_SKIPPED = 300  # letters


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    left: float
    top: float
    right: float
    bottom: float
    spaced: bool  # a space stands before it


def word_segments(table: str, plain: str, *, points_per_pixel: float) -> list[Segment]:
    """Words that stand side by side, in points. `plain`: tesseract's text of the same page."""
    lines = _lines(table, plain, points_per_pixel)
    if not lines:
        return []
    em = median(word.bottom - word.top for words in lines for word in words)
    return [segment for words in lines for segment in _segments(words, em)]


def _lines(table: str, plain: str, scale: float) -> list[list[_Word]]:
    rows = [row.split("\t") for row in table.split("\n")[1:_MAX_WORDS]]
    rows = [cells for cells in rows if len(cells) == _COLUMNS and cells[0] == "5" and cells[11].strip()]
    texts = ["".join(cells[11].split()) for cells in rows]
    lines: defaultdict[tuple[str, ...], list[_Word]] = defaultdict(list)
    for cells, text, spaced in zip(rows, texts, _spaces(texts, plain), strict=True):
        try:
            left, top, width, height = (scale * int(cell) for cell in cells[6:10])
            confidence = float(cells[10])
        except ValueError:
            continue
        if confidence >= _MIN_CONFIDENCE:
            lines[tuple(cells[1:5])].append(_Word(text, left, top, left + width, top + height, spaced))
    return list(lines.values())


def _spaces(words: list[str], plain: str) -> list[bool]:
    """Whether a space stands before each of the words, which `plain` holds in the same order."""
    parts = plain.split()
    letters = "".join(parts)
    begins = {0, *accumulate(map(len, parts))}
    result = []
    place = 0
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if not letters.startswith(word, place):
            found = letters.find(word + following, place, place + _MAX_SKIPPED)
            place = found if found >= 0 else place
        known = letters.startswith(word, place)
        result.append(place in begins if known else True)
        place += len(word) if known else 0
    return result


def _segments(words: list[_Word], em: float) -> Iterator[Segment]:
    """Parts of one line. They share its height, so that a slanting scan's words stay on one line."""
    top, bottom = median(word.top for word in words), median(word.bottom for word in words)
    words = sorted(words, key=lambda word: word.left)
    start = 0
    for index in range(1, len(words) + 1):
        if index < len(words) and words[index].left - words[index - 1].right <= _APART_EMS * em:
            continue
        part = words[start:index]
        text = part[0].text
        gaps: list[tuple[int, float, float]] = []
        for word, following in pairwise(part):
            if following.spaced:
                gaps.append((len(text), word.right, following.left))
                text += " "
            text += following.text
        yield Segment(text, part[0].left, top, max(word.right for word in part), bottom, em, gaps=tuple(gaps))
        start = index
