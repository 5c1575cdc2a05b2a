"""What an OpenAI-compatible server streams: bytes to JSON frames, frames to deltas, deltas to answer text.

Knows the wire format only: no connection, no deadline, no error sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_FRAME_BYTES = 4 * 1024 * 1024
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
_SURROGATE = re.compile("[\ud800-\udfff]")


class BadFrame(Exception):
    """The server sent something that is not this protocol."""


class ErrorFrame(Exception):
    """The server reported an error inside a stream that began with status 200."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        super().__init__("error frame")
        self.body = body


@dataclass(frozen=True, slots=True)
class Delta:
    """One frame. `thinking`: it carries reasoning. `finish_reason`: "" until the answer ends."""

    text: str = ""
    thinking: bool = False
    finish_reason: str = ""
    usage: Mapping[str, Any] | None = None

    @property
    def generated(self) -> bool:
        """The model has produced something; the role frame and empty frames have not."""
        return bool(self.text or self.thinking or self.finish_reason)


async def read_frames(chunks: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any], None]:
    """JSON objects of the `data:` lines, until `[DONE]` or the end of the stream. Comments are skipped.

    Splits at \\n only: vLLM sends U+2028 and U+0085 unescaped inside JSON, where `str.splitlines` would break them.

    Raises:
        BadFrame: a data line is no JSON object, or endless.
    """
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        *lines, rest = buffer.split(b"\n") if b"\n" in chunk else (buffer,)
        if len(rest) > MAX_FRAME_BYTES:
            raise BadFrame(f"a line longer than {MAX_FRAME_BYTES} bytes")
        buffer = bytearray(rest)
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[len(b"data:") :].strip()
            if data == b"[DONE]":
                return
            yield _parse(bytes(data))


def _parse(data: bytes) -> dict[str, Any]:
    try:
        frame = json.loads(data)
    except ValueError as exc:
        raise BadFrame("a line that is not JSON") from exc
    if not isinstance(frame, dict):
        raise BadFrame("a line that is not a JSON object")
    return frame


def read_delta(frame: Mapping[str, Any]) -> Delta:
    """The delta of the first choice, and the usage where the frame has it.

    Raises:
        ErrorFrame: the frame is an error, nested (`{"error": …}`) or flat (`{"object": "error", …}`, old vLLM).
    """
    if frame.get("error") or frame.get("object") == "error":
        raise ErrorFrame(frame)
    choices = frame.get("choices") or [{}]
    choice = choices[0]
    delta = choice.get("delta") or {}
    return Delta(
        text=delta.get("content") or "",
        thinking=bool(delta.get("reasoning_content") or delta.get("reasoning")),  # vLLM renamed the field
        finish_reason=choice.get("finish_reason") or "",
        usage=frame.get("usage"),
    )


class AnswerText:
    """Takes text as it is generated, gives back the part that is the answer: what stands in `<think>…</think>` is not.

    Looks where the answer begins, as models that think write it there; a later `<think>` is text, for example of an
    answer about such models. Tags may be split anywhere. A server with a reasoning parser never sends these tags.

    A server that escapes to ASCII may send one emoji as two halves in two frames. They are joined here; a half that
    stays alone becomes U+FFFD, because no store, socket or file can encode it.
    """

    def __init__(self) -> None:
        self._held = ""
        self._half = ""  # a high surrogate whose other half may be in the next piece
        self._state = "start"  # start | thinking | answer
        self._has_thought = False

    def feed(self, text: str) -> str:
        """The answer text that is certain after `text`."""
        return self._answer_part(self._joined(text))

    def _joined(self, text: str) -> str:
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        if not _SURROGATE.search(text):
            return text
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _answer_part(self, text: str) -> str:
        if self._state == "answer":
            return text
        self._held += text
        while True:
            if self._state == "thinking":
                end = self._held.find(THINK_CLOSE)
                if end < 0:
                    self._held = self._held[-len(THINK_CLOSE) + 1 :]  # the tag may have begun
                    return ""
                self._held = self._held[end + len(THINK_CLOSE) :]
                self._state, self._has_thought = "start", True
            begin = self._held.lstrip()
            if begin.startswith(THINK_OPEN):
                self._held = begin[len(THINK_OPEN) :]
                self._state = "thinking"
            elif THINK_OPEN.startswith(begin):  # also "": nothing but space yet
                return ""
            else:
                self._state = "answer"
                return self._release()

    def finish(self) -> str:
        """What was held back and turned out to be answer: the stream has ended. Space after a block is not."""
        half, self._half = self._half, ""
        return self._answer_part("\ufffd" if half else "") + self._release()

    def _release(self) -> str:
        held, self._held = self._held, ""
        if self._state == "thinking":
            return ""
        return held.lstrip() if self._has_thought else held
