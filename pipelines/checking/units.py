"""Units of Korean and English text, brought to one dimension and factor each: 퍼센트 = % = percent, 1.2km = 1200미터.

Knows nothing about numbers. "" is a unit that is not known here; it goes with any.
"""

from __future__ import annotations

import re

# dimension: {factor: spellings}. "count" holds all counters: 세 가지, 3개 and "three" are the same claim.
_TABLE: dict[str, dict[float, str]] = {
    "percent": {1: "%|퍼센트|프로|percent|per cent|pct"},
    "points": {
        1: "%p|%포인트|% 포인트|퍼센트포인트|퍼센트 포인트|percentage points|percentage point|% points|%points|pp|p.p.",
        0.01: "bp|bps|basis points|basis point|베이시스포인트",
    },
    "KRW": {1: "원|KRW|won|₩"},
    "USD": {1: "달러|불|USD|dollars|dollar|US$|$", 0.01: "센트|cents|cent|¢"},
    "EUR": {1: "유로|EUR|euros|euro|€"},
    "JPY": {1: "엔|JPY|yen|¥"},
    "GBP": {1: "GBP|£|pounds sterling"},
    "CNY": {1: "위안|CNY|RMB|yuan"},
    "pound": {1: "파운드|pounds|pound|lbs|lb"},
    "m": {
        1000: "km|킬로미터|kilometers|kilometres|kilometer|kilometre",
        1: "m|미터|meters|metres|meter|metre",
        0.01: "cm|센티미터|센티|centimeters|centimetres",
        0.001: "mm|밀리미터|millimeters|millimetres",
        1609.344: "miles|mile|마일",
        0.3048: "feet|foot|ft|피트",
        0.0254: "inches|inch|인치",
    },
    "m2": {
        1: "㎡|m2|m²|제곱미터|평방미터|square meters|square metres",
        1e6: "km2|km²|제곱킬로미터|평방킬로미터|square kilometers|square kilometres",
        10_000: "헥타르|ha|hectares",
        2_589_988: "square miles|sq mi",
        4046.856: "acres|acre|에이커",
        3.305785: "평",
    },
    "g": {
        1e6: "톤|tonnes|tonne|metric tons|tons|ton|t",
        1000: "kg|킬로그램|킬로|kilograms|kilogram|kilos",
        1: "g|그램|grams|gram",
        0.001: "mg|밀리그램|milligrams",
    },
    "l": {1: "L|l|리터|liters|litres|liter|litre", 0.001: "ml|mL|밀리리터|milliliters|cc"},
    "bushel": {1: "부셸|bushels|bushel|bu"},
    "degree": {1: "°C|℃|도|°F|℉|degrees|degree|°"},
    "s": {
        0.001: "ms|밀리초|milliseconds",
        1: "초|seconds|second|secs|sec|s",
        60: "분|minutes|minute|mins|min",
        3600: "시간|hours|hour|hrs|hr|h",
        86_400: "일간|일|days|day",
        604_800: "주일|주간|주|weeks|week",
    },
    "month": {1: "개월|달|months|month", 12: "년간|년|주년|years|year|해"},
    "byte": {
        1: "바이트|bytes|byte",
        1e3: "KB|kB|킬로바이트",
        1e6: "MB|메가바이트|megabytes",
        1e9: "GB|기가바이트|gigabytes",
        1e12: "TB|테라바이트|terabytes",
        1024: "KiB",
        1_048_576: "MiB",
        1_073_741_824: "GiB",
    },
    "watt": {1: "W|와트|watts", 1e3: "kW|킬로와트", 1e6: "MW|메가와트|megawatts", 1e9: "GW|기가와트"},
    "watthour": {1: "Wh", 1e3: "kWh|킬로와트시", 1e6: "MWh", 1e9: "GWh"},
    "hertz": {1: "Hz|헤르츠", 1e3: "kHz", 1e6: "MHz|메가헤르츠", 1e9: "GHz|기가헤르츠"},
    "century": {1: "세기|century|centuries"},
    "quarter": {1: "분기"},
    "decade": {1: "년대"},
    "age": {1: "세|살|years old|year-old|-year-old"},
    "count": {
        1: "명|사람|인|개국|개|가지|종류|종|곳|군데|건|회|번째|번|차례|차|배|마리|권|대|쪽|페이지|팀|척|채|편|장|호|위|등|점|층|척|표|석|면|조각|토큰"
        "|people|persons|person|times|pages|page|tokens|-fold|fold|x|st|nd|rd|th"
    },
}
UNITS: dict[str, tuple[str, float]] = {
    spelling: (dimension, float(factor))
    for dimension, spellings in _TABLE.items()
    for factor, words in spellings.items()
    for spelling in words.split("|")
}
_FOLDED = {spelling.casefold(): unit for spelling, unit in UNITS.items()}
PREFIXES = r"US\$|USD|KRW|EUR|[$₩€£¥]"
# Korean units may be followed by a particle, Latin ones by no letter.
UNIT_PATTERN = "|".join(
    re.escape(unit) + (r"(?![A-Za-z0-9])" if unit[-1].isascii() and unit[-1].isalnum() else "")
    for unit in sorted(UNITS, key=len, reverse=True)
)


def unit_of(spelling: str) -> tuple[str, float]:
    """Dimension and factor; ("", 1.0) if unknown."""
    return UNITS.get(spelling) or _FOLDED.get(spelling.casefold(), ("", 1.0))


def comparable(a: str, b: str) -> bool:
    """Whether quantities of these dimensions may be the same one."""
    if not a or not b or a == b:
        return True
    pair = {a, b}
    # "24년" is a year or a duration, 3시간 and "three" are one number; 5살 is 5 years.
    return pair <= {"month", "age"} or pair <= {"GBP", "pound"}
