"""What holds for the chunks of any document: built by chance, and read from a file of every format."""

from __future__ import annotations

import itertools
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from email.message import EmailMessage
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.chunker import chunk
from ingest.readers import read_bytes_as
from ingest.readers.builder import DocumentBuilder
from knowledge.embedding.base import clean
from knowledge.embedding.spans import split_at_tokens
from knowledge.embedding.tokenizer import Tokenizer
from knowledge.embedding.weights import Weights, bundled_weights_path
from knowledge.types import Block, Chunk, ParsedDocument, Place
from tests.ingest.test_hwp import hwp_rules, hwpx_rules
from tests.ingest.test_office import book, deck, open_document, paragraph, word, workbook

FIXTURES = Path(__file__).parents[1] / "fixtures"
DOCS = Path(__file__).parents[2] / "knowledge" / "docs"
RULE = re.compile(r"\|(?: *:?-{2,}:? *\|)+")

CountTokens = Callable[[str], int]


def count_words(text: str) -> int:
    """A tokenizer for tests: pieces of up to four characters of every word."""
    return sum(-(-len(word) // 4) for word in re.findall(r"\S+", text))


@pytest.fixture(scope="module")
def count_e5() -> CountTokens:
    tokenizer = Tokenizer(Weights(bundled_weights_path()).vocabulary())
    return lambda text: len(tokenizer.tokenize(clean(text))) if text else 0


def chunks_of(document: ParsedDocument, max_tokens: int, count: CountTokens = count_words) -> list[Chunk]:
    return chunk(
        document,
        count_tokens=count,
        split_at_tokens=lambda text, tokens: split_at_tokens(text, tokens, count),
        max_tokens=max_tokens,
    )


def lines_of(document: ParsedDocument, block: Block) -> list[tuple[int, str]]:
    """Where each line of the block that is not blank begins, and its words."""
    lines, at = [], block.start
    for line in document.text[block.start : block.end].split("\n"):
        if line.strip():
            lines.append((at + len(line) - len(line.lstrip()), line.strip()))
        at += len(line) + 1
    return lines


def rule_of(document: ParsedDocument, block: Block) -> int | None:
    """Which line of the table is the rule under its header row."""
    lines = lines_of(document, block) if block.kind == "table" else []
    return next((at for at in (1, 2) if at < len(lines) and RULE.fullmatch(lines[at][1])), None)


def header_due(document: ParsedDocument, start: int, max_tokens: int, count: CountTokens) -> str:
    """The header row a chunk that begins at `start` has to carry."""
    block = document.blocks[bisect_right([block.start for block in document.blocks], start) - 1]
    rule = rule_of(document, block)
    if rule is None:
        return ""
    lines = lines_of(document, block)
    header = lines[rule - 1][1]
    below = start > lines[rule][0]
    return header if below and count(header) <= max_tokens / 2 and any(map(str.isalnum, header)) else ""


def assert_sound(document: ParsedDocument, max_tokens: int, count: CountTokens = count_words) -> list[Chunk]:
    """Every promise about chunks; the chunks."""
    chunks = chunks_of(document, max_tokens, count)
    assert chunks == chunks_of(document, max_tokens, count)
    assert [piece.ordinal for piece in chunks] == list(range(len(chunks)))
    assert all(first.end <= second.start for first, second in pairwise(chunks))
    for piece in chunks:
        assert piece.text == document.text[piece.start : piece.end] == piece.text.strip() != ""
        tokens = count(piece.text) + count(piece.table_header)
        assert tokens <= max_tokens or len(piece.text) == 1
        assert len(piece.text) <= 32 * max_tokens  # blank lines count nothing
        assert piece.table_header == header_due(document, piece.start, max_tokens, count)
        assert_one_place(document, piece, count)
    assert_complete(document, chunks)
    return chunks


def assert_one_place(document: ParsedDocument, piece: Chunk, count: CountTokens) -> None:
    """A chunk is on one page, slide or sheet, under one heading of the first level; a row of prose is alone."""
    inside = [block for block in document.blocks if block.start < piece.end and piece.start < block.end]
    assert {replace(block.place, rows=None) for block in inside} == {replace(piece.place, rows=None)}
    rows = [block.place.rows for block in inside if block.place.rows]
    assert piece.place.rows == ((rows[0][0], rows[-1][1]) if rows else None)
    headings = [block.heading for block in inside]
    above = list(itertools.takewhile(lambda block: not block.heading, inside))
    if piece.start == 0 and sum(count(document.text[block.start : block.end]) for block in above) < 20:
        headings = headings[len(above) :] or [()]  # a title that is no heading
    assert piece.heading == headings[0]
    assert len({heading[:1] for heading in headings}) == 1
    assert len(inside) == 1 or all(block.kind != "row" for block in inside)


def assert_complete(document: ParsedDocument, chunks: list[Chunk]) -> None:
    """All of every block is in a chunk but white space, and a table's rule where the header row fills a chunk."""
    covered = bytearray(len(document.text))
    for piece in chunks:
        covered[piece.start : piece.end] = b"\1" * (piece.end - piece.start)
    for block in document.blocks:
        rule = rule_of(document, block)
        if rule is not None:
            start, line = lines_of(document, block)[rule]
            assert not any(piece.start == start for piece in chunks)
            covered[start : start + len(line)] = b"\1" * len(line)
        for position in range(block.start, block.end):
            assert covered[position] or document.text[position].isspace()


# ---- documents built by chance ----

SIGNS = [
    "다. ",
    "요\n",
    "1. ",
    "- ",
    "①",
    "제3조 ",
    "e.g. ",
    "3.5% ",
    "1,000",
    "e\u0301",
    "😀",
    "👩\u200d👩\u200d👧",
    "𝒳",
]
BLANKS = ["\u200b", "\ufeff", "\u3000", "\t", unicodedata.normalize("NFD", "각하")]
LETTERS = st.sampled_from([*"가나다라 abc .,!?12\"'()|-·", *SIGNS, *BLANKS])
WORDS = st.lists(LETTERS, max_size=25).map("".join)
LONG_WORD = st.tuples(
    st.sampled_from(["가", "x", "ab-", "😀", "\u1112\u1161", "e\u0301", "ㅋ"]), st.integers(1, 120)
).map(lambda pair: pair[0] * pair[1])
TEXT = st.one_of(WORDS, LONG_WORD, st.lists(WORDS, max_size=4).map("\n".join), st.text(max_size=40))
CELL = st.one_of(WORDS, LONG_WORD).map(lambda cell: " ".join(cell.replace("|", "/").split()))


@st.composite
def tables(draw: st.DrawFn) -> str:
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=9))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    caption = draw(st.sampled_from([0, 0, 1]))
    if draw(st.booleans()):
        lines.insert(1 + caption, "|" + draw(st.sampled_from([" --- |", " :---: |"])) * width)
    return "\n".join(lines)


@st.composite
def documents(draw: st.DrawFn) -> ParsedDocument:
    builder = DocumentBuilder()
    page = 1
    for number in range(draw(st.integers(1, 12))):
        page += draw(st.sampled_from([0, 0, 0, 1]))
        place = Place(page=page) if draw(st.booleans()) else Place(slide=page)
        kind = draw(st.sampled_from(["heading", "paragraph", "list", "table", "table", "code", "row", "line"]))
        if kind == "heading":
            builder.heading(draw(st.integers(1, 3)), draw(st.sampled_from(["총칙", "휴가", "Scope"])), place=place)
        elif kind == "table":
            builder.block(draw(tables()), kind="table", place=place)
        elif kind == "line":
            builder.block(draw(CELL), kind="table", place=Place(sheet="표", rows=(number, number)), separator="\n")
        elif kind == "row":
            builder.block(draw(TEXT), kind="row", place=Place(rows=(number, number)), heading=("질문",))
        else:
            builder.block(draw(TEXT), kind=kind, place=place)
    builder.block("끝.")
    return builder.build(name="a")


@given(documents(), st.integers(4, 60))
@settings(max_examples=150, deadline=None)
def test_chunks_of_any_document(document: ParsedDocument, max_tokens: int) -> None:
    assert_sound(document, max_tokens)


@given(documents(), st.sampled_from([16, 40, 256]))
@settings(max_examples=60, deadline=None)
def test_chunks_of_any_document_in_the_models_own_tokens(
    count_e5: CountTokens, document: ParsedDocument, max_tokens: int
) -> None:
    assert_sound(document, max_tokens, count_e5)


# ---- files of every format ----

PROSE = "연차 휴가는 1년에 15일이며, 한도는 1,000만 원(3.5%)이다. 신청은 사흘 전까지 한다. " * 12
ROWS = [("항목", "금액", "비고"), *((f"항목 {number}", f"{number},000원", "e.g. (주)각주") for number in range(60))]
MARKDOWN = (
    f"# 규정\n\n## 제1조\n\n{PROSE}\n\n- 하나\n- 둘\n\n"
    + "\n".join(f"| {' | '.join(row)} |" + ("\n|---|:---:|---|" if row is ROWS[0] else "") for row in ROWS)
    + f"\n\n```\n{'x = 1  # 값' * 3}\n```\n\n## 제2조\n\n짧다.\n"
)
HTML = (
    f"<html><head><title>규정</title></head><body><h1>규정</h1><p>{PROSE}</p><table><caption>표 1</caption>"
    + "".join(
        f"<tr>{''.join(f'<t{tag}>{cell}' for cell in row)}</tr>" for row, tag in zip(ROWS, "h" + "d" * 60, strict=True)
    )
    + "</table><ul><li>하나<li>둘</ul></body></html>"
)


def _mail() -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"] = "kim@example.org", "회의록 공유"
    message.set_content(PROSE + "\n\n끝.\n")
    return message.as_bytes()


def _word() -> bytes:
    cells = "".join("<w:tr>" + "".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) + "</w:tr>" for row in ROWS)
    return word(paragraph(PROSE) + f"<w:tbl>{cells}</w:tbl>" + paragraph("끝."))


def _cells(row: tuple[str, ...]) -> str:
    cells = "".join(f"<table:table-cell><text:p>{cell}</text:p></table:table-cell>" for cell in row)
    return f"<table:table-row>{cells}</table:table-row>"


TABLE = f'<table:table table:name="표">{"".join(map(_cells, ROWS))}</table:table>'
SLIDE = f'<draw:page><draw:frame svg:y="1cm"><draw:text-box><text:p>{PROSE}</text:p></draw:text-box></draw:frame></draw:page>'
SAMPLES: dict[str, Callable[[], bytes]] = {
    "a.md": MARKDOWN.encode,
    "a.txt": lambda: f"제1장 총칙\n\n{PROSE}\n\n제1조(목적) {PROSE}\n".encode(),
    "a.csv": lambda: "\n".join(",".join(f'"{cell}"' for cell in row) for row in ROWS).encode(),
    "a.tsv": lambda: "\n".join("\t".join(row) for row in ROWS).encode("cp949"),
    "a.html": HTML.encode,
    "a.eml": _mail,
    "a.hwp": hwp_rules,
    "a.hwpx": hwpx_rules,
    "a.docx": _word,
    "a.pptx": deck,
    "a.xlsx": workbook,
    "a.odt": lambda: open_document("text", f"<text:p>{PROSE}</text:p>{TABLE}<text:p>끝.</text:p>"),
    "a.ods": lambda: open_document("spreadsheet", TABLE),
    "a.odp": lambda: open_document("presentation", SLIDE * 2),
    "a.epub": lambda: book({"a.xhtml": HTML, "b.xhtml": f"<html><body><h1>2장</h1><p>{PROSE}</p></body></html>"}),
    "a.pdf": lambda: (FIXTURES / "korean.pdf").read_bytes(),
    "handbook.docx": lambda: (FIXTURES / "office" / "handbook.docx").read_bytes(),
    "leave.odt": lambda: (FIXTURES / "office" / "leave.odt").read_bytes(),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_chunks_of_a_file_of_every_format(name: str, count_e5: CountTokens) -> None:
    document = read_bytes_as(SAMPLES[name](), name=name)
    for max_tokens in (24, 64, 256):
        assert_sound(document, max_tokens, count_e5)


@pytest.mark.parametrize("name", ["a.md", "a.html", "a.docx", "a.odt", "a.epub"])
def test_rows_of_a_long_table_are_never_without_their_header(name: str, count_e5: CountTokens) -> None:
    document = read_bytes_as(SAMPLES[name](), name=name)
    header = "| 항목 | 금액 | 비고 |"
    with_rows = [piece for piece in assert_sound(document, 128, count_e5) if re.search(r"\| 항목 \d", piece.text)]
    assert len(with_rows) > 5
    for piece in with_rows:
        assert header == piece.table_header or header in piece.text.split("| 항목 0")[0]


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")) + sorted(DOCS.glob("*.csv")), ids=lambda path: path.name)
def test_chunks_of_the_documents_that_ship_with_the_app(path: Path, count_e5: CountTokens) -> None:
    document = read_bytes_as(path.read_bytes(), name=path.name)
    chunks = assert_sound(document, 256, count_e5)
    assert not any(piece.text.endswith(("\n-", "\n1.", "---|", "--- |")) for piece in chunks)


# ---- hostile text ----


@pytest.mark.parametrize(
    "pattern",
    [
        "가나다라",
        "a",
        "QmFzZTY0+/",
        "\n",
        "가\n",
        "😀",
        "👩\u200d👩\u200d👧",
        "e\u0301\u0300\u0302",
        "ㅋ",
        "\u200b",
        ". ",
        "|",
        "- ",
        "| --- |\n",
    ],
)
@pytest.mark.parametrize("kind", ["paragraph", "table", "code"])
def test_hostile_text_is_cut_in_linear_work(pattern: str, kind: str, count_e5: CountTokens) -> None:
    """100,000 characters; quadratic work would take minutes, so finishing is the assertion."""
    text = "가" + pattern * (100_000 // len(pattern)) + "나"
    document = ParsedDocument("a", text, (Block(0, len(text), kind=kind),))
    chunks = chunks_of(document, 256, count_e5)
    assert chunks[0].start == 0 and chunks[-1].end == len(text)
    assert all(count_e5(piece.text) + count_e5(piece.table_header) <= 256 for piece in chunks)
    assert all(len(piece.text) <= 32 * 256 for piece in chunks)
