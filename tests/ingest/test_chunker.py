"""Chunks: slices of the text, whole under one heading, balanced, within the token limit."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.chunker import chunk
from ingest.readers.builder import DocumentBuilder
from ingest.readers.markdown import read_markdown
from ingest.readers.plain import read_plain
from ingest.readers.table import read_table
from knowledge.embedding.spans import split_at_tokens
from knowledge.errors import ReadFailed
from knowledge.types import Block, Chunk, ParsedDocument, Place

RULE = re.compile(r"^\|(?: --- \|)+$", re.MULTILINE)


def count_words(text: str) -> int:
    """A tokenizer for tests: pieces of up to four characters of every word."""
    return sum(-(-len(word) // 4) for word in re.findall(r"\S+", text))


def chunks_of(document: ParsedDocument, max_tokens: int) -> list[Chunk]:
    return chunk(
        document,
        count_tokens=count_words,
        split_at_tokens=lambda text, tokens: split_at_tokens(text, tokens, count_words),
        max_tokens=max_tokens,
    )


def assert_sound(document: ParsedDocument, chunks: list[Chunk], max_tokens: int) -> None:
    assert [piece.ordinal for piece in chunks] == list(range(len(chunks)))
    for piece in chunks:
        assert piece.text == document.text[piece.start : piece.end] == piece.text.strip() != ""
        assert count_words(piece.text) <= max_tokens
    assert all(first.end <= second.start for first, second in pairwise(chunks))
    covered = bytearray(len(document.text))
    for piece in chunks:
        covered[piece.start : piece.end] = b"\1" * (piece.end - piece.start)
    for block in document.blocks:
        for rule in RULE.finditer(document.text, block.start, block.end):  # has no room beside a very long header
            covered[rule.start() : rule.end()] = b"\1" * (rule.end() - rule.start())
        for position in range(block.start, block.end):
            assert covered[position] or document.text[position].isspace()


LINE = st.text(st.sampled_from("가나다라마 abcde.,!?12\"'()"), max_size=60)
MARKED = st.tuples(
    st.sampled_from(["", "# ", "## ", "### ", "- ", "1. ", "    ", "> ", "```\n", "| a | b |\n|--|--|\n| "]), LINE
)


@given(st.lists(MARKED.map("".join), max_size=25).map("\n\n".join), st.integers(4, 40))
@settings(max_examples=150, deadline=None)
def test_markdown_chunks_are_slices_that_cover_every_block(content: str, max_tokens: int) -> None:
    try:
        document = read_markdown(content.encode(), name="a.md")
    except ReadFailed:
        return
    assert_sound(document, chunks_of(document, max_tokens), max_tokens)


@given(st.lists(st.lists(LINE, min_size=2, max_size=4), min_size=1, max_size=12), st.integers(4, 40))
@settings(max_examples=80, deadline=None)
def test_table_chunks_are_slices_that_cover_every_row(rows: list[list[str]], max_tokens: int) -> None:
    content = "\n".join("\t".join(cell.replace('"', "") for cell in row) for row in rows)
    try:
        document = read_table(content.encode(), name="a.tsv")
    except ReadFailed:
        return
    chunks = chunks_of(document, max_tokens)
    assert_sound(document, chunks, max_tokens)
    assert all(piece.place.rows for piece in chunks)


@given(st.text(max_size=400), st.integers(2, 40))
@settings(max_examples=80, deadline=None)
def test_text_chunks_cover_any_text(content: str, max_tokens: int) -> None:
    try:
        document = read_plain(content.encode("utf-8", "replace"), name="a.txt")
    except ReadFailed:
        return
    chunks = chunks_of(document, max(max_tokens, 4))
    assert_sound(document, chunks, max(max_tokens, 4))


def test_no_chunk_crosses_a_page_or_a_top_heading() -> None:
    builder = DocumentBuilder()
    for page in (1, 2):
        for title in ("하나", "둘"):
            builder.heading(1, title, place=Place(page=page))
            builder.block("짧은 글.", place=Place(page=page))
    chunks = chunks_of(builder.build(name="a.pdf"), 200)
    assert [(piece.heading, piece.place.page) for piece in chunks] == [
        (("하나",), 1),
        (("둘",), 1),
        (("하나",), 2),
        (("둘",), 2),
    ]


def test_small_sections_under_one_top_heading_share_a_chunk_with_their_headings() -> None:
    document = read_markdown("# 안내\n\n## 가\n\n짧다.\n\n## 나\n\n역시 짧다.\n".encode(), name="a.md")
    (only,) = chunks_of(document, 200)
    assert only.text == "짧다.\n\n나\n\n역시 짧다."
    assert only.heading == ("안내", "가")


def test_short_introduction_joins_its_own_section() -> None:
    long = "긴 문장이 여기에 이렇게 계속 이어진다. " * 3
    document = read_markdown(f"# T\n\n## A\n\n{long}\n\n## B\n\n머리말.\n\n### B1\n\n{long}".encode(), name="a.md")
    assert [piece.heading for piece in chunks_of(document, 60)] == [("T", "A"), ("T", "B")]


def test_sections_that_are_long_enough_stay_apart() -> None:
    text = "이 절은 혼자 서 있을 만큼 충분히 긴 글을 담고 있다. " * 2
    document = read_markdown(f"# T\n\n## A\n\n{text}\n\n## B\n\n{text}".encode(), name="a.md")
    assert [piece.heading for piece in chunks_of(document, 200)] == [("T", "A"), ("T", "B")]


def test_paragraph_a_little_too_long_is_cut_in_the_middle_between_sentences() -> None:
    text = " ".join(f"문장 번호 {number:02} 이다." for number in range(13))  # 52 tokens
    chunks = chunks_of(read_plain(text.encode(), name="a.txt"), 50)
    assert [count_words(piece.text) for piece in chunks] in ([24, 28], [28, 24])
    assert all(piece.text.endswith("이다.") for piece in chunks)


def test_cuts_fall_between_paragraphs_where_they_can() -> None:
    paragraphs = [" ".join(["가나다 라마바."] * count) for count in (9, 7, 9)]
    chunks = chunks_of(read_plain("\n\n".join(paragraphs).encode(), name="a.txt"), 34)
    assert [piece.text for piece in chunks] == ["\n\n".join(paragraphs[:2]), paragraphs[2]]


def test_sentence_longer_than_a_chunk_is_cut_in_even_parts() -> None:
    text = " ".join(["낱말"] * 110)
    chunks = chunks_of(read_plain(text.encode(), name="a.txt"), 50)
    assert [count_words(piece.text) for piece in chunks] == [37, 37, 36]


def test_word_longer_than_a_chunk_is_cut() -> None:
    document = read_plain(b"x" * 10_000, name="a.txt")
    chunks = chunks_of(document, 64)
    assert_sound(document, chunks, 64)
    assert "".join(piece.text for piece in chunks) == document.text


def test_narrow_rows_are_grouped_and_their_range_is_told() -> None:
    content = "month,price\n" + "\n".join(f"2024-{n:02},{n}00" for n in range(1, 13))
    chunks = chunks_of(read_table(content.encode(), name="a.csv"), 60)
    assert [piece.place.rows for piece in chunks] == [(2, 7), (8, 13)]
    assert chunks[1].text.startswith("month: 2024-07 · price: 700\nmonth: 2024-08")


def test_rows_of_prose_are_never_put_together() -> None:
    answer = "휴가는 이렇게 저렇게 신청하고 기다린다. " * 6
    content = "q,a\n" + "\n".join(f"질문 {n},{answer}" for n in range(3)) + "\n짧은 질문,짧다."
    chunks = chunks_of(read_table(content.encode(), name="a.csv"), 200)
    assert [(piece.heading, piece.place.rows) for piece in chunks] == [
        (("질문 0",), (2, 2)),
        (("질문 1",), (3, 3)),
        (("질문 2",), (4, 4)),
        (("짧은 질문",), (5, 5)),
    ]


def test_long_table_is_cut_between_rows() -> None:
    rows = "\n".join(f"| 이름 {n}. 값 | {n} |" for n in range(40))
    document = read_markdown(f"| a | b |\n|---|---|\n{rows}".encode(), name="a.md")
    chunks = chunks_of(document, 60)
    assert len(chunks) > 3
    assert all(line.startswith("|") and line.endswith("|") for piece in chunks for line in piece.text.split("\n"))


def test_every_chunk_of_a_table_has_its_header_row() -> None:
    rows = "\n".join(f"| 항목 {n} | {n},000원 |" for n in range(40))
    content = f"소개 글이다.\n\n| 항목 | 금액 |\n|---|:--:|\n{rows}\n\n맺는 글이다."
    first, *others = chunks_of(read_markdown(content.encode(), name="a.md"), 60)
    assert first.text.startswith("소개 글이다.\n\n| 항목 | 금액 |\n| --- | --- |\n| 항목 0 |")
    assert first.table_header == ""
    assert len(others) > 3
    assert all(piece.table_header == "| 항목 | 금액 |" and piece.text.startswith("| 항목 ") for piece in others)
    assert all(count_words(piece.text) + count_words(piece.table_header) <= 60 for piece in others)


def test_header_row_below_a_caption_is_found() -> None:
    builder = DocumentBuilder()
    builder.block("| 표 1 |\n| a | b |\n| --- | --- |\n" + "\n".join(f"| {n} | x |" for n in range(20)), kind="table")
    chunks = chunks_of(builder.build(name="a.html"), 30)
    assert [piece.table_header for piece in chunks] == ["", *["| a | b |"] * (len(chunks) - 1)]


def test_table_without_a_rule_has_no_header_row() -> None:
    builder = DocumentBuilder()
    builder.block("\n".join(f"| {n} | - |" for n in range(40)), kind="table")
    chunks = chunks_of(builder.build(name="a.docx"), 30)
    assert len(chunks) > 3
    assert not any(piece.table_header for piece in chunks)


def test_header_row_that_would_fill_the_chunks_is_not_repeated() -> None:
    header = f"| {'이름 ' * 30}| 값 |"
    rows = "\n".join(f"| 행 {n} | {n} |" for n in range(20))
    document = read_markdown(f"{header}\n|---|---|\n{rows}".encode(), name="a.md")
    chunks = chunks_of(document, 30)
    assert not any(piece.table_header for piece in chunks)
    assert not any(piece.text.startswith("| ---") for piece in chunks)
    assert_sound(document, chunks, 30)


def test_row_longer_than_a_chunk_keeps_the_header_in_every_part() -> None:
    row = "| 설명 | " + "길게 이어지는 설명이다. " * 30 + "|"
    document = read_markdown(f"| 이름 | 뜻 |\n|---|---|\n| 가 | 나 |\n{row}".encode(), name="a.md")
    chunks = chunks_of(document, 40)
    assert len(chunks) > 3
    assert all(piece.table_header == "| 이름 | 뜻 |" for piece in chunks[1:])
    assert all(count_words(piece.text) + 5 <= 40 for piece in chunks[1:])


def test_lead_stays_with_the_list_it_announces() -> None:
    text = "가나다 라마바. " * 9
    document = read_markdown(
        f"{text}\n\n준비물은 다음과 같다.\n\n- 하나 둘\n- 셋 넷 다섯\n- 여섯".encode(), name="a.md"
    )
    chunks = chunks_of(document, 24)
    assert chunks[-1].text.startswith("준비물은 다음과 같다.\n\n- 하나")


def test_cuts_fall_between_lines_rather_than_inside_one() -> None:
    lines = [f"({n}) 첫 문장이 여기에 있다. 둘째 문장은 조금 더 길게 이어진다." for n in range(1, 7)]
    builder = DocumentBuilder()
    builder.block("\n".join(lines))
    chunks = chunks_of(builder.build(name="a.txt"), 32)
    assert len(chunks) > 2
    assert all(piece.text.startswith("(") for piece in chunks)


def test_title_that_is_no_heading_joins_the_first_section() -> None:
    builder = DocumentBuilder()
    builder.block("취업규칙")
    builder.heading(1, "제1장 총칙")
    builder.block("이 규칙은 근로조건을 정한다. " * 6)
    (only,) = chunks_of(builder.build(name="a.docx"), 100)
    assert only.text.startswith("취업규칙\n\n제1장 총칙\n\n이 규칙은")
    assert only.heading == ("제1장 총칙",)


def test_blank_lines_without_end_are_in_no_chunk() -> None:
    document = ParsedDocument("a", "앞\n" + "\n" * 100_000 + "뒤", (Block(0, 100_003),))
    assert [piece.text for piece in chunks_of(document, 64)] == ["앞", "뒤"]


def test_code_is_cut_between_lines() -> None:
    lines = [f"value_{n} = call(a, b). c" for n in range(40)]
    document = read_markdown(("```python\n" + "\n".join(lines) + "\n```").encode(), name="a.md")
    chunked = [line.strip() for piece in chunks_of(document, 60) for line in piece.text.split("\n")]
    assert chunked == ["```python", *lines, "```"]


def test_a_limit_below_one_token_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        chunks_of(read_plain(b"a", name="a.txt"), 0)
