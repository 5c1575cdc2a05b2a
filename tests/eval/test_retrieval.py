"""The evaluation of search: sets are checked line by line, measures are what a hand computes, and the whole way runs."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from eval import retrieval
from eval.beir import Question, SetError, load, unknown_passages
from eval.retrieval_cache import CachedEmbedding, VectorCache
from eval.retrieval_floors import below_floors, load_floors
from eval.retrieval_index import EvalIndex, _own_collection, store_passages
from eval.retrieval_metrics import compare, estimate, per_question
from eval.retrieval_report import report
from eval.retrieval_runs import read_run, write_run
from eval.retrieval_search import Asker, after_history, by_document
from ingest.preparing import chunking
from knowledge.database import Database
from knowledge.embedding import EmbeddingSpec, GakjuEmbedding
from knowledge.generations import Manifest
from knowledge.types import Evidence, Place, Scores

ROOT = Path(__file__).parent.parent.parent
FLOORS = ROOT / "eval" / "floors.json"
PASSAGES = {
    "경제": ("관세", "관세는 수입하는 물건에 매기는 세금이다. 세율은 품목마다 다르다."),
    "날씨": ("장마", "장마는 초여름에 비가 오래 내리는 시기이다."),
    "요리": ("김치", "김치는 배추를 소금에 절여 고춧가루로 버무려 담근다."),
    "음악": ("판소리", "판소리는 소리꾼이 북 장단에 맞추어 이야기를 노래한다."),
    "역사": ("훈민정음", "세종이 1443년에 훈민정음을 만들어 1446년에 반포하였다."),
    "port": ("Anchorage", "Ships wait at anchor outside the harbour until a berth is free."),
    "bread": ("Sourdough", "Wild yeast makes the dough of sourdough bread rise slowly."),
    "glass": ("Glass", "Glass is made by melting sand with soda and lime."),
    "bees": ("Honey", "Bees turn nectar into honey inside the hive."),
    "long": (
        "Tides",
        "\n\n".join(f"Paragraph {n}: the moon pulls the water of the sea, tide number {n}." for n in range(80)),
    ),
}
QUESTIONS = {
    "q1": ("관세가 무엇인가요?", "경제", "ko"),
    "q2": ("장마는 언제 와요?", "날씨", "ko"),
    "q3": ("훈민정음은 누가 만들었나요?", "역사", "ko"),
    "q4": ("Where do ships wait for a berth?", "port", "en"),
    "q5": ("What makes sourdough rise?", "bread", "en"),
    "q6": ("What pulls the water of the sea?", "long", "en"),
}


def write_set(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    corpus = [{"_id": key, "title": title, "text": text} for key, (title, text) in PASSAGES.items()]
    queries = [{"_id": key, "text": text, "meta": {"lang": lang}} for key, (text, _, lang) in QUESTIONS.items()]
    queries.append({"_id": "none", "text": "Who won the cup?", "meta": {"answerable": False}})
    qrels = [f"{key}\t{passage}\t1" for key, (_, passage, _) in QUESTIONS.items()] + ["none\tbees\t1"]
    write_lines(folder / "corpus.jsonl", [json.dumps(row, ensure_ascii=False) for row in corpus])
    write_lines(folder / "queries.jsonl", [json.dumps(row, ensure_ascii=False) for row in queries])
    write_lines(folder / "qrels.tsv", ["query-id\tcorpus-id\tscore", *qrels])
    return folder


def write_lines(file: Path, lines: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_set(tmp_path / "tiny")


# Sets


def test_a_set_is_read_with_its_unanswerable_questions_apart(dataset):
    data = load(dataset)
    assert (data.name, len(data.passages), len(data.questions)) == ("tiny", 10, 6)
    assert [question.id for question in data.others] == ["none"]
    assert data.questions[0] == Question("q1", "관세가 무엇인가요?", {"경제": 1}, "ko")
    assert data.passage_languages == ("en", "ko")


def test_a_set_in_two_languages_is_cut_to_one(dataset):
    korean = load(dataset).in_language("ko")
    assert korean.name == "tiny.ko"
    assert {passage.id for passage in korean.passages} == {"경제", "날씨", "요리", "음악", "역사"}
    assert [question.id for question in korean.questions] == ["q1", "q2", "q3"]


def test_judgements_are_found_where_beir_has_them(dataset):
    (dataset / "qrels").mkdir()
    (dataset / "qrels.tsv").rename(dataset / "qrels" / "test.tsv")
    write_lines(dataset / "qrels" / "train.tsv", ["q1\tbees\t1"])
    assert load(dataset).questions[0].relevant == {"경제": 1}
    write_lines(
        dataset / "qrels" / "test.tsv", ["q1 0 bees 2", "q1 0 glass 0"]
    )  # as TREC has them, no names of columns
    assert load(dataset).questions[0].relevant == {"bees": 2}


def test_a_line_separator_inside_a_text_does_not_end_the_line(dataset):
    row = json.dumps({"_id": "ls", "title": "", "text": "one\u2028two"}, ensure_ascii=False)
    with (dataset / "corpus.jsonl").open("a", encoding="utf-8") as file:
        file.write(f"\n{row}\n")
    assert load(dataset).passages[-1].text == "one\u2028two"


def test_judged_passages_that_are_not_there_are_named(dataset):
    write_lines(dataset / "qrels.tsv", ["q1\tgone\t1", "q2\t날씨\t1"])
    assert unknown_passages(load(dataset)) == ["gone"]


@pytest.mark.parametrize(
    ("file", "lines", "says"),
    [
        ("corpus.jsonl", ['{"_id": "a", "text": "x"}', '{"_id": "b", "text": '], "corpus.jsonl, line 2: not JSON"),
        ("corpus.jsonl", ['{"_id": "a", "text": "x"}', "", '{"_id": "a", "text": "y"}'], "line 3: the id 'a'"),
        ("corpus.jsonl", ['{"text": "x"}'], 'line 1: not an object with an "_id"'),
        ("corpus.jsonl", ['{"_id": "a"}'], 'line 1: "text" and "title" must be strings'),
        ("corpus.jsonl", [], "corpus.jsonl is empty"),
        ("queries.jsonl", ['{"_id": "q1", "text": " "}'], "queries.jsonl, line 1: a question needs"),
        ("queries.jsonl", ['{"_id": "q1", "text": "x", "meta": {"history": ["y"]}}'], '"history" must hold pairs'),
        ("queries.jsonl", ['{"_id": "other", "text": "x"}'], "judges none of the questions"),
        ("qrels.tsv", ["query-id\tcorpus-id\tscore"], "has no relevant passage"),
        ("qrels.tsv", [], "has no relevant passage"),
        ("qrels.tsv", ["query-id\tcorpus-id\tscore", "q1\tbees\tyes"], "qrels.tsv, line 2"),
        ("qrels.tsv", ["", "query-id\tcorpus-id\tscore", "q1\tbees\t0.5"], "qrels.tsv, line 3"),
        ("qrels.tsv", ["query-id\tcorpus-id\tscore", "q1\tbees"], "qrels.tsv, line 2"),
        ("corpus.jsonl", ['{"_id": "a\\u0000", "text": "x"}'], "line 1: the id"),
        ("corpus.jsonl", ['{"_id": "a\\ud800", "text": "x"}'], "line 1: the id"),
    ],
)
def test_a_broken_set_is_one_sentence_with_the_line(dataset, capsys, file, lines, says):
    write_lines(dataset / file, lines)
    assert retrieval.main(["--dataset", str(dataset)]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and "Traceback" not in error


def test_of_several_judgements_of_a_pair_the_last_one_counts(dataset):
    write_lines(
        dataset / "qrels.tsv", ["", "q1\tbees\t1", "q1\t경제\t2.0\t", "q1\tbees\t0", "q1 0\tport\t1", "q9\tbees\t1"]
    )
    data = load(dataset)
    assert data.questions[0].relevant == {"경제": 2}
    assert data.unasked == ("q1 0", "q9")


def test_what_no_database_holds_is_left_out_of_texts(dataset):
    rows = [{"_id": "경제", "title": "관\0세", "text": "세금\ud800이다."}]
    write_lines(dataset / "corpus.jsonl", [json.dumps(row) for row in rows])
    assert [(item.title, item.text) for item in load(dataset).passages] == [("관 세", "세금?이다.")]


@pytest.mark.parametrize("file", ["corpus.jsonl", "queries.jsonl", "qrels.tsv"])
def test_a_missing_file_is_named(dataset, capsys, file):
    (dataset / file).unlink()
    assert retrieval.main(["--dataset", str(dataset)]) == 2
    assert file in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--dataset"], ["--all"]])
def test_a_folder_without_sets_is_refused(tmp_path, capsys, options):
    assert retrieval.main([*options, str(tmp_path)]) == 2
    assert retrieval.main([*options, str(tmp_path / "nowhere")]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--plot", "a.txt"], "a.txt is no name of a picture"),
        (["--json", "."], "cannot be written: Is a directory"),
        (["--run", "."], "cannot be written"),
        (["--against", "nowhere.trec"], "nowhere.trec cannot be read: No such file"),
        (["--top-k", "0"], "must be at least 1"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work(dataset, tmp_path, monkeypatch, capsys, options, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.both.trec").mkdir()
    assert retrieval.main(["--dataset", str(dataset), *options]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


# Measures


def test_measures_are_what_a_hand_computes():
    relevant = {"one": {"a": 1, "b": 1}, "two": {"c": 1}, "lost": {"d": 1}}
    ranked = {"one": ["x", "a", "y", "z", "w", "b"], "two": ["c", *"uvwxyz"]}
    values = per_question(relevant, ranked)
    ideal = 1 + 1 / math.log2(3)
    np.testing.assert_allclose(values["nDCG@10"], [(1 / math.log2(3) + 1 / math.log2(7)) / ideal, 1, 0])
    np.testing.assert_allclose(values["MRR@10"], [0.5, 1, 0])
    np.testing.assert_allclose(values["Recall@1"], [0, 1, 0])
    np.testing.assert_allclose(values["Recall@5"], [0.5, 1, 0])
    np.testing.assert_allclose(values["Recall@10"], [1, 1, 0])
    np.testing.assert_allclose(values["Hit@10"], [1, 1, 0])


def test_what_stands_below_the_tenth_place_counts_for_recall_at_100_alone():
    values = per_question({"q": {"a": 1}}, {"q": [*(f"x{n}" for n in range(10)), "a"]})
    assert {name: row[0] for name, row in values.items() if row[0]} == {"Recall@100": 1}


def test_an_interval_is_wide_for_few_questions_and_narrow_for_many():
    few = estimate({"m": np.array([0.0, 1.0] * 5)})["m"]
    many = estimate({"m": np.array([0.0, 1.0] * 500)})["m"]
    assert few.mean == many.mean == 0.5
    assert few.low < many.low < 0.5 < many.high < few.high
    # The normal approximation of a mean of 1000 coins: ±1.96·0.5/√1000.
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(1000), rel=0.1)


def test_two_runs_are_compared_question_by_question():
    same = {"m": np.array([0.1, 0.5, 0.9] * 20)}
    better = {"m": same["m"] + 0.05}
    assert compare(same, same)["m"].p == 1
    found = compare(better, same)["m"]
    assert found.difference.mean == pytest.approx(0.05) and found.difference.low > 0
    assert found.p < 0.001
    # Three questions say little: all three signs agree in 2 of 8 draws.
    assert compare({"m": np.array([0.2, 0.3, 0.4])}, {"m": np.zeros(3)})["m"].p == pytest.approx(0.25, abs=0.02)


# Runs


@pytest.mark.parametrize("name", ["run.trec", "run.jsonl"])
def test_a_run_comes_back_in_its_order_even_where_scores_are_equal(tmp_path, name):
    ranking = (("b 1", 0.5), ("a", 0.5), ("c", 0.5), ("d", 0.0), ("e", 0.0))
    write_run(tmp_path / name, {"q": ranking}, tag="t")
    assert read_run(tmp_path / name) == {"q": ["b%201", "a", "c", "d", "e"]}


def test_scores_of_a_run_differ_in_single_precision(tmp_path):
    write_run(tmp_path / "run", {"q": tuple((str(n), 1.0) for n in range(100))}, tag="t")
    lines = [line.split() for line in (tmp_path / "run").read_text().splitlines()]
    assert lines[0] == ["q", "Q0", "0", "1", "1.000000", "t"]
    assert len({np.float32(line[4]) for line in lines}) == 100


def test_what_is_no_run_is_refused_with_its_line(tmp_path):
    write_lines(tmp_path / "run", ["q Q0 a 1 0.5 t", "q a"])
    with pytest.raises(SetError, match="line 2"):
        read_run(tmp_path / "run")


def test_a_document_has_the_score_of_its_best_chunk():
    def evidence(path: str, fused: float) -> Evidence:
        return Evidence("", "", "", path, "", (), Place(), 0, 0, "", "ko", Scores(fused=fused), 1)

    found = [evidence("a", 0.9), evidence("b", 0.8), evidence("a", 0.7), evidence("c", 0.1)]
    assert by_document(found) == (("a", 0.9), ("b", 0.8), ("c", 0.1))


# Floors and reports


def test_a_measure_below_its_floor_is_named(dataset, tmp_path):
    data = load(dataset)
    ranked = {key: [passage] for key, (_, passage, _) in QUESTIONS.items() if key != "q1"}
    found = report(
        data, ranked, leg="both", query_field="text", passages=10, chunks=12, timings_ms=[1.0, 2.0], against=ranked
    )
    assert found.groups["all"].estimates["nDCG@10"].mean == pytest.approx(5 / 6)
    assert {name: group.questions for name, group in found.groups.items()} == {"all": 6, "en": 3, "ko": 3}
    assert found.groups["all"].against["nDCG@10"].p == 1 and found.left_out == 1 and not found.counts_in_macro
    (tmp_path / "floors.json").write_text('{"tiny": {"both": {"nDCG@10": 0.9, "Recall@10": 0.8}}}')
    floors = load_floors(tmp_path / "floors.json")
    assert below_floors([found], floors) == ["tiny, both: nDCG@10 is 0.8333, below its floor 0.9"]
    with pytest.raises(SetError, match="none of the sets"):
        below_floors([found], {"other": {"both": {"nDCG@10": 0.1}}})


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a": {"both": {"luck": 1}}}', '{"a": {"both": {"nDCG@10": "x"}}}', '{"a": 1}']
)
def test_wrong_floors_are_refused(tmp_path, text):
    (tmp_path / "floors.json").write_text(text)
    with pytest.raises(SetError):
        load_floors(tmp_path / "floors.json")


def test_a_run_of_another_set_cannot_be_compared(dataset):
    data = load(dataset)
    with pytest.raises(SetError, match="none of the questions of tiny"):
        report(data, {}, leg="both", query_field="text", passages=0, chunks=0, timings_ms=(), against={"else": ["a"]})


# Vectors on disk


def test_vectors_are_made_once_and_come_back_bit_by_bit(tmp_path, embedding):
    texts = ["관세는 세금이다", "a tariff is a tax", "관세는 세금이다"]
    cache = VectorCache(tmp_path, embedding.spec)
    first = CachedEmbedding(embedding, cache)
    passages, query = first.embed_passages(texts), first.embed_query(texts[0])
    cache.close()
    again = VectorCache(tmp_path, embedding.spec)
    second = CachedEmbedding(_Deaf(embedding), again)
    assert np.array_equal(second.embed_passages(texts), passages) and np.array_equal(
        second.embed_query(texts[0]), query
    )
    assert np.array_equal(passages[1], embedding.embed_passages([texts[1]])[0])
    assert not np.array_equal(passages[0], query)
    with pytest.raises(AssertionError):
        second.embed_query("new")
    again.close()


def test_another_embedder_has_vectors_of_its_own(tmp_path, embedding):
    other = EmbeddingSpec(embedding.spec.name, embedding.spec.dimension, "other: ", "")
    one, two = VectorCache(tmp_path, embedding.spec), VectorCache(tmp_path, other)
    assert one.file != two.file
    one.close()
    two.close()


class _Deaf(CachedEmbedding):
    """Knows its spec and refuses to embed."""

    def __init__(self, embedding: GakjuEmbedding) -> None:
        super().__init__(embedding, None)  # type: ignore[arg-type]

    def embed_query(self, text: str) -> np.ndarray:
        raise AssertionError("asked for a vector")

    def embed_passages(self, texts) -> np.ndarray:
        raise AssertionError("asked for vectors")


# Conversations


async def test_a_follow_up_is_completed_from_what_the_user_asked_before(analyzer):
    history = (("user", "CORS 설정은 어떻게 하나요?"), ("agent", "미들웨어를 더합니다."))
    query = await after_history(Question("q", "그럼 모두 허용하면요?", {}, "ko", history), analyzer)
    assert query.text == "CORS 설정은 어떻게 하나요? 그럼 모두 허용하면요?"
    alone = await after_history(Question("q", "관세가 무엇인가요?", {}, "ko", history), analyzer)
    assert alone.text == "관세가 무엇인가요?"


# The whole way


def run_eval(*options: str | Path, database_url: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "eval", "retrieval", *map(str, options)],
        cwd=ROOT, env=os.environ | {"DATABASE_URL": database_url}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_sets_are_searched_in_a_real_database_and_measured(dataset, tmp_path, database_url):
    floors = tmp_path / "floors.json"
    floors.write_text('{"tiny": {"both": {"Recall@5": 1.0}}, "macro": {"words": {"nDCG@10": 0.9}}, "else": {}}')
    runs, numbers, picture = tmp_path / "runs", tmp_path / "numbers.json", tmp_path / "plot.png"
    done = run_eval(
        "--all", dataset.parent, "--leg", "words", "meaning", "both", "--data-dir", tmp_path / "data",
        "--run", runs, "--json", numbers, "--plot", picture, "--floor", floors,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = json.loads(numbers.read_text(encoding="utf-8"))
    by_name = {(item["name"], item["leg"]): item for item in written["sets"]}
    assert set(by_name) == {
        (name, leg) for name in ("tiny", "tiny.ko", "tiny.en") for leg in ("words", "meaning", "both")
    }
    both = by_name["tiny", "both"]
    assert both["passages"] == 10 and both["chunks"] > 10 and both["left_out"] == 1
    assert both["latency_ms"]["timed"] == 7
    assert {name: group["questions"] for name, group in both["groups"].items()} == {"all": 6, "en": 3, "ko": 3}
    run = read_run(runs / "tiny.both.trec")
    assert set(run) == {*QUESTIONS, "none"}
    assert sorted(run["q6"]) == sorted(set(run["q6"])) and run["q6"][0] == "long"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "**macro of 2**" in done.stdout

    # The same again on a server of one's own, from the cache, against itself and below a floor.
    floors.write_text('{"tiny": {"both": {"Recall@5": 1.1}}}')
    done = run_eval(
        "--dataset", dataset, "--data-dir", tmp_path / "data", "--against", runs / "tiny.both.trec", "--floor", floors,
        database_url=database_url,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "tiny, both: Recall@5 is 1.0000, below its floor 1.1" in done.stderr
    assert "+0.0000 [+0.0000, +0.0000] p=1.0000" in done.stdout
    server = Database(database_url)
    with closing(server.dedicated()) as conn:
        assert conn.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'eval%'").fetchone() == (0,)


def test_a_collection_in_a_database_in_use_leaves_nothing_behind(dataset, database_url, embedding, analyzer):
    manifest = Manifest(embedding.spec.to_dict(), chunking(256))
    data = load(dataset)
    with _own_collection(database_url, manifest, "tiny") as index:
        assert store_passages(index, data.passages, embedding=embedding, analyzer=analyzer, chunk_tokens=256) == []
        asker = Asker(index, embedding, embedding, analyzer, top_k=5)
        asked = asker.ask(data.questions, leg="both", query_field="text")
        assert {key: ranking[0][0] for key, ranking in asked.rankings.items()} == {
            key: passage for key, (_, passage, _) in QUESTIONS.items()
        }
        assert all(len(ranking) == 5 for ranking in asked.rankings.values())
    db = Database(database_url)
    db.open()
    with db.connection() as conn:
        for table in ("documents", "chunks", "term_counts", "chunk_counts", "count_changes", "collections"):
            assert conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (0,), table
    db.close()


def test_an_empty_passage_is_left_out_and_named(database_url, embedding, analyzer, dataset):
    data = load(dataset)
    empty = type(data.passages[0])("empty", "", " ")
    titled = type(data.passages[0])("titled", "관세율표", "")
    with _own_collection(database_url, Manifest(embedding.spec.to_dict(), chunking(256)), "tiny") as index:
        assert isinstance(index, EvalIndex)
        refused = store_passages(index, [empty, titled], embedding=embedding, analyzer=analyzer, chunk_tokens=256)
        assert refused == ["empty"] and index.store.counts().documents == 1


def test_the_questions_that_ship_find_their_documents(tmp_path):
    done = run_eval("--floor", FLOORS, "--leg", "words", "meaning", "both", "--data-dir", tmp_path, "--run", tmp_path)
    assert done.returncode == 0, done.stderr
    questions = [json.loads(line) for line in (ROOT / "eval" / "gold" / "questions.jsonl").read_text().splitlines()]
    assert set(read_run(tmp_path / "gold.both.trec")) == {question["id"] for question in questions}
