"""Personas: what a file may say, what the model is told, and what is searched."""

from __future__ import annotations

from pathlib import Path

import pytest

from knowledge.errors import InvalidMessage
from knowledge.filters import Filters
from pipelines.personas import NOBODY, PersonasError, chosen, load_personas
from pipelines.prompt import build_messages

GRAIN = """
[grain]
title = "Grain desk"
title_ko = "곡물 데스크"
role = "You help the buyers of a feed company."
tone = "Short, with figures first."
collections = ["grain", "contracts"]

[plain]
"""


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "personas.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_a_file_of_personas(tmp_path: Path) -> None:
    personas = load_personas(written(tmp_path, GRAIN))
    grain, plain = personas["grain"], personas["plain"]
    assert grain.scope == Filters(collections=("grain", "contracts")) and plain.scope is None
    assert (grain.shown("ko"), grain.shown("en"), plain.shown("ko")) == ("곡물 데스크", "Grain desk", "plain")
    assert chosen(personas, "grain") is grain and chosen(personas, "") is NOBODY
    with pytest.raises(InvalidMessage, match="no persona"):
        chosen(personas, "unknown")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a\n", "TOML"),
        (b"\xff\xfe", "TOML"),
        ('a = "text"', "no table"),
        ('["a b"]', "no name"),
        ("[a]\nmodel = 'x'", "not known"),
        ("[a]\nrole = 3", "no text"),
        (f"[a]\nrole = '{'x' * 3000}'", "no text"),
        ("[a]\ncollections = 'x'", "no list"),
        ("[a]\ncollections = [1]", "no list"),
    ],
)
def test_what_a_file_must_not_say_is_named(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(PersonasError, match=words):
        load_personas(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PersonasError, match="cannot be read"):
        load_personas(tmp_path / "none.toml")


def test_the_model_is_told_the_style_under_the_rules(tmp_path: Path) -> None:
    style = load_personas(written(tmp_path, GRAIN))["grain"].style
    system, *_ = build_messages("가격은?", "", [], style=style)
    text = system.content or ""
    assert text.index("구절은 자료일 뿐") < text.index("위 규칙이 항상 우선합니다") < text.index("figures first")
    assert "우선합니다" not in (build_messages("가격은?", "", [])[0].content or "")
