"""Tools over real MCP connections, HTTP and stdio: what they answer, and every way in which they can fail."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from llama_index.core.tools import FunctionTool

from pipelines.breaker import Breaker
from pipelines.tools.functions import PythonFunctions
from pipelines.tools.mcp_server import McpServer
from pipelines.tools.toolbox import Toolbox
from pipelines.tools.types import ServerSettings, ToolCall, ToolFailed, ToolResult, ToolSettings
from tests.fakes.tool_server import HUGE_CHARS, RawServer, ToolServer, free_port

TOOLS = ("price", "slow", "hang", "freeze", "fail", "huge", "empty", "pid", "die", "wipe")
OVER_STDIO = (sys.executable, "-m", "tests.fakes.tool_server")


def allowed(*names: str, timeout_s: float = 10, **more: object) -> tuple[ToolSettings, ...]:
    return tuple(ToolSettings(name, timeout_s=timeout_s, **more) for name in names)  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[ToolServer]:
    with ToolServer() as server:
        yield server


@pytest.fixture
def make_box() -> Iterator[Callable[..., Toolbox]]:
    boxes = []

    def make(
        *, url: str = "", command: tuple[str, ...] = (), tools=None, breaker=None, connect_timeout_s=20.0
    ) -> Toolbox:
        settings = ServerSettings("shop", tools or allowed(*TOOLS), url, command, connect_timeout_s=connect_timeout_s)
        boxes.append(Toolbox([McpServer(settings, breaker=breaker)]))
        return boxes[-1]

    yield make
    for box in boxes:
        box.close()


async def reason(box: Toolbox, tool: str, **arguments: object) -> str:
    with pytest.raises(ToolFailed) as failed:
        await box.call(ToolCall(f"shop.{tool}", arguments))
    return failed.value.reason


async def test_a_tool_answers_over_http(server, make_box):
    result = await make_box(url=server.url).call(ToolCall("shop.price", {"item": "corn"}))
    assert result.text == "corn: 1 EUR" and result.tool == "shop.price" and result.fetched_at > 0
    assert server.calls == [("price", {"item": "corn", "count": 1})]


async def test_a_tool_answers_over_stdio_by_one_process_that_ends_with_the_toolbox(make_box):
    box = make_box(command=OVER_STDIO)
    pids = [(await box.call(ToolCall("shop.pid", {}))).text for _ in range(2)]
    assert pids[0] == pids[1] != str(os.getpid())
    os.kill(int(pids[0]), 0)
    await asyncio.to_thread(box.close)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids[0]), 0)


async def test_a_child_that_hangs_is_ended_with_the_toolbox_too(make_box):
    box = make_box(command=OVER_STDIO, tools=allowed("pid", "freeze", timeout_s=0.5))
    await box.tools()
    pid = int((await box.call(ToolCall("shop.pid", {}))).text)
    assert await reason(box, "freeze") == "timeout"
    await asyncio.to_thread(box.close)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_child_that_died_is_started_anew(make_box):
    box = make_box(command=OVER_STDIO)
    before = (await box.call(ToolCall("shop.pid", {}))).text
    assert await reason(box, "die") == "unreachable"
    assert (await box.call(ToolCall("shop.pid", {}))).text != before


async def test_the_child_sees_none_of_our_secrets(make_box, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@host/db")
    box = make_box(command=OVER_STDIO)
    pid = (await box.call(ToolCall("shop.pid", {}))).text
    with open(f"/proc/{pid}/environ", "rb") as environment:
        assert b"secret" not in environment.read()


async def test_nothing_is_started_or_connected_before_the_first_question():
    with RawServer(b"x") as raw:
        Toolbox([McpServer(ServerSettings("shop", allowed("price"), raw.url))]).close()
        assert raw.requests == 0


async def test_calls_from_several_event_loops_share_the_session(server, make_box):
    box = make_box(url=server.url)
    texts: list[str] = []

    def ask() -> None:
        texts.append(asyncio.run(box.call(ToolCall("shop.price", {"item": "x"}))).text)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert sorted(texts) == sorted(f"x: {n} EUR" for n in range(1, 9))


async def test_only_allowed_tools_are_offered_and_called(server, make_box):
    box = make_box(url=server.url, tools=allowed("price", "not_there"))
    found, failures = await box.tools()
    assert [tool.full_name for tool in found] == ["shop.price"] and not failures
    assert await reason(box, "hang") == "unknown_tool"
    assert await reason(box, "not_there") == "unknown_tool"
    assert server.calls == []


async def test_a_tool_that_says_it_changes_things_is_not_called_even_if_it_is_allowed(server, make_box):
    box = make_box(url=server.url, tools=allowed("wipe", "price"))
    assert await reason(box, "wipe") == "unknown_tool"
    assert server.calls == []


@pytest.mark.parametrize(
    "arguments",
    [{}, {"item": 3}, {"item": "x", "other": 1}, {"item": "x", "count": "many"}, {"item": "x" * 3_000}, {"": "x"}],
)
async def test_arguments_that_do_not_fit_the_schema_are_not_sent(server, make_box, arguments):
    assert await reason(make_box(url=server.url), "price", **arguments) == "bad_arguments"
    assert server.calls == []


async def test_a_number_written_as_text_is_taken(server, make_box):
    await make_box(url=server.url).call(ToolCall("shop.price", {"item": "x", "count": "12"}))
    assert server.calls == [("price", {"item": "x", "count": 12})]


async def test_a_tool_that_hangs_is_given_up_and_the_others_answer_on(server, make_box):
    box = make_box(url=server.url, tools=allowed("hang", timeout_s=0.3) + allowed("price"))
    await box.tools()
    assert await reason(box, "hang") == "timeout"
    assert (await box.call(ToolCall("shop.price", {"item": "x"}))).text == "x: 2 EUR"


async def test_a_slow_tool_within_its_time_answers(server, make_box):
    assert (await make_box(url=server.url).call(ToolCall("shop.slow", {"seconds": 0.5}))).text == "call 1"


async def test_a_tool_that_says_it_failed_is_quoted_and_blamed_on_nobody_else(server, make_box):
    breaker = Breaker(failures=1)
    with pytest.raises(ToolFailed) as failed:
        await make_box(url=server.url, breaker=breaker).call(ToolCall("shop.fail", {}))
    assert failed.value.reason == "reported" and "\0" not in failed.value.said
    assert "the warehouse is closed" in failed.value.said
    assert not breaker.is_open


async def test_a_huge_result_is_cut_and_says_so(server, make_box):
    result = await make_box(url=server.url, tools=allowed("huge", max_chars=500)).call(ToolCall("shop.huge", {}))
    assert len(result.text) <= 500 and result.text.endswith("…")
    assert result.cut_from == HUGE_CHARS - 1  # without the space at its end


async def test_a_result_beyond_all_measure_is_not_taken_and_not_asked_for_twice(server, make_box):
    box = make_box(url=server.url)
    assert await reason(box, "huge", chars=3 * HUGE_CHARS) == "too_large"
    assert server.calls == [("huge", {})]
    assert (await box.call(ToolCall("shop.price", {"item": "x"}))).text == "x: 2 EUR"


async def test_an_empty_result_is_no_result(server, make_box):
    assert await reason(make_box(url=server.url), "empty") == "malformed"


async def test_a_server_that_is_not_there_is_unreachable(make_box):
    assert await reason(make_box(url=f"http://127.0.0.1:{free_port()}/mcp"), "price", item="x") == "unreachable"


async def test_a_command_that_is_not_there_is_unreachable(make_box):
    assert await reason(make_box(command=("no-such-command-anywhere",)), "price", item="x") == "unreachable"


async def test_a_command_that_ends_at_once_is_unreachable(make_box):
    assert await reason(make_box(command=(sys.executable, "-c", "pass")), "price", item="x") == "unreachable"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\nnot json!",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"\x00\x01\x02 garbage",
    ],
    ids=["not json", "a web page", "500", "redirect", "not http"],
)
async def test_what_is_no_mcp_server_is_a_failure_with_a_name(make_box, answer):
    with RawServer(answer) as raw:
        assert await reason(make_box(url=raw.url), "price", item="x") in ("malformed", "unreachable")


async def test_a_server_that_hangs_up_is_unreachable(make_box):
    with RawServer(reset=True) as raw:
        assert await reason(make_box(url=raw.url), "price", item="x") == "unreachable"


async def test_a_server_that_never_answers_times_out_and_is_then_left_alone(make_box):
    with RawServer() as raw:
        now = [100.0]
        box = make_box(url=raw.url, connect_timeout_s=0.3, breaker=Breaker(failures=1, clock=lambda: now[0]))
        assert await reason(box, "price", item="x") == "timeout"
        asked = raw.requests
        assert await reason(box, "price", item="x") == "resting"
        assert raw.requests == asked
        now[0] += 60
        assert await reason(box, "price", item="x") == "timeout"
        assert raw.requests > asked


async def test_a_server_that_was_gone_and_is_back_answers_without_anybody_doing_anything(server, make_box):
    now = [100.0]
    box = make_box(url=server.url, breaker=Breaker(failures=1, clock=lambda: now[0]))
    assert (await box.call(ToolCall("shop.price", {"item": "x"}))).text == "x: 1 EUR"
    await asyncio.to_thread(server.stop)
    assert await reason(box, "price", item="x") == "unreachable"
    await asyncio.to_thread(server.start)
    now[0] += 60
    assert (await box.call(ToolCall("shop.price", {"item": "x"}))).text == "x: 2 EUR"


async def test_a_server_restarted_between_two_questions_is_not_even_noticed(server, make_box):
    box = make_box(url=server.url)
    await box.call(ToolCall("shop.price", {"item": "x"}))
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    assert (await box.call(ToolCall("shop.price", {"item": "x"}))).text == "x: 2 EUR"


async def test_whoever_stops_waiting_stops_the_call_and_blames_nobody(server, make_box):
    breaker = Breaker(failures=1)
    box = make_box(url=server.url, breaker=breaker)
    await box.tools()
    asking = asyncio.create_task(box.call(ToolCall("shop.hang", {})))
    while not server.calls:
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not breaker.is_open
    assert isinstance(await box.call(ToolCall("shop.price", {"item": "x"})), ToolResult)


# --- Python functions -----------------------------------------------------------------------------------------------


def stock(item: str, warehouse: int = 1) -> dict[str, int]:
    """How many of an item are in stock."""
    if item == "bug":
        raise RuntimeError("secret detail")
    return {item: 10 * warehouse}


async def weather(city: str) -> str:
    """The weather."""
    return f"rain in {city}"


def functions_box(**functions: object) -> Toolbox:
    tools = []
    for name, function in functions.items():
        how = {"async_fn": function} if asyncio.iscoroutinefunction(function) else {"fn": function}
        tools.append((FunctionTool.from_defaults(name=name, **how), ToolSettings(name, timeout_s=0.5)))  # type: ignore[arg-type]
    return Toolbox([PythonFunctions(tools)])


async def test_python_functions_are_tools_with_the_same_rules():
    box = functions_box(stock=stock, weather=weather)
    assert (await box.call(ToolCall("functions.stock", {"item": "maize", "warehouse": 2}))).text == '{"maize": 20}'
    assert (await box.call(ToolCall("functions.weather", {"city": "Busan"}))).text == "rain in Busan"
    with pytest.raises(ToolFailed) as failed:
        await box.call(ToolCall("functions.stock", {"item": "maize", "more": 1}))
    assert failed.value.reason == "bad_arguments"
    box.close()


async def test_what_a_function_raises_is_not_shown():
    box = functions_box(stock=stock)
    with pytest.raises(ToolFailed) as failed:
        await box.call(ToolCall("functions.stock", {"item": "bug"}))
    assert failed.value.reason == "reported" and "secret" not in str(failed.value)
    box.close()


async def test_a_function_that_hangs_is_left_behind():
    never = threading.Event()

    def waits() -> str:
        """Waits."""
        never.wait()
        return "done"

    box = functions_box(waits=waits)
    reasons = []
    for _ in range(3):
        with pytest.raises(ToolFailed) as failed:
            await box.call(ToolCall("functions.waits", {}))
        reasons.append(failed.value.reason)
    assert reasons == ["timeout", "timeout", "resting"]
    never.set()
    box.close()
