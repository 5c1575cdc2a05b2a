"""Statements that bring candidates from one generation of the index, and what is needed to score and to show them.

Meaning: the HNSW index of a language pool, read on until enough chunks fit the filters (iterative scan). Words: the chunks
that hold one of the question's rarer lexemes, or a pair of the others (GIN), scored exactly with BM25 by an inner product.
Knows nothing about fusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import numpy as np
import psycopg
from pgvector import HalfVector, SparseVector
from psycopg import sql

from knowledge.background import KOREAN, OTHER, Pool
from knowledge.generations import Generation
from knowledge.scope import Scope
from knowledge.terms import TERM_SPACE
from knowledge.word_query import WordsAsked

EF_SEARCH_FACTOR = 4  # candidates that HNSW keeps for each one asked for: recall@10 against exact is then above .99
_EF_CHUNKS, _EF_GROWTH = 100_000, 0.3
# Chunks that a filter may have read through, ten times pgvector's default: with fewer, a narrow filter loses what it selects.
MOST_SCANNED = 200_000
MOST_EF_SEARCH = 1_000  # pgvector's limit
_LEAST_EF_SEARCH = 40  # pgvector's default
ITERATIVE_SCAN = "relaxed_order"  # what comes is scored anew, so that its order may be a little off
# PostgreSQL takes comparing two arrays for as quick as comparing two numbers: it would do it for each of 10,000 chunks, half
# a second, rather than read the index.
_COMPARISON_COST, _ARRAY_COMPARISON_COST = 0.0025, 1.0
_OF_POOL = {KOREAN: sql.SQL(" WHERE korean"), OTHER: sql.SQL(" WHERE NOT korean"), "all": sql.SQL("")}


@dataclass(frozen=True, slots=True)
class Rows:
    """Chunks, parallel: `vectors` float32 (n, dimension), `words` BM25 (n,), 0 where no word is shared, `korean` bool (n,)."""

    ids: tuple[UUID, ...]
    documents: tuple[UUID, ...]
    korean: np.ndarray
    vectors: np.ndarray
    words: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class Statements:
    """Of one generation. Its number stands in their text: the planner then sees its one partition alone."""

    def __init__(self, generation: Generation) -> None:
        self._names = {"g": sql.Literal(generation.id), "d": sql.Literal(generation.manifest.dimension)}
        self._dimension = generation.manifest.dimension

    def by_meaning(
        self,
        conn: psycopg.Connection,
        embedding: np.ndarray,
        scope: Scope,
        quotas: Sequence[tuple[Pool | None, int]],
        *,
        chunks: int,
    ) -> list[UUID]:
        """Nearest first within each pool; None is all. `chunks`: about how many the generation has."""
        limits = [(pool.is_korean, quota) for pool, quota in quotas if pool]
        most = max(quota for _, quota in quotas)
        prepare_scan(conn, most, chunks=chunks)
        statement, values = self.meaning_statement(scope, limits or [(korean, most) for korean in _pools_of(scope)])
        with conn.cursor(binary=True) as cursor:
            found = cursor.execute(statement, {**scope.values, **values, "q": HalfVector(embedding)}).fetchall()
        nearest = found if limits else sorted(found, key=lambda row: row[1])[:most]
        return [row[0] for row in nearest]

    def meaning_statement(
        self, scope: Scope, limits: Sequence[tuple[bool, int]]
    ) -> tuple[sql.Composed, dict[str, int]]:
        """Ids and distances, pool after pool, and the limits to bind. `limits`: whether a pool is Korean, and its own.

        Each pool has an index of its own, which only a statement that names its condition reads.
        """
        arms = [
            self._composed(
                "(SELECT id, {distance} FROM chunks WHERE generation_id = {g} AND {pool}{condition} "
                "ORDER BY {distance} LIMIT {limit})",
                scope,
                distance=self._distance(scope, korean),
                pool=_pool_condition(scope, korean),
                limit=sql.Placeholder(pool_name(korean)),
            )
            for korean, _ in limits
        ]
        return sql.SQL(" UNION ALL ").join(arms), {pool_name(korean): limit for korean, limit in limits}

    def by_words(
        self, conn: psycopg.Connection, asked: WordsAsked, scope: Scope, quotas: Sequence[tuple[Pool | None, int]]
    ) -> list[UUID]:
        """Best first within each pool; None is all."""
        limits = {"all" if pool is None else pool_name(pool.is_korean): quota for pool, quota in quotas}
        statement, values = self.words_statement(asked, scope, list(limits))
        _set_comparison_cost(conn, _ARRAY_COMPARISON_COST)
        with conn.cursor(binary=True) as cursor:
            found = [row[0] for row in cursor.execute(statement, {**scope.values, **values, **limits})]
        _set_comparison_cost(conn, _COMPARISON_COST)
        return found

    def words_statement(
        self, asked: WordsAsked, scope: Scope, pools: Sequence[str]
    ) -> tuple[sql.Composed, dict[str, Any]]:
        """Ids; values to bind but for those of the scope and the limits, which bear the names of the pools."""
        values: dict[str, Any] = {"q": sparse(asked.weights), "rare": list(asked.rare)}
        found: list[sql.Composable] = [sql.SQL("term_ids && %(rare)s::int[]")]
        for at, (term, partners) in enumerate(asked.partners.items()):
            # GIN reads the postings of the rarer term and looks its chunks up in the others'.
            pair = sql.SQL("term_ids @> {}::int[] AND term_ids && {}::int[]")
            found.append(pair.format(sql.Placeholder(f"term{at}"), sql.Placeholder(f"partners{at}")))
            values |= {f"term{at}": [term], f"partners{at}": list(partners)}
        scored = self._composed(
            "SELECT id, language = 'ko' AS korean, -(term_weights <#> %(q)s) AS score FROM chunks "
            "WHERE generation_id = {g} AND ({found}){condition}",
            scope,
            found=sql.SQL(" OR ").join(found),
        )
        arms = [
            sql.SQL("(SELECT id FROM scored{} ORDER BY score DESC, id LIMIT {})").format(
                _OF_POOL[name], sql.Placeholder(name)
            )
            for name in pools
        ]
        materialized = sql.SQL("WITH scored AS MATERIALIZED ({}) ").format(scored)  # scored once for all pools
        return materialized + sql.SQL(" UNION ALL ").join(arms), values

    def rows(self, conn: psycopg.Connection, ids: Sequence[UUID], weights: dict[int, float]) -> Rows:
        """Both legs' true scores can be told from these, for what either of them found."""
        statement = self._composed(
            "SELECT id, document_id, language = 'ko', halfvec_send(embedding), -(term_weights <#> %(q)s) FROM chunks "
            "WHERE generation_id = {g} AND id = ANY(%(ids)s)",
            Scope(),
        )
        return self._fetch(conn, statement, {"q": sparse(weights), "ids": list(ids)})

    def neighbours(
        self,
        conn: psycopg.Connection,
        vector: np.ndarray,
        weights: dict[int, float],
        scope: Scope,
        pool: Pool,
        limit: int,
    ) -> Rows:
        """The chunks of `pool` nearest to a vector of another chunk."""
        prepare_scan(conn, limit)
        statement = self._composed(
            "WITH near AS MATERIALIZED (SELECT id FROM chunks "
            "WHERE generation_id = {g} AND {pool}{condition} ORDER BY {distance} LIMIT %(limit)s) "
            "SELECT id, document_id, language = 'ko', halfvec_send(embedding), -(term_weights <#> %(w)s) FROM chunks "
            "WHERE generation_id = {g} AND id IN (SELECT id FROM near)",  # of these alone the words are scored
            scope,
            distance=self._distance(scope, pool.is_korean),
            pool=_pool_condition(scope, pool.is_korean),
        )
        values = {**scope.values, "q": HalfVector(vector), "w": sparse(weights), "limit": limit}
        return self._fetch(conn, statement, values)

    def load(self, conn: psycopg.Connection, ids: Sequence[UUID]) -> dict[UUID, tuple[Any, ...]]:
        statement = self._composed(
            "SELECT k.id, k.document_id, c.name, d.path, d.title, k.heading, k.place, k.start_char, k.end_char, "
            "k.text, k.language, k.table_header, k.sentences, "
            "CASE WHEN k.sentences IS NOT NULL THEN array_send(k.term_ids) END FROM chunks k "
            "JOIN documents d ON d.generation_id = k.generation_id AND d.id = k.document_id "
            "JOIN collections c ON c.id = k.collection_id WHERE k.generation_id = {g} AND k.id = ANY(%(ids)s)",
            Scope(),
        )
        return {row[0]: row for row in conn.execute(statement, {"ids": list(ids)})}

    def _fetch(self, conn: psycopg.Connection, statement: sql.Composed, values: dict[str, Any]) -> Rows:
        with conn.cursor(binary=True) as cursor:
            found = cursor.execute(statement, values).fetchall()
        # All at once: an object for each vector took longer than fetching them. As text they took ten times as long.
        sent = np.dtype([("dimension", ">u2"), ("unused", ">u2"), ("numbers", ">f2", (self._dimension,))])
        vectors = np.frombuffer(b"".join(row[3] for row in found), sent)["numbers"].astype(np.float32)
        return Rows(
            ids=tuple(row[0] for row in found),
            documents=tuple(row[1] for row in found),
            korean=np.array([row[2] for row in found], bool),
            vectors=vectors,
            words=np.array([row[4] for row in found], float),
        )

    def _distance(self, scope: Scope, korean: bool) -> sql.Composed:
        """As the vector index has it, or of few chunks so that it is not read for them."""
        text: LiteralString = "embedding::halfvec({d}) <#> %(q)s::halfvec({d})"
        return sql.SQL("embedding <#> %(q)s" if pool_name(korean) in scope.few else text).format(**self._names)

    def _composed(self, statement: LiteralString, scope: Scope, **parts: sql.Composable) -> sql.Composed:
        """`{g}`: the generation's number, `{d}`: its dimension, `{condition}`: of the scope."""
        return sql.SQL(statement).format(**self._names, condition=scope.condition, **parts)


def pool_condition(korean: bool) -> sql.SQL:
    """As the indexes have it, word for word."""
    return sql.SQL("language = 'ko'" if korean else "language <> 'ko'")


def _pool_condition(scope: Scope, korean: bool) -> sql.SQL:
    """Of few chunks in ranges, by which the index of collections is read."""
    if korean or OTHER not in scope.few:
        return pool_condition(korean)
    return sql.SQL("(language < 'ko' OR language > 'ko')")


def pool_name(korean: bool) -> str:
    return KOREAN if korean else OTHER


def _pools_of(scope: Scope) -> list[bool]:
    """Which pools the scope can have chunks of: an index in which none fits would be read for long."""
    languages = scope.values.get("f_languages")
    if not isinstance(languages, list):
        return [True, False]
    return sorted({language == "ko" for language in languages}, reverse=True)


def prepare_scan(conn: psycopg.Connection, candidates: int, *, chunks: int = 0) -> None:
    """HNSW's settings and what reading an index page costs on today's disks, until the end of the transaction."""
    conn.execute(
        "SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', %s, true), "
        "set_config('hnsw.max_scan_tuples', %s, true), set_config('hnsw.scan_mem_multiplier', '8', true), "
        "set_config('random_page_cost', '1.1', true)",
        (str(ef_search(candidates, chunks)), ITERATIVE_SCAN, str(MOST_SCANNED)),
    )


def prepare_reading(conn: psycopg.Connection) -> None:
    """Chunks are read by key in this process, until the end of the transaction: starting others would take longer."""
    conn.execute(
        "SELECT set_config('random_page_cost', '1.1', true), set_config('max_parallel_workers_per_gather', '0', true)"
    )


def _set_comparison_cost(conn: psycopg.Connection, cost: float) -> None:
    """Until the end of the transaction. Dear as it then seems, starting processes for it would take longer."""
    conn.execute(
        "SELECT set_config('cpu_operator_cost', %s, true), set_config('max_parallel_workers_per_gather', '0', true)",
        (str(cost),),
    )


def ef_search(candidates: int, chunks: int = 0) -> int:
    """Grows with the index: at a million chunks what finds .997 of ten in a hundred thousand found .96."""
    growth = max(1.0, chunks / _EF_CHUNKS) ** _EF_GROWTH
    return min(MOST_EF_SEARCH, max(_LEAST_EF_SEARCH, round(EF_SEARCH_FACTOR * candidates * growth)))


def sparse(weights: dict[int, float]) -> SparseVector:
    return SparseVector(weights, TERM_SPACE)


def merged(one: Rows, other: Rows) -> Rows:
    """Rows of both, each chunk once."""
    known = set(one.ids)
    new = [at for at, key in enumerate(other.ids) if key not in known]
    return Rows(
        ids=one.ids + tuple(other.ids[at] for at in new),
        documents=one.documents + tuple(other.documents[at] for at in new),
        korean=np.concatenate([one.korean, other.korean[new]]),
        vectors=np.concatenate([one.vectors, other.vectors[new]]),
        words=np.concatenate([one.words, other.words[new]]),
    )
