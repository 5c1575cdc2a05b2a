"""Words of a question that stand side by side in a passage as they do in the question.

BM25 counts words wherever they stand, and an embedding blurs them: "등록 취소" is neither "취소한 등록" nor a text with
both words at its two ends. A pair counts by its commoner word's rarity. Knows nothing about searching.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

GAP_CHARS = 15  # between the two: a particle and a space, or a small word or two
MOST_WORDS = 40  # a longer text is pasted, no wording to look for
LOOKED_AT = 30  # passages, the best ones: all of them instead gave the same nDCG@10


@dataclass(frozen=True, slots=True)
class Phrases:
    """`pairs`: two words in order, and what finding them together is worth."""

    pairs: tuple[tuple[str, str, float], ...]

    def share(self, text: str) -> float:
        """Of what all pairs are worth, 0..1."""
        folded = _folded(text)
        found = sum(worth for one, other, worth in self.pairs if _side_by_side(folded, one, other))
        return found / sum(worth for *_, worth in self.pairs)


def words_in_order(text: str, lexemes: Iterable[str]) -> tuple[str, ...]:
    """Those of a question's lexemes that stand in it as they are, in its order, none inside another; () of a long text."""
    folded = _folded(text)
    places = sorted((folded.find(word), word) for word in lexemes if len(word) > 1 and not word.startswith("#"))
    words: list[str] = []
    end = 0
    for place, word in places:
        if place >= end:
            words.append(word)
            end = place + len(word)
    return tuple(words) if len(words) <= MOST_WORDS else ()


def phrases_of(words: Sequence[str], rarity: Callable[[str], float]) -> Phrases | None:
    """Pairs of neighbours among `words`; None where there is none to look for."""
    pairs = [(one, other, min(rarity(one), rarity(other))) for one, other in pairwise(words)]
    valued = tuple(pair for pair in dict.fromkeys(pairs) if pair[2] > 0)
    return Phrases(valued) if valued else None


def _side_by_side(text: str, one: str, other: str) -> bool:
    start = text.find(one)
    while start >= 0:
        end = start + len(one)
        if text.find(other, end, end + GAP_CHARS + len(other)) >= 0:
            return True
        start = text.find(one, start + 1)
    return False


def _folded(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).lower()
