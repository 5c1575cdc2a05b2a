"""PDF: text by pages, parsed in a process of its own. Knows pypdf only through what `pdf_child` prints."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingest.readers.builder import DocumentBuilder
from ingest.readers.decoding import clean
from ingest.readers.headings import article, division
from ingest.readers.pdf_layout import paragraphs, squeezed, without_running_lines
from ingest.readers.sandbox import Record, run_parser
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument, Place

_JUNK_TITLE = re.compile(
    r"(?:microsoft (?:word|powerpoint|excel)\b|untitled|제목 ?없음|무제|document\d*$|문서 ?\d*$|.*\.\w{2,5}$)", re.I
)
_MIN_WRAPPED_AT_SPACE = 0.2
_COUNTER = "개월|년도|년|월|일|조|항|호|장|절|시간|시|분|초|원|개|회|명|차|주|세|배|위|점|쪽"
_NUMBER_APART = re.compile(rf"(?<=\d) (?=(?:{_COUNTER}))")
_NUMBER_GLUED = re.compile(r"\d[가-힣]")
_MIN_APART = 5


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
    trailing_spaces = _keeps_trailing_spaces(lines)
    for number, page_lines in enumerate(lines):
        _add_page(builder, page_lines, number, outline.get(number, {}), trailing_spaces=trailing_spaces)
    return builder.build(name=name, titles=(_sensible_title(records), builder.first_top_heading))


def _add_page(
    builder: DocumentBuilder, lines: list[str], number: int, titles: dict[str, int], *, trailing_spaces: bool
) -> None:
    place = Place(page=number + 1)
    for kind, text in paragraphs(lines, trailing_spaces=trailing_spaces, titles=frozenset(titles)):
        if kind == "heading":
            builder.heading(titles.get(squeezed(text)) or division(text) or 1, text, place=place)
            continue
        opened = article(text)
        if opened:
            builder.heading(*opened, in_text=False)
        builder.block(text, kind=kind, place=place)


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


def _keeps_trailing_spaces(pages: list[list[str]]) -> bool:
    lines = [line for page in pages for line in page if line.strip()]
    return sum(line[-1].isspace() for line in lines) > _MIN_WRAPPED_AT_SPACE * len(lines)


def _sensible_title(records: Sequence[Record]) -> str | None:
    title = next((clean(record["title"]).strip() for record in records if "title" in record), "")
    return None if _JUNK_TITLE.match(title) or "\ufffd" in title else title
