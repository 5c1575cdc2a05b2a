"""Runs an async generator for a caller that is not async: one thread with its own event loop for each iteration.

Knows nothing about language models. Works inside a running event loop too (notebooks), where `asyncio.run` does not.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, suppress
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
_END = object()


def iterate(make: Callable[[], AsyncGenerator[T, None]]) -> Generator[T, None, None]:
    """Yields what `make()` yields, raises what it raises. Closing the result cancels it and waits for its cleanup."""
    items: queue.SimpleQueue[object] = queue.SimpleQueue()
    stop = threading.Event()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def pump() -> None:
        task = asyncio.current_task()
        assert task is not None
        running.append((asyncio.get_running_loop(), task))
        if stop.is_set():
            return
        async with aclosing(make()) as source:
            async for item in source:
                items.put(item)

    def run() -> None:
        try:
            asyncio.run(pump())
        except asyncio.CancelledError:
            items.put(_END)
        except BaseException as exc:  # noqa: BLE001  raised again in the caller's thread
            items.put(_Raised(exc))
        else:
            items.put(_END)

    thread = threading.Thread(target=copy_context().run, args=(run,), name="llm-stream", daemon=True)
    thread.start()
    try:
        while (item := items.get()) is not _END:
            if isinstance(item, _Raised):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        for loop, task in running:
            with suppress(RuntimeError):  # the loop is closed: nothing is left to cancel
                loop.call_soon_threadsafe(task.cancel)
        thread.join()


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error
