"""The gold questions point at text that really stands in the bundled documents, and the documents are all there."""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from pathlib import Path

import pypdf
import pytest

PROJECT = Path(__file__).resolve().parent.parent
DOCS = PROJECT / "knowledge" / "docs"
GOLD = PROJECT / "eval" / "gold" / "questions.jsonl"
KEYS = {"id", "question", "language", "answerable", "documents", "contains"}

QUESTIONS = [json.loads(line) for line in GOLD.read_text(encoding="utf-8").splitlines()]
ANSWERABLE = [question for question in QUESTIONS if question["answerable"]]


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@cache
def _text(name: str) -> str:
    path = DOCS / name
    if path.suffix == ".pdf":
        return _one_line(" ".join(page.extract_text() for page in pypdf.PdfReader(path).pages))
    return _one_line(path.read_text(encoding="utf-8"))


def _rows(name: str) -> list[dict[str, str]]:
    with (DOCS / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(None not in row and None not in row.values() for row in rows), f"{name} has a ragged row"
    return rows


def test_every_question_has_the_same_well_formed_fields():
    assert all(set(question) == KEYS for question in QUESTIONS)
    assert len({question["id"] for question in QUESTIONS}) == len(QUESTIONS)
    assert len({question["question"] for question in QUESTIONS}) == len(QUESTIONS)
    assert {question["language"] for question in QUESTIONS} == {"ko", "en"}
    assert all(bool(question["documents"]) == question["answerable"] for question in QUESTIONS)
    assert all(bool(question["contains"]) == question["answerable"] for question in QUESTIONS)


def test_there_are_enough_questions_in_both_languages_with_and_without_an_answer():
    assert len(ANSWERABLE) >= 40
    assert len(QUESTIONS) - len(ANSWERABLE) >= 10
    for language in ("ko", "en"):
        assert sum(question["language"] == language for question in ANSWERABLE) >= 20


@pytest.mark.parametrize("question", ANSWERABLE, ids=lambda question: question["id"])
def test_the_key_strings_stand_in_the_named_documents(question):
    """`documents` and `contains` are alternatives: a passage of any of them with any of the strings is a hit."""
    keys = [_one_line(key) for key in question["contains"]]
    texts = {name: _text(name) for name in question["documents"]}
    for name, text in texts.items():
        assert any(key in text for key in keys), f"{name} contains none of {keys}"
    for key in keys:
        assert any(key in text for text in texts.values()), f"no named document contains {key!r}"


def test_the_bundle_has_enough_documents_each_in_both_languages():
    markdown = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert len(markdown) >= 25
    assert {name.replace(".ko.md", ".en.md") for name in markdown if name.endswith(".ko.md")} == {
        name for name in markdown if name.endswith(".en.md")
    }
    assert len(list(DOCS.rglob("*.pdf"))) >= 2


def test_the_korean_pdf_has_a_text_layer_in_reading_order():
    text = _text("data/maize_import_cost_guide.ko.pdf")
    steps = ["1. 계산에 필요한 값", "2.1 선물과 베이시스를", "2.5 국내 비용을", "3. 무엇이 얼마나", "5. 점검표"]
    assert [text.index(step) for step in steps] == sorted(text.index(step) for step in steps)
    assert "공장 도착 원가는 346,159 + 21,000 = 367,159원입니다" in text


def test_glossary_has_sixty_terms_with_every_field_filled():
    terms = _rows("glossary.csv")
    assert len(terms) >= 60
    assert list(terms[0]) == ["term_ko", "term_en", "definition_ko", "definition_en"]
    assert all(value.strip() for term in terms for value in term.values())
    assert len({term["term_ko"] for term in terms}) == len({term["term_en"] for term in terms}) == len(terms)


def test_faq_has_thirty_questions_in_two_languages():
    entries = _rows("faq.csv")
    assert len(entries) >= 30
    assert list(entries[0]) == ["question", "answer", "language", "category"]
    assert all(value.strip() for entry in entries for value in entry.values())
    assert {(entry["language"], entry["category"]) for entry in entries} == {
        (language, category) for language in ("ko", "en") for category in ("grain", "gakju")
    }
    assert all(bool(re.search("[가-힣]", entry["question"])) == (entry["language"] == "ko") for entry in entries)


def test_sample_data_says_that_it_is_a_sample_and_its_cif_adds_up():
    rows = _rows("data/grain_fx_sample.csv")
    assert len(rows) == 24
    for row in rows:
        assert row["note"] == "sample, not market data"
        dollars = int(row["maize_fob_gulf_usd_per_t"]) + int(row["freight_gulf_korea_usd_per_t"])
        assert int(row["cif_korea_krw_per_t"]) == dollars * int(row["krw_per_usd"])


def test_every_setting_is_in_the_handbook_in_both_languages():
    from settings import Settings

    for language in ("ko", "en"):
        handbook = _text(f"gakju/settings.{language}.md")
        missing = [name for name in Settings.model_fields if f"`{name.upper()}`" not in handbook]
        assert not missing, f"settings.{language}.md lacks {missing}"
