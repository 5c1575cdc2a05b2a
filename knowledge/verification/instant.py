"""Whether the rows of FAQs and glossaries belong to documents that are there. What they are follows from the text.

They stay out of the digest as the names of terms do: better rules may find others in the same text.
"""

from __future__ import annotations

from collections.abc import Iterator

from knowledge.verification.documents import Problem
from knowledge.verification.snapshot import Snapshot

_OF_NO_DOCUMENT = """
SELECT count(*), min(a.title COLLATE "C") FROM instant_answers a
LEFT JOIN documents d ON d.generation_id = a.generation_id AND d.id = a.document_id
WHERE a.generation_id = %s AND d.id IS NULL
"""


def instant_rows_of_no_document(snapshot: Snapshot) -> Iterator[Problem]:
    """They answer nothing, since their chunks are gone too; but something left them behind."""
    for count, example in snapshot.rows(_OF_NO_DOCUMENT, (snapshot.generation.id,)):
        if count:
            what = f"{count} rows of FAQs and glossaries belong to no document, such as {example!r}"
            yield Problem("instant_answers", "index", "", what)
