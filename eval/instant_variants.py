"""Questions made from a question by rule: others that ask the same, and others that look like it and ask something else.

Made to measure what answers at once (eval/instant.py). Each comes with its kind. Knows nothing about answers.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from knowledge.lexemes import Analyzer

_HANGUL = re.compile(r"[가-힣]")
_PARTICLES = frozenset(["은", "는", "이", "가", "을", "를"])
_WORD = re.compile(r"[A-Za-z]{4,}")
_OPENS = re.compile(
    r"^(?:what|how|when|where|why|who|which|whose|does|do|is|are|was|were|did|can|will|many|much|long|that|this|from|with|into)$",
    re.IGNORECASE,
)
_ASKS_KO = {
    "언제": "어디서",
    "어디": "언제",
    "왜": "언제",
    "누구": "무엇",
    "무엇": "누구",
    "어떻게": "왜",
    "얼마나": "왜",
}
_ASKS_EN = {"when": "where", "where": "when", "why": "when", "who": "why", "how": "why"}
_ENDINGS = (("나요?", ("지요?", "는지 알려 주세요.", "나?")), ("인가요?", ("이에요?", "인지 궁금해요.", "입니까?")))
Variant = tuple[str, str]


def same(question: str, analyzer: Analyzer) -> Iterator[Variant]:
    """Ways to ask the same."""
    bare = question.rstrip("?？. ")
    yield "signs", bare
    yield "signs", f"{bare} ??"
    if _HANGUL.search(question):
        yield "spaces", question.replace(" ", "")
        yield "filler", f"혹시 {question}"
        for ending, others in _ENDINGS:
            if question.endswith(ending):
                yield from (("ending", question.removesuffix(ending) + other) for other in others)
        tokens = analyzer.morphemes(question)
        loose = [token for token in tokens if token.tag in ("JX", "JKS", "JKO") and token.form in _PARTICLES]
        for token in loose[:2]:
            if question[token.end : token.end + 1] == " ":
                yield "particle", question[: token.start] + question[token.end :]
    else:
        yield "capitals", question.lower()
        yield "filler", f"Please, {question[:1].lower()}{question[1:]}"
        for before, after in (
            ("What is ", "What's "),
            ("How do I ", "How can I "),
            ("How do I ", "How to "),
            (" the ", " "),
        ):
            if before in question:
                yield "words", question.replace(before, after, 1)


def typed_badly(question: str, chance: random.Random) -> Iterator[Variant]:
    """One letter is missing: people want the answer all the same."""
    places = [at for at in range(1, len(question) - 2) if question[at].isalpha()]
    if places:
        at = chance.choice(places)
        yield "typo", question[:at] + question[at + 1 :]


def different(question: str, analyzer: Analyzer, words: Sequence[str], chance: random.Random) -> Iterator[Variant]:
    """Ways to ask something else in nearly the same words. `words`: what to put in place of another."""
    korean = bool(_HANGUL.search(question))
    nouns = _nouns(question, analyzer) if korean else _english_words(question)
    others = [word for word in words if word.casefold() not in question.casefold() and question.casefold() not in word]
    if nouns and others:
        start, end = chance.choice(nouns)
        yield "word", question[:start] + chance.choice(others) + question[end:]
        word = chance.choice(others)
        yield "condition", f"{word} 없을 때 {question}" if korean else f"{question.rstrip('?')} without {word}?"
    yield "condition", f"2023년에 {question}" if korean else f"{question.rstrip('?')} in 2023?"
    if number := re.search(r"\d+", question):
        yield "number", question[: number.start()] + str(int(number[0]) + 1) + question[number.end() :]
    yield from _negated(question, analyzer) if korean else _denied(question)
    for asked, other in (_ASKS_KO if korean else _ASKS_EN).items():
        changed = re.sub(asked if korean else rf"(?i)^{asked}\b", other, question, count=1)
        if changed != question and not (
            asked == "how" and re.match("(?i)how (many|much|long|large|old|far)", question)
        ):
            yield "asked", changed
            break
    yield from _swapped(question, nouns)


def _nouns(question: str, analyzer: Analyzer) -> list[tuple[int, int]]:
    return [
        (token.start, token.end)
        for token in analyzer.morphemes(question)
        if token.tag in ("NNG", "NNP") and token.end - token.start > 1
    ]


def _english_words(question: str) -> list[tuple[int, int]]:
    return [match.span() for match in _WORD.finditer(question) if not _OPENS.match(match[0])]


def words_of(questions: Sequence[str], analyzer: Analyzer) -> list[str]:
    """Nouns of Korean questions, longer words of English ones."""
    found: dict[str, None] = {}
    for question in questions:
        spans = _nouns(question, analyzer) if _HANGUL.search(question) else _english_words(question)
        found.update(dict.fromkeys(question[start:end] for start, end in spans))
    return list(found)


def _negated(question: str, analyzer: Analyzer) -> Iterator[Variant]:
    verbs = [
        token for token in analyzer.morphemes(question) if token.tag.startswith("VV") and token.form not in ("하", "되")
    ]
    if verbs and question[verbs[-1].start - 1 : verbs[-1].start] == " ":
        yield "negation", f"{question[: verbs[-1].start]}안 {question[verbs[-1].start :]}"


def _denied(question: str) -> Iterator[Variant]:
    denied = re.sub(
        r"(?i)\b(is|are|was|were|do|does|did|can|could|will)\b( the| a| an)? (\w+)", r"\1\2 \3 not", question, count=1
    )
    if denied != question:
        yield "negation", denied


def _swapped(question: str, nouns: Sequence[tuple[int, int]]) -> Iterator[Variant]:
    """Two words with something between them that is no "and" change places."""
    for (start, end), (other_start, other_end) in pairwise(nouns):
        between = question[end:other_start]
        one, other = question[start:end], question[other_start:other_end]
        if (
            one.casefold() != other.casefold()
            and len(between) > 1
            and not re.search(r"와|과|랑|및|\b(?:and|or)\b|,", between)
        ):
            yield "swapped", question[:start] + other + between + one + question[other_end:]
            return


def about_term(term: str, other: str) -> Iterator[Variant]:
    """Questions about a term that its definition does not answer. `other`: another term."""
    if _HANGUL.search(term):
        patterns = ("{}가 오르면 어떻게 되나요?", "{}는 왜 필요한가요?", "{}와 {other}의 차이가 뭐예요?", "{}는 얼마예요?",
                    "{}의 역사는?", "미국 {}가 뭐예요?", "{} 계산 방법이 뭐예요?", "{}는 누가 정하나요?", "{}가 아닌 것은 뭐예요?")  # fmt: skip
    else:
        patterns = ("What happens when the {} rises?", "Why is {} needed?", "What is the difference between {} and {other}?",
                    "What is the price of {}?", "What is {} in Brazil?", "Who sets the {}?", "What is not {}?",
                    "What is {} used for?", "What was the {} in 2023?")  # fmt: skip
    yield from (("term", pattern.format(term, other=other)) for pattern in patterns)


def asks_what(term: str) -> Iterator[Variant]:
    """Ways to ask what a term means."""
    if _HANGUL.search(term):
        patterns: tuple[str, ...] = (
            "{}",
            "{}?",
            "{}란?",
            "{}가 뭐예요?",
            "{}는 무엇인가요?",
            "{} 뜻",
            "{}의 의미가 뭐야?",
            "{}가 뭔지 알려 주세요",
        )
    else:
        patterns = ("{}", "{}?", "What is {}?", "what's the {}", "define {}", "What does {} mean?", "meaning of {}")
    yield from (("term", pattern.format(term)) for pattern in patterns)
