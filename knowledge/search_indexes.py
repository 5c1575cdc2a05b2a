"""The indexes of vectors, words and collections of a generation: built when it has been filled, kept up from then on.

A whole index is built several times as fast as one grows. Until then searches read every chunk, which is exact. Each
language pool has a vector index of its own: in one for both, a question in one language had to pass by most chunks of its
own before it came to the nearest ones in the other (ten times the processor time at 100,000 chunks).
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass

import psycopg
from psycopg import sql

from knowledge.candidates import pool_condition
from knowledge.database import Database
from knowledge.generations import Generation, writing
from knowledge.store import IndexStore

log = logging.getLogger(__name__)

_WORDS_MEMORY_KB = (
    512 << 10
)  # an HNSW graph of 300,000 chunks of 384 numbers fits, too; a larger one is built more slowly
# Recall@10 at ef_search 400 is .997 with 128 and .991 with pgvector's own 64 (100,000 chunks), for 1.7 times the work.
_EF_CONSTRUCTION = 100
_VECTOR_OVERHEAD_BYTES = 1_000  # of an HNSW graph in memory: neighbours and what holds them
_SHARED_BUFFERS = 2  # times which a build may take: they are a small share of the server's memory
_BUILD_LOCK = 0x67616B69  # "gaki": with the number of the generation, whoever builds its indexes holds it


def tidy(store: IndexStore) -> None:
    """What searches are quick and exact with, after many documents were stored one by one.

    Raises:
        DatabaseUnavailable, IndexMismatch: nothing is lost; it can be done again.
    """
    store.settle()
    build_indexes(store.db, store.generation)


@dataclass(frozen=True, slots=True)
class _Index:
    """`pool`: the condition on its chunks; None: all."""

    name: str
    statement: sql.Composed
    pool: sql.Composable | None


def build_indexes(db: Database, generation: Generation) -> bool:
    """Build what is missing. False: nothing was. Writers of the generation wait meanwhile, readers do not.

    Raises:
        IndexMismatch: the generation is no longer written to.
    """
    partition = sql.Identifier(f"chunks_{generation.id}")
    indexes = _indexes(generation)
    outdated = f"chunks_{generation.id}_embedding"  # of earlier versions: one for both pools
    with db.connection() as conn:
        found = _existing(conn, [index.name for index in indexes] + [outdated])
        missing = [index for index in indexes if index.name not in found]
        if missing:
            writing(conn, generation)
            conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_BUILD_LOCK, generation.id))
        # One after the other: each is built by as many processes as there are cores, which takes no longer than
        # building several at once.
        for index in missing:
            _build(conn, index.statement, _memory_kb(conn, index, partition, generation.manifest.dimension))
    if missing:
        with db.connection() as conn:
            conn.execute(sql.SQL("ANALYZE {}").format(partition))
    if outdated in found:
        _drop(db, outdated)
    return bool(missing)


def _indexes(generation: Generation) -> list[_Index]:
    """The vector indexes need a fixed dimension; queries use the same expressions."""
    partition = sql.Identifier(f"chunks_{generation.id}")
    found = []
    for suffix, korean in (("ko", True), ("other", False)):
        name, pool = f"chunks_{generation.id}_embedding_{suffix}", pool_condition(korean)
        statement = sql.SQL(
            "CREATE INDEX IF NOT EXISTS {} ON {} USING hnsw ((embedding::halfvec({})) halfvec_ip_ops) "
            "WITH (ef_construction = {}) WHERE {}"
        ).format(
            sql.Identifier(name),
            partition,
            sql.Literal(generation.manifest.dimension),
            sql.Literal(_EF_CONSTRUCTION),
            pool,
        )
        found.append(_Index(name, statement, pool))
    name = f"chunks_{generation.id}_terms"
    statement = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING gin (term_ids) WITH (fastupdate = off)").format(
        sql.Identifier(name), partition
    )
    found.append(_Index(name, statement, None))
    name = f"chunks_{generation.id}_collection"  # with the language: see knowledge/narrow.py
    statement = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} (generation_id, collection_id, language)").format(
        sql.Identifier(name), partition
    )
    return [*found, _Index(name, statement, None)]


def _existing(conn: psycopg.Connection, names: list[str]) -> set[str]:
    return {row[0] for row in conn.execute("SELECT relname FROM pg_class WHERE relname = ANY(%s)", (names,))}


def _memory_kb(conn: psycopg.Connection, index: _Index, partition: sql.Identifier, dimension: int) -> int:
    """What the whole graph takes, within what the server can be expected to have."""
    if index.pool is None:
        return _WORDS_MEMORY_KB
    counted = sql.SQL("SELECT count(*), pg_size_bytes(current_setting('shared_buffers')) FROM {} WHERE {}").format(
        partition, index.pool
    )
    chunks, shared_buffers = conn.execute(counted).fetchone() or (0, 0)
    wanted = chunks * (2 * dimension + _VECTOR_OVERHEAD_BYTES)
    most = max(_WORDS_MEMORY_KB << 10, _SHARED_BUFFERS * shared_buffers)
    return max(64 << 20, min(wanted, most)) >> 10


def _build(conn: psycopg.Connection, statement: sql.Composed, memory_kb: int) -> None:
    """Processes that build together share their memory, of which containers have little: then one builds alone."""
    try:
        with conn.transaction():
            conn.execute("SELECT set_config('maintenance_work_mem', %s, true)", (f"{memory_kb}kB",))
            conn.execute(statement)
    except (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory):
        log.warning("too little shared memory to build an index with several processes: one builds it")
        with conn.transaction():
            conn.execute(
                "SELECT set_config('maintenance_work_mem', %s, true), "
                "set_config('max_parallel_maintenance_workers', '0', true)",
                (f"{min(memory_kb, _WORDS_MEMORY_KB)}kB",),
            )
            conn.execute(statement)


def _drop(db: Database, name: str) -> None:
    """Without keeping a search waiting. What stays now goes the next time."""
    with closing(db.dedicated()) as conn:
        try:
            conn.execute("SET lock_timeout = '10s'")
            conn.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(name)))
        except psycopg.Error as exc:
            log.warning("could not drop the index %s, which is no longer needed: %s", name, exc)
