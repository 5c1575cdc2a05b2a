"""Whether what is noted of files agrees with the documents, and which documents come from files of one machine.

Opens no file: the paths are those of the machine that ingested them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from knowledge.database import Database
from knowledge.generations import Generation
from knowledge.verification.documents import Problem
from knowledge.verification.snapshot import Snapshot

_PAGE_FILES = 500
# A file that is queued, being read or failed has newer content than its document: that is no error.
_UNNOTED = """
SELECT c.name, d.path, f.path IS NULL
FROM documents d JOIN collections c ON c.id = d.collection_id
LEFT JOIN files f ON f.collection_id = d.collection_id AND f.path = d.path
WHERE d.generation_id = %s AND (f.path IS NULL OR (f.state = 'stored' AND f.content_hash <> d.content_hash))
ORDER BY c.name COLLATE "C", d.path COLLATE "C"
"""
# An archive is noted too: its documents are those below it, and it may be empty.
_UNSTORED = """
SELECT c.name, f.path
FROM files f JOIN collections c ON c.id = f.collection_id
LEFT JOIN documents d ON d.generation_id = %s AND d.collection_id = f.collection_id AND d.path = f.path
WHERE f.state = 'stored' AND d.id IS NULL AND lower(right(f.path, 4)) <> '.zip' AND NOT EXISTS (
    SELECT 1 FROM files m WHERE m.collection_id = f.collection_id AND starts_with(m.path, f.path || '/')
)
ORDER BY c.name COLLATE "C", f.path COLLATE "C"
"""
_OF_HOST = """
SELECT d.collection_id, c.name, d.path, d.origin, d.content_hash, d.size_bytes
FROM documents d JOIN collections c ON c.id = d.collection_id
JOIN files f ON f.collection_id = d.collection_id AND f.path = d.path
WHERE d.generation_id = %s AND f.host = %s AND (d.collection_id, d.path) > (%s, %s)
ORDER BY d.collection_id, d.path LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A document whose file lies on one machine, to be compared with it. `origin`: where, as `Document.origin`."""

    collection: str
    path: str
    origin: str
    content_hash: str
    size_bytes: int


def noted_wrongly(snapshot: Snapshot) -> Iterator[Problem]:
    """Documents and files that do not agree. Only for the active generation: others may be behind the files."""
    for collection, path, is_unnoted in snapshot.rows(_UNNOTED, (snapshot.generation.id,)):
        if is_unnoted:
            yield Problem("no_file", collection, path, "nothing is noted of its file")
        else:
            yield Problem("file_content", collection, path, "its file is noted as stored with other content")
    for collection, path in snapshot.rows(_UNSTORED, (snapshot.generation.id,)):
        yield Problem("no_document", collection, path, "its file is noted as stored, but there is no such document")


def stored_files(db: Database, generation: Generation, *, host: str) -> Iterator[StoredFile]:
    """Documents whose files lie on `host`. No transaction is open while the caller works on one.

    Raises:
        DatabaseUnavailable: as `Database.connection`.
    """
    after = (0, "")
    while True:
        with db.connection() as conn:
            rows = conn.execute(_OF_HOST.encode(), (generation.id, host, *after, _PAGE_FILES)).fetchall()
        if not rows:
            return
        yield from (StoredFile(*rest) for _, *rest in rows)
        after = (rows[-1][0], rows[-1][2])
