"""Word documents (.docx): headings, paragraphs, lists, tables and footnotes under their heading path; no pages.

Knows no XML: `docx_child` reads it under limits. It walks the XML itself because python-docx, whose
`paragraph.text` is the usual way, leaves out tracked insertions, text boxes, footnotes and list numbers, and refuses
documents with one broken link.
"""

from __future__ import annotations

from ingest.readers.office import build_flow, office_records
from knowledge.types import ParsedDocument


def read_docx(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encrypted", "no_text", "damaged", "too_large", "unsupported")."""
    return build_flow(office_records(data, name=name, kind="docx"), name=name)
