"""Whether an index holds what it should: some documents are cut and embedded anew, and looked for.

What was embedded by another model under the same name, or cut otherwise, shows here and nowhere else.
"""

from __future__ import annotations

import random

from ingest.preparing import Prepared, Preparer
from knowledge.database import Database
from knowledge.search import Searcher
from knowledge.store import EmbeddedChunk, IndexStore
from knowledge.types import Document

_DOCUMENTS = 8
_CHUNKS = 3  # of each
# A passage embedded again is the same but for rounding and, with int8 models, its neighbours in the batch. Unrelated
# texts have at most about .9 with the models in use.
_SAME_COSINE = 0.97
_MAY_MISS = 0.2  # share of the sample: an HNSW index is approximate


def sample_faults(source: IndexStore, made: IndexStore, db: Database, preparer: Preparer) -> list[str]:
    """What is wrong with `made`, which `preparer` made of the documents of `source`, in sentences; [] if nothing is.

    Raises:
        EmbeddingUnavailable, DatabaseUnavailable: it could not be told.
    """
    searcher = Searcher(db, made.generation)
    looked = lost = unlike = wordless = 0
    for document in source.sample(_DOCUMENTS):
        there = made.version(document.collection, document.path)
        if there is None or there.content_hash != document.content_hash:
            continue  # stored since: the switch compares all documents
        for chunk in _some_chunks(document, preparer):
            stored = searcher.chunks([made.chunk_id(document, chunk.chunk.ordinal)])
            near = searcher.search(chunk.embedding, {}, top_k=1).evidence
            worded = searcher.search(
                None, dict.fromkeys(preparer.words(document.title, chunk.chunk), 1.0), top_k=1
            ).evidence
            if _has_changed(document, source):
                break
            looked += 1
            lost += not stored or stored[0].text != chunk.chunk.text
            unlike += not near or (near[0].scores.meaning or 0) < _SAME_COSINE
            wordless += len(chunk.terms) > 0 and not worded
    faults = (
        (lost > 0, f"{lost} of {looked} passages of a sample are missing or cut otherwise."),
        (unlike > looked * _MAY_MISS, f"{unlike} of {looked} passages of a sample are not found by their meaning."),
        (wordless > 0, f"{wordless} of {looked} passages of a sample are not found by their words."),
    )
    return [sentence for is_fault, sentence in faults if is_fault]


def _some_chunks(document: Document, preparer: Preparer) -> list[EmbeddedChunk]:
    made = preparer.prepare(document.parsed)
    some = sorted(random.sample(range(len(made)), min(_CHUNKS, len(made))))
    picked = Prepared(
        tuple(made.chunks[at] for at in some),
        tuple(made.search_texts[at] for at in some),
        tuple(made.terms[at] for at in some),
        tuple(made.sentences[at] for at in some),
    )
    return preparer.embed([picked])[0]


def _has_changed(document: Document, source: IndexStore) -> bool:
    """Since it was read here: it is as it should be again after the next round."""
    version = source.version(document.collection, document.path)
    return version is None or version.content_hash != document.content_hash
