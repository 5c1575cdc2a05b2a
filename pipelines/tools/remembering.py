"""A tool's result from the cache where it is fresh; else asked for once, however many want it at the same moment.

Without Redis the tool is asked each time. Knows nothing about how a tool is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, get_args

from knowledge.errors import MemoryUnavailable
from pipelines.memory_tools import StoredResult, ToolCache
from pipelines.tools.arguments import canonical
from pipelines.tools.texts import cut
from pipelines.tools.types import Reason, Tool, ToolFailed, ToolResult

Ask = Callable[[], Awaitable[str]]

_WAIT_EVERY_S = 0.05
_NO_STAND_IN = ("reported", "rejected", "too_large", "bad_arguments", "unknown_tool")  # the tool did answer


class Remembering:
    """`cache`: None remembers nothing."""

    def __init__(self, cache: ToolCache | None) -> None:
        self._cache = cache

    async def result(self, tool: Tool, arguments: Mapping[str, Any], *, endpoint: str, ask: Ask) -> ToolResult:
        """`ask`: asks the tool with these (checked) arguments; called at most once.

        Raises:
            ToolFailed: nothing came, and nothing is remembered.
        """
        if self._cache is None:
            return _result(tool, arguments, _to_store(tool, await ask()), cached=False)
        key = self._cache.key(tool.full_name, endpoint=endpoint, arguments=canonical(arguments))
        limit_s = 2 * tool.settings.timeout_s + 15
        try:
            stored = await asyncio.to_thread(self._cache.get, key)
            if stored and _is_fresh(stored, tool):
                return _result(tool, arguments, stored, cached=True)
            token = await asyncio.to_thread(self._cache.claim, key, limit_s=limit_s)
        except MemoryUnavailable:
            return _result(tool, arguments, _to_store(tool, await ask()), cached=False)
        return await self._once(self._cache, key, token, tool, arguments, stored, limit_s=limit_s, ask=ask)

    async def _once(
        self,
        cache: ToolCache,
        key: str,
        token: str,
        tool: Tool,
        arguments: Mapping[str, Any],
        stale: StoredResult | None,
        *,
        limit_s: float,
        ask: Ask,
    ) -> ToolResult:
        """Whoever has the token asks; the others wait for what it gets. A stale result stands in where that fails."""
        failed_with = ""
        try:
            try:
                stored, token = await _theirs_or_token(cache, key, token, tool, limit_s=limit_s)
                if stored and _is_fresh(stored, tool):
                    return _result(tool, arguments, stored, cached=True)
                stored = _to_store(tool, await ask())
            except ToolFailed as exc:
                failed_with = exc.reason
                if stale is None or exc.reason in _NO_STAND_IN:
                    raise
                return _result(tool, arguments, stale, cached=True, stale=True)
            if token:
                with suppress(MemoryUnavailable):
                    await asyncio.to_thread(cache.put, key, token, stored, ttl_s=tool.settings.ttl_s)
            return _result(tool, arguments, stored, cached=False)
        finally:
            if token:
                with suppress(MemoryUnavailable):
                    await asyncio.shield(asyncio.to_thread(cache.release, key, token, failed=failed_with))


async def _theirs_or_token(
    cache: ToolCache, key: str, token: str, tool: Tool, *, limit_s: float
) -> tuple[StoredResult | None, str]:
    """What another got, or our token to ask: ours from the beginning, or where that one left without a word.

    Raises:
        ToolFailed: as the other's call did.
    """
    until = time.monotonic() + limit_s
    try:
        if token:  # it may have come between our look and our token
            return await asyncio.to_thread(cache.get, key), token
        while time.monotonic() < until:
            stored, failed, asking = await asyncio.to_thread(cache.wait_state, key)
            if stored and _is_fresh(stored, tool):
                return stored, ""
            if not asking:
                if failed:
                    raise ToolFailed(tool.full_name, _reason(failed))
                token = await asyncio.to_thread(cache.claim, key, limit_s=limit_s)
                if token:
                    return None, token
            await asyncio.sleep(_WAIT_EVERY_S)
    except MemoryUnavailable:  # it went away meanwhile: then everybody asks
        return None, token
    raise ToolFailed(tool.full_name, "timeout")


def _is_fresh(stored: StoredResult, tool: Tool) -> bool:
    # A clock that went back must not make a result good for ever.
    return abs(time.time() - stored.fetched_at) < tool.settings.ttl_s


def _to_store(tool: Tool, text: str) -> StoredResult:
    kept, cut_from = cut(text, tool.settings.max_chars)
    return StoredResult(kept, time.time(), cut_from)


def _result(
    tool: Tool, arguments: Mapping[str, Any], stored: StoredResult, *, cached: bool, stale: bool = False
) -> ToolResult:
    return ToolResult(tool.full_name, arguments, stored.text, stored.fetched_at, cached, stale, stored.cut_from)


def _reason(text: str) -> Any:
    return text if text in get_args(Reason) else "unreachable"
