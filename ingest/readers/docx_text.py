"""Words of Word's paragraphs: tracked insertions stay, deletions, hidden text and field codes go. Knows no styles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.etree.ElementTree import Element

from ingest.readers.zip_package import attribute, child, children, integer, local

# Deleted or moved away; formatting; what another program falls back to; the reading above Chinese characters.
_DROPPED = frozenset("del moveFrom rPr pPr sdtPr instrText delText Fallback rt fldData".split())
_CHARACTERS = {"tab": " ", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": " "}
_OFF = frozenset({"0", "false", "off"})


def is_on(element: Element | None) -> bool:
    """True for a switch such as <w:vanish/> that stands there and is not turned off."""
    return element is not None and (attribute(element, "val") or "1").lower() not in _OFF


def paragraph_text(paragraph: Element, note: Callable[[str, str], str]) -> str:
    """The paragraph's words; `note(kind, id)` gives what a footnote or endnote says, put at the end in brackets."""
    parts: list[str] = []
    notes: list[str] = []
    for element in _kept(paragraph):
        name = local(element)
        if name == "t":
            parts.append(element.text or "")
        elif name in _CHARACTERS:
            parts.append(_CHARACTERS[name])
        elif name in ("footnoteReference", "endnoteReference"):
            notes.append(note(name.removesuffix("Reference"), attribute(element, "id") or ""))
    text = "\n".join(filter(None, (" ".join(line.split()) for line in "".join(parts).split("\n"))))
    return " ".join([text, *(f"({words})" for words in notes if words)])


def text_boxes(paragraph: Element) -> Iterator[Element]:
    """The contents of the text boxes that are anchored in the paragraph."""
    for element in _kept(paragraph):
        if local(element) == "txbxContent":
            yield element


def _kept(root: Element) -> Iterator[Element]:
    """Descendants in order, without recursion, less what is dropped; a text box is passed, but not entered."""
    stack = [iter(root)]
    while stack:
        element = next(stack[-1], None)
        if element is None:
            stack.pop()
            continue
        name = local(element)
        if name in _DROPPED or (name == "r" and is_on(child(element, "rPr", "vanish"))):
            continue
        yield element
        if name not in ("txbxContent", "t"):
            stack.append(iter(element))


def flow(container: Element) -> Iterator[Element]:
    """The paragraphs (p) and tables (tbl) of a body, cell or text box, out of the wrappers around them."""
    stack = [iter(container)]
    while stack:
        element = next(stack[-1], None)
        if element is None:
            stack.pop()
            continue
        name = local(element)
        if name in ("p", "tbl"):
            yield element
        elif name == "sdt":
            if attribute(child(element, "sdtPr", "docPartObj", "docPartGallery"), "val") != "Table of Contents":
                stack.append(iter(element))
        elif name in ("sdtContent", "customXml", "smartTag", "ins", "moveTo", "AlternateContent", "Choice"):
            stack.append(iter(element))


def table_rows(table: Element, note: Callable[[str, str], str]) -> tuple[list[list[str]], bool | None]:
    """Cells' words by grid column, and whether the first row is marked as a header (None: not said).

    A cell merged downwards is repeated in each row, so that a row reads on its own; one merged sideways stands once.
    """
    rows: list[list[str]] = []
    marked: bool | None = None
    above: dict[int, str] = {}
    for row in _table_children(table, "tr"):
        if child(row, "trPr", "del") is not None:
            continue
        if not rows and is_on(child(row, "trPr", "tblHeader")):
            marked = True
        cells: list[str] = [""] * min(integer(attribute(child(row, "trPr", "gridBefore"), "val")), 60)
        for cell in _table_children(row, "tc"):
            merge = child(cell, "tcPr", "vMerge")
            column = len(cells)
            words = above.get(column, "") if merge is not None and not _restarts(merge) else cell_text(cell, note)
            above[column] = words if merge is not None else ""
            width = max(1, min(integer(attribute(child(cell, "tcPr", "gridSpan"), "val"), 1), 60))
            cells.extend([words, *[""] * (width - 1)])
        rows.append(cells)
    return rows, marked


def cell_text(cell: Element, note: Callable[[str, str], str]) -> str:
    parts = []
    for element in flow(cell):
        if local(element) == "p":
            parts.append(paragraph_text(element, note))
            for box in text_boxes(element):
                parts.extend(paragraph_text(inner, note) for inner in box.iter() if local(inner) == "p")
        else:  # a table inside a cell is part of the cell's words
            parts.extend(paragraph_text(inner, note) for inner in element.iter() if local(inner) == "p")
    return " ".join(" ".join(parts).split())


def _restarts(merge: Element) -> bool:
    return attribute(merge, "val") == "restart"


def _table_children(parent: Element, name: str) -> Iterator[Element]:
    """Rows or cells, also those inside content controls."""
    for element in parent:
        if local(element) == name:
            yield element
        elif local(element) in ("sdt", "customXml", "ins"):
            content = child(element, "sdtContent")
            yield from children(element if content is None else content, name)
