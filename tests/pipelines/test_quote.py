"""Quote mode with the real analyzer and embedding: which sentences it picks, how they read, and that it is an LLM."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.llms import LLM, ChatMessage, MessageRole

from knowledge.embedding import GakjuEmbedding
from knowledge.errors import DatabaseUnavailable, EmbeddingUnavailable
from knowledge.lexemes import Analyzer, language_of
from knowledge.types import Evidence, Place, Scores
from pipelines.citations import CitationStream, make_citations
from pipelines.prompt import NO_ANSWER, build_messages
from pipelines.quotable import quotables, readable
from pipelines.quote import MODEL_NAME, QuoteLLM, render, select
from pipelines.selection import Selector

FORWARD_KO = (
    "선물환은 정해진 날에 정해진 환율로 달러를 사거나 팔기로 은행과 미리 약속하는 계약입니다. "
    "수입업체는 결제일에 맞추어 달러 선물환을 사면 지급할 원화가 확정됩니다. "
    "현물환율은 외환시장에서 매일 바뀝니다."
)
FORWARD_EN = (
    "A currency forward is an agreement with a bank to buy or sell dollars on a set day at a set rate. "
    "The spot rate changes every day."
)
COMPANY = "회사는 1998년 부산에서 세워졌다. 직원은 모두 240명이다. 본사는 해운대구에 있다."
STEPS = (
    "휴가는 다음 순서로 신청합니다.\n\n1. 인사 시스템에 로그인합니다.\n2. 휴가 종류와 날짜를 고릅니다.\n"
    "3. 팀장의 승인을 받습니다. 승인은 하루 안에 납니다.\n4. 확정된 휴가를 달력에 표시합니다.\n"
)


def passage(text: str, *, n: int = 1, title: str = "문서", language: str = "", **fields) -> Evidence:
    return Evidence(
        chunk_id=f"c{n}",
        document_id=f"d{n}",
        collection="default",
        path=f"{n}.md",
        title=title,
        heading=fields.pop("heading", ()),
        place=fields.pop("place", Place()),
        start=0,
        end=len(text),
        text=text,
        language=language or language_of(text),
        scores=Scores(fused=1 / n),
        rank=n,
    )


@pytest.fixture(scope="module")
def llm(analyzer: Analyzer, embedding: GakjuEmbedding) -> QuoteLLM:
    return QuoteLLM(analyzer=analyzer, embedding=embedding)


def ask(llm: QuoteLLM, question: str, *evidence: Evidence, search_query: str = "") -> str:
    return llm.chat(build_messages(question, search_query or question, evidence)).message.content or ""


# ---- what is chosen ----


def test_sentence_that_answers_is_quoted_with_the_number_of_its_passage(llm: QuoteLLM) -> None:
    answer = ask(llm, "회사의 직원은 몇 명인가요?", passage(FORWARD_KO), passage(COMPANY, n=2))
    assert "직원은 모두 240명이다.[2]" in answer and "[1]" not in answer


def test_term_that_is_asked_for_is_answered_by_its_definition_first(llm: QuoteLLM) -> None:
    answer = ask(llm, "선물환이란 무엇인가요?", passage(COMPANY), passage(FORWARD_KO, n=2))
    assert answer.startswith("선물환은 정해진 날에") and answer.count("[2]") >= 1


@pytest.mark.parametrize(("question", "language"), [("선물환이 뭐야?", "ko"), ("What is a currency forward?", "en")])
def test_answer_is_in_the_language_of_the_question(llm: QuoteLLM, question: str, language: str) -> None:
    versions = [passage(FORWARD_EN, title="Hedging"), passage(FORWARD_KO, n=2, title="헤지")]
    for evidence in (versions, versions[::-1]):
        answer = ask(llm, question, *evidence)
        assert language_of(re.sub(r"\[\d\]", "", answer)) == language


def test_other_language_is_quoted_where_the_own_has_nothing(llm: QuoteLLM) -> None:
    answer = ask(llm, "환율은 매일 바뀌나요?", passage(FORWARD_EN, title="Hedging"))
    assert "The spot rate changes every day.[1]" in answer


def test_question_that_the_passages_do_not_touch_is_refused(llm: QuoteLLM) -> None:
    assert ask(llm, "월드컵 우승팀은?", passage(FORWARD_KO)) == NO_ANSWER["ko"]
    assert ask(llm, "Who painted the Mona Lisa?", passage(FORWARD_EN)) == NO_ANSWER["en"]


@pytest.mark.parametrize("text", ["", "   \n", "# 제목뿐", "```\nx = 1\n```", "짧다.", "---", "| a | b |\n|---|---|"])
def test_passage_without_a_sentence_is_refused(llm: QuoteLLM, text: str) -> None:
    assert ask(llm, "제목은 무엇인가요?", passage(text, language="ko")) == NO_ANSWER["ko"]


def test_same_sentence_in_two_documents_is_quoted_once(llm: QuoteLLM) -> None:
    answer = ask(llm, "직원은 몇 명인가요?", passage(COMPANY), passage("직원은 모두 240명이다.", n=2))
    assert answer.count("240명") == 1


def test_at_most_four_sentences_of_prose_are_quoted(analyzer: Analyzer, embedding: GakjuEmbedding) -> None:
    text = " ".join(
        f"{city} 공장의 직원은 {n}00명이다." for n, city in enumerate("부산 대구 광주 울산 인천 대전".split(), 1)
    )
    quoted = select("공장의 직원은 몇 명인가요?", [passage(text)], analyzer=analyzer, embedding=embedding)
    assert 1 <= len(quoted) <= 4


def test_follow_up_is_judged_with_the_rewritten_question(llm: QuoteLLM) -> None:
    other = "조합은 1975년에 세워졌다. 조합의 직원은 12명이다."
    answer = ask(llm, "직원은?", passage(COMPANY), passage(other, n=2), search_query="조합의 직원은 몇 명인가요?")
    assert answer.startswith("조합의 직원은 12명이다.[2]")


def test_steps_are_told_whole(llm: QuoteLLM) -> None:
    answer = ask(llm, "휴가는 어떻게 신청하고 승인은 누가 하나요?", passage(STEPS))
    assert (
        "- 인사 시스템에 로그인합니다.[1]\n- 휴가 종류와 날짜를 고릅니다.[1]\n- 팀장의 승인을 받습니다.[1] 승인은"
        in answer
    )
    assert "\n- 확정된 휴가를 달력에 표시합니다.[1]" in answer


def test_spans_are_where_the_sentence_stands(analyzer: Analyzer) -> None:
    evidence = [passage(FORWARD_KO), passage(COMPANY, n=2)]
    quoted = select("본사는 어디에 있나요?", evidence, analyzer=analyzer)
    assert quoted
    assert all(evidence[item.n - 1].text[item.start : item.end] == item.text for item in quoted)


# ---- rows, tables, lists, Markdown ----

FAQ = "question: 환불은 며칠 걸리나요?\nanswer: 영업일로 3일 안에 환불됩니다. 카드사에 따라 더 걸립니다.\nlanguage: ko\ncategory: 결제"
TERM = (
    "term_ko: 베이시스\nterm_en: basis\ndefinition_ko: 현물 가격에서 선물 가격을 뺀 값.\n"
    "definition_en: The cash price minus the futures price."
)


def test_faq_is_answered_without_its_labels_and_every_sentence_has_its_footnote(llm: QuoteLLM) -> None:
    row = passage(FAQ, heading=("환불은 며칠 걸리나요?",), place=Place(rows=(4, 4)))
    answer = ask(llm, "환불에 며칠이나 걸려요?", row, passage(COMPANY, n=2))
    assert answer.startswith("영업일로 3일 안에 환불됩니다.[1] 카드사에 따라 더 걸립니다.[1]")
    assert "question" not in answer and "answer" not in answer and "category" not in answer


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("베이시스가 뭐예요?", "베이시스: 현물 가격에서 선물 가격을 뺀 값.[1]"),
        ("What is basis?", "basis: The cash price minus the futures price.[1]"),
    ],
)
def test_glossary_answers_in_the_language_of_the_question(llm: QuoteLLM, question: str, answer: str) -> None:
    row = passage(TERM, heading=("베이시스",), place=Place(rows=(1, 1)))
    assert ask(llm, question, row) == answer


def test_row_of_prose_without_question_reads_as_one_line() -> None:
    row = passage("제품: 선풍기\n설명: 날개가 다섯 개인 **저소음** 제품", place=Place(rows=(1, 1)))
    assert [item.text for item in quotables([row])] == ["제품: 선풍기 · 설명: 날개가 다섯 개인 저소음 제품"]


def test_row_of_numbers_answers_in_either_language(llm: QuoteLLM) -> None:
    rows = "month: 2023-03 · rate: 1305\nmonth: 2023-04 · rate: 1320"
    evidence = [passage(rows, language="en", title="환율 표"), passage(FORWARD_KO, n=2)]
    assert ask(llm, "2023-04 환율은?", *evidence).startswith("month: 2023-04 · rate: 1320 [1]")


def test_table_rows_carry_their_column_names() -> None:
    table = "| 위험 | 수단 |\n|---|---|\n| 환율 상승 | **선물환** 매수 |\n| 운임 상승 | FFA |"
    assert [(item.text, item.kind) for item in quotables([passage(table)])] == [
        ("위험: 환율 상승 · 수단: 선물환 매수", "row"),
        ("위험: 운임 상승 · 수단: FFA", "row"),
    ]


def test_table_cut_off_from_its_header_reads_without_pipes() -> None:
    assert [item.text for item in quotables([passage("| 환율 상승 | 선물환 매수 |")])] == ["환율 상승 · 선물환 매수"]


def test_table_that_goes_on_in_another_passage_keeps_its_column_names() -> None:
    row = replace(passage("| 환율 상승 | 선물환 매수 |"), table_header="| 위험 | 수단 |")
    assert [item.text for item in quotables([row])] == ["위험: 환율 상승 · 수단: 선물환 매수"]


def test_row_with_several_sentences_in_a_cell_stays_whole() -> None:
    table = "| 설정 | 뜻 |\n|---|---|\n| TOP_K | 조각의 수입니다. 늘리면 느려집니다. |\n\n표 뒤의 문장입니다."
    evidence = passage(table)
    row, after = quotables([evidence])
    assert row.text == "설정: TOP_K · 뜻: 조각의 수입니다. 늘리면 느려집니다."
    assert evidence.text[row.start : row.end].startswith("| TOP_K") and row.kind == "row"
    assert after.text == "표 뒤의 문장입니다."


def test_rest_of_a_row_that_was_cut_is_not_quoted() -> None:
    assert [item.text for item in quotables([passage("늘리면 느려집니다 |\n| CHUNK | 조각의 길이 |")])] == [
        "CHUNK · 조각의 길이"
    ]


def test_sentences_of_one_passage_come_before_a_better_one_elsewhere_that_stands_alone(analyzer: Analyzer) -> None:
    evidence = [passage(COMPANY, title="회사 소개"), passage("조합은 부산에서 세워졌다.", n=2, title="조합")]
    quoted = select("회사는 부산에서 언제 세워졌나요?", evidence, analyzer=analyzer)
    assert quoted[0].text == "회사는 1998년 부산에서 세워졌다." and quoted[0].n == 1


def test_bar_decides_how_many_are_quoted(analyzer: Analyzer, embedding: GakjuEmbedding) -> None:
    def count(bar: float) -> int:
        selector = Selector(analyzer, embedding, bar=bar)
        return len(selector.select("회사의 직원은 몇 명인가요?", [passage(COMPANY)], language="ko"))

    assert (count(2), count(0)) == (1, 3)


@pytest.mark.parametrize(("sentences", "bar"), [(0, 0.2), (4, -1.0), (4, float("nan"))])
def test_choice_without_sense_is_refused(analyzer: Analyzer, sentences: int, bar: float) -> None:
    with pytest.raises(ValueError, match="max_sentences"):
        Selector(analyzer, max_sentences=sentences, bar=bar)


def test_few_sentences_are_embedded_for_a_question(analyzer: Analyzer, embedding: GakjuEmbedding) -> None:
    counting = _CountingEmbedding(embedding)
    text = " ".join(
        f"{city} 공장의 직원은 {n}00명이다." for n, city in enumerate("부산 대구 광주 울산 인천".split(), 1)
    )
    select("공장 직원 수는?", [passage(text)], analyzer=analyzer, embedding=counting)  # type: ignore[arg-type]
    assert counting.embedded == 2


def test_nothing_is_embedded_where_the_words_decide(analyzer: Analyzer, embedding: GakjuEmbedding) -> None:
    counting = _CountingEmbedding(embedding)
    text = "본사 창고의 야간 경비는 정비팀이 맡는다. 날씨가 좋았다. 점심은 국수였다."
    quoted = select("본사 창고의 야간 경비는 누가 맡나요?", [passage(text)], analyzer=analyzer, embedding=counting)  # type: ignore[arg-type]
    assert counting.embedded == 0 and quoted[0].text.startswith("본사 창고의")


class _CountingEmbedding:
    def __init__(self, embedding: GakjuEmbedding) -> None:
        self.spec, self.embed_query, self._passages = embedding.spec, embedding.embed_query, embedding.embed_passages
        self.embedded = 0

    def embed_passages(self, texts):
        self.embedded += len(texts)
        return self._passages(texts)


def test_headings_give_context_but_are_not_quoted() -> None:
    (item,) = quotables([passage("## 환불 규정\n\n영업일로 3일 안에 처리합니다.", heading=("결제",))])
    assert item.text == "영업일로 3일 안에 처리합니다."
    assert item.context == "문서 › 결제 › 환불 규정"


@pytest.mark.parametrize(
    "code",
    [
        "```python\nimport gakju\n```",
        "import os",
        "def f(x):",
        "x = f(1)",
        "$ make run",
        "return x;",
        "<div class='a'>",
    ],
)
def test_code_is_not_quoted(code: str) -> None:
    assert quotables([passage(code, language="en")]) == []


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("**과다 헤지**: 더 많이 _사는_ 것", "과다 헤지: 더 많이 사는 것"),
        ("[공식 문서](https://example.com/a_b_c)를 보세요", "공식 문서를 보세요"),
        ("![그림](a.png) 설명이다", "설명이다"),
        ("값은 `a[1] * b * c` 이다", "값은 `a[1] * b * c` 이다"),
        ("환율이 올랐다.[3][4] 다음", "환율이 올랐다. 다음"),
        ("짝이 없는 ` 따옴표", "짝이 없는 따옴표"),
        ("줄<br>바꿈 <b>굵게</b>\n다음", "줄바꿈 굵게 다음"),
        ("snake_case_name 그대로", "snake_case_name 그대로"),
    ],
)
def test_markdown_signs_and_old_footnotes_are_taken_out(markdown: str, text: str) -> None:
    assert readable(markdown) == text


def test_every_quotation_is_cited_and_highlighted(llm: QuoteLLM, analyzer: Analyzer) -> None:
    evidence = [passage(COMPANY), passage(FAQ, n=2, place=Place(rows=(1, 1))), passage(STEPS, n=3)]
    for question in ("직원은 몇 명인가요?", "환불은 며칠 걸리나요?", "휴가는 어떻게 신청하나요?"):
        answer = ask(llm, question, *evidence)
        stream = CitationStream(evidence)
        shown = stream.feed(answer) + stream.close()
        assert FOOTNOTE.sub("[n]", shown) == FOOTNOTE.sub("[n]", answer)
        assert stream.dropped == 0
        citations = make_citations(shown, evidence, stream.cited, analyzer=analyzer)
        assert citations and all(citation.highlights for citation in citations)


WORDS = st.sampled_from(
    "환율 직원은 240명이다. # ## | - 1. * ** ` ``` \n \n\n [1] [9] ![ ]( ) question: answer: term: : <b> a[1] x = {".split(
        " "
    )
)


@settings(deadline=None)
@given(st.lists(WORDS, max_size=40).map(" ".join))
def test_hostile_passage_never_breaks_the_footnotes(text: str) -> None:
    evidence = [passage(text, language="ko"), passage(COMPANY, n=2)]
    for item in quotables(evidence):
        source = evidence[item.n - 1].text
        assert 0 <= item.start < item.end <= len(source)
        assert "\n" not in item.text and item.text.strip()
    answer = render(select("직원은 몇 명인가요?", evidence, analyzer=SHARED_ANALYZER))
    stream = CitationStream(evidence)
    shown = stream.feed(answer) + stream.close()
    assert stream.dropped == 0
    assert FOOTNOTE.sub("[n]", shown) == FOOTNOTE.sub("[n]", answer)


FOOTNOTE = re.compile(r"\[\d+\]")
SHARED_ANALYZER = Analyzer()  # hypothesis does not mix with fixtures; Kiwi loads at first use


# ---- failures of what it leans on ----


class _BrokenEmbedding:
    def embed_query(self, text: str):
        raise EmbeddingUnavailable("The embedding server does not answer.")

    embed_passages = embed_query


def test_without_embedding_or_statistics_words_decide(analyzer: Analyzer) -> None:
    def idf(lexemes):
        raise DatabaseUnavailable("PostgreSQL does not answer.")

    evidence = [passage(FORWARD_KO), passage(COMPANY, n=2)]
    broken = _BrokenEmbedding()
    quoted = select("직원은 몇 명인가요?", evidence, analyzer=analyzer, embedding=broken, idf=idf)  # type: ignore[arg-type]
    assert max(quoted, key=lambda item: item.score).text == "직원은 모두 240명이다."


def test_statistics_of_the_index_are_used(analyzer: Analyzer) -> None:
    asked: list[str] = []

    def idf(lexemes):
        asked.extend(lexemes)
        return {lexeme: 9.0 if lexeme == "본사" else 0.1 for lexeme in lexemes}

    quoted = select("직원 본사", [passage(COMPANY)], analyzer=analyzer, idf=idf)
    assert {"직원", "본사"} <= set(asked)
    assert max(quoted, key=lambda item: item.score).text == "본사는 해운대구에 있다."


# ---- the LLM interface ----


def test_it_is_a_chat_model_that_says_what_it_is(llm: QuoteLLM) -> None:
    assert isinstance(llm, LLM)
    assert (llm.metadata.model_name, llm.metadata.is_chat_model) == (MODEL_NAME, True) == ("quote mode", True)


async def test_all_ways_of_asking_give_the_same_answer(llm: QuoteLLM) -> None:
    messages = build_messages("직원은 몇 명인가요?", "", [passage(COMPANY)])
    whole = llm.chat(messages).message.content or ""
    assert (await llm.achat(messages)).message.content == whole
    for responses in (list(llm.stream_chat(messages)), [r async for r in await llm.astream_chat(messages)]):
        assert "".join(response.delta or "" for response in responses) == whole
        assert responses[-1].message.content == whole
        assert responses[-1].additional_kwargs["finish_reason"] == "stop"
        assert len(responses) >= 4
        assert all(len(response.delta or "") < 20 for response in responses)


async def test_the_event_loop_keeps_running_while_it_computes(llm: QuoteLLM) -> None:
    messages = build_messages("직원은 몇 명인가요?", "", [passage(COMPANY * 20)])
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    stream = await llm.astream_chat(messages)
    await anext(stream)
    before_first = turns
    counting.cancel()
    await stream.aclose()
    assert before_first > 10


@pytest.mark.parametrize(("text", "language"), [("안녕하세요?", "ko"), ("Hello?", "en")])
async def test_messages_without_evidence_are_refused(llm: QuoteLLM, text: str, language: str) -> None:
    message = ChatMessage(role=MessageRole.USER, content=text)
    assert llm.chat([message]).message.content == NO_ANSWER[language]
    assert (await llm.acomplete(text)).text == NO_ANSWER[language]
    assert [r async for r in await llm.astream_complete(text)][-1].text == NO_ANSWER[language]
    assert ask(llm, text) == NO_ANSWER[language]
    assert llm.chat([]).message.content in NO_ANSWER.values()


def test_sentence_outside_of_the_preferred_language_is_not_mixed_in(llm: QuoteLLM) -> None:
    mixed = replace(passage("The company has 240 employees.", n=2), title="회사")
    assert "employees" not in ask(llm, "직원은 몇 명인가요?", passage(COMPANY), mixed)
