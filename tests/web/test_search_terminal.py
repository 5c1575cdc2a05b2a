"""`gakju search` over a real index: what it prints, why, and for whom it is wrong use."""

from __future__ import annotations

import argparse
import json

import pytest

from knowledge.search import Searcher
from pipelines.gate import Gate
from pipelines.retriever import EvidenceRetriever
from tests.knowledge.test_store import make
from web.search_arguments import add_arguments
from web.search_terminal import run

TEXTS = {
    "연차.md": "연차휴가는 1년에 15일이며 다음 해로 이월되지 않는다.",
    "leave.md": "Employees are entitled to fifteen days of annual leave each year.",
    "copy.md": "Employees are entitled to fifteen days of annual leave each year.",
    "esc\x1b[31m.md": "The red door is opened with the blue key.",
}


@pytest.fixture
def search(store, db, embedding, analyzer, capsys):
    for path, text in TEXTS.items():
        store.replace(*make(path, [text], embedding=embedding, analyzer=analyzer), reading="1")
    retriever = EvidenceRetriever(Searcher(db, store.generation), embedding, analyzer, top_k=3)
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    def search(*arguments: str) -> tuple[int, str, str]:
        code = run(retriever, Gate.load(embedding.spec.name), parser.parse_args(arguments))
        return (code, *capsys.readouterr())

    return search


def test_passages_are_listed_with_their_scores_and_the_gate(search):
    code, out, err = search("연차휴가는 며칠인가요?")
    assert (code, err) == (0, "")
    first = out.strip().splitlines()[0]
    assert first.startswith("[1] ") and "연차.md" in out and "이월되지 않는다" in out
    assert "meaning 0." in out and "fused " in out and "The gate " in out


def test_explain_tells_words_ranks_and_what_ran(search):
    code, out, _ = search("연차휴가는 며칠인가요?", "--explain")
    assert code == 0
    for part in ("Words of the question", "연차", "Candidates", "(#1)", "shown", "fused = ", "took "):
        assert part in out, part


def test_json_is_the_same_object_for_programs(search):
    code, out, _ = search("annual leave days", "--json", "--explain")
    data = json.loads(out)
    assert code == 0 and data["evidence"][0]["document"] in ("leave.md", "copy.md")
    assert data["evidence"][0]["also_in"][0]["document"] in ("leave.md", "copy.md"), (
        "the twin is a source, not a passage"
    )
    assert [item["document"] for item in data["evidence"]].count("leave.md") <= 1
    assert data["explanation"]["candidates"] and data["explanation"]["terms"] and "probability" in data["gate"]
    assert json.loads(search("annual leave days", "--json")[1])["explanation"] is None


def test_filters_narrow(search):
    found = json.loads(search("annual leave days", "--json", "--path", "연차.md")[1])["evidence"]
    assert [item["document"] for item in found] == ["연차.md"]
    found = json.loads(search("annual leave days", "--json", "--path", "leave.md")[1])["evidence"]
    assert [item["document"] for item in found] == ["leave.md"]
    code, out, _ = search("annual leave days", "--collection", "nowhere")
    assert code == 1 and "Nothing was found within these filters." in out


def test_wrong_use_is_one_sentence(search):
    code, out, err = search("annual leave", "--after", "yesterday")
    assert (code, out) == (2, "") and "yesterday" in err and len(err.splitlines()) == 1
    code, out, err = search("  ")
    assert (code, out) == (2, "") and "empty" in err


def test_names_of_documents_cannot_steer_the_terminal(search):
    for arguments in (["red door blue key"], ["red door blue key", "--explain"]):
        _, out, _ = search(*arguments)
        assert "\x1b" not in out and "esc" in out
