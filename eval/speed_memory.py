"""Memory that ingesting a large folder takes, against a small one: of the command, and of it with all it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from eval.speed_bench import Bench, Line, Measured, Memory, memory_of
from eval.speed_files import picture_file, shipped_paragraphs
from settings import PROJECT_DIR

GOAL_BYTES = 300_000_000
_MB = 1_000_000
_ENDINGS = (".docx", ".pptx", ".pdf")
# Sizes of the pictures in MB and how many files have them; as many texts again have none.
_SMALL = ((0.3, 30),)
_LARGE = ((150, 1), (100, 2), (50, 3), (10, 30), (0.7, 280))
_QUICK = ((5, 1), (0.5, 10))


def measure(bench: Bench) -> Measured:
    plan = {"small": _SMALL, "large": _QUICK if bench.is_quick else _LARGE}
    peaks: dict[str, Memory] = {}
    numbers: dict[str, Any] = {}
    for name, sizes in plan.items():
        folder = bench.scratch / name
        size, count = _make(folder, sizes)
        began = time.perf_counter()
        peaks[name] = _ingest(bench, folder)
        numbers[name] = {
            "bytes": size,
            "files": count,
            "seconds": time.perf_counter() - began,
            "command_peak_bytes": peaks[name].alone,
            "together_peak_bytes": peaks[name].together,
            "reader_peak_bytes": peaks[name].largest_child,
        }
    small, large = peaks["small"], peaks["large"]
    sizes_shown = " and ".join(f"{numbers[name]['bytes'] / _MB:,.0f} MB" for name in plan)
    grown = large.together - small.together
    lines = [
        Line(
            f"memory that ingesting a folder takes more, of {sizes_shown}: command and readers together",
            _mb(grown),
            f"≤ {_mb(GOAL_BYTES)}",
            grown <= GOAL_BYTES,
        ),
        Line("… their peaks", f"{_mb(small.together)} and {_mb(large.together)}"),
        Line("… peaks of the command alone", f"{_mb(small.alone)} and {_mb(large.alone)}"),
        Line("… peaks of the largest reader", f"{_mb(small.largest_child)} and {_mb(large.largest_child)}"),
    ]
    return Measured(lines, numbers)


def _mb(size: int) -> str:
    return f"{size / _MB:,.0f} MB"


def _make(folder: Path, sizes: tuple[tuple[float, int], ...]) -> tuple[int, int]:
    """Fills `folder`; bytes and files that it then has. Every file has one paragraph, whatever its size."""
    folder.mkdir()
    paragraphs = shipped_paragraphs(PROJECT_DIR / "knowledge" / "docs")
    number = 0
    for picture_mb, count in sizes:
        for _ in range(count):
            for ending in (_ENDINGS[number % len(_ENDINGS)], ".txt"):
                paragraph = f"{number}. {paragraphs[number % len(paragraphs)]}".translate({38: " ", 60: " ", 62: " "})
                picture_file(folder / f"{number:04}{ending}", paragraph, picture_bytes=round(picture_mb * _MB))
            number += 1
    return sum(file.stat().st_size for file in folder.iterdir()), 2 * number


def _ingest(bench: Bench, folder: Path) -> Memory:
    said = bench.scratch / "said.txt"
    with bench.database() as (_, url), said.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ingest", "add", str(folder)],
            env=os.environ | {"DATABASE_URL": url, "DATA_DIR": str(bench.scratch / "data")},
            cwd=PROJECT_DIR, stdout=log, stderr=log,
        )  # fmt: skip
        with memory_of(process.pid) as memory:
            status = process.wait()
    if status != 0:
        raise RuntimeError(f"ingesting {folder.name} ended with {status}: {said.read_text()[-500:]}")
    return memory
