"""What became of each file that ingestion was told of, in PostgreSQL: true from any machine, whoever is killed.

A run holds an advisory lock for as long as it lives, and another for each document that it works on: two runs over the
same folder share the work. "stored" is written by the transaction that stores the document. Knows nothing about files.
"""

from __future__ import annotations

import logging
import secrets
import threading
import uuid
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import psycopg

from knowledge.database import Database
from knowledge.errors import DatabaseUnavailable
from knowledge.store import collection_id_of, make_document_id

log = logging.getLogger(__name__)

State = Literal["queued", "reading", "stored", "failed"]


@dataclass(frozen=True, slots=True)
class FileState:
    """`path`: the document's identity in its collection. `is_running`: a living run has it. Times are ISO 8601, UTC."""

    collection: str
    path: str
    origin: str
    root: str
    host: str
    state: State
    reason: str = ""
    error: str = ""
    content_hash: str = ""
    reading: str = ""
    size_bytes: int = 0
    modified_ns: int = 0
    updated_at: str = ""
    is_running: bool = False


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file as it was met: what stays the same through all its states. The statements below take it in this order."""

    path: str
    origin: str
    root: str
    host: str
    size_bytes: int
    modified_ns: int


class FileStates:
    """States of one collection's files, written by one run. Use as a context manager: the run ends with it."""

    def __init__(self, db: Database, collection: str) -> None:
        self._db = db
        self.collection = collection
        self._run = secrets.randbits(62)
        self._holder: psycopg.Connection | None = None
        self._claimed: set[int] = set()
        self._collection_id: int | None = None
        self._guard = threading.Lock()

    def __enter__(self) -> FileStates:
        self._hold()
        return self

    def __exit__(self, *_: object) -> None:
        with self._guard:
            if self._holder is not None:
                self._holder.close()  # releases all its locks
                self._holder = None
            self._claimed.clear()

    def known(self) -> dict[str, FileState]:
        """path → state, for the whole collection."""
        return {item.path: item for item in file_states(self._db, self.collection)}

    def queued(self, files: Sequence[FileFacts]) -> None:
        """Note that these files wait. What is known of their last content stays until it is replaced."""
        if not files:
            return
        columns = [list(column) for column in zip(*map(astuple, files), strict=True)]
        with self._db.connection() as conn:
            conn.execute(
                "INSERT INTO files (collection_id, path, origin, root, host, size_bytes, modified_ns, state, run) "
                "SELECT %s, path, origin, root, host, size, modified, 'queued', %s "
                "FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[]) "
                "AS t (path, origin, root, host, size, modified) ORDER BY path "
                "ON CONFLICT (collection_id, path) DO UPDATE SET state = 'queued', run = excluded.run, "
                "origin = excluded.origin, root = excluded.root, host = excluded.host, reason = '', error = '', "
                "size_bytes = excluded.size_bytes, modified_ns = excluded.modified_ns, updated_at = now() "
                "WHERE files.state <> 'reading' OR files.run <> ALL(%s)",
                (self._number(), self._run, *columns, _living_runs(conn)),
            )

    def reading(self, file: FileFacts) -> None:
        """Note that work on it has begun. What is known of its last content stays until that is done."""
        with self._db.connection() as conn:
            psycopg.ClientCursor(conn).execute(
                "SET LOCAL synchronous_commit = off; "  # it only informs: nothing is lost with it
                "INSERT INTO files (collection_id, path, origin, root, host, size_bytes, modified_ns, state, run) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, 'reading', %s) ON CONFLICT (collection_id, path) DO UPDATE SET "
                "state = 'reading', run = excluded.run, reason = '', error = '', updated_at = now()",
                (self._number(), *astuple(file), self._run),
            )

    def note_stored(self, file: FileFacts, *, content_hash: str, reading: str) -> None:
        """As `stored`, for an archive, all of whose documents are."""
        with self._db.connection() as conn:
            self._ended(conn, file, "stored", content_hash=content_hash, reading=reading)

    def stored(self, conn: psycopg.Connection, file: FileFacts, *, content_hash: str, reading: str) -> None:
        """Note, in the transaction `conn` that stores the document, that it is."""
        self._ended(conn, file, "stored", content_hash=content_hash, reading=reading)

    def failed(self, file: FileFacts, *, content_hash: str, reading: str, reason: str, error: str) -> None:
        """`content_hash`: of what could not be read, so that it is not tried again unchanged; "" if not even that."""
        with self._db.connection() as conn:
            self._ended(conn, file, "failed", content_hash=content_hash, reading=reading, reason=reason, error=error)

    def forget(self, conn: psycopg.Connection, *paths: str) -> None:
        """In the transaction `conn`: these files are gone."""
        conn.execute(
            "DELETE FROM files WHERE collection_id = %s AND path = ANY(%s)",
            (self._number(), list(paths)),
        )

    def _number(self) -> int:
        """The collection's, made if need be: in a transaction of its own, so that it stays what it is."""
        if self._collection_id is None:
            with self._db.connection() as conn:
                self._collection_id = collection_id_of(conn, self.collection)
        return self._collection_id

    def claim(self, path: str) -> bool:
        """Whether this run may work on `path`; False: another run does."""
        key = _claim_key(self.collection, path)
        if key in self._claimed:
            return True  # the database would count: one release would not do
        got = self._holding(f"SELECT pg_try_advisory_lock({key})")
        if got is None:
            return True  # without its lock the run may do work twice, and still stores it once
        if got[0]:
            self._claimed.add(key)
        return bool(got[0])

    def release(self, path: str) -> None:
        key = _claim_key(self.collection, path)
        if key in self._claimed:
            self._claimed.discard(key)
            self._holding(f"SELECT pg_advisory_unlock({key})")

    def release_all(self) -> None:
        """What a run that was cut short has claimed: others would wait for it as long as this process lives."""
        for key in tuple(self._claimed):
            self._claimed.discard(key)
            self._holding(f"SELECT pg_advisory_unlock({key})")

    def _holding(self, statement: str) -> tuple[object, ...] | None:
        """None: the connection that holds the locks was lost; a new one holds the run's own again."""
        with self._guard:
            try:
                if self._holder is None:
                    raise psycopg.OperationalError
                return self._holder.execute(statement.encode()).fetchone()
            except psycopg.Error:
                self._claimed.clear()
        try:
            self._hold()
        except DatabaseUnavailable:
            log.warning("the lock of this run is lost until the database answers again")
        return None

    def _hold(self) -> None:
        with self._guard:
            if self._holder is not None:
                self._holder.close()
                self._holder = None
            self._holder = self._db.dedicated()
            self._holder.execute("SELECT pg_advisory_lock(%s)", (self._run,))

    def _ended(
        self,
        conn: psycopg.Connection,
        file: FileFacts,
        state: State,
        *,
        content_hash: str,
        reading: str,
        reason: str = "",
        error: str = "",
    ) -> None:
        conn.execute(
            "INSERT INTO files (collection_id, path, origin, root, host, size_bytes, modified_ns, state, content_hash, "
            "reading, reason, error, run) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
            "ON CONFLICT (collection_id, path) DO UPDATE SET state = excluded.state, origin = excluded.origin, "
            "root = excluded.root, host = excluded.host, size_bytes = excluded.size_bytes, run = excluded.run, "
            "modified_ns = excluded.modified_ns, content_hash = excluded.content_hash, reading = excluded.reading, "
            "reason = excluded.reason, error = excluded.error, updated_at = now()",
            (
                self._number(),
                *astuple(file),
                state,
                content_hash,
                reading,
                reason,
                error,
                self._run,
            ),
        )


def _living_runs(conn: psycopg.Connection) -> list[int]:
    rows = conn.execute(
        "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ).fetchall()
    return [run for (run,) in rows]


def file_states(db: Database, collection: str | None = None) -> list[FileState]:
    """States of all files of one collection or of all, by collection and path."""
    with db.connection() as conn:
        rows = conn.execute(
            "SELECT c.name, f.path, f.origin, f.root, f.host, f.state, f.reason, f.error, f.content_hash, f.reading, "
            "f.size_bytes, f.modified_ns, to_char(f.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "
            "f.state IN ('queued', 'reading') AND f.run = ANY(%(runs)s) "
            "FROM files f JOIN collections c ON c.id = f.collection_id "
            "WHERE %(name)s::text IS NULL OR c.name = %(name)s ORDER BY c.name, f.path",
            {"name": collection, "runs": _living_runs(conn)},
        ).fetchall()
    return [FileState(*row) for row in rows]


def _claim_key(collection: str, path: str) -> int:
    return uuid.uuid5(make_document_id(collection, path), "claim").int % 2**62
