"""E-mail messages (.eml): sender, receivers, date and subject, then the text; attachments are named and not read.

Knows no MIME: `eml_child` reads it under limits with the standard library's `email`, whose parsers of
addresses and headers are slow on hostile input.
"""

from __future__ import annotations

import re

from ingest.readers.builder import DocumentBuilder
from ingest.readers.decoding import clean
from ingest.readers.sandbox import run_parser
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument

_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
_HEADERS = ("From", "To", "Cc", "Date", "Subject")


def read_eml(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encrypted", "damaged", "no_text", "too_large")."""
    message = run_parser("eml_child", data, name=name)[0]
    headers = {key: " ".join(clean(value).split()) for key, value in message["headers"].items()}
    if not message["is_message"]:
        raise ReadFailed(
            f"{name} is no e-mail message: it has none of an e-mail's headers.",
            reason="damaged",
            hint="Save the message as .eml again, or give the file its right ending.",
        )
    builder = DocumentBuilder()
    builder.block("\n".join(f"{key}: {headers[key]}" for key in _HEADERS if headers.get(key)))
    if message["html"]:
        for record in run_parser("html_child", message["html"].encode("utf-8", "replace"), name=name):
            if record.get("kind") == "heading":
                builder.heading(record["level"], clean(record["text"]))
            elif "kind" in record:
                builder.block(clean(record["text"]), kind=record["kind"])
    else:
        for paragraph in _BLANK_LINES.split(clean(message["text"])):
            builder.block(paragraph.strip("\n"))
    if message["attachments"]:
        names = ", ".join(" ".join(clean(item).split()) for item in message["attachments"])
        builder.block(f"Attachments: {names}", heading=())
    return builder.build(name=name, titles=(headers.get("Subject"),))
