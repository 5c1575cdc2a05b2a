"""Which passages of the live index questions are made of: spread over documents, languages and kinds, the same for a seed.

Every document gives one passage before any gives a second; languages take turns; of a document with tables, tables and
text take turns. A document's place in the order hangs on the seed and its path alone, so documents that come or go leave
the others of their language in theirs. Knows nothing about questions.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from knowledge.live_index import OpenIndex
from knowledge.types import Block, Evidence

LANGUAGES = {"ko": ("ko",), "en": ("en",), "both": ("ko", "en")}
CROSS_SHARE = 0.2  # of the questions that are asked in the other language than the passage's
_TABLE_FIRST_SHARE = 1 / 3
_MIN_WEIGHT = {"text": 80, "table": 30}  # of letters and digits; a Hangul syllable says as much as two Latin letters
_MIN_LETTERS_SHARE = 0.35  # below this it is lines, dots and numbers
_MAX_LEADERS_SHARE = 1 / 3
_LEADERS = re.compile(r"(?:\.\s?|·\s?|…){4,}\s*\d*\s*$", re.MULTILINE)  # a table of contents
_DOCUMENTS = (
    "SELECT d.id, d.path, d.language FROM documents d JOIN collections c ON c.id = d.collection_id "
    'WHERE d.generation_id = %s AND c.name = %s ORDER BY d.path COLLATE "C"'
)
_COLLECTIONS = (
    "SELECT name FROM collections c "
    "WHERE EXISTS (SELECT FROM documents d WHERE d.collection_id = c.id AND d.generation_id = %s) ORDER BY name"
)
_CHUNKS = (
    "SELECT id, start_char, end_char, language FROM chunks "
    "WHERE generation_id = %s AND document_id = %s ORDER BY ordinal"
)


@dataclass(frozen=True, slots=True)
class Sampled:
    """A passage and the language in which a person asks for it. `kind`: "text" or "table"."""

    evidence: Evidence
    kind: str
    ask_in: str

    @property
    def key(self) -> tuple[str, int, int]:
        return self.evidence.path, self.evidence.start, self.evidence.end


def sample(
    index: OpenIndex, collection: str, *, language: str, seed: int, crossing: bool
) -> Generator[Sampled, None, None]:
    """All passages worth asking about, the best spread first. `language`: of the questions; "both" is Korean and English.

    `crossing`: a share is to be asked for in the other language.

    Raises:
        DatabaseUnavailable, IndexMismatch: the index cannot be read.
    """
    orders = [
        _order(index, collection, document, language=language, seed=seed, crossing=crossing)
        for document in _documents(index, collection, seed)
    ]
    seen: set[str] = set()
    while orders:
        left = []
        for order in orders:
            sampled = next((item for item in order if fold(item.evidence.text) not in seen), None)
            if sampled is not None:
                seen.add(fold(sampled.evidence.text))
                left.append(order)
                yield sampled
        orders = left


def collections_with_documents(index: OpenIndex) -> list[str]:
    """Raises:
    DatabaseUnavailable: the index cannot be read.
    """
    with index.store.db.connection() as conn:
        return [name for (name,) in conn.execute(_COLLECTIONS, (index.generation.id,))]


def fold(text: str) -> str:
    """What two passages share that say the same in other spacing, width, case or punctuation."""
    return "".join(map(_folded, text))


def find_folded(text: str, wanted: str) -> tuple[int, int] | None:
    """Where `wanted` first stands in `text`, both folded; the span is one of `text` itself."""
    needle = fold(wanted)
    places = [at for at, sign in enumerate(text) for _ in _folded(sign)]
    at = fold(text).find(needle) if needle else -1
    return (places[at], places[at + len(needle) - 1] + 1) if at >= 0 else None


@lru_cache(maxsize=20_000)
def _folded(sign: str) -> str:
    """Of one character, so that places stay known."""
    return "".join(part for part in unicodedata.normalize("NFKC", sign).casefold() if part.isalnum())


def is_worth_asking(text: str, kind: str) -> bool:
    """Whether somebody could look for what `text` says: enough of it, and more than lines, dots and numbers."""
    signs = [sign for sign in text if not sign.isspace()]
    letters = sum(sign.isalpha() for sign in signs)
    weight = sum(1 + ("가" <= sign <= "힣") for sign in signs if sign.isalnum())
    lines = [line for line in text.splitlines() if line.strip()]
    leaders = len(_LEADERS.findall(text))
    return (
        weight >= _MIN_WEIGHT[kind]
        and letters >= _MIN_LETTERS_SHARE * len(signs) * (0.5 if kind == "table" else 1)
        and leaders <= _MAX_LEADERS_SHARE * len(lines)
    )


def _draw(seed: int, *parts: object) -> float:
    """0 ≤ number < 1, always the same for the same parts."""
    data = "\0".join(map(str, (seed, *parts))).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") / 2**64


def _documents(index: OpenIndex, collection: str, seed: int) -> list[tuple[UUID, str]]:
    """Id and path, in the order of the draw, languages by turns."""
    with index.store.db.connection() as conn:
        rows = conn.execute(_DOCUMENTS, (index.generation.id, collection)).fetchall()
    rows.sort(key=lambda row: _draw(seed, row[1]))
    by_language: dict[str, list[tuple[UUID, str]]] = defaultdict(list)
    for key, path, language in rows:
        by_language[language].append((key, path))
    return _by_turns([by_language[language] for language in sorted(by_language)])


def _order(
    index: OpenIndex, collection: str, document: tuple[UUID, str], *, language: str, seed: int, crossing: bool
) -> Iterator[Sampled]:
    """The passages of one document in the order in which they are asked about. Read when the first one is wanted."""
    key, path = document
    with index.store.db.connection() as conn:
        rows = conn.execute(_CHUNKS, (index.generation.id, key)).fetchall()
    stored = index.store.document(collection, path)
    if stored is None:
        return  # deleted meanwhile
    chosen: dict[str, list[tuple[float, UUID, str, str]]] = {"text": [], "table": []}
    for chunk_id, start, end, written_in in rows:
        kind = _kind(stored[0].blocks, start, end)
        ask_in = _ask_in(written_in, language, crossing and _draw(seed, "other", path, start, end) < CROSS_SHARE)
        if ask_in:
            chosen[kind].append((_draw(seed, path, start, end), chunk_id, kind, ask_in))
    first = "table" if _draw(seed, "kind", path) < _TABLE_FIRST_SHARE else "text"
    kinds = sorted(chosen, key=lambda kind: kind != first)
    for _, chunk_id, kind, ask_in in _by_turns([sorted(chosen[kind]) for kind in kinds]):
        for evidence in index.searcher.chunks([str(chunk_id)]):
            if is_worth_asking(evidence.readable, kind):
                yield Sampled(evidence, kind, ask_in)


def _ask_in(written_in: str, language: str, is_crossing: bool) -> str:
    """The language to ask in; "" where this passage is not asked for."""
    other = {"ko": "en", "en": "ko"}.get(written_in)
    if other is None:
        return ""
    ask_in = other if is_crossing else written_in
    return ask_in if ask_in in LANGUAGES[language] else ""


def _kind(blocks: Sequence[Block], start: int, end: int) -> str:
    """What most of a chunk is."""
    inside = [(min(block.end, end) - max(block.start, start), block.kind) for block in blocks]
    table = sum(size for size, kind in inside if size > 0 and kind in ("table", "row"))
    return "table" if 2 * table > end - start else "text"


def _by_turns(lists: Sequence[Sequence[Any]]) -> list[Any]:
    """One of each, then another of each, until all are through."""
    longest = max(map(len, lists), default=0)
    return [items[i] for i in range(longest) for items in lists if i < len(items)]
