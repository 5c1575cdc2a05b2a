"""The measurement of quote mode: what holds an answer, what is verbatim, and the whole way over a set of our own."""

from __future__ import annotations

import json

import pytest

from eval.beir import SetError
from eval.quotes import main
from eval.quotes_answers import holds_answer, is_verbatim
from knowledge.types import Evidence, Place, Scores
from pipelines.reading_order import Quoted

ANSWERABLE = {
    "회사의 직원은 모두 몇 명인가요?": ("c1", ["240명"]),
    "조합은 언제 세워졌나요?": ("c2", ["1975년"]),
    "Who repairs the night lamps?": ("c3", ["The Blue Crew"]),
    "What colour has the moon base?": ("c3", ["violet"]),  # nothing says so: not counted as found
}
CORPUS = {
    "c1": ("회사", "회사는 부산에서 세워졌다. 회사의 직원은 모두 240명이다. 본사는 해운대구에 있다."),
    "c2": ("조합", "조합은 1975년에 세워졌다. 조합원은 농부들이다. 조합은 쌀을 판다."),
    "c3": ("Lamps", "The blue crew repairs the night lamps. Day lamps are never repaired. Lamps are red."),
}


def evidence(text: str, header: str = "") -> Evidence:
    return Evidence("c", "d", "x", "p", "t", (), Place(), 0, len(text), text, "ko", Scores(), 1, header)


@pytest.mark.parametrize(
    ("text", "answers", "holds"),
    [
        ("지명수배는 1989년 2월 15일이었다.", ["1989년 2월 15일"], True),
        ("영화 《기생충》을 보았다.", ["기생충"], True),
        ("It was The United-Kingdom.", ["united kingdom"], True),
        ("It was in 1995.", ["5"], False),
        ("He saw an apple", ["the apple", "pear"], True),
        ("It was 1,000 dollars", ["1000 dollars"], True),
        ("nothing", [], False),
        ("nothing", ["the"], False),
    ],
)
def test_answer_is_looked_for_as_squad_and_korquad_compare(text: str, answers: list[str], holds: bool) -> None:
    assert holds_answer(text, answers) is holds


@pytest.mark.parametrize(
    ("quoted", "source", "header", "verbatim"),
    [
        ("직원은 240명이다.", "회사의\n**직원은** 240명이다.[3] 끝", "", True),
        ("직원은 241명이다.", "직원은 240명이다.", "", False),
        ("위험: 환율 · 수단: 선물환", "| 환율 | 선물환 |", "| 위험 | 수단 |", True),
        ("위험: 환율 · 수단: 옵션", "| 환율 | 선물환 |", "| 위험 | 수단 |", False),
        ("문서를 보세요 …", "[문서](https://example.com)를 보세요 그리고", "", True),
    ],
)
def test_quotation_is_verbatim_if_all_of_it_stands_there(quoted: str, source: str, header: str, verbatim: bool) -> None:
    item = Quoted(quoted, 1, 0, len(source), 0.0)
    assert is_verbatim(item, evidence(source, header)) is verbatim


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "own"
    data.mkdir()
    passages = [{"_id": key, "title": title, "text": text} for key, (title, text) in CORPUS.items()]
    queries = [
        {"_id": f"q{i}", "text": text, "meta": {"answers": answers}}
        for i, (text, (_, answers)) in enumerate(ANSWERABLE.items())
    ]
    queries.append({"_id": "no", "text": "월드컵 우승팀은 어디인가요?", "meta": {"answerable": False}})
    queries.append({"_id": "unknown", "text": "조합원은 누구인가요?", "meta": {}})
    judged = [f"q{i}\t{passage}\t1" for i, (passage, _) in enumerate(ANSWERABLE.values())]
    for name, rows in (("corpus", passages), ("queries", queries)):
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (data / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (data / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n", encoding="utf-8")
    return tmp_path


def test_a_set_is_measured_over_the_real_search(folder, capsys) -> None:
    out = folder / "numbers.json"
    options = ["--data", str(folder), "--sets", "own", "--json", str(out), "--data-dir", str(folder / "data")]
    assert main(options) == 0
    (report,) = json.loads(out.read_text(encoding="utf-8"))["sets"].values()
    assert (report["asked"], report["with their passage among five"], report["unanswerable"]) == (4, 3, 1)
    assert report["app"]["contained in gold"] == report["four"]["contained in gold"] == 1
    assert report["app"]["sentences"] <= report["four"]["sentences"] <= 4
    assert report["four"]["sentences from gold"] <= 1 and report["verbatim"] == 1
    assert (report["lost"], report["refused"]) == (0, 1)
    times = [report[f"{name}, ms"] for name in ("own work", "own work, processor", "first words")]
    assert all(0 < p50 <= p95 for p50, p95 in times)
    assert "contained 100.0%" in capsys.readouterr().out


def test_set_without_answers_is_refused_in_a_sentence(folder) -> None:
    file = folder / "own" / "queries.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('"answers"', '"replies"'), encoding="utf-8")
    with pytest.raises(SetError, match=r"no answerable question with meta\.answers"):
        main(["--data", str(folder), "--sets", "own", "--data-dir", str(folder / "data")])
