"""Badly typed questions find what the well-typed ones do, over the documents that ship and a real index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from eval.badly_typed import Search, load_badly_typed, ranks, recall, searches
from eval.bench import index_with, open_bench
from eval.retrieval_sets import gold_set

QUESTIONS = load_badly_typed()
# Measured: words .98, both .99 (.87 and .92 without variants); well-typed 1.0.
FLOORS_AT_5 = {"words": 0.95, "both": 0.96}


@pytest.fixture(scope="module")
def by_leg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Search]]:
    with open_bench(tmp_path_factory.mktemp("bench")) as bench, index_with(bench, gold_set()) as index:
        yield searches(bench, index, is_read=True)


def test_there_are_enough_of_each_kind() -> None:
    kinds = Counter(question.kind for question in QUESTIONS)
    assert len(QUESTIONS) >= 50
    assert len(kinds) >= 10 and min(kinds.values()) >= 5
    assert len({question.id for question in QUESTIONS}) == len(QUESTIONS)
    assert all(question.documents and question.contains for question in QUESTIONS)


@pytest.mark.parametrize("leg", FLOORS_AT_5)
def test_badly_typed_questions_find_the_answer_among_five(by_leg: dict[str, Search], leg: str) -> None:
    found = ranks(QUESTIONS, by_leg[leg])
    missed = [question.question for question in QUESTIONS if (found[question.id] or 99) > 5]
    assert recall(found, 5) >= FLOORS_AT_5[leg], missed


@pytest.mark.parametrize("leg", FLOORS_AT_5)
def test_the_same_questions_well_typed_all_find_it(by_leg: dict[str, Search], leg: str) -> None:
    found = ranks(QUESTIONS, by_leg[leg], well_typed=True)
    assert [question.meant for question in QUESTIONS if (found[question.id] or 99) > 5] == []
