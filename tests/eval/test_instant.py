"""No written question is stolen over the FAQ that ships, and nearly all that ask the same are answered."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from eval.instant import FLOOR_RIGHT, Asked, ask, gold_questions, made_questions, shipped_rows, written_questions
from eval.instant_sets import confusions
from ingest.readers import read_bytes_as
from knowledge.store import EmbeddedChunk
from knowledge.terms import term_vector
from knowledge.types import Chunk, Document
from pipelines.instant import InstantAnswers


@pytest.fixture
def answers(store, db, analyzer, docs) -> InstantAnswers:
    """The FAQ and the glossary that ship, a chunk a row."""
    for name in ("faq.csv", "glossary.csv"):
        data = (docs / name).read_bytes()
        parsed = read_bytes_as(data, name=name)
        digest = hashlib.sha256(data).hexdigest()
        document = Document("default", name, f"/{name}", digest, len(data), name, parsed.text, "und", parsed.blocks)
        vector = np.eye(1, store.generation.manifest.dimension, dtype=np.float32)[0]
        chunks = []
        for ordinal, block in enumerate(parsed.blocks):
            text = parsed.text[block.start : block.end]
            chunk = Chunk(ordinal, block.start, block.end, text, block.heading, block.place)
            chunks.append(EmbeddedChunk(chunk, vector, term_vector(analyzer.analyze(text)), "und"))
        store.replace(document, chunks, reading="1")
    return InstantAnswers(db, store.generation, analyzer)


def test_no_written_question_is_stolen_and_the_floor_holds(answers):
    tallies = ask(answers, written_questions())
    assert [stolen for tally in tallies.values() for stolen in tally.stolen] == []
    same = tallies["written, same"]
    assert same.right >= FLOOR_RIGHT * same.asked, same.missed
    assert same.asked >= 100 and tallies["written, other"].asked >= 150


def test_no_question_made_by_rule_and_no_gold_question_is_stolen(answers, docs, analyzer):
    made = list(made_questions(shipped_rows(docs), analyzer))
    tallies = ask(answers, [*made, *gold_questions()])
    assert [stolen for tally in tallies.values() for stolen in tally.stolen] == []
    assert {kind for kind in tallies if kind.startswith("other")} >= {
        "other: word", "other: condition", "other: negation", "other: asked", "other: swapped", "other: term",
    }  # fmt: skip
    for kind in ("same: signs", "same: filler", "same: particle", "same: term"):
        assert tallies[kind].right >= 0.95 * tallies[kind].asked, kind


def test_a_theft_would_be_seen(answers):
    asked = [
        Asked("베이시스란?", (), "written, other"),
        Asked("콘탱고란?", ("베이시스",), "same"),
        Asked("없는 말이란?", ("x",), "same"),
        Asked("베이시스란?", (), "other: word"),  # a question made by rule may be that of another row
    ]
    tallies = ask(answers, asked)
    assert tallies["written, other"].stolen == [("베이시스란?", ("베이시스가 무엇인가요?",))]
    assert tallies["same"].stolen == [("콘탱고란?", ("콘탱고",))]
    assert tallies["same"].missed == ["없는 말이란?"] and tallies["same"].right == 0
    assert tallies["other: word"].right == 1


def test_questions_that_count_as_one_with_different_answers_are_told(analyzer):
    pairs = [("누가 왔나요?", "가"), ("누가 왔습니까?", "나"), ("누가 갔나요?", "다"), ("누가 왔을까요?", "가")]
    assert set(confusions(pairs, analyzer)) >= {("누가 왔나요?", "누가 왔습니까?")}
    assert all("갔" not in question for pair in confusions(pairs, analyzer) for question in pair)
