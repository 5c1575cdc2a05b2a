"""Neighbouring words of a question are looked for as neighbours in passages; what has them goes before what has them apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.filters import Filters
from knowledge.fusion import Weights
from knowledge.phrases import GAP_CHARS, MOST_WORDS, Phrases, phrases_of, words_in_order
from knowledge.search import Searcher
from tests.knowledge.test_store import make


@pytest.mark.parametrize(
    ("text", "lexemes", "words"),
    [
        ("보험계약의 해지 환급금은?", ["환급금", "해지", "보험", "계약", "#보험", "#계약"], ("보험", "계약", "해지", "환급금")),
        ("Annual Leave policy", ["leav", "annual", "polici"], ("annual", "leav")),  # an ending that is not there
        ("재택근무 신청", ["재택근무", "재택", "근무", "신청"], ("재택", "근무", "신청")),
        ("ＦＯＢ 조건", ["fob", "조건"], ("fob", "조건")),  # full width
        ("법 인", ["법", "인"], ()),
        ("", [], ()),
    ],
)  # fmt: skip
def test_words_come_in_their_order_and_none_inside_another(text, lexemes, words):
    assert words_in_order(text, lexemes) == words


def test_a_pasted_text_has_no_wording_to_look_for():
    words = [f"w{number:03d}" for number in range(MOST_WORDS + 1)]
    assert words_in_order(" ".join(words), words) == ()
    assert len(words_in_order(" ".join(words[1:]), words)) == MOST_WORDS


def test_a_pair_is_worth_its_commoner_word():
    phrases = phrases_of(("해지", "환급금", "기준"), {"해지": 2.0, "환급금": 3.0, "기준": 1.0}.__getitem__)
    assert phrases == Phrases((("해지", "환급금", 2.0), ("환급금", "기준", 1.0)))
    assert phrases is not None
    assert phrases.share("해지 시 환급금을 준다.") == pytest.approx(2 / 3)
    assert phrases.share("해지환급금 기준") == 1
    assert phrases.share("환급금을 해지한다.") == 0
    assert phrases.share(f"해지{' ' * GAP_CHARS}환급금") == pytest.approx(2 / 3)
    assert phrases.share(f"해지{' ' * (GAP_CHARS + 1)}환급금") == 0
    assert phrases.share(f"해지 {'가' * 40} 해지 환급금") == pytest.approx(2 / 3)  # not the first, but another


def test_one_word_and_words_of_no_worth_are_no_phrase():
    assert phrases_of((), lambda word: 1.0) is None
    assert phrases_of(("환율",), lambda word: 1.0) is None
    assert phrases_of(("환율", "우대"), lambda word: 0.0) is None


@given(st.text(max_size=80), st.lists(st.text(max_size=4), max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_text_has_a_share(text, words):
    ordered = words_in_order(text, words)
    assert len(ordered) == len(set(ordered))
    phrases = phrases_of(ordered, len)
    assert phrases is None or 0 <= phrases.share(text[::-1]) <= 1


def test_a_passage_with_the_words_side_by_side_goes_before_one_with_them_apart(db, store, embedding, analyzer):
    """The same words in both, which BM25 cannot tell apart."""
    apart = "환급금은 계약자에게 준다. 신청서를 쓰고 창구에 낸다. 보험료가 밀려 있으면 해지 전에 먼저 알린다."
    beside = "계약자에게 해지 환급금은 준다. 신청서를 쓰고 창구에 낸다. 보험료가 밀려 있으면 전에 먼저 알린다."
    others = [(f"{number}.md", f"수입 원가와 해상 운임 {number}") for number in range(8)]
    for path, text in (("apart.md", apart), ("beside.md", beside), *others):
        store.replace(*make(path, [text], embedding=embedding, analyzer=analyzer), reading="1")
    question = "해지 환급금"
    lexemes = dict.fromkeys(analyzer.analyze(question), 1.0)
    near, far = embedding.embed_passages([apart, beside])
    vector = (1.5 * near + far) / np.linalg.norm(1.5 * near + far)  # as if `apart` were the nearer one by meaning
    words = words_in_order(question, lexemes)
    assert words == ("해지", "환급금")

    def order(searcher: Searcher, filters: Filters | None = None) -> list[str]:
        found = searcher.search(vector, lexemes, words=words, top_k=2, filters=filters).evidence
        assert all(0 <= item.scores.fused <= 1 for item in found)
        return [item.path for item in found]

    assert order(Searcher(db, store.generation)) == ["beside.md", "apart.md"]
    assert order(Searcher(db, store.generation), Filters(collections=("default",))) == ["beside.md", "apart.md"]
    assert order(Searcher(db, store.generation, weights=Weights(phrases=0))) == ["apart.md", "beside.md"]
    told = Searcher(db, store.generation).search(vector, lexemes, words=words, top_k=2, explain=True).explanation
    assert told is not None and [item.phrases for item in told.candidates][:2] == [1.0, 0.0]
    weights, first = told.weights, told.candidates[0]
    three = sum(
        weights[name] * value for name, value in (("meaning", first.meaning_scaled), ("words", first.words_scaled))
    )
    three += weights["likeness"] * first.likeness
    assert first.fused == pytest.approx((three + weights["phrases"]) / (1 + weights["phrases"]))
