"""Headings, paragraphs, lists and tables of an HWP 5 file, for `sandbox`.

An HWP 5 file is an OLE compound file with the streams FileHeader, DocInfo and BodyText/Section0, 1, …
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import olefile

from ingest.readers.hwp_body import section_paragraphs
from ingest.readers.hwp_docinfo import deletions, read_styles, summary_title
from ingest.readers.hwp_flow import flow_pieces
from ingest.readers.hwp_model import Paragraph, Unreadable, naming_problems
from ingest.readers.hwp_records import Budget, distribution_text

_SIGNATURE = b"HWP Document File"
_COMPRESSED, _PASSWORD, _DISTRIBUTION = 1 << 0, 1 << 1, 1 << 2
_OTHER_LOCKS = (1 << 4, 1 << 8, 1 << 10)  # encrypted with a certificate, DRM
_MAX_STREAMS = 4096
_MAX_STREAM_BYTES = 256 * 1024 * 1024
_SECTION = re.compile(r"Section(\d{1,5})")


def _stream(ole: olefile.OleFileIO, path: list[str]) -> bytes:
    what = "/".join(path)
    try:
        size = ole.get_size(path)
        if size > _MAX_STREAM_BYTES:
            raise Unreadable("too_large", f"{what} is too large")
        with ole.openstream(path) as stream:
            data: bytes = stream.read()
    except OSError:
        raise Unreadable("damaged", f"{what} is missing or cut off") from None
    if len(data) < size:
        raise Unreadable("damaged", f"{what} is cut off")
    return data


def _sections(ole: olefile.OleFileIO, folder: str) -> list[list[str]]:
    found = {}
    for entry in ole.listdir(streams=True, storages=False):
        match = _SECTION.fullmatch(entry[-1]) if len(entry) == 2 and entry[0] == folder else None
        if match:
            found[int(match.group(1))] = entry
    if not found:
        raise Unreadable("damaged", f"it has no text ({folder} is missing)")
    missing = next((number for number in range(max(found)) if number not in found), None)
    if missing is not None:
        raise Unreadable("damaged", f"section {missing + 1} is missing")
    return [found[number] for number in sorted(found)]


def _open(data: bytes) -> olefile.OleFileIO:
    # 512-byte or 4,096-byte sectors, 64-byte small ones; olefile computes with any, for minutes.
    if len(data) < 512 or (data[30:32], data[32:34]) not in ((b"\x09\0", b"\x06\0"), (b"\x0c\0", b"\x06\0")):
        raise Unreadable("damaged", "its compound file has a broken header")
    try:
        return olefile.OleFileIO(io.BytesIO(data))
    except OSError:
        raise Unreadable("damaged", "its compound file is broken or cut off") from None


def _title(ole: olefile.OleFileIO) -> str:
    try:
        return summary_title(_stream(ole, ["\x05HwpSummaryInformation"]))
    except Unreadable:  # a title is a help only
        return ""


def _flags(ole: olefile.OleFileIO) -> int:
    header = _stream(ole, ["FileHeader"])
    if not header.startswith(_SIGNATURE) or len(header) < 40:
        raise Unreadable("unsupported", "it is an Office file of another kind")
    if header[35] != 5:
        raise Unreadable("unsupported", f"it is of HWP version {header[35]}")
    flags = int.from_bytes(header[36:40], "little")
    if flags & _PASSWORD or any(flags & lock for lock in _OTHER_LOCKS):
        raise Unreadable("encrypted", "")
    return flags


def _pieces(ole: olefile.OleFileIO) -> Iterator[dict[str, Any]]:
    if len(ole.listdir(streams=True, storages=True)) > _MAX_STREAMS:
        raise Unreadable("too_large", f"it has more than {_MAX_STREAMS} streams")
    flags = _flags(ole)
    paths = _sections(ole, "ViewText" if flags & _DISTRIBUTION else "BodyText")
    yield {"steps": len(paths)}
    budget = Budget()

    def unpacked(data: bytes, what: str) -> bytes:
        if flags & _COMPRESSED:
            return budget.inflate(data, what=what)
        budget.spend(len(data))
        return data

    def paragraphs() -> Iterator[Paragraph]:
        for number, path in enumerate(paths, start=1):
            what = f"section {number}"
            data = _stream(ole, path)
            if flags & _DISTRIBUTION:
                data = distribution_text(data, what=what)
            yield from section_paragraphs(unpacked(data, what), what=what, deletions=deleted)

    yield {"title": _title(ole)}
    info = unpacked(_stream(ole, ["DocInfo"]), "the list of styles")
    styles, deleted = read_styles(info), deletions(info)
    yield from flow_pieces(styles, paragraphs())


@naming_problems
def records(data: bytes) -> Iterator[dict[str, Any]]:
    with _open(data) as ole:
        yield from _pieces(ole)
