"""Numbers that HWP draws before paragraphs and does not keep in their text: 제1조, 가., ①. Knows no formats."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ingest.readers.hwp_model import Level

# In the order of their codes in HWP 5 files; the names are those of HWPX.
NUMBER_FORMATS = (
    "DIGIT CIRCLED_DIGIT ROMAN_CAPITAL ROMAN_SMALL LATIN_CAPITAL LATIN_SMALL CIRCLED_LATIN_CAPITAL "
    "CIRCLED_LATIN_SMALL HANGUL_SYLLABLE CIRCLED_HANGUL_SYLLABLE HANGUL_JAMO CIRCLED_HANGUL_JAMO HANGUL_PHONETIC "
    "IDEOGRAPH CIRCLED_IDEOGRAPH"
).split()
_SEQUENCES = {
    "CIRCLED_DIGIT": "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳",
    "LATIN_CAPITAL": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "LATIN_SMALL": "abcdefghijklmnopqrstuvwxyz",
    "CIRCLED_LATIN_CAPITAL": "ⒶⒷⒸⒹⒺⒻⒼⒽⒾⒿⓀⓁⓂⓃⓄⓅⓆⓇⓈⓉⓊⓋⓌⓍⓎⓏ",
    "CIRCLED_LATIN_SMALL": "ⓐⓑⓒⓓⓔⓕⓖⓗⓘⓙⓚⓛⓜⓝⓞⓟⓠⓡⓢⓣⓤⓥⓦⓧⓨⓩ",
    "HANGUL_SYLLABLE": "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허",
    "CIRCLED_HANGUL_SYLLABLE": "㉮㉯㉰㉱㉲㉳㉴㉵㉶㉷㉸㉹㉺㉻",
    "HANGUL_JAMO": "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ",
    "CIRCLED_HANGUL_JAMO": "㉠㉡㉢㉣㉤㉥㉦㉧㉨㉩㉪㉫㉬㉭",
    "CIRCLED_IDEOGRAPH": "㊀㊁㊂㊃㊄㊅㊆㊇㊈㊉",
}
_ROMAN = ((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))
_DIGITS = {"HANGUL_PHONETIC": ("일이삼사오육칠팔구", "십"), "IDEOGRAPH": ("一二三四五六七八九", "十")}
_PLACEHOLDER = re.compile(r"\^([1-9]|10|[nN])")
_MAX_ROMAN = 89


def formatted(number: int, number_format: str) -> str:
    """`number` as HWP shows it; digits where the format has no sign for it."""
    sequence = _SEQUENCES.get(number_format, "")
    if 1 <= number <= len(sequence):
        return sequence[number - 1]
    if number_format.startswith("ROMAN") and 1 <= number <= _MAX_ROMAN:
        roman = "L" * (number // 50) if number >= 50 else "XL" * (number // 40)
        rest = number % 50 if number >= 50 else number % 40
        for value, sign in _ROMAN:
            roman, rest = roman + sign * (rest // value), rest % value
        return roman if number_format == "ROMAN_CAPITAL" else roman.lower()
    if number_format in _DIGITS and 1 <= number <= 99:
        digits, ten = _DIGITS[number_format]
        tens, ones = divmod(number, 10)
        return (digits[tens - 1] * (tens > 1) + ten if tens else "") + (digits[ones - 1] if ones else "")
    return str(number)


class Counters:
    """Counts the paragraphs of every numbering in document order."""

    def __init__(self, numberings: Mapping[int, tuple[Level, ...]]) -> None:
        self._numberings = numberings
        self._counts: dict[int, list[int]] = {}

    def label(self, numbering: int, level: int) -> str:
        """What stands before the next paragraph of `numbering` at `level` (from 0): "제2조"; "" if it has no number."""
        levels = self._numberings.get(numbering, ())
        if not 0 <= level < len(levels):
            return ""
        counts = self._counts.setdefault(numbering, [])
        del counts[level + 1 :]
        while len(counts) <= level:  # a level that was skipped counts as begun
            counts.append(levels[len(counts)].start - (len(counts) == level))
        counts[level] += 1

        def number(match: re.Match[str]) -> str:
            which = match.group(1)
            if which in "nN":
                path = ".".join(formatted(n, levels[i].number_format) for i, n in enumerate(counts))
                return path + "." * (which == "N")
            index = int(which) - 1
            return formatted(counts[index], levels[index].number_format) if index <= level else ""

        return _PLACEHOLDER.sub(number, levels[level].pattern).strip()
