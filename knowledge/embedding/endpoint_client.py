"""HTTP to an OpenAI-compatible embedding server: one request, its retries, and what its answers must look like.

vLLM and Text Embeddings Inference (TEI) differ in how they name their model, count tokens and refuse what is too much;
all of that is here. Knows nothing about prefixes or batches. The API key goes into a header, never into a message.
"""

from __future__ import annotations

import base64
import random
import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from knowledge.addresses import is_loopback
from knowledge.errors import EmbeddingUnavailable

_CONNECT_TIMEOUT_S = 2.0
_READ_TIMEOUT_S = 60.0
_TRIES = 3
_LONGEST_WAIT_S = 5.0
_QUOTED_CHARS = 200
# vLLM: "maximum context length is 512 tokens", TEI: "must have less than 512 tokens", "> maximum allowed batch size 32".
_TOO_MUCH = re.compile(
    r"context length|too (long|large|many)|batch size|less than \d+ tokens|exceed|max\w* .{0,40}(tokens|length)", re.I
)


class InputRefused(EmbeddingUnavailable):
    """The server takes fewer texts at once (`batch`, where it says so) or shorter ones."""

    def __init__(self, message: str, *, hint: str = "", batch: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.batch = batch


class EndpointClient:
    """Safe to use from several threads. `retry_wait_s` is doubled after each failed try, with jitter."""

    def __init__(self, base_url: str, *, api_key: str = "", retry_wait_s: float = 0.5) -> None:
        """Raises: EmbeddingUnavailable, where the key cannot stand in a header (httpx would quote it in its error)."""
        self._url = base_url.rstrip("/")
        self._root = self._url.removesuffix("/v1")
        self._tokenizes_as_tei = False
        self._api_key = api_key.strip()
        if not (self._api_key.isascii() and self._api_key.isprintable()):
            raise EmbeddingUnavailable(
                "EMBED_API_KEY has characters that cannot be sent in a header.", hint="Copy the key again."
            )
        self._retry_wait_s = retry_wait_s
        parts = urlsplit(self._url)
        self.shown_url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # without user:password@
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {self._api_key}"} if self._api_key else {},
            trust_env=not is_loopback(self._url),
        )

    def close(self) -> None:
        self._http.close()

    def models(self) -> dict[str, str]:
        """The names of the served models, the first first, each with what it was loaded from ("" where not told).

        Raises:
            EmbeddingUnavailable: no answer, or none that lists a model.
        """
        response = self._send("GET", f"{self._url}/models")
        try:
            if response.status_code == 404:  # TEI serves one model and tells of it elsewhere
                name = str(self._checked(self._send("GET", f"{self._root}/info")).json()["model_id"])
                return {name: name}
            listed = self._checked(response).json()["data"]
            models = {str(item["id"]): str(item.get("root") or "") for item in listed}
        except (KeyError, AttributeError, TypeError, ValueError):
            models = {}
        if not models:
            raise EmbeddingUnavailable(
                f"The embedding server at {self.shown_url} lists no model.", hint="Set EMBED_MODEL."
            )
        return models

    def embed(self, texts: Sequence[str], *, model: str, timeout_s: float = _READ_TIMEOUT_S) -> np.ndarray:
        """Vectors as the server gives them, float32 (len(texts), dimension), one dimension for all.

        Raises:
            InputRefused: the texts are too many or one is too long.
            EmbeddingUnavailable: no answer, another refusal, or an answer that is not such vectors.
        """
        body = {"model": model, "input": list(texts), "encoding_format": "float"}
        response = self._checked(self._send("POST", f"{self._url}/embeddings", body, timeout_s=timeout_s))
        try:
            return _vectors(response.json(), expected=len(texts))
        except (KeyError, TypeError, ValueError) as exc:
            raise EmbeddingUnavailable(
                f"The embedding server at {self.shown_url} answered something else than {len(texts)} finite vectors of one length.",
                hint="Check that EMBED_BASE_URL is an OpenAI-compatible server and EMBED_MODEL an embedding model.",
            ) from exc

    def count_tokens(self, text: str, *, model: str) -> int | None:
        """Tokens without special ones, by `/tokenize` (beside `/v1`). None: the server has no such thing.

        Raises:
            EmbeddingUnavailable: no answer, or a server error.
        """
        body: dict[str, Any] = {"add_special_tokens": False}
        body |= {"inputs": text} if self._tokenizes_as_tei else {"model": model, "prompt": text}
        response = self._send("POST", f"{self._root}/tokenize", body)
        if response.status_code >= 500:
            self._checked(response)
        if response.status_code == 422 and not self._tokenizes_as_tei:  # TEI, of a body without `inputs`
            self._tokenizes_as_tei = True
            return self.count_tokens(text, model=model)
        try:
            answer: Any = response.json() if response.is_success else {}
            count = len(answer[0]) if self._tokenizes_as_tei else answer["count"]
        except (ValueError, LookupError, TypeError):
            return None
        return count if isinstance(count, int) else None

    def _send(
        self, method: str, url: str, body: dict[str, Any] | None = None, *, timeout_s: float = _READ_TIMEOUT_S
    ) -> httpx.Response:
        """The response of the first try that is neither 429 nor 5xx, else the last one's.

        A read timeout is not tried again: the server is overloaded, and the caller has waited long enough.
        """
        for left in reversed(range(_TRIES)):
            try:
                response = self._http.request(method, url, json=body, timeout=_timeout(timeout_s))
            except (httpx.RequestError, httpx.InvalidURL) as exc:
                if left == 0 or isinstance(exc, httpx.ReadTimeout | httpx.InvalidURL):
                    raise self._unreachable(exc) from exc
            else:
                retry = response.status_code == 429 or response.status_code >= 500
                if left == 0 or not retry:
                    return response
            self._wait(tries_done=_TRIES - left)
        raise AssertionError("unreachable: the last try returns or raises")

    def _wait(self, *, tries_done: int) -> None:
        longest = min(self._retry_wait_s * 2 ** (tries_done - 1), _LONGEST_WAIT_S)
        time.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - spreads retries, guards nothing

    def _unreachable(self, exc: Exception) -> EmbeddingUnavailable:
        reason = str(exc) or type(exc).__name__
        return EmbeddingUnavailable(
            f"The embedding server at {self.shown_url} does not answer ({self._redacted(reason)}).",
            hint="Start it or correct EMBED_BASE_URL; unset it to use the bundled model.",
        )

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        status = response.status_code
        if status in (401, 403):  # such answers may quote the key: say nothing of the body
            said, hint = "", "Set EMBED_API_KEY to a key it accepts."
        else:
            quoted = self._redacted(response.text)[:_QUOTED_CHARS].strip().rstrip(".")
            said = f": {quoted}" if quoted else ""
            hint = {
                404: "Check EMBED_MODEL, and that EMBED_BASE_URL ends in /v1.",
                429: "It is overloaded: try again later.",
            }.get(status, "Look at the server's log." if status >= 500 else "Check EMBED_MODEL and the text lengths.")
        message = f"The embedding server at {self.shown_url} answered {status}{said}."
        if status == 413 or (status in (400, 422) and _TOO_MUCH.search(said)):
            raise InputRefused(message, hint=hint, batch="batch size" in said)
        raise EmbeddingUnavailable(message, hint=hint)

    def _redacted(self, text: str) -> str:
        return text.replace(self._api_key, "***") if self._api_key else text


def _vectors(answer: Any, *, expected: int) -> np.ndarray:
    """Raises: KeyError, TypeError, ValueError, where `answer` is not an OpenAI embedding list of `expected` rows."""
    items = sorted(answer["data"], key=lambda item: item["index"])
    if [item["index"] for item in items] != list(range(expected)):
        raise ValueError(f"{len(items)} vectors or wrong order")
    vectors = np.array([_numbers(item["embedding"]) for item in items], np.float32)
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise ValueError("vectors of no length")
    if not np.isfinite(vectors).all():  # also what a null in the list becomes
        raise ValueError("numbers that are not finite")
    return vectors


def _numbers(embedding: Any) -> Any:
    """Some servers send base64 of little-endian float32 whatever they are asked for."""
    return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4") if isinstance(embedding, str) else embedding


def _timeout(read_s: float) -> httpx.Timeout:
    return httpx.Timeout(read_s, connect=_CONNECT_TIMEOUT_S)
