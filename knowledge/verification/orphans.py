"""Whether what is mined from documents' texts (names of terms, rows of FAQs and glossaries) belongs to documents that are there.

What they are stays out of the digest: they follow from text that is in it, and better rules may find others there.
"""

from __future__ import annotations

from collections.abc import Iterator

from knowledge.verification.documents import Problem
from knowledge.verification.snapshot import Snapshot

# Table, its query, and what is said of the rows found. No foreign key keeps them away: checking it would be paid with every
# document that is stored.
_OF_NO_DOCUMENT = (
    (
        "term_pairs",
        """
SELECT count(*), min(p.key COLLATE "C") FROM term_pairs p
LEFT JOIN documents d ON d.generation_id = p.generation_id AND d.id = p.document_id
WHERE p.generation_id = %s AND d.id IS NULL
""",
        "{count} of the names kept for its terms belong to no document, such as that of {example!r}",
    ),
    (
        "instant_answers",
        """
SELECT count(*), min(a.title COLLATE "C") FROM instant_answers a
LEFT JOIN documents d ON d.generation_id = a.generation_id AND d.id = a.document_id
WHERE a.generation_id = %s AND d.id IS NULL
""",
        "{count} rows of FAQs and glossaries belong to no document, such as {example!r}",
    ),
)


def rows_of_no_document(snapshot: Snapshot) -> Iterator[Problem]:
    """Something left them behind."""
    for table, query, what in _OF_NO_DOCUMENT:
        for count, example in snapshot.rows(query, (snapshot.generation.id,)):
            if count:
                yield Problem(table, "index", "", what.format(count=count, example=example))
