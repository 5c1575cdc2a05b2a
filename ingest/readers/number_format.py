"""Spreadsheet numbers as a person sees them: dates in ISO form, percentages, thousands, currency. Knows no files.

Covers what office workers set: the built-in formats with the Korean dates among them (ids 27–36 and 50–58, which
openpyxl takes for plain numbers), literals, "△" for negatives and numbers with hyphens. Other formats show the number.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache

GENERAL = "General"
_DATE, _TIME, _BOTH = "yyyy-mm-dd", "hh:mm", "yyyy-mm-dd hh:mm"
_BUILT_IN = {
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    **dict.fromkeys((5, 6, 37, 38, 41, 42), "#,##0;-#,##0"),
    **dict.fromkeys((7, 8, 39, 40, 43, 44), "#,##0.00;-#,##0.00"),
    9: "0%",
    10: "0.00%",
    **dict.fromkeys((14, 15, 16, 17, 27, 28, 29, 30, 31, 36, 50, 51, 52, 53, 54, 57, 58), _DATE),
    **dict.fromkeys((18, 19, 20, 21, 32, 33, 34, 35, 55, 56), _TIME),
    22: _BOTH,
    **dict.fromkeys((45, 46, 47), "[h]:mm:ss"),
}
_TOKEN = re.compile(
    r'"([^"]*)"'  # words
    r"|\\(.)"
    r"|\[\$([^\]-]*)(?:-[^\]]*)?\]"  # currency sign and language
    r"|\[[^\]]*\]"  # colour or condition
    r"|[_*]."  # space as wide as a character; fill
    r"|([0#?][0#?,.\-]*(?<![\-,])|[0#?])(,*)"  # digits, and commas that divide by a thousand
    r"|(.)"
)
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
_LITERALS = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|[_*].')
_NEVER_SHOWN = re.compile(r"[eE][+-]|/|General")
_EPOCH_1900 = datetime(1899, 12, 30)
_EPOCH_1904 = datetime(1904, 1, 1)
_LAST_DAY = 2_958_465  # 9999-12-31


def format_code(format_id: int, custom: dict[int, str]) -> str:
    return custom.get(format_id) or _BUILT_IN.get(format_id, GENERAL)


def shown(value: float, code: str, *, epoch_1904: bool = False) -> str:
    """The number in a cell of format `code`."""
    kind = _kind(code)
    if kind == "elapsed":
        minutes = round(value * 24 * 60)
        return f"{minutes // 60}:{minutes % 60:02}"
    if kind != "number":
        return _moment(value, kind, epoch_1904=epoch_1904)
    return _number(value, code)


@lru_cache(maxsize=1024)
def _kind(code: str) -> str:
    """number, date, time, datetime or elapsed."""
    first = code.split(";")[0]
    if _ELAPSED.search(first):
        return "elapsed"
    letters = _LITERALS.sub("", first).lower().replace("general", "").replace("am/pm", "h")
    has_date = any(letter in letters for letter in "yd") or ("m" in letters and not any(c in letters for c in "hs"))
    has_time = any(letter in letters for letter in "hs")
    if has_date:
        return "datetime" if has_time else "date"
    return "time" if has_time else "number"


def _moment(value: float, kind: str, *, epoch_1904: bool) -> str:
    if not 0 <= value <= _LAST_DAY:
        return plain(value)
    if not epoch_1904 and value < 60:
        value += 1  # Excel counts a 29 February 1900 that never was
    moment = (_EPOCH_1904 if epoch_1904 else _EPOCH_1900) + timedelta(seconds=round(value * 86_400))
    clock = f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"
    if kind == "time":
        return clock
    date = moment.date().isoformat()
    return f"{date} {clock}" if kind == "datetime" and clock != "00:00" else date


def plain(value: float) -> str:
    """Without the noise of binary fractions: 0.1 + 0.2 is 0.3."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.15g}"


def _number(value: float, code: str) -> str:
    sections = _sections(code)
    if _NEVER_SHOWN.search(code) or "[<" in code or "[>" in code or "[=" in code:
        return plain(value)
    section = sections[0]
    if value < 0 and len(sections) > 1:
        section, value = sections[1], -value
    tokens = list(_TOKEN.finditer(section))
    if not any(token.group(4) for token in tokens):
        return plain(value)
    percent = any(token.group(6) == "%" for token in tokens)
    parts: list[str] = []
    done = False
    for token in tokens:
        words, escaped, currency, digits, commas, other = token.groups()
        if digits and not done:
            parts.append(_digits(value * (100 if percent else 1) / 1000 ** len(commas or ""), digits))
            done = True
        elif not digits:
            parts.append(words or escaped or currency or other or "")
    text = "".join(parts).strip()
    return f"-{text[1:]}" if text.startswith("--") else text


def _digits(value: float, pattern: str) -> str:
    whole, _, fraction = pattern.partition(".")
    if "-" in pattern:
        return _with_hyphens(value, pattern)
    most, least = sum(c in "0#?" for c in fraction), fraction.count("0")
    text = f"{abs(value):.{most}f}"
    head, _, tail = text.partition(".")
    tail = tail[:least] + tail[least:].rstrip("0")
    head = head.zfill(sum(c == "0" for c in whole)) if "," not in whole else f"{int(head):,}"
    sign = "-" if value < 0 and text.strip("0.") else ""
    return sign + (f"{head}.{tail}" if tail else head)


def _with_hyphens(value: float, pattern: str) -> str:
    """Telephone and registration numbers: 1012345678 as 000-0000-0000."""
    digits = iter(reversed(str(round(abs(value))).zfill(pattern.count("0"))))
    parts = [next(digits, "") if char in "0#?" else char for char in reversed(pattern)]
    return "".join(reversed([*parts, *digits])).lstrip("-")


@lru_cache(maxsize=1024)
def _sections(code: str) -> list[str]:
    """Positive; negative; zero; text. A semicolon inside words is none."""
    sections, start = [], 0
    hidden = _LITERALS.sub(lambda match: "x" * len(match.group()), code)
    for position, char in enumerate(hidden):
        if char == ";":
            sections.append(code[start:position])
            start = position + 1
    return [*sections, code[start:]]
