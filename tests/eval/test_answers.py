"""The evaluation of answers: ALCE's definitions on cases made by hand, and the whole way over a set of our own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval import answers
from eval.answers_metrics import Share, citation_scores, overlap_f1, share
from eval.answers_report import Group, groups_of
from eval.answers_run import Judged, Row, to_row
from eval.answers_sets import Case, chosen_answer_sets, load_answer_set
from eval.beir import SetError
from knowledge.types import Citation, Evidence, Place, Scores
from pipelines.checking import RuleChecker
from pipelines.events import Done, Failed, Turn
from tests.fakes.vllm import FakeVllm, Reply, Status

CORPUS = {
    "people": ("금강상사", "금강상사의 직원은 모두 240명이다. 회사는 1987년에 부산에서 세워졌다."),
    "tax": ("관세", "옥수수의 기본 관세율은 3퍼센트이다. 할당관세가 적용되면 0퍼센트가 된다."),
    "silo": ("사일로", "인천 사일로는 곡물 5만 톤을 저장한다. 매년 6월에 소독을 한다."),
    "port": ("Anchorage", "Ships wait at anchor outside the harbour until a berth is free. The harbour has 12 berths."),
}
ASKED = {
    "q1": ("금강상사의 직원은 모두 몇 명인가요?", "people", ["240명"], "ko"),
    "q2": ("옥수수의 기본 관세율은 몇 퍼센트인가요?", "tax", ["3퍼센트", "3%"], "ko"),
    "q3": ("How many berths has the harbour?", "port", ["12"], "en"),
}
NEVER = "인천 사일로의 야간 경비원은 누구인가요?"


def write_lines(file: Path, rows: list[dict]) -> None:
    file.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "own"
    data.mkdir()
    write_lines(data / "corpus.jsonl", [{"_id": key, "title": a, "text": b} for key, (a, b) in CORPUS.items()])
    rows = [
        {"_id": key, "text": text, "meta": {"lang": language, "answers": known}}
        for key, (text, _, known, language) in ASKED.items()
    ]
    rows.append({"_id": "never", "text": NEVER, "meta": {"lang": "ko", "answerable": False}})
    rows.append({"_id": "silent", "text": "사일로는 언제 소독하나요?", "meta": {"lang": "ko"}})
    write_lines(data / "queries.jsonl", rows)
    judged = [f"{key}\t{passage}\t1" for key, (_, passage, _, _) in ASKED.items()] + ["silent\tsilo\t1"]
    (data / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n", encoding="utf-8")
    return data


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no .env
    for name in ("LLM_BASE_URL", "LLM_MODEL", "VERIFY", "DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


def evidence(n: int, text: str, path: str = "doc") -> Evidence:
    return Evidence(
        f"c{n}", f"d{n}", "default", path, "제목", (), Place(), 0, len(text), text, "ko", Scores(), n
    )  # fmt: skip


# ALCE


def table(*supported: tuple[int, set[int]]) -> Callable[[int, frozenset[int]], bool]:
    """Sentence i is entailed by what holds all of one of the sets given for it."""
    return lambda i, numbers: any(numbers >= needed for at, needed in supported if at == i)


def test_a_sentence_without_a_citation_has_recall_0_and_takes_nothing_from_precision():
    found = citation_scores([(1,), ()], table((0, {1})))
    assert found is not None
    assert (found.recall, found.precision, found.sentences, found.citations) == (0.5, 1.0, 2, 1)


def test_a_redundant_citation_lowers_precision_and_not_recall():
    found = citation_scores([(1, 2)], table((0, {1})))
    assert found is not None
    assert (found.recall, found.precision, found.irrelevant) == (1.0, 0.5, 1)


def test_two_citations_that_each_entail_are_both_precise():
    found = citation_scores([(1, 2)], table((0, {1}), (0, {2})))
    assert found is not None and (found.precision, found.irrelevant) == (1.0, 0)


def test_two_citations_that_entail_only_together_are_both_precise():
    found = citation_scores([(1, 2)], table((0, {1, 2})))
    assert found is not None and (found.recall, found.precision) == (1.0, 1.0)


def test_citations_of_a_sentence_that_is_not_entailed_are_all_wrong():
    found = citation_scores([(1, 2), (3,)], table((1, {3})))
    assert found is not None
    assert (found.recall, found.precision) == (0.5, pytest.approx(1 / 3))
    assert found.irrelevant == 0


def test_an_answer_that_cites_nothing_has_precision_0():
    found = citation_scores([(), ()], table())
    assert found is not None and (found.recall, found.precision, found.citations) == (0.0, 0.0, 0)


def test_an_answer_that_claims_nothing_has_no_scores():
    assert citation_scores([], table()) is None


def test_the_apps_checker_judges_parts_of_what_a_sentence_cites(analyzer):
    held = [evidence(1, "금강상사의 직원은 모두 240명이다."), evidence(2, "옥수수의 기본 관세율은 3퍼센트이다.")]
    answer = "직원은 모두 240명입니다.[1][2] 기본 관세율은 8퍼센트입니다.[2] 회사는 부산에 있습니다."
    citations = tuple(Citation(n, item) for n, item in enumerate(held, start=1))
    turn = Turn("t", "s", 0.0, "?", answer=answer, citations=citations, retrieved=tuple(held))
    judged = Judged(turn, RuleChecker(analyzer))
    assert [claim.verdict for claim in judged.whole] == ["supported", "unsupported", "uncited"]
    found = judged.scores()
    assert found is not None
    # Of three sentences one is entailed; of its two citations [2] is not needed, and that of the wrong rate is wrong.
    assert (found.recall, found.precision) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert found.irrelevant == 1


# Match and intervals


@pytest.mark.parametrize(
    ("answer", "references", "language", "expected"),
    [
        ("The harbour has 12 berths.", ["12 berths"], "en", 2 * 2 / (4 + 2)),  # "the" is no word
        ("twelve", ["12", "Twelve"], "en", 1.0),
        ("nothing", ["12"], "en", 0.0),
        ("240명입니다", ["240명"], "ko", 2 * 4 / (7 + 4)),
        ("직원은 240명", ["직원은240명"], "ko", 1.0),  # spaces make no difference
        ("어느 것도", [], "ko", 0.0),
    ],
)
def test_f1_counts_words_and_in_korean_characters(answer, references, language, expected):
    assert overlap_f1(answer, references, language=language) == pytest.approx(expected)


def test_a_share_is_the_ratio_of_the_sums_with_an_interval_around_it():
    pairs = [(1.0, 1.0), (0.0, 1.0)] * 200
    found = share(pairs)
    assert found is not None and (found.value, found.counted) == (0.5, 400)
    # The normal approximation: ±1.96·0.5/√400.
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.1)
    assert share([(1.0, 2.0), (2.0, 2.0)]) == Share(0.75, 0.5, 1.0, 2)
    assert share([]) is None and share([(0.0, 0.0)]) is None


def row(name: str, **fields: Any) -> Row:
    return replace(Row(name, "ko", is_answerable=True, refused=False), **fields)


def test_refusals_are_counted_over_all_questions():
    rows = [
        *(row(f"right{i}", contained=True) for i in range(6)),
        *(row(f"lost{i}", refused=True, contained=False) for i in range(2)),
        *(row(f"no{i}", is_answerable=False, refused=True) for i in range(3)),
        row("invented", is_answerable=False),
        row("broken", failed="llm_unavailable", contained=False),
    ]
    found = {name: item.value for name, item in Group("g", tuple(rows)).shares().items() if item}
    assert found["answerable, answered"] == pytest.approx(6 / 9)
    assert found["unanswerable, refused"] == pytest.approx(3 / 4)
    assert found["refusal accuracy"] == pytest.approx(9 / 13)
    assert found["F1 of refusing"] == pytest.approx(2 * 3 / (5 + 4))  # 3 of 5 refused rightly, 3 of 4 found
    assert found["answer contained"] == pytest.approx(6 / 9)
    assert found["… in those that were answered"] == 1
    assert Group("g", tuple(rows[:8])).shares()["F1 of refusing"] is None  # nothing was to be refused


def test_groups_are_sets_by_language_and_each_language_together():
    named = {"one": [row("a"), row("b", language="en")], "two": [row("c")]}
    assert [(group.name, len(group.rows)) for group in groups_of(named)] == [
        ("one, en", 1),
        ("one, ko", 1),
        ("two, ko", 1),
        ("all ko", 2),
    ]


def test_a_turn_that_failed_is_neither_answer_nor_refusal(analyzer):
    case = Case("q", "?", "ko", True, ("240명",))
    turn = Turn("t", "s", 0.0, "?", answer="직원은 240명", status="interrupted", refused=True)
    found = to_row(case, Failed("llm_interrupted", "broke", "", "r", turn=turn), RuleChecker(analyzer))
    assert (found.failed, found.refused, found.is_answered) == ("llm_interrupted", False, False)
    assert (found.contained, found.f1, found.citations) == (False, 0.0, None)
    refused = to_row(case, Done(Turn("t", "s", 0.0, "?", answer="x", refused=True)), RuleChecker(analyzer))
    assert (refused.failed, refused.refused, refused.contained) == ("", True, False)


# Sets


def test_questions_without_a_known_answer_are_left_out(folder):
    found = load_answer_set(folder, 100)
    assert [(case.id, case.is_answerable) for case in found.cases] == [
        ("q1", True),
        ("q2", True),
        ("q3", True),
        ("never", False),
    ]
    assert found.left_out == 1
    assert [case.id for case in load_answer_set(folder, 2).cases] == ["q1", "q3", "never"]


def test_unanswerable_questions_may_stand_in_a_file_of_their_own(folder):
    write_lines(folder / "unanswerable.jsonl", [{"_id": "u1", "text": "Who guards the harbour?"}])
    case = load_answer_set(folder, 100).cases[-1]
    assert (case.id, case.language, case.is_answerable, case.relevant) == ("u1", "en", False, frozenset())


def test_a_gold_passage_of_a_whole_document_must_hold_the_answer():
    case = Case("g", "?", "ko", True, relevant=frozenset({"faq.csv"}), must_hold=("240명이다",))
    assert case.is_right(evidence(1, "직원은 240명이다.", "faq.csv"))
    assert not case.is_right(evidence(1, "직원은 많다.", "faq.csv"))
    assert not case.is_right(evidence(1, "직원은 240명이다.", "other.csv"))


def test_sets_that_know_no_answers_are_left_out_of_a_folder_and_refused_by_name(folder, capsys):
    silent = folder.parent / "silent"
    silent.mkdir()
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8").replace('"answers"', '"replies"').replace('"answerable"', '"x"')
        (silent / file.name).write_text(text, encoding="utf-8")
    assert [item.name for item in chosen_answer_sets(folder.parent, [], 5)] == ["own"]
    assert "silent" in capsys.readouterr().err
    with pytest.raises(SetError, match=r"no question with meta\.answers"):
        chosen_answer_sets(folder.parent, ["silent"], 5)


def test_the_questions_that_ship_are_asked_by_default():
    (found,) = chosen_answer_sets(None, [], 1_000)
    assert found.name == "gold" and len(found.cases) > 80
    assert {case.language for case in found.cases} == {"ko", "en"}
    assert all(bool(case.relevant) == case.is_answerable for case in found.cases)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "nowhere"],
        ["--questions", "0"],
        ["--sets", "own"],
        ["--data", ".", "--sets", "nowhere"],
        ["--data", "."],
    ],
)
def test_wrong_use_ends_with_2_and_a_sentence(arguments, capsys):
    assert answers.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("eval: ") and error.count("\n") == 1


# The whole way


def measured(folder: Path, *options: str) -> dict:
    out = folder.parent / "numbers.json"
    arguments = ["--data", str(folder), "--json", str(out), "--data-dir", str(folder.parent / "data"), *options]
    assert answers.main(arguments) == 0
    return json.loads(out.read_text(encoding="utf-8"))


def test_quote_mode_is_measured_over_the_real_app(folder, capsys):
    report = measured(folder)
    assert set(report["groups"]) == {"own, ko", "own, en"}
    korean, english = report["groups"]["own, ko"], report["groups"]["own, en"]
    assert (korean["counts"]["answerable"], korean["counts"]["unanswerable"]) == (2, 1)
    for group in (korean, english):
        shares = {name: item and item["value"] for name, item in group["shares"].items()}
        assert (
            shares["citation recall (ALCE)"] == shares["citation precision (ALCE)"] == shares["claims supported"] == 1
        )
        assert shares["answerable, answered"] == shares["answer contained"] == 1
        assert shares["answers that cite a gold passage"] == shares["gold passage given to the answerer"] == 1
        assert 0 < shares["F1 with the answer"] < 1
        assert 0 < group["ms"]["search_ms"][0] <= group["ms"]["total_ms"][1]
    assert english["shares"]["unanswerable, refused"] is None
    shown, said = capsys.readouterr()
    assert "| citation recall (ALCE) | 100.0 % [100.0, 100.0] |" in shown
    assert "Answered by quote mode" in shown and "claim checker" in shown
    assert "own: 4 of 4 questions" in said


def test_wrong_citations_of_a_language_model_lower_precision(folder, monkeypatch):
    """The model quotes the first passage, once with its own number and once with another one."""
    with FakeVllm() as fake:
        monkeypatch.setenv("LLM_BASE_URL", fake.base_url)

        def say(number: int) -> Callable[[dict], str]:
            def reply(body: dict) -> str:
                prompt = body["messages"][-1]["content"]
                first = prompt.split("[1] ", 1)[1].split("\n")[1]
                return f"{first.split('. ')[0].rstrip('.')}.[{number}]"

            return reply

        fake.always(Reply(say(1)))
        right = measured(folder)["groups"]["own, ko"]
        fake.always(Reply(say(2)))
        wrong = measured(folder)["groups"]["own, ko"]
        fake.always(Reply(say(99)))
        unknown = measured(folder)["groups"]["own, ko"]
    assert right["shares"]["citation precision (ALCE)"]["value"] == 1
    assert wrong["shares"]["citation precision (ALCE)"]["value"] == wrong["shares"]["claims supported"]["value"] == 0
    assert wrong["counts"]["citations"] == right["counts"]["citations"] > 0
    assert unknown["counts"]["unknown numbers removed"] == right["counts"]["citations"]
    assert unknown["shares"]["citation precision (ALCE)"]["value"] == 0
    assert unknown["counts"]["uncited claims"] == unknown["counts"]["claims"]


def test_a_turn_that_breaks_is_counted_and_said(folder, monkeypatch, capsys):
    with FakeVllm() as fake:
        monkeypatch.setenv("LLM_BASE_URL", fake.base_url)
        whole = Reply("직원은 모두 240명입니다.[1]")
        fake.always(whole)
        fake.script(whole, Reply("직원은 모두", end="error"))  # the first is not timed and not counted
        report = measured(folder)
    korean = report["groups"]["own, ko"]
    assert korean["counts"]["failed"] == 1 and korean["shares"]["answerable, answered"]["value"] == 0.5
    assert (
        "eval: own: 1 of 4 questions failed and count as not answered: 1 with llm_interrupted."
        in capsys.readouterr().err
    )
    (broken,) = [row for row in report["questions"]["own"] if row["failed"]]
    assert (broken["id"], broken["answer"], broken["contained"]) == ("q1", "직원은 모두", False)


def test_a_language_model_that_is_away_ends_with_3_and_a_sentence(folder, monkeypatch, capsys):
    with FakeVllm() as fake:
        monkeypatch.setenv("LLM_BASE_URL", fake.base_url)
        fake.always(Status(401, {"error": "Unauthorized"}))
        assert answers.main(["--data", str(folder), "--data-dir", str(folder.parent / "data")]) == 3
    error = capsys.readouterr().err
    assert "eval: 3 questions in a row failed: " in error and "Traceback" not in error
