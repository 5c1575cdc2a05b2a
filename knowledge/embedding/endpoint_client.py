"""HTTP to an OpenAI-compatible embedding server: one request, its retries, and what its answers must look like.

Knows nothing about prefixes or batches. The API key goes into a header and never into a message.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from knowledge.errors import EmbeddingUnavailable

_CONNECT_TIMEOUT_S = 2.0
_READ_TIMEOUT_S = 60.0
_TRIES = 3
_LONGEST_WAIT_S = 5.0
_QUOTED_CHARS = 200
_LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


class EndpointClient:
    """Safe to use from several threads. `retry_wait_s` is doubled after each failed try, with jitter."""

    def __init__(self, base_url: str, *, api_key: str = "", retry_wait_s: float = 0.5) -> None:
        """Raises: EmbeddingUnavailable, where the key cannot stand in a header (httpx would quote it in its error)."""
        self._url = base_url.rstrip("/")
        self._api_key = api_key.strip()
        if not (self._api_key.isascii() and self._api_key.isprintable()):
            raise EmbeddingUnavailable(
                "EMBED_API_KEY has characters that cannot be sent in a header.", hint="Copy the key again."
            )
        self._retry_wait_s = retry_wait_s
        parts = urlsplit(self._url)
        self.shown_url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # without user:password@
        self._http = httpx.Client(
            timeout=httpx.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
            headers={"Authorization": f"Bearer {self._api_key}"} if self._api_key else {},
            trust_env=parts.hostname not in _LOOPBACK_HOSTS,  # a proxy cannot reach this machine's own loopback
        )

    def close(self) -> None:
        self._http.close()

    def first_model(self) -> str:
        """Raises: EmbeddingUnavailable."""
        response = self._checked(self._send("GET", f"{self._url}/models"))
        try:
            return str(response.json()["data"][0]["id"])
        except (KeyError, IndexError, TypeError, ValueError) as exc:
            raise EmbeddingUnavailable(
                f"The embedding server at {self.shown_url} lists no model.", hint="Set EMBED_MODEL."
            ) from exc

    def embed(self, texts: Sequence[str], *, model: str) -> np.ndarray:
        """Vectors as the server gives them, float32 (len(texts), dimension), one dimension for all.

        Raises:
            EmbeddingUnavailable: no answer, a refusal, or an answer that is not such vectors.
        """
        body = {"model": model, "input": list(texts), "encoding_format": "float"}
        response = self._checked(self._send("POST", f"{self._url}/embeddings", body))
        try:
            return _vectors(response.json(), expected=len(texts))
        except (KeyError, TypeError, ValueError) as exc:
            raise EmbeddingUnavailable(
                f"The embedding server at {self.shown_url} answered something else than {len(texts)} finite vectors of one length.",
                hint="Check that EMBED_BASE_URL is an OpenAI-compatible server and EMBED_MODEL an embedding model.",
            ) from exc

    def count_tokens(self, text: str, *, model: str) -> int | None:
        """Tokens without special ones, by vLLM's `/tokenize` (beside `/v1`). None: the server has no such thing.

        Raises:
            EmbeddingUnavailable: no answer, or a server error.
        """
        body = {"model": model, "prompt": text, "add_special_tokens": False}
        response = self._send("POST", f"{self._url.removesuffix('/v1')}/tokenize", body)
        if response.status_code >= 500:
            self._checked(response)
        try:
            count = response.json()["count"] if response.is_success else None
        except (ValueError, KeyError, TypeError):
            return None
        return count if isinstance(count, int) else None

    def _send(self, method: str, url: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """The response of the first try that is neither 429 nor 5xx, else the last one's.

        A read timeout is not tried again: the server is overloaded, and the caller has waited long enough.
        """
        for left in reversed(range(_TRIES)):
            try:
                response = self._http.request(method, url, json=body)
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
        raise EmbeddingUnavailable(f"The embedding server at {self.shown_url} answered {status}{said}.", hint=hint)

    def _redacted(self, text: str) -> str:
        return text.replace(self._api_key, "***") if self._api_key else text


def _vectors(answer: Any, *, expected: int) -> np.ndarray:
    """Raises: KeyError, TypeError, ValueError, where `answer` is not an OpenAI embedding list of `expected` rows."""
    items = sorted(answer["data"], key=lambda item: item["index"])
    if [item["index"] for item in items] != list(range(expected)):
        raise ValueError(f"{len(items)} vectors or wrong order")
    vectors = np.array([item["embedding"] for item in items], np.float32)
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise ValueError("vectors of no length")
    if not np.isfinite(vectors).all():  # also what a null in the list becomes
        raise ValueError("numbers that are not finite")
    return vectors
