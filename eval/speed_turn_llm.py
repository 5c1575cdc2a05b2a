"""A language model that takes no time: a server of its own process that streams the same answer to everyone at once.

It speaks what OpenAI-compatible servers speak, as far as chats ask for it: the models, whole answers and streamed ones. A
call that shows no passages is one to rewrite a question and gets that question back. It adds up the time that its calls
take from the last byte in to the last one out. Knows nothing about who asks.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from knowledge.errors import ServerStartFailed
from settings import PROJECT_DIR

MODEL = "no-time"
PASSAGES_FOLLOW = "Answer only from these passages and cite them by their numbers, as in [1]."
_OURS = "<passage-"  # pipelines/prompt.py puts each passage between two such tags
_ASKED = re.compile(r"(?:Follow Up Input|Question|질문): (.+?)(?:\n\s*Standalone question:)?\s*$", re.DOTALL)
_HANGUL = re.compile(r"[가-힣]")
_PIECE_CHARS = {"ko": 2, "en": 4}  # about a token
_STOP_S = 5.0
# Of the length of a usual answer; four claims, of which a checker has to look at each.
_ANSWERS = {
    "ko": (
        "해당 제도는 1998년 3월에 처음 시행되었으며 적용 대상은 전국 16개 지역입니다.[1] 위원회는 모두 9명으로 구성되고 임기는 "
        "3년이며 한 차례 연임할 수 있습니다.[1][2] 다만 2012년 개정 이후에는 신청 기한이 30일에서 45일로 늘어났습니다.[3] "
        "세부 기준은 관할 기관이 정하며, 기한을 넘긴 신청은 받지 않습니다.[2]"
    ),
    "en": (
        "The scheme was introduced in March 1998 and covered 16 regions of the country.[1] Its board has nine members, who "
        "serve for three years and may be appointed once more.[1][2] After the revision of 2012 the period for applications "
        "was extended from 30 to 45 days.[3] The responsible office decides on the details and does not accept late ones.[2]"
    ),
}


@dataclass(frozen=True, slots=True)
class InstantLlm:
    """`base_url`: as LLM_BASE_URL."""

    base_url: str

    def spent_ms(self) -> float:
        """What its calls took since it was asked the last time."""
        with urllib.request.urlopen(f"{self.base_url}/spent", timeout=_STOP_S) as response:  # noqa: S310 - loopback
            return float(json.load(response)["ms"])


@contextmanager
def instant_llm() -> Iterator[InstantLlm]:
    """Raises:
    ServerStartFailed
    """
    command = [sys.executable, "-m", "eval.speed_turn_llm"]
    server = subprocess.Popen(command, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        if not port:
            raise ServerStartFailed("The language model that takes no time did not start.", hint="See the lines above.")
        yield InstantLlm(f"http://127.0.0.1:{port}/v1")
    finally:
        server.terminate()
        try:
            server.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stdout:
            server.stdout.close()


class Server:
    """Answers requests on one port, several to a connection."""

    def __init__(self) -> None:
        self._spent_s = 0.0

    async def serve(self) -> None:
        """Until the process ends; prints the port."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                content = await reader.readexactly(int(length.group(1)) if length else 0)
                await self._answer(head.split(b" ", 2)[1].decode(), content, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it hung up
        finally:
            writer.close()

    async def _answer(self, path: str, content: bytes, writer: asyncio.StreamWriter) -> None:
        if path.endswith("/models"):
            model = {"id": MODEL, "object": "model", "max_model_len": 32_768}
            await _whole(writer, {"object": "list", "data": [model]})
        elif path.endswith("/spent"):
            spent, self._spent_s = self._spent_s, 0.0
            await _whole(writer, {"ms": spent * 1000})
        else:
            began = time.perf_counter()
            await _chat(writer, json.loads(content))
            self._spent_s += time.perf_counter() - began


def answer_to(messages: Sequence[Mapping[str, Any]]) -> str:
    """The question that is to be rewritten as it is, else the answer in the language of the last message's question."""
    texts = [_text_of(message) for message in messages]
    found = _ASKED.search(texts[-1])
    question = " ".join((found.group(1) if found else texts[-1]).split())
    if not any(_OURS in text or PASSAGES_FOLLOW in text for text in texts):
        return question
    return _ANSWERS["ko" if _HANGUL.search(question) else "en"]


def _text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "\n".join(str(part.get("text", "")) for part in content)


async def _chat(writer: asyncio.StreamWriter, body: Mapping[str, Any]) -> None:
    text = answer_to(body["messages"])
    usage = {"prompt_tokens": 0, "completion_tokens": len(text), "total_tokens": len(text)}
    frame = {"id": "chatcmpl-0", "created": 0, "model": MODEL}
    if not body.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return await _whole(writer, {**frame, "object": "chat.completion", "choices": [choice], "usage": usage})
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    frame["object"] = "chat.completion.chunk"
    size = _PIECE_CHARS["ko" if _HANGUL.search(text) else "en"]
    deltas = [
        {"role": "assistant", "content": ""},
        *({"content": text[i : i + size]} for i in range(0, len(text), size)),
    ]
    for delta in [*deltas, {}]:
        ended = None if delta else "stop"
        await _event(writer, {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": ended}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        await _event(writer, {**frame, "choices": [], "usage": usage})
    await _chunk(writer, b"data: [DONE]\n\n")
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _event(writer: asyncio.StreamWriter, frame: Mapping[str, Any]) -> None:
    await _chunk(writer, b"data: " + json.dumps(frame, ensure_ascii=False).encode() + b"\n\n")


async def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()


async def _whole(writer: asyncio.StreamWriter, content: Mapping[str, Any]) -> None:
    data = json.dumps(content, ensure_ascii=False).encode()
    writer.write(
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
    )
    await writer.drain()


if __name__ == "__main__":
    asyncio.run(Server().serve())
