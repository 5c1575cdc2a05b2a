"""What stands near passages, to ask about next: rows of FAQ and glossary in them, terms in a text, the sections around.

Knows nothing about questions or how one is put.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from psycopg import sql

from knowledge.database import Database
from knowledge.filters import Filters
from knowledge.generations import Generation
from knowledge.instant_keys import fold
from knowledge.instant_rows import InstantRows, StoredRow
from knowledge.scope import resolve

AROUND = 12  # chunks before and behind a passage whose sections are looked at
MAX_SECTIONS = 40
_LEAD_CHARS = 600
MAX_FAQ_DOCUMENTS = 200


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with its place in the document. `lead`: how its text begins; `language`: of that."""

    document_id: str
    title: str
    heading: tuple[str, ...]
    language: str
    lead: str


class RelatedRows(InstantRows):
    """Rows and sections of one generation of the index. Every method raises DatabaseUnavailable."""

    def __init__(self, db: Database, generation: Generation) -> None:
        super().__init__(db, generation)
        self._database, self._number = db, generation.id

    def rows_in(self, chunk_ids: Sequence[str], filters: Filters | None) -> list[StoredRow]:
        """Rows of FAQ and glossary that stand in these chunks, of all languages."""
        ids = _uuids(chunk_ids)
        return self._find(_IN_CHUNKS, {"ids": ids}, filters) if ids else []

    def terms_in(self, text: str, language: str, filters: Filters | None) -> list[StoredRow]:
        """Rows of glossaries whose term may stand in `text`: its letters do, perhaps inside a longer word."""
        return self._find(_TERMS, {"language": language, "folded": fold(text)}, filters)

    def faq_documents(self, language: str) -> list[str]:
        """Ids of documents with a FAQ's rows in this language."""
        with self._database.connection() as conn:
            rows = conn.execute(_FAQ_DOCUMENTS, (self._number, language, MAX_FAQ_DOCUMENTS)).fetchall()
        return [str(row[0]) for row in rows]

    def sections_around(self, chunk_ids: Sequence[str], filters: Filters | None) -> list[Section]:
        """Sections near these chunks in the same documents, the nearest first, those behind before those ahead of them.

        The chunks' own are not among them, nor rows of FAQ and glossary.
        """
        ids = _uuids(chunk_ids)
        if not ids:
            return []
        with self._database.connection() as conn:
            scope = resolve(conn, filters, self._number, alias="k")
            if scope.nothing:
                return []
            statement = sql.SQL(_SECTIONS).format(generation=sql.Literal(self._number), scope=scope.condition)
            values = {"ids": ids, "around": AROUND, "limit": MAX_SECTIONS, "lead": _LEAD_CHARS}
            rows = conn.execute(statement, {**values, **scope.values}).fetchall()
        return [
            Section(str(document), title, tuple(heading), spoken, lead)
            for document, title, heading, spoken, lead in rows
        ]


def _uuids(chunk_ids: Sequence[str]) -> list[UUID]:
    """A tool's result is evidence, too, and no chunk."""
    found = []
    for chunk_id in chunk_ids:
        try:
            found.append(UUID(chunk_id))
        except ValueError:
            continue
    return found


_IN_CHUNKS: LiteralString = (
    "EXISTS (SELECT 1 FROM chunks x WHERE x.generation_id = a.generation_id AND x.id = ANY(%(ids)s::uuid[]) "
    "AND x.document_id = a.document_id AND x.ordinal = ANY(a.chunks))"
)
# A key is "=" and the folded term. Terms of one letter stand in everything.
_TERMS: LiteralString = (
    "a.kind = 'term' AND a.language = %(language)s AND EXISTS (SELECT 1 FROM unnest(a.keys) AS key "
    "WHERE length(key) > 2 AND strpos(%(folded)s, substr(key, 2)) > 0)"
)
_FAQ_DOCUMENTS = """
SELECT DISTINCT document_id FROM instant_answers
WHERE generation_id = %s AND kind = 'faq' AND language = %s ORDER BY document_id LIMIT %s
"""
_SECTIONS: LiteralString = """
WITH shown AS MATERIALIZED (
    SELECT document_id, ordinal, heading FROM chunks WHERE generation_id = {generation} AND id = ANY(%(ids)s::uuid[])
), near AS (
    SELECT DISTINCT ON (k.document_id, k.heading) k.document_id, d.title, k.heading, k.language,
           left(k.text, %(lead)s) AS lead, abs(k.ordinal - s.ordinal) AS distance, k.ordinal < s.ordinal AS is_before
    FROM shown s
    JOIN chunks k ON k.generation_id = {generation} AND k.document_id = s.document_id
                 AND k.ordinal BETWEEN s.ordinal - %(around)s AND s.ordinal + %(around)s
    JOIN documents d ON d.generation_id = {generation} AND d.id = k.document_id
    WHERE cardinality(k.heading) > 0
      AND NOT EXISTS (SELECT 1 FROM shown o WHERE o.document_id = k.document_id AND o.heading = k.heading)
      AND NOT EXISTS (SELECT 1 FROM instant_answers a WHERE a.generation_id = {generation}
                      AND a.document_id = k.document_id AND k.ordinal = ANY(a.chunks)){scope}
    ORDER BY k.document_id, k.heading, abs(k.ordinal - s.ordinal), k.ordinal
)
SELECT document_id, title, heading, language, lead FROM near
ORDER BY distance, is_before, document_id, heading LIMIT %(limit)s
"""
