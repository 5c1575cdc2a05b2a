"""Memory and time that a long PDF takes, in the process that reads it."""

from __future__ import annotations

import os
import statistics

from eval.speed_bench import Bench, Line, Measured, clock, descendants, median_and_spread, memory_of
from eval.speed_files import long_pdf, shipped_paragraphs
from ingest.reader_process import ReaderProcess
from settings import PROJECT_DIR

PAGES = 500
GOAL_BYTES = 10**9


def measure(bench: Bench) -> Measured:
    pages, rounds = (20, 1) if bench.is_quick else (PAGES, 3)
    file = bench.scratch / "long.pdf"
    long_pdf(file, shipped_paragraphs(PROJECT_DIR / "knowledge" / "docs"), pages=pages)
    seconds, peaks, chars = [], [], 0
    for _ in range(rounds):
        servers = descendants(os.getpid())
        with (
            ReaderProcess(timeout_s=300) as reader,
            memory_of(os.getpid(), besides=servers) as memory,
            clock() as spent,
        ):
            document, _ = reader.read(file, name=file.name, max_bytes=file.stat().st_size)
        seconds.append(spent().wall_s)
        peaks.append(memory.largest_child)
        chars = len(document.text)
        if {block.place.page for block in document.blocks} != set(range(1, pages + 1)):
            raise RuntimeError("pages are missing")
    peak = max(peaks)
    lines = [
        Line(
            f"peak memory of the process that reads a PDF of {pages} pages",
            f"{peak / 1e6:.0f} MB",
            "≤ 1 GB",
            peak <= GOAL_BYTES,
        ),
        Line("… seconds, its start included", median_and_spread(seconds, digits=1)),
        Line("… characters read", f"{chars:,}"),
    ]
    numbers = {
        "pages": pages,
        "chars": chars,
        "peak_bytes": peaks,
        "seconds": seconds,
        "median_s": statistics.median(seconds),
    }
    return Measured(lines, numbers)
