"""Footnotes: every way of writing them, every way of splitting them, and what only looks like one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.lexemes import Analyzer
from knowledge.types import Evidence, Place, Scores
from pipelines.citations import CitationStream, cited_statements, make_citations, without_markers


def evidence_of(*texts: str) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            chunk_id=f"c{i}",
            document_id=f"d{i}",
            collection="default",
            path=f"{i}.md",
            title=f"Document {i}",
            heading=(),
            place=Place(),
            start=0,
            end=len(text),
            text=text,
            language="ko",
            scores=Scores(),
            rank=i,
        )
        for i, text in enumerate(texts, start=1)
    )


FIVE = evidence_of(*["text"] * 5)


def resolve(answer: str, pieces: list[str] | None = None) -> tuple[str, tuple[int, ...], int]:
    stream = CitationStream(FIVE)
    shown = "".join(stream.feed(piece) for piece in (pieces if pieces is not None else [answer])) + stream.close()
    return shown, stream.cited, stream.dropped


@pytest.mark.parametrize(
    ("written", "shown", "cited"),
    [
        ("환율이 올랐다[1].", "환율이 올랐다[1].", (1,)),
        ("환율이 올랐다 [1].", "환율이 올랐다 [1].", (1,)),
        ("입니다[1][2].", "입니다[1][2].", (1, 2)),
        ("입니다[2, 1].", "입니다[1][2].", (2, 1)),
        ("입니다[1-3].", "입니다[1][2][3].", (1, 2, 3)),
        ("입니다[1,3–5].", "입니다[1][2][3][4].", (1, 3, 4, 5)),
        ("입니다【1】.", "입니다[1].", (1,)),
        ("입니다【2†source】.", "입니다[1].", (2,)),
        ("입니다［１］.", "입니다[1].", (1,)),
        ("Paris[^1].", "Paris[1].", (1,)),
        ("Paris[1]", "Paris[1]", (1,)),
        ("vitamin C[1]", "vitamin C[1]", (1,)),
        ("길이는 5 m[1]", "길이는 5 m[1]", (1,)),
        ("이다[1](2024년 기준)", "이다[1] (2024년 기준)", (1,)),
        ("이다[1](see below)", "이다[1] (see below)", (1,)),
        ("[1]: 첫 문서", "[1] : 첫 문서", (1,)),
        ("[1] 첫 문서", "[1] 첫 문서", (1,)),
        ("값이 `x`[1] 이다", "값이 `x`[1] 이다", (1,)),
        ("반복[1] 반복[1]", "반복[1] 반복[1]", (1,)),
        ("셋[3] 하나[1] 셋[3]", "셋[1] 하나[2] 셋[1]", (3, 1)),
    ],
)
def test_marker_is_found_however_it_is_written(written: str, shown: str, cited: tuple[int, ...]) -> None:
    assert resolve(written) == (shown, cited, 0)


@pytest.mark.parametrize(
    ("written", "shown", "cited", "dropped"),
    [
        ("사실이다[9].", "사실이다.", (), 1),
        ("사실이다 [9].", "사실이다.", (), 1),
        ("known [9] fact", "known fact", (), 1),
        ("known[0] fact", "known fact", (), 1),
        ("사실이다[1, 9].", "사실이다[1].", (1,), 1),
        ("사실이다[4-7].", "사실이다[1][2].", (4, 5), 2),
        ("사실이다 [8][9][2].", "사실이다[1].", (2,), 2),
        ("끝 [99]", "끝", (), 1),
    ],
)
def test_number_without_a_passage_is_removed_and_counted(
    written: str, shown: str, cited: tuple[int, ...], dropped: int
) -> None:
    assert resolve(written) == (shown, cited, dropped)


@pytest.mark.parametrize(
    "text",
    [
        "[2024]년",
        "[100]",
        "[]",
        "[ ] 할 일",
        "[x] 한 일",
        "[1.5]",
        "[1",
        "[1\n]",
        "[[",
        "【공지】",
        "a[1]",
        "x = a[1][2] + b[9]",
        "sys.argv[1]",
        "[1](https://example.com)",
        "[9](/docs/a.md) 참고",
        "![1](http://x.example/i.png)",
        "코드 `a = b[1]` 끝",
        "코드 ``a ` [1]`` 끝",
        "```python\nx[1] = [9]\n```\n",
        "```\n[1]",
        "~~~\n[9]\n~~~\n끝",
        "- ```\n  [9]\n  ```\n",
        "````\n```\n[9]\n```\n````\n",
        "[" * 100,
        "[1" + " " * 100 + "]",
        "[1," * 60,
    ],
)
def test_what_only_looks_like_a_marker_is_left_alone(text: str) -> None:
    assert resolve(text) == (text, (), 0)


def test_code_ends_and_footnotes_count_again() -> None:
    assert resolve("```\n[9]\n```\n사실이다[1].") == ("```\n[9]\n```\n사실이다[1].", (1,), 0)
    assert resolve("`[9]` 사실이다[1].") == ("`[9]` 사실이다[1].", (1,), 0)


def test_lone_backtick_does_not_hide_an_invented_number() -> None:
    assert resolve("작은따옴표 ` 하나[9]\n다음[1]") == ("작은따옴표 ` 하나\n다음[1]", (1,), 1)


def test_text_without_brackets_is_shown_at_once() -> None:
    stream = CitationStream(FIVE)
    assert stream.feed("안녕하세요.") == "안녕하세요."
    assert stream.feed(" 다음") == " 다음"


def test_half_a_marker_is_held_back() -> None:
    stream = CitationStream(FIVE)
    assert stream.feed("이다[1") == "이다"
    assert stream.feed("]") == ""
    assert stream.feed(".") == "[1]."


def test_long_answers_take_linear_time() -> None:
    text = "[1]`[" * 40_000
    shown, cited, _ = resolve(text)
    assert cited == (1,)
    assert len(shown) == len(text)


BLANKS = ["\n", "\r\n", " ", "\t"]
PIECES = "[ ] 1 2 9 [1] [1, [1-3] 【2】 ［3］ 【1†s】 ` ``` ~~~ ( ) (http://x) : a a[1] argv 가나 다. - 1. > , ! ^ [2024] é 🙂".split()
FRAGMENTS = st.lists(st.sampled_from([*PIECES, *BLANKS]) | st.text(max_size=4), max_size=30)


@settings(deadline=None)
@given(FRAGMENTS, st.randoms(use_true_random=False))
def test_any_split_of_the_stream_gives_the_same_result(fragments: list[str], random) -> None:
    text = "".join(fragments)
    cuts = sorted(random.randrange(len(text) + 1) for _ in range(random.randrange(8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert resolve(text, pieces) == resolve(text) == resolve(text, list(text))


NEXT = ["]", "1]", ", 2]", "-9] x", "】", "(http://x)", " ", "`", "``\n[9]\n", "\n", "가"]


@settings(deadline=None)
@given(FRAGMENTS, st.sampled_from(NEXT))
def test_whatever_comes_next_nothing_shown_is_taken_back(fragments: list[str], continuation: str) -> None:
    text = "".join(fragments)
    shown = CitationStream(FIVE).feed(text)
    assert resolve(text + continuation)[0].startswith(shown)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["가 ", "나다", "word ", "Paris", ". ", "[1]", "[9]", "[2, 7]", "【5】", "[0]"]), max_size=20
    )
)
def test_every_marker_shown_exists_and_every_cited_number_is_shown(fragments: list[str]) -> None:
    shown, cited, dropped = resolve("".join(fragments))
    numbers = [int(n) for n in re.findall(r"\[(\d+)\]", shown)]
    assert [*dict.fromkeys(numbers)] == [*range(1, len(cited) + 1)]  # footnotes count up as they appear
    assert len(set(cited)) == len(cited) and all(1 <= n <= 5 for n in cited)
    assert dropped == sum(fragment in ("[9]", "[0]", "[2, 7]") for fragment in fragments)


def test_without_markers_keeps_code() -> None:
    assert without_markers("올랐다[1][2]. `a[1]` [3]") == "올랐다. `a[1]`"


def test_statements_keep_the_footnote_after_the_full_stop() -> None:
    found = cited_statements("환율이 올랐다.[1] 금리는 내렸다[2]. 그 밖의 말이다.\n```\nx[3]\n```")
    assert found == [("환율이 올랐다.", frozenset({1})), ("금리는 내렸다.", frozenset({2}))]


def test_quoted_sentence_is_highlighted_despite_line_breaks_and_markdown(analyzer: Analyzer) -> None:
    text = "첫 문장이다. **기준금리**는\n연 3.5%로 동결되었다. 셋째 문장이다."
    (citation,) = make_citations("기준금리는 연 3.5%로 동결되었다[1].", evidence_of(text), (1,), analyzer=analyzer)
    assert [text[a:b] for a, b in citation.highlights] == ["기준금리**는\n연 3.5%로 동결되었다."]


def test_paraphrase_is_highlighted_at_the_closest_sentence(analyzer: Analyzer) -> None:
    text = "회사는 1998년에 세워졌다. 본사는 부산광역시 해운대구에 있다. 직원은 40명이다."
    (citation,) = make_citations(
        "이 회사의 본사 위치는 부산 해운대구입니다[1].", evidence_of(text), (1,), analyzer=analyzer
    )
    assert [text[a:b] for a, b in citation.highlights] == ["본사는 부산광역시 해운대구에 있다."]


def test_sentence_that_the_passage_does_not_carry_is_not_highlighted(analyzer: Analyzer) -> None:
    passages = evidence_of("회사는 1998년에 세워졌다.", "직원은 40명이다.")
    citations = make_citations("달의 뒷면은 보이지 않는다[1].", passages, (2,), analyzer=analyzer)
    assert [(c.n, c.evidence.chunk_id, c.highlights) for c in citations] == [(1, "c2", ())]


def test_highlights_are_ordered_and_merged(analyzer: Analyzer) -> None:
    text = "가장 먼저 신청한다. 그다음 서류를 낸다. 마지막에 결과를 받는다."
    answer = "마지막에 결과를 받는다[1]. 가장 먼저 신청한다[1]. 가장 먼저 신청한다[1]."
    (citation,) = make_citations(answer, evidence_of(text), (1,), analyzer=analyzer)
    assert [text[a:b] for a, b in citation.highlights] == ["가장 먼저 신청한다.", "마지막에 결과를 받는다."]
