"""Python functions as tools, called like those of an MCP server: same allow list, same deadline, same failures.

A function runs in a thread of its own, which cannot be killed: one that hangs is left behind, and too many of those and
the function is left alone. What a function raises is logged and not shown.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from llama_index.core.tools import FunctionTool

from pipelines.breaker import Breaker
from pipelines.tools.config import FunctionSettings
from pipelines.tools.texts import cleaned, one_line
from pipelines.tools.types import Tool, ToolFailed, ToolSettings, ToolsFileInvalid

log = logging.getLogger(__name__)

FAILURES = 2
MAX_RUNNING = 4  # of one function at a time, those that hang included


class PythonFunctions:
    """The tools of the "server" functions. `functions`: each with what the tools file says of it."""

    name = "functions"
    endpoint = "python"

    def __init__(self, functions: Sequence[tuple[FunctionTool, ToolSettings]]) -> None:
        self._functions = {settings.name: tool for tool, settings in functions}
        self.allowed = tuple(settings for _, settings in functions)
        self._breakers = {settings.name: Breaker(failures=FAILURES) for settings in self.allowed}
        self._running = {settings.name: threading.Semaphore(MAX_RUNNING) for settings in self.allowed}

    async def tools(self) -> tuple[Tool, ...]:
        found = []
        for settings in self.allowed:
            metadata = self._functions[settings.name].metadata
            schema = metadata.fn_schema.model_json_schema() if metadata.fn_schema else {"type": "object"}
            found.append(Tool(self.name, settings, one_line(metadata.description, 500), schema))
        return tuple(found)

    async def call(self, tool: Tool, arguments: Mapping[str, Any]) -> str:
        """Raises: ToolFailed."""
        name = tool.settings.name
        breaker = self._breakers[name]
        if breaker.wait_s():
            raise ToolFailed(tool.full_name, "resting")
        try:
            async with asyncio.timeout(tool.settings.timeout_s):
                output = await self._run(name, tool, arguments)
        except TimeoutError as exc:
            breaker.failed()
            raise ToolFailed(tool.full_name, "timeout") from exc
        except ToolFailed:
            breaker.failed()
            raise
        except Exception as exc:
            breaker.succeeded()  # it answers; what it says is that it failed
            log.warning("the tool %s raised", tool.full_name, exc_info=True)
            raise ToolFailed(tool.full_name, "reported") from exc
        except BaseException:
            breaker.untold()
            raise
        breaker.succeeded()
        text = cleaned(output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, default=str))
        if not text.strip():
            raise ToolFailed(tool.full_name, "malformed", said="its result has no text")
        return text

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _run(self, name: str, tool: Tool, arguments: Mapping[str, Any]) -> Any:
        function = self._functions[name].real_fn
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        running = self._running[name]
        if not running.acquire(blocking=False):
            raise ToolFailed(tool.full_name, "resting")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()

        def work() -> None:
            try:
                output, error = function(**arguments), None
            except Exception as exc:  # noqa: BLE001  raised again by whoever waits
                output, error = None, exc
            finally:
                running.release()
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_settle, done, output, error)

        threading.Thread(target=work, name=f"tool-{name}", daemon=True).start()
        return await done


def load_functions(settings: Sequence[FunctionSettings]) -> PythonFunctions:
    """Imports the functions that the tools file names.

    Raises:
        ToolsFileInvalid: there is no such function.
    """
    return PythonFunctions([(_function_tool(item), item.tool) for item in settings])


def _function_tool(item: FunctionSettings) -> FunctionTool:
    module, _, name = item.function.partition(":")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as exc:
        raise ToolsFileInvalid(
            f"The tools file names the function {item.function}, which cannot be imported: {exc}.",
            hint="Write it as package.module:function.",
        ) from exc
    if inspect.iscoroutinefunction(function):
        return FunctionTool.from_defaults(async_fn=function, name=item.tool.name)
    return FunctionTool.from_defaults(fn=function, name=item.tool.name)


def _settle(done: asyncio.Future[Any], output: Any, error: Exception | None) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(output)
