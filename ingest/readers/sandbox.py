"""Runs a parser script in a process of its own, with limits on time, memory and output. Knows no formats.

Files can be made so that a parser needs minutes or all memory (pypdf: CVE-2026-28351; 180 kB of "<a <a <a" kept
html.parser busy for over a minute). The process is killed then, and other files go on.

The script reads the file from standard input and prints one JSON object a line. {"steps": n} in the first line
gives it more time in total; every line printed shows that it moves on. {"error": reason} says why it gave up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from knowledge.errors import ReadFailed

_MAIN = Path(__file__).with_name("sandbox_main.py")
_MEMORY_BYTES = 1536 * 1024 * 1024
_OUTPUT_BYTES = 128 * 1024 * 1024
_STALL_S = 30.0  # without a new line
_BASE_S = 30.0
_PER_MB_S = 0.2
_PER_STEP_S = 0.5
_MAX_S = 900.0

Record = dict[str, Any]


def run_parser(script: str, data: bytes, *, name: str, stall_s: float = _STALL_S) -> list[Record]:
    """The objects that `script` (a file beside this one) prints for `data`.

    Raises:
        ReadFailed: "too_large" if it ran into a limit, "damaged" if it died, else the reason it gave.
    """
    base_s = min(_BASE_S, stall_s) + _PER_MB_S * len(data) / 2**20
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(data)
        source.seek(0)
        # -I: no current directory and no PYTHON* variables; the document decides nothing about what is imported.
        limits = [str(_MEMORY_BYTES), str(int(_MAX_S)), str(_OUTPUT_BYTES)]
        process = subprocess.Popen(
            [sys.executable, "-I", str(_MAIN), str(_MAIN.with_name(script)), *limits],
            stdin=source,
            stdout=output,
            stderr=subprocess.DEVNULL,
        )
        try:
            finished = _wait(process, output, base_s=base_s, stall_s=stall_s)
        finally:
            process.kill()
            process.wait()
        records = _records(output)
    error = next((record["error"] for record in records if "error" in record), None)
    if not finished or error == "too_large":
        raise ReadFailed(
            f"{name} needs more time or memory to read than is allowed.",
            reason="too_large",
            hint="Split it, or save it again with another program.",
        )
    if error:
        raise _failure(error, name)
    if process.returncode != 0 or not records or "done" not in records[-1]:
        raise _failure("damaged", name)
    return records[:-1]


def _wait(process: subprocess.Popen[bytes], output: IO[bytes], *, base_s: float, stall_s: float) -> bool:
    """False if the process stood still for `stall_s`, or ran longer than its file's size and steps allow."""
    started = moved = time.monotonic()
    size = 0
    while True:
        try:
            process.wait(timeout=0.05)
            return True
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        grown = os.fstat(output.fileno()).st_size
        if grown != size:
            size, moved = grown, now
        total_s = min(base_s + _PER_STEP_S * _steps(output), _MAX_S)
        if now - moved > stall_s or now - started > total_s:
            return False


def _steps(output: IO[bytes]) -> int:
    # pread leaves the file's position alone, which the process shares.
    first, complete, _ = os.pread(output.fileno(), 64, 0).partition(b"\n")
    try:
        return int(json.loads(first).get("steps", 0)) if complete else 0
    except (ValueError, TypeError, AttributeError):
        return 0


def _records(output: IO[bytes]) -> list[Record]:
    output.seek(0)
    records = []
    for line in output:
        try:
            record = json.loads(line)
        except ValueError:  # cut off when it was killed
            break
        if isinstance(record, dict):
            records.append(record)
    return records


def _failure(reason: str, name: str) -> ReadFailed:
    if reason == "encrypted":
        return ReadFailed(
            f"{name} is protected by a password.", reason=reason, hint="Save a copy without the password."
        )
    return ReadFailed(f"{name} is damaged.", reason="damaged", hint="Save or export it again.")
