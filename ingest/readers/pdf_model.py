"""Pieces of a PDF page on their way to text: segments with boxes, rules, lines, tables. Knows no PDF library.

Coordinates are points (1/72 inch) on the page as it is read: x to the right, y downwards, whatever way it is turned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Segment:
    """Characters that stand side by side on one line; or, with `rows`, a whole table."""

    text: str
    x0: float
    top: float
    x1: float
    bottom: float
    size: float
    edge: str = ""  # "t" or "b": in one of the first or last two rows of the page, where running lines stand
    rows: tuple[tuple[str, ...], ...] = ()
    gaps: tuple[tuple[int, float, float], ...] = ()  # where in the text a space stands, and from where to where on x

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    def cut_at(self, x: float) -> tuple[Segment, ...]:
        """The segment as two if a space of it stands around `x`."""
        for index, (at, left, right) in enumerate(self.gaps):
            if left - 1 <= x <= right + 1:
                before = replace(self, text=self.text[:at], x1=left, gaps=self.gaps[:index])
                moved = tuple((place - at - 1, start, end) for place, start, end in self.gaps[index + 1 :])
                return before, replace(self, text=self.text[at + 1 :], x0=right, gaps=moved)
        return (self,)


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight drawn line: at `at` (y if it is level, x if upright) from `start` to `end`."""

    at: float
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text as the page shows it.

    `reach`: how far to the right of its column it ends, 0 to 1. `pitch`: its distance from the line above, in the
    page's usual distances; 0 for the first of a column. `size`: of its smallest letters, in points; 0: unknown.
    """

    text: str
    reach: float = 1.0
    pitch: float = 1.0
    size: float = 0.0
    edge: str = ""
    rows: tuple[tuple[str, ...], ...] = ()

    def to_json(self) -> list[Any]:
        return [self.text, round(self.reach, 3), round(self.pitch, 3), round(self.size, 2), self.edge, self.rows]

    @classmethod
    def from_json(cls, values: list[Any]) -> Line:
        text, reach, pitch, size, edge, rows = values
        return cls(text, reach, pitch, size, edge, tuple(tuple(row) for row in rows))
