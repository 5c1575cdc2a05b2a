"""Runs one parser under limits; started by `sandbox` as a program of its own, never imported.

Arguments: parser, memory limit in bytes, processor time limit in seconds, output limit in bytes.
"""

from __future__ import annotations

import json
import runpy
import sys
from importlib import import_module
from pathlib import Path

# At the end, so that html.py beside this hides nothing of the library.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from ingest.readers.parsing import die_with_parent, framed
from ingest.readers.sandbox import EXIT_OUTPUT, limit_memory


def _limit(memory_bytes: int, cpu_s: int, output_bytes: int) -> None:
    limit_memory(memory_bytes)
    try:
        import resource
    except ImportError:
        return
    for kind, value in ((resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_FSIZE, output_bytes)):
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):  # already lower
            continue


def _print_records(module: str) -> None:
    records = framed(import_module(f"ingest.readers.{module}").records, sys.stdin.buffer.read())
    try:
        for number, record in enumerate(records):
            sys.stdout.write(json.dumps(record) + "\n")
            if number == 0:  # says how much time it may take
                sys.stdout.flush()
        sys.stdout.flush()
    except OSError:  # the output limit
        sys.exit(EXIT_OUTPUT)


if __name__ == "__main__":
    parser, memory, cpu, output = sys.argv[1:5]
    die_with_parent()
    _limit(int(memory), int(cpu), int(output))
    if parser.endswith(".py"):
        runpy.run_path(str(Path(__file__).with_name(parser)), run_name="__main__")
    else:
        _print_records(parser)
