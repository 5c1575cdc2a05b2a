"""Workers in a Ray cluster that are replaced when they end: starts them, hands calls to them, gathers answers.

Knows nothing about files, but that a worker greets before it works and that its greeting must fit the index.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ingest.ray_worker import AT_ONCE, Answer, FileWorker, Greeting, WorkerRecipe, how_files_are_read
from knowledge.errors import GakjuError, IndexMismatch
from knowledge.generations import Manifest

log = logging.getLogger(__name__)

Task = TypeVar("Task")
_START_AGAIN_S = 2.0
_INSTALL = "Install the same version of Gakju and of what it uses on every machine of the cluster."


@dataclass(eq=False, slots=True)
class Seat(Generic[Task]):
    """Room for one worker in the cluster, taken again by another when it ends. `tasks`: what it works on, by call.

    `is_alone`: with one task, so that it is known whose fault it is if the worker ends.
    """

    worker: Any = None
    waiting_for: Any = None  # its greeting
    greeting: Greeting | None = None
    start_at_s: float = 0.0
    tasks: dict[Any, Task] = field(default_factory=dict)
    is_alone: bool = False
    is_over: bool = False

    @property
    def is_ready(self) -> bool:
        return self.greeting is not None and not self.is_over

    @property
    def room(self) -> int:
        return AT_ONCE - len(self.tasks) if self.is_ready and not self.is_alone else 0


class Crew(Generic[Task]):
    """`count` workers with `cpus` processors each, spread over the machines. `ray`: the module, connected."""

    def __init__(
        self,
        ray: Any,
        worker: type[FileWorker],
        recipe: WorkerRecipe,
        *,
        manifest: Manifest,
        count: int,
        cpus: int,
    ) -> None:
        self._ray = ray
        self._recipe = recipe
        self._manifest = manifest
        self._actor = ray.remote(worker).options(
            num_cpus=cpus, max_concurrency=AT_ONCE, max_restarts=0, scheduling_strategy="SPREAD"
        )
        self.seats: Sequence[Seat[Task]] = [Seat() for _ in range(count)]

    def tasks(self) -> list[Task]:
        return [task for seat in self.seats for task in seat.tasks.values()]

    def start_due(self) -> None:
        """Have every seat taken. A worker gets ready when the cluster has room for it, and has loaded its models."""
        for seat in self.seats:
            if seat.is_over and not seat.tasks:
                seat.worker, seat.greeting, seat.is_alone, seat.is_over = None, None, False, False
            if seat.worker is None and time.monotonic() >= seat.start_at_s:
                seat.worker = self._actor.remote(self._recipe)
                seat.waiting_for = seat.worker.greet.remote()

    def give(self, seat: Seat[Task], task: Task, *arguments: object, alone: bool = False) -> None:
        seat.tasks[seat.worker.work.remote(*arguments)] = task
        seat.is_alone = alone

    def gather(self, timeout_s: float) -> list[tuple[Task, Answer | None]]:
        """Tasks that got done, with their answer; None: the worker ended in the middle. Waits for the first.

        Raises:
            GakjuError: a worker cannot work here, whatever the task.
        """
        seats = {ref: seat for seat in self.seats for ref in (seat.waiting_for, *seat.tasks) if ref is not None}
        if not seats:
            time.sleep(timeout_s)
            return []
        [*done], _ = self._ray.wait(list(seats), num_returns=1, timeout=timeout_s)
        answers = []
        for ref in done:
            seat = seats[ref]
            if ref is seat.waiting_for:
                self._welcome(seat)
                continue
            answer = self._result(ref)
            if answer is None:
                self.end(seat)
            seat.is_alone = False
            answers.append((seat.tasks.pop(ref), answer))
        return answers

    def end(self, seat: Seat[Task]) -> None:
        """Its worker is gone, or is killed now. What it had done before is still gathered."""
        if seat.worker is not None and not seat.is_over:
            self._ray.kill(seat.worker, no_restart=True)
        seat.is_over, seat.waiting_for = True, None

    def abandon(self) -> None:
        """Kill the workers that are at work: nobody wants their answers."""
        for seat in self.seats:
            if seat.tasks:
                self.end(seat)
                seat.tasks = {}

    def close(self) -> None:
        for seat in self.seats:
            self.end(seat)

    def _welcome(self, seat: Seat[Task]) -> None:
        greeting: Greeting | None = self._result(seat.waiting_for)
        seat.waiting_for = None
        if greeting is None:
            self.end(seat)
            seat.start_at_s = time.monotonic() + _START_AGAIN_S
            return
        if greeting.trouble:
            raise greeting.trouble.error()
        self._check_fits(greeting)
        log.debug("Ray worker %d on %s is ready", greeting.pid, greeting.host)
        seat.greeting = greeting

    def _check_fits(self, greeting: Greeting) -> None:
        here, there = how_files_are_read(), greeting.reading
        if greeting.manifest is not None and not greeting.manifest.same_as(self._manifest):
            here, there = str(self._manifest), str(greeting.manifest)
        if here != there:
            raise IndexMismatch(
                f"The index is built with {here}, but the Ray worker on {greeting.host} has {there}.", hint=_INSTALL
            )

    def _result(self, ref: Any) -> Any:
        """None: its worker is gone."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except (errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError, errors.NodeDiedError) as exc:
            # Constructing a worker does nothing that can fail, so what failed is loading its code.
            if not getattr(exc, "actor_init_failed", False):
                return None
            raise _failed("A Ray worker cannot load Gakju", exc) from exc
        except errors.RayError as exc:
            raise _failed("A Ray worker failed", getattr(exc, "cause", None) or exc) from exc


def _failed(what: str, cause: object) -> GakjuError:
    lines = [line for line in str(cause).strip().splitlines() if line.strip()]
    return GakjuError(f"{what}: {lines[-1].strip() if lines else type(cause).__name__}", hint=_INSTALL)
