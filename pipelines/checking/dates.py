"""Dates and times of day: 2024년 3월 5일 = 2024-03-05 = March 5, 2024; 오후 3시 30분 = 15:30 = 3:30 pm.

A claim may say less than the passage (3월 of 2024-03-05), never something else. Knows nothing about other numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_MONTHS = {
    name: number
    for number, names in enumerate(
        "january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|september sept sep|october oct"
        "|november nov|december dec".split("|"),
        start=1,
    )
    for name in names.split()
}
_MONTH = "(?:" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\.?"
_YEAR = r"(?:1\d{3}|20\d{2}|21\d{2})"
_DAY = r"(?:[12]\d|3[01]|0?[1-9])"
_ENGLISH = re.IGNORECASE

# Tried in this order; what one takes, a later one does not see.
_PATTERNS = [
    re.compile(rf"(?<![\d.])(?P<y>{_YEAR})\s?[-./]\s?(?P<m>1[0-2]|0?[1-9])\s?[-./]\s?(?P<d>{_DAY})(?![\d]|,\d|\.\d)\.?"),
    re.compile(rf"(?<![\d/])(?P<m>1[0-2]|0?[1-9])/(?P<d>{_DAY})/(?P<y>{_YEAR}|\d{{2}})(?!\d)"),
    re.compile(rf"(?<!\d)(?P<y>\d{{4}}|['’]?\d{{2}})\s?년(?:도)?\s?(?P<m>1[0-2]|0?[1-9])\s?월(?:\s?(?P<d>{_DAY})(?:\s?일|(?=\s?[~∼–-])))?"),
    re.compile(rf"(?<!\d)(?P<m>1[0-2]|0?[1-9])\s?월(?:\s?(?P<d>{_DAY})(?:\s?일|(?=\s?[~∼–-])))?(?!령)"),
    re.compile(rf"\b(?P<mon>{_MONTH})\s+(?P<d>{_DAY})(?:st|nd|rd|th)?(?!\d|,\d)(?:\s?[–-]\s?\d{{1,2}})?(?:\s?,?\s+(?P<y>{_YEAR}))?(?!\d)", _ENGLISH),
    re.compile(rf"(?<!\d)(?P<d>{_DAY})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<mon>{_MONTH})(?![a-z])(?:,?\s+(?P<y>{_YEAR}))?(?!\d)", _ENGLISH),
    re.compile(rf"\b(?P<mon>{_MONTH}),?\s+(?:of\s+)?(?P<y>{_YEAR})(?!\d)", _ENGLISH),
    re.compile(r"(?:\b(?:[Ii]n|[Oo]f|[Bb]y|[Uu]ntil|[Ss]ince|[Dd]uring|[Ff]rom|[Ll]ate|[Ee]arly|[Mm]id|to|and)[ -])(?P<mon>January|February|March|April|May|June|July|August|September|October|November|December)\b"),
    re.compile(rf"(?P<decade>{_YEAR[:-1]}))(?:\s?년대|['’]?s\b)"),
    re.compile(rf"(?<!\d)(?P<y>{_YEAR})\s?(?:년(?:도)?(?!\s?(?:간|동안|대|째))|회계\s?연도)"),
    re.compile(r"(?<![\d\w])(?P<y>['’]\d{2})\s?년?(?![\d\w])"),
    re.compile(rf"\b(?:FY|[Ff]iscal(?: [Yy]ear)?)\s?(?P<y>{_YEAR}|\d{{2}})(?!\d)"),
    re.compile(r"(?<!\d)(?P<q>[1-4])\s?분기|\bQ(?P<q2>[1-4])\b|\b(?P<q3>[Ff]irst|[Ss]econd|[Tt]hird|[Ff]ourth)[ -][Qq]uarter"),
    re.compile(rf"(?<![\d.,$€£₩/-])(?P<y>{_YEAR})(?![\d%]|,\d|\.\d|\s?(?:년|원|달러|명|개|건|톤|m\b|km|won\b|KRW|USD|dollars|people|tons|tonnes|tokens|[만억천조]))"),
]  # fmt: skip
_QUARTERS = {"first": 1, "second": 2, "third": 3, "fourth": 4}
_CLOCK = re.compile(
    r"(?:(?P<half>오전|오후|새벽|아침|저녁|밤|낮)\s?)?(?<!\d)(?P<h>[01]?\d|2[0-4])\s?시(?!\s?(?:간|민|장|의원|청|설|행|작))"
    r"(?:\s?(?P<min>[0-5]?\d)\s?분|\s?(?P<thirty>반))?"
    r"|(?<![\d:.])(?P<h2>[01]?\d|2[0-3]):(?P<min2>[0-5]\d)(?::[0-5]\d)?(?![\d:])(?:\s?(?P<half2>[ap]\.?m\b\.?))?"
    r"|(?<![\d:.])(?P<h3>1[0-2]|0?[1-9])\s?(?P<half3>[ap]\.?m\b\.?)|(?P<noon>\bnoon\b|정오)|(?P<midnight>\bmidnight\b|자정)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Date:
    """What is said of a date; None: not said. `decade`: 199 for the 1990s. `bare`: just four digits, perhaps no year."""

    year: int | None = None
    month: int | None = None
    day: int | None = None
    quarter: int | None = None
    decade: int | None = None
    bare: bool = False
    text: str = ""

    @property
    def parts(self) -> dict[str, int]:
        named = {
            "year": self.year,
            "month": self.month,
            "day": self.day,
            "quarter": self.quarter,
            "decade": self.decade,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Clock:
    """Minutes since midnight; `certain`: it is said whether before or after noon."""

    minutes: int
    certain: bool
    text: str

    def same(self, other: Clock) -> bool:
        if self.certain and other.certain:
            return self.minutes == other.minutes
        return self.minutes % 720 == other.minutes % 720


def take_dates(text: str) -> tuple[list[Date], list[Clock], str]:
    """The dates and times of `text`, and `text` with them blanked out."""
    dates: list[Date] = []
    for pattern in _PATTERNS:
        bare = pattern is _PATTERNS[-1]

        def take(match: re.Match[str], bare: bool = bare) -> str:
            date = _date(match, bare=bare)
            if date is None:
                return match.group()
            dates.append(date)
            return "\x00" * len(match.group())

        text = pattern.sub(take, text)
    clocks: list[Clock] = []

    def take_clock(match: re.Match[str]) -> str:
        clocks.append(_clock(match))
        return "\x00" * len(match.group())

    return dates, clocks, _CLOCK.sub(take_clock, text)


def _date(match: re.Match[str], *, bare: bool) -> Date | None:
    found = {name: value for name, value in match.groupdict().items() if value}
    year = found.get("y")
    month = int(found["m"]) if "m" in found else _MONTHS[found["mon"].rstrip(".").lower()] if "mon" in found else None
    quarter = found.get("q") or found.get("q2")
    number = int(quarter) if quarter else _QUARTERS.get(found.get("q3", "").lower())
    decade = int(found["decade"]) // 10 if "decade" in found else None
    if decade is not None and int(found["decade"]) % 10:
        return None
    return Date(
        year=int(year.lstrip("'’")) if year else None,
        month=month,
        day=int(found["d"]) if "d" in found else None,
        quarter=number,
        decade=decade,
        bare=bare,
        text=match.group().strip(),
    )


def _clock(match: re.Match[str]) -> Clock:
    found = match.groupdict()
    if found["noon"] or found["midnight"]:
        return Clock(720 if found["noon"] else 0, True, match.group())
    hour = int(found["h"] or found["h2"] or found["h3"])
    minute = int(found["min"] or found["min2"] or (30 if found["thirty"] else 0))
    half = (found["half"] or found["half2"] or found["half3"] or "").lower()
    if half[:1] == "p" or half in ("오후", "저녁", "낮") or (half == "밤" and hour >= 6):
        hour = hour % 12 + 12
    elif half:
        hour %= 12
    return Clock(
        hour * 60 + minute, bool(half) or hour > 12 or match.group().lstrip()[:1] == "0", match.group().strip()
    )


def _same(part: str, a: int, b: int) -> bool:
    if part == "year" and (a < 100) != (b < 100):
        return a % 100 == b % 100
    return a == b


def date_is_told(claimed: Date, near: Sequence[Date], around: Iterable[Date]) -> bool:
    """Whether one date `near` says it all, or all but the year and a date `around` it says that."""
    parts = claimed.parts
    around = list(around)
    for date in near:
        told = date.parts
        if date.year is not None and "decade" in parts and "decade" not in told and date.year >= 100:
            told["decade"] = date.year // 10
        shared = parts.keys() & told.keys()
        if not shared or not all(_same(part, parts[part], told[part]) for part in shared):
            continue
        left = parts.keys() - shared
        if not left or (left == {"year"} and any(_same("year", parts["year"], d.year or -1) for d in around)):
            return True
    return False
