"""Sentence spans of Korean and English text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.sentences import sentence_spans


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    "expected",
    [
        ["2024. 3. 1. 시행한다.", "다음은 그대로 둔다."],
        ["이율은 3.5%이다.", "한도는 1,000원이다."],
        ["It was released in 2020.", "He left Korea.", "See Fig. 2 for details."],
        ["Dr. Kim met Mr. Lee, e.g. on Jan. 5, in St. Louis.", "They talked."],
        ["J. K. Rowling wrote it.", "Nobody knew."],
        ["He lives in the U.S.", "The weather is fine there, as in the U.K. government’s report."],
        ["Prices, fees, etc.", "The rest follows."],
        ["It costs $3.50.", "That is cheap!", "Is it?", "Yes."],
        ["1. 목적은 이렇다.", "2. 범위는 저렇다."],
        ["가. 목적을 정한다.", "나. 범위를 정한다."],
        ["3.1. Scope of the rule.", "It covers all."],
        ['그는 "가자. 어서."라고 말했다.', "그리고 떠났다."],
        ['He said "Go. Now." to them.', "They went."],
        ['He said "Go. Now."', "Then he left."],
        ["그는 ‘안녕. 잘 가.’라고 했다.", "끝이다."],
        ["It's John's.", "Don't touch 'the. thing.' here.", "Yes."],
        ["(이것은 참고이다.)", "본문은 다음과 같다."],
        ["보고서(2023. 5. 발간. 비공개)를 보았다.", "좋았다."],
        ["회사는 「근로기준법. 시행령」을 따른다.", "예외는 없다."],
        ["그는 떠났다(2001년).", "돌아오지 않았다."],
        ["했다.[1][2]", "그러나 아니다."],
        ["파일 바다.txt 와 v2.0 은 example.com 에 있다.", "받아 보라."],
        ["정말?", "그렇다!", "알았다."],
        ['"뭐?"라고 물었다.', "답은 없었다."],
        ["음... 그래서 말인데 이건 아니다.", "그렇죠."],
        ["자초한 것…어떡해 하며 울었다.", "다음 날 떠났다."],
        ["원주율은 3.14이다.", "자세한 것은 A.I. 문서를 보라."],
        ["전각 마침표。", "다음 문장。"],
        ["Version 2.0 is out. version 1.9 is not supported."],
        ["The ratio is 0.5.", "It rose."],
        ["재판부는 1. 친분 관계 2. 입력 시기 3. 장소를 따졌다.", "결론은 같다."],
        ["No. 5 was sold.", "He said no.", "Then he left."],
        ["값은 1,000원이다.", "(주)각주는 3.5% 올렸다.", "제3조 제2항에 따른다.", "끝."],
        ["(주) 각주는 “그렇다.”라고 했다.", "약 1,234.5톤이다.", "제3조 제2항은 없다."],
        ["Use a short form, e.g. this one.", "U.S. exports rose 3.5%.", "It fell."],
    ],
)
def test_sentences_on_one_line(expected: list[str]) -> None:
    assert sentences(" ".join(expected)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("했다.그러나 늦었다.", ["했다.", "그러나 늦었다."]),
        ("연차는 15일입니다\n마감은 금요일입니다\n끝", ["연차는 15일입니다", "마감은 금요일입니다", "끝"]),
        ("신청은 빨리 해요\n주요 사항", ["신청은 빨리 해요", "주요 사항"]),
        ("서류를 제출함\n승인됨\n완료", ["서류를 제출함", "승인됨", "완료"]),
        ("이것은 주요\n사항이며 바다\n건너에 있다.", ["이것은 주요\n사항이며 바다\n건너에 있다."]),
        ("정부는 추진한다\n고 밝혔다. 끝", ["정부는 추진한다\n고 밝혔다.", "끝"]),
        ("a wrapped\nparagraph goes on. Next\none.", ["a wrapped\nparagraph goes on.", "Next\none."]),
        ("2024.\n3. 1. 시행한다", ["2024.\n3. 1. 시행한다"]),
        ("하나의 문단\n\n다른 문단", ["하나의 문단", "다른 문단"]),
        ("하나\n  \n둘", ["하나", "둘"]),
        ("- 하나\n- 둘\n  이어짐\n바깥", ["- 하나", "- 둘\n  이어짐", "바깥"]),
        ("①\n목적을 정한다.\n②\n범위를 정한다.", ["①\n목적을 정한다.", "②\n범위를 정한다."]),
        ("-\n하나\n-\n둘\n", ["-\n하나", "-\n둘"]),
        ("가.\n첫째 항목\n나.\n둘째 항목", ["가.\n첫째 항목", "나.\n둘째 항목"]),
        ("1) 하나\n2) 둘\n① 셋", ["1) 하나", "2) 둘", "① 셋"]),
        ("# 제목\n본문이 여기\n이어진다.", ["# 제목", "본문이 여기\n이어진다."]),
        ("| a | b |\n|---|---|\n| 1. x | 2 |\n글", ["| a | b |\n|---|---|", "| 1. x | 2 |", "글"]),
        ("질문: 설치 방법\n답변: pip 으로 설치", ["질문: 설치 방법", "답변: pip 으로 설치"]),
        ("앞\n```\npip install a.b\nX. Y\n```\n뒤", ["앞", "```\npip install a.b\nX. Y\n```", "뒤"]),
        ("  \n ", []),
        ("", []),
    ],
)
def test_lines_that_do_and_do_not_end_a_sentence(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_a_bracket_that_never_closes_does_not_swallow_the_rest() -> None:
    text = '그는 "가자고 했다. ' + "다음 문장이다. " * 40
    assert len(sentences(text)) == 41


def test_crossed_brackets_do_not_swallow_the_rest() -> None:
    text = '그는 (이렇게 "말) 했다. 그리고" 갔다. ' + "다음 문장이다. " * 60
    assert len(sentences(text)) > 30


_PARTS = st.sampled_from(
    [
        "다.",
        "요\n",
        "\n\n",
        "1. ",
        "- ",
        "| a |",
        "```\n",
        '"',
        "(",
        ")",
        "’",
        "Dr. ",
        "U.S. ",
        "3.5",
        "…",
        "? ",
        "가",
        "a",
        " ",
    ]
)


@given(st.lists(_PARTS | st.characters(), max_size=60).map("".join))
def test_spans_are_ordered_stripped_and_hold_every_visible_character(text: str) -> None:
    spans = sentence_spans(text)
    assert all(start < end for start, end in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert all(text[start:end] == text[start:end].strip() for start, end in spans)
    kept = "".join("".join(text[start:end].split()) for start, end in spans)
    assert kept == "".join(text.split())


@pytest.mark.parametrize(
    "pattern", ['"', "'", " 's", ".", "a. ", "(.", "(", "|", "가나다 ", "다.", "- a\n", "```\n", "1.", "|-", "“‘("]
)
def test_hostile_megabyte_is_cut_in_linear_work(pattern: str) -> None:
    """Quadratic work on a megabyte would take many minutes, so finishing is the assertion."""
    text = pattern * (1_000_000 // len(pattern))
    spans = sentence_spans(text)
    assert spans[0][0] == len(text) - len(text.lstrip())
    assert spans[-1][1] == len(text.rstrip())
