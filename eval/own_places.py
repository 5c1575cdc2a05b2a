"""Where the answer to a question stands in the index as it is now, and whether a found passage holds it.

Documents change and are chunked anew: a passage is looked for by its text near where it stood, and a chunk counts if it
holds half of the answer, or half of itself is answer. The same words in another document count too: they answer as well.
Knows nothing about rankings or files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from eval.own_chunks import find_folded, fold
from eval.own_files import Row
from eval.own_others import SAME_WORDS
from eval.own_sheet import Filled
from eval.retrieval_runs import plain_id
from knowledge.store import IndexStore
from knowledge.types import Evidence

DOCUMENT_GONE, PASSAGE_GONE = "document", "passage"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a document of the set's collection, in characters of its text. `text`: what stands there."""

    path: str
    start: int
    end: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """`id`: what run files and judgements call it. `gone`: "", DOCUMENT_GONE or PASSAGE_GONE.

    `words`: folded; a chunk of any document that holds one of them holds the answer.
    """

    id: str
    path: str
    where: str
    spans: tuple[Span, ...]
    words: tuple[str, ...]
    passage: str
    gone: str = ""

    def is_in(self, found: Evidence, collection: str) -> bool:
        if found.collection == collection and any(_share(span, found) for span in self.spans):
            return True
        folded = _fold_once(found.text)
        if any(words in folded for words in self.words):
            return True
        # The search shows one of several passages with the same text, and where the others stand.
        places = {source.path for source in found.also_in if source.collection == collection}
        texts = [_fold_once(span.text) for span in self.spans if span.path in places]
        return any(text in folded or folded in text for text in texts if text)


class Places:
    """Looks answers up in one collection; keeps the texts of the documents that it read."""

    def __init__(self, store: IndexStore, collection: str) -> None:
        self._store = store
        self._collection = collection
        self._texts: dict[str, str | None] = {}

    def answer(self, item: Filled, rows: Mapping[str, Row]) -> Answer:
        """Raises:
        DatabaseUnavailable: the index cannot be read.
        """
        return self._of_own(item) if item.is_own else self._of_row(item, rows[item.id])

    def _of_own(self, item: Filled) -> Answer:
        key, text = plain_id(f"{item.path}#{item.id}"), self._text(item.path)
        words = _words([item.passage])
        if text is None:
            return Answer(key, item.path, item.path, (), words, item.passage, DOCUMENT_GONE)
        span = find_folded(text, item.passage) if item.passage else (0, len(text))
        spans = (_cut(item.path, text, *span),) if span else ()
        return Answer(key, item.path, item.path, spans, words, item.passage, "" if spans else PASSAGE_GONE)

    def _of_row(self, item: Filled, row: Row) -> Answer:
        # A question that a person wrote anew may be answered by another sentence of the passage.
        quote = row.quote if item.question == row.question else ""
        key = plain_id(f"{row.path}#{row.start}-{row.end}")
        spans = [self._span(Span(row.path, row.start, row.end), row.passage, quote)]
        if quote:
            spans += [
                self._span(Span(other.path, other.start, other.end), other.passage, other.quote) for other in row.also
            ]
        found = tuple(span for span in spans if span)
        gone = "" if spans[0] else PASSAGE_GONE if self._text(row.path) is not None else DOCUMENT_GONE
        return Answer(key, row.path, row.where, found, _words([row.passage, quote]), row.passage, gone)

    def _span(self, stood: Span, passage: str, quote: str) -> Span | None:
        """Where `passage` is now, or the words of it that answer."""
        text = self._text(stood.path)
        if text is None:
            return None
        place = (stood.start, stood.end) if text[stood.start : stood.end] == passage else _near(text, passage, stood)
        if place is None:
            inside = find_folded(text, quote) if len(fold(quote)) >= SAME_WORDS else None
            return _cut(stood.path, text, *inside) if inside else None
        start, end = place
        inside = find_folded(text[start:end], quote) if quote else None
        place = (start + inside[0], start + inside[1]) if inside else place
        return _cut(stood.path, text, *place)

    def _text(self, path: str) -> str | None:
        if path not in self._texts:
            stored = self._store.document(self._collection, path)
            self._texts[path] = stored[0].text if stored else None
        return self._texts[path]


def _cut(path: str, text: str, start: int, end: int) -> Span:
    return Span(path, start, end, text[start:end])


def _near(text: str, passage: str, stood: Span) -> tuple[int, int] | None:
    """The same words, spaced as they may be, next to where they stood."""
    words = passage.split()
    if not words:
        return None
    places = [match.span() for match in re.finditer(r"\s+".join(map(re.escape, words)), text)]
    return min(places, key=lambda place: abs(place[0] - stood.start), default=None)


def _share(span: Span, found: Evidence) -> bool:
    """Whether `found` and the span share half of the shorter one."""
    shared = min(span.end, found.end) - max(span.start, found.start)
    return found.path == span.path and 2 * shared >= min(span.end - span.start, found.end - found.start) and shared > 0


def _words(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(folded for folded in map(fold, texts) if len(folded) >= SAME_WORDS)


@lru_cache(maxsize=2_000)
def _fold_once(text: str) -> str:
    return fold(text)
