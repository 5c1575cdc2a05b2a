"""Values of numbers as people write them: 1,000 and 1천; 1억 2천만; 3.5 million; 스무; 삼십; twenty-one.

Knows nothing about units.
"""

from __future__ import annotations

import re

_SMALL = {"십": 10, "백": 100, "천": 1000}
_BIG = {"만": 10**4, "억": 10**8, "조": 10**12, "경": 10**16}
SCALES_EN = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "k": 10**3, "mn": 10**6, "mm": 10**6, "m": 10**6, "bn": 10**9, "b": 10**9, "tn": 10**12,
}  # fmt: skip
ARABIC = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
# 1억 2천만, 3만 5,000: a further number must follow a multiplier, and "조" of 제3조 (an article) is none.
KOREAN_SCALED = (
    rf"(?:{ARABIC})\s?(?:[십백천]?[만억조경]|[십백천]+(?![가-힣]?체))"
    rf"(?:\s?(?:{ARABIC})\s?(?:[십백천]?[만억조경]|[십백천])|(?:\s?\d{{1,3}},\d{{3}}|\d{{3,4}}|\s\d{{4}})(?![\d,.]))*"
)
_PART = re.compile(rf"({ARABIC})\s?([십백천만억조경]*)")

_ONES = {
    "하나": 1, "한": 1, "둘": 2, "두": 2, "셋": 3, "세": 3, "석": 3, "넷": 4, "네": 4, "넉": 4, "다섯": 5, "여섯": 6,
    "일곱": 7, "여덟": 8, "아홉": 9,
}  # fmt: skip
_TENS = {
    "열": 10,
    "스물": 20,
    "스무": 20,
    "서른": 30,
    "마흔": 40,
    "쉰": 50,
    "예순": 60,
    "일흔": 70,
    "여든": 80,
    "아흔": 90,
}
NATIVE = rf"(?:{'|'.join(_TENS)})(?:{'|'.join(_ONES)})?|{'|'.join(_ONES)}"
_SINO = {digit: value for value, digit in enumerate("일이삼사오육칠팔구", start=1)}
# At least one multiplier: 일, 이, 삼 alone are mostly other words.
SINO = r"[일이삼사오육칠팔구]?[십백천만억][일이삼사오육칠팔구십백천만억]*"

_WORDS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen".split()
    )
} | {
    word: value
    for value, word in zip(
        range(20, 100, 10), "twenty thirty forty fifty sixty seventy eighty ninety".split(), strict=True
    )
}
_ORDINALS = {
    word: value
    for value, word in enumerate(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split(), start=1
    )
} | {"thirteenth": 13, "twentieth": 20}
_ANY_WORD = "|".join(sorted([*_WORDS, *_ORDINALS], key=len, reverse=True))
ENGLISH = rf"(?:{_ANY_WORD})(?:(?: ?- ?| )(?:and )?(?:{_ANY_WORD}|hundred|thousand|million|billion|trillion))*"


def arabic(text: str) -> float:
    return float(text.replace(",", ""))


def korean_scaled(text: str) -> float:
    """`1억 2천만` → 120000000.0"""
    total = section = 0.0
    for digits, scales in _PART.findall(text):
        number = arabic(digits)
        for scale in scales:
            if scale in _SMALL:
                number *= _SMALL[scale]
            else:
                total += (section + number) * _BIG[scale]
                section = number = 0.0
        section += number
    return total + section


def native(text: str) -> int:
    """`스물두` → 22"""
    for tens, value in _TENS.items():
        if text.startswith(tens):
            rest = text[len(tens) :]
            return value + (_ONES[rest] if rest else 0)
    return _ONES[text]


def sino(text: str) -> int:
    """`이백오십만` → 2500000"""
    total = section = digit = 0
    for char in text:
        if char in _SINO:
            digit = _SINO[char]
        elif char in _SMALL:
            section += (digit or 1) * _SMALL[char]
            digit = 0
        else:
            total += (section + digit or 1) * _BIG[char]
            section = digit = 0
    return total + section + digit


def english(text: str) -> float:
    """`two hundred and fifty thousand` → 250000.0; of ordinals the number"""
    total = section = 0.0
    for word in re.split(r"[- ]+", text.casefold()):
        if word in _WORDS or word in _ORDINALS:
            section += _WORDS.get(word, _ORDINALS.get(word, 0))
        elif word == "hundred":
            section = (section or 1) * 100
        elif word in SCALES_EN:
            total += (section or 1) * SCALES_EN[word]
            section = 0.0
    return total + section
