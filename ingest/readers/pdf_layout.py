"""Lines of PDF pages to paragraphs: running headers and page numbers dropped, wrapped lines joined. Knows no PDF."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from ingest.readers.headings import article, division

Lines = list[str]

_EDGE_LINES = 2  # a header or footer stands in the first or last two lines of a page
_REPEATED_PAGES = 3
_MAX_RUNNING_CHARS = 120
_MIN_COUNTING_LETTERS = 8  # "Chapter 1", "Chapter 2", one a page, are titles and no running lines
_NUMBER = re.compile(r"\d{1,5}")
_PAGE_NUMBER = re.compile(
    r"[-–—|\s]{0,6}(?:page|p\.|제)?\s{0,3}(\d{1,5}|(?-i:[ivxl]{1,7}))\s{0,3}(?:(?:/|of)\s{0,3}\d{1,5})?\s{0,3}(?:쪽|페이지|면)?[-–—|\s]{0,6}",
    re.IGNORECASE,
)
_LIST_START = re.compile(
    r"\s{0,40}(?:[-*•·▪◦○●■□▶※◆] |[•▪○●■□▶※◆①-⑳]|\d{1,3}[.)] |\(\d{1,3}\) |[가-하][.)] |[A-Za-z]\) )"
)
_SENTENCE_END = re.compile(r"[.!?…。:;][\"'”’)\]」』》]{0,3}$")
_HYPHENATED = re.compile(r"(?<![-\d])\b[A-Za-z]{2,30}-$")
_NUMERIC_CELL = re.compile(r"[-–—]|[($₩€£+-]*\d[\d,.]*[)%]*")


def without_running_lines(pages: Sequence[Lines]) -> list[Lines]:
    """Pages without lines that repeat at the same edge of three or more pages, and without page numbers.

    A number in a repeated line may count along with the pages ("- 3 -", "2 / 10"); "합계 1,200" does not repeat.
    """
    seen: dict[tuple, set[int]] = defaultdict(set)
    for number, lines in enumerate(pages):
        for edge, line in _edges(lines):
            for key in _keys(edge, line, number):
                seen[key].add(number)
    kept = []
    for number, lines in enumerate(pages):
        drop = {
            position
            for position, (edge, line) in _edge_positions(lines)
            if _is_page_number(line, number)
            or any(len(seen[key]) >= _REPEATED_PAGES for key in _keys(edge, line, number))
        }
        kept.append([line for position, line in enumerate(lines) if position not in drop])
    return kept


def _edge_positions(lines: Lines) -> list[tuple[int, tuple[str, str]]]:
    filled = [position for position, line in enumerate(lines) if line.strip()]
    top = [(position, ("top", lines[position])) for position in filled[:_EDGE_LINES]]
    bottom = [(position, ("bottom", lines[position])) for position in filled[-_EDGE_LINES:]]
    return top + bottom


def _edges(lines: Lines) -> list[tuple[str, str]]:
    return [edge_and_line for _, edge_and_line in _edge_positions(lines)]


def _keys(edge: str, line: str, page: int) -> list[tuple]:
    """What makes a line "the same" on another page: its words, or its words around a number that counts the pages."""
    line = " ".join(line.split())
    if len(line) > _MAX_RUNNING_CHARS:
        return []
    keys: list[tuple] = [(edge, line)]
    if sum(char.isalpha() for char in line) < _MIN_COUNTING_LETTERS:
        return keys
    for match in _NUMBER.finditer(line):
        keys.append((edge, line[: match.start()], line[match.end() :], int(match.group()) - page))
    return keys


def _is_page_number(line: str, page: int) -> bool:
    match = _PAGE_NUMBER.fullmatch(line.strip())
    if not match:
        return False
    number = match.group(1)
    decorated = number != line.strip()
    return decorated or not number.isdigit() or int(number) == page + 1


def paragraphs(lines: Lines, *, inside_words: bool, titles: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """(kind, text) of the paragraphs, lists and tables in `lines`; kind "heading" for lines among `titles`.

    `inside_words`: see `wraps_inside_words`. `titles` are compared without white space.
    """
    width = _usual_width(lines)
    result: list[tuple[str, str]] = []
    previous = ""
    for line in lines:
        if not line.strip():
            previous = ""
            continue
        kind = _kind(line, titles)
        if previous and result and _joins(previous, line, result[-1][0], kind, width):
            separator = "\n" if kind in ("table", "list") else _joint(previous, line, inside_words=inside_words)
            text = result[-1][1]
            if separator == "-":
                text, separator = text[:-1], ""
            result[-1] = (result[-1][0], text + separator + line.strip())
        else:
            result.append((kind, line.strip()))
        previous = line
    return result


def wraps_inside_words(pages: Sequence[Lines]) -> bool:
    """True if lines of Korean are wrapped between any two syllables and keep the space where they happen to have one.

    Then about half the wrapped lines end with a space. Wrapped at words, nearly all or none do: one in thirty lines
    of a PDF from LibreOffice lost it.
    """
    wrapped = spaced = 0
    for lines in pages:
        width = _usual_width(lines)
        for line, following in pairwise(lines):
            last = line.rstrip()[-1:]
            if last and _is_cjk(last) and _is_cjk(following[:1] or " ") and _width(line.rstrip()) > 0.8 * width:
                wrapped += 1
                spaced += line[-1].isspace()
    return wrapped >= 5 and 0.1 * wrapped < spaced < 0.85 * wrapped


def continues_overleaf(last_line: str, lines: Lines, first_line: str) -> bool:
    """True if the sentence that `lines` end with, in `last_line`, goes on with the next page's `first_line`."""
    first_line = first_line.lstrip()
    if _SENTENCE_END.search(last_line.rstrip()) or _kind(last_line, frozenset()) in ("table", "heading"):
        return False
    if _kind(first_line, frozenset()) != "paragraph" or article(first_line):
        return False
    return _width(last_line.rstrip()) > 0.6 * _usual_width(lines) and not first_line[:1].isupper()


def squeezed(title: str) -> str:
    """`title` without white space, for comparing: PDFs space Korean and Latin apart in their own ways."""
    return "".join(title.split())


def _kind(line: str, titles: frozenset[str]) -> str:
    if squeezed(line) in titles or division(line):
        return "heading"
    cells = line.split()
    if len(cells) >= 3 and 2 * sum(bool(_NUMERIC_CELL.fullmatch(cell)) for cell in cells[1:]) >= len(cells) - 1:
        return "table"
    return "list" if _LIST_START.match(line) else "paragraph"


def _joins(previous: str, line: str, open_kind: str, kind: str, width: int) -> bool:
    """True if `line` goes on with the block whose last line is `previous`."""
    if "heading" in (open_kind, kind):
        return False
    if "table" in (open_kind, kind):
        return open_kind == kind
    if kind == "list" or article(line.lstrip()):
        return kind == open_kind == "list"
    before = previous.rstrip()
    if _SENTENCE_END.search(before) or before.endswith(("다", "요", "음", "함", "됨", "임")):
        return _width(before) > 0.85 * width and not before.endswith(":")
    # A line much shorter than the others was not wrapped: it is a title or the last of its paragraph.
    return _width(before) > 0.6 * width


def _joint(previous: str, line: str, *, inside_words: bool) -> str:
    """What stands between two joined lines: a space, nothing inside a Korean word, "-" to take a hyphen out."""
    if _HYPHENATED.search(previous[-40:]) and line.lstrip()[:1].islower():
        return "-"
    if previous[-1].isspace() or line[0].isspace() or not inside_words:
        return " "
    return "" if _is_cjk(line[0]) and (_is_cjk(previous[-1]) or previous[-1].isdigit()) else " "


def _usual_width(lines: Lines) -> int:
    widths = sorted(_width(line.strip()) for line in lines)
    return widths[int(0.9 * (len(widths) - 1))] if widths else 0


def _width(line: str) -> int:
    """Width in Latin letters; Hangul and Han are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


def _is_cjk(char: str) -> bool:
    return "가" <= char <= "힣" or "一" <= char <= "鿿"
