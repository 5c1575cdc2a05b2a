"""Rewrites a sentence so that it stays true, or so that one number, date, name or negation is wrong. By seed.

Written apart from the checker's own rules: what one reads, the other does not use. Knows nothing about evidence.
"""

from __future__ import annotations

import random
import re

# ---- true rewrites ----

_POLITE = [
    (r"이다\.?$", "입니다."), (r"였다\.?$", "였습니다."), (r"했다\.?$", "했습니다."), (r"하였다\.?$", "하였습니다."),
    (r"되었다\.?$", "되었습니다."), (r"됐다\.?$", "됐습니다."), (r"한다\.?$", "합니다."), (r"된다\.?$", "됩니다."),
    (r"있다\.?$", "있습니다."), (r"없다\.?$", "없습니다."), (r"([았었])다\.?$", r"\1습니다."), (r"않는다\.?$", "않습니다."),
]  # fmt: skip
_EN_MONTHS = "January February March April May June July August September October November December".split()
_SMALL_WORDS = {
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}
_NATIVE = {"두 ": "2", "세 ": "3", "네 ": "4", "다섯 ": "5", "여섯 ": "6"}


def rewritten(sentence: str, rng: random.Random) -> str:
    """Two to four of the rewrites that fit, in random order."""
    korean = bool(re.search("[가-힣]", sentence))
    changes = [_polite, _number_format, _percent, _date_format, _without_brackets, _without_lead, _introduced]
    changes += [_native_numbers, _reordered] if korean else [_english_numbers, _contracted, _reordered_english]
    result = sentence
    for change in rng.sample(changes, len(changes))[:5]:
        result = change(result, rng)
    return result


def _polite(s: str, _: random.Random) -> str:
    for pattern, ending in _POLITE:
        changed = re.sub(pattern, ending, s)
        if changed != s:
            return changed
    return s


def _number_format(s: str, _: random.Random) -> str:
    def change(match: re.Match[str]) -> str:
        digits = match.group().replace(",", "")
        value = int(digits)
        korean = re.search("[가-힣]", s) is not None
        if "," in match.group():
            if korean and value % 10_000 == 0:
                return f"{value // 10_000}만"
            if korean and value % 1000 == 0 and value < 10_000:
                return f"{value // 1000}천"
            return digits
        return f"{value:,}" if value >= 10_000 else match.group()

    return re.sub(r"(?<![\w.,-])(?:\d{1,3}(?:,\d{3})+|\d{5,})(?![\d.,만억천조년])", change, s)


def _percent(s: str, rng: random.Random) -> str:
    word = "퍼센트" if re.search("[가-힣]", s) else " percent"
    if "%" in s:
        return re.sub(r"(?<=\d) ?%(?![pP포])", word, s)
    return re.sub(r"(?<=\d) ?(?:퍼센트(?!포인트)| percent\b(?!age))", "%", s)


def _date_format(s: str, rng: random.Random) -> str:
    def korean(match: re.Match[str]) -> str:
        year, month, day = (int(part) for part in match.groups())
        return rng.choice([f"{year}-{month:02d}-{day:02d}", f"{year}. {month}. {day}.", f"{year}년{month}월{day}일"])

    s = re.sub(r"(?<!\d)(\d{4})년 (\d{1,2})월 (\d{1,2})일", korean, s)

    def english(match: re.Match[str]) -> str:
        month, day, year = match.groups()
        number = _EN_MONTHS.index(month) + 1
        return rng.choice([f"{day} {month} {year}", f"{year}-{number:02d}-{int(day):02d}"])

    return re.sub(rf"\b({'|'.join(_EN_MONTHS)}) (\d{{1,2}}), (\d{{4}})", english, s)


def _without_brackets(s: str, _: random.Random) -> str:
    return " ".join(re.sub(r"\s?\([^()]{0,60}\)", "", s).split())


def _without_lead(s: str, _: random.Random) -> str:
    return re.sub(r"^(?:그리고|그러나|하지만|또한|한편|따라서|However|Also|Moreover|In addition),? ", "", s)


def _introduced(s: str, rng: random.Random) -> str:
    korean = re.search("[가-힣]", s) is not None
    return (
        rng.choice(
            ["자료에 따르면 ", "문서에는 다음 내용이 있습니다. ", ""] if korean else ["According to the document, ", ""]
        )
        + s
    )


def _native_numbers(s: str, _: random.Random) -> str:
    return re.sub(
        r"(?<![가-힣])(두|세|네|다섯|여섯) (?=(?:가지|명|개|번|곳|권|마리)(?![가-힣]*\w{3}))",
        lambda m: _NATIVE[m.group()],
        s,
    )


def _reordered(s: str, _: random.Random) -> str:
    """ "1989년 3월, 그는 …" → "그는 1989년 3월 …" """
    return re.sub(r"^(\d{4}년(?: \d{1,2}월)?(?: \d{1,2}일)?)(?:에)?,? (\S+[은는]) ", r"\2 \1 ", s)


def _english_numbers(s: str, _: random.Random) -> str:
    s = re.sub(r"(?<![\d.])(\d{1,3}) million\b", lambda m: f"{int(m.group(1)) * 1_000_000:,}", s)
    return re.sub(
        r"\b(two|three|four|five|six|seven|eight|nine|ten) (?=[a-z]+s\b)", lambda m: _SMALL_WORDS[m.group(1)] + " ", s
    )


def _contracted(s: str, _: random.Random) -> str:
    return re.sub(r"\b(did|does|do|is|was|were|are|has|have|could|would|should) not\b", r"\1n't", s)


def _reordered_english(s: str, _: random.Random) -> str:
    match = re.match(r"(In \d{4}), ([A-Z]?[^,]{10,200})\.$", s)
    return (
        f"{match.group(2)[0].upper()}{match.group(2)[1:]} {match.group(1)[0].lower()}{match.group(1)[1:]}."
        if match
        else s
    )


# ---- errors ----

_DATE_PART = re.compile(
    r"(?<!\d)(?:(1\d{3}|20\d{2})(?=년(?!대))|(\d{1,2})(?=월(?!령))|(?<=월 )(\d{1,2})(?=일)|(?<=in )(1\d{3}|20\d{2})(?![\d%]))"
)
_EN_MONTH = re.compile(rf"\b(?:{'|'.join(_EN_MONTHS)})(?= \d)")
_ANY_NUMBER = re.compile(r"(?<![\w.,/:-])\d[\d,]*(?:\.\d+)?(?![\d/:-]|\.\d|[A-Za-z]|[가-힣]?월|년|일(?!간))")


def wrong_number(s: str, rng: random.Random) -> str:
    """One number that is no date, changed by a little or by a digit; "" if there is none."""
    found = [
        m for m in _ANY_NUMBER.finditer(s) if not re.fullmatch(r"1\d{3}|20\d{2}", m.group()) and m.group().rstrip(",.")
    ]
    if not found:
        return ""
    match = rng.choice(found)
    old = match.group().rstrip(",")
    present = {m.group().replace(",", "") for m in found}
    for _ in range(20):
        new = _other_number(old, rng)
        if new.replace(",", "") not in present:
            return s[: match.start()] + new + s[match.start() + len(old) :]
    return ""


def _other_number(old: str, rng: random.Random) -> str:
    digits = old.replace(",", "")
    if "." in digits:
        decimals = len(digits.partition(".")[2])
        return f"{float(digits) * rng.choice([0.5, 0.8, 1.2, 1.5, 2, 10]) + rng.choice([0, 1]):.{decimals}f}"
    value = int(digits)
    new = max(
        2,
        rng.choice(
            [
                value + rng.randint(1, 9),
                value * 2,
                value * 10,
                round(value * 0.7) + 1,
                value - rng.randint(1, max(1, value // 2)),
            ]
        ),
    )
    return f"{new:,}" if "," in old else str(new)


def wrong_date(s: str, rng: random.Random) -> str:
    """One year, month or day changed; "" if there is none."""
    found = list(_DATE_PART.finditer(s)) + list(_EN_MONTH.finditer(s))
    if not found:
        return ""
    match = rng.choice(found)
    old = match.group()
    if old in _EN_MONTHS:
        new = rng.choice([m for m in _EN_MONTHS if m not in s])
    elif len(old) == 4:
        new = str(int(old) + rng.choice([-30, -11, -3, -1, 1, 2, 10, 20]))
    else:
        new = str(rng.choice([n for n in range(1, 13 if s[match.end() :].startswith("월") else 29) if n != int(old)]))
    return "" if re.search(rf"(?<!\d){new}(?!\d)", s) else s[: match.start()] + new + s[match.end() :]


_NEGATIONS = [
    (r"고 있다\.$", "고 있지 않다."), (r"고 있었다\.$", "고 있지 않았다."), (r"수 있다\.$", "수 없다."), (r"수 있었다\.$", "수 없었다."),
    (r"(?<=[가-힣] )있다\.$", "없다."), (r"(하지|되지|지) 않았다\.$", ""), (r"하였다\.$", "하지 않았다."), (r"했다\.$", "하지 않았다."),
    (r"되었다\.$", "되지 않았다."), (r"됐다\.$", "되지 않았다."), (r"한다\.$", "하지 않는다."), (r"된다\.$", "되지 않는다."),
    (r"([가-힣])이다\.$", r"\1이 아니다."), (r"이었다\.$", "이 아니었다."), (r"([가-힣])였다\.$", r"\1가 아니었다."), (r"([가-힣])[았었]다\.$", r"\1지 않았다."),
]  # fmt: skip
_AUXILIARY = re.compile(
    r"\b(is|was|are|were|has|have|had|can|could|will|would|may|should|must|did|does)(?! not|n't| been no)\b(?= [a-z])"
)


def negated(s: str, rng: random.Random) -> str:
    """The main statement denied, or its denial taken out; "" where that is not easy."""
    if re.search("[가-힣]", s):
        for pattern, replacement in _NEGATIONS:
            if re.search(pattern, s):
                return re.sub(pattern, replacement, s) if replacement else ""
        return ""
    if re.search(r"\b(?:is|was|are|were|did|does|could|would|will|can) not\b", s):
        return re.sub(r"\b(is|was|are|were|could|would|will|can) not\b", r"\1", s, count=1)
    match = _AUXILIARY.search(s)
    return s[: match.end()] + " not" + s[match.end() :] if match else ""


def with_detail(s: str, other: str) -> str:
    """The sentence with the second half of one about something else."""
    detail = other.rstrip(". ")
    if re.search("[가-힣]", s):
        return re.sub(r"다\.?$", "으며, " if re.search(r"[았었했]다\.?$", s) else "며, ", s.rstrip()) + detail + "."
    return s.rstrip(". ") + ", and " + detail[:1].lower() + detail[1:] + "."
