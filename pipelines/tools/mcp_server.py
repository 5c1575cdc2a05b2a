"""One MCP server as a source of tools: only those that are allowed, each call within its deadline, every failure named.

A server that keeps failing is left alone for a while. Its words (descriptions, results, errors) are data: cut to a
length, cleaned of control characters, never followed. Lives in one event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from llama_index.tools.mcp import McpToolSpec
from mcp import MCPError
from mcp.types import INVALID_PARAMS, METHOD_NOT_FOUND, PARSE_ERROR, REQUEST_TIMEOUT, CallToolResult, TextContent

from pipelines.breaker import Breaker
from pipelines.tools.session import Lost, SessionClient
from pipelines.tools.texts import cleaned, one_line
from pipelines.tools.types import Reason, ServerSettings, Tool, ToolFailed, ToolSettings

log = logging.getLogger(__name__)
T = TypeVar("T")

LISTED_S = 300.0
FAILURES = 2  # in a row, until it is left alone: each may have cost its user the whole deadline
_PING_S = 2.0
_TOO_LARGE = "byte limit"  # the SDK's words for an answer of more than 1 MiB
_FINAL = (INVALID_PARAMS, METHOD_NOT_FOUND, PARSE_ERROR, REQUEST_TIMEOUT)  # a new session would say the same


class McpServer:
    """Makes no connection and starts no process until it is asked."""

    def __init__(self, settings: ServerSettings, *, breaker: Breaker | None = None, listed_s: float = LISTED_S) -> None:
        self.settings = settings
        self._breaker = breaker or Breaker(failures=FAILURES)
        self._client: SessionClient | None = None
        self._listing: asyncio.Task[tuple[Tool, ...]] | None = None
        self._listed: tuple[Tool, ...] = ()
        self._listed_until = 0.0
        self._keep_list_s = listed_s
        self._checks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def endpoint(self) -> str:
        return self.settings.endpoint

    @property
    def allowed(self) -> tuple[ToolSettings, ...]:
        return self.settings.tools

    async def tools(self) -> tuple[Tool, ...]:
        """The allowed tools that the server has; asked anew every few minutes.

        Raises:
            ToolFailed: it does not list them.
        """
        if time.monotonic() < self._listed_until:
            return self._listed
        if self._listing is None or self._listing.done():  # all who want it at the same moment wait for one listing
            self._listing = asyncio.create_task(self._list())
            self._listing.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be waiting
        return await asyncio.shield(self._listing)

    async def call(self, tool: Tool, arguments: Mapping[str, Any]) -> str:
        """The result's text, uncut. `arguments` must have been checked. Raises: ToolFailed."""
        settings = tool.settings

        async def ask() -> CallToolResult:
            return await self._connected().call_tool(settings.name, dict(arguments))

        timeout_s = settings.timeout_s + (0 if self._client and self._client.held else self.settings.connect_timeout_s)
        result = await self._guarded(tool.full_name, timeout_s, ask)
        text = _text_of(result)
        if result.is_error:
            raise ToolFailed(tool.full_name, "reported", said=one_line(text, 200))
        if not text.strip():
            raise ToolFailed(tool.full_name, "malformed", said="its result has no text")
        return text

    async def aclose(self) -> None:
        for check in self._checks:
            check.cancel()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _list(self) -> tuple[Tool, ...]:
        spec = McpToolSpec(self._connected(), allowed_tools=[tool.name for tool in self.allowed])
        try:
            found = await self._guarded(self.name, self.settings.connect_timeout_s, spec.fetch_tools)
        except ToolFailed:
            if self._listed:
                return self._listed  # what it had: that it is away is said by the call, which may have an older result
            raise
        self._listed, self._listed_until = self._taken(found), time.monotonic() + self._keep_list_s
        return self._listed

    def _connected(self) -> SessionClient:
        if self._client is None:
            self._client = SessionClient(self.settings)
        return self._client

    def _taken(self, found: list[Any]) -> tuple[Tool, ...]:
        by_name = {str(tool.name): tool for tool in found}
        taken = []
        for settings in self.allowed:
            tool = by_name.get(settings.name)
            if tool is None:
                log.warning("the tool server %s has no tool %s", self.name, settings.name)
            elif tool.annotations is not None and tool.annotations.read_only_hint is False:
                log.warning("%s.%s says that it changes things: it is not called", self.name, settings.name)
            else:
                taken.append(Tool(self.name, settings, one_line(tool.description or "", 500), dict(tool.input_schema)))
        return tuple(taken)

    async def _guarded(self, asked: str, timeout_s: float, ask: Callable[[], Awaitable[T]]) -> T:
        """`ask`, within its deadline; what goes wrong as ToolFailed, and told to the breaker."""
        if self._breaker.wait_s():
            raise ToolFailed(asked, "resting")
        client = self._connected()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._on_a_live_session(client, ask)
        except TimeoutError as exc:
            self._breaker.failed()
            self._check_later(client)
            raise ToolFailed(asked, "timeout") from exc
        except Exception as exc:
            reason, said, server_failed = _what_happened(exc)
            (self._breaker.failed if server_failed else self._breaker.succeeded)()
            raise ToolFailed(asked, reason, said=said) from exc
        except BaseException:
            self._breaker.untold()
            raise
        self._breaker.succeeded()
        return answer

    async def _on_a_live_session(self, client: SessionClient, ask: Callable[[], Awaitable[T]]) -> T:
        """A server that was started anew knows the old session no more: then once more on a new one. Tools only read."""
        held = client.held
        try:
            return await ask()
        except (Lost, MCPError) as exc:
            if held is None or (isinstance(exc, MCPError) and (exc.code in _FINAL or _TOO_LARGE in exc.message)):
                raise
            await client.drop(held)
        return await ask()

    def _check_later(self, client: SessionClient) -> None:
        """A server that was only slow keeps its session; one that hangs is ended, and started anew when next asked."""
        held = client.held

        async def check() -> None:
            try:
                async with asyncio.timeout(_PING_S):
                    await client.ping()
            except Exception:  # noqa: BLE001  whatever it is, this session is of no use
                await client.drop(held)

        if held is not None:
            task = asyncio.create_task(check())
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)


def _what_happened(exc: Exception) -> tuple[Reason, str, bool]:
    """Reason, words for people, and whether the server is to blame (rather than this one request)."""
    if isinstance(exc, MCPError):
        if exc.code == REQUEST_TIMEOUT:
            return "timeout", "", True
        if exc.code == PARSE_ERROR:
            return "malformed", "its answer is not valid", True
        if exc.code in (INVALID_PARAMS, METHOD_NOT_FOUND):
            return "rejected", one_line(exc.message, 200), False
        if _TOO_LARGE in exc.message:
            return "too_large", "", False
        return "unreachable", one_line(exc.message, 200), True
    if isinstance(exc, Lost | OSError):
        return "unreachable", "", True
    log.warning("a tool server answered nonsense: %s", type(exc).__name__)
    return "malformed", "its answer is not valid", True


def _text_of(result: CallToolResult) -> str:
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    if not texts and result.structured_content:
        texts = [json.dumps(result.structured_content, ensure_ascii=False, default=str)]
    return cleaned("\n".join(texts))
