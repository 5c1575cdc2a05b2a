"""HWP 5 and HWPX, the formats of Hancom's word processor, parsed under limits.

Which of the two a file is, is decided by its first bytes: many carry the other's ending. Knows the formats only
through what `hwp_child` and `hwpx_child` yield.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingest.readers.builder import DocumentBuilder
from ingest.readers.decoding import clean
from ingest.readers.headings import article, division
from ingest.readers.sandbox import Record, run_parser
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument

_CHILDREN = {b"PK\x03\x04": "hwpx_child", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "hwp_child"}
_HWP3 = b"HWP Document File V"
_SAVE_AS = "Open it in Hancom Office and save it as HWPX or PDF."
_JUNK_TITLE = re.compile(r"(?:제목|제목 ?없음|무제|빈 문서.*|untitled|document ?\d*|.*\.\w{2,5})$", re.IGNORECASE)
_TITLE_MARKS = " \t□■○●◎◇◆▶▷※*-·•ㅇ❏❍"
_MIN_TITLE_LETTERS = 2
_DIVISION_HEAD_CHARS = 60
# The top level of public bodies' documents, mostly typed without a style: "Ⅲ. 입찰 및 계약".
_ROMAN_HEADING = re.compile(r"(?:[Ⅰ-Ⅻ] ?\.?|[IVX]{1,4}\.) ?[가-힣][^\n]{1,38}(?<![.,;다\d])$")


def read_hwp(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encrypted", "unsupported", "damaged", "too_large", "empty")."""
    records = run_parser(_child(data, name), data, name=name)
    problem = next((record for record in records if "problem" in record), None)
    if problem:
        raise _failure(problem["problem"], problem["what"], name)
    builder = DocumentBuilder()
    own_title: str | None = None
    for record in records:
        if "kind" not in record:
            continue
        kind, text = record["kind"], clean(record["text"])
        if kind == "heading":
            own_title = own_title or (text if record["level"] == 0 else None)
            builder.heading(record["level"], text)
            continue
        level = _typed_level(text) if kind == "paragraph" else None
        if level is not None:
            builder.heading(level, text)
            continue
        opened = article(text) if kind == "paragraph" else None
        if opened:
            builder.heading(*opened, in_text=False)
        builder.block(text, kind=kind)
    return builder.build(name=name, titles=(own_title, _kept_title(records), builder.first_top_heading))


def _typed_level(text: str) -> int | None:
    if "\n" in text or len(text) > _DIVISION_HEAD_CHARS:
        return None
    return 1 if _ROMAN_HEADING.match(text) else division(text)


def _child(data: bytes, name: str) -> str:
    for magic, child in _CHILDREN.items():
        if data.startswith(magic):
            return child
    if data.startswith(_HWP3):
        raise ReadFailed(
            f"{name} is of HWP 3, the format of Hangul 97 and older, which cannot be read.",
            reason="unsupported",
            hint=_SAVE_AS,
        )
    raise ReadFailed(
        f"{name} is neither an HWP 5 nor an HWPX file.", reason="unsupported", hint=f"Check its ending. {_SAVE_AS}"
    )


def _kept_title(records: Sequence[Record]) -> str | None:
    """The title in the file's properties, unless the text no longer has it.

    Hangul fills it with the first line when a file is first saved, and keeps it when the file becomes another.
    """
    title = next((clean(record["title"]) for record in records if "title" in record), "").strip(_TITLE_MARKS)
    if _JUNK_TITLE.match(title) or sum(char.isalpha() for char in title) < _MIN_TITLE_LETTERS:
        return None
    words = "".join(title.split())
    return title if any(words in "".join(clean(record.get("text", "")).split()) for record in records) else None


def _failure(reason: str, what: str, name: str) -> ReadFailed:
    if reason == "encrypted":
        return ReadFailed(
            f"{name} is protected by a password or certificate.",
            reason=reason,
            hint="Save a copy without the protection.",
        )
    if reason == "unsupported":
        return ReadFailed(f"{name} cannot be read: {what}.", reason=reason, hint=_SAVE_AS)
    if reason == "too_large":
        return ReadFailed(f"{name} is too large to read: {what}.", reason=reason, hint="Split it.")
    return ReadFailed(f"{name} is damaged: {what}.", reason="damaged", hint=f"Get it again. {_SAVE_AS}")
