"""How far a new set is: a bar with the time left on a terminal, a line now and then elsewhere. Knows nothing but counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from ingest.cli.output import complain

PLAIN_EVERY_S = 10.0


@contextmanager
def progress(wanted: int, had: int) -> Iterator[Callable[[int, int], None]]:
    """Yields what takes the number of questions made and of passages tried. `had`: questions of an earlier run."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(wanted, had)
        return
    with Progress(
        SpinnerColumn(),
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("questions, {task.fields[tried]} passages tried"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=wanted, completed=had, tried=0)
        yield lambda made, tried: bar.update(task, completed=made, tried=tried)


class _Lines:
    def __init__(self, wanted: int, had: int) -> None:
        self._wanted, self._had = wanted, had
        self._began = self._said_at = time.monotonic()

    def __call__(self, made: int, tried: int) -> None:
        now = time.monotonic()
        if now - self._said_at < PLAIN_EVERY_S:
            return
        self._said_at = now
        new = made - self._had
        left_s = (now - self._began) / new * (self._wanted - made) if new else None
        left = f", about {left_s / 60:.0f} min left" if left_s is not None else ""
        complain(f"{made} of {self._wanted} questions, {tried} passages tried{left}")
