"""Headings, paragraphs, lists and tables of an HWPX file, for `sandbox`.

An HWPX file is a ZIP archive: Contents/content.hpf lists its parts, header.xml the styles, section0.xml, … the text.
Nothing is unpacked to disk; a part is read as far as it inflates within the limit, whatever size it declares.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from ingest.readers.hwp_flow import flow_pieces
from ingest.readers.hwp_model import Paragraph, Unreadable, naming_problems
from ingest.readers.hwpx_body import SectionReader
from ingest.readers.hwpx_header import local_name, read_styles
from ingest.readers.safe_xml import DocumentTypeRefused, iterparse
from ingest.readers.zip_package import Counted

_MAX_PARTS = 20_000
_MAX_INFLATED_BYTES = 160 * 1024 * 1024  # XML of all parts read; the text is a fiftieth of it
_MAX_XML_DEPTH = 400
_MAX_ELEMENTS = 3_000_000  # a thousand pages have half a million
_SECTION = re.compile(r"Contents/section(\d{1,5})\.xml")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError)


class _Archive:
    def __init__(self, data: bytes) -> None:
        self._left_bytes = _MAX_INFLATED_BYTES
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
                for event, element in iterparse(Counted(part, self._count), ("start", "end")):
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
        except DocumentTypeRefused:
            raise Unreadable("damaged", f"{name} has declarations that HWPX does not use") from None
        except ParseError as exc:
            raise Unreadable("damaged", f"{name} is no valid XML ({exc})") from None
        except _BROKEN:
            raise Unreadable("damaged", f"{name} cannot be unpacked") from None

    def _count(self, block: bytes) -> None:
        self._left_bytes -= len(block)
        if self._left_bytes < 0:
            raise Unreadable("too_large", "it holds more text than is allowed")

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


@naming_problems
def records(data: bytes) -> Iterator[dict[str, Any]]:
    archive = _Archive(data)
    _refuse_encrypted(archive)
    title, sections = _package(archive)
    if not sections:
        raise Unreadable("damaged", "it has no text (no section is in its archive)")
    yield {"steps": len(sections)}
    yield {"title": title}
    styles = read_styles(archive.root("Contents/header.xml"))
    yield from flow_pieces(styles, (paragraph for name in sections for paragraph in _paragraphs(archive, name)))
