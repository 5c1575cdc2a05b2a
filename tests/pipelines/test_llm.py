"""The language model client against a scripted server: whole answers, and every way in which one can fail."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.llms import ChatMessage, ChatResponse

from knowledge.errors import LLMError, LLMInterrupted, LLMRejected, LLMUnavailable
from pipelines.llm import Timeouts, VllmChat, connect
from pipelines.llm.retry import RetryBudget
from tests.fakes.vllm import ENGINE_DEAD, MODEL, OVERLOADED, TOO_LONG, FakeVllm, Raw, Reply, Status

QUESTION = [ChatMessage(role="system", content="Answer briefly."), ChatMessage(role="user", content="연차는 며칠?")]
KOREAN = "연차휴가는 15일입니다 [1]. 이월은 되지 않습니다 [2] 🙂"


@pytest.fixture
def fake() -> Iterator[FakeVllm]:
    with FakeVllm() as server:
        yield server


def llm_at(fake: FakeVllm | str, *, model: str = "", api_key: str = "", **timeouts: float) -> VllmChat:
    base_url = fake if isinstance(fake, str) else fake.base_url
    return connect(
        base_url=base_url,
        model=model,
        api_key=api_key,
        temperature=0.1,
        max_tokens=64,
        timeouts=Timeouts(**{"connect_s": 2, "first_token_s": 10, "idle_s": 5, "total_s": 60, **timeouts}),
    )


async def read(llm: VllmChat, **kwargs: object) -> tuple[str, ChatResponse]:
    """The text of a stream and its last response."""
    text, last = "", None
    async for last in await llm.astream_chat(QUESTION, **kwargs):
        text += last.delta or ""
    assert last is not None
    return text, last


async def read_until_error(llm: VllmChat) -> tuple[str, LLMError]:
    """What was streamed before the error, and the error."""
    text = ""
    with pytest.raises(LLMError) as caught:
        async for response in await llm.astream_chat(QUESTION):
            text += response.delta or ""
    return text, caught.value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- A whole answer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_chars", [1, 3, 1000])
async def test_an_answer_streams_as_text_and_ends_with_reason_and_usage(fake: FakeVllm, piece_chars: int) -> None:
    fake.always(Reply(KOREAN, piece_chars=piece_chars))
    responses = [response async for response in await llm_at(fake).astream_chat(QUESTION)]
    assert "".join(response.delta or "" for response in responses) == KOREAN
    assert all(response.delta for response in responses[:-1]), "an empty delta was streamed"
    assert responses[-1].delta == ""
    assert responses[-1].message.content == KOREAN
    assert responses[-1].additional_kwargs == {
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 10, "completion_tokens": len(KOREAN)},
    }


async def test_a_request_says_all_its_sampling_and_asks_for_usage(fake: FakeVllm) -> None:
    await read(llm_at(fake))
    await read(llm_at(fake), max_tokens=7, temperature=0.0)
    first, second = fake.requests
    assert first == {
        "model": MODEL,
        "messages": [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "연차는 며칠?"}],
        "temperature": 0.1,
        "top_p": 1.0,
        "max_tokens": 64,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert (second["max_tokens"], second["temperature"]) == (7, 0.0)


async def test_an_answer_cut_by_max_tokens_says_length(fake: FakeVllm) -> None:
    fake.always(Reply("fifteen", end="length"))
    _, last = await read(llm_at(fake))
    assert last.additional_kwargs["finish_reason"] == "length"


async def test_a_server_without_usage_still_answers(fake: FakeVllm) -> None:
    fake.always(Reply("ok", usage=False))
    text, last = await read(llm_at(fake))
    assert (text, last.additional_kwargs) == ("ok", {"finish_reason": "stop", "usage": {}})


async def test_an_empty_answer_is_an_answer(fake: FakeVllm) -> None:
    fake.always(Reply(""))
    text, last = await read(llm_at(fake))
    assert (text, last.additional_kwargs["finish_reason"]) == ("", "stop")


async def test_line_separators_inside_the_text_do_not_break_a_frame(fake: FakeVllm) -> None:
    fake.always(Reply("a\u2028b\u2029c\x85d\x0be\x1cf"))
    assert (await read(llm_at(fake)))[0] == "a\u2028b\u2029c\x85d\x0be\x1cf"


async def test_frames_may_be_split_at_any_byte(fake: FakeVllm) -> None:
    stream = (
        b': comment\r\ndata: {"choices":[{"delta":{"content":"\xec\x95\x88\xeb\x85\x95"}}]}\r\n\r\n'
        b'event: x\ndata:{"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    fake.always(Raw([stream[at : at + 1] for at in range(len(stream))]))
    assert (await read(llm_at(fake)))[0] == "안녕"


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([r"hello \ud83d", r"\ude00 end"], "hello 😀 end"),
        ([r"\ud83d", r"\ude00"], "😀"),
        ([r"\ud83d", "", r"\ude00!"], "😀!"),
        ([r"\ud83d", "x"], "\ufffdx"),
        ([r"\ud83d\ud83d", r"\ude00"], "\ufffd😀"),
        ([r"a\ude00b", r"c\ud83d"], "a\ufffdbc\ufffd"),
        ([r"\ud83d"], "\ufffd"),
        ([r"<think>\ud83d", r"\ude00</think>\n", r"\ud83d", r"\ude00"], "😀"),
        ([r"<think>\ud83d"], ""),
    ],
)
async def test_halves_of_a_character_are_joined_and_lone_ones_replaced(
    fake: FakeVllm, pieces: list[str], shown: str
) -> None:
    frames = [f'data: {{"choices":[{{"delta":{{"content":"{piece}"}}}}]}}\n\n'.encode() for piece in pieces]
    finish = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    fake.always(Raw([*frames, finish]))
    text, last = await read(llm_at(fake))
    assert (text, last.message.content) == (shown, shown)


async def test_a_connection_lost_after_the_finish_reason_loses_nothing(fake: FakeVllm) -> None:
    finish = b'data: {"choices":[{"delta":{"content":"whole"},"finish_reason":"stop"}]}\n\n'
    fake.always(Raw([finish, b"data: {not json\n\n"]))
    text, last = await read(llm_at(fake))
    assert (text, last.additional_kwargs) == ("whole", {"finish_reason": "stop", "usage": {}})


async def test_a_hundred_streams_at_once_do_not_mix(fake: FakeVllm) -> None:
    fake.always(Reply(lambda body: "answer to " + body["messages"][-1]["content"], delay_s=0.005))
    llm = llm_at(fake)

    async def ask(number: int) -> str:
        return str((await llm.achat([ChatMessage(role="user", content=f"question {number}")])).message.content)

    answers = await asyncio.gather(*(ask(number) for number in range(100)))
    assert answers == [f"answer to question {number}" for number in range(100)]


# --- Reasoning is not answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_chars", range(1, 12))
@pytest.mark.parametrize(
    ("generated", "answer"),
    [
        ("<think>\nhmm, 15?\n</think>\n\nFifteen.", "Fifteen."),
        ("\n <think></think>\n\nFifteen.", "Fifteen."),
        ("<think>a</think>\n<think>b</think>Fifteen.", "Fifteen."),
        ("<think>a < b </ c </thin </think>1 < 2", "1 < 2"),
        ("<thin ice> is not a tag", "<thin ice> is not a tag"),
        ("Such models write <think> first.", "Such models write <think> first."),
        ("  indented", "  indented"),
        ("<thi", "<thi"),
        ("<think>never ends", ""),
    ],
)
async def test_think_blocks_are_not_answer_text(fake: FakeVllm, generated: str, answer: str, piece_chars: int) -> None:
    fake.always(Reply(generated, piece_chars=piece_chars))
    text, last = await read(llm_at(fake, model=MODEL))
    assert (text, last.message.content) == (answer, answer)


async def test_reasoning_fields_are_not_answer_text_but_count_as_life(fake: FakeVllm) -> None:
    fake.always(Reply("", reasoning="let me think", end="hang"))
    text, error = await read_until_error(llm_at(fake, first_token_s=5, idle_s=0.3))
    assert text == ""
    assert isinstance(error, LLMInterrupted), error


# --- Model and context window -----------------------------------------------------------------------------------------


async def test_model_and_context_window_are_asked_when_needed_and_once(fake: FakeVllm) -> None:
    llm = llm_at(fake)
    assert fake.model_requests == 0
    info = await llm.describe()
    assert (info.model, info.context_window, info.served) == (MODEL, 4096, (MODEL,))
    await read(llm)
    await read(llm)
    assert fake.model_requests == 1
    assert (llm.metadata.model_name, llm.metadata.context_window) == (MODEL, 4096)
    fake.max_model_len = 32_768
    assert (await llm.describe(refresh=True)).context_window == 32_768
    assert llm.metadata.context_window == 32_768


async def test_a_configured_model_is_used_without_asking(fake: FakeVllm) -> None:
    await read(llm_at(fake, model=MODEL))
    assert fake.model_requests == 0


async def test_a_server_restarted_with_another_model_is_discovered_again(fake: FakeVllm) -> None:
    llm = llm_at(fake)
    await read(llm)
    fake.model = "another/model"
    _, error = await read_until_error(llm)
    assert isinstance(error, LLMRejected)
    assert error.reason == "unknown_model"
    await read(llm)
    assert llm.metadata.model_name == "another/model"


async def test_describe_says_that_nothing_answers() -> None:
    with pytest.raises(LLMUnavailable, match="connection refused"):
        await llm_at(f"http://127.0.0.1:{free_port()}/v1").describe()


async def test_describe_without_key_is_rejected() -> None:
    with FakeVllm(api_key="secret") as fake, pytest.raises(LLMRejected) as caught:
        await llm_at(fake).describe()
    assert caught.value.reason == "auth"


# --- Nothing was generated --------------------------------------------------------------------------------------------


async def test_nothing_listens() -> None:
    base_url = f"http://127.0.0.1:{free_port()}/v1"
    _, error = await read_until_error(llm_at(base_url, model=MODEL))
    assert isinstance(error, LLMUnavailable)
    assert str(error) == f"No language model answers at {base_url} (connection refused)."
    assert error.hint == "Start it, or unset LLM_BASE_URL to answer by quoting."
    assert error.retryable


async def test_a_host_that_does_not_exist_is_named() -> None:
    _, error = await read_until_error(llm_at("http://no-such-host.invalid/v1", model=MODEL, connect_s=5))
    assert isinstance(error, LLMUnavailable)
    assert "no-such-host.invalid" in str(error)


async def test_a_host_that_swallows_connections() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]  # fill the backlog: further connections get no answer
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        _, error = await read_until_error(llm_at(f"http://127.0.0.1:{port}/v1", model=MODEL, connect_s=0.4))
        for client in waiting:
            client.close()
    assert isinstance(error, LLMUnavailable)
    assert "no connection within 0.4 s" in str(error)


@pytest.mark.parametrize(
    "reply",
    [
        Reply("late", first_delay_s=30),
        Reply("late", first_delay_s=30, keep_alive=True),
        Reply("late", headers=False),
        Raw([b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n']),
    ],
    ids=["headers, no token", "keep-alive comments only", "no headers", "role only, then end"],
)
async def test_no_first_token_is_unavailable(fake: FakeVllm, reply: Reply | Raw) -> None:
    fake.always(reply)
    text, error = await read_until_error(llm_at(fake, first_token_s=0.4))
    assert text == ""
    assert isinstance(error, LLMUnavailable), error
    if isinstance(reply, Reply):
        assert "has sent nothing for 0.4 s" in str(error)
        assert fake.wait_for_disconnect(), "the request was left running"
        assert len(fake.requests) == 1, "a timeout must not be tried again: it would triple the wait"


@pytest.mark.parametrize(
    "failure",
    [
        Status(503),
        Status(429, {"error": {"message": "rate limit"}}),
        Status(500, "<html>Internal Server Error</html>", "text/html"),
        Status(502, ""),
        Reply("", end="error", error=OVERLOADED),
        Reply("", end="error", error=ENGINE_DEAD),
        Reply("", end="reset"),
        Reply("", end="cut"),
    ],
    ids=lambda failure: f"{type(failure).__name__} {getattr(failure, 'status', getattr(failure, 'end', ''))}",
)
async def test_a_passing_failure_is_tried_again_and_then_reported(fake: FakeVllm, failure: Reply | Status) -> None:
    fake.script(failure, failure, Reply("third time lucky"))
    assert (await read(llm_at(fake)))[0] == "third time lucky"
    assert len(fake.requests) == 3

    fake.requests.clear()
    fake.always(failure)
    text, error = await read_until_error(llm_at(fake))
    assert (text, len(fake.requests)) == ("", 3)
    assert isinstance(error, LLMUnavailable), error
    assert "<" not in str(error)


@pytest.mark.parametrize("end", ["done", "eof", "abort"])
async def test_a_stream_that_ends_before_any_token_is_unavailable(fake: FakeVllm, end: str) -> None:
    fake.always(Reply("", end=end))  # type: ignore[arg-type]
    _, error = await read_until_error(llm_at(fake))
    assert isinstance(error, LLMUnavailable), error


async def test_retries_end_with_their_budget(fake: FakeVllm) -> None:
    fake.always(Status(503))
    llm = llm_at(fake, model=MODEL)
    await asyncio.gather(*(read_until_error(llm) for _ in range(40)))
    assert len(fake.requests) < 40 * 3 / 2, "every call was tried three times"


def test_the_retry_budget_refills_by_time() -> None:
    now = [0.0]
    budget = RetryBudget(clock=lambda: now[0])
    assert [budget.take() for _ in range(12)] == [True] * 10 + [False] * 2
    now[0] = 3.5
    assert [budget.take() for _ in range(4)] == [True] * 3 + [False]
    now[0] = 1000.0
    assert sum(budget.take() for _ in range(100)) == 10


async def test_a_web_page_is_not_a_server(fake: FakeVllm) -> None:
    fake.always(Status(200, "<html>Welcome</html>", "text/html"))
    _, error = await read_until_error(llm_at(fake))
    assert isinstance(error, LLMUnavailable)
    assert "not an OpenAI-compatible chat server (it sent text/html" in str(error)
    assert "LLM_BASE_URL" in error.hint


# --- The server refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "reason", "words"),
    [
        (400, TOO_LONG, "context_length", "maximum context length is 4096 tokens"),
        (400, {"object": "error", **TOO_LONG["error"], "param": None}, "context_length", "maximum context length"),
        (400, {"error": {"message": "Too big", "code": "context_length_exceeded"}}, "context_length", "Too big"),
        (
            400,
            {
                "error": {
                    "message": "max_tokens=9 cannot be greater than max_model_len context length",
                    "param": "max_tokens",
                }
            },
            "bad_request",
            "max_tokens=9",
        ),
        (401, {"error": "Unauthorized"}, "auth", "Unauthorized"),
        (403, {"detail": "Not allowed"}, "auth", "Not allowed"),
        (404, {"error": {"message": "No `x` here.", "param": "model"}}, "unknown_model", "No `x` here."),
        (404, {"object": "error", "message": "The model `x` does not exist."}, "unknown_model", "does not exist"),
        (404, {"error": {"message": "model 'x' not found, try pulling it first"}}, "unknown_model", "pulling"),
        (404, {"detail": "Not Found"}, "bad_request", "Not Found"),
        (400, {"error": {"message": "bad field", "type": "Bad Request"}}, "bad_request", "bad field"),
        (422, {"detail": [{"loc": ["body"], "msg": "Field required"}]}, "bad_request", "Field required"),
        (400, "plain words", "bad_request", "plain words"),
        (413, "", "bad_request", "HTTP 413"),
    ],
)
async def test_a_refusal_is_sorted_and_shows_the_servers_words(
    fake: FakeVllm, status: int, body: object, reason: str, words: str
) -> None:
    fake.always(Status(status, body))
    _, error = await read_until_error(llm_at(fake))
    assert isinstance(error, LLMRejected), error
    assert error.reason == reason
    assert words in str(error)
    assert len(fake.requests) == 1, "a refusal must not be tried again"


async def test_a_refusal_inside_a_stream_is_a_refusal(fake: FakeVllm) -> None:
    fake.always(Reply("", end="error", error=TOO_LONG))
    _, error = await read_until_error(llm_at(fake))
    assert isinstance(error, LLMRejected)
    assert error.reason == "context_length"


async def test_an_unknown_model_is_named(fake: FakeVllm) -> None:
    _, error = await read_until_error(llm_at(fake, model="no/such-model"))
    assert isinstance(error, LLMRejected)
    assert error.reason == "unknown_model"
    assert '"no/such-model"' in str(error)


async def test_the_key_and_credentials_are_never_shown(fake: FakeVllm) -> None:
    key = "hunter2-very-secret"
    fake.always(Status(401, {"error": {"message": f"Incorrect API key: {key}, sk-proj-abc***xyz"}}))
    base_url = fake.base_url.replace("http://", "http://user:pa55@") + "?token=t0ken"
    _, error = await read_until_error(llm_at(base_url.partition("?")[0], model=MODEL, api_key=key))
    assert "Incorrect API key" in str(error)
    for secret in (key, "sk-proj", "pa55"):
        assert secret not in error.sentence()
    assert key not in repr(llm_at(fake, api_key=key).to_payload())


async def test_a_key_of_another_service_in_the_environment_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key-for-someone-else")
    with FakeVllm(api_key="key-for-someone-else") as fake:
        _, error = await read_until_error(llm_at(fake, model=MODEL))
    assert isinstance(error, LLMRejected)
    assert error.reason == "auth"


# --- The answer breaks off --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("error", "EngineCore encountered an issue"),
        ("abort", "abort"),
        ("done", "without a finish reason"),
        ("eof", "without a finish reason"),
        ("cut", "connection was lost"),
        ("reset", "connection was lost"),
        ("hang", "no token for 0.4 s"),
    ],
)
async def test_a_broken_answer_is_interrupted_and_what_came_is_kept(fake: FakeVllm, end: str, words: str) -> None:
    fake.always(Reply("half an answer", end=end))  # type: ignore[arg-type]
    text, error = await read_until_error(llm_at(fake, idle_s=0.4))
    assert text == "half an answer"
    assert isinstance(error, LLMInterrupted), error
    assert words in str(error)
    assert len(fake.requests) == 1, "tried again after the first token"


async def test_an_error_in_old_flat_shape_inside_a_stream_is_seen(fake: FakeVllm) -> None:
    fake.always(Reply("half", end="error", error={"object": "error", "message": "old words", "code": 500}))
    text, error = await read_until_error(llm_at(fake))
    assert text == "half"
    assert isinstance(error, LLMInterrupted)
    assert "old words" in str(error)


async def test_rubbish_inside_a_stream_interrupts(fake: FakeVllm) -> None:
    fake.always(Raw([b'data: {"choices":[{"delta":{"content":"half"}}]}\n\n', b"data: {oops\n\n"]))
    text, error = await read_until_error(llm_at(fake))
    assert text == "half"
    assert isinstance(error, LLMInterrupted)


async def test_slow_tokens_are_fine_until_the_total_is_used_up(fake: FakeVllm) -> None:
    fake.always(Reply("abcdefgh" * 20, piece_chars=1, delay_s=0.1))
    text, error = await read_until_error(llm_at(fake, idle_s=5, total_s=0.8))
    assert text.startswith("a")
    assert isinstance(error, LLMInterrupted)
    assert "longer than 0.8 s" in str(error)


async def test_keep_alive_comments_do_not_hide_a_hanging_model(fake: FakeVllm) -> None:
    fake.always(Reply("half", end="hang", keep_alive=True))
    _, error = await read_until_error(llm_at(fake, idle_s=0.4))
    assert isinstance(error, LLMInterrupted)


async def test_a_server_killed_mid_answer_interrupts_and_answers_again_after_its_return(fake: FakeVllm) -> None:
    fake.always(Reply("abcdefgh" * 50, piece_chars=1, delay_s=0.02))
    llm = llm_at(fake, model=MODEL)
    text = ""
    with pytest.raises(LLMInterrupted):
        async for response in await llm.astream_chat(QUESTION):
            text += response.delta or ""
            if len(text) == 5:
                await asyncio.to_thread(fake.stop)
    assert len(text) >= 5
    with pytest.raises(LLMUnavailable, match="connection refused"):
        await llm.achat(QUESTION)
    fake.start()
    fake.always(Reply("back"))
    assert (await llm.achat(QUESTION)).message.content == "back"


# --- Stop means stop --------------------------------------------------------------------------------------------------

ENDLESS = Reply("word " * 10_000, delay_s=0.01)


async def test_closing_the_stream_closes_the_request(fake: FakeVllm) -> None:
    fake.always(ENDLESS)
    stream = await llm_at(fake).astream_chat(QUESTION)
    assert (await anext(stream)).delta
    tasks = asyncio.all_tasks()
    began = time.monotonic()
    await stream.aclose()
    assert await asyncio.to_thread(fake.wait_for_disconnect, timeout_s=1), "the request was still open after 1 s"
    assert fake.disconnects[0] >= began
    assert asyncio.all_tasks() <= tasks


class KeepEverything(BaseEventHandler):
    """An observer that remembers events, and with an exception's traceback everything that it refers to."""

    events: list[BaseEvent] = []  # noqa: RUF012  a pydantic field

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.events.append(event)


async def test_closing_the_stream_closes_the_request_even_while_an_observer_remembers_it(fake: FakeVllm) -> None:
    fake.always(ENDLESS)
    observer = KeepEverything()
    handlers = get_dispatcher().event_handlers
    handlers.append(observer)
    try:
        stream = await llm_at(fake).astream_chat(QUESTION)
        await anext(stream)
        await stream.aclose()
        assert await asyncio.to_thread(fake.wait_for_disconnect, timeout_s=1), "the request was still open after 1 s"
        assert observer.events
    finally:
        handlers.remove(observer)


@pytest.mark.parametrize("reply", [ENDLESS, Reply("late", first_delay_s=30)], ids=["streaming", "before first token"])
async def test_cancelling_the_reader_closes_the_request(fake: FakeVllm, reply: Reply) -> None:
    fake.always(reply)
    reader = asyncio.create_task(read(llm_at(fake)))
    assert await asyncio.to_thread(fake.wait_for_request)
    await asyncio.sleep(0.1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await asyncio.to_thread(fake.wait_for_disconnect, timeout_s=1), "the request was still open after 1 s"


async def test_an_abandoned_stream_closes_the_request_too(fake: FakeVllm) -> None:
    fake.always(ENDLESS)
    async for response in await llm_at(fake).astream_chat(QUESTION):
        assert response.delta
        break
    assert await asyncio.to_thread(fake.wait_for_disconnect, timeout_s=1), "the request was still open after 1 s"


async def test_a_stream_that_is_never_read_makes_no_request(fake: FakeVllm) -> None:
    stream = await llm_at(fake).astream_chat(QUESTION)
    await stream.aclose()
    assert fake.requests == []


def test_closing_a_sync_stream_closes_the_request(fake: FakeVllm) -> None:
    fake.always(ENDLESS)
    stream = llm_at(fake).stream_chat(QUESTION)
    assert next(stream).delta
    stream.close()
    del stream
    assert fake.wait_for_disconnect(timeout_s=1), "the request was still open after 1 s"


# --- As a stock LlamaIndex LLM ----------------------------------------------------------------------------------------


def test_sync_chat_and_completion(fake: FakeVllm) -> None:
    fake.always(Reply(KOREAN))
    llm = llm_at(fake)
    assert llm.chat(QUESTION).message.content == KOREAN
    assert llm.complete("연차는?").text == KOREAN
    assert "".join(response.delta or "" for response in llm.stream_chat(QUESTION)) == KOREAN
    assert "".join(response.delta or "" for response in llm.stream_complete("연차는?")) == KOREAN


async def test_sync_chat_inside_a_running_event_loop(fake: FakeVllm) -> None:
    llm = llm_at(fake)
    assert llm.chat(QUESTION).message.content == Reply().text
    assert (await llm.achat(QUESTION)).message.content == Reply().text
    assert (await llm.acomplete("연차는?")).text == Reply().text


@pytest.mark.parametrize(
    ("reply", "kind"), [(Status(503), LLMUnavailable), (Reply("half", end="done"), LLMInterrupted)]
)
def test_sync_chat_sees_the_same_failures(fake: FakeVllm, reply: Reply | Status, kind: type[LLMError]) -> None:
    fake.always(reply)
    llm = llm_at(fake)
    with pytest.raises(kind):
        llm.chat(QUESTION)
    with pytest.raises(kind):
        list(llm.stream_complete("연차는?"))


def test_one_llm_serves_many_event_loops(fake: FakeVllm) -> None:
    llm = llm_at(fake)
    for _ in range(3):
        assert asyncio.run(llm.achat(QUESTION)).message.content == Reply().text


async def test_a_stock_chat_engine_runs_on_it(fake: FakeVllm) -> None:
    fake.always(Reply(lambda body: f"{len(body['messages'])} messages"))
    engine = SimpleChatEngine.from_defaults(llm=llm_at(fake))
    streaming = await engine.astream_chat("first")
    assert "".join([text async for text in streaming.async_response_gen()]) == "1 messages"
    assert str(await engine.achat("second")) == "3 messages"
    assert str(await asyncio.to_thread(engine.chat, "third")) == "5 messages"


async def test_callbacks_see_the_call_and_its_usage(fake: FakeVllm) -> None:
    counter = TokenCountingHandler(tokenizer=lambda text: [1] * 1000)
    llm = llm_at(fake)
    llm.callback_manager = CallbackManager([counter])
    await read(llm)
    assert counter.prompt_llm_token_count == 10
    assert counter.completion_llm_token_count == len(str(Reply().text))
