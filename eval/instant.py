"""Answers at once: how many questions that a FAQ or glossary holds are answered by it, and how many others it steals.

    python -m eval instant [--questions DIR …] [--sample N] [--verbose]

Asks the FAQ and the glossary that ship: the questions in gold/instant.jsonl, which were written by hand, the questions of
gold/questions.jsonl, and questions made from each row by rule (eval/instant_variants.py). DIR is a set in BEIR's layout, of
which only the questions are used: they are asked of the FAQ that ships, where none may be answered, and N of them are made a
FAQ of their own, with questions made by rule; and all are compared with each other.

`right` is the share of a kind that the right row answered, `stolen` how many another row answered, or any, where
none should have. Exit codes: 0 measured; 1 a written question was stolen or fewer than --floor of them are right.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eval.gold import load_questions
from eval.instant_sets import SEED, confusions, foreign_questions, store_as_faq
from eval.instant_variants import about_term, asks_what, different, same, typed_badly, words_of
from ingest.readers import read_bytes_as
from knowledge.filters import Filters
from knowledge.instant_keys import keys_asked, keys_of_question
from knowledge.instant_mining import InstantRow, mine_rows
from knowledge.lexemes import Analyzer
from knowledge.types import Chunk
from pipelines.instant import Instant, InstantAnswers
from settings import load_settings
from wiring import Index, ingest_quietly, open_index

WRITTEN = Path(__file__).parent / "gold" / "instant.jsonl"
FLOOR_RIGHT = 0.95  # of the written questions; none may be stolen


@dataclass(frozen=True, slots=True)
class Asked:
    """`titles`: the rows that answer it, any of them; none: no row does. `kind`: under which it is reported."""

    question: str
    titles: tuple[str, ...]
    kind: str


@dataclass(slots=True)
class Tally:
    """Of one kind. `stolen`: question and the rows that answered it wrongly."""

    asked: int = 0
    right: int = 0
    stolen: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)


def written_questions() -> list[Asked]:
    rows = [json.loads(line) for line in WRITTEN.read_text(encoding="utf-8").splitlines()]
    return [
        Asked(row["question"], (row["title"],), "written, same")
        if row["title"]
        else Asked(row["question"], (), "written, other")
        for row in rows
    ]


def ask(answers: InstantAnswers, questions: Iterable[Asked], filters: Filters | None = None) -> dict[str, Tally]:
    """Kind → what became of its questions."""
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    for item in questions:
        began = time.perf_counter()
        found = answers.find(item.question, filters)
        tally = tallies[item.kind]
        tally.times_ms.append((time.perf_counter() - began) * 1000)
        tally.asked += 1
        if found is None:
            tally.missed += [item.question] if item.titles else []
            tally.right += not item.titles
        elif set(found.titles) <= set(item.titles) or _is_itself(item, found):
            tally.right += 1
        else:
            tally.stolen.append((item.question, found.titles))
    return dict(tallies)


def _is_itself(item: Asked, found: Instant) -> bool:
    """A question made by rule may be the very question of another row."""
    if not item.kind.startswith("other: "):
        return False
    asked = set(keys_asked(item.question))
    return all(asked & set(keys_of_question(title)) for title in found.titles)


def made_questions(rows: Sequence[InstantRow], analyzer: Analyzer, *, seed: int = SEED) -> Iterator[Asked]:
    """By rule, from the rows of a FAQ or a glossary."""
    chance = random.Random(seed)  # noqa: S311
    faq = [row for row in rows if row.kind == "faq"]
    pools = {
        language: words_of([row.title for row in faq if row.language == language], analyzer)
        for language in ("ko", "en")
    }
    titles = _by_key(rows)
    for row in faq:
        own = tuple({title for key in row.keys for title in titles[key]})
        for kind, text in same(row.title, analyzer):
            yield Asked(text, own, f"same: {kind}")
        for kind, text in typed_badly(row.title, chance):
            yield Asked(text, own, f"same: {kind}")
        for kind, text in different(row.title, analyzer, pools.get(row.language, []), chance):
            yield Asked(text, (), f"other: {kind}")
    terms = [row for row in rows if row.kind == "term"]
    for row in terms:
        name = row.title.partition(" (")[0]
        other = chance.choice([item.title for item in terms if item.language == row.language])
        own = tuple({title for key in row.keys for title in titles[key]})
        yield from (Asked(text, own, f"same: {kind}") for kind, text in asks_what(name))
        yield from (Asked(text, (), f"other: {kind}") for kind, text in about_term(name, other))


def _by_key(rows: Sequence[InstantRow]) -> dict[str, set[str]]:
    titles: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        for key in row.keys:
            titles[key].add(row.title)
    return titles


def shipped_rows(folder: Path) -> list[InstantRow]:
    rows: list[InstantRow] = []
    for name in ("faq.csv", "glossary.csv"):
        parsed = read_bytes_as((folder / name).read_bytes(), name=name)
        whole = Chunk(0, 0, len(parsed.text), parsed.text)
        rows += mine_rows(parsed.text, parsed.blocks, [whole])
    return rows


def gold_questions() -> Iterator[Asked]:
    """The questions that ship: a row of the FAQ may only answer those that name it as their document."""
    for item in load_questions():
        if not {"faq.csv", "glossary.csv"} & set(item.documents):
            yield Asked(item.question, (), "gold, not in the FAQ")


def report(name: str, tallies: dict[str, Tally], *, verbose: bool) -> None:
    print(f"\n{name}\n{'kind':24} {'asked':>6} {'right':>7} {'stolen':>7} {'p50 ms':>7} {'p95 ms':>7}")
    for kind, tally in sorted(tallies.items()):
        p50, p95 = np.percentile(tally.times_ms, [50, 95])
        share = tally.right / tally.asked
        print(f"{kind:24} {tally.asked:6} {share:7.1%} {len(tally.stolen):7} {p50:7.1f} {p95:7.1f}")
    answered = sum(tally.right for kind, tally in tallies.items() if "same" in kind)
    stolen = sum(len(tally.stolen) for tally in tallies.values())
    if answered + stolen:
        print(f"precision {answered / (answered + stolen):.2%} ({stolen} of {answered + stolen} answers were stolen)")
    for kind, tally in tallies.items() if verbose else ():
        for question, titles in tally.stolen:
            print(f"    stolen, {kind}: {question!r} by {titles}")
        for question in tally.missed[:10]:
            print(f"    missed, {kind}: {question!r}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval instant", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--questions", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument("--sample", type=int, default=300, help="how many of them become a FAQ (300)")
    parser.add_argument("--floor", type=float, default=FLOOR_RIGHT, help="least share of written ones (0.95)")
    parser.add_argument("--verbose", action="store_true", help="show what was stolen and missed")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        settings = load_settings(data_dir=Path(scratch), database_url="", redis_url="")
        with open_index(settings) as index:
            ingest_quietly(settings, index, [settings.knowledge_dir])
            return _measure(index, settings.knowledge_dir, arguments)


def _measure(index: Index, folder: Path, arguments: argparse.Namespace) -> int:
    answers = InstantAnswers(index.db, index.generation, index.analyzer)
    answers.find("준비가 되었나요?")  # Kiwi is loaded by the first Korean question
    here = Filters(collections=("default",))
    written = ask(answers, written_questions(), here)
    report("Written by hand", written, verbose=arguments.verbose)
    made = made_questions(shipped_rows(folder), index.analyzer)
    report("Made by rule", ask(answers, [*made, *gold_questions()], here), verbose=arguments.verbose)
    for path in arguments.questions:
        _measure_foreign(index, answers, path, arguments)
    stolen = sum(len(tally.stolen) for tally in written.values())
    same_kind = written["written, same"]
    return int(stolen > 0 or same_kind.right < arguments.floor * same_kind.asked)


def _measure_foreign(index: Index, answers: InstantAnswers, path: Path, arguments: argparse.Namespace) -> None:
    questions = foreign_questions(path)
    asked = [Asked(text, (), "none is in the FAQ") for text, _ in questions]
    here = Filters(collections=("default",))
    report(f"{path.name}, asked of the FAQ that ships", ask(answers, asked, here), verbose=arguments.verbose)
    some = random.Random(SEED).sample(questions, min(arguments.sample, len(questions)))  # noqa: S311
    rows = store_as_faq(index, path.name, some)
    own = Filters(collections=(path.name,))
    rest = set(questions) - set(some)
    others = [Asked(text, (), "other: of the set") for text, answer in questions if (text, answer) in rest]
    made = made_questions(rows, index.analyzer)
    report(f"{path.name}, {len(some)} as a FAQ", ask(answers, [*made, *others], own), verbose=arguments.verbose)
    pairs = confusions(questions, index.analyzer)
    print(f"of {len(questions)} questions, {len(pairs)} pairs count as one though their answers differ")
    for pair in pairs if arguments.verbose else ():
        print(f"    {pair[0]!r} = {pair[1]!r}")


if __name__ == "__main__":
    sys.exit(main())
