"""Paragraph elements of an HWPX section to paragraphs. What is shown how is known to `hwp_flow`.

Elements that are not named here are passed over with all they hold: headers, footers, hidden comments, fields' data.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from ingest.readers.hwp_model import MAX_NESTING, Box, Cell, Paragraph, Table, Unreadable
from ingest.readers.hwpx_header import local_name, named, whole

_SHAPES = frozenset("rect ellipse arc polygon curve line connectLine container pic ole video textart unknown".split())
_SIGNS = {"tab": "\t", "lineBreak": "\n", "nbSpace": " ", "fwSpace": " ", "hyphen": "-"}
_COUNTED_OBJECTS = ("PICTURE", "TABLE", "EQUATION")


class SectionReader:
    """Reads the paragraphs of one section in order; remembers whether words are marked as deleted."""

    def __init__(self) -> None:
        self._deleted = False

    def paragraph(self, element: Element, depth: int = 0) -> Paragraph:
        """Raises: Unreadable if tables and boxes are nested too deep."""
        if depth > MAX_NESTING:
            raise Unreadable("damaged", f"its tables and boxes are nested more than {MAX_NESTING} deep")
        paragraph = Paragraph(shape=whole(element, "paraPrIDRef", -1), style=whole(element, "styleIDRef", -1))
        for run in named(element, "run"):
            for child in run:
                self._add(paragraph, child, depth)
        return paragraph

    def _add(self, paragraph: Paragraph, element: Element, depth: int) -> None:
        kind = local_name(element)
        if kind == "t":
            paragraph.parts.append(self._words(element))
        elif kind == "ctrl":
            self._add_controls(paragraph, element, depth)
        elif kind == "tbl":
            paragraph.parts.append(self._table(element, depth + 1))
        elif kind in _SHAPES:
            if paragraphs := self._shape_paragraphs(element, depth + 1):
                paragraph.parts.append(Box(paragraphs))
        elif kind == "equation":
            paragraph.parts.extend(f" {script.text} " for script in named(element, "script") if script.text)
            if caption := self._caption(element, depth + 1):
                paragraph.parts.append(Box(caption))
        elif kind == "compose":
            paragraph.parts.append(element.get("composeText", ""))
        elif kind == "dutmal":
            paragraph.parts.extend(main.text or "" for main in named(element, "mainText"))
        elif kind == "secPr":
            paragraph.outline = whole(element, "outlineShapeIDRef") or None
        elif kind == "switch":  # the same thing for newer and older programs
            for choice in list(named(element, "default"))[:1]:
                for child in choice:
                    if local_name(child) != "switch":
                        self._add(paragraph, child, depth)

    def _add_controls(self, paragraph: Paragraph, element: Element, depth: int) -> None:
        for control in element:
            kind = local_name(control)
            if kind in ("footNote", "endNote"):
                paragraph.notes.append(self._list(control, depth + 1))
            elif kind == "autoNum" and control.get("numType") in _COUNTED_OBJECTS:
                paragraph.parts.append(control.get("num", ""))

    def _words(self, element: Element) -> str:
        parts = ["" if self._deleted else element.text or ""]
        for child in element:
            kind = local_name(child)
            if kind in ("deleteBegin", "deleteEnd"):
                self._deleted = kind == "deleteBegin"
            if not self._deleted:
                parts.append(_SIGNS.get(kind, "") + (child.tail or ""))
        return "".join(parts)

    def _list(self, element: Element, depth: int) -> list[Paragraph]:
        return [
            self.paragraph(paragraph, depth)
            for paragraphs in named(element, "subList")
            for paragraph in named(paragraphs, "p")
        ]

    def _caption(self, element: Element, depth: int) -> list[Paragraph]:
        return [paragraph for caption in named(element, "caption") for paragraph in self._list(caption, depth)]

    def _shape_paragraphs(self, element: Element, depth: int) -> list[Paragraph]:
        if depth > MAX_NESTING:
            raise Unreadable("damaged", f"its drawings are nested more than {MAX_NESTING} deep")
        found: list[Paragraph] = []
        for child in element:
            kind = local_name(child)
            if kind in ("drawText", "caption"):
                found.extend(self._list(child, depth))
            elif kind in _SHAPES:
                found.extend(self._shape_paragraphs(child, depth + 1))
        return found

    def _table(self, element: Element, depth: int) -> Table:
        table = Table([], self._caption(element, depth))
        for row, cells in enumerate(named(element, "tr")):
            for column, cell in enumerate(named(cells, "tc")):
                table.cells.append(self._cell(cell, row, column, depth))
        return table

    def _cell(self, element: Element, row: int, column: int, depth: int) -> Cell:
        rows = columns = 1
        for place in named(element, "cellAddr"):
            row, column = whole(place, "rowAddr", row), whole(place, "colAddr", column)
        for span in named(element, "cellSpan"):
            rows, columns = whole(span, "rowSpan", 1), whole(span, "colSpan", 1)
        return Cell(row, column, rows, columns, element.get("header") == "1", self._list(element, depth))
