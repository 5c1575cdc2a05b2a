"""Results of tools in a real Redis: good for their time, asked once, and never in the way when Redis is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from knowledge.errors import MemoryUnavailable
from pipelines.breaker import Breaker
from pipelines.memory import connect
from pipelines.memory_tools import KEPT_STALE_S, StoredResult, ToolCache
from pipelines.tools.mcp_server import McpServer
from pipelines.tools.toolbox import Toolbox
from pipelines.tools.types import ServerSettings, ToolCall, ToolFailed, ToolSettings
from tests.fakes.tool_server import ToolServer, free_port

PRICE = ToolCall("shop.price", {"item": "corn"})


@pytest.fixture
def server() -> Iterator[ToolServer]:
    with ToolServer() as server:
        yield server


@pytest.fixture
def redis_client(servers) -> Iterator[Any]:
    client: Any = connect(servers.redis().url)
    client.flushdb()
    yield client
    client.close()


@pytest.fixture
def cache(redis_client) -> ToolCache:
    return ToolCache(redis_client, prefix="test")


@pytest.fixture
def make_box(server: ToolServer) -> Iterator[Callable[..., Toolbox]]:
    boxes = []

    def make(cache: ToolCache | None, *, url: str = "", ttl_s: float = 300.0, **tools: float) -> Toolbox:
        allowed = tuple(
            ToolSettings(name, ttl_s=ttl_s, timeout_s=tools.get(name, 10.0))
            for name in ("price", "slow", "hang", "fail")
        )
        settings = ServerSettings("shop", allowed, url or server.url)
        source = McpServer(settings, breaker=Breaker(failures=100), listed_s=0)  # listed anew for each call
        boxes.append(Toolbox([source], cache=cache))
        return boxes[-1]

    yield make
    for box in boxes:
        box.close()


async def test_a_result_is_remembered_with_its_time_and_for_everybody(make_box, cache, server):
    first = await make_box(cache).call(PRICE)
    second = await make_box(cache).call(PRICE)  # another process' toolbox
    assert (first.cached, second.cached) == (False, True)
    assert second.text == first.text and second.fetched_at == first.fetched_at
    assert len(server.calls) == 1


async def test_other_arguments_are_another_result_and_their_order_is_not(make_box, cache, server):
    box = make_box(cache)
    await box.call(ToolCall("shop.price", {"item": "corn", "count": 2}))
    await box.call(ToolCall("shop.price", {"count": "2", "item": "corn"}))
    assert len(server.calls) == 1
    await box.call(ToolCall("shop.price", {"item": "corn", "count": 3}))
    assert len(server.calls) == 2


async def test_a_result_past_its_time_is_asked_anew(make_box, cache, server):
    box = make_box(cache, ttl_s=0.2)
    await box.call(PRICE)
    await asyncio.sleep(0.25)
    again = await box.call(PRICE)
    assert not again.cached and again.text == "corn: 2 EUR" and len(server.calls) == 2


async def test_redis_drops_results_by_itself(make_box, cache, redis_client):
    await make_box(cache, ttl_s=60).call(PRICE)
    (name,) = redis_client.keys("test:tool:*")
    assert name.endswith("}:result") and name.startswith("test:tool:shop.price:{")
    assert 0 < redis_client.ttl(name) <= 60 + KEPT_STALE_S


async def test_a_server_at_another_address_does_not_answer_with_the_first_ones_results(make_box, cache, server):
    await make_box(cache).call(PRICE)
    with ToolServer() as other:
        result = await make_box(cache, url=other.url).call(PRICE)
        assert not result.cached and len(other.calls) == 1


async def test_many_who_ask_the_same_call_the_tool_once(make_box, cache, server):
    boxes = [make_box(cache) for _ in range(3)]
    await asyncio.gather(*(box.tools() for box in boxes))
    call = ToolCall("shop.slow", {"seconds": 0.4})
    results = await asyncio.gather(*(boxes[n % 3].call(call) for n in range(15)))
    assert len(server.calls) == 1
    assert {result.text for result in results} == {"call 1"} and sum(not result.cached for result in results) == 1


async def test_many_who_ask_what_fails_all_hear_it_and_nobody_is_stuck(make_box, cache, server, redis_client):
    boxes = [make_box(cache, hang=0.4) for _ in range(2)]
    await asyncio.gather(*(box.tools() for box in boxes))
    calls = [boxes[n % 2].call(ToolCall("shop.hang", {})) for n in range(8)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(outcome, "reason", outcome) for outcome in outcomes] == ["timeout"] * 8
    assert len(server.calls) == 1
    assert redis_client.keys("*:asking") == []


async def test_a_failure_is_not_remembered_for_the_next_question(make_box, cache, server):
    box = make_box(cache)
    for _ in range(2):
        with pytest.raises(ToolFailed, match="reported"):
            await box.call(ToolCall("shop.fail", {}))
    assert len(server.calls) == 2


async def test_whoever_is_stopped_lets_the_next_one_ask(make_box, cache, server, redis_client):
    box = make_box(cache)
    await box.tools()
    call = ToolCall("shop.slow", {"seconds": 0.3})
    first = asyncio.create_task(box.call(call))
    while not server.calls:
        await asyncio.sleep(0.01)
    second = asyncio.create_task(box.call(call))
    await asyncio.sleep(0.1)
    first.cancel()
    assert (await second).text == "call 2"
    assert redis_client.keys("*:asking") == []


async def test_an_old_result_stands_in_for_a_server_that_is_away_and_says_so(make_box, cache, server):
    box = make_box(cache, ttl_s=0.1)
    await box.call(PRICE)
    await asyncio.sleep(0.15)
    await asyncio.to_thread(server.stop)
    result = await box.call(PRICE)
    assert result.stale and result.cached and result.text == "corn: 1 EUR"
    await asyncio.to_thread(server.start)
    fresh = await box.call(PRICE)
    assert not fresh.stale and fresh.text == "corn: 2 EUR"


async def test_without_redis_tools_answer_all_the_same(make_box, server):
    client = connect(f"redis://127.0.0.1:{free_port()}/0")
    box = make_box(ToolCache(client))
    assert [(await box.call(PRICE)).cached for _ in range(2)] == [False, False]
    assert len(server.calls) == 2
    client.close()


async def test_redis_that_goes_away_while_the_tool_is_asked_changes_nothing(make_box, server, tmp_path):
    from knowledge.servers import EmbeddedServers

    with EmbeddedServers(tmp_path) as own:
        client: Any = connect(own.redis().url)
        box = make_box(ToolCache(client))
        await box.tools()
        asking = asyncio.create_task(box.call(ToolCall("shop.slow", {"seconds": 0.5})))
        while not server.calls:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(client.shutdown, nosave=True)
        assert (await asking).text == "call 1"
        client.close()


def test_what_is_no_result_of_ours_is_none(cache, redis_client):
    key = cache.key("shop.price", endpoint="x", arguments="{}")
    for text in ("not json", "[]", '"x"', "{}", '{"text": "a"}', '{"text": "a", "fetched_at": "soon"}', "7"):
        redis_client.set(f"{key}:result", text)
        assert cache.get(key) is None


def test_an_asker_whose_time_is_over_does_not_overwrite_a_newer_result(cache, redis_client):
    key = cache.key("shop.price", endpoint="x", arguments="{}")
    slow = cache.claim(key, limit_s=60)
    assert slow and not cache.claim(key, limit_s=60)
    redis_client.delete(f"{key}:asking")  # its time is over
    quick = cache.claim(key, limit_s=60)
    assert cache.put(key, quick, StoredResult("new", time.time()), ttl_s=60)
    assert not cache.put(key, slow, StoredResult("old", time.time()), ttl_s=60)
    stored = cache.get(key)
    assert stored is not None and stored.text == "new"
    assert cache.claim(key, limit_s=60)


def test_releasing_anothers_token_changes_nothing(cache):
    key = cache.key("shop.price", endpoint="x", arguments="{}")
    assert cache.claim(key, limit_s=60)
    cache.release(key, "another", failed="timeout")
    assert cache.wait_state(key) == (None, "", True)


def test_a_redis_that_is_away_is_asked_once_and_then_left_alone():
    cache = ToolCache(connect(f"redis://127.0.0.1:{free_port()}/0"))
    for _ in range(2):
        with pytest.raises(MemoryUnavailable):
            cache.get("k")
