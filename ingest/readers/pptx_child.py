"""Pieces of a presentation's slides that are shown, for `office_child`: title first, then shapes from the top down.

A placeholder without a position of its own stands where its layout puts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from ingest.readers.table_lines import table_lines
from ingest.readers.zip_package import Package, attribute, child, children, integer, local, relation_id

Piece = dict[str, Any]

_TITLES = frozenset({"title", "ctrTitle"})
_MARGINAL = frozenset({"dt", "ftr", "sldNum", "hdr"})
_LISTING = frozenset({"body", "obj", ""})  # placeholders whose paragraphs have bullets, as most designs draw them
_ROW_EMU = 228_600  # shapes whose tops differ by less than 6 mm stand side by side
_MAX_DEPTH = 20
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Shape:
    """A shape with text. `kind`: the placeholder's, None if it is none. `top` and `left` in EMU on its slide."""

    element: Element
    kind: str | None
    top: int
    left: int


class _Slides:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._layouts: dict[str, dict[_Key, tuple[int, int]]] = {}

    def slide(self, part: str) -> Iterator[Piece]:
        root = self._package.xml(part)
        if attribute(root, "show") in ("0", "false"):
            return
        layout = self._layout(self._package.related(part, "slideLayout"))
        tree = child(root, "cSld", "spTree")
        shapes = list(_shapes(tree, layout)) if tree is not None else []
        title = next((shape for shape in shapes if shape.kind in _TITLES), None)
        if title is not None:
            yield {"kind": "heading", "text": " ".join(words for words, _ in _paragraphs(title.element))}
        for shape in sorted(shapes, key=lambda shape: (shape.top // _ROW_EMU, shape.left)):
            if shape is not title:
                yield from self._shape(shape, part)
        notes = self._package.related(part, "notesSlide")
        if notes:
            yield from self._notes(notes)

    def _layout(self, part: str | None) -> dict[_Key, tuple[int, int]]:
        if part is None:
            return {}
        if part not in self._layouts:
            self._layouts[part] = {}  # a layout that cannot be read places nothing
            tree = child(self._package.xml(part), "cSld", "spTree")
            for element in children(tree, "sp") if tree is not None else []:
                place, key = _position(element), _placeholder(element)
                if place and key:
                    self._layouts[part][key] = self._layouts[part][key[0], ""] = place
        return self._layouts[part]

    def _shape(self, shape: _Shape, part: str) -> Iterator[Piece]:
        if local(shape.element) == "graphicFrame":
            data = child(shape.element, "graphic", "graphicData")
            if data is None:
                return
            table = child(data, "tbl")
            if table is not None:
                yield {"kind": "table", "text": _table(table)}
            elif child(data, "relIds") is not None:
                yield from self._diagram(part, relation_id(data[0], "dm"))
            return
        paragraphs = _paragraphs(shape.element)
        if shape.kind in _LISTING and len(paragraphs) > 1:
            lines = (f"{'  ' * level}- {words}" if level >= 0 else words for words, level in paragraphs)
            yield {"kind": "list", "text": "\n".join(lines)}
        else:
            yield {"kind": "paragraph", "text": "\n".join(words for words, _ in paragraphs)}

    def _diagram(self, part: str, data_id: str) -> Iterator[Piece]:
        _, target = self._package.relations(part).get(data_id, ("", ""))
        if target and target in self._package:
            points = (inner for inner in self._package.xml(target).iter() if local(inner) == "pt")
            lines = (_plain_text(words) for point in points if (words := child(point, "t")) is not None)
            yield {"kind": "list", "text": "\n".join(f"- {line}" for line in lines if line)}

    def _notes(self, part: str) -> Iterator[Piece]:
        tree = child(self._package.xml(part), "cSld", "spTree")
        for element in children(tree, "sp") if tree is not None else []:
            if (_placeholder(element) or ("", ""))[0] == "body":
                words = "\n".join(text for text, _ in _paragraphs(element))
                if words:
                    yield {"kind": "paragraph", "text": f"Notes: {words}"}


def _shapes(tree: Element, layout: dict[_Key, tuple[int, int]], *, depth: int = 0) -> Iterator[_Shape]:
    """Shapes with text, those of a group together where the group stands."""
    last = (0, 0)
    for element in _alternatives(tree):
        name = local(element)
        if name not in ("sp", "grpSp", "graphicFrame", "cxnSp") or _is_hidden(element):
            continue
        key = _placeholder(element)
        if key and key[0] in _MARGINAL:
            continue
        place = _position(element)
        if place is None and key:
            place = layout.get(key) or layout.get((key[0], ""))
        last = place or last
        if name == "grpSp":
            if depth < _MAX_DEPTH:
                inner = sorted(_shapes(element, layout, depth=depth + 1), key=lambda s: (s.top // _ROW_EMU, s.left))
                yield from (_Shape(shape.element, shape.kind, *last) for shape in inner)
        else:
            yield _Shape(element, key[0] if key else None, *last)


def _alternatives(parent: Element) -> Iterator[Element]:
    """Children; of alternative content the first choice, which newer programs show."""
    for element in parent:
        if local(element) == "AlternateContent":
            choice = child(element, "Choice")
            yield from choice if choice is not None else child(element, "Fallback") or ()
        else:
            yield element


def _properties(element: Element) -> Element | None:
    return next((inner for inner in element if local(inner).startswith("nv")), None)


def _is_hidden(element: Element) -> bool:
    return attribute(child(_properties(element), "cNvPr"), "hidden") in ("1", "true")


def _placeholder(element: Element) -> _Key | None:
    """Kind and index of a placeholder; None for a shape that is none."""
    found = child(_properties(element), "nvPr", "ph")
    return None if found is None else (attribute(found, "type") or "", attribute(found, "idx") or "")


def _position(element: Element) -> tuple[int, int] | None:
    """Top and left in EMU."""
    frame = child(element, "xfrm")
    for holder in ("spPr", "grpSpPr"):
        frame = frame if frame is not None else child(element, holder, "xfrm")
    offset = child(frame, "off")
    return None if offset is None else (integer(attribute(offset, "y")), integer(attribute(offset, "x")))


def _paragraphs(shape: Element) -> list[tuple[str, int]]:
    """Words and list level of a shape's paragraphs; level -1 where the bullet is turned off."""
    body = child(shape, "txBody")
    found = []
    for paragraph in children(body, "p") if body is not None else []:
        properties = child(paragraph, "pPr")
        words = _plain_text(paragraph)
        if words:
            plain = child(properties, "buNone") is not None
            found.append((words, -1 if plain else max(0, min(integer(attribute(properties, "lvl")), 8))))
    return found


def _plain_text(root: Element) -> str:
    """Words on one line; fields other than the slide's number are words too."""
    parts: list[str] = []
    stack = [iter(root)]
    while stack:
        element = next(stack[-1], None)
        if element is None:
            stack.pop()
            continue
        name = local(element)
        if name == "t" and len(element) == 0:
            parts.append(element.text or "")
        elif name in ("br", "tab", "p"):
            parts.append(" ")
        if name not in ("rPr", "pPr", "Fallback") and attribute(element, "type") != "slidenum":
            stack.append(iter(element))
    return " ".join("".join(parts).split())


def _table(table: Element) -> str:
    """Rows of a table; a cell merged downwards is repeated in each row, one merged sideways stands once."""
    rows: list[list[str]] = []
    for row in children(table, "tr"):
        cells: list[str] = []
        for column, cell in enumerate(children(row, "tc")):
            if attribute(cell, "vMerge") in ("1", "true"):
                cells.append(rows[-1][column] if rows and column < len(rows[-1]) else "")
            else:
                body = child(cell, "txBody")
                cells.append(_plain_text(body) if body is not None else "")
        rows.append(cells)
    marked = attribute(child(table, "tblPr"), "firstRow") in ("1", "true")
    return table_lines(rows, header=(len(rows) > 1 and all(rows[0][1:])) if marked else None)


def pieces(package: Package, main: str, _kind: str) -> Iterator[Piece]:
    yield {"title": package.title()}
    slides = _Slides(package)
    relations = package.relations(main)
    listed = child(package.xml(main), "sldIdLst")
    for number, slide in enumerate(children(listed, "sldId") if listed is not None else [], start=1):
        _, part = relations.get(relation_id(slide), ("", ""))
        if part in package:
            yield from ({**piece, "slide": number} for piece in slides.slide(part) if piece["text"].strip())
