"""E-books (.epub): the chapters in reading order, with the headings, lists and tables of their HTML.

Knows no HTML or ZIP: `epub_child` reads them under limits, with the standard library and the HTML reader's
own parser, so that a chapter reads like a page from the web.
"""

from __future__ import annotations

from ingest.readers.office import build_flow, office_records
from knowledge.types import ParsedDocument


def read_epub(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encrypted", "no_text", "damaged", "too_large")."""
    return build_flow(office_records(data, name=name, kind="epub"), name=name)
