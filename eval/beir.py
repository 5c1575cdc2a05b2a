"""Question sets in BEIR's layout: corpus.jsonl, queries.jsonl, qrels.tsv; and putting one into an index of its own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knowledge.embedding import GakjuEmbedding
from knowledge.lexemes import Analyzer, language_of
from knowledge.store import EmbeddedChunk, IndexStore
from knowledge.types import Chunk, Document

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Passage:
    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """`relevant`: ids of the passages that answer it; empty if none does."""

    id: str
    text: str
    relevant: frozenset[str]


@dataclass(frozen=True, slots=True)
class QuestionSet:
    name: str
    passages: tuple[Passage, ...]
    questions: tuple[Question, ...]


def load(folder: Path) -> QuestionSet:
    """The set in `folder`; questions labelled unanswerable are left out.

    Raises:
        OSError, ValueError: it is not such a folder.
    """
    relevant: dict[str, set[str]] = defaultdict(set)
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query_id, passage_id, score = line.split("\t")
        if float(score) > 0:
            relevant[query_id].add(passage_id)
    passages = tuple(Passage(row["_id"], row.get("title") or "", row["text"]) for row in _rows(folder / "corpus.jsonl"))
    questions = tuple(
        Question(row["_id"], row["text"], frozenset(relevant[row["_id"]]))
        for row in _rows(folder / "queries.jsonl")
        if relevant[row["_id"]] and row.get("meta", {}).get("answerable", True)
    )
    return QuestionSet(folder.name, passages, questions)


def store_set(data: QuestionSet, store: IndexStore, *, embedding: GakjuEmbedding, analyzer: Analyzer) -> None:
    """Put every passage into the collection named like the set, one chunk a passage; what is there is kept."""
    known = store.versions(data.name)
    missing: Sequence[Passage] = [passage for passage in data.passages if passage.id not in known]
    for at in range(0, len(missing), _BATCH):
        batch = missing[at : at + _BATCH]
        texts = [f"{passage.title}\n{passage.text}" for passage in batch]
        for passage, text, vector in zip(batch, texts, embedding.embed_passages(texts), strict=True):
            document = Document(
                collection=data.name,
                path=passage.id,
                origin=passage.id,
                content_hash=passage.id,
                size_bytes=len(passage.text),
                title=passage.title,
                text=passage.text,
                language=language_of(passage.text),
            )
            chunk = Chunk(0, 0, len(passage.text), passage.text)
            item = EmbeddedChunk(chunk, vector, analyzer.analyze(text), document.language)
            store.replace(document, [item], reading="whole passage")


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
