"""The passages of a ranked list as evidence: loaded, each text once, with all its sources. Knows nothing about ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import psycopg

from knowledge.candidates import Statements
from knowledge.fusion import Weights
from knowledge.phrases import LOOKED_AT, Phrases
from knowledge.ranking import Ranked, add_phrases, folded_text
from knowledge.types import Evidence, Place, Scores, Source

_SPARE = 16  # passages loaded beyond those asked for, since some may be the same text


def load_distinct(
    conn: psycopg.Connection,
    statements: Statements,
    ranked: Ranked,
    order: Sequence[int],
    top_k: int,
    *,
    whole: bool,
    loaded: Mapping[UUID, tuple[Any, ...]],
) -> tuple[tuple[Evidence, ...], dict[int, str], dict[UUID, tuple[Any, ...]]]:
    """The first `top_k` that differ, with the other sources of each; what became of each place that was looked at.

    `whole`: load all. `loaded`: what is loaded already.
    """
    evidence: list[Evidence] = []
    at_text: dict[str, int] = {}
    fates: dict[int, str] = {}
    loaded = dict(loaded)
    ids = ranked.rows.ids
    done = 0
    while done < len(order) and (len(evidence) < top_k or whole):
        some = order[done : len(order) if whole else done + top_k + _SPARE]
        done += len(some)
        missing = [ids[at] for at in some if ids[at] not in loaded]
        if missing:
            loaded |= statements.load(conn, missing)
        for at in some:
            row = loaded.get(ids[at])
            if row is None:
                continue
            item = to_evidence(row, ranked.scores(at), len(evidence) + 1)
            text = folded_text(item.readable)
            if text in at_text:
                first = evidence[at_text[text]]
                evidence[at_text[text]] = replace(first, also_in=(*first.also_in, _source(item)))
                fates[at] = "folded"
            elif len(evidence) < top_k:
                at_text[text] = len(evidence)
                evidence.append(item)
                fates[at] = "shown"
    return tuple(evidence), fates, loaded


def to_evidence(row: tuple[Any, ...], scores: Scores, rank: int) -> Evidence:
    key, document_id, collection, path, title, heading, place, start, end, text, language, table_header, *words = row
    return Evidence(
        chunk_id=str(key),
        document_id=str(document_id),
        collection=collection,
        path=path,
        title=title,
        heading=tuple(heading),
        place=Place.from_dict(place),
        start=start,
        end=end,
        text=text,
        language=language,
        scores=scores,
        rank=rank,
        table_header=table_header,
        sentences=None if not words or words[0] is None else (words[0], _numbers(words[1])),
    )


def _numbers(sent: bytes) -> bytes:
    """int32, little-endian, out of PostgreSQL's binary array: 20 bytes of head, then each with its size before it."""
    return np.frombuffer(sent, ">i4")[6::2].astype("<i4").tobytes()


def _source(item: Evidence) -> Source:
    return Source(item.chunk_id, item.document_id, item.collection, item.path, item.title, item.place)


class PhraseTexts:
    """Reads passages for the phrases of a question, once; `loaded`: those that were read."""

    def __init__(self, conn: psycopg.Connection, statements: Statements, phrases: Phrases | None) -> None:
        self._conn = conn
        self._statements = statements
        self._phrases = phrases
        self.loaded: dict[UUID, tuple[Any, ...]] = {}

    def phrased(self, ranked: Ranked, weights: Weights) -> Ranked:
        """With what the best passages share of the phrases, if there are any to look for."""
        if self._phrases is None or not weights.phrases:
            return ranked
        self.loaded = self._statements.load(self._conn, [ranked.rows.ids[at] for at in ranked.order[:LOOKED_AT]])
        return add_phrases(ranked, {key: self._phrases.share(row[9]) for key, row in self.loaded.items()}, weights)
