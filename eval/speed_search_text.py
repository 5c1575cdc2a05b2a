"""Synthetic chunks that are like real ones, as many as wanted: real sentences put together anew, with other names in them.

Text: a synthetic document draws on a few real ones and each of its chunks on runs of their sentences, a third of which
are taken from anywhere; so words that go together stay together. Numbers and the rarest words are slots. A document has
a world, and from world 1 on its slots hold the front of one real rare word and the end of another: the vocabulary grows
as that of real text does (about with the square root of its size), common words keep their share of all chunks, rare
ones become rarer. Words: each sentence goes through the app's analyser once, without its slots, and each filling once.
Vectors: the real embeddings of the sentences, mean by length, with noise of a document and of a chunk (differences of
real embeddings, so that it spreads in the same directions as they do), normalised; they are not the embedding of the
very text. Knows nothing about databases.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from knowledge.lexemes import Analyzer, language_of
from knowledge.sentences import sentence_spans
from knowledge.store import EmbeddedChunk
from knowledge.terms import TermVector, term_vectors
from knowledge.types import Chunk, Document, Place

CHUNKS_A_DOCUMENT = 100
COLLECTION = "speed"
_SOURCES_A_DOCUMENT = 4
_ELSEWHERE = 1 / 3
_CHUNK_CHARS = {"ko": 420, "en": 800}  # about 256 tokens
_RARE_DOCUMENTS = 1  # a word in so many of the real documents is a slot
_WORLD_EXPONENT = 2.0  # of n documents, n ** (1 / 2) or so are the most that share a world
_DOCUMENT_NOISE, _CHUNK_NOISE = 0.35, 0.25  # shares of the difference between two unrelated sentences
_MADE = "2"  # goes up with every change of what is made of the same texts
_MIN_CHARS, _MAX_CHARS = 12, 400
_PIECES = re.compile(r"\S+|\s+")
_WORD = re.compile(r"[가-힣]{3,10}|[A-Za-z]{4,20}")
_DIGITS = re.compile(r"\d")

Filled = tuple[Document, list[EmbeddedChunk]]


@dataclass(frozen=True, slots=True)
class Sentence:
    """`pieces`: words and white space; those at `slots` may be replaced. `lexemes`: of all the other pieces."""

    pieces: tuple[str, ...]
    slots: tuple[int, ...]
    lexemes: Mapping[str, int]
    chars: int


@dataclass(frozen=True, slots=True)
class Pool:
    """`documents`: of each real document its language and where its sentences begin and end. `vectors`: float32
    (sentences, dimension), normalised. `fillings`: the words that slots hold in the real text."""

    sentences: tuple[Sentence, ...]
    documents: tuple[tuple[str, int, int], ...]
    vectors: np.ndarray
    fillings: Mapping[str, tuple[str, ...]]
    name: str


def make_pool(
    texts: Sequence[str], *, analyzer: Analyzer, embed: Callable[[Sequence[str]], np.ndarray], most_sentences: int
) -> Pool:
    """`texts`: real documents. Of large ones the first sentences are taken, an equal share each."""
    cut = [_sentences(text) for text in texts]
    share = max(3, most_sentences // max(1, len(cut)))
    cut = [some[:share] for some in cut if some][: max(1, most_sentences // 3)]
    words = Counter(chain.from_iterable({word for text in some for word in text.split()} for some in cut))
    shapes: list[tuple[tuple[str, ...], tuple[int, ...]]] = []
    documents: list[tuple[str, int, int]] = []
    for some in cut:
        documents.append((_language(some), len(shapes), len(shapes) + len(some)))
        shapes += [_shape(text, words) for text in some]
    kept = [" ".join(p for i, p in enumerate(pieces) if i not in slots) for pieces, slots in shapes]
    lexemes = analyzer.analyze_many(kept)
    sentences = tuple(
        Sentence(pieces, slots, found, sum(map(len, pieces)))
        for (pieces, slots), found in zip(shapes, lexemes, strict=True)
    )
    fillings: dict[str, dict[str, None]] = {"ko": {}, "en": {}}
    for pieces, slots in shapes:
        for slot in slots:
            if _WORD.fullmatch(pieces[slot]):
                fillings[_script(pieces[slot])][pieces[slot]] = None
    whole = ["".join(pieces) for pieces, _ in shapes]
    digest = hashlib.sha256("\n".join([_MADE, *whole]).encode()).hexdigest()[:12]
    return Pool(
        sentences, tuple(documents), embed(whole), {script: tuple(found) for script, found in fillings.items()}, digest
    )


def _sentences(text: str) -> list[str]:
    found = (" ".join(text[start:end].split()) for start, end in sentence_spans(text))
    return [sentence for sentence in found if _MIN_CHARS <= len(sentence) <= _MAX_CHARS]


def _language(sentences: Sequence[str]) -> str:
    return "ko" if language_of(" ".join(sentences)) == "ko" else "en"


def _shape(text: str, documents_of: Mapping[str, int]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    pieces = tuple(_PIECES.findall(text))
    slots = tuple(i for i, piece in enumerate(pieces) if _is_slot(piece, documents_of))
    return pieces, slots


def _is_slot(piece: str, documents_of: Mapping[str, int]) -> bool:
    if _DIGITS.search(piece):
        return True
    return bool(_WORD.fullmatch(piece)) and documents_of[piece] <= _RARE_DOCUMENTS


def _script(word: str) -> str:
    return "en" if word[0].isascii() else "ko"


class Maker:
    """Makes documents out of a pool; number `n` is always the same one."""

    def __init__(self, pool: Pool, analyzer: Analyzer) -> None:
        self._pool = pool
        self._analyzer = analyzer
        self._lexemes: dict[str, Counter[str]] = {}
        self._by_language = {
            language: [item for item in pool.documents if item[0] == language]
            for language in {item[0] for item in pool.documents}
        }

    def documents(self, first: int, last: int) -> Iterator[Filled]:
        """Numbers `first` to `last` - 1, `CHUNKS_A_DOCUMENT` chunks each."""
        for number in range(first, last):
            yield self._document(number)

    def _document(self, number: int) -> Filled:
        rng = np.random.default_rng((7, number))
        pool = self._pool
        language, *_ = pool.documents[int(rng.integers(len(pool.documents)))]
        same = self._by_language[language]
        sources = [same[i] for i in rng.integers(len(same), size=_SOURCES_A_DOCUMENT)]
        world = int(min(rng.random() ** -_WORLD_EXPONENT, 2**40)) - 1
        texts, picked = [], []
        for _ in range(CHUNKS_A_DOCUMENT):
            indexes = self._pick(rng, sources, same, limit=int(_CHUNK_CHARS[language] * rng.uniform(0.5, 1.1)))
            picked.append(indexes)
            texts.append([self._filled(pool.sentences[i], world, rng) for i in indexes])
        self._analyse(chain.from_iterable(words for chunk in texts for _, words in chunk))
        terms = term_vectors([self._words(chunk, indexes) for chunk, indexes in zip(texts, picked, strict=True)])
        vectors = self._vectors(rng, picked)
        return _as_document(number, [" ".join(text for text, _ in chunk) for chunk in texts], vectors, terms, language)

    def _pick(
        self,
        rng: np.random.Generator,
        sources: Sequence[tuple[str, int, int]],
        same: Sequence[tuple[str, int, int]],
        *,
        limit: int,
    ) -> list[int]:
        """Sentences of a chunk: a run of one source, some of them replaced by others of the language."""
        _, start, end = sources[int(rng.integers(len(sources)))]
        at, chars, picked = int(rng.integers(start, end)), 0, []
        while chars < limit:
            index = at
            if rng.random() < _ELSEWHERE:
                _, low, high = same[int(rng.integers(len(same)))]
                index = int(rng.integers(low, high))
            picked.append(index)
            chars += self._pool.sentences[index].chars + 1
            at += 1
            if at == end:
                _, at, end = sources[int(rng.integers(len(sources)))]
        return picked

    def _filled(self, sentence: Sentence, world: int, rng: np.random.Generator) -> tuple[str, list[str]]:
        """The sentence as text, and what its slots hold."""
        if not sentence.slots:
            return "".join(sentence.pieces), []
        pieces, held = list(sentence.pieces), []
        for slot in sentence.slots:
            pieces[slot] = self._filling(pieces[slot], world, rng)
            held.append(pieces[slot])
        return "".join(pieces), held

    def _filling(self, word: str, world: int, rng: np.random.Generator) -> str:
        if world == 0:
            return word
        if not _WORD.fullmatch(word):
            digits = iter(rng.integers(0, 10, size=len(word)).tolist())
            return _DIGITS.sub(lambda _: str(next(digits)), word)
        others = self._pool.fillings[_script(word)]
        other = others[_number(word, world) % len(others)] if len(others) > 1 else word
        return other[: (len(other) + 1) // 2] + word[len(word) // 2 :]

    def _analyse(self, words: Iterator[str]) -> None:
        if len(self._lexemes) > 500_000:
            self._lexemes.clear()
        new = list({word for word in words if word not in self._lexemes})
        self._lexemes.update(zip(new, self._analyzer.analyze_many(new), strict=True))

    def _words(self, chunk: Sequence[tuple[str, list[str]]], indexes: Sequence[int]) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        of_sentences = (self._pool.sentences[index].lexemes for index in indexes)
        of_slots = (self._lexemes[word] for _, held in chunk for word in held)
        for found in chain(of_sentences, of_slots):
            for word, count in found.items():
                counts[word] = counts.get(word, 0) + count
        return counts

    def _vectors(self, rng: np.random.Generator, picked: Sequence[Sequence[int]]) -> np.ndarray:
        """float16 (chunks, dimension), normalised."""
        pool = self._pool
        lengths = [np.array([pool.sentences[i].chars for i in indexes], np.float32) for indexes in picked]
        means = np.stack(
            [(size / size.sum()) @ pool.vectors[indexes] for size, indexes in zip(lengths, picked, strict=True)]
        )
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        ends = rng.integers(len(pool.vectors), size=(2, len(picked) + 1))
        noise = pool.vectors[ends[0]] - pool.vectors[ends[1]]
        vectors = means + _DOCUMENT_NOISE * noise[0] + _CHUNK_NOISE * noise[1:]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors, np.float16)


def _number(word: str, world: int) -> int:
    """The same in every process, as `hash` is not."""
    return zlib.crc32(f"{word}\0{world}".encode())


def _as_document(
    number: int, texts: Sequence[str], vectors: np.ndarray, terms: Sequence[TermVector], language: str
) -> Filled:
    chunks, at = [], 0
    for ordinal, (text, vector, words) in enumerate(zip(texts, vectors, terms, strict=True)):
        chunk = Chunk(ordinal, at, at + len(text), text, (f"{ordinal // 5}",), Place(page=1 + ordinal // 3))
        chunks.append(EmbeddedChunk(chunk, vector, words, language))
        at += len(text) + 1
    text = " ".join(texts)
    data = text.encode()
    digest = hashlib.sha256(data).hexdigest()
    path = f"{number}.md"
    return Document(COLLECTION, path, f"/{path}", digest, len(data), f"{number}", text, language), chunks
