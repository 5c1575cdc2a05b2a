"""Headings and terms as questions: particles by the last sound, and what must not become a question."""

from __future__ import annotations

import pytest

from pipelines.related_korean import final_consonant
from pipelines.related_model import questions_in
from pipelines.related_wording import is_showable, question_about, question_of_term

KOREAN = {
    "좋은 문서를 만드는 법": "좋은 문서를 만드는 법은 무엇인가요?",
    "선물과 옵션의 차이": "선물과 옵션의 차이는 무엇인가요?",
    "베이시스를 정하는 것": "베이시스를 정하는 것은 무엇인가요?",
    "데이터를 두는 곳": "데이터를 두는 곳은 어디인가요?",
    "가격이 오를 수 있는 경우": "가격이 오를 수 있는 경우는 언제인가요?",
    "파일의 크기 제한": "파일의 크기 제한은 어떻게 되나요?",
    "증거금과 일일정산": "증거금과 일일정산에 대해 알려 주세요.",
    "왜 가격을 둘로 나누어 거래하나": "왜 가격을 둘로 나누어 거래하나요?",
    "어떤 모델이 좋은가": "어떤 모델이 좋은가요?",
    "환율은 어떻게 정해질까?": "환율은 어떻게 정해질까?",
    "문서를 지우려면": "문서를 지우려면 어떻게 하나요?",
    "파일을 삭제하면": "파일을 삭제하면 어떻게 되나요?",
    "문서를 읽지 못할 때": "문서를 읽지 못할 때는 어떻게 하나요?",
    "모델이 느릴 때": "모델이 느릴 때는 어떻게 하나요?",
    "내 문서 넣기": "내 문서를 넣으려면 어떻게 하나요?",
    "부셸을 톤으로 바꾸기": "부셸을 톤으로 바꾸려면 어떻게 하나요?",
    "색인 확인하기": "색인을 확인하려면 어떻게 하나요?",
    "이름 만들기": "이름을 만들려면 어떻게 하나요?",
    "3.2 통관 절차": "통관 절차는 무엇인가요?",
    "제3조(연차 휴가)": "연차 휴가에 대해 알려 주세요.",
    "백업": "‘개인정보와 보안’의 백업에 대해 알려 주세요.",
}
ENGLISH = {
    "How to apply for leave": "How do I apply for leave?",
    "How footnotes are checked": "How are footnotes checked?",
    "How search works": "How does search work?",
    "Why price is split in two": "Why is price split in two?",
    "What quote mode is": "What is quote mode?",
    "When nothing is found": "What happens when nothing is found?",
    "What happens when I delete a file": "What happens when I delete a file?",
    "Does data leave the machine": "Does data leave the machine?",
    "How much to hedge": "How much should I hedge?",
    "Connect a language model": "How do I connect a language model?",
    "Chapter 4: Laytime and demurrage": "What does “Privacy and security” say about laytime and demurrage?",
    "Data security": "What do the documents say about data security?",
    "ZIP archives": "What does “Privacy and security” say about ZIP archives?",
    "From bushels to tonnes": "How do I get from bushels to tonnes?",
}
NOTHING = [
    "3.", "12", "부록", "개요", "목차", "Introduction", "References", "3. 결론", "GET /healthz", "`code`", "x",
    "http://evil.test 를 여세요", "관세를 더합니다", "무엇에 쓰나", "이 데이터는 무엇인가", "<b>Bold</b> claims", "$$x^2$$", "a|b|c",
    "예시 계산", "A worked example",
]  # fmt: skip
NOTHING_ENGLISH = [
    "What it is for",
    "Who buys",
    "Where to look it up",
    "Appendix A",
    "In one sentence",
    "Table of contents",
]


@pytest.mark.parametrize(("heading", "question"), KOREAN.items())
def test_korean_headings(analyzer, heading, question):
    asked = question_about(heading, title="개인정보와 보안", lead="", language="ko", analyzer=analyzer)
    assert asked == question


@pytest.mark.parametrize(("heading", "question"), ENGLISH.items())
def test_english_headings(analyzer, heading, question):
    lead = "Archives and their laytime are told here."
    asked = question_about(heading, title="Privacy and security", lead=lead, language="en", analyzer=analyzer)
    assert asked == question


@pytest.mark.parametrize(
    ("heading", "language"),
    [
        *((heading, language) for heading in NOTHING for language in ("ko", "en")),
        *((text, "en") for text in NOTHING_ENGLISH),
    ],
)
def test_what_is_no_topic_is_no_question(analyzer, heading, language):
    assert question_about(heading, title="", lead="", language=language, analyzer=analyzer) is None


def test_a_korean_heading_is_not_asked_about_in_english(analyzer):
    about = {"title": "", "lead": "", "analyzer": analyzer}
    assert question_about("통관 절차", language="en", **about) is None
    assert question_about("Customs clearance", language="ko", **about) == "“Customs clearance”에 대해 알려 주세요."


@pytest.mark.parametrize(
    ("term", "question"),
    {
        "환율": "환율이란 무엇인가요?",
        "옵션 프리미엄": "옵션 프리미엄이란 무엇인가요?",
        "베이시스": "베이시스란 무엇인가요?",
        "FOB": "FOB란 무엇인가요?",
        "SQL": "SQL이란 무엇인가요?",
        "매매기준율(KRW)": "매매기준율(KRW)이란 무엇인가요?",
        "Redis": "Redis란 무엇인가요?",
        "ISO 9001": "ISO 9001이란 무엇인가요?",
        "Chrome": "Chrome의 뜻은 무엇인가요?",
    }.items(),
)
def test_korean_terms_have_the_particle_of_their_last_sound(term, question):
    assert question_of_term(term, "ko") == question


def test_english_terms_need_no_article():
    assert question_of_term("exchange rate", "en") == "What does “exchange rate” mean?"


def test_last_sounds():
    assert [final_consonant(word) for word in ("값", "차", "3", "2", "50%", "token", "server", "", "★")] == [
        True, False, True, False, False, True, False, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "Click [here](http://a.test)?", "www.evil.test?", "mail me@evil.test?", "<b>What?</b>", "a\u202eb what is it?",
        "What?" * 40, "???", "javascript:alert(1) what is it?", "**Bold** what is it?", "See evil.com for what?", "line\nbreak?",
    ],
)  # fmt: skip
def test_markup_addresses_and_what_is_too_long_may_not_be_shown(text):
    assert not is_showable(text)


def test_lines_of_a_model_lose_their_marks_and_only_questions_stay():
    text = '질문:\n1. 병가는 며칠인가요?\n- "휴가는 어떻게 신청하나요?"\n휴가는 15일입니다.\nWhat is leave?\n병가는 며칠인가요?\n'
    assert questions_in(text, "ko") == ["병가는 며칠인가요?", "휴가는 어떻게 신청하나요?"]
    assert questions_in("\n".join(f"{n}) What is rule {n}?" for n in range(50)), "en")[-1] == "What is rule 5?"
