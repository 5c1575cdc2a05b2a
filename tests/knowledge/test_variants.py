"""What a question may have meant: variants are added with less weight, and a well-typed question stays what it is."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.preparing import chunking
from knowledge.database import Database
from knowledge.embedding import GakjuEmbedding
from knowledge.generations import Manifest, open_active
from knowledge.hangul import from_keys, is_syllable, to_keys
from knowledge.lexemes import Analyzer
from knowledge.servers import EmbeddedServers
from knowledge.store import IndexStore
from knowledge.variants import MAX_CHARS, NAME_WEIGHT, QueryWords, Reading
from knowledge.variants_mending import TYPO_WEIGHT
from knowledge.variants_numbers import number_variants
from knowledge.variants_typos import misspellings
from knowledge.vocabulary import Vocabulary
from tests.knowledge.test_store import make

TEXTS = [
    "체선료(demurrage)는 정박 기간을 넘겨 하역할 때 용선자가 선주에게 내는 돈입니다.",
    "베이시스(basis)는 현물 가격에서 선물 가격을 뺀 값입니다. 옥수수 선물의 가격은 시카고에서 정합니다.",
    "재택근무를 신청하면 팀장이 승인합니다. 연차휴가는 제12조에 따릅니다.",
    "콘탱고와 백워데이션은 만기 구조를 말합니다. 환율이 떨어지면 원가가 내려갑니다.",
    "WASDE는 미국 농무부(USDA)가 발표하는 보고서입니다. vLLM 서버의 연결 방법을 봅니다.",
    "할당관세의 법적 근거는 관세법 제71조입니다. 割當關稅(할당관세)라고도 씁니다.",
    "인코텀즈는 국제상업회의소(ICC)가 정합니다. 위험은 매수인에게 넘어갑니다.",
]
SYLLABLES = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), max_size=8)


@pytest.fixture(scope="module")
def words(servers: EmbeddedServers, embedding: GakjuEmbedding, analyzer: Analyzer) -> Iterator[QueryWords]:
    name = f"test_{uuid.uuid4().hex}"
    url = servers.postgres().url
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    db = Database(urlsplit(url)._replace(path=f"/{name}").geturl())
    db.open()
    with closing(db):
        store = IndexStore(db, open_active(db, Manifest(embedding.spec.to_dict(), chunking(256))))
        for number, text in enumerate(TEXTS):
            store.replace(*make(f"{number}.md", [text], embedding=embedding, analyzer=analyzer), reading="1")
        yield QueryWords(analyzer, Vocabulary(db, store.generation))


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("cptjsfyrk anjdi", "체선료가 뭐야"),
        ("qpdltltmfks?", "베이시스란?"),
        ("dhrtntn rkrur aucsus", "옥수수 가격 몇년"),
        ("ㅈㅁㄴㅇㄷ 발표", "wasde 발표"),
        ("ㅍㅣㅣㅡ 서버", "vllm 서버"),
        ("환유ㄹ이 떨어지면", "환율이 떨어지면"),
        ("ｖＬＬＭ 서버", "vLLM 서버"),
        (unicodedata.normalize("NFD", "베이시스란"), "베이시스란"),
    ],
)
def test_what_was_typed_with_other_keys_is_read_as_meant(words: QueryWords, typed: str, text: str) -> None:
    assert words.read(typed).text == text


@pytest.mark.parametrize(
    "text", ["vLLM export", "CIF price for the rate", "go to the rpc", "ㅋㅋ 체선료", "환율 ㅠㅠ", "WASDE가 뭐야"]
)
def test_latin_words_and_laughter_stay_as_they_are(words: QueryWords, text: str) -> None:
    assert words.read(text).text == text


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("체션료가 뭐야", "체선료"),
        ("배이시스란", "베이시스"),
        ("콘텡고와 백워데이션", "콘탱고"),
        ("콘탱고와 백워대이션", "백워데이션"),
        ("인코텀스는 누가", "인코텀즈"),
        ("남는 위헙", "위험"),
        ("할당관새 근거", "관세"),
    ],
)
def test_a_word_one_slip_away_from_one_of_the_index_brings_it(words: QueryWords, typed: str, meant: str) -> None:
    reading = words.read(typed)
    assert reading.lexemes[meant] == TYPO_WEIGHT
    assert meant not in reading.own


@pytest.mark.parametrize(
    "text", ["대추 가격", "김철수의 연차휴가", "환율이 떨어지면 원가가 어떻게 되나요?", "근무 시간"]
)
def test_words_of_the_dictionary_are_not_mended(words: QueryWords, text: str) -> None:
    reading = words.read(text)
    assert reading.text == text
    assert all(reading.lexemes[lexeme] == 1.0 for lexeme in reading.own)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("재 택근 무신 청", {"재택", "근무", "신청"}), ("환율이떨어지면원가가", {"환율", "떨어지", "원가"})],
)
def test_spaces_may_stand_anywhere(words: QueryWords, typed: str, meant: set[str]) -> None:
    assert meant <= words.read(typed).lexemes.keys()


def test_a_badly_spaced_question_is_embedded_with_its_spaces_mended(words: QueryWords) -> None:
    assert words.read("환 율이떨 어지면원 가가내려 갑니다").text == "환율이 떨어지면 원가가 내려갑니다"
    assert words.read("재택 근무 신청").text == "재택 근무 신청"
    assert words.read("재택근무 신청").text == "재택근무 신청"


@pytest.mark.parametrize(
    ("asked", "lexeme"),
    [
        ("demurrage 뜻", "체선료"),
        ("체선료가 뭐야", "demurrag"),
        ("체 선료란", "demurrag"),
        ("USDA report", "#농무"),
        ("농무부의 보고서", "usda"),
        ("割當關稅의 근거", "할당"),
        ("BASIS?", "베이시스"),
    ],
)
def test_a_term_brings_its_other_names(words: QueryWords, asked: str, lexeme: str) -> None:
    reading = words.read(asked)
    assert 0 < reading.lexemes[lexeme] <= NAME_WEIGHT
    assert lexeme not in reading.own


def test_what_was_typed_keeps_its_full_weight(words: QueryWords, analyzer: Analyzer) -> None:
    for text in TEXTS:
        reading = words.read(text)
        assert reading.own == dict.fromkeys(analyzer.analyze(text), 1.0)
        assert {lexeme: reading.lexemes[lexeme] for lexeme in reading.own} == reading.own
        assert all(0 < weight <= 1 for weight in reading.lexemes.values())


def test_a_long_text_is_taken_as_it_is(words: QueryWords, analyzer: Analyzer) -> None:
    text = "체션료가 " * MAX_CHARS
    assert words.read(text) == Reading(text, *[dict.fromkeys(analyzer.analyze(text), 1.0)] * 2)


@given(st.text(max_size=60) | st.text("ㄱㅏ가각 ㅋrkEㄳㅘ漢(%1.", max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read(words: QueryWords, text: str) -> None:
    reading = words.read(text)
    assert all(0 < weight <= 1 for weight in reading.lexemes.values())


@given(SYLLABLES)
def test_syllables_are_what_their_keys_type(text: str) -> None:
    keys = to_keys(text)
    assert keys is not None and keys.isascii()
    assert from_keys(keys) == text


@pytest.mark.parametrize("keys", ["price", "the rate", "k", "r", "rkk", "안녕", "spring", "rk1"])
def test_keys_that_make_no_whole_syllables_are_none(keys: str) -> None:
    assert from_keys(keys) is None


@given(SYLLABLES.filter(lambda text: len(text) > 1))
@settings(max_examples=50, deadline=None)
def test_misspellings_are_other_words_of_whole_syllables(word: str) -> None:
    found = misspellings(word, 0, len(word) - 1)
    assert word not in found
    assert all(map(is_syllable, "".join(found)))
    assert set(found.values()) <= {0.5, 1.0}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("배이", "베이"),
        ("헷지", "헤지"),
        ("위헙", "위험"),
        ("게산", "계산"),
        ("옥수스", "옥수수"),
        ("증궈", "증권"),
        ("베베이", "베이"),
    ],
)
def test_common_slips_are_among_them(typed: str, meant: str) -> None:
    assert meant in misspellings(typed, 0, len(typed) - 1)


@pytest.mark.parametrize(
    ("text", "lexemes"),
    [
        ("1천만원", {"1000", "10000000"}),
        ("1,500만 달러", {"1500", "15000000"}),
        ("10,000,000원", {"1000"}),
        ("3퍼센트 인상", {"3%", "3"}),
        ("관세법 71조", {"제71조", "71", str(71 * 10**12)}),
        ("2012.3.15 발효", {"2012", "3", "15"}),
        ("제71조", set()),
        ("환율", set()),
    ],
)
def test_numbers_are_also_what_they_are_written_as_elsewhere(text: str, lexemes: set[str]) -> None:
    assert set(number_variants(text)) == lexemes
