"""Makes the parts of an Explanation from what a search had in its hands. Called only where one is asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np

from knowledge.background import KOREAN, OTHER, Background, Pool
from knowledge.candidates import ITERATIVE_SCAN, ef_search
from knowledge.explanation import Candidate, PoolUse, TermWeight
from knowledge.ranking import Ranked
from knowledge.terms import term_id
from knowledge.word_query import WordsAsked


def term_weights(asked: WordsAsked) -> tuple[TermWeight, ...]:
    """Heaviest first."""
    rare = set(asked.rare)
    terms = [
        TermWeight(
            lexeme,
            asked.counts.get(term_id(lexeme), 0),
            asked.idf(lexeme),
            asked.idf(lexeme) * weight,
            term_id(lexeme) in rare and term_id(lexeme) in asked.counts,
        )
        for lexeme, weight in asked.lexemes.items()
    ]
    return tuple(sorted(terms, key=lambda term: -term.weight))


def pool_uses(
    quotas: Sequence[tuple[Pool | None, int]],
    background: Background | None,
    embedding: np.ndarray | None,
    ranked: Ranked,
    found_by: Mapping[str, Sequence[UUID]],
) -> tuple[PoolUse, ...]:
    korean = dict(zip(ranked.rows.ids, ranked.rows.korean.tolist(), strict=True))
    uses = []
    for pool, quota in quotas:
        found = {
            leg: sum(pool is None or korean.get(key) == pool.is_korean for key in ids) for leg, ids in found_by.items()
        }
        of = pool or (background.pools[0] if background and len(background.pools) == 1 else None)
        mean = float(embedding @ of.mean) if of and embedding is not None else 0.0
        name, share = ("all", 1.0) if pool is None else (pool.name, pool.share)
        uses.append(PoolUse(name, share, quota, found["meaning"], found["words"], mean))
    return tuple(uses)


def candidates_of(
    ranked: Ranked,
    order: Sequence[int],
    found_by: Mapping[str, Sequence[UUID]],
    fates: Mapping[int, str],
    beyond: set[int],
    loaded: Mapping[UUID, tuple[Any, ...]],
) -> tuple[Candidate, ...]:
    """In the order in which they were shown or would have been."""
    ids = ranked.rows.ids
    meaning_ranks = _ranks(found_by["meaning"], ids, ranked.cosines)
    words_ranks = _ranks(found_by["words"], ids, ranked.rows.words)
    candidates = []
    for at in order:
        scores = ranked.scores(at)
        candidate = Candidate(
            chunk_id=str(ids[at]),
            document_id=str(ranked.rows.documents[at]),
            pool=KOREAN if ranked.rows.korean[at] else OTHER,
            meaning_rank=meaning_ranks.get(ids[at]),
            words_rank=words_ranks.get(ids[at]),
            meaning=scores.meaning,
            words=scores.words,
            meaning_scaled=float(ranked.meaning[at]),
            words_scaled=float(ranked.words[at]),
            likeness=float(ranked.likeness[at]),
            bridged=float(ranked.bridged[at]),
            fused=scores.fused,
            phrases=float(ranked.phrases[at]),
        )
        fate = fates.get(at, "capped" if at in beyond else "below")
        row = loaded.get(ids[at])
        if row is not None:
            candidate = candidate.with_source(path=row[3], heading=row[5], text=row[9], fate=fate)
        candidates.append(candidate)
    return tuple(candidates)


def what_ran(
    asked: WordsAsked,
    budget: int,
    background: Background | None,
    ranked: Ranked,
    *,
    by_meaning: bool,
    candidates: int,
    few: Collection[str] = (),
) -> tuple[str, ...]:
    """Sentences. What was cut is said as what was done. `few`: pools of which all chunks in scope were scored."""
    ran = []
    if len(few) == len((KOREAN, OTHER)):
        ran.append("The filters leave so few chunks that each of them was scored, without an index.")
    elif few:
        ran.append(f"Meaning: the filters leave few chunks of the pool {', '.join(few)}: each of them was scored.")
    if not by_meaning:
        ran.append("Meaning was not searched: there is no embedding.")
    elif len(few) < len((KOREAN, OTHER)):
        ran.append(
            f"Meaning: HNSW, iterative scan {ITERATIVE_SCAN}, ef_search {ef_search(candidates, asked.chunks_in_all)}."
        )
    known = sum(number in asked.counts for number in asked.weights)
    looked_up = sum(number in asked.counts for number in asked.rare)
    if not asked.weights:
        ran.append("Words were not searched: the question has none.")
    elif looked_up < known:
        ran.append(
            f"Words: chunks with one of the {looked_up} rarest of {known} known lexemes{_pairs(asked)} became candidates; "
            f"the others only score (posting budget {budget:,} chunks)."
        )
    else:
        ran.append(f"Words: chunks with any of the {known} known lexemes became candidates.")
    if background:
        names = ", ".join(f"{pool.name} {pool.share:.0%}" for pool in background.pools)
        ran.append(f"Languages: {names}, by a sample of {background.sampled:,} of about {background.chunks:,} chunks.")
    lifted = int((ranked.bridged > 0).sum())
    if lifted:
        ran.append(f"Bridge: {lifted} chunks in the other language took over some of the best one's score.")
    return tuple(ran)


def _pairs(asked: WordsAsked) -> str:
    """What pairs of lexemes found, as part of a sentence."""
    paired = {number for term, partners in asked.partners.items() for number in (term, *partners)}
    return f", or with one of the rarest pairs of the next {len(paired)}," if paired else ""


def _ranks(found: Sequence[UUID], ids: Sequence[UUID], scores: np.ndarray | None) -> dict[UUID, int]:
    """Pools together: places among what a leg found, by its score."""
    if scores is None:
        return {}
    score_of = dict(zip(ids, scores.tolist(), strict=True))
    known = sorted((key for key in found if key in score_of), key=lambda key: (-score_of[key], key))
    return {key: place for place, key in enumerate(known, start=1)}
