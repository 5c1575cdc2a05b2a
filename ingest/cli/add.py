"""`gakju ingest add`: documents into the index, with progress, a summary and an exit code.

Exit codes: 0 all is stored; 1 some files failed (they are named); 2 there was nothing to ingest; 3 something that is
needed does not answer, what was reported until then is stored.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.cli.options import add_command, add_selection, selection
from ingest.cli.output import AWAY, WRONG_USE, complain, counted, say, say_json
from ingest.cli.progress import face, tell_nothing, tell_result
from ingest.cli.report import Report, one_line, print_failures, print_nothing, print_report
from ingest.cli.tools import opened
from ingest.disk import absolute, gone_by_root, is_below
from ingest.files import SourceFile, find_files
from ingest.readers import SUPPORTED
from ingest.results import FileResult, count_outcomes
from knowledge.errors import GakjuError
from knowledge.file_states import file_states

if TYPE_CHECKING:
    from ingest.cli.tools import Tools
    from ingest.ingestor import Ingestor


def add_to(commands: Any) -> None:
    parser = add_command(
        commands, "add", run, about="put files and folders into the index; a rerun skips what is in it"
    )
    add_selection(parser)


def run(tools: Tools, arguments: argparse.Namespace) -> int:
    try:
        chosen = selection(arguments)
    except ValueError as exc:
        complain(f"gakju ingest: {exc}")
        return WRONG_USE
    began = time.monotonic()
    files, left_out = find_files(arguments.paths, supported=SUPPORTED, selection=chosen)
    if not files:
        return _tell(Report(arguments.paths, (), left_out), as_json=arguments.json)
    collection = arguments.collection or tools.collection
    needed = "model" if arguments.ray is None else "model, Ray workers"
    with opened(tools.ingestor(collection, arguments.ray), needed, quiet=arguments.json) as ingestor:
        run_report = ingest(ingestor, files, quiet=arguments.json)
    report = Report(
        arguments.paths,
        run_report.results,
        left_out,
        time.monotonic() - began,
        0 if run_report.stopped else count_gone(tools, collection, arguments.paths),
        run_report.stopped,
    )
    return _tell(report, as_json=arguments.json)


def ingest(ingestor: Ingestor, files: Sequence[SourceFile], *, again: bool = False, quiet: bool = False) -> Report:
    """Ingest with a bar or with lines. Ends early, and says so in the report, if something that is needed fails."""
    results: list[FileResult] = []
    began = time.monotonic()
    stopped = ""
    with face(files, quiet=quiet, tell=tell_nothing if quiet else tell_result) as shown_progress:
        try:
            for result in ingestor.run(files, again=again, progress=shown_progress):
                results.append(result)
                shown_progress.done(result)
        except GakjuError as exc:
            stopped = exc.sentence()
        except KeyboardInterrupt:
            complain(
                f"\nstopped after {counted(len(results), 'file')}: what was reported is stored, the same command goes on."
            )
            raise
    return Report((), results, (), time.monotonic() - began, stopped=stopped)


def run_quietly(ingestor: Ingestor, paths: Sequence[Path]) -> int:
    """As `run`, for the start of the app: only what failed, and a line if anything changed."""
    files, left_out = find_files(paths, supported=SUPPORTED)
    done = ingest(ingestor, files, quiet=True)
    report = Report(paths, done.results, left_out, done.seconds, stopped=done.stopped)
    print_failures(report)
    counts = count_outcomes(report.results)
    if report.missed or any(count for outcome, count in counts.items() if outcome != "unchanged"):
        say(one_line(report))
    return _exit_code(report)


def finish(report: Report) -> int:
    """Say what happened; the exit code."""
    print_report(report)
    return _exit_code(report)


def _tell(report: Report, *, as_json: bool) -> int:
    if not as_json:
        return finish(report)
    print_failures(report)
    if not (report.results or report.stopped):
        print_nothing(report)
    say_json(report.to_dict())
    return _exit_code(report)


def _exit_code(report: Report) -> int:
    if report.stopped:
        complain(f"gakju: stopped: {report.stopped} What was reported is stored; the same command goes on.")
        return AWAY
    return report.exit_code


def count_gone(tools: Tools, collection: str, paths: Sequence[Path]) -> int:
    """Documents of the given folders whose files are no longer there."""
    given = [absolute(path) for path in paths]
    states = (item for item in file_states(tools.db, collection) if is_below(item.origin, given))
    return sum(len(gone.states) for gone in gone_by_root(states) if not gone.doubt)
