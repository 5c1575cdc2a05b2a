"""Prints the headings, paragraphs, lists and tables of the HWP 5 file on standard input; run by `sandbox`.

An HWP 5 file is an OLE compound file with the streams FileHeader, DocInfo and BodyText/Section0, 1, …
"""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import olefile

sys.path.insert(0, str(Path(__file__).parents[2]))

from ingest.readers.hwp_body import section_paragraphs
from ingest.readers.hwp_docinfo import read_styles, summary_title
from ingest.readers.hwp_flow import Flow
from ingest.readers.hwp_model import Unreadable
from ingest.readers.hwp_records import Budget, distribution_text

_SIGNATURE = b"HWP Document File"
_COMPRESSED, _PASSWORD, _DISTRIBUTION = 1 << 0, 1 << 1, 1 << 2
_OTHER_LOCKS = (1 << 4, 1 << 8, 1 << 10)  # encrypted with a certificate, DRM
_MAX_STREAMS = 4096
_MAX_STREAM_BYTES = 256 * 1024 * 1024
_SECTION = re.compile(r"Section(\d{1,5})")


def _emit(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


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


def _print(ole: olefile.OleFileIO) -> None:
    if len(ole.listdir(streams=True, storages=True)) > _MAX_STREAMS:
        raise Unreadable("too_large", f"it has more than {_MAX_STREAMS} streams")
    flags = _flags(ole)
    paths = _sections(ole, "ViewText" if flags & _DISTRIBUTION else "BodyText")
    _emit({"steps": len(paths)})
    budget = Budget()

    def unpacked(data: bytes, what: str) -> bytes:
        if flags & _COMPRESSED:
            return budget.inflate(data, what=what)
        budget.spend(len(data))
        return data

    _emit({"title": _title(ole)})
    flow = Flow(read_styles(unpacked(_stream(ole, ["DocInfo"]), "the list of styles")), _emit)
    for number, path in enumerate(paths, start=1):
        what = f"section {number}"
        data = _stream(ole, path)
        if flags & _DISTRIBUTION:
            data = distribution_text(data, what=what)
        for paragraph in section_paragraphs(unpacked(data, what), what=what):
            flow.add(paragraph)
    flow.end()


def main() -> None:
    try:
        with _open(sys.stdin.buffer.read()) as ole:
            _print(ole)
    except Unreadable as failed:
        _emit({"problem": failed.reason, "what": failed.what})
    _emit({"done": True})


if __name__ == "__main__":
    try:
        main()
    except (MemoryError, RecursionError):
        _emit({"error": "too_large"})
    except Exception:  # noqa: BLE001 - whatever olefile raises, the file is at fault
        _emit({"error": "damaged"})
