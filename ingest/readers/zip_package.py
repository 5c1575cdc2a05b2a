"""Members of a ZIP file that a stranger made, read in memory under limits. Knows no formats and writes nothing to disk.

A bomb is stopped by the bytes that come out of it: the sizes a ZIP declares are only claims (42.zip and its kin).
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from posixpath import dirname, join, normpath
from typing import IO, Any
from xml.etree.ElementTree import Element

# defusedxml: the standard library's parser, but a DTD's entities are refused (billion laughs, XXE) before they expand.
from defusedxml import ElementTree

MAX_MEMBERS = 20_000
MAX_INFLATED_BYTES = 512 * 1024 * 1024
_DIRECTORY_ENTRY = b"PK\x01\x02"
# Documents stored in a ZIP bring directory entries of their own; 200,000 entries take 120 MB to list.
_MAX_ENTRY_MARKS = 10 * MAX_MEMBERS
_BLOCK_BYTES = 64 * 1024
_PROGRESS_BYTES = 4 * 1024 * 1024
# bz2 and LZMA make 90 MB of 4 kB in one step, which no count of bytes can stop in time; Office writes neither.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# What zipfile raises on broken files.
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, RuntimeError)


class PackageError(Exception):
    """`reason`: damaged, encrypted or too_large."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def open_zip(data: bytes) -> zipfile.ZipFile:
    """Raises: PackageError ("too_large": too many members, "damaged")."""
    if data.count(_DIRECTORY_ENTRY) > _MAX_ENTRY_MARKS:
        raise PackageError("too_large")
    try:
        opened = zipfile.ZipFile(io.BytesIO(data))
    except (*BROKEN_ZIP, OSError) as exc:
        raise PackageError("damaged") from exc
    if len(opened.infolist()) > MAX_MEMBERS:
        raise PackageError("too_large")
    return opened


class Package:
    """The members of one ZIP by name; names are compared without case, as Office does.

    `max_bytes` bounds what is inflated in total. `on_progress` is called every 4 MB.
    """

    def __init__(
        self, data: bytes, *, max_bytes: int = MAX_INFLATED_BYTES, on_progress: Callable[[], None] = lambda: None
    ) -> None:
        self._zip = open_zip(data)
        self._members = {_key(info.filename): info for info in self._zip.infolist()}
        self._left = max_bytes
        self._unreported = 0
        self._on_progress = on_progress

    def __contains__(self, name: str) -> bool:
        return _key(name) in self._members

    @property
    def claimed_bytes(self) -> int:
        """Sum of the declared sizes of the XML members: a claim, good for no more than a time limit."""
        return sum(info.file_size for key, info in self._members.items() if key.endswith((".xml", "html", ".htm")))

    def open(self, name: str) -> IO[bytes]:
        """A stream that counts what comes out of it.

        Raises:
            PackageError: "damaged" if it is missing or packed in an uncommon way, "encrypted".
        """
        info = self._members.get(_key(name))
        if info is None:
            raise PackageError("damaged")
        if info.flag_bits & 0x1:
            raise PackageError("encrypted")
        if info.compress_type not in _METHODS:
            raise PackageError("damaged")
        return _Counted(self._zip.open(info), self._count)  # type: ignore[return-value]

    def read(self, name: str) -> bytes:
        with self.open(name) as stream:
            return b"".join(iter(lambda: stream.read(_BLOCK_BYTES), b""))

    def xml(self, name: str, *, dtd: bool = False) -> Element:
        """The root of an XML member. `dtd`: a document type may be declared, but no entities."""
        with self.open(name) as stream:
            root: Element = ElementTree.parse(stream, forbid_dtd=not dtd).getroot()
        return root

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Id → (kind, member) of what an Office part points to inside the package; {} if it points to nothing."""
        folder = dirname(part)
        name = join(folder, "_rels", part.rpartition("/")[2] + ".rels")
        if name not in self:
            return {}
        found = {}
        for relation in self.xml(name):
            if relation.get("TargetMode") != "External":
                kind = relation.get("Type", "").rpartition("/")[2]
                found[relation.get("Id", "")] = (kind, _resolved(folder, relation.get("Target", "")))
        return found

    def related(self, part: str, kind: str) -> str | None:
        """The first member of a kind ("styles", "footnotes") that a part points to, if it is there."""
        return next(
            (target for found, target in self.relations(part).values() if found == kind and target in self), None
        )

    def title(self) -> str:
        """The title in an Office file's properties, else ""."""
        part = self.related("", "core-properties")
        found = child(self.xml(part), "title") if part else None
        return (found.text or "") if found is not None else ""

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise PackageError("too_large")
        self._unreported += size
        if self._unreported >= _PROGRESS_BYTES:
            self._unreported = 0
            self._on_progress()


class _Counted:
    """A readable stream that tells how much was read."""

    def __init__(self, stream: IO[bytes], count: Callable[[int], None]) -> None:
        self._stream = stream
        self._count = count

    def read(self, size: int = -1) -> bytes:
        # One step inflates a block at most, whoever asks for all.
        block = self._stream.read(_BLOCK_BYTES if size < 0 else min(size, _BLOCK_BYTES))
        self._count(len(block))
        return block

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _key(name: str) -> str:
    return name.replace("\\", "/").lstrip("/").lower()


def _resolved(folder: str, target: str) -> str:
    target = target.replace("\\", "/")
    return normpath(target.lstrip("/") if target.startswith("/") else join(folder, target)) if target else ""


# ---- XML without namespaces: Office writes two sets of them ("transitional" and "strict") for the same names ----


def local(element: Element) -> str:
    """Name of an element without its namespace; "" for a comment."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: Element | None, name: str) -> str | None:
    """Value of an attribute, in whatever namespace."""
    if element is None:
        return None
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)


def relation_id(element: Element, name: str = "id") -> str:
    """Value of `r:id` ("id" alone is something else)."""
    return next((value for key, value in element.attrib.items() if key.endswith(f"elationships}}{name}")), "")


def child(element: Element | None, *names: str) -> Element | None:
    """The element found by going down through the first child of each name."""
    for name in names:
        if element is None:
            return None
        element = next((inner for inner in element if local(inner) == name), None)
    return element


def children(element: Element, name: str) -> list[Element]:
    return [inner for inner in element if local(inner) == name]


def integer(value: str | None, default: int = 0) -> int:
    try:
        return int(float(value)) if value else default
    except (ValueError, OverflowError):
        return default
