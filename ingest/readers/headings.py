"""Headings of Korean rules and contracts in text without markup: 제1장, 제2절, 제3조(목적). Knows no formats."""

from __future__ import annotations

import re

_DIVISION = re.compile(r"제 ?\d{1,3} ?([편장절관])(?:의 ?\d{1,2})?(?: |$)")
_ARTICLE = re.compile(r"제 ?\d{1,4} ?조(?: ?의 ?\d{1,3})? ?\([^()\n]{1,60}\)")
_LEVELS = {"편": 1, "장": 2, "절": 3, "관": 4}
_ARTICLE_LEVEL = 5
_MAX_DIVISION_CHARS = 50


def division(line: str) -> int | None:
    """Heading level of a line such as "제2장 연차 휴가", else None."""
    line = line.strip()
    match = _DIVISION.match(line) if len(line) <= _MAX_DIVISION_CHARS else None
    return _LEVELS[match.group(1)] if match and line[-1] not in ".,?!다" else None


def article(paragraph: str) -> tuple[int, str] | None:
    """Level and words of the article heading a paragraph begins with: "제3조(일수) 직원은 …" gives "제3조(일수)"."""
    match = _ARTICLE.match(paragraph)
    return (_ARTICLE_LEVEL, match.group()) if match else None
