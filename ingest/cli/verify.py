"""`gakju ingest verify`: recomputes hashes and counts against the store, and prints a digest of the whole index.

Needs no embedding and works whatever the index was built with. Exit codes: 0 the index is sound, however the disk
differs from it; 1 it has errors; 2 there is no such generation.
"""

from __future__ import annotations

import argparse
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ingest.cli.output import DONE, IN_PART, WRONG_USE, complain, say, say_json, say_list, shown
from ingest.rehashing import Verdict, rehashed
from knowledge.generations import Generation, State
from knowledge.verification import NOTHING, StoredFile, Verification, stored_files, verify

if TYPE_CHECKING:
    from ingest.cli.tools import Tools

_DIFFERENCES: tuple[Verdict, ...] = ("changed", "gone", "unreadable")
_WHAT = {
    "changed": "its file on disk has other content by now",
    "gone": "its file is no longer there",
    "unreadable": "its file cannot be read",
}


@dataclass(frozen=True, slots=True)
class _Disk:
    """What became of the files on this machine. `differences`: of the verdicts in `_DIFFERENCES`."""

    counts: Counter[Verdict]
    differences: tuple[tuple[StoredFile, Verdict], ...]


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "verify",
        help="check the whole index, and print its digest",
        description="Recomputes what can be recomputed of the whole index (texts, order, ids, counts, the hashes of "
        "files on this machine) and prints a digest of it: equal for equal content, whatever the order, times or "
        "crashes. Ingestion and questions go on meanwhile.",
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of text, with every problem")
    parser.add_argument("--documents", action="store_true", help="also the digest of each document")
    parser.add_argument("--no-files", action="store_true", help="do not hash the files on this machine again")
    parser.add_argument(
        "--without-vectors",
        action="store_true",
        help="leave vectors out of the digest: an embedding server may round the same text's vector differently each "
        "time, the bundled embedding never does",
    )
    parser.add_argument(
        "--generation",
        choices=get_args(State),
        default="active",
        help="which index: the one that answers (active, the default), the one that `reembed` builds (building) or "
        "the one that it replaced (previous)",
    )
    parser.set_defaults(ingest_command=run)


def run(tools: Tools, arguments: argparse.Namespace) -> int:
    own: list[dict[str, str]] = []

    def note(collection: str, path: str, digest: str) -> None:
        own.append({"collection": collection, "path": path, "digest": digest})

    with _Bar.shown() as bar:
        found = verify(
            tools.db,
            arguments.generation,
            with_vectors=not arguments.without_vectors,
            on_chunks=lambda done, total: bar.show("chunks", done, total),
            **({"on_document": note} if arguments.documents else {}),
        )
        disk = None
        # Only the active generation follows the files.
        if found is not None and arguments.generation == "active" and not arguments.no_files:
            disk = _compared(tools, found, bar)
    if found is None and arguments.generation != "active":
        complain(f"gakju ingest: there is no {arguments.generation} generation of the index.")
        return WRONG_USE
    if arguments.json:
        say_json(_as_json(found, disk, own if arguments.documents else None))
    else:
        _print(found, disk, own)
    return IN_PART if found is not None and found.problems else DONE


def _compared(tools: Tools, found: Verification, bar: _Bar) -> _Disk:
    counts: Counter[Verdict] = Counter()
    differences: list[tuple[StoredFile, Verdict]] = []
    for file, verdict in rehashed(stored_files(tools.db, found.generation, host=socket.gethostname())):
        counts[verdict] += 1
        if verdict in _DIFFERENCES:
            differences.append((file, verdict))
        bar.show("files", counts.total(), found.documents)
    return _Disk(counts, tuple(differences))


def _print(found: Verification | None, disk: _Disk | None, own: Sequence[dict[str, str]]) -> None:
    if found is None or not found.documents:
        say("The index is empty.")
    else:
        _print_counts(found, disk)
    for item in own:
        say(f"document  {item['digest']}  {shown(item['collection'])}/{shown(item['path'])}")
    if disk is not None:
        lines = [f"{_named(file)}: {_WHAT[verdict]}" for file, verdict in disk.differences]
        say_list("Other on disk than in the index:", lines, mark="differs")
    if found is not None:
        say_list("Errors of the index:", [shown(problem) for problem in found.problems], mark="PROBLEM")
        if any(problem.path for problem in found.problems):
            say("Mend documents that are named with `gakju ingest remove` and `gakju ingest add`.")
    say(f"digest  {found.digest if found else NOTHING}")


def _print_counts(found: Verification, disk: _Disk | None) -> None:
    say(f"Generation {found.generation.id} ({found.generation.state}): {shown(found.generation.manifest)}")
    rows = [
        ("documents", found.documents, f"in {found.collections} collection{'s' * (found.collections != 1)}"),
        ("chunks", found.chunks, "text, order, ids, words and vectors"),
        ("words", found.words, "in how many chunks each stands"),
        ("problems", len(found.problems), ""),
    ]
    if disk is not None:
        differing = sum(disk.counts[verdict] for verdict in _DIFFERENCES)
        what = [f"{disk.counts['same']} the same", f"{differing} different"]
        if disk.counts["in_archive"]:
            what.append(f"{disk.counts['in_archive']} inside archives, not hashed")
        rows.insert(3, ("files here", disk.counts.total(), ", ".join(what)))
    for name, count, what_of_it in rows:
        say(f"  {name:10} {count:>12,}  {what_of_it}".rstrip())


def _named(file: StoredFile) -> str:
    return f"{shown(file.collection)}/{shown(file.path)}"


def _as_json(found: Verification | None, disk: _Disk | None, own: list[dict[str, str]] | None) -> dict[str, Any]:
    result: dict[str, Any] = {
        "digest": found.digest if found else NOTHING,
        "generation": _generation(found.generation) if found else None,
        "problems": [asdict(problem) for problem in found.problems] if found else [],
    }
    for name in ("collections", "documents", "chunks", "words"):
        result[name] = getattr(found, name) if found else 0
    if disk is not None:
        result["files"] = {verdict: disk.counts[verdict] for verdict in get_args(Verdict)}
        result["differences"] = [
            {"kind": verdict, "collection": file.collection, "path": file.path, "origin": file.origin}
            for file, verdict in disk.differences
        ]
    if own is not None:
        result["document_digests"] = own
    return result


def _generation(generation: Generation) -> dict[str, Any]:
    return {"id": generation.id, "state": generation.state, **generation.manifest.to_dict()}


class _Bar:
    """On standard error, and only on a terminal. One bar for each thing that is counted."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, name: str, done: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(f"verifying {name}", total=total)
        self._progress.update(self._tasks[name], completed=done, total=max(done, total))

    @classmethod
    @contextmanager
    def shown(cls) -> Iterator[_Bar]:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        console = Console(stderr=True, highlight=False)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            yield cls(progress)
