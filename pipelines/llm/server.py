"""One OpenAI-compatible server: what it serves, and the deltas of one chat, watched from the first byte to the last.

Deadlines, retries and every way in which a stream can fail are here; the sentences are in failures.py, the wire format
in frames.py. Knows nothing about LlamaIndex, prompts or citations.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

import httpx
import openai

from knowledge.addresses import is_loopback
from knowledge.errors import LLMError, LLMInterrupted, LLMRejected, LLMUnavailable
from pipelines.breaker import FAILURES, Breaker
from pipelines.llm.failures import Busy, Failures, TransientUnavailable
from pipelines.llm.frames import BadFrame, Delta, ErrorFrame, read_delta, read_frames
from pipelines.llm.retry import MAX_CALLS, RetryBudget, backoff_s

UNKNOWN_CONTEXT_WINDOW = 4096  # tokens; for servers that do not tell theirs
NO_KEY = "EMPTY"  # the SDK insists on a key, and without one would send OPENAI_API_KEY to whoever is configured
BROKEN = {"abort", "error"}  # vLLM's finish reasons of a generation that was stopped, not finished


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `first_token_s` counts from the call, retries included; `idle_s` between tokens; `total_s` for all.

    The server sends its headers at once while a request still waits in its queue, so the HTTP client's own read timeout
    says nothing about the first token, and none is set.
    """

    connect_s: float = 2
    first_token_s: float = 30
    idle_s: float = 15
    total_s: float = 300


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What the server says about itself. `context_window` in tokens; `served`: every model it lists."""

    model: str
    context_window: int
    served: tuple[str, ...] = ()


@dataclass(slots=True)
class _Call:
    """The clock and the state of one chat call. Moments are on the event loop's clock."""

    timeouts: Timeouts
    began: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    started: bool = False  # the model has produced something
    model: str = ""

    def deadline(self) -> float:
        """When the next frame must be here."""
        if self.started:
            wait = asyncio.get_running_loop().time() + self.timeouts.idle_s
        else:
            wait = self.began + self.timeouts.first_token_s
        return min(wait, self.began + self.timeouts.total_s)

    def waited_s(self) -> float:
        return asyncio.get_running_loop().time() - self.began


class Server:
    """`model`: "" takes the first one that the server lists. Makes no call until asked; usable from any event loop.

    `max_calls`: of one chat, while nothing was generated. `failures`: calls in a row after which the server gets a rest.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: str,
        timeouts: Timeouts,
        max_calls: int = MAX_CALLS,
        failures: int = FAILURES,
    ) -> None:
        self._base_url = base_url
        self._model = model
        self._api_key = api_key
        self._timeouts = timeouts
        self._failures = Failures(base_url, api_key=api_key)
        self._budget = RetryBudget()
        self._max_calls = max_calls
        self._breaker = Breaker(failures=failures)
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, openai.AsyncOpenAI] = WeakKeyDictionary()
        self.info: ServerInfo | None = None

    @property
    def is_resting(self) -> bool:
        """It kept failing lately and is only asked now and then."""
        return self._breaker.is_resting

    def client(self) -> openai.AsyncOpenAI:
        """The client of the running event loop: connections cannot be shared between loops."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = openai.AsyncOpenAI(
                api_key=self._api_key or NO_KEY,
                base_url=self._base_url,
                max_retries=0,
                http_client=httpx.AsyncClient(
                    timeout=httpx.Timeout(None, connect=self._timeouts.connect_s),
                    limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
                    trust_env=not is_loopback(self._base_url),  # no proxy stands between us and this machine
                    follow_redirects=True,
                ),
            )
        return client

    async def aclose(self) -> None:
        """Closes the running event loop's connections; the next call opens new ones."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    async def describe(self, *, refresh: bool = False) -> ServerInfo:
        """Model and context window, asked once and remembered; `refresh` asks again (a health check).

        Raises:
            LLMUnavailable, LLMRejected: also where the server lists no model and none is configured.
        """
        if self.info is not None and not refresh:
            return self.info
        wait_s = self._timeouts.connect_s + self._timeouts.idle_s
        try:
            async with asyncio.timeout(wait_s):
                response = await self.client().get("/models", cast_to=httpx.Response)
            self.info = _read_info(response.json(), configured=self._model)
        except TimeoutError as exc:
            raise self._failures.silent(wait_s) from exc
        except openai.APIStatusError as exc:
            if exc.status_code != 404 or not self._model:
                raise self._failures.status(exc.status_code, exc.response.content, model=self._model) from exc
            self.info = ServerInfo(self._model, UNKNOWN_CONTEXT_WINDOW)  # a server without this page
        except (openai.APIConnectionError, httpx.TransportError) as exc:
            raise self._lost(exc, started=False) from exc
        except (ValueError, TypeError, AttributeError, KeyError) as exc:
            raise self._failures.not_a_server("its list of models is not readable") from exc
        if not self.info.model:
            self.info = None
            raise self._failures.no_model_listed()
        return self.info

    async def deltas(self, body: Mapping[str, Any]) -> AsyncGenerator[Delta, None]:
        """The deltas of one chat; the last ones carry finish reason and usage. Closing it closes the request.

        Calls again only where nothing was generated and the failure may pass. A server that keeps failing is not called.

        Raises:
            LLMUnavailable, LLMRejected: nothing was generated.
            LLMInterrupted: the answer broke off.
        """
        call = _Call(self._timeouts)
        for calls in count(1):
            try:
                async with aclosing(self._watched_call(body, call)) as stream:
                    async for delta in stream:
                        yield delta
                return
            except TransientUnavailable:
                wait_s = backoff_s(calls)
                late = call.waited_s() + wait_s >= self._timeouts.first_token_s
                if calls >= self._max_calls or late or self._breaker.is_open or not self._budget.take():
                    raise
                await asyncio.sleep(wait_s)
            except LLMRejected as exc:
                if exc.reason == "unknown_model" and not self._model:
                    self.info = None  # the server was restarted with another model: discover it next time
                raise

    async def _watched_call(self, body: Mapping[str, Any], call: _Call) -> AsyncGenerator[Delta, None]:
        """One call, if the breaker lets it pass, which is told how it went."""
        wait_s = self._breaker.wait_s()
        if wait_s:
            raise self._failures.resting(wait_s)
        is_told = False
        try:
            async with aclosing(self._one_call(body, call)) as stream:
                async for delta in stream:
                    if delta.generated and not is_told:
                        self._breaker.succeeded()
                        is_told = True
                    yield delta
        except (Busy, LLMRejected):
            self._breaker.succeeded()  # it answers, if not to this
            is_told = True
            raise
        except (LLMUnavailable, LLMInterrupted):
            self._breaker.failed()
            is_told = True
            raise
        finally:
            if not is_told:
                self._breaker.untold()

    async def _one_call(self, body: Mapping[str, Any], call: _Call) -> AsyncGenerator[Delta, None]:
        finish_reason = ""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(call.deadline()):
                    call.model = self._model or (await self.describe()).model
                    response = await stack.enter_async_context(
                        self.client().chat.completions.with_streaming_response.create(**{**body, "model": call.model})
                    )
                    if "text/event-stream" not in response.headers.get("content-type", ""):
                        raise self._failures.not_a_stream(
                            response.headers.get("content-type", ""), await response.read()
                        )
                frames = await stack.enter_async_context(aclosing(read_frames(response.iter_bytes())))
                while True:
                    async with asyncio.timeout_at(call.deadline()):
                        frame = await anext(frames, None)
                    if frame is None:
                        break
                    delta = read_delta(frame)
                    if delta.finish_reason in BROKEN:
                        raise self._ended(f"the server ended it: {delta.finish_reason}", call)
                    call.started = call.started or delta.generated
                    finish_reason = finish_reason or delta.finish_reason
                    yield delta
            except (TimeoutError, openai.OpenAIError, httpx.HTTPError, ErrorFrame, BadFrame) as exc:
                if finish_reason:
                    return  # the answer was whole; only its usage is lost
                raise self._failed(exc, call) from exc
        if not finish_reason:
            raise self._ended("the stream ended without a finish reason", call)

    def _failed(self, exc: Exception, call: _Call) -> LLMError:
        if isinstance(exc, TimeoutError):
            if not call.started:
                return self._failures.silent(min(self._timeouts.first_token_s, self._timeouts.total_s))
            if call.waited_s() >= self._timeouts.total_s:
                return self._failures.interrupted(f"it took longer than {self._timeouts.total_s:g} s in all")
            return self._failures.interrupted(f"no token for {self._timeouts.idle_s:g} s")
        if isinstance(exc, ErrorFrame):
            return self._failures.reported(exc.body, started=call.started, model=call.model)
        if isinstance(exc, openai.APIStatusError):
            return self._failures.status(exc.status_code, exc.response.content, model=call.model)
        if isinstance(exc, BadFrame):
            return self._failures.interrupted(str(exc)) if call.started else self._failures.not_a_server(str(exc))
        return self._lost(exc, started=call.started)

    def _lost(self, exc: Exception, *, started: bool) -> LLMError:
        if isinstance(exc, openai.APITimeoutError | httpx.ConnectTimeout):
            return self._failures.no_connection(self._timeouts.connect_s)
        return self._failures.connection(exc, started=started)

    def _ended(self, what: str, call: _Call) -> LLMError:
        return self._failures.interrupted(what) if call.started else self._failures.empty(what)


def _read_info(listing: Any, *, configured: str) -> ServerInfo:
    """`{"data": [{"id": …, "max_model_len": …}]}`; `context_length` is what some gateways call it."""
    models = {str(entry["id"]): entry for entry in listing["data"]}
    model = configured or next(iter(models), "")
    entry = models.get(model, {})
    window = entry.get("max_model_len") or entry.get("context_length") or UNKNOWN_CONTEXT_WINDOW
    return ServerInfo(model, int(window), tuple(models))
