"""Text to what the index holds: chunks, their words, those of their sentences, and their vectors. Knows nothing about files or the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.chunker import CHUNKER_VERSION, chunk
from knowledge.embedding import GakjuEmbedding
from knowledge.lexemes import Analyzer, language_of
from knowledge.quote_words import find_quote_words, packed
from knowledge.search_text import heading_line
from knowledge.search_text import search_text as joined
from knowledge.store import EmbeddedChunk
from knowledge.terms import TermVector, term_vectors
from knowledge.types import Chunk, ParsedDocument

# Texts embedded in one call: enough for an embedding server to be busy, few enough to tell progress.
EMBED_TOGETHER = 128
_ANALYSE_TOGETHER = 512
# Code, tables and names fill chunks of Korean documents with Latin letters; as English ones they were held against English
# passages and stood before Korean answers (Recall@10 .68 against .77 on questions to a translated manual).
_LATIN_TO_HANGUL = 32


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document's chunks, all but their vectors. The four tuples run in parallel.

    `sentences`: the words of each one's sentences, packed for quote mode.
    """

    chunks: tuple[Chunk, ...]
    search_texts: tuple[str, ...]
    terms: tuple[TermVector, ...]
    sentences: tuple[bytes | None, ...]

    def __len__(self) -> int:
        return len(self.chunks)

    def with_vectors(self, vectors: Sequence[np.ndarray]) -> list[EmbeddedChunk]:
        """`vectors`: one a chunk, float32 (dimension,), normalised."""
        return [
            EmbeddedChunk(item, vector, words, language_of(search_text, latin_to_hangul=_LATIN_TO_HANGUL), sentences)
            for item, vector, words, sentences, search_text in zip(
                self.chunks, vectors, self.terms, self.sentences, self.search_texts, strict=True
            )
        ]


class Preparer:
    """`chunk_tokens`: largest chunk, in the embedder's own tokens. Safe to use from several threads."""

    def __init__(self, embedding: GakjuEmbedding, analyzer: Analyzer, *, chunk_tokens: int) -> None:
        self._embedding = embedding
        self._analyzer = analyzer
        self._chunk_tokens = chunk_tokens

    def prepare(self, parsed: ParsedDocument) -> Prepared:
        chunks = chunk(
            parsed,
            count_tokens=self._embedding.count_tokens,
            split_at_tokens=self._embedding.split_at_tokens,
            max_tokens=self._chunk_tokens,
        )
        texts = tuple(search_text(parsed.title, item) for item in chunks)
        terms: list[TermVector] = []
        sentences: list[bytes | None] = []
        for at in range(0, len(texts), _ANALYSE_TOGETHER):  # of a large document the words as such are not all kept
            placed = self._analyzer.place_many(texts[at : at + _ANALYSE_TOGETHER])
            terms += term_vectors([Counter(words.lexemes) for words in placed])
            for number, words in enumerate(placed, start=at):
                head = heading_line(parsed.title, chunks[number].heading)
                found = find_quote_words(chunks[number], head, texts[number], words, terms=terms[number].ids)
                sentences.append(packed(found))
        return Prepared(tuple(chunks), texts, tuple(terms), tuple(sentences))

    def words(self, title: str, chunk: Chunk) -> Mapping[str, int]:
        """The words that a chunk is found by, and how often each stands there."""
        return self._analyzer.analyze(search_text(title, chunk))

    def embed(
        self, documents: Sequence[Prepared], *, on_chunks: Callable[[int], None] = lambda _: None
    ) -> list[list[EmbeddedChunk]]:
        """The documents' chunks with their vectors. Small documents share calls; `on_chunks` is told of each call.

        Raises:
            EmbeddingUnavailable: the embedding server does not answer.
        """
        texts = [text for document in documents for text in document.search_texts]
        # Half precision is what the index stores; of a large document nothing more is kept meanwhile.
        vectors: list[np.ndarray] = []
        for at in range(0, len(texts), EMBED_TOGETHER):
            batch = self._embedding.embed_passages(texts[at : at + EMBED_TOGETHER])
            vectors.extend(batch.astype(np.float16))
            on_chunks(len(batch))
        taken = iter(vectors)
        return [document.with_vectors([next(taken) for _ in range(len(document))]) for document in documents]


def chunking(chunk_tokens: int) -> str:
    """How documents are cut, for the index manifest."""
    return f"chunker {CHUNKER_VERSION}, {chunk_tokens} tokens"


def search_text(title: str, chunk: Chunk) -> str:
    """What is searched for a chunk."""
    return joined(chunk.text, title=title, heading=chunk.heading, table_header=chunk.table_header)
