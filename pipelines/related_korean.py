"""A Korean heading as a polite question, with the particles that its last sound asks for.

"문서 넣기" → "문서를 넣으려면 어떻게 하나요?", "좋은 문서를 만드는 법" → "… 법은 무엇인가요?". Where the last sound is not known (an
English word), a wording is taken that needs none. Knows nothing about where headings come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from knowledge.lexemes import Morpheme

_FIRST_SYLLABLE, _LAST_SYLLABLE = "가", "힣"
_FINALS = 28  # 0 is none, 8 is ㄹ
_RIEUL = 8
_DIGITS_WITH_FINAL = frozenset("013678")  # 영 일 삼 육 칠 팔
_LETTERS_WITH_FINAL = frozenset("LMNR")  # 엘 엠 엔 알
_PARENTHESES_AT_END = re.compile(r"\s*[(（][^()（）]*[)）]$")
_ACRONYM = re.compile(r"[A-Z][A-Z0-9]*$")
_ENDS_IN_VOWEL = re.compile(r"[aiouyrsdfhvwxz]$")
_ENDS_IN_CONSONANT = re.compile(r"(?:[lmn]|ng)$")

_ASKED_WHAT = re.compile(
    r"(?:방법|법|절차|이유|원인|까닭|차이|차이점|뜻|의미|기준|조건|요건|자격|종류|역할|목적|특징|장점|단점|장단점|대상|효과|원리|규칙|원칙|서류|영향|것|점)$"
)
_ASKED_HOW = re.compile(
    r"(?:기간|시기|일정|비용|요금|수수료|금액|한도|일수|주기|횟수|방식|구조|처리|관리|제한|순서|구성|과정|계산|흐름)$"
)
_ASKED_WHERE, _ASKED_WHEN = re.compile(r"\s곳$"), re.compile(r"\s(?:경우|시점)$")
_CLAUSE = re.compile(r"\s(?:것|점|곳|경우)$")
# Endings that ask; those of Kiwi's that begin with a final consonant write it as a jamo (ᆫ, ᆯ).
_ASKING = frozenset(
    "나 는가 ᆫ가 은가 던가 ᆯ까 을까 ᆯ까요 을까요 나요 는가요 ᆫ가요 은가요 ᆸ니까 습니까 니 냐 으냐 ᆫ지 는지 은지 ᆯ지 을지".split()
)
_UNCERTAIN = frozenset("ᆫ지 는지 은지 ᆯ지 을지".split())
_QUESTION_WORD = frozenset("무엇 뭐 왜 어떻게 어떻 어디 언제 누구 누가 얼마 얼마나 몇 어느 어떤 무슨".split())
_POINTS = frozenset("이 그 저 이것 그것 이때 그때 여기 거기".split())
_SAY_LITTLE = frozenset(
    "뜻 의미 방법 법 이유 점 것 곳 경우 때 값 필요 예시 예 종류 순서 주요 다른 흔하 실수 질문 첫 사용법 목록".split()
)
_FEW_WORDS = 2

Morphemes = Callable[[str], Sequence[Morpheme]]


def korean_question(heading: str, *, title: str, morphemes: Morphemes) -> str | None:
    """`title`: of the document, named where the heading alone says little; "" is not named."""
    if heading.endswith(("?", "？")):
        return heading.rstrip("?？ ") + "?"
    tokens = [token for token in morphemes(heading) if not token.tag.startswith("SF")]
    if not tokens:
        return None
    last, tag = tokens[-1], tokens[-1].tag.partition("-")[0]
    if tag in ("EF", "EC") and last.form in _ASKING:
        return _asked(heading, last, tokens)
    if tag == "EC" and heading.endswith("려면"):
        return f"{heading} 어떻게 하나요?"
    if tag == "EC" and heading.endswith("면"):
        return f"{heading} 어떻게 되나요?"
    if tag == "ETN" and heading.endswith("기"):
        return _how_to(heading, tokens)
    if heading.endswith(" 때"):
        return f"{heading}는 어떻게 하나요?"
    return _about(heading, title, tokens) if _is_noun(tokens, heading) else None


def korean_meaning(term: str) -> str:
    final = final_consonant(term)
    if final is None:
        return f"{term}의 뜻은 무엇인가요?"
    return f"{term}{'이란' if final else '란'} 무엇인가요?"


def final_consonant(word: str) -> bool | None:
    """Whether `word` is read with a consonant at its end, which decides 은/는, 이/가, 을/를; None: not known."""
    spoken = _PARENTHESES_AT_END.sub("", word).rstrip("'\"’”」』 ")
    if not spoken:
        return None
    char = spoken[-1]
    if _FIRST_SYLLABLE <= char <= _LAST_SYLLABLE:
        return _final(char) != 0
    if char.isdigit() and char.isascii():
        return char in _DIGITS_WITH_FINAL
    if char == "%":
        return False
    if not (char.isalpha() and char.isascii()):
        return None
    if _ACRONYM.search(spoken.split()[-1]) or len(spoken.split()[-1]) == 1:
        return char.upper() in _LETTERS_WITH_FINAL
    if _ENDS_IN_CONSONANT.search(spoken):
        return True
    return False if _ENDS_IN_VOWEL.search(spoken) else None


def with_particle(word: str, after_consonant: str, after_vowel: str) -> str | None:
    final = final_consonant(word)
    return None if final is None else word + (after_consonant if final else after_vowel)


def _final(syllable: str) -> int:
    return (ord(syllable) - ord(_FIRST_SYLLABLE)) % _FINALS


def _asked(heading: str, last: Morpheme, tokens: Sequence[Morpheme]) -> str | None:
    words = [
        token for token in tokens if token.tag.startswith(("N", "V", "XR", "SL")) and token.form not in _QUESTION_WORD
    ]
    if len(words) < _FEW_WORDS or any(token.form in _POINTS and token.tag.startswith(("NP", "MM")) for token in tokens):
        return None  # "무엇에 쓰나": only its document knows of what
    if last.form in _UNCERTAIN:
        return f"{heading} 알려 주세요."
    if heading.endswith(("니까", "요")):
        return f"{heading}?"
    return f"{heading[:-1]}나요?" if heading.endswith(("냐", "니")) else f"{heading}요?"


def _how_to(heading: str, tokens: Sequence[Morpheme]) -> str | None:
    """ "결과 읽기" → "결과를 읽으려면 어떻게 하나요?" """
    if sum(token.tag.startswith(("N", "V", "SL")) for token in tokens) < _FEW_WORDS:
        return None
    stem, space = heading[:-1], heading.rfind(" ")
    verb = next((token for token in reversed(tokens[:-1]) if token.tag.startswith(("V", "XS"))), None)
    if verb is None or verb.tag.endswith("-I") or not _FIRST_SYLLABLE <= stem[-1] <= _LAST_SYLLABLE:
        return f"{heading}는 어떻게 하나요?"  # an irregular verb changes before "려면"
    before = next((token for token in reversed(tokens) if token.end <= space), None)
    if before is not None and before.end == space and before.tag in ("NNG", "NNP", "XSN", "SL"):
        named = with_particle(heading[:space], "을", "를")
        stem = stem if named is None else named + stem[space:]
    ending = "려면" if _final(stem[-1]) in (0, _RIEUL) else "으려면"
    return f"{stem}{ending} 어떻게 하나요?"


def _is_noun(tokens: Sequence[Morpheme], heading: str) -> bool:
    if heading.endswith((")", "）")):
        return True
    return tokens[-1].tag.startswith(("NNG", "NNP", "NNB", "XSN", "SL", "SN", "SH", "XR", "ETN"))


def _about(heading: str, title: str, tokens: Sequence[Morpheme]) -> str | None:
    content = (token for token in tokens if token.tag.startswith(("NNG", "NNP", "SL", "XR", "VV", "VA")))
    words = [token for token in content if token.form not in _SAY_LITTLE]
    if len(words) < _FEW_WORDS and title and heading not in title:
        named = f"‘{title}’{'에서' if _CLAUSE.search(heading) else '의'} {heading}"
    elif not words and not title:
        return None
    else:
        named = heading
    topic = with_particle(named, "은", "는")
    endings = {
        _ASKED_WHAT: "무엇인가요",
        _ASKED_WHERE: "어디인가요",
        _ASKED_WHEN: "언제인가요",
        _ASKED_HOW: "어떻게 되나요",
    }
    asked = next((ending for pattern, ending in endings.items() if pattern.search(named)), None)
    return f"{named}에 대해 알려 주세요." if topic is None or asked is None else f"{topic} {asked}?"
