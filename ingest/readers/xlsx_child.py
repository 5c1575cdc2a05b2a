"""Rows of a workbook's visible sheets with the values people see, for `office_child`. Sheets are read row by row.

Formulas give their stored results. Knows nothing of headers or of what a table is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from ingest.readers.number_format import GENERAL, format_code, plain, shown
from ingest.readers.safe_xml import iterparse
from ingest.readers.zip_package import Package, attribute, child, children, integer, local, relation_id

Piece = dict[str, Any]

_MERGED = re.compile(rb'<(?:\w{1,9}:)?mergeCell\b[^<>]{0,80}?ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"')
_REFERENCE = re.compile(r"([A-Za-z]{1,3})(\d{1,7})")
_ROW_TAGS = ("row", "sheetData")
_BLOCK_BYTES = 64 * 1024
_OVERLAP_BYTES = 200
_MAX_MERGED = 200_000
_MAX_COLUMNS = 16_384


class _Workbook:
    def __init__(self, package: Package, main: str) -> None:
        self.package = package
        self.main = main
        root = package.xml(main)
        self.epoch_1904 = attribute(child(root, "workbookPr"), "date1904") in ("1", "true")
        self.codes = self._formats()
        self.strings = list(self._strings())
        self.sheets = [sheet for holder in children(root, "sheets") for sheet in children(holder, "sheet")]

    def _formats(self) -> list[str]:
        """Format code by the number in a cell's `s`."""
        part = self.package.related(self.main, "styles")
        if part is None:
            return []
        root = self.package.xml(part)
        custom = {
            integer(attribute(item, "numFmtId"), -1): attribute(item, "formatCode") or ""
            for holder in children(root, "numFmts")
            for item in children(holder, "numFmt")
        }
        holder = child(root, "cellXfs")
        cells = children(holder, "xf") if holder is not None else []
        return [format_code(integer(attribute(item, "numFmtId")), custom) for item in cells]

    def _strings(self) -> Iterator[str]:
        part = self.package.related(self.main, "sharedStrings")
        if part is None:
            return
        with self.package.open(part) as stream:
            root: Element | None = None
            for event, element in iterparse(stream, events=("start", "end")):
                if root is None:
                    root = element
                elif event == "end" and local(element) == "si":
                    yield _string(element)
                    root.clear()

    def rows(self, part: str) -> Iterator[tuple[int, list[str]]]:
        """Number and cells of every row that is not blank."""
        with self.package.open(part, in_rows=True) as stream:
            data: Element | None = None
            number = 0
            for event, element in iterparse(stream, events=("start", "end")):
                if not element.tag.endswith(_ROW_TAGS):  # two events a cell: most of the time is spent here
                    continue
                name = local(element)
                if event == "start":
                    data = element if name == "sheetData" else data
                elif name == "row" and data is not None:
                    number = integer(element.get("r"), number + 1)
                    cells = self._cells(element)
                    data.clear()
                    if any(cells):
                        yield number, cells

    def _cells(self, row: Element) -> list[str]:
        cells: list[str] = []
        for cell in row:
            match = _REFERENCE.match(cell.get("r", ""))
            column = column_number(match.group(1)) if match else len(cells)
            if column >= _MAX_COLUMNS:
                continue
            if column >= len(cells):
                cells.extend([""] * (column - len(cells) + 1))
            cells[column] = self._value(cell).strip()
        while cells and not cells[-1]:
            cells.pop()
        return cells

    def _value(self, cell: Element) -> str:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            words = child(cell, "is")
            return _string(words) if words is not None else ""
        value = child(cell, "v")
        text = (value.text or "") if value is not None else ""
        if not text or kind == "e":  # "#N/A" says nothing
            return ""
        if kind == "s":
            index = integer(text, -1)
            return self.strings[index] if 0 <= index < len(self.strings) else ""
        if kind == "b":
            return "TRUE" if text == "1" else "FALSE"
        if kind in ("str", "d"):
            return text.removesuffix("T00:00:00")
        try:
            return self._shown(float(text), integer(cell.get("s")))
        except (ValueError, OverflowError):
            return text

    def _shown(self, value: float, style: int) -> str:
        code = self.codes[style] if 0 <= style < len(self.codes) else GENERAL
        if code == GENERAL:
            return plain(value)
        return shown(value, code, epoch_1904=self.epoch_1904)


def _string(element: Element) -> str:
    """Words of a shared or inline string, without the reading aids (rPh) of East Asian text."""
    if len(element) == 1 and local(element[0]) == "t":
        return element[0].text or ""
    parts = []
    for inner in element:
        words = inner if local(inner) == "t" else child(inner, "t") if local(inner) == "r" else None
        parts.append((words.text or "") if words is not None else "")
    return "".join(parts)


def column_number(letters: str) -> int:
    """A is 0."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _merged(package: Package, part: str) -> list[tuple[int, int, int, int]]:
    """First row, first column, last row, last column of the merged cells.

    They stand behind the rows that they are needed for, so they are looked for before.
    """
    found: dict[tuple[int, int, int, int], None] = {}
    rest = b""
    with package.scan(part) as stream:
        while block := stream.read(_BLOCK_BYTES):
            rest += block
            for match in _MERGED.finditer(rest):
                left, top, right, bottom = (part.decode("ascii") for part in match.groups())
                found[int(top), column_number(left), int(bottom), column_number(right)] = None
            if len(found) > _MAX_MERGED:
                break
            rest = rest[-_OVERLAP_BYTES:]
    return list(found)


def fill_merged(
    rows: Iterator[tuple[int, list[str]]], merged: list[tuple[int, int, int, int]]
) -> Iterator[tuple[int, list[str], list[tuple[int, int]]]]:
    """Rows with the values of cells merged downwards in each row, and each row's columns merged sideways."""
    starts: dict[int, list[tuple[int, int, int, int]]] = {}
    for area in sorted(merged):
        starts.setdefault(area[0], []).append(area)
    waiting = sorted(starts, reverse=True)
    down: dict[int, tuple[int, str]] = {}  # column → last row and value
    for number, cells in rows:
        down = {column: (last, value) for column, (last, value) in down.items() if last >= number}
        for column, (_, value) in down.items():
            cells.extend([""] * (column + 1 - len(cells)))
            cells[column] = cells[column] or value
        sideways = []
        while waiting and waiting[-1] <= number:
            top = waiting.pop()
            for _, left, bottom, right in starts[top] if top == number else []:
                if right > left:
                    sideways.append((left, min(right, _MAX_COLUMNS)))
                if bottom > top and left < len(cells) and cells[left]:
                    down[left] = (bottom, cells[left])
        yield number, cells, sideways


def pieces(package: Package, main: str, _kind: str) -> Iterator[Piece]:
    book = _Workbook(package, main)
    relations = package.relations(main)
    yield {"title": package.title()}
    for sheet in book.sheets:
        kind, part = relations.get(relation_id(sheet), ("", ""))
        if kind != "worksheet" or part not in package or attribute(sheet, "state") in ("hidden", "veryHidden"):
            continue  # chart and dialog sheets have no cells
        yield {"sheet": attribute(sheet, "name") or "?"}
        for number, cells, sideways in fill_merged(book.rows(part), _merged(package, part)):
            yield {"row": number, "cells": cells, **({"sideways": sideways} if sideways else {})}
