"""Workbooks (.xlsx, .xlsm): every row of the visible sheets with its column names, sheet and row number.

Knows no XML: `xlsx_child` reads it under limits. It walks the XML itself because openpyxl shows values
without their number formats, takes Korean dates for numbers, cannot tell merged cells when it reads row by row, and
refuses workbooks of other programs for styles that do not matter here.
"""

from __future__ import annotations

from ingest.readers.office import office_records
from ingest.readers.sheets import build_sheets
from knowledge.types import ParsedDocument


def read_xlsx(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encrypted", "no_text", "damaged", "too_large", "unsupported")."""
    return build_sheets(office_records(data, name=name, kind="xlsx"), name=name)
