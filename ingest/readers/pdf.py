"""PDF: text by pages, parsed in a process of its own. Knows PDFium only through what `pdf_child` prints."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from ingest.readers import ocr
from ingest.readers.builder import DocumentBuilder
from ingest.readers.decoding import clean
from ingest.readers.headings import article, division
from ingest.readers.pdf_joints import Joints
from ingest.readers.pdf_layout import (
    continues_overleaf,
    paragraphs,
    squeezed,
    without_running_lines,
)
from ingest.readers.pdf_model import Line
from ingest.readers.pdf_titles import large_titles, whole_titles
from ingest.readers.sandbox import Record, run_parser
from ingest.readers.table_lines import table_lines
from knowledge.errors import ReadFailed
from knowledge.sentences import sentence_spans
from knowledge.types import ParsedDocument, Place

_JUNK_TITLE = re.compile(
    r"(?:microsoft (?:word|powerpoint|excel)\b|untitled|제목 ?없음|무제|document\d*$|문서 ?\d*$|.*\.\w{2,5}$)", re.I
)
_COUNTER = "번째|개월|년도|년|월|일|조|항|호|장|절|시간|시|분|초|원|개|회|명|차|주|세|배|위|점|쪽"
_NUMBER_APART = re.compile(rf"(?<=\d) (?=(?:{_COUNTER}))|(?<=\b제) (?=\d)")
_NUMBER_GLUED = re.compile(r"\d[가-힣]")
_MIN_APART = 5
_MAX_OVERLEAF_LINES = 6

Pages = list[list[Line]]


def read_pdf(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encrypted", "no_text", "empty", "damaged", "too_large")."""
    began = time.monotonic()
    records = run_parser("pdf_child", data, name=name)
    found = [record for record in records if "page" in record]
    pages = _close_numbers(_with_recognised(data, found, name=name, spent_s=time.monotonic() - began))
    pages = _without_running_lines(pages)
    large = large_titles(pages)
    titles = _outline(records) or large
    joints = Joints(pages)
    builder = DocumentBuilder()
    for number, lines in enumerate(_whole_sentences(pages)):
        _add_page(builder, lines, number, titles.get(number, {}), joints=joints)
    return builder.build(
        name=name, titles=(_sensible_title(records), _front_title(pages, large), builder.first_top_heading)
    )


def _with_recognised(data: bytes, records: Sequence[Record], *, name: str, spent_s: float) -> Pages:
    """Lines of the pages; those of scanned pages by text recognition, if it is installed and has to be used.

    Where it cannot do all of them, a file that is nothing but scans is refused; of others, the rest is read.
    """
    pages = [_lines(record) for record in records]
    has_text = _any_text([page for page, record in zip(pages, records, strict=True) if not record["scan"]])
    scans = [record["page"] for record in records if record["scan"]]
    program = ocr.find_tesseract() if scans else None
    if program:
        recognised, failure = ocr.recognise(data, pages=scans, program=program, name=name, spent_s=spent_s)
        if failure and not has_text:
            raise failure
        for record in recognised:
            pages[record["page"] - 1] = _lines(record) or pages[record["page"] - 1]
    if not _any_text(pages):
        raise _no_text(records, name=name, recognised=program is not None)
    return pages


def _any_text(pages: Pages) -> bool:
    return any(line.text.strip() or line.rows for page in pages for line in page)


def _without_running_lines(pages: Pages) -> Pages:
    kept = without_running_lines(pages)
    # Where every page says the same, that is the text.
    return kept if any(kept) else pages


def _lines(record: Record) -> list[Line]:
    lines = (Line.from_json(values) for values in record["lines"])
    return [
        replace(
            line,
            text=clean(line.text).replace("\n", " "),
            rows=tuple(tuple(clean(cell) for cell in row) for row in line.rows),
        )
        for line in lines
    ]


def _no_text(records: Sequence[Record], *, name: str, recognised: bool) -> ReadFailed:
    count = f"{len(records)} page{'s' * (len(records) != 1)}"
    if not any(record["scan"] for record in records):
        return ReadFailed(
            f"{name} has {count} with nothing on them.",
            reason="empty",
            hint="Remove it, or save it again with content.",
        )
    garbage = any(record.get("garbage") for record in records)
    why = (
        "whose letters have no meaning, because its fonts say nothing about them"
        if garbage
        else "and no text, so it is probably a scan"
    )
    hint = (
        "Text recognition (OCR) found none either: scan it again with a better resolution."
        if recognised
        else f"Run text recognition (OCR) on it first, or {ocr.INSTALL_HINT}, and ingest again."
    )
    return ReadFailed(f"{name} has {count} {why}.", reason="no_text", hint=hint)


def _add_page(
    builder: DocumentBuilder, lines: Sequence[Line], number: int, titles: Mapping[str, int], *, joints: Joints
) -> None:
    place = Place(page=number + 1)
    lines, titles = whole_titles(lines, titles)
    for kind, line in paragraphs(lines, joints=joints, titles=titles.keys()):
        if kind == "cells":
            rows = [[_cell(cell, joints=joints) for cell in row] for row in line.rows]
            builder.block(table_lines(rows), kind="table", place=place)
            continue
        if kind == "heading":
            builder.heading(division(line.text) or titles.get(squeezed(line.text)) or 1, line.text, place=place)
            continue
        opened = article(line.text)
        if opened:
            builder.heading(*opened, in_text=False)
        builder.block(line.text, kind=kind, place=place)


def _front_title(pages: Pages, large: Mapping[int, Mapping[str, int]]) -> str | None:
    """The largest words, if they stand first of all: Word's bookmarks have no title in them."""
    number = next((number for number, lines in enumerate(pages) if lines), 0)
    lines, titles = whole_titles(pages[number], large.get(number, {}))
    first = lines[0].text if lines else ""
    return first if titles.get(squeezed(first)) == 1 else None


def _cell(text: str, *, joints: Joints) -> str:
    first, *others = text.split("\n")
    for line in others:
        first = joints.joined(first, line)
    return first


def _whole_sentences(pages: Pages) -> Pages:
    """Pages where a sentence that goes on overleaf stands whole on the page it begins on."""
    pages = [list(lines) for lines in pages]
    for lines, following in pairwise(pages):
        if not (lines and following) or not continues_overleaf(lines[-1], following[0]):
            continue
        # No further than the paragraph or column goes.
        end_of_part = next((i for i, line in enumerate(following) if i and (line.rows or line.pitch == 0)), None)
        wrapped = following[: min(_MAX_OVERLEAF_LINES, end_of_part or _MAX_OVERLEAF_LINES)]
        rest = "\n".join(line.text for line in wrapped)
        start, end = sentence_spans(rest.replace("\n", " "))[0]
        if end >= len(rest.rstrip()) and len(following) > _MAX_OVERLEAF_LINES:
            continue
        moved = rest[start:end].split("\n")
        lines.extend(replace(line, text=text, pitch=1.0) for line, text in zip(wrapped, moved, strict=False))
        # What is left of a line keeps its reach: it goes on with the line below as before.
        left = rest[end:].split("\n")
        kept = [replace(line, text=text) for line, text in zip(wrapped[-len(left) :], left, strict=True)]
        following[: len(wrapped)] = [line for line in kept if line.text.strip()]
    return pages


def _outline(records: Sequence[Record]) -> dict[int, dict[str, int]]:
    """Page (from 0) → bookmark titles without white space → their depth."""
    pages: dict[int, dict[str, int]] = {}
    for record in records:
        for depth, title, page in record.get("outline", ()):
            pages.setdefault(page, {}).setdefault(squeezed(clean(title)), depth)
    return pages


def _close_numbers(pages: Pages) -> Pages:
    """Undo "15 일" where the PDF sets every number apart from the Hangul after it, as some programs do."""
    texts = [line.text for page in pages for line in page]
    apart = sum(len(_NUMBER_APART.findall(text)) for text in texts)
    glued = sum(len(_NUMBER_GLUED.findall(text)) for text in texts)
    if apart < _MIN_APART or glued * 20 > apart:
        return pages
    return [[replace(line, text=_NUMBER_APART.sub("", line.text)) for line in page] for page in pages]


def _sensible_title(records: Sequence[Record]) -> str | None:
    title = next((clean(record["title"]).strip() for record in records if "title" in record), "")
    return None if _JUNK_TITLE.match(title) or "\ufffd" in title else title
