"""Pieces of an e-book's chapters in the order of its spine, for `office_child`, by the HTML reader's parser."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import dirname, join, normpath
from typing import Any
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from ingest.readers.html_child import page_pieces
from ingest.readers.zip_package import Package, PackageError, attribute, child, children, local

Piece = dict[str, Any]

_CHAPTER_TYPES = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document"})
_CHAPTER_ENDINGS = (".xhtml", ".html", ".htm")


def pieces(package: Package, _main: str, _kind: str) -> Iterator[Piece]:
    _refuse_locked(package)
    container = package.xml("META-INF/container.xml", dtd=True)
    package_file = next((attribute(item, "full-path") for item in container.iter() if local(item) == "rootfile"), None)
    if not package_file:
        raise PackageError("damaged")
    root = package.xml(package_file, dtd=True)
    yield {"title": next((item.text or "" for item in root.iter() if local(item) == "title"), "")}
    read = 0
    for member in _chapters(root, dirname(package_file)):
        if member in package:
            read += 1
            yield from page_pieces(_decoded(package.read(member)))
    if not read:
        raise PackageError("damaged")


def _chapters(root: Element, folder: str) -> Iterator[str]:
    """Members in reading order, without the table of contents."""
    manifest, spine = child(root, "manifest"), child(root, "spine")
    if manifest is None or spine is None:
        raise PackageError("damaged")
    items = {item.get("id", ""): item for item in children(manifest, "item")}
    for reference in children(spine, "itemref"):
        item = items.get(reference.get("idref", ""))
        if item is None or item.get("media-type") not in _CHAPTER_TYPES or "nav" in item.get("properties", "").split():
            continue
        yield normpath(join(folder, unquote(item.get("href", "").partition("#")[0])))


def _refuse_locked(package: Package) -> None:
    """Fonts may be scrambled in an open book; chapters are only where it is locked to a reader's device."""
    if "META-INF/encryption.xml" in package:
        for element in package.xml("META-INF/encryption.xml", dtd=True).iter():
            if local(element) == "CipherReference" and element.get("URI", "").lower().endswith(_CHAPTER_ENDINGS):
                raise PackageError("encrypted")


def _decoded(data: bytes) -> str:
    """EPUB allows UTF-8 and UTF-16 only; old Korean books have CP949 too."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp949", "replace")
