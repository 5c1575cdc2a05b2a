"""What a turn of the conversation tells while it happens. One type, every face: page, API, terminal.

Order: Started, Searching, Found, ToolCalled…, Token…, Checked where claims were checked, Answered where related questions
are still looked for, then exactly one of Done or Failed. `Failed` may come at any moment before Answered; what was streamed
before it stays true and is stored as interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from knowledge.types import Citation, Evidence
from pipelines.checking.claim import Claim

Status = Literal["pending", "complete", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer, as stored. `answer` is Markdown with `[n]`; every n is in `citations`.

    `retrieved`: everything the search found, in rank order, cited or not. `refused`: the documents do not carry an
    answer. `claims`: the answer's sentences, each held against what it cites; none where that is off or was not reached.
    `related`: questions to ask next, each of which the documents answer.
    `llm`: who answered ("quote mode" or a model's name). `timings`: milliseconds since the question came (search_ms,
    first_token_ms, total_ms). `ts`: seconds since the epoch.
    """

    turn_id: str
    session_id: str
    ts: float
    question: str
    search_query: str = ""
    answer: str = ""
    status: Status = "pending"
    refused: bool = False
    citations: tuple[Citation, ...] = ()
    retrieved: tuple[Evidence, ...] = ()
    dropped_citations: int = 0
    claims: tuple[Claim, ...] = ()
    related: tuple[str, ...] = ()
    llm: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    usage: Mapping[str, int] = field(default_factory=dict)
    error: str = ""  # code of the error that failed or interrupted it

    def to_dict(self) -> dict[str, Any]:
        return {
            "turn_id": self.turn_id,
            "session_id": self.session_id,
            "ts": self.ts,
            "question": self.question,
            "search_query": self.search_query,
            "answer": self.answer,
            "status": self.status,
            "refused": self.refused,
            "citations": [citation.to_dict() for citation in self.citations],
            "retrieved": [evidence.to_dict() for evidence in self.retrieved],
            "dropped_citations": self.dropped_citations,
            "claims": [claim.to_dict() for claim in self.claims],
            "related": list(self.related),
            "llm": self.llm,
            "timings": dict(self.timings),
            "usage": dict(self.usage),
            "error": self.error,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Turn:
        return cls(
            **{
                **data,
                "citations": tuple(Citation.from_dict(item) for item in data["citations"]),
                "retrieved": tuple(Evidence.from_dict(item) for item in data["retrieved"]),
                "claims": tuple(Claim.from_dict(item) for item in data.get("claims", ())),
                "related": tuple(data.get("related", ())),
            }
        )


@dataclass(frozen=True, slots=True)
class Started:
    session_id: str
    turn_id: str


@dataclass(frozen=True, slots=True)
class Searching:
    """`query` is what is searched for: the question, rewritten with the history where it is a follow-up."""

    query: str


@dataclass(frozen=True, slots=True)
class Found:
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A tool was asked. `evidence`: its result, which is in `Turn.retrieved` from now on. `failure`: why nothing came of
    it (a reason of pipelines/tools), else "". `stale`: an older result stands in for one that could not be had."""

    tool: str
    arguments: Mapping[str, Any]
    evidence: Evidence | None = None
    cached: bool = False
    stale: bool = False
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """Answer text to append. Citation markers come whole (`[1]`), and only those that exist."""

    text: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Every sentence of the answer, held against what it cites."""

    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer is whole and stored, with footnotes and claims; related questions may still come with `Done`."""

    turn: Turn
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """`notice`: code of something the user must know although it worked ("history_off"), else ""."""

    turn: Turn
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """`code` as in knowledge.errors; `message` is safe to show; `turn` holds what was streamed, if anything was."""

    code: str
    message: str
    hint: str
    request_id: str
    retryable: bool = False
    turn: Turn | None = None
    reason: str = ""  # which kind of that error, where it has kinds


Event = Started | Searching | Found | ToolCalled | Token | Checked | Answered | Done | Failed
