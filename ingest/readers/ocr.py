"""Text recognition (OCR) of PDF pages with tesseract, where it is installed with Korean and English. Knows no layout.

Found by itself: `apt-get install tesseract-ocr tesseract-ocr-kor tesseract-ocr-eng` is all the setting there is.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence

from ingest.readers.sandbox import Record, file_limit_s, run_as_far_as_it_goes
from knowledge.errors import ReadFailed

LANGUAGES = ("kor", "eng")
INSTALL_HINT = "install tesseract with the languages kor and eng"
_LIST_TIMEOUT_S = 10.0
_STALL_S = 60.0  # for one page
_TIME_SHARE = 0.9  # of the time that a file has; the rest is for what is made of the words
_MIN_S = 1.0


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


def recognise(
    data: bytes, *, pages: Sequence[int], program: str, name: str, spent_s: float = 0.0
) -> tuple[list[Record], ReadFailed | None]:
    """{"page", "lines"} of the `pages` (from 1) of the PDF `data`; and why some of them are missing, if they are.

    `spent_s`: what the file has taken until now of the time that it has.
    """
    head = json.dumps({"pages": list(pages), "program": program, "languages": "+".join(LANGUAGES)}).encode()
    records, failure = run_as_far_as_it_goes(
        "ocr_child.py",
        head + b"\n" + data,
        name=name,
        stall_s=_STALL_S,
        limit_s=max(_TIME_SHARE * file_limit_s() - spent_s, _MIN_S),
    )
    if failure and failure.reason == "too_large":
        failure = ReadFailed(
            f"{name} has {len(pages)} scanned page{'s' * (len(pages) != 1)}, more than can be recognised in time.",
            reason="too_large",
            hint="Split it, or run text recognition (OCR) on it with another program first.",
        )
    return [record for record in records if "page" in record], failure
