"""Files to text: `read` picks the reader for a file's ending. Knows nothing about chunks, embeddings or the database.

A new format is one module with `read_xxx(data, *, name)` and one line in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path, PurePath

from ingest.readers.files import read_bytes
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument

__all__ = ["SUPPORTED", "read"]

# Ending → module and function; a parser is imported when its first file comes.
_READERS = {
    ".md": "markdown:read_markdown",
    ".markdown": "markdown:read_markdown",
    ".txt": "plain:read_plain",
    ".pdf": "pdf:read_pdf",
    ".csv": "table:read_table",
    ".tsv": "table:read_table",
    ".html": "html:read_html",
    ".htm": "html:read_html",
    ".hwp": "hwp:read_hwp",
    ".hwpx": "hwp:read_hwp",
    ".docx": "docx:read_docx",
    ".pptx": "pptx:read_pptx",
    ".xlsx": "xlsx:read_xlsx",
    ".xlsm": "xlsx:read_xlsx",
    ".odt": "odt:read_odt",
    ".ods": "odt:read_ods",
    ".odp": "odt:read_odp",
    ".epub": "epub:read_epub",
    ".eml": "eml:read_eml",
}
SUPPORTED: frozenset[str] = frozenset(_READERS)


def read(path: Path, *, name: str | None = None, max_bytes: int) -> ParsedDocument:
    """Text and structure of the file at `path`. `name` is what errors and the title call it (default: the file's own).

    Raises:
        ReadFailed: with one of its reasons; the message names the file, the hint says what to do.
    """
    name = name or path.name
    suffix = PurePath(name).suffix.lower() or path.suffix.lower()
    if suffix not in _READERS:
        known = ", ".join(sorted(SUPPORTED))
        raise ReadFailed(
            f"{name} has an ending that cannot be read ({suffix or 'none'}).",
            reason="unsupported",
            hint=f"Convert it to one of {known}.",
        )
    data = read_bytes(path, name=name, max_bytes=max_bytes)
    if not data.strip():
        raise ReadFailed(f"{name} is empty.", reason="empty", hint="Remove it, or save it again with content.")
    return _reader(suffix)(data, name=name)


def _reader(suffix: str) -> Callable[..., ParsedDocument]:
    module, function = _READERS[suffix].split(":")
    reader: Callable[..., ParsedDocument] = getattr(import_module(f"{__name__}.{module}"), function)
    return reader
