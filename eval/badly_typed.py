"""The questions that ship as people type them: without spaces, with slips, on the wrong keyboard, in English words.

    python -m eval badly_typed [--json FILE] [--data-dir DIR] [--verbose]

Each names the question that was meant, and where its answer stands, as eval/gold/README.md says of the gold questions.
All are asked of the documents that ship, in a throw-away index: by words alone and by both legs, taken as they stand and
read as meant (knowledge/variants.py), and well typed. Prints Recall@1 / Recall@5 as in eval/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.bench import Bench, index_with, open_bench
from eval.facts import commit_name, load_average, machine_name, must_be_writable, now, write_json
from eval.frame import OK, run_in_frame
from eval.retrieval_index import EvalIndex
from eval.retrieval_sets import gold_set
from knowledge.search import Searcher
from knowledge.types import Evidence
from knowledge.variants import QueryWords, Reading
from knowledge.vocabulary import Vocabulary

QUESTIONS = Path(__file__).parent / "gold" / "badly_typed.jsonl"
LEGS = ("words", "both")
_TOP_K = 10

Search = Callable[[str], Sequence[Evidence]]
Ranks = Mapping[str, int | None]  # question's id → rank of the first passage that answers it, from 1; None: not found


@dataclass(frozen=True, slots=True)
class BadlyTyped:
    """`kind`: what is wrong with it, such as "spacing" or "keyboard". `meant`: the same question, well typed."""

    id: str
    kind: str
    question: str
    meant: str
    documents: tuple[str, ...]
    contains: tuple[str, ...]

    def is_answered_by(self, evidence: Evidence) -> bool:
        text = _folded(evidence.text)
        return evidence.path in self.documents and any(_folded(key) in text for key in self.contains)


def load_badly_typed() -> list[BadlyTyped]:
    rows = (json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines())
    return [
        BadlyTyped(**{**row, "documents": tuple(row["documents"]), "contains": tuple(row["contains"])}) for row in rows
    ]


def ranks(questions: Sequence[BadlyTyped], search: Search, *, well_typed: bool = False) -> Ranks:
    found: dict[str, int | None] = {}
    for question in questions:
        evidence = search(question.meant if well_typed else question.question)
        found[question.id] = next((item.rank for item in evidence if question.is_answered_by(item)), None)
    return found


def recall(found: Ranks, at: int) -> float:
    """The share of questions whose answer is among the first `at`, 0..1."""
    return sum(rank is not None and rank <= at for rank in found.values()) / len(found)


def _folded(text: str) -> str:
    return "".join(text.split()).casefold()


def searches(bench: Bench, index: EvalIndex, *, is_read: bool) -> dict[str, Search]:
    """By leg. `is_read`: the question as it was probably meant; else its words as they stand."""
    store = index.store
    searcher = Searcher(store.db, store.generation)
    words = QueryWords(bench.analyzer, Vocabulary(store.db, store.generation))

    def reading(question: str) -> Reading:
        if is_read:
            return words.read(question)
        own = dict.fromkeys(bench.analyzer.analyze(question), 1.0)
        return Reading(question, own, own)

    def by_words(question: str) -> Sequence[Evidence]:
        return searcher.search(None, reading(question).lexemes, top_k=_TOP_K).evidence

    def by_both(question: str) -> Sequence[Evidence]:
        meant = reading(question)
        vector = bench.cached.embed_query(meant.text)
        return searcher.search(vector, meant.lexemes, own=meant.own, top_k=_TOP_K).evidence

    return {"words": by_words, "both": by_both}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    return run_in_frame(lambda: _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval badly_typed", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rank of each answer there, too")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="embedded server and cache (default: thrown away, .data)"
    )
    parser.add_argument("--verbose", action="store_true", help="show what is not found among the first five")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    must_be_writable(arguments.json)
    questions = load_badly_typed()
    with open_bench(arguments.data_dir) as bench, index_with(bench, gold_set()) as index:
        as_they_stand, read = (searches(bench, index, is_read=is_read) for is_read in (False, True))
        found = {
            "as they stand": {leg: ranks(questions, as_they_stand[leg]) for leg in LEGS},
            "read as meant": {leg: ranks(questions, read[leg]) for leg in LEGS},
            "well typed": {leg: ranks(questions, read[leg], well_typed=True) for leg in LEGS},
        }
        embedding = bench.embedding.spec.name
    facts = {"at": now(), "commit": commit_name(), "machine": machine_name(), "embedding": embedding}
    print(
        f"{facts['at']}, {facts['commit']}; {facts['machine']}; load average {load_average()}. Embedding {embedding}."
    )
    print(as_table(questions, found))
    if arguments.verbose:
        for question in questions:
            if (found["read as meant"]["both"][question.id] or _TOP_K) > 5:
                print(f"{question.id} ({question.kind}) {question.question}\n    meant: {question.meant}")
    if arguments.json:
        write_json(arguments.json, facts | {"ranks": found})
    return OK


def as_table(questions: Sequence[BadlyTyped], found: Mapping[str, Mapping[str, Ranks]]) -> str:
    """Markdown: Recall@1 / Recall@5 of all, and by kind from as they stand to read as meant."""
    lines = [f"| {len(questions)} questions | {' | '.join(LEGS)} |", "|---" * (len(LEGS) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(_recalls(legs[leg], [question.id for question in questions]) for leg in LEGS)} |"
        for name, legs in found.items()
    ]
    for kind in sorted({question.kind for question in questions}):
        ids = [question.id for question in questions if question.kind == kind]
        before, after = found["as they stand"], found["read as meant"]
        cells = [f"{_recalls(before[leg], ids)} → {_recalls(after[leg], ids)}" for leg in LEGS]
        lines.append(f"| … {kind} ({len(ids)}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def _recalls(found: Ranks, ids: Sequence[str]) -> str:
    here = {key: found[key] for key in ids}
    return " / ".join(f"{recall(here, at):.2f}".removeprefix("0") for at in (1, 5))


if __name__ == "__main__":
    sys.exit(main())
