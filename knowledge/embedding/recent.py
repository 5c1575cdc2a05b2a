"""An embedding that remembers the last questions: a turn asks for the same one's vector to search and again to quote.

Knows nothing about models; it passes everything else on.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr

from knowledge.embedding.base import EmbeddingSpec, GakjuEmbedding

_KEPT = 64  # more than are asked at the same time


class RecentQuestions(GakjuEmbedding):
    """`embedding` stays its owner's: to close this closes nothing."""

    _embedding: GakjuEmbedding = PrivateAttr()
    _recent: OrderedDict[str, np.ndarray] = PrivateAttr(default_factory=OrderedDict)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, embedding: GakjuEmbedding) -> None:
        super().__init__(model_name=embedding.model_name)
        self._embedding = embedding

    @property
    def spec(self) -> EmbeddingSpec:
        return self._embedding.spec

    def count_tokens(self, text: str) -> int:
        return self._embedding.count_tokens(text)

    def split_at_tokens(self, text: str, max_tokens: int) -> list[tuple[int, int]]:
        return self._embedding.split_at_tokens(text, max_tokens)

    def embed_query(self, text: str) -> np.ndarray:
        with self._lock:
            if text in self._recent:
                self._recent.move_to_end(text)
                return self._recent[text]
        vector = self._embedding.embed_query(text)
        vector.flags.writeable = False  # it is handed out more than once
        with self._lock:
            self._recent[text] = vector
            while len(self._recent) > _KEPT:
                self._recent.popitem(last=False)
        return vector

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._embedding.embed_passages(texts)
