"""Table cells with spans to lines of "| a | b |", as the HTML reader writes tables. Knows no formats."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.readers.hwp_model import Cell
from ingest.readers.table_lines import looks_like_header

_MAX_REPEATED_CHARS = 60
_MAX_AREA_PER_CELL = 8


def grid_lines(cells: Sequence[Cell], words: Sequence[str]) -> list[str]:
    """Lines of the table whose cell i holds `words[i]`; a line after the first row if that is a header.

    Short words of a cell that spans rows stand in each of them, so that a row found alone says what it belongs to.
    """
    rows = sorted({cell.row for cell in cells})
    columns = sorted({cell.column for cell in cells})
    row_at = {row: index for index, row in enumerate(rows)}
    column_at = {column: index for index, column in enumerate(columns)}
    grid: list[dict[int, str]] = [{} for _ in rows]
    for cell, text in zip(cells, words, strict=True):
        line = grid[row_at[cell.row]]
        column = column_at[cell.column]
        line[column] = f"{line[column]} {text}".strip() if column in line else text
    own = [len(line) if any(line.values()) else 0 for line in grid]
    if len(rows) * len(columns) <= _MAX_AREA_PER_CELL * len(cells) + 64:
        _repeat(cells, words, grid, row_at, column_at)
    lines = []
    header_rows = {cell.row for cell in cells if cell.is_header} or _unmarked_header(grid, own, rows, len(columns))
    for index, line in enumerate(grid):
        if not own[index]:
            continue
        # A form's hidden grid has far more columns than any of its rows has cells: blanks for them would say nothing.
        width = range(len(columns)) if 2 * own[index] >= len(columns) else sorted(line)
        texts = [line.get(column, "").replace("|", "/") for column in width]
        lines.append(f"| {' | '.join(texts)} |")
        if len(lines) == 1 and rows[index] in header_rows:
            lines.append("|" + " --- |" * len(texts))
    return lines if len(lines) != 2 or not lines[1].startswith("| ---") else lines[:1]


def _unmarked_header(grid: Sequence[dict[int, str]], own: Sequence[int], rows: Sequence[int], width: int) -> set[int]:
    """The first row, if it names columns by the look of it; most documents mark no header. Forms do not fill a grid."""
    shown = [(row, line) for row, line, count in zip(rows, grid, own, strict=True) if count]
    if any(len(line) != width for _, line in shown):
        return set()
    cells = [[line[column] for column in range(width)] for _, line in shown]
    return {shown[0][0]} if looks_like_header(cells) else set()


def _repeat(
    cells: Sequence[Cell],
    words: Sequence[str],
    grid: list[dict[int, str]],
    row_at: dict[int, int],
    column_at: dict[int, int],
) -> None:
    """Put short words of cells into the rows below that they span, where nothing else stands."""
    for cell, text in zip(cells, words, strict=True):
        if cell.rows < 2 or not text or len(text) > _MAX_REPEATED_CHARS:
            continue
        for row, index in row_at.items():
            if cell.row < row < cell.row + cell.rows:
                grid[index].setdefault(column_at[cell.column], text)
