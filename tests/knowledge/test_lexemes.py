"""Lexemes of Korean and English text: what they are, and the same for one text and for many."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.lexemes import LEXEME_VERSION, Analyzer, language_of


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer()


def test_lexemes_of_this_version_stay_what_they_are(analyzer: Analyzer) -> None:
    """An index holds them: where one of these changes, LEXEME_VERSION has to change with it."""
    assert LEXEME_VERSION == "kiwi-content+bigram+snowball/1"
    found = analyzer.analyze("제 3조(휴가) 환율이 3.5% 오르면 HBM3E-12 prices are rising, 1,000원")
    assert found == Counter(
        "3 3.5% 3.5 hbm3e-12 hbm3e 12 price rise 1000 제3조 조 휴가 환율 오르 #휴가 #환율 #율이 #오르 #르면".split()
    )
    assert analyzer.analyze("The gpt-4o mini's prices ... were 12,500.5 USD") == Counter(
        "gpt-4o gpt 4o mini s price 12500.5 usd".split()
    )
    assert analyzer.analyze("... \n the of 😀") == Counter()


PARTS = st.sampled_from(
    [
        "환율이 ",
        "떨어지면 ",
        "재택근무",
        "제 3 조",
        "1,000",
        "3.5%",
        "gpt-4o ",
        "Prices ",
        "the ",
        "\n",
        " ",
        "ㅋㅋ",
        "😀",
        "漢字",
    ]
)
TEXTS = st.lists(st.lists(PARTS | st.text(max_size=5), max_size=15).map("".join), max_size=8)


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_many_texts_give_what_each_gives_alone(analyzer: Analyzer, texts: list[str]) -> None:
    assert analyzer.analyze_many(texts) == [analyzer.analyze(text) for text in texts]


@pytest.mark.parametrize(
    "pattern",
    ["가나다라", "각", "다", "ㅋ", "ㅋㅎ", "😀", "a", "1", ".", "a-", "1,", "QmFzZTY0", "\u1100\u1161\u11a8", "제 1"],
)
def test_text_without_end_is_analysed(analyzer: Analyzer, pattern: str) -> None:
    """As long as the longest chunk (256 tokens of at most 32 characters): Kiwi is quadratic in runs of Latin letters."""
    text = "가" + pattern * (8192 // len(pattern))
    assert analyzer.analyze_many([text, "환율"]) == [analyzer.analyze(text), Counter(["환율", "#환율"])]


def test_language_is_told_by_the_letters() -> None:
    assert [
        language_of(text) for text in ("환율 rate", "a" * 90 + "가" * 10, "a" * 91 + "가" * 9, "rate", "12 😀", "")
    ] == [
        "ko",
        "ko",
        "en",
        "en",
        "und",
        "und",
    ]
