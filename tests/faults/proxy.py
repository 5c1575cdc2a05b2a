"""A TCP proxy between the app and what it depends on that can be told to misbehave, and to stop misbehaving.

with FaultProxy(upstream) as proxy:     # ("127.0.0.1", 5432) or a Unix socket's path
    ...  # point the app at 127.0.0.1:proxy.port
    proxy.mode = "hang"
    proxy.mode = "pass"

pass       forwards
refuse     nobody listens; connections that are open are reset
hang       takes connections and bytes, answers nothing; afterwards everything held back is delivered
blackhole  as hang, but what was open or came in that time stays dead for ever, without a word to either side
slow       300 ms and 20 KB/s for each packet, both ways
reset      each connection is reset, those that are open and those that come
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from tests.fakes.vllm_wire import reset

Mode = Literal["pass", "refuse", "hang", "blackhole", "slow", "reset"]
SLOW_DELAY_S = 0.3
SLOW_BYTES_PER_S = 20_000
_PACKET = 4096


class FaultProxy:
    """A thread with a loop of its own. `connections`: how many were accepted so far."""

    def __init__(self, upstream: str | tuple[str, int]) -> None:
        self._upstream = upstream
        self._mode: Mode = "pass"
        self.port = 0
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._open: dict[_Pair, asyncio.Task[Any]] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._run(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._run(lambda: self._change(mode))

    def _run(self, make: Callable[[], Awaitable[None]]) -> None:
        asyncio.run_coroutine_threadsafe(make(), self._loop).result(10)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _change(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "blackhole":
            for pair in self._open:
                pair.is_dead = True
        if mode in ("refuse", "reset"):
            self._reset_all()
        if mode == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
        elif mode != "refuse" and self._server is None:
            await self._listen()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = list(self._open.values())
        self._reset_all()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _reset_all(self) -> None:
        for pair in list(self._open):
            for writer in pair.writers:
                reset(writer)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._mode == "reset":
            reset(writer)
            return
        pair = _Pair([writer], is_dead=self._mode == "blackhole")
        task = asyncio.current_task()
        assert task is not None
        self._open[pair] = task
        try:
            if isinstance(self._upstream, str):
                up_reader, up_writer = await asyncio.open_unix_connection(self._upstream)
            else:
                up_reader, up_writer = await asyncio.open_connection(*self._upstream)
            pair.writers.append(up_writer)
            both = [asyncio.ensure_future(self._pump(pair, *way)) for way in ((reader, up_writer), (up_reader, writer))]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for pump in both:
                pump.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        except OSError:
            reset(writer)  # the server itself is away
        finally:
            del self._open[pair]
            for each in pair.writers:
                each.close()

    async def _pump(self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                data = await reader.read(_PACKET)
                await self._gate(pair, len(data))
                if not data:
                    return
                writer.write(data)
                await writer.drain()
            except OSError:
                return

    async def _gate(self, pair: _Pair, size: int) -> None:
        while pair.is_dead or self._mode in ("hang", "blackhole"):
            await asyncio.sleep(0.02)
        if self._mode == "slow":
            await asyncio.sleep(SLOW_DELAY_S + size / SLOW_BYTES_PER_S)


class _Pair:
    """The two ends of one connection."""

    def __init__(self, writers: list[asyncio.StreamWriter], *, is_dead: bool) -> None:
        self.writers = writers
        self.is_dead = is_dead
