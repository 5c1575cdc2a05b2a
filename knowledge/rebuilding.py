"""Building another generation of the index beside the active one: opened, compared, switched to, given up.

There are never more than two generations: the active one, and the one that is built or was active before. Knows nothing
about chunking or embedding; ingest/reembedding.py fills the generation.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql

from knowledge.database import Database
from knowledge.errors import DatabaseUnavailable, GakjuError
from knowledge.generations import (
    REEMBED,
    Generation,
    Manifest,
    all_generations,
    create_generation,
    find_generation,
    lock_generations,
)

log = logging.getLogger(__name__)

_REBUILD_LOCK = 0x67616B6A7562  # held by whoever rebuilds, switches back or drops
_KILLED_ONE_IS_NOTICED_S = 3.0  # by the database, of a process that held the lock
_DETACH_LIMIT_MS = 60_000  # someone else's transaction may hold on to the table; the next one tries again


class Rebuild:
    """The right to rebuild, which one process has at a time. Taken by `rebuilding`."""

    def __init__(self, db: Database, holder: psycopg.Connection) -> None:
        self._db = db
        self._holder = holder

    def open_target(self, manifest: Manifest) -> tuple[Generation, Generation]:
        """The active generation, and the one to build for `manifest`: a half-built or the previous one if they fit,
        else a new one.

        Half-built and previous ones that do not fit are dropped.

        Raises:
            GakjuError: the active generation already is that one, or there is none.
        """
        with self._db.connection() as conn:
            lock_generations(conn)
            pair = self._target(conn, manifest)
        self._sweep()
        return pair

    def switch(self, target_id: int) -> bool:
        """Make generation `target_id` the active one and the active one the previous, in one transaction.

        Waits for writers of both. False: their documents differ, nothing was changed.

        Raises:
            GakjuError: there is no such generation.
            DatabaseUnavailable: the connection was lost, and with it the right to rebuild.
        """
        with self._holding() as conn:
            lock_generations(conn)
            # Writers hold a share lock on their generation until they commit (see `generations.writing`).
            conn.execute("SELECT 1 FROM generations ORDER BY id FOR UPDATE")
            active = find_generation(conn, "active")
            if active is None or not any(item.id == target_id for item in all_generations(conn)):
                raise GakjuError("The generation to switch to is gone.", hint=f"Run `{REEMBED}` again.")
            if _differing_documents(conn, active.id, target_id):
                return False
            conn.execute(_COPY_ORIGINS, {"active": active.id, "target": target_id})
            conn.execute("UPDATE generations SET state = 'previous' WHERE id = %s", (active.id,))
            conn.execute("UPDATE generations SET state = 'active' WHERE id = %s", (target_id,))
        return True

    @contextmanager
    def writers_held(self, active: Generation) -> Iterator[None]:
        """Writers of `active` wait until the end of the block, readers do not. A `switch` in it counts from its end."""
        with self._holding() as conn:
            conn.execute("SELECT 1 FROM generations WHERE id = %s FOR UPDATE", (active.id,))
            yield

    def drop_others(self) -> tuple[Generation, ...]:
        """Give up what is not active: the previous generation, or the half-built one. Returns what was there."""
        with self._db.connection() as conn:
            lock_generations(conn)
            others = tuple(item for item in all_generations(conn) if item.state != "active")
            for item in others:
                _give_up(conn, item.id)
        self._sweep()
        return others

    def faults(self, active: Generation, target: Generation) -> list[str]:
        """What is wrong with the rows of `target`, in sentences; [] if nothing is. Reads all of its chunks once."""
        with self._db.connection() as conn:
            # Fresh statistics: the planner must not take a generation that was filled just now for an empty one.
            conn.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(f"chunks_{target.id}")))
            values = {"active": active.id, "target": target.id, "dimension": target.manifest.dimension}
            counts = [(conn.execute(query.encode(), values).fetchone() or (0,))[0] for query, _ in _FAULTS]
        return [sentence.format(count) for count, (_, sentence) in zip(counts, _FAULTS, strict=True) if count]

    def _target(self, conn: psycopg.Connection, manifest: Manifest) -> tuple[Generation, Generation]:
        generations = all_generations(conn)
        active = next((item for item in generations if item.state == "active"), None)
        if active is None:
            raise GakjuError("The index is empty: there is nothing to build anew.", hint="Run `gakju ingest add PATH`.")
        if active.manifest.same_as(manifest):
            raise GakjuError(
                f"The index already is of {manifest}.",
                hint="Set EMBED_MODEL, EMBED_BASE_URL or CHUNK_TOKENS to what it should become.",
            )
        target = None
        for item in generations:
            if item.state != "active" and target is None and item.manifest.same_as(manifest):
                target = item
            elif item.state != "active":
                _give_up(conn, item.id)
        if target is None:
            return active, create_generation(conn, manifest, "building")
        conn.execute("UPDATE generations SET state = 'building' WHERE id = %s", (target.id,))
        return active, Generation(target.id, "building", target.manifest)

    @contextmanager
    def _holding(self) -> Iterator[psycopg.Connection]:
        """A transaction of the connection that holds the lock: who lost the lock changes nothing."""
        try:
            with self._holder.transaction():
                yield self._holder
        except psycopg.Error as exc:
            raise DatabaseUnavailable(
                "The connection to the database was lost meanwhile.", hint=f"Run `{REEMBED}` again: it goes on."
            ) from exc

    def _sweep(self) -> None:
        """Drop the partitions of generations that are gone, also those that a killed run left.

        Detached first, concurrently: to drop a partition waits for all that use `chunks`, and all that want to wait
        for it; a search must not wait for another's long write.
        """
        try:
            self._holder.execute(f"SET statement_timeout = {_DETACH_LIMIT_MS}".encode())
            for name, is_attached, is_detaching in self._holder.execute(_ORPHANS).fetchall():
                partition = sql.Identifier(name)
                if is_attached:
                    how = sql.SQL("FINALIZE" if is_detaching else "CONCURRENTLY")
                    self._holder.execute(sql.SQL("ALTER TABLE chunks DETACH PARTITION {} {}").format(partition, how))
                self._holder.execute(sql.SQL("DROP TABLE {}").format(partition))
            self._holder.execute("RESET statement_timeout")
        except psycopg.Error as exc:
            # It is empty and answers nothing: that it is still there is a matter of tidiness.
            log.warning("an empty partition of the index is left over, the next rebuild drops it: %s", exc)


@contextmanager
def rebuilding(db: Database) -> Iterator[Rebuild]:
    """The right to rebuild, until the end of the block.

    Raises:
        GakjuError: another process has it.
        DatabaseUnavailable: no connection.
    """
    with db.dedicated() as holder:
        deadline = time.monotonic() + _KILLED_ONE_IS_NOTICED_S
        while not _try_lock(holder):
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            raise GakjuError(
                f"Another `{REEMBED}` is running on this database.", hint="Wait until it is done, or stop it."
            )
        try:
            yield Rebuild(db, holder)
        finally:
            # The server notices a moment later that a connection was closed: who comes next must not meet the lock.
            with suppress(psycopg.Error):
                holder.execute("SELECT pg_advisory_unlock(%s)", (_REBUILD_LOCK,))


def _try_lock(holder: psycopg.Connection) -> bool:
    row = holder.execute("SELECT pg_try_advisory_lock(%s)", (_REBUILD_LOCK,)).fetchone()
    return row is not None and bool(row[0])


def _give_up(conn: psycopg.Connection, generation_id: int) -> None:
    """All of a generation but its empty partition, which `_sweep` drops: only those who read it wait."""
    conn.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(f"chunks_{generation_id}")))
    for table in ("documents", "term_counts", "chunk_counts", "count_changes"):
        conn.execute(sql.SQL("DELETE FROM {} WHERE generation_id = %s").format(sql.Identifier(table)), (generation_id,))
    conn.execute("DELETE FROM generations WHERE id = %s", (generation_id,))


def _differing_documents(conn: psycopg.Connection, one: int, other: int) -> int:
    row = conn.execute(
        "SELECT count(*) FROM "
        "(SELECT id, content_hash, reading FROM documents WHERE generation_id = %(one)s) a FULL JOIN "
        "(SELECT id, content_hash, reading FROM documents WHERE generation_id = %(other)s) b USING (id) "
        "WHERE (a.content_hash, a.reading) IS DISTINCT FROM (b.content_hash, b.reading)",
        {"one": one, "other": other},
    ).fetchone()
    assert row is not None
    return int(row[0])


# Where a file lies may change without its document.
_COPY_ORIGINS = (
    "UPDATE documents b SET origin = a.origin FROM documents a WHERE a.generation_id = %(active)s "
    "AND b.generation_id = %(target)s AND b.id = a.id AND b.origin <> a.origin"
)
_FAULTS = (
    (
        "SELECT count(*) FROM documents a JOIN documents b ON b.generation_id = %(target)s AND b.id = a.id "
        "AND b.content_hash = a.content_hash AND b.reading = a.reading WHERE a.generation_id = %(active)s "
        "AND EXISTS (SELECT 1 FROM chunks k WHERE k.generation_id = %(active)s AND k.document_id = a.id) "
        "AND NOT EXISTS (SELECT 1 FROM chunks k WHERE k.generation_id = %(target)s AND k.document_id = a.id)",
        "{} documents have lost their chunks.",
    ),
    (
        "SELECT count(*) FROM chunks WHERE generation_id = %(target)s AND (vector_dims(embedding) <> %(dimension)s "
        "OR l2_norm(embedding) NOT BETWEEN 0.98 AND 1.02)",
        "{} vectors are not of the right length.",
    ),
    (
        "SELECT count(*) FROM (SELECT collection_id, count(*) AS chunks FROM chunks WHERE generation_id = %(target)s "
        "GROUP BY 1) a FULL JOIN (SELECT collection_id, chunks FROM chunk_counts WHERE generation_id = %(target)s) b "
        "USING (collection_id) WHERE coalesce(a.chunks, 0) <> coalesce(b.chunks, 0)",
        "The counts of {} collections are wrong.",
    ),
)
_ORPHANS = (
    "SELECT c.relname, i.inhrelid IS NOT NULL, coalesce(i.inhdetachpending, false) FROM pg_class c "
    "LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = 'chunks'::regclass "
    "WHERE c.relkind = 'r' AND c.relname ~ '^chunks_[0-9]+$' "
    "AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'chunks'::regclass) "
    "AND NOT EXISTS (SELECT 1 FROM generations g WHERE c.relname = 'chunks_' || g.id)"
)
