"""Several servers of the same model as one: the first that answers answers. Knows no wire format and no deadline."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import openai

from knowledge.errors import LLMError, LLMUnavailable
from pipelines.llm.frames import Delta
from pipelines.llm.server import Server, ServerInfo


class Failover:
    """As `Server`. Servers are asked in their order; those that failed lately come last. Nothing is asked twice.

    A server that broke off in the middle of an answer is not followed by another: what was streamed is kept as it is.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        if not servers:
            raise ValueError("no servers")
        self._servers = tuple(servers)
        self._latest = self._servers[0]

    @property
    def info(self) -> ServerInfo | None:
        return self._latest.info

    def client(self) -> openai.AsyncOpenAI:
        return self._latest.client()

    async def aclose(self) -> None:
        for server in self._servers:
            await server.aclose()

    async def describe(self, *, refresh: bool = False) -> ServerInfo:
        """Of the first server that answers.

        Raises:
            LLMUnavailable, LLMRejected: as the last server put it.
        """
        failure: LLMError | None = None
        for server in self._in_order():
            try:
                info = await server.describe(refresh=refresh)
            except LLMError as exc:
                failure = exc
            else:
                self._latest = server
                return info
        assert failure is not None
        raise failure

    async def deltas(self, body: Mapping[str, Any]) -> AsyncGenerator[Delta, None]:
        """As `Server.deltas`.

        Raises:
            LLMUnavailable: no server generated anything; names them all.
            LLMRejected, LLMInterrupted: as the server that was asked put it.
        """
        failures: list[LLMUnavailable] = []
        for server in self._in_order():
            try:
                async with aclosing(server.deltas(body)) as deltas:
                    async for delta in deltas:
                        if delta.generated:
                            self._latest = server
                        yield delta
                return
            except LLMUnavailable as exc:
                failures.append(exc)
        told = " ".join(dict.fromkeys(map(str, failures)))
        raise LLMUnavailable(
            f"None of the {len(self._servers)} language model servers answers. {told}", hint=failures[-1].hint
        ) from failures[-1]

    def _in_order(self) -> list[Server]:
        return sorted(self._servers, key=lambda server: server.is_resting)
