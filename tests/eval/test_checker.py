"""The checker's evaluation: claims derived by seed, the fit, and the claims that ship."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from eval import checker_errors as errors
from eval.checker import main
from eval.checker_fit import auroc, logistic
from eval.checker_own import own_cases
from eval.checker_sets import answer_cases, nli_cases
from pipelines.checking import RuleChecker
from pipelines.checking.checker import DECISIVE

SENTENCES = [
    "1989년 3월 12일 서울지방검찰청은 1,200명에게 3.5%의 영장을 발부하였다.",
    "The treaty was signed by 1,200 people on March 12, 1989 and raised 3.5% of the duty.",
]


@pytest.fixture
def folder(tmp_path):
    """A set in BEIR's layout and a file of NLI pairs, both of our own sentences."""
    data = tmp_path / "korquad"
    data.mkdir()
    passages = {
        "p1": (
            "해협",
            "김바다는 1989년 3월 12일 부산에서 배 1,200척을 세었다. 이나루는 그해 여름 목포로 떠났다고 한다.",
        ),
        "p2": ("고원", "박들판은 2001년 평창에 농장을 열었다. 농장은 해마다 감자 3.5%를 나누어 주었다고 한다."),
    }
    rows = [{"_id": key, "title": title, "text": text} for key, (title, text) in passages.items()]
    (data / "corpus.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    asked = {"q1": ("p1", "김바다"), "q2": ("p1", "이나루"), "q3": ("p2", "박들판")}
    queries = [
        {"_id": key, "text": "누구인가?", "meta": {"answers": [name], "answerable": True}}
        for key, (_, name) in asked.items()
    ]
    (data / "queries.jsonl").write_text("\n".join(json.dumps(row) for row in queries), encoding="utf-8")
    lines = ["query-id\tcorpus-id\tscore", *(f"{key}\t{passage}\t1" for key, (passage, _) in asked.items())]
    (data / "qrels.tsv").write_text("\n".join(lines), encoding="utf-8")
    return data


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("change", [errors.wrong_number, errors.wrong_date, errors.negated])
def test_an_error_changes_the_sentence_and_the_same_seed_makes_the_same(sentence, change):
    for seed in range(20):
        wrong = change(sentence, random.Random(seed))
        assert wrong and wrong != sentence
        assert wrong == change(sentence, random.Random(seed))


@pytest.mark.parametrize("sentence", SENTENCES)
def test_true_rewrites_differ_but_nothing_decisive_speaks_against_them(sentence, analyzer):
    from eval.checker_sets import make_evidence

    checker = RuleChecker(analyzer)
    source = checker.source(make_evidence(sentence, title="", language="ko"))
    rewrites = {errors.rewritten(sentence, random.Random(seed)) for seed in range(30)}
    assert len(rewrites) > 3
    for examined in checker.examine([(rewrite, [source]) for rewrite in sorted(rewrites)]):
        assert not {finding.kind for finding in examined.found} & DECISIVE


def test_derived_claims_are_the_same_for_a_seed_and_of_every_kind(folder):
    cases = answer_cases(folder, seed=1, passages=10)
    assert [c.claim for c in cases] == [c.claim for c in answer_cases(folder, seed=1, passages=10)]
    kinds = {case.kind for case in cases}
    assert kinds >= {
        "true",
        "number",
        "date",
        "negation",
        "other topic",
        "invented detail",
        "name",
        "name of the passage",
    }
    for case in cases:
        if case.kind == "name":
            (old,) = {"김바다", "이나루", "박들판"} & {n for n in ("김바다", "이나루", "박들판") if n in case.claim}
            assert old not in case.evidence.text


def test_a_passage_lies_in_one_half(folder):
    halves: dict[str, set[bool]] = {}
    for case in answer_cases(folder, seed=1, passages=10):
        halves.setdefault(case.evidence.chunk_id, set()).add(case.fits)
    assert all(len(found) == 1 for found in halves.values())


def test_nli_pairs_keep_their_labels(tmp_path):
    row = {"evidence": "비가 온다.", "claim": "비가 오지 않는다.", "label": "contradiction"}
    (tmp_path / "claims.jsonl").write_text(json.dumps(row), encoding="utf-8")
    (case,) = nli_cases(tmp_path / "claims.jsonl")
    assert (case.kind, case.is_true, case.evidence.text) == ("contradiction", False, "비가 온다.")


def test_auroc_counts_ties_half():
    assert auroc(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])) == 0.875
    assert np.isnan(auroc(np.array([0.5]), np.array([True])))


def test_the_fit_finds_the_feature_that_tells_and_ignores_a_constant():
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.normal(size=400), rng.normal(size=400), np.ones(400)])
    labels = (features[:, 0] > 0).astype(float)
    _, slopes = logistic(features, labels, weights=np.ones(400), ridge=1.0)
    assert slopes[0] > 10 * abs(slopes[1]) and slopes[2] == 0


def test_of_the_claims_that_ship_figures_dates_and_names_are_told_right(analyzer):
    checker = RuleChecker(analyzer)
    cases = list(own_cases())
    examined = checker.examine([(case.claim, [checker.source(case.evidence)]) for case in cases])
    flagged = [bool({f.kind for f in item.found} & DECISIVE) for item in examined]
    for case, flag in zip(cases, flagged, strict=True):
        if case.kind in ("number", "unit", "date", "name", "negation"):
            assert flag, case.claim
        if case.is_true:
            assert not flag, case.claim


def test_the_command_reports_without_data(tmp_path, capsys):
    assert main(["--json", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert {row["kind"] for row in report["words"]["kinds"]} >= {"true", "number", "date", "name"}
    assert "flagged" in capsys.readouterr().out


def test_fitting_needs_data(capsys):
    with pytest.raises(SystemExit):
        main(["--fit"])
    assert "--data" in capsys.readouterr().err
