"""One lasting MCP session with a server, for many calls: LlamaIndex's client, which opens a new one for each call.

`BasicMCPClient` starts a process (or shakes hands anew) for every call and every list, and never closes its HTTP client.
Here a task of its own holds the session open, since an MCP connection may only be closed by the task that opened it.
Lives in one event loop. Knows nothing about deadlines, which tools are allowed, or what results mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx2
from llama_index.tools.mcp import BasicMCPClient
from mcp import ClientSession
from mcp.types import ListToolsResult, PaginatedRequestParams

from knowledge.addresses import is_loopback
from pipelines.tools.types import ServerSettings

MAX_TOOL_PAGES = 10
_CLOSE_LIMIT_S = 8.0  # the SDK gives a process 2 s to end by itself, 2 s after SIGTERM and 2 s after SIGKILL


class Lost(ConnectionError):
    """The session ended or could not be opened."""


class SessionClient(BasicMCPClient):
    """LlamaIndex's MCP client, with a session that stays. Opens it at the first call; `drop` makes the next open anew."""

    def __init__(self, settings: ServerSettings) -> None:
        command_or_url, *args = [settings.url] if settings.url else settings.command
        # Proxies of the environment are for other machines; redirects stay off.
        self._http = httpx2.AsyncClient(
            headers=dict(settings.headers),
            timeout=httpx2.Timeout(60, connect=settings.connect_timeout_s),
            trust_env=bool(settings.url) and not is_loopback(settings.url),
        )
        super().__init__(command_or_url, args=args, env=dict(settings.env), timeout=60, http_client=self._http)
        self._opening = asyncio.Lock()
        self._held: _Held | None = None
        self._owners: set[asyncio.Task[None]] = set()

    @property
    def held(self) -> object:
        """The open session, to see whether it is still the same; None where there is none."""
        return self._held

    async def list_tools(self) -> ListToolsResult:  # type: ignore[override]  # as the base class has it
        """All pages of the list, as far as a sane server has them."""
        async with self._run_session() as session:
            page = await session.list_tools()
            tools = list(page.tools)
            for _ in range(MAX_TOOL_PAGES):
                if not page.next_cursor:
                    break
                page = await session.list_tools(params=PaginatedRequestParams(cursor=page.next_cursor))
                tools += page.tools
        return ListToolsResult(tools=tools)

    async def ping(self) -> None:
        async with self._run_session() as session:
            await session.send_ping()

    async def drop(self, held: object) -> None:
        """Close this session if it is still the open one; a process that serves it is ended."""
        if held is not None and self._held is held:
            self._held, dropped = None, self._held
            assert dropped is not None
            dropped.scope.cancel()

    async def aclose(self) -> None:
        """Closes the session and waits until its process, if it has one, is gone."""
        await self.drop(self._held)
        if self._owners:
            await asyncio.wait(self._owners, timeout=_CLOSE_LIMIT_S)
        await self._http.aclose()

    @asynccontextmanager
    async def _run_session(self) -> AsyncIterator[ClientSession]:
        """What the base class calls for each request: here the session that is held.

        Raises:
            Lost: it could not be opened, or ended meanwhile.
        """
        held = await self._open()
        user = asyncio.current_task()
        assert user is not None
        is_lost = False

        def lost(_: object) -> None:
            nonlocal is_lost
            is_lost = True
            user.cancel()

        held.owner.add_done_callback(lost)
        try:
            yield held.session
        except asyncio.CancelledError:
            if is_lost and user.uncancel() == 0:
                raise Lost("the connection was lost") from None
            raise
        finally:
            held.owner.remove_done_callback(lost)

    async def _open(self) -> _Held:
        async with self._opening:
            if self._held is not None and not self._held.owner.done():
                return self._held
            opened: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
            scope = anyio.CancelScope()
            owner = asyncio.create_task(self._own(opened, scope))
            self._owners.add(owner)
            owner.add_done_callback(self._owners.discard)
            try:
                session = await opened
            except BaseException:
                scope.cancel()  # unwinds in order; cancelling the task could leave a process behind
                raise
            self._held = _Held(session, scope, owner)
            return self._held

    async def _own(self, opened: asyncio.Future[ClientSession], scope: anyio.CancelScope) -> None:
        reason = "it was closed"
        try:
            with scope:
                async with super()._run_session() as session:
                    if opened.done():  # whoever wanted it has gone
                        return
                    opened.set_result(session)
                    await anyio.sleep_forever()
        except BaseException as exc:  # noqa: BLE001  whatever the transport threw, the session is gone
            reason = _first_reason(exc)
        finally:
            if not opened.done():
                opened.set_exception(Lost(reason))


class _Held:
    """An open session, the task that holds it open, and what closes it."""

    def __init__(self, session: ClientSession, scope: anyio.CancelScope, owner: asyncio.Task[None]) -> None:
        self.session, self.scope, self.owner = session, scope, owner


def _first_reason(exc: BaseException) -> str:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return " ".join(str(exc).split())[:200] or type(exc).__name__
