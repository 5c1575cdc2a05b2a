"""Prints the lines that tesseract sees on pages of a PDF, a JSON object a page; run by `sandbox`, never imported.

Standard input: a line of JSON {"pages", "program", "languages"}, then the PDF.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import pypdfium2

sys.path.append(str(Path(__file__).resolve().parents[2]))

from ingest.readers.ocr_words import word_segments
from ingest.readers.parsing import die_with_parent
from ingest.readers.pdf_columns import page_lines
from ingest.readers.pdf_edges import with_edges

_DPI = 300
# Its own search for columns (3, the default) left out whole lines of Korean pages; those are found by `page_lines`.
_ONE_BLOCK = "6"
_MAX_PIXELS = 20_000_000  # A4 at 300 dpi has 8.7 million
_PAGE_TIMEOUT_S = 50.0  # a page full of small print took 12 s on one slow core
_MAX_AT_ONCE = 4
_STEPS = 180  # two minutes for a file; see sandbox


def _emit(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def _picture(document: pypdfium2.PdfDocument, number: int) -> bytes:
    """The page as a grey PGM picture."""
    page = document[number - 1]
    try:
        area = max(page.get_width() * page.get_height(), 1.0)
        scale = min(_DPI / 72, math.sqrt(_MAX_PIXELS / area))
        bitmap = page.render(scale=scale, grayscale=True, optimize_mode=None)
        rows = bytes(bitmap.buffer)
        if bitmap.stride != bitmap.width:
            rows = b"".join(
                rows[at : at + bitmap.width] for at in range(0, bitmap.stride * bitmap.height, bitmap.stride)
            )
        return b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + rows
    finally:
        page.close()


class _Reading:
    """One tesseract at work on one page."""

    def __init__(self, number: int, picture: bytes, *, program: str, languages: str, folder: str) -> None:
        self.number = number
        self._deadline = time.monotonic() + _PAGE_TIMEOUT_S
        self._output = Path(folder) / str(number)
        with tempfile.TemporaryFile() as source:
            source.write(picture)
            source.seek(0)
            options = ["-l", languages, "--dpi", str(_DPI), "--psm", _ONE_BLOCK, "tsv", "txt"]
            # One thread each: tesseract's own threads make it slower where several run (tesseract-ocr issue 3109).
            self._process = subprocess.Popen(
                [program, "stdin", str(self._output), *options],
                stdin=source,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OMP_THREAD_LIMIT": "1"},
                preexec_fn=die_with_parent,  # there are no threads here
            )

    def record(self) -> dict[str, Any]:
        """What it read, once it is ready; no lines if it could read nothing."""
        self._process.wait(timeout=max(self._deadline - time.monotonic(), 0.1))
        segments = word_segments(self._text(".tsv"), self._text(".txt"), points_per_pixel=72 / _DPI)
        lines = page_lines(with_edges(segments))
        # Letters' heights are too uncertain to tell headings from text.
        return {"page": self.number, "lines": [replace(line, size=0.0).to_json() for line in lines]}

    def _text(self, ending: str) -> str:
        path = self._output.with_suffix(ending)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def main() -> None:
    head = json.loads(sys.stdin.buffer.readline())
    document = pypdfium2.PdfDocument(sys.stdin.buffer.read())
    _emit({"steps": _STEPS})
    with tempfile.TemporaryDirectory() as folder:
        _recognise(document, head, folder)
    _emit({"done": True})


def _recognise(document: pypdfium2.PdfDocument, head: dict[str, Any], folder: str) -> None:
    at_once = min(os.cpu_count() or 1, _MAX_AT_ONCE)
    at_work: deque[_Reading] = deque()
    try:
        for number in head["pages"]:
            if len(at_work) == at_once:
                _emit(at_work[0].record())
                at_work.popleft()
            reading = _Reading(
                number,
                _picture(document, number),
                program=head["program"],
                languages=head["languages"],
                folder=folder,
            )
            at_work.append(reading)
        while at_work:
            _emit(at_work[0].record())
            at_work.popleft()
    finally:
        for reading in at_work:
            reading.end()


if __name__ == "__main__":
    try:
        main()
    except (MemoryError, subprocess.TimeoutExpired, OSError):
        _emit({"error": "too_large"})
    except Exception:  # noqa: BLE001 - whatever the parser raises, the file is at fault
        _emit({"error": "damaged"})
