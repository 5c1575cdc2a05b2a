"""The only way to PostgreSQL: a connection pool that says plainly when the database is away, and the migrations.

Knows nothing about documents or search.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import psycopg
from pgvector.psycopg import register_vector
from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolTimeout

from knowledge.errors import DatabaseRefused, DatabaseUnavailable, GakjuError
from knowledge.patient_connection import PatientConnection

__all__ = ["Connection", "Database", "migrate", "redact"]

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).with_name("migrations")
_MIGRATION_LOCK = 0x67616B6A75  # "gakju": any process that migrates holds this advisory lock
_UNREACHABLE_STATES = ("08", "57P", "53300")  # connection lost, shutting down or starting, too many connections
MIN_PGVECTOR = (0, 8)
_CHECK_LIMIT_S = 1.0  # of the question whether a pooled connection still works


class Database:
    """A pool of at most `max_size` connections. Use `with db.connection() as conn:`, one transaction a block.

    `where`: what an embedded database is called in messages; a database of one's own is named by its address.
    `search_ef`: candidates that HNSW keeps while it searches; must be at least the number of results asked for.
    """

    def __init__(
        self, url: str, *, where: str = "", max_size: int = 8, connect_timeout_s: float = 5.0, search_ef: int = 120
    ) -> None:
        self._url = url
        self._where = where or f"database at {redact(url)}"
        self._is_embedded = bool(where)
        self._connect_timeout_s = connect_timeout_s
        self._search_ef = search_ef
        self._pool: ConnectionPool[PatientConnection] | None = None
        self._max_size = max_size
        self._answer_limit_s: float | None = None

    def within(self, limit_s: float) -> Database:
        """This open database for whoever must not wait: a server that is silent for `limit_s` counts as lost.

        Without it, an answer may take as long as it takes, as building an index does.
        """
        if limit_s <= 0:
            raise ValueError(f"limit_s is {limit_s}, not above 0")
        hurried = copy(self)
        hurried._answer_limit_s = limit_s
        return hurried

    def open(self) -> None:
        """Connect, bring the schema up to date, fill the pool.

        Raises:
            DatabaseUnavailable: no connection.
            GakjuError: the schema is newer than this program, or pgvector is missing.
        """
        if self._pool is not None:
            return
        try:
            with psycopg.connect(self._url, autocommit=True, connect_timeout=int(self._connect_timeout_s)) as conn:
                migrate(conn)
                _check_pgvector(conn)
        except psycopg.Error as exc:
            raise self._failure(exc) from exc
        self._pool = ConnectionPool(
            self._url,
            min_size=1,
            max_size=self._max_size,
            open=True,
            timeout=self._connect_timeout_s,
            reconnect_timeout=0,  # fail each request quickly; the next one tries again
            connection_class=PatientConnection,
            configure=self._configure,
            check=_check,
            kwargs={"connect_timeout": int(self._connect_timeout_s)},
        )

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """A connection in a transaction: committed at the end of the block, rolled back on an exception.

        Raises:
            DatabaseUnavailable: no connection within the timeout, or it was lost on the way.
            DatabaseRefused: the database answered, with an error.
        """
        if self._pool is None:
            raise DatabaseUnavailable(f"Not connected to the {self._where}.", hint="Open the database first.")
        try:
            with self._pool.connection() as conn:
                conn.answer_limit_s = self._answer_limit_s  # for the end of the transaction, too
                yield conn
        except (psycopg.Error, PoolTimeout) as exc:
            raise self._failure(exc) from exc

    def dedicated(self) -> psycopg.Connection:
        """A connection outside the pool, for locks that are held as long as it is open. Close it yourself.

        Raises:
            DatabaseUnavailable: as `connection`.
        """
        try:
            conn = psycopg.connect(self._url, autocommit=True, connect_timeout=int(self._connect_timeout_s))
            # The locks of a machine that lost its power are free after a minute, not two hours.
            conn.execute("SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3")
            return conn
        except psycopg.Error as exc:
            raise self._failure(exc) from exc

    def ping(self) -> None:
        """One round trip.

        Raises:
            DatabaseUnavailable: as `connection`.
        """
        with self.connection() as conn:
            conn.execute("SELECT 1")

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _configure(self, conn: PatientConnection) -> None:
        conn.answer_limit_s = self._connect_timeout_s
        register_vector(conn)
        conn.execute("SELECT set_config('hnsw.ef_search', %s, false)", (str(self._search_ef),))
        # With a filter HNSW alone returns too few rows; strict order keeps the ranking exact (pgvector >= 0.8).
        conn.execute("SELECT set_config('hnsw.iterative_scan', 'strict_order', false)")
        conn.execute("SET jit = off")  # compiling costs more than these queries take
        conn.commit()

    def _failure(self, exc: Exception) -> GakjuError:
        reason = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
        state = getattr(exc, "sqlstate", None)
        if state and not state.startswith(_UNREACHABLE_STATES):
            return DatabaseRefused(
                f"The {self._where} refused: {reason}",
                hint="Check the rights of its user, its disk space and that it is writable.",
            )
        log.warning("database unavailable: %s", reason)
        hint = (
            "It is started again by itself." if self._is_embedded else "Check that it runs and DATABASE_URL is right."
        )
        return DatabaseUnavailable(f"The {self._where} does not answer.", hint=hint)


def _check(conn: PatientConnection) -> None:
    conn.answer_limit_s = _CHECK_LIMIT_S
    ConnectionPool.check_connection(conn)


def redact(url: str) -> str:
    """`url` without user, password and query, for messages: whatever stands before the last @ may be secret."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].split('?', 1)[0]}"


def migrate(conn: psycopg.Connection) -> None:
    """Apply the numbered files of migrations/ that this database has not seen, each in its own transaction.

    Safe when several processes start at once, and after a kill: a half-applied migration rolls back.
    """
    files = sorted(MIGRATIONS.glob("[0-9]*.sql"))
    newest = int(files[-1].name.split("_")[0])
    conn.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
    try:
        conn.execute(
            "CREATE TABLE IF NOT EXISTS schema_version "
            "(version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        row = conn.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
        current = row[0] if row else 0
        if current > newest:
            raise GakjuError(
                f"The database has schema version {current}, this program knows up to {newest}.",
                hint="Start the newer version of Gakju, or use another database.",
            )
        for file in files[current:]:
            version = int(file.name.split("_")[0])
            with conn.transaction():
                conn.execute(file.read_text(encoding="utf-8").encode())
                conn.execute("INSERT INTO schema_version (version) VALUES (%s)", (version,))
            log.info("database schema: applied %s", file.name)
    except psycopg.errors.FeatureNotSupported as exc:
        raise _no_pgvector("has no pgvector extension") from exc
    finally:
        if not conn.closed:
            conn.execute("SELECT pg_advisory_unlock(%s)", (_MIGRATION_LOCK,))


def _check_pgvector(conn: psycopg.Connection) -> None:
    row = conn.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    version = row[0] if row else "none"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < MIN_PGVECTOR:
        raise _no_pgvector(f"has pgvector {version}")


def _no_pgvector(what: str) -> GakjuError:
    return GakjuError(
        f"PostgreSQL {what}, version 0.8 or newer is needed.",
        hint="Install it on that server (ALTER EXTENSION vector UPDATE), or unset DATABASE_URL for the embedded one.",
    )
