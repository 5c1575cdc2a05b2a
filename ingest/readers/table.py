"""CSV and TSV: every row becomes a block that reads on its own, with its column names. Knows nothing about chunks.

Narrow rows ("month: 2024-01 · price: 201") are blocks of kind "table", which may be put together; rows of prose
("question: …" and "answer: …" on lines) are blocks of kind "row", found under their first value.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from ingest.readers.builder import DocumentBuilder
from ingest.readers.decoding import decode
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument, Place

_DELIMITERS = ",\t;|"
_MAX_ROWS = 2**20  # what a sheet of Excel or LibreOffice holds
_SNIFFED_ROWS = 50
_SNIFFED_CHARS = 65_536
_JUDGED_ROWS = 1000
_PROSE_ROW_CHARS = 80
_PROSE_CELL_CHARS = 30
_NUMBER = re.compile(r"[-+(]?[₩$€£]? ?\d[\d,.]*\)? ?[%원]?")
_SPACES = re.compile(r"\s+")
_BLANK_LINES = re.compile(r"\s*\n\s*")

Row = tuple[int, list[str]]


def read_table(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encoding", "unsupported", "damaged", "empty", "too_large")."""
    text = decode(data, name=name)
    delimiter = _delimiter(text, name)
    # Counted before any is taken up. A cell may hold line ends, so only where there are enough of them.
    if text.count("\n") >= _MAX_ROWS and any(number > _MAX_ROWS for number, _ in _rows(text, delimiter, name)):
        raise ReadFailed(
            f"{name} has more than {_MAX_ROWS:,} rows.",
            reason="too_large",
            hint="Split it: a database answers questions about so many rows better than a search does.",
        )
    rows = _rows(text, delimiter, name)
    first = list(islice(rows, _JUDGED_ROWS))  # the others stay in the file's text until their turn
    if not first:
        raise ReadFailed(f"{name} has no rows.", reason="empty", hint="Remove it, or save it again with content.")
    builder = DocumentBuilder()
    if len(first) > 1 and _filled(first[0]) == 1 and _filled(first[1]) > 2:  # a line above the table that names it
        builder.heading(1, " ".join(first.pop(0)[1]))
    header = _header(first)
    first = first[1:] if header else first
    add_rows(builder, chain(first, rows), header, prose=is_prose(header, first))
    return builder.build(name=name, titles=(builder.first_top_heading,))


def add_rows(
    builder: DocumentBuilder,
    rows: Iterable[Row],
    header: Sequence[str],
    *,
    prose: bool,
    sheet: str | None = None,
    under: tuple[str, ...] = (),
) -> None:
    """Add a block a row. `under`: the headings above rows of prose, which carry their first value as a heading."""
    for number, cells in rows:
        place = Place(sheet=sheet, rows=(number, number))
        pairs = [(_label(header, column), value) for column, value in enumerate(cells) if value.strip()]
        if prose:
            lines = [f"{label}: {_BLANK_LINES.sub(chr(10), value.strip())}" for label, value in pairs]
            builder.block("\n".join(lines), kind="row", place=place, heading=(*under, pairs[0][1]))
        else:
            line = " · ".join(f"{label}: {_SPACES.sub(' ', value.strip())}" for label, value in pairs)
            builder.block(line, kind="table", place=place, separator="\n")


def _delimiter(text: str, name: str) -> str:
    """The mark that cuts the first rows into most, and equally many, cells.

    csv.Sniffer guesses quotes by regular expressions that backtrack without end on hostile input.
    """
    if name.lower().endswith(".tsv"):
        return "\t"
    sample = text[:_SNIFFED_CHARS]

    def fit(delimiter: str) -> tuple[float, int]:
        csv.field_size_limit(sys.maxsize)
        widths = Counter(
            len(row) for row in islice(csv.reader(io.StringIO(sample), delimiter=delimiter), _SNIFFED_ROWS)
        )
        widths.pop(0, None)
        if not widths:
            return 0.0, 0
        width, times = widths.most_common(1)[0]
        return (times / widths.total() if width > 1 else 0.0), width

    return max(_DELIMITERS, key=fit)


def _rows(text: str, delimiter: str, name: str) -> Iterator[Row]:
    """Rows that are not blank, each with the number that a spreadsheet program shows beside it."""
    csv.field_size_limit(sys.maxsize)  # a cell is bounded by the file, which is bounded already
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for number, cells in enumerate(reader, start=1):
            if any(cell.strip() for cell in cells):
                yield number, cells
    except csv.Error as exc:
        raise ReadFailed(
            f"{name} breaks off at line {reader.line_num} ({exc}).", reason="damaged", hint="Save it as CSV again."
        ) from exc


def _header(rows: list[Row]) -> list[str]:
    """Column names. They are words, each once: a first row with a number in it is data."""
    names = [_SPACES.sub(" ", cell).strip() for cell in rows[0][1]]
    filled = [name for name in names if name]
    if len(rows) > 1 and len(set(filled)) == len(filled) and not any(_NUMBER.fullmatch(name) for name in filled):
        return names
    return []


def _filled(row: Row) -> int:
    return sum(bool(cell.strip()) for cell in row[1])


def _label(header: Sequence[str], column: int) -> str:
    return header[column] if column < len(header) and header[column] else f"column {column + 1}"


def is_prose(header: Sequence[str], rows: Sequence[Row]) -> bool:
    """True if rows are long and one column holds sentences; a wide table of numbers is long, but not prose."""
    value_chars: Counter[int] = Counter()
    label_chars = 0
    for _, cells in rows:
        for column, cell in enumerate(cells):
            if cell:
                value_chars[column] += len(cell)
                label_chars += len(_label(header, column)) + 2
    long_rows = value_chars.total() + label_chars > _PROSE_ROW_CHARS * len(rows)
    return long_rows and max(value_chars.values()) > _PROSE_CELL_CHARS * len(rows)
