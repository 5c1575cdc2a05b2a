"""What is searched for in the middle of a conversation, by rule: which questions lean on the one before, and how much."""

from __future__ import annotations

import numpy as np
import pytest

from knowledge.variants import Reading
from pipelines.events import Turn
from pipelines.rewrite import SearchQuery, rewrite
from pipelines.rewrite_rules import ASKS_FOR_MORE, FOLLOWS, MAY_FOLLOW, Lean, leaning, refers_back


def turn(question: str, search_query: str = "") -> Turn:
    return Turn("t", "s", 0.0, question, search_query=search_query)


@pytest.mark.parametrize(
    "question",
    [
        "브라질에서는요?",
        "같은 게 여러 번 오면요?",
        "내용이 바뀐 거면요?",
        "앱 전체에는요?",
        "그 환율은 은행이 예측한 건가요?",
        "수분도 거기 들어가나요?",
        "왜 그렇게 되는데?",
        "반대로 일찍 끝내면 어떻게 되나요?",
        "나머지 둘은 어떤 차이가 있나요?",
        "그거 3월 12일 가격이 달러로 얼마였는지 알려줘",
        "How do I install that?",
        "Is that rate the bank's forecast?",
        "What does he pay if the market drops to 420?",
        "Does moisture count too?",
        "Which one is used if there are several?",
        "Can I give several?",
        "And where is the other one kept?",
    ],
)
def test_a_question_that_points_back_or_lacks_its_subject_follows(analyzer, question):
    assert refers_back(question, analyzer)
    assert leaning(question, analyzer) == FOLLOWS


@pytest.mark.parametrize(
    "question",
    [
        "CIF로 샀는데 배에서 물건이 상하면 그 손해는 누가 지나요?",
        "파일을 지우면 그 문서는 색인에 남나요?",
        "그런데 대화는 며칠 동안 보관되나요?",
        "왜 옥수수 가격을 선물과 베이시스로 나누어 거래하나요?",
        "그럼 각주가 쓰는 임베딩 모델을 다른 것으로 바꾸려면 어떻게 하나요?",
        "재고율이란?",
        "WASDE 뜻",
        "If grain gets damaged at sea under CIF, who has to bear it?",
        "When I delete a file, does its document stay in the index?",
        "How do maize futures settle their gains and losses?",
        "How do I change the port that Gakju listens on?",
        "Why do feed prices not fall at once when the exchange rate falls?",
        "Define basis risk",
        "What is the stocks-to-use ratio?",
    ],
)
def test_a_question_whose_pronoun_stands_for_its_own_words_stands_alone(analyzer, question):
    assert not refers_back(question, analyzer)
    assert leaning(question, analyzer) == MAY_FOLLOW


@pytest.mark.parametrize(
    "question",
    ["더 자세히 설명해 줘", "요약해 주세요", "무슨 뜻이야?", "왜?", "Tell me more", "Explain that again", "Why?", "?"],
)
def test_a_question_without_words_of_its_own_searches_for_the_same_again(analyzer, question):
    assert refers_back(question, analyzer)
    assert leaning(question, analyzer) == ASKS_FOR_MORE


def test_asking_for_an_explanation_of_something_named_is_no_asking_for_more(analyzer):
    assert leaning("체선료를 설명해 줘", analyzer) == leaning("explain demurrage", analyzer) == MAY_FOLLOW


async def test_the_first_question_is_searched_as_it_is(analyzer):
    assert await rewrite("그건 뭐야?", [], llm=None, analyzer=analyzer) == SearchQuery("그건 뭐야?")
    assert await rewrite("왜?", [turn("")], llm=None, analyzer=analyzer) == SearchQuery("왜?")


async def test_a_follow_up_is_told_with_what_it_leans_on_and_another_question_alone(analyzer):
    history = [turn("콘탱고가 뭐야?", "콘탱고가 뭐야?")]
    query = await rewrite("그 반대는?", history, llm=None, analyzer=analyzer)
    assert query.text == "콘탱고가 뭐야? 그 반대는?" and query.lean == FOLLOWS
    query = await rewrite("옥수수 선물 계약의 규격은 몇 부셸인가요?", history, llm=None, analyzer=analyzer)
    assert query.text == query.question and query.context == "콘탱고가 뭐야?" and query.lean == MAY_FOLLOW


async def test_a_follow_up_to_a_follow_up_leans_on_what_that_one_leaned_on(analyzer):
    history = [turn("콘탱고가 뭐야?"), turn("그 반대는?", "콘탱고가 뭐야? 그 반대는?")]
    query = await rewrite("왜 그렇게 되는데?", history, llm=None, analyzer=analyzer)
    assert query.text == "콘탱고가 뭐야? 그 반대는? 왜 그렇게 되는데?"
    query = await rewrite("왜?", [turn("콘탱고가 뭐야?", "긴 " * 200)], llm=None, analyzer=analyzer)
    assert query.context == "콘탱고가 뭐야?"
    query = await rewrite("왜?", [turn("베" * 5_000)], llm=None, analyzer=analyzer)
    assert len(query.context) == 200


def test_words_of_the_context_alone_weigh_as_the_lean_says():
    question, context = (
        Reading("운임은?", {"운임": 1.0}, {"운임": 1.0}),
        Reading("환율과 운임?", {"환율": 1, "운임": 1}, {"환율": 1}),
    )
    follows = SearchQuery("운임은?", "환율과 운임?").meant(question, context)
    assert follows.lexemes == {"운임": 1.0, "환율": FOLLOWS.words} == follows.own
    assert (follows.text, follows.alone) == ("환율과 운임: 운임은?", "운임은?")
    may = SearchQuery("운임은?", "환율과 운임?", MAY_FOLLOW).meant(question, context)
    assert may.lexemes == {"운임": 1.0, "환율": MAY_FOLLOW.words}
    # A passage that answers a question of another topic has none of these: whether it is found must not hang on them.
    assert may.own == {"운임": 1.0}
    alone = SearchQuery("운임은?").meant(question, Reading("", {}, {}))
    assert (alone.text, alone.lexemes) == ("운임은?", {"운임": 1.0})


def test_a_blended_vector_scores_a_chunk_by_the_weighted_mean_of_both_cosines():
    chunk, alone, together = (np.eye(3, dtype=np.float32) + 0.2)[:, :3] / np.linalg.norm([1.2, 0.2, 0.2])
    query = SearchQuery("q", "c", Lean(meaning=0.3, words=0.5))
    vector = query.blend(alone, together)
    assert vector.dtype == np.float32
    assert chunk @ vector == pytest.approx(0.7 * (chunk @ alone) + 0.3 * (chunk @ together))
    assert query.leans and not SearchQuery("q").leans and not SearchQuery("q", "c", ASKS_FOR_MORE).leans
