"""Unknown words of a question, and the words of the index that they are one slip of the fingers away from.

A word is in doubt where neighbouring syllables of it stand nowhere in the index, in a noun that is in no dictionary. What it is
taken for has to be a word there, many times as frequent. Knows nothing about spaces, keyboards or other names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from knowledge.lexemes import Analyzer, Morpheme
from knowledge.variants_typos import misspellings
from knowledge.vocabulary import Lookups

TYPO_WEIGHT = 0.8
_UNKNOWN_WEIGHT = 0.2  # of a word that stands nowhere and has been mended
_COMMON = 10  # times as frequent as the unknown word has to be what it is taken for
_RARE_SHARE = 100_000  # a word in fewer than one of so many chunks may itself be a slip
_MAX_MENDED_WORDS = 4
_MAX_WORD_SYLLABLES = 10
_TRIED_WORDS = 12

_HANGUL_WORD = re.compile(r"[가-힣]{2,}")


class Mender:
    """Mends one question."""

    def __init__(self, analyzer: Analyzer, words: Lookups) -> None:
        self._analyzer = analyzer
        self._words = words
        # An index of many chunks has mistakes, too: what stands in so few of them may be one.
        self._rare = words.chunks // _RARE_SHARE

    def mend(self, text: str, morphemes: list[Morpheme], lexemes: dict[str, float]) -> str:
        """`text` with the words of the index that its unknown words are one slip away from, which go to `lexemes`."""
        doubted = _doubted(morphemes)
        if not doubted:
            return text
        known = self._words.counts(lexemes)
        unknown = {lexeme for lexeme in lexemes if known.get(lexeme, 0) <= self._rare}
        mended = self._mended(_doubtful(text, doubted, unknown))
        if not mended:
            return text
        best = _replaced(text, {word: others[0] for word, others in mended.items()})
        words = self._analyzer.analyze(best)
        for lexeme in unknown - words.keys():
            lexemes[lexeme] = _UNKNOWN_WEIGHT
        add_words(lexemes, words, TYPO_WEIGHT)
        for word, others in mended.items():
            for other in others[1:]:
                add_words(lexemes, self._analyzer.analyze(_replaced(text, {word: other})), TYPO_WEIGHT / 2)
        return best

    def _mended(self, doubtful: Mapping[str, tuple[int, int]]) -> dict[str, list[str]]:
        """Word → what it may have been meant to be, likeliest first; at most two."""
        if not doubtful:
            return {}
        tried = {word: misspellings(word, *span) for word, span in doubtful.items()}
        known = self._words.counts({pair for word in tried for other in tried[word] for pair in _changed(word, other)})
        common = {pair for pair, count in known.items() if count > self._rare * _COMMON}
        ranked: dict[str, list[tuple[str, float]]] = {}
        for word, others in tried.items():
            scored = []
            for other, cost in others.items():
                pairs = _changed(word, other)
                found = sum(pair in common for pair in pairs)
                if found:
                    scored.append((found / len(pairs) - cost / 4, cost, other))
            scored.sort(key=lambda item: (-item[0], item[2]))
            ranked[word] = [(other, cost) for _, cost, other in scored[:_TRIED_WORDS]]
        return self._with_words(ranked)

    def _with_words(self, ranked: Mapping[str, list[tuple[str, float]]]) -> dict[str, list[str]]:
        """Those whose changed place is in a word of two syllables or more that the index has."""
        forms = [other for others in ranked.values() for other, _ in others]
        if not forms:
            return {}
        morphemes = dict(zip(forms, self._analyzer.morphemes_of_each(forms), strict=True))
        known = self._words.counts({part.form for parts in morphemes.values() for part in parts if part.is_content})
        chosen: dict[str, list[str]] = {}
        for word, others in ranked.items():
            scored = []
            for place, (other, cost) in enumerate(others):
                first, last = _changed_span(word, other)
                lengths = [
                    len(part.form)
                    for part in morphemes[other]
                    if part.is_content
                    and len(part.form) > 1
                    and part.start <= last
                    and part.end > first
                    and known.get(part.form, 0) > self._rare * _COMMON
                ]
                if lengths:
                    scored.append((-max(lengths), cost, place, other))
            if scored:
                scored.sort()
                chosen[word] = [other for *rank, other in scored[:2] if rank[:2] == list(scored[0][:2])]
        return chosen


def add_words(lexemes: dict[str, float], others: Iterable[str], weight: float) -> None:
    """Each of `others` at least with `weight`."""
    for lexeme in others:
        lexemes[lexeme] = max(weight, lexemes.get(lexeme, 0.0))


def _doubted(morphemes: list[Morpheme]) -> set[int]:
    """Where nouns stand that are no words, and single syllables beside another noun: so a misspelt word is often read."""
    found: set[int] = set()
    for before, part, after in zip([None, *morphemes], morphemes, [*morphemes[1:], None], strict=False):
        beside = (before and before.is_noun and before.end == part.start) or (
            after and after.is_noun and after.start == part.end
        )
        if part.is_noun and (not part.is_known or (beside and part.end - part.start == 1)):
            found.update(range(part.start, part.end))
    return found


def _doubtful(text: str, doubted: set[int], unknown: set[str]) -> dict[str, tuple[int, int]]:
    """Words with neighbouring syllables that stand nowhere, one of them `doubted`: the first and the last such syllable."""
    found: dict[str, tuple[int, int]] = {}
    for match in _HANGUL_WORD.finditer(text):
        word, offset = match[0], match.start()
        places = [
            at
            for at in range(len(word) - 1)
            if f"#{word[at : at + 2]}" in unknown and not doubted.isdisjoint((offset + at, offset + at + 1))
        ]
        if places and len(word) <= _MAX_WORD_SYLLABLES:
            found[word] = (places[0], places[-1] + 1)
    return dict(list(found.items())[:_MAX_MENDED_WORDS])


def _changed_span(word: str, other: str) -> tuple[int, int]:
    """First and last syllable of `other` that are not those of `word`."""
    first = next((at for at, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    same = 0
    while same < min(len(word), len(other)) - first and word[-1 - same] == other[-1 - same]:
        same += 1
    return min(first, len(other) - 1), max(first, len(other) - 1 - same)


def _changed(word: str, other: str) -> list[str]:
    """Pairs of syllables of `other` that the change touches, as lexemes."""
    first, last = _changed_span(word, other)
    return [f"#{other[at : at + 2]}" for at in range(max(0, first - 1), min(len(other) - 1, last + 1))]


def _replaced(text: str, others: Mapping[str, str]) -> str:
    return _HANGUL_WORD.sub(lambda match: others.get(match[0], match[0]), text)
