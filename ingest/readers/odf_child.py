"""Pieces of OpenDocument text, spreadsheets and presentations, for `office_child`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from ingest.readers.odf_text import Lists, boxes, cell_words, table_rows, words
from ingest.readers.table_lines import table_lines
from ingest.readers.zip_package import Package, PackageError, attribute, child, children, integer, local

Piece = dict[str, Any]

_INDEXES = frozenset("table-of-content illustration-index table-index alphabetical-index bibliography".split())
_WRAPPERS = frozenset({"section", "text-box"})
_LENGTH = re.compile(r"(-?\d+(?:\.\d+)?)(cm|mm|in|pt)?")
_CM = {"cm": 1.0, "mm": 0.1, "in": 2.54, "pt": 0.0353, None: 1.0}
_ROW_CM = 0.6  # frames whose tops differ by less stand side by side
_MARGINAL = frozenset({"date-time", "footer", "page-number", "header"})
_MAX_DEPTH = 20


class _Text:
    def __init__(self, content: Element, styles: Element | None) -> None:
        roots = [content] if styles is None else [styles, content]
        self._lists = Lists(*roots)
        self._titles = {"Title"} | {
            attribute(style, "name") or ""
            for root in roots
            for style in root.iter()
            if local(style) == "style" and attribute(style, "parent-style-name") == "Title"
        }

    def pieces(self, container: Element, depth: int = 0) -> Iterator[Piece]:
        for element in container:
            name = local(element)
            if name == "h":
                yield {"kind": "heading", "level": _level(element), "text": words(element)}
            elif name == "p":
                called = attribute(element, "style-name") in self._titles
                yield {"kind": "called" if called else "paragraph", "text": words(element)}
            elif name == "list":
                yield from self._list(element)
            elif name == "table":
                yield from self._table(element, depth)
            if name in ("p", "h", "frame", "g", "custom-shape") and depth < _MAX_DEPTH:
                for box in boxes(element):
                    yield from self.pieces(box, depth + 1)
            elif name in _WRAPPERS and depth < _MAX_DEPTH:
                yield from self.pieces(element, depth + 1)

    def _list(self, element: Element) -> Iterator[Piece]:
        inside = [inner for inner in element.iter() if local(inner) in ("p", "h")]
        if inside and all(local(inner) == "h" for inner in inside):  # a list that only numbers headings
            for heading in inside:
                yield {"kind": "heading", "level": _level(heading), "text": words(heading)}
        else:
            yield {"kind": "list", "text": "\n".join(self._lists.lines(element))}

    def _table(self, table: Element, depth: int) -> Iterator[Piece]:
        rows = [cells for _, cells, _ in table_rows(table)]
        if max((len(row) for row in rows), default=0) <= 1 and depth < _MAX_DEPTH:  # a frame around text
            for cell in (inner for inner in table.iter() if local(inner) == "table-cell"):
                yield from self.pieces(cell, depth + 1)
            return
        width = max(len(row) for row in rows)
        while len(rows) > 1 and len(rows[0]) == 1:
            yield {"kind": "paragraph", "text": rows.pop(0)[0]}
        marked = True if child(table, "table-header-rows") is not None and len(rows) > 1 else None
        yield {"kind": "table", "text": table_lines([row + [""] * (width - len(row)) for row in rows], header=marked)}


def _level(heading: Element) -> int:
    return max(1, integer(attribute(heading, "outline-level"), 1))


def _sheets(book: Element, content: Element) -> Iterator[Piece]:
    hidden = {
        attribute(style, "name")
        for style in content.iter()
        if local(style) == "style" and attribute(child(style, "table-properties"), "display") == "false"
    }
    for sheet in children(book, "table"):
        if attribute(sheet, "style-name") in hidden:
            continue
        yield {"sheet": attribute(sheet, "name") or "?"}
        for number, cells, sideways in table_rows(sheet):
            yield {"row": number, "cells": cells, **({"sideways": sideways} if sideways else {})}


def _slides(show: Element, content: Element) -> Iterator[Piece]:
    hidden = {
        attribute(style, "name")
        for style in content.iter()
        if local(style) == "style" and attribute(child(style, "drawing-page-properties"), "visibility") == "hidden"
    }
    reader = _Text(content, None)
    for number, page in enumerate(children(show, "page"), start=1):
        if attribute(page, "style-name") in hidden:
            continue
        shapes = [shape for shape in page if attribute(shape, "class") not in _MARGINAL and local(shape) != "notes"]
        title = next((shape for shape in shapes if attribute(shape, "class") == "title"), None)
        if title is not None:
            yield {"slide": number, "kind": "heading", "text": cell_words(title)}
        for shape in sorted(shapes, key=_position):
            if shape is not title:
                yield from ({**piece, "slide": number} for piece in _shape(shape, reader))
        for notes in children(page, "notes"):
            text = " ".join(cell_words(frame) for frame in children(notes, "frame")).strip()
            yield {"slide": number, "kind": "paragraph", "text": f"Notes: {text}" if text else ""}


def _shape(shape: Element, reader: _Text) -> Iterator[Piece]:
    """Text of a frame, drawn shape or group. The levels of headings mean nothing on a slide."""
    table = child(shape, "table")
    box = child(shape, "text-box")
    holder = Element("holder")
    if table is not None:
        holder.append(table)
    else:
        holder.extend(list(box if box is not None else shape))
    for piece in reader.pieces(holder):
        yield {**piece, "kind": piece["kind"] if piece["kind"] in ("list", "table") else "paragraph"}


def _position(shape: Element) -> tuple[int, float]:
    top, left = (_centimetres(attribute(shape, axis)) for axis in ("y", "x"))
    return int(top // _ROW_CM), left


def _centimetres(length: str | None) -> float:
    match = _LENGTH.match(length or "")
    return float(match.group(1)) * _CM[match.group(2)] if match else 0.0


def _title(package: Package) -> str:
    meta = package.xml("meta.xml") if "meta.xml" in package else None
    found = next((element for element in meta.iter() if local(element) == "title"), None) if meta is not None else None
    return (found.text or "") if found is not None else ""


def pieces(package: Package, main: str, kind: str) -> Iterator[Piece]:
    if "META-INF/manifest.xml" in package:
        manifest = package.xml("META-INF/manifest.xml", dtd=True)
        if any(local(element) == "encryption-data" for element in manifest.iter()):
            raise PackageError("encrypted")
    yield {"title": _title(package)}
    content = package.xml(main, is_content=True)
    body = child(content, "body", {"odt": "text", "ods": "spreadsheet", "odp": "presentation"}[kind])
    if body is None:
        raise PackageError("damaged")
    if kind == "ods":
        yield from _sheets(body, content)
        return
    styles = package.xml("styles.xml") if "styles.xml" in package else None
    found = _slides(body, content) if kind == "odp" else _Text(content, styles).pieces(body)
    yield from (piece for piece in found if piece["text"].strip())
