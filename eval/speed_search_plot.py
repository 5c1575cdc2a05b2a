"""How the times of search grow with the index, as a picture. Needs matplotlib, which the extra `eval` brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from eval.beir import SetError
from eval.speed_search_report import GOALS_MS, Report

_COLOURS = {"whole": "#3f8f5f", "meaning alone": "#4a7fb5", "words alone": "#d08c2f", "stock": "#9a4a5b"}
_NAMES = {"whole": "whole search", "stock": "stock PGVectorStore hybrid"}


def plot(report: Report, file: Path) -> None:
    """p50 (dashed) and p95 (solid) over the number of chunks, both axes logarithmic.

    Raises:
        SetError: the file cannot be written.
    """
    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, colour in _COLOURS.items():
        points = _points(report, name)
        if not points:
            continue
        sizes = [size for size, _, _ in points]
        axes.plot(sizes, [high for *_, high in points], "o-", color=colour, label=f"{_NAMES.get(name, name)}, p95")
        axes.plot(sizes, [middle for _, middle, _ in points], "o--", color=colour, linewidth=0.8, markersize=3)
    for size, goal in GOALS_MS.items():
        axes.plot([size], [goal], "_", color="black", markersize=22)
        axes.annotate(f"goal {goal:g} ms", (size, goal), (0, 4), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("chunks")
    axes.set_ylabel("ms a question (p95; dashed p50)")
    axes.set_title(f"{report.embedding}, warm, one client", fontsize=10)
    axes.grid(which="both", linewidth=0.3, alpha=0.6)
    axes.legend(fontsize=8)
    try:
        figure.savefig(file, dpi=150)
    except (OSError, ValueError) as exc:
        raise SetError(f"{file} cannot be written as a picture: {exc}.") from exc


def _points(report: Report, name: str) -> list[tuple[int, float, float]]:
    """Chunks, p50, p95."""
    points = []
    for size in report.sizes:
        times = size.measures.stock_ms if name == "stock" else size.measures.times.steps[name]
        if times:
            middle, high = np.percentile(times, [50, 95])
            points.append((size.chunks, float(middle), float(high)))
    return points
