"""A question's lexemes as the words leg asks for them: BM25 weights by true frequencies, and which of them find candidates.

A chunk is a candidate if it holds one of the rarest lexemes, or a pair of the next ones: two words of which each stands in
many chunks meet in few, and where they do not meet the score is low. Knows nothing about chunks or scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import psycopg

from knowledge.terms import term_id

_FREQUENCIES = """
SELECT 'all', 0, coalesce(sum(chunks), 0)::bigint FROM chunk_counts WHERE generation_id = %(generation)s
UNION ALL
SELECT 'chunks', 0, coalesce(sum(chunks), 0)::bigint FROM chunk_counts WHERE generation_id = %(generation)s
   AND (%(ids)s::int[] IS NULL OR collection_id = ANY(%(ids)s))
UNION ALL
SELECT 'term', term_id, sum(chunks)::bigint FROM term_counts WHERE generation_id = %(generation)s
   AND collection_id = ANY(coalesce(%(ids)s::int[], ARRAY(SELECT id FROM collections)))  -- the key's second column
   AND term_id = ANY(%(terms)s) GROUP BY term_id
UNION ALL
SELECT 'indexed', 0, (to_regclass('chunks_' || %(generation)s::int || '_terms') IS NOT NULL)::int::bigint
"""


# Chunks that single lexemes bring, and as many that pairs bring: 10 √n of n chunks, but at least so many. Of 100,000
# chunks, 2 × 3,000 find what 2 × 30,000 find (recall@10 1.0, recall@100 .998) in a third of the time.
_LEAST_SHARE = 2_000
_SHARE_OF_ROOT = 10
_PAIRED_LEXEMES = 16  # the rarest of those that are not asked for alone


@dataclass(frozen=True, slots=True)
class WordsAsked:
    """`lexemes`: as asked, with their weights. By id: `weights` in BM25, `counts` of the chunks that hold them.

    `chunks`: of the collections that are searched; `chunks_in_all`: of the generation. `rare`: ids of the lexemes of which a
    candidate holds one, at least, or else one of the keys of `partners` together with one of its values.
    """

    lexemes: Mapping[str, float]
    weights: dict[int, float]
    counts: Mapping[int, int]
    chunks: int
    chunks_in_all: int
    rare: Sequence[int]
    partners: Mapping[int, Sequence[int]] = field(default_factory=dict)

    @property
    def ceiling(self) -> float:
        """Words that stand nowhere count too: a question of unknown words is not answered by its one common word."""
        return sum(self.weights.values())

    def finding_all(self) -> WordsAsked:
        """As it is where all chunks in question are scored: each lexeme finds those that hold it."""
        return replace(self, rare=tuple(self.weights), partners={})

    def idf(self, lexeme: str) -> float:
        return _idf(self.counts.get(term_id(lexeme), 0), self.chunks)


def ask_words(
    conn: psycopg.Connection,
    generation_id: int,
    lexemes: Mapping[str, float],
    collection_ids: Sequence[int] | None,
    *,
    budget: int,
) -> WordsAsked:
    """`collection_ids`: None is all. `budget`: chunks that candidates are taken from, at most."""
    ids = None if collection_ids is None else list(collection_ids)
    values = {"ids": ids, "terms": [term_id(term) for term in lexemes], "generation": generation_id}
    found = {(kind, number): int(count) for kind, number, count in conn.execute(_FREQUENCIES, values)}
    counts = {number: count for (kind, number), count in found.items() if kind == "term" and count > 0}
    chunks = found["chunks", 0]
    weights: dict[int, float] = {}
    for term, weight in lexemes.items():
        number = term_id(term)
        weights[number] = max(weights.get(number, 0.0), _idf(counts.get(number, 0), chunks) * weight)
    frequencies = sorted(((number, counts.get(number, 0)) for number in weights), key=lambda item: (item[1], item[0]))
    if not found["indexed", 0]:  # every chunk will be looked at, for which one condition is quicker than many
        return WordsAsked(lexemes, weights, counts, chunks, found["all", 0], _rarest(frequencies, budget))
    share = min(budget // 2, max(_LEAST_SHARE, round(_SHARE_OF_ROOT * math.sqrt(chunks))))
    rare = _rarest(frequencies, share)
    partners = _partners(frequencies[len(rare) :][:_PAIRED_LEXEMES], share, chunks)
    return WordsAsked(lexemes, weights, counts, chunks, found["all", 0], rare, partners)


def _rarest(frequencies: Sequence[tuple[int, int]], most: int) -> list[int]:
    """The first terms whose postings together stay within `most`; always one that occurs. `frequencies`: rarest first."""
    chosen: list[int] = []
    spent = 0
    for number, count in frequencies:
        if spent and spent + count > most:
            break
        spent += count
        chosen.append(number)
    return chosen


def _partners(frequencies: Sequence[tuple[int, int]], most: int, chunks: int) -> dict[int, list[int]]:
    """The rarest pairs, up to `most` chunks that would hold one if words met by chance. `frequencies`: rarest first."""
    pairs = sorted(combinations(frequencies, 2), key=lambda pair: pair[0][1] * pair[1][1])
    partners: dict[int, list[int]] = {}
    expected = 0.0
    for (rarer, count), (other, other_count) in pairs:
        expected += count * other_count / max(chunks, 1)
        if expected > most:
            break
        partners.setdefault(rarer, []).append(other)
    return partners


def _idf(chunks_with_term: int, chunks: int) -> float:
    # Counts are added up at intervals: a term's may be ahead of the number of chunks.
    return math.log(1 + max(chunks - chunks_with_term + 0.5, 0.0) / (chunks_with_term + 0.5))
