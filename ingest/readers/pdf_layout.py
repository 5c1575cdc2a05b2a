"""Lines of PDF pages to paragraphs: running headers and page numbers dropped, wrapped lines joined. Knows no PDF."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from ingest.readers.headings import article, division
from ingest.readers.pdf_joints import Joints, is_cjk
from ingest.readers.pdf_model import Line

_REPEATED_PAGES = 3
_MAX_RUNNING_CHARS = 120
_MIN_COUNTING_LETTERS = 8  # "Chapter 1", "Chapter 2", one a page, are titles and no running lines
_WRAPPED_REACH = 0.6  # a line that ends before was not wrapped: it is a title or the last of its paragraph
_FULL_REACH = 0.85
_WIDE_PITCH = 1.35
_PARAGRAPH_PITCH = 1.9
_OTHER_SIZE = 1.15
_NUMBER = re.compile(r"\d{1,5}")
_PAGE_NUMBER = re.compile(
    r"[-–—|\s]{0,6}(?:page|p\.|제)?\s{0,3}(\d{1,5}|(?-i:[ivxl]{1,7}))\s{0,3}(?:(?:/|of)\s{0,3}\d{1,5})?\s{0,3}(?:쪽|페이지|면)?[-–—|\s]{0,6}",
    re.IGNORECASE,
)
_LIST_START = re.compile(
    r"\s{0,40}(?:[-*•·▪◦○●■□▶※◆✓❖] |[•▪○●■□▶※◆①-⑳] ?|\d{1,3}[.)] |\(\d{1,3}\) |[가-하][.)] |[A-Za-z]\) )"
)
_SENTENCE_END = re.compile(r"[.!?…。:;][\"'”’)\]」』》]{0,3}$")
_NUMERIC_CELL = re.compile(r"[-–—]|[($₩€£+-]*\d[\d,.]*[)%]*")


def without_running_lines(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """Pages without lines that repeat at the same edge of three or more pages, and without page numbers.

    A number in a repeated line may count along with the pages ("- 3 -", "2 / 10"); "합계 1,200" does not repeat.
    """
    seen: dict[tuple, set[int]] = defaultdict(set)
    for number, lines in enumerate(pages):
        for line in lines:
            for key in _keys(line, number):
                seen[key].add(number)
    return [
        [
            line
            for line in lines
            if not line.edge
            or line.rows
            or not (
                _is_page_number(line.text, number)
                or any(len(seen[key]) >= _REPEATED_PAGES for key in _keys(line, number))
            )
        ]
        for number, lines in enumerate(pages)
    ]


def _keys(line: Line, page: int) -> list[tuple]:
    """What makes a line "the same" on another page: its words, or its words around a number that counts the pages.

    And its size: the title of a document, which then runs on over its pages in small letters, is no running line.
    """
    words = " ".join(line.text.split())
    if not line.edge or line.rows or len(words) > _MAX_RUNNING_CHARS:
        return []
    keys: list[tuple] = []
    for edge in line.edge:
        keys.append((edge, round(line.size), words))
        if sum(char.isalpha() for char in words) < _MIN_COUNTING_LETTERS:
            continue
        for match in _NUMBER.finditer(words):
            keys.append(
                (edge, round(line.size), words[: match.start()], words[match.end() :], int(match.group()) - page)
            )
    return keys


def _is_page_number(line: str, page: int) -> bool:
    match = _PAGE_NUMBER.fullmatch(line.strip())
    if not match:
        return False
    number = match.group(1)
    decorated = number != line.strip()
    return decorated or not number.isdigit() or int(number) == page + 1


def paragraphs(
    lines: Sequence[Line], *, joints: Joints, titles: Collection[str] = frozenset()
) -> list[tuple[str, Line]]:
    """(kind, text) of the paragraphs, lists and tables in `lines`; kind "heading" for lines among `titles`.

    `titles` are compared without white space. Kind "cells": a table's rows.
    """
    result: list[tuple[str, Line]] = []
    previous: Line | None = None
    for line in lines:
        if line.rows:
            result.append(("cells", line))
            previous = None
            continue
        if not line.text.strip():
            previous = None
            continue
        kind = _kind(line.text, titles)
        if previous and kind == "list" and _ends_inside_word(previous, line):
            kind = "paragraph"
        if previous and result and _joins(previous, line, result[-1][0], kind):
            open_kind, opened = result[-1]
            on_its_own = kind in ("table", "list")
            text = opened.text + "\n" + line.text if on_its_own else joints.joined(opened.text, line.text)
            result[-1] = (open_kind, replace(opened, text=text, reach=line.reach))
        else:
            result.append((kind, replace(line, text=line.text)))
        previous = line
    return [(kind, replace(line, text=_stripped(line.text))) for kind, line in result]


def _ends_inside_word(previous: Line, line: Line) -> bool:
    """True if "다." at the beginning of `line` is the end of "한다." and no fourth item of a list."""
    before = previous.text[-1:]
    return line.text.startswith("다.") and is_cjk(before) and previous.reach > _FULL_REACH


def _stripped(text: str) -> str:
    return "\n".join(line.strip() for line in text.split("\n"))


def continues_overleaf(last: Line, first: Line) -> bool:
    """True if the sentence that a page ends with, in its line `last`, goes on with the next page's line `first`."""
    beginning = first.text.lstrip()
    if first.rows or last.rows or _SENTENCE_END.search(last.text.rstrip()):
        return False
    if _kind(last.text, ()) in ("table", "heading") or _kind(beginning, ()) != "paragraph" or article(beginning):
        return False
    return last.reach > _WRAPPED_REACH and not beginning[:1].isupper() and not _sizes_differ(last, first)


def squeezed(title: str) -> str:
    """`title` without white space, for comparing: PDFs space Korean and Latin apart in their own ways."""
    return "".join(title.split())


def _kind(line: str, titles: Collection[str]) -> str:
    if squeezed(line) in titles or division(line):
        return "heading"
    numeric = [bool(_NUMERIC_CELL.fullmatch(cell)) for cell in line.split()[1:]]
    # Words first, then numbers only: a sentence that holds numbers goes on with words.
    if len(numeric) >= 2 and 2 * sum(numeric) >= len(numeric) and all(numeric[numeric.index(True) :]):
        return "table"
    return "list" if _LIST_START.match(line) else "paragraph"


def _joins(previous: Line, line: Line, open_kind: str, kind: str) -> bool:
    """True if `line` goes on with the block whose last line is `previous`."""
    if "heading" in (open_kind, kind) or open_kind == "cells":
        return False
    if "table" in (open_kind, kind):
        return open_kind == kind
    if kind == "list" or article(line.text.lstrip()):
        return kind == open_kind == "list"
    if _sizes_differ(previous, line) or line.pitch > _PARAGRAPH_PITCH:
        return False
    before = previous.text.rstrip()
    if _SENTENCE_END.search(before) or before.endswith(("다", "요", "음", "함", "됨", "임")):
        return previous.reach > _FULL_REACH and not before.endswith(":") and line.pitch <= _WIDE_PITCH
    return previous.reach > (_FULL_REACH if line.pitch > _WIDE_PITCH else _WRAPPED_REACH)


def _sizes_differ(one: Line, other: Line) -> bool:
    return one.size > 0 and other.size > 0 and not 1 / _OTHER_SIZE < one.size / other.size < _OTHER_SIZE
