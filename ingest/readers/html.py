"""HTML: headings, paragraphs, lists, tables and code; scripts, styles, navigation and hidden parts are dropped.

Parsed under limits. Knows Beautiful Soup only through what `html_child` yields.
"""

from __future__ import annotations

import re

from ingest.readers.builder import DocumentBuilder
from ingest.readers.decoding import clean, decode
from ingest.readers.sandbox import run_parser
from knowledge.types import ParsedDocument

_DECLARED = re.compile(rb"<meta[^<>]{0,200}charset\s{0,4}=\s{0,4}[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_DECLARATION_BYTES = 4096


def read_html(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encoding", "unsupported", "damaged", "too_large", "empty")."""
    declared = _DECLARED.search(data[:_DECLARATION_BYTES])
    text = decode(data, name=name, declared=declared.group(1).decode("ascii", "replace") if declared else None)
    records = run_parser("html_child", text.encode("utf-8"), name=name)
    builder = DocumentBuilder()
    page_title: str | None = None
    for record in records:
        if "title" in record:
            page_title = clean(record["title"])
        elif record["kind"] == "heading":
            builder.heading(record["level"], clean(record["text"]))
        else:
            builder.block(clean(record["text"]), kind=record["kind"])
    return builder.build(name=name, titles=(builder.first_top_heading, page_title))
