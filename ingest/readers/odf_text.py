"""Words, lists and cells of OpenDocument XML. Knows no packages and no pages."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from ingest.readers.docx_numbers import number
from ingest.readers.zip_package import attribute, child, children, integer, local

# Deletions, comments, boxes of their own, and the readings above Chinese characters are no part of the words.
_DROPPED = frozenset(
    "tracked-changes annotation annotation-end note frame ruby-text hidden-text sequence-decls".split()
)
_CHARACTERS = {"tab": " ", "line-break": "\n", "s": " "}
_FORMATS = {
    "a": "lowerLetter",
    "A": "upperLetter",
    "i": "lowerRoman",
    "I": "upperRoman",
    "가": "ganada",
    "①": "decimalEnclosedCircle",
}
_MAX_REPEATED = 1000
_MAX_COLUMNS = 16_384
_MAX_DEPTH = 20


def words(element: Element) -> str:
    """The words of a paragraph, footnotes in brackets at its end."""
    parts: list[str] = [element.text or ""]
    notes: list[str] = []
    stack = [iter(element)]
    tails = [""]
    while stack:
        inner = next(stack[-1], None)
        if inner is None:
            stack.pop()
            parts.append(tails.pop())
            continue
        name = local(inner)
        if name == "note":
            body = child(inner, "note-body")
            notes.extend(words(paragraph) for paragraph in (children(body, "p") if body is not None else []))
        if name in _DROPPED or not name:
            parts.append(inner.tail or "")
            continue
        parts.append(_CHARACTERS.get(name, "") + (inner.text or ""))
        stack.append(iter(inner))
        tails.append(inner.tail or "")
    lines = (" ".join(line.split()) for line in "".join(parts).split("\n"))
    text = "\n".join(line for line in lines if line)
    return " ".join([text, *(f"({note})" for note in notes if note)])


def boxes(element: Element) -> Iterator[Element]:
    """Text boxes anchored in a paragraph, outermost ones only."""
    stack = list(reversed(element))
    while stack:
        inner = stack.pop()
        if local(inner) == "text-box":
            yield inner
        elif local(inner) not in ("tracked-changes", "annotation", "note"):
            stack.extend(reversed(inner))


def cell_words(cell: Element) -> str:
    parts = [words(inner) for inner in cell.iter() if local(inner) in ("p", "h")]
    return " ".join(" ".join(parts).split())


class Lists:
    """Bullets and numbers of lists, by their styles."""

    def __init__(self, *roots: Element) -> None:
        self._styles: dict[str, dict[int, Element]] = {}
        self._counts: dict[tuple[str, int], int] = {}
        for root in roots:
            for style in (found for found in root.iter() if local(found) == "list-style"):
                levels = {integer(attribute(level, "level")): level for level in style}
                self._styles[attribute(style, "name") or ""] = levels

    def lines(self, element: Element, *, style: str = "", depth: int = 1) -> Iterator[str]:
        """The items of a list and of the lists inside it, a line each."""
        style = attribute(element, "style-name") or style
        goes_on = attribute(element, "continue-numbering") == "true" or attribute(element, "continue-list")
        if not goes_on:
            self._counts.pop((style, depth), None)
        for item in element:
            if local(item) not in ("list-item", "list-header"):
                continue
            mark = ""
            for inner in item:
                if local(inner) in ("p", "h"):
                    text = words(inner)
                    if text:
                        mark = "" if mark else self._mark(style, depth)
                        indent = "  " * (depth - 1)
                        yield indent + (f"{mark} " if mark else "  ") + text.replace("\n", f"\n{indent}  ")
                elif local(inner) == "list" and depth < _MAX_DEPTH:
                    yield from self.lines(inner, style=style, depth=depth + 1)

    def _mark(self, style: str, depth: int) -> str:
        level = self._styles.get(style, {}).get(depth)
        if level is None or local(level) != "list-level-style-number" or not attribute(level, "num-format"):
            return "-"
        count = self._counts.get((style, depth), integer(attribute(level, "start-value"), 1) - 1) + 1
        self._counts[style, depth] = count
        shown = number(count, _FORMATS.get((attribute(level, "num-format") or "1")[0], "decimal"))
        return f"{attribute(level, 'num-prefix') or ''}{shown}{attribute(level, 'num-suffix') or ''}"


def table_rows(table: Element) -> Iterator[tuple[int, list[str], list[tuple[int, int]]]]:
    """Number, cells and columns merged sideways of every row that is not blank.

    A cell merged downwards is repeated in each row. What is repeated by a count is repeated up to 1,000 times.
    """
    number_of_row = 0
    down: dict[int, tuple[int, str]] = {}
    for row in _rows(table):
        repeated = max(1, integer(attribute(row, "number-rows-repeated"), 1))
        cells: list[str] = []
        sideways: list[tuple[int, int]] = []
        for cell in row:
            if local(cell) not in ("table-cell", "covered-table-cell") or len(cells) >= _MAX_COLUMNS:
                continue
            text = cell_value(cell)
            column = len(cells)
            spanned = integer(attribute(cell, "number-columns-spanned"), 1)
            if spanned > 1:
                sideways.append((column, min(column + spanned, _MAX_COLUMNS) - 1))
            last = number_of_row + integer(attribute(cell, "number-rows-spanned"), 1)
            if last > number_of_row + 1 and text:
                down[column] = (last, text)
            elif local(cell) == "covered-table-cell" and down.get(column, (0, ""))[0] > number_of_row:
                text = down[column][1]
            times = max(1, integer(attribute(cell, "number-columns-repeated"), 1))
            cells.extend([text] * (min(times, _MAX_REPEATED) if text else min(times, _MAX_COLUMNS - len(cells))))
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            for ahead in range(min(repeated, _MAX_REPEATED)):
                yield number_of_row + ahead + 1, cells, sideways
        number_of_row += repeated


def cell_value(cell: Element) -> str:
    """What the cell shows; dates in ISO form."""
    if local(cell) == "covered-table-cell":
        return ""
    date = attribute(cell, "date-value")
    return date.removesuffix("T00:00:00").replace("T", " ") if date else cell_words(cell)


def _rows(table: Element) -> Iterator[Element]:
    """Rows in order, out of the groups around them."""
    stack = list(reversed(table))
    while stack:
        element = stack.pop()
        if local(element) == "table-row":
            yield element
        elif local(element) in ("table-header-rows", "table-rows", "table-row-group"):
            stack.extend(reversed(element))
