"""The tools of the app: asked when the documents do not tell, each call checked, timed, remembered, and its failure said.

What leads to a call is the user's question (and the user's earlier questions) alone. No passage, no answer and no result
of a tool comes here, so no document can cause a call. At most two calls a turn; no call follows from another's result.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llama_index.core.llms import LLM

from pipelines.memory_tools import ToolCache
from pipelines.tools.arguments import checked_arguments
from pipelines.tools.background import LoopThread
from pipelines.tools.chooser import choose_by_llm
from pipelines.tools.config import read_tools_file
from pipelines.tools.remembering import Remembering
from pipelines.tools.rules import choose_by_rules
from pipelines.tools.types import Tool, ToolCall, ToolFailed, ToolResult, ToolSettings

log = logging.getLogger(__name__)

MAX_CALLS = 2
CALL_LIMIT_S = 30.0  # of all that one call may take: connecting, listing, waiting for another's answer, asking
_CLOSE_LIMIT_S = 15.0


class Source(Protocol):
    """Where tools come from: an MCP server, or the Python functions."""

    @property
    def name(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def allowed(self) -> tuple[ToolSettings, ...]: ...
    async def tools(self) -> tuple[Tool, ...]: ...
    async def call(self, tool: Tool, arguments: Mapping[str, Any]) -> str: ...
    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Consultation:
    """What the tools said to one question: nothing at all if none fits it. `took_ms`: for both, choice included."""

    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    failures: tuple[ToolFailed, ...] = ()
    took_ms: float = 0.0


def open_toolbox(file: Path | None, *, cache: ToolCache | None) -> Toolbox:
    """The tools that the file names; None: no tools. Connects to nothing yet.

    Raises:
        ToolsFileInvalid
    """
    if file is None:
        return Toolbox([])
    # The MCP SDK takes half a second to import, which an app without tools need not wait for.
    from pipelines.tools.functions import load_functions
    from pipelines.tools.mcp_server import McpServer

    config = read_tools_file(file, environment=os.environ)
    sources: list[Source] = [McpServer(settings) for settings in config.servers]
    if config.functions:
        sources.append(load_functions(config.functions))
    return Toolbox(sources, cache=cache)


class Toolbox:
    """Usable from any event loop and several at once. `cache`: None asks the tool each time."""

    def __init__(
        self, sources: Sequence[Source], *, cache: ToolCache | None = None, max_calls: int = MAX_CALLS
    ) -> None:
        self._sources = {source.name: source for source in sources}
        self._remembering = Remembering(cache)
        self._max_calls = max_calls
        self._loop = LoopThread("tools")

    def __bool__(self) -> bool:
        return bool(self._sources)

    async def consult(
        self, question: str, *, earlier: Sequence[str] = (), llm: LLM | None = None, first: bool = False
    ) -> Consultation:
        """Choose, call, and say what failed; raises nothing that a tool or a model does.

        `earlier`: what the USER asked before in this conversation, oldest first, and nothing that anyone else wrote;
        without a model only where the question leans on it. `llm`: None chooses by the rules of the tools file.
        `first`: only what a rule says to ask before the documents; no model is asked.
        """
        if not self:
            return Consultation()
        began = time.perf_counter()
        unlisted: list[ToolFailed] = []
        if first:
            calls = self._by_rules(question, earlier, first=True)
        else:
            calls, unlisted = await self._chosen(question, earlier, llm)
        outcomes = await asyncio.gather(*(self._outcome(call) for call in calls))
        return Consultation(
            calls=tuple(calls),
            results=tuple(outcome for outcome in outcomes if isinstance(outcome, ToolResult)),
            failures=(*(outcome for outcome in outcomes if isinstance(outcome, ToolFailed)), *unlisted),
            took_ms=round((time.perf_counter() - began) * 1000, 1),
        )

    async def tools(self) -> tuple[list[Tool], list[ToolFailed]]:
        """All tools that can be called now, and the servers that did not list theirs."""
        listings = await asyncio.gather(
            *(self._loop.run(source.tools()) for source in self._sources.values()), return_exceptions=True
        )
        found: list[Tool] = []
        failures: list[ToolFailed] = []
        for listing in listings:
            if isinstance(listing, ToolFailed):
                failures.append(listing)
            elif isinstance(listing, BaseException):
                raise listing
            else:
                found.extend(listing)
        return found, failures

    async def call(self, call: ToolCall) -> ToolResult:
        """One call: checked, from the cache where that is fresh, and made once however many ask for the same.

        Raises:
            ToolFailed: nothing came, and nothing is remembered.
        """
        source, tool = await self._found(call.tool)
        arguments = checked_arguments(tool, call.arguments)
        return await self._remembering.result(
            tool, arguments, endpoint=source.endpoint, ask=lambda: self._loop.run(source.call(tool, arguments))
        )

    def close(self) -> None:
        """Closes connections and ends the processes that were started."""
        if not self._loop.is_running:
            return

        async def close_all() -> None:
            await asyncio.gather(*(source.aclose() for source in self._sources.values()), return_exceptions=True)

        with suppress(TimeoutError):
            self._loop.run_and_wait(close_all(), timeout_s=_CLOSE_LIMIT_S)
        self._loop.close()

    # --- choosing --------------------------------------------------------------------------------------------------

    async def _chosen(
        self, question: str, earlier: Sequence[str], llm: LLM | None
    ) -> tuple[list[ToolCall], list[ToolFailed]]:
        """The calls, and the servers that might have had a tool for it, had they listed theirs."""
        tools, unlisted = ([], []) if llm is None else await self.tools()
        if llm is not None and tools:
            calls = await choose_by_llm(llm, tools, question, earlier=earlier, most=self._max_calls)
            if calls is not None:
                return calls, [] if calls else unlisted
        calls = self._by_rules(question, earlier)
        return calls, [] if calls else unlisted

    def _by_rules(self, question: str, earlier: Sequence[str], *, first: bool = False) -> list[ToolCall]:
        allowed = [(name, tool) for name, source in self._sources.items() for tool in source.allowed]
        return choose_by_rules(allowed, question, earlier=earlier, most=self._max_calls, first=first)

    # --- calling ---------------------------------------------------------------------------------------------------

    async def _outcome(self, call: ToolCall) -> ToolResult | ToolFailed:
        try:
            async with asyncio.timeout(CALL_LIMIT_S):
                return await self.call(call)
        except TimeoutError:
            log.warning("tool call failed: %s, not done within %s s", call.tool, CALL_LIMIT_S)
            return ToolFailed(call.tool, "timeout")
        except ToolFailed as exc:
            log.warning("tool call failed: %s %s", exc.tool, exc.reason)
            return exc
        except Exception:  # arguments and results come from outside: whatever is wrong with them ends this call alone
            log.exception("tool call failed: %s", call.tool)
            return ToolFailed(call.tool, "malformed")

    async def _found(self, full_name: str) -> tuple[Source, Tool]:
        server, _, name = full_name.partition(".")
        source = self._sources.get(server)
        if source is None or all(settings.name != name for settings in source.allowed):
            raise ToolFailed(full_name, "unknown_tool")
        try:
            listed = await self._loop.run(source.tools())
        except ToolFailed as exc:
            raise ToolFailed(full_name, exc.reason, said=exc.said) from exc
        tool = next((tool for tool in listed if tool.settings.name == name), None)
        if tool is None:
            raise ToolFailed(full_name, "unknown_tool")
        return source, tool
