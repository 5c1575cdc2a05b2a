"""Office, OpenDocument, EPUB and e-mail files: what is kept, where it stands, and what hostile or broken ones do."""

from __future__ import annotations

import io
import itertools
import struct
import unicodedata
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path

import docx
import olefile
import openpyxl
import pptx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pptx.util import Inches

from ingest.readers import SUPPORTED, read
from ingest.readers.docx_numbers import number
from ingest.readers.number_format import shown
from ingest.readers.office import build_flow
from ingest.readers.office_child import records
from ingest.readers.table_lines import looks_like_header
from ingest.readers.zip_package import Package, PackageError
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument

FIXTURES = Path(__file__).parents[1] / "fixtures" / "office"
MAX_BYTES = 50_000_000
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
ODF = "urn:oasis:names:tc:opendocument:xmlns:"


def texts(document: ParsedDocument) -> list[str]:
    return [document.text[block.start : block.end] for block in document.blocks]


def checked(document: ParsedDocument) -> ParsedDocument:
    """The document, if its blocks are in order, inside the text and hold words."""
    ends = [0]
    for block in document.blocks:
        assert ends[-1] <= block.start < block.end <= len(document.text)
        assert document.text[block.start : block.end].strip()
        ends.append(block.end)
    assert unicodedata.is_normalized("NFC", document.text)
    return document


def packed(members: dict[str, bytes | str], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def word(body: str, *, prolog: str = "", **parts: str) -> bytes:
    """A Word document with this body and further parts (footnotes="…")."""
    office = '<Relationship Id="r1" Type="x/officeDocument" Target="word/document.xml"/>'
    links = "".join(f'<Relationship Id="{kind}" Type="x/{kind}" Target="{kind}.xml"/>' for kind in parts)
    return packed(
        {
            "_rels/.rels": f'<Relationships xmlns="{RELATIONS}">{office}</Relationships>',
            **(
                {"word/_rels/document.xml.rels": f'<Relationships xmlns="{RELATIONS}">{links}</Relationships>'}
                if parts
                else {}
            ),
            "word/document.xml": f'{prolog}<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>',
            **{f"word/{kind}.xml": content for kind, content in parts.items()},
        }
    )


def paragraph(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def open_document(kind: str, body: str, *, manifest: str = "", prolog: str = "", styles: str = "") -> bytes:
    names = "office text table draw style presentation svg".split()
    full = {"draw": "drawing", "svg": "svg-compatible"}
    spaces = " ".join(f'xmlns:{name}="{ODF}{full.get(name, name)}:1.0"' for name in names)
    element = {"text": "text", "spreadsheet": "spreadsheet", "presentation": "presentation"}[kind]
    return packed(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "META-INF/manifest.xml": f'<manifest xmlns="m">{manifest}</manifest>',
            "content.xml": f"{prolog}<office:document-content {spaces}><office:automatic-styles>{styles}"
            f"</office:automatic-styles><office:body><office:{element}>{body}</office:{element}></office:body>"
            "</office:document-content>",
        }
    )


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read_as(folder: Path, name: str, content: bytes) -> ParsedDocument:
    return checked(read(write(folder, name, content), max_bytes=MAX_BYTES))


def failure_of(folder: Path, name: str, content: bytes) -> ReadFailed:
    with pytest.raises(ReadFailed) as caught:
        read(write(folder, name, content), max_bytes=MAX_BYTES)
    assert name in str(caught.value)
    assert caught.value.hint
    return caught.value


def saved(thing: object) -> bytes:
    buffer = io.BytesIO()
    thing.save(buffer)  # type: ignore[attr-defined]
    return buffer.getvalue()


# ---- Word and OpenDocument text ----


@pytest.mark.parametrize("name", ["leave.docx", "leave.odt"])
def test_text_written_by_libreoffice_is_read_alike_in_both_formats(name: str) -> None:
    document = checked(read(FIXTURES / name, max_bytes=MAX_BYTES))
    assert document.title == "휴가 규정"
    assert texts(document) == [
        "직원은 1년에 15일의 연차 휴가를 받는다. 쓰지 않은 휴가는 이월된다. (근로기준법 제60조를 따른다.)",
        "신청은 사흘 전까지 한다.",
        "글상자: 이월은 5일까지이다.",
        "1. 시스템에 접속한다.\n  a) 사번을 넣는다.\n  b) 인증한다.\n2. 신청서를 낸다.",
        "준비물은 다음과 같다.",
        "- 신분증\n- 진단서",
        "| 구분 | 종류 | 일수 |\n| --- | --- | --- |\n| 법정 | 연차 | 15 |\n| 법정 | 출산 | 90 |",
        "Employees receive fifteen days of annual leave. Unused days carry over.",
        "제5조(보칙) 이 규정에 없는 것은 취업규칙을 따른다.",
    ]
    assert [block.kind for block in document.blocks][3:7] == ["list", "paragraph", "list", "table"]
    assert document.blocks[3].heading == ("연차 휴가", "신청 순서")
    assert document.blocks[-1].heading == ("English summary", "제5조(보칙)")
    assert all(block.place.to_dict() == {} for block in document.blocks)
    for dropped in ("지운 말", "머리글", "바닥글"):
        assert dropped not in document.text


def test_english_word_document() -> None:
    document = checked(read(FIXTURES / "handbook.docx", max_bytes=MAX_BYTES))
    assert document.title == "Field handbook"
    assert document.blocks[2].kind == "list"
    assert texts(document)[3].startswith("| Item | Daily fee | Deposit |\n| --- | --- | --- |\n| Camera | $12 | $200 |")
    assert document.blocks[-1].heading == ("Field handbook", "Fees", "Late returns")


def test_word_document_written_by_python_docx(tmp_path: Path) -> None:
    source = docx.Document()
    source.core_properties.title = "Microsoft Word - 초안.docx"
    source.add_heading("취업 규칙", 1)
    source.styles.add_style("제목 2", 1)
    source.add_paragraph("근무 시간", style="제목 2")
    hidden = source.add_paragraph("9시에 시작한다. ")
    hidden.add_run("숨긴 말").font.hidden = True
    source.add_paragraph("첫째", style="List Bullet")
    source.add_paragraph("둘째", style="List Bullet")
    table = source.add_table(3, 3)
    for row, values in zip(table.rows, (("부서", "이름", "나이"), ("개발", "가", "31"), ("", "나", "45")), strict=True):
        for cell, value in zip(row.cells, values, strict=True):
            cell.text = value
    table.cell(1, 0).merge(table.cell(2, 0))
    document = read_as(tmp_path, "규칙.docx", saved(source))
    assert document.title == "취업 규칙"
    assert texts(document) == [
        "9시에 시작한다.",
        "- 첫째\n- 둘째",
        "| 부서 | 이름 | 나이 |\n| --- | --- | --- |\n| 개발 | 가 | 31 |\n| 개발 | 나 | 45 |",
    ]
    assert {block.heading for block in document.blocks} == {("취업 규칙", "근무 시간")}


def test_tracked_changes_are_read_as_accepted(tmp_path: Path) -> None:
    body = (
        "<w:p><w:r><w:t>연차는 </w:t></w:r><w:del><w:r><w:delText>10</w:delText></w:r></w:del>"
        "<w:ins><w:r><w:t>15</w:t></w:r></w:ins><w:r><w:t>일이다.</w:t></w:r></w:p>"
        f"<w:moveFrom>{paragraph('옮긴 문단')}</w:moveFrom>"
        + paragraph("앞 문장과 ", "<w:rPr><w:del/></w:rPr>")
        + paragraph("뒤 문장.")
        + "<w:tbl><w:tr><w:trPr><w:del/></w:trPr><w:tc><w:p/></w:tc></w:tr></w:tbl>"
    )
    assert texts(read_as(tmp_path, "a.docx", word(body))) == ["연차는 15일이다.", "앞 문장과뒤 문장."]


def test_numbers_of_word_are_written_out(tmp_path: Path) -> None:
    def level(depth: int, kind: str, pattern: str) -> str:
        return f'<w:lvl w:ilvl="{depth}"><w:start w:val="1"/><w:numFmt w:val="{kind}"/><w:lvlText w:val="{pattern}"/></w:lvl>'

    levels = level(0, "decimal", "제%1조") + level(1, "ganada", "%2.") + level(2, "decimalEnclosedCircle", "%3")
    numbering = (
        f'<w:numbering xmlns:w="{WORD}"><w:abstractNum w:abstractNumId="0">{levels}</w:abstractNum>'
        '<w:num w:numId="7"><w:abstractNumId w:val="0"/></w:num></w:numbering>'
    )

    def item(depth: int, text: str) -> str:
        return paragraph(text, f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="7"/></w:numPr>')

    body = (
        item(0, "(목적) 정한다.")
        + item(1, "하나")
        + item(1, "둘")
        + item(2, "속")
        + item(0, "(범위) 모두.")
        + item(1, "다시")
    )
    document = read_as(tmp_path, "a.docx", word(body, numbering=numbering))
    assert texts(document) == [
        "제1조 (목적) 정한다.",
        "  가. 하나\n  나. 둘\n    ① 속",
        "제2조 (범위) 모두.",
        "  가. 다시",
    ]
    assert document.blocks[1].heading == ("제1조 (목적)",)
    assert [number(n, "upperRoman") for n in (4, 9, 14)] == ["IV", "IX", "XIV"]
    assert [number(n, "lowerLetter") for n in (1, 26, 27)] == ["a", "z", "aa"]


def test_contents_page_and_field_codes_are_dropped_and_frames_opened(tmp_path: Path) -> None:
    styles = f'<w:styles xmlns:w="{WORD}"><w:style w:styleId="T1"><w:name w:val="toc 1"/></w:style></w:styles>'
    body = (
        paragraph("1장 ........ 3", '<w:pStyle w:val="T1"/>')
        + "<w:p><w:r><w:instrText>PAGEREF _Toc1</w:instrText></w:r><w:r><w:t>쪽</w:t></w:r></w:p>"
        + f"<w:tbl><w:tr><w:tc>{paragraph('틀 안의 글')}</w:tc></w:tr></w:tbl>"
        + "<w:p><w:r><w:t>가</w:t><w:br/><w:t>나</w:t></w:r></w:p>"
    )
    assert texts(read_as(tmp_path, "a.docx", word(body, styles=styles))) == ["쪽", "틀 안의 글", "가\n나"]


def test_word_document_with_strict_names_and_broken_links(tmp_path: Path) -> None:
    data = word(paragraph("본문"))
    strict = packed(
        {
            "_rels/.rels": f'<Relationships xmlns="{RELATIONS}"><Relationship Id="a" Type="x/officeDocument" '
            'Target="/word/document.xml"/><Relationship Id="b" Type="x/core-properties" Target="NULL"/></Relationships>',
            "word/document.xml": '<d:document xmlns:d="http://purl.oclc.org/ooxml/wordprocessingml/main"><d:body>'
            "<d:p><d:r><d:t>본문</d:t></d:r></d:p></d:body></d:document>",
        }
    )
    assert texts(read_as(tmp_path, "a.docx", data)) == texts(read_as(tmp_path, "b.docx", strict)) == ["본문"]


CELL = st.text(st.sampled_from("가나 a|1.\n<&"), max_size=12)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5), st.lists(CELL, max_size=4))
@settings(max_examples=40, deadline=None)
def test_word_text_and_cells_are_all_kept_in_order(rows: list[tuple[str, str]], paragraphs: list[str]) -> None:
    source = docx.Document()
    for text in paragraphs:
        source.add_paragraph(text)
    table = source.add_table(len(rows), 2)
    for row, values in zip(table.rows, rows, strict=True):
        row.cells[0].text, row.cells[1].text = values
    words = "".join("".join([*paragraphs, *itertools.chain(*rows)]).split()).replace("|", "/")
    if not words:
        return
    document = checked(build_flow(list(records(saved(source))), name="a.docx"))
    kept = "".join("".join(texts(document)).split()).replace("|---|---|", "").replace("|", "")
    assert kept.replace("/", "") == words.replace("/", "")


# ---- Presentations ----


def deck() -> bytes:
    source = pptx.Presentation()
    source.core_properties.title = "PowerPoint Presentation"
    slide = source.slides.add_slide(source.slide_layouts[1])
    slide.shapes.title.text = "휴가 제도"
    frame = slide.placeholders[1].text_frame
    frame.text = "연차는 15일"
    inner = frame.add_paragraph()
    inner.text, inner.level = "이월 5일", 1
    slide.notes_slide.notes_text_frame.text = "발표 때 강조"
    slide = source.slides.add_slide(source.slide_layouts[6])
    slide.shapes.add_textbox(Inches(1), Inches(4), Inches(3), Inches(1)).text_frame.text = "아래 글"
    slide.shapes.add_textbox(Inches(1), Inches(1), Inches(3), Inches(1)).text_frame.text = "위 글"
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(Inches(1), Inches(2), Inches(3), Inches(1)).text_frame.text = "묶음 글"
    table = slide.shapes.add_table(2, 3, Inches(1), Inches(5), Inches(4), Inches(1)).table
    for row, values in zip(table.rows, (("종류", "일수", "증빙"), ("연차", "15", "없음")), strict=True):
        for cell, value in zip(row.cells, values, strict=True):
            cell.text = value
    slide = source.slides.add_slide(source.slide_layouts[5])
    slide.shapes.title.text = "숨긴 슬라이드"
    slide._element.set("show", "0")
    source.slides.add_slide(source.slide_layouts[5]).shapes.title.text = "감사합니다"
    slide = source.slides.add_slide(source.slide_layouts[6])
    slide.shapes.add_textbox(Inches(1), Inches(1), Inches(3), Inches(1)).text_frame.text = "Q&A"
    return saved(source)


def test_slides_are_read_from_the_title_down_and_hidden_ones_are_not(tmp_path: Path) -> None:
    document = read_as(tmp_path, "발표.pptx", deck())
    assert document.title == "휴가 제도"
    assert [
        (block.place.slide, block.heading, text) for block, text in zip(document.blocks, texts(document), strict=True)
    ] == [
        (1, ("휴가 제도",), "- 연차는 15일\n  - 이월 5일"),
        (1, ("휴가 제도",), "Notes: 발표 때 강조"),
        (2, (), "위 글"),
        (2, (), "묶음 글"),
        (2, (), "아래 글"),
        (2, (), "| 종류 | 일수 | 증빙 |\n| --- | --- | --- |\n| 연차 | 15 | 없음 |"),
        (4, ("감사합니다",), "감사합니다"),
        (5, (), "Q&A"),
    ]


def test_open_document_slides(tmp_path: Path) -> None:
    def frame(top: str, text: str, kind: str = "") -> str:
        named = f' presentation:class="{kind}"' if kind else ""
        return f'<draw:frame svg:y="{top}" svg:x="1cm"{named}><draw:text-box><text:p>{text}</text:p></draw:text-box></draw:frame>'

    pages = (
        f"<draw:page>{frame('9cm', '아래')}{frame('30mm', '위')}{frame('1cm', '제목', 'title')}"
        f"<presentation:notes>{frame('1cm', '메모')}</presentation:notes></draw:page>"
        f'<draw:page draw:style-name="H">{frame("1cm", "숨김")}</draw:page>'
    )
    styles = (
        '<style:style style:name="H"><style:drawing-page-properties presentation:visibility="hidden"/></style:style>'
    )
    document = read_as(tmp_path, "a.odp", open_document("presentation", pages, styles=styles))
    assert texts(document) == ["위", "아래", "Notes: 메모"]
    assert {(block.heading, block.place.slide) for block in document.blocks} == {(("제목",), 1)}


# ---- Workbooks ----


def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "매출"
    for row in (
        ["2024년 매출 현황"],
        ["(단위: 천원)"],
        ["지역", "품목", "상반기", None, "합계"],
        [None, None, "1분기", "2분기", None],
        ["서울", "연필", 1200, 0.1 + 0.2, "=C5+D5"],
        [None, "공책", 3400.5, 0.155, datetime(2024, 3, 1)],
        [],
        ["※ 잠정치"],
    ):
        sheet.append(row)
    for area in ("A1:E1", "C3:D3", "A3:A4", "B3:B4", "E3:E4", "A5:A6"):
        sheet.merge_cells(area)
    for cell, code in (("C5", "#,##0"), ("D6", "0.0%"), ("C6", '#,##0.00"원"')):
        sheet[cell].number_format = code
    hidden = book.create_sheet("숨김")
    hidden["A1"], hidden.sheet_state = "비밀", "hidden"
    answers = book.create_sheet("FAQ")
    answers.append(["질문", "답변"])
    answers.append(["연차는?", "직원은 1년에 15일의 연차 휴가를 받습니다. " * 4])
    answers.append(["병가는?", "병가는 60일까지 쓸 수 있고 진단서를 냅니다. " * 4])
    return saved(book)


def test_rows_carry_their_column_names_sheet_and_number(tmp_path: Path) -> None:
    document = read_as(tmp_path, "매출표.xlsx", workbook())
    assert document.title == "매출표"
    found = [(block.place.sheet, block.place.rows, block.heading) for block in document.blocks]
    assert found == [
        ("매출", (2, 2), ("매출", "2024년 매출 현황")),
        ("매출", (5, 5), ("매출", "2024년 매출 현황")),
        ("매출", (6, 6), ("매출", "2024년 매출 현황")),
        ("매출", (8, 8), ("매출",)),
        ("FAQ", (2, 2), ("FAQ", "연차는?")),
        ("FAQ", (3, 3), ("FAQ", "병가는?")),
    ]
    assert texts(document)[:4] == [
        "(단위: 천원)",
        "지역: 서울 · 품목: 연필 · 상반기 1분기: 1,200 · 상반기 2분기: 0.3",
        "지역: 서울 · 품목: 공책 · 상반기 1분기: 3,400.50원 · 상반기 2분기: 15.5% · 합계: 2024-03-01",
        "※ 잠정치",
    ]
    assert document.blocks[4].kind == "row"
    assert texts(document)[4].startswith("질문: 연차는?\n답변: 직원은")
    assert "비밀" not in document.text


def test_tables_of_one_sheet_keep_their_own_names_and_blank_rows_do_not_cut(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (
        ["월", "값"],
        ["1월", 10],
        [],
        ["2월", 20],
        [],
        ["부서", "이름", "나이"],
        ["개발", "김", 30],
        [2024, 1, 2],
    ):
        book.active.append(row)
    document = read_as(tmp_path, "a.xlsm", saved(book))
    assert texts(document) == [
        "월: 1월 · 값: 10",
        "월: 2월 · 값: 20",
        "부서: 개발 · 이름: 김 · 나이: 30",
        "부서: 2024 · 이름: 1 · 나이: 2",
    ]
    assert [block.place.rows for block in document.blocks] == [(2, 2), (4, 4), (7, 7), (8, 8)]


@pytest.mark.parametrize(
    ("value", "code", "expected"),
    [
        (0.1 + 0.2, "General", "0.3"),
        (1e15, "General", "1e+15"),
        (1234567.891, "#,##0.00", "1,234,567.89"),
        (0.155, "0.0%", "15.5%"),
        (0.15, "0%", "15%"),
        (-1500, "#,##0;△#,##0", "△1,500"),
        (-1500, "#,##0_);(#,##0)", "(1,500)"),
        (-2.5, "0.0", "-2.5"),
        (42, "00000", "00042"),
        (1500, '"₩"#,##0', "₩1,500"),
        (1500, "[$₩-412]#,##0", "₩1,500"),
        (1500, '_-"₩"* #,##0_-;-"₩"* #,##0_-;_-"₩"* "-"_-;_-@_-', "₩1,500"),
        (15, '0"일"', "15일"),
        (1234567, "#,##0,", "1,235"),
        (1012345678, "000-0000-0000", "010-1234-5678"),
        (12345, "0.00E+00", "12345"),
        (0.5, "# ?/?", "0.5"),
        (45352, "yyyy-mm-dd", "2024-03-01"),
        (45352, 'yyyy"년" m"월" d"일"', "2024-03-01"),
        (45352.5625, "yyyy/m/d h:mm", "2024-03-01 13:30"),
        (0.5625, "h:mm AM/PM", "13:30"),
        (1.125, "[h]:mm", "27:00"),
        (-1, "yyyy-mm-dd", "-1"),
        (1e300, "yyyy-mm-dd", "1e+300"),
    ],
)
def test_numbers_look_as_in_the_spreadsheet(value: float, code: str, expected: str) -> None:
    assert shown(value, code) == expected


@given(st.floats(allow_nan=False, allow_infinity=False), st.text(st.sampled_from('0#?.,%;"\\[]$-_* yEm@'), max_size=12))
@settings(max_examples=300, deadline=None)
def test_any_number_has_some_look_in_any_format(value: float, code: str) -> None:
    assert isinstance(shown(value, code), str)


def test_dates_of_both_epochs_and_times(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    book.active.append(["날짜", "시각", "참"])
    book.active.append([date(2024, 3, 1), time(13, 30), True])
    assert texts(read_as(tmp_path, "a.xlsx", saved(book))) == ["날짜: 2024-03-01 · 시각: 13:30 · 참: TRUE"]


def shared_strings(strings: str, *, prolog: str = "") -> bytes:
    """A workbook as Excel writes it, whose first row shows the first shared string and a built-in Korean date."""
    office = '<Relationship Id="r1" Type="x/officeDocument" Target="xl/workbook.xml"/>'
    links = "".join(
        f'<Relationship Id="{number}" Type="x/{kind}" Target="{kind}.xml"/>'
        for number, kind in enumerate(("worksheet", "sharedStrings", "styles"))
    )
    spaces = 'xmlns="m" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
    return packed(
        {
            "_rels/.rels": f'<Relationships xmlns="{RELATIONS}">{office}</Relationships>',
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{RELATIONS}">{links}</Relationships>',
            "xl/workbook.xml": f'<workbook {spaces}><sheets><sheet name="표" sheetId="1" r:id="0"/></sheets></workbook>',
            "xl/sharedStrings.xml": f'{prolog}<sst xmlns="m">{strings}</sst>',
            "xl/styles.xml": '<styleSheet xmlns="m"><cellXfs><xf numFmtId="0"/><xf numFmtId="31"/></cellXfs></styleSheet>',
            "xl/worksheets": "",
            "xl/worksheet.xml": '<worksheet xmlns="m"><sheetData><row r="3"><c r="B3" t="s"><v>0</v></c>'
            '<c r="C3" s="1"><v>45352</v></c><c r="D3" t="e"><v>#N/A</v></c></row></sheetData></worksheet>',
        }
    )


def test_rich_strings_lose_their_reading_aids_and_korean_dates_are_dates(tmp_path: Path) -> None:
    rich = "<si><r><t>마감</t></r><r><t>일</t></r><rPh><t>deadline</t></rPh></si>"
    document = read_as(tmp_path, "a.xlsx", shared_strings(rich))
    assert texts(document) == ["column 2: 마감일 · column 3: 2024-03-01"]


def test_formulas_that_were_never_computed_are_named(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active["A1"] = "=1+1"
    failed = failure_of(tmp_path, "a.xlsx", saved(book))
    assert failed.reason == "no_text"
    assert "formulas" in failed.hint


def test_cells_at_the_far_end_of_a_sheet_cost_nothing(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active["XFD1048576"] = "끝"
    book.active["A1"] = "처음"
    book.active.merged_cells.add("A2:XFD1048575")
    document = read_as(tmp_path, "a.xlsx", saved(book))
    assert texts(document) == ["처음", "끝"]
    assert document.blocks[1].place.rows == (1048576, 1048576)


def test_open_document_spreadsheet(tmp_path: Path) -> None:
    def cells(*values: str) -> str:
        return "".join(f"<table:table-cell><text:p>{value}</text:p></table:table-cell>" for value in values)

    rows = (
        f"<table:table-header-rows><table:table-row>{cells('지역', '비율', '날짜')}</table:table-row></table:table-header-rows>"
        '<table:table-row table:number-rows-repeated="3"><table:table-cell table:number-columns-repeated="16384"/></table:table-row>'
        f'<table:table-row><table:table-cell table:number-rows-spanned="2"><text:p>서울</text:p></table:table-cell>{cells("15%")}'
        '<table:table-cell office:value-type="date" office:date-value="2024-03-01T00:00:00"><text:p>24. 3. 1.</text:p></table:table-cell></table:table-row>'
        f"<table:table-row><table:covered-table-cell/>{cells('7%')}</table:table-row>"
        '<table:table-row table:number-rows-repeated="1048000"><table:table-cell/></table:table-row>'
    )
    hidden = f'<table:table table:name="비밀" table:style-name="H"><table:table-row>{cells("숨김")}</table:table-row></table:table>'
    styles = '<style:style style:name="H"><style:table-properties table:display="false"/></style:style>'
    data = open_document("spreadsheet", f'<table:table table:name="표">{rows}</table:table>{hidden}', styles=styles)
    document = read_as(tmp_path, "a.ods", data)
    assert texts(document) == ["지역: 서울 · 비율: 15% · 날짜: 2024-03-01", "지역: 서울 · 비율: 7%"]
    assert [(block.place.sheet, block.place.rows) for block in document.blocks] == [("표", (5, 5)), ("표", (6, 6))]


def test_names_of_columns_are_told_from_forms() -> None:
    assert looks_like_header([["종류", "일수"], ["연차", "15"]])
    assert looks_like_header([["", "2023", "2024"], ["매출", "10", "20"]])
    assert not looks_like_header([["이름", "김각주"], ["부서", "개발팀"]])
    assert not looks_like_header([["서울", "10", "20"], ["부산", "30", "40"]])
    assert not looks_like_header([["이름", "나이", "키"]])


# ---- E-books ----


def book(chapters: dict[str, str], **extra: str) -> bytes:
    items = "".join(
        f'<item id="{name}" href="text/{name}" media-type="application/xhtml+xml"/>' for name in sorted(chapters)
    )
    order = "".join(f'<itemref idref="{name}"/>' for name in chapters)
    return packed(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OPS/a.opf"/></rootfiles></container>',
            "OPS/a.opf": '<package xmlns:dc="d"><metadata><dc:title>직원 안내서</dc:title></metadata>'
            f"<manifest>{items}</manifest><spine>{order}</spine></package>",
            **{f"OPS/text/{name}": content for name, content in chapters.items()},
            **extra,
        }
    )


def test_chapters_are_read_in_the_order_of_the_spine(tmp_path: Path) -> None:
    chapters = {
        "z.xhtml": '<?xml version="1.0"?><html><head><title>x</title></head><body><h1>1장</h1><p>첫째.</p></body></html>',
        "a.xhtml": "<html><body><h1>2장</h1><ul><li>둘</li></ul><script>x()</script></body></html>",
    }
    document = read_as(tmp_path, "a.epub", book(chapters))
    assert document.title == "직원 안내서"
    assert [(block.heading, text) for block, text in zip(document.blocks, texts(document), strict=True)] == [
        (("1장",), "첫째."),
        (("2장",), "- 둘"),
    ]


def test_locked_book_is_named(tmp_path: Path) -> None:
    lock = '<encryption><CipherReference URI="OPS/text/a.xhtml"/></encryption>'
    locked = book({"a.xhtml": "<p>x</p>"}, **{"META-INF/encryption.xml": lock})
    assert failure_of(tmp_path, "a.epub", locked).reason == "encrypted"
    fonts = book({"a.xhtml": "<p>글</p>"}, **{"META-INF/encryption.xml": lock.replace("text/a.xhtml", "f.otf")})
    assert texts(read_as(tmp_path, "b.epub", fonts)) == ["글"]


# ---- Files that are not what they seem ----


def ole(*streams: str) -> bytes:
    """The smallest container file with empty streams of these names."""
    header = bytearray(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504))
    struct.pack_into("<HHHHH", header, 24, 0x3E, 3, 0xFFFE, 9, 6)
    struct.pack_into("<9I", header, 40, 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    struct.pack_into("<109I", header, 76, 0, *[0xFFFFFFFF] * 108)
    fat = struct.pack("<128I", 0xFFFFFFFD, 0xFFFFFFFE, *[0xFFFFFFFF] * 126)
    entries = b""
    for index, name in enumerate(("Root Entry", *streams)):
        encoded = name.encode("utf-16-le")
        # Streams hang in a chain of right siblings.
        right = index + 1 if 0 < index < len(streams) else 0xFFFFFFFF
        down = 1 if index == 0 and streams else 0xFFFFFFFF
        entries += encoded.ljust(64, b"\0") + struct.pack(
            "<HBB3I", len(encoded) + 2, 2 if index else 5, 1, 0xFFFFFFFF, right, down
        )
        entries += bytes(36) + struct.pack("<IQ", 0xFFFFFFFE, 0)
    return bytes(header) + fat + entries.ljust(512, b"\0")


def test_password_and_old_formats_are_named(tmp_path: Path) -> None:
    locked = ole("EncryptionInfo", "EncryptedPackage")
    assert olefile.OleFileIO(io.BytesIO(locked)).exists("EncryptedPackage")
    for name in ("a.docx", "a.pptx", "a.xlsx"):
        assert failure_of(tmp_path, name, locked).reason == "encrypted"
    for stream, name, said in (("WordDocument", "a.docx", ".doc)"), ("Workbook", "a.xlsx", ".xls)")):
        failed = failure_of(tmp_path, name, ole(stream))
        assert (failed.reason, said in str(failed)) == ("unsupported", True)
        assert f"save it as {name[1:]}" in failed.hint
    encrypted = open_document("text", "<text:p>x</text:p>", manifest="<file-entry><encryption-data/></file-entry>")
    assert failure_of(tmp_path, "a.odt", encrypted).reason == "encrypted"


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx", "a.odt", "a.ods", "a.odp", "a.epub"])
@pytest.mark.parametrize(
    ("content", "reason", "said"),
    [
        (b"", "empty", ""),
        (b"%PDF-1.7\n" + b"x" * 100, "damaged", "a PDF"),
        (b"<html><table></table></html>", "damaged", "web page"),
        (b"just text", "damaged", ""),
        (packed({"readme.txt": "x"}), "damaged", "ZIP"),
        (packed({"_rels/.rels": "<x", "word/document.xml": "<y"}), "damaged", ""),
    ],
)
def test_other_content_is_named(tmp_path: Path, name: str, content: bytes, reason: str, said: str) -> None:
    failed = failure_of(tmp_path, name, content)
    assert failed.reason == reason
    assert said in str(failed)


def test_office_file_with_another_ending_is_named(tmp_path: Path) -> None:
    failed = failure_of(tmp_path, "a.docx", workbook())
    assert failed.reason == "damaged"
    assert "a workbook (.xlsx)" in str(failed)


@pytest.mark.parametrize(
    "make", [deck, workbook, (FIXTURES / "leave.docx").read_bytes, (FIXTURES / "leave.odt").read_bytes]
)
def test_truncated_and_flipped_files_end_with_a_reason(tmp_path: Path, make: Callable[[], bytes]) -> None:
    whole = make()
    kind = next(record["format"] for record in records(whole) if "format" in record)
    name = f"a.{kind}"
    assert failure_of(tmp_path, name, whole[: len(whole) // 2]).reason == "damaged"
    flipped = bytearray(whole)
    for position in range(40, len(whole) - 100, 97):
        flipped[position] ^= 0x55
    try:
        read_as(tmp_path, name, bytes(flipped))
    except ReadFailed as failed:
        assert failed.reason in {"damaged", "encrypted", "too_large", "no_text"}


def test_documents_without_text_are_named(tmp_path: Path) -> None:
    for name, content in (
        ("a.docx", word("<w:p/>")),
        ("a.odt", open_document("text", "<text:p/>")),
        ("a.pptx", saved(pptx.Presentation())),
        ("a.xlsx", saved(openpyxl.Workbook())),
        ("a.epub", book({"a.xhtml": "<html></html>"})),
    ):
        assert failure_of(tmp_path, name, content).reason == "no_text"


# ---- Hostile files ----

LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'


@pytest.mark.parametrize("entity", [LAUGHS, '<!DOCTYPE x [<!ENTITY c SYSTEM "file://{secret}">]>'])
def test_entities_are_refused(tmp_path: Path, entity: str) -> None:
    secret = write(tmp_path, "secret", b"top secret")
    prolog = entity.replace("{secret}", str(secret))
    evil_book = book({"a.xhtml": "<p>x</p>"}, **{"OPS/a.opf": f"{prolog}<package><metadata>&c;</metadata></package>"})
    for name, content in (
        ("a.docx", word(paragraph("&c;"), prolog=prolog)),
        ("a.odt", open_document("text", "<text:p>&c;</text:p>", prolog=prolog)),
        ("a.xlsx", shared_strings("<si><t>&c;</t></si>", prolog=prolog)),
        ("a.epub", evil_book),
    ):
        assert failure_of(tmp_path, name, content).reason == "damaged"


def test_bomb_is_stopped_by_what_comes_out_of_it() -> None:
    package = Package(packed({"a.xml": b"<a>" + b" " * 5_000_000 + b"</a>", "b.xml": b"<b/>"}), max_bytes=1_000_000)
    with pytest.raises(PackageError) as caught:
        package.read("a.xml")
    assert caught.value.reason == "too_large"
    with pytest.raises(PackageError):  # what was used up stays used up
        package.read("b.xml")


def test_bomb_in_a_document_is_stopped_and_the_next_file_is_read(tmp_path: Path) -> None:
    buffer = io.BytesIO(word(""))
    with (
        zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("word/styles.xml", "w") as part,
    ):
        part.write(b"<styles>")
        for _ in range(600):
            part.write(bytes([32]) * 2**20)
    links = (
        f'<Relationships xmlns="{RELATIONS}"><Relationship Id="s" Type="x/styles" Target="styles.xml"/></Relationships>'
    )
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("word/_rels/document.xml.rels", links)
    assert len(buffer.getvalue()) < 5_000_000
    assert failure_of(tmp_path, "bomb.docx", buffer.getvalue()).reason == "too_large"
    assert read(FIXTURES / "leave.docx", max_bytes=MAX_BYTES).blocks


@pytest.mark.parametrize("size", [10, 2**31])
def test_declared_sizes_are_not_believed(tmp_path: Path, size: int) -> None:
    data = bytearray(word(paragraph("본문")))
    entry = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, entry + 24, size)
    try:
        assert texts(read_as(tmp_path, "a.docx", bytes(data))) == ["본문"]
    except ReadFailed as failed:
        assert failed.reason == "damaged"


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    many = packed({f"m{n}": b"" for n in range(20_001)}, method=zipfile.ZIP_STORED)
    assert failure_of(tmp_path, "a.docx", many).reason == "too_large"


def test_uncommon_packing_is_refused(tmp_path: Path) -> None:
    data = packed({"mimetype": "application/epub+zip"}, method=zipfile.ZIP_BZIP2)
    assert failure_of(tmp_path, "a.epub", data).reason == "damaged"


@pytest.mark.parametrize("tag", ["w:sdt", "w:tbl", "w:ins", "w:r", "w:p", "mc:AlternateContent"])
def test_deep_nesting_is_survived(tmp_path: Path, tag: str) -> None:
    tag = tag.replace("mc:", "w:")
    body = f"<{tag}>" * 50_000 + paragraph("안쪽") + f"</{tag}>" * 50_000 + paragraph("끝")
    try:
        assert read_as(tmp_path, "a.docx", word(body)).text.endswith("끝")
    except ReadFailed as failed:
        assert failed.reason in {"damaged", "too_large"}


def test_nothing_is_written_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    data = packed({"../evil.txt": "x", "/evil.txt": "x", **{"_rels/.rels": "<Relationships/>"}})
    failure_of(tmp_path, "a.docx", data)
    assert list(folder.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.docx", "empty"]


def test_office_endings_are_supported() -> None:
    assert {".docx", ".pptx", ".xlsx", ".xlsm", ".odt", ".ods", ".odp", ".epub", ".eml"} <= SUPPORTED


def test_text_box_with_its_older_twin_is_read_once(tmp_path: Path) -> None:
    content = f"<w:txbxContent>{paragraph('상자')}</w:txbxContent>"
    choice = f"<w:r><w:AlternateContent><w:Choice>{content}</w:Choice><w:Fallback>{content}</w:Fallback></w:AlternateContent></w:r>"
    assert texts(read_as(tmp_path, "a.docx", word(f"<w:p>{choice}<w:r><w:t>글</w:t></w:r></w:p>"))) == ["글", "상자"]
