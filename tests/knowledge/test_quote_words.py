"""The words of sentences: found by the places of the passage's own words, packed into few bytes, and read back whole."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.lexemes import Analyzer, normal_places, numbers_in
from knowledge.quote_parts import Part, quote_parts
from knowledge.quote_words import QuoteWords, packed, quote_words, unpacked
from knowledge.terms import term_id
from knowledge.types import Evidence, Place, Scores

SHARED_ANALYZER = Analyzer()  # hypothesis does not mix with fixtures; Kiwi loads at first use
TEXTS = {
    "prose": "회사는 1998년 부산에서 세워졌다. 직원은 모두 240명이다. The office is in Haeundae.",
    "list": "휴가는 다음 순서로 신청합니다.\n\n1. 로그인합니다.\n2. 승인을 받습니다. 하루 안에 납니다.\n",
    "headings": "# 환불\n\n영업일로 3일 안에 처리합니다.\n\n## 취소\n\n발송 전에는 언제든지 취소합니다.",
    "table": "| 위험 | 수단 |\n|---|---|\n| 환율 상승 | **선물환** 매수 |\n| 운임 상승 | FFA |",
    "faq": "question_ko: 환불은 며칠 걸리나요?\nanswer_ko: 영업일로 3일입니다.\nquestion_en: How long?\nanswer_en: Three days.",
    "term": "term_ko: 베이시스\ndefinition_ko: 현물과 선물 가격의 차이.\nterm_en: basis\ndefinition_en: Spot less futures.",
    "unusual signs": "① 매출은 ５００억 원…이다. ㎏당 3½ 달러였다. “끝”이라고 했다.",
    "nothing": "",
}


def passage(text: str, *, header: str = "", rows: tuple[int, int] | None = None) -> Evidence:
    place = Place(rows=rows)
    return Evidence("c", "d", "x", "p", "문서", ("장", "절"), place, 0, len(text), text, "ko", Scores(), 1, header)


def found(text: str, **fields) -> QuoteWords:
    return quote_words([passage(text, **fields)], SHARED_ANALYZER)[0]


def said(words: QuoteWords, part: int) -> Counter[int]:
    return Counter(words.terms[words.said[part]].tolist())


def assert_same(one: QuoteWords | None, other: QuoteWords) -> None:
    assert one is not None and one.parts == other.parts
    assert np.array_equal(one.terms, other.terms)
    for a, b in ((one.said, other.said), (one.beside, other.beside)):
        assert len(a) == len(b) and all(map(np.array_equal, a, b))


def test_a_sentence_has_the_words_that_stand_in_it() -> None:
    words = found(TEXTS["prose"])
    assert [TEXTS["prose"][part.start : part.end] for part in words.parts][1] == "직원은 모두 240명이다."
    for part in words.parts:
        alone = SHARED_ANALYZER.analyze(TEXTS["prose"][part.start : part.end])
        at = words.parts.index(part)
        assert said(words, at) == Counter({term_id(word): count for word, count in alone.items()})
    beside = set(words.terms[words.beside[0]].tolist())
    assert {term_id("문서"), term_id("장")} <= beside and term_id("직원") not in beside


def test_a_row_has_its_columns_names_and_an_answer_stands_under_its_question() -> None:
    words = found(TEXTS["table"])
    assert {term_id("수단"), term_id("#물환")} <= said(words, 0).keys() and term_id("ffa") not in said(words, 0)
    cut_off = found("| 환율 상승 | 선물환 |", header="| 위험 | 수단 |")
    assert {term_id("수단"), term_id("#물환")} <= said(cut_off, 0).keys()
    words = found(TEXTS["faq"], rows=(1, 1))
    assert [part.language for part in words.parts] == ["ko", "en"]
    assert all(term_id("환불") in words.terms[near] for near in words.beside)
    assert term_id("환불") not in said(words, 0) and term_id("#영업") in said(words, 0)
    words = found(TEXTS["term"], rows=(1, 1))
    assert term_id("베이시스") in said(words, 0)


def test_words_are_where_they_stand_whatever_signs_come_before() -> None:
    text = TEXTS["unusual signs"]
    words = found(text)
    at = next(i for i, part in enumerate(words.parts) if "달러" in text[part.start : part.end])
    assert term_id("#달러") in said(words, at) and term_id("매출") not in said(words, at)
    assert normal_places("㎏ x", [(0, 1), (2, 3)]) == [0, 2, 3, 4]
    assert normal_places("kg x", [(0, 1), (2, 3)]) == [0, 1, 2, 3]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_is_packed_comes_back_whole(text: str) -> None:
    words = found(text, rows=(1, 1))
    data = packed(words)
    assert data is not None and len(data) < 100 + 6 * max(len(text), 1)
    assert_same(unpacked(data, words.terms.astype("<i4").tobytes()), words)


PIECES = st.sampled_from(
    "환율이 오른다. 직원은 240명이다. # ## | - 1. * \n \n\n question: answer: term: 정의: ㎏ ① … x = {".split(" ")
)


@settings(deadline=None, max_examples=60)
@given(st.lists(PIECES, max_size=40).map(" ".join), st.sampled_from(["", "| 위험 | 수단 |"]))
def test_any_text_is_packed_and_read_back(text: str, header: str) -> None:
    words = found(text, header=header)
    data = packed(words)
    assert data is not None
    assert_same(unpacked(data, words.terms.astype("<i4").tobytes()), words)


def test_a_passage_of_many_words_takes_two_bytes_a_word() -> None:
    words = found(" ".join(f"code{n} number{n}." for n in range(300)))
    data = packed(words)
    assert len(words.terms) > 256 and data is not None
    assert_same(unpacked(data, words.terms.astype("<i4").tobytes()), words)


def test_more_than_fits_is_not_packed() -> None:
    many = QuoteWords(np.array([7]), (Part(0, 9),), (np.zeros(70_000, np.int64),), (np.array([0]),))
    assert packed(many) is None


def test_damaged_bytes_and_those_of_other_rules_are_found_anew() -> None:
    item = passage(TEXTS["prose"])
    words = quote_words([item], SHARED_ANALYZER)[0]
    data, terms = packed(words), words.terms.astype("<i4").tobytes()
    assert data is not None
    bad = [b"", data[:9], data[:-1], data + b"\0", b"\xff" + data[1:], data[:1] + b"\x07" + data[2:], bytes(len(data))]
    for sentences in (*((one, terms) for one in bad), (data, terms[:8]), (data, b"")):
        assert unpacked(*sentences) is None, sentences
        assert_same(quote_words([replace(item, sentences=sentences)], SHARED_ANALYZER)[0], words)


def test_what_is_stored_needs_no_analysis() -> None:
    item = passage(TEXTS["prose"])
    words = quote_words([item], SHARED_ANALYZER)[0]
    stored = replace(item, sentences=(packed(words) or b"", words.terms.astype("<i4").tobytes()))
    assert_same(quote_words([stored], None)[0], words)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_places_are_given_of_the_words_that_are_counted(text: str) -> None:
    [placed] = SHARED_ANALYZER.place_many([text])
    assert Counter(placed.lexemes) == SHARED_ANALYZER.analyze(text)
    assert len(placed.starts) == len(placed.lexemes)


def test_numbers_are_those_that_are_searched_for() -> None:
    assert numbers_in("제3조: 2024년 1,000원, 3.5% hbm3e 다섯") == {
        "제3조",
        "3",
        "2024",
        "1000",
        "3.5%",
        "3.5",
        "hbm3e",
    }


def test_parts_do_not_overlap_and_hold_no_headings() -> None:
    for text in TEXTS.values():
        parts = quote_parts(text, table_header="", is_row=False)
        assert all(a.end <= b.start for a, b in itertools.pairwise(parts))
        assert not any(text[part.start : part.end].startswith("#") for part in parts)
