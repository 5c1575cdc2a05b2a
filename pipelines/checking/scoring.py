"""The score of a claim: a small logistic model over what it shares with its source and what speaks against it.

Its weights stand in weights.json, fitted by `python -m eval checker --fit --write`. It sees words, not meaning: a
paraphrase in other words scores low, and a false claim in the source's own words scores high. Knows no verdicts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.checking.claim import Finding
from pipelines.checking.opposites import absolute_words
from pipelines.checking.rules import Reading
from pipelines.checking.sources import Window, tokens_of

WEIGHTS_FILE = Path(__file__).with_name("weights.json")
FEATURES_VERSION = 2


@dataclass(frozen=True, slots=True)
class Model:
    """score = 1 / (1 + exp(-(bias + Σ weight·feature))). `unsupported`: below it a claim is; `soft`: "check this"."""

    bias: float
    weights: Mapping[str, float]
    unsupported: float
    soft: float

    def score(self, features: Mapping[str, float]) -> float:
        logit = self.bias + sum(weight * features[name] for name, weight in self.weights.items())
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))


@dataclass(frozen=True, slots=True)
class Models:
    """`words`: without an embedding; `meaning`: with the embedding of that name."""

    words: Model
    meaning: Model
    embedding: str

    @classmethod
    def load(cls, file: Path = WEIGHTS_FILE) -> Models:
        """Raises: ValueError, where the file was fitted for other features."""
        data = json.loads(file.read_text(encoding="utf-8"))
        if data["version"] != FEATURES_VERSION:
            raise ValueError(f"{file.name} is of version {data['version']}: run `python -m eval checker --fit --write`")
        return cls(Model(**data["words"]), Model(**data["meaning"]), data["embedding"])


def features_of(claim: Reading, told: Reading, window: Window, found: Sequence[Finding]) -> dict[str, float]:
    """All between 0 and about 3. `told`: the window with its context."""
    ours, theirs = claim.words, told.words
    letters = "".join(told.text.split())
    kinds = [finding.kind for finding in found]
    nouns = _missing(ours.nouns, theirs.told, letters)
    predicates = _missing(ours.predicates, theirs.told, "")
    wanted, near = tokens_of(claim.text), tokens_of(window.text)
    compact = "".join(claim.text.split())
    return {
        "stems": 1 - (len(nouns) + len(predicates)) / max(len(ours.nouns) + len(ours.predicates), 1),
        "tokens": len(wanted & near) / max(len(wanted), 1),
        "reverse": len(wanted & near) / max(len(near), 1),
        "covered": window.covered,
        "new_nouns": min(len(nouns), 5) / 2,
        "new_predicates": min(len(predicates), 4) / 2,
        "all_new": float(not wanted & near),
        "run": _longest_run(compact, letters) / max(len(compact), 1),
        "number": float("number" in kinds or "unit" in kinds),
        "date": float("date" in kinds or "time" in kinds),
        "name": float("name" in kinds),
        "word": float("word" in kinds),
        "flipped": float(any(f.kind == "negation" and f.found for f in found)),
        "negated": float(any(f.kind == "negation" and not f.found for f in found)),
        "unnegated": float(bool(theirs.negated) and not ours.negated),
        "opposite": float("opposite" in kinds),
        "roles": float("roles" in kinds),
        "quantifier": float("quantifier" in kinds),
        "absolute": min(absolute_words(claim.text, told.text), 2),
        "length": math.log(1 + len(wanted)) / 2,
        "other_language": float(claim.language != told.language),
    }


def _missing(stems: Sequence[str], told: Mapping[str, object], letters: str) -> list[str]:
    return [word for word in dict.fromkeys(stems) if word not in told and not (len(word) > 1 and word in letters)]


def _longest_run(a: str, b: str) -> int:
    """Length of the longest common substring, by doubling then halving the length: common pieces of it are monotone."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        pieces = {a[i : i + middle] for i in range(len(a) - middle + 1)}
        if any(b[i : i + middle] in pieces for i in range(len(b) - middle + 1)):
            low = middle
        else:
            high = middle - 1
    return low
