"""What the readers of Office, OpenDocument and EPUB files share: what the file really is, and pieces to a document.

Parsed under limits (`office_child`). Knows no XML.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingest.readers.builder import DocumentBuilder
from ingest.readers.decoding import clean
from ingest.readers.headings import article, division
from ingest.readers.sandbox import Record, run_parser
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument, Place

_OLE = b"\xd0\xcf\x11\xe0"
# Streams of the old container, as its directory names them. Searching the bytes for a name needs no parser.
_OLE_STREAMS = (
    ("WordDocument", "an old Word document (.doc)"),
    ("PowerPoint Document", "an old presentation (.ppt)"),
    ("Workbook", "an old workbook (.xls)"),
    ("HwpSummaryInformation", "a Hangul document (.hwp)"),
)
_MAGIC = (
    (b"%PDF", "a PDF"),
    (b"{\\rtf", "an RTF document"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x8b", "a gzip file"),
)
_FORMATS = {
    "docx": "a Word document (.docx)",
    "pptx": "a presentation (.pptx)",
    "xlsx": "a workbook (.xlsx)",
    "xlsb": "a binary workbook (.xlsb)",
    "odt": "an OpenDocument text (.odt)",
    "ods": "an OpenDocument spreadsheet (.ods)",
    "odp": "an OpenDocument presentation (.odp)",
    "epub": "an e-book (.epub)",
    "zip": "some other ZIP file",
}
_JUNK_TITLE = re.compile(
    r"(?:microsoft (?:word|powerpoint|excel)\b|powerpoint\b|untitled|제목 ?없음|무제|slide ?\d*$|슬라이드 ?\d*$"
    r"|document\d*$|문서 ?\d*$|presentation\d*$|프레젠테이션 ?\d*$|.*\.\w{2,5}$)",
    re.I,
)
_MAX_DIVISION_CHARS = 60
_STALL_S = 60.0  # a large part is read whole before its first piece comes


def office_records(data: bytes, *, name: str, kind: str) -> list[Record]:
    """The pieces of a file that must be of `kind` ("docx", "xlsx", …).

    Raises:
        ReadFailed: "encrypted", "damaged", "too_large" or "unsupported" (an old binary format).
    """
    _refuse_other_content(data, name, kind)
    records = run_parser("office_child", data, name=name, stall_s=_STALL_S)
    found = next((record["format"] for record in records if "format" in record), "zip")
    if found != kind:
        raise _is_really(name, _FORMATS[found], kind)
    return records


def title_of(records: Sequence[Record]) -> str | None:
    """The title the file's properties give, unless its program made it up."""
    title = next((clean(record["title"]).strip() for record in records if "title" in record), "")
    return None if not title or _JUNK_TITLE.match(title) else title


def no_text(name: str, *, hint: str = "If it holds pictures of text, run text recognition (OCR) first.") -> ReadFailed:
    return ReadFailed(f"{name} holds no text that can be read.", reason="no_text", hint=hint)


def build_flow(records: Sequence[Record], *, name: str) -> ParsedDocument:
    """A document of headings, paragraphs, lists and tables that has no pages.

    Raises:
        ReadFailed: "no_text".
    """
    builder = DocumentBuilder()
    pieces = [(record["kind"], clean(record["text"]), record.get("level", 1)) for record in records if "kind" in record]
    pieces = [piece for piece in pieces if piece[1].strip()]
    if not pieces:
        raise no_text(name)
    # Paragraphs in the style "Title" that open the document are its title, as long as more follows.
    opening = next((n for n, (kind, _, _) in enumerate(pieces) if kind != "called"), 0)
    called = " ".join(text for _, text, _ in pieces[:opening])
    for kind, text, level in pieces[opening:]:
        if kind == "heading":
            builder.heading(level, text)
        else:
            _add(builder, "paragraph" if kind == "called" else kind, text)
    return builder.build(name=name, titles=(called, title_of(records), builder.first_top_heading))


def build_slides(records: Sequence[Record], *, name: str) -> ParsedDocument:
    """A document of slides: a slide's title heads what stands on that slide and nothing else.

    Raises:
        ReadFailed: "no_text".
    """
    builder = DocumentBuilder()
    pieces = [(record["slide"], record["kind"], clean(record["text"])) for record in records if "slide" in record]
    if not pieces:
        raise no_text(name)
    first_title: str | None = None
    titled = 0
    for (slide, kind, text), (following, _, _) in zip(pieces, [*pieces[1:], (0, "", "")], strict=True):
        place = Place(slide=slide)
        if kind != "heading":
            builder.block(text, kind=kind, place=place, heading=None if titled == slide else ())
            continue
        first_title = first_title or text
        if following == slide:
            builder.heading(1, text, place=place)
            titled = slide
        else:  # nothing but a title: it is what the slide says
            builder.block(text, place=place, heading=(text,))
    return builder.build(name=name, titles=(title_of(records), first_title))


def _add(builder: DocumentBuilder, kind: str, text: str) -> None:
    """Korean rules are seldom written with heading styles: "제1장 총칙" and "제3조(일수) …" open sections as in a PDF."""
    if kind == "paragraph":
        level = division(text) if len(text) <= _MAX_DIVISION_CHARS else None
        if level:
            builder.heading(level, text)
            return
        opened = article(text)
        if opened:
            builder.heading(*opened, in_text=False)
    builder.block(text, kind=kind)


def _refuse_other_content(data: bytes, name: str, kind: str) -> None:
    if data.startswith(_OLE):
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise ReadFailed(
                f"{name} is protected by a password.", reason="encrypted", hint="Save a copy without the password."
            )
        old = next((what for stream, what in _OLE_STREAMS if stream.encode("utf-16-le") in data), "an old Office file")
        raise ReadFailed(
            f"{name} is really {old}, which cannot be read.",
            reason="unsupported",
            hint=f"Open it and save it as .{kind}.",
        )
    what = next((what for magic, what in _MAGIC if data.startswith(magic)), None)
    if what is None and data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        what = "a web page or XML file"
    if what:
        raise _is_really(name, what, kind)


def _is_really(name: str, what: str, kind: str) -> ReadFailed:
    return ReadFailed(
        f"{name} is really {what}, not {_FORMATS[kind]}.",
        reason="damaged",
        hint="Give it its right ending, or save it again in the format of its ending.",
    )
