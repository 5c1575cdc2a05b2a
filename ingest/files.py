"""Which files a command line means: walks folders, leaves out what is not a document, and says what it left out.

Symbolic links, devices and the like are never followed: a folder of documents must not lead elsewhere. Files named in a
`.gakjuignore` (with the rules of .gitignore) are passed over, and so is what is hidden.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pathspec import GitIgnoreSpec

IGNORE_FILE = ".gakjuignore"
MAX_NAME_BYTES = 1000  # twice that, for archive/member, is what an index of PostgreSQL still takes (2,704)
_HIDDEN = (".", "~$")  # "~$x.docx" is Word's note that x.docx is open


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read. `name`: its identity within the collection, relative to the folder that was given, NFC.

    `root`: what was given: that folder, or the file itself. `member`: the file inside the archive at `path`; its name is
    then archive/member.
    """

    path: Path
    name: str
    size_bytes: int
    root: Path = Path()
    modified_ns: int = 0
    member: str = ""

    @property
    def origin(self) -> str:
        """Where it lies, for people and to know it again."""
        return f"{self.path}!/{self.member}" if self.member else str(self.path)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A path that is not read, and why: missing, link, special, unsupported, unreadable, name, ignored."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files of a folder are meant, as patterns with the rules of .gitignore. No `include`: all that are read."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    _include: GitIgnoreSpec = field(init=False, repr=False, compare=False)
    _exclude: GitIgnoreSpec = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises: ValueError for a pattern that is none."""
        object.__setattr__(self, "_include", GitIgnoreSpec.from_lines(map(_nfc, self.include)))
        object.__setattr__(self, "_exclude", GitIgnoreSpec.from_lines(map(_nfc, self.exclude)))

    def leaves_out(self, name: str, *, is_folder: bool = False) -> bool:
        """`name`: relative to the folder that was given, with forward slashes, NFC."""
        if not (self.include or self.exclude):
            return False
        if self._exclude.match_file(f"{name}/" if is_folder else name):
            return True
        return not is_folder and bool(self.include) and not self._include.match_file(name)


def find_files(
    paths: Sequence[Path], *, supported: Collection[str], selection: Selection | None = None
) -> tuple[list[SourceFile], list[LeftOut]]:
    """Documents under `paths` in a stable order, and what was left out. Hidden files and folders are not mentioned."""
    found: dict[str, SourceFile] = {}
    left_out: list[LeftOut] = []
    selection = selection or Selection()
    for given in paths:
        root = Path(os.path.abspath(given))  # noqa: PTH100 - follows no links
        for path, name in _walk(root, selection, left_out):
            reason, status = _why_not(path, supported)
            if reason or status is None:
                left_out.append(LeftOut(Path(path), reason))
            elif len(name.encode()) > MAX_NAME_BYTES:
                left_out.append(LeftOut(Path(path), "name"))
            elif path not in found:
                found[path] = SourceFile(Path(path), name, status.st_size, root, status.st_mtime_ns)
    return list(found.values()), left_out


def content_hash(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_of(origin: str) -> Path:
    """The file on disk that a `SourceFile.origin` speaks of: of an archive's member, the archive."""
    at = origin.find("!/")
    while at >= 0:
        if os.path.isfile(origin[:at]):  # noqa: PTH113 - a folder's name may end in "!" too
            return Path(origin[:at])
        at = origin.find("!/", at + 1)
    return Path(origin)


def is_gone(path: Path) -> bool:
    """Whether there is no regular file at `path` any more. One that cannot be looked at is not gone."""
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


# Below here paths are strings: with objects, walking 10,000 files takes longer than hashing them.


def _walk(given: Path, selection: Selection, left_out: list[LeftOut]) -> Iterator[tuple[str, str]]:
    """Files, and their names counted from `given`. Those that are ignored are noted and not given."""
    if not _is_folder(given):
        yield str(given), _nfc(given.name)
        return

    def note(error: OSError) -> None:
        left_out.append(LeftOut(Path(error.filename or given), "unreadable"))

    ignores = _Ignores()
    base_chars = len(str(given).rstrip("/")) + 1
    for folder, folders, files in os.walk(given, onerror=note):
        prefix = _nfc(f"{folder}/"[base_chars:])
        if IGNORE_FILE in files:
            ignores.read(Path(folder), prefix)
        kept = []
        for item in sorted(folders):
            path, name = os.path.join(folder, item), prefix + _nfc(item)  # noqa: PTH118
            if item.startswith(_HIDDEN):
                continue
            if os.path.islink(path):  # noqa: PTH114
                left_out.append(LeftOut(Path(path), "link"))
            elif selection.leaves_out(name, is_folder=True) or ignores.match(name, is_folder=True):
                left_out.append(LeftOut(Path(path), "ignored"))
            else:
                kept.append(item)
        folders[:] = kept
        for item in sorted(files):
            path, name = os.path.join(folder, item), prefix + _nfc(item)  # noqa: PTH118
            if item.startswith(_HIDDEN):
                continue
            if selection.leaves_out(name) or ignores.match(name):
                left_out.append(LeftOut(Path(path), "ignored"))
            else:
                yield path, name


class _Ignores:
    """The ignore files of a folder that is walked. The one nearest to a file that says anything about it decides."""

    def __init__(self) -> None:
        self._specs: dict[str, GitIgnoreSpec] = {}  # by the folder's name with a slash at its end; "": the whole

    def read(self, folder: Path, prefix: str) -> None:
        """A pipe by that name would block for ever, and a line that is no pattern is passed over, as git does."""
        path = folder / IGNORE_FILE
        if is_gone(path) or not os.access(path, os.R_OK):
            return
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        self._specs[prefix] = GitIgnoreSpec.from_lines(
            line for line in map(_nfc, text.splitlines()) if _is_pattern(line)
        )

    def match(self, name: str, *, is_folder: bool = False) -> bool:
        at = len(name) if self._specs else 0
        while at > 0:
            at = name.rfind("/", 0, at) + 1  # of the slash before, or the whole
            spec = self._specs.get(name[:at])
            if spec is not None:
                said = spec.check_file(name[at:] + "/" * is_folder).include
                if said is not None:
                    return said
            at -= 1
        return False


def _why_not(path: str, supported: Collection[str]) -> tuple[str, os.stat_result | None]:
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return "missing", None
    if stat.S_ISLNK(status.st_mode):
        return "link", None
    if not stat.S_ISREG(status.st_mode):
        return "special", None
    if os.path.splitext(path)[1].lower() not in supported:  # noqa: PTH122
        return "unsupported", None
    if not _is_text(path):
        return "name", None
    return ("", status) if os.access(path, os.R_OK) else ("unreadable", None)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True


def _nfc(text: str) -> str:
    """macOS gives names decomposed, people write patterns composed."""
    return unicodedata.normalize("NFC", text)


def _is_text(name: str) -> bool:
    """Whether the name can be stored and shown: file systems allow any bytes."""
    return name.isprintable() or not any(ord(sign) < 32 or 0xD800 <= ord(sign) < 0xE000 for sign in name)
