"""What an index was built with, kept in it; a program built otherwise is refused instead of mixing vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from knowledge.database import Database
from knowledge.errors import IndexMismatch
from knowledge.lexemes import LEXEME_VERSION

MAX_DIMENSION = 4000  # of an HNSW index on halfvec


@dataclass(frozen=True, slots=True)
class Manifest:
    """`embedding`: the embedder's own description, at least `name` and `dimension`. `lexemes`: version of the words."""

    embedding: Mapping[str, Any]
    lexemes: str = LEXEME_VERSION

    @property
    def dimension(self) -> int:
        return int(self.embedding["dimension"])


def ensure_manifest(db: Database, manifest: Manifest) -> None:
    """Write the manifest and the vector index into an empty index, or compare it with the one that is there.

    Raises:
        IndexMismatch: the index was built with another embedding or other words; names both and what to do.
    """
    if manifest.dimension > MAX_DIMENSION:
        raise IndexMismatch(
            f"The embedding {_describe(manifest)} has more than the {MAX_DIMENSION} numbers that pgvector can index.",
            hint="Set EMBED_MODEL to a smaller one.",
        )
    with db.connection() as conn:
        # Two processes may start on an empty index at once: the second waits here and then compares.
        conn.execute("LOCK TABLE index_manifest IN SHARE ROW EXCLUSIVE MODE")
        row = conn.execute("SELECT embedding, lexemes FROM index_manifest").fetchone()
        if row is None:
            conn.execute(
                "INSERT INTO index_manifest (embedding, lexemes) VALUES (%s, %s)",
                (json.dumps(dict(manifest.embedding)), manifest.lexemes),
            )
            # An HNSW index needs a fixed dimension, which is known only now; queries use the same expression.
            conn.execute(
                sql.SQL(
                    "CREATE INDEX chunks_embedding ON chunks USING hnsw ((embedding::halfvec({})) halfvec_ip_ops)"
                ).format(sql.Literal(manifest.dimension))
            )
            return
    stored = Manifest(*row)
    if dict(stored.embedding) != dict(manifest.embedding):
        raise IndexMismatch(
            f"The index was built with the embedding {_describe(stored)}, but this start uses {_describe(manifest)}.",
            hint=f"Set EMBED_MODEL / EMBED_BASE_URL back to {stored.embedding['name']}, "
            "or use an empty database (another DATABASE_URL or DATA_DIR) and ingest again.",
        )
    if stored.lexemes != manifest.lexemes:
        raise IndexMismatch(
            f"The index was built with the words {stored.lexemes}, this version makes {manifest.lexemes}.",
            hint="Use an empty database (another DATABASE_URL or DATA_DIR) and ingest again.",
        )


def _describe(manifest: Manifest) -> str:
    return f"{manifest.embedding['name']} ({manifest.dimension} numbers)"
