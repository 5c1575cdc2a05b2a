"""Whether what was found can carry an answer at all. It refuses the hopeless; the answerer refuses near misses.

A logistic model over the best cosine similarity and the share of the question's word weight that one passage covers.
Its numbers stand in gate.json, fitted by `python -m eval fit_gate` on development questions with and without their
passage; cosine alone separates far worse (no fixed threshold holds across collections).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from knowledge.search import Found

GATE_FILE = Path(__file__).with_name("gate.json")


@dataclass(frozen=True, slots=True)
class Gate:
    """`probability` = 1 / (1 + exp(-(bias + meaning·cosine + words·share))); below `threshold` is a refusal."""

    bias: float
    meaning: float
    words: float
    threshold: float
    embedding: str  # the embedding it was fitted with: cosine scales differ from model to model

    @classmethod
    def load(cls, embedding: str, file: Path = GATE_FILE) -> Gate:
        """The fitted gate, or for another embedding one that lets everything through."""
        gate = cls(**json.loads(file.read_text(encoding="utf-8")))
        return gate if gate.embedding == embedding else OPEN

    def passes(self, found: Found) -> bool:
        return bool(found.evidence) and self.probability(found) >= self.threshold

    def probability(self, found: Found) -> float:
        return 1 / (1 + math.exp(-(self.bias + self.meaning * found.cosine + self.words * found.words_share)))


# Every embedding's cosine means something else: without a fit, only the answerer refuses.
OPEN = Gate(bias=0.0, meaning=0.0, words=1.0, threshold=0.0, embedding="")
