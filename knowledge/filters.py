"""What a search may look at: collections, documents, paths, file types, languages, dates.

A filter only ever narrows: `within` puts a caller's scope around it, an unknown name selects nothing, a key or a value
that cannot be is refused. Knows nothing about SQL (see knowledge/scope.py) or ranking.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from itertools import accumulate
from typing import Any
from uuid import UUID

from knowledge.errors import InvalidFilter

MAX_VALUES = 1_000  # of one key
MAX_LENGTH = 4_096  # characters of one value: as long as a path can be


@dataclass(frozen=True, slots=True)
class Filters:
    """All conditions hold at once; None leaves a key open, an empty tuple selects nothing.

    chunks, documents: ids. paths: a document's path, or a folder with all below it where it ends with "/". types: endings of
    file names ("pdf"). languages: of the passage, "ko", "en" or "und". modified_after (inclusive), modified_before
    (exclusive): when the file was last changed, or the document was ingested where no file is known; a date or time
    without a time zone is in the machine's own.

    Raises:
        InvalidFilter: a value that is not text, too long, too many, or not a date.
    """

    collections: tuple[str, ...] | None = None
    documents: tuple[str, ...] | None = None
    chunks: tuple[str, ...] | None = None
    paths: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None

    def __post_init__(self) -> None:
        for key in _NORMALISE:
            values = getattr(self, key)
            if values is not None:
                object.__setattr__(self, key, _NORMALISE[key](_texts(key, values)))
        for key in ("modified_after", "modified_before"):
            moment = getattr(self, key)
            if moment is not None:
                object.__setattr__(self, key, as_moment(key, moment))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Filters:
        """From untrusted keys and values, such as JSON.

        Raises:
            InvalidFilter: also for a key that is not offered.
        """
        for key in data:
            if key not in KEYS:
                raise InvalidFilter(f"There is no filter {shown(key)}.", hint=f"Filter by {', '.join(KEYS)}.")
        return cls(**data)

    @property
    def selects_all(self) -> bool:
        return all(getattr(self, key) is None for key in KEYS)

    @property
    def selects_nothing(self) -> bool:
        """Whether no document can match, whatever is stored."""
        after, before = self.modified_after, self.modified_before
        never = after is not None and before is not None and after >= before
        return never or any(getattr(self, key) == () for key in KEYS)

    def within(self, scope: Filters | None) -> Filters:
        """What both select: a request's filter can never widen the scope of who asks."""
        if scope is None:
            return self
        return Filters(
            collections=_both(self.collections, scope.collections),
            documents=_both(self.documents, scope.documents),
            chunks=_both(self.chunks, scope.chunks),
            paths=_both_paths(self.paths, scope.paths),
            types=_both(self.types, scope.types),
            languages=_both(self.languages, scope.languages),
            modified_after=max(filter(None, (self.modified_after, scope.modified_after)), default=None),
            modified_before=min(filter(None, (self.modified_before, scope.modified_before)), default=None),
        )


KEYS = tuple(item.name for item in fields(Filters))


def _both(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if one is None or other is None:
        return other if one is None else one
    shared = set(other)
    return tuple(value for value in one if value in shared)


def _both_paths(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Of each two paths or folders, one of each side, that which lies in the other."""
    if one is None or other is None:
        return other if one is None else one
    inner = [*_inside(one, frozenset(other)), *_inside(other, frozenset(one))]
    return tuple(dict.fromkeys(inner))


def _inside(paths: tuple[str, ...], outer: frozenset[str]) -> Iterator[str]:
    for path in paths:
        folders = accumulate(path.split("/")[:-1], lambda folder, name: f"{folder}{name}/", initial="")
        if path in outer or any(folder in outer for folder in folders):
            yield path


def _texts(key: str, values: object) -> tuple[str, ...]:
    if not isinstance(values, list | tuple | set | frozenset):
        raise InvalidFilter(f"The filter {key} takes a list of texts.", hint=f"Write {key}=[…].")
    if len(values) > MAX_VALUES:
        raise InvalidFilter(
            f"The filter {key} has {len(values):,} values; {MAX_VALUES:,} are the most.", hint="Filter by a collection."
        )
    for value in values:
        if not isinstance(value, str):
            raise InvalidFilter(f"The filter {key} has {shown(value)} in it, which is not text.", hint="Use texts.")
        if len(value) > MAX_LENGTH:
            raise InvalidFilter(
                f"A value of the filter {key} has {len(value):,} characters; {MAX_LENGTH:,} are the most.",
                hint="Check what it was made of.",
            )
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise InvalidFilter(
                f"The filter {key} has {shown(value)} in it, which is not valid text.",
                hint="Check what it was made of.",
            )
    return tuple(sorted(dict.fromkeys(values))) if isinstance(values, set | frozenset) else tuple(dict.fromkeys(values))


def as_moment(key: str, value: object) -> datetime:
    """UTC. A date is its beginning; without a time zone it is in the machine's own."""
    try:
        if isinstance(value, str) and len(value) <= 64:
            value = datetime.fromisoformat(value)
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if isinstance(value, datetime):
            return value.astimezone(UTC)
    except (ValueError, OverflowError, OSError) as exc:
        raise _no_date(key, value) from exc
    raise _no_date(key, value)


def _no_date(key: str, value: object) -> InvalidFilter:
    return InvalidFilter(f"The filter {key} has {shown(value)}, which is not a date.", hint="Write it as 2026-03-31.")


def shown(value: object) -> str:
    """A value from outside as it may stand in a message: short, on one line, printable."""
    text = ascii(value) if not isinstance(value, str) or not value.isprintable() else f'"{value}"'
    return text if len(text) <= 60 else f"{text[:57]}…"


def _ids(values: tuple[str, ...]) -> tuple[str, ...]:
    """What is no id is nobody's."""
    return tuple(dict.fromkeys(str(UUID(value)) for value in values if _UUID.fullmatch(value)))


def _types(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_nfc(value).strip().lstrip(".").lower() for value in values))


def _paths(values: tuple[str, ...]) -> tuple[str, ...]:
    """Documents' paths are NFC."""
    return tuple(dict.fromkeys(_nfc(value) for value in values))


def _nfc(value: str) -> str:
    return unicodedata.normalize("NFC", value)


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NORMALISE: dict[str, Callable[[tuple[str, ...]], tuple[str, ...]]] = {
    "collections": lambda values: values,
    "documents": _ids,
    "chunks": _ids,
    "paths": _paths,
    "types": _types,
    "languages": lambda values: tuple(value.lower() for value in values),
}
