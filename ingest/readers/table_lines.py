"""Rows of cells to lines as the HTML reader writes them ("| a | b |"), with a rule under names of columns. No formats."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[-+(△▲]?[₩$€£]? ?\d[\d,.]*\)? ?[%원]?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_MAX_NAME_CHARS = 40


def table_lines(rows: Sequence[Sequence[str]], *, header: bool | None = None) -> str:
    """Text of a table. `header`: whether its first row names the columns; None: judge by the cells."""
    cells = [[" ".join(cell.split()).replace("|", "/") for cell in row] for row in rows]
    cells = [row for row in cells if any(row)]
    if not cells:
        return ""
    if header is None:
        header = looks_like_header(cells)
    lines = [f"| {' | '.join(row)} |" for row in cells]
    if header and len(cells) > 1:
        lines.insert(1, "|" + " --- |" * len(cells[0]))
    return "\n".join(lines)


def looks_like_header(rows: Sequence[Sequence[str]]) -> bool:
    """True if the first row's cells are names: filled, short, different, and words where numbers stand below.

    Two columns of words are left alone: "name | Kim" above "team | sales" names no columns.
    """
    if len(rows) < 2 or len(rows[0]) < 2:
        return False
    first = rows[0]
    names = first[1:] if not first[0] else first  # the corner may be blank
    if len(set(names)) != len(names) or not all(0 < len(name) <= _MAX_NAME_CHARS for name in names):
        return False
    if any(is_number(name) for name in names):
        return False
    below = [cell for row in rows[1:] for cell in row]
    return len(first) > 2 or any(is_number(cell) for cell in below)


def is_number(text: str) -> bool:
    """True for amounts; a year may name a column."""
    return bool(_NUMBER.fullmatch(text)) and not _YEAR.fullmatch(text)
