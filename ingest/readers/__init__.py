"""Files to text: `read` picks the reader for a file's ending. Knows nothing about chunks, embeddings or the database.

A new format is one module with `read_xxx(data, *, name)` and one line in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path, PurePath

from ingest.readers.files import read_bytes, shown_name
from ingest.readers.legacy import ENDINGS as _LEGACY
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument

__all__ = ["ARCHIVES", "SUPPORTED", "read", "read_bytes_as"]

# Ending → module and function; a parser is imported when its first file comes.
_READERS = {
    ".md": "markdown:read_markdown",
    ".markdown": "markdown:read_markdown",
    ".txt": "plain:read_plain",
    ".text": "plain:read_plain",
    ".rst": "plain:read_plain",
    ".pdf": "pdf:read_pdf",
    ".csv": "table:read_table",
    ".tsv": "table:read_table",
    ".html": "html:read_html",
    ".htm": "html:read_html",
    ".xhtml": "html:read_html",
    ".hwp": "hwp:read_hwp",
    ".hwpx": "hwp:read_hwp",
    ".hwt": "hwp:read_hwp",  # a template, stored like .hwp
    ".docx": "docx:read_docx",
    ".docm": "docx:read_docx",
    ".pptx": "pptx:read_pptx",
    ".pptm": "pptx:read_pptx",
    ".ppsx": "pptx:read_pptx",
    ".xlsx": "xlsx:read_xlsx",
    ".xlsm": "xlsx:read_xlsx",
    ".odt": "odt:read_odt",
    ".ods": "odt:read_ods",
    ".odp": "odt:read_odp",
    ".epub": "epub:read_epub",
    ".eml": "eml:read_eml",
    **dict.fromkeys(_LEGACY, "legacy:read_legacy"),
}
# A folder in one file: not read itself, but what is in it (archive.py).
ARCHIVES = frozenset({".zip"})
# Every ending that `read` has something to say about, if only what to save the file as.
SUPPORTED: frozenset[str] = frozenset(_READERS) | ARCHIVES


def read(path: Path, *, name: str | None = None, max_bytes: int) -> ParsedDocument:
    """Text and structure of the file at `path`. `name` is what errors and the title call it (default: the file's own).

    Raises:
        ReadFailed: with one of its reasons; the message names the file, the hint says what to do.
    """
    name = name or path.name
    if not PurePath(name).suffix:
        name += path.suffix
    reader = _reader(name)
    return _read(reader, read_bytes(path, name=name, max_bytes=max_bytes), name)


def read_bytes_as(data: bytes, *, name: str) -> ParsedDocument:
    """Text and structure of `data`, read as the format that the ending of `name` says.

    Raises:
        ReadFailed: as `read`.
    """
    return _read(_reader(name), data, name)


def _read(reader: Callable[..., ParsedDocument], data: bytes, name: str) -> ParsedDocument:
    name = shown_name(name)
    if not data.strip():
        raise ReadFailed(f"{name} is empty.", reason="empty", hint="Remove it, or save it again with content.")
    return reader(data, name=name)


def _reader(name: str) -> Callable[..., ParsedDocument]:
    suffix = PurePath(name).suffix.lower()
    if suffix not in _READERS:
        known = ", ".join(sorted(frozenset(_READERS) - _LEGACY))
        raise ReadFailed(
            f"{shown_name(name)} has an ending that cannot be read ({shown_name(suffix) or 'none'}).",
            reason="unsupported",
            hint=f"Convert it to one of {known}.",
        )
    module, function = _READERS[suffix].split(":")
    reader: Callable[..., ParsedDocument] = getattr(import_module(f"{__name__}.{module}"), function)
    return reader
