"""Which files a command line means: walks folders, leaves out what is not a document, and says what it left out.

Symbolic links, devices and the like are never followed: a folder of documents must not lead elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read. `name`: its identity within the collection, relative to the folder that was given, NFC."""

    path: Path
    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A path that is not read, and why: missing, link, special, unsupported, unreadable."""

    path: Path
    reason: str


def find_files(paths: Sequence[Path], *, supported: Collection[str]) -> tuple[list[SourceFile], list[LeftOut]]:
    """Documents under `paths` in a stable order, and what was left out. Hidden files and folders are not mentioned."""
    found: dict[Path, SourceFile] = {}
    left_out: list[LeftOut] = []
    for given in paths:
        for path, root in _walk(given, left_out):
            reason = _why_not(path, supported)
            if reason:
                left_out.append(LeftOut(path, reason))
            else:
                absolute = Path(os.path.abspath(path))  # noqa: PTH100 - without "..", and without following links
                name = unicodedata.normalize("NFC", path.relative_to(root).as_posix())
                found.setdefault(absolute, SourceFile(absolute, name, path.stat().st_size))
    return list(found.values()), left_out


def content_hash(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _walk(given: Path, left_out: list[LeftOut]) -> Iterator[tuple[Path, Path]]:
    if given.is_symlink() or not given.is_dir():
        yield given, given.parent
        return

    def note(error: OSError) -> None:
        left_out.append(LeftOut(Path(error.filename or given), "unreadable"))

    for folder, folders, files in os.walk(given, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        left_out.extend(LeftOut(Path(folder, name), "link") for name in folders if Path(folder, name).is_symlink())
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(folder, name), given


def _why_not(path: Path, supported: Collection[str]) -> str:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return "missing"
    if stat.S_ISLNK(mode):
        return "link"
    if not stat.S_ISREG(mode):
        return "special"
    if path.suffix.lower() not in supported:
        return "unsupported"
    return "" if os.access(path, os.R_OK) else "unreadable"
