"""A heading or a term as a question that a person would ask, in Korean or English; and which texts may be shown as one.

What cannot be asked about ("3.", "Introduction", `GET /healthz`) becomes None. Knows nothing about searching.
"""

from __future__ import annotations

import re

from knowledge.lexemes import Analyzer, language_of
from pipelines.related_english import english_meaning, english_question
from pipelines.related_korean import korean_meaning, korean_question

MAX_CHARS = 120
_LEAST_CHARS = 4
_MAX_TITLE_CHARS = 50
_LEAST_LETTERS = 0.75  # of a heading that is about something; code and formulas have fewer
# Addresses and what Markdown or HTML would take for a sign; "*" and "_" only where they stand as such.
_NOT_SHOWN = re.compile(
    r"[<>{}\[\]|`\\^~#=\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|\*\*?\w|(?<!\w)_\w|://|\bwww\.|\S@\S|"
    r"\b(?:javascript|data|mailto):|(?<!\S)/\w|\w\.(?:com|net|org|io|kr|dev|ru|cn|test|example)\b",
    re.IGNORECASE,
)
_NUMBERING = re.compile(
    r"^\s*(?:(?:chapter|section|part|step|appendix|article)\s+[\dIVXA-Z]{1,5}\b[.:)]?\s*"
    r"|제?\s*\d{1,3}\s*(?:장|절|부|항|조(?:의\s*\d+)?)(?:[\s.:]+|(?=\())"
    r"|[\dIVX]{1,4}(?:[.-]\d{1,3})*[.)]?\s+|\d{1,3}(?:\.\d{1,3})*[.)]\s*|[가-하][.)]\s+|[(（]\d{1,3}[)）]\s*|[①-⑳■□●○▶◆•·*-]\s*)+",
    re.IGNORECASE,
)
_IN_PARENTHESES = re.compile(r"^[(（](?P<inner>[^()（）]+)[)）]$")
_GENERIC = frozenset(
    "introduction overview summary conclusion conclusions abstract contents appendix references sources source preface "
    "foreword background notes note other others general misc miscellaneous index links example examples glossary faq "
    "acknowledgements acknowledgments bibliography details more information title purpose scope definitions "
    "서론 서문 머리말 개요 요약 결론 맺음말 목차 차례 부록 참고 참고문헌 참고자료 출처 소개 들어가며 나가며 배경 비고 기타 예시 예 "
    "보기 주 각주 메모 일반 총칙 부칙 내용 제목 정보 안내 목적 정의 용어집 색인 별첨 첨부 더보기 자료 항목 참조".split()
)
_BESIDE = re.compile(r"예시|\bexamples?$|^출처|^참고|^sources\b|^further\b|^see\b", re.IGNORECASE)
_GENERIC_PHRASES = ("table of contents", "further reading", "see also", "frequently asked questions", "자주 묻는 질문")


def is_showable(text: str) -> bool:
    """Whether `text`, which somebody else wrote, may stand on a button: short plain words, no address, no markup."""
    return _LEAST_CHARS <= len(text) <= MAX_CHARS and not _NOT_SHOWN.search(text) and language_of(text) != "und"


def question_about(heading: str, *, title: str, lead: str, language: str, analyzer: Analyzer) -> str | None:
    """`title`: of the document; `lead`: how the section begins. Korean asks about English headings, too, not vice versa."""
    plain = _plain(heading)
    if (
        plain is None
        or plain.casefold() == " ".join(title.split()).casefold()
        or (language == "en" and language_of(plain) != "en")
    ):
        return None
    shown_title = " ".join(title.split())
    if len(shown_title) > _MAX_TITLE_CHARS or not is_showable(shown_title) or language_of(shown_title) != language:
        shown_title = ""
    if language == "ko" and language_of(plain) == "en":
        question = f"“{plain}”에 대해 알려 주세요."
    elif language == "ko":
        question = korean_question(plain, title=shown_title, morphemes=analyzer.morphemes) or ""
    else:
        question = english_question(plain, title=shown_title, lead=lead) or ""
    return question if is_showable(question) else None


def question_of_term(term: str, language: str) -> str | None:
    name = " ".join(term.split())
    question = korean_meaning(name) if language == "ko" else english_meaning(name)
    return question if is_showable(question) else None


def _plain(heading: str) -> str | None:
    text = _NUMBERING.sub("", " ".join(heading.split())).strip(" .:;,-–—")
    if match := _IN_PARENTHESES.match(text):
        text = match["inner"].strip()
    before_colon = text.partition(": ")[0]
    text = before_colon if " " in before_colon else text
    folded = text.casefold()
    letters = sum(char.isalpha() or char.isspace() for char in text)
    if len(text) < 2 or letters < _LEAST_LETTERS * len(text) or _NOT_SHOWN.search(text):
        return None
    if _BESIDE.search(text) or folded in _GENERIC or folded.replace(" ", "") in _GENERIC or folded in _GENERIC_PHRASES:
        return None
    return text
