"""Prints the headings, paragraphs, lists, tables and code of the HTML on standard input; run by `sandbox`.

A JSON object a piece: {"kind": …, "level": …, "text": …}. Knows Beautiful Soup and nothing of this project.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from bs4 import BeautifulSoup
from bs4.element import NavigableString, PageElement, PreformattedString, Tag

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


def _emit(**record: Any) -> None:
    sys.stdout.write(json.dumps(record) + "\n")


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


def _table(table: Tag) -> str:
    """Rows as "| a | b |". Cells and rows need no end tags; a table inside a cell is part of the cell's words."""
    rows: list[list[list[str]]] = [[]]
    first_is_header = False
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
                first_is_header = first_is_header or (element.name == "th" and len(rows) == 2)
                rows[-1].append([])
            elif rows[-1]:
                rows[-1][-1].append(
                    element.get_text(" ")
                    if element.name in ("table", "pre")
                    else " " * (element.name in _BLOCKS or element.name == "br")
                )
    cells = [[" ".join("".join(parts).split()).replace("|", "/") for parts in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells if any(row)]
    if first_is_header and len(lines) > 1 and not any(cells[0]):
        lines.insert(1, "|" + " --- |" * len(cells[1]))
    return "\n".join(lines)


def _lines(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


class _Printer:
    """Gathers the words between block elements and prints them."""

    def __init__(self) -> None:
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
            _emit(kind="paragraph", text=text)

    def emit(self, **record: Any) -> None:
        self.flush()
        self._end_items()
        if record["text"].strip():
            _emit(**record)

    def _end_items(self) -> None:
        if self._items:
            _emit(kind="list", text="\n".join(self._items))
            self._items = []

    def open(self, tag: Tag) -> None:
        if tag.name == "br":
            self._parts.append("\n")
        elif tag.name == "img" and tag.get("alt"):
            self._parts.append(f" {tag['alt']} ")
        elif tag.name == "table":
            self.emit(kind="table", text=_table(tag))
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


def print_html(text: str) -> None:
    """Print the title and the pieces of one page."""
    soup = BeautifulSoup(text, "html.parser")
    title = soup.title.get_text() if soup.title else ""
    _emit(title=" ".join(title.split()))
    printer = _Printer()
    for event, element in _events(_root(soup)):
        if event == "text":
            printer.text(str(element))
        elif isinstance(element, Tag):
            (printer.open if event == "open" else printer.close)(element)
    printer.end()


def main() -> None:
    print_html(sys.stdin.buffer.read().decode("utf-8"))
    _emit(done=True)


if __name__ == "__main__":
    try:
        main()
    except (MemoryError, OSError):
        _emit(error="too_large")
    except Exception:  # noqa: BLE001 - whatever the parser raises, the file is at fault
        _emit(error="damaged")
    sys.stdout.flush()
