"""Vectors kept on disk by what they were made of, so that a set is embedded once and not at every evaluation.

One SQLite file for each embedder: its name, dimension and prefixes are in the file's name, the SHA-256 of the text is the
key. Several processes may use it at once. Knows nothing about sets or search.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr

from eval.beir import SetError
from knowledge.embedding import EmbeddingSpec, GakjuEmbedding

_BUSY_S = 60.0
_KEYS_A_QUERY = 500  # SQLite takes 999 variables at least
_QUERY, _PASSAGE = b"q", b"p"


class VectorCache:
    """Texts → vectors, float32 to the last bit. Safe for several threads.

    Raises:
        SetError: from all methods: the file cannot be used.
    """

    def __init__(self, folder: Path, spec: EmbeddingSpec) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        described = hashlib.sha256(json.dumps(spec.to_dict(), sort_keys=True).encode()).hexdigest()[:12]
        self.file = folder / f"{re.sub(r'[^A-Za-z0-9.]+', '-', spec.name)}-{described}.sqlite"
        self._dimension = spec.dimension
        self._lock = threading.Lock()
        with self._faults_said():
            self._db = sqlite3.connect(self.file, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"
            )

    def get(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The vectors that are there."""
        found: dict[bytes, np.ndarray] = {}
        with self._lock, self._faults_said():
            for at in range(0, len(keys), _KEYS_A_QUERY):
                some = keys[at : at + _KEYS_A_QUERY]
                marks = ",".join("?" * len(some))
                rows = self._db.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", some)  # noqa: S608
                found |= {key: np.frombuffer(vector, np.float32) for key, vector in rows}
        return {key: vector for key, vector in found.items() if vector.shape == (self._dimension,)}

    def put(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        rows = [(key, row.tobytes()) for key, row in zip(keys, vectors.astype(np.float32), strict=True)]
        with self._lock, self._faults_said():
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
            self._db.execute("COMMIT")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _faults_said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise SetError(
                f"The vectors in {self.file} cannot be used: {exc}. Is the disk full, may the file be written? It may be "
                "deleted: vectors are made anew."
            ) from exc


class CachedEmbedding(GakjuEmbedding):
    """Another embedding, asked only for what `cache` does not have. The other one stays its owner's."""

    _embedding: GakjuEmbedding = PrivateAttr()
    _cache: VectorCache = PrivateAttr()

    def __init__(self, embedding: GakjuEmbedding, cache: VectorCache) -> None:
        super().__init__(model_name=embedding.model_name)
        self._embedding = embedding
        self._cache = cache

    @property
    def spec(self) -> EmbeddingSpec:
        return self._embedding.spec

    def count_tokens(self, text: str) -> int:
        return self._embedding.count_tokens(text)

    def split_at_tokens(self, text: str, max_tokens: int) -> list[tuple[int, int]]:
        return self._embedding.split_at_tokens(text, max_tokens)

    def embed_query(self, text: str) -> np.ndarray:
        key = _key(_QUERY, text)
        found = self._cache.get([key])
        if key not in found:
            vector = self._embedding.embed_query(text)
            self._cache.put([key], vector[None])
            return vector
        return found[key]

    def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        keys = [_key(_PASSAGE, text) for text in texts]
        found = self._cache.get(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            vectors = self._embedding.embed_passages(list(missing.values()))
            self._cache.put(list(missing), vectors)
            found |= dict(zip(missing, vectors, strict=True))
        return np.stack([found[key] for key in keys]) if keys else np.empty((0, self.spec.dimension), np.float32)


def _key(kind: bytes, text: str) -> bytes:
    return kind + hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
