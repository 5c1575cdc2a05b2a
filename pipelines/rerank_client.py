"""HTTP to a rerank server: which dialect it speaks, one request, and what its answers must look like.

Two dialects, found by asking: `{"query", "documents"}` of vLLM, Jina and Cohere, which give `{"results": [{"index",
"relevance_score"}]}`, and `{"query", "texts"}` of Text Embeddings Inference (TEI), which gives `[{"index", "score"}]`.
Knows nothing about passages or their order. The API key goes into a header and never into a message.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from knowledge.addresses import is_loopback
from knowledge.errors import RerankUnavailable
from pipelines.llm.failures import Failures

BATCH_TEXTS = 64
_CONNECT_TIMEOUT_S = 2.0
_MOST_BYTES = 50_000_000
_SERVE_HINT = "Serve a reranker there (vllm serve BAAI/bge-reranker-v2-m3 --runner pooling) or unset RERANK_BASE_URL."
_START_HINT = "Start it, or unset RERANK_BASE_URL."
# vLLM: "maximum context length is 512 tokens", TEI: "must have less than 512 tokens", "> maximum allowed batch size 32".
_TOO_MUCH = re.compile(
    r"context length|too (long|large|many)|batch size|less than \d+ tokens|exceed|max\w* .{0,40}(tokens|length)", re.I
)


class TextsRefused(RerankUnavailable):
    """The server answers, but takes fewer texts at once (`batch`) or shorter ones."""

    def __init__(self, message: str, *, batch: bool) -> None:
        super().__init__(message, hint="Lower RERANK_TOP_N or CHUNK_TOKENS.")
        self.batch = batch


@dataclass(frozen=True, slots=True)
class RerankServer:
    """What answers: its URL, dialect ("jina" or "tei"), model ("" where it does not tell) and most texts at once."""

    url: str
    dialect: str
    model: str = ""
    batch_texts: int = BATCH_TEXTS


class RerankClient:
    """Safe to use from several threads. `base_url` with or without /v1; `model`: "" leaves it to the server."""

    def __init__(self, base_url: str, *, model: str = "", api_key: str = "") -> None:
        """Raises: RerankUnavailable, where the key cannot stand in a header (httpx would quote it in its error)."""
        self._base = base_url.rstrip("/").removesuffix("/rerank")
        self._model = model
        self._failures = Failures(base_url, api_key=api_key.strip())
        self.shown_url = self._failures.address
        if not (api_key.isascii() and api_key.strip().isprintable()):
            raise RerankUnavailable(
                "RERANK_API_KEY has characters that cannot be sent in a header.", hint="Copy the key again."
            )
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {api_key.strip()}"} if api_key.strip() else {},
            trust_env=not is_loopback(base_url),
        )
        self._found: RerankServer | None = None

    def close(self) -> None:
        self._http.close()

    def server(self, *, timeout_s: float) -> RerankServer:
        """What answers at the URL, asked once and remembered.

        Raises:
            RerankUnavailable: nothing answers, or what does is no rerank server.
        """
        if self._found is None:
            self._found = self._find(timeout_s)
        return self._found

    def scores(self, query: str, texts: Sequence[str], *, timeout_s: float) -> list[float]:
        """The server's score of each text, in their order; higher is closer.

        Raises:
            TextsRefused: too many texts or too long ones.
            RerankUnavailable: no answer within `timeout_s`, another refusal, or no finite score for each text.
        """
        server = self.server(timeout_s=timeout_s)
        response = self._post(server.url, self._body(server.dialect, query, texts), timeout_s)
        if not response.is_success:
            raise self._refused(response)
        scores = _read_scores(response, server.dialect, expected=len(texts))
        if scores is None:
            self._found = None  # another server may stand there now
            raise RerankUnavailable(
                f"The rerank server at {self.shown_url} answered something else than {len(texts)} finite scores.",
                hint=_SERVE_HINT,
            )
        return scores

    def _find(self, timeout_s: float) -> RerankServer:
        root = self._base.removesuffix("/v1")
        said = ""
        for base in dict.fromkeys((self._base, root)):
            for dialect in ("jina", "tei"):
                response = self._post(f"{base}/rerank", self._body(dialect, "probe", ["probe"]), timeout_s)
                if response.status_code in (404, 405):
                    if self._model and self._model in self._failures.words(response.text):
                        raise self._refused(response)
                    said = said or f"HTTP {response.status_code}"
                    break
                if response.is_success and _read_scores(response, dialect, expected=1) is not None:
                    return self._described(f"{base}/rerank", dialect, response, timeout_s)
                if not response.is_success and response.status_code not in (400, 422):
                    raise self._refused(response)
                said = self._failures.words(response.text) or f"HTTP {response.status_code}"
        raise RerankUnavailable(f"What answers at {self.shown_url} is no rerank server ({said}).", hint=_SERVE_HINT)

    def _described(self, url: str, dialect: str, response: httpx.Response, timeout_s: float) -> RerankServer:
        if dialect == "jina":
            return RerankServer(url, dialect, self._model or str(response.json().get("model") or ""))
        try:
            info = self._http.get(f"{url.removesuffix('/rerank')}/info", timeout=_timeout(timeout_s)).json()
            return RerankServer(url, dialect, str(info["model_id"]), int(info["max_client_batch_size"]))
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            return RerankServer(url, dialect, self._model)  # it need not tell

    def _body(self, dialect: str, query: str, texts: Sequence[str]) -> dict[str, Any]:
        if dialect == "tei":
            return {"query": query, "texts": list(texts), "truncate": True, "raw_scores": False}
        named = {"model": self._model} if self._model else {}
        return {**named, "query": query, "documents": list(texts), "top_n": len(texts)}

    def _post(self, url: str, body: dict[str, Any], timeout_s: float) -> httpx.Response:
        """One more try where the connection fails: the server may just have closed one that was kept."""
        for left in (1, 0):
            try:
                return self._read_in_time(url, body, timeout_s)
            except (httpx.RequestError, httpx.InvalidURL) as exc:
                if left and isinstance(exc, httpx.NetworkError | httpx.RemoteProtocolError):
                    continue
                late = isinstance(exc, httpx.TimeoutException)
                reason = "it was too slow" if late else self._failures.words(str(exc)) or type(exc).__name__
                raise RerankUnavailable(
                    f"The rerank server at {self.shown_url} does not answer ({reason}).", hint=_START_HINT
                ) from exc
        raise AssertionError("unreachable: the last try returns or raises")

    def _read_in_time(self, url: str, body: dict[str, Any], timeout_s: float) -> httpx.Response:
        """HTTP's timeouts count each read by itself: a trickle of bytes would outlast them."""
        until = time.monotonic() + timeout_s
        content = bytearray()
        with self._http.stream("POST", url, json=body, timeout=_timeout(timeout_s)) as response:
            for part in response.iter_bytes():
                content += part
                if time.monotonic() > until or len(content) > _MOST_BYTES:
                    raise httpx.ReadTimeout("the answer does not end")
        return httpx.Response(response.status_code, content=bytes(content))

    def _refused(self, response: httpx.Response) -> RerankUnavailable:
        status = response.status_code
        words = "" if status in (401, 403) else self._failures.words(_json_or_text(response))
        message = f"The rerank server at {self.shown_url} answered {status}{f': {words}' if words else ''}."
        if status == 413 or (status in (400, 422) and _TOO_MUCH.search(words)):
            return TextsRefused(message, batch="batch size" in words)
        hints = {401: "Set RERANK_API_KEY to a key it accepts.", 404: "Check RERANK_BASE_URL and RERANK_MODEL."}
        hints[403] = hints[401]
        return RerankUnavailable(message, hint=hints.get(status, "Look at the server's log."))


def _read_scores(response: httpx.Response, dialect: str, *, expected: int) -> list[float] | None:
    """None: the answer is not one finite score for each text."""
    try:
        answer = response.json()
        rows, name = (answer["results"], "relevance_score") if dialect == "jina" else (answer, "score")
        by_index = {int(row["index"]): float(row[name]) for row in rows}
    except (ValueError, LookupError, TypeError):
        return None
    whole = len(rows) == expected and sorted(by_index) == list(range(expected))
    return [by_index[i] for i in range(expected)] if whole and all(map(math.isfinite, by_index.values())) else None


def _json_or_text(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text


def _timeout(read_s: float) -> httpx.Timeout:
    return httpx.Timeout(read_s, connect=min(_CONNECT_TIMEOUT_S, read_s))
