"""Claims of answers: how they are cut, what speaks against them, and that quotations stand."""

from __future__ import annotations

import json

import pytest

from knowledge.types import Citation, Evidence, Place, Scores
from pipelines.checking import Claim, RuleChecker
from pipelines.checking.statements import statements
from pipelines.prompt import NO_ANSWER
from pipelines.quote import render, select

KO = (
    "환율이 5% 떨어지면 원가도 5% 떨어집니다. 2024년 3월 5일 관세청은 1,200명에게 3.5%의 관세를 알렸습니다. "
    "같은 해 7월에는 부산항에서 배 3척이 출항했습니다. 흡연은 모든 객실에서 금지됩니다. "
    "정부는 법무부에 청구서를 제출하였다. 수출은 12만 톤 증가했으며, 회의는 오후 3시 30분에 열렸다."
)
EN = (
    "The duty of 3 % raised 1.2 million dollars for Denmark. The treaty entered into force on 15 March 2012. "
    "Exports increased by 40 percentage points. The ship sails from Busan to Rotterdam. Smoking is not allowed."
)


def passage(text: str, *, title: str = "", heading: tuple[str, ...] = (), language: str = "ko", **more) -> Evidence:
    return Evidence(
        f"c{hash(text)}", "d", "c", "p", title, heading, Place(), 0, len(text), text, language, Scores(), 1, **more
    )


@pytest.fixture(scope="session")
def checker(analyzer):
    return RuleChecker(analyzer)


@pytest.fixture
def verdict(checker):
    def check(claim: str, text: str) -> tuple[str, set[str]]:
        item = passage(text)
        (found,) = checker.check(f"{claim}[1]", [item], [Citation(1, item)])
        return found.verdict, {reason.kind for reason in found.reasons}

    return check


# ---- claims of an answer ----


def test_footnotes_belong_to_the_sentence_they_follow_or_the_line_they_open():
    answer = "가격이 내려간다.[1] 운임도 내려간다. [2][3] 끝이다[1].\n- [2] 항목이다\n[3] 앞에 선다. 남는다."
    assert [s.cited for s in statements(answer)] == [(1,), (2, 3), (1,), (2,), (3,), ()]


def test_spans_point_into_the_answer_with_their_footnotes():
    answer = "# 제목\n\n값은 **3.5%**이다. [1] 그리고 1,000원이다.[2]"
    spans = [answer[s.start : s.end] for s in statements(answer)]
    assert spans == ["# 제목", "값은 **3.5%**이다. [1]", "그리고 1,000원이다.[2]"]
    assert statements(answer)[1].text == "값은 3.5%이다."


def test_code_and_table_headers_are_no_claims_and_rows_are():
    answer = "| 항목 | 값 |\n|---|---|\n| 관세 | 3% [1] |\n\n```python\nx[1] = 'a. b'\n```\n본문이다.[2]"
    assert [(s.text, s.kind, s.cited) for s in statements(answer)] == [
        ("관세 · 3%", "row", (1,)),
        ("본문이다.", "sentence", (2,)),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "안녕하세요!",
        "요약하면 다음과 같습니다:",
        "더 궁금한 점이 있으신가요?",
        "I hope this helps!",
        "## 요약",
        NO_ANSWER["ko"],
        NO_ANSWER["en"],
    ],
)
def test_small_talk_needs_no_source(checker, text):
    (claim,) = checker.check(text, [], [])
    assert claim.verdict == "smalltalk"


def test_a_claim_without_a_footnote_is_uncited_and_shown_with_the_closest_passage(checker):
    item = passage(KO)
    (claim,) = checker.check("환율이 5% 떨어지면 원가도 5% 떨어집니다.", [passage(EN), item], [])
    assert claim.verdict == "uncited"
    assert claim.aligned and claim.aligned.chunk_id == item.chunk_id and claim.aligned.n == 0
    assert item.text[claim.aligned.start : claim.aligned.end].startswith("환율이")


def test_a_footnote_without_a_passage_leaves_the_claim_uncited(checker):
    (claim,) = checker.check("환율이 오른다.[7]", [], [])
    assert claim.verdict == "uncited"


def test_empty_answers_and_empty_passages_are_taken(checker):
    assert checker.check("", [], []) == ()
    empty = passage("")
    (claim,) = checker.check("무언가 있다.[1]", [empty], [Citation(1, empty)])
    assert claim.verdict == "unsupported" and claim.aligned is None


def test_claims_survive_json(checker):
    item = passage(KO, title="관세")
    claims = checker.check("관세청은 1,300명에게 알렸습니다.[1] 안녕하세요! 몰라요.", [item], [Citation(1, item)])
    assert len(claims) == 3
    assert tuple(Claim.from_dict(json.loads(json.dumps(claim.to_dict()))) for claim in claims) == claims


# ---- what is right in another form ----


@pytest.mark.parametrize(
    "claim",
    [
        "환율이 5퍼센트 떨어지면 원가도 ５％ 떨어진다.",
        "2024-03-05 관세청은 1천2백 명에게 3.5 percent의 관세를 알렸다.",
        "관세청은 2024. 3. 5. 천이백 명에게 관세를 알렸다.",
        "3월 5일 관세청은 1200명에게 관세를 알렸습니다.",
        "2024년 7월에 부산항에서 배 세 척이 출항했다.",
        "수출은 120,000톤 증가했습니다.",
        "회의는 15:30에 열렸다.",
        "흡연은 객실에서 금지되어 있습니다.",
    ],
)
def test_another_form_of_the_same_korean_fact_is_supported(verdict, claim):
    assert verdict(claim, KO) == ("supported", set())


@pytest.mark.parametrize(
    "claim",
    [
        "According to the passage, the 3 percent duty raised $1,200,000 for Denmark.",
        "The treaty has been in force since March 15, 2012.",
        "In March 2012 the treaty entered into force.",
        "Exports increased by 40%p.",
        "Smoking isn't allowed.",
    ],
)
def test_another_form_of_the_same_english_fact_is_supported(verdict, claim):
    assert verdict(claim, EN) == ("supported", set())


# ---- what is wrong ----


@pytest.mark.parametrize(
    ("claim", "kind"),
    [
        ("환율이 7% 떨어지면 원가도 7% 떨어집니다.", "number"),
        ("환율이 5%p 떨어지면 원가도 5%p 떨어집니다.", "unit"),
        ("2024년 4월 5일 관세청은 1,200명에게 관세를 알렸습니다.", "date"),
        ("2023년 3월 5일 관세청은 1,200명에게 관세를 알렸습니다.", "date"),
        ("관세청은 1만 2천 명에게 3.5%의 관세를 알렸습니다.", "number"),
        ("같은 해 7월에는 인천항에서 배 3척이 출항했습니다.", "name"),
        ("같은 해 7월에는 부산항에서 배 네 척이 출항했습니다.", "number"),
        ("흡연은 모든 객실에서 금지되지 않습니다.", "negation"),
        ("흡연은 모든 객실에서 허용됩니다.", "opposite"),
        ("법무부는 정부에 청구서를 제출하지 않았다.", "negation"),
        ("수출은 12만 톤 감소했다.", "opposite"),
        ("회의는 오전 3시 30분에 열렸다.", "time"),
    ],
)
def test_a_wrong_korean_fact_is_found(verdict, claim, kind):
    found, kinds = verdict(claim, KO)
    assert found == "unsupported" and kind in kinds


@pytest.mark.parametrize(
    ("claim", "kind"),
    [
        ("The duty of 3 % raised 1.2 billion dollars for Denmark.", "number"),
        ("The duty of 3 % raised 1.2 million dollars for Norway.", "name"),
        ("The duty of 3 % raised 1.2 million euros for Denmark.", "unit"),
        ("The treaty entered into force on 15 May 2012.", "date"),
        ("The treaty entered into force on 15 March 2013.", "date"),
        ("Exports increased by 40 percent.", "unit"),
        ("Exports decreased by 40 percentage points.", "opposite"),
        ("Exports did not increase.", "negation"),
        ("Smoking is allowed.", "negation"),
        ("The ship sails from Rotterdam to Busan.", "roles"),
    ],
)
def test_a_wrong_english_fact_is_found(verdict, claim, kind):
    found, kinds = verdict(claim, EN)
    assert found == "unsupported" and kind in kinds


def test_another_topic_is_unsupported_by_similarity(verdict):
    found, kinds = verdict("연차 휴가는 다음 해로 넘어가지 않고 사라진다는 규정이 회사에 있습니다.", KO)
    assert found == "unsupported" and kinds & {"similarity", "negation"}


def test_a_number_of_another_sentence_of_the_passage_does_not_support(verdict):
    found, kinds = verdict("환율이 3.5% 떨어지면 원가도 3.5% 떨어집니다.", KO)
    assert found == "unsupported" and kinds == {"number"}


def test_a_finding_names_what_is_claimed_and_what_stands_there(checker):
    item = passage(KO)
    (claim,) = checker.check("수출은 15만 톤 증가했다.[1]", [item], [Citation(1, item)])
    assert [(r.kind, r.claimed, r.found) for r in claim.reasons] == [("number", "15만 톤", "12만 톤")]
    assert claim.aligned and claim.aligned.n == 1


def test_headings_and_table_headers_count_as_the_passage(checker):
    item = passage(
        "| 2023 | 5,794 |", title="Acme 보고서", heading=("매출 (단위: 백만원)",), table_header="| 연도 | 매출 |"
    )
    claims = checker.check(
        "Acme의 2023년 매출은 57억 9,400만 원이다.[1] Acme의 2023년 매출은 58억 원이다.[1]", [item], [Citation(1, item)]
    )
    assert [claim.verdict for claim in claims] == ["supported", "unsupported"]


def test_facts_of_two_cited_passages_are_taken_together(checker):
    first, second = passage("옥수수는 톤당 200달러에 팔렸다."), passage("해상 운임은 같은 기간에 톤당 50달러로 올랐다.")
    answer = "옥수수는 톤당 200달러에 팔렸고 같은 기간 해상 운임은 톤당 50달러로 올랐다.[1][2]"
    citations = [Citation(1, first), Citation(2, second)]
    (both,) = checker.check(answer, [first, second], citations)
    (one,) = checker.check(answer.replace("[2]", ""), [first, second], citations)
    assert (both.verdict, one.verdict) == ("supported", "unsupported")


def test_names_are_not_compared_across_languages(checker):
    item = passage("The treaty between Denmark and Norway entered into force in 2012.", language="en")
    (claim,) = checker.check("덴마크와 노르웨이의 조약은 2013년에 발효되었다.[1]", [item], [Citation(1, item)])
    assert {reason.kind for reason in claim.reasons} >= {"date"} and "name" not in {r.kind for r in claim.reasons}


def test_a_true_claim_in_another_language_is_supported_but_soft(checker):
    item = passage(EN, language="en")
    (claim,) = checker.check("이 조약은 2012년 3월 15일에 발효되었고 관세는 3%였다.[1]", [item], [Citation(1, item)])
    assert (claim.verdict, claim.soft) == ("supported", True)


# ---- quotations ----


def test_a_part_of_a_sentence_is_no_quotation(verdict):
    found, kinds = verdict("가격이 떨어진다.", "가격이 떨어진다고 볼 수 없다.")
    assert found == "unsupported" and "negation" in kinds


def test_every_sentence_of_quote_mode_is_supported(checker, analyzer, docs):
    questions = 0
    for path in sorted(docs.glob("g*/*.md")):
        text = path.read_text(encoding="utf-8")
        title = text.partition("\n")[0].lstrip("# ")
        sections = [f"## {part}" for part in text.split("\n## ")[1:]]
        evidence = [passage(part, title=title, language=path.suffixes[0][1:]) for part in sections[:6]]
        for item in evidence:
            question = item.text.partition("\n")[0].lstrip("# ")
            quoted = select(question, evidence, analyzer=analyzer)
            citations = [Citation(n, cited) for n, cited in enumerate(evidence, start=1)]
            for claim in checker.check(render(quoted), evidence, citations):
                assert claim.verdict in ("supported", "smalltalk"), (path.name, claim)
                questions += 1
    assert questions > 200


def test_rows_of_faq_quoted_without_their_labels_are_supported(checker, analyzer):
    text = "question_ko: 수수료는 얼마인가요?\nanswer_ko: 수수료는 **2%**입니다. 매달 1일에 빠집니다."
    item = passage(text, title="FAQ")
    quoted = render(select("수수료는 얼마인가요?", [item], analyzer=analyzer))
    claims = checker.check(quoted, [item], [Citation(1, item)])
    assert claims and {claim.verdict for claim in claims} == {"supported"}


# ---- hostile input ----


@pytest.mark.parametrize(
    "text",
    [
        "[1]" * 20_000,
        "a-" * 20_000 + "[1]",
        "1," * 20_000 + "[1]",
        "가" * 40_000 + "[1]",
        "(" * 20_000,
        "| " * 20_000 + "[1]",
        "`" * 20_000,
        "2024년 " * 8_000 + "[1]",
        "다. [1]" * 4_000,
        "from a to b " * 4_000 + "[1]",
    ],
)
def test_hostile_answers_and_passages_are_read(checker, text):
    """Any reading of them that were quadratic would not end."""
    item, hostile = passage(KO), passage(text)
    for claim in checker.check(text, [item], [Citation(1, item)]):
        assert 0 <= claim.start < claim.end <= len(text)
    (claim,) = checker.check("환율이 5% 떨어졌습니다.[1]", [hostile], [Citation(1, hostile)])
    assert claim.verdict == "unsupported"
