"""The values that flow through the app: Document and Chunk on the way in, Evidence and Citation on the way out.

All are frozen. Offsets count Python characters (code points) in `Document.text`; `document.text[start:end]` is the
chunk. Nothing here knows a database, a model or a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a document a passage stands, as a person would look it up. Pages, slides and rows count from 1."""

    page: int | None = None
    slide: int | None = None
    sheet: str | None = None
    rows: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        parts = {"page": self.page, "slide": self.slide, "sheet": self.sheet, "rows": self.rows}
        return {name: value for name, value in parts.items() if value is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Place:
        rows = data.get("rows")
        return cls(data.get("page"), data.get("slide"), data.get("sheet"), tuple(rows) if rows else None)


@dataclass(frozen=True, slots=True)
class Block:
    """A structural piece of a document: `text[start:end]` under `heading` (outermost first), at `place`.

    `kind`: "paragraph", "list", "table", "code" or "row". A block of kind "row" is never merged with a neighbour.
    """

    start: int
    end: int
    heading: tuple[str, ...] = ()
    place: Place = Place()
    kind: str = "paragraph"


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What a reader makes of a file: NFC text without NUL or lone surrogates, and its blocks in order, not overlapping.

    `title` is what the document calls itself, else the file's name without its ending.
    """

    title: str
    text: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is embedded and found: `document.text[start:end]`, at most `chunk_tokens` of the embedder's own tokens.

    `table_header`: the header row of the table whose rows these are, where the chunk begins below it; else "".
    """

    ordinal: int
    start: int
    end: int
    text: str
    heading: tuple[str, ...] = ()
    place: Place = Place()
    table_header: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One file of one collection. `path` is its identity there: relative, NFC, with forward slashes.

    `content_hash` is the SHA-256 of the file's bytes (hex); it decides skip or replace. `origin` is the file's absolute
    path where it was read: two different files may not silently share one `path`.
    """

    collection: str
    path: str
    origin: str
    content_hash: str
    size_bytes: int
    title: str
    text: str
    language: str  # "ko", "en" or "und"
    blocks: tuple[Block, ...] = ()

    @property
    def parsed(self) -> ParsedDocument:
        """What its reader made of it, to chunk it anew."""
        return ParsedDocument(self.title, self.text, self.blocks)


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one passage for one question. None: nothing was asked of that leg, or they share no word.

    meaning: cosine similarity, -1..1. words: BM25, 0 and up. fused: 0..1, the order of the results. Higher is closer.
    rerank: what a rerank server gave, mostly 0..1; None where none was asked. It then decides the order.
    """

    meaning: float | None = None
    words: float | None = None
    fused: float = 0.0
    rerank: float | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Another place where a passage stands word for word."""

    chunk_id: str
    document_id: str
    collection: str
    path: str
    title: str
    place: Place = Place()

    def to_dict(self) -> dict[str, Any]:
        return {
            "chunk_id": self.chunk_id,
            "document_id": self.document_id,
            "collection": self.collection,
            "document": self.path,
            "title": self.title,
            "place": self.place.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Source:
        place = Place.from_dict(data["place"])
        return cls(data["chunk_id"], data["document_id"], data["collection"], data["document"], data["title"], place)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One retrieved passage: the same object from retrieval to page, API, history and log. `rank` counts from 1.

    `text` is a slice of the document. `table_header`: as `Chunk.table_header`, shown above `text` wherever it is read.
    `also_in`: where else the same text stands. `sentences`: the packed words of its sentences and its term ids, as
    stored (knowledge/quote_words.py); only a passage that was just found has them.
    """

    chunk_id: str
    document_id: str
    collection: str
    path: str
    title: str
    heading: tuple[str, ...]
    place: Place
    start: int
    end: int
    text: str
    language: str
    scores: Scores
    rank: int
    table_header: str = ""
    also_in: tuple[Source, ...] = ()
    sentences: tuple[bytes, bytes] | None = field(default=None, compare=False, repr=False)

    @property
    def readable(self) -> str:
        """The passage as a person or a model reads it: with the header row of its table."""
        return f"{self.table_header}\n{self.text}" if self.table_header else self.text

    def to_dict(self) -> dict[str, Any]:
        return {
            "chunk_id": self.chunk_id,
            "document_id": self.document_id,
            "collection": self.collection,
            "document": self.path,
            "title": self.title,
            "heading": list(self.heading),
            "place": self.place.to_dict(),
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "language": self.language,
            "scores": asdict(self.scores),
            "rank": self.rank,
            "table_header": self.table_header,
            "also_in": [source.to_dict() for source in self.also_in],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evidence:
        return cls(
            chunk_id=data["chunk_id"],
            document_id=data["document_id"],
            collection=data["collection"],
            path=data["document"],
            title=data["title"],
            heading=tuple(data["heading"]),
            place=Place.from_dict(data["place"]),
            start=data["start"],
            end=data["end"],
            text=data["text"],
            language=data["language"],
            scores=Scores(**data["scores"]),
            rank=data["rank"],
            table_header=data.get("table_header", ""),
            also_in=tuple(Source.from_dict(item) for item in data.get("also_in", ())),
        )


@dataclass(frozen=True, slots=True)
class Citation:
    """A footnote that stands in an answer: number `n` (from 1) and the evidence behind it.

    `highlights`: spans inside `evidence.text` that carry the cited sentence; may be empty.
    """

    n: int
    evidence: Evidence
    highlights: tuple[tuple[int, int], ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        return {"n": self.n, **self.evidence.to_dict(), "highlights": [list(span) for span in self.highlights]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Citation:
        return cls(data["n"], Evidence.from_dict(data), tuple((a, b) for a, b in data["highlights"]))
