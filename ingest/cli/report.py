"""What an ingest run tells at its end: a table, what failed and what to do, what was left out; or the same as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ingest.cli.options import READ
from ingest.cli.output import DONE, IN_PART, WRONG_USE, complain, counted, names, say, shown, table
from ingest.files import LeftOut
from ingest.results import OUTCOMES, FileResult, count_outcomes

# A document that somebody put there and that is not in the index, whoever named it.
_FAILURES = frozenset({"unreadable", "name"})
_WHY = {
    "missing": "does not exist",
    "link": "is a symbolic link, which is not followed",
    "special": "is not a regular file",
    "unsupported": "has a format that is not read",
    "unreadable": "may not be read by this user. Change its permissions",
    "name": "has control characters or broken ones in its name. Rename it",
    "ignored": "is ignored by a pattern",
}


@dataclass(frozen=True, slots=True)
class Report:
    """A run over the files in `given`. `gone`: how many documents of these folders are no longer on disk."""

    given: Sequence[Path]
    results: Sequence[FileResult]
    left_out: Sequence[LeftOut]
    seconds: float = 0.0
    gone: int = 0
    stopped: str = ""  # why it ended early
    missed: tuple[LeftOut, ...] = field(init=False)

    def __post_init__(self) -> None:
        # What the user named himself must be read; what merely lies in a folder may be of no concern.
        named = {path.absolute() for path in self.given}
        missed = (item for item in self.left_out if item.reason in _FAILURES or item.path.absolute() in named)
        object.__setattr__(self, "missed", tuple(missed))

    @property
    def failed(self) -> list[FileResult]:
        return [result for result in self.results if result.outcome == "failed"]

    @property
    def exit_code(self) -> int:
        if not self.results:
            return WRONG_USE
        return IN_PART if self.failed or self.missed else DONE

    def to_dict(self) -> dict[str, object]:
        return {
            **{str(name): count for name, count in count_outcomes(self.results).items()},
            "chunks": sum(result.chunks for result in self.results),
            "seconds": round(self.seconds, 3),
            "files": [result_dict(result) for result in self.results],
            "left_out": [
                {"path": str(item.path), "reason": item.reason, "failed": item in self.missed} for item in self.left_out
            ],
            "gone": self.gone,
            "stopped": self.stopped,
        }


def result_dict(result: FileResult) -> dict[str, object]:
    return {
        "path": result.file.origin,
        "document": result.path,
        "outcome": result.outcome,
        "chunks": result.chunks,
        "error": result.error,
        "reason": result.reason,
        "was": result.was,
    }


def print_report(report: Report) -> None:
    """Failures go to standard error, the rest to standard output."""
    print_failures(report)
    if not report.results:
        if not report.stopped:
            print_nothing(report)
        _print_left_out(report)
        return
    say()
    say(_table(report.results))
    say()
    _print_left_out(report)
    say(one_line(report))
    if not (report.missed or report.stopped) and all(result.outcome == "unchanged" for result in report.results):
        say("Nothing changed: all of it was already in the index.")
    print_gone(report.gone)


def print_nothing(report: Report) -> None:
    """Why there was nothing to ingest: what was named cannot be (told as failed), patterns left all out, or formats did."""
    ignored = sum(item.reason == "ignored" for item in report.left_out)
    if report.missed and not ignored and all(item.reason != "unsupported" for item in report.left_out):
        complain("Nothing to ingest.")
        return
    why = f"{counted(ignored, 'file')} ignored by --include, --exclude or a .gakjuignore. " if ignored else ""
    complain(f"Nothing to ingest in {names(map(str, report.given))}. {why}{_formats()}")


def print_gone(count: int) -> None:
    if count:
        them = "it" if count == 1 else "them"
        say(f"Gone from disk: {counted(count, 'file')} — run `gakju ingest prune` to take {them} out of the index.")


def print_failures(report: Report) -> None:
    for result in report.failed:
        complain(f"FAILED    {shown(result.file.origin)}: {shown(result.error)}")
    for item in report.missed:
        complain(f"FAILED    {shown(item.path)}: {_WHY[item.reason]}.")


def one_line(report: Report) -> str:
    """`2 added, 1 failed; 34 chunks in 1.2 s (28/s).` The seconds are those of the whole run."""
    counts = count_outcomes(report.results)
    counts["failed"] += len(report.missed)
    parts = [f"{counts[name]} {name}" for name in OUTCOMES if counts[name]]
    chunks = sum(result.chunks for result in report.results)
    rate = f" ({chunks / report.seconds:.0f}/s)" if report.seconds and chunks >= report.seconds else ""
    return f"{', '.join(parts) or 'nothing done'}; {counted(chunks, 'chunk')} in {report.seconds:.1f} s{rate}."


def _table(results: Sequence[FileResult]) -> str:
    rows: list[tuple[object, ...]] = []
    for name in OUTCOMES:
        some = [result for result in results if result.outcome == name]
        if some:
            rows.append((name, len(some), sum(result.chunks for result in some), _by_format(some)))
    rows.append(("all", len(results), sum(result.chunks for result in results), ""))
    return table(("", "files", "chunks", "formats"), rows)


def _by_format(results: Sequence[FileResult]) -> str:
    formats = Counter(PurePath(result.path).suffix.lower().lstrip(".") or "none" for result in results)
    return ", ".join(f"{shown(name)} {count}" for name, count in formats.most_common())


def _print_left_out(report: Report) -> None:
    other = [item for item in report.left_out if item not in report.missed]
    for item in other:
        if item.reason in ("link", "special"):
            say(f"LEFT OUT  {shown(item.path)}: {_WHY[item.reason]}.")
    for reason, title in (("unsupported", "format not read"), ("ignored", "ignored")):
        some = [item.path.name for item in other if item.reason == reason]
        if some:
            say(f"LEFT OUT  {len(some)} ({title}): {names(some)}")


def _formats() -> str:
    return f"Formats that are read: {' '.join(sorted(READ))}."
