"""A question in one language and passages in two: what says the same in the other language is found, too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from knowledge.filters import Filters
from knowledge.lexemes import language_of
from knowledge.search import Searcher
from tests.knowledge.test_store import make

PAIRS = {
    "leave": ("연차 휴가는 매년 15일이며 다음 해로 이월할 수 없다.", "Annual leave is fifteen days a year and cannot be carried over."),
    "remote": ("재택 근무를 신청하려면 팀장의 승인이 필요하다.", "To work from home, employees need the approval of their team lead."),
    "expenses": ("출장비는 영수증을 첨부하여 30일 안에 청구한다.", "Travel expenses are claimed within 30 days with receipts attached."),
    "security": ("비밀번호는 90일마다 바꾸고 열두 글자 이상이어야 한다.", "Passwords are changed every 90 days and have at least twelve characters."),
    "training": ("신입 사원은 입사 후 두 주 동안 교육을 받는다.", "New employees are trained for two weeks after they join."),
    "health": ("건강 검진은 해마다 한 번 회사 비용으로 받는다.", "A health check is paid by the company once a year."),
    "parking": ("주차장은 지하 2층이며 사전에 차량을 등록해야 한다.", "The car park is on basement level two and cars are registered in advance."),
    "meeting": ("회의실은 사내 달력에서 예약하고 쓰지 않으면 취소한다.", "Meeting rooms are booked in the calendar and cancelled when not used."),
}  # fmt: skip


@pytest.fixture
def searcher(store, db, embedding, analyzer) -> Searcher:
    for name, texts in PAIRS.items():
        for language, text in zip(("ko", "en"), texts, strict=True):
            document, (chunk,) = make(f"{name}.{language}.md", [text], embedding=embedding, analyzer=analyzer)
            assert language_of(text) == language
            chunk = replace(chunk, language=language)
            store.replace(document, [chunk], reading="1")
    return Searcher(db, store.generation)


@pytest.mark.parametrize(
    ("question", "name", "language"),
    [
        ("연차 휴가는 며칠인가요?", "leave", "ko"),
        ("재택 근무는 누구의 승인이 필요한가요?", "remote", "ko"),
        ("비밀번호는 며칠마다 바꿔야 하나요?", "security", "ko"),
        ("How many days of annual leave are there?", "leave", "en"),
        ("Who approves working from home?", "remote", "en"),
        ("How often are passwords changed?", "security", "en"),
    ],
)
def test_both_languages_stand_at_the_top(searcher, embedding, analyzer, question, name, language):
    found = searcher.search(embedding.embed_query(question), analyzer.analyze(question), top_k=3).evidence
    assert found[0].path == f"{name}.{language}.md"
    assert f"{name}.{'en' if language == 'ko' else 'ko'}.md" in [item.path for item in found]


def test_a_filter_by_language_keeps_to_it(searcher, embedding, analyzer):
    question = "연차 휴가는 며칠인가요?"
    vector, words = embedding.embed_query(question), analyzer.analyze(question)
    found = searcher.search(vector, words, top_k=20, filters=Filters(languages=("en",))).evidence
    assert {item.language for item in found} == {"en"} and found[0].path == "leave.en.md"


def test_a_language_with_one_passage_is_not_held_against_itself(db, store, embedding, analyzer):
    """Of one chunk the mean is the chunk: nothing would stand above it."""
    for name, (korean, _) in PAIRS.items():
        store.replace(*make(f"{name}.md", [korean], embedding=embedding, analyzer=analyzer), reading="1")
    document, (chunk,) = make("en.md", ["The canteen serves lunch from noon."], embedding=embedding, analyzer=analyzer)
    store.replace(document, [replace(chunk, language="en")], reading="1")
    question = "When does the canteen serve lunch?"
    found = (
        Searcher(db, store.generation)
        .search(embedding.embed_query(question), analyzer.analyze(question), top_k=1)
        .evidence
    )
    assert found[0].path == "en.md"
