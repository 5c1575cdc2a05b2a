"""Follows folders and keeps the index equal to them: what is new or edited goes in, what is deleted goes out.

Events only say when to look. What there is to do comes from comparing the folders with what they held before, so that
lost, doubled and misleading events, new subfolders and changed ignore files do no harm. A file is taken when it has been
quiet for a moment. An outage is waited out. Knows nothing about screens or signals.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from watchfiles import Change, watch

from ingest.disk import is_below, is_local
from ingest.files import IGNORE_FILE, Selection, SourceFile, file_of, find_files, is_gone
from ingest.ingestor import Ingestor
from ingest.results import FileResult
from knowledge.database import Database
from knowledge.errors import DatabaseUnavailable, EmbeddingUnavailable
from knowledge.file_states import file_states

QUIET_S = 1.0
_LOOK_AGAIN_S = 300.0  # also without an event: a queue of events may overflow, and network disks send none
_LOOK_SHARE = 5  # rests at least so many times as long as looking took
_TICK_MS = 300
_BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)

Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to say that is no result of a file: an outage or its end, a folder that went away."""

    text: str


class Follower:
    """Follows `folders` for `ingestor`'s collection. `known`: files as they were when they were last ingested.

    `revive`: called during an outage, to bring back servers that are this program's own.
    """

    def __init__(
        self,
        ingestor: Ingestor,
        db: Database,
        folders: Sequence[Path],
        *,
        collection: str,
        supported: frozenset[str],
        selection: Selection,
        known: Sequence[SourceFile],
        quiet_s: float = QUIET_S,
        revive: Callable[[], None] = lambda: None,
    ) -> None:
        self._ingestor = ingestor
        self._db = db
        self._folders = folders
        self._collection = collection
        self._supported = supported
        self._selection = selection
        self._quiet_s = quiet_s
        self._revive = revive
        self._known = {file.path: _stamp(file) for file in known}
        self._seen: dict[Path, tuple[Stamp | None, float]] = {}  # what differs: as it is, since when; None: gone
        self._files: dict[Path, SourceFile] = {}
        self._roots = {folder: _identity(folder) for folder in folders}
        self._away: set[Path] = set()

    def follow(self, stop: Event) -> Iterator[FileResult | Notice]:
        """Results as they come, until `stop` is set. Waits for the database and the embedding if they are away.

        Raises:
            GakjuError: what waiting does not mend, such as an index that was switched to another embedding.
        """
        failures = 0
        looked_at, look_took = -_LOOK_AGAIN_S, 0.0
        has_news = False
        for events in self._events(stop):
            has_news = has_news or events or bool(self._seen) or bool(self._away)
            since = time.monotonic() - looked_at
            # Looking through a huge folder must not become all that this machine does.
            if (has_news and since > _LOOK_SHARE * look_took) or since > _LOOK_AGAIN_S:
                looked_at = time.monotonic()
                yield from self._look(looked_at)
                look_took = time.monotonic() - looked_at
                has_news = False
            try:
                yield from self._take(time.monotonic())
            except (DatabaseUnavailable, EmbeddingUnavailable) as exc:
                if not failures:
                    yield Notice(f"{exc.sentence()} Trying again until it does.")
                self._revive()
                stop.wait(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
                continue
            if failures and not self._seen:
                failures = 0
                yield Notice("It goes on.")

    def _events(self, stop: Event) -> Iterator[bool]:
        """Whether anything happened, at least every `_TICK_MS`. Folders that are away are watched when they are back."""
        while not stop.is_set():
            there = [folder for folder in self._folders if folder.is_dir()]
            if not there:
                stop.wait(_TICK_MS / 1000)
                yield True
                continue
            away = set(self._away)
            for changes in watch(
                *there,
                watch_filter=_is_of_interest,
                debounce=_TICK_MS,
                step=50,
                stop_event=stop,
                rust_timeout=_TICK_MS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            ):
                yield bool(changes)
                if self._away != away:
                    break

    def _look(self, now: float) -> Iterator[Notice]:
        """Compare the folders with what they held."""
        files, _ = find_files(self._folders, supported=self._supported, selection=self._selection)
        self._files = {file.path: file for file in files}
        yield from self._look_at_roots()
        differs: dict[Path, Stamp | None] = {
            path: _stamp(file) for path, file in self._files.items() if self._known.get(path) != _stamp(file)
        }
        for path in self._known.keys() - self._files.keys():
            if not is_below(str(path), self._away) and is_gone(path):
                differs[path] = None
        # Whoever looks the same as before keeps the time since when.
        self._seen = {
            path: self._seen[path] if path in self._seen and self._seen[path][0] == stamp else (stamp, now)
            for path, stamp in differs.items()
        }

    def _look_at_roots(self) -> Iterator[Notice]:
        """A folder that is gone, or came back as another one and empty, is a disk that is not mounted."""
        for folder, known in self._roots.items():
            identity = _identity(folder)
            if identity != known and identity is not None and any(path.is_relative_to(folder) for path in self._files):
                self._roots[folder] = known = identity
            if identity == known and identity is not None:
                if folder in self._away:
                    self._away.discard(folder)
                    yield Notice(f"{folder} is back.")
            elif folder not in self._away:
                self._away.add(folder)
                yield Notice(f"{folder} is away: what is stored of it stays.")

    def _take(self, now: float) -> Iterator[FileResult]:
        """Ingest what is quiet, then remove what is gone: that way a rename is seen as one."""
        quiet = {path: stamp for path, (stamp, since) in self._seen.items() if now - since >= self._quiet_s}
        files = [self._files[path] for path, stamp in quiet.items() if stamp is not None and path in self._files]
        if files:
            for result in self._ingestor.run(files):
                if result.outcome != "unchanged":
                    yield result
            for file in files:
                self._settle(file.path, quiet[file.path])
        gone = [path for path, stamp in quiet.items() if stamp is None]
        lost = [folder for folder, known in self._roots.items() if gone and _identity(folder) != known]
        for path in gone:
            if is_below(str(path), lost):
                continue  # its whole folder went meanwhile
            if is_gone(path):
                yield from self._remove(path)
            self._settle(path, None)

    def _settle(self, path: Path, stamp: Stamp | None) -> None:
        self._seen.pop(path, None)
        if stamp is None:
            self._known.pop(path, None)
        else:
            self._known[path] = stamp

    def _remove(self, path: Path) -> Iterator[FileResult]:
        for state in file_states(self._db, self._collection):
            if is_local(state) and is_below(state.origin, [path]) and self._ingestor.remove(state.path):
                yield FileResult(SourceFile(file_of(state.origin), state.path, 0), "removed", state.path)


def _is_of_interest(change: Change, path: str) -> bool:
    """Not what programs write beside a document: hidden files, locks, copies."""
    name = os.path.basename(path)  # noqa: PTH119 - called for each event
    return name == IGNORE_FILE or not (name.startswith((".", "~$")) or name.endswith(("~", ".tmp", ".part", ".swp")))


def _stamp(file: SourceFile) -> Stamp:
    return file.size_bytes, file.modified_ns


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
