"""A person's own questions against the live index: chunked anew, documents changed and gone, files that others score."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ir_measures
import pytest
from ir_measures import nDCG

from eval import own, retrieval
from eval.own_files import SHEET, Other, Plan, Row, SetFolder
from eval.own_places import DOCUMENT_GONE, PASSAGE_GONE, Places
from eval.own_sheet import Filled, bring_up_to_date
from knowledge.search import Searcher
from knowledge.store import EmbeddedChunk, IndexStore
from knowledge.terms import term_vector
from knowledge.types import Chunk, Source
from tests.eval.own_support import EN, KO, TABLE, fill, put

QUESTIONS = {
    KO["휴가.md"][0]: "입사한 지 1년이 넘으면 연차가 며칠 나오나요?",
    KO["휴가.md"][1]: "아파서 쉬면 월급은 얼마나 나오나요?",
    KO["출장.md"][0]: "국내 출장에서 숙박비 한도는 얼마인가요?",
    KO["출장.md"][1]: "해외 출장은 누가 승인하나요?",
    KO["보안.md"][0]: "노트북을 분실하면 어디에 알려야 하나요?",
    EN["parking.md"][0]: "Where do employees park their cars for free?",
    EN["parking.md"][1]: "How long may an electric car use a charging post?",
    EN["library.md"][0]: "How often can a loan of a book be renewed?",
    TABLE: "임원의 식비는 얼마인가요?",
}


@pytest.fixture
def live(store, embedding, analyzer, database_url, tmp_path, monkeypatch) -> IndexStore:
    """A filled index that the commands open as a user's own."""
    fill(store, embedding, analyzer)
    for name, value in {"DATABASE_URL": database_url, "DATA_DIR": str(tmp_path / "data"), "LLM_BASE_URL": ""}.items():
        monkeypatch.setenv(name, value)
    return store


def chunk_anew(store: IndexStore, path: str, size: int, embedding, analyzer, *, text: str = "") -> None:
    """Slices of `size` characters; `text` in place of what the document said."""
    document = store.document("default", path)
    assert document is not None
    text = text or document[0].text
    chunks = [
        Chunk(n, at, min(at + size, len(text)), text[at : at + size]) for n, at in enumerate(range(0, len(text), size))
    ]
    vectors = embedding.embed_passages([chunk.text for chunk in chunks])
    rows = [
        EmbeddedChunk(chunk, vector, term_vector(analyzer.analyze(chunk.text)), document[0].language)
        for chunk, vector in zip(chunks, vectors, strict=True)
    ]
    store.replace(replace(document[0], text=text, blocks=()), rows, reading=f"cut at {size}")


def edit(
    folder: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]]], encoding: str = "utf-8-sig"
) -> None:
    with (folder / SHEET).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / SHEET).open("w", encoding=encoding, errors="replace", newline="") as file:  # as Excel does
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(change(rows))


def measured(folder: Path, *options: str | Path) -> tuple[int, dict]:
    file = folder.parent / "numbers.json"
    file.unlink(missing_ok=True)
    code = retrieval.main(["--set", str(folder), "--json", str(file), *map(str, options)])
    return code, json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def test_a_set_by_hand_goes_the_whole_way(live, embedding, analyzer, tmp_path, capsys):
    folder, run = tmp_path / "set", tmp_path / "run.trec"
    assert own.main([str(folder), "--questions", "9", "--seed", "3"]) == 0
    assert "9 passages stand in" in capsys.readouterr().out
    assert measured(folder)[0] == 2
    assert "No question counts" in capsys.readouterr().err

    def fill_in(rows):
        for row in rows:
            row["question"] = "" if row["passage"] == TABLE else QUESTIONS[row["passage"]]
            row["keep"] = "n" if row["document"] == "보안.md" else ""
        own_row = dict.fromkeys(rows[0], "") | {"question": "방문객 주차 요금은 얼마인가요?", "document": "parking.md"}
        return [*rows, own_row]

    edit(folder, fill_in, encoding="cp949")
    code, found = measured(folder, "--run", run)
    assert code == 0
    told = capsys.readouterr()
    assert "1 rows of" in told.err and "struck out and 1 have no question" in told.err
    assert (found["struck_out"], found["not_filled_in"], len(found["questions"])) == (1, 1, 8)
    assert {name: group["questions"] for name, group in found["sets"][0]["groups"].items()} == {
        "all": 8,
        "en": 3,
        "ko": 5,
    }
    ranks = {item["id"]: item["rank"] for item in found["questions"]}
    assert all(rank is not None and rank <= 5 for rank in ranks.values())
    assert "have their answer among the 6 passages" in told.out and "p50" in told.out

    # Another program scores the run file with the judgements beside it, and gets the same.
    with (folder / "qrels.tsv").open(encoding="utf-8") as file:
        judged = [line.rstrip("\n").split("\t") for line in file][1:]
    qrels = [ir_measures.Qrel(question, answer, int(grade)) for question, answer, grade in judged]
    scored = ir_measures.calc_aggregate([nDCG @ 10], qrels, list(ir_measures.read_trec_run(str(run))))
    assert scored[nDCG @ 10] == pytest.approx(found["sets"][0]["groups"]["all"]["estimates"]["nDCG@10"]["mean"])
    assert {json.loads(line)["_id"] for line in (folder / "queries.jsonl").read_text("utf-8").splitlines()} == set(
        ranks
    )

    # Chunks of other sizes, one document gone, one rewritten: the same questions, and what is gone is named.
    for path, size in {"휴가.md": 30, "parking.md": 1000}.items():
        chunk_anew(live, path, size, embedding, analyzer)
    chunk_anew(live, "출장.md", 500, embedding, analyzer, text="출장 규정은 폐지되었다. " * 10)
    live.remove("default", "library.md")
    floor = tmp_path / "floor.json"
    floor.write_text('{"set": {"both": {"Recall@100": 1.0}}}')
    code, found = measured(folder, "--against", run, "--floor", floor)
    assert code == 1
    told = capsys.readouterr()
    assert "1 questions are of documents that are not in the index" in told.err and "library.md" in told.err
    assert "2 questions are of passages that their documents no longer hold" in told.err and "출장.md" in told.err
    assert "below its floor" in told.err and "less the other run" in told.out
    gone = {item["id"]: item["gone"] for item in found["questions"]}
    assert sorted(gone.values()) == ["", "", "", "", "", "document", "passage", "passage"]
    assert all((item["rank"] is None) == bool(item["gone"]) for item in found["questions"])
    missed = (folder / "missed.csv").read_text(encoding="utf-8-sig")
    assert EN["library.md"][0] in missed and "found text" in missed
    assert not [text for text in QUESTIONS if text[:20] in told.out + told.err]


def test_wrong_use_is_one_sentence(live, tmp_path, capsys):
    def says(*words: str) -> None:
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "Traceback" not in error
        assert all(word in error for word in words), error

    assert retrieval.main(["--set", str(tmp_path / "nowhere")]) == 2
    says("There is no folder", "gakju eval new-set")
    (tmp_path / "empty").mkdir()
    assert retrieval.main(["--set", str(tmp_path / "empty")]) == 2
    says("is no set of your own")
    assert own.main([str(tmp_path / "set"), "--collection", "nobody"]) == 2
    says("'nobody' holds no documents", "gakju ingest add", "--collection (default)")
    (tmp_path / "file").write_text("")
    for wrong in ("file", "file/below"):
        assert own.main([str(tmp_path / wrong)]) == 2
        says(wrong, "is not a folder")
    assert retrieval.main(["--set", str(tmp_path / "file")]) == 2
    says("is not a folder")
    assert not (tmp_path / "set").exists()
    assert own.main([str(tmp_path / "set"), "--questions", "0"]) == 2
    says("at least 1")
    folder = SetFolder.create(tmp_path / "other", Plan("hr", 0, "both", "model"))
    folder.add(Row("q0001", "연차는 며칠인가요?", "a.md", 0, 5, "열다섯 날", "a", "ko", "ko", "text"))
    assert retrieval.main(["--set", str(folder.folder)]) == 2
    says("'hr'", "holds no document")
    assert retrieval.main(["--set", str(folder.folder), "--leg", "words"]) == 2
    says("--leg does not go with --set")
    gone = SetFolder.create(tmp_path / "gone", Plan("default", 0, "both", "model"))
    gone.add(Row("q0001", "급식은 몇 시인가요?", "급식.md", 0, 5, "급식은 열두 시", "급식", "ko", "ko", "text"))
    assert retrieval.main(["--set", str(gone.folder)]) == 2
    says("No answer of", "make a new set")


def test_two_runs_do_not_write_into_one_folder(live, tmp_path, capsys):
    folder = tmp_path / "set"
    assert own.main([str(folder), "--questions", "1"]) == 0
    with own._alone(folder):
        assert own.main([str(folder), "--questions", "2"]) == 2
    assert "is writing into" in capsys.readouterr().err
    assert own.main([str(folder), "--questions", "2"]) == 0 and len(SetFolder.open(folder).rows) == 2


def test_a_language_model_that_is_away_is_said_at_once(live, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LLM_BASE_URL", "http://127.0.0.1:9/v1")
    assert own.main([str(tmp_path / "set"), "--questions", "2"]) == 3
    said = capsys.readouterr().err
    assert "No language model answers" in said and said.endswith("the same command goes on from here.\n")
    assert own.main([str(tmp_path / "hand"), "--questions", "2", "--by-hand"]) == 0


def test_the_package_that_measures_is_named_where_it_is_missing(tmp_path):
    code = "import sys; sys.modules['ir_measures'] = None; from app import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "eval", "retrieval", "--set", str(tmp_path)],
        cwd=Path(__file__).parent.parent.parent, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2 and "pip install 'gakju[eval]'" in done.stderr and done.stderr.count("\n") == 1


# Places


def found(store: IndexStore, path: str) -> list:
    searcher = Searcher(store.db, store.generation)
    document = store.document("default", path)
    assert document is not None
    return list(searcher.chunks([store.chunk_id(document[0], n) for n in range(40)]))


def item(question: str = "q", **fields: Any) -> Filled:
    given: dict[str, Any] = {"id": "q1", "question": question, "is_own": False, "path": "", "passage": ""} | fields
    return Filled(**given)


def row_of(path: str, passage: str, **fields: Any) -> Row:
    given: dict[str, Any] = {
        "start": 0,
        "end": len(passage),
        "where": path,
        "language": "ko",
        "ask_in": "ko",
        "kind": "text",
    } | fields
    return Row(id="q1", question="q", path=path, passage=passage, **given)


def test_the_words_that_answer_count_however_a_document_is_chunked(store, embedding, analyzer):
    fill(store, embedding, analyzer)
    passage, quote = KO["휴가.md"][1], "통상 임금의 칠할"
    row = row_of("휴가.md", passage, start=len(KO["휴가.md"][0]) + 2, quote=quote)
    chunk_anew(store, "휴가.md", 25, embedding, analyzer)
    answer = Places(store, "default").answer(item(), {"q1": row})
    holding = [chunk.text for chunk in found(store, "휴가.md") if answer.is_in(chunk, "default")]
    assert len(holding) == 1 and "통상" in holding[0]
    assert not any(answer.is_in(chunk, "other") for chunk in found(store, "휴가.md"))
    # Rewritten by a person, the question may be about any part of the passage.
    rewritten = Places(store, "default").answer(item("another question"), {"q1": row})
    assert sum(rewritten.is_in(chunk, "default") for chunk in found(store, "휴가.md")) > 1


def test_a_passage_that_moved_or_was_spaced_anew_is_found(store, embedding, analyzer):
    fill(store, embedding, analyzer)
    passage = KO["보안.md"][0]
    chunk_anew(store, "보안.md", 1000, embedding, analyzer, text="머리말. " * 50 + passage.replace(" ", "\n "))
    answer = Places(store, "default").answer(item(), {"q1": row_of("보안.md", passage)})
    assert not answer.gone and answer.spans[0].start == len("머리말. " * 50)
    for path, gone in {"없음.md": DOCUMENT_GONE, "휴가.md": PASSAGE_GONE}.items():
        assert Places(store, "default").answer(item(), {"q1": row_of(path, "다른 말")}).gone == gone


def test_the_same_long_words_elsewhere_count_and_short_ones_do_not(store, embedding, analyzer):
    fill(store, embedding, analyzer)
    put(store, "copy.md", ["Rules. " + EN["library.md"][0].upper()], embedding, analyzer)
    places = Places(store, "default")
    long = places.answer(item(), {"q1": row_of("library.md", EN["library.md"][0])})
    short = places.answer(item(), {"q1": row_of("library.md", EN["library.md"][0][:20])})
    (copy,) = found(store, "copy.md")
    assert long.is_in(copy, "default") and not short.is_in(copy, "default")
    other = Other("copy.md", 0, len(copy.text), copy.text, "THREE WEEKS")
    judged = places.answer(item(), {"q1": row_of("없음.md", "x", quote="x", also=(other,))})
    assert judged.is_in(copy, "default")
    whole = places.answer(item(is_own=True, path="휴가.md"), {})
    assert all(whole.is_in(chunk, "default") for chunk in found(store, "휴가.md"))


def test_a_passage_that_the_search_shows_once_for_several_places_counts(store, embedding, analyzer):
    fill(store, embedding, analyzer)
    passage = KO["출장.md"][1]
    put(store, "사본.md", [passage], embedding, analyzer)
    answer = Places(store, "default").answer(item(), {"q1": row_of("출장.md", passage[:20], quote="본부장")})
    (copy,) = found(store, "사본.md")
    assert not answer.is_in(copy, "default")
    shown = replace(copy, also_in=(Source("c", "d", "default", "출장.md", "출장"),))
    assert answer.is_in(shown, "default") and not answer.is_in(shown, "other")


def test_questions_of_a_killed_run_count_before_anybody_saw_them(tmp_path):
    folder = SetFolder.create(tmp_path / "set", Plan("default", 0, "both", "model"))
    folder.add(replace(row_of("a.md", "열다섯 날"), id="q0001", question="연차는 며칠인가요?"))
    assert not (folder.folder / SHEET).exists()
    assert "연차는 며칠인가요?" in bring_up_to_date(SetFolder.open(folder.folder)).read_text("utf-8-sig")
