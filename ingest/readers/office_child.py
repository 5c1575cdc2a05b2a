"""Pieces of an Office, OpenDocument or EPUB file, for `sandbox`.

Finds out what the file is by its content; the formats are in modules beside this one. Writes nothing to disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ingest.readers.safe_xml import iterparse
from ingest.readers.zip_package import Package, local

_BY_ROOT = {"document": "docx", "presentation": "pptx", "workbook": "xlsx"}
_BY_MIMETYPE = {
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.text-template": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/epub+zip": "epub",
}
_MODULES = {"docx": "docx", "pptx": "pptx", "xlsx": "xlsx", "odt": "odf", "ods": "odf", "odp": "odf", "epub": "epub"}
# A parser gets half a second more for each MB of XML, of which it reads 3 to 10 in a second. XML is seldom packed to
# less than a thirtieth; what claims more gets no more time.
_STEPS_PER_MB = 1
_MAX_RATIO = 30


def kind_of(package: Package) -> tuple[str, str]:
    """What the package is and its main part; ("zip", "") for any other ZIP file."""
    if "mimetype" in package:
        mimetype = package.read("mimetype")[:200].decode("ascii", "replace").strip()
        if mimetype in _BY_MIMETYPE:
            return _BY_MIMETYPE[mimetype], "content.xml"
    if "META-INF/container.xml" in package and "_rels/.rels" not in package:
        return "epub", ""
    main = package.related("", "officeDocument")
    if main is None:
        return "zip", ""
    if main.endswith(".bin"):
        return "xlsb", main
    with package.open(main) as stream:
        return _BY_ROOT.get(_root_name(stream), "zip"), main


def _root_name(stream: Any) -> str:
    return next((local(element) for _, element in iterparse(stream, events=("start",))), "")


def records(data: bytes) -> Iterator[dict[str, Any]]:
    """First {"steps", "format"}, then the pieces."""
    package = Package(data)
    kind, main = kind_of(package)
    megabytes = min(package.claimed_bytes, _MAX_RATIO * len(data)) // 2**20
    yield {"steps": _STEPS_PER_MB * megabytes, "format": kind}
    if kind in _MODULES:
        parser = import_module(f"ingest.readers.{_MODULES[kind]}_child")
        yield from parser.pieces(package, main, kind)
