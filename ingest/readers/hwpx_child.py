"""Prints the headings, paragraphs, lists and tables of the HWPX file on standard input; run by `sandbox`.

An HWPX file is a ZIP archive: Contents/content.hpf lists its parts, header.xml the styles, section0.xml, … the text.
Nothing is unpacked to disk; a part is read as far as it inflates within the limit, whatever size it declares.
"""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

sys.path.insert(0, str(Path(__file__).parents[2]))

from ingest.readers.hwp_flow import Flow
from ingest.readers.hwp_model import Paragraph, Unreadable
from ingest.readers.hwpx_body import SectionReader
from ingest.readers.hwpx_header import local_name, read_styles

_MAX_PARTS = 20_000
_MAX_INFLATED_BYTES = 160 * 1024 * 1024  # XML of all parts read; the text is a fiftieth of it
_MAX_XML_DEPTH = 400
_MAX_ELEMENTS = 3_000_000  # a thousand pages have half a million
_SECTION = re.compile(r"Contents/section(\d{1,5})\.xml")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError)


def _emit(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


class _Counted:
    """A part of the archive that may be read as long as the archive's budget lasts."""

    def __init__(self, part: IO[bytes], archive: _Archive) -> None:
        self._part = part
        self._archive = archive

    def read(self, size: int = -1) -> bytes:
        data = self._part.read(size)
        self._archive.left_bytes -= len(data)
        if self._archive.left_bytes < 0:
            raise Unreadable("too_large", "it holds more text than is allowed")
        return data


class _Archive:
    def __init__(self, data: bytes) -> None:
        self.left_bytes = _MAX_INFLATED_BYTES
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _BROKEN:
            raise Unreadable("damaged", "its ZIP archive is broken or cut off") from None
        self.names = self._zip.namelist()
        if len(self.names) > _MAX_PARTS:
            raise Unreadable("too_large", f"its archive has more than {_MAX_PARTS} parts")

    def elements(self, name: str, *, drop_depth: int = 0) -> Iterator[tuple[int, Element]]:
        """(depth, element) at every end tag; the root's depth is 1. Those of `drop_depth` are freed when seen.

        Raises:
            Unreadable: if the part is missing, broken or too large.
        """
        if name not in self.names:
            raise Unreadable("damaged", f"{name} is missing")
        if self._zip.getinfo(name).flag_bits & 1:
            raise Unreadable("encrypted", "")
        try:
            with self._zip.open(name) as part:
                depth, count, root = 0, 0, None
                for event, element in iterparse(_Counted(part, self), ("start", "end"), forbid_dtd=True):
                    if event == "start":
                        depth, count = depth + 1, count + 1
                        root = element if root is None else root
                        if count > _MAX_ELEMENTS:
                            raise Unreadable("too_large", f"{name} has more than {_MAX_ELEMENTS} elements")
                        if depth > _MAX_XML_DEPTH:
                            raise Unreadable("damaged", f"{name} is nested more than {_MAX_XML_DEPTH} deep")
                        continue
                    yield depth, element
                    if depth == drop_depth and root is not None:
                        root.clear()
                    depth -= 1
        except DefusedXmlException:
            raise Unreadable("damaged", f"{name} has declarations that HWPX does not use") from None
        except ParseError as exc:
            raise Unreadable("damaged", f"{name} is no valid XML ({exc})") from None
        except _BROKEN:
            raise Unreadable("damaged", f"{name} cannot be unpacked") from None

    def root(self, name: str) -> Element:
        *_, (_, element) = self.elements(name)
        return element


def _refuse_encrypted(archive: _Archive) -> None:
    name = "META-INF/manifest.xml"
    if name in archive.names:
        for _, element in archive.elements(name):
            if local_name(element) == "encryption-data":
                raise Unreadable("encrypted", "")


def _package(archive: _Archive) -> tuple[str, list[str]]:
    """Title and sections in reading order, from content.hpf; sections by number where it is missing."""
    numbered = {int(match.group(1)): match.group() for match in map(_SECTION.fullmatch, archive.names) if match}
    in_order = [numbered[number] for number in sorted(numbered)]
    if "Contents/content.hpf" not in archive.names:
        return "", in_order
    title, hrefs, spine = "", {}, []
    for _, element in archive.elements("Contents/content.hpf"):
        kind = local_name(element)
        if kind == "title":
            title = title or element.text or ""
        elif kind == "item":
            hrefs[element.get("id", "")] = element.get("href", "").lstrip("/")
        elif kind == "itemref":
            spine.append(element.get("idref", ""))
    listed = [href for part in spine if "section" in (href := hrefs.get(part, ""))]
    return title, listed or in_order


def _paragraphs(archive: _Archive, name: str) -> Iterator[Paragraph]:
    """A section's paragraphs as they are parsed; what was read is dropped, so that memory holds one at a time."""
    reader = SectionReader()
    is_empty = True
    for depth, element in archive.elements(name, drop_depth=2):
        if depth == 2 and local_name(element) == "p":
            is_empty = False
            yield reader.paragraph(element)
    if is_empty:
        raise Unreadable("damaged", f"{name} has no paragraphs")


def _print(archive: _Archive) -> None:
    _refuse_encrypted(archive)
    title, sections = _package(archive)
    if not sections:
        raise Unreadable("damaged", "it has no text (no section is in its archive)")
    _emit({"steps": len(sections)})
    _emit({"title": title})
    flow = Flow(read_styles(archive.root("Contents/header.xml")), _emit)
    for name in sections:
        for paragraph in _paragraphs(archive, name):
            flow.add(paragraph)
    flow.end()


def main() -> None:
    try:
        _print(_Archive(sys.stdin.buffer.read()))
    except Unreadable as failed:
        _emit({"problem": failed.reason, "what": failed.what})
    _emit({"done": True})


if __name__ == "__main__":
    try:
        main()
    except (MemoryError, RecursionError):
        _emit({"error": "too_large"})
    except Exception:  # noqa: BLE001 - whatever the parsers raise, the file is at fault
        _emit({"error": "damaged"})
