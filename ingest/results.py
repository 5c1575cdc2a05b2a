"""What ingestion says of each file. Plain values: they go to screens, logs and programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from ingest.files import SourceFile

Outcome = Literal["added", "replaced", "renamed", "removed", "unchanged", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("added", "replaced", "renamed", "removed", "unchanged", "failed")


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file. `error`: a sentence for people, `reason`: for programs, both only for "failed".

    `path`: its document's path in the collection; `was`: that path before it was renamed.
    """

    file: SourceFile
    outcome: Outcome
    path: str
    chunks: int = 0
    error: str = ""
    reason: str = ""
    was: str = ""


class Progress(Protocol):
    """Is told how far a run is. `started`: work on a file begins; `embedded`: so many more chunks have vectors."""

    def started(self, file: SourceFile) -> None: ...

    def embedded(self, chunks: int) -> None: ...


class NoProgress:
    def started(self, file: SourceFile) -> None: ...

    def embedded(self, chunks: int) -> None: ...


def count_outcomes(results: Iterable[FileResult]) -> dict[Outcome, int]:
    counts: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
    for result in results:
        counts[result.outcome] += 1
    return counts
