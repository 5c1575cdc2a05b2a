"""The passages of a ranked list as evidence: loaded, each text once, with all its sources. Knows nothing about ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg

from knowledge.candidates import Statements
from knowledge.ranking import Ranked, folded_text
from knowledge.types import Evidence, Place, Scores, Source

_SPARE = 16  # passages loaded beyond those asked for, since some may be the same text


def load_distinct(
    conn: psycopg.Connection, statements: Statements, ranked: Ranked, order: Sequence[int], top_k: int, *, whole: bool
) -> tuple[tuple[Evidence, ...], dict[int, str], dict[UUID, tuple[Any, ...]]]:
    """The first `top_k` that differ, with the other sources of each; what became of each place that was looked at.

    `whole`: load all.
    """
    evidence: list[Evidence] = []
    at_text: dict[str, int] = {}
    fates: dict[int, str] = {}
    loaded: dict[UUID, tuple[Any, ...]] = {}
    ids = ranked.rows.ids
    done = 0
    while done < len(order) and (len(evidence) < top_k or whole):
        some = order[done : len(order) if whole else done + top_k + _SPARE]
        done += len(some)
        loaded |= statements.load(conn, [ids[at] for at in some])
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
    key, document_id, collection, path, title, heading, place, start, end, text, language, table_header = row
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
    )


def _source(item: Evidence) -> Source:
    return Source(item.chunk_id, item.document_id, item.collection, item.path, item.title, item.place)
