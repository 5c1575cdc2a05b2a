"""The vector index and the word index of a generation: built when it has been filled, kept up row by row from then on.

A whole index is built several times as fast as one grows. Until then searches read every chunk, which is exact.
"""

from __future__ import annotations

from psycopg import sql

from knowledge.database import Database
from knowledge.generations import Generation, writing
from knowledge.store import IndexStore

_BUILD_MEMORY = "512MB"  # an HNSW graph of 300,000 chunks of 384 numbers is built in it; a larger one more slowly


def tidy(store: IndexStore) -> None:
    """What searches are quick and exact with, after many documents were stored one by one.

    Raises:
        DatabaseUnavailable, IndexMismatch: nothing is lost; it can be done again.
    """
    store.settle()
    build_indexes(store.db, store.generation)


def build_indexes(db: Database, generation: Generation) -> bool:
    """Build what is missing. False: nothing was. Writers of the generation wait meanwhile, readers do not.

    Raises:
        IndexMismatch: the generation is no longer written to.
    """
    names = [f"chunks_{generation.id}_embedding", f"chunks_{generation.id}_terms"]
    partition = sql.Identifier(f"chunks_{generation.id}")
    with db.connection() as conn:
        found = conn.execute("SELECT count(*) FROM pg_class WHERE relname = ANY(%s)", (names,)).fetchone()
        if found and found[0] == len(names):
            return False
        writing(conn, generation)
        conn.execute("SELECT set_config('maintenance_work_mem', %s, true)", (_BUILD_MEMORY,))
        # The vector index needs a fixed dimension; queries use the same expression.
        conn.execute(
            sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING hnsw ((embedding::halfvec({})) halfvec_ip_ops)").format(
                sql.Identifier(names[0]), partition, sql.Literal(generation.manifest.dimension)
            )
        )
        conn.execute(
            sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING gin (term_ids) WITH (fastupdate = off)").format(
                sql.Identifier(names[1]), partition
            )
        )
    with db.connection() as conn:
        conn.execute(sql.SQL("ANALYZE {}").format(partition))
    return True
