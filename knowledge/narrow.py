"""Filters that leave few chunks: how few is known before they are read, and then all of them are scored.

An index of vectors meets the chunks of a small collection in a large index only by chance, and an index of words reads the
postings of all the others. A few thousand chunks are read by the key of their collection or document in milliseconds,
and nothing is lost. Knows nothing about questions or ranking.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, LiteralString
from uuid import UUID

import numpy as np
import psycopg
from pgvector import HalfVector
from psycopg import sql

from knowledge.background import KOREAN, OTHER, Pool
from knowledge.candidates import prepare_reading, sparse
from knowledge.scope import Scope

# HNSW has to pass by the more chunks the larger the index is: as quick as scoring all that a filter leaves it is where that
# are 17,000 of 100,000, and with more of them where they are not spread evenly.
_SHARE_OF_ROOT = 50
_FEWEST, _MOST = 2_000, 20_000
# Of a pool of a larger selection: an English passage of a Korean collection in an English index would be looked for through
# all the English of the others.
MOST_OF_POOL = 3_000
_SHARE = 2  # what leaves half of the index hardly holds HNSW up
BOTH_POOLS = frozenset({KOREAN, OTHER})
MEANING, WORDS = "meaning", "words"

# Read and scored once for both legs and all pools.
_SCORED: LiteralString = (
    "WITH scored AS MATERIALIZED (SELECT {columns} FROM chunks WHERE generation_id = {generation}{condition}) "
)
_NEAREST: LiteralString = "(SELECT 'meaning', id FROM scored WHERE {} ORDER BY distance, id LIMIT {})"
_BEST: LiteralString = "(SELECT 'words', id FROM scored WHERE {} AND score > 0 ORDER BY score DESC, id LIMIT {})"
_OF_POOL: dict[str, LiteralString] = {KOREAN: "korean", OTHER: "NOT korean", "all": "true"}

_OF_DOCUMENTS = """
SELECT count(*) FROM (SELECT FROM chunks WHERE generation_id = {generation} AND document_id = ANY(%(ids)s::uuid[]) LIMIT {most})
AS counted
"""
# Ranges rather than <>: an index is read by them. Languages are codes, whose order is that of their bytes.
_OF_POOLS = """
SELECT (SELECT count(*) FROM (SELECT FROM chunks WHERE generation_id = {generation}
            AND collection_id = ANY(%(ids)s::int[]) AND language = 'ko' LIMIT {most}) AS korean),
       (SELECT count(*) FROM (SELECT FROM chunks WHERE generation_id = {generation}
            AND collection_id = ANY(%(ids)s::int[]) AND language < 'ko' LIMIT {most}) AS before),
       (SELECT count(*) FROM (SELECT FROM chunks WHERE generation_id = {generation}
            AND collection_id = ANY(%(ids)s::int[]) AND language > 'ko' LIMIT {most}) AS after)
"""


def most_chunks(chunks_in_all: int) -> int:
    """How many chunks of an index are scored one and all, rather than searched for with its indexes."""
    return max(_FEWEST, min(_MOST, round(_SHARE_OF_ROOT * math.sqrt(chunks_in_all))))


def with_few(conn: psycopg.Connection, scope: Scope, generation_id: int, *, chunks: int, chunks_in_all: int) -> Scope:
    """`scope`, with the pools of which it leaves few chunks. `chunks`: of its collections, `chunks_in_all` of all."""
    if scope.chunk_ids is not None:
        return replace(scope, few=BOTH_POOLS)
    most = most_chunks(chunks_in_all)
    if scope.collection_ids is not None and chunks <= most:
        return replace(scope, few=BOTH_POOLS)
    if scope.document_ids is not None and _chunks_of(conn, scope.document_ids, generation_id, most) <= most:
        return replace(scope, few=BOTH_POOLS)
    if scope.collection_ids is None or _SHARE * chunks > chunks_in_all:
        return scope
    return replace(scope, few=_few_pools(conn, scope.collection_ids, generation_id))


def score_all(
    conn: psycopg.Connection,
    generation_id: int,
    scope: Scope,
    quotas: Sequence[tuple[Pool | None, int]],
    *,
    embedding: np.ndarray | None,
    weights: dict[int, float],
) -> dict[str, list[UUID]]:
    """Ids of candidates by leg, best first within each pool, out of all the chunks that the scope leaves."""
    limits = {"all" if pool is None else pool.name: quota for pool, quota in quotas}
    statement, values = all_statement(generation_id, scope, list(limits), embedding=embedding, weights=weights)
    found: dict[str, list[UUID]] = {MEANING: [], WORDS: []}
    if not values:
        return found
    prepare_reading(conn)
    with conn.cursor(binary=True) as cursor:
        for leg, key in cursor.execute(statement, {**scope.values, **values, **limits}):
            found[leg].append(key)
    return found


def all_statement(
    generation_id: int,
    scope: Scope,
    pools: Sequence[str],
    *,
    embedding: np.ndarray | None,
    weights: dict[int, float],
) -> tuple[sql.Composed, dict[str, Any]]:
    """Legs and ids, and the values to bind but for those of the scope and the limits, which bear the names of `pools`."""
    values: dict[str, Any] = {}
    columns: list[sql.Composable] = [sql.SQL("id, language = 'ko' AS korean")]
    arms: list[sql.Composed] = []
    if embedding is not None:
        values["q"] = HalfVector(embedding)
        # Not as the vector index has it, which is then not read.
        columns.append(sql.SQL("embedding <#> %(q)s AS distance"))
        arms += [sql.SQL(_NEAREST).format(sql.SQL(_OF_POOL[pool]), sql.Placeholder(pool)) for pool in pools]
    if weights:
        values["w"] = sparse(weights)
        columns.append(sql.SQL("-(term_weights <#> %(w)s) AS score"))
        arms += [sql.SQL(_BEST).format(sql.SQL(_OF_POOL[pool]), sql.Placeholder(pool)) for pool in pools]
    scored = sql.SQL(_SCORED).format(
        columns=sql.SQL(", ").join(columns), generation=sql.Literal(generation_id), condition=scope.condition
    )
    return scored + sql.SQL(" UNION ALL ").join(arms), values


def _chunks_of(conn: psycopg.Connection, document_ids: list[UUID], generation_id: int, most: int) -> int:
    """How many they have; beyond `most` they are not counted on."""
    statement = sql.SQL(_OF_DOCUMENTS).format(generation=sql.Literal(generation_id), most=sql.Literal(most + 1))
    row = conn.execute(statement, {"ids": document_ids}).fetchone()
    return int(row[0]) if row else 0


def _few_pools(conn: psycopg.Connection, collection_ids: list[int], generation_id: int) -> frozenset[str]:
    statement = sql.SQL(_OF_POOLS).format(generation=sql.Literal(generation_id), most=sql.Literal(MOST_OF_POOL + 1))
    korean, before, after = conn.execute(statement, {"ids": collection_ids}).fetchone() or (0, 0, 0)
    counts = {KOREAN: korean, OTHER: before + after}
    return frozenset(name for name, count in counts.items() if count <= MOST_OF_POOL)
