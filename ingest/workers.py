"""The work on files that needs no database: read, chunk, analyse, embed. Here with the processors of this machine.

Reading happens in child processes, embedding for several small documents at once; the order of results is the order in
which they get ready. ingest/ray_cluster.py does the same on many machines.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from ingest.files import SourceFile, content_hash
from ingest.preparing import EMBED_TOGETHER, Prepared, Preparer
from ingest.reader_process import ReaderProcess
from knowledge.errors import ReadFailed
from knowledge.store import EmbeddedChunk
from knowledge.types import ParsedDocument

T = TypeVar("T")

READERS = 2
_AHEAD = 24  # documents read before they are embedded, so that neither waits for the other
_CHUNKS_AHEAD = 4 * EMBED_TOGETHER
_EMBEDDERS = 2  # calls at once: the processors that the end of one leaves idle begin with the next
_PROGRESS_EVERY_S = 0.25
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


class _Counts:
    """Takes the counts of chunks from the threads that embed to the one that tells of them, and the wish to stop back."""

    def __init__(self) -> None:
        self._done: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._stopped = False

    def put(self, chunks: int) -> None:
        """Raises: CancelledError: nobody waits for the rest of the document."""
        if self._stopped:
            raise CancelledError
        self._done.put(chunks)

    def tell(self, on_chunks: Callable[[int], None]) -> None:
        while not self._done.empty():
            on_chunks(self._done.get())

    def stop(self) -> None:
        self._stopped = True


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
        readers = ThreadPoolExecutor(len(self._readers), thread_name_prefix="read")
        embedders = ThreadPoolExecutor(_EMBEDDERS, thread_name_prefix="embed")
        reading: set[Future[_Read]] = set()
        embedding: set[Future[list[Worked]]] = set()
        counts = _Counts()
        drained = False
        try:
            while True:
                while not drained and len(reading) < len(self._readers) + _AHEAD and _chunks(reading) < _CHUNKS_AHEAD:
                    job = next(jobs, None)
                    if job is None:
                        drained = True
                    else:
                        reading.add(readers.submit(self._read, job))
                while len(embedding) < _EMBEDDERS and (batch := _batch(reading, can_wait=bool(embedding))):
                    reading -= set(batch)
                    documents = [future.result() for future in batch]
                    embedding.add(embedders.submit(self._embed, documents, counts.put))
                if not reading and not embedding:
                    return
                waiting: list[Future[Any]] = [*embedding, *(future for future in reading if not future.done())]
                wait(waiting, timeout=_PROGRESS_EVERY_S, return_when=FIRST_COMPLETED)
                counts.tell(on_chunks)
                for future in [future for future in embedding if future.done()]:
                    embedding.discard(future)
                    yield from future.result()
        finally:
            # Whoever stopped drawing must not wait for a slow file, whose process is killed by `close`, or a large one.
            counts.stop()
            readers.shutdown(wait=False, cancel_futures=True)
            embedders.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()

    def _embed(self, documents: Sequence[_Read], on_chunks: Callable[[int], None]) -> list[Worked]:
        embedded = self._preparer.embed([document.prepared for document in documents], on_chunks=on_chunks)
        return [
            Worked(done.job, done.content_hash, done.parsed, chunks, done.failure)
            for done, chunks in zip((document.worked for document in documents), embedded, strict=True)
        ]

    def _read(self, job: Job) -> _Read:
        reader = self._idle.get()
        try:
            parsed, digest = read_settled(reader, job.file, max_bytes=self._max_file_bytes)
        except ReadFailed as exc:
            return _Read(Worked(job, exc.content_hash, failure=exc), Prepared((), (), (), ()))
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
        content, failure = None, None
        try:
            content = read()
        except ReadFailed as exc:  # half a file is damaged
            failure = exc
            failure.content_hash = failure.content_hash or _hash(file)
        after = _stamp(file.path)
        if after == before:
            if failure:
                raise failure
            return cast("T", content)
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


def _chunks(reading: Iterable[Future[_Read]]) -> int:
    """Of the documents among these that are read."""
    return sum(len(future.result().prepared) for future in reading if future.done() and not future.exception())


def _batch(reading: Collection[Future[_Read]], *, can_wait: bool) -> list[Future[_Read]]:
    """Documents to embed together: a large one alone, small ones until a call is full.

    `can_wait`: for more documents, if any are being read, unless a call is full.
    """
    done = [future for future in reading if future.done()]
    batch: list[Future[_Read]] = []
    chunks = 0
    for future in done:
        size = 0 if future.exception() else len(future.result().prepared)
        if batch and chunks + size > EMBED_TOGETHER:
            return batch
        batch.append(future)
        chunks += size
    more_to_come = can_wait and len(done) < len(reading)
    return [] if more_to_come and chunks < EMBED_TOGETHER else batch
