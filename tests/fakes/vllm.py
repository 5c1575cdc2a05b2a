"""A scripted chat server that speaks vLLM's wire format on a real socket, whole or broken.

    with FakeVllm() as fake:                            # a thread with its own loop, a free loopback port
        fake.always(Reply("답은 15일입니다 [1]."))        # every call (the default is a short fixed answer)
        fake.script(Status(503), Reply("ok"))           # the next calls, in order; then `always` again
        fake.script(Reply("half an ans", end="reset"))  # text, then the connection is reset
        fake.always(Reply(lambda body: body["messages"][-1]["content"]))
        ...  # point an OpenAI client at fake.base_url
        fake.requests                                   # bodies of the chat calls received
        fake.wait_for_disconnect()                      # the client hung up before the answer was over

Works for sync and async tests. `stop()` kills it like a crash, `start()` brings it back on the same port. As a process:
`python -m tests.fakes.vllm 8001`. Frames follow those recorded from vLLM 0.32.0; raw sockets, because broken framing is
half of the point.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import Any

from tests.fakes.vllm_wire import (
    ENGINE_DEAD,
    MODEL,
    OVERLOADED,
    TOO_LONG,
    Behaviour,
    Exchange,
    Raw,
    Reply,
    Status,
    read_request,
    reset,
)

__all__ = ["ENGINE_DEAD", "MODEL", "OVERLOADED", "TOO_LONG", "FakeVllm", "Raw", "Reply", "Status"]


class FakeVllm:
    """`api_key`: if set, calls without it get vLLM's 401. `max_model_len` is what /v1/models tells."""

    def __init__(self, *, model: str = MODEL, max_model_len: int = 4096, api_key: str = "", port: int = 0) -> None:
        self.model, self.max_model_len, self.api_key, self.port = model, max_model_len, api_key, port
        self.requests: list[dict[str, Any]] = []
        self.model_requests = 0
        self.disconnects: list[float] = []  # time.monotonic() of each
        self.default: Behaviour = Reply()
        self._script: list[Behaviour] = []
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def always(self, behaviour: Behaviour) -> None:
        self.default = behaviour

    def script(self, *behaviours: Behaviour) -> None:
        self._script = list(behaviours)

    def wait_for_disconnect(self, count: int = 1, timeout_s: float = 10) -> bool:
        """Waits until `count` clients have hung up early; False if they have not within the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.disconnects) >= count, timeout_s)

    def wait_for_request(self, count: int = 1, timeout_s: float = 10) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.requests) >= count, timeout_s)

    def __enter__(self) -> FakeVllm:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        ready = threading.Event()
        failure: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._serve(ready))
            except BaseException as exc:
                failure.append(exc)
                ready.set()

        self._thread = threading.Thread(target=run, name="fake-vllm", daemon=True)
        self._thread.start()
        ready.wait()
        if failure:
            raise failure[0]

    def stop(self) -> None:
        """Resets every connection and closes the port."""
        if self._loop and self._thread and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopping.wait()
        server.close()
        for writer in list(self._connections.values()):
            reset(writer)
        if self._connections:
            await asyncio.wait(list(self._connections))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            while request := await read_request(reader):
                if not await Exchange(self, reader, writer).answer(*request):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            del self._connections[task]
            writer.close()

    def received(self, body: dict[str, Any]) -> Behaviour:
        with self._changed:
            self.requests.append(body)
            self._changed.notify_all()
            return self._script.pop(0) if self._script else self.default

    def disconnected(self) -> None:
        if self._stopping.is_set():
            return  # it was us
        with self._changed:
            self.disconnects.append(time.monotonic())
            self._changed.notify_all()


if __name__ == "__main__":
    with FakeVllm(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as server:
        print(server.base_url, flush=True)
        threading.Event().wait()
