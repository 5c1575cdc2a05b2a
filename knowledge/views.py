"""How often each answer of a FAQ or a glossary was shown, and which are shown most.

Counted in memory and added to PostgreSQL a moment later by a thread of its own: an answer never waits for its count, and a
database that is away costs none of it. A process that is killed loses its last second. Knows nothing about questions.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from knowledge.database import Database
from knowledge.errors import GakjuError
from knowledge.filters import Filters
from knowledge.generations import Generation
from knowledge.instant_mining import Kind
from knowledge.scope import resolve

log = logging.getLogger(__name__)

FLUSH_S = 1.0
MAX_WAITING = 10_000  # different answers whose counts wait while the database is away
MAX_TOP = 1_000


@dataclass(frozen=True, slots=True)
class Viewed:
    """What is counted: a row of a FAQ or a glossary of one collection. Documents with the same row share it."""

    collection_id: int
    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A question of a FAQ or a term of a glossary, with its answer, where it stands and how often it was shown."""

    title: str
    answer: str
    language: str
    views: int
    chunk_id: str
    document_id: str
    collection: str
    path: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "answer": self.answer,
            "language": self.language,
            "views": self.views,
            "chunk_id": self.chunk_id,
            "document_id": self.document_id,
            "collection": self.collection,
            "document": self.path,
        }


class Views:
    """Counts of all app processes together. `close` writes what waits. Safe to use from several threads."""

    def __init__(self, db: Database, *, flush_s: float = FLUSH_S) -> None:
        self._db = db
        self._flush_s = flush_s
        self._waiting: Counter[Viewed] = Counter()
        self._in_hand = 0  # different answers that are being written, and wait on if that fails
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, viewed: Viewed) -> None:
        """One more view. Returns at once."""
        with self._lock:
            if viewed not in self._waiting and len(self._waiting) + self._in_hand >= MAX_WAITING:
                return
            self._waiting[viewed] += 1
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="views", daemon=True)
                self._thread.start()
        self._wake.set()

    def flush(self) -> None:
        """Write what waits now.

        Raises:
            DatabaseUnavailable: it waits on.
        """
        with self._writing:
            with self._lock:
                taken, self._waiting = self._waiting, Counter()
                self._in_hand = len(taken)
            if not taken:
                return
            try:
                self._write(taken)
                taken = Counter()
            finally:
                with self._lock:
                    self._waiting.update(taken)
                    self._in_hand = 0

    def close(self) -> None:
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        try:
            self.flush()
        except GakjuError as exc:
            log.warning("views of %d answers are lost: %s", len(self._waiting), exc)

    def top(
        self, kind: Kind, k: int, *, generation: Generation, filters: Filters | None = None, language: str = ""
    ) -> list[Entry]:
        """The `k` that were shown most, then the others in the order of their documents. `language`: "" is all.

        Raises:
            DatabaseUnavailable: the database does not answer.
            ValueError: `k` is not 1 to MAX_TOP.
        """
        if not 1 <= k <= MAX_TOP:
            raise ValueError(f"k is {k}, not 1 to {MAX_TOP}")
        self.flush()
        with self._db.connection() as conn:
            scope = resolve(conn, filters, generation.id, alias="c")
            if scope.nothing:
                return []
            statement = sql.SQL(_TOP).format(generation=sql.Literal(generation.id), scope=scope.condition)
            values = {**scope.values, "kind": kind, "k": k, "language": language}
            rows = conn.execute(statement, values).fetchall()
        return [Entry(*row) for row in rows]

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.wait()
            self._wake.clear()
            self._closed.wait(self._flush_s)  # others of the same moment are written with it
            if self._closed.is_set():
                return
            try:
                self.flush()
            except GakjuError:
                log.warning("views wait: the database does not answer")
                self._wake.set()
            except Exception:  # counts are worth less than the thread that keeps them
                log.exception("views could not be written")

    def _write(self, counts: Counter[Viewed]) -> None:
        # In one order, so that two processes never wait for each other in a circle.
        ordered = sorted(counts.items(), key=lambda item: (item[0].collection_id, item[0].kind, item[0].name))
        columns: tuple[list[Any], ...] = ([], [], [], [])
        for viewed, times in ordered:
            for column, value in zip(columns, (viewed.collection_id, viewed.kind, viewed.name, times), strict=True):
                column.append(value)
        with self._db.connection() as conn:
            conn.execute(_ADD, columns)


_ADD = """
INSERT INTO instant_views AS v (collection_id, kind, name, views)
SELECT * FROM unnest(%s::int[], %s::text[], %s::text[], %s::bigint[])
ON CONFLICT (collection_id, kind, name) DO UPDATE SET views = v.views + excluded.views, viewed_at = now()
"""
# A row that stands in several documents, or in several languages that were all asked for, is one entry a language.
_TOP = """
SELECT title, answer, language, views, id, document_id, collection, path FROM (
    SELECT DISTINCT ON (a.collection_id, a.name, a.language) a.title, a.answer, a.language,
           coalesce(v.views, 0) AS views, c.id::text AS id, a.document_id::text AS document_id, o.name AS collection, d.path, a.ordinal
    FROM instant_answers a
    JOIN chunks c ON c.generation_id = {generation} AND c.document_id = a.document_id AND c.ordinal = a.chunks[1]
    JOIN documents d ON d.generation_id = {generation} AND d.id = a.document_id
    JOIN collections o ON o.id = a.collection_id
    LEFT JOIN instant_views v ON v.collection_id = a.collection_id AND v.kind = a.kind AND v.name = a.name
    WHERE a.generation_id = {generation} AND a.kind = %(kind)s
      AND (%(language)s::text = '' OR a.language = %(language)s::text){scope}
    ORDER BY a.collection_id, a.name, a.language, d.path, a.ordinal
) AS entries
ORDER BY views DESC, collection, path, ordinal, language LIMIT %(k)s
"""
