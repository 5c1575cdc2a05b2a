"""Tells a gap between two columns of a table from the typography of a line. Knows no PDF library.

A spreadsheet that is printed without rules sets a column of numbers, which end below each other, so close to the words
beside it (0.2 em) as LibreOffice and Word set Hangul apart from digits within a word.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_MIN_ROWS = 3
_MIN_INDENT = 2.0  # points


def number_columns(gaps: Iterable[tuple[float, float, float]]) -> set[int]:
    """Keys of the gaps that end a column of numbers. `gaps`: left and right edge, and where the number before begins."""
    starts: dict[int, list[float]] = {}
    for left, right, start in gaps:
        for key in gap_keys(left, right):
            starts.setdefault(key, []).append(start)
    # In lines of prose that begin with numbers those begin, not end, below each other.
    return {key for key, found in starts.items() if len(found) >= _MIN_ROWS and max(found) - min(found) > _MIN_INDENT}


def gap_keys(left: float, right: float) -> tuple[int, int]:
    """Gaps in the same place share at least one of them; the keys of either kind are of one sign."""
    return math.floor(left + right), -math.floor(left + right + 0.5) - 1
