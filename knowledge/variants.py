"""The words of a question as it may have been meant: what was typed, and with less weight what it could be a variant of.

Mended for good: Hangul typed on the English keyboard and the other way round, letters of an unfinished syllable. Added: the
words of the same text with other spaces, words of the index one slip away from an unknown one, numbers written
otherwise, and the other names that documents give a term. What an index holds stays as it is.
Knows nothing about ranking.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from knowledge.hangul import STRAY, from_keys, is_syllable, to_keys
from knowledge.lexemes import Analyzer, Morpheme
from knowledge.pairs import fold
from knowledge.variants_mending import Mender, add_words
from knowledge.variants_numbers import number_variants
from knowledge.vocabulary import Lookups, Vocabulary

SPACING_WEIGHT = 0.5
NAME_WEIGHT = 0.5
NUMBER_WEIGHT = 0.5
MAX_CHARS = 400  # a longer text is no question typed in haste: it is taken as it is
_NAME_WORDS = 4  # a name of more words weighs no more than one of so many: it is one term
_MIN_WRONG_SPACES = 2
_WRONG_SPACES = 0.4  # of the spaces that are there or should be
_MAX_TERM_PARTS = 8
_MAX_TERM_CHARS = 40

_HANGUL = re.compile(r"[가-힣]")
_HANGUL_WORD = re.compile(r"[가-힣]{2,}")
_LATIN_WORD = re.compile(r"[A-Z]{2,}(?=[a-z])|[A-Za-z]+")
_TYPED_LETTERS = re.compile(r"[가-힣ㄱ-ㅎㅏ-ㅣ]*[ㄱ-ㅎㅏ-ㅣ][가-힣ㄱ-ㅎㅏ-ㅣ]*")
_NOT_STRAY = re.compile(r"[^ㄱ-ㅣ]+")
_TERM_PART = re.compile(r"[A-Za-z0-9]+")
_HANJA = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")


@dataclass(frozen=True, slots=True)
class Reading:
    """`text`: the question as it was probably meant, to be embedded. `lexemes`: its words with their weights, 0..1.

    `own`: those that were typed, which a passage that answers it may be expected to have.
    """

    text: str
    lexemes: Mapping[str, float]
    own: Mapping[str, float]


class QueryWords:
    """Reads questions. Safe for several threads."""

    def __init__(self, analyzer: Analyzer, vocabulary: Vocabulary) -> None:
        self._analyzer = analyzer
        self._vocabulary = vocabulary

    def read(self, text: str, collections: Sequence[str] | None = None) -> Reading:
        """`collections`: names of those whose words and names count, None is all: what stands elsewhere is not told.

        Raises:
            DatabaseUnavailable: the index cannot be asked for its words.
        """
        text = unicodedata.normalize("NFC", text)
        if not text.strip() or len(text) > MAX_CHARS:
            own = dict.fromkeys(self._analyzer.analyze(text), 1.0)
            return Reading(text, own, own)
        with self._vocabulary.lookups(collections) as lookups:
            return _Reader(self._analyzer, lookups).read(text)


class _Reader:
    """Reads one question."""

    def __init__(self, analyzer: Analyzer, lookups: Lookups) -> None:
        self._analyzer = analyzer
        self._words = lookups

    def read(self, text: str) -> Reading:
        text = _normal(self._retyped(text))
        own = dict.fromkeys(self._analyzer.analyze(text), 1.0)
        lexemes = dict(own)
        readable = text
        morphemes = self._analyzer.morphemes(text) if _HANGUL.search(text) else []
        names = _terms(text, morphemes)
        if morphemes:
            mended = Mender(self._analyzer, self._words).mend(text, morphemes, lexemes)
            spaced = self._analyzer.respaced(mended)  # of words that are no words, the spaces come out wrong
            if _is_badly_spaced(mended, spaced):
                readable = spaced
                add_words(lexemes, self._analyzer.analyze(spaced), SPACING_WEIGHT)
                names |= _terms(spaced, self._analyzer.morphemes(spaced))
        add_words(lexemes, number_variants(text), NUMBER_WEIGHT)
        for others in self._words.partners(names).values():
            for other in others:
                words = self._analyzer.analyze(other)
                add_words(lexemes, words, NAME_WEIGHT * min(1.0, _NAME_WORDS / max(1, len(words))))
        return Reading(readable, lexemes, own)

    def _retyped(self, text: str) -> str:
        """Words that were typed with the keyboard in the other language, and letters that were not put together."""
        if STRAY.search(text):
            text = _TYPED_LETTERS.sub(lambda match: self._put_together(match[0]), text)
        typed = {word: from_keys(word) for word in _LATIN_WORD.findall(text)}
        hangul = {word: meant for word, meant in typed.items() if meant}
        if not hangul:
            return text
        latin = {word: set(self._analyzer.analyze(word)) for word in hangul}
        korean = {word: self._long_words(meant) for word, meant in hangul.items()}
        known = self._words.counts(set().union(*latin.values(), *korean.values())).keys()
        unknown = {word: meant for word, meant in hangul.items() if not latin[word] & known}
        if not any(korean[word] & known for word in unknown):
            return text
        # Where one word was typed so, the short ones beside it were as well.
        return _LATIN_WORD.sub(lambda match: unknown.get(match[0], match[0]), text)

    def _long_words(self, text: str) -> set[str]:
        return {lexeme for lexeme in self._analyzer.analyze(text) if len(lexeme.lstrip("#")) > 1}

    def _put_together(self, typed: str) -> str:
        """`typed` has letters that are no syllables: a Latin word of the index, else the syllables that its keys make."""
        last = max(at for at, char in enumerate(typed) if not is_syllable(char)) + 1
        latin = to_keys(typed[:last])
        if latin and len(latin) > 1 and self._words.counts(self._analyzer.analyze(latin.lower())):
            return latin.lower() + typed[last:]
        keys = to_keys(typed)
        return (from_keys(keys) if keys else None) or typed


def _is_badly_spaced(text: str, spaced: str) -> bool:
    """Whether many of the spaces are wrong. One may be a matter of taste (재택근무, 재택 근무), and on well-typed questions the
    words of other spaces did harm rather than good."""
    typed, meant = _spaces(text), _spaces(spaced)
    wrong = len(typed ^ meant)
    return bool(meant - typed) and wrong >= _MIN_WRONG_SPACES and wrong > _WRONG_SPACES * len(typed | meant)


def _spaces(text: str) -> set[int]:
    """Behind how many letters each space stands."""
    words = text.split()
    return set(accumulate(map(len, words[:-1])))


def _terms(text: str, morphemes: list[Morpheme]) -> set[str]:
    """The folded forms of all runs of words in `text` that could be a term."""
    words = [match.span() for pattern in (_TERM_PART, _HANJA, _HANGUL_WORD) for match in pattern.finditer(text)]
    spans = {*words, *((part.start, part.end) for part in morphemes)}
    ends = sorted({end for _, end in spans})
    found = set()
    for start in {start for start, _ in spans}:
        inside = [end for end in ends if start < end <= start + _MAX_TERM_CHARS][:_MAX_TERM_PARTS]
        found |= {fold(text[start:end]) for end in inside}
    return {name for name in found if len(name) > 1}


def _normal(text: str) -> str:
    """NFKC, but for letters that stand alone, which it would make into something that nobody types."""
    return text if text.isascii() else _NOT_STRAY.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
