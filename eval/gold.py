"""The small question set that ships, over the documents that ship: does the whole way through still work?

    python -m eval gold [--verbose]

Prints how often the passage is found, whether the answer (of whatever LLM_BASE_URL says, quote mode by default) holds
the expected words and cites their document, and how often an unanswerable question is refused. The questions were
written together with the documents: a smoke test, not a measure of search.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from knowledge.types import Evidence
from pipelines.events import Done, Turn
from pipelines.service import ChatService
from settings import Settings, load_settings
from wiring import ingest_quietly, open_index, open_service

QUESTIONS = Path(__file__).parent / "gold" / "questions.jsonl"


@dataclass(frozen=True, slots=True)
class GoldQuestion:
    """`documents` and `contains` are alternatives: a passage of any of them with any of the strings is right."""

    id: str
    question: str
    language: str
    answerable: bool
    documents: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """`rank`: of the first right passage, from 1; None if it was not found."""

    question: GoldQuestion
    turn: Turn
    rank: int | None
    answered: bool
    cited: bool


def load_questions() -> list[GoldQuestion]:
    rows = (json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines())
    return [
        GoldQuestion(
            **{**row, "documents": tuple(row.get("documents", ())), "contains": tuple(row.get("contains", ()))}
        )
        for row in rows
    ]


async def ask_all(service: ChatService, questions: Sequence[GoldQuestion]) -> list[Outcome]:
    return [await _ask(service, question) for question in questions]


async def _ask(service: ChatService, question: GoldQuestion) -> Outcome:
    events = [event async for event in service.turn(question.question)]
    last = events[-1]
    if not isinstance(last, Done):
        raise RuntimeError(f"{question.id}: {last}")
    turn = last.turn
    rank = next((item.rank for item in turn.retrieved if _is_right(item, question)), None)
    return Outcome(
        question,
        turn,
        rank,
        answered=any(_folded(text) in _folded(turn.answer) for text in question.contains),
        cited=any(_is_right(item.evidence, question) for item in turn.citations),
    )


def _is_right(evidence: Evidence, question: GoldQuestion) -> bool:
    return evidence.path in question.documents and any(
        _folded(text) in _folded(evidence.text) for text in question.contains
    )


def _folded(text: str) -> str:
    return "".join(text.split()).casefold()


def summarise(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Shares, 0..1: `hit@1`, `hit@6`, `answered` and `cited` of the answerable, `refused` of the others; false refusals
    of the answerable as `wrongly_refused`."""
    yes = [item for item in outcomes if item.question.answerable]
    no = [item for item in outcomes if not item.question.answerable]
    return {
        "hit@1": sum(item.rank == 1 for item in yes) / len(yes),
        "hit@6": sum(item.rank is not None for item in yes) / len(yes),
        "answered": sum(item.answered for item in yes) / len(yes),
        "cited": sum(item.cited for item in yes) / len(yes),
        "wrongly_refused": sum(item.turn.refused for item in yes) / len(yes),
        "refused": sum(item.turn.refused for item in no) / len(no),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval gold", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--verbose", action="store_true", help="show every question that went wrong")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        settings = load_settings(data_dir=Path(scratch), database_url="", redis_url="")
        outcomes = run(settings)
    for item in outcomes:
        wrong = not item.cited if item.question.answerable else not item.turn.refused
        if arguments.verbose and wrong:
            print(f"{item.question.id} {item.question.question}\n    rank {item.rank}: {item.turn.answer[:300]!r}")
    for name, share in summarise(outcomes).items():
        print(f"{name:16} {share:6.1%}")
    return 0


def run(settings: Settings) -> list[Outcome]:
    with open_index(settings) as index:
        ingest_quietly(settings, index, [settings.knowledge_dir])
        with open_service(settings, index) as service:
            return asyncio.run(ask_all(service, load_questions()))


if __name__ == "__main__":
    sys.exit(main())
