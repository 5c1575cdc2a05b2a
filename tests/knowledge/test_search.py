"""Meaning and words, fused; statistics that hold after changes."""

from __future__ import annotations

import json
import math

import pytest

from knowledge.filters import Filters
from knowledge.lexemes import language_of
from knowledge.search import Searcher
from knowledge.search_indexes import tidy
from knowledge.types import Evidence
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


def test_a_pair_of_frequent_words_finds_what_neither_is_asked_for_alone(db, store, embedding, analyzer):
    texts = {f"{word}{n}.md": f"{word} {n}" for word in ("환율", "운임") for n in range(30)}
    texts |= {"both.md": "환율과 운임", "rare.md": "희귀 금속"}
    for path, text in texts.items():
        store.replace(*make(path, [text], embedding=embedding, analyzer=analyzer), reading="1", settle=False)
    tidy(store)
    words = {"환율": 1.0, "운임": 1.0, "희귀": 1.0}
    for budget, expected in ((8, {"rare.md"}), (44, {"rare.md", "both.md"}), (200, set(texts))):
        found = Searcher(db, store.generation, posting_budget=budget).search(None, words, top_k=100).evidence
        assert {item.path for item in found} == expected


def test_words_that_stand_nowhere_do_not_use_up_the_posting_budget(db, store, embedding, analyzer):
    for n in range(6):
        store.replace(*make(f"{n}.md", [f"환율 {n}"], embedding=embedding, analyzer=analyzer), reading="1")
    tight = Searcher(db, store.generation, posting_budget=2)
    assert tight.search(None, {"없는말": 1.0, "환율": 1.0}, top_k=3).evidence


def test_idf_is_highest_for_unknown_words(searcher):
    idf = searcher.idf(["환율", "없는말"])
    assert idf["없는말"] > idf["환율"] > 0


def test_what_one_leg_found_has_its_true_score_in_the_other(db, store, embedding, analyzer):
    for path, text in TEXTS.items():
        store.replace(*make(path, [text], embedding=embedding, analyzer=analyzer), reading="1")
    narrow = Searcher(db, store.generation, candidates=1)
    question = "HBM3E 환율"
    found = ask(narrow, question, embedding=embedding, analyzer=analyzer, top_k=5).evidence
    vector = embedding.embed_query(question)
    assert {item.path for item in found} <= set(TEXTS) and 1 <= len(found) <= 2
    for item in found:
        true = float(embedding.embed_passages([item.text])[0] @ vector)
        assert item.scores.meaning == pytest.approx(true, abs=2e-3)


def test_the_same_text_is_shown_once_with_all_its_sources(searcher, store, embedding, analyzer):
    copies = {"copy a.md": TEXTS["hbm.md"], "copy b.md": TEXTS["hbm.md"].replace(" ", "  \n")}
    for path, text in copies.items():
        store.replace(*make(path, [text], embedding=embedding, analyzer=analyzer), reading="1")
    found = ask(searcher, "HBM3E 대역폭", embedding=embedding, analyzer=analyzer, top_k=3).evidence
    best = found[0]
    assert {best.path, *(source.path for source in best.also_in)} == {"hbm.md", *copies}
    assert len(found) == 3 and len({" ".join(item.text.split()) for item in found}) == 3
    assert [item.rank for item in found] == [1, 2, 3]
    assert Evidence.from_dict(json.loads(json.dumps(best.to_dict()))) == best


def test_a_document_leaves_room_for_others(searcher, store, embedding, analyzer):
    texts = [f"환율이 떨어지면 옥수수 수입 원가가 내려간다. {n}월 보고서" for n in range(1, 6)]
    store.replace(*make("long.md", texts, embedding=embedding, analyzer=analyzer), reading="1")
    question = "환율이 떨어지면 옥수수 수입 원가는? 월 보고서"
    vector, words = embedding.embed_query(question), analyzer.analyze(question)
    free = searcher.search(vector, words, top_k=4).evidence
    capped = searcher.search(vector, words, top_k=4, per_document=2).evidence
    assert [item.path for item in free].count("long.md") > 2
    assert [item.path for item in capped].count("long.md") == 2 and len(capped) == 4
    # Where there is nothing else, its further passages are the best there is.
    alone = Filters(paths=("long.md",))
    assert len(searcher.search(vector, words, top_k=4, per_document=2, filters=alone).evidence) == 4


def test_an_explanation_says_what_happened(searcher, embedding, analyzer):
    question = "환율이 떨어지면 옥수수 가격이 블록체인"
    vector, words = embedding.embed_query(question), analyzer.analyze(question)
    found = searcher.search(vector, words, top_k=2, explain=True)
    told = found.explanation
    assert told is not None and searcher.search(vector, words, top_k=2).explanation is None
    assert searcher.search(vector, words, top_k=2).evidence == found.evidence
    by_lexeme = {term.lexeme: term for term in told.terms}
    assert by_lexeme["환율"].chunks == 1 and by_lexeme["환율"].finds
    assert by_lexeme["블록체인"].chunks == 0 and not by_lexeme["블록체인"].finds
    assert by_lexeme["환율"].idf == pytest.approx(searcher.idf(["환율"])["환율"])
    assert told.ceiling == pytest.approx(sum(term.weight for term in told.terms))
    assert [item.chunk_id for item in told.candidates[:2]] == [item.chunk_id for item in found.evidence]
    assert [item.fate for item in told.candidates] == ["shown", "shown", "below", "below", "below"]
    first = told.candidates[0]
    assert first.path == "fx.md" and (first.meaning_rank, first.words_rank) == (1, 1)
    weights = told.weights
    expected = weights["meaning"] * first.meaning_scaled + weights["words"] * first.words_scaled
    assert first.fused == pytest.approx(expected + weights["likeness"] * first.likeness + first.bridged)
    assert {"meaning", "words", "scores", "fusion", "passages"} <= told.timings_ms.keys()
    assert json.loads(json.dumps(told.to_dict()))["candidates"][0]["path"] == "fx.md"


def test_an_explanation_says_what_was_cut(db, store, searcher, embedding, analyzer):
    for n in range(6):
        store.replace(*make(f"{n}.md", [f"환율 보고서 {n}호"], embedding=embedding, analyzer=analyzer), reading="1")
    tight = Searcher(db, store.generation, posting_budget=3)
    told = tight.search(None, analyzer.analyze("환율 옥수수"), top_k=3, explain=True).explanation
    assert told is not None
    assert any("posting budget 3 chunks" in sentence for sentence in told.ran)
    assert any("Meaning was not searched" in sentence for sentence in told.ran)
    assert {term.lexeme: term.finds for term in told.terms}["환율"] is False


def test_one_leg_alone_keeps_that_legs_order(searcher, embedding, analyzer):
    question = "달러와 운임"
    meaning = searcher.search(embedding.embed_query(question), {}, top_k=5).evidence
    cosines = [item.scores.meaning for item in meaning]
    assert cosines == sorted(cosines, reverse=True) and len(meaning) == 5
    words = searcher.search(None, analyzer.analyze(question), top_k=5).evidence
    bm25 = [item.scores.words for item in words]
    assert bm25 == sorted(bm25, reverse=True) and all(item.scores.meaning is None for item in words)


def test_language_goes_by_letters():
    assert [language_of(text) for text in ("환율이 USD 기준", "the rate 환율 in a long English text", "123")] == [
        "ko",
        "en",
        "und",
    ]
