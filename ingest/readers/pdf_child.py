"""Prints the text of the PDF on standard input, a JSON object a page; run by `sandbox`, never imported.

Knows pypdf and nothing of this project, so that it starts fast.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from pypdf import PasswordType, PdfReader
from pypdf.errors import PdfReadError

_MAX_OUTLINE = 2000
_MAX_OUTLINE_DEPTH = 6


def _emit(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def _outline(reader: PdfReader) -> list[tuple[int, str, int]]:
    """Bookmarks as (depth from 1, title, page from 0)."""
    found: list[tuple[int, str, int]] = []

    def walk(items: list[Any], depth: int) -> None:
        for item in items:
            if len(found) >= _MAX_OUTLINE:
                return
            if isinstance(item, list):
                if depth < _MAX_OUTLINE_DEPTH:
                    walk(item, depth + 1)
            elif item.title and (page := reader.get_destination_page_number(item)) is not None:
                found.append((depth, str(item.title), page))

    try:
        walk(reader.outline, 1)
    except Exception:  # noqa: BLE001 - bookmarks are a help only; pypdf raises many types on broken ones
        return []
    return found


def _page_text(reader: PdfReader, index: int) -> str | None:
    try:
        return str(reader.pages[index].extract_text())
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - one broken page does not lose the others
        return None


def main() -> None:
    logging.disable(logging.CRITICAL)
    reader = PdfReader(sys.stdin.buffer, strict=False)
    if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        _emit({"error": "encrypted"})
        return
    count = len(reader.pages)
    _emit({"steps": count})
    broken = 0
    metadata = reader.metadata
    _emit({"title": str(metadata.title or "") if metadata else ""})
    for index in range(count):
        text = _page_text(reader, index)
        broken += text is None
        _emit({"page": index + 1, "text": text or ""})
    if broken and broken == count:
        _emit({"error": "damaged"})
        return
    _emit({"outline": _outline(reader)})
    _emit({"done": True})


if __name__ == "__main__":
    try:
        main()
    except MemoryError:
        _emit({"error": "too_large"})
    except OSError:  # the output limit
        _emit({"error": "too_large"})
    except (PdfReadError, RecursionError, Exception):  # noqa: BLE001 - whatever pypdf raises, the file is at fault
        _emit({"error": "damaged"})
