"""A section of an HWP 5 file to paragraphs. Knows the layout of its records; what is shown how is known to `hwp_flow`."""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Collection, Iterator

from ingest.readers.hwp_model import MAX_NESTING, Box, Cell, Paragraph, Table, Unreadable
from ingest.readers.hwp_records import Record, trees

_PARA_HEADER, _PARA_TEXT, _CTRL_HEADER, _LIST_HEADER = 66, 67, 71, 72
_PARA_RANGES, _SHAPE, _TABLE, _EQUATION = 70, 76, 77, 88
_DELETED_RANGE = 0x11

_CONTROL = re.compile("[\x00-\x1f]")
_INLINE = frozenset((4, 5, 6, 7, 8, 9, 19, 20))
_EXTENDED = frozenset((1, 2, 3, 11, 12, 14, 15, 16, 17, 18, 21, 22, 23))
_SIGNS = {9: "\t", 10: "\n", 24: "-", 30: " ", 31: " "}
_CONTROL_UNITS = 8
_COUNTED_OBJECTS = (3, 4, 5)  # pictures, tables, equations; the others count notes and pages
_TITLE_CELL = 1 << 18


def section_paragraphs(data: bytes, *, what: str, deletions: Collection[int] = ()) -> Iterator[Paragraph]:
    """The section's paragraphs in order, without the words of the tracked `deletions`. Raises: Unreadable."""
    for tree in trees(data, what=what):
        if tree.tag == _PARA_HEADER:
            if deletions:
                _drop_deleted(tree, deletions)
            yield _paragraph(tree, 0)


def _drop_deleted(tree: Record, deletions: Collection[int]) -> None:
    """Take deleted words out of the text records of a tree that was just read; controls in them stay."""
    waiting = [tree]
    while waiting:
        record = waiting.pop()
        waiting.extend(record.children)
        text = next((child for child in record.children if child.tag == _PARA_TEXT), None)
        ranges = [
            (start, end)
            for child in record.children
            if text is not None and child.tag == _PARA_RANGES
            for start, end, tag in struct.iter_unpack("<III", child.data[: len(child.data) // 12 * 12])
            if tag >> 24 == _DELETED_RANGE and tag & 0xFFFFFF in deletions
        ]
        if text is not None and ranges:
            text.data = _without(text.data, sorted(ranges))


def _without(data: bytes, ranges: list[tuple[int, int]]) -> bytes:
    """UTF-16 units without the characters between these, counted in units; controls are not characters."""
    kept = bytearray()
    position, index = 0, 0
    while 2 * position + 1 < len(data):
        code = data[2 * position] | data[2 * position + 1] << 8
        width = _CONTROL_UNITS if code in _INLINE or code in _EXTENDED else 1
        while index < len(ranges) and ranges[index][1] <= position:
            index += 1
        is_deleted = index < len(ranges) and ranges[index][0] <= position
        if not is_deleted or width > 1:
            kept += data[2 * position : 2 * (position + width)]
        position += width
    return bytes(kept)


def _paragraph(record: Record, depth: int) -> Paragraph:
    if depth > MAX_NESTING:
        raise Unreadable("damaged", f"its tables and boxes are nested more than {MAX_NESTING} deep")
    paragraph = Paragraph(shape=record.number(8), style=record.number(10, "<B"))
    controls = [child for child in record.children if child.tag == _CTRL_HEADER]
    taken = 0
    for text in (child for child in record.children if child.tag == _PARA_TEXT):
        for piece in _pieces(text.data):
            if isinstance(piece, str):
                paragraph.parts.append(piece)
            elif taken < len(controls) and controls[taken].data[:4] == piece:
                _add_control(paragraph, controls[taken], depth)
                taken += 1
    for control in controls[taken:]:  # the text did not name them; better in the wrong place than lost
        _add_control(paragraph, control, depth)
    return paragraph


def _pieces(data: bytes) -> Iterator[str | bytes]:
    """Words, and the ids of controls where they are anchored."""
    units = array("H", data[: len(data) - len(data) % 2])
    if array("H", [1]).tobytes() != b"\x01\x00":
        units.byteswap()
    text = "".join(map(chr, units))  # a character a unit: a control's data may look like half a surrogate pair
    position = 0
    while match := _CONTROL.search(text, position):
        yield _words(text[position : match.start()])
        code = ord(match.group())
        position = match.start() + (_CONTROL_UNITS if code in _INLINE or code in _EXTENDED else 1)
        if code in _EXTENDED:
            yield data[2 * match.start() + 2 : 2 * match.start() + 6]
        elif code in _SIGNS:
            yield _SIGNS[code]
    yield _words(text[position:])


def _words(units: str) -> str:
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _add_control(paragraph: Paragraph, control: Record, depth: int) -> None:
    """Add what the control shows in the text. Headers, footers, hidden comments, fields and page controls do not."""
    kind = control.data[3::-1] if len(control.data) >= 4 else b""
    if kind == b"tbl ":
        paragraph.parts.append(_table(control, depth + 1))
    elif kind == b"gso ":
        if paragraphs := _all_paragraphs(control, depth + 1):
            paragraph.parts.append(Box(paragraphs))
    elif kind in (b"fn  ", b"en  "):
        paragraph.notes.append(_list(control.children, depth + 1))
    elif kind == b"eqed":
        paragraph.parts.extend(f" {child.string(4)[0]} " for child in control.children if child.tag == _EQUATION)
    elif kind == b"atno" and control.number(4, "<I") & 0xF in _COUNTED_OBJECTS:
        paragraph.parts.append(str(control.number(8)))
    elif kind in (b"tcps", b"tdut"):  # characters drawn over each other; words with small words above
        paragraph.parts.append(control.string(4)[0])
    elif kind == b"secd":
        paragraph.outline = control.number(18) if len(control.data) >= 20 else None


def _list(records: list[Record], depth: int) -> list[Paragraph]:
    return [_paragraph(record, depth) for record in records if record.tag == _PARA_HEADER]


def _all_paragraphs(record: Record, depth: int) -> list[Paragraph]:
    """Those of a drawing: its shapes' text, shapes grouped in it, and its caption."""
    if depth > MAX_NESTING:
        raise Unreadable("damaged", f"its drawings are nested more than {MAX_NESTING} deep")
    found: list[Paragraph] = []
    for child in record.children:
        if child.tag == _PARA_HEADER:
            found.append(_paragraph(child, depth))
        elif child.tag == _SHAPE:
            found.extend(_all_paragraphs(child, depth + 1))
    return found


def _table(control: Record, depth: int) -> Table:
    table = Table([])
    seen_table = False
    target = table.caption
    for child in control.children:
        if child.tag == _TABLE:
            seen_table = True
        elif child.tag == _LIST_HEADER and seen_table:
            cell = _cell(child)
            table.cells.append(cell)
            target = cell.paragraphs
        elif child.tag == _PARA_HEADER:
            target.append(_paragraph(child, depth))
    return table


def _cell(header: Record) -> Cell:
    """A cell's place stands behind the eight bytes that every list begins with."""
    column, row, columns, rows = (header.number(offset) for offset in (8, 10, 12, 14))
    return Cell(row, column, rows, columns, bool(header.number(4, "<I") & _TITLE_CELL), [])
