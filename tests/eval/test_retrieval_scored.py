"""Run files of sets with odd ids and judgements: another program, with a reader of its own, comes to the same numbers."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest
import pytrec_eval

from eval import retrieval

TEXTS = {
    "관세는 수입하는 물건에 매기는 세금이다.": "관세가 무엇인가요?",
    "장마는 초여름에 비가 오래 내리는 시기이다.": "장마는 언제 와요?",
    "세종이 1443년에 훈민정음을 만들었다.": "훈민정음은 누가 만들었나요?",
    "Ships wait at anchor outside the harbour.": "Where do ships wait?",
    "Bees turn nectar into honey inside the hive.": "Who makes honey?",
    "The moon pulls the water of the sea.": "What pulls the sea?",
}
IDS = ("a/../b.txt", "제1조#2", "#", "아주 긴 이름" + "가나다라" * 1_000, 'it\'s "100%"; --', "x\u3000y z")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Marks of byte order, CRLF, blank lines; grades 0 to 3, a pair judged twice; a question and a passage that are not there."""
    folder = tmp_path / "odd"
    corpus = [{"_id": key, "title": "", "text": text} for key, text in zip(IDS, TEXTS, strict=True)]
    queries = [{"_id": f"질문 {key}", "text": text} for key, text in zip(IDS, TEXTS.values(), strict=True)]
    judged = ["query-id\titer\tcorpus-id\tscore"]
    for place, key in enumerate(IDS):
        after, last = IDS[(place + 1) % len(IDS)], IDS[place - 1]
        judged += [f"질문 {key}\t0\t{key}\t1", f"질문 {key}\t0\t{key}\t3", f"질문 {key}\t0\t{after}\t1"]
        judged += [f"질문 {key}\t0\t{last}\t0"]
    judged += [f"nobody\t0\t{IDS[0]}\t1", f"질문 {IDS[0]}\t0\tnowhere\t2"]
    for name, lines in {
        "corpus.jsonl": [json.dumps(row, ensure_ascii=False) for row in corpus],
        "queries.jsonl": [
            json.dumps(row, ensure_ascii=False) for row in [*queries, {"_id": "?", "text": "Not judged"}]
        ],
        "qrels/dev.tsv": judged,
    }.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes("\r\n\r\n".join(lines).encode("utf-8-sig"))
    return folder


def test_another_program_scores_the_run_file_alike(odd, tmp_path, capsys):
    run, numbers = tmp_path / "run.trec", tmp_path / "numbers.json"
    options = ["--dataset", odd, "--data-dir", tmp_path / "data", "--run", run, "--json", numbers]
    assert retrieval.main(list(map(str, options))) == 0
    told = capsys.readouterr().err
    assert "1 questions that are judged are not in queries.jsonl and are left out: nobody" in told
    assert "not in the corpus and count as missed: nowhere" in told and "run.trec.qrels" in told
    (found,) = json.loads(numbers.read_text(encoding="utf-8"))["sets"]
    ours = {name: value["mean"] for name, value in found["groups"]["all"]["estimates"].items()}
    assert found["groups"]["all"]["questions"] == 6 and found["left_out"] == 1

    scores = _read(run, column=4)
    assert len(scores) == 7 and all(len(row) == 6 for row in scores.values())
    grades = {key: {passage: int(grade) for passage, grade in row.items()} for key, row in
              _read(run.with_name("run.trec.qrels"), column=3).items()}  # fmt: skip
    measures = {"ndcg_cut.10", "recall.1,5,10,100", "success.10", "recip_rank"}
    theirs = pytrec_eval.RelevanceEvaluator(grades, measures).evaluate(scores)
    means = {name: sum(row[name] for row in theirs.values()) / len(theirs) for name in next(iter(theirs.values()))}
    assert len(theirs) == 6 and means["ndcg_cut_10"] < 1
    names = {"ndcg_cut_10": "nDCG@10", "success_10": "Hit@10", "recip_rank": "MRR@10"}
    names |= {f"recall_{depth}": f"Recall@{depth}" for depth in (1, 5, 10, 100)}
    assert {names[name]: value for name, value in means.items()} == pytest.approx(ours)


def test_json_lines_keep_ids_as_the_set_has_them(odd, tmp_path):
    run = tmp_path / "run.jsonl"
    assert retrieval.main(["--dataset", str(odd), "--data-dir", str(tmp_path / "data"), "--run", str(run)]) == 0
    rows = [json.loads(line) for line in run.read_text(encoding="utf-8").splitlines()]
    assert {row["_id"] for row in rows} == {*(f"질문 {key}" for key in IDS), "?"}
    assert all(sorted(row["docs"]) == sorted(IDS) for row in rows)


def _read(file: Path, *, column: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for line in file.read_text(encoding="utf-8").splitlines():
        fields = line.split()
        assert len(fields) == {4: 6, 3: 4}[column] and fields[2] not in found[fields[0]]
        found[fields[0]][fields[2]] = float(fields[column])
    return dict(found)
