"""What the client relies on, asked of a real vLLM: the scripted fake in tests/fakes may only do what holds here."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from string import ascii_letters
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage, ChatResponse

from knowledge.errors import LLMError, LLMInterrupted, LLMRejected, LLMUnavailable
from pipelines.llm import Timeouts, VllmChat, connect
from tests.vllm.conftest import API_KEY, MAX_MODEL_LEN, MODEL, RunningVllm

pytestmark = pytest.mark.vllm
TIMEOUTS = Timeouts(connect_s=60, first_token_s=120, idle_s=60, total_s=300)  # two busy cores, not a GPU
KOREAN = [
    ChatMessage(role="system", content="문서만 근거로 답하세요."),
    ChatMessage(role="user", content="연차는 며칠인가요?"),
]
ENGLISH = [
    ChatMessage(role="system", content="Answer from the documents only."),
    ChatMessage(role="user", content="How many days of leave?"),
]
# Random weights may end an answer at once, begin it with hundreds of line breaks, which the client holds back, or write
# halves of characters, which the server holds back. What a test needs to see is in letters: the tokens of their bytes.
LETTERS = [ord(letter) - ord("!") for letter in ascii_letters]  # tiny_model.py numbers the visible bytes from "!" on
ON_AND_ON = {"ignore_eos": True, "allowed_token_ids": LETTERS}
ANY_BYTES = {"ignore_eos": True}


def llm_at(server: RunningVllm, *, model: str = "", api_key: str = API_KEY, max_tokens: int = 24) -> VllmChat:
    return connect(
        base_url=server.base_url,
        model=model,
        api_key=api_key,
        temperature=0,
        max_tokens=max_tokens,
        timeouts=TIMEOUTS,
    )


async def rejected(llm: VllmChat, messages: list[ChatMessage]) -> LLMRejected:
    with pytest.raises(LLMError) as caught:
        await llm.achat(messages)
    assert isinstance(caught.value, LLMRejected), caught.value
    return caught.value


async def eventually(what: str, condition: Callable[[], bool], timeout_s: float = 30) -> None:
    until = time.monotonic() + timeout_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < until, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.1)


async def test_model_and_context_window_are_discovered(vllm: RunningVllm) -> None:
    info = await llm_at(vllm).describe()
    assert (info.model, info.context_window, info.served) == (MODEL, MAX_MODEL_LEN, (MODEL,))


@pytest.mark.parametrize("messages", [KOREAN, ENGLISH], ids=["Korean", "English"])
async def test_a_chat_streams_with_usage_and_ends_by_length(vllm: RunningVllm, messages: list[ChatMessage]) -> None:
    responses: list[ChatResponse] = []
    async for response in await llm_at(vllm).astream_chat(messages, extra_body=ON_AND_ON):
        responses.append(response)
    *pieces, last = responses
    assert pieces, "no text was streamed"
    assert all(piece.delta for piece in pieces)
    assert "".join(str(piece.delta) for piece in pieces) == last.message.content
    assert set(str(last.message.content)) <= set(ascii_letters), "the server did not keep to the allowed tokens"
    assert last.additional_kwargs["finish_reason"] == "length"
    assert last.additional_kwargs["usage"]["completion_tokens"] == 24
    # One token for each byte, so the prompt's tokens are known but for the template's few.
    prompt_bytes = sum(len(str(message.content).encode()) for message in messages)
    assert prompt_bytes < last.additional_kwargs["usage"]["prompt_tokens"] < prompt_bytes + 40


@pytest.mark.parametrize("body", [ON_AND_ON, ANY_BYTES], ids=["letters", "any bytes"])
async def test_the_same_question_gets_the_same_answer_whole_or_streamed(
    vllm: RunningVllm, body: dict[str, Any]
) -> None:
    llm = llm_at(vllm)
    whole = await llm.achat(KOREAN, extra_body=body)
    text = [response.delta or "" async for response in await llm.astream_chat(KOREAN, extra_body=body)]
    sync = await asyncio.to_thread(llm.chat, KOREAN, extra_body=body)
    assert "".join(text) == whole.message.content == sync.message.content
    assert text or body is ANY_BYTES


async def test_a_prompt_that_is_too_long_is_rejected(vllm: RunningVllm) -> None:
    error = await rejected(llm_at(vllm), [ChatMessage(role="user", content="x" * (MAX_MODEL_LEN + 500))])
    assert error.reason == "context_length"
    assert str(MAX_MODEL_LEN) in str(error)


async def test_max_tokens_beyond_the_window_are_clamped_and_end_by_length(vllm: RunningVllm) -> None:
    prompt = [ChatMessage(role="user", content="x" * (MAX_MODEL_LEN - 100))]
    response = await llm_at(vllm, max_tokens=1024).achat(prompt, extra_body=ON_AND_ON)
    usage = response.additional_kwargs["usage"]
    assert response.additional_kwargs["finish_reason"] == "length"
    assert usage["prompt_tokens"] + usage["completion_tokens"] == MAX_MODEL_LEN


async def test_more_max_tokens_than_the_window_is_a_bad_request(vllm: RunningVllm) -> None:
    error = await rejected(llm_at(vllm, max_tokens=MAX_MODEL_LEN * 2), ENGLISH)
    assert error.reason == "bad_request", error


async def test_an_unknown_model_is_rejected(vllm: RunningVllm) -> None:
    error = await rejected(llm_at(vllm, model="no/such-model"), ENGLISH)
    assert error.reason == "unknown_model"
    assert "no/such-model" in str(error)


async def test_a_wrong_key_is_rejected_and_not_shown(vllm: RunningVllm) -> None:
    error = await rejected(llm_at(vllm, api_key="sk-wrong-key-1234"), ENGLISH)
    assert error.reason == "auth"
    assert "1234" not in error.sentence()


async def test_a_wrong_address_is_a_bad_request(vllm: RunningVllm) -> None:
    llm = connect(
        base_url=vllm.base_url + "/v2", model=MODEL, api_key=API_KEY, temperature=0, max_tokens=8, timeouts=TIMEOUTS
    )
    error = await rejected(llm, ENGLISH)
    assert error.reason == "bad_request"
    assert "/v1" in error.hint


async def test_closing_the_streams_stops_the_generation(vllm: RunningVllm) -> None:
    # Together most of a minute of work. On a machine that vLLM has for itself alone the test may still get its turn late, so
    # it tries again; streams that nobody stopped would be written to their ends each time.
    streams, tokens_each = 16, MAX_MODEL_LEN - 200
    llm = llm_at(vllm, max_tokens=tokens_each)

    async def read_one_and_close() -> None:
        stream = await llm.astream_chat(ENGLISH, extra_body=ON_AND_ON)
        assert (await anext(stream)).delta
        await stream.aclose()

    written: list[float] = []
    while len(written) < 4 and min(written, default=1.0) > 0.5:
        before = vllm.metric("vllm:generation_tokens_total")
        await asyncio.gather(*(read_one_and_close() for _ in range(streams)))
        await eventually(
            "no request is running or waiting",
            lambda: vllm.metric("vllm:num_requests_running") + vllm.metric("vllm:num_requests_waiting") == 0,
        )
        written.append((vllm.metric("vllm:generation_tokens_total") - before) / (streams * tokens_each))
    assert 0 < min(written) < 0.95, "they ran on"


async def test_queued_requests_all_answer(vllm: RunningVllm) -> None:
    llm = llm_at(vllm, max_tokens=16)
    answers = await asyncio.gather(*(llm.achat(ENGLISH, extra_body=ON_AND_ON) for _ in range(20)))
    assert {answer.additional_kwargs["finish_reason"] for answer in answers} == {"length"}


def test_the_wire_is_as_the_fake_has_it(vllm: RunningVllm) -> None:
    """The facts on which tests/fakes/vllm_wire.py is built: role first, usage in a frame without choices, `[DONE]`."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0,
        "max_tokens": 4,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    request = urllib.request.Request(
        vllm.base_url + "/chat/completions",
        json.dumps({**body, **ON_AND_ON}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {API_KEY}"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line.decode().strip() for line in response if line.strip()]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    frames = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    first, usage = frames[0], frames[-1]
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 4)
    assert [frame["choices"][0]["finish_reason"] for frame in frames[:-1]][-1] == "length"


async def test_an_engine_killed_mid_answer_interrupts_and_then_nothing_answers(vllm_to_kill: RunningVllm) -> None:
    llm = llm_at(vllm_to_kill, max_tokens=MAX_MODEL_LEN - 200)
    (engine,) = [pid for name, pid in vllm_to_kill.children().items() if "EngineCore" in name]
    stream = await llm.astream_chat(ENGLISH, extra_body=ON_AND_ON)
    assert (await anext(stream)).delta
    os.kill(engine, signal.SIGKILL)
    with pytest.raises(LLMInterrupted) as caught:
        async for _ in stream:
            pass
    assert caught.value.retryable
    with pytest.raises(LLMUnavailable):
        await llm.achat(ENGLISH)
