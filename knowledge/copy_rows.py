"""Chunks as rows of PostgreSQL's binary COPY, encoded by hand: five times as fast as value by value.

Formats: PostgreSQL's COPY documentation, and the `_send` functions of its types and of pgvector's.
"""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

from knowledge.terms import TERM_SPACE, TermVector
from knowledge.types import Chunk, Place

COLUMNS = (
    "generation_id, id, document_id, collection_id, ordinal, start_char, end_char, text, heading, place, table_header, "
    "language, embedding, term_ids, term_weights, sentences"
)
HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
TRAILER = struct.pack("!h", -1)
_TEXT_OID, _INT4_OID, _INT4_ARRAY_OID = 25, 23, 1007
_INT = struct.Struct("!i")
_SPARSE = struct.Struct("!iiii")
_START = struct.Struct("!hiii16si16siiiiiiii")
_ARRAY = struct.Struct("!iiIii")
_NULL = struct.pack("!i", -1)
_EMPTY_TEXTS = struct.pack("!iiI", 0, 0, _TEXT_OID)
_EMPTY_INTS = struct.pack("!iiI", 0, 0, _INT4_OID)
_ELEMENT = np.dtype([("size", ">i4"), ("value", ">i4")])


class RowEncoder:
    """Rows of one document's chunks, encoded together: what numpy does once for all costs a tenth a chunk."""

    def __init__(self, generation_id: int, document_id: uuid.UUID, collection_id: int) -> None:
        self._generation_id = generation_id
        self._document_id = document_id.bytes
        self._collection_id = collection_id
        self._headings: dict[tuple[str, ...], bytes] = {}
        self._places: dict[Place, bytes] = {}

    def rows(
        self,
        chunk_ids: Sequence[bytes],
        chunks: Sequence[Chunk],
        *,
        languages: Sequence[str],
        embeddings: Sequence[np.ndarray],
        terms: Sequence[TermVector],
        sentences: Sequence[bytes | None],
    ) -> Iterator[bytes]:
        """All arguments run in parallel. `chunk_ids`: 16 bytes each. `embeddings`: each (dimension,)."""
        if not chunks:
            return
        halves = np.stack(embeddings).astype(">f2")
        half_head = _INT.pack(2 * halves.shape[1] + 4) + struct.pack("!hh", halves.shape[1], 0)
        all_ids = np.concatenate([item.ids for item in terms])
        arrays, ids = _elements(all_ids), all_ids.astype(">i4").tobytes()
        weights = np.concatenate([item.weights for item in terms]).astype(">f4").tobytes()
        ends = list(accumulate(map(len, terms)))
        places = zip([0, *ends], ends, strict=False)
        for chunk_id, chunk, language, half, (start, end), words in zip(
            chunk_ids, chunks, languages, halves, places, sentences, strict=True
        ):
            heading = self._headings.get(chunk.heading)
            if heading is None:
                heading = self._headings[chunk.heading] = _field(_text_array(chunk.heading))
            place = self._places.get(chunk.place)
            if place is None:
                place = self._places[chunk.place] = _field(b"\x01" + json.dumps(chunk.place.to_dict()).encode())
            count = end - start
            array_head = _int_array_head(count)
            yield b"".join(
                (
                    _START.pack(
                        16, 4, self._generation_id, 16, chunk_id, 16, self._document_id, 4, self._collection_id,
                        4, chunk.ordinal, 4, chunk.start, 4, chunk.end,
                    ),
                    _field(chunk.text.encode()),
                    heading,
                    place,
                    _field(chunk.table_header.encode()),
                    _field(language.encode()),
                    half_head,
                    half.tobytes(),
                    _INT.pack(len(array_head) + 8 * count),
                    array_head,
                    arrays[8 * start : 8 * end],
                    # sparsevec counts from 0 in its binary form.
                    _SPARSE.pack(12 + 8 * count, TERM_SPACE, count, 0),
                    ids[4 * start : 4 * end],
                    weights[4 * start : 4 * end],
                    _NULL if words is None else _field(words),
                )
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Integers:
    """An array of int4, as parameter of a statement: psycopg's own way through a list takes ten times as long."""

    values: np.ndarray


class _IntegersDumper(Dumper):
    """Binary int4[]."""

    format = pq.Format.BINARY
    oid = _INT4_ARRAY_OID

    def dump(self, obj: Integers) -> bytes:
        return _int_array(obj.values)


psycopg.adapters.register_dumper(Integers, _IntegersDumper)


def _field(data: bytes) -> bytes:
    return _INT.pack(len(data)) + data


def _int_array(values: np.ndarray) -> bytes:
    return _int_array_head(len(values)) + _elements(values)


def _int_array_head(count: int) -> bytes:
    return _ARRAY.pack(1, 0, _INT4_OID, count, 1) if count else _EMPTY_INTS


def _elements(values: np.ndarray) -> bytes:
    """Each with its size before it, as arrays hold them."""
    elements = np.empty(len(values), _ELEMENT)
    elements["size"] = 4
    elements["value"] = values
    return elements.tobytes()


def _text_array(values: Sequence[str]) -> bytes:
    if not values:
        return _EMPTY_TEXTS
    return _ARRAY.pack(1, 0, _TEXT_OID, len(values), 1) + b"".join(_field(value.encode()) for value in values)
