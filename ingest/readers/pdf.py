"""PDF: text by pages, parsed in a process of its own. Knows pypdf only through what `pdf_child` prints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from ingest.readers.builder import DocumentBuilder
from ingest.readers.decoding import clean
from ingest.readers.headings import article, division
from ingest.readers.pdf_layout import (
    continues_overleaf,
    paragraphs,
    squeezed,
    without_running_lines,
    wraps_inside_words,
)
from ingest.readers.sandbox import Record, run_parser
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


def read_pdf(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encrypted", "no_text", "damaged", "too_large")."""
    records = run_parser("pdf_child.py", data, name=name)
    pages = [clean(record["text"]) for record in records if "page" in record]
    if not any(page.strip() for page in pages):
        raise ReadFailed(
            f"{name} has {len(pages)} page{'s' * (len(pages) != 1)} and no text, so it is probably a scan.",
            reason="no_text",
            hint="Run text recognition (OCR) on it first.",
        )
    outline = _outline(records)
    builder = DocumentBuilder()
    lines = without_running_lines([page.split("\n") for page in _close_numbers(pages)])
    inside_words = wraps_inside_words(lines)
    lines = _whole_sentences(lines)
    for number, page_lines in enumerate(lines):
        _add_page(builder, page_lines, number, outline.get(number, {}), inside_words=inside_words)
    return builder.build(name=name, titles=(_sensible_title(records), builder.first_top_heading))


def _add_page(
    builder: DocumentBuilder, lines: list[str], number: int, titles: dict[str, int], *, inside_words: bool
) -> None:
    place = Place(page=number + 1)
    for kind, text in paragraphs(lines, inside_words=inside_words, titles=frozenset(titles)):
        if kind == "heading":
            builder.heading(titles.get(squeezed(text)) or division(text) or 1, text, place=place)
            continue
        opened = article(text)
        if opened:
            builder.heading(*opened, in_text=False)
        builder.block(text, kind=kind, place=place)


def _whole_sentences(pages: list[list[str]]) -> list[list[str]]:
    """Pages where a sentence that goes on overleaf stands whole on the page it begins on."""
    pages = [[line for line in lines if line.strip()] for lines in pages]
    for lines, following in pairwise(pages):
        if not (lines and following) or not continues_overleaf(lines[-1], lines, following[0]):
            continue
        rest = "\n".join(following[:_MAX_OVERLEAF_LINES])
        start, end = sentence_spans(rest.replace("\n", " "))[0]
        if end < len(rest.rstrip()) or len(following) <= _MAX_OVERLEAF_LINES:
            lines.extend(rest[start:end].split("\n"))
            # What is left of a line is shorter than the others, which would look like the end of a paragraph.
            left, *after = [line for line in rest[end:].split("\n") if line.strip()] or [""]
            joined = [f"{left.strip()} {after[0]}", *after[1:]] if after else [left] if left else []
            following[:_MAX_OVERLEAF_LINES] = joined
    return pages


def _outline(records: Sequence[Record]) -> dict[int, dict[str, int]]:
    """Page (from 0) → bookmark titles without white space → their depth."""
    pages: dict[int, dict[str, int]] = {}
    for record in records:
        for depth, title, page in record.get("outline", ()):
            pages.setdefault(page, {}).setdefault(squeezed(clean(title)), depth)
    return pages


def _close_numbers(pages: list[str]) -> list[str]:
    """Undo "15 일" where the PDF sets every number apart from the Hangul after it, as some programs do."""
    apart = sum(len(_NUMBER_APART.findall(page)) for page in pages)
    glued = sum(len(_NUMBER_GLUED.findall(page)) for page in pages)
    if apart < _MIN_APART or glued * 20 > apart:
        return pages
    return [_NUMBER_APART.sub("", page) for page in pages]


def _sensible_title(records: Sequence[Record]) -> str | None:
    title = next((clean(record["title"]).strip() for record in records if "title" in record), "")
    return None if _JUNK_TITLE.match(title) or "\ufffd" in title else title
