"""Names of one thing: found where a text gives two side by side, and only there; kept in step with the documents."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from ingest.readers import read_bytes_as
from knowledge.pairs import MAX_PAIRS, fold, mine_pairs
from knowledge.store import IndexStore
from knowledge.types import Block
from knowledge.verification import Verification, verify
from knowledge.vocabulary import Vocabulary, pair_rows
from tests.knowledge.test_store import make


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("미국달러선물은 한국거래소(KRX)에 상장되어 있다.", ("한국거래소", "KRX")),
        ("TRQ(관세율할당)는 낮은 세율을 적용한다.", ("관세율할당", "TRQ")),
        ("HBM(고대역폭 메모리)을 쌓는다.", ("고대역폭 메모리", "HBM")),
        ("매주 회귀 테스트(regression test)를 돌린다.", ("회귀 테스트", "regression test")),
        (
            "매달 발표하는 세계 농산물 수급 전망 보고서(World Agricultural Supply and Demand Estimates)이다.",
            ("세계 농산물 수급 전망 보고서", "World Agricultural Supply and Demand Estimates"),
        ),
        ("헤이그(영어: Alexander Haig, 1924년 12월 2일)는 군인이다.", ("헤이그", "Alexander Haig")),
        ("회의에서 재택(在宅)을 허용했다.", ("재택", "在宅")),
        ("在宅(재택) 근무를 신청한다.", ("재택", "在宅")),
        ("the Chicago Board of Trade (CBOT) sets it", ("Chicago Board of Trade", "CBOT")),
        ("a tariff-rate quota (TRQ) applies", ("tariff-rate quota", "TRQ")),
    ],
)
def test_two_names_side_by_side_are_a_pair(text, pair):
    assert mine_pairs(text) == [pair]


@pytest.mark.parametrize(
    "text",
    [
        "무게(kg)와 길이(cm)를 잰다.",
        "수익률(2019년)과 표(Table 3)를 보라.",
        "선행 연구(Kim et al., 2020)에 따르면 그렇다.",
        "이 설정(기본값)은 바꾸지 않는다. LLM_BASE_URL(선택)도 같다.",
        "[안내](https://example.com/a)와 [표](data.csv)를 보라.",
        "함수 print(value)와 open(file, mode)를 쓴다.",
        "서명이 없습니다(HttpOnly).",
        "`형식`(`.pdf`)을 확인한다.",
        "그림(Fig. 2)과 예(e.g. this)는 뺀다.",
        "재택(在宅勤務)은 글자 수가 다르다.",
        "the committee (see above) met in May (2020)",
        "a free ship (ABC) is no abbreviation of it",
        "결과(좋은 것만 골라서 보여 준다)를 본다.",
    ],
)
def test_remarks_units_dates_references_and_code_are_none(text):
    assert mine_pairs(text) == []


def test_code_blocks_are_left_out():
    text = "한국거래소(KRX)\n\n지수(BPI)"
    blocks = [Block(0, 10, kind="code"), Block(12, len(text))]
    assert text[:10] == "한국거래소(KRX)"[:10]
    assert mine_pairs(text, blocks) == [("지수", "BPI")]


GLOSSARIES = {
    "terms.csv": "term_ko,term_en,definition_ko\n선하증권,bill of lading (B/L),운송인이 화물을 받았음을 증명하는 서류.\n",
    "terms.md": "# 용어\n\n| 용어 | 영어 | 뜻 |\n|---|---|---|\n| 선하증권 | bill of lading | 화물을 받았다는 서류 |\n",
}


@pytest.mark.parametrize("name", GLOSSARIES)
def test_rows_of_a_glossary_are_pairs(name):
    parsed = read_bytes_as(GLOSSARIES[name].encode(), name=name)
    assert ("선하증권", "bill of lading") in mine_pairs(parsed.text, parsed.blocks)


def test_a_table_without_a_column_for_each_language_has_none():
    text = "이름,나라,직업\n김철수,Korea,engineer\n"
    parsed = read_bytes_as(text.encode(), name="people.csv")
    assert mine_pairs(parsed.text, parsed.blocks) == []


def test_a_dictionary_without_end_gives_only_its_first_pairs():
    text = "\n".join(f"용어{number:05}번(term{chr(97 + number % 26)}{number})" for number in range(MAX_PAIRS + 500))
    assert len(mine_pairs(text)) <= MAX_PAIRS


def test_ways_to_write_a_term_fold_into_one():
    assert fold("Stocks-to-Use Ratio") == fold("stock to use ratios")
    assert fold("B/L") == fold("ｂ／ｌ") == "bl"
    assert fold("발틱 운임 지수") == fold("발틱운임지수")
    assert fold("HS코드") == fold("HS 코드")
    assert pair_rows([("환율", "exchange rate"), ("환율", "exchange rates")]) == sorted(
        {("환율", "exchange rate"), ("환율", "exchange rates"), (fold("exchange rate"), "환율")}
    )


def names(db, store: IndexStore, term: str) -> list[str]:
    with Vocabulary(db, store.generation).lookups() as lookups:
        return lookups.partners([fold(term)]).get(fold(term), [])


def stored_rows(db) -> int:
    with db.connection() as conn:
        return conn.execute("SELECT count(*) FROM term_pairs").fetchone()[0]


def test_pairs_come_change_and_go_with_their_document(db, store, embedding, analyzer):
    old = make("a.md", ["한국거래소(KRX)의 선물"], embedding=embedding, analyzer=analyzer)
    new = make("a.md", ["체선료(demurrage)의 계산"], embedding=embedding, analyzer=analyzer)
    store.replace(*old, reading="1")
    assert names(db, store, "krx") == ["한국거래소"]
    assert names(db, store, "한국 거래소") == ["KRX"]
    store.replace(*new, reading="1")
    assert names(db, store, "krx") == []
    assert names(db, store, "체선료") == ["demurrage"]
    moved = dataclasses.replace(new[0], path="b.md")
    store.replace(moved, new[1], reading="1", instead_of="a.md")
    assert stored_rows(db) == 2
    store.remove("default", "b.md")
    assert stored_rows(db) == 0


def test_verify_names_pairs_of_no_document_and_keeps_them_out_of_the_digest(db, store, embedding, analyzer):
    document, chunks = make("a.md", ["한국거래소(KRX)의 선물"], embedding=embedding, analyzer=analyzer)
    store.replace(document, chunks, reading="1")
    digest = verified(db).digest
    with db.connection() as conn:
        conn.execute("UPDATE term_pairs SET document_id = gen_random_uuid() WHERE key = 'krx'")
    found = verified(db)
    assert found.digest == digest
    (problem,) = [problem for problem in found.problems if problem.kind == "term_pairs"]
    assert "1 of the names" in problem.what and "'krx'" in problem.what


def verified(db) -> Verification:
    found = verify(db)
    assert found is not None
    return found


def test_pairs_go_with_their_generation(db, store, embedding, analyzer):
    document, chunks = make("a.md", ["한국거래소(KRX)의 선물"], embedding=embedding, analyzer=analyzer)
    store.replace(document, chunks, reading="1")
    with db.connection() as conn:
        conn.execute("TRUNCATE documents, chunks, term_counts, chunk_counts, count_changes")
        conn.execute("DELETE FROM generations")
    assert stored_rows(db) == 0


def test_a_change_that_is_undone_leaves_the_pairs(db, store, embedding, analyzer):
    document, chunks = make("a.md", ["한국거래소(KRX)의 선물"], embedding=embedding, analyzer=analyzer)
    store.replace(document, chunks, reading="1")
    text = "체선료(demurrage)의 계산"
    changed = dataclasses.replace(document, text=text, content_hash=hashlib.sha256(text.encode()).hexdigest())

    def fail(conn) -> None:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        store.replace(changed, chunks, reading="1", also=fail)
    assert names(db, store, "krx") == ["한국거래소"]
    assert names(db, store, "체선료") == []


def test_the_usual_name_comes_first_and_odd_ones_not_at_all(db, store, embedding, analyzer):
    texts = ["환율(exchange rate)을 본다."] * 8 + ["환율(foreign exchange)을 본다."] * 3 + ["환율(money)을 본다."]
    for number, text in enumerate(texts):
        store.replace(*make(f"{number}.md", [text], embedding=embedding, analyzer=analyzer), reading="1")
    assert names(db, store, "환율") == ["exchange rate", "foreign exchange"]


def test_looking_up_a_name_reads_an_index_and_no_whole_table(db, store, embedding, analyzer):
    with db.connection() as conn:
        conn.execute(
            "INSERT INTO term_pairs SELECT %s, gen_random_uuid(), 'key' || n %% 50000, 'other' FROM generate_series(1, 100000) n",
            (store.generation.id,),
        )
        conn.execute("ANALYZE term_pairs")
    statements = recorded_plan(db, store, ["key7", "nothing"])
    assert statements.count("term_pairs_key") == 2 and "Seq Scan on term_pairs" not in statements


def recorded_plan(db, store: IndexStore, keys: list[str]) -> str:
    from knowledge.vocabulary import _PARTNERS, _SAMPLE

    values = {"keys": keys, "generation": store.generation.id, "sample": _SAMPLE}
    rows = []
    with db.connection() as conn:
        for collections in (None, [1]):
            rows += conn.execute(f"EXPLAIN {_PARTNERS}", {**values, "collections": collections}).fetchall()
    return "\n".join(row[0] for row in rows)


def test_a_document_without_pairs_writes_no_rows(db, store, embedding, analyzer):
    document, chunks = make("a.md", ["환율이 오른다."], embedding=embedding, analyzer=analyzer)
    assert np.isfinite(chunks[0].embedding).all()
    store.replace(document, chunks, reading="1")
    assert stored_rows(db) == 0
