"""Presentations (.pptx): one section a slide, headed by its title, with text, tables, diagrams and speaker's notes.

Knows no XML: `pptx_child` reads it under limits. It walks the XML itself because python-pptx leaves out
diagrams (SmartArt) and alternative content, and refuses presentations with one broken link.
"""

from __future__ import annotations

from ingest.readers.office import build_slides, office_records
from knowledge.types import ParsedDocument


def read_pptx(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encrypted", "no_text", "damaged", "too_large", "unsupported")."""
    return build_slides(office_records(data, name=name, kind="pptx"), name=name)
