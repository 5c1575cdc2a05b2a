"""How well the claim checker tells true claims from false ones, by kind of error and language.

    python -m eval checker [--data FOLDER] [--fit [--write]] [--json FILE]

FOLDER holds klue_nli/claims.jsonl and answer sets in BEIR's layout (korquad, squad2, clapnq, financebench, mtrag_un;
those that are missing are left out). Without it only the claims that ship, over the documents that ship, are checked.
One half of the passages fits weights and thresholds (--fit), everything printed is of the other half.

What it is not: derived claims are near their source's words. On free paraphrase expect the figures of the NLI pairs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from eval.beir import SetError
from eval.checker_fit import auroc, fitted
from eval.checker_own import own_cases
from eval.checker_sets import ANSWER_SETS, Case, answer_cases, nli_cases
from knowledge.embedding import GakjuEmbedding, build_embedding
from knowledge.lexemes import Analyzer
from pipelines.checking.checker import DECISIVE, Examined, RuleChecker
from pipelines.checking.likeness import FEATURES
from pipelines.checking.scoring import FEATURES_VERSION, WEIGHTS_FILE, Model, Models

_NLI = ("entailment", "neutral", "contradiction")
_NO_MODELS = Models(Model(0, {}, 0, 0), Model(0, {}, 0, 0), "")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval checker", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with the evaluation sets")
    parser.add_argument("--fit", action="store_true", help="fit weights and thresholds on the other half")
    parser.add_argument("--write", action="store_true", help=f"with --fit: write {WEIGHTS_FILE.name}")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--passages", type=int, default=150, help="of each answer set (default: 150)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache-dir", type=Path, help="keep the embedding's graph here (default: thrown away)")
    arguments = parser.parse_args(argv)
    if arguments.fit and not arguments.data:
        parser.error("--fit needs --data")
    cases = _cases(arguments.data, seed=arguments.seed, passages=arguments.passages)
    with tempfile.TemporaryDirectory() as scratch:
        embedding = build_embedding(cache_dir=arguments.cache_dir or Path(scratch))
        measured = Measured(cases, embedding)
    if arguments.fit:
        models = fitted(measured.cases, measured.words, measured.meaning, embedding.spec.name, alarms=measured.alarms)
        if arguments.write:
            data = {"version": FEATURES_VERSION, "embedding": models.embedding}
            data |= {"words": asdict(models.words), "meaning": asdict(models.meaning)}
            WEIGHTS_FILE.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    else:
        models = Models.load()
    report = _report(measured, models)
    _print(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return 0


def _cases(folder: Path | None, *, seed: int, passages: int) -> list[Case]:
    cases = list(own_cases())
    if folder is not None:
        if not folder.is_dir():
            raise SetError(f"{folder} is not a folder.")
        nli = folder / "klue_nli" / "claims.jsonl"
        if nli.exists():
            cases += nli_cases(nli)
        for name in ANSWER_SETS:
            if (folder / name / "corpus.jsonl").exists():
                cases += answer_cases(folder / name, seed=seed, passages=passages)
    return cases


class Measured:
    """Features and findings of all cases. `words` (n, …) and `meaning` (n, …): rows of features by name."""

    def __init__(self, cases: Sequence[Case], embedding: GakjuEmbedding) -> None:
        checker = RuleChecker(
            Analyzer(), embedding, models=Models(_NO_MODELS.words, _NO_MODELS.meaning, embedding.spec.name)
        )
        started = time.perf_counter()
        self.cases = list(cases)
        self.examined: list[Examined] = checker.examine(
            [(case.claim, [checker.source(case.evidence)]) for case in cases]
        )
        self.rules_ms = (time.perf_counter() - started) * 1000 / max(len(cases), 1)
        open_ones = [i for i, item in enumerate(self.examined) if item.features and item.window]
        started = time.perf_counter()
        windows = [(cases[i].claim, self.examined[i].window) for i in open_ones]
        measured = checker.likenesses([(claim, window) for claim, window in windows if window])
        self.likeness_ms = (time.perf_counter() - started) * 1000 / max(len(open_ones), 1)
        likeness = dict(zip(open_ones, measured, strict=True)) if measured else {}
        self.words = [item.features for item in self.examined]
        self.meaning = [
            {**item.features, **likeness.get(i, dict.fromkeys(FEATURES, 0.0))} if item.features else {}
            for i, item in enumerate(self.examined)
        ]
        self.alarms = [any(finding.kind in DECISIVE for finding in item.found) for item in self.examined]


def _scores(features: Sequence[Mapping[str, float]], model: Model) -> np.ndarray:
    return np.array([model.score(row) if row else 1.0 for row in features])


def _report(measured: Measured, models: Models) -> dict[str, Any]:
    held_out = np.array([case.data == "own" or not case.fits for case in measured.cases])
    report: dict[str, Any] = {"rules_ms_a_claim": measured.rules_ms, "likeness_ms_a_claim": measured.likeness_ms}
    for name, rows, model in (("words", measured.words, models.words), ("meaning", measured.meaning, models.meaning)):
        scores = _scores(rows, model)
        wrong = np.array(measured.alarms) | (scores < model.unsupported)
        soft = wrong | (scores < model.soft)
        report[name] = {
            "nli": _nli(measured.cases, scores, wrong, soft, held_out),
            "kinds": _kinds(measured.cases, wrong, soft, np.array(measured.alarms), held_out),
            "overall": _overall(measured.cases, wrong, scores, held_out),
        }
    return report


def _nli(
    cases: Sequence[Case], scores: np.ndarray, wrong: np.ndarray, soft: np.ndarray, held_out: np.ndarray
) -> dict[str, float]:
    kinds = np.array([case.kind for case in cases])
    here = held_out & np.isin(kinds, _NLI)
    if not here.any():
        return {}
    true = kinds == "entailment"
    figures = {"n": int(here.sum()), "auroc": auroc(scores[here], true[here])}
    for kind in ("neutral", "contradiction"):
        pair = here & np.isin(kinds, ("entailment", kind))
        figures[f"auroc_{kind}"] = auroc(scores[pair], true[pair])
    for label, flags in (("unsupported", wrong), ("soft", soft)):
        for kind in _NLI:
            figures[f"{label}_{kind}"] = float(flags[here & (kinds == kind)].mean())
    return figures


def _kinds(
    cases: Sequence[Case], wrong: np.ndarray, soft: np.ndarray, rules: np.ndarray, held_out: np.ndarray
) -> list[dict[str, Any]]:
    rows = []
    keys = sorted({(case.kind, case.language, case.data == "own") for case in cases if case.kind not in _NLI})
    for kind, language, own in keys:
        here = held_out & np.array([(c.kind, c.language, c.data == "own") == (kind, language, own) for c in cases])
        if here.any():
            shares = {"flagged": wrong[here].mean(), "rules": rules[here].mean(), "soft": soft[here].mean()}
            rows.append(
                {"kind": kind, "language": language, "own": own, "n": int(here.sum())}
                | {k: float(v) for k, v in shares.items()}
            )
    return rows


def _overall(cases: Sequence[Case], wrong: np.ndarray, scores: np.ndarray, held_out: np.ndarray) -> dict[str, Any]:
    """Of derived claims: precision and recall of "unsupported", and AUROC of the score, by language."""
    figures: dict[str, Any] = {}
    for language in ("ko", "en"):
        here = held_out & np.array(
            [c.language == language and c.data in ANSWER_SETS and c.kind != "human" for c in cases]
        )
        if not here.any():
            continue
        false = ~np.array([case.is_true for case in cases])
        caught = (wrong & false & here).sum()
        figures[language] = {
            "n_true": int((here & ~false).sum()),
            "n_false": int((here & false).sum()),
            "precision": float(caught / max((wrong & here).sum(), 1)),
            "recall": float(caught / max((false & here).sum(), 1)),
            "auroc_score": auroc(scores[here], ~false[here]),
        }
    return figures


def _print(report: Mapping[str, Any]) -> None:
    print(
        f"rules {report['rules_ms_a_claim']:.1f} ms a claim, token likeness {report['likeness_ms_a_claim']:.1f} ms more\n"
    )
    for name in ("words", "meaning"):
        part = report[name]
        print(f"=== {name} ===")
        if part["nli"]:
            print("NLI pairs: " + "  ".join(f"{key} {value:.3f}" for key, value in part["nli"].items()))
        for language, row in part["overall"].items():
            print(f"derived claims, {language}: " + "  ".join(f"{key} {value:.3f}" for key, value in row.items()))
        print(f"{'kind':22} {'':4} {'n':>5} {'flagged':>8} {'by rules':>9} {'or soft':>8}")
        for row in part["kinds"]:
            label = row["kind"] + (" (own)" if row["own"] else "")
            print(
                f"{label:22} {row['language']:4} {row['n']:5} {row['flagged']:8.1%} {row['rules']:9.1%} {row['soft']:8.1%}"
            )
        print()


if __name__ == "__main__":
    sys.exit(main())
