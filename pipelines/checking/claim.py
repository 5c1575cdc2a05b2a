"""What the checker says about one sentence of an answer: a verdict, why, and the passage sentence it was held against.

Knows nothing about how a verdict is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Verdict = Literal["supported", "unsupported", "uncited", "smalltalk"]
Kind = Literal[
    "number",
    "unit",
    "date",
    "time",
    "name",
    "word",
    "negation",
    "opposite",
    "roles",
    "quantifier",
    "similarity",
    "judge",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that speaks against a claim. `claimed`: what the claim says; `found`: what the passage says there, or ""."""

    kind: Kind
    claimed: str
    found: str = ""


@dataclass(frozen=True, slots=True)
class Aligned:
    """The passage sentence(s) that a claim was held against: `evidence.text[start:end]` of the passage `chunk_id`.

    `n`: its footnote number in the answer, 0 where the claim does not cite it.
    """

    chunk_id: str
    n: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence, list item, table row or heading of an answer.

    `text`: without footnotes and Markdown signs. `start`, `end`: its span in the answer, its footnotes included.
    `score`: probability of support, 0..1, of a small model; good for "check this", never proof. `soft`: supported by the
    rules, but the score is low enough that a reader should look. `by`: "rules" or "llm".
    """

    text: str
    start: int
    end: int
    cited: tuple[int, ...]
    verdict: Verdict
    reasons: tuple[Finding, ...] = ()
    score: float = 0.0
    aligned: Aligned | None = None
    soft: bool = False
    by: str = "rules"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "cited": list(self.cited), "reasons": [asdict(reason) for reason in self.reasons]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Claim:
        """Raises: KeyError, TypeError, where `data` is no claim."""
        claim = cls(**data)
        return replace(
            claim,
            cited=tuple(data["cited"]),
            reasons=tuple(Finding(**reason) for reason in data["reasons"]),
            aligned=Aligned(**data["aligned"]) if data.get("aligned") else None,
        )
