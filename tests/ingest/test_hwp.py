"""HWP 5 and HWPX: text, structure and tables of both formats, and a reason for every file that cannot be read.

No program of Hancom's runs here, so the files are made by `hwp_writer` and `hwpx_writer`.
"""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile
import zlib
from pathlib import Path

import olefile
import pytest

from ingest.readers import read
from ingest.readers.hwp import read_hwp
from ingest.readers.hwp_model import Level
from ingest.readers.hwp_numbering import NUMBER_FORMATS, Counters, formatted
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument
from tests.ingest import hwp_writer as w
from tests.ingest import hwpx_writer as x

LONG = "이 문단은 개요 모양이지만 한 문장을 다 갖춘 본문이므로 제목이 아니라 글이다."


def texts(document: ParsedDocument) -> list[str]:
    return [document.text[block.start : block.end] for block in document.blocks]


def failure(data: bytes, *, name: str = "문서.hwp") -> ReadFailed:
    with pytest.raises(ReadFailed) as caught:
        read_hwp(data, name=name)
    assert name in str(caught.value)
    assert caught.value.hint
    return caught.value


def hwp_rules() -> bytes:
    inner = w.table([(0, 0, 1, 1, [w.paragraph("안쪽1")]), (0, 1, 1, 1, [w.paragraph("안쪽2")])])
    cells = [
        (0, 0, 2, 1, [w.paragraph("구분")]),
        (0, 1, 1, 2, [w.paragraph("일수|기준")]),
        (1, 1, 1, 1, [w.paragraph("1년"), w.paragraph("미만")]),
        (1, 2, 1, 1, [w.paragraph("이상")]),
        (2, 0, 1, 1, [w.paragraph("연차")]),
        (2, 1, 1, 1, [w.paragraph("11일")]),
        (2, 2, 1, 1, [w.paragraph(inner)]),
    ]
    table = w.table(cells, caption=[w.paragraph("표 ", w.auto_number(4, 1), " 연차 일수")], header=True)
    frame = w.table([(0, 0, 1, 1, [w.paragraph("상자 속 첫 문단."), w.paragraph("상자 속 둘째 문단.")])])
    footnote = w.note("fn  ", w.paragraph(w.auto_number(1, 1), " 근로기준법 제60조를 말한다."))
    return w.hwp_file(
        [
            w.paragraph(w.section_definition(), w.note("head", w.paragraph("머리말")), "취업규칙", style=1),
            w.paragraph("총칙", shape=1),
            w.paragraph("목적", shape=2),
            w.paragraph("연차는 15일로 한다.", footnote, w.note("tcmt", w.paragraph("숨은 설명")), shape=0),
            w.paragraph(LONG, shape=2),
            w.paragraph("휴가", shape=1),
            w.paragraph("앞 문장은 ", table, "표로 끊기지 않는다."),
            w.paragraph(frame),
        ],
        [
            w.paragraph(w.section_definition(), w.note("foot", w.paragraph("꼬리말")), "제2장 수당"),
            w.paragraph("(지급) 수당은 매월 준다.", shape=4),
            w.paragraph("(시기) 25일에 준다.", shape=4),
            w.paragraph("탭\t과 줄\n바꿈\x1e과 𝒳", shape=5),
            w.paragraph(w.text_box(w.paragraph("글상자 말")), w.equation("E=mc^2")),
        ],
    )


def hwpx_rules() -> bytes:
    inner = x.table([(0, 0, 1, 1, [x.p("안쪽1")]), (0, 1, 1, 1, [x.p("안쪽2")])])
    cells = [
        (0, 0, 2, 1, [x.p("구분")]),
        (0, 1, 1, 2, [x.p("일수|기준")]),
        (1, 1, 1, 1, [x.p("1년"), x.p("미만")]),
        (1, 2, 1, 1, [x.p("이상")]),
        (2, 0, 1, 1, [x.p("연차")]),
        (2, 1, 1, 1, [x.p("11일")]),
        (2, 2, 1, 1, [x.p(inner)]),
    ]
    table = x.table(cells, caption=[x.p("표 ", x.auto_number("TABLE", 1), " 연차 일수")], header=True)
    frame = x.table([(0, 0, 1, 1, [x.p("상자 속 첫 문단."), x.p("상자 속 둘째 문단.")])])
    footnote = x.note("footNote", x.p(x.auto_number("FOOTNOTE", 1), " 근로기준법 제60조를 말한다."))
    signs = "<hp:t>탭<hp:tab width='4000'/>과 줄<hp:lineBreak/>바꿈<hp:nbSpace/>과 𝒳</hp:t>"
    return x.hwpx_file(
        x.section(
            x.p(x.section_definition(), x.note("header", x.p("머리말")), "취업규칙", style=1),
            x.p("총칙", shape=1),
            x.p("목적", shape=2),
            x.p("연차는 15일로 한다.", footnote, x.note("hiddenComment", x.p("숨은 설명"))),
            x.p(LONG, shape=2),
            x.p("휴가", shape=1),
            x.p("앞 문장은 ", table, "표로 끊기지 않는다."),
            x.p(frame),
        ),
        x.section(
            x.p(x.section_definition(), x.note("footer", x.p("꼬리말")), "제2장 수당"),
            x.p("(지급) 수당은 매월 준다.", shape=4),
            x.p("(시기) 25일에 준다.", shape=4),
            x.p(signs, shape=5),
            x.p(x.text_box(x.p("글상자 말")), x.equation("E=mc^2")),
        ),
    )


# ---- what both formats give ----


@pytest.mark.parametrize("make", [hwp_rules, hwpx_rules])
def test_both_formats_give_the_same_text_and_structure(make) -> None:
    document = read_hwp(make(), name="규칙.hwp")
    title = "취업규칙"
    assert document.title == title
    assert [
        (block.kind, block.heading, text) for block, text in zip(document.blocks, texts(document), strict=True)
    ] == [
        ("paragraph", (title, "1. 총칙", "가. 목적"), "연차는 15일로 한다. (근로기준법 제60조를 말한다.)"),
        ("list", (title, "1. 총칙", "가. 목적"), f"  나. {LONG}"),
        ("paragraph", (title, "2. 휴가"), "앞 문장은 표로 끊기지 않는다."),
        ("paragraph", (title, "2. 휴가"), "표 1 연차 일수"),
        (
            "table",
            (title, "2. 휴가"),
            "| 구분 | 일수/기준 |  |\n| --- | --- | --- |\n| 구분 | 1년 미만 | 이상 |\n| 연차 | 11일 | 안쪽1 안쪽2 |",
        ),
        ("paragraph", (title, "2. 휴가"), "상자 속 첫 문단."),
        ("paragraph", (title, "2. 휴가"), "상자 속 둘째 문단."),
        ("paragraph", (title, "2. 휴가", "제2장 수당", "제1조 (지급)"), "제1조 (지급) 수당은 매월 준다."),
        ("paragraph", (title, "2. 휴가", "제2장 수당", "제2조 (시기)"), "제2조 (시기) 25일에 준다."),
        ("list", (title, "2. 휴가", "제2장 수당", "제2조 (시기)"), "• 탭 과 줄\n  바꿈 과 𝒳"),
        ("paragraph", (title, "2. 휴가", "제2장 수당", "제2조 (시기)"), "글상자 말"),
        ("paragraph", (title, "2. 휴가", "제2장 수당", "제2조 (시기)"), "E=mc^2"),
    ]
    for hidden in ("머리말", "꼬리말", "숨은"):
        assert hidden not in document.text


def test_format_is_told_by_content_not_by_ending(tmp_path: Path) -> None:
    for name, data in (("a.hwp", hwpx_rules()), ("b.hwpx", hwp_rules())):
        (tmp_path / name).write_bytes(data)
        assert read(tmp_path / name, max_bytes=10_000_000).title == "취업규칙"


def test_uncompressed_hwp_reads_the_same() -> None:
    trees = [w.paragraph("압축하지 않은 글.")]
    assert read_hwp(w.hwp_file(trees, flags=0), name="a.hwp").text == "압축하지 않은 글."


def test_streams_packed_with_a_zlib_header_are_read() -> None:
    packed = {"BodyText/Section0": zlib.compress(w.flat([w.paragraph("다른 프로그램의 글.")]))}
    assert read_hwp(w.hwp_file([], extra=packed), name="a.hwp").text == "다른 프로그램의 글."


def test_writer_makes_a_compound_file_that_olefile_accepts() -> None:
    big = os.urandom(9000)
    data = w.hwp_file([w.paragraph("글")], extra={"BinData/BIN0001.png": big, "PrvText": "글".encode("utf-16-le")})
    with olefile.OleFileIO(io.BytesIO(data), raise_defects=olefile.DEFECT_INCORRECT) as ole:
        assert ole.openstream("BinData/BIN0001.png").read() == big
        assert ole.openstream("FileHeader").read().startswith(b"HWP Document File")
        assert not ole.parsing_issues


# ---- text ----


@pytest.mark.parametrize("make", ["hwp", "hwpx"])
def test_paragraph_of_a_megabyte_is_kept_whole(make: str) -> None:
    words = "긴 문단입니다 " * 140_000
    data = w.hwp_file([w.paragraph(words)]) if make == "hwp" else x.hwpx_file(x.section(x.p(words)))
    assert len(words.encode("utf-16-le")) > 1_000_000
    assert read_hwp(data, name="a.hwp").text == words.strip()


def test_controls_the_reader_does_not_know_leave_no_garbage() -> None:
    field = w.Control(3, "%clk", b"\0" * 20)
    bookmark = w.Control(22, "bokm", b"")
    text = w.paragraph("앞", field, "누름틀", bookmark, "\x18뒤\x00\x1f끝\ud800")
    assert read_hwp(w.hwp_file([text]), name="a.hwp").text == "앞누름틀-뒤 끝\ufffd"


def test_control_without_its_place_in_the_text_is_not_lost() -> None:
    tag, header, children = w.paragraph("본문", w.text_box(w.paragraph("상자")))
    unnamed = w.paragraph("본문")[2][0]
    assert read_hwp(w.hwp_file([(tag, header, [unnamed, *children[1:]])]), name="a.hwp").text == "본문\n\n상자"


def test_tracked_deletion_is_dropped_and_insertion_kept() -> None:
    first = '<hp:t>남는 말<hp:deleteBegin Id="1" TcId="1"/> 지운</hp:t>'
    second = '<hp:t>말<hp:deleteEnd Id="1" TcId="1"/><hp:insertBegin Id="2"/> 넣은 말<hp:insertEnd Id="2"/></hp:t>'
    assert read_hwp(x.hwpx_file(x.section(x.p(first, second))), name="a.hwpx").text == "남는 말 넣은 말"


def test_tracked_deletion_of_hwp_is_dropped_and_other_ranges_are_kept() -> None:
    tag, header, children = w.paragraph("남는 말 지운말", w.text_box(w.paragraph("상자")), " 형광 넣은말")
    # Positions in UTF-16 units; the box's place takes eight. Kinds: deleted, highlighted, inserted, and no change.
    ranges = [(5, 8, 0x11 << 24 | 2), (17, 19, 0x02 << 24 | 2), (20, 23, 0x10 << 24 | 1), (0, 2, 0x11 << 24 | 1)]
    children.append((70, b"".join(struct.pack("<III", *item) for item in ranges), []))
    changes: list[w.Tree] = [(96, struct.pack("<I6H6xI", kind, 2024, 3, 1, 9, 30, 0, 0), []) for kind in (0x10, 0x11)]
    data = w.hwp_file([(tag, header, children)], doc_info=[*w.DOC_INFO, *changes])
    assert read_hwp(data, name="a.hwp").text == "남는 말 형광 넣은말\n\n상자"
    untracked = w.hwp_file([(tag, header, children)])
    assert read_hwp(untracked, name="a.hwp").text == "남는 말 지운말 형광 넣은말\n\n상자"


def test_rule_below_names_of_columns_that_are_not_marked() -> None:
    rows = [["월", "값"], ["1월", "10"], ["2월", "20"]]
    expected = "| 월 | 값 |\n| --- | --- |\n| 1월 | 10 |\n| 2월 | 20 |"
    cells = [(r, c, 1, 1, [w.paragraph(words)]) for r, row in enumerate(rows) for c, words in enumerate(row)]
    assert read_hwp(w.hwp_file([w.paragraph(w.table(cells))]), name="a.hwp").text == expected


def test_entry_of_a_table_of_contents_is_no_heading() -> None:
    data = w.hwp_file([w.paragraph("총칙\t3", shape=1), w.paragraph("총칙", shape=1), w.paragraph("본문이다.")])
    document = read_hwp(data, name="a.hwp")
    assert [block.heading for block in document.blocks] == [(), ("2. 총칙",)]


def test_typed_roman_numbers_and_chapters_are_headings() -> None:
    lines = [
        "Ⅰ. 과업 안내",
        "본문이다.",
        "제1장 총칙",
        "둘째 글.",
        "II. 입찰 및 계약",
        "셋째 글.",
        "Ⅲ. 계약 5",
        "Ⅳ. 글이다.",
    ]
    document = read_hwp(w.hwp_file([w.paragraph(line) for line in lines]), name="a.hwp")
    assert [block.heading for block in document.blocks] == [
        ("Ⅰ. 과업 안내",),
        ("Ⅰ. 과업 안내", "제1장 총칙"),
        *[("II. 입찰 및 계약",)] * 3,
    ]


def test_cells_may_be_many_but_spans_cost_nothing() -> None:
    cells = [(row, column, 1, 1, [w.paragraph(f"{row},{column}")]) for row in range(60) for column in range(30)]
    cells[0] = (0, 0, 60000, 1, [w.paragraph("처음")])
    lines = read_hwp(w.hwp_file([w.paragraph(w.table(cells))]), name="a.hwp").text.split("\n")
    assert len(lines) == 60
    assert lines[59].startswith("| 59,0 | 59,1 |")


@pytest.mark.parametrize(
    ("number", "name", "expected"),
    [
        (3, "DIGIT", "3"),
        (2, "CIRCLED_DIGIT", "②"),
        (15, "HANGUL_SYLLABLE", "거"),
        (4, "ROMAN_CAPITAL", "IV"),
        (65, "ROMAN_SMALL", "lxv"),
        (49, "ROMAN_SMALL", "xlix"),
        (21, "HANGUL_PHONETIC", "이십일"),
        (10, "IDEOGRAPH", "十"),
        (500, "CIRCLED_DIGIT", "500"),
        (0, "LATIN_SMALL", "0"),
        (7, "UNKNOWN", "7"),
    ],
)
def test_numbers_look_as_hangul_draws_them(number: int, name: str, expected: str) -> None:
    assert formatted(number, name) == expected


def test_every_number_format_counts_to_ten_without_repeating() -> None:
    for name in NUMBER_FORMATS:
        assert len({formatted(number, name) for number in range(1, 11)}) == 10


def test_lower_levels_start_again_and_skipped_ones_count_as_begun() -> None:
    counters = Counters({1: tuple(Level(pattern) for pattern in ("^1.", "^1.^2.", "^n"))})
    labels = [counters.label(1, level) for level in (0, 1, 1, 0, 2, 2, 1)]
    assert labels == ["1.", "1.1.", "1.2.", "2.", "2.1.1", "2.1.2", "2.2."]
    assert counters.label(9, 0) == ""


# ---- titles ----


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ("□ 여비 규정", "여비 규정"),
        ("예전 문서의 첫 줄", "파일"),
        ("제목", "파일"),
        ("1", "파일"),
        ("여비.hwp", "파일"),
    ],
)
def test_title_of_the_properties_counts_if_the_text_still_has_it(kept: str, expected: str) -> None:
    data = x.hwpx_file(x.section(x.p("□ 여비 규정"), x.p("제목 1 여비.hwp")), title=kept)
    assert read_hwp(data, name="파일.hwpx").title == expected
    properties = {"\x05HwpSummaryInformation": w.summary(kept)}
    data = w.hwp_file([w.paragraph("□ 여비 규정"), w.paragraph("제목 1 여비.hwp")], extra=properties)
    assert read_hwp(data, name="파일.hwp").title == expected


@pytest.mark.parametrize("cut", [0, 20, 47, 52, 60, 75, 90])
def test_broken_properties_cost_only_the_title(cut: int) -> None:
    properties = {"\x05HwpSummaryInformation": w.summary("여비 규정")[:cut] + b"\xff" * 60}
    assert read_hwp(w.hwp_file([w.paragraph("글")], extra=properties), name="파일.hwp").title == "파일"


def test_sector_size_out_of_range_is_damaged_at_once() -> None:
    data = bytearray(w.hwp_file([w.paragraph("글")]))
    data[30:32] = b"\xff\xff"
    assert "broken header" in str(failure(bytes(data)))


# ---- files that cannot be read ----


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    [
        (b"HWP Document File V3.00 \x1a\x01\x02\x03\x04\x05" + b"\0" * 200, "unsupported", "HWP 3"),
        (b"%PDF-1.7", "unsupported", "neither"),
        (b"<?xml version='1.0'?><HWPML/>", "unsupported", "neither"),
        (w.hwp_file([w.paragraph("글")], flags=0b11), "encrypted", "password"),
        (w.hwp_file([w.paragraph("글")], flags=1 | 1 << 4), "encrypted", "certificate"),
        (w.compound_file({"WordDocument": b"x" * 5000}), "damaged", "FileHeader"),
        (w.compound_file({"FileHeader": b"x" * 256}), "unsupported", "another kind"),
        (w.compound_file({"FileHeader": w.file_header(1, major=6)}), "unsupported", "version 6"),
        (w.hwp_file(), "damaged", "BodyText"),
        (w.hwp_file([], flags=0), "empty", "no text"),
        (w.hwp_file([w.paragraph("글")], flags=0b101), "damaged", "ViewText"),
        (w.hwp_file([w.paragraph("글")], extra={"BodyText/Section0": b"\xff" * 99}), "damaged", "section 1"),
        (w.hwp_file([w.paragraph("글")], extra={"BodyText/Section2": b""}), "damaged", "section 2 is missing"),
        (b"PK\x03\x04" + b"x" * 99, "damaged", "ZIP"),
        (x.archive({"word/document.xml": "<a/>"}), "damaged", "no section"),
        (x.hwpx_file(x.section(x.p("글")), extra={"Contents/header.xml": "<a><b>"}), "damaged", "header.xml"),
        (x.hwpx_file("<hs:sec xmlns:hs='s'>"), "damaged", "section0.xml is no valid XML"),
        (x.hwpx_file(x.section()), "damaged", "no paragraphs"),
        (x.hwpx_file(x.section(x.p(" "))), "empty", "no text"),
    ],
)
def test_unreadable_file_says_what_is_wrong(data: bytes, reason: str, says: str) -> None:
    failed = failure(data)
    assert (failed.reason, says in str(failed)) == (reason, True), str(failed)


def test_encrypted_hwpx_is_named() -> None:
    manifest = x.MANIFEST.replace(
        "/>",
        "><odf:file-entry odf:full-path='Contents/section0.xml'><odf:encryption-data odf:checksum='x'/>"
        "</odf:file-entry></odf:manifest>",
    )
    data = x.hwpx_file("\x01\x02 encrypted", extra={"META-INF/manifest.xml": manifest})
    assert failure(data).reason == "encrypted"


@pytest.mark.parametrize("make", [hwp_rules, hwpx_rules])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.97])
def test_truncated_file_is_damaged_and_never_half_a_document(make, share: float) -> None:
    data = make()
    failed = failure(data[: int(len(data) * share)])
    assert failed.reason == "damaged"


def test_record_cut_off_inside_a_section_is_damaged() -> None:
    cut = w.flat([w.paragraph("첫 문단."), w.paragraph("둘째 문단.")])[:-10]
    failed = failure(w.hwp_file([], extra={"BodyText/Section0": w.deflated(cut)}))
    assert (failed.reason, "section 1 is cut off" in str(failed)) == ("damaged", True)


def test_record_that_claims_four_gigabytes_is_damaged() -> None:
    record = struct.pack("<II", 67 | 1 << 10 | 0xFFF << 20, 0xFFFFFFF0)
    assert failure(w.hwp_file([], extra={"BodyText/Section0": w.deflated(record)})).reason == "damaged"


def test_inflating_stops_at_the_limit() -> None:
    bomb = w.deflated(bytes(120 * 1024 * 1024))
    assert len(bomb) < 400_000
    assert failure(w.hwp_file([], extra={"BodyText/Section0": bomb})).reason == "too_large"
    spaces = b"<a>" + b" " * (170 * 1024 * 1024) + b"</a>"
    assert failure(x.hwpx_file("", extra={"Contents/section0.xml": spaces})).reason == "too_large"


def test_records_without_end_in_one_paragraph_are_too_large() -> None:
    header, empty = struct.pack("<I", 66), struct.pack("<I", 67 | 1 << 10)
    body = w.deflated(header + empty * 1_500_000)
    assert failure(w.hwp_file([], extra={"BodyText/Section0": body})).reason == "too_large"


def test_xml_entities_are_refused() -> None:
    bomb = "<!DOCTYPE a [<!ENTITY b 'bbbbbbbb'><!ENTITY c '&b;&b;&b;'>]>" + x.section(x.p("글")).split("?>")[1]
    failed = failure(x.hwpx_file(bomb))
    assert (failed.reason, "declarations" in str(failed)) == ("damaged", True)


def test_deep_nesting_is_damaged_not_a_crash() -> None:
    tree, markup = w.paragraph("속"), x.p("속")
    for _ in range(60):
        tree = w.paragraph(w.table([(0, 0, 1, 1, [tree])]))
        markup = x.p(x.table([(0, 0, 1, 1, [markup])]))
    assert failure(w.hwp_file([tree])).reason == "damaged"
    assert failure(x.hwpx_file(x.section(markup))).reason == "damaged"
    assert failure(x.hwpx_file("<a>" * 100_000 + "</a>" * 100_000)).reason == "damaged"


def test_five_tables_in_each_other_are_read() -> None:
    tree = w.paragraph("가장 안쪽 말")
    for _ in range(5):
        tree = w.paragraph(w.table([(0, 0, 1, 1, [w.paragraph("옆")]), (0, 1, 1, 1, [tree])]))
    assert "가장 안쪽 말" in read_hwp(w.hwp_file([tree]), name="a.hwp").text


# ---- distribution copies ----


def distributed(section: bytes, seed: int) -> bytes:
    """A section as Hangul scrambles it in a distribution copy: key record masked by C's `rand`, then AES-128-ECB."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = bytes(range(16))
    plain = bytearray(os.urandom(256))
    start = 4 + (seed & 0xF)
    plain[start : start + 16] = key
    state = seed
    mask: list[int] = []
    while len(mask) < 256:
        numbers = []
        for _ in range(2):
            state = (state * 214013 + 2531011) % 2**32
            numbers.append(state >> 16 & 0x7FFF)
        mask += [numbers[0] & 0xFF] * ((numbers[1] & 0xF) + 1)
    hidden = bytearray(byte ^ key_byte for byte, key_byte in zip(plain, mask, strict=False))
    hidden[:4] = struct.pack("<I", seed)
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    padded = section + b"\0" * (-len(section) % 16)
    return w.flat([(28, bytes(hidden), [])]) + encryptor.update(padded) + encryptor.finalize()


@pytest.mark.parametrize("seed", [1, 0x12345678, 0xFFFFFFFF])
def test_distribution_copy_is_read_without_a_password(seed: int) -> None:
    hidden = distributed(w.deflated(w.flat([w.paragraph("배포용 문서의 글.")])), seed)
    notice = [w.paragraph("이 문서는 상위 버전의 배포용 문서입니다.")]
    data = w.hwp_file(notice, flags=0b101, extra={"ViewText/Section0": hidden})
    assert read_hwp(data, name="a.hwp").text == "배포용 문서의 글."


def test_distribution_copy_with_a_broken_key_is_damaged() -> None:
    hidden = bytearray(distributed(w.deflated(w.flat([w.paragraph("글" * 99)])), 7))
    hidden[20] ^= 0xFF
    assert failure(w.hwp_file([], flags=0b101, extra={"ViewText/Section0": bytes(hidden)})).reason == "damaged"


# ---- chance ----


def mutations(data: bytes, count: int, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    changed = []
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(chance.choice((1, 3, 20))):
            copy[chance.randrange(len(copy))] = chance.choice((0, 0xFF, chance.randrange(256)))
        if chance.random() < 0.1:
            del copy[chance.randrange(len(copy)) :]
        changed.append(bytes(copy))
    return changed


def repacked(data: bytes, seed: int) -> list[bytes]:
    """Archives whose sections are changed inside, past the checksum that guards them."""
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        parts = {name: packed.read(name) for name in packed.namelist() if name != "mimetype"}
    name = "Contents/section0.xml"
    return [x.archive({**parts, name: section}) for section in mutations(parts[name], 20, seed)]


@pytest.mark.parametrize("part", range(5))
def test_changed_bytes_end_in_a_document_or_a_reason(part: int) -> None:
    """200 files: records changed inside their stream, streams, archives and XML."""
    flat = w.flat([w.paragraph(w.section_definition(), "첫 문단"), *[w.paragraph(LONG, shape=n) for n in range(6)]])
    files = [w.hwp_file([], flags=0, extra={"BodyText/Section0": body}) for body in mutations(flat, 10, part)]
    files += [*mutations(hwp_rules(), 5, part), *mutations(hwpx_rules(), 5, part), *repacked(hwpx_rules(), part)]
    assert len(files) == 40
    for data in files:
        try:
            assert read_hwp(data, name="a.hwp").blocks
        except ReadFailed as failed:
            assert failed.reason in ("damaged", "empty", "encrypted", "unsupported", "too_large")
