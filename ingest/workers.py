"""The work on files that needs no database: read, chunk, analyse, embed. Here with the processors of this machine.

Reading happens in child processes, embedding for several small documents at once; the order of results is the order in
which they get ready. ingest/ray_cluster.py does the same on many machines.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from ingest.files import SourceFile, content_hash
from ingest.preparing import EMBED_TOGETHER, Prepared, Preparer
from ingest.reader_process import ReaderProcess
from knowledge.errors import ReadFailed
from knowledge.store import EmbeddedChunk
from knowledge.types import ParsedDocument

T = TypeVar("T")

READERS = 2
_AHEAD = 6  # documents read before they are embedded, so that neither waits for the other
_READ_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Job:
    """A file to work on, and the path that its document has or gets."""

    file: SourceFile
    path: str


@dataclass(frozen=True, slots=True)
class Worked:
    """A file's document and chunks, or why there are none. `content_hash`: of just the bytes that were read."""

    job: Job
    content_hash: str = ""
    parsed: ParsedDocument | None = None
    chunks: Sequence[EmbeddedChunk] = ()
    failure: ReadFailed | None = None


class Workers(Protocol):
    """Who does the work. `jobs` is drawn from as fast as work goes on, by one thread; drawing never waits for work."""

    def work(self, jobs: Iterator[Job], *, on_chunks: Callable[[int], None]) -> Iterator[Worked]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was read and cut, not yet embedded."""

    worked: Worked
    prepared: Prepared


class LocalWorkers:
    """`file_timeout_s`: what a file may take to be read, after which it is refused and its process killed."""

    def __init__(
        self, preparer: Preparer, *, max_file_bytes: int, file_timeout_s: float, readers: int = READERS
    ) -> None:
        self._preparer = preparer
        self._max_file_bytes = max_file_bytes
        self._idle: queue.SimpleQueue[ReaderProcess] = queue.SimpleQueue()
        self._readers = [ReaderProcess(timeout_s=file_timeout_s) for _ in range(readers)]
        for reader in self._readers:
            self._idle.put(reader)

    def work(self, jobs: Iterator[Job], *, on_chunks: Callable[[int], None] = lambda _: None) -> Iterator[Worked]:
        """Raises: EmbeddingUnavailable."""
        pool = ThreadPoolExecutor(len(self._readers), thread_name_prefix="read")
        reading: set[Future[_Read]] = set()
        try:
            drained = False
            while True:
                while not drained and len(reading) < len(self._readers) + _AHEAD:
                    job = next(jobs, None)
                    if job is None:
                        drained = True
                    else:
                        reading.add(pool.submit(self._read, job))
                if not reading:
                    return
                done, _ = wait(reading, return_when=FIRST_COMPLETED)
                batch = _small_batch(done)
                reading -= set(batch)
                yield from self._embed([future.result() for future in batch], on_chunks)
        finally:
            # Whoever stopped drawing must not wait for a slow file: its process is killed by `close`.
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()

    def _embed(self, documents: Sequence[_Read], on_chunks: Callable[[int], None]) -> Iterator[Worked]:
        embedded = self._preparer.embed([document.prepared for document in documents], on_chunks=on_chunks)
        for document, chunks in zip(documents, embedded, strict=True):
            done = document.worked
            yield Worked(done.job, done.content_hash, done.parsed, chunks, done.failure)

    def _read(self, job: Job) -> _Read:
        reader = self._idle.get()
        try:
            parsed, digest = read_settled(reader, job.file, max_bytes=self._max_file_bytes)
        except ReadFailed as exc:
            return _Read(Worked(job, exc.content_hash or _hash(job.file), failure=exc), Prepared((), (), ()))
        finally:
            self._idle.put(reader)
        return _Read(Worked(job, digest, parsed), self._preparer.prepare(parsed))


def read_settled(reader: ReaderProcess, file: SourceFile, *, max_bytes: int) -> tuple[ParsedDocument, str]:
    """What the file says, and the hash of just that content: a file that changes meanwhile is read again.

    Raises:
        ReadFailed: with one of its reasons.
    """
    name = Path(file.name).name
    return settled(file, lambda: reader.read(file.path, member=file.member, name=name, max_bytes=max_bytes))


def settled(file: SourceFile, read: Callable[[], T]) -> T:
    """What `read` makes of the file, done again while the file changes under it.

    Raises:
        ReadFailed: "unreadable" if it does not stop changing; and what `read` raises.
    """
    before = _stamp(file.path)
    for _ in range(_READ_ATTEMPTS):
        content = read()
        after = _stamp(file.path)
        if after == before:
            return content
        before = after
    raise ReadFailed(
        f"{Path(file.name).name} keeps changing while it is read.",
        reason="unreadable",
        hint="Ingest it when it is finished.",
    )


def _hash(file: SourceFile) -> str:
    """Of a file that killed its reader, so that it is not tried again unchanged."""
    try:
        return "" if file.member else content_hash(file.path)
    except OSError:
        return ""


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:
        return (0, 0, 0)  # reading it will say so
    return status.st_mtime_ns, status.st_size, status.st_ino


def _small_batch(done: set[Future[_Read]]) -> list[Future[_Read]]:
    """Documents to embed together: a large one alone, small ones until a call is full."""
    batch: list[Future[_Read]] = []
    chunks = 0
    for future in done:
        size = 0 if future.exception() else len(future.result().prepared)
        if batch and chunks + size > EMBED_TOGETHER:
            break
        batch.append(future)
        chunks += size
    return batch
