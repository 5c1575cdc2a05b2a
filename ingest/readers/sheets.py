"""Sheets of a workbook to a document: titles, tables with their column names, and notes. Knows no file format.

A sheet is cut into tables at blank rows; rows keep the numbers that the spreadsheet shows at its left edge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.readers.builder import DocumentBuilder
from ingest.readers.decoding import clean
from ingest.readers.office import no_text, title_of
from ingest.readers.sandbox import Record
from ingest.readers.table import Row, add_rows, is_prose
from ingest.readers.table_lines import is_number
from knowledge.types import ParsedDocument, Place

_MAX_CAPTION_CHARS = 80
_MAX_NAME_CHARS = 60
_UNIT = re.compile(r"[(\[<※*]")  # "(단위: 천원)": a note, no title
_PERIOD = re.compile(r"\d{4}-\d\d(-\d\d)?")


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A row that is not blank. `number`: as the spreadsheet counts, from 1. `sideways`: columns merged into one."""

    number: int
    cells: list[str]
    sideways: tuple[tuple[int, int], ...] = ()

    @property
    def filled(self) -> list[int]:
        return [column for column, cell in enumerate(self.cells) if cell]


def build_sheets(records: Sequence[Record], *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("no_text")."""
    builder = DocumentBuilder()
    sheet, rows, any_rows = "", list[SheetRow](), False
    for record in [*records, {"sheet": ""}]:
        if "sheet" in record:
            if rows:
                _add_sheet(builder, sheet, rows)
            sheet, rows = " ".join(clean(record["sheet"]).split()), []
        elif "row" in record:
            cells = [clean(cell).strip() for cell in record["cells"]]
            if any(cells):
                rows.append(SheetRow(record["row"], cells, tuple(map(tuple, record.get("sideways", ())))))
                any_rows = True
    if not any_rows:
        raise no_text(name, hint="If its cells are formulas, open it in a spreadsheet program and save it again.")
    return builder.build(name=name, titles=(title_of(records),))


def _add_sheet(builder: DocumentBuilder, sheet: str, rows: list[SheetRow]) -> None:
    builder.heading(1, sheet)
    for table in _tables(rows):
        _add_table(builder, sheet, table)


def _tables(rows: Sequence[SheetRow]) -> Iterator[list[SheetRow]]:
    """Runs of rows; a blank row ends one where the next row stands in other columns, as a title or another table does."""
    table: list[SheetRow] = []
    for row in rows:
        if table and row.number > table[-1].number + 1 and not _goes_on(table, row):
            yield table
            table = []
        table.append(row)
    if table:
        yield table


def _goes_on(table: Sequence[SheetRow], row: SheetRow) -> bool:
    """A table left room between its groups of rows: the row fills what the one before filled, with numbers in place."""
    last = table[-1]
    if len(row.filled) < 2 or (row.filled[0], row.filled[-1]) != (last.filled[0], last.filled[-1]):
        return False
    return any(is_number(cell) for cell in row.cells) or not any(is_number(cell) for cell in last.cells)


def _add_table(builder: DocumentBuilder, sheet: str, rows: list[SheetRow]) -> None:
    under: tuple[str, ...] = (sheet,)
    wide = max(len(row.filled) for row in rows) > 1
    while rows and len(rows[0].filled) == 1:
        row, rows = rows[0], rows[1:]
        text, place = row.cells[row.filled[0]], Place(sheet=sheet, rows=(row.number, row.number))
        if wide and len(under) == 1 and len(text) <= _MAX_CAPTION_CHARS and not _UNIT.match(text):
            builder.heading(2, text, place=place)
            under = (sheet, text)
        else:
            builder.block(text, heading=under, place=place)
    if not rows:
        return
    header, data = _header(rows)
    origin: list[Row] = [(row.number, row.cells) for row in data]
    add_rows(builder, origin, header, prose=is_prose(header, origin), sheet=sheet, under=under)


def _header(rows: Sequence[SheetRow]) -> tuple[list[str], Sequence[SheetRow]]:
    """Column names and the rows below them. Names of two rows are put together under a cell merged sideways."""
    if len(rows) < 2 or not _are_names(rows[0], unique=not rows[0].sideways):
        return [], rows
    top = [" ".join(cell.split()) for cell in rows[0].cells]
    for left, right in rows[0].sideways:
        if left < len(top):
            top.extend([""] * (right + 1 - len(top)))
            top[left : right + 1] = [top[left]] * (right + 1 - left)
    if not rows[0].sideways or len(rows) < 3 or not _are_names(rows[1], unique=False):
        return top, rows[1:]
    below = [" ".join(cell.split()) for cell in rows[1].cells]
    width = max(len(top), len(below))
    pairs = zip(top + [""] * (width - len(top)), below + [""] * (width - len(below)), strict=True)
    return [upper if upper == lower else f"{upper} {lower}".strip() for upper, lower in pairs], rows[2:]


def _are_names(row: SheetRow, *, unique: bool) -> bool:
    """True if the cells are short words; years and months may name columns too, if a word stands before them."""
    names = [" ".join(cell.split()) for cell in row.cells if cell]
    if len(names) < 2 or (unique and len(set(names)) != len(names)):
        return False
    if not all(len(name) <= _MAX_NAME_CHARS and not is_number(name) for name in names):
        return False
    return any(not name[:1].isdigit() and not _PERIOD.fullmatch(name) for name in names)
