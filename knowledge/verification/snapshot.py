"""One state of the database to read everything in, and rows that come in pages. Knows nothing about what they mean."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from knowledge.database import Database
from knowledge.errors import GakjuError
from knowledge.generations import Generation, Manifest, State

PAGE_ROWS = 5_000


class Snapshot:
    """A generation as it was at one moment. Writers go on meanwhile and are not seen."""

    def __init__(self, conn: psycopg.Connection, generation: Generation) -> None:
        self.generation = generation
        self.partition = _partition(generation.id)
        self._conn = conn
        self._cursors = itertools.count()

    def rows(
        self, query: str | sql.Composed, parameters: Sequence[object] = (), *, page: int = PAGE_ROWS
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of a query, from a cursor on the server: only a page of them is here at a time."""
        with self._conn.cursor(name=f"rows_{next(self._cursors)}") as cursor:
            cursor.execute(query.encode() if isinstance(query, str) else query, parameters, binary=True)
            while rows := cursor.fetchmany(page):
                yield from rows


@contextmanager
def snapshot(db: Database, state: State) -> Iterator[Snapshot | None]:
    """Of the generation in `state`, which is not dropped meanwhile. None: there is no such generation.

    Raises:
        DatabaseUnavailable: as `Database.connection`.
        GakjuError: it was dropped just now.
    """
    with db.connection() as conn:
        found = conn.execute("SELECT id FROM generations WHERE state = %s ORDER BY id DESC", (state,)).fetchone()
    if found is None:
        yield None
        return
    with db.connection() as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:  # before the first SELECT, which takes the snapshot: that a table is dropped is seen in spite of it
            conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(_partition(found[0])))
        except psycopg.errors.UndefinedTable as exc:
            raise _dropped() from exc
        # Without statistics, as after a restore, PostgreSQL would go through all chunks for each batch of documents.
        conn.execute("SET LOCAL enable_seqscan = off")
        row = conn.execute(
            "SELECT id, state, embedding, chunking, lexemes FROM generations WHERE id = %s", found
        ).fetchone()
        if row is None:
            raise _dropped()
        yield Snapshot(conn, Generation(row[0], row[1], Manifest(*row[2:])))


def _partition(generation_id: int) -> sql.Identifier:
    return sql.Identifier(f"chunks_{generation_id}")


def _dropped() -> GakjuError:
    return GakjuError("The generation to verify was given up just now.", hint="Run `gakju ingest verify` again.")
