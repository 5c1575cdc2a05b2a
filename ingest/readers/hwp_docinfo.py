"""The DocInfo stream of an HWP 5 file to `Styles`, and the title among its properties. Knows nothing of the text."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

from ingest.readers.hwp_model import Level, Shape, Styles, Unreadable
from ingest.readers.hwp_numbering import NUMBER_FORMATS
from ingest.readers.hwp_records import Record, records

_NUMBERING, _BULLET, _PARA_SHAPE, _STYLE = 23, 24, 25, 26
_TRACKED_CHANGE, _DELETION = 96, b"\x11\0\0\0"
_HEADS = ("", "outline", "number", "bullet")
_NUMBERING_LEVELS = 7
_TITLE_PROPERTY, _WIDE_STRING = 2, 0x1F
_MAX_PROPERTIES = 64
_T = TypeVar("_T")


def read_styles(data: bytes) -> Styles:
    """Raises: Unreadable if the stream is cut off. A record that is too short for its kind counts as empty."""
    shapes: list[Shape] = []
    names: list[tuple[str, str]] = []
    numberings: list[tuple[Level, ...]] = []
    bullets: list[str] = []
    for record in records(data, what="the list of styles"):
        if record.tag == _PARA_SHAPE:
            shapes.append(_or_empty(_shape, record, Shape()))
        elif record.tag == _STYLE:
            names.append(_or_empty(_name, record, ("", "")))
        elif record.tag == _NUMBERING:
            numberings.append(_or_empty(_numbering, record, ()))
        elif record.tag == _BULLET:
            bullets.append(record.data[12:14].decode("utf-16-le", "replace"))
    # Shapes and styles are counted from 0, numberings and bullets from 1.
    return Styles(
        dict(enumerate(shapes)),
        dict(enumerate(names)),
        dict(enumerate(numberings, start=1)),
        dict(enumerate(bullets, start=1)),
    )


def deletions(data: bytes) -> frozenset[int]:
    """Numbers, from 1, of the tracked changes that delete words.

    Hancom's paper names the records and not what is in them; the kinds are known from documents saved in both formats.
    """
    changes = [record.data[:4] for record in records(data, what="the list of styles") if record.tag == _TRACKED_CHANGE]
    return frozenset(number for number, kind in enumerate(changes, start=1) if kind == _DELETION)


def _or_empty(parse: Callable[[Record], _T], record: Record, empty: _T) -> _T:
    try:
        return parse(record)
    except Unreadable:  # styles only help; the text is elsewhere
        return empty


def _shape(record: Record) -> Shape:
    flags = record.number(0, "<I")
    return Shape(_HEADS[flags >> 23 & 0b11], flags >> 25 & 0b111, record.number(30))


def _name(record: Record) -> tuple[str, str]:
    korean, offset = record.string(0)
    return korean, record.string(offset)[0]


def _numbering(record: Record) -> tuple[Level, ...]:
    heads: list[tuple[str, str]] = []
    offset = 0
    for _ in range(_NUMBERING_LEVELS):
        code = record.number(offset, "<I") >> 5 & 0xF
        pattern, offset = record.string(offset + 12)
        heads.append((pattern, NUMBER_FORMATS[code] if code < len(NUMBER_FORMATS) else "DIGIT"))
    starts = [1] * _NUMBERING_LEVELS
    offset += 2  # where the whole numbering starts: repeated as the first level's in files that have the list below
    if len(record.data) >= offset + 4 * _NUMBERING_LEVELS:
        starts = [record.number(offset + 4 * level, "<I") for level in range(_NUMBERING_LEVELS)]
    return tuple(Level(pattern, name, start) for (pattern, name), start in zip(heads, starts, strict=True))


def summary_title(data: bytes) -> str:
    """The title in a property set stream ([MS-OLEPS]); "" if it has none or is broken."""
    try:
        (section,) = struct.unpack_from("<I", data, 44)
        (count,) = struct.unpack_from("<I", data, section + 4)
        for index in range(min(count, _MAX_PROPERTIES)):
            number, offset = struct.unpack_from("<II", data, section + 8 + 8 * index)
            if number == _TITLE_PROPERTY:
                kind, length = struct.unpack_from("<II", data, section + offset)
                words = data[section + offset + 8 :][: 2 * min(length, len(data))]
                return words.decode("utf-16-le", "replace").partition("\0")[0] if kind == _WIDE_STRING else ""
    except struct.error:
        pass
    return ""
