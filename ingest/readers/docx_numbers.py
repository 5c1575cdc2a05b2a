"""Numbers of lists and headings as Word shows them ("1.2", "가.", "제3조", "①"). Knows no text."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from ingest.readers.zip_package import attribute, child, children, integer

_GANADA = "가나다라마바사아자차카타파하"
_CHOSUNG = "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ"
_ROMAN = tuple(
    zip((1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1), "m cm d cd c xc l xl x ix v iv i".split(), strict=True)
)
_PLACEHOLDER = re.compile(r"%([1-9])")
_MAX_NUMBER = 10_000
BULLET = "-"


@dataclass(frozen=True, slots=True)
class _Level:
    kind: str
    pattern: str
    start: int


@dataclass(slots=True)
class Numbering:
    """Counts the numbered paragraphs of one document in order."""

    levels: dict[str, dict[int, _Level]] = field(default_factory=dict)  # by list definition
    definitions: dict[str, str] = field(default_factory=dict)  # list → its definition
    restarts: dict[tuple[str, int], int] = field(default_factory=dict)
    counts: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    seen: set[tuple[str, int]] = field(default_factory=set)

    def mark(self, list_id: str, level: int) -> str:
        """What stands before the next paragraph of that list: BULLET, a number, or "" if it is no list."""
        definition = self.definitions.get(list_id, "")
        found = self.levels.get(definition, {}).get(level)
        if found is None or found.kind == "none":
            return ""
        if found.kind == "bullet":
            return BULLET
        counts = self.counts[definition]
        for deeper in [other for other in counts if other > level]:
            del counts[deeper]
        start = found.start
        if (list_id, level) in self.restarts and (list_id, level) not in self.seen:
            start = self.restarts[list_id, level]
            counts.pop(level, None)
        self.seen.add((list_id, level))
        counts[level] = counts[level] + 1 if level in counts else start
        return _PLACEHOLDER.sub(lambda match: self._number(definition, int(match.group(1)) - 1), found.pattern).strip()

    def _number(self, definition: str, level: int) -> str:
        found = self.levels[definition].get(level)
        if found is None:
            return ""
        return number(self.counts[definition].setdefault(level, found.start), found.kind)


def read_numbering(root: Element) -> Numbering:
    """Lists and their levels from numbering.xml."""
    numbering = Numbering()
    for element in children(root, "abstractNum"):
        levels = {}
        for level in children(element, "lvl"):
            levels[integer(attribute(level, "ilvl"))] = _Level(
                kind=attribute(child(level, "numFmt"), "val") or "decimal",
                pattern=attribute(child(level, "lvlText"), "val") or "",
                start=integer(attribute(child(level, "start"), "val"), 1),
            )
        numbering.levels[attribute(element, "abstractNumId") or ""] = levels
    for element in children(root, "num"):
        list_id = attribute(element, "numId") or ""
        numbering.definitions[list_id] = attribute(child(element, "abstractNumId"), "val") or ""
        for override in children(element, "lvlOverride"):
            start = attribute(child(override, "startOverride"), "val")
            if start:
                numbering.restarts[list_id, integer(attribute(override, "ilvl"))] = integer(start, 1)
    return numbering


def number(count: int, kind: str) -> str:
    """`count` in one of Word's number formats; those not listed here are shown as digits."""
    if not 0 < count < _MAX_NUMBER:
        return str(count)
    if kind in ("lowerLetter", "upperLetter"):
        letter = chr(ord("a") + (count - 1) % 26) * ((count - 1) // 26 + 1)
        return letter.upper() if kind == "upperLetter" else letter
    if kind in ("lowerRoman", "upperRoman"):
        roman = ""
        for value, letters in _ROMAN:
            times, count = divmod(count, value)
            roman += letters * times
        return roman.upper() if kind == "upperRoman" else roman
    if kind == "decimalZero":
        return f"{count:02}"
    if kind.startswith("decimalEnclosedCircle") and count <= 20:
        return chr(ord("①") + count - 1)
    if kind in ("ganada", "chosung"):
        letters = _GANADA if kind == "ganada" else _CHOSUNG
        return letters[(count - 1) % len(letters)]
    return str(count)
