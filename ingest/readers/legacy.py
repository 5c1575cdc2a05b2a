"""Formats that are not read, so that their files are named with what to do; and what often hides behind their endings.

Web services call HTML tables ".xls", and programs save new formats under old endings: those are read as what they are.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import PurePath

from ingest.readers.files import shown_name
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument

_ZIP = b"PK\x03\x04"
_MARKUP = (b"<html", b"<!doctype html", b"<table", b"<meta", b"<head", b"<body", b"<style", b"<div")
_MARKUP_BYTES = 1024
_NEW = {
    ".doc": ("docx", "an old Word document"),
    ".ppt": ("pptx", "an old presentation"),
    ".pps": ("pptx", "an old presentation"),
    ".xls": ("xlsx", "an old workbook"),
    ".xlsb": ("xlsx", "a binary workbook"),
    ".rtf": ("docx", "an RTF document"),
    ".hml": ("hwpx", "a Hangul XML document"),
    ".pages": ("docx", "an Apple Pages document"),
    ".numbers": ("xlsx", "an Apple Numbers spreadsheet"),
    ".key": ("pptx", "an Apple Keynote presentation"),
    ".msg": ("eml", "an Outlook message"),
}
_OFTEN_NEW = frozenset({".doc", ".ppt", ".pps", ".xls"})
_OFTEN_HTML = frozenset({".doc", ".xls"})
ENDINGS = frozenset(_NEW)


def read_legacy(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("unsupported" for what the ending says it is, else as the format that it really is)."""
    suffix = PurePath(name).suffix.lower()
    new, what = _NEW[suffix]
    if suffix in _OFTEN_NEW and data.startswith(_ZIP):
        return _reader(new)(data, name=name)
    if suffix in _OFTEN_HTML and data[:_MARKUP_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_MARKUP):
        return _reader("html")(data, name=name)
    raise ReadFailed(
        f"{shown_name(name)} is {what} ({suffix}), which cannot be read.",
        reason="unsupported",
        hint=f"Open it in the program that made it and save it as .{new} or PDF.",
    )


def _reader(kind: str) -> Callable[..., ParsedDocument]:
    reader: Callable[..., ParsedDocument] = getattr(import_module(f"ingest.readers.{kind}"), f"read_{kind}")
    return reader
