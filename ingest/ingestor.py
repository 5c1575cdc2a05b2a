"""Files into the index, exactly once: read, chunk, embed, and replace the document in one transaction.

A rerun skips what is unchanged, so after a crash one simply runs it again. One bad file never stops the others.
Knows nothing about command lines (ingest/cli.py) or SQL (knowledge/store.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ingest import readers
from ingest.chunker import chunk
from ingest.files import SourceFile, content_hash
from knowledge.embedding import GakjuEmbedding
from knowledge.errors import ReadFailed
from knowledge.lexemes import Analyzer, language_of
from knowledge.store import EmbeddedChunk, IndexStore, StoredVersion
from knowledge.types import Chunk, Document, ParsedDocument

log = logging.getLogger(__name__)

Outcome = Literal["added", "replaced", "unchanged", "failed"]
_READ_ATTEMPTS = 3
# Raise it when readers or chunker cut otherwise than before: stored documents are then read again.
READING_VERSION = "1"


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file. `error`: a sentence for people, `reason`: for programs, both only for "failed"."""

    file: SourceFile
    outcome: Outcome
    chunks: int = 0
    error: str = ""
    reason: str = ""
    content_hash: str = ""


class Ingestor:
    """Puts files into one collection. `chunk_tokens`: largest chunk, in the embedder's own tokens."""

    def __init__(
        self,
        store: IndexStore,
        embedding: GakjuEmbedding,
        analyzer: Analyzer,
        *,
        collection: str,
        chunk_tokens: int,
        max_file_bytes: int,
    ) -> None:
        self._store = store
        self._embedding = embedding
        self._analyzer = analyzer
        self._collection = collection
        self._chunk_tokens = chunk_tokens
        self._max_file_bytes = max_file_bytes
        self._chunking = f"reading {READING_VERSION}, {chunk_tokens} tokens"

    def run(
        self, files: Sequence[SourceFile], *, on_start: Callable[[SourceFile], None] = lambda _: None
    ) -> Iterator[FileResult]:
        """One result a file, in order, as soon as it is stored.

        Raises:
            DatabaseUnavailable, EmbeddingUnavailable: nothing more can be stored; what was reported is safe.
        """
        stored = self._store.versions(self._collection)
        by_origin = {version.origin: path for path, version in stored.items()}
        for file in files:
            on_start(file)
            path = by_origin.get(str(file.path), file.name)
            result = self._ingest(file, path, stored.get(path))
            if result.outcome in ("added", "replaced"):
                # Two files of one run may want the same path too.
                stored[path] = StoredVersion(str(file.path), result.content_hash, self._chunking)
            yield result

    def _ingest(self, file: SourceFile, path: str, stored: StoredVersion | None) -> FileResult:
        try:
            _refuse_shared_path(file, path, stored)
            digest = content_hash(file.path)
            if stored and (stored.content_hash, stored.chunking) == (digest, self._chunking):
                return FileResult(file, "unchanged")
            parsed, digest = self._read(file, digest)
            chunks = self._chunks(parsed)
        except ReadFailed as exc:
            return FileResult(file, "failed", error=exc.sentence(), reason=exc.reason)
        except OSError as exc:
            return FileResult(file, "failed", error=f"Cannot be read: {exc.strerror}.", reason="unreadable")
        document = Document(
            collection=self._collection,
            path=path,
            origin=str(file.path),
            content_hash=digest,
            size_bytes=file.size_bytes,
            title=parsed.title,
            text=parsed.text,
            language=language_of(parsed.text),
        )
        written = self._store.replace(document, self._embed(document, chunks), chunking=self._chunking)
        if not written:
            return FileResult(file, "unchanged")
        return FileResult(file, "replaced" if stored else "added", len(chunks), content_hash=digest)

    def _read(self, file: SourceFile, digest: str) -> tuple[ParsedDocument, str]:
        """What the file says, and the hash of just that content: a file that changes meanwhile is read again."""
        for _ in range(_READ_ATTEMPTS):
            parsed = readers.read(file.path, max_bytes=self._max_file_bytes)
            after = content_hash(file.path)
            if after == digest:
                return parsed, digest
            digest = after
        raise ReadFailed(
            f"{file.name} keeps changing while it is read.", reason="unreadable", hint="Ingest it when it is finished."
        )

    def _chunks(self, parsed: ParsedDocument) -> list[Chunk]:
        return chunk(
            parsed,
            count_tokens=self._embedding.count_tokens,
            split_at_tokens=self._embedding.split_at_tokens,
            max_tokens=self._chunk_tokens,
        )

    def _embed(self, document: Document, chunks: Sequence[Chunk]) -> list[EmbeddedChunk]:
        vectors = self._embedding.embed_passages([search_text(document.title, item) for item in chunks])
        return [
            EmbeddedChunk(
                item,
                vector,
                self._analyzer.analyze(search_text(document.title, item)),
                language_of(item.text),
            )
            for item, vector in zip(chunks, vectors, strict=True)
        ]


def search_text(title: str, chunk: Chunk) -> str:
    """What is searched for a chunk: title and heading path above the passage (nDCG@10 +.01 to +.10, dense).

    The passage that is shown stays the chunk alone.
    """
    heading = " › ".join(dict.fromkeys([title, *chunk.heading]))
    return f"{heading}\n{chunk.text}" if heading else chunk.text


def _refuse_shared_path(file: SourceFile, path: str, stored: StoredVersion | None) -> None:
    """Two folders may hold files of one name; the second must not silently replace the first."""
    if stored and stored.origin != str(file.path) and Path(stored.origin).exists():
        raise ReadFailed(
            f"Another file is already stored as {path}: {stored.origin}.",
            reason="path_taken",
            hint="Ingest their common parent folder, or use --collection.",
        )


def count_outcomes(results: Iterable[FileResult]) -> dict[Outcome, int]:
    counts: dict[Outcome, int] = {"added": 0, "replaced": 0, "unchanged": 0, "failed": 0}
    for result in results:
        counts[result.outcome] += 1
    return counts
