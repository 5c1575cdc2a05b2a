"""`gakju ingest reembed`: builds the index anew for the settings of now, or goes back to the one before.

Exit codes: 0 the index is as wished; 2 there is nothing to do it on, or it cannot be done so; 3 something does not
answer: run it again, it goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ingest.cli.output import DONE, WRONG_USE, complain, counted, documents, say, say_json
from ingest.cli.tools import opened
from knowledge.database import Database
from knowledge.errors import GakjuError

# What loads models is imported where it is used: other commands are shown beside this one.
if TYPE_CHECKING:
    from ingest.cli.tools import Tools
    from ingest.reembedding import Reembedded, ReembedProgress

PLAIN_PROGRESS_EVERY_S = 5.0


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "reembed",
        help="build the index anew for other settings, while the old one goes on answering",
        description="Builds the index anew for the EMBED_MODEL, EMBED_BASE_URL and CHUNK_TOKENS of now, from the stored "
        "texts, beside the one that answers; then switches. Stopped at any moment, it goes on when it is run again.",
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--back", action="store_true", help="switch to the previous index at once")
    other.add_argument("--drop-previous", action="store_true", help="free the previous, or a half-built, index")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.set_defaults(ingest_command=run)


def run(tools: Tools, arguments: argparse.Namespace) -> int:
    """Do what `arguments` say; returns the exit code.

    Raises:
        GakjuError: something that is needed does not answer.
    """
    try:
        if arguments.back:
            return _back(tools.db, as_json=arguments.json)
        if arguments.drop_previous:
            return _drop(tools.db, as_json=arguments.json)
        opening = opened(tools.reembedder(), "model", quiet=arguments.json)
        with opening as reembedder, _shown_progress(is_shown=not arguments.json) as progress:
            result = reembedder.run(progress)
    except GakjuError as exc:
        if exc.retryable or type(exc) is not GakjuError:
            raise
        _print_failure(exc, as_json=arguments.json)
        return WRONG_USE
    _print_result(result, as_json=arguments.json)
    return DONE


def _back(db: Database, *, as_json: bool) -> int:
    from ingest.reembedding import switch_back

    started = time.monotonic()
    was, now = switch_back(db)
    elapsed_s = time.monotonic() - started
    if as_json:
        say_json({"switched": True, "from": was.to_dict(), "to": now.to_dict(), "seconds": round(elapsed_s, 3)})
    else:
        say(f"Switched back in {elapsed_s:.2f} s.\n  from  {was}\n  to    {now}")
        say("Set EMBED_MODEL, EMBED_BASE_URL and CHUNK_TOKENS back too, or the next start is refused.")
    return DONE


def _drop(db: Database, *, as_json: bool) -> int:
    from ingest.reembedding import drop_previous

    dropped = drop_previous(db)
    if as_json:
        say_json({"dropped": [item.to_dict() for item in dropped]})
    elif dropped:
        say("\n".join(f"Dropped the index of {item}." for item in dropped))
    else:
        say("There is no previous index to drop.")
    return DONE


@contextmanager
def _shown_progress(*, is_shown: bool) -> Iterator[ReembedProgress]:
    from ingest.reembedding import NoReembedProgress

    console = Console(stderr=True, highlight=False)
    if not is_shown:
        yield NoReembedProgress()
    elif not console.is_terminal:
        yield _Lines()
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            yield _Bar(bar)


class _Bar:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("reembedding", total=None)

    def planned(self, document_count: int, chunk_count: int) -> None:
        self._bar.reset(self._task, total=chunk_count, description=documents(document_count))

    def advanced(self, chunks: float) -> None:
        self._bar.advance(self._task, chunks)


class _Lines:
    """A line every few seconds, for logs."""

    def __init__(self) -> None:
        self._documents = self._chunks = 0
        self._done = 0.0
        self._started = self._told = time.monotonic()

    def planned(self, document_count: int, chunk_count: int) -> None:
        self._documents, self._chunks, self._done = document_count, chunk_count, 0.0
        self._started = time.monotonic()
        complain(f"reembedding: {documents(document_count)}, {counted(chunk_count, 'chunk')} to do")

    def advanced(self, chunks: float) -> None:
        self._done += chunks
        now = time.monotonic()
        if now - self._told < PLAIN_PROGRESS_EVERY_S or not self._done:
            return
        self._told = now
        left_s = (now - self._started) * max(0.0, self._chunks / self._done - 1)
        complain(f"reembedding: {self._done:.0f} of {counted(self._chunks, 'chunk')}, about {left_s:.0f} s left")


def _print_failure(error: GakjuError, *, as_json: bool) -> None:
    if as_json:
        say_json({"switched": False, "error": str(error), "hint": error.hint})
    else:
        complain(f"gakju: {error.sentence()}")


def _print_result(result: Reembedded, *, as_json: bool) -> None:
    if as_json:
        say_json(
            {
                "switched": result.is_switched,
                "from": result.was.to_dict(),
                "to": result.now.to_dict(),
                "documents": result.documents,
                "chunks": result.chunks,
                "written_documents": result.written_documents,
                "written_chunks": result.written_chunks,
                "seconds": round(result.elapsed_s, 3),
            }
        )
    elif not result.is_switched:
        say(f"Nothing to do: the index already is of {result.now} ({documents(result.documents)}).")
    else:
        say(
            f"Switched after {result.elapsed_s:.1f} s: {documents(result.documents)}, {counted(result.chunks, 'chunk')} "
            f"({documents(result.written_documents)}, {counted(result.written_chunks, 'chunk')} written now).\n"
            f"  from  {result.was}\n  to    {result.now}\n"
            "The old index is kept: `gakju ingest reembed --back` returns to it, `--drop-previous` frees its space."
        )
