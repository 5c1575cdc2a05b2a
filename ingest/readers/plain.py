"""Plain text: paragraphs between blank lines, lists and tables as they stand. Knows no markup."""

from __future__ import annotations

import re

from ingest.readers.builder import DocumentBuilder
from ingest.readers.decoding import decode
from ingest.readers.headings import article, division
from knowledge.types import ParsedDocument

_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
_LIST_START = re.compile(r"[^\S\n]*(?:[-*•·▪○●■□▶※] |\d{1,3}[.)] |[가-하][.)] |[①-⑳])")


def read_plain(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encoding", "unsupported", "empty")."""
    builder = DocumentBuilder()
    for paragraph in _BLANK_LINES.split(decode(data, name=name)):
        _add(builder, paragraph.strip("\n"))
    return builder.build(name=name)


def _add(builder: DocumentBuilder, paragraph: str) -> None:
    """Add a paragraph, cut before lines that open a chapter or an article."""
    pending: list[str] = []
    for line in paragraph.split("\n"):
        level, opened = division(line), article(line.lstrip())
        if level or opened:
            _flush(builder, pending)
            pending = []
        if level:
            builder.heading(level, line)
            continue
        if opened:
            builder.heading(*opened, in_text=False)
        pending.append(line)
    _flush(builder, pending)


def _flush(builder: DocumentBuilder, lines: list[str]) -> None:
    text = "\n".join(lines)
    builder.block(text, kind="list" if _LIST_START.match(text) else "paragraph")
