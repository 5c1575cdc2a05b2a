"""The wire of the fake vLLM: what one request gets back, frame by frame. Use it through tests/fakes/vllm.py."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

End = Literal["stop", "length", "abort", "error", "done", "eof", "cut", "reset", "hang"]
MODEL = "Qwen/Qwen2.5-7B-Instruct"
ENGINE_DEAD = {
    "error": {
        "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
        "type": "InternalServerError",
        "param": None,
        "code": 500,
    }
}
OVERLOADED = {"error": {"message": "Server is overloaded.", "type": "ServiceUnavailable", "param": None, "code": 503}}
TOO_LONG = {
    "error": {
        "message": "This model's maximum context length is 4096 tokens. However, your prompt contains at least 4097 "
        "input tokens. Please reduce the length of the input prompt.",
        "type": "BadRequestError",
        "param": "input_tokens",
        "code": 400,
    }
}


@dataclass(frozen=True)
class Reply:
    """A streamed answer: headers at once, `text` in pieces, then `end`.

    `end`: "stop" and "length" end well. "abort": finish_reason "abort" (SIGTERM). "error": an `error` frame, then
    `[DONE]` (the engine died). "done": `[DONE]` without finish_reason. "eof": the body just ends. "cut": the connection
    closes inside the body. "reset": RST. "hang": nothing more comes. With text "" these happen before the first token.
    `first_delay_s`: before the first token, `delay_s` between pieces. `headers`: False sends not even those.
    `keep_alive`: comments while waiting, as with vLLM's `--sse-keep-alive-interval`.
    """

    text: str | Callable[[dict[str, Any]], str] = "The answer is fifteen days [1]."
    end: End = "stop"
    piece_chars: int = 4
    delay_s: float = 0.0
    first_delay_s: float = 0.0
    reasoning: str = ""
    usage: bool = True
    headers: bool = True
    keep_alive: bool = False
    error: Mapping[str, Any] = field(default_factory=lambda: ENGINE_DEAD)


@dataclass(frozen=True)
class Status:
    """A plain HTTP answer. `body`: JSON-able, or a string sent as it is."""

    status: int
    body: Any = field(default_factory=lambda: OVERLOADED)
    content_type: str = "application/json"


@dataclass(frozen=True)
class Raw:
    """An event stream of these exact bytes, each in its own chunk, ended well."""

    chunks: Sequence[bytes]


Behaviour = Reply | Status | Raw


class Host(Protocol):
    """What an exchange needs of the server it belongs to."""

    model: str
    max_model_len: int
    api_key: str
    model_requests: int

    def received(self, body: dict[str, Any]) -> Behaviour: ...
    def disconnected(self) -> None: ...


class _Gone(ConnectionError):
    """The client hung up."""


class Exchange:
    """One request on a connection and its answer."""

    def __init__(self, fake: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._fake, self._reader, self._writer = fake, reader, writer

    async def answer(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> bool:
        """True if the connection may be used again."""
        fake = self._fake
        if path in ("/health", "/ping"):
            return await self._plain(Status(200, ""))
        if fake.api_key and headers.get("authorization") != f"Bearer {fake.api_key}":
            return await self._plain(Status(401, {"error": "Unauthorized"}))
        if path == "/v1/models":
            fake.model_requests += 1
            entry = {"id": fake.model, "object": "model", "owned_by": "vllm", "max_model_len": fake.max_model_len}
            return await self._plain(Status(200, {"object": "list", "data": [entry]}))
        if path != "/v1/chat/completions" or method != "POST":
            return await self._plain(Status(404, {"detail": "Not Found"}))
        body = json.loads(content)
        behaviour = fake.received(body)
        if body.get("model", fake.model) != fake.model:
            message = f"The model `{body['model']}` does not exist."
            error = {"message": message, "type": "NotFoundError", "param": "model", "code": 404}
            return await self._plain(Status(404, {"error": error}))
        try:
            return await self._behave(behaviour, body)
        except ConnectionError:
            fake.disconnected()
            return False

    async def _behave(self, behaviour: Behaviour, body: dict[str, Any]) -> bool:
        if isinstance(behaviour, Status):
            return await self._plain(behaviour)
        if isinstance(behaviour, Raw):
            self._head(200, "text/event-stream; charset=utf-8", "Transfer-Encoding: chunked")
            for chunk in behaviour.chunks:
                await self._chunk(chunk)
            return await self._chunk(b"")
        text = behaviour.text(body) if callable(behaviour.text) else behaviour.text
        if body.get("stream"):
            return await self._stream(behaviour, text, body)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": behaviour.end}
        usage = {"prompt_tokens": 10, "completion_tokens": len(text), "total_tokens": 10 + len(text)}
        return await self._plain(Status(200, {"object": "chat.completion", "choices": [choice], "usage": usage}))

    async def _stream(self, reply: Reply, text: str, body: dict[str, Any]) -> bool:
        if not reply.headers:
            await self._pause(3600)
        self._head(200, "text/event-stream; charset=utf-8", "Transfer-Encoding: chunked")
        await self._pause(reply.first_delay_s, keep_alive=reply.keep_alive)
        pieces = [text[at : at + reply.piece_chars] for at in range(0, len(text), reply.piece_chars)]
        if pieces or reply.end in ("stop", "length"):  # vLLM sends the role with the first token, not before
            await self._delta({"role": "assistant", "content": ""}, body)
        if reply.reasoning:
            await self._delta({"reasoning_content": reply.reasoning}, body)
        for piece in pieces:
            await self._delta({"content": piece}, body)
            await self._pause(reply.delay_s)
        return await self._finish(reply, len(text), body)

    async def _finish(self, reply: Reply, tokens: int, body: dict[str, Any]) -> bool:
        end = reply.end
        if end == "hang":
            await self._pause(3600, keep_alive=reply.keep_alive)
        if end in ("cut", "reset"):
            await self._pause(0.3)  # let it be read: a reset discards what the client has not read yet
            if end == "reset":
                reset(self._writer)
            return False
        if end in ("stop", "length", "abort"):
            await self._delta({}, body, finish_reason=end)
            if reply.usage and (body.get("stream_options") or {}).get("include_usage"):
                usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
                await self._data({**_envelope(body), "choices": [], "usage": usage})
        if end == "error":
            await self._data(reply.error)
        if end != "eof":
            await self._chunk(b"data: [DONE]\n\n")
        return await self._chunk(b"")

    async def _delta(self, delta: Mapping[str, Any], body: dict[str, Any], *, finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        await self._data({**_envelope(body), "choices": [choice]})

    async def _data(self, frame: Mapping[str, Any]) -> None:
        await self._chunk(b"data: " + json.dumps(frame, ensure_ascii=False).encode() + b"\n\n")

    async def _chunk(self, data: bytes) -> bool:
        self._check()
        self._writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self._writer.drain()
        return True

    async def _plain(self, answer: Status) -> bool:
        content = answer.body if isinstance(answer.body, str) else json.dumps(answer.body, ensure_ascii=False)
        self._head(answer.status, answer.content_type, f"Content-Length: {len(content.encode())}")
        self._writer.write(content.encode())
        await self._writer.drain()
        return True

    def _head(self, status: int, content_type: str, framing: str) -> None:
        self._writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n".encode())

    async def _pause(self, seconds: float, *, keep_alive: bool = False) -> None:
        """Waits, noticing within 10 ms that the client has hung up."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._check()
            if keep_alive:
                await self._chunk(b": keep-alive\n\n")
            await asyncio.sleep(min(0.01, left))

    def _check(self) -> None:
        if self._reader.at_eof() or self._reader.exception() or self._writer.is_closing():
            raise _Gone


def _envelope(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": body.get("model", MODEL)}


def reset(writer: asyncio.StreamWriter) -> None:
    """Closes with RST instead of FIN: linger 0."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str], bytes] | None:
    line = await reader.readline()
    if not line:
        return None
    method, path, _ = line.decode().split(" ", 2)
    headers = {}
    while (header := (await reader.readline()).decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return method, path, headers, await reader.readexactly(int(headers.get("content-length", 0)))
