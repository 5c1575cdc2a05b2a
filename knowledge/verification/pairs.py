"""Whether the names that are stored for terms belong to documents that are there. What they are follows from the text.

They stay out of the digest: they are mined from text that is in it, and better rules may find others in the same text.
"""

from __future__ import annotations

from collections.abc import Iterator

from knowledge.verification.documents import Problem
from knowledge.verification.snapshot import Snapshot

_OF_NO_DOCUMENT = """
SELECT count(*), min(p.key COLLATE "C") FROM term_pairs p
LEFT JOIN documents d ON d.generation_id = p.generation_id AND d.id = p.document_id
WHERE p.generation_id = %s AND d.id IS NULL
"""


def pairs_of_no_document(snapshot: Snapshot) -> Iterator[Problem]:
    """No foreign key keeps them away, since what it costs would be paid with every document that is stored."""
    for count, example in snapshot.rows(_OF_NO_DOCUMENT, (snapshot.generation.id,)):
        if count:
            what = f"{count} of the names kept for its terms belong to no document, such as that of {example!r}"
            yield Problem("term_pairs", "index", "", what)
