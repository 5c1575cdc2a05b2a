"""What can go wrong with a language model server, as the errors of knowledge.errors.

Reads the four shapes in which servers word an error: `{"error": {"message": …}}`, the flat `{"message": …}` of old
vLLM, `{"error": "Unauthorized"}` and FastAPI's `{"detail": …}`. Knows no connection and no stream. A sentence shows the
server's words, never the API key and never credentials in the address.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from knowledge.errors import LLMError, LLMInterrupted, LLMRejected, LLMUnavailable

WORDS_CHARS = 300
START_HINT = "Start it, or unset LLM_BASE_URL to answer by quoting."
ADDRESS_HINT = "Check LLM_BASE_URL; it usually ends in /v1."
AGAIN_HINT = "Try again in a moment."
_KEY = re.compile(r"\b(?:sk|pk|gsk|hf|key)[-_][\w*.-]{4,}")
_CONTEXT = re.compile(r"context[ _-]?(?:length|size|window)|input_tokens|prompt is too long", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"model\b.{0,200}\b(?:does not exist|not found|unknown)|(?:invalid|unknown) model", re.IGNORECASE | re.DOTALL
)


class TransientUnavailable(LLMUnavailable):
    """Nothing was generated, and the same call may work at once: refused, reset, 429, 5xx."""


class Busy(TransientUnavailable):
    """It answers, and asks for patience: 429."""


class Failures:
    """Turns what happened with one server into an error. `api_key` is what must never be shown."""

    def __init__(self, base_url: str, *, api_key: str) -> None:
        parts = urlsplit(base_url)
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
        self._api_key = api_key

    def words(self, body: Any) -> str:
        """What the server said, in one line; "" where it is a web page or says nothing."""
        text = " ".join(_message(body).split())
        if text.startswith("<"):
            return ""
        if self._api_key:
            text = text.replace(self._api_key, "[key]")
        text = _KEY.sub("[key]", text)
        return text if len(text) <= WORDS_CHARS else text[:WORDS_CHARS] + "…"

    def status(self, status: int, body: Any, *, model: str = "") -> LLMError:
        """The error for an answer with this HTTP status; `body` is text or parsed JSON."""
        body = _json(body)
        words = self.words(body)
        said = f"{status}: {words}" if words else f"HTTP {status}"
        server = f"The language model server at {self.address}"
        if status in (429, 503):
            return (Busy if status == 429 else TransientUnavailable)(f"{server} is busy ({said}).", hint=AGAIN_HINT)
        if status >= 500 or status == 408:
            return TransientUnavailable(f"{server} failed ({said}).", hint=AGAIN_HINT)
        if status in (401, 403):
            return LLMRejected(f"{server} refused the key ({said}).", reason="auth", hint="Check LLM_API_KEY.")
        param = _field(body, "param")
        if param == "input_tokens" or (param != "max_tokens" and _CONTEXT.search(f"{words} {_field(body, 'code')}")):
            return LLMRejected(
                f"The conversation with its passages is longer than the language model accepts ({said}).",
                reason="context_length",
                hint="Ask a shorter question, start a new conversation, or lower TOP_K or LLM_MAX_TOKENS.",
            )
        if (status == 404 and param == "model") or _NO_MODEL.search(words):
            return LLMRejected(
                f'{server} has no model "{model}" ({said}).',
                reason="unknown_model",
                hint=f"Set LLM_MODEL to a name that {self.address}/models lists, or unset it.",
            )
        hint = ADDRESS_HINT if status < 400 or status in (404, 405) else ""
        return LLMRejected(f"{server} refused the request ({said}).", reason="bad_request", hint=hint)

    def reported(self, body: Any, *, started: bool, model: str = "") -> LLMError:
        """The error for an error frame inside a stream that began with status 200."""
        code = _field(body, "code")
        status = int(code) if code.isdecimal() and 400 <= int(code) < 600 else 500
        if not started:
            return self.status(status, body, model=model)
        words = self.words(body)
        return self.interrupted(f"the server reported an error: {words}" if words else f"server error {status}")

    def connection(self, exc: BaseException, *, started: bool) -> LLMError:
        """The error for a connection that failed, before or after the first token."""
        if started:
            return self.interrupted("the connection was lost")
        causes = list(_causes(exc))
        reason = next(filter(None, map(_reason, causes)), "")
        if reason:
            return TransientUnavailable(f"No language model answers at {self.address} ({reason}).", hint=START_HINT)
        return TransientUnavailable(
            f"The language model server at {self.address} closed the connection before it answered.", hint=AGAIN_HINT
        )

    def no_connection(self, connect_s: float) -> LLMError:
        """Not transient: a host that swallows connections does so again, and each try costs the whole timeout."""
        return LLMUnavailable(
            f"No language model answers at {self.address} (no connection within {connect_s:g} s).", hint=START_HINT
        )

    def resting(self, wait_s: float) -> LLMError:
        return LLMUnavailable(
            f"The language model server at {self.address} failed several times in a row and is asked again "
            f"in {max(wait_s, 1):.0f} s.",
            hint=AGAIN_HINT,
        )

    def silent(self, waited_s: float) -> LLMError:
        return LLMUnavailable(
            f"The language model at {self.address} has sent nothing for {waited_s:g} s.",
            hint="It may be overloaded or still loading: try again, or raise LLM_FIRST_TOKEN_TIMEOUT_S.",
        )

    def not_a_server(self, what: str) -> LLMError:
        return LLMUnavailable(
            f"What answers at {self.address} is not an OpenAI-compatible chat server ({what}).", hint=ADDRESS_HINT
        )

    def not_a_stream(self, content_type: str, body: bytes) -> LLMError:
        """A 200 that is no event stream: an error reported that way, or something that is no such server."""
        parsed = _json(body)
        if isinstance(parsed, dict) and (parsed.get("error") or parsed.get("object") == "error"):
            return self.reported(parsed, started=False)
        return self.not_a_server(f"it sent {content_type.partition(';')[0] or 'no content type'}, not an event stream")

    def no_model_listed(self) -> LLMError:
        return LLMRejected(
            f"The language model server at {self.address} lists no model.",
            reason="unknown_model",
            hint="Load a model there, or set LLM_MODEL.",
        )

    def empty(self, what: str) -> LLMError:
        return LLMUnavailable(f"The language model at {self.address} gave no answer ({what}).", hint=AGAIN_HINT)

    def interrupted(self, what: str) -> LLMError:
        return LLMInterrupted(f"The language model stopped in the middle of its answer ({what}).", hint="Ask again.")


def _json(body: Any) -> Any:
    if not isinstance(body, str | bytes):
        return body
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace") if isinstance(body, bytes) else body


def _message(body: Any) -> str:
    """The human words in any of the shapes; FastAPI's `detail` may be a list of `{"loc", "msg"}`."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(filter(None, map(_message, body)))
    if isinstance(body, dict):
        return next(filter(None, (_message(body.get(name)) for name in ("error", "message", "detail", "msg"))), "")
    return ""


def _field(body: Any, name: str) -> str:
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    value = (error if isinstance(error, dict) else body).get(name)
    return "" if value is None else str(value)


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """The exception, what it came from, and the members of groups (one for each address of a host)."""
    seen: set[int] = set()
    queue = [exc]
    while queue:
        current = queue.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        queue += [cause for cause in (current.__cause__, current.__context__) if cause is not None]
        queue += getattr(current, "exceptions", ())


def _reason(exc: BaseException) -> str:
    if isinstance(exc, ConnectionRefusedError):
        return "connection refused"
    if isinstance(exc, socket.gaierror):
        return "host name not found"
    if isinstance(exc, ssl.SSLError):
        return f"TLS failed: {exc.reason or exc}"
    if isinstance(exc, OSError) and type(exc) is OSError and exc.strerror:
        return exc.strerror.lower()
    return ""
