"""How a question leans on what was asked before, told from its words alone: in Korean and English, within a millisecond.

A wrong guess costs little by design: a question that seems to stand alone is still searched with some of the one before
(`MAY_FOLLOW`), and one that seems to follow keeps its own words in front. Knows nothing about searching or models.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from knowledge.lexemes import Analyzer


@dataclass(frozen=True, slots=True)
class Lean:
    """How much the question before counts in a search. `meaning`: share of the vector of both questions together, the rest
    is that of the question alone. `words`: weight of a word that stands only in the question before. `is_told`: the
    question before is part of what is said to be searched for.
    """

    meaning: float
    words: float
    is_told: bool = True


# Mean nDCG@10 of 458 follow-ups / of 372 questions with one of another topic before them, on six development sets, by these
# two: alone .785 / .877, (.3, .25) .901 / .876, (.5, .25) .922 / .870, (.5, .5) .938 / .855, (.7, .5) .937 / .828, and both
# as one text (1, .5) .933 / .752, with which the gate let nearly every question of another topic pass.
FOLLOWS = Lean(meaning=0.6, words=0.5)
MAY_FOLLOW = Lean(meaning=0.4, words=0.25, is_told=False)
ASKS_FOR_MORE = Lean(meaning=1.0, words=1.0)  # it has no words of its own: what was found before is to be found again

_SHORT_QUESTION_WORDS = 2
_MOST_WORDS_AFTER_OPENER = 4  # a longer question that begins with "so" or "그럼" says itself what it is about
_NAMED_BEFORE = 3  # words before a pronoun, among which is what it stands for
# A short question that is whole all the same: it asks what something is.
_ASKS_WHAT = re.compile(
    r"[가-힣A-Za-z)]이?란(\s|\?|$)|무엇|뭐|뭔|뜻|정의|설명|알려|"
    r"^\s*(what|who)\s+(is|are|was|were|does)\b|\bmeaning of\b|^\s*(define|explain)\b",
    re.IGNORECASE,
)
_OPENER = re.compile(
    r"^\s*((그럼|그러면|그렇다면|그래서|그리고|또는|또|왜|더)(?![가-힣])"
    r"|(and|but|so|then|also|why|what about|how about|what if|or)\b)",
    re.IGNORECASE,
)
_POINTER = re.compile(
    r"(?<![가-힣])([그이저](거|건|게|걸|것|때|중)|거기|여기|저기|[그이저] [가-힣]|그런 |이런 |그(렇|럴|러|래)|"
    r"위의|앞의|방금|나머지|반대(로|는|의)|다른 (거|건|게|것|방법)|같은 (거|건|게|걸|것))"
    r"|\b(it|its|they|them|their|he|she|those|these|the same|former|latter|above|the opposite|the others?)\b"
    r"|\b(which|that|this|another|the other) ones?\b"
    r"|\b(is|are|was|were|does|do|did|can|could|would|will|should|about|like|than) (that|this)\b|^\s*(that|this)\b"
    r"|\b(that|this|there|too|as well|either|instead|else|otherwise)(?=\s*[?.!]*\s*$)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r",|[가-힣](고|면|데|서|니까?|자) ")  # what is named in one is what a pronoun after it stands for
# "브라질에서는요?", "내용이 바뀐 거면요?": a particle or an ending in place of the predicate.
_FRAGMENT = re.compile(r"(은|는|도|만|면|거|건|때|하고|이?랑|에서|까지|부터|으?로)요\s*[?.]*\s*$")
_MOST_WORDS_OF_FRAGMENT = 4
# Words that only ask to be told, with nothing to search for.
_ONLY_ASKS = frozenset(
    "자세히 자세하 설명 다시 쉽 쉽게 간단히 간단하 요약 정리 더 더욱 좀 조금 말 말하 알리 알려주 주 계속 번역 뭐 뜻 의미 이유 왜 "
    "구체 구체적 짧 짧게 길 길게 부탁 얘기 얘기하 이야기 "
    "explain elabor more detail summar summari again simpl simpli simpler tell give continu translat short shorter go "
    "pleas say mean meant clarifi".split()
)


def leaning(question: str, analyzer: Analyzer) -> Lean:
    """How `question`, which is not the first of its conversation, leans on the one before."""
    if not own_words(question, analyzer):
        return ASKS_FOR_MORE
    return FOLLOWS if refers_back(question, analyzer) else MAY_FOLLOW


def refers_back(question: str, analyzer: Analyzer) -> bool:
    """Whether `question` plainly leans on what was said: it points back ("그건", "it"), or has too few words of its own."""
    words = _words(question, analyzer)
    own = [term for term in words if term not in _ONLY_ASKS]
    if not own or _points_back(question, analyzer):
        return True
    if _OPENER.search(question) and len(words) <= _MOST_WORDS_AFTER_OPENER:
        return True
    if _FRAGMENT.search(question) and len(words) <= _MOST_WORDS_OF_FRAGMENT:
        return True
    return len(words) <= _SHORT_QUESTION_WORDS and not _ASKS_WHAT.search(question)


def _points_back(question: str, analyzer: Analyzer) -> bool:
    """Whether a pronoun stands for something outside of the question: little that it could stand for comes before it."""
    pointer = _POINTER.search(question)
    if not pointer:
        return False
    before = question[: pointer.start()]
    named = len(_words(before, analyzer))
    return named < _NAMED_BEFORE - bool(_CLAUSE.search(before))


def own_words(text: str, analyzer: Analyzer) -> list[str]:
    """The content words of `text` that say what it is about: none of those that only ask to be told."""
    return [term for term in _words(text, analyzer) if term not in _ONLY_ASKS]


def _words(text: str, analyzer: Analyzer) -> list[str]:
    return [term for term in analyzer.analyze(text) if not term.startswith("#")] if text.strip() else []
