"""Search over the index: by meaning (embedding), by words (BM25), fused by score. One question, one ranked list.

Each leg brings candidates, from each language pool its share; all of them get their true score from both legs
(a passage that one leg found does not count as nothing to the other), and knowledge/fusion.py puts the two together. Then
a passage that stands in several documents is shown once, with all its sources.
Knows nothing about models: it takes an embedding and lexemes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

import numpy as np
import psycopg

from knowledge.background import Background, Pool, measure
from knowledge.candidates import Rows, Statements, merged
from knowledge.database import Database
from knowledge.explaining import candidates_of, pool_uses, term_weights, what_ran
from knowledge.explanation import Explanation, StepTimes
from knowledge.filters import Filters
from knowledge.fusion import FORMULA, Weights
from knowledge.generations import Generation, assert_kept
from knowledge.narrow import BOTH_POOLS, score_all, with_few
from knowledge.passages import PhraseTexts, load_distinct, to_evidence
from knowledge.phrases import phrases_of
from knowledge.ranking import Ranked, bridge, capped_last, rank_both, rank_one_leg
from knowledge.scope import Scope, resolve
from knowledge.terms import term_id
from knowledge.types import Evidence, Scores
from knowledge.word_query import WordsAsked, ask_words

MAX_QUERY_LEXEMES = 2_000  # a sparsevec holds 16,000; no question needs as many
# A search is several statements. A document that is replaced between two of them would be found by neither version.
_ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
_NEIGHBOURS = 50  # of the best passage, in the other language: enough to see how much nearer the nearest is


@dataclass(frozen=True, slots=True)
class Found:
    """Evidence in rank order, and what both legs say about the whole search (for the decision to refuse).

    `words_share`: the best BM25 score as a share of what a chunk with all the question's words could reach, 0..1.
    `cosine`: the best one, 0 where nothing was searched by meaning. `explanation`: where it was asked for. `notice`: code of
    something that was left out, "" if nothing was.
    """

    evidence: tuple[Evidence, ...]
    words_share: float = 0.0
    cosine: float = 0.0
    explanation: Explanation | None = None
    notice: str = ""


class Searcher:
    """Searches one generation of the index. `candidates`: chunks that each leg contributes to the fusion.

    `posting_budget`: chunks that the words leg looks at, at most, unless its rarest lexeme alone has more.
    """

    def __init__(
        self,
        db: Database,
        generation: Generation,
        *,
        candidates: int = 100,
        posting_budget: int = 30_000,
        weights: Weights | None = None,
    ) -> None:
        self.db = db
        self.generation = generation
        self.dimension = generation.manifest.dimension
        self._candidates = candidates
        self._budget = posting_budget
        self._weights = weights or Weights()
        self._statements = Statements(generation)
        self._background: Background | None = None

    def search(
        self,
        embedding: np.ndarray | None,
        lexemes: Mapping[str, float],
        *,
        own: Collection[str] | None = None,
        words: Sequence[str] = (),
        top_k: int,
        filters: Filters | None = None,
        per_document: int | None = None,
        candidates: int | None = None,
        explain: bool = False,
    ) -> Found:
        """The `top_k` best chunks.

        `embedding`: float32 (dimension,), normalised, None searches by words alone. `lexemes`: the question's words with
        their weights (1 counts fully). `own`: those that a passage which answers may be expected to have; None: all. `words`:
        of the question in their order, neighbours among which are looked for as neighbours in passages.
        `per_document`: passages of one document, while there are others. `candidates`: that each leg contributes, for more
        results than the searcher's own bring.

        Raises:
            DatabaseUnavailable: the database does not answer.
            IndexMismatch: the generation was dropped.
        """
        lexemes = dict(islice(lexemes.items(), MAX_QUERY_LEXEMES))
        times = StepTimes()
        with self.db.connection() as conn:
            conn.execute(_ONE_SNAPSHOT)
            with times.step("filters"):
                scope = resolve(conn, filters, self.generation.id)
            if scope.nothing:
                self._assert_kept(conn)
                return Found((), explanation=Explanation(ran=("The filters select nothing.",)) if explain else None)
            with times.step("word counts"):
                asked = ask_words(conn, self.generation.id, lexemes, scope.collection_ids, budget=self._budget)
                scope = with_few(
                    conn, scope, self.generation.id, chunks=asked.chunks, chunks_in_all=asked.chunks_in_all
                )
                if scope.few == BOTH_POOLS:
                    asked = asked.finding_all()
            background = None
            if embedding is not None and asked.weights:
                with times.step("background"):
                    background = self._background_for(conn, asked.chunks_in_all)
            quotas = self._quotas(background, filters, scope, candidates or self._candidates)
            found_by = self._find(conn, embedding, asked, scope, quotas, times)
            with times.step("scores"):
                ids = list(dict.fromkeys([*found_by["meaning"], *found_by["words"]]))
                rows = self._statements.rows(conn, ids, asked.weights)
            with times.step("fusion"):
                texts = PhraseTexts(conn, self._statements, phrases_of(words, asked.idf))
                ranked = self._rank(conn, rows, embedding, asked, background, scope, quotas, texts)
            with times.step("passages"):
                order, beyond = capped_last(ranked, per_document)
                evidence, fates, loaded = load_distinct(
                    conn, self._statements, ranked, order, top_k, whole=explain, loaded=texts.loaded
                )
            self._assert_kept(conn)
        ceiling = asked.ceiling if own is None else sum(asked.weights.get(term_id(term), 0.0) for term in own)
        share = min(float(ranked.rows.words.max(initial=0.0)) / ceiling, 1.0) if ceiling else 0.0
        cosine = 0.0 if ranked.cosines is None else float(ranked.cosines.max(initial=0.0))
        if not explain:
            return Found(evidence, share, cosine)
        return Found(
            evidence,
            share,
            cosine,
            Explanation(
                terms=term_weights(asked),
                ceiling=asked.ceiling,
                pools=pool_uses(quotas, background, embedding, ranked, found_by),
                formula=FORMULA if background else "one leg alone, scaled to 0..1",
                weights=self._weights.to_dict() if background else {},
                candidates=candidates_of(ranked, order, found_by, fates, beyond, loaded),
                ran=what_ran(
                    asked,
                    self._budget,
                    background,
                    ranked,
                    by_meaning=embedding is not None,
                    candidates=max(quota for _, quota in quotas),
                    few=sorted(scope.few),
                ),
                timings_ms=times.ms,
            ),
        )

    def chunks(self, chunk_ids: Sequence[str]) -> tuple[Evidence, ...]:
        """The chunks with these ids, in their order, without scores; unknown ids are left out."""
        ids = [UUID(chunk_id) for chunk_id in chunk_ids if _is_uuid(chunk_id)]
        with self.db.connection() as conn:
            loaded = self._statements.load(conn, ids)
            assert_kept(conn, self.generation)
        known = [key for key in ids if key in loaded]
        return tuple(to_evidence(loaded[key], Scores(), rank) for rank, key in enumerate(known, start=1))

    def idf(self, lexemes: Sequence[str]) -> dict[str, float]:
        """BM25's inverse document frequency of each lexeme over the whole index; unknown ones get the highest."""
        with self.db.connection() as conn:
            asked = ask_words(conn, self.generation.id, dict.fromkeys(lexemes, 1.0), None, budget=self._budget)
        return {term: asked.idf(term) for term in lexemes}

    def _assert_kept(self, conn: psycopg.Connection) -> None:
        """After reading, by what is so now: the snapshot of the search may be of before the generation went."""
        conn.commit()
        assert_kept(conn, self.generation)

    def _background_for(self, conn: psycopg.Connection, chunks: int) -> Background:
        background = self._background
        if background is None or not background.is_fresh(chunks):
            background = self._background = measure(conn, self.generation.id, chunks, dimension=self.dimension)
        return background

    def _quotas(
        self, background: Background | None, filters: Filters | None, scope: Scope, candidates: int
    ) -> list[tuple[Pool | None, int]]:
        """Pools to search with the number of candidates from each; None is all chunks at once."""
        pools = background.pools if background else ()
        languages = filters.languages if filters else None
        if languages is not None:
            pools = tuple(pool for pool in pools if any((name == "ko") == pool.is_korean for name in languages))
        if len(pools) < 2:
            return [(None, candidates)]
        if scope.values:  # the shares are those of all chunks, not of what filters leave
            return [(pool, candidates) for pool in pools]
        return [(pool, pool.quota(candidates)) for pool in pools]

    def _find(
        self,
        conn: psycopg.Connection,
        embedding: np.ndarray | None,
        asked: WordsAsked,
        scope: Scope,
        quotas: Sequence[tuple[Pool | None, int]],
        times: StepTimes,
    ) -> dict[str, list[UUID]]:
        """Ids of candidates by leg; pool after pool, best first in each."""
        if scope.few == BOTH_POOLS:
            with times.step("all chunks"):
                return score_all(conn, self.generation.id, scope, quotas, embedding=embedding, weights=asked.weights)
        found: dict[str, list[UUID]] = {"meaning": [], "words": []}
        if embedding is not None:
            with times.step("meaning"):
                found["meaning"] = self._statements.by_meaning(
                    conn, embedding, scope, quotas, chunks=asked.chunks_in_all
                )
        if asked.weights:
            with times.step("words"):
                found["words"] = self._statements.by_words(conn, asked, scope, quotas)
        return found

    def _rank(
        self,
        conn: psycopg.Connection,
        rows: Rows,
        embedding: np.ndarray | None,
        asked: WordsAsked,
        background: Background | None,
        scope: Scope,
        quotas: Sequence[tuple[Pool | None, int]],
        texts: PhraseTexts,
    ) -> Ranked:
        if embedding is None or background is None:
            return rank_one_leg(rows, embedding)
        ranked = rank_both(rows, embedding, background, self._weights)
        others = [pool for pool, _ in quotas if pool and len(rows) and pool.is_korean != rows.korean[ranked.best]]
        if not others or not self._weights.bridge:
            return texts.phrased(ranked, self._weights)
        best = rows.vectors[ranked.best]
        near = self._statements.neighbours(conn, best, asked.weights, scope, others[0], _NEIGHBOURS)
        ranked = rank_both(merged(rows, near), embedding, background, self._weights, best=ranked.best)
        # Before the bridge: what says the same in another language has the question's words as little as it can.
        return bridge(texts.phrased(ranked, self._weights), near.ids, self._weights)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
