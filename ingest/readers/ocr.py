"""Text recognition (OCR) of PDF pages with tesseract, where it is installed with Korean and English. Knows no layout.

Found by itself: `apt-get install tesseract-ocr tesseract-ocr-kor tesseract-ocr-eng` is all the setting there is.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence

from ingest.readers.sandbox import Record, run_parser
from knowledge.errors import ReadFailed

LANGUAGES = ("kor", "eng")
INSTALL_HINT = "install tesseract with the languages kor and eng"
_LIST_TIMEOUT_S = 10.0
_STALL_S = 60.0  # for one page


def find_tesseract() -> str | None:
    """Path of the tesseract program if it can read Korean and English."""
    program = shutil.which("tesseract")
    if program is None:
        return None
    try:
        listed = subprocess.run(
            [program, "--list-langs"], capture_output=True, text=True, timeout=_LIST_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    return program if set(LANGUAGES) <= set(listed.stdout.split()) else None


def recognise(data: bytes, *, pages: Sequence[int], program: str, name: str) -> list[Record]:
    """{"page", "lines"} of each of the `pages` (from 1) of the PDF `data`.

    Raises:
        ReadFailed: "too_large" if that takes more than the two minutes a file has.
    """
    head = json.dumps({"pages": list(pages), "program": program, "languages": "+".join(LANGUAGES)}).encode()
    try:
        records = run_parser("ocr_child.py", head + b"\n" + data, name=name, stall_s=_STALL_S)
    except ReadFailed as exc:
        if exc.reason != "too_large":
            raise
        raise ReadFailed(
            f"{name} has {len(pages)} scanned page{'s' * (len(pages) != 1)}, more than can be recognised in time.",
            reason="too_large",
            hint="Split it, or run text recognition (OCR) on it with another program first.",
        ) from exc
    return [record for record in records if "page" in record]
