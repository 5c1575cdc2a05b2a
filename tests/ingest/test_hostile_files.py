"""Hostile and odd files through the process that reads: refused with a reason or stored right, in bounded memory."""

from __future__ import annotations

import codecs
import io
import os
import struct
import threading
import time
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.reader_process import ReaderProcess
from ingest.readers import SUPPORTED, read_bytes_as
from ingest.readers.files import shown_name
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument
from tests.ingest import hwpx_writer as hwpx

MAX_BYTES = 100_000_000
MB = 2**20
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
TEXT = "연차 휴가는 15일입니다. 신청은 3일 전까지 합니다.\n\n"


@pytest.fixture(scope="module")
def reader() -> Iterator[ReaderProcess]:
    with ReaderProcess() as process:
        yield process


def read_as(reader: ReaderProcess, name: str, data: bytes) -> ParsedDocument:
    document, _ = reader.read(None, data=data, name=name, max_bytes=MAX_BYTES)
    return document


def failure_of(reader: ReaderProcess, name: str, data: bytes) -> ReadFailed:
    with pytest.raises(ReadFailed) as caught:
        read_as(reader, name, data)
    assert caught.value.hint
    assert caught.value.sentence().isprintable()
    return caught.value


def texts(document: ParsedDocument) -> list[str]:
    return [document.text[block.start : block.end] for block in document.blocks]


# ---- memory ----


def peak_growth_bytes(data: bytes, name: str) -> tuple[int, str]:
    """How much memory the reading process took at most beyond what it has when it waits, and what came of the file."""
    with ReaderProcess() as reader:
        read_as(reader, "a.txt", b"text")
        assert reader._child is not None
        status = Path(f"/proc/{reader._child.process.pid}/status")
        before = peak = _peak_bytes(status)
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.01):
                try:
                    peak = max(peak, _peak_bytes(status))
                except (OSError, StopIteration):
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            read_as(reader, name, data)
            outcome = "read"
        except ReadFailed as failed:
            outcome = failed.reason
        finally:
            done.set()
            thread.join()
    return peak - before, outcome


def _peak_bytes(status: Path) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


LINKS = f'<Relationships xmlns="{RELATIONS}"><Relationship Id="m" Type="x/officeDocument" Target="{{main}}"/></Relationships>'
BODY = "<document><body><p><r><t>글</t></r></p></body></document>"
DECK = f'<p:presentation xmlns:p="p" xmlns:r="{RELATIONS}"><sldIdLst><sldId r:id="s"/></sldIdLst></p:presentation>'
BOMBS: dict[str, tuple[str, dict[str, str], str, bytes, bytes]] = {
    # name → ending, other members, the bomb's member, how it begins, what it repeats
    "one endless text": (
        "docx",
        {"main": "word/document.xml"},
        "word/document.xml",
        b"<document><body><p><r><t>",
        b"A",
    ),
    "paragraphs": (
        "docx",
        {"main": "word/document.xml"},
        "word/document.xml",
        b"<document><body>",
        b"<p><r><t>x</t></r></p>",
    ),
    "one paragraph of many runs": (
        "docx",
        {"main": "word/document.xml"},
        "word/document.xml",
        b"<document><body><p>",
        b"<r><t>x</t></r>",
    ),
    "nesting": ("docx", {"main": "word/document.xml"}, "word/document.xml", b"<document><body>", b"<sdt>"),
    "an attribute": ("docx", {"main": "word/document.xml"}, "word/document.xml", b'<document a="', b"A"),
    "styles": (
        "docx",
        {
            "main": "word/document.xml",
            "word/document.xml": BODY,
            "word/_rels/document.xml.rels": LINKS.replace("officeDocument", "styles").format(main="styles.xml"),
        },
        "word/styles.xml",
        b"<styles>",
        b"<style/>",
    ),
    "shared strings": (
        "xlsx",
        {
            "main": "xl/workbook.xml",
            "xl/workbook.xml": "<workbook><sheets/></workbook>",
            "xl/_rels/workbook.xml.rels": LINKS.replace("officeDocument", "sharedStrings").format(main="sst.xml"),
        },
        "xl/sst.xml",
        b"<sst>",
        b"<si><t>abc</t></si>",
    ),
    "slide": (
        "pptx",
        {
            "main": "ppt/presentation.xml",
            "ppt/presentation.xml": DECK,
            "ppt/_rels/presentation.xml.rels": LINKS.replace('"m"', '"s"')
            .replace("officeDocument", "slide")
            .format(main="slide1.xml"),
        },
        "ppt/slide1.xml",
        b"<sld><cSld><spTree>",
        b"<sp><txBody><p><r><t>x</t></r></p></txBody></sp>",
    ),
    "open document": (
        "odt",
        {"mimetype": "application/vnd.oasis.opendocument.text"},
        "content.xml",
        b"<document-content><body><text>",
        b"<p>x</p>",
    ),
    "chapter": (
        "epub",
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="a.opf"/></rootfiles></container>',
            "a.opf": '<package><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
            '<spine><itemref idref="a"/></spine></package>',
        },
        "a.xhtml",
        b"<html><body>",
        b"<p>x</p>",
    ),
}


def bomb(name: str, *, megabytes: int, forged: bool) -> tuple[str, bytes]:
    ending, members, member, begins, repeated = BOMBS[name]
    members = dict(members)
    main = members.pop("main", None)
    if main:
        members["_rels/.rels"] = LINKS.format(main=main)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path, content in members.items():
            archive.writestr(path, content)
        with archive.open(member, "w", force_zip64=True) as part:
            part.write(begins)
            block = repeated * (MB // len(repeated))
            for _ in range(megabytes):
                part.write(block)
    data = bytearray(buffer.getvalue())
    if forged:  # the directory says a hundred bytes
        entry = data.rindex(b"PK\x01\x02")
        struct.pack_into("<I", data, entry + 24, 100)
    return f"bomb.{ending}", bytes(data)


@pytest.mark.parametrize(
    ("kind", "forged"), [*((kind, False) for kind in BOMBS), ("one endless text", True), ("shared strings", True)]
)
def test_bomb_is_stopped_before_it_takes_200_megabytes(kind: str, forged: bool) -> None:
    name, data = bomb(kind, megabytes=120, forged=forged)
    growth, outcome = peak_growth_bytes(data, name)
    # A forged size ends the member early, which is damage.
    assert outcome in ({"too_large", "damaged", "read"} if forged else {"too_large"})
    assert growth < 200 * MB


def test_hwpx_bomb_is_stopped_before_it_takes_200_megabytes() -> None:
    data = hwpx.hwpx_file(hwpx.section(hwpx.p("<hp:t>" + "A" * 150_000_000 + "</hp:t>")))
    growth, outcome = peak_growth_bytes(data, "a.hwpx")
    assert outcome == "too_large"
    assert growth < 200 * MB


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.md", ("# 제목\n\n" + TEXT * 300 + "- 하나\n- 둘\n\n").encode() * 150),
        ("a.md", TEXT.encode() * 60_000),
        ("a.txt", TEXT.encode() * 150_000),
        ("a.txt", TEXT.replace("\n", " ").encode() * 150_000),
    ],
)
def test_large_text_is_read_in_bounded_memory(name: str, data: bytes) -> None:
    growth, outcome = peak_growth_bytes(data, name)
    assert outcome == "read"
    assert growth < 20 * len(data)


def test_markdown_in_parts_is_read_as_a_whole_is() -> None:
    part = (
        "# 장\n\n"
        + "긴 글입니다. " * 100
        + "\n\n글 [이름](u)\n\n```python\n# 주석\n\nx\n```\n\n- 하나\n\n  둘째 글\n\n~~~\n```\n# 코드\n~~~\n\n| a | b |\n|--|--|\n| 1 | 2 |\n\n"
    )
    one = read_bytes_as(part.encode(), name="a.md")
    times = 1500  # three parts
    many = read_bytes_as((part * times).encode(), name="a.md")
    assert texts(many) == texts(one) * times
    assert {block.heading for block in many.blocks} == {("장",)}


# ---- archives inside documents ----


def test_members_that_lead_out_and_entities_are_refused(reader: ReaderProcess, tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_text("<t>secret</t>")
    up = "../" * 12 + str(secret)[1:]
    for target in (up, str(secret), f"file://{secret}"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("_rels/.rels", LINKS.format(main=target))
            archive.writestr(up, "<document/>")
        assert failure_of(reader, "a.docx", buffer.getvalue()).reason in {"damaged", "no_text"}
    section = hwpx.section(hwpx.p("<hp:t>&c;</hp:t>"))
    evil = f'<!DOCTYPE x [<!ENTITY c SYSTEM "file://{secret}">]>' + section.partition("?>")[2]
    assert failure_of(reader, "a.hwpx", hwpx.hwpx_file(evil)).reason == "damaged"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.xml"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "iso-8859-1"])
@pytest.mark.parametrize("before", ["", "<!-- " + "x" * 200_000 + " -->", "<?x y?>\n\n"])
def test_document_types_are_seen_in_every_encoding_and_wherever_they_stand(
    reader: ReaderProcess, encoding: str, before: str
) -> None:
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'

    def word(prolog: str, words: str) -> bytes:
        xml = f'<?xml version="1.0" encoding="{encoding}"?>{before}{prolog}{BODY.replace("글", words)}'
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("_rels/.rels", LINKS.format(main="word/document.xml"))
            archive.writestr("word/document.xml", xml.encode(encoding))
        return buffer.getvalue()

    for prolog, words in ((laughs, "&b;"), (laughs, "ha"), ("<!DOCTYPE document>", "ha")):
        assert failure_of(reader, "a.docx", word(prolog, words)).reason == "damaged"
    if encoding != "utf-16-be":  # which needs a byte order mark
        assert read_as(reader, "a.docx", word("", "ha")).text == "ha"


# ---- text ----


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig", "cp949"])
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.html"])
def test_every_text_format_is_read_with_and_without_a_mark(reader: ReaderProcess, name: str, encoding: str) -> None:
    content = {"a.csv": "월,값\n일월,10\n이월,20\n", "a.html": "<p>연차 휴가는 15일</p>\n"}.get(name, TEXT)
    assert read_as(reader, name, content.encode(encoding)) == read_as(reader, name, content.encode())


def test_english_text_in_utf16_without_a_mark_is_read(reader: ReaderProcess) -> None:
    text = "Annual leave is 15 days."
    for encoding in ("utf-16-le", "utf-16-be"):
        assert read_as(reader, "a.txt", text.encode(encoding)).text == text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (TEXT.encode("cp949") * 20 + b"\xff\xfe\x80" + TEXT.encode("cp949") * 20, "encoding"),
        (TEXT.encode() * 20 + b"\xed\xa0\x80" + TEXT.encode() * 20, "encoding"),  # a lone surrogate
        (TEXT.encode("utf-16")[:-1], "encoding"),
        (os.urandom(5000), "unsupported"),
        (bytes(5000), "unsupported"),
    ],
)
def test_text_with_broken_bytes_is_named_not_guessed(reader: ReaderProcess, data: bytes, reason: str) -> None:
    assert failure_of(reader, "a.txt", data).reason in {reason, "encoding"}


def test_lone_surrogates_and_nul_in_text_become_harmless(reader: ReaderProcess) -> None:
    lone = codecs.BOM_UTF16_LE + "가\ud800나".encode("utf-16-le", "surrogatepass")
    assert failure_of(reader, "a.txt", lone).reason == "encoding"
    page = read_as(reader, "a.html", "<p>가&#xD800;나&#0;다</p>".encode())
    assert page.text == "가\ufffd나\ufffd다"
    assert read_as(reader, "a.txt", TEXT.encode() * 5 + b"\0" + TEXT.encode()).text.count("\0") == 0
    assert read_as(reader, "a.csv", "가,나\n1,2\0\n".encode() + b"3,4\n" * 200).text.count("\0") == 0


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.html"])
def test_one_line_of_a_megabyte_is_kept_whole(reader: ReaderProcess, name: str) -> None:
    line = "가나다라마바사아자차 " * 100_000
    document = read_as(reader, name, line.encode())
    assert "".join(document.text.split()).count("가나다라마바사아자차") == 100_000


def test_syllables_put_together_from_pieces_are_composed(reader: ReaderProcess) -> None:
    document = read_as(reader, "a.md", "<b>가</b>\u11a8 글, **e**\u0301\n".encode())
    assert unicodedata.is_normalized("NFC", document.text)
    assert "글" in document.text


@given(data=st.binary(max_size=300), name=st.sampled_from(sorted(SUPPORTED - {".pdf"})))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_document_or_a_reason(reader: ReaderProcess, data: bytes, name: str) -> None:
    for content in (data, TEXT.encode() + data):
        try:
            document = read_as(reader, f"a{name}", content)
        except ReadFailed as failed:
            assert failed.sentence().isprintable()
        else:
            assert unicodedata.is_normalized("NFC", document.text)
            assert all(document.text[block.start : block.end].strip() for block in document.blocks)


# ---- names ----


@pytest.mark.parametrize(
    "name",
    [
        "a\nb.txt",
        "a\tb\x1b[31m.txt",
        "\u202etxt.exe.txt",
        "가" * 300 + ".txt",
        "a\ud800.txt",
        "x" * 5000 + ".docx",
        "\x00.md",
    ],
)
def test_any_name_stands_on_one_line_of_a_message_and_a_title(reader: ReaderProcess, name: str) -> None:
    for data in (b" ", b"\x00\x01\x02" * 100):
        failed = failure_of(reader, name, data)
        assert len(str(failed)) < 400
    if not name.endswith("docx"):
        title = read_as(reader, name, "본문".encode()).title
        assert title.isprintable()
        assert len(title) <= 200


def test_shown_names_keep_their_ending_and_plain_names_stay() -> None:
    assert shown_name("2024 보고서 (최종).hwp") == "2024 보고서 (최종).hwp"
    assert shown_name("가" * 300 + ".hwp").endswith("가.hwp")
    assert len(shown_name("가" * 300)) == 200


def test_a_file_that_grows_while_it_is_read_is_not_read_beyond_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 10 * MB)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab") as file:
            while not stop.is_set():
                file.write(b"y" * MB)
                time.sleep(0.001)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        with ReaderProcess() as reader, pytest.raises(ReadFailed) as caught:
            reader.read(path, name="a.txt", max_bytes=5 * MB)
    finally:
        stop.set()
        thread.join()
    assert caught.value.reason == "too_large"


# ---- old formats ----


@pytest.mark.parametrize(
    ("name", "new"), [("a.doc", "docx"), ("a.ppt", "pptx"), ("a.XLS", "xlsx"), ("a.rtf", "docx"), ("a.hml", "hwpx")]
)
def test_old_formats_are_named_with_what_to_save_them_as(reader: ReaderProcess, name: str, new: str) -> None:
    failed = failure_of(reader, name, b"\xd0\xcf\x11\xe0" + bytes(600) if new != "hwpx" else b"<HWPML>")
    assert failed.reason == "unsupported"
    assert f".{new}" in failed.hint


def test_pages_and_new_formats_behind_old_endings_are_read(reader: ReaderProcess) -> None:
    page = "\ufeff<html><table><tr><th>월<th>값<tr><td>1월<td>10</table>".encode()
    assert texts(read_as(reader, "통계.xls", page)) == ["| 월 | 값 |\n| --- | --- |\n| 1월 | 10 |"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("_rels/.rels", LINKS.format(main="word/document.xml"))
        archive.writestr("word/document.xml", BODY)
    assert read_as(reader, "a.doc", buffer.getvalue()).text == "글"
    assert failure_of(reader, "a.rtf", buffer.getvalue()).reason == "unsupported"
