"""Runs a parser under limits on time, memory and output. Knows no formats.

Files can be made so that a parser needs minutes or all memory (pypdf: CVE-2026-28351; 180 kB of "<a <a <a" kept
html.parser busy for over a minute). The process is killed then, and other files go on.

A parser is the name of a module beside this one with `records(data)`, which yields JSON-ready objects, or of a script
("x.py") that reads the file from standard input, prints one object a line and {"done": true} at the end. {"steps": n}
in the first object gives it more time; every object shows that it moves on. {"error": reason} says why it gave up.

Each call starts a process, unless the calling one is confined itself (`confine`): there, modules run at once, and one
that stands still is ended with the process, which `ingest.reader_process` starts again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from ingest.readers.parsing import framed
from knowledge.errors import ReadFailed

MEMORY_BYTES = 1536 * 1024 * 1024
LIMIT_S = 120.0
_MAIN = Path(__file__).with_name("sandbox_main.py")
_OUTPUT_BYTES = 128 * 1024 * 1024
_STALL_S = 30.0  # without a new line
_BASE_S = 30.0
_PER_MB_S = 0.2
_PER_STEP_S = 0.5
EXIT_OUTPUT = 75
# Killed by the kernel for memory, processor time or output.
_LIMIT_STATUSES = frozenset({-signal.SIGKILL, -signal.SIGXCPU, EXIT_OUTPUT})

Record = dict[str, Any]


class _Confinement:
    """What holds for the whole process, set once when it starts. `limit_s`: longest that one parser may run."""

    confined = False
    limit_s = LIMIT_S


def confine(*, memory_bytes: int, limit_s: float) -> None:
    """Say that this process is limited and may be lost: it reads files and nothing else, and is watched from outside."""
    limit_memory(memory_bytes)
    _Confinement.confined = True
    _Confinement.limit_s = limit_s


def limit_memory(memory_bytes: int) -> None:
    """Let this process have no more address space than this, where the system can limit it (Linux), and dump no core."""
    try:
        import resource
    except ImportError:  # not on Windows; the time limit still holds there
        return
    for kind, value in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):  # macOS refuses the first
            continue


def file_limit_s() -> float:
    """Longest that a file may take."""
    return _Confinement.limit_s


def run_parser(
    parser: str, data: bytes, *, name: str, stall_s: float = _STALL_S, limit_s: float | None = None
) -> list[Record]:
    """The objects that `parser` yields or prints for `data`. `limit_s`: in total; None: as long as a file may take.

    Raises:
        ReadFailed: "too_large" if it ran into a limit, "damaged" if it died, else the reason it gave.
    """
    records, failure = run_as_far_as_it_goes(parser, data, name=name, stall_s=stall_s, limit_s=limit_s)
    if failure:
        raise failure
    return records


def run_as_far_as_it_goes(
    parser: str, data: bytes, *, name: str, stall_s: float = _STALL_S, limit_s: float | None = None
) -> tuple[list[Record], ReadFailed | None]:
    """As `run_parser`; with why it did not come to its end, instead of raising that."""
    limit_s = _Confinement.limit_s if limit_s is None else limit_s
    if _Confinement.confined and not parser.endswith(".py"):
        records, finished = _run_here(parser, data, stall_s=min(stall_s, limit_s)), True
    else:
        records, finished = _run_apart(parser, data, stall_s=stall_s, limit_s=limit_s)
    error = next((record["error"] for record in records if "error" in record), None)
    if finished and not error and records and "done" in records[-1]:
        return records[:-1], None
    failure = _too_large(name) if not finished or error == "too_large" else _failure(str(error or "damaged"), name)
    return [record for record in records if "error" not in record], failure


def _run_here(parser: str, data: bytes, *, stall_s: float) -> list[Record]:
    """Runs a module in this process. Its alarm has no handler, so that it ends the process whatever it is busy with."""
    records: list[Record] = []
    parse = import_module(f"ingest.readers.{parser}").records
    armed = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, stall_s)
    try:
        for record in framed(parse, data):
            records.append(record)
            if time.monotonic() > armed + 1:
                armed = time.monotonic()
                signal.setitimer(signal.ITIMER_REAL, stall_s)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return records


def _run_apart(parser: str, data: bytes, *, stall_s: float, limit_s: float) -> tuple[list[Record], bool]:
    """The records of a process of its own, and whether it came to its end within its time."""
    base_s = min(_BASE_S, stall_s) + _PER_MB_S * len(data) / 2**20
    # A killed process leaves its temporary files behind, words of the document among them.
    own_folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with own_folder as folder, tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(data)
        source.seek(0)
        # -I: no current directory and no PYTHON* variables; the document decides nothing about what is imported.
        limits = [str(MEMORY_BYTES), str(int(limit_s) + 1), str(_OUTPUT_BYTES)]
        process = subprocess.Popen(
            [sys.executable, "-I", str(_MAIN), parser, *limits],
            stdin=source,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": folder},
        )
        try:
            finished = _wait(process, output, base_s=base_s, stall_s=stall_s, limit_s=limit_s)
        finally:
            process.kill()
            process.wait()
        records = _records(output)
    if process.returncode != 0:
        records.append({"error": "too_large" if process.returncode in _LIMIT_STATUSES else "damaged"})
    return records, finished


def _wait(
    process: subprocess.Popen[bytes], output: IO[bytes], *, base_s: float, stall_s: float, limit_s: float
) -> bool:
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
        total_s = min(base_s + _PER_STEP_S * _steps(output), limit_s)
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


def _too_large(name: str) -> ReadFailed:
    return ReadFailed(
        f"{name} needs more time or memory to read than is allowed.",
        reason="too_large",
        hint="Split it, or save it again with another program.",
    )


def _failure(reason: str, name: str) -> ReadFailed:
    if reason == "encrypted":
        return ReadFailed(
            f"{name} is protected by a password.", reason=reason, hint="Save a copy without the password."
        )
    return ReadFailed(f"{name} is damaged.", reason="damaged", hint="Save or export it again.")
