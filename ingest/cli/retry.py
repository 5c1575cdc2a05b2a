"""`gakju ingest retry`: what failed, and what a run left behind that was cut off, is tried again where it was read.

Exit codes: 0 all that was tried is stored now, or there was nothing to try; 1 some failed again or are no longer there;
2 PATH means no file of the collection.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.cli.add import finish, ingest
from ingest.cli.options import add_command, named
from ingest.cli.output import AWAY, DONE, IN_PART, WRONG_USE, complain, say, say_json, shown
from ingest.cli.report import Report, print_failures
from ingest.cli.status import is_interrupted
from ingest.cli.tools import opened
from ingest.disk import is_archive, is_local
from ingest.files import SourceFile, file_of, is_gone
from ingest.removing import archive_of
from knowledge.file_states import FileState, file_states

if TYPE_CHECKING:
    from ingest.cli.tools import Tools


def add_to(commands: Any) -> None:
    parser = add_command(commands, "retry", run, about="try again what failed or was interrupted")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="only these files or folders")


def run(tools: Tools, arguments: argparse.Namespace) -> int:
    collection = arguments.collection or tools.collection
    states = named(file_states(tools.db, collection), arguments.paths, what="file", collection=collection)
    if states is None:
        return WRONG_USE
    tried = [item for item in states if item.state == "failed" or is_interrupted(item)]
    there = [item for item in tried if is_local(item) and not is_gone(file_of(item.origin))]
    away = [item for item in tried if item not in there]
    for item in away:
        complain(f"GONE      {shown(item.path)}: {_why_away(item)}")
    report = _retry(tools, collection, there, quiet=arguments.json) if there else Report((), (), ())
    if arguments.json:
        print_failures(report)
        say_json({**report.to_dict(), "away": [{"document": i.path, "path": i.origin, "host": i.host} for i in away]})
    elif not tried:
        say("Nothing failed or was interrupted.")
    if not there:
        return IN_PART if away else DONE
    code = finish(report) if not arguments.json else AWAY if report.stopped else report.exit_code
    return IN_PART if away and code == DONE else code


def _retry(tools: Tools, collection: str, states: Sequence[FileState], *, quiet: bool) -> Report:
    with opened(tools.ingestor(collection, None), "model", quiet=quiet) as ingestor:
        report = ingest(ingestor, sources(states), again=True, quiet=quiet)
    # For one file in an archive the archive is opened: the others in it, which were well, are not spoken of.
    tried = {item.path for item in states}
    inside = tuple(f"{item.path}/" for item in states if is_archive(item))
    told = [
        result
        for result in report.results
        if result.outcome != "unchanged" or result.path in tried or result.path.startswith(inside)
    ]
    return replace(report, results=told)


def sources(states: Sequence[FileState]) -> list[SourceFile]:
    """The files to read, once each: for members of an archive the archive."""
    found: dict[Path, SourceFile] = {}
    for item in states:
        path = file_of(item.origin)
        status = path.lstat()
        name = item.path if path == Path(item.origin) else archive_of(item) or item.path
        found.setdefault(path, SourceFile(path, name, status.st_size, Path(item.root), status.st_mtime_ns))
    return list(found.values())


def _why_away(item: FileState) -> str:
    if not is_local(item):
        return (
            f"{shown(item.origin)} was read on {shown(item.host or 'another machine')}; run `gakju ingest retry` there."
        )
    return f"{shown(item.origin)} is no longer there. Run `gakju ingest prune` to forget it."
