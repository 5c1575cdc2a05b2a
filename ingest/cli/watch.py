"""`gakju ingest watch`: adds folders, then follows them until Ctrl-C; a line for each thing that happens.

With --json, one JSON object a line. Exit codes: 0 ended by Ctrl-C or SIGTERM; 2 wrong use; 3 something that is needed
did not answer at the start.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.cli.add import count_gone, ingest
from ingest.cli.options import add_command, add_selection, selection
from ingest.cli.output import DONE, WRONG_USE, chunks, complain, files, say, say_json, shown
from ingest.cli.report import Report, print_gone, print_report, result_dict
from ingest.cli.tools import opened
from ingest.disk import absolute
from ingest.files import LeftOut, Selection, SourceFile, find_files
from ingest.readers import SUPPORTED
from ingest.results import OUTCOMES, FileResult

if TYPE_CHECKING:
    from ingest.cli.tools import Tools
    from ingest.ingestor import Ingestor


def add_to(commands: Any) -> None:
    about = "add folders, then follow them: new, edited, renamed and deleted files, until Ctrl-C"
    add_selection(add_command(commands, "watch", run, about=about), takes="folders")


def run(tools: Tools, arguments: argparse.Namespace) -> int:
    try:
        chosen = selection(arguments)
    except ValueError as exc:
        complain(f"gakju ingest: {exc}")
        return WRONG_USE
    folders = [absolute(path) for path in arguments.paths]
    for folder in folders:
        if folder.is_symlink() or not folder.is_dir():
            complain(f"gakju ingest: {shown(folder)} is not a folder: watch follows folders.")
            return WRONG_USE
    told: Counter[str] = Counter()
    with contextlib.suppress(KeyboardInterrupt):
        _watch(tools, arguments, folders, chosen, told)
    counts = ", ".join(f"{told[name]} {name}" for name in OUTCOMES if told[name])
    if arguments.json:
        say_json({"stopped": True, **told})
    else:
        say(f"Stopped following. Since the start: {counts or 'nothing changed'}.")
    return DONE


def _watch(
    tools: Tools, arguments: argparse.Namespace, folders: Sequence[Path], chosen: Selection, told: Counter[str]
) -> None:
    from ingest.watching import Follower

    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it counts events, which are no one's concern
    collection = arguments.collection or tools.collection
    found, left_out = find_files(folders, supported=SUPPORTED, selection=chosen)
    needed = "model" if arguments.ray is None else "model, Ray workers"
    with opened(tools.ingestor(collection, arguments.ray), needed, quiet=arguments.json) as ingestor:
        gone = count_gone(tools, collection, folders)
        done = _first(ingestor, found, left_out, folders, gone=gone, as_json=arguments.json)
        told.update(result.outcome for result in done if result.outcome != "unchanged")
        follower = Follower(
            ingestor,
            tools.db,
            folders,
            collection=collection,
            supported=SUPPORTED,
            selection=chosen,
            revive=tools.revive,
            known=[file for file in found if file.path in {result.file.path for result in done}],
        )
        if not arguments.json:
            say(f"Following {', '.join(map(shown, folders))} ({files(len(found))}). Ctrl-C ends it.")
        for item in follower.follow(threading.Event()):
            if isinstance(item, FileResult):
                told[item.outcome] += 1
            _tell(item if isinstance(item, FileResult) else item.text, as_json=arguments.json)


def _first(
    ingestor: Ingestor,
    found: Sequence[SourceFile],
    left_out: Sequence[LeftOut],
    folders: Sequence[Path],
    *,
    gone: int,
    as_json: bool,
) -> Sequence[FileResult]:
    """As `gakju ingest add`. What an outage cuts off is left to the following. `gone`: deleted before this start, which
    is not followed: what a disk that is not mounted held would go."""
    done = ingest(ingestor, found, quiet=as_json)
    report = Report(folders, done.results, left_out, done.seconds, gone, done.stopped)
    if as_json:
        say_json(report.to_dict())
    elif report.results or report.missed:
        print_report(report)
    else:
        print_gone(gone)
    if report.stopped:
        complain(f"gakju: {report.stopped}")
    return report.results


def _tell(item: FileResult | str, *, as_json: bool) -> None:
    now = datetime.now().astimezone()
    if as_json:
        what: dict[str, object] = {"notice": item} if isinstance(item, str) else result_dict(item)
        say_json({"at": now.isoformat(timespec="seconds"), **what})
    elif isinstance(item, str):
        complain(f"{now:%H:%M:%S} {shown(item)}")
    elif item.outcome == "failed":
        complain(f"{now:%H:%M:%S} FAILED    {shown(item.file.origin)}: {shown(item.error)}")
    else:
        was = f"{shown(item.was)} → " if item.was else ""
        size = f" ({chunks(item.chunks)})" if item.chunks else ""
        say(f"{now:%H:%M:%S} {item.outcome:9} {was}{shown(item.path)}{size}")
