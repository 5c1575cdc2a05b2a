"""Documents inside a ZIP archive (.zip), one after another, in memory. Nothing is written to disk.

A ZIP is a folder, no document: `members` gives what is in it, and each is read as a document of its own. The standard
library's `zipfile` reads it. Archives inside archives stay closed.
"""

from __future__ import annotations

import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ingest.readers.files import read_bytes
from ingest.readers.zip_package import BROKEN_ZIP, PackageError, open_zip
from knowledge.errors import ReadFailed

_BLOCK_BYTES = 64 * 1024
_UTF8_FLAG = 0x800
_ENCRYPTED_FLAG = 0x1
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ARCHIVES = frozenset(".zip .7z .rar .tar .gz .tgz .bz2 .xz .egg .alz".split())
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_MAX_NAME_CHARS = 1000


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
    try:
        archive = open_zip(data)
    except PackageError as exc:
        if exc.reason == "too_large":
            raise _bomb(name) from exc
        raise ReadFailed(f"{name} is no ZIP archive or damaged.", reason="damaged", hint="Make it again.") from exc
    left = max_total_bytes
    seen: set[str] = set()
    for info in archive.infolist():
        inside = member_name(info)
        if info.is_dir() or _is_hidden(inside):
            continue
        failure = _refusal(inside, info, seen)
        seen.add(inside)
        if failure:
            yield Member(inside, failure=failure)
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


def member_bytes(data: bytes, member: str, *, name: str, max_bytes: int) -> bytes:
    """Content of one file of an archive.

    Raises:
        ReadFailed: as its `Member.failure`; "damaged" if the archive is, "unreadable" if it has no such file (now).
    """
    try:
        archive = open_zip(data)
    except PackageError as exc:
        raise ReadFailed(f"{name} is no ZIP archive or damaged.", reason="damaged", hint="Make it again.") from exc
    for info in archive.infolist():
        if member_name(info) == member and not info.is_dir():
            if failure := _refusal(member, info, set()):
                raise failure
            return _read(archive, info, member, max_bytes)
    raise ReadFailed(f"{member} is no longer in {name}.", reason="unreadable", hint="Ingest the archive again.")


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


def _refusal(name: str, info: zipfile.ZipInfo, seen: set[str]) -> ReadFailed | None:
    shown = _CONTROLS.sub("?", name)[:_MAX_NAME_CHARS]
    parts = name.split("/")
    leads_out = name.startswith("/") or _DRIVE.match(name) or ".." in parts
    if leads_out or _CONTROLS.search(name) or len(name) > _MAX_NAME_CHARS or not parts[-1]:
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


def _bomb(name: str) -> ReadFailed:
    return ReadFailed(
        f"{name} holds more than is allowed to come out of an archive.", reason="too_large", hint="Split it."
    )
