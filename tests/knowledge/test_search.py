"""Meaning and words, fused; statistics that hold after changes."""

from __future__ import annotations

import math
from uuid import UUID

import pytest

from knowledge.lexemes import language_of
from knowledge.search import Searcher, fuse
from tests.knowledge.test_store import make

TEXTS = {
    "fx.md": "환율이 떨어지면 같은 달러 가격의 옥수수 수입 원가가 내려간다.",
    "freight.md": "해상 운임은 벌크선 수요와 유가에 따라 움직인다.",
    "remote.md": "재택 근무를 신청하려면 팀장의 승인이 필요하다.",
    "hbm.md": "HBM3E 메모리는 대역폭이 1.2TB/s이다.",
    "leave.md": "Employees are entitled to fifteen days of annual leave.",
}


@pytest.fixture
def searcher(store, db, embedding, analyzer) -> Searcher:
    for path, text in TEXTS.items():
        store.replace(*make(path, [text], embedding=embedding, analyzer=analyzer), reading="1")
    return Searcher(db, store.generation)


def ask(searcher: Searcher, question: str, *, embedding, analyzer, top_k=5):
    return searcher.search(embedding.embed_query(question), analyzer.analyze(question), top_k=top_k)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("환율이 떨어지면 옥수수 가격이 어떻게 바뀔까?", "fx.md"),
        ("운임은 무엇에 따라 달라지나요?", "freight.md"),
        ("재택근무 승인", "remote.md"),
        ("hbm3e 대역폭", "hbm.md"),
        ("How many days of leave do employees get?", "leave.md"),
    ],
)
def test_finds_the_passage(searcher, embedding, analyzer, question, expected):
    found = ask(searcher, question, embedding=embedding, analyzer=analyzer)
    assert found.evidence[0].path == expected
    assert [item.rank for item in found.evidence] == [1, 2, 3, 4, 5]
    fused = [item.scores.fused for item in found.evidence]
    assert fused == sorted(fused, reverse=True)


def test_words_find_what_particles_hide(searcher, embedding, analyzer):
    best = ask(searcher, "환율", embedding=embedding, analyzer=analyzer).evidence[0]
    assert best.path == "fx.md" and best.scores.words is not None and best.scores.words > 0


def test_words_score_is_bm25(searcher, embedding, analyzer, db):
    found = ask(searcher, "hbm3e", embedding=embedding, analyzer=analyzer)
    best = next(item for item in found.evidence if item.path == "hbm.md")
    length = sum(analyzer.analyze(TEXTS["hbm.md"]).values())
    idf = math.log(1 + (5 - 1 + 0.5) / (1 + 0.5))
    expected = idf * 2.2 / (1 + 1.2 * (1 - 0.75 + 0.75 * length / 200))
    assert best.scores.words == pytest.approx(expected, rel=1e-3)


def test_unknown_words_lower_the_share(searcher, embedding, analyzer):
    known = ask(searcher, "환율 옥수수", embedding=embedding, analyzer=analyzer)
    unknown = ask(searcher, "환율 블록체인 채굴", embedding=embedding, analyzer=analyzer)
    assert 0 < unknown.words_share < known.words_share <= 1


def test_a_question_without_words_is_searched_by_meaning(searcher, embedding, analyzer):
    found = ask(searcher, "???", embedding=embedding, analyzer=analyzer)
    assert found.words_share == 0 and all(item.scores.words is None for item in found.evidence)


def test_top_k_and_an_empty_index(searcher, store, embedding, analyzer):
    assert len(ask(searcher, "환율", embedding=embedding, analyzer=analyzer, top_k=2).evidence) == 2
    for path in TEXTS:
        store.remove("default", path)
    assert ask(searcher, "환율", embedding=embedding, analyzer=analyzer).evidence == ()


def test_a_removed_document_is_not_found_by_words(searcher, store, embedding, analyzer):
    store.remove("default", "hbm.md")
    found = ask(searcher, "HBM3E", embedding=embedding, analyzer=analyzer)
    assert all(item.scores.words is None for item in found.evidence)


def test_frequent_words_cannot_exceed_the_posting_budget(db, store, embedding, analyzer):
    for n in range(6):
        store.replace(*make(f"{n}.md", [f"환율 보고서 {n}호"], embedding=embedding, analyzer=analyzer), reading="1")
    store.replace(*make("rare.md", ["환율 특집"], embedding=embedding, analyzer=analyzer), reading="1")
    tight = Searcher(db, store.generation, posting_budget=1)
    found = tight.search(embedding.embed_query("환율 특집"), analyzer.analyze("환율 특집"), top_k=3)
    assert found.evidence[0].path == "rare.md"


def test_idf_is_highest_for_unknown_words(searcher):
    idf = searcher.idf(["환율", "없는말"])
    assert idf["없는말"] > idf["환율"] > 0


def test_fusion_scales_each_leg_and_counts_a_miss_as_zero():
    a, b, c = (UUID(int=n) for n in (1, 2, 3))
    scores = fuse({a: 0.9, b: 0.8}, {b: 12.0, c: 6.0}, meaning_weight=0.5)
    assert (scores[a].fused, scores[b].fused, scores[c].fused) == (0.5, 0.5, 0.0)
    assert scores[a].words is None and scores[c].meaning is None


def test_language_goes_by_letters():
    assert [language_of(text) for text in ("환율이 USD 기준", "the rate 환율 in a long English text", "123")] == [
        "ko",
        "en",
        "und",
    ]
