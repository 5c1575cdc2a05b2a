"""Files into the index, exactly once: read, chunk, embed, and replace the document in one transaction.

A rerun skips what is unchanged, so after a crash one simply runs it again; two runs over the same files share the work.
One bad file never stops the others. Knows nothing about command lines (ingest/cli) or SQL (knowledge/store.py).
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from ingest.disk import is_local
from ingest.files import SourceFile, content_hash, file_of, is_gone
from ingest.planning import Archive, Known, Planner
from ingest.readers.ocr import find_tesseract
from ingest.removing import archive_of
from ingest.results import FileResult, NoProgress, Outcome, Progress
from ingest.workers import Job, Worked, Workers
from knowledge.database import Connection
from knowledge.errors import DatabaseRefused, DatabaseUnavailable, GakjuError, IndexMismatch, ReadFailed
from knowledge.file_states import FileFacts, FileStates
from knowledge.lexemes import language_of
from knowledge.search_indexes import tidy
from knowledge.store import IndexStore
from knowledge.types import Document

# Raise it when readers read otherwise than before: stored documents are then read again.
READING = "reading 2"
_WRITERS = 2
_WRITES_AHEAD = 4
_POLL_S = 0.3


class Ingestor:
    """Puts files into the collection of `states`. `workers`: who reads and embeds, and refuses above the limits."""

    def __init__(
        self,
        store: IndexStore,
        states: FileStates,
        workers: Workers,
        *,
        max_file_bytes: int,
        file_timeout_s: float,
    ) -> None:
        self._store = store
        self._states = states
        self._workers = workers
        self._max_file_bytes = max_file_bytes
        self._timeout_s = file_timeout_s
        self._collection = states.collection
        self._roots: dict[str, str] = {}  # path of a document → the folder that it was first found in
        can = "with OCR" if find_tesseract() else "without OCR"
        # A file that failed is tried again unchanged only if one of these changed.
        self._trial = f"{READING}, {max_file_bytes} bytes, {file_timeout_s:g} s, {can}"

    def run(
        self, files: Sequence[SourceFile], *, again: bool = False, progress: Progress | None = None
    ) -> Iterator[FileResult]:
        """One result a file as soon as it is stored, in the order in which they get ready.

        `again`: files that failed before are tried again although they did not change.

        Raises:
            DatabaseUnavailable, EmbeddingUnavailable: nothing more can be stored; what was reported is safe.
        """
        known = Known(self._store.versions(self._collection), self._states.known(), READING, self._trial)
        self._roots = {path: state.root for path, state in known.states.items()}
        planner = Planner(known, again=again, max_file_bytes=self._max_file_bytes, file_timeout_s=self._timeout_s)
        waiting: dict[str, SourceFile] = {}
        for file in files:
            if planner.is_new(file) and planner.path(file) not in known.states:
                waiting.setdefault(planner.path(file), file)  # the second of one path will be refused
        self._states.queued([self._facts(file, path) for path, file in waiting.items()])
        try:
            yield from _Run(self, planner, known, progress or NoProgress()).results(files)
        except BaseException as exc:
            # Whoever stops a run does not wait for indexes: the next run, or start of the app, builds them.
            is_stopped = isinstance(exc, GeneratorExit | KeyboardInterrupt)
            with suppress(DatabaseUnavailable, DatabaseRefused, IndexMismatch):
                self._store.settle() if is_stopped else tidy(self._store)
            raise
        tidy(self._store)

    def remove(self, path: str) -> bool:
        """Take a document out of the index. False: there was none."""
        return self._store.remove(self._collection, path, also=lambda conn: self._states.forget(conn, path))

    def _facts(self, file: SourceFile, path: str) -> FileFacts:
        # A file that is named alone later still counts from the folder that it first came from.
        root = self._roots.get(path) or (str(file.root) if path == file.name else file.origin.removesuffix(f"/{path}"))
        if not file.origin.startswith(f"{root}/"):
            root = str(file.root)
        return FileFacts(path, file.origin, root, socket.gethostname(), file.size_bytes, file.modified_ns)


class _Run:
    """One pass over some files: plans, has the work done, stores, and tells."""

    def __init__(self, owner: Ingestor, planner: Planner, known: Known, progress: Progress) -> None:
        self._owner = owner
        self._planner = planner
        self._known = known
        self._progress = progress
        self._states = owner._states
        self._store = owner._store
        self._ready: deque[FileResult] = deque()
        self._busy: deque[Job] = deque()  # another run works on these
        self._gone: dict[str, list[str]] | None = None
        self._renaming = threading.Lock()  # writers ask at once
        self._met: frozenset[str] = frozenset()  # paths that files of this run have, wherever they lay before

    def results(self, files: Sequence[SourceFile]) -> Iterator[FileResult]:
        self._met = frozenset(map(self._planner.path, files))
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="write") as writer:
            writing: deque[Future[FileResult]] = deque()
            try:
                jobs = self._jobs(files)
                while True:
                    for worked in self._owner._workers.work(jobs, on_chunks=self._progress.embedded):
                        writing.append(writer.submit(self._finish, worked))
                        while writing and (writing[0].done() or len(writing) > _WRITES_AHEAD):
                            self._ready.append(writing.popleft().result())
                        yield from self._told()
                    while writing:
                        self._ready.append(writing.popleft().result())
                    yield from self._told()
                    if not self._busy:
                        return
                    # Only now, with nothing in hand: two runs that wait for each other's files would wait for ever.
                    time.sleep(_POLL_S)
                    jobs = self._jobs_of_others()
            except GakjuError:
                # What was stored meanwhile is told before the run ends.
                for done in writing:
                    if not done.cancel() and done.exception() is None:
                        self._ready.append(done.result())
                yield from self._told()
                raise
            finally:
                writer.shutdown(wait=True, cancel_futures=True)
                self._states.release_all()

    def _told(self) -> Iterator[FileResult]:
        while self._ready:
            result = self._ready.popleft()
            yield result
            archive = self._planner.archives.get(str(result.file.path))
            if archive is not None and result.path in archive.open_members:
                archive.open_members.discard(result.path)
                if not archive.open_members:
                    yield from self._close_archive(archive)

    def _close_archive(self, archive: Archive) -> Iterator[FileResult]:
        """All that is in it is dealt with: what is no longer in it goes, and it is not opened again unchanged."""
        for path in archive.vanished:
            self._owner.remove(path)
            yield FileResult(archive.file, "removed", path)
        if archive.has_documents:  # else it failed, and that is noted
            self._states.note_stored(
                self._owner._facts(archive.file, archive.path),
                content_hash=archive.content_hash,
                reading=self._owner._trial,
            )

    def _jobs(self, files: Sequence[SourceFile]) -> Iterator[Job]:
        """What is to be worked on; what needs no work goes to `_ready` at once."""
        for step in self._planner.steps(files):
            if isinstance(step, FileResult):
                self._correct(step)
                self._ready.append(step)
            elif isinstance(step, Worked):
                self._ready.append(self._finish(step))
            elif self._states.claim(step.path):
                yield from self._unless_stored(step)
            else:
                self._busy.append(step)

    def _jobs_of_others(self) -> Iterator[Job]:
        """What other runs had in hand and have no longer: stored by now, or left to this one."""
        for _ in range(len(self._busy)):
            job = self._busy.popleft()
            if self._states.claim(job.path):
                yield from self._unless_stored(job)
            else:
                self._busy.append(job)

    def _correct(self, result: FileResult) -> None:
        """Of an unchanged file, what a killed run left unsaid, or that it lies in another place now."""
        stored, state = self._known.stored.get(result.path), self._known.states.get(result.path)
        facts = self._owner._facts(result.file, result.path)
        was_tried = result.outcome == "failed" and result.reason != "path_taken"
        if was_tried and state and (state.origin, state.host) != (facts.origin, facts.host):
            self._states.failed(
                facts, content_hash=state.content_hash, reading=state.reading, reason=state.reason, error=state.error
            )
        if result.outcome != "unchanged" or stored is None:
            return
        moved = stored.origin != facts.origin
        if moved:
            self._store.set_origin(self._owner._collection, result.path, facts.origin)
        if moved or state is None or state.state != "stored" or (state.host, state.root) != (facts.host, facts.root):
            self._states.note_stored(facts, content_hash=stored.content_hash, reading=self._owner._trial)

    def _unless_stored(self, job: Job) -> Iterator[Job]:
        """`job`, unless another run has stored just this content since this one began."""
        version = self._store.version(self._owner._collection, job.path)
        is_new = version is not None and version != self._known.stored.get(job.path)
        if version and is_new and version.reading == READING and self._hash(job.file) == version.content_hash:
            self._states.release(job.path)
            self._ready.append(FileResult(job.file, "unchanged", job.path))
            return
        self._states.reading(self._owner._facts(job.file, job.path))
        self._progress.started(job.file)
        yield job

    def _hash(self, file: SourceFile) -> str:
        if file.member:
            return self._planner.archives[str(file.path)].hashes[file.member]
        try:
            return content_hash(file.path)
        except OSError:
            return ""  # reading it will say so

    def _finish(self, worked: Worked) -> FileResult:
        try:
            if worked.failure or worked.parsed is None or not worked.chunks:
                return self._note_failure(worked)
            return self._store_document(worked, worked.parsed.title, worked.parsed.text)
        finally:
            self._states.release(worked.job.path)

    def _note_failure(self, worked: Worked) -> FileResult:
        failure = worked.failure or ReadFailed("It holds no text.", reason="no_text", hint="Remove it.")
        file, path = worked.job.file, worked.job.path
        error = failure.sentence()
        self._states.failed(
            self._owner._facts(file, path),
            content_hash=worked.content_hash,
            reading=self._owner._trial,
            reason=failure.reason,
            error=error,
        )
        return FileResult(file, "failed", path, error=error, reason=failure.reason)

    def _store_document(self, worked: Worked, title: str, text: str) -> FileResult:
        file, path = worked.job.file, worked.job.path
        assert worked.parsed is not None
        document = Document(
            collection=self._owner._collection,
            path=path,
            origin=file.origin,
            content_hash=worked.content_hash,
            size_bytes=file.size_bytes,
            title=title,
            text=text,
            language=language_of(text),
            blocks=worked.parsed.blocks,
        )
        was = "" if path in self._known.stored else self._renamed_from(worked.content_hash)
        facts = self._owner._facts(file, path)

        def note(conn: Connection) -> None:
            self._states.stored(conn, facts, content_hash=worked.content_hash, reading=self._owner._trial)
            if was:  # an archive that lost a member this way is opened again should it come back
                archive = archive_of(self._known.states[was])
                self._states.forget(conn, was, *([archive] if archive else []))

        written = self._store.replace(
            document, worked.chunks, reading=READING, instead_of=was or None, also=note, settle=False
        )
        if not written:
            return FileResult(file, "unchanged", path)
        outcome: Outcome = "renamed" if was else "replaced" if path in self._known.stored else "added"
        return FileResult(file, outcome, path, len(worked.chunks), was=was)

    def _renamed_from(self, digest: str) -> str:
        """Path of a stored document with this content whose file, of this machine, is gone; "" if there is none."""
        with self._renaming:
            if self._gone is None:
                self._gone = {}
                for path, version in self._known.stored.items():
                    state = self._known.states.get(path)
                    if state is None or not is_local(state) or not self._met.isdisjoint((path, archive_of(state))):
                        continue  # its folder was moved: its file is one of this run
                    if is_gone(file_of(version.origin)):
                        self._gone.setdefault(version.content_hash, []).append(path)
            paths = self._gone.get(digest)
            return paths.pop() if paths else ""
