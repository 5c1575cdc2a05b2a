"""Lines, tables and bookmarks of a PDF, page by page, for `sandbox`.

PDFium reads it, which Chrome uses. Measured against pypdf 7.1 on PDFs from LibreOffice, in Korean and English: it
tells spaces that are in the file from gaps, gives each character's place (columns and tables need it), says which
characters a font gives no meaning to, and with all that is 1.5 to 4 times as fast as pypdf with text alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

from ingest.readers.parsing import Refused
from ingest.readers.pdf_columns import page_lines
from ingest.readers.pdf_edges import with_edges
from ingest.readers.pdf_glyphs import page_glyphs
from ingest.readers.pdf_grid import take_tables
from ingest.readers.pdf_model import Line
from ingest.readers.pdf_rules import page_rules

_MAX_OUTLINE = 2000
_MAX_OUTLINE_DEPTH = 6
_MAX_STEPS = 180  # half a second each, on top of the 30 s that every file has: two minutes for a file
_TAIL_BYTES = 256 * 1024
_LINEARIZED = re.compile(rb"/Linearized\b[^>]{0,200}?/L\s{0,4}(\d{1,12})")
_FEW_CHARS = 30  # a stamp or a page number on a scanned page
_SCAN_SHARE = 0.5


def _is_cut_off(data: bytes) -> bool:
    """True if the end of the file is missing. PDFium would read what is left and say nothing."""
    linearized = _LINEARIZED.search(data[:2048])
    if linearized and len(data) < int(linearized.group(1)):
        return True
    return b"%%EOF" not in data[-_TAIL_BYTES:] and b"startxref" not in data[-_TAIL_BYTES:]


def _outline(document: pypdfium2.PdfDocument) -> list[tuple[int, str, int]]:
    """Bookmarks as (depth from 1, title, page from 0)."""
    found = []
    try:
        for bookmark in islice(document.get_toc(max_depth=_MAX_OUTLINE_DEPTH), _MAX_OUTLINE):
            target = bookmark.get_dest()
            page = target.get_index() if target else None
            title = bookmark.get_title()
            if title and page is not None:
                found.append((bookmark.level + 1, title, page))
    except Exception:  # noqa: BLE001 - bookmarks are a help only; broken ones raise many types
        return []
    return found


def _load(document: pypdfium2.PdfDocument, index: int) -> pypdfium2.PdfPage:
    """The page, with the words that were filled into its form."""
    page = document[index]
    if pdfium.FPDFPage_GetAnnotCount(page) and document.get_formtype():
        flat = pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY)
        if flat == pdfium.FLATTEN_SUCCESS:
            page.close()
            page = document[index]
    return page


def _page(document: pypdfium2.PdfDocument, index: int) -> dict[str, Any]:
    page = _load(document, index)
    text_page = page.get_textpage()
    try:
        glyphs = page_glyphs(text_page)
        chars = sum(len(segment.text) for segment in (*glyphs.segments, *glyphs.other))
        if glyphs.garbage:
            return {"page": index + 1, "lines": [], "scan": True, "garbage": True}
        scan = pdfium.FPDFPage_CountObjects(page) > 0 if not chars else chars < _FEW_CHARS and _is_picture(page)
        segments = with_edges(glyphs.segments)
        if chars:
            segments = take_tables(segments, *page_rules(page, quarter=glyphs.quarter))
        lines = page_lines(segments)
        lines.extend(Line(segment.text, pitch=9.0) for segment in glyphs.other)
        return {"page": index + 1, "lines": [line.to_json() for line in lines], "scan": bool(scan)}
    finally:
        text_page.close()
        page.close()


def _is_picture(page: pypdfium2.PdfPage) -> bool:
    """True if one image covers most of the page."""
    area = page.get_width() * page.get_height()
    for item in islice(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=2), 50):
        left, bottom, right, top = item.get_bounds()
        if (right - left) * (top - bottom) > _SCAN_SHARE * area:
            return True
    return False


def records(data: bytes) -> Iterator[dict[str, Any]]:
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as exc:
        locked = exc.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY)
        raise Refused("encrypted" if locked else "damaged") from exc
    with document:
        yield from _pieces(document, data)


def _pieces(document: pypdfium2.PdfDocument, data: bytes) -> Iterator[dict[str, Any]]:
    count = len(document)
    if _is_cut_off(data) or count == 0:
        raise Refused("damaged")
    yield {"steps": min(count, _MAX_STEPS)}
    yield {"title": document.get_metadata_value("Title")}
    if document.get_formtype():
        document.init_forms()
    broken = 0
    for index in range(count):
        try:
            yield _page(document, index)
        except pypdfium2.PdfiumError:  # one broken page does not lose the others
            broken += 1
            yield {"page": index + 1, "lines": [], "scan": False}
    if broken == count:
        raise Refused("damaged")
    yield {"outline": _outline(document)}
