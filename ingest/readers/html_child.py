"""Headings, paragraphs, lists, tables and code of an HTML page, for `sandbox`.

An object a piece: {"kind": …, "level": …, "text": …}. Knows Beautiful Soup and nothing of documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bs4 import BeautifulSoup
from bs4.element import NavigableString, PageElement, PreformattedString, Tag

from ingest.readers.table_lines import table_lines

_DROPPED = frozenset(
    "script style nav noscript template svg canvas iframe object head title select button input textarea dialog".split()
)
_BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer form "
    "header hr html li main ol p section summary ul tr td th table tbody thead".split()
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HIDDEN_STYLE = re.compile(r"display\s{0,4}:\s{0,4}none|visibility\s{0,4}:\s{0,4}hidden", re.IGNORECASE)
_PERMALINK = re.compile(r"\s*[¶#§]\s*$")
_MIN_MAIN_SHARE = 0.25


def _is_dropped(tag: Tag) -> bool:
    if tag.name in _DROPPED or tag.has_attr("hidden"):
        return True
    return tag.get("role") == "navigation" or bool(_HIDDEN_STYLE.search(str(tag.get("style") or "")))


def _events(root: Tag) -> Iterator[tuple[str, PageElement]]:
    """("open" | "close" | "text", element) in order, without recursion; dropped elements are passed over."""
    stack: list[tuple[Tag, Iterator[PageElement]]] = [(root, iter(root.contents))]
    while stack:
        tag, children = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
            if stack:
                yield "close", tag
        elif isinstance(child, Tag):
            if _is_dropped(child):
                continue
            yield "open", child
            if child.name not in ("table", "pre"):
                stack.append((child, iter(child.contents)))
        elif isinstance(child, NavigableString) and not isinstance(child, PreformattedString):
            yield "text", child


def _words(root: Tag) -> str:
    parts = []
    for event, element in _events(root):
        if event == "text":
            parts.append(str(element))
        elif isinstance(element, Tag) and (element.name == "br" or element.name in _BLOCKS):
            parts.append(" ")
        if event == "open" and isinstance(element, Tag) and element.name in ("table", "pre"):
            parts.append(element.get_text(" "))
    return " ".join("".join(parts).split())


def _table(table: Tag) -> tuple[str, str]:
    """Words outside the rows, and the rows as "| a | b |".

    Cells and rows need no end tags; a table inside a cell is part of the cell's words.
    """
    rows: list[list[list[str]]] = [[]]
    first_row: list[str] = []
    for event, element in _events(table):
        if event == "text":
            if not rows[-1] and str(element).strip():
                rows[-1].append([])  # a caption, or words outside cells
            if rows[-1]:
                rows[-1][-1].append(str(element))
        elif event == "open" and isinstance(element, Tag):
            if element.name == "tr":
                rows.append([])
            elif element.name in ("td", "th"):
                first_row.extend([element.name] if len(rows) == 2 else [])
                rows[-1].append([])
            elif rows[-1]:
                rows[-1][-1].append(
                    element.get_text(" ")
                    if element.name in ("table", "pre")
                    else " " * (element.name in _BLOCKS or element.name == "br")
                )
    outside, *cells = [[" ".join("".join(parts).split()) for parts in row] for row in rows]
    if not cells:  # cells without a row
        return "", table_lines([outside])
    # A row that begins with one <th> is headed at its side, like the others may be.
    marked = first_row.count("th") > len(first_row) / 2
    return " ".join(outside).strip(), table_lines(cells, header=marked or None)


def _lines(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


class _Gatherer:
    """Gathers the words between block elements; `pieces` holds what is finished."""

    def __init__(self) -> None:
        self.pieces: list[dict[str, Any]] = []
        self._parts: list[str] = []
        self._marks: list[str | int] = []  # open lists: "-" or the number of the last item
        self._marker = ""
        self._items: list[str] = []

    def text(self, words: str) -> None:
        self._parts.append(" ".join(words.split()) if words.strip() else " ")
        if words[-1:].isspace():
            self._parts.append(" ")

    def flush(self) -> None:
        text = _lines("".join(self._parts))
        self._parts = []
        if not text:
            return
        if self._marks:
            indent = "  " * (len(self._marks) - 1)
            self._items.append(indent + (self._marker or "  ") + text.replace("\n", f"\n{indent}  "))
            self._marker = ""
        else:
            self.pieces.append({"kind": "paragraph", "text": text})

    def emit(self, **record: Any) -> None:
        self.flush()
        self._end_items()
        if record["text"].strip():
            self.pieces.append(record)

    def _end_items(self) -> None:
        if self._items:
            self.pieces.append({"kind": "list", "text": "\n".join(self._items)})
            self._items = []

    def open(self, tag: Tag) -> None:
        if tag.name == "br":
            self._parts.append("\n")
        elif tag.name == "img" and tag.get("alt"):
            self._parts.append(f" {tag['alt']} ")
        elif tag.name == "table":
            caption, rows = _table(tag)
            self.emit(kind="paragraph", text=caption)
            self.emit(kind="table", text=rows)
        elif tag.name == "pre":
            code = tag.get_text().strip("\n").rstrip()
            self.emit(kind="code", text=f"```\n{code}\n```" if code.strip() else "")
        elif tag.name in _BLOCKS or tag.name in _HEADINGS:
            self.flush()
            if tag.name in ("ul", "ol"):
                self._marks.append("-" if tag.name == "ul" else 0)
            elif tag.name == "li" and self._marks:
                mark = self._marks[-1]
                self._marks[-1] = mark + 1 if isinstance(mark, int) else mark
                self._marker = f"{mark + 1}. " if isinstance(mark, int) else "- "

    def close(self, tag: Tag) -> None:
        level = _HEADINGS.get(tag.name)
        if level:
            words = _PERMALINK.sub("", " ".join("".join(self._parts).split()))
            self._parts = []
            self.emit(kind="heading", level=level, text=words)
        elif tag.name in _BLOCKS:
            self.flush()
            if tag.name in ("ul", "ol") and self._marks:
                self._marks.pop()
                if not self._marks:
                    self._end_items()

    def end(self) -> None:
        self.flush()
        self._end_items()


def _root(soup: BeautifulSoup) -> Tag:
    """The main part of the page where it is marked and not a small rest."""
    body = soup.body or soup
    main = soup.find("main") or soup.find(None, {"role": "main"})
    if isinstance(main, Tag) and len(_words(main)) >= _MIN_MAIN_SHARE * len(_words(body)):
        return main
    return body


def page_pieces(text: str) -> Iterator[dict[str, Any]]:
    """The title and the pieces of one page."""
    soup = BeautifulSoup(text, "html.parser")
    yield {"title": " ".join(soup.title.get_text().split()) if soup.title else ""}
    gatherer = _Gatherer()
    for event, element in _events(_root(soup)):
        if event == "text":
            gatherer.text(str(element))
        elif isinstance(element, Tag):
            (gatherer.open if event == "open" else gatherer.close)(element)
        if gatherer.pieces:
            yield from gatherer.pieces
            gatherer.pieces = []
    gatherer.end()
    yield from gatherer.pieces


def records(data: bytes) -> Iterator[dict[str, Any]]:
    return page_pieces(data.decode("utf-8"))
