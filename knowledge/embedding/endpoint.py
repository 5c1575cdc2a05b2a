"""Vectors from an OpenAI-compatible server (`/v1/embeddings`); vLLM first: `vllm serve MODEL --runner pooling`.

Knows the protocol, not the model: prefixes come from the settings, the dimension from one probe, token counts from
vLLM's `/tokenize` where it exists and from an estimate elsewhere.
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
from knowledge.embedding.endpoint_client import EndpointClient
from knowledge.errors import EmbeddingUnavailable

logger = logging.getLogger(__name__)

_BATCH_TEXTS = 64
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
    _prefixes: tuple[str, str] = PrivateAttr()
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
        query_prefix: str = "",
        passage_prefix: str = "",
        retry_wait_s: float = 0.5,
    ) -> None:
        """`base_url` ends in /v1. `model`: "" for the first one the server lists."""
        super().__init__(model_name=model or "unknown", embed_batch_size=_BATCH_TEXTS)
        self._client = EndpointClient(base_url, api_key=api_key, retry_wait_s=retry_wait_s)
        self._wanted_model = model
        self._prefixes = (query_prefix, passage_prefix)

    @property
    def spec(self) -> EmbeddingSpec:
        """Raises: EmbeddingUnavailable, where the server must be asked and does not answer."""
        if self._found is None:
            with self._probe_lock:
                if self._found is None:
                    model = self._model()
                    dimension = self._client.embed(["probe"], model=model).shape[1]
                    self._found = EmbeddingSpec(f"{model}/endpoint", dimension, *self._prefixes)
        return self._found

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
        return self._embed([text], self.spec.query_prefix)[0]

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._embed(texts, self.spec.passage_prefix)

    def close(self) -> None:
        self._client.close()

    def _model(self) -> str:
        if not self._served_model:
            self._served_model = self._wanted_model or self._client.first_model()
            self.model_name = self._served_model
        return self._served_model

    def _embed(self, texts: Sequence[str], prefix: str) -> np.ndarray:
        batches = [np.zeros((0, self.spec.dimension), np.float32)]
        for at in range(0, len(texts), _BATCH_TEXTS):
            batch = [prefix + clean(text) for text in texts[at : at + _BATCH_TEXTS]]
            vectors = self._client.embed(batch, model=self._model())
            if vectors.shape[1] != self.spec.dimension:
                raise EmbeddingUnavailable(
                    f"The embedding server at {self._client.shown_url} gave {vectors.shape[1]} numbers a text, "
                    f"earlier {self.spec.dimension}: its model has changed.",
                    hint="Set EMBED_MODEL back and restart, or ingest the documents again with the new model.",
                )
            batches.append(normalised(vectors))
        return np.concatenate(batches)
