"""The work on files over a Ray cluster: bytes out to workers on many machines, documents with their vectors back.

Does what ingest/workers.py does here. The driver reads the files' bytes (workers need not see its disk) but parses
nothing, and alone writes to the database. A worker that dies is replaced and its files go to others; only workers hold
work, so a driver that dies leaves nothing behind. Knows nothing about the database or what a worker does with a file.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ingest.preparing import Prepared, search_text
from ingest.ray_connection import connect, disconnect, seats_and_cpus
from ingest.ray_crew import Crew
from ingest.ray_worker import Answer, FileWorker, Greeting, WorkerRecipe
from ingest.readers.files import read_bytes, shown_name
from ingest.workers import Job, Worked, settled
from knowledge.errors import GakjuError, ReadFailed
from knowledge.generations import Manifest

log = logging.getLogger(__name__)

_ATTEMPTS = 3
_IN_FLIGHT_BYTES = 64 * 1024 * 1024  # of files, in the cluster's object store; one file more may be
_POLL_S = 0.5


@dataclass(eq=False, slots=True)
class _Shipped:
    """A file's bytes in the object store; the members of an archive share theirs. `version`: which file, of when."""

    version: tuple[str, int]
    ref: Any
    size_bytes: int


@dataclass(eq=False, slots=True)
class _Task:
    """`losses`: how many workers ended with it in their hands."""

    job: Job
    data: _Shipped
    losses: int = 0


class RayWorkers:
    """Workers in the Ray cluster at `address`: "" is one that runs on this machine, else one started here for the run.

    `manifest`: what the index was built with; workers that would build it otherwise are refused. `workers`: how many
    (default: one for two processors). `worker`: what each is. Close it: that ends them, and a cluster started here.

    Raises:
        GakjuError: Ray is not installed, no cluster answers, or it has too few processors.
    """

    def __init__(
        self,
        recipe: WorkerRecipe,
        *,
        manifest: Manifest,
        address: str = "",
        workers: int | None = None,
        no_worker_s: float = 60.0,
        worker: type[FileWorker] = FileWorker,
    ) -> None:
        if workers is not None and workers < 1:
            raise ValueError("workers is at least 1")
        self._max_file_bytes = recipe.max_file_bytes
        self._no_worker_s = no_worker_s
        self._ray = connect(address)
        try:
            count, cpus = seats_and_cpus(self._ray, workers)
            self._crew: Crew[_Task] = Crew(self._ray, worker, recipe, manifest=manifest, count=count, cpus=cpus)
            self._crew.start_due()
        except BaseException:
            disconnect(self._ray)
            raise
        self._again: deque[_Task] = deque()
        self._last_archive: _Shipped | None = None

    @property
    def greetings(self) -> list[Greeting]:
        """Of the workers that are ready now."""
        return [seat.greeting for seat in self._crew.seats if seat.is_ready and seat.greeting]

    def work(self, jobs: Iterator[Job], *, on_chunks: Callable[[int], None] = lambda _: None) -> Iterator[Worked]:
        """Raises: EmbeddingUnavailable; IndexMismatch; GakjuError: there has been no worker for `no_worker_s`."""
        crew, drained, alone_s = self._crew, False, 0.0
        try:
            while True:
                crew.start_due()
                self._hand_out_again()
                while not drained and self._has_room():
                    job = next(jobs, None)
                    if job is None:
                        drained = True
                    elif failed := self._hand_out(job):
                        yield failed
                if drained and not self._again and not crew.tasks():
                    return
                began_s = time.monotonic()
                gathered = crew.gather(_POLL_S)
                is_staffed = any(seat.is_ready for seat in crew.seats)
                alone_s = 0.0 if is_staffed else alone_s + time.monotonic() - began_s
                for task, answer in gathered:
                    worked = self._worked(task, answer) if answer else self._lost(task)
                    if worked:
                        on_chunks(len(worked.chunks))
                        yield worked
                if alone_s > self._no_worker_s:
                    raise _no_worker(self._no_worker_s)
        finally:
            crew.abandon()
            self._again.clear()
            self._last_archive = None

    def close(self) -> None:
        self._crew.close()
        disconnect(self._ray)

    def _has_room(self) -> bool:
        shipped = {id(task.data): task.data.size_bytes for task in [*self._again, *self._crew.tasks()]}
        return sum(shipped.values()) < _IN_FLIGHT_BYTES and any(seat.room for seat in self._crew.seats)

    def _hand_out(self, job: Job) -> Worked | None:
        """To the worker with the least to do. The result if it fails before."""
        try:
            data = self._shipped(job)
        except ReadFailed as exc:
            return Worked(job, failure=exc)
        seat = max(self._crew.seats, key=lambda seat: seat.room)
        self._crew.give(seat, _Task(job, data), data.ref, job.file.name, job.file.member)
        return None

    def _hand_out_again(self) -> None:
        """Files whose worker ended are worked on alone, so that no file is blamed for its neighbour."""
        for seat in self._crew.seats:
            if self._again and seat.is_ready and not seat.tasks:
                task = self._again.popleft()
                file = task.job.file
                self._crew.give(seat, task, task.data.ref, file.name, file.member, alone=True)

    def _shipped(self, job: Job) -> _Shipped:
        """The file's bytes in the object store. An archive comes as many jobs in a row and is shipped once.

        Raises:
            ReadFailed: it cannot be read, or changes all the time.
        """
        file = job.file
        version = (str(file.path), file.modified_ns)
        if file.member and self._last_archive and self._last_archive.version == version:
            return self._last_archive
        data = settled(file, lambda: read_bytes(file.path, name=file.path.name, max_bytes=self._max_file_bytes))
        shipped = _Shipped(version, self._ray.put(data), len(data))
        self._last_archive = shipped if file.member else None
        return shipped

    def _worked(self, task: _Task, answer: Answer) -> Worked:
        if answer.trouble:
            error = answer.trouble.error()
            if not isinstance(error, ReadFailed):
                raise error
            return Worked(task.job, answer.trouble.content_hash, failure=error)
        title = answer.parsed.title if answer.parsed else ""
        texts = tuple(search_text(title, chunk) for chunk in answer.chunks)  # cheaper made again than sent
        prepared = Prepared(answer.chunks, texts, answer.terms, answer.sentences)
        chunks = prepared.with_vectors(() if answer.vectors is None else list(answer.vectors))
        return Worked(task.job, answer.content_hash, answer.parsed, chunks)

    def _lost(self, task: _Task) -> Worked | None:
        """Its worker ended: it gets another, unless it had enough of them."""
        task.losses += 1
        name = shown_name(task.job.file.path.name)
        log.warning("a Ray worker ended while it worked on %s (%d of %d)", name, task.losses, _ATTEMPTS)
        if task.losses < _ATTEMPTS:
            self._again.append(task)
            return None
        failure = ReadFailed(
            f"{name} ended each of the {_ATTEMPTS} workers that it was given to.",
            reason="damaged",
            hint="Save or export it again, or give the workers more memory.",
        )
        digest = "" if task.job.file.member else hashlib.sha256(self._ray.get(task.data.ref)).hexdigest()
        return Worked(task.job, digest, failure=failure)


def _no_worker(seconds: float) -> GakjuError:
    return GakjuError(
        f"No Ray worker has been able to start for {seconds:g} s.",
        hint="See `ray status`: processors may be taken by others, or machines be gone. Then run the same command again.",
    )
