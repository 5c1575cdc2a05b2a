"""Which files need work: compares what is on disk with what is stored, by content hash. Opens archives.

Knows nothing about reading, embedding or other runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePath

from ingest import readers
from ingest.files import SourceFile, content_hash, file_of, is_gone
from ingest.reader_process import Member, ReaderProcess
from ingest.results import FileResult
from ingest.workers import Job, Worked
from knowledge.errors import ReadFailed
from knowledge.file_states import FileState
from knowledge.store import StoredVersion

_HASH_TOGETHER = 32
_HASHERS = 2
_HASHES_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Known:
    """What the database says before the run. `reading`: how stored documents are to have been read; `trial`: under
    which conditions a file that failed need not be tried again unchanged."""

    stored: Mapping[str, StoredVersion]
    states: Mapping[str, FileState]
    reading: str
    trial: str


@dataclass(slots=True)
class Archive:
    """An archive that was opened: noted as stored when all that is in it has been dealt with."""

    file: SourceFile
    path: str
    content_hash: str
    hashes: dict[str, str] = field(default_factory=dict)  # member → hash
    open_members: set[str] = field(default_factory=set)  # paths of documents
    vanished: tuple[str, ...] = ()  # paths of documents that are no longer in it
    has_documents: bool = True


class Planner:
    """`again`: files that failed before are tried again although they did not change."""

    def __init__(self, known: Known, *, again: bool, max_file_bytes: int, file_timeout_s: float) -> None:
        self._known = known
        self._again = again
        self._max_file_bytes = max_file_bytes
        self._timeout_s = file_timeout_s
        self._by_origin = {state.origin: path for path, state in known.states.items()}
        self._by_origin.update((version.origin, path) for path, version in known.stored.items())
        self._taken: dict[str, str] = {}  # path → origin of the file of this run that has it
        self.archives: dict[str, Archive] = {}  # path of the archive → what is in it

    def path(self, file: SourceFile) -> str:
        """A file keeps the path that it was first met under, even if it is named alone later."""
        return self._by_origin.get(file.origin, file.name)

    def is_new(self, file: SourceFile) -> bool:
        return self.path(file) not in self._known.stored

    def steps(self, files: Sequence[SourceFile]) -> Iterator[Job | Worked | FileResult]:
        """A job for what needs work, a failed piece of work for what cannot be read, else the result."""
        for file, digest in self._hashed(files):
            if isinstance(digest, OSError):
                failure = ReadFailed(f"Cannot be read: {digest.strerror}.", reason="unreadable")
                yield Worked(Job(file, self.path(file)), failure=failure)
            elif PurePath(file.name).suffix.lower() in readers.ARCHIVES:
                yield from self._archive(file, digest)
            else:
                yield self._step(file, digest)

    def _step(self, file: SourceFile, digest: str) -> Job | FileResult:
        path = self.path(file)
        state, stored = self._known.states.get(path), self._known.stored.get(path)
        if clash := self._clash(file, path, stored.origin if stored else ""):
            return clash
        self._taken[path] = file.origin
        if state and state.state == "failed":
            tried = bool(digest) and (state.content_hash, state.reading) == (digest, self._known.trial)
            if tried and not self._again:
                return FileResult(file, "failed", path, error=state.error, reason=state.reason)
        elif stored and (stored.content_hash, stored.reading) == (digest, self._known.reading):
            return FileResult(file, "unchanged", path)
        return Job(file, path)

    def _clash(self, file: SourceFile, path: str, holder: str) -> FileResult | None:
        """Two folders may hold files of one name; the second must not silently replace the first. `holder`: origin of
        the file that has the path, "" if none has."""
        other = self._taken.get(path) or holder or file.origin
        if other == file.origin or (path not in self._taken and not _exists(other)) or _is_same_file(other, file):
            return None
        failure = ReadFailed(
            f"Another file is already stored as {path}: {other}.",
            reason="path_taken",
            hint="Ingest their common parent folder, or use --collection.",
        )
        return FileResult(file, "failed", path, error=failure.sentence(), reason=failure.reason)

    def _hashed(self, files: Sequence[SourceFile]) -> Iterator[tuple[SourceFile, str | OSError]]:
        """Files with their hash; "" where there is nothing to compare it with. A few are hashed ahead, in order."""
        with ThreadPoolExecutor(_HASHERS, thread_name_prefix="hash") as pool:
            ahead: deque[Future[list[tuple[SourceFile, str | OSError]]]] = deque()
            for at in range(0, len(files), _HASH_TOGETHER):
                ahead.append(pool.submit(self._hash_some, files[at : at + _HASH_TOGETHER]))
                if len(ahead) > _HASHES_AHEAD:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()

    def _hash_some(self, files: Sequence[SourceFile]) -> list[tuple[SourceFile, str | OSError]]:
        return [(file, self._hash(file)) for file in files]

    def _hash(self, file: SourceFile) -> str | OSError:
        path = self.path(file)
        state = self._known.states.get(path)
        if path not in self._known.stored and (state is None or not state.content_hash):
            return ""
        try:
            return content_hash(file.path)
        except OSError as exc:
            return exc

    def _archive(self, file: SourceFile, digest: str) -> Iterator[Job | Worked | FileResult]:
        path = self.path(file)
        state = self._known.states.get(path)
        if clash := self._clash(file, path, state.origin if state else ""):
            yield clash
            return
        self._taken[path] = file.origin
        # Not what lies in a folder of the same name elsewhere.
        origins = (f"{file.origin}!/", f"{state.origin if state else file.origin}!/")
        known = self._known.states.items()
        inside = [item for name, item in known if name.startswith(f"{path}/") and item.origin.startswith(origins)]
        if state and digest and (state.content_hash, state.reading) == (digest, self._known.trial) and not self._again:
            if state.state == "failed":
                yield FileResult(file, "failed", path, error=state.error, reason=state.reason)
                return
            if all(item.state in ("stored", "failed") for item in inside):
                if state.origin != file.origin:  # it was moved: to be noted when its members are
                    here = {item.path for item in inside}
                    self.archives[str(file.path)] = Archive(file, path, digest, open_members=here)
                yield from (_as_before(file, path, item) for item in inside)
                return
        try:
            digest, members = self._members(file)
        except ReadFailed as exc:
            if exc.reason in ("empty", "unsupported"):  # it was opened, and the last document was taken out
                gone = tuple(item.path for item in inside)
                self.archives[str(file.path)] = Archive(
                    file, path, digest, open_members={path}, vanished=gone, has_documents=False
                )
            yield Worked(Job(file, path), exc.content_hash, failure=exc)
            return
        archive = Archive(file, path, digest)
        archive.hashes = {member.name: member.content_hash for member in members}
        sources = [(member, _source(file, member)) for member in members]
        archive.open_members = {self.path(source) for _, source in sources}
        archive.vanished = tuple(item.path for item in inside if item.path not in archive.open_members)
        self.archives[str(file.path)] = archive
        for member, source in sources:
            if member.failure:
                yield Worked(Job(source, self.path(source)), member.content_hash, failure=member.failure)
            else:
                yield self._step(source, member.content_hash)

    def _members(self, file: SourceFile) -> tuple[str, list[Member]]:
        with ReaderProcess(timeout_s=self._timeout_s) as reader:
            return reader.members(file.path, name=PurePath(file.name).name, max_bytes=self._max_file_bytes)


def _source(archive: SourceFile, member: Member) -> SourceFile:
    return SourceFile(
        archive.path,
        f"{archive.name}/{member.name}",
        member.size_bytes,
        archive.root,
        archive.modified_ns,
        member.name,
    )


def _as_before(archive: SourceFile, path: str, state: FileState) -> FileResult:
    member = state.path.removeprefix(f"{path}/")
    file = SourceFile(archive.path, state.path, state.size_bytes, archive.root, archive.modified_ns, member)
    if state.state == "failed":
        return FileResult(file, "failed", state.path, error=state.error, reason=state.reason)
    return FileResult(file, "unchanged", state.path)


def _exists(origin: str) -> bool:
    return not is_gone(file_of(origin))


def _is_same_file(origin: str, file: SourceFile) -> bool:
    """The same file by another way, through a link of a folder above it."""
    other = file_of(origin)
    try:
        return origin[len(str(other)) :] == file.origin[len(str(file.path)) :] and other.samefile(file.path)
    except OSError:
        return False
