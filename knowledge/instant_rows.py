"""FAQ and glossary rows in PostgreSQL: written with their document, found by key or by words within what may be seen.

A row answers only while the chunks it stands in are there and in scope. Knows nothing about how a question is put.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, LiteralString
from uuid import UUID

import numpy as np
import psycopg
from psycopg import sql

from knowledge.database import Database
from knowledge.filters import Filters
from knowledge.generations import Generation
from knowledge.instant_mining import InstantRow, Kind
from knowledge.passages import to_evidence
from knowledge.scope import resolve
from knowledge.types import Evidence, Scores

MAX_FOUND = 40  # rows of one question: more than are ever shown, so that it is known that there are too many
_COPY: LiteralString = (
    "COPY instant_answers (generation_id, document_id, ordinal, language, collection_id, kind, name, title, answer, keys, "
    "term_ids, chunks) FROM STDIN"
)


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as it answers. `evidence`: the chunks it stands in, ranked from 1; never none."""

    kind: Kind
    language: str
    collection_id: int
    name: str
    title: str
    answer: str
    evidence: tuple[Evidence, ...]


def write_rows(
    conn: psycopg.Connection,
    generation_id: int,
    document_id: UUID,
    collection_id: int,
    rows: Sequence[InstantRow],
    *,
    term_ids: Mapping[int, np.ndarray],
) -> None:
    """In the transaction that stores the document. `term_ids`: of its chunks, by ordinal. Nothing is asked without rows."""
    if not rows:
        return
    with conn.cursor() as cur, cur.copy(_COPY) as copy:
        for row in rows:
            # Of all chunks of the row: where it is cut, its question may stand in two.
            ids = np.unique(np.concatenate([term_ids[at] for at in row.chunks])).tolist() if row.kind == "faq" else []
            copy.write_row(
                (
                    generation_id,
                    document_id,
                    row.ordinal,
                    row.language,
                    collection_id,
                    row.kind,
                    row.name,
                    row.title,
                    row.answer,
                    list(row.keys),
                    ids,
                    list(row.chunks),
                )
            )


class InstantRows:
    """Rows of one generation of the index."""

    def __init__(self, db: Database, generation: Generation) -> None:
        self._db = db
        self._generation_id = generation.id

    def by_keys(self, keys: Sequence[str], filters: Filters | None) -> list[StoredRow]:
        """Rows with one of these keys, of all languages; in the order of collections, documents and rows.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        return self._find("a.keys && %(keys)s::text[]", {"keys": list(keys)}, filters)

    def faq_by_words(self, term_ids: Sequence[int], filters: Filters | None) -> list[StoredRow]:
        """FAQ rows that hold all these words, in question or answer. Raises as `by_keys`."""
        return self._find("a.kind = 'faq' AND a.term_ids @> %(ids)s::int[]", {"ids": list(term_ids)}, filters)

    def _find(self, condition: LiteralString, values: dict[str, Any], filters: Filters | None) -> list[StoredRow]:
        with self._db.connection() as conn:
            scope = resolve(conn, filters, self._generation_id, alias="k")
            if scope.nothing:
                return []
            statement = sql.SQL(_FIND).format(
                generation=sql.Literal(self._generation_id), found=sql.SQL(condition), scope=scope.condition
            )
            rows = conn.execute(statement, {**values, **scope.values, "limit": MAX_FOUND}).fetchall()
        return _grouped(rows)


# MATERIALIZED: the few rows first, then their chunks by key. All of a row's chunks must be in scope.
_FIND = """
WITH found AS MATERIALIZED (
    SELECT a.document_id, a.ordinal AS number, a.language AS spoken, a.collection_id, a.kind, a.name, a.title AS asked,
           a.answer, a.chunks
    FROM instant_answers a WHERE a.generation_id = {generation} AND {found}
), seen AS (
    SELECT f.number, f.spoken, f.collection_id, f.kind, f.name, f.asked, f.answer, f.chunks, k.ordinal, k.id,
           k.document_id, c.name AS collection, d.path, d.title, k.heading, k.place, k.start_char, k.end_char, k.text,
           k.language, k.table_header,
           count(*) OVER (PARTITION BY f.document_id, f.number, f.spoken) AS in_scope,
           dense_rank() OVER (ORDER BY c.name, d.path, f.number, f.spoken) AS place_in_all
    FROM found f
    JOIN chunks k ON k.generation_id = {generation} AND k.document_id = f.document_id AND k.ordinal = ANY(f.chunks)
    JOIN documents d ON d.generation_id = k.generation_id AND d.id = k.document_id
    JOIN collections c ON c.id = k.collection_id
    WHERE true{scope}
)
SELECT place_in_all, kind, spoken, collection_id, name, asked, answer, id, document_id, collection, path, title, heading,
       place, start_char, end_char, text, language, table_header
FROM seen WHERE in_scope = cardinality(chunks) AND place_in_all <= %(limit)s
ORDER BY place_in_all, ordinal
"""


def _grouped(rows: Sequence[tuple[Any, ...]]) -> list[StoredRow]:
    """One entry a row, with its chunks."""
    found = []
    for _, group in groupby(rows, key=itemgetter(0)):
        chunks = list(group)
        _, kind, language, collection_id, name, title, answer, *_ = chunks[0]
        evidence = _evidence([chunk[7:] for chunk in chunks])
        found.append(StoredRow(kind, language, collection_id, name, title, answer, evidence))
    return found


def _evidence(chunks: Sequence[tuple[Any, ...]]) -> tuple[Evidence, ...]:
    return tuple(to_evidence(chunk, Scores(fused=1.0), rank) for rank, chunk in enumerate(chunks, start=1))
