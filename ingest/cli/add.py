"""The ingest command's face: progress on a terminal, plain lines elsewhere, a summary, an exit code.

Exit codes: 0 all is stored; 1 some files failed (they are named); 2 there was nothing to ingest.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ingest import readers
from ingest.files import LeftOut, SourceFile, find_files
from ingest.ingestor import FileResult, Ingestor, count_outcomes

PLAIN_PROGRESS_EVERY_S = 5.0
_WHY = {
    "missing": "does not exist",
    "link": "is a symbolic link (not followed)",
    "special": "is not a regular file",
    "unsupported": "has a format that is not read",
    "unreadable": "may not be read by this user",
}


def run(ingestor: Ingestor, paths: Sequence[Path], *, as_json: bool = False, quiet: bool = False) -> int:
    """Ingest `paths` and tell about it; returns the exit code. `quiet`: only failures and changes."""
    files, left_out = find_files(paths, supported=readers.SUPPORTED)
    # What the user named himself must be read; what merely lies in a folder may be of no concern.
    named = {path.absolute() for path in paths}
    missed = [item for item in left_out if item.path.absolute() in named or item.reason == "unreadable"]
    results = _ingest(ingestor, files, quiet=quiet or as_json)
    if as_json:
        print(json.dumps(_as_json(results, left_out), ensure_ascii=False))
    else:
        _print_summary(results, left_out, missed, paths, quiet=quiet)
    if any(result.outcome == "failed" for result in results) or (missed and files):
        return 1
    return 0 if files else 2


def _ingest(ingestor: Ingestor, files: Sequence[SourceFile], *, quiet: bool) -> list[FileResult]:
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        return _ingest_plainly(ingestor, files, quiet=quiet)
    bar = Progress(
        TextColumn("{task.fields[name]}", justify="left"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=len(files), name="")
        results = []
        for result in ingestor.run(files, on_start=lambda file: bar.update(task, name=file.name[-40:])):
            results.append(result)
            bar.advance(task)
    return results


def _ingest_plainly(ingestor: Ingestor, files: Sequence[SourceFile], *, quiet: bool) -> list[FileResult]:
    """Lines for logs: one a file, or with `quiet` one every few seconds, so that long work never looks stuck."""
    results: list[FileResult] = []
    told = time.monotonic()
    for result in ingestor.run(files):
        results.append(result)
        if not quiet and result.outcome != "failed":
            print(f"{result.outcome:9} {result.file.name}", flush=True)
        elif quiet and time.monotonic() - told > PLAIN_PROGRESS_EVERY_S:
            told = time.monotonic()
            print(f"ingesting: {len(results)} of {len(files)} files", file=sys.stderr, flush=True)
    return results


def _print_summary(
    results: Sequence[FileResult],
    left_out: Sequence[LeftOut],
    missed: Sequence[LeftOut],
    paths: Sequence[Path],
    *,
    quiet: bool,
) -> None:
    for result in results:
        if result.outcome == "failed":
            print(f"FAILED    {result.file.path}: {result.error}", file=sys.stderr)
    for item in missed:
        print(f"FAILED    {item.path}: {_WHY[item.reason]}.", file=sys.stderr)
    counts = count_outcomes(results)
    if quiet and not (counts["added"] or counts["replaced"] or counts["failed"]):
        return
    if not results and not missed:
        where = ", ".join(str(path) for path in paths)
        formats = " ".join(sorted(readers.SUPPORTED))
        print(f"Nothing to ingest in {where}. Formats that are read: {formats}.", file=sys.stderr)
        return
    other = [item for item in left_out if item not in missed]
    parts = [f"{counts[name]} {name}" for name in ("added", "replaced", "unchanged")]
    parts.append(f"{counts['failed'] + len(missed)} failed")
    parts.append(f"{sum(result.chunks for result in results)} chunks written")
    print(", ".join(parts) + (f"; left out: {_left_out(other)}" if other else "") + ".")
    if counts["unchanged"] and not (counts["added"] or counts["replaced"]):
        print("Nothing changed: what could be read was already in the index.")


def _left_out(items: Sequence[LeftOut]) -> str:
    names = ", ".join(f"{item.path.name} ({item.reason})" for item in items[:5])
    return names + (f" and {len(items) - 5} more" if len(items) > 5 else "")


def _as_json(results: Sequence[FileResult], left_out: Sequence[LeftOut]) -> dict[str, object]:
    return {
        **{str(name): count for name, count in count_outcomes(results).items()},
        "files": [
            {
                "path": str(result.file.path),
                "outcome": result.outcome,
                "chunks": result.chunks,
                "error": result.error,
                "reason": result.reason,
            }
            for result in results
        ],
        "left_out": [{"path": str(item.path), "reason": item.reason} for item in left_out],
    }
