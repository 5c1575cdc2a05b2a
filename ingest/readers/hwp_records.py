"""Streams of an HWP 5 file to trees of records: inflating, decrypting distribution copies, cutting into records.

The records' meaning is known to `hwp_docinfo` and `hwp_body`. Format: Hancom, "한글 문서 파일 구조 5.0", rev. 1.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ingest.readers.hwp_model import Unreadable

MAX_INFLATED_BYTES = 96 * 1024 * 1024  # of all sections together; their text is a tenth of it
_EXTENDED_SIZE = 0xFFF
_MAX_LEVEL = 120
_MAX_TREE = 1_000_000  # records below one paragraph: a table of a quarter million cells
_DISTRIBUTION_TAG = 28
_DISTRIBUTION_BYTES = 256


@dataclass(slots=True)
class Record:
    tag: int
    level: int
    data: bytes
    children: list[Record] = field(default_factory=list)

    def number(self, offset: int, layout: str = "<H") -> int:
        """A number at `offset`. Raises: Unreadable if the record ends before it."""
        try:
            return int(struct.unpack_from(layout, self.data, offset)[0])
        except struct.error:
            raise Unreadable("damaged", f"a record of kind {self.tag} is too short") from None

    def string(self, offset: int) -> tuple[str, int]:
        """UTF-16 words counted by the number at `offset`, and the offset behind them."""
        end = offset + 2 + 2 * self.number(offset)
        if end > len(self.data):
            raise Unreadable("damaged", f"a text runs beyond its record of kind {self.tag}")
        return self.data[offset + 2 : end].decode("utf-16-le", "replace"), end


class Budget:
    """Counts bytes inflated over all streams of a file, whatever sizes they declare."""

    def __init__(self, limit_bytes: int = MAX_INFLATED_BYTES) -> None:
        self._left = limit_bytes

    def inflate(self, data: bytes, *, what: str) -> bytes:
        """Raw deflate; in files of some other programs, with zlib's header around it.

        Raises:
            Unreadable: "damaged" if broken or cut off, "too_large" beyond the limit.
        """
        for window_bits in (-zlib.MAX_WBITS, zlib.MAX_WBITS):
            inflater = zlib.decompressobj(window_bits)
            try:
                inflated = inflater.decompress(data, self._left + 1)
            except zlib.error:
                continue
            self.spend(len(inflated))
            if not inflater.eof:
                raise Unreadable("damaged", f"{what} is cut off")
            return inflated
        raise Unreadable("damaged", f"{what} cannot be unpacked")

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise Unreadable("too_large", "it holds more text than is allowed")


def records(data: bytes, *, what: str) -> Iterator[Record]:
    """The records of a stream one after the other. Raises: Unreadable if the last one is cut off."""
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < 4:
            if data[offset:].strip(b"\0"):
                raise Unreadable("damaged", f"{what} is cut off")
            return
        header = int.from_bytes(data[offset : offset + 4], "little")
        offset += 4
        size = header >> 20
        if size == _EXTENDED_SIZE:
            size = int.from_bytes(data[offset : offset + 4], "little")
            offset += 4
        if size > end - offset:
            raise Unreadable("damaged", f"{what} is cut off in the middle of a record")
        yield Record(header & 0x3FF, header >> 10 & 0x3FF, data[offset : offset + size])
        offset += size


def trees(data: bytes, *, what: str) -> Iterator[Record]:
    """The records of level 0 in order, each with those below it."""
    path: list[Record] = []
    count = 0
    for record in records(data, what=what):
        if record.level > _MAX_LEVEL:
            raise Unreadable("damaged", f"{what} has records nested {record.level} deep")
        while path and path[-1].level >= record.level:
            root = path.pop()
            if not path:
                yield root
        if path:
            path[-1].children.append(record)
            count += 1
            if count > _MAX_TREE:
                raise Unreadable("too_large", f"{what} has a paragraph of more than {_MAX_TREE} records")
        else:
            count = 0
        path.append(record)
    if path:
        yield path[0]


def distribution_text(data: bytes, *, what: str) -> bytes:
    """A section of a distribution copy (배포용 문서) as it was before it was scrambled.

    Such a copy may be read by all but not changed; its key stands in the first record, hidden by the random numbers
    of Microsoft's C library. Published by Changwoo Ryu: https://groups.google.com/g/hwp-foss/c/d2KL2ypR89Q
    """
    first = next(records(data, what=what), None)
    if first is None or first.tag != _DISTRIBUTION_TAG or len(first.data) != _DISTRIBUTION_BYTES:
        raise Unreadable("damaged", f"{what} has no key, which a distribution copy begins with")
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    plain = _unmasked(first.data)
    start = 4 + (first.data[0] & 0xF)
    body = data[4 + _DISTRIBUTION_BYTES :]
    body = body[: len(body) - len(body) % 16]
    decryptor = Cipher(algorithms.AES(plain[start : start + 16]), modes.ECB()).decryptor()  # noqa: S305 - the format's
    return decryptor.update(body) + decryptor.finalize()


def _unmasked(data: bytes) -> bytes:
    """The 256 bytes without their mask: runs of 1 to 16 equal bytes, from `rand` seeded with the first four."""
    state = int.from_bytes(data[:4], "little")
    mask = bytearray()
    while len(mask) < len(data):
        state = (state * 214013 + 2531011) & 0xFFFFFFFF
        value = state >> 16 & 0xFF
        state = (state * 214013 + 2531011) & 0xFFFFFFFF
        mask += bytes([value]) * ((state >> 16 & 0xF) + 1)
    return bytes(byte ^ key for byte, key in zip(data, mask, strict=False))
