"""What every embedding here offers: vectors, token counts and token-bounded spans, as a LlamaIndex `BaseEmbedding`.

Knows nothing about models, files or servers; those are the subclasses.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding

from knowledge.embedding.spans import split_at_tokens
from knowledge.errors import EmbeddingUnavailable

_NUL_OR_LONE_SURROGATE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """What makes vectors comparable; kept in the index manifest. Vectors of unequal specs must not share an index.

    `name` is the model with an engine tag, since two engines give slightly different vectors for the same model.
    """

    name: str
    dimension: int
    query_prefix: str
    passage_prefix: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EmbeddingSpec:
        return cls(
            name=str(data["name"]),
            dimension=int(data["dimension"]),
            query_prefix=str(data["query_prefix"]),
            passage_prefix=str(data["passage_prefix"]),
        )


def clean(text: str) -> str:
    """`text` as models take it: NFC, with U+FFFD for NUL and lone surrogates.

    A decomposed Hangul text is only 0.87 similar (cosine) to its composed self in multilingual-e5-small.
    """
    return _NUL_OR_LONE_SURROGATE.sub("\ufffd", unicodedata.normalize("NFC", text))


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32.

    Raises:
        EmbeddingUnavailable: a row is zero or not finite.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths) & (lengths > 0)):
        raise EmbeddingUnavailable(
            "The embedding model returned a vector that is zero or not finite.",
            hint="Check that the model is an embedding model and its weights are intact.",
        )
    return (vectors / lengths).astype(np.float32)


class GakjuEmbedding(BaseEmbedding):
    """Base of all embeddings here. Subclasses are safe to call from several threads at once.

    Vectors are float32 and L2-normalised, so a dot product is the cosine similarity.
    """

    @property
    @abstractmethod
    def spec(self) -> EmbeddingSpec:
        """Name, dimension and prefixes. May ask a server once."""

    def count_tokens(self, text: str) -> int:
        """How many of the model's tokens `text` takes, without prefix and special tokens.

        Not abstract: LlamaIndex makes a span of each call of such a method, which took ten times as long as counting.
        """
        raise NotImplementedError

    @abstractmethod
    def embed_query(self, text: str) -> np.ndarray:
        """Vector of a question, shape (dimension,)."""

    @abstractmethod
    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of passages in their order, shape (len(texts), dimension)."""

    def split_at_tokens(self, text: str, max_tokens: int) -> list[tuple[int, int]]:
        """Character spans that cover `text` exactly, each of at most `max_tokens` tokens (see `spans`)."""
        return split_at_tokens(text, max_tokens, self.count_tokens)

    def close(self) -> None:
        """Release threads and connections; the object is not used afterwards."""

    @classmethod
    def class_name(cls) -> str:
        return cls.__name__

    def _get_query_embedding(self, query: str) -> list[float]:
        return self.embed_query(query).tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self.embed_passages([text])[0].tolist()

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self.embed_passages(texts).tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
