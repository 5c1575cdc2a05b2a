"""Numbers, articles and dates as lexemes of the other ways to write them: 1천만 and 10,000,000, 3퍼센트 and 3%, 71조 and 제71조.

Knows nothing about what a number counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TENS = {"십": 10, "백": 100, "천": 1_000}
_MYRIADS = {"만": 10**4, "억": 10**8, "조": 10**12}
_NUMBER = re.compile(r"(?<![\d.,제])(\d[\d,]*(?:\.\d+)?)\s?([십백천])?([만억조])(?![가-힣]*[항호])")
_PLAIN = re.compile(r"(?<![\d.,])(\d[\d,]{4,})(?![\d.])")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s?(?:퍼센트|프로|퍼센티지|percent\b|pct\b|[％%])", re.IGNORECASE)
_ARTICLE = re.compile(r"(?<!제)(?<!제\s)(?<![\d.,])(\d{1,4})\s?([조항호장절편])(?!\s?원)")
_DATE = re.compile(r"(?<![\d.])(\d{4})[.\-/]\s?(\d{1,2})[.\-/]\s?(\d{1,2})(?!\d)")


def number_variants(text: str) -> list[str]:
    """Lexemes as knowledge/lexemes.py makes them of the other forms, each once."""
    return list(dict.fromkeys(_variants(text)))


def _variants(text: str) -> Iterator[str]:
    for number, tens, myriads in _NUMBER.findall(text):
        value = float(number.replace(",", "")) * _TENS.get(tens, 1)
        yield from _whole(value)
        yield from _whole(value * _MYRIADS[myriads])
    for digits in _PLAIN.findall(text):
        value = int(digits.replace(",", ""))
        yield from (str(value // size) for size in _MYRIADS.values() if value >= size and value % size == 0)
    for number in _PERCENT.findall(text):
        yield from (f"{number}%", number)
    for number, unit in _ARTICLE.findall(text):
        yield f"제{number}{unit}"
    for parts in _DATE.findall(text):
        yield from (str(int(part)) for part in parts)


def _whole(value: float) -> Iterator[str]:
    if value.is_integer() and value < 10**16:
        yield str(int(value))
