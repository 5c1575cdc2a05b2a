"""The table as a picture: nDCG@10 with its interval for each set and leg. Needs matplotlib, which the extra `eval` brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from eval.beir import SetError
from eval.retrieval_report import SetReport, macro

_COLOURS = {"words": "#d08c2f", "meaning": "#4a7fb5", "both": "#3f8f5f"}
_MEASURE = "nDCG@10"


def plot(reports: Sequence[SetReport], file: Path, *, title: str) -> None:
    """Raises:
    SetError: the file cannot be written.
    """
    legs = list(dict.fromkeys(item.leg for item in reports))
    bars = {(item.name, item.leg): item.groups["all"].estimates[_MEASURE] for item in reports}
    names = list(dict.fromkeys(item.name for item in reports))
    means = macro(reports)
    labels = [*names, *(["macro"] if means else [])]
    figure = Figure(figsize=(max(6.0, 1.1 * len(labels)), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / len(legs)
    for number, leg in enumerate(legs):
        shown = [(place, bars[name, leg]) for place, name in enumerate(names) if (name, leg) in bars]
        offset = (number - (len(legs) - 1) / 2) * width
        axes.bar(
            [place + offset for place, _ in shown],
            [value.mean for _, value in shown],
            width,
            yerr=[[value.mean - value.low for _, value in shown], [value.high - value.mean for _, value in shown]],
            color=_COLOURS.get(leg),
            error_kw={"elinewidth": 0.8, "capsize": 2},
            label=leg,
        )
        if leg in means:
            axes.bar([len(names) + offset], [means[leg][1][_MEASURE]], width, color=_COLOURS.get(leg), hatch="//")
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axes.set_ylim(0, 1)
    axes.set_ylabel(f"{_MEASURE}, 95 % interval")
    axes.set_title(title, fontsize=10)
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", fontsize=8)
    try:
        figure.savefig(file, dpi=150)
    except (OSError, ValueError) as exc:
        raise SetError(f"{file} cannot be written as a picture: {exc}.") from exc
