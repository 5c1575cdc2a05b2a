"""What the index says of files against what lies on this machine's disk, as `git status` compares.

Hashes only what may have changed: a file whose size and time are as they were is taken to be the same. Knows nothing
about command lines or SQL.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest import readers
from ingest.files import SourceFile, content_hash, file_of, find_files, is_gone
from knowledge.file_states import FileState


@dataclass(frozen=True, slots=True)
class Differences:
    """Of one collection. `renamed`: (path in the collection, file now). `missing_roots`: given folders that are away,
    nothing is said of what they held. `elsewhere`: files that another machine read, which cannot be compared here.
    """

    changed: tuple[FileState, ...] = ()
    gone: tuple[FileState, ...] = ()
    new: tuple[SourceFile, ...] = ()
    renamed: tuple[tuple[FileState, SourceFile], ...] = ()
    missing_roots: tuple[Path, ...] = ()
    elsewhere: int = 0


@dataclass(frozen=True, slots=True)
class Gone:
    """Documents of one given folder whose files are no longer there. `doubt`: why that may not be meant, or ""."""

    root: Path
    states: tuple[FileState, ...]
    doubt: str = ""


def compare(
    states: Sequence[FileState], *, supported: Collection[str], within: Sequence[Path] | None = None
) -> Differences:
    """`states`: of one collection. `within`: compare only what lies there (default: all that was ever given)."""
    here = [item for item in states if is_local(item)]
    roots = sorted({Path(item.root) for item in here})
    meant = [item for item in here if within is None or is_below(item.origin, within)]
    missing = {folder_of(item) for item in meant if not folder_of(item).is_dir()}
    meant = [item for item in meant if folder_of(item) not in missing]
    gone = [item for item in meant if is_gone(file_of(item.origin))]
    new = _new_files(here, roots, supported, within)
    renamed = _renamed(gone, new)
    moved_from, moved_to = {item.path for item, _ in renamed}, {file.origin for _, file in renamed}
    return Differences(
        changed=tuple(item for item in meant if _is_changed(item)),
        gone=tuple(item for item in gone if item.path not in moved_from and not _is_in_one_of(item, gone)),
        new=tuple(file for file in new if file.origin not in moved_to),
        renamed=tuple(renamed),
        missing_roots=tuple(sorted(missing)),
        elsewhere=len(states) - len(here),
    )


def gone_by_root(states: Iterable[FileState]) -> list[Gone]:
    """What of `states` this machine no longer has, by the folder that was given."""
    roots: dict[Path, list[FileState]] = {}
    for item in states:
        if is_local(item) and is_gone(file_of(item.origin)):
            roots.setdefault(folder_of(item), []).append(item)
    return [Gone(root, tuple(items), _doubt(root)) for root, items in sorted(roots.items())]


def is_local(state: FileState) -> bool:
    """Before version 2 of the schema no host was noted: what lies here now is taken to be of this machine."""
    return state.host == socket.gethostname() or (not state.host and not is_gone(file_of(state.origin)))


def is_archive(state: FileState) -> bool:
    """Whether it is an archive itself, which is no document: what is in it has states of its own."""
    return Path(state.path).suffix.lower() in readers.ARCHIVES and file_of(state.origin) == Path(state.origin)


def folder_of(state: FileState) -> Path:
    """The folder that was given, or in which the file lies that was given alone."""
    root = Path(state.root)
    return root.parent if state.origin == state.root or state.origin.startswith(f"{state.root}!/") else root


def is_below(origin: str, paths: Iterable[Path]) -> bool:
    """Whether `origin` is one of `paths`, or lies in one that is a folder or an archive."""
    for path in paths:
        # A folder's name may end in "!" too: only of an archive is that what is in it.
        ends = (f"{path}/".replace("//", "/"), *([f"{path}!/"] if path.suffix.lower() in readers.ARCHIVES else []))
        if origin == str(path) or origin.startswith(ends):
            return True
    return False


def absolute(path: Path) -> Path:
    """As `find_files` writes it: links are not followed."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def exists(path: Path) -> bool:
    """False also for a name that no disk can have: too long, or with a NUL."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _doubt(root: Path) -> str:
    """A disk that is not mounted leaves no folder, or an empty one."""
    try:
        with os.scandir(root) as entries:
            if not root.is_dir():
                return "is not a folder any more"
            return "" if any(True for _ in entries) else "is empty"
    except (FileNotFoundError, NotADirectoryError):
        return "is not there"
    except OSError as exc:
        return f"cannot be looked into ({exc.strerror})"


def _is_in_one_of(state: FileState, archives: Sequence[FileState]) -> bool:
    return "!/" in state.origin and is_below(state.origin, [Path(a.origin) for a in archives if a.path != state.path])


def _is_changed(state: FileState) -> bool:
    """Members of archives are compared through their archive, unfinished files not at all."""
    path = Path(state.origin)
    if state.state not in ("stored", "failed") or not state.content_hash or file_of(state.origin) != path:
        return False
    try:
        status = path.lstat()
        if is_gone(path) or (status.st_size, status.st_mtime_ns) == (state.size_bytes, state.modified_ns):
            return False
        return content_hash(path) != state.content_hash
    except OSError:
        return False  # `gakju ingest add` will say why it cannot be read


def _new_files(
    here: Sequence[FileState], roots: Sequence[Path], supported: Collection[str], within: Sequence[Path] | None
) -> list[SourceFile]:
    if within is None:
        walked = roots
    else:  # a path that nothing was read from yet is new as a whole
        walked = [
            root for root in roots if is_below(str(root), within) or any(is_below(str(p), [root]) for p in within)
        ]
        walked += [path for path in within if not any(is_below(str(path), [root]) for root in roots)]
    known = {item.origin for item in here}
    files, _ = find_files(walked, supported=supported)
    return [file for file in files if file.origin not in known and (within is None or is_below(file.origin, within))]


def _renamed(gone: Sequence[FileState], new: Sequence[SourceFile]) -> list[tuple[FileState, SourceFile]]:
    """Pairs of a gone and a new file with the same content. Only files of a size that is missed are hashed."""
    missed = {(item.size_bytes, item.content_hash): item for item in gone if item.state == "stored"}
    sizes = {size for size, _ in missed}
    pairs = []
    for file in new:
        if file.size_bytes in sizes:
            try:
                item = missed.pop((file.size_bytes, content_hash(file.path)), None)
            except OSError:
                continue
            if item is not None:
                pairs.append((item, file))
    return pairs
