"""The measurement of search runs, reports what it says, and counts recall right. Times are not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from eval import speed
from eval.speed_search_index import SizedIndex
from eval.speed_search_measures import Asker, Times, recall
from eval.speed_search_pool import real_questions, real_texts
from eval.speed_search_text import CHUNKS_A_DOCUMENT, Maker, make_pool
from knowledge.search_indexes import tidy

ROOT = Path(__file__).parent.parent.parent
PNG = b"\x89PNG"


def make_set(folder: Path) -> None:
    """Three passages in BEIR's layout, a question to each."""
    folder.mkdir()
    name = folder.name
    rows = [json.dumps({"_id": f"{n}", "title": "", "text": f"{name} 문서 {n}"}) for n in range(3)]
    (folder / "corpus.jsonl").write_text("\n".join(rows), encoding="utf-8")
    asked = [json.dumps({"_id": f"q{n}", "text": f"{name} 질문 {n}"}) for n in range(3)]
    (folder / "queries.jsonl").write_text("\n".join(asked), encoding="utf-8")
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq0\t0\t1\nq1\t1\t1\nq2\t2\t1\n", encoding="utf-8")


@pytest.fixture(scope="module")
def pool(analyzer, embedding):
    texts = real_texts([])[:12]
    return make_pool(texts, analyzer=analyzer, embed=embedding.embed_passages, most_sentences=60)


def test_the_command_measures_both_sizes_and_the_stock_store(tmp_path):
    make_set(tmp_path / "tiny")
    done = subprocess.run(
        [
            sys.executable, "-m", "eval", "speed", "search", "--quick",
            "--dataset", str(tmp_path / "tiny"), "--json", str(tmp_path / "s.json"), "--plot", str(tmp_path / "s.png"),
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| | 200 chunks | 400 chunks |" in done.stdout and "nDCG@10 on tiny (3 questions" in done.stdout
    assert (tmp_path / "s.png").read_bytes().startswith(PNG)
    written = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert written["is_quick"] and [size["chunks"] for size in written["sizes"]] == [200, 400]
    for size in written["sizes"]:
        assert len(size["ms"]["whole"]) == 8 == len(size["stock"]["ms"])
        assert size["ms"]["whole"][0] >= size["ms"]["database"][0] > 0
        # So few chunks are all candidates: what is found is exact, or it is counted wrongly.
        assert np.mean(size["recall@10"]["words"]) == 1 and np.mean(size["recall@10"]["meaning"]) >= 0.99
        assert size["bytes"]["everything"] > size["bytes"]["chunks"] > 0 and size["server_bytes"] > 10_000_000
    assert 0 < written["quality"]["hybrid"]["mean"] <= 1


@pytest.mark.parametrize(
    "arguments",
    [["--sizes", "150"], ["--sizes", "0"], ["--questions", "0"], ["--text", "nowhere"], ["--exact", "0"]],
)
def test_wrong_arguments_end_with_2_and_a_sentence(arguments, capsys):
    assert speed.main(["search", *arguments]) == 2
    assert capsys.readouterr().err.startswith("eval: ")


def test_recall_counts_what_scores_as_high_as_the_exact_tenth():
    exact = [9.0, 8.0, 7.0, 6.0]
    assert recall([9.0, 8.0, 7.0, 6.0], exact) == [1.0]
    assert recall([9.0, 8.0, 6.0, 5.0], exact) == [0.75]
    assert recall([9.0, 8.0, 6.0, 6.0], [9.0, 8.0, 6.0, 6.0]) == [1.0]  # of equal ones any will do
    assert recall([], exact) == [0.0]
    assert recall([1.0], []) == []
    with pytest.raises(ValueError, match="best of all"):
        recall([9.5, 8.0], exact)


def test_recall_notices_that_a_leg_misses_its_best_chunks(pool, analyzer, embedding, store):
    for document, chunks in Maker(pool, analyzer).documents(0, 4):
        store.replace(document, chunks, reading="synthetic", settle=False)
    tidy(store)

    class Index:
        table = f"chunks_{store.generation.id}"
        url, chunks, built = "", 400, None

        def __init__(self):
            self.store = store

    asker = Asker(cast(SizedIndex, Index()), embedding, analyzer, top_k=6)
    questions = ["".join(pool.sentences[number].pieces) for number in range(0, 50, 10)]
    assert asker.recalls(questions)["words"] == [1.0] * 5
    times = Times()
    asker.ask(questions[0], times)
    asker.ask_legs(questions[0], times)
    assert all(len(taken) == 1 for taken in times.steps.values())
    # A leg that looks at one chunk finds one of ten.
    asker._searcher._candidates = 1
    assert max(asker.recalls(questions)["words"]) <= 0.5


def test_made_documents_are_alike_every_time_and_differ_from_each_other(pool, analyzer):
    first, again = (list(Maker(pool, analyzer).documents(0, 3)) for _ in range(2))
    assert [item[0] for item in first] == [item[0] for item in again]
    assert len({document.content_hash for document, _ in first}) == 3
    document, chunks = first[0]
    assert len(chunks) == CHUNKS_A_DOCUMENT
    for one, other in zip(chunks, again[0][1], strict=True):
        assert document.text[one.chunk.start : one.chunk.end] == one.chunk.text
        assert np.array_equal(one.embedding, other.embedding) and np.array_equal(one.terms.ids, other.terms.ids)
        assert abs(np.linalg.norm(one.embedding.astype(np.float32)) - 1) < 1e-2


def test_words_of_a_made_chunk_are_those_of_its_text(pool, analyzer):
    """But for what Kiwi reads otherwise in a sentence than alone."""
    from knowledge.terms import term_id

    shared = []
    for _, chunks in Maker(pool, analyzer).documents(0, 2):
        for item in chunks[::10]:
            of_text = {term_id(word) for word in analyzer.analyze(item.chunk.text)}
            made = set(item.terms.ids.tolist())
            shared.append(len(of_text & made) / len(of_text | made))
    assert np.mean(shared) > 0.9


def test_the_vocabulary_grows_and_common_words_keep_their_share(pool, analyzer):
    frequency: list[Counter[int]] = []
    for first, last in ((0, 5), (0, 40)):
        counts: Counter[int] = Counter()
        for _, chunks in Maker(pool, analyzer).documents(first, last):
            for item in chunks:
                counts.update(item.terms.ids.tolist())
        frequency.append(counts)
    small, large = frequency
    assert len(large) > 1.5 * len(small)
    common = [term for term, count in large.most_common(10)]
    assert np.mean([large[term] / 8 / max(1, small[term]) for term in common]) == pytest.approx(1, abs=0.5)


def test_questions_are_taken_from_each_set_in_turn(tmp_path):
    for name in ("a", "b"):
        make_set(tmp_path / name)
    folders = [tmp_path / "a", tmp_path / "b"]
    assert real_texts(folders)[3] == "b 문서 0"
    assert real_questions(folders, 4) == ["a 질문 0", "b 질문 0", "a 질문 1", "b 질문 1"]
    assert len(real_questions(folders, 9)) == 9
