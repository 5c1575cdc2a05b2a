"""in_batches: pace, signs of life, closing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from web.stream import in_batches


async def count(to: int, *, pause_s: float = 0.0) -> AsyncIterator[int]:
    for number in range(to):
        await asyncio.sleep(pause_s)
        yield number


async def test_every_item_comes_once_and_in_order():
    batches = [batch async for batch in in_batches(count(500), interval_s=0.01)]
    assert [item for batch in batches for item in batch] == list(range(500))


async def test_first_item_comes_alone_and_the_rest_in_few_batches():
    batches = [batch async for batch in in_batches(count(300), interval_s=60, beat_s=60)]
    assert batches == [[0], list(range(1, 300))]


async def test_batches_are_at_least_an_interval_apart():
    now = 0.0

    def clock() -> float:
        return now

    async def ticking() -> AsyncIterator[float]:
        nonlocal now
        for _ in range(100):
            now += 0.03
            yield now

    batches = [batch async for batch in in_batches(ticking(), interval_s=0.1, beat_s=10, clock=clock)]
    starts = [batch[-1] for batch in batches[:-1]]  # the clock stood at a batch's last item when it was yielded
    assert len(starts) > 10
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(starts))


async def test_silence_is_interrupted_by_empty_batches():
    silent = asyncio.Event()

    async def waits() -> AsyncIterator[str]:
        yield "before"
        await silent.wait()
        yield "after"

    seen: list[list[str]] = []
    async for batch in in_batches(waits(), interval_s=0.0, beat_s=0.01):
        seen.append(batch)
        if seen.count([]) == 3:
            silent.set()
    assert [batch for batch in seen if batch] == [["before"], ["after"]]
    assert seen.count([]) >= 3


async def test_closing_early_cancels_the_source_where_it_waits():
    ended: list[str] = []

    async def waits_forever() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        finally:
            ended.append("closed")

    batches = in_batches(waits_forever(), beat_s=0.01)
    assert await anext(batches) == [1]
    assert await anext(batches) == []
    await batches.aclose()
    assert ended == ["cancelled", "closed"]


async def test_cancelling_the_reader_closes_the_source():
    closed = asyncio.Event()
    begun = asyncio.Event()

    async def waits_forever() -> AsyncIterator[int]:
        try:
            begun.set()
            await asyncio.Event().wait()
            yield 1
        finally:
            closed.set()

    async def read() -> None:
        async for _ in in_batches(waits_forever(), beat_s=60):
            pass

    reader = asyncio.create_task(read())
    await begun.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert closed.is_set()


async def test_an_error_comes_after_what_came_before_it():
    async def breaks() -> AsyncIterator[int]:
        for number in range(5):
            yield number
        raise ConnectionError("gone")

    seen: list[int] = []
    with pytest.raises(ConnectionError, match="gone"):
        async for batch in in_batches(breaks(), interval_s=60):
            seen += batch
    assert seen == [0, 1, 2, 3, 4]


async def test_an_empty_source_yields_nothing():
    assert [batch async for batch in in_batches(count(0))] == []


async def test_impossible_paces_are_refused():
    with pytest.raises(ValueError, match="beat_s"):
        await anext(in_batches(count(1), beat_s=0))
