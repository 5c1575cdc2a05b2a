"""Fits pipelines/gate.json: can what was found carry an answer?

    python -m eval fit_gate SET… [--keep 0.99] [--write]      SET: a folder in BEIR's layout (see eval/beir.py)

Each set is searched with its own questions (answerable) and with those of the other sets (not answerable here). Prints,
for each set, how many of both the gate lets through; half of the questions are for fitting, the other half for this.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from eval.beir import Question, QuestionSet, load
from eval.bench import Bench, index_with, open_bench
from knowledge.search import Searcher
from pipelines.gate import GATE_FILE, Gate
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery

OWN_QUESTIONS, FOREIGN_QUESTIONS = 300, 100


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval fit_gate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--keep", type=float, default=0.99, help="share of answerable questions that must pass")
    parser.add_argument("--data-dir", type=Path, help="keep the vectors here, for a faster rerun")
    parser.add_argument("--write", action="store_true", help=f"write {GATE_FILE.name}")
    arguments = parser.parse_args(argv)
    sets = [load(folder) for folder in arguments.sets]
    with open_bench(arguments.data_dir) as bench:
        features, labels, names = _measure(bench, sets)
        embedding = bench.embedding.spec.name
    fitting = np.arange(len(labels)) % 2 == 0
    bias, weights = fit_logistic(features[fitting], labels[fitting])
    scores = 1 / (1 + np.exp(-(bias + features @ weights)))
    threshold = float(np.quantile(scores[fitting & (labels == 1)], 1 - arguments.keep))
    for name in dict.fromkeys(names):
        here = ~fitting & (names == name)
        passed = scores >= threshold
        kept, let_in = passed[here & (labels == 1)].mean(), passed[here & (labels == 0)].mean()
        print(f"{name:14} answerable let through {kept:6.1%}   foreign let through {let_in:6.1%}")
    meaning, words = (round(float(weight), 4) for weight in weights)
    gate = Gate(round(bias, 4), meaning, words, round(threshold, 4), embedding)
    print(json.dumps(asdict(gate)))
    if arguments.write:
        GATE_FILE.write_text(json.dumps(asdict(gate)) + "\n", encoding="utf-8")
    return 0


def _measure(bench: Bench, sets: Sequence[QuestionSet]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, 2): best cosine, words share. Labels (n,): 1 answerable, 0 foreign. Names (n,): the set searched."""
    rows: list[tuple[float, float]] = []
    labels: list[int] = []
    names: list[str] = []
    for data in sets:
        with index_with(bench, data) as index:
            searcher = Searcher(index.store.db, index.store.generation)
            retriever = EvidenceRetriever(searcher, bench.cached, bench.analyzer, top_k=bench.settings.top_k)
            for other in sets:
                count = OWN_QUESTIONS if other is data else FOREIGN_QUESTIONS
                for question in _sample(other.questions, count):
                    found = retriever.search(SearchQuery(question.text))
                    rows.append((found.cosine, found.words_share))
                    labels.append(int(other is data))
                    names.append(data.name)
    return np.array(rows), np.array(labels), np.array(names)


def _sample(questions: Sequence[Question], count: int) -> list[Question]:
    return random.Random(0).sample(questions, min(count, len(questions)))  # noqa: S311 - reproducible, not secret


def fit_logistic(features: np.ndarray, labels: np.ndarray, *, ridge: float = 1e-3) -> tuple[float, np.ndarray]:
    """Bias and weights (d,) of a ridge-penalised logistic regression on features (n, d), by Newton's method."""
    mean, scale = features.mean(0), features.std(0)
    design = np.column_stack([np.ones(len(features)), (features - mean) / scale])
    w = np.zeros(design.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ w))
        hessian = (design * (p * (1 - p))[:, None]).T @ design + ridge * np.eye(len(w))
        w -= np.linalg.solve(hessian, design.T @ (p - labels) + ridge * w)
    weights = w[1:] / scale
    return float(w[0] - weights @ mean), weights


if __name__ == "__main__":
    sys.exit(main())
