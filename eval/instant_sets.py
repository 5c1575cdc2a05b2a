"""Questions of other sets as a FAQ: stored, compared with each other. Knows nothing about what is measured with them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval.beir import SetError, json_rows
from ingest.readers import read_bytes_as
from knowledge.instant_mining import InstantRow, mine_rows
from knowledge.lexemes import Analyzer
from knowledge.store import EmbeddedChunk, IndexStore
from knowledge.terms import term_vector
from knowledge.types import Chunk, Document
from pipelines.instant import wording_of
from wiring import Index

SEED = 20261121


def foreign_questions(folder: Path) -> list[tuple[str, str]]:
    """(question, what is known of its answer), each question once.

    Raises:
        SetError: no questions there.
    """
    file = folder / "queries.jsonl"
    found: dict[str, str] = {}
    for number, row in json_rows(file):
        if not isinstance(row.get("text"), str):
            raise SetError(f'{file}, line {number}: a question needs a "text".')
        text = " ".join(row["text"].split())
        found.setdefault(text, " / ".join(sorted((row.get("meta") or {}).get("answers") or [str(row["_id"])])))
    return list(found.items())


def confusions(questions: Sequence[tuple[str, str]], analyzer: Analyzer) -> list[tuple[str, str]]:
    """Pairs of different questions with different answers that count as one."""
    buckets: defaultdict[tuple[frozenset[str], tuple[str, ...]], list[int]] = defaultdict(list)
    wordings = [wording_of(text, analyzer) for text, _ in questions]
    for at, wording in enumerate(wordings):
        letters = sorted(Counter("".join(word for word, _ in wording.items)).elements())
        buckets[(wording.asks, tuple(letters))].append(at)
    pairs = [(one, other) for group in buckets.values() for i, one in enumerate(group) for other in group[i + 1 :]]
    return [
        (questions[one][0], questions[other][0])
        for one, other in pairs
        if questions[one][1] != questions[other][1] and wordings[one].same_as(wordings[other])
    ]


def store_as_faq(index: Index, name: str, questions: Sequence[tuple[str, str]]) -> list[InstantRow]:
    """In a collection of its own; without vectors of meaning, since nothing here searches by them."""
    lines = ["question,answer", *(",".join(map(_quoted, pair)) for pair in questions)]
    data = "\n".join(lines).encode()
    parsed = read_bytes_as(data, name=f"{name}.csv")
    chance = np.random.default_rng(SEED)
    chunks: list[EmbeddedChunk] = []
    for ordinal, block in enumerate(parsed.blocks):
        text = parsed.text[block.start : block.end]
        vector = chance.normal(size=index.generation.manifest.dimension).astype(np.float32)
        chunk = Chunk(ordinal, block.start, block.end, text, block.heading, block.place)
        terms = term_vector(index.analyzer.analyze(text))
        chunks.append(EmbeddedChunk(chunk, vector / np.linalg.norm(vector), terms, "und"))
    document = Document(
        name,
        f"{name}.csv",
        f"/{name}.csv",
        hashlib.sha256(data).hexdigest(),
        len(data),
        name,
        parsed.text,
        "und",
        parsed.blocks,
    )
    IndexStore(index.db, index.generation).replace(document, chunks, reading="eval")
    return mine_rows(parsed.text, parsed.blocks, [item.chunk for item in chunks])


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'
