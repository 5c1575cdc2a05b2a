"""A server that keeps failing is left alone for a while, and several servers stand in for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from knowledge.errors import LLMError, LLMInterrupted, LLMRejected, LLMUnavailable
from pipelines.breaker import FAILURES, REST_S, Breaker
from pipelines.llm import connect
from settings import SettingsError, load_settings
from tests.fakes.vllm import ENGINE_DEAD, FakeVllm, Reply, Status
from tests.pipelines.test_llm import QUESTION, llm_at, read

DEAD = Status(500, ENGINE_DEAD)
BUSY = Status(429, {"error": {"message": "too many requests"}})


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def two() -> Iterator[tuple[FakeVllm, FakeVllm]]:
    with FakeVllm() as first, FakeVllm(model="other") as second:
        yield first, second


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock=clock)
    for _ in range(FAILURES):
        assert breaker.wait_s() == 0
        breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(clock=Clock())
    for _ in range(3 * FAILURES):
        breaker.failed()
        breaker.succeeded()
    assert not breaker.is_open and breaker.wait_s() == 0


def test_an_open_breaker_lets_one_probe_pass_after_its_rest() -> None:
    clock = Clock()
    breaker = opened(clock)
    assert breaker.is_open and 0 < breaker.wait_s() <= REST_S[0]
    clock.now += REST_S[0]
    assert breaker.wait_s() == 0, "the probe"
    assert breaker.wait_s() > 0, "no second one meanwhile"
    breaker.succeeded()
    assert breaker.wait_s() == 0 and not breaker.is_open


def test_each_failed_probe_makes_the_rest_longer_up_to_a_limit() -> None:
    clock = Clock()
    breaker = opened(clock)
    rests = []
    for _ in range(5):
        rests.append(breaker.wait_s())
        clock.now += rests[-1]
        assert breaker.wait_s() == 0
        breaker.failed()
    assert rests == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_probe_that_was_cancelled_makes_room_for_another() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += REST_S[0]
    assert breaker.wait_s() == 0
    breaker.untold()
    assert breaker.wait_s() == 0


async def test_a_dead_server_is_soon_not_called_any_more_and_found_again_when_it_is_back() -> None:
    with FakeVllm() as fake:
        llm = llm_at(fake)
        fake.always(DEAD)
        for _ in range(30):
            with pytest.raises(LLMUnavailable):
                await llm.achat(QUESTION)
        called = len(fake.requests)
        assert FAILURES <= called < 10, "30 questions, each worth three calls"
        fake.always(Reply("다시 있습니다."))
        async with asyncio.timeout(10):
            while True:
                try:
                    text, _ = await read(llm)
                    break
                except LLMUnavailable as exc:
                    assert "in a row" in str(exc) and exc.retryable
                    await asyncio.sleep(0.2)
        assert text == "다시 있습니다."
        assert (await read(llm))[0] == text


@pytest.mark.parametrize("answer", [BUSY, Status(400, {"error": {"message": "no"}})], ids=["busy", "refused"])
async def test_a_server_that_answers_is_not_left_alone(answer: Status) -> None:
    with FakeVllm() as fake:
        llm = llm_at(fake)
        fake.always(answer)
        for _ in range(2 * FAILURES):
            with pytest.raises(LLMError):
                await llm.achat(QUESTION)
        fake.always(Reply("ok"))
        assert (await read(llm))[0] == "ok"


@pytest.mark.parametrize("failure", [DEAD, Status(503), Reply("", end="eof")], ids=["500", "503", "ends"])
async def test_the_next_server_answers_where_one_fails(two: tuple[FakeVllm, FakeVllm], failure: Reply | Status) -> None:
    first, second = two
    first.always(failure)
    second.always(Reply("둘째의 답"))
    llm = llm_at(f"{first.base_url}, {second.base_url}")
    assert (await read(llm))[0] == "둘째의 답"
    assert llm.metadata.model_name == "other", "each serves its own model"
    assert len(first.requests) == 1, "not asked again before the next was asked"
    assert (await read(llm))[0] == "둘째의 답"
    assert len(first.requests) == 1, "who failed lately comes last"


async def test_a_server_that_is_not_there_costs_nothing_but_its_refusal(two: tuple[FakeVllm, FakeVllm]) -> None:
    first, second = two
    address = first.base_url
    first.stop()
    second.always(Reply("둘째"))
    llm = llm_at(f"{address},{second.base_url}")
    assert (await llm.describe()).model == "other"
    assert (await read(llm))[0] == "둘째"
    first.start()


async def test_an_answer_that_broke_off_is_not_begun_again_elsewhere(two: tuple[FakeVllm, FakeVllm]) -> None:
    first, second = two
    first.always(Reply("반쯤 말하다가", end="reset"))
    llm = llm_at(f"{first.base_url},{second.base_url}")
    with pytest.raises(LLMInterrupted):
        await read(llm)
    assert not second.requests


async def test_a_refusal_is_not_asked_for_twice(two: tuple[FakeVllm, FakeVllm]) -> None:
    first, second = two
    first.always(Status(400, {"error": {"message": "bad temperature"}}))
    with pytest.raises(LLMRejected):
        await llm_at(f"{first.base_url},{second.base_url}").achat(QUESTION)
    assert not second.requests


async def test_when_none_answers_all_are_named(two: tuple[FakeVllm, FakeVllm]) -> None:
    for fake in two:
        fake.always(DEAD)
    with pytest.raises(LLMUnavailable) as caught:
        await llm_at(",".join(fake.base_url for fake in two)).achat(QUESTION)
    assert all(fake.base_url in str(caught.value) for fake in two)


def test_the_setting_takes_several_addresses() -> None:
    settings = load_settings(llm_base_url="http://127.0.0.1:8001/v1/, https://gpu.example/v1")
    assert settings.llm_base_url == "http://127.0.0.1:8001/v1,https://gpu.example/v1"
    with pytest.raises(SettingsError, match="LLM_BASE_URL"):
        load_settings(llm_base_url="http://127.0.0.1:8001/v1,gpu.example")


def test_one_address_makes_one_server() -> None:
    llm = connect(
        base_url="http://127.0.0.1:1/v1",
        model="",
        api_key="",
        temperature=0,
        max_tokens=16,
        timeouts=llm_at("http://127.0.0.1:1/v1")._server._timeouts,  # type: ignore[union-attr]
    )
    assert llm._server.is_resting is False  # type: ignore[union-attr]


async def test_a_first_server_that_is_back_is_first_again(two: tuple[FakeVllm, FakeVllm]) -> None:
    first, second = two
    llm = llm_at(f"{first.base_url},{second.base_url}")
    first.script(DEAD)
    second.always(Reply("둘째"))
    assert (await read(llm))[0] == "둘째"
    first.always(Reply("첫째"))
    async with asyncio.timeout(10):
        while (await read(llm))[0] != "첫째":
            await asyncio.sleep(0.1)
