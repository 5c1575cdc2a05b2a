"""What is said of a person's own questions beside the measures: which answers were not found, and what was found instead.

People mend their documents by this. On the terminal and in the JSON file stand questions and names; the text of passages
stands in FOLDER/missed.csv alone. Knows nothing about how the answers were looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.own_places import Answer
from eval.own_sheet import SHEET, Filled, write_table
from ingest.cli.output import complain, names, say, shown
from knowledge.types import Evidence
from pipelines.prompt import passage_title

MISSED = "missed.csv"
_WORST = 10  # questions that are shown; the file has all


@dataclass(frozen=True, slots=True)
class Asked:
    """`rank`: of the first chunk that holds the answer, from 1; None: not among those found. `label`: "ko", "en>ko", …

    `is_shown`: the answer is among the TOP_K passages that a model gets to read.
    """

    item: Filled
    label: str
    answer: Answer
    rank: int | None
    is_shown: bool
    ranking: tuple[tuple[str, float], ...]
    first: tuple[Evidence, ...]
    took_ms: float


def say_shown(asked: Sequence[Asked], top_k: int) -> None:
    shown = sum(item.is_shown for item in asked)
    say(f"\nOf {len(asked)} questions, {shown} have their answer among the {top_k} passages that are read (TOP_K).")


def say_worst(folder: Path, asked: Sequence[Asked], top_k: int) -> None:
    """Those whose answer was not found first, the worst ones first; all of them, with texts, go into `folder`.

    Raises:
        SetError: the file cannot be written.
    """
    missed = [item for item in asked if item.rank != 1]
    missed.sort(key=lambda item: (-(item.rank or top_k + 1), item.item.id))
    columns = ("id", "question", "place", "wanted", "wanted text", "found", "found text")
    rows = [
        (item.item.id, item.item.question, str(item.rank or ""), item.answer.where, item.answer.passage,
         _name(found), found.readable)
        for item in missed for found in item.first
    ]  # fmt: skip
    write_table(folder / MISSED, columns, rows)
    if not missed:
        return
    more = (
        f" The worst {_WORST}, all in {folder / MISSED}:"
        if len(missed) > _WORST
        else f" (With texts: {folder / MISSED})"
    )
    say(f"\nNot found first: {len(missed)}.{more}")
    for item in missed[:_WORST]:
        rank = f"place {item.rank}" if item.rank else f"not among the first {top_k}"
        say(f"  {item.item.id}: {shown(item.item.question)}")
        say(f"      wanted: {shown(item.answer.path)}: {shown(item.answer.where)} ({rank})")
        for found in item.first:
            say(f"      found:  {shown(_name(found))}")


def _name(found: Evidence) -> str:
    return f"{found.path}: {passage_title(found)}"


def say_left_out(folder: Path, asked: Sequence[Asked], struck_out: int, empty: int) -> None:
    if struck_out or empty:
        complain(f"eval: {struck_out} rows of {folder / SHEET} are struck out and {empty} have no question.")
    for gone, what in (("document", "are of documents that are not in the index"),
                       ("passage", "are of passages that their documents no longer hold")):  # fmt: skip
        of = [item for item in asked if item.answer.gone == gone]
        if of:
            paths = names(dict.fromkeys(item.answer.path for item in of), at_most=10)
            complain(f"eval: {len(of)} questions {what} and count as missed unless the same stands elsewhere: {paths}.")


def as_json(item: Asked) -> Mapping[str, Any]:
    """Without the text of documents."""
    return {
        "id": item.item.id,
        "language": item.label,
        "rank": item.rank,
        "shown": item.is_shown,
        "wanted": item.answer.id,
        "gone": item.answer.gone,
        "found": [{"document": found.path, "start": found.start, "end": found.end} for found in item.first],
    }
