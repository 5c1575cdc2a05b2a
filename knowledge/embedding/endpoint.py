"""Vectors from an OpenAI-compatible server (`/v1/embeddings`); vLLM first: `vllm serve MODEL --runner pooling`.

The dimension comes from one probe, token counts from the server's `/tokenize` where it has one and from an estimate
elsewhere, prefixes from the settings or from what the model is known to want. Batches that a server refuses are halved,
a text that is too long for it is shortened, and that is logged.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Sequence

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr

from knowledge.embedding.base import EmbeddingSpec, GakjuEmbedding, clean, normalised
from knowledge.embedding.endpoint_client import EndpointClient, InputRefused
from knowledge.embedding.endpoint_models import known_prefixes
from knowledge.errors import EmbeddingUnavailable

logger = logging.getLogger(__name__)

_BATCH_TEXTS = 64
_QUERY_TIMEOUT_S = 8.0  # somebody waits for the answer
_PASSAGES_TIMEOUT_S = 60.0
_SHORTEST_CHARS = 16
_WIDE_CHAR = re.compile("[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_TOKENS_PER_WIDE_CHAR = 0.7
_CHARS_PER_TOKEN = 3.5


def estimated_tokens(text: str) -> int:
    """Tokens of `text` for an unknown tokenizer, rounded up.

    0.7 for each Hangul, kana or Chinese character, one for every 3.5 others. Against multilingual-e5-small's own
    count: 0.7 to 1.1 times for whole Korean and English documents, lowest for tables and code. So leave some room
    below the model's limit.
    """
    wide = len(_WIDE_CHAR.findall(text))
    return math.ceil(wide * _TOKENS_PER_WIDE_CHAR + (len(text) - wide) / _CHARS_PER_TOKEN)


class EndpointEmbedding(GakjuEmbedding):
    """An embedding server. Nothing is asked of it before the first use; all failures are EmbeddingUnavailable."""

    _client: EndpointClient = PrivateAttr()
    _wanted_model: str = PrivateAttr()
    _wanted_prefixes: tuple[str | None, str | None] = PrivateAttr()
    _wanted_dimension: int = PrivateAttr()
    _served_dimension: int = PrivateAttr(default=0)
    _batch_texts: int = PrivateAttr(default=_BATCH_TEXTS)
    _probe_lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _found: EmbeddingSpec | None = PrivateAttr(default=None)
    _served_model: str = PrivateAttr(default="")
    _server_counts: bool = PrivateAttr(default=True)

    def __init__(
        self,
        *,
        base_url: str,
        model: str = "",
        api_key: str = "",
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        dimensions: int = 0,
        retry_wait_s: float = 0.5,
    ) -> None:
        """`base_url` ends in /v1. `model`: "" for the first one the server lists.

        A prefix of None is what the model is known to want. `dimensions`: only so many of the first numbers are taken,
        for models that were trained for that (Qwen3-Embedding, "Matryoshka"); 0 takes all.
        """
        super().__init__(model_name=model or "unknown", embed_batch_size=_BATCH_TEXTS)
        self._client = EndpointClient(base_url, api_key=api_key, retry_wait_s=retry_wait_s)
        self._wanted_model = model
        self._wanted_prefixes = (query_prefix, passage_prefix)
        self._wanted_dimension = dimensions

    @property
    def spec(self) -> EmbeddingSpec:
        """Raises: EmbeddingUnavailable, where the server must be asked and does not answer."""
        if self._found is None:
            with self._probe_lock:
                if self._found is None:
                    self._found = self._probe()
        return self._found

    def _probe(self) -> EmbeddingSpec:
        model = self._model()
        served = self._client.embed(["probe"], model=model).shape[1]
        if self._wanted_dimension > served:
            raise EmbeddingUnavailable(
                f"{model} at {self._client.shown_url} gives {served} numbers a text, EMBED_DIMENSIONS asks for "
                f"{self._wanted_dimension}.",
                hint="Set EMBED_DIMENSIONS to fewer, or unset it.",
            )
        self._served_dimension = served
        return EmbeddingSpec(f"{model}/endpoint", self._wanted_dimension or served, *self._prefixes(model))

    def _prefixes(self, model: str) -> tuple[str, str]:
        query, passage = self._wanted_prefixes
        if query is not None and passage is not None:
            return query, passage
        known = known_prefixes(model) or known_prefixes(self._loaded_from(model))
        if known is None:
            logger.info(
                "%s: no prefixes are known; set EMBED_QUERY_PREFIX and EMBED_PASSAGE_PREFIX if it wants any.", model
            )
        query_known, passage_known = known or ("", "")
        return (query_known if query is None else query), (passage_known if passage is None else passage)

    def _loaded_from(self, model: str) -> str:
        """A server may give its model any name (`--served-model-name`); vLLM tells which one it is."""
        try:
            return self._client.models().get(model, "")
        except EmbeddingUnavailable:
            return ""  # it need not tell

    def count_tokens(self, text: str) -> int:
        """By the server's `/tokenize` if it has one, else `estimated_tokens`."""
        if not text:
            return 0
        if self._server_counts:
            count = self._client.count_tokens(clean(text), model=self._model())
            if count is not None:
                return count
            logger.info("%s has no /tokenize; token counts are estimates.", self._client.shown_url)
            self._server_counts = False
        return estimated_tokens(clean(text))

    def embed_query(self, text: str) -> np.ndarray:
        return self._embed([text], self.spec.query_prefix, timeout_s=_QUERY_TIMEOUT_S)[0]

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._embed(texts, self.spec.passage_prefix, timeout_s=_PASSAGES_TIMEOUT_S)

    def close(self) -> None:
        self._client.close()

    def _model(self) -> str:
        if not self._served_model:
            self._served_model = self._wanted_model or next(iter(self._client.models()))
            self.model_name = self._served_model
        return self._served_model

    def _embed(self, texts: Sequence[str], prefix: str, *, timeout_s: float) -> np.ndarray:
        vectors = [np.zeros((0, self.spec.dimension), np.float32)]
        at = 0
        while at < len(texts):
            batch = [clean(text) for text in texts[at : at + self._batch_texts]]
            vectors.append(self._embed_batch(batch, prefix, timeout_s=timeout_s))
            at += len(batch)
        return np.concatenate(vectors)

    def _embed_batch(self, texts: list[str], prefix: str, *, timeout_s: float) -> np.ndarray:
        """As many requests as it takes for a server that refuses so many texts, or one of them."""
        try:
            return self._vectors([prefix + text for text in texts], timeout_s=timeout_s)
        except InputRefused as exc:
            if len(texts) == 1:
                return self._embed_shortened(texts[0], prefix, exc, timeout_s=timeout_s)
            half = (len(texts) + 1) // 2
            if exc.batch:
                self._batch_texts = min(self._batch_texts, half)
        parts = (texts[:half], texts[half:])
        return np.concatenate([self._embed_batch(part, prefix, timeout_s=timeout_s) for part in parts])

    def _embed_shortened(self, text: str, prefix: str, refused: InputRefused, *, timeout_s: float) -> np.ndarray:
        kept = text
        while len(kept) > _SHORTEST_CHARS:
            kept = kept[: len(kept) * 3 // 4]
            try:
                vectors = self._vectors([prefix + kept], timeout_s=timeout_s)
            except InputRefused:
                continue
            logger.warning(
                "%s takes no text as long as %d characters: its first %d were embedded (%s). A lower CHUNK_TOKENS "
                "keeps texts shorter.", self._client.shown_url, len(text), len(kept), refused,
            )  # fmt: skip
            return vectors
        raise refused

    def _vectors(self, texts: list[str], *, timeout_s: float) -> np.ndarray:
        vectors = self._client.embed(texts, model=self._model(), timeout_s=timeout_s)
        if vectors.shape[1] != self._served_dimension:
            raise EmbeddingUnavailable(
                f"The embedding server at {self._client.shown_url} gave {vectors.shape[1]} numbers a text, "
                f"earlier {self._served_dimension}: its model has changed.",
                hint="Set EMBED_MODEL back and restart, or run `gakju ingest reembed` with the new model.",
            )
        return normalised(vectors[:, : self.spec.dimension])
