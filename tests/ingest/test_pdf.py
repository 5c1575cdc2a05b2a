"""PDF: reading order, tables, wrapped lines, running lines, named failures, hostile files and text recognition."""

from __future__ import annotations

import io
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont
from pypdf import PdfReader, PdfWriter
from pypdf.generic import NameObject

from ingest.readers import ocr, read
from ingest.readers.pdf import read_pdf
from ingest.readers.pdf_joints import Joints
from ingest.readers.pdf_layout import paragraphs, without_running_lines
from ingest.readers.pdf_model import Line
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument
from tests.ingest.pdf_writer import FONT_OBJECT, Page, assemble, make_pdf, width_of

FIXTURES = Path(__file__).parents[1] / "fixtures"
DOCS = Path(__file__).parents[2] / "knowledge" / "docs" / "data"
MAX_BYTES = 10_000_000
NOUNS = "휴가 급여 계약 운임 시장 농장 창고 회의 보고 예산 점검 교육 출장 채용 안전 품질 수출 보험 환율 비용".split()
PARTICLES = "은 는 이 가 을 를 에 의 로 와".split()


def blocks_of(document: ParsedDocument) -> list[tuple[str, str]]:
    return [(block.kind, document.text[block.start : block.end]) for block in document.blocks]


def texts(document: ParsedDocument) -> list[str]:
    return [text for _, text in blocks_of(document)]


def fixture(name: str) -> ParsedDocument:
    return read(FIXTURES / name, max_bytes=MAX_BYTES)


def failure(data: bytes, *, name: str = "a.pdf") -> ReadFailed:
    with pytest.raises(ReadFailed) as caught:
        read_pdf(data, name=name)
    assert name in str(caught.value)
    assert caught.value.hint
    return caught.value


def prose(seed: int, lines: int, *, syllables: int = 20) -> list[str]:
    """Full lines of different words; `seed` makes them differ from other prose."""
    result = []
    for number in range(lines):
        words, count = [], 0
        while count < syllables:
            at = seed * 131 + number * 17 + count * 7
            words.append(NOUNS[at % len(NOUNS)] + NOUNS[(at // 3 + number) % len(NOUNS)] + PARTICLES[at % 10])
            count += len(words[-1]) + 1
        result.append(" ".join(words)[:syllables].rstrip().ljust(syllables, "다"))
    return result


# ---- A real document ----


def test_text_has_pages_headings_and_whole_sentences() -> None:
    document = fixture("korean.pdf")
    assert document.title == "휴가 규정"
    assert [block.place.page for block in document.blocks] == [1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5]
    blocks = texts(document)
    assert document.blocks[2].heading == ("휴가 규정", "제2장 연차 휴가", "제3조(일수)")
    assert "전체 일수는 25일을 넘지 않는다. 사용하지 않은 휴가는 이듬해 1월 31일까지" in blocks[2]
    assert blocks[3] == (
        "1. 반차는 오전 또는 오후 4시간으로 한다.\n2. 반반차는 2시간 단위로 신청한다.\n3. 신청은 3일 전까지 팀장의 승인을 받는다."
    )
    assert "A carry-over request needs the approval" in blocks[4]


def test_sentence_over_a_page_break_stays_on_the_page_it_begins_on() -> None:
    blocks = texts(fixture("korean.pdf"))
    assert blocks[11].endswith("직원은 신청서를 내고 담당자의 확인을 받아야 한다.")
    assert blocks[12].startswith("담당자는 접수한 날부터 9일 안에")


def test_running_header_and_page_numbers_are_dropped() -> None:
    document = fixture("korean.pdf")
    assert "2024년판" not in document.text
    assert "- 3 -" not in document.text


def test_tables_of_a_word_processor_are_rows_under_their_names() -> None:
    document = read(DOCS / "maize_import_cost_guide.ko.pdf", max_bytes=MAX_BYTES)
    tables = [text for kind, text in blocks_of(document) if kind == "table"]
    assert len(tables) == 2
    assert tables[0].startswith("| 값 | 단위 | 확인하는 곳 | 예시 |\n| --- | --- | --- | --- |\n| 선물 가격 |")
    assert "| 환율 | 1,380원에서 1,330원으로 하락 | −12,542 | −3.4% |" in tables[1]
    document = read(DOCS / "reading_a_freight_quote.en.pdf", max_bytes=MAX_BYTES)
    tables = [text for kind, text in blocks_of(document) if kind == "table"]
    assert "| 1 SB US GULF | one safe berth in the US Gulf |" in tables[0]
    assert "| Total | 55.60 | 76,728 |" in tables[1]


def test_justified_columns_are_read_one_after_the_other_in_whole_words() -> None:
    document = fixture("two_columns.pdf")
    assert document.title == "곡물 수입 가격의 구성"
    blocks = texts(document)
    assert blocks[0].startswith("요약: ")
    assert blocks[0].endswith("이 10센트가 베이시스 변동에서 온 손실입니다.")
    assert blocks[2] == (
        "환율이 떨어지면(원화 강세) 달러 가격이 같은 옥수수의 수입 가격은 원화로 내려갑니다. 반대로 환율이 오르면(원화 약세) "
        "달러 가격이 그대로여도 옥수수의 원화 수입 원가는 올라갑니다. 여기서 환율은 1달러를 사는 데 필요한 원화, 곧 "
        "원/달러 환율을 말합니다."
    )
    headings = [block.heading[-1] for block in document.blocks]
    assert headings == ["곡물 수입 가격의 구성"] + ["1. 배경"] * 4 + ["2. 비용"] * (len(headings) - 5)
    assert all(kind == "paragraph" for kind, _ in blocks_of(document))


def test_numbers_that_end_below_each_other_are_no_part_of_the_words_beside_them() -> None:
    """A spreadsheet that is printed without rules; the same small gap inside a line of prose is typography."""
    page = Page()
    for row, number in enumerate((1, 9, 10, 250)):
        number_end, y = 120, 700 - row * 15
        page.text(number_end - width_of(str(number), 10), y, str(number))
        page.text(number_end + 2, y, "모니터")
        page.text(300, y, "새 것 두 대")
        y -= 200
        page.text(60, y, str(number))
        page.text(60 + width_of(str(number), 10) + 2, y, "개월 동안 그대로 둔다")
    text = read_pdf(make_pdf(page), name="a.pdf").text
    assert [word in text for word in ("1 모니터", "9 모니터", "10 모니터", "250 모니터")] == [True] * 4
    assert [word in text for word in ("9개월 동안", "10개월 동안", "250개월 동안")] == [True] * 3


# ---- Reading order ----


@settings(max_examples=15, deadline=None)
@given(left=st.integers(6, 30), right=st.integers(1, 30), seed=st.integers(0, 1000), wide=st.integers(0, 3))
def test_columns_are_read_in_order_below_what_is_wide(left: int, right: int, seed: int, wide: int) -> None:
    page = Page()
    above = prose(seed, wide, syllables=48)
    columns = prose(seed + 1, left), prose(seed + 2, right)
    page.lines(50, 780, above)
    # The content stream goes line by line over both columns, as some programs write it.
    for number in range(max(left, right)):
        for x, column in zip((50, 310), columns, strict=True):
            if number < len(column):
                page.text(x, 700 - number * 15, column[number])
    assume(right >= 4 or left >= 8)  # fewer lines may be anything
    document = read_pdf(make_pdf(page), name="a.pdf")
    expected = "".join([*above, *columns[0], *columns[1]])
    assert "".join(document.text.split()) == "".join(expected.split())
    assert all(kind == "paragraph" for kind, _ in blocks_of(document))


def test_labels_and_values_side_by_side_are_read_row_by_row() -> None:
    page = Page()
    pairs = [
        ("성명", "홍길동"),
        ("소속", "인사팀"),
        ("연락처", "내선 이천일"),
        ("직급", "과장"),
        ("근무지", "서울 본사"),
    ]
    for number, (label, value) in enumerate(pairs):
        page.text(50, 700 - 20 * number, label)
        page.text(300, 700 - 20 * number, value)
    words = read_pdf(make_pdf(page), name="a.pdf").text.split()
    assert words == " ".join(f"{label} {value}" for label, value in pairs).split()


@pytest.mark.parametrize(
    ("rotate", "matrix", "place"),
    [(90, "0 1 -1 0", lambda x, y: (y, x)), (270, "0 -1 1 0", lambda x, y: (595 - y, 842 - x))],
)
def test_pages_turned_sideways_are_read_as_they_are_shown(rotate: int, matrix: str, place) -> None:
    lines = prose(3, 6, syllables=40)
    page = Page(rotate=rotate)
    for number, words in enumerate(lines):
        x, y = place(60, 100 + number * 15)
        page.text(x, y, words, matrix=matrix)
    document = read_pdf(make_pdf(page), name="a.pdf")
    assert "".join(document.text.split()) == "".join("".join(lines).split())


# ---- Tables ----


@settings(max_examples=15, deadline=None)
@given(
    cells=st.integers(2, 6).flatmap(
        lambda columns: st.lists(
            st.lists(st.sampled_from([*NOUNS, "1,200", "15%", "3년"]), min_size=columns, max_size=columns),
            min_size=2,
            max_size=12,
        )
    ),
    open_sides=st.booleans(),
)
def test_cells_between_rules_are_a_table(cells: list[list[str]], open_sides: bool) -> None:
    page = Page()
    page.lines(50, 800, prose(1, 2, syllables=45))
    xs = [50 + 80 * number for number in range(len(cells[0]) + 1)]
    ys = [750 - 22 * number for number in range(len(cells) + 1)]
    for x in xs[1:-1] if open_sides else xs:
        page.rule(x, ys[0], x, ys[-1])
    for y in ys:
        page.rule(xs[0], y, xs[-1], y)
    for row, line in enumerate(cells):
        for column, words in enumerate(line):
            page.text(xs[column] + 4, ys[row] - 15, words)
    page.lines(50, ys[-1] - 40, prose(2, 3, syllables=45))
    blocks = blocks_of(read_pdf(make_pdf(page), name="a.pdf"))
    assert [kind for kind, _ in blocks] == ["paragraph", "table", "paragraph"]
    rows = [line for line in blocks[1][1].split("\n") if not line.startswith("| ---")]
    assert rows == [f"| {' | '.join(line)} |" for line in cells]


def test_words_of_neighbouring_cells_that_stand_close_are_parted() -> None:
    page = Page()
    page.grid([50, 112, 158, 230], [700, 680, 660])
    for y, words in ((686, ["안전관리자명", "백소담양", "2044"]), (666, ["공장장대리인", "윤태산씨", "2001"])):
        page.text(51, y, " ".join(words))  # one string over three cells
    rows = read_pdf(make_pdf(page), name="a.pdf").text.split("\n")
    assert rows[0] == "| 안전관리자명 | 백소담양 | 2044 |"
    assert rows[-1] == "| 공장장대리인 | 윤태산씨 | 2001 |"


def test_cell_merged_downwards_stands_in_each_row_and_lines_of_a_cell_are_joined() -> None:
    page = Page()
    for x in (50, 150, 350):
        page.rule(x, 700, x, 600)
    for y in (700, 675, 600):
        page.rule(50, y, 350, y)
    page.rule(150, 640, 350, 640)
    for x, y, words in (
        (55, 682, "구분"),
        (155, 682, "금액"),
        (55, 640, "국내 출장"),
        (155, 660, "하루 70,000원이며"),
        (155, 646, "영수증을 붙인다"),
        (155, 620, "숙박 90,000원"),
    ):
        page.text(x, y, words)
    assert texts(read_pdf(make_pdf(page), name="a.pdf")) == [
        "| 구분 | 금액 |\n| 국내 출장 | 하루 70,000원이며 영수증을 붙인다 |\n| 국내 출장 | 숙박 90,000원 |"
    ]


def test_columns_that_line_up_are_a_table_without_rules() -> None:
    page = Page()
    page.lines(50, 780, prose(4, 3, syllables=45))
    rows = [("항목", "수량", "금액"), ("연필", "12", "3,000"), ("공책", "4", "8,000"), ("지우개", "7", "2,100")]
    for number, row in enumerate(rows):
        for x, words in zip((50, 200, 350), row, strict=True):
            page.text(x, 700 - 15 * number, words)
    blocks = blocks_of(read_pdf(make_pdf(page), name="a.pdf"))
    assert blocks[1] == (
        "table",
        "| 항목 | 수량 | 금액 |\n| --- | --- | --- |\n| 연필 | 12 | 3,000 |\n| 공책 | 4 | 8,000 |\n| 지우개 | 7 | 2,100 |",
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), lines=st.integers(4, 40), gap=st.floats(0, 2.5))
def test_prose_with_wide_spaces_or_a_frame_is_no_table(seed: int, lines: int, gap: float) -> None:
    page = Page()
    page.grid([40, 560], [800, 100])  # a frame around the page
    for number, words in enumerate(prose(seed, lines, syllables=24)):
        x = 50.0
        for word in words.split():
            page.text(x, 780 - 15 * number, word)
            x += width_of(word, 10) + 10 * gap + 3
    document = read_pdf(make_pdf(page), name="a.pdf")
    assert {kind for kind, _ in blocks_of(document)} == {"paragraph"}


def test_columns_of_text_with_a_rule_between_them_are_no_table() -> None:
    page = Page()
    page.rule(297, 800, 297, 300)
    for y in (800, 770, 300):
        page.rule(50, y, 545, y)
    left, right = prose(5, 28), prose(6, 28)
    page.text(60, 780, "곡물 소식")
    page.lines(60, 750, left)
    page.lines(310, 750, right)
    document = read_pdf(make_pdf(page), name="a.pdf")
    assert "".join(document.text.split()) == "".join("".join(["곡물 소식", *left, *right]).split())
    assert "|" not in document.text


# ---- Lines and paragraphs ----


def page_of(*lines: str, size: float = 0) -> list[Line]:
    """Lines of one page, the first two and last two of which may be running lines."""
    return [
        Line(text, size=size, edge=("t" if number < 2 else "") + ("b" if number >= len(lines) - 2 else ""))
        for number, text in enumerate(lines)
    ]


def kinds_and_texts(lines: list[Line], joints: Joints | None = None) -> list[tuple[str, str]]:
    return [(kind, line.text) for kind, line in paragraphs(lines, joints=joints or Joints([lines]))]


def test_totals_at_the_foot_of_pages_are_kept() -> None:
    pages = [
        page_of("머리글 하나", f"{n} 본문 {n}쪽의 첫 줄이다", f"둘째 {n * n}", f"합계 1,2{n * 7 % 5}0")
        for n in range(4)
    ]
    assert without_running_lines(pages) == [page[1:] for page in pages]


def test_page_numbers_in_running_lines_are_recognised() -> None:
    pages = [page_of(f"Chapter {n + 1}", f"Annual report 2024 | {n + 11} of 90", f"- {n + 9} -") for n in range(4)]
    assert without_running_lines(pages) == [page[:1] for page in pages]


def test_title_that_runs_on_over_the_pages_is_kept_once() -> None:
    first = [Line("휴가 규정 해설", size=20, edge="t"), Line("첫 쪽의 글이다.", size=10, edge="t")]
    others = [page_of("휴가 규정 해설", f"{word}에 관한 글이다.", size=9) for word in NOUNS[:4]]
    kept = without_running_lines([first, *others])
    assert kept == [first, *(page[1:] for page in others)]


def test_pages_that_all_say_the_same_are_kept() -> None:
    pages = []
    for _ in range(4):
        page = Page()
        page.text(50, 700, "이 쪽은 비워 둔다.")
        pages.append(page)
    assert texts(read_pdf(make_pdf(*pages), name="a.pdf")) == ["이 쪽은 비워 둔다."] * 4


def test_wrapped_lines_are_joined_and_hyphens_taken_out() -> None:
    lines = ["The committee discussed the imple-", "mentation of the well-known plan and", "agreed.", "Next item"]
    reaches = (0.95, 1.0, 0.2, 0.25)
    placed = [Line(text, reach) for text, reach in zip(lines, reaches, strict=True)]
    assert kinds_and_texts(placed) == [
        ("paragraph", "The committee discussed the implementation of the well-known plan and agreed."),
        ("paragraph", "Next item"),
    ]


def test_lines_that_keep_their_spaces_say_where_words_are_broken() -> None:
    wrapped = [
        "이 규정은 직원의 휴가에 관한 사",
        "항을 정하여 직원이 충분히 쉬고 ",
        "일할 수 있게 한다. 그리고 쉬는 ",
        "동안의 일은 다른 사람이 맡으며 맡",
        "은 일을 마치면 그 결과를 담당자에",
        "게 알린다.",
    ]
    lines = [Line(text) for text in wrapped]
    assert Joints([lines]).keeps_spaces
    assert kinds_and_texts(lines) == [("paragraph", "".join(wrapped))]


def test_particles_at_the_beginning_of_lines_say_that_words_are_broken() -> None:
    wrapped = [
        "옥수수의 수입 가격은 원화로 정하며 국내 시장",
        "에서는 달러 가격을 함께 본다. 환율이 크게 오르는 날",
        "에는 수입 가격을 다시 정하고 거래처에 알린다. 거래처",
        "는 사흘 안에 답한다. 답이 없으면 그대로 거래하고 국내",
        "시장에서는 다음 달부터 새 가격을 쓴다. 원화로 정한",
        "가격은 한 달 동안 바꾸지 않는다.",
    ]
    text = kinds_and_texts([Line(text) for text in wrapped])[0][1]
    for part in ("시장에서는 달러", "오르는 날에는 수입", "거래처는 사흘", "국내 시장에서는 다음", "정한 가격은"):
        assert part in text


def test_lines_wrapped_at_words_are_joined_with_spaces() -> None:
    wrapped = ["The quick brown fox jumps over the lazy dog", "and runs on into the wood", "where it sleeps."]
    assert kinds_and_texts([Line(text) for text in wrapped]) == [("paragraph", " ".join(wrapped))]
    wrapped = [f"직원은 휴가를 쓰려면 신청서를 {noun}에 내고" for noun in NOUNS[:8]]
    assert kinds_and_texts([Line(text) for text in wrapped]) == [("paragraph", " ".join(wrapped))]


def test_larger_gap_or_other_size_begins_a_paragraph() -> None:
    lines = [Line("첫 문단의 줄이 이어지고"), Line("여기서 이어진다", pitch=1.0), Line("새 문단이다", pitch=2.2)]
    assert [text for _, text in kinds_and_texts(lines)] == ["첫 문단의 줄이 이어지고 여기서 이어진다", "새 문단이다"]
    lines = [Line("커다란 제목이 한 줄을 차지하고", size=20), Line("본문은 작다", size=10)]
    assert len(kinds_and_texts(lines)) == 2


def test_rows_of_numbers_stay_lines_and_sentences_with_numbers_do_not() -> None:
    lines = ["Revenue 1,234 2,345 3,456", "Cost (200) (300) (400)"]
    assert kinds_and_texts([Line(text) for text in lines]) == [("table", "\n".join(lines))]
    assert kinds_and_texts([Line("325,000원으로 25,000원(약 7.1%) 내려갑니다. 6")])[0][0] == "paragraph"


# ---- Headings and titles ----


def test_large_words_are_headings_where_there_are_no_bookmarks() -> None:
    page = Page()
    page.text(50, 790, "출장비 지급 기준", size=20)
    page.text(50, 740, "첫째 묶음", size=14)
    page.lines(50, 715, prose(7, 5, syllables=45))
    page.text(50, 600, "둘째 묶음", size=14)
    page.lines(50, 575, prose(8, 5, syllables=45))
    document = read_pdf(make_pdf(page), name="a.pdf")
    assert document.title == "출장비 지급 기준"
    assert [block.heading for block in document.blocks] == [
        ("출장비 지급 기준", "첫째 묶음"),
        ("출장비 지급 기준", "둘째 묶음"),
    ]


def test_page_of_large_words_only_has_no_headings_by_size() -> None:
    page = Page()
    for number, words in enumerate(prose(9, 6, syllables=12)):
        page.text(50, 760 - 60 * number, words, size=28 if number % 2 else 14)
    document = read_pdf(make_pdf(page), name="a.pdf")
    assert all(block.heading == () for block in document.blocks)


def test_title_of_a_word_processor_is_not_taken(tmp_path: Path) -> None:
    writer = PdfWriter(clone_from=PdfReader(FIXTURES / "korean.pdf"))
    writer.add_metadata({"/Title": "Microsoft Word - 초안.docx"})
    writer.write(tmp_path / "규정집.pdf")
    assert read(tmp_path / "규정집.pdf", max_bytes=MAX_BYTES).title == "휴가 규정"


# ---- What the text is made of ----


def test_words_filled_into_a_form_are_read() -> None:
    drawn = b"q BT /F 10 Tf 2 4 Td <%s> Tj ET Q" % "홍길동".encode("utf-16-be").hex().encode()
    label = b"BT /F 10 Tf 50 700 Td <%s> Tj ET" % "성명".encode("utf-16-be").hex().encode()
    resources = b"/Resources<</Font<</F 3 0 R>>>>"
    data = assemble(
        [
            b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[6 0 R]>>>>",
            b"<</Type/Pages/Kids[4 0 R]/Count 1>>",
            FONT_OBJECT,
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 5 0 R/Annots[6 0 R]%s>>" % resources,
            b"<</Length %d>>stream\n%s\nendstream" % (len(label), label),
            b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/F 4/P 4 0 R/Rect[100 695 200 715]/AP<</N 7 0 R>>>>",
            b"<</Type/XObject/Subtype/Form/BBox[0 0 100 20]%s/Length %d>>stream\n%s\nendstream"
            % (resources, len(drawn), drawn),
        ]
    )
    assert read_pdf(data, name="a.pdf").text == "성명 홍길동"


def test_stamp_across_the_page_stands_apart_from_the_text() -> None:
    page = Page()
    page.lines(50, 780, ["직원은 휴가를 신청한다.", "팀장은 승인한다."])
    page.text(150, 720, "대외비 문서", size=40, matrix="0.7 0.7 -0.7 0.7")
    assert texts(read_pdf(make_pdf(page), name="a.pdf"))[-1] == "대외비 문서"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(alphabet="가나다라힣ㄱa1 .|-\u00a0\u00ad\u1100\u1161", max_size=30), min_size=1, max_size=12))
def test_offsets_point_at_the_blocks_whatever_the_text(lines: list[str]) -> None:
    page = Page()
    page.lines(50, 780, lines)
    try:
        document = read_pdf(make_pdf(page), name="a.pdf")
    except ReadFailed as exc:
        assert exc.reason in {"empty", "no_text"}
        return
    end = 0
    for block in document.blocks:
        assert end <= block.start < block.end
        assert document.text[block.start : block.end].strip()
        assert block.place.page == 1
        end = block.end
    assert "\u00ad" not in document.text
    assert "\x00" not in document.text


def test_decomposed_hangul_is_composed() -> None:
    page = Page()
    page.text(50, 700, "\u1112\u1172\u1100\u1161")
    assert "휴가" in read_pdf(make_pdf(page), name="a.pdf").text.replace(" ", "")


# ---- Named failures ----


def test_pdf_with_an_empty_password_is_read() -> None:
    assert fixture("encrypted_open.pdf").text == fixture("korean.pdf").text


@pytest.mark.parametrize(
    ("name", "reason"), [("encrypted.pdf", "encrypted"), ("damaged.pdf", "damaged"), ("scan.pdf", "no_text")]
)
def test_unreadable_pdf_has_a_reason(name: str, reason: str) -> None:
    assert failure((FIXTURES / name).read_bytes(), name=name).reason == reason


def test_scan_message_names_pages_and_text_recognition(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no tesseract
    error = failure((FIXTURES / "scan.pdf").read_bytes())
    assert "1 page" in str(error)
    assert "OCR" in error.hint
    assert "kor" in error.hint


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_file_that_is_cut_off_is_damaged(share: float) -> None:
    data = (FIXTURES / "korean.pdf").read_bytes()
    assert failure(data[: int(share * len(data))]).reason == "damaged"


def test_page_with_nothing_on_it_is_empty() -> None:
    assert failure(make_pdf(Page(), Page())).reason == "empty"


def test_letters_without_meaning_are_not_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    writer = PdfWriter(clone_from=PdfReader(FIXTURES / "korean.pdf"))
    for item in writer._objects:
        if isinstance(item, dict):
            item.pop(NameObject("/ToUnicode"), None)
    buffer = io.BytesIO()
    writer.write(buffer)
    monkeypatch.setenv("PATH", str(tmp_path))
    error = failure(buffer.getvalue())
    assert error.reason == "no_text"
    assert "no meaning" in str(error)


# ---- Hostile files ----


def content_pdf(content: bytes, *, filters: bytes = b"") -> bytes:
    return assemble(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>/XObject<</X 4 0 R>>>>>>",
            b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 4 0 R>>>>/Length %d%s>>stream\n%s\nendstream"
            % (len(content), filters, content),
            b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        ]
    )


def many_pages(kids: bytes, count: int, *, catalog: bytes = b"", trailer: bytes = b"") -> bytes:
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]>>"
    pages = b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count)
    return assemble([b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog, pages, page], trailer=trailer)


HOSTILE = {
    "run length": lambda: content_pdf(b"\x81 " * 15_000_000, filters=b"/Filter/RunLengthDecode"),
    "deflate": lambda: content_pdf(zlib.compress(b"q " * 50_000_000, 9), filters=b"/Filter/FlateDecode"),
    "deep arrays": lambda: content_pdf(b"[" * 10_000_000),
    "deep dictionaries": lambda: many_pages(b"3 0 R", 1, catalog=b"/X " + b"<</A " * 100_000 + b"1" + b">>" * 100_000),
    "form in itself": lambda: content_pdf(b"/X Do /X Do /X Do"),
    "tree with a loop": lambda: many_pages(b"2 0 R 3 0 R", 1000),
    "false count": lambda: many_pages(b"3 0 R", 2_000_000_000),
    "table in itself": lambda: many_pages(b"3 0 R", 1, trailer=b"/Prev 9"),
    "40,000 pages": lambda: many_pages(b"3 0 R " * 40_000, 40_000),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_file_is_ended_and_the_next_one_is_read(kind: str) -> None:
    assert failure(HOSTILE[kind]()).reason in {"too_large", "damaged", "no_text", "empty"}
    assert fixture("korean.pdf").blocks


def test_page_full_of_rules_or_letters_is_read() -> None:
    page = Page()
    for number in range(700):
        page.rule(0.8 * number, 0, 0.8 * number, 800)
        page.rule(0, number, 600, number)
    for number in range(2000):
        page.text(50 + number % 90 * 5, 800 - number // 90 * 10, "가", size=4)
    assert "가" in read_pdf(make_pdf(page), name="a.pdf").text


# ---- Text recognition ----

FONTS = (
    Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"),
    Path("/usr/share/fonts/truetype/nanum/NanumGothic.ttf"),
)
FONT = next((path for path in FONTS if path.exists()), None)
needs_ocr = pytest.mark.skipif(ocr.find_tesseract() is None, reason="tesseract with kor and eng is not installed")
needs_font = pytest.mark.skipif(FONT is None, reason="no Korean font (fonts-noto-cjk, fonts-nanum) to draw a scan with")


def scan(*lines: str) -> Image.Image:
    picture = Image.new("L", (1240, 1754), 255)  # A4 at 150 dpi
    draw = ImageDraw.Draw(picture)
    for number, words in enumerate(lines):
        draw.text((120, 150 + number * 60), words, font=ImageFont.truetype(str(FONT), 32), fill=0)
    return picture


def scanned_pdf(*pictures: Image.Image) -> bytes:
    buffer = io.BytesIO()
    pictures[0].save(buffer, "PDF", resolution=150, save_all=True, append_images=pictures[1:])
    return buffer.getvalue()


SCANNED = ("직원은 일 년에 열다섯 날을 쉰다.", "The request needs the approval of the manager.")


@needs_ocr
@needs_font
def test_scanned_pages_are_recognised() -> None:
    document = read_pdf(scanned_pdf(scan(*SCANNED), scan("둘째 쪽에는 다른 글이 있다.")), name="a.pdf")
    assert "직원은 일 년에" in document.text
    assert "approval of the manager" in document.text
    assert {block.place.page for block in document.blocks} == {1, 2}


@needs_ocr
@needs_font
def test_scanned_page_with_a_page_number_in_letters_is_recognised() -> None:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(scanned_pdf(scan(*SCANNED)))))
    page = Page()
    page.text(290, 20, "- 7 -")
    writer.pages[0].merge_page(PdfReader(io.BytesIO(make_pdf(page))).pages[0])
    buffer = io.BytesIO()
    writer.write(buffer)
    assert "approval of the manager" in read_pdf(buffer.getvalue(), name="a.pdf").text


@needs_ocr
@needs_font
def test_scanned_columns_are_read_one_after_the_other() -> None:
    picture = Image.new("L", (1240, 1754), 255)
    draw = ImageDraw.Draw(picture)
    for column, word in enumerate(("harvest", "freight")):
        for number in range(12):
            words = f"{word} prices went up in year {number + 1}"
            draw.text((90 + 560 * column, 150 + number * 50), words, font=ImageFont.truetype(str(FONT), 26), fill=0)
    text = read_pdf(scanned_pdf(picture), name="a.pdf").text
    assert text.count("harvest") > 9
    assert text.rindex("harvest") < text.index("freight")


@needs_font
@pytest.mark.parametrize("installed", [pytest.param(True, marks=needs_ocr), False])
def test_file_with_text_and_scanned_pages_is_read(
    installed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not installed:
        monkeypatch.setenv("PATH", str(tmp_path))
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(scanned_pdf(scan(*SCANNED)))))
    page = Page()
    page.lines(50, 780, ["이 쪽에는 글이 있다."])
    writer.append(PdfReader(io.BytesIO(make_pdf(page))))
    buffer = io.BytesIO()
    writer.write(buffer)
    document = read_pdf(buffer.getvalue(), name="a.pdf")
    assert texts(document)[-1] == "이 쪽에는 글이 있다."
    assert document.blocks[-1].place.page == 2
    assert ("approval" in document.text) == installed


@needs_font
def test_text_recognition_that_runs_out_of_time_loses_no_page_with_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow = tmp_path / "tesseract"
    slow.write_text('#!/bin/sh\necho words > "$2.txt"\nexec sleep 600\n', encoding="utf-8")
    slow.chmod(0o755)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(ocr, "find_tesseract", lambda: str(slow))
    monkeypatch.setattr(ocr, "_TIME_SHARE", 0.0)
    monkeypatch.setattr(ocr, "_MIN_S", 3.0)
    scans = scanned_pdf(scan(*SCANNED), scan(*SCANNED))
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(scans)))
    page = Page()
    page.lines(50, 780, ["이 쪽에는 글이 있다."])
    writer.append(PdfReader(io.BytesIO(make_pdf(page))))
    buffer = io.BytesIO()
    writer.write(buffer)
    document = read_pdf(buffer.getvalue(), name="a.pdf")
    assert texts(document) == ["이 쪽에는 글이 있다."]
    assert document.blocks[0].place.page == 3
    with pytest.raises(ReadFailed, match="2 scanned pages") as caught:
        read_pdf(scans, name="a.pdf")
    assert caught.value.reason == "too_large"
    assert list((tmp_path / "temporary").iterdir()) == []  # words of the document would lie there
