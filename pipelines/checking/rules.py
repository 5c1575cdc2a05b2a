"""What speaks against a claim, held against the sentences it is to rest on: figures, names, negation, opposites, roles.

Each rule compares what both say; none knows the world. Where the passage is in another language than the claim, only
figures and Latin names are compared. Knows nothing about scores and verdicts.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from pipelines.checking.claim import Finding
from pipelines.checking.dates import date_is_told
from pipelines.checking.morphemes import Morpheme
from pipelines.checking.names import Naming, names_in
from pipelines.checking.opposites import all_told, opposites, overstated, said_by_opposite
from pipelines.checking.quantities import Figures, Quantity, compare
from pipelines.checking.sources import Source, Window
from pipelines.checking.units import UNITS
from pipelines.checking.words import Words

_EACH = re.compile(r"당(?![가-힣])|마다|매 |\bper\b|\beach\b|\ba (?=[a-z])|/", re.IGNORECASE)
_COUNTS_A_LIST = re.compile(r"(?:가지|종류|단계)$")
# "그 회사는" for a company named in the source is no exchange.
_STANDS_FOR_A_NAME = frozenset(
    "회사 기업 정부 대통령 총리 장관 의원 시장 감독 선수 배우 가수 작가 교수 도시 나라 국가 지역 팀 구단 학교 대학 그룹 당 정당 부대 왕 "
    "황제 여왕 섬 영화 작품 책 소설 앨범 노래 곡 제품 단체 기관 협회 위원회 사람 인물 남자 여자 아버지 어머니 아들 딸 부인 남편 본인 자신".split()
)
_PASSIVE = re.compile(r"당하|당했|당한|에게서|한테서|에 의해|받았|받은|되었|됐")
_CONTENT = frozenset({"NNG", "NNP", "XR", "SL", "SN", "VV", "VA"})
_NOUNS = frozenset({"NNG", "NNP", "SL"})
_NEARLY_ALL = 0.6  # of a claim's content words stand in its source in the same order
_NEARLY_SAME = 0.75
_FROM_TO = re.compile(r"\bfrom (?:the )?([\w-]+)\b[^.;]{0,40}? to (?:the )?([\w-]+)", re.IGNORECASE)
_THAN = re.compile(r"\b([\w-]+) (?:\w+ ){1,4}?than (?:the )?([\w-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reading:
    """A claim or a window as the rules read it."""

    text: str
    morphemes: tuple[Morpheme, ...]
    words: Words
    figures: Figures
    language: str


def findings(
    claim: Reading, told: Reading, window: Window, sources: Sequence[Source], names: Sequence[str]
) -> list[Finding]:
    """`told`: the window with its context. `names`: of the claim."""
    found = list(_figures(claim.figures, told.text, told.figures, sources))
    found += _names(names, told, window, sources, same_language=claim.language == told.language)
    if claim.language == told.language:
        if not any(finding.kind == "name" for finding in found):
            found += _exchanged(claim, told, sources)
        found += _polarity(claim, told)
        found += _roles(claim, told)
    return found


def _figures(claim: Figures, told_text: str, told: Figures, sources: Sequence[Source]) -> Iterator[Finding]:
    scales = [scale for source in sources for scale in source.scales]
    around = [date for source in sources for date in source.figures.dates]
    # "14일" may be a day or a duration, "2019" a year or a number: each is also looked for as the other.
    parts = [float(value) for date in told.dates for value in date.parts.values()]
    pool = [*told.quantities, *(Quantity(value, "", value, f"{value:g}") for value in parts)]
    for quantity in claim.quantities:
        if quantity.weak:
            continue
        dated = quantity.dimension in ("", "s", "month") and quantity.written in parts
        kind, found = compare(quantity, told.quantities if quantity.dimension not in ("", "month") else pool, scales)
        each = quantity.written == 1 and _EACH.search(told_text) is not None  # "1톤에" for "톤당"
        if kind and not dated and not each and not _is_count_of_a_list(quantity, told):
            yield Finding("unit" if kind == "unit" else "number", quantity.text, found)
    for date in claim.dates:
        if date_is_told(date, told.dates, around):
            continue
        if (
            date.bare
            and not compare(Quantity(float(date.year or 0), "", float(date.year or 0), date.text), told.quantities)[0]
        ):
            continue
        nearest = next((d.text for d in told.dates if d.parts.keys() & date.parts.keys()), "")
        yield Finding("date", date.text, nearest)
    for clock in claim.clocks:
        if not any(clock.same(other) for other in told.clocks):
            yield Finding("time", clock.text, told.clocks[0].text if told.clocks else "")


def _is_count_of_a_list(quantity: Quantity, told: Figures) -> bool:
    """ "두 가지" and "two reasons" may count a list that its passage does not count; then nothing is to be compared."""
    unit = _COUNTS_A_LIST.search(quantity.text)
    if unit is not None:
        return not any(item.text.endswith(unit.group()) for item in told.quantities)
    return quantity.in_words and not any(
        item.dimension in ("", "count") and item.written <= 20 and not item.weak for item in told.quantities
    )


def _names(
    names: Sequence[str], told: Reading, window: Window, sources: Sequence[Source], *, same_language: bool
) -> Iterator[Finding]:
    near = Naming(window.text, window.context)
    spare: list[str] | None = None
    for name in names:
        if not same_language and not name.isascii():
            continue  # 덴마크 and Denmark: not comparable by letters
        if near.has(name):
            continue
        if spare is None:  # names of the window that the claim does not have
            own = Naming(" ".join(names))
            spare = [n for n in names_in(window.text, told.morphemes, source=None) if not own.has(n)]
        if not any(source.naming.has(name) for source in sources):
            yield Finding("name", name, spare[0] if spare else "")
        elif spare and same_language:
            # It stands elsewhere in the passage, and here another name stands: exchanged, unless it resolves a pronoun.
            yield Finding("name", name, spare[0])


def _exchanged(claim: Reading, told: Reading, sources: Sequence[Source]) -> Iterator[Finding]:
    """In a claim that is nearly its source's words: other nouns in the place of nouns.

    Catches names that the tagger takes for common nouns. Between common nouns it may be a synonym (할인, 인하): a "word".
    """
    ours, theirs = ([t for t in r.morphemes if t.tag in _CONTENT and t.form not in UNITS] for r in (claim, told))
    matcher = SequenceMatcher(None, [t.form for t in theirs], [t.form for t in ours], autojunk=False)
    same = sum(size for _, _, size in matcher.get_matching_blocks())
    if not ours or same < _NEARLY_ALL * len(ours):
        return
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind != "replace":
            continue
        gone = [t for t in theirs[a:b] if t.tag in _NOUNS and t.form not in claim.text]
        new = [t for t in ours[c:d] if t.tag in _NOUNS and len(t.form) > 1]
        foreign = [t for t in new if not any(source.naming.has(t.form) for source in sources)]
        elsewhere = all(t.form not in told.text and t.form not in _STANDS_FOR_A_NAME for t in new)
        lost_name = any(t.tag == "NNP" and len(t.form) > 1 for t in gone)
        only_nouns = gone and all(t.tag in _NOUNS for t in [*theirs[a:b], *ours[c:d]])
        in_place = elsewhere and only_nouns and same >= _NEARLY_SAME * len(ours)
        if new and ((lost_name and foreign) or in_place):
            named = lost_name or any(t.tag == "NNP" for t in new)
            yield Finding("name" if named else "word", " ".join(t.form for t in new), " ".join(t.form for t in gone))


def _polarity(claim: Reading, told: Reading) -> Iterator[Finding]:
    said, source = claim.words, told.words
    claim_told, source_told = all_told(claim.text, said), all_told(told.text, source)
    against = list(opposites(claim_told, source_told))
    flipped = _flipped(said, source)
    for word in flipped:
        if not said_by_opposite(word, source_told) and not against:
            yield Finding("negation", word, word)
    for word, opponent in against:
        yield Finding("opposite", word, opponent)
    if not flipped and said.negated and not source.negated:
        new = [word for word in said.negated if not said_by_opposite(word, source_told)]
        if new:
            yield Finding("negation", new[0] or "not", "")
    elif not flipped and not against and (len(said.negated) - len(source.negated)) % 2 and _nearly_same(said, source):
        yield Finding("negation", (said.negated or source.negated)[-1], "")
    word = overstated(claim.text, told.text)
    if word:
        yield Finding("quantifier", word, "")


def _nearly_same(claim: Words, source: Words) -> bool:
    shared = len(claim.told.keys() & source.told.keys())
    return shared >= _NEARLY_SAME * len(claim.told.keys() | source.told.keys())


def _flipped(claim: Words, source: Words) -> list[str]:
    """Words that one denies and the other affirms."""
    return [
        word
        for word, polarities in claim.told.items()
        if word in source.told and not polarities & source.told[word] and word
    ]


def _roles(claim: Reading, told: Reading) -> Iterator[Finding]:
    for pattern in (_FROM_TO, _THAN):
        pairs = {(a.casefold(), b.casefold()) for a, b in pattern.findall(told.text)}
        for a, b in pattern.findall(claim.text):
            if (b.casefold(), a.casefold()) in pairs and a.casefold() != b.casefold():
                yield Finding("roles", f"{a} → {b}", f"{b} → {a}")
    if _PASSIVE.search(claim.text) or _PASSIVE.search(told.text):
        return
    ours, theirs = _doers(claim.morphemes), _doers(told.morphemes)
    nouns = Counter(token.form for reading in (claim, told) for token in reading.morphemes)
    for doer, done in ours.items():
        for other in done:
            once = nouns[doer] == nouns[other] == 2  # in each of the two texts: no nested clauses
            if once and doer in theirs.get(other, ()) and other not in theirs.get(doer, ()):
                yield Finding("roles", f"{doer} → {other}", f"{other} → {doer}")


def _doers(morphemes: Sequence[Morpheme]) -> dict[str, set[str]]:
    """Noun with 이/가/은/는 → nouns with 을/를/에게/보다 after it, up to the next subject."""
    found: dict[str, set[str]] = {}
    doer = ""
    for noun, particle in itertools.pairwise(morphemes):
        if noun.tag not in ("NNG", "NNP", "SL"):
            continue
        if particle.tag == "JKS" or (particle.tag == "JX" and particle.form in ("은", "는")):
            doer = noun.form
        elif doer and particle.form in ("을", "를", "에게", "한테", "보다") and particle.tag in ("JKO", "JKB"):
            found.setdefault(doer, set()).add(noun.form)
    return found
