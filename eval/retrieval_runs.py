"""Run files: what was found for each question, in TREC's format or as JSON lines, for other programs and later comparisons.

TREC's is `question Q0 passage rank score tag`. Programs that read it sort by score, some in single precision, so scores
go down by at least 0.000001 from rank to rank. White space in ids is written as %20; where a set has such ids, its
judgements are written beside the run file in the same way, for programs that score the one by the other.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from eval.beir import SetError

_STEP = 1e-6
_SPACE = re.compile(r"\s")


def write_run(file: Path, rankings: Mapping[str, Sequence[tuple[str, float]]], *, tag: str) -> None:
    """JSON lines {"_id", "docs", "scores"} if the file's name ends in .jsonl, else TREC's format.

    Raises:
        SetError: the file cannot be written.
    """
    write = _jsonl if file.suffix == ".jsonl" else _trec
    _write_lines(file, [line for question, ranking in rankings.items() for line in write(question, ranking, tag)])


def write_judgements(file: Path, relevant: Mapping[str, Mapping[str, int]]) -> None:
    """Question id → passage id → grade, in TREC's format.

    Raises:
        SetError: the file cannot be written.
    """
    rows = [(question, passage, grade) for question, row in relevant.items() for passage, grade in row.items()]
    lines = [f"{plain_id(question)} 0 {plain_id(passage)} {grade}" for question, passage, grade in rows]
    _write_lines(file, lines)


def _write_lines(file: Path, lines: Sequence[str]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as exc:
        raise SetError(f"{file} cannot be written: {exc.strerror}.") from exc


def _trec(question: str, ranking: Sequence[tuple[str, float]], tag: str) -> list[str]:
    lines = []
    above = float("inf")
    for rank, (document, score) in enumerate(ranking, start=1):
        above = round(min(score, above - _STEP), 6)
        lines.append(f"{plain_id(question)} Q0 {plain_id(document)} {rank} {above:.6f} {tag}")
    return lines


def _jsonl(question: str, ranking: Sequence[tuple[str, float]], tag: str) -> list[str]:
    row = {"_id": question, "docs": [key for key, _ in ranking], "scores": [round(score, 6) for _, score in ranking]}
    return [json.dumps(row, ensure_ascii=False)]


def read_run(file: Path) -> dict[str, list[str]]:
    """Question id → passage ids, best first; ids as `plain_id` writes them.

    Raises:
        SetError: it is not a run file.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise SetError(f"{file} cannot be read: {getattr(exc, 'strerror', None) or 'it is not UTF-8'}.") from exc
    scored: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            if file.suffix == ".jsonl":
                row = json.loads(line)
                scored[plain_id(row["_id"])] = [(-place, plain_id(key)) for place, key in enumerate(row["docs"])]
            else:
                question, _, document, _, score, _ = line.split()
                scored[question].append((float(score), document))
        except (ValueError, KeyError, TypeError):
            raise SetError(f"{file}, line {number}: not a line of a run file.") from None
    if not scored:
        raise SetError(f"{file} is empty.")
    return {question: [key for _, key in sorted(found, key=_by_score)] for question, found in scored.items()}


def _by_score(item: tuple[float, str]) -> float:
    return -item[0]


def plain_id(key: str) -> str:
    return _SPACE.sub("%20", key)
