"""Pieces of a Word document, in order, for `office_child`. The body is read piece by piece and never held whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from ingest.readers.docx_numbers import Numbering, read_numbering
from ingest.readers.docx_text import flow, paragraph_text, table_rows, text_boxes
from ingest.readers.safe_xml import iterparse
from ingest.readers.table_lines import table_lines
from ingest.readers.zip_package import Package, attribute, child, children, integer, local

Piece = dict[str, Any]

_HEADING_STYLE = re.compile(r"(?:heading|제목|개요|überschrift|titre) ?([1-9])$")
_TITLE_STYLES = frozenset({"title", "제목"})
_CONTENTS_STYLE = re.compile(r"(?:toc|목차|contents) ?\d|table of figures$")
_NAMED_NUMBER = re.compile(r"제 ?\d+ ?[조장절편관]")  # "제3조" opens an article, it counts no item
_BODY_LEVEL = 9
_MAX_HEADING_CHARS = 200
_MAX_DEPTH = 20


class _Style:
    """A paragraph style with what it takes from the styles it is based on."""

    def __init__(self, element: Element) -> None:
        self.name = (attribute(child(element, "name"), "val") or "").lower()
        self.base = attribute(child(element, "basedOn"), "val") or ""
        self.properties = child(element, "pPr")


class _Reader:
    def __init__(self, package: Package, main: str) -> None:
        self._package = package
        self._main = main
        self._styles = self._read_styles()
        self._numbering = self._read_numbering()
        self._notes = {kind: self._read_notes(kind) for kind in ("footnote", "endnote")}
        self._items: list[str] = []
        self._carried = ""  # words of a paragraph whose end was deleted

    def pieces(self) -> Iterator[Piece]:
        for element in self._body():
            yield from self._element(element, 0)
        yield from self._end_list()
        if self._carried:
            yield {"kind": "paragraph", "text": self._carried}

    # ---- parts of the package ----

    def _body(self) -> Iterator[Element]:
        """The body's paragraphs and tables, each freed when the next is asked for."""
        path: list[Element] = []
        with self._package.open(self._main) as stream:
            for event, element in iterparse(stream, events=("start", "end")):
                if event == "start":
                    path.append(element)
                    continue
                path.pop()
                if len(path) == 2 and local(path[1]) == "body":
                    holder = Element("holder")
                    holder.append(element)
                    yield from flow(holder)
                    path[1].clear()

    def _read_styles(self) -> dict[str, _Style]:
        part = self._package.related(self._main, "styles")
        if part is None:
            return {}
        return {
            attribute(style, "styleId") or "": _Style(style) for style in children(self._package.xml(part), "style")
        }

    def _read_numbering(self) -> Numbering:
        part = self._package.related(self._main, "numbering")
        return read_numbering(self._package.xml(part)) if part else Numbering()

    def _read_notes(self, kind: str) -> dict[str, str]:
        part = self._package.related(self._main, f"{kind}s")
        if part is None:
            return {}
        notes = {}
        for note in children(self._package.xml(part), kind):
            if attribute(note, "type") in (None, "normal"):
                words = " ".join(paragraph_text(inner, _no_note) for inner in flow(note) if local(inner) == "p")
                notes[attribute(note, "id") or ""] = " ".join(words.split())
        return notes

    # ---- elements ----

    def _element(self, element: Element, depth: int) -> Iterator[Piece]:
        if local(element) == "tbl":
            yield from self._table(element, depth)
            return
        yield from self._paragraph(element)
        for box in text_boxes(element):
            if depth < _MAX_DEPTH:
                for inner in flow(box):
                    yield from self._element(inner, depth + 1)

    def _paragraph(self, element: Element) -> Iterator[Piece]:
        properties = child(element, "pPr")
        text = paragraph_text(element, self._note)
        if child(properties, "rPr", "del") is not None:  # its end was deleted: it goes on in the next paragraph
            self._carried += text
            return
        text, self._carried = self._carried + text, ""
        styles = self._chain(attribute(child(properties, "pStyle"), "val") or self._default_style())
        names = [style.name for style in styles]
        if not text.strip() or any(_CONTENTS_STYLE.match(name) for name in names):
            return
        sources = [properties, *(style.properties for style in styles)]
        mark, depth = self._mark(sources)
        level = _heading_level(sources, names)
        if level and len(text) <= _MAX_HEADING_CHARS:
            yield from self._end_list()
            yield {"kind": "heading", "level": level, "text": f"{mark} {text}".strip(" -") if mark else text}
        elif names and names[0] in _TITLE_STYLES:
            yield from self._end_list()
            yield {"kind": "called", "text": text}
        elif mark and not _NAMED_NUMBER.match(mark):
            indent = "  " * depth
            self._items.append(f"{indent}{mark} " + text.replace("\n", f"\n{indent}  "))
        else:
            yield from self._end_list()
            yield {"kind": "paragraph", "text": f"{mark} {text}" if mark else text}

    def _table(self, table: Element, depth: int) -> Iterator[Piece]:
        yield from self._end_list()
        rows, marked = table_rows(table, self._note)
        if max((len(row) for row in rows), default=0) <= 1 and depth < _MAX_DEPTH:
            # A frame around text, as Korean forms draw it.
            for cell in (inner for row in children(table, "tr") for inner in children(row, "tc")):
                for element in flow(cell):
                    yield from self._element(element, depth + 1)
            yield from self._end_list()
            return
        while rows and len(rows) > 1 and _is_caption(rows[0]):
            yield {"kind": "paragraph", "text": rows.pop(0)[0]}
        text = table_lines(rows, header=marked)
        if text:
            yield {"kind": "table", "text": text}

    def _end_list(self) -> Iterator[Piece]:
        if self._items:
            yield {"kind": "list", "text": "\n".join(self._items)}
            self._items = []

    # ---- styles, numbers, notes ----

    def _default_style(self) -> str:
        return next((key for key, style in self._styles.items() if style.name in ("normal", "표준")), "")

    def _chain(self, style_id: str) -> list[_Style]:
        chain: list[_Style] = []
        while style_id in self._styles and len(chain) < _MAX_DEPTH:
            chain.append(self._styles[style_id])
            style_id = chain[-1].base
        return chain

    def _mark(self, sources: list[Element | None]) -> tuple[str, int]:
        """Bullet or number of a paragraph, and how deep its list is; the first source that says so counts."""
        found = [numbers for source in sources if (numbers := child(source, "numPr")) is not None]
        list_id = next((value for item in found if (value := attribute(child(item, "numId"), "val"))), "0")
        level = next((value for item in found if (value := attribute(child(item, "ilvl"), "val"))), "0")
        depth = max(0, min(integer(level), 8))
        mark = self._numbering.mark(list_id, depth) if list_id != "0" else ""
        return mark, depth

    def _note(self, kind: str, note_id: str) -> str:
        return self._notes.get(kind, {}).get(note_id, "")


def _no_note(_kind: str, _id: str) -> str:
    return ""


def _heading_level(sources: list[Element | None], names: list[str]) -> int | None:
    """1 to 9 by the outline level, else by the style's name."""
    for source in sources:
        outline = attribute(child(source, "outlineLvl"), "val")
        if outline is not None:
            level = integer(outline, _BODY_LEVEL)
            return level + 1 if 0 <= level < _BODY_LEVEL else None
    return next((int(match.group(1)) for name in names if (match := _HEADING_STYLE.match(name))), None)


def _is_caption(row: list[str]) -> bool:
    return bool(row[0]) and not any(row[1:])


def pieces(package: Package, main: str, _kind: str) -> Iterator[Piece]:
    yield {"title": package.title()}
    yield from _Reader(package, main).pieces()
