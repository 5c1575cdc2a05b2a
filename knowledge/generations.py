"""Generations of the index: what each was built with, and which one answers.

A generation is a whole index (documents, chunks, counts) made with one embedding, one chunker and one way of cutting
words. A program built otherwise than the active one is refused instead of mixing vectors. Another generation is built
beside it and takes its place in one transaction, once it holds the same documents: see knowledge/rebuilding.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import sql

from knowledge.database import Database
from knowledge.errors import IndexMismatch
from knowledge.lexemes import LEXEME_VERSION
from knowledge.terms import TERM_IDS

MAX_DIMENSION = 4000  # of an HNSW index on halfvec
REEMBED = "gakju ingest reembed"
_BUILD_MEMORY = "512MB"  # an HNSW graph of 300,000 chunks is built in it; a larger one more slowly

State = Literal["active", "building", "previous"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """`embedding`: the embedder's own description, at least `name` and `dimension`. `chunking`, `lexemes`: versions."""

    embedding: Mapping[str, Any]
    chunking: str
    lexemes: str = f"{LEXEME_VERSION}, {TERM_IDS}"

    @property
    def dimension(self) -> int:
        return int(self.embedding["dimension"])

    def __str__(self) -> str:
        return f"embedding {self.embedding['name']} ({self.dimension} numbers), {self.chunking}, words {self.lexemes}"

    def to_dict(self) -> dict[str, Any]:
        return {"embedding": dict(self.embedding), "chunking": self.chunking, "lexemes": self.lexemes}

    def same_as(self, other: Manifest) -> bool:
        return self.to_dict() == other.to_dict()


@dataclass(frozen=True, slots=True)
class Generation:
    id: int
    state: State
    manifest: Manifest


def open_active(db: Database, manifest: Manifest) -> Generation:
    """The active generation, made now if the index is empty.

    Raises:
        IndexMismatch: it was built with something else than `manifest`; names both and the command that mends it.
    """
    with db.connection() as conn:
        lock_generations(conn)
        active = find_generation(conn, "active")
        if active is None:
            return create_generation(conn, manifest, "active")
    if not active.manifest.same_as(manifest):
        raise IndexMismatch(
            f"The index was built with {_difference(active.manifest, manifest)}; "
            f"this start uses {_difference(manifest, active.manifest)}.",
            hint=f"Run `{REEMBED}` to build it anew while the old one goes on answering, "
            f"or set EMBED_MODEL, EMBED_BASE_URL and CHUNK_TOKENS back.",
        )
    return active


def active_generation(db: Database) -> Generation | None:
    with db.connection() as conn:
        return find_generation(conn, "active")


def previous_generation(db: Database) -> Generation | None:
    with db.connection() as conn:
        return find_generation(conn, "previous")


KEEP = "SELECT state FROM generations WHERE id = %(generation)s FOR SHARE"


def writing(conn: psycopg.Connection, generation: Generation) -> None:
    """Keep the generation from being switched or dropped until the end of this transaction.

    It must still be what it was when it was opened: who writes to the active one must not go on when that is built
    anew beside another, where what is missing in the active one is taken out.

    Raises:
        IndexMismatch: it is no longer the one that is written to.
    """
    assert_written(conn.execute(KEEP, {"generation": generation.id}).fetchone(), generation)


def assert_written(row: tuple[Any, ...] | None, generation: Generation) -> None:
    """As `writing`, for who sent KEEP along with more. `row`: what it gave."""
    if row is None or row[0] == "previous" or row[0] != generation.state:
        raise IndexMismatch(
            "The index was switched to another generation meanwhile; nothing was stored.",
            hint="Start this program again with the settings of the new one.",
        )


def assert_kept(conn: psycopg.Connection, generation: Generation) -> None:
    """To be called after reading: what was read then is whole, since a generation goes in one transaction.

    Raises:
        IndexMismatch: the generation was dropped.
    """
    if conn.execute("SELECT 1 FROM generations WHERE id = %s", (generation.id,)).fetchone() is None:
        raise IndexMismatch(
            f"The generation of the index that this program works on was dropped ({generation.manifest}).",
            hint="Start it again with the settings of the present one: "
            "EMBED_MODEL, EMBED_BASE_URL and CHUNK_TOKENS as in the last `gakju ingest reembed`.",
        )


def lock_generations(conn: psycopg.Connection) -> None:
    """Two processes may start on an empty index at once: the second waits here and then compares."""
    conn.execute("LOCK TABLE generations IN SHARE ROW EXCLUSIVE MODE")


def all_generations(conn: psycopg.Connection) -> list[Generation]:
    rows = conn.execute("SELECT id, state, embedding, chunking, lexemes FROM generations ORDER BY id").fetchall()
    return [Generation(number, state, Manifest(*rest)) for number, state, *rest in rows]


def find_generation(conn: psycopg.Connection, state: State) -> Generation | None:
    return next((item for item in reversed(all_generations(conn)) if item.state == state), None)


def create_generation(conn: psycopg.Connection, manifest: Manifest, state: State) -> Generation:
    if manifest.dimension > MAX_DIMENSION:
        raise IndexMismatch(
            f"{manifest} has more than the {MAX_DIMENSION} numbers that pgvector can index.",
            hint="Set EMBED_MODEL to a smaller one.",
        )
    row = conn.execute(
        "INSERT INTO generations (state, embedding, chunking, lexemes) VALUES (%s, %s, %s, %s) RETURNING id",
        (state, json.dumps(dict(manifest.embedding)), manifest.chunking, manifest.lexemes),
    ).fetchone()
    assert row is not None
    partition = sql.Identifier(f"chunks_{row[0]}")
    # Attached rather than created in place: that would wait for all readers of `chunks`, and all readers for it.
    # Rows stay whole: packing parts of them took longer than writing them.
    conn.execute(
        sql.SQL("CREATE TABLE {} (LIKE chunks INCLUDING ALL) WITH (toast_tuple_target = 8160)").format(partition)
    )
    conn.execute(
        sql.SQL("ALTER TABLE chunks ATTACH PARTITION {} FOR VALUES IN ({})").format(partition, sql.Literal(row[0]))
    )
    return Generation(row[0], state, manifest)


def _difference(manifest: Manifest, other: Manifest) -> str:
    """What is particular about `manifest`, so that a message names what matters and no more."""
    parts = []
    if dict(manifest.embedding) != dict(other.embedding):
        parts.append(f"the embedding {manifest.embedding['name']} ({manifest.dimension} numbers)")
        if manifest.embedding["name"] == other.embedding["name"]:
            parts[-1] += f" and its prefixes {manifest.embedding.get('query_prefix', '')!r}, "
            parts[-1] += f"{manifest.embedding.get('passage_prefix', '')!r}"
    if manifest.chunking != other.chunking:
        parts.append(manifest.chunking)
    if manifest.lexemes != other.lexemes:
        parts.append(f"the words {manifest.lexemes}")
    return ", ".join(parts)
