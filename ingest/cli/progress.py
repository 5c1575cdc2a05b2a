"""How far a run is: a bar with the time left on a terminal, a line now and then elsewhere. Knows nothing but counts."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from ingest.cli.output import complain, counted, say, shown
from ingest.files import SourceFile
from ingest.results import FileResult

PLAIN_PROGRESS_EVERY_S = 5.0
_NAME_CHARS = 40
_BYTES_PER_CHUNK = 1000.0  # a guess until the first file is done
_AT_MOST_OF_A_FILE = 0.95
_SHOW_EVERY_S = 0.05  # unchanged files go by faster than anyone looks


class Face(Protocol):
    """Follows a run, as a context manager. `done`: one more result."""

    def __enter__(self) -> Face: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def started(self, file: SourceFile) -> None: ...

    def embedded(self, chunks: int) -> None: ...

    def done(self, result: FileResult) -> None: ...


class Counts:
    """Bytes and files that are done, guessed where a file is half done. An archive counts as one file."""

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self._sizes = {file.path: file.size_bytes for file in files}
        self._left = dict(self._sizes)  # bytes of each file that no result has accounted for
        self._started: dict[tuple[Path, str], SourceFile] = {}  # and not yet done, the first one first
        self._began = time.monotonic()
        self._pending_chunks = 0
        self._stored_chunks = 0
        self._done_bytes = 0
        self._reached = 0.0
        self.total_bytes = sum(self._sizes.values())
        self.total_files = len(self._sizes)
        self.files = 0
        self.chunks = 0

    def started(self, file: SourceFile) -> None:
        self._started[file.path, file.member] = file

    def embedded(self, chunks: int) -> None:
        self.chunks += chunks
        self._pending_chunks += chunks

    def done(self, result: FileResult) -> None:
        path = result.file.path
        self._started.pop((path, result.file.member), None)
        self.files += path in self._left and self._left[path] == self._sizes[path]
        if path in self._left:
            # More than nothing, so that it is counted once; members are larger than their archive.
            taken = result.file.size_bytes if result.file.member else self._left[path]
            left = max(-1, self._left[path] - max(taken, 1))
            self._done_bytes += self._left[path] - max(left, 0) if self._left[path] > 0 else 0
            self._left[path] = left
        self._pending_chunks = max(0, self._pending_chunks - result.chunks)
        self._stored_chunks += result.chunks

    @property
    def bytes(self) -> float:
        """Never less than before: a guess that was too high waits for the truth."""
        done = self._done_bytes
        each = done / self._stored_chunks if self._stored_chunks else _BYTES_PER_CHUNK
        guess = min(
            self._pending_chunks * each, _AT_MOST_OF_A_FILE * sum(file.size_bytes for file in self._started.values())
        )
        self._reached = max(self._reached, min(done + guess, self.total_bytes))
        return self._reached

    @property
    def name(self) -> str:
        """Of the file that has been in work for the longest: what the time goes into while others come and go."""
        at_work = list(self._started.values())  # a copy: another thread asks
        return shown(at_work[0].name) if at_work else ""

    @property
    def chunks_per_s(self) -> float:
        return self.chunks / max(time.monotonic() - self._began, 0.001)


class Bar:
    """On a terminal. Lines that must stay are printed above it."""

    def __init__(self, files: Sequence[SourceFile], console: Console) -> None:
        self._counts = Counts(files)
        self._shown_at = 0.0
        name = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(20),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[files]} files, {task.fields[rate]}", markup=False),
            TimeRemainingColumn(table_column=Column(min_width=7)),
            TextColumn("{task.fields[name]}", markup=False, table_column=name),
            console=console,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("", total=max(self._counts.total_bytes, 1), name="", files="", rate="")

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def started(self, file: SourceFile) -> None:
        self._counts.started(file)
        self._show()

    def embedded(self, chunks: int) -> None:
        self._counts.embedded(chunks)
        self._show()

    def done(self, result: FileResult) -> None:
        self._counts.done(result)
        self._show()

    def _show(self) -> None:
        counts = self._counts
        if time.monotonic() - self._shown_at < _SHOW_EVERY_S:
            return
        self._shown_at = time.monotonic()
        self._bar.update(
            self._task,
            completed=counts.bytes,
            files=f"{counts.files}/{counts.total_files}",
            rate=f"{counted(counts.chunks, 'chunk')} ({counts.chunks_per_s:.0f}/s)",
            name=counts.name[-_NAME_CHARS:],
        )


class Lines:
    """For logs: a line every few seconds, so that long work never looks stuck, and one for each file that changed."""

    def __init__(
        self,
        files: Sequence[SourceFile],
        *,
        tell: Callable[[FileResult], None],
        every_s: float = PLAIN_PROGRESS_EVERY_S,
    ) -> None:
        self._counts = Counts(files)
        self._tell = tell
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="progress", daemon=True)

    def __enter__(self) -> Lines:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def started(self, file: SourceFile) -> None:
        self._counts.started(file)

    def embedded(self, chunks: int) -> None:
        self._counts.embedded(chunks)

    def done(self, result: FileResult) -> None:
        self._counts.done(result)
        self._tell(result)

    def _beat(self) -> None:
        while not self._stop.wait(self._every_s):
            counts = self._counts
            name = counts.name
            complain(
                f"ingesting: {counts.files} of {counted(counts.total_files, 'file')}, {counted(counts.chunks, 'chunk')} "
                f"({counts.chunks_per_s:.0f}/s){f', at {name}' if name else ''}"
            )


def tell_result(result: FileResult) -> None:
    """A line for a file that changed the index. What failed is told in the summary."""
    if result.outcome == "renamed":
        say(f"{result.outcome:9} {shown(result.was)} → {shown(result.path)}")
    elif result.outcome not in ("unchanged", "failed"):
        say(f"{result.outcome:9} {shown(result.path)}")


def tell_nothing(result: FileResult) -> None:
    pass


def face(files: Sequence[SourceFile], *, quiet: bool, tell: Callable[[FileResult], None]) -> Face:
    """`quiet`: no bar even on a terminal."""
    console = Console(file=sys.stderr, highlight=False)
    if console.is_terminal and not quiet:
        return Bar(files, console)
    return Lines(files, tell=tell)
