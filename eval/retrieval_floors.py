"""Floors: the least that a measure may be, so that a change that makes search worse is noticed.

A file is JSON: {"set": {"leg": {"nDCG@10": 0.9}}}; the set "macro" stands for the mean of the sets. What was not measured
is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from eval.beir import SetError
from eval.retrieval_metrics import MEASURES
from eval.retrieval_report import SetReport, macro


def load_floors(file: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Set → leg → measure → the least that it may be.

    Raises:
        SetError: it is not such a file.
    """
    try:
        floors = json.loads(file.read_text(encoding="utf-8"))
        for legs in floors.values():
            for measures in legs.values():
                for measure, value in measures.items():
                    if measure not in MEASURES or not isinstance(value, int | float):
                        raise SetError(
                            f"{file}: {measure!r}: {value!r} is not a floor; {', '.join(MEASURES)} are known."
                        )
    except OSError as exc:
        raise SetError(f"{file} cannot be read: {exc.strerror}.") from exc
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as exc:
        raise SetError(f'{file} is not JSON like {{"set": {{"both": {{"nDCG@10": 0.9}}}}}}.') from exc
    return floors


def below_floors(reports: Sequence[SetReport], floors: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """A line for each measure that fell below its floor. "macro" stands for the mean of the sets.

    Raises:
        SetError: none of the floors belongs to what was measured.
    """
    means = {(item.name, item.leg): item.groups["all"].estimates for item in reports}
    measured = {key: {name: value.mean for name, value in row.items()} for key, row in means.items()}
    measured |= {("macro", leg): row for leg, (_, row) in macro(reports).items()}
    lines, checked = [], 0
    for name, legs in floors.items():
        for leg, measures in legs.items():
            for measure, floor in measures.items():
                value = measured.get((name, leg), {}).get(measure)
                checked += value is not None
                if value is not None and value < floor:
                    lines.append(f"{name}, {leg}: {measure} is {value:.4f}, below its floor {floor:g}")
    if not checked:
        raise SetError("The floors name none of the sets and legs that were measured.")
    return lines
