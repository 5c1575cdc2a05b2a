"""Filters as SQL: what statements on `chunks` need in their WHERE clause so that they see only what a filter selects.

Every value is bound; the SQL that a filter can become all stands here. Conditions are put so that they neither cost the
order in which HNSW returns its rows nor a join for each. Knows nothing about ranking or where filters come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import UUID

import psycopg
from psycopg import sql

from knowledge.filters import Filters

MAX_LISTED_DOCUMENTS = 1_000  # up to so many are found first, so that their chunks can be read without a search index
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scope:
    """Filters as the database knows them, for statements on `chunks` of one generation.

    condition: " AND …" to put into the WHERE clause, or nothing; it needs `values` bound. collection_ids: None is all.
    document_ids: the documents, where conditions on documents leave few; None: not counted. chunk_ids: as in the filters.
    nothing: no need to search. few: names of the pools of which so few chunks are left that all are read (knowledge/narrow.py).
    """

    condition: sql.Composable = field(default_factory=lambda: sql.SQL(""))
    values: Mapping[str, object] = field(default_factory=dict)
    collection_ids: list[int] | None = None
    document_ids: list[UUID] | None = None
    chunk_ids: list[UUID] | None = None
    nothing: bool = False
    few: frozenset[str] = frozenset()


def resolve(conn: psycopg.Connection, filters: Filters | None, generation_id: int, *, alias: str = "chunks") -> Scope:
    """`alias`: what the statements call the table of chunks. Two short statements at most, none without filters."""
    if filters is None or filters.selects_all:
        return Scope()
    if filters.selects_nothing:
        return Scope(nothing=True)
    collection_ids = None
    if filters.collections is not None:
        names = list(filters.collections)
        found = conn.execute("SELECT id FROM collections WHERE name = ANY(%s::text[]) ORDER BY id", (names,))
        collection_ids = [row[0] for row in found]
        if not collection_ids:
            return Scope(nothing=True)
    values = _values(filters, collection_ids)
    if any(key in values for key in _OF_DOCUMENTS):
        few = _few_documents(conn, values, generation_id)
        if few is not None:
            values = {key: value for key, value in values.items() if key not in _OF_DOCUMENTS} | {"f_documents": few}
    listed = values.get("f_documents")
    return Scope(
        _condition(values, sql.Identifier(alias)),
        values,
        collection_ids,
        listed if isinstance(listed, list) else None,
        _uuids(filters.chunks),
        nothing=listed == [],
    )


def chunk_ids(conn: psycopg.Connection, filters: Filters, generation_id: int, *, limit: int) -> list[str]:
    """Ids of at most `limit` chunks that the filters select, in the order of their documents."""
    scope = resolve(conn, filters, generation_id)
    if scope.nothing:
        return []
    statement = sql.SQL(
        "SELECT id FROM chunks WHERE generation_id = {generation}{condition} ORDER BY document_id, ordinal LIMIT {limit}"
    ).format(generation=sql.Literal(generation_id), condition=scope.condition, limit=sql.Literal(limit))
    return [str(row[0]) for row in conn.execute(statement, scope.values)]


# Keys are those of `_values`; what stands here is all the SQL that a filter can become.
_OF_CHUNKS: dict[str, LiteralString] = {
    "f_collections": "{chunks}.collection_id = ANY(%(f_collections)s::int[])",
    "f_documents": "{chunks}.document_id = ANY(%(f_documents)s::uuid[])",
    "f_chunks": "{chunks}.id = ANY(%(f_chunks)s::uuid[])",
    "f_languages": "{chunks}.language = ANY(%(f_languages)s::text[])",
}
_MODIFIED_US = (
    "coalesce((SELECT f.modified_ns / 1000 FROM files f WHERE f.collection_id = d.collection_id AND f.path = d.path "
    "AND f.modified_ns > 0), (extract(epoch FROM d.ingested_at) * 1000000)::bigint)"
)
_OF_DOCUMENTS: dict[str, LiteralString] = {
    "f_paths": "(d.path = ANY(%(f_paths)s::text[]) OR d.path ^@ ANY(%(f_folders)s::text[]))",
    "f_types": "(lower(split_part(d.path, '.', -1)) = ANY(%(f_types)s::text[]) AND strpos(d.path, '.') > 0)",
    "f_after": _MODIFIED_US + " >= %(f_after)s::bigint",
    "f_before": _MODIFIED_US + " < %(f_before)s::bigint",
}


def _values(filters: Filters, collection_ids: list[int] | None) -> dict[str, object]:
    """What is bound: only keys that narrow. `f_folders` comes with `f_paths`."""
    values: dict[str, object] = {
        "f_collections": collection_ids,
        "f_documents": _uuids(filters.documents),
        "f_chunks": _uuids(filters.chunks),
        "f_languages": _listed(filters.languages),
        "f_types": _listed(filters.types),
        "f_after": _microseconds(filters.modified_after),
        "f_before": _microseconds(filters.modified_before),
    }
    if filters.paths is not None:
        values["f_paths"] = [path for path in filters.paths if not path.endswith("/")]
        values["f_folders"] = [path for path in filters.paths if path.endswith("/")]
    return {key: value for key, value in values.items() if value is not None}


def _few_documents(conn: psycopg.Connection, values: Mapping[str, object], generation_id: int) -> list[UUID] | None:
    """Ids of the documents that the filters leave; None: more than MAX_LISTED_DOCUMENTS."""
    conditions = [sql.SQL(part) for key, part in _OF_DOCUMENTS.items() if key in values]
    if "f_collections" in values:
        conditions.append(sql.SQL("d.collection_id = ANY(%(f_collections)s::int[])"))
    if "f_documents" in values:
        conditions.append(sql.SQL("d.id = ANY(%(f_documents)s::uuid[])"))
    statement = sql.SQL("SELECT d.id FROM documents d WHERE d.generation_id = %(f_generation)s AND {} LIMIT {}").format(
        sql.SQL(" AND ").join(conditions), sql.Literal(MAX_LISTED_DOCUMENTS + 1)
    )
    found = [row[0] for row in conn.execute(statement, {**values, "f_generation": generation_id})]
    return found if len(found) <= MAX_LISTED_DOCUMENTS else None


def _condition(values: Mapping[str, object], chunks: sql.Identifier) -> sql.Composed:
    parts = [sql.SQL(part).format(chunks=chunks) for key, part in _OF_CHUNKS.items() if key in values]
    of_documents = [sql.SQL(part) for key, part in _OF_DOCUMENTS.items() if key in values]
    if of_documents:
        # OFFSET 0 keeps it a look-up by key for each row: as a join it would cost the order in which HNSW returns its
        # rows, as a hash a reading of all documents.
        exists = "EXISTS (SELECT FROM documents d WHERE d.generation_id = {chunks}.generation_id "
        exists += "AND d.id = {chunks}.document_id AND {conditions} OFFSET 0)"
        parts.append(sql.SQL(exists).format(chunks=chunks, conditions=sql.SQL(" AND ").join(of_documents)))
    return sql.SQL("").join(sql.SQL(" AND {}").format(part) for part in parts)


def _uuids(ids: tuple[str, ...] | None) -> list[UUID] | None:
    return None if ids is None else [UUID(key) for key in ids]


def _listed(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)
