"""Tables without rules: rows of short cells in columns that line up. Knows no PDF library.

Only what cannot be prose counts: at least three columns, empty strips between them that run through at least three
rows, and either a column of numbers or very short cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ingest.readers.pdf_model import Segment
from ingest.readers.table_lines import is_number

_MIN_ROWS = 3
_MIN_COLUMNS = 3
_STRIP_EMS = 0.8
_MAX_MEAN_CHARS = 22
_SHORT_CHARS = 12
_MAX_PITCHES = 2.6
_MAX_CELLS = 40

Row = list[Segment]
Span = tuple[float, float]


def with_aligned_tables(rows: Sequence[Row]) -> list[Row]:
    """The rows, runs of them that are a table replaced by one segment that holds its cells."""
    result: list[Row] = []
    start = 0
    while start < len(rows):
        run, spans = _run(rows, start)
        cells = _cells(run, spans)
        if cells and _is_table(cells):
            result.append([_as_segment(run, cells)])
            start += len(run)
        else:
            result.append(list(rows[start]))
            start += 1
    return result


def _run(rows: Sequence[Row], start: int) -> tuple[list[Row], list[Span]]:
    """The rows from `start` on that share their columns, and where those are."""
    spans: list[Span] = []
    taken: list[Row] = []
    for index in range(start, len(rows)):
        row = rows[index]
        if not _MIN_COLUMNS - 1 <= len(row) <= _MAX_CELLS or any(segment.rows for segment in row):
            return taken, spans
        if index == start and len(row) < _MIN_COLUMNS:
            return taken, spans
        if index > start and row[0].middle - rows[index - 1][0].middle > _MAX_PITCHES * row[0].size:
            return taken, spans
        if len(spans) == len(row) + 1 and index >= start + _MIN_ROWS:
            row = _cut(row, spans)
        wider = _merged([*spans, *((s.x0, s.x1) for s in row)], _STRIP_EMS * row[0].size)
        if len(wider) < max(_MIN_COLUMNS, len(spans)) or _doubled(row, wider):
            return taken, spans
        spans = wider
        taken.append(row)
    return taken, spans


def _cut(row: Row, spans: Sequence[Span]) -> Row:
    """The row with the one segment cut that runs over two columns, where a wide word stands close to the next one."""
    for index, segment in enumerate(row):
        for left, right in pairwise(spans):
            if segment.x0 < left[1] and segment.x1 > right[0]:
                parts = segment.cut_at(right[0] - 1)
                return [*row[:index], *parts, *row[index + 1 :]]
    return row


def _merged(spans: Sequence[Span], strip: float) -> list[Span]:
    result: list[Span] = []
    for left, right in sorted(spans):
        if result and left - result[-1][1] < strip:
            result[-1] = (result[-1][0], max(result[-1][1], right))
        else:
            result.append((left, right))
    return result


def _doubled(row: Row, spans: Sequence[Span]) -> bool:
    columns = [_column(segment, spans) for segment in row]
    return len(set(columns)) != len(columns)


def _column(segment: Segment, spans: Sequence[Span]) -> int:
    return next(index for index, (left, right) in enumerate(spans) if left <= segment.x0 <= right)


def _cells(rows: Sequence[Row], spans: Sequence[Span]) -> list[list[str]]:
    cells = []
    for row in rows:
        line = [""] * len(spans)
        for segment in row:
            line[_column(segment, spans)] = segment.text.strip()
        cells.append(line)
    return cells


def _is_table(cells: Sequence[Sequence[str]]) -> bool:
    filled = [cell for row in cells for cell in row if cell]
    if len(cells) < _MIN_ROWS or len(filled) < 0.7 * len(cells) * len(cells[0]):
        return False
    if sum(map(len, filled)) > _MAX_MEAN_CHARS * len(filled):
        return False
    numbers = max(sum(is_number(row[column]) for row in cells[1:]) for column in range(1, len(cells[0])))
    return 2 * numbers >= len(cells) - 1 or max(map(len, filled)) <= _SHORT_CHARS


def _as_segment(rows: Sequence[Row], cells: Sequence[Sequence[str]]) -> Segment:
    every = [segment for row in rows for segment in row]
    return Segment(
        "",
        min(s.x0 for s in every),
        min(s.top for s in every),
        max(s.x1 for s in every),
        max(s.bottom for s in every),
        min(s.size for s in every),
        "".join(sorted({mark for segment in every for mark in segment.edge})),
        tuple(map(tuple, cells)),
    )
