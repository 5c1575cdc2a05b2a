"""Messages between a reading process and the one that started it: lengths, a JSON object, bytes. Knows no formats.

Nothing that comes from a reading process is believed: a file may have taken it over. So there is no pickle, and a
document is checked piece by piece before it becomes one.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import time
import unicodedata
from collections.abc import Iterable
from typing import Any, TypeGuard

from knowledge.errors import ReadFailed
from knowledge.types import Block, ParsedDocument, Place

Message = tuple[dict[str, Any], bytes]

EXIT_MEMORY = 76  # exit status of a reading process that ran out of memory

_LENGTHS = struct.Struct(">QQ")
_MAX_OBJECT_BYTES = 256 * 1024 * 1024
_MAX_BODY_BYTES = 1024 * 1024 * 1024
_RECEIVE_BYTES = 1024 * 1024
_REASONS = frozenset("encrypted no_text damaged empty unsupported too_large encoding unreadable path_taken".split())
_KINDS = ("paragraph", "list", "table", "code", "row")
# Start, end, kind, heading, page, slide, sheet, first and last row.
_BLOCK = struct.Struct(">IIBIIIIII")
_NONE = 0xFFFFFFFF
_MAX_MESSAGE_CHARS = 2000
_MAX_WORDS_CHARS = 4000  # of a title, a heading, a sheet's name
_MAX_HEADINGS = 64
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HASH = re.compile(r"[0-9a-f]{64}")


class BrokenMessage(Exception):
    """What came is no message, or not one that an honest reading process sends."""


class ConnectionEnded(Exception):
    """The other process is gone."""


def send(
    connection: socket.socket, message: dict[str, Any], body: bytes = b"", *, deadline: float | None = None
) -> None:
    """Raises: ConnectionEnded; TimeoutError after `deadline` (of time.monotonic)."""
    head = json.dumps(message, separators=(",", ":")).encode("ascii")
    try:
        for data in (_LENGTHS.pack(len(head), len(body)), head, body):
            connection.settimeout(_left(deadline))
            connection.sendall(data)
    except TimeoutError:
        raise
    except OSError as exc:
        raise ConnectionEnded from exc


def receive(connection: socket.socket, *, deadline: float | None = None) -> Message:
    """Raises: ConnectionEnded, BrokenMessage; TimeoutError after `deadline` (of time.monotonic)."""
    head_bytes, body_bytes = _LENGTHS.unpack(_exactly(connection, _LENGTHS.size, deadline))
    if head_bytes > _MAX_OBJECT_BYTES or body_bytes > _MAX_BODY_BYTES:
        raise BrokenMessage("too long")
    head = _exactly(connection, head_bytes, deadline)
    try:
        message = json.loads(head)
    except (ValueError, RecursionError) as exc:
        raise BrokenMessage("not JSON") from exc
    if not isinstance(message, dict):
        raise BrokenMessage("no object")
    return message, bytes(_exactly(connection, body_bytes, deadline))


def _exactly(connection: socket.socket, size: int, deadline: float | None) -> bytearray:
    data = bytearray()  # grows with what comes, not with what is announced
    while len(data) < size:
        connection.settimeout(_left(deadline))
        try:
            block = connection.recv(min(size - len(data), _RECEIVE_BYTES))
        except TimeoutError:
            raise
        except OSError as exc:
            raise ConnectionEnded from exc
        if not block:
            raise ConnectionEnded
        data += block
    return data


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


# ---- documents ----


def document_message(document: ParsedDocument) -> Message:
    """The document: its words, and its blocks as numbers, which take a tenth of the memory that JSON would."""
    headings: dict[tuple[str, ...], int] = {}
    sheets: dict[str | None, int] = {None: 0}
    packed = bytearray()
    for block in document.blocks:
        place = block.place
        heading = headings.setdefault(block.heading, len(headings))
        sheet = sheets.setdefault(place.sheet, len(sheets))
        rows = place.rows or (_NONE, _NONE)
        page, slide = (_NONE if number is None else number for number in (place.page, place.slide))
        packed += _BLOCK.pack(block.start, block.end, _KINDS.index(block.kind), heading, page, slide, sheet, *rows)
    message = {
        "title": document.title,
        "headings": [list(path) for path in headings],
        "sheets": list(sheets)[1:],
        "blocks": len(document.blocks),
    }
    packed += document.text.encode("utf-8", "replace")  # "?" for half a character keeps the offsets
    return message, bytes(packed)


def document_from(message: dict[str, Any], body: bytes) -> ParsedDocument:
    """Raises: BrokenMessage if it is not what ParsedDocument promises."""
    count = message.get("blocks")
    if not (_is_count(count) and 0 < count * _BLOCK.size <= len(body)):
        raise BrokenMessage("blocks")
    view = memoryview(body)
    try:
        text = str(view[count * _BLOCK.size :], "utf-8")
    except UnicodeDecodeError as exc:
        raise BrokenMessage("text") from exc
    _require("\0" not in text and unicodedata.is_normalized("NFC", text), "text")
    headings = [_heading(path) for path in items(message, "headings")]
    sheets = [None, *map(words, items(message, "sheets"))]
    blocks = []
    ended = 0
    for numbers in _BLOCK.iter_unpack(view[: count * _BLOCK.size]):
        start, end, kind, heading, page, slide, sheet, first, last = numbers
        _require(ended <= start < end <= len(text), "offsets")
        _require(kind < len(_KINDS) and heading < len(headings) and sheet < len(sheets), "block")
        place = Place(_number(page), _number(slide), sheets[sheet], None if first == _NONE else (first, last))
        blocks.append(Block(start, end, headings[heading], place, _KINDS[kind]))
        ended = end
    return ParsedDocument(words(message.get("title")), text, tuple(blocks))


def hash_from(message: dict[str, Any]) -> str:
    """Raises: BrokenMessage."""
    digest = message.get("sha256")
    if not (isinstance(digest, str) and _HASH.fullmatch(digest)):
        raise BrokenMessage("hash")
    return digest


def failure_message(failed: ReadFailed) -> dict[str, Any]:
    return {"failed": str(failed), "reason": failed.reason, "hint": failed.hint}


def failure_from(message: dict[str, Any]) -> ReadFailed:
    """Raises: BrokenMessage."""
    text, reason, hint = (message.get(key) for key in ("failed", "reason", "hint"))
    if not (isinstance(text, str) and isinstance(hint, str) and isinstance(reason, str) and reason in _REASONS):
        raise BrokenMessage("failure")
    digest = message.get("sha256")
    known = digest if isinstance(digest, str) and _HASH.fullmatch(digest) else ""
    return ReadFailed(_one_line(text), reason=reason, hint=_one_line(hint), content_hash=known)


def _one_line(text: str) -> str:
    return _CONTROLS.sub(" ", text[:_MAX_MESSAGE_CHARS]).encode("utf-8", "replace").decode()


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise BrokenMessage(what)


def items(message: dict[str, Any], key: str) -> Iterable[Any]:
    value = message.get(key)
    _require(isinstance(value, list), key)
    return value or ()


def count(value: object) -> int:
    """Raises: BrokenMessage."""
    if not _is_count(value):
        raise BrokenMessage("count")
    return value


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


def words(value: object) -> str:
    if not (isinstance(value, str) and len(value) <= _MAX_WORDS_CHARS) or _CONTROLS.search(value):
        raise BrokenMessage("words")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise BrokenMessage("words") from exc
    return value


def _heading(value: object) -> tuple[str, ...]:
    if not (isinstance(value, list) and len(value) <= _MAX_HEADINGS):
        raise BrokenMessage("heading")
    return tuple(map(words, value))


def _number(value: int) -> int | None:
    return None if value == _NONE else value
