"""Documents inside a ZIP archive (.zip), one after another, in memory. Nothing is written to disk.

A ZIP is a folder, no document: `members` gives what is in it, and each is read as a document of its own. The standard
library's `zipfile` reads it. Archives inside archives stay closed.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ingest.readers.files import larger_than, open_regular, read_bytes, shown_name
from ingest.readers.zip_package import BROKEN_ZIP, PackageError, open_zip
from knowledge.errors import ReadFailed

_BLOCK_BYTES = 64 * 1024
_UTF8_FLAG = 0x800
_ENCRYPTED_FLAG = 0x1
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ARCHIVES = frozenset(".zip .7z .rar .tar .gz .tgz .bz2 .xz .egg .alz".split())
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_MAX_NAME_BYTES = 1000  # of what PostgreSQL can index (2,704), the archive's own name needs as much


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive. `name`: its path inside, NFC, with forward slashes. `failure`: why `data` is empty."""

    name: str
    data: bytes = b""
    failure: ReadFailed | None = None


def members(
    path: Path, *, name: str | None = None, max_bytes: int, max_member_bytes: int, max_total_bytes: int
) -> Iterator[Member]:
    """The archive's files in order, without folders and hidden files; those that cannot be read say why.

    `max_bytes` bounds the archive itself, the others what comes out of it. Nothing is believed of declared sizes.

    Raises:
        ReadFailed: "unreadable", "empty", "damaged", or "too_large": the archive, or all that came out of it so far.
    """
    name = name or path.name
    data = read_bytes(path, name=name, max_bytes=max_bytes)
    yield from members_of(data, name=name, max_member_bytes=max_member_bytes, max_total_bytes=max_total_bytes)


def members_of(data: bytes, *, name: str, max_member_bytes: int, max_total_bytes: int) -> Iterator[Member]:
    """As `members`, of an archive that has been read."""
    if not data:
        raise ReadFailed(f"{name} is empty.", reason="empty", hint="Remove it, or save it again with content.")
    archive = _opened(data, name)
    left = max_total_bytes
    seen: Counter[str] = Counter()
    for info in archive.infolist():
        inside = member_name(info)
        if info.is_dir() or _is_hidden(inside):
            continue
        failure = _refusal(inside, info, seen)
        seen[inside] += 1
        if seen[inside] > 1:  # told apart, or what becomes of one would hide what became of the other
            inside = f"{inside}#{seen[inside]}"
        if failure:
            # Its name is stored and shown.
            yield Member(unicodedata.normalize("NFC", shown_name(inside)), failure=failure)
            continue
        try:
            content = _read(archive, info, inside, min(max_member_bytes, left))
        except ReadFailed as exc:
            if exc.reason == "too_large" and left <= max_member_bytes:
                raise _bomb(name) from exc
            # What was inflated for nothing counts too, or many bombs would cost their number.
            left -= max_member_bytes if exc.reason == "too_large" else 0
            yield Member(inside, failure=exc)
            continue
        left -= len(content)
        yield Member(inside, content)


class OpenedArchive:
    """An archive whose directory is read once for many members. `source`: its bytes, or the open file, which is kept.

    Raises:
        ReadFailed: "damaged", "too_large".
    """

    def __init__(self, source: bytes | IO[bytes], *, name: str) -> None:
        self._name = name
        self._zip = _opened(source, name)
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            if not info.is_dir():
                self._infos.setdefault(member_name(info), info)

    def member(self, name: str, *, max_bytes: int) -> bytes:
        """Content of one file of the archive.

        Raises:
            ReadFailed: as its `Member.failure`; "unreadable" if there is no such file (now).
        """
        info = self._infos.get(name)
        if info is None:
            raise ReadFailed(
                f"{name} is no longer in {self._name}.", reason="unreadable", hint="Ingest the archive again."
            )
        if failure := _refusal(name, info, ()):
            raise failure
        return _read(self._zip, info, name, max_bytes)


class ArchiveOnDisk:
    """The archive that members were last read from, kept open: one with thousands is not read once for each of them."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._stamp: tuple[Path, int, int, int, int] | None = None
        self._archive: OpenedArchive | None = None

    def member(self, path: Path, name: str, *, archive_name: str, max_bytes: int) -> bytes:
        """Content of the file `name` in the archive at `path`; both are at most `max_bytes` long.

        Raises:
            ReadFailed: as `files.read_bytes` and `OpenedArchive`.
        """
        file = open_regular(path, name=archive_name)  # also if it is open: another may have taken its place
        status = os.fstat(file.fileno())
        stamp = (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if self._archive is None or stamp != self._stamp:
            self.close()
            self._file = file
            if status.st_size > max_bytes:
                raise larger_than(max_bytes, name=archive_name)
            self._archive, self._stamp = OpenedArchive(file, name=archive_name), stamp
        else:
            file.close()
        return self._archive.member(name, max_bytes=max_bytes)

    def close(self) -> None:
        if self._file:
            self._file.close()
        self._file = self._archive = self._stamp = None


def member_name(info: zipfile.ZipInfo) -> str:
    """The name in the encoding it is really in: Windows in Korea writes CP949 and macOS UTF-8 without saying so."""
    name = info.orig_filename
    if not info.flag_bits & _UTF8_FLAG and not name.isascii():
        raw = name.encode("cp437", "replace")
        for encoding in ("utf-8", "cp949"):
            try:
                name = raw.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part.strip(".") for part in name.split("/")) or name.startswith("__MACOSX/")


def _refusal(name: str, info: zipfile.ZipInfo, seen: Container[str]) -> ReadFailed | None:
    shown = shown_name(name)
    parts = name.split("/")
    leads_out = name.startswith("/") or _DRIVE.match(name) or ".." in parts
    if leads_out or _CONTROLS.search(name) or len(name.encode(errors="replace")) > _MAX_NAME_BYTES or not parts[-1]:
        why, hint = "has a name that no file inside an archive may have", "Make the archive again, from a folder."
    elif stat.S_ISLNK(info.external_attr >> 16):
        why, hint = "is a link", "Put the file itself into the archive."
    elif name in seen:
        why, hint = "is in the archive twice", "Make the archive again, from a folder."
    elif PurePosixPath(name).suffix.lower() in _ARCHIVES:
        why, hint = "is an archive inside an archive", "Unpack it, and ingest what was in it."
    elif info.flag_bits & _ENCRYPTED_FLAG:
        return ReadFailed(
            f"{shown} is protected by a password.", reason="encrypted", hint="Make the archive without a password."
        )
    else:
        return None
    return ReadFailed(f"{shown} {why}.", reason="unsupported", hint=hint)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, max_bytes: int) -> bytes:
    if info.compress_type not in _METHODS:
        raise ReadFailed(
            f"{name} is packed in an uncommon way.", reason="unsupported", hint="Make the archive as a plain ZIP."
        )
    blocks, size = [], 0
    try:
        with archive.open(info) as stream:
            while block := stream.read(_BLOCK_BYTES):
                size += len(block)
                if size > max_bytes:
                    raise ReadFailed(
                        f"{name} is too large.", reason="too_large", hint="Split it, or raise MAX_FILE_MB."
                    )
                blocks.append(block)
    except (*BROKEN_ZIP, OSError) as exc:
        raise ReadFailed(
            f"{name} is damaged in the archive.", reason="damaged", hint="Make the archive again."
        ) from exc
    return b"".join(blocks)


def _opened(source: bytes | IO[bytes], name: str) -> zipfile.ZipFile:
    try:
        return open_zip(source)
    except PackageError as exc:
        if exc.reason == "too_large":
            raise _bomb(name) from exc
        raise ReadFailed(f"{name} is no ZIP archive or damaged.", reason="damaged", hint="Make it again.") from exc


def _bomb(name: str) -> ReadFailed:
    return ReadFailed(
        f"{name} holds more than is allowed to come out of an archive.", reason="too_large", hint="Split it."
    )
