"""A question that a FAQ or glossary holds is answered by that row, cited; another question never is."""

from __future__ import annotations

import pytest

from ingest.readers import read_bytes_as
from knowledge.filters import Filters
from knowledge.instant_keys import keys_asked, keys_of_question, keys_of_term, names_of
from knowledge.instant_mining import mine_rows
from knowledge.types import Chunk
from pipelines.citations import CitationStream
from pipelines.instant import MAX_ANSWERS, InstantAnswers, wording_of
from tests.knowledge.test_views import FAQ, GLOSSARY, stored_table

WHAT_IS = [
    "베이시스가 뭐예요?", "베이시스란?", "베이시스", "베이시스란 무엇인가요", "베이시스는 무엇입니까?", "베이시스가 뭔가요", "베이시스 뜻",
    "베이시스의 뜻이 뭐예요?", "베이시스라는 게 뭐야?", "베이시스가 무슨 뜻이야?", "베이시스를 설명해 주세요", "베이시스가 뭔지 알려줘",
    "'베이시스'란 무엇을 말하나요?", "혹시 베이시스가 뭔지 궁금해요", "베 이 시 스 란 ?", "베이시스는 뭡니까", "  베이시스란??  ",
]  # fmt: skip
NOT_WHAT_IS = [
    "베이시스가 오르면 어떻게 되나요?", "베이시스는?", "그럼 베이시스는?", "베이시스 위험이 뭐예요?", "브라질 베이시스가 뭐예요?",
    "베이시스가 왜 필요해요?", "베이시스 알려 줘", "베이시스와 프리미엄의 차이가 뭐예요?", "베이시스가 아닌 것은 뭐예요?", "그건 뭐예요?",
    "베이시스는 얼마인가요?", "베이시스 계산이 뭐예요?", "2023년 베이시스가 뭐예요?",
]  # fmt: skip


@pytest.mark.parametrize("question", WHAT_IS)
def test_ways_to_ask_what_a_thing_is_meet_it(question):
    assert "=베이시스" in keys_asked(question)


@pytest.mark.parametrize("question", NOT_WHAT_IS)
def test_a_question_with_anything_else_in_it_does_not(question):
    assert "=베이시스" not in keys_asked(question)


@pytest.mark.parametrize(
    "question", ["basis?", "What is the basis?", "what's basis", "Define basis.", "What does basis mean?", "BASIS"]
)
def test_the_same_in_english(question):
    assert "=basis" in keys_asked(question)


@pytest.mark.parametrize(
    "question",
    ["What is the basis of the duty?", "What is basis risk?", "Why basis?", "the basis rises", "and the basis?"],
)
def test_other_questions_in_english(question):
    assert "=basis" not in keys_asked(question)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3.5%란?", "35%란?"),
        ("C++란?", "C란?"),
        ("C#이란?", "C란?"),
        ("-5란?", "5란?"),
        ("1/2이란?", "12란?"),
        ("3%란?", "3이란?"),
    ],
)
def test_signs_that_belong_to_what_is_said_count(one, other):
    assert not {key for key in keys_asked(one) if key[0] == "="} & {key for key in keys_asked(other) if key[0] == "="}
    assert keys_asked("1,000이란?") == keys_asked("1000이란?")


def test_parentheses_are_another_name_only_where_they_are_initials_or_a_translation():
    assert names_of("letter of credit (L/C)") == ("letter of credit (L/C)", "letter of credit", "L/C")
    assert names_of("FOB (free on board)")[1:] == ("FOB", "free on board")
    assert names_of("basic exchange rate (KRW)") == ("basic exchange rate (KRW)",)
    assert names_of("기준금리(미국)") == ("기준금리(미국)",)
    assert "=각주" in keys_of_question("각주(Gakju)는 무엇인가요?")
    assert keys_of_term(("", "?")) == () and keys_asked("???") == () and keys_asked("가" * 400) == ()


SAME = [
    ("각주를 끄려면 어떻게 하나요?", "각주 끄는 법"),
    ("WASDE는 언제 나오나요?", "WASDE 언제 나와"),
    ("WASDE는 언제 나오나요?", "언제 WASDE가 나오나요"),
    ("WASDE는 언제 나오나요?", "WASDE가 언제 나오는지 알려 주세요"),
    ("데이터는 어디에 저장되나요?", "데이터 어디에 저장돼?"),
    ("옥수수 1부셸은 몇 kg인가요?", "옥수수 1부셸은 몇 킬로그램이야?"),
    ("같은 문서를 두 번 넣으면 어떻게 되나요?", "같은 문서를 2번 넣으면 어떻게 돼요?"),
    ("FOB와 CIF는 무엇이 다른가요?", "CIF랑 FOB는 뭐가 달라요?"),
    ("한국에서는 관세를 누가 매기나요?", "한국에서 관세를 누가 매겨요?"),
    ("포트를 바꾸려면 어떻게 하나요?", "포트를 어떻게 바꿔야 하나요?"),
    ("환율이 떨어지면 운임은 어떻게 되나요?", "운임은 환율이 떨어지면 어떻게 되나요?"),
    ("How do I connect a language model?", "how to connect language models"),
    ("What happens to freight when the exchange rate falls?", "When the exchange rate falls, what happens to freight?"),
    ("What is the difference between FOB and CIF?", "What's the difference between CIF and FOB?"),
    ("When is WASDE published?", "Can you tell me when WASDE is published?"),
]
DIFFERENT = [
    ("GPU가 필요한가요?", "GPU가 필요 없나요?"),
    ("GPU가 필요한가요?", "GPU가 왜 필요한가요?"),
    ("각주를 끄려면 어떻게 하나요?", "각주를 끄면 어떻게 되나요?"),
    ("각주를 끄려면 어떻게 하나요?", "각주를 켜려면 어떻게 하나요?"),
    ("달러를 원으로 어떻게 바꾸나요?", "원을 달러로 어떻게 바꾸나요?"),
    ("달러가 원화를 이기나요?", "원화가 달러를 이기나요?"),
    ("옥수수 1부셸은 몇 kg인가요?", "옥수수 2부셸은 몇 kg인가요?"),
    ("옥수수 1부셸은 몇 kg인가요?", "옥수수 1kg은 몇 부셸인가요?"),
    ("2011-12시즌에 몇 골을 넣었나요?", "2012-12시즌에 몇 골을 넣었나요?"),
    ("WASDE는 언제 나오나요?", "WASDE는 언제 나왔나요?"),
    ("WASDE는 언제 나오나요?", "12월 WASDE는 언제 나오나요?"),
    ("GPU가 필요한가요?", "그럼 GPU가 필요한가요?"),
    ("넣은 문서는 어디에 있나요?", "넣는 문서는 어디에 있나요?"),
    ("내 문서는 어떻게 넣나요?", "이 문서는 어떻게 넣나요?"),
    ("내 문서가 외부로 전송되나요?", "내 문서가 외부로만 전송되나요?"),
    ("환율이 떨어지면 운임은 어떻게 되나요?", "운임이 떨어지면 환율은 어떻게 되나요?"),
    ("환율이 떨어지면 운임은 어떻게 되나요?", "환율이 떨어지지 않으면 운임은 어떻게 되나요?"),
    ("운임은 오르면 관세는 내리나요?", "관세는 오르면 운임은 내리나요?"),
    ("큰 배가 작은 배를 미나요?", "작은 배가 큰 배를 미나요?"),
    ("서울에서 부산까지 얼마나 걸리나요?", "부산에서 서울까지 얼마나 걸리나요?"),
    ("How do I convert cents into dollars?", "How do I convert dollars into cents?"),
    ("When is WASDE published?", "When was WASDE published?"),
    ("Do I need a GPU?", "Do I not need a GPU?"),
    ("What are auricles?", "What do the auricles do?"),
    ("Is it below -5 degrees?", "Is it below 5 degrees?"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_politeness_particles_and_order_make_no_other_question(one, other, analyzer):
    assert wording_of(one, analyzer).same_as(wording_of(other, analyzer))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_a_word_a_number_a_condition_or_a_role_does(one, other, analyzer):
    assert not wording_of(one, analyzer).same_as(wording_of(other, analyzer))
    assert not wording_of(other, analyzer).same_as(wording_of(one, analyzer))


def test_two_question_columns_of_one_language_are_one_row_by_the_question():
    table = "문의,질문,답변\n배송,배송은 며칠 걸리나요?,사흘입니다.\n"
    (row,) = rows_of(table)
    assert (row.title, row.answer) == ("배송은 며칠 걸리나요?", "사흘입니다.")
    assert row.keys and not set(row.keys) & set(keys_asked("배송"))
    both = rows_of("question,answer,question_en,answer_en\nVPN?,Ask IT.,What is a VPN?,A tunnel.\n")
    assert len({(found.ordinal, found.language) for found in both}) == len(both)


def rows_of(text: str, name: str = "table.csv"):
    parsed = read_bytes_as(text.encode(), name=name)
    return mine_rows(parsed.text, parsed.blocks, [Chunk(0, 0, len(parsed.text), parsed.text)])


def test_columns_are_known_by_their_names_in_both_languages():
    long = "이것은 한 문장으로 된 꽤 긴 설명이라서 줄글로 된 표가 됩니다, 정말로 그렇습니다."
    for header in ("용어,뜻", "단어,설명", "term,definition", "term_ko,definition_ko", "용어 (한국어),정의 (한국어)"):
        assert [(row.kind, row.title, row.language) for row in rows_of(f'{header}\n콘탱고,"{long}"\n')] == [
            ("term", "콘탱고", "ko")
        ], header
    assert [row.kind for row in rows_of(f'질문,답변\n콘탱고란?,"{long}"\n')] == ["faq"]
    assert rows_of(f'name,description\n콘탱고,"{long}"\n') == []
    assert rows_of("month,price\n2024-01,201\n2024-02,202\n") == []


def test_short_rows_that_share_a_chunk_are_found_each():
    rows = rows_of("term,definition\nbasis,cash minus futures\nswap,an exchange\n")
    assert [(row.title, row.answer) for row in rows] == [("basis", "cash minus futures"), ("swap", "an exchange")]


def test_a_value_of_several_lines_stays_whole():
    answer = "First, open the settings of the program.\nNote: this takes a while.\nThen choose the port that you want to use."
    other = "This is a sentence that is long enough for a table of prose, as most answers are."
    lines = [
        "question,answer,category",
        f'How do I change it?,"{answer}",use',
        *(f"Why {n}?,{other.replace(',', '')},use" for n in "abc"),
    ]
    rows = rows_of("\n".join(lines))
    assert [row.title for row in rows] == ["How do I change it?", "Why a?", "Why b?", "Why c?"]
    assert rows[0].answer == answer


@pytest.fixture
def instant(store, db, analyzer):
    stored_table(store, analyzer, FAQ)
    stored_table(store, analyzer, GLOSSARY, path="glossary.csv")
    return InstantAnswers(db, store.generation, analyzer)


def test_an_exact_and_a_near_question_are_answered_by_their_row_with_its_footnote(instant):
    for question, match in {"wasde는 언제 나오나요": "exact", "WASDE가 언제 나오는지 알려 주세요": "near"}.items():
        found = instant.find(question)
        assert found is not None and found.match == match and found.language == "ko"
        assert found.answer == "미국 농무부가 매달 한 번, 미국 동부 시각 정오에 발표하는 보고서입니다. [1]"
        (evidence,) = found.evidence
        assert evidence.rank == 1 and evidence.place.rows == (2, 2) and evidence.path == "faq.csv"
        stream = CitationStream(found.evidence)
        assert stream.feed(found.answer) + stream.close() == found.answer and stream.dropped == 0


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("15일입니다. 입사 첫해는 다릅니다.", "15일입니다. [1] 입사 첫해는 다릅니다. [1]"),
        ("`a.b. c` 를 씁니다. 끝입니다.", "`a.b. c` 를 씁니다. 끝입니다. [1]"),
    ],
)
def test_each_sentence_of_an_answer_has_its_footnote_but_beside_code(store, db, analyzer, written, shown):
    stored_table(store, analyzer, f'질문,답변\n휴가는 며칠인가요?,"{written}"\n')
    found = InstantAnswers(db, store.generation, analyzer).find("휴가는 며칠인가요?")
    assert found is not None and found.answer == shown


def test_the_answer_is_in_the_language_of_the_question(instant):
    assert instant.find("선하증권이 뭐예요?").answer.startswith("**선하증권**: 운송인이")
    assert instant.find("B/L이 뭐야?").language == "ko"
    assert instant.find("What is a bill of lading?").answer.startswith("**bill of lading (B/L)**: A document")
    assert instant.find("When is the WASDE published?").language == "en"
    assert instant.find("What is 선하증권?").language == "ko"


def test_a_faq_goes_before_the_definition_of_the_thing_it_asks_for(instant):
    assert instant.find("베이시스란?").titles == ("베이시스가 무엇인가요?",)
    assert instant.find("what is basis?").titles == ("basis",)


@pytest.mark.parametrize(
    "question", [*NOT_WHAT_IS, "WASDE는 어디서 나오나요?", "", "???", "그럼?", "x" * 5000, "가\n" * 900]
)
def test_other_questions_are_not_answered(instant, question):
    assert instant.find(question) is None


def test_rows_out_of_scope_do_not_answer(instant):
    assert instant.find("베이시스란?", Filters(collections=("other",))) is None
    assert instant.find("WASDE 언제 나와", Filters(paths=("glossary.csv",))) is None
    assert instant.find("베이시스란?", Filters(paths=("glossary.csv",))).titles == ("베이시스",)


def test_where_documents_differ_all_answers_are_shown_and_too_many_are_none(store, instant, analyzer):
    for number in range(MAX_ANSWERS):
        other = FAQ.replace("현물 가격에서", f"({number}) 현물 가격에서")
        stored_table(store, analyzer, other, path=f"faq{number}.csv", collection=f"team{number}")
        found = instant.find("베이시스란?")
        if number + 2 <= MAX_ANSWERS:
            assert len(found.evidence) == len(found.viewed) == number + 2
            assert found.answer.count("\n\n") == number + 1 and found.answer.endswith(f"[{number + 2}]")
        else:
            assert found is None


def test_the_same_answer_in_two_documents_is_shown_once_with_both_sources(store, instant, analyzer):
    stored_table(store, analyzer, FAQ, path="copy.csv")
    found = instant.find("베이시스란?")
    assert found.answer.count("[1]") == 1 and len(found.evidence) == 1
    assert {found.evidence[0].path, *(source.path for source in found.evidence[0].also_in)} == {"faq.csv", "copy.csv"}


def test_a_bare_name_is_answered_in_whatever_language_it_is_defined(store, instant, analyzer):
    table = "용어,뜻\nCFR,FOB 가격에 도착항까지의 운임을 더한 가격 조건이며 C&F라고도 하는 무역 거래 조건입니다.\n"
    stored_table(store, analyzer, table, path="terms.csv")
    assert instant.find("CFR?").language == "ko"
    assert instant.find("What is CFR?") is None
