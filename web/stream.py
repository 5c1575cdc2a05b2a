"""Batches of a stream: what a page can take, at a pace it can take, with a sign of life while nothing comes.

Knows nothing of Gradio, answers or events. Each message to a Gradio page costs about a thousand times what a token
costs to make, so tokens travel in batches. And Gradio notices that a tab is gone only when its generator yields, so
silence is interrupted by empty batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

Item = TypeVar("Item")


async def in_batches(
    items: AsyncIterator[Item],
    *,
    interval_s: float = 0.1,
    beat_s: float = 0.5,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[list[Item], None]:
    """Yield what came, the first item at once, then at most every `interval_s`; an empty list after `beat_s` of nothing.

    When the caller stops early (`aclose`, cancellation), `items` is cancelled where it waits and closed before this
    returns. An error of `items` is raised after what came before it was yielded.
    """
    if interval_s < 0 or beat_s <= 0:
        raise ValueError(f"interval_s ({interval_s}) must not be negative and beat_s ({beat_s}) must be positive")
    batch: list[Item] = []
    last_yield = clock() - interval_s
    upcoming: asyncio.Future[Item] | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(items))  # type: ignore[arg-type]
            due = last_yield + (interval_s if batch else beat_s)
            if not upcoming.done():
                await asyncio.wait({upcoming}, timeout=max(0.0, due - clock()))
            if upcoming.done():
                finished, upcoming = upcoming, None
                try:
                    batch.append(finished.result())
                except StopAsyncIteration:
                    break
                except BaseException:
                    if batch:
                        yield batch
                    raise
                due = last_yield + interval_s
            if clock() >= due:
                ready, batch = batch, []
                last_yield = clock()
                yield ready
        if batch:
            yield batch
    finally:
        await _close(items, upcoming)


async def _close(items: AsyncIterator[Item], upcoming: asyncio.Future[Item] | None) -> None:
    """Cancel the step under way and wait until the source has really let go of what it holds."""
    if upcoming is not None:
        upcoming.cancel()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
            await upcoming
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()
