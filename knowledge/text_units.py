"""Lines to the units that sentences are looked for in: a paragraph, a list item, a table row, a heading, a code block.

A single line break inside a paragraph does not end a unit, unless the line before it ends a sentence or a list; Korean
lines often do so without a full stop. Knows nothing of what ends a sentence inside a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]

# A fenced code block is one unit up to this many characters, else each of its lines is.
_MAX_FENCE_CHARS = 600
# A list item shorter than this that is followed by a line without indent was the last of its list.
_SHORT_ITEM_CHARS = 40

# Abbreviations that end no sentence, and those that end none before a number.
ALWAYS_SHORT = frozenset(
    "mr mrs ms dr prof st vs e.g i.e cf al approx gen col lt sgt rev hon gov sen rep capt mt messrs ed eds ca viz".split()
)
SHORT_BEFORE_NUMBER = frozenset(
    "no nos fig figs p pp vol ch sec art eq jan feb mar apr jun jul aug sep sept oct nov dec".split()
)

_LINE = re.compile(r"[^\n]+")
_FENCE = re.compile(r"[ \t]{0,8}(?:```|~~~)")
_LIST_ITEM = re.compile(
    r"[ \t]{0,40}(?:[-*+•·▪◦‣○●■□▶※◆◇►➢✓] |[-*+•▪◦‣○●■□▶※◆◇][^\S\n]|[①-⑳❶-❿]|\d{1,3}[.)] |\(\d{1,3}\) ?|[가-하A-Za-z]\) "
    r"|[가나다라마바사아자차카타파하]\. )"
)
# A marker on a line of its own, as text out of a PDF has it: what it marks stands on the next line.
_LONE_MARKER = re.compile(
    r"[ \t]{0,40}(?:[-*+•·▪◦‣○●■□▶※◆◇►➢✓]|[①-⑳❶-❿]|\(?\d{1,2}[.)]|[가나다라마바사아자차카타파하][.)])\s{0,9}$"
)
_NUMBERED = re.compile(r"[ \t]{0,40}\d{1,3}\. ")
_HEADING = re.compile(r"[ \t]{0,3}#{1,6} ")
_TABLE_ROW = re.compile(r"[ \t]{0,40}\|")
_TABLE_RULE = re.compile(r"[ \t]{0,40}\|[-:| \t]{1,4000}$")
_LABEL = re.compile(r"[^\s:|]{1,30}: ")
_ENDS_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]」』》〉）]{0,4}$")
# Korean predicates that end a sentence where the writer left the full stop out. Lines are matched at their end only.
_KOREAN_END = re.compile(
    r"(?:니다|습니까|입니까|됩니까|합니까|이다|하다|되다|니까\?|죠|지요"
    r"|(?:[아어여해세에예네돼되까나게와워려겨져쳐셔봐줘써데군든]|[았었했겠]어)요"
    r"|[있없했됐였았었겠않같]음|[가-힣]됨|(?<![포결명])함|(?:것|중|예정|때문|바)임)$"
)
# A line that goes on with a quoting particle continues the sentence: "한다" + "고 밝혔다".
_QUOTATIVE = re.compile(r"(?:고|며|면|는|라고|라는|라며|지만|만)(?:\s|$)")


def units(text: str) -> Iterator[Span]:
    """Stripped spans of whole paragraphs, list items, table rows, headings and code blocks."""
    unit: Span | None = None
    fence_start: int | None = None
    previous = ""
    in_list = False
    last_end = 0
    for match in _LINE.finditer(text):
        line = match.group()
        start, end = stripped(text, match.start(), match.end())
        if start == end:
            continue
        blank_between = text.count("\n", last_end, match.start()) > 1
        last_end = match.end()
        if _FENCE.match(line):
            if fence_start is None:
                if unit:
                    yield unit
                fence_start, unit = start, (start, end)
            else:
                yield from _fenced(text, fence_start, end)
                fence_start, unit = None, None
            previous = line
            continue
        if fence_start is not None and unit:
            unit = (unit[0], end)
            continue
        if (unit and _TABLE_RULE.match(line)) or (
            unit and not blank_between and _continues(previous, line, in_list=in_list)
        ):
            unit = (unit[0], end)
        else:
            if unit:
                yield unit
            unit = (start, end)
            in_list = (_LIST_ITEM.match(line) or _LONE_MARKER.match(line)) is not None
        previous = line
    if unit:
        yield from _fenced(text, *unit) if fence_start is not None else (unit,)


def _fenced(text: str, start: int, end: int) -> Iterator[Span]:
    if end - start <= _MAX_FENCE_CHARS:
        yield start, end
        return
    for match in _LINE.finditer(text, start, end):
        span = stripped(text, match.start(), match.end())
        if span[0] < span[1]:
            yield span


def _continues(previous: str, line: str, *, in_list: bool) -> bool:
    """True if `line` belongs to the sentence or paragraph of the line before it."""
    if _TABLE_ROW.match(line) or _HEADING.match(line) or _TABLE_ROW.match(previous) or _HEADING.match(previous):
        return False
    tail = previous[-40:].rstrip()
    if _LIST_ITEM.match(line):  # "2024." + "3. 1. 시행" is a date, not a list
        return bool(_NUMBERED.match(line) and len(tail) > 1 and tail[-1] == "." and tail[-2].isdigit())
    if _LONE_MARKER.match(line):
        return False
    if _LONE_MARKER.match(previous):
        return True
    if _LABEL.match(line.lstrip()):
        return False
    if _ENDS_SENTENCE.search(tail):
        return not _stays_open(tail)
    if _ends_korean(tail) and not _QUOTATIVE.match(line.lstrip()):
        return False
    ends_list = in_list and len(previous) < _SHORT_ITEM_CHARS and not line[0].isspace()
    return not ends_list


def _stays_open(tail: str) -> bool:
    """True if the full stop at the end of a line is an abbreviation's or a date's."""
    word = tail.rsplit(None, 1)[-1].rstrip(".").lower()
    return tail[-1] == "." and (word in ALWAYS_SHORT or word in SHORT_BEFORE_NUMBER or word.isdigit())


def _ends_korean(tail: str) -> bool:
    if _KOREAN_END.search(tail):
        return True
    # Any syllable with a final consonant before "다" is a verb ("했다", "본다", "없다"), unlike "바다", "마다", "보다".
    return len(tail) > 1 and tail[-1] == "다" and "가" <= tail[-2] <= "힣" and (ord(tail[-2]) - 0xAC00) % 28 != 0


def stripped(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
