"""OpenDocument files of LibreOffice and Hancom Office: text (.odt), spreadsheets (.ods) and presentations (.odp).

Knows no XML: `odf_child` reads it under limits, with the standard library alone; no library for these formats that we
found is both maintained and free to use under an MIT licence.
"""

from __future__ import annotations

from ingest.readers.office import build_flow, build_slides, office_records
from ingest.readers.sheets import build_sheets
from knowledge.types import ParsedDocument


def read_odt(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encrypted", "no_text", "damaged", "too_large", "unsupported")."""
    return build_flow(office_records(data, name=name, kind="odt"), name=name)


def read_ods(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encrypted", "no_text", "damaged", "too_large", "unsupported")."""
    return build_sheets(office_records(data, name=name, kind="ods"), name=name)


def read_odp(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encrypted", "no_text", "damaged", "too_large", "unsupported")."""
    return build_slides(office_records(data, name=name, kind="odp"), name=name)
