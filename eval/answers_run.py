"""Asks the running app each question in a conversation of its own, and notes what came of it.

Entailment is what the app's own claim checker says, by its rules. Knows nothing about averages, nor how the app was made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from eval.answers_metrics import CitationScores, citation_scores, overlap_f1
from eval.answers_sets import Case
from eval.quotes_answers import holds_answer
from knowledge.errors import GakjuError
from pipelines.checking import RuleChecker
from pipelines.checking.claim import Claim
from pipelines.citations import without_markers
from pipelines.events import Done, Failed, Turn
from pipelines.llm import VllmChat
from pipelines.service import ChatService

_OWNER = "evaluation"
_FAILURES_IN_A_ROW = 3  # then the rest would fail as well


@dataclass(frozen=True, slots=True)
class Row:
    """One question and its answer. `failed`: code of the error, else "". `citations`: None where nothing was answered.

    `claims`, `supported`: sentences with a claim, and those of them that the app says are supported. `cited`, `gold`:
    passages with a footnote, and those of them that are gold passages. `contained`, `f1`: None where no answer is known.
    """

    id: str
    language: str
    is_answerable: bool
    refused: bool
    failed: str = ""
    answer: str = ""
    llm: str = ""
    citations: CitationScores | None = None
    claims: int = 0
    supported: int = 0
    uncited: int = 0
    cited: int = 0
    gold: int = 0
    is_gold_retrieved: bool = False
    unknown_numbers: int = 0
    contained: bool | None = None
    f1: float | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_answered(self) -> bool:
        return not (self.refused or self.failed)


def ask_all(
    service: ChatService, cases: Sequence[Case], checker: RuleChecker, told: Callable[[int], None]
) -> list[Row]:
    """`told`: is called with how many were asked.

    Raises:
        GakjuError: several questions in a row failed.
    """

    async def run() -> list[Row]:
        try:
            await _last_event(service, cases[0].text)  # what is loaded with the first question is not timed
            return await _ask_all(service, cases, checker, told)
        finally:
            if isinstance(service.parts.llm, VllmChat):
                await service.parts.llm.aclose()

    return asyncio.run(run())


async def _ask_all(
    service: ChatService, cases: Sequence[Case], checker: RuleChecker, told: Callable[[int], None]
) -> list[Row]:
    rows: list[Row] = []
    failures = 0
    for number, case in enumerate(cases, start=1):
        last = await _last_event(service, case.text)
        failures = failures + 1 if isinstance(last, Failed) else 0
        if isinstance(last, Failed) and failures == min(_FAILURES_IN_A_ROW, len(cases)):
            raise GakjuError(f"{failures} questions in a row failed: {last.message}", hint=last.hint)
        rows.append(to_row(case, last, checker))
        told(number)
    return rows


async def _last_event(service: ChatService, question: str) -> Done | Failed:
    session = await service.new_session(owner=_OWNER)
    found: Done | Failed | None = None
    async for event in service.turn(question, session_id=session, owner=_OWNER):
        if isinstance(event, Done | Failed):
            found = event
    assert found is not None  # every turn ends with one of them
    return found


def to_row(case: Case, last: Done | Failed, checker: RuleChecker) -> Row:
    """A turn that failed is neither an answer nor a refusal, whatever was streamed."""
    turn = last.turn
    failed = last.code if isinstance(last, Failed) else ""
    if failed or turn is None or turn.refused:
        known = bool(case.answers) or None
        return Row(
            case.id,
            case.language,
            case.is_answerable,
            refused=turn is not None and turn.refused and not failed,
            failed=failed,
            answer=turn.answer if turn else "",
            llm=turn.llm if turn else "",
            is_gold_retrieved=turn is not None and any(map(case.is_right, turn.retrieved)),
            contained=False if known else None,
            f1=0.0 if known else None,
            timings_ms=dict(turn.timings) if turn else {},
        )
    return _answered(case, turn, checker)


def _answered(case: Case, turn: Turn, checker: RuleChecker) -> Row:
    judged = Judged(turn, checker)
    said = [claim for claim in turn.claims or judged.whole if claim.verdict != "smalltalk"]
    text = without_markers(turn.answer)
    return Row(
        case.id,
        case.language,
        case.is_answerable,
        refused=False,
        answer=turn.answer,
        llm=turn.llm,
        citations=judged.scores(),
        claims=len(said),
        supported=sum(claim.verdict == "supported" for claim in said),
        uncited=sum(claim.verdict == "uncited" for claim in said),
        cited=len(turn.citations),
        gold=sum(case.is_right(citation.evidence) for citation in turn.citations),
        is_gold_retrieved=any(map(case.is_right, turn.retrieved)),
        unknown_numbers=turn.dropped_citations,
        contained=holds_answer(text, case.answers) if case.answers else None,
        f1=overlap_f1(text, case.answers, language=case.language) if case.answers else None,
        timings_ms=dict(turn.timings),
    )


class Judged:
    """The sentences of an answer, held against any part of what they cite. `whole`: against all of it."""

    def __init__(self, turn: Turn, checker: RuleChecker) -> None:
        self._turn, self._checker = turn, checker
        self._claims: dict[frozenset[int], Sequence[Claim]] = {}
        self.whole = self._against(frozenset(citation.n for citation in turn.citations))

    def scores(self) -> CitationScores | None:
        places = [i for i, claim in enumerate(self.whole) if claim.verdict != "smalltalk"]
        return citation_scores(
            [self.whole[i].cited for i in places],
            lambda i, numbers: self._against(numbers)[places[i]].verdict == "supported",
        )

    def _against(self, numbers: frozenset[int]) -> Sequence[Claim]:
        """The same sentences in the same order, as if only these footnotes could be opened."""
        if numbers not in self._claims:
            some = [citation for citation in self._turn.citations if citation.n in numbers]
            self._claims[numbers] = self._checker.check(self._turn.answer, (), some)
        return self._claims[numbers]
