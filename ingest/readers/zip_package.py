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

from ingest.readers import safe_xml
from ingest.readers.parsing import Refused

MAX_MEMBERS = 20_000
MAX_INFLATED_BYTES = 512 * 1024 * 1024
# XML is seldom packed to less than a thirtieth, and 1,032 to one is the most that deflate can do.
_MAX_RATIO = 60
_ALWAYS_ALLOWED_BYTES = 64 * 1024 * 1024
# What is held whole: styles, notes, relations, a chapter. An element takes a hundred bytes and more.
_MAX_WHOLE_BYTES = 32 * 1024 * 1024
_MAX_WHOLE_TAGS = 1_000_000
_MAX_TAGS_PER_BYTE = 1.5  # of the file: a text has half of one
_ROW_TAGS = 0.2  # a sheet has one and, of equal cells, two; but it is read row by row
_ALWAYS_ALLOWED_TAGS = 1_000_000
_MAX_DEPTH = 100_000
# Without a tag: a parser holds all of a text or an attribute, and reads the latter again with every block.
_MAX_UNBROKEN_BYTES = 8 * 1024 * 1024
_DIRECTORY_ENTRY = b"PK\x01\x02"
# Documents stored in a ZIP bring directory entries of their own; 200,000 entries take 120 MB to list.
_MAX_ENTRY_MARKS = 10 * MAX_MEMBERS
_BLOCK_BYTES = 64 * 1024
_SCAN_BYTES = 4 * 1024 * 1024
# bz2 and LZMA make 90 MB of 4 kB in one step, which no count of bytes can stop in time; Office writes neither.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# What zipfile raises on broken files.
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, RuntimeError)


class PackageError(Refused):
    """`reason`: damaged, encrypted or too_large."""


def open_zip(source: bytes | IO[bytes]) -> zipfile.ZipFile:
    """`source`: a ZIP, or an open file that holds one. Raises: PackageError ("too_large": many members, "damaged")."""
    try:
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        if _count_marks(stream) > _MAX_ENTRY_MARKS:
            raise PackageError("too_large")
        opened = zipfile.ZipFile(stream)
    except (*BROKEN_ZIP, OSError) as exc:
        raise PackageError("damaged") from exc
    if len(opened.infolist()) > MAX_MEMBERS:
        raise PackageError("too_large")
    return opened


def _count_marks(stream: IO[bytes]) -> int:
    found, before = 0, b""
    stream.seek(0)
    while block := stream.read(_SCAN_BYTES):
        found += (before + block).count(_DIRECTORY_ENTRY)
        before = block[1 - len(_DIRECTORY_ENTRY) :]
    return found


class Package:
    """The members of one ZIP by name; names are compared without case, as Office does.

    `max_bytes` bounds what is inflated in total.
    """

    def __init__(self, data: bytes, *, max_bytes: int = MAX_INFLATED_BYTES) -> None:
        self._zip = open_zip(data)
        self._members = {_key(info.filename): info for info in self._zip.infolist()}
        self._left_bytes = min(max_bytes, max(_ALWAYS_ALLOWED_BYTES, _MAX_RATIO * len(data)))
        self._left_tags = max(_ALWAYS_ALLOWED_TAGS, _MAX_TAGS_PER_BYTE * len(data))

    def __contains__(self, name: str) -> bool:
        return _key(name) in self._members

    @property
    def claimed_bytes(self) -> int:
        """Sum of the declared sizes of the XML members: a claim, good for no more than a time limit."""
        return sum(info.file_size for key, info in self._members.items() if key.endswith((".xml", "html", ".htm")))

    def open(self, name: str, *, in_rows: bool = False) -> IO[bytes]:
        """A stream that counts what comes out of it. `in_rows`: little of it is held at once.

        Raises:
            PackageError: "damaged" if it is missing or packed in an uncommon way, "encrypted".
        """

        def count(block: bytes) -> None:
            self._left_bytes -= len(block)
            self._left_tags -= block.count(b"<") * (_ROW_TAGS if in_rows else 1)
            _require_left(self._left_bytes, self._left_tags)

        return self._counted(name, count)

    def scan(self, name: str) -> IO[bytes]:
        """A stream of a member that is going to be read, too, and counts then. Raises: PackageError, as `open`."""
        left_bytes = self._left_bytes

        def count(block: bytes) -> None:
            nonlocal left_bytes
            left_bytes -= len(block)
            _require_left(left_bytes)

        return self._counted(name, count)

    def _counted(self, name: str, count: Callable[[bytes], None]) -> IO[bytes]:
        info = self._members.get(_key(name))
        if info is None:
            raise PackageError("damaged")
        if info.flag_bits & 0x1:
            raise PackageError("encrypted")
        if info.compress_type not in _METHODS:
            raise PackageError("damaged")
        return Counted(self._zip.open(info), count)  # type: ignore[return-value]

    def read(self, name: str) -> bytes:
        """A whole member. Raises: PackageError ("too_large" if it is more than one needs to hold at once)."""
        with self._open_whole(name) as stream:
            return b"".join(iter(lambda: stream.read(_BLOCK_BYTES), b""))

    def xml(self, name: str, *, dtd: bool = False, is_content: bool = False) -> Element:
        """The root of an XML member. `dtd`: a document type may be declared, but no entities.

        `is_content`: it holds the document's text, and may be four times as large as other parts.
        """
        with self._open_whole(name, times=4 if is_content else 1) as stream:
            root: Element = ElementTree.parse(stream).getroot() if dtd else safe_xml.parse(stream)
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

    def _open_whole(self, name: str, *, times: int = 1) -> IO[bytes]:
        left_bytes, left_tags = times * _MAX_WHOLE_BYTES, times * _MAX_WHOLE_TAGS

        def count(block: bytes) -> None:
            nonlocal left_bytes, left_tags
            left_bytes -= len(block)
            left_tags -= block.count(b"<")
            _require_left(left_bytes, left_tags)

        return Counted(self.open(name), count)  # type: ignore[return-value]


def _require_left(*left: float) -> None:
    if min(left) < 0:
        raise PackageError("too_large")


class Counted:
    """A readable stream whose blocks are shown to `count`, which may raise.

    Refuses text without a tag, and tags without an end, that a parser would have to hold.
    """

    def __init__(self, stream: IO[bytes], count: Callable[[bytes], None]) -> None:
        self._stream = stream
        self._count = count
        self._unbroken = 0
        self._depth = 0

    def read(self, size: int = -1) -> bytes:
        # One step inflates a block at most, whoever asks for all.
        block = self._stream.read(_BLOCK_BYTES if size < 0 else min(size, _BLOCK_BYTES))
        self._count(block)
        tag = block.rfind(b"<")
        self._unbroken = len(block) - tag if tag >= 0 else self._unbroken + len(block)
        self._depth += block.count(b"<") - 2 * block.count(b"</") - block.count(b"/>")
        if self._unbroken > _MAX_UNBROKEN_BYTES or self._depth > _MAX_DEPTH:
            raise PackageError("too_large")
        return block

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Counted:
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
