"""Writes real HWP 5 files for tests: an OLE compound file ([MS-CFB]) with FileHeader, DocInfo and sections of records.

Text is written as Hancom writes it: records by level, controls of eight UTF-16 units, lists before their paragraphs.
Knows nothing of the reader.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

_SECTOR, _MINI_SECTOR, _MINI_CUTOFF = 512, 64, 4096
_END, _FREE, _FAT_SECTOR, _NONE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD, 0xFFFFFFFF

Tree = tuple[int, bytes, list]  # tag, data, children


# ---- compound file ----


@dataclass
class _Entry:
    name: str
    kind: int  # 1 storage, 2 stream, 5 root
    data: bytes = b""
    children: list[_Entry] = field(default_factory=list)
    start: int = _END
    number: int = 0
    right: int = _NONE


def compound_file(streams: dict[str, bytes]) -> bytes:
    """An OLE compound file of version 3; a path with a slash is in a storage."""
    root = _Entry("Root Entry", 5)
    for path, data in streams.items():
        *folders, name = path.split("/")
        parent = root
        for folder in folders:
            storage = next((child for child in parent.children if child.name == folder), None)
            if storage is None:
                storage = _Entry(folder, 1)
                parent.children.append(storage)
            parent = storage
        parent.children.append(_Entry(name, 2, data))
    entries: list[_Entry] = []
    _number(root, entries)

    sectors: list[bytes] = []
    fat: list[int] = []

    def store(data: bytes) -> int:
        if not data:
            return _END
        start = len(sectors)
        pieces = [data[at : at + _SECTOR].ljust(_SECTOR, b"\0") for at in range(0, len(data), _SECTOR)]
        sectors.extend(pieces)
        fat.extend([*range(start + 1, start + len(pieces)), _END])
        return start

    mini = b""
    mini_fat: list[int] = []
    for entry in entries:
        if entry.kind != 2 or not entry.data:
            continue
        if len(entry.data) >= _MINI_CUTOFF:
            entry.start = store(entry.data)
            continue
        entry.start = len(mini_fat)
        count = -(-len(entry.data) // _MINI_SECTOR)
        mini += entry.data.ljust(count * _MINI_SECTOR, b"\0")
        mini_fat += [*range(entry.start + 1, entry.start + count), _END]
    root.data, root.start = mini, store(mini)
    mini_fat_start = store(struct.pack(f"<{len(mini_fat)}I", *mini_fat))
    mini_fat_sectors = -(-4 * len(mini_fat) // _SECTOR)
    directory_start = store(b"".join(map(_directory_entry, entries)))

    fat_sectors = 1
    while fat_sectors * (_SECTOR // 4) < len(fat) + fat_sectors:
        fat_sectors += 1
    assert fat_sectors <= 109, "more needs a list of lists of sectors"
    fat_start = len(sectors)
    fat += [_FAT_SECTOR] * fat_sectors
    fat += [_FREE] * (fat_sectors * (_SECTOR // 4) - len(fat))
    header = struct.pack(
        "<8s16xHHHHH6xIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        *(0x3E, 3, 0xFFFE, 9, 6),
        *(0, fat_sectors, directory_start, 0, _MINI_CUTOFF),
        *(mini_fat_start if mini_fat else _END, mini_fat_sectors, _END, 0),
    )
    header += struct.pack("<109I", *range(fat_start, fat_start + fat_sectors), *[_FREE] * (109 - fat_sectors))
    return header + b"".join(sectors) + struct.pack(f"<{len(fat)}I", *fat)


def _number(entry: _Entry, entries: list[_Entry]) -> None:
    entry.number = len(entries)
    entries.append(entry)
    # A tree of right branches in name order: legal, and enough for a handful of streams.
    entry.children.sort(key=lambda child: (len(child.name), child.name.upper()))
    for child in entry.children:
        _number(child, entries)
    for left, right in zip(entry.children, entry.children[1:], strict=False):
        left.right = right.number


def _directory_entry(entry: _Entry) -> bytes:
    name = entry.name.encode("utf-16-le")
    child = entry.children[0].number if entry.children else _NONE
    size = len(entry.data) if entry.kind != 1 else 0
    start = entry.start if entry.kind != 1 else 0
    head = struct.pack("<64sHBBIII", name, len(name) + 2, entry.kind, 1, _NONE, entry.right, child)
    return head + struct.pack("<16xI16xIQ", 0, start, size)


# ---- records ----


def flat(trees: Sequence[Tree], level: int = 0) -> bytes:
    """Records one after the other; a size of 4,095 bytes and more stands in four bytes of its own."""
    parts = []
    for tag, data, children in trees:
        size = min(len(data), 0xFFF)
        parts.append(struct.pack("<I", tag | level << 10 | size << 20))
        if size == 0xFFF:
            parts.append(struct.pack("<I", len(data)))
        parts += [data, flat(children, level + 1)]
    return b"".join(parts)


def _string(text: str) -> bytes:
    data = text.encode("utf-16-le")
    return struct.pack("<H", len(data) // 2) + data


def style(name: str, english: str) -> Tree:
    return 26, _string(name) + _string(english) + struct.pack("<BBHHH", 0, 0, 1042, 0, 0), []


def para_shape(head: int = 0, level: int = 0, numbering: int = 0) -> Tree:
    """`head`: 0 none, 1 outline, 2 number, 3 bullet."""
    return 25, struct.pack("<I24xHH22x", head << 23 | level << 25, 0, numbering), []


def numbering(*levels: tuple[str, int]) -> Tree:
    """(pattern, number format) for each of the seven levels."""
    heads = b"".join(struct.pack("<IHHI", 0xC | code << 5, 0, 50, 0xFFFFFFFF) + _string(p) for p, code in levels)
    return 23, heads + struct.pack("<H7I", 1, *[1] * 7), []


def bullet(mark: str) -> Tree:
    return 24, struct.pack("<IHHI", 0xC, 0, 50, 0xFFFFFFFF) + mark.encode("utf-16-le") + b"\0" * 10, []


# ---- text ----

_TAB = struct.pack("<HIB7xH", 9, 4000, 0, 9)


@dataclass
class Control:
    """A control in a paragraph: its character code, its four-letter id, data after the id, records below it."""

    code: int
    kind: str
    data: bytes = b""
    children: list[Tree] = field(default_factory=list)


def paragraph(*parts: str | Control, shape: int = 0, style: int = 0) -> Tree:
    text = b""
    controls: list[Tree] = []
    for part in parts:
        if isinstance(part, str):
            for index, words in enumerate(part.split("\t")):
                text += _TAB * (index > 0) + words.encode("utf-16-le", "surrogatepass")
            continue
        code, kind = struct.pack("<H", part.code), part.kind.encode()[::-1]
        text += code + kind + b"\0" * 8 + code
        controls.append((71, kind + part.data, part.children))
    text += "\r".encode("utf-16-le")
    header = struct.pack("<IIHBBHHHI2x", len(text) // 2 | 0x80000000, 0, shape, style, 0, 1, 0, 1, 0)
    return 66, header, [(67, text, []), (68, struct.pack("<II", 0, 0), []), *controls]


def section_definition(outline: int = 1) -> Control:
    return Control(2, "secd", struct.pack("<IHHHIH27x", 0, 1134, 0, 0, 8000, outline))


def paragraph_list(*paragraphs: Tree, more: bytes = b"", flags: int = 0) -> list[Tree]:
    return [(72, struct.pack("<HHI", len(paragraphs), 0, flags) + more, []), *paragraphs]


def table(
    cells: Sequence[tuple[int, int, int, int, Sequence[Tree]]], *, caption: Sequence[Tree] = (), header: bool = False
) -> Control:
    """Cells as (row, column, rows, columns, paragraphs). `header`: the first row is marked as one."""
    below = paragraph_list(*caption, more=b"\0" * 22) if caption else []
    height, width = max(c[0] + c[2] for c in cells), max(c[1] + c[3] for c in cells)
    below.append(
        (77, struct.pack("<IHHH8x", 6, height, width, 0) + struct.pack(f"<{height}HHH", *[1] * height, 1, 0), [])
    )
    for row, column, rows, columns, paragraphs in cells:
        place = struct.pack("<HHHHII8xH13x", column, row, columns, rows, 1000, 500, 1)
        below += paragraph_list(*paragraphs, more=place, flags=(1 << 18) * (header and row == 0))
    return Control(11, "tbl ", b"\0" * 42, below)


def note(kind: str, *paragraphs: Tree) -> Control:
    """`kind`: "fn  ", "en  ", "head", "foot" or "tcmt"."""
    code = {"fn  ": 17, "en  ": 17, "head": 16, "foot": 16, "tcmt": 15}[kind]
    return Control(code, kind, b"\0" * 8, paragraph_list(*paragraphs))


def auto_number(kind: int, number: int) -> Control:
    """`kind`: 1 footnote, 3 picture, 4 table, 5 equation."""
    return Control(18, "atno", struct.pack("<IH6x", kind, number))


def text_box(*paragraphs: Tree) -> Control:
    return Control(
        11, "gso ", b"\0" * 56, [(76, b"cer$cer$" + b"\0" * 244, paragraph_list(*paragraphs, more=b"\0" * 25))]
    )


def equation(script: str) -> Control:
    return Control(11, "eqed", b"\0" * 42, [(88, struct.pack("<I", 0) + _string(script) + b"\0" * 12, [])])


# ---- files ----

OUTLINE = numbering(("^1.", 0), ("^2.", 8), ("^3)", 0), ("^4)", 8), ("(^5)", 0), ("(^6)", 8), ("^7", 1))
ARTICLES = numbering(("제^1조", 0), ("^2.", 0), ("^3)", 0), ("^4)", 8), ("(^5)", 0), ("(^6)", 8), ("^7", 1))
# Shapes 0 plain, 1–3 outline levels, 4 article numbers, 5 bullets; styles 0 바탕글, 1 제목, 2 개요 2.
DOC_INFO = [
    (16, b"\0" * 26, []),
    (17, b"\0" * 72, []),
    *[OUTLINE, ARTICLES, bullet("\uf06c")],
    *[para_shape(), para_shape(1, 0), para_shape(1, 1), para_shape(1, 2), para_shape(2, 0, 2), para_shape(3, 0, 1)],
    *[style("바탕글", "Normal"), style("제목", "Title"), style("개요 2", "Outline 2")],
]


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def file_header(flags: int, major: int = 5) -> bytes:
    return b"HWP Document File".ljust(32, b"\0") + bytes([0, 0, 1, major]) + struct.pack("<I", flags) + b"\0" * 216


def summary(title: str) -> bytes:
    """The stream HwpSummaryInformation with an author and a title ([MS-OLEPS])."""
    values = [struct.pack("<II", 0x1F, len(t) + 1) + (t + "\0").encode("utf-16-le") for t in ("지은이", title)]
    values = [value + b"\0" * (-len(value) % 4) for value in values]
    places = struct.pack("<IIII", 4, 24, 2, 24 + len(values[0]))
    section = struct.pack("<II", 24 + sum(map(len, values)), 2) + places + b"".join(values)
    return struct.pack("<HHI16xI16sI", 0xFFFE, 0, 0x20006, 1, b"\x60\xb6\xa2\x9f" * 4, 48) + section


def hwp_file(
    *sections: Sequence[Tree],
    flags: int = 1,
    extra: dict[str, bytes] | None = None,
    doc_info: Sequence[Tree] = DOC_INFO,
) -> bytes:
    """A whole file; bit 0 of `flags` says whether its streams are compressed."""
    pack = deflated if flags & 1 else bytes
    streams = {"FileHeader": file_header(flags), "DocInfo": pack(flat(doc_info))}
    for index, trees in enumerate(sections):
        streams[f"BodyText/Section{index}"] = pack(flat(trees))
    return compound_file({**streams, **(extra or {})})
