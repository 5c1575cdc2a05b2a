"""Mines the FAQ and glossary rows of documents that were stored before there were any, or by older rules. Once a generation.

Knows nothing about what is asked.
"""

from __future__ import annotations

import logging
from uuid import UUID

import numpy as np
from psycopg import Connection

from knowledge.database import Database
from knowledge.generations import Generation
from knowledge.instant_mining import mine_rows
from knowledge.instant_rows import write_rows
from knowledge.store import lock_document
from knowledge.types import Block, Chunk, Place

log = logging.getLogger(__name__)

RULES = "1"  # of knowledge/instant_keys.py and instant_mining.py: another number has all rows mined again
_TABLES = r"\.(csv|tsv|xlsx|xlsm|xls|ods)$"


def refill(db: Database, generation: Generation) -> int:
    """How many documents were looked at; 0 where it was done before, which costs one look-up.

    Raises:
        DatabaseUnavailable: what was not done is done next time.
    """
    key = f"instant_answers {generation.id}"
    with db.connection() as conn:
        row = conn.execute("SELECT value FROM app_state WHERE key = %s", (key,)).fetchone()
        if row and row[0] == RULES:
            return 0
        documents = conn.execute(
            "SELECT id FROM documents WHERE generation_id = %s AND path ~* %s AND blocks IS NOT NULL",
            (generation.id, _TABLES),
        ).fetchall()
    for (document_id,) in documents:
        with db.connection() as conn:
            _mine_again(conn, generation.id, document_id)
    with db.connection() as conn:
        conn.execute(
            "INSERT INTO app_state VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, RULES)
        )
    return len(documents)


def _mine_again(conn: Connection, generation_id: int, document_id: UUID) -> None:
    """Under the lock that who replaces or removes the document takes: their rows are written before or after these."""
    lock_document(conn, document_id)
    stored = conn.execute(
        "SELECT collection_id, text, blocks FROM documents WHERE generation_id = %s AND id = %s FOR UPDATE",
        (generation_id, document_id),
    ).fetchone()
    if stored is None:
        return
    collection_id, text, rows = stored
    blocks = [Block(start, end, tuple(head), Place.from_dict(place), kind) for start, end, head, place, kind in rows]
    found = conn.execute(
        "SELECT ordinal, start_char, end_char, term_ids FROM chunks WHERE generation_id = %s AND document_id = %s",
        (generation_id, document_id),
    ).fetchall()
    chunks = [Chunk(ordinal, start, end, text[start:end]) for ordinal, start, end, _ in found]
    term_ids = {ordinal: np.array(ids, np.int32) for ordinal, _, _, ids in found}
    conn.execute(
        "DELETE FROM instant_answers WHERE generation_id = %s AND document_id = %s", (generation_id, document_id)
    )
    write_rows(conn, generation_id, document_id, collection_id, mine_rows(text, blocks, chunks), term_ids=term_ids)
