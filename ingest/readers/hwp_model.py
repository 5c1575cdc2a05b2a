"""What both HWP formats hold, as values: paragraphs, tables, boxes and the styles they refer to.

Knows neither of the two formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from ingest.readers.parsing import Refused

MAX_NESTING = 24  # lists inside lists: a table in a table counts one; people stop at four or five


class Unreadable(Refused):
    """The file cannot be read. `reason` as in ReadFailed; `what` says what was wrong, without the file's name."""


def naming_problems(
    records: Callable[[bytes], Iterator[dict[str, Any]]],
) -> Callable[[bytes], Iterator[dict[str, Any]]]:
    """`records` that ends with {"problem": reason, "what": …} where it raised Unreadable."""

    @wraps(records)
    def named(data: bytes) -> Iterator[dict[str, Any]]:
        try:
            yield from records(data)
        except Unreadable as failed:
            yield {"problem": failed.reason, "what": failed.what}

    return named


@dataclass(frozen=True, slots=True)
class Shape:
    """What stands before a paragraph. `head`: "", "outline", "number" or "bullet"; `level` counts from 0."""

    head: str = ""
    level: int = 0
    ref: int = 0  # id of the numbering or bullet


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a numbering: "제^1조" with `number_format` DIGIT gives 제1조, 제2조, …"""

    pattern: str
    number_format: str = "DIGIT"
    start: int = 1


@dataclass(frozen=True, slots=True)
class Styles:
    """The document's tables of paragraph shapes, style names (Korean, English), numberings and bullets, by id."""

    shapes: Mapping[int, Shape] = field(default_factory=dict)
    names: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    numberings: Mapping[int, tuple[Level, ...]] = field(default_factory=dict)
    bullets: Mapping[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Paragraph:
    """Words, tables and boxes in the order in which they are anchored; `notes` are its footnotes and endnotes."""

    shape: int = -1
    style: int = -1
    outline: int | None = None  # numbering that the section opening here uses for outlines
    parts: list[str | Table | Box] = field(default_factory=list)
    notes: list[list[Paragraph]] = field(default_factory=list)


@dataclass(slots=True)
class Cell:
    row: int
    column: int
    rows: int
    columns: int
    is_header: bool
    paragraphs: list[Paragraph]


@dataclass(slots=True)
class Table:
    cells: list[Cell]
    caption: list[Paragraph] = field(default_factory=list)


@dataclass(slots=True)
class Box:
    """A text box, or the caption of a picture."""

    paragraphs: list[Paragraph]
