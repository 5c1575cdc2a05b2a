"""Numbers of a text with their units, for comparison: 3.5% = 3.5퍼센트, but not 3.5%p; 1억 2천만 원 = 120 million won.

Knows nothing about dates (they are taken out before) and signs: "3.5 % 감소" and "-3.5 %" are the same number here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, isclose, log10

from pipelines.checking import numerals
from pipelines.checking.dates import Clock, Date, take_dates
from pipelines.checking.units import PREFIXES, UNIT_PATTERN, comparable, unit_of

_NATIVE_COUNTERS = "개|명|가지|번째|번|곳|군데|살|달|시간|마리|권|대|차례|배|쪽|팀|해|사람|건|종류|척|채|편|장|주|분"
_NUMBER = re.compile(
    rf"(?P<prefix>{PREFIXES})?\s?(?P<article>제\s?)?"
    rf"(?<![A-Za-z_\d.])(?<![A-Za-z]-)(?:(?P<scaled>{numerals.KOREAN_SCALED})|(?P<arabic>{numerals.ARABIC}))"
    rf"(?:[ -]?(?P<scale>thousand|million|billion|trillion|(?:mn|mm|bn|tn|[kKmMbB])(?=\b)))?"
    rf"(?:(?:\s?여\s?|\s?-?)?(?P<unit>(?![$€£₩¥]\s?[\d(])(?:{UNIT_PATTERN}))|(?P<code>[A-Za-z_]\w*))?"
)
_NATIVE = re.compile(rf"(?<![가-힣])(?P<n>{numerals.NATIVE})\s?(?P<unit>{_NATIVE_COUNTERS})(?!국)")
_BARE_NATIVE = re.compile(r"(?<![가-힣])(?P<n>두|세|네|다섯|여섯|일곱|여덟|아홉|열)(?= [가-힣])")
_SINO = re.compile(
    rf"(?<![가-힣])(?P<n>{numerals.SINO})\s?(?P<unit>원|명|개월|개|년|퍼센트포인트|퍼센트|톤|킬로미터|미터|달러|배|회|곳|주년|세)"
)
_ENGLISH = re.compile(
    rf"(?<![A-Za-z-])(?<!per )(?P<n>{numerals.ENGLISH})(?![a-z])(?:[ -](?P<unit>{UNIT_PATTERN}))?", re.IGNORECASE
)
_WEAK_WORDS = frozenset({"one", "first", "second", "third", "하나", "한"})
_HEDGED = re.compile(
    r"(?:약|대략|거의|무려|어림잡아|about|approximately|around|nearly|roughly|some|almost|over|under|more than|less than"
    r"|at least|up to|(?<!\d)\s?~|≈)\s*$",
    re.IGNORECASE,
)
_HEDGED_AFTER = re.compile(r"\s?(?:가량|정도|쯤|남짓|안팎|내외|여\s?[가-힣]|or so|-odd)")
_AMOUNTS_IN = re.compile(
    r"\(?\s?(?:단위\s*[:：]?\s*(?P<ko>[십백천만억조]+)\s?(?:원|달러|명|톤|개)?|\bin (?P<en>thousands|millions|billions))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """`value` in the base unit of `dimension` ("" if no unit is known); `written` as it stands, without its unit.

    `weak`: a word that often is no number ("one", "first", "한 번"): evidence, never a claim. `in_words`: a small count
    in words ("two reasons", "두 가지"), which may count what its source lists without counting it.
    """

    value: float
    dimension: str
    written: float
    text: str
    hedged: bool = False
    weak: bool = False
    in_words: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """All that a text says in numbers."""

    quantities: tuple[Quantity, ...]
    dates: tuple[Date, ...]
    clocks: tuple[Clock, ...]


def figures(text: str) -> Figures:
    """Linear in the length of `text`."""
    text = unicodedata.normalize("NFKC", text).replace("−", "-")
    dates, clocks, rest = take_dates(text)
    found: list[Quantity] = []

    def take(match: re.Match[str]) -> str:
        quantity = _quantity(match, rest)
        if quantity:
            found.append(quantity)
        return " " * len(match.group())

    rest = _NUMBER.sub(take, rest)
    for pattern, value in ((_NATIVE, numerals.native), (_SINO, numerals.sino), (_ENGLISH, numerals.english)):
        for match in pattern.finditer(rest):
            written = float(value(match.group("n")))
            dimension, factor = unit_of(match.group("unit") or "")
            weak = match.group("n").casefold() in _WEAK_WORDS
            in_words = written <= 10 and dimension in ("", "count") and pattern is not _SINO
            found.append(Quantity(written * factor, dimension, written, match.group(), weak=weak, in_words=in_words))
    for match in _BARE_NATIVE.finditer(rest):  # "두 딸": evidence for 2명
        found.append(
            Quantity(numerals.native(match.group("n")), "", numerals.native(match.group("n")), match.group(), weak=True)
        )
    return Figures(tuple(found), tuple(dates), tuple(clocks))


def _quantity(match: re.Match[str], text: str) -> Quantity | None:
    part = match.groupdict()
    if part["code"] and not part["scale"]:
        return None  # 3D, 4o: a code, compared as a name
    scaled = part["scaled"]
    if scaled and part["article"] and scaled.endswith("조"):
        part["arabic"], scaled = scaled.rstrip("조 "), None
    written = numerals.korean_scaled(scaled) if scaled else numerals.arabic(part["arabic"])
    if part["scale"]:
        written *= numerals.SCALES_EN[part["scale"].casefold()]
    dimension, factor = unit_of(part["unit"] or part["prefix"] or "")
    if part["prefix"] and dimension not in ("USD", "points"):
        dimension, factor = unit_of(part["prefix"])
    if part["scale"] in ("m", "M", "b", "B", "k", "K") and not (part["prefix"] or part["scale"] in "kKMB"):
        written /= numerals.SCALES_EN[part["scale"].casefold()]  # "12m" without a currency are metres
        dimension, factor = ("m", 1.0) if part["scale"] == "m" else ("", 1.0)
    hedged = bool(
        _HEDGED.search(text[max(0, match.start() - 16) : match.start()]) or _HEDGED_AFTER.match(text, match.end())
    )
    hedged = hedged or "여" in match.group()
    return Quantity(written * factor, dimension, written, match.group().strip(" -"), hedged)


def scales_of(text: str) -> tuple[float, ...]:
    """What a table's bare numbers are multiplied by: "(in millions)" → 1e6, "단위: 억원" → 1e8."""
    scales = []
    for match in _AMOUNTS_IN.finditer(unicodedata.normalize("NFKC", text)):
        korean = match.group("ko")
        scales.append(
            float(numerals.sino(korean)) if korean else {"t": 1e3, "m": 1e6, "b": 1e9}[match.group("en")[0].lower()]
        )
    return tuple(dict.fromkeys(scales))


def compare(claimed: Quantity, told: Sequence[Quantity], scales: Sequence[float] = ()) -> tuple[str, str]:
    """("", …) if one of `told` says it; ("unit", what is told) if only the unit differs; else ("number", the nearest)."""
    other_unit = ""
    for item in told:
        if comparable(claimed.dimension, item.dimension):
            if _close(claimed, item.value) or (
                not (claimed.dimension and item.dimension) and _close(claimed, item.written)
            ):
                return "", item.text
            if any(_close(claimed, item.value * scale) for scale in scales):
                return "", item.text
        elif _equal(claimed.written, item.written) and not item.weak:
            other_unit = item.text
    if other_unit:
        return "unit", other_unit
    same = [item for item in told if item.dimension == claimed.dimension and not item.weak]
    nearest = min(same, key=lambda item: abs(item.value - claimed.value), default=None)
    return "number", nearest.text if nearest else ""


def _close(claimed: Quantity, value: float) -> bool:
    factor = claimed.value / claimed.written if claimed.written else 1.0
    if _equal(claimed.value, value) or _equal(claimed.written, value):
        return True
    if claimed.hedged:
        digits = _significant(claimed.written)
        # about 5,800 and over 5,000 for 5,794, but not about 5,801
        return any(
            _equal(near, claimed.written) for near in (_rounded(value / factor, digits), _cut(value / factor, digits))
        )
    decimals = _decimals(claimed.text)
    # 24.26 for 24.2571; a whole number is held to be exact
    return decimals > 0 and _equal(round(value / factor, decimals), claimed.written)


def _significant(value: float) -> int:
    return len(f"{value:.6g}".replace(".", "").split("e")[0].strip("0")) or 1


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits - 1}e}")


def _cut(value: float, digits: int) -> float:
    scale = 10.0 ** (floor(log10(abs(value))) - digits + 1) if value else 1.0
    return floor(value / scale) * scale


def _equal(a: float, b: float) -> bool:
    return isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def _decimals(text: str) -> int:
    match = re.search(r"\d\.(\d+)(?!.*[십백천만억조]|.*(?:illion|thousand))", text)
    return len(match.group(1)) if match else 0
